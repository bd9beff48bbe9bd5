"""The map of locations as boxes and arrows: pure geometry; the template draws it. One picture wide, one narrow.

Units are those of the SVG's view box; texts are cut so that they fit their box at the page's font size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from domicile.portal import words
from domicile.portal.facts import Facts, Rows

BOX: Final = (286.0, 104.0)
GAP: Final = 22.0
WIDE: Final = 960.0
NARROW: Final = 340.0
INDENT: Final = 54.0
LABEL: Final = 52.0
CHARS_MAX: Final = 34


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A location: its corner and size, and its lines of text, the first one in bold."""

    x: float
    y: float
    width: float
    height: float
    home: bool
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """A way home: an SVG path, whether all of it was proven equal, and two lines of text at a place."""

    path: str
    proven: bool
    x: float
    y: float
    anchor: str
    lines: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schematic:
    """One picture."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def wide(facts: Facts) -> Schematic:
    """Sources on the left, homes on the right."""
    sources, homes = _sources(facts), _homes(facts)
    width, height = BOX
    rows = max(len(sources), len(homes), 1)
    total = rows * height + (rows - 1) * GAP
    tall = (total - (len(sources) - 1) * GAP) / max(len(sources), 1)
    boxes, arrows = [], []
    for index, name in enumerate(sources):
        y = 1 + index * (tall + GAP)
        boxes.append(Box(x=1, y=y, width=width, height=tall, home=False, lines=_texts(facts, name, home=False)))
    for index, name in enumerate(homes):
        y = 1 + index * (height + GAP)
        left, middle = WIDE - width - 1, y + height / 2
        boxes.append(Box(x=left, y=y, width=width, height=height, home=True, lines=_texts(facts, name, home=True)))
        path = f"M {width + 6:.0f} {middle:.0f} H {left - 15:.0f}"
        lines, proven = _way(facts, name)
        arrows.append(Arrow(path=path, proven=proven, x=WIDE / 2, y=middle - 10, anchor="middle", lines=lines))
    return Schematic(width=WIDE, height=total + 2, boxes=tuple(boxes), arrows=tuple(arrows))


def narrow(facts: Facts) -> Schematic:
    """Sources above, homes below along one trunk."""
    height = BOX[1]
    boxes, arrows = [], []
    y = 1.0
    for name in _sources(facts):
        lines = _texts(facts, name, home=False)
        boxes.append(Box(x=1, y=y, width=NARROW - 2, height=height, home=False, lines=lines))
        y += height + GAP
    top, trunk = y - GAP + 4, INDENT / 2
    for name in _homes(facts):
        place, lines = y + LABEL, _texts(facts, name, home=True)
        boxes.append(Box(x=INDENT, y=place, width=NARROW - INDENT - 1, height=height, home=True, lines=lines))
        path = f"M {trunk:.0f} {top:.0f} V {place + height / 2:.0f} H {INDENT - 14:.0f}"
        label, proven = _way(facts, name)
        arrows.append(Arrow(path=path, proven=proven, x=INDENT + 2, y=y + 14, anchor="start", lines=label))
        y = place + height + GAP / 2
    return Schematic(width=NARROW, height=y + 2, boxes=tuple(boxes), arrows=tuple(arrows))


def _sources(facts: Facts) -> tuple[str, ...]:
    """Locations with listed copies that are nobody's home, else all that are nobody's home."""
    homes = set(facts.plan.homes.values())
    holding = dict.fromkeys(copy.location for copy in facts.plan.copies if copy.location not in homes)
    return tuple(holding) or tuple(name for name in facts.plan.locations if name not in homes)


def _homes(facts: Facts) -> tuple[str, ...]:
    return tuple(dict.fromkeys(facts.plan.homes.values()))


def _texts(facts: Facts, name: str, *, home: bool) -> tuple[str, ...]:
    return tuple(words.short(line, CHARS_MAX) for line in _lines(facts, name, home=home))


def _lines(facts: Facts, name: str, *, home: bool) -> Iterator[str]:
    place = facts.plan.locations.get(name)
    yield f"{place.country if place else '??'} · {name}"
    yield place.operator if place else "operator not named"
    if home:
        markets = [market for market, location in facts.plan.homes.items() if location == name]
        yield f"home of {', '.join(markets)}"
        return
    yield "the source: private data leaves"
    copies = sum(1 for copy in facts.plan.copies if copy.location == name)
    yield f"{words.some(copies, 'copy', 'copies')} listed here"


def _way(facts: Facts, home: str) -> tuple[tuple[str, str], bool]:
    rows = facts.of_home(home)
    people = None if facts.people is None else facts.people.get(home, 0 if facts.cohorts else None)
    first = words.some(people, "person", "people") if people is not None else "people not counted yet"
    second = _rows_text(rows) if facts.frozen else "rows not frozen yet"
    return (first, second), rows.slices_equal == rows.slices and rows.slices > 0


def _rows_text(rows: Rows) -> str:
    if rows.slices_equal:
        return f"{words.some(rows.moved, 'row')}, read equal"
    if rows.slices_copied:
        return f"{words.some(rows.copied, 'row')} copied, not compared"
    return f"{words.some(rows.planned, 'row')} planned"
