"""The lag of a live move as a curve: pure geometry; the template draws it. One picture wide, one narrow.

Many points become one a column, the highest of them, so that no peak is lost. Units are those of the SVG's view box.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from domicile.cutover.cohorts import LagPoint
from domicile.portal import words

SIZES: Final = {"wide": (960.0, 250.0, 6), "narrow": (340.0, 220.0, 3)}
LEFT: Final = 62.0
RIGHT: Final = 14.0
TOP: Final = 14.0
BOTTOM: Final = 34.0
COLUMN: Final = 2.0
STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200)
DAY_S: Final = 86_400
UNITS_S: Final = (("d", DAY_S), ("h", 3_600), ("min", 60), ("s", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis: its place on it, and its text."""

    place: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One picture: paths of the line and of the area below it, and both axes within the corners of the plot."""

    name: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    line: str
    area: str
    across: tuple[Tick, ...]
    upward: tuple[Tick, ...]


def curves(points: Sequence[LagPoint]) -> tuple[Curve, ...]:
    """Draw the lag over the time since the feed began; nothing of fewer than two points."""
    if len(points) < 2:
        return ()
    return tuple(_curve(name, points) for name in SIZES)


def highest_s(points: Sequence[LagPoint]) -> float:
    """Seconds that home was behind at the worst."""
    return max((point.behind_s for point in points), default=0.0)


def _curve(name: str, points: Sequence[LagPoint]) -> Curve:
    width, height, ticks = SIZES[name]
    right, bottom = width - RIGHT, height - BOTTOM
    end, top = max(point.at_s for point in points) or 1.0, _ceiling(highest_s(points))
    columns: dict[int, float] = {}
    for point in points:
        x = round((LEFT + (right - LEFT) * point.at_s / end) / COLUMN)
        columns[x] = max(columns.get(x, 0.0), point.behind_s)
    places = [(x * COLUMN, bottom - (bottom - TOP) * behind / top) for x, behind in sorted(columns.items())]
    line = "M " + " L ".join(f"{x:.0f} {y:.1f}" for x, y in places)
    return Curve(
        name=name, width=width, height=height, left=LEFT, right=right, top=TOP, bottom=bottom, line=line,
        area=f"{line} L {places[-1][0]:.0f} {bottom:.0f} L {places[0][0]:.0f} {bottom:.0f} Z",
        across=tuple(_across(end, ticks, right)),
        upward=tuple(
            Tick(place=bottom - (bottom - TOP) * share, text=words.seconds(top * share) if share else "0")
            for share in (0.0, 0.5, 1.0)
        ),
    )  # fmt: skip


def _ceiling(highest: float) -> float:
    """The next of 1, 2, 5, 10, … that holds it; at least a tenth of a second."""
    unit = 10.0 ** math.floor(math.log10(max(highest, 0.1)))
    return next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= highest)


def _across(end: float, ticks: int, right: float) -> Iterator[Tick]:
    """Marks of the time, all in the unit of their step."""
    days = (DAY_S * number for number in range(1, 1_000_000))
    step = next((step for step in STEPS_S if end / step <= ticks), None) or next(s for s in days if end / s <= ticks)
    unit, size = next((unit, size) for unit, size in UNITS_S if not step % size)
    for seconds in range(0, math.floor(end) + 1, step):
        text = f"{seconds // size} {unit}" if seconds else "0"
        yield Tick(place=LEFT + (right - LEFT) * seconds / end, text=text)
