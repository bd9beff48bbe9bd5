"""Where the boxes of the map's picture stand: parents to the left of children, few crossings, bounded columns.

A small layered layout (Sugiyama, Tagawa and Toda 1981: ranks, then barycentres). Pure geometry in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx

BOX_WIDTH = 196
GAP_X = 74
GAP_Y = 20
MARGIN = 24
LANE_HEIGHT = 4
LANE_GAP = 8
COLUMN_HEIGHT_MAX = 1_500
SWEEPS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One placed box."""

    x: int
    y: int
    width: int
    height: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """All boxes, the lanes that long edges take between them (from child to parent), and the canvas."""

    boxes: Mapping[str, Box]
    lanes: Mapping[tuple[str, str], tuple[Box, ...]]
    width: int
    height: int


def place(heights: Mapping[str, int], edges: Iterable[tuple[str, str]]) -> Placement:
    """Place boxes of the given heights; `edges` are (child, parent). The order of the names breaks every tie."""
    pairs = sorted({(child, parent) for child, parent in edges if child != parent})
    layers = _layers(sorted(heights), pairs)
    steps, lanes = _with_lanes(layers, pairs)
    for sweep in range(SWEEPS):
        _untangle(layers, steps, leftward=bool(sweep % 2))
    tall = {**heights, **{name: LANE_HEIGHT for names in lanes.values() for name in names}}
    boxes, width, height = _stand(_columns(layers, tall), tall)
    return Placement(
        boxes={name: boxes[name] for name in heights},
        lanes={pair: tuple(boxes[name] for name in names) for pair, names in lanes.items()},
        width=width,
        height=height,
    )


def _layers(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Rank by the longest way from a dataset without parents; unconnected ones share the last layer."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from((parent, child) for child, parent in pairs)
    groups = nx.condensation(graph)
    rank: dict[str, int] = {}
    for number in nx.topological_sort(groups):
        above = [rank[member] for before in groups.predecessors(number) for member in groups.nodes[before]["members"]]
        for member in groups.nodes[number]["members"]:
            rank[member] = 1 + max(above, default=-1)
    alone = [name for name in names if graph.degree(name) == 0]
    last = max((rank[name] for name in names if name not in set(alone)), default=-1) + 1
    layers: list[list[str]] = [[] for _ in range(last + bool(alone))]
    for name in names:
        layers[last if graph.degree(name) == 0 else _pulled(graph, rank, name)].append(name)
    return [layer for layer in layers if layer]


def _with_lanes(
    layers: list[list[str]], pairs: Sequence[tuple[str, str]]
) -> tuple[list[tuple[str, str]], dict[tuple[str, str], tuple[str, ...]]]:
    """Give an edge that passes layers a lane in each; return the edges in single steps, and the lanes by edge."""
    rank = {name: number for number, layer in enumerate(layers) for name in layer}
    steps: list[tuple[str, str]] = []
    lanes: dict[tuple[str, str], tuple[str, ...]] = {}
    for child, parent in pairs:
        passed = range(rank[child] - 1, rank[parent], -1)
        names = tuple(f"\0{child}\0{parent}\0{number}" for number in passed)
        for number, name in zip(passed, names, strict=True):
            layers[number].append(name)
        if names:
            lanes[child, parent] = names
        chain = (child, *names, parent)
        steps.extend(pairwise(chain))
    return steps, lanes


def _pulled(graph: nx.DiGraph[str], rank: Mapping[str, int], name: str) -> int:
    """Stand a dataset without parents right beside its nearest child, so that lookups are near their use."""
    if graph.in_degree(name):
        return rank[name]
    return max(0, min((rank[child] for child in graph.successors(name)), default=1) - 1)


def _untangle(layers: list[list[str]], pairs: Sequence[tuple[str, str]], *, leftward: bool) -> None:
    order = {name: place / max(1, len(layer)) for layer in layers for place, name in enumerate(layer)}
    near: dict[str, list[str]] = {name: [] for name in order}
    for child, parent in pairs:
        near[parent if leftward else child].append(child if leftward else parent)
    for layer in reversed(layers) if leftward else layers:
        centre = {
            name: sum(order[other] for other in near[name]) / len(near[name]) if near[name] else order[name]
            for name in layer
        }
        layer.sort(key=lambda name: (centre[name], name))
        order.update({name: place / max(1, len(layer)) for place, name in enumerate(layer)})


def _columns(layers: list[list[str]], heights: Mapping[str, int]) -> list[list[str]]:
    """Break a layer that is too tall into several columns of about the same height."""
    columns: list[list[str]] = []
    for layer in layers:
        total = sum(heights[name] + _gap(name) for name in layer)
        share = total / -(-total // COLUMN_HEIGHT_MAX)
        columns.append([])
        filled = 0
        for name in layer:
            if columns[-1] and filled + heights[name] / 2 > share:
                columns.append([])
                filled = 0
            columns[-1].append(name)
            filled += heights[name] + _gap(name)
    return columns


def _gap(name: str) -> int:
    return LANE_GAP if name.startswith("\0") else GAP_Y


def _stand(columns: list[list[str]], heights: Mapping[str, int]) -> tuple[dict[str, Box], int, int]:
    tall = [sum(heights[name] + _gap(name) for name in column) for column in columns]
    height = max(tall, default=0)
    boxes: dict[str, Box] = {}
    for number, column in enumerate(columns):
        y = MARGIN + (height - tall[number]) // 2
        for name in column:
            x = MARGIN + number * (BOX_WIDTH + GAP_X)
            boxes[name] = Box(x=x, y=y, width=BOX_WIDTH, height=heights[name], column=number)
            y += heights[name] + _gap(name)
    width = 2 * MARGIN + len(columns) * (BOX_WIDTH + GAP_X) - GAP_X if columns else 2 * MARGIN
    return boxes, width, height + 2 * MARGIN
