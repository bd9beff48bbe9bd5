"""Random small worlds: trees, diamonds, cycles, self references, paths up and down, every disposition and rule.

References stand in columns of their own, or inside arrays, JSON and text; people are of one kind or two; their market
is told by one place or several.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date

from hypothesis import strategies as st

from domicile.config.rules import Apart, Decide, Disposition, HomeRows, Shared
from domicile.model import EACH, Blank, Holds, KeyKind, Path, Reading, Step
from tests.stores.world import (
    People,
    Reference,
    Sheet,
    World,
    down,
    literal,
    null,
    path,
    refer,
    tell,
    token,
    up,
)

COUNTRIES = ("US", "CA", "FR", None)
DAYS = (date(2020, 1, 1), date(2020, 6, 1), None)
EVIDENCE_MAX = 3
STEPS = (("who",), ("all", EACH, "id"))
PATTERN = r"u(\d+)"
SHEETS_MAX = 6
ROWS_MAX = 5
HOPS_MAX = 3
PATHS_MAX = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """What a test wants of its worlds."""

    shared: tuple[Shared | None, ...] = (Shared.EACH, Shared.EACH, Shared.FIRST, Shared.ANY, None)
    apart: tuple[Apart, ...] = (Apart.SKELETON, Apart.SKELETON, Apart.WHOLE, Apart.WHOLE, Apart.REFUSE)
    unknown: tuple[str, ...] = ("stay", "stay", "US", "in-scope")
    blanked_edges: bool = True
    tokens: bool = True
    bare: bool = True
    """Whether `move` datasets may be without any stand-in."""
    told_elsewhere: bool = True
    """Whether the market may be told by rows that refer to a person."""
    decided: bool = False
    """Whether the rules that only need a yes are all given."""
    readings: bool = True
    """Whether references stand inside arrays, JSON and text, too."""
    conflict: tuple[str | None, ...] = ("stay", "US", None)
    keyless: bool = True
    """Whether a table may be without a key."""


DECIDED = Taste(
    shared=(Shared.EACH, Shared.FIRST, Shared.ANY),
    apart=(Apart.SKELETON, Apart.WHOLE),
    unknown=("stay", "US"),
    decided=True,
    conflict=("stay", "US"),
)


@st.composite
def worlds(draw: st.DrawFn, taste: Taste = Taste()) -> World:
    """A world of 2 to 6 sheets with at most 5 rows each."""
    count = draw(st.integers(1, SHEETS_MAX - 1))
    people = ["person"] + (["worker"] if draw(st.integers(0, 3)) == 0 else [])
    names = [*people, *(f"t{number}" for number in range(1, count + 1))]
    some_keys = [("id",), ("id",), ("id",), ("part", "id"), *([()] if taste.keyless else [])]
    keys: dict[str, tuple[str, ...]] = dict.fromkeys(people, ("id",))
    keys |= {name: draw(st.sampled_from(some_keys)) for name in names[len(people) :]}
    edges = {name: _references(draw, name, names, keys, taste) for name in names}
    sheets = tuple(_sheet(draw, name, keys, edges, taste) for name in names)
    rows = {sheet.name: _rows(draw, sheet) for sheet in sheets}
    filled = tuple(replace(sheet, rows=_linked(draw, sheet, sheets, rows)) for sheet in sheets)
    kinds = tuple(_people(draw, name, edges, taste) for name in people)
    return World(sheets=filled, people=kinds, unknown=draw(st.sampled_from(taste.unknown)))


def is_person(name: str) -> bool:
    """Whether the sheet holds people's own rows."""
    return name in ("person", "worker")


def _people(draw: st.DrawFn, name: str, edges: dict[str, tuple[Reference, ...]], taste: Taste) -> People:
    """Where the market of one kind is told: mostly in the person's own country."""
    if draw(st.booleans()):
        return People(sheet=name)
    ways = [(), *(way for way in _ways(name, edges, 2) if way)] if taste.told_elsewhere else [()]
    pieces = []
    for number in range(draw(st.integers(1, EVIDENCE_MAX))):
        steps = draw(st.sampled_from(ways))
        dated = draw(st.sampled_from(["day", None]))
        bound = draw(st.sampled_from(["day", None, None]))
        pieces.append(
            tell(
                draw(st.sampled_from(["country", "land"])) if not steps and is_person(name) else "land",
                *steps,
                name=f"piece{number}",
                date=dated,
                since=bound,
                when=draw(st.sampled_from([None, None, "part = 1"])),
                values=draw(st.sampled_from([None, (("CA", "CA"), ("FR", "US")), (("US", "elsewhere"),)])),
                pattern=draw(st.sampled_from([None, None, "^(C.)"])),
            )
        )
    decide = draw(st.sampled_from(list(Decide)))
    as_of = draw(st.sampled_from([None, date(2020, 3, 1)]))
    return People(
        sheet=name, evidence=tuple(pieces), decide=decide, conflict=draw(st.sampled_from(taste.conflict)), as_of=as_of
    )


def _ways(name: str, edges: dict[str, tuple[Reference, ...]], hops: int) -> list[tuple[Step, ...]]:
    """Every way over the edges, up or down, wherever it ends."""
    ways: list[tuple[Step, ...]] = [()]
    if hops:
        for edge in edges[name]:
            step = up(edge.reading or edge.columns, edge.parent, edge.parent_columns, when=edge.when)
            ways += [(step, *rest) for rest in _ways(edge.parent, edges, hops - 1)]
        for child, references in edges.items():
            for edge in references:
                if edge.parent == name:
                    step = down(child, edge.reading or edge.columns, edge.parent_columns)
                    ways += [(step, *rest) for rest in _ways(child, edges, hops - 1)]
    return ways


def _references(
    draw: st.DrawFn, name: str, names: list[str], keys: dict[str, tuple[str, ...]], taste: Taste
) -> tuple[Reference, ...]:
    parents = [parent for parent in names if keys[parent]]
    made = []
    people = [parent for parent in parents if is_person(parent)]
    for number in range(draw(st.integers(0, 1) if is_person(name) else st.integers(1, 3))):
        parent = draw(st.sampled_from(parents if number else [*people, *parents]))
        if taste.readings and keys[parent] == ("id",) and draw(st.integers(0, 4)) == 0:
            made.append(
                refer(
                    draw(st.sampled_from(_readings(f"e{number}_bag"))),
                    parent,
                    home=draw(st.sampled_from(taste.apart)),
                    source=draw(st.sampled_from(taste.apart)),
                )
            )
            continue
        columns = tuple(f"e{number}_{part}" for part in range(len(keys[parent])))
        enforced = draw(st.sampled_from([True, True, False]))
        made.append(
            Reference(
                columns=columns,
                parent=parent,
                parent_columns=keys[parent],
                enforced=enforced,
                when=None if enforced else draw(st.sampled_from([None, "part = 1"])),
                home=draw(st.sampled_from(taste.apart)),
                source=draw(st.sampled_from(taste.apart)),
            )
        )
    return tuple(made)


def _readings(name: str) -> list[Reading]:
    kind = KeyKind.INTEGER
    return [
        Reading(column=name, holds=Holds.ARRAY, steps=(EACH,), kind=kind),
        Reading(column=name, holds=Holds.TEXT, pattern=PATTERN, kind=kind),
        *(Reading(column=name, holds=Holds.JSON, steps=steps, kind=kind) for steps in STEPS),
        *(Reading(column=name, holds=Holds.JSONB, steps=steps, kind=kind) for steps in STEPS),
    ]


BAGS = {Holds.ARRAY: "integer[]", Holds.JSONB: "jsonb", Holds.JSON: "text", Holds.TEXT: "text"}


def _bag(draw: st.DrawFn, reading: Reading, keys: list[object], *, garbage: bool) -> object:
    """A value in which none, one or several keys stand, the way the reading finds them."""
    found = draw(st.lists(st.sampled_from([*keys, 99]), max_size=2))
    if draw(st.integers(0, 4)) == 0:
        return None
    if reading.holds is Holds.ARRAY:
        return found
    if reading.holds is Holds.TEXT:
        return " ".join(f"u{key}" for key in found)
    if garbage and reading.holds is Holds.JSON and draw(st.integers(0, 9)) == 0:
        return "no json {"
    spelled = [draw(st.sampled_from([key, str(key), f"x{key}"])) for key in found]
    if reading.steps == ("who",):
        return json.dumps({"who": spelled[0] if spelled else None})
    return json.dumps({"all": [{"id": key} for key in spelled]})


def _sheet(
    draw: st.DrawFn,
    name: str,
    keys: dict[str, tuple[str, ...]],
    edges: dict[str, tuple[Reference, ...]],
    taste: Taste,
) -> Sheet:
    columns = {"id": "integer", "part": "integer", "note": "text", "land": "text", "day": "date"}
    columns |= {"country": "text"} if is_person(name) else {}
    columns |= {
        column: BAGS[edge.reading.holds] if edge.reading else "integer"
        for edge in edges[name]
        for column in edge.columns
    }
    sheet = Sheet(name=name, columns=columns, key=keys[name], references=edges[name])
    if is_person(name):
        disposition = draw(st.sampled_from([Disposition.MOVE, Disposition.SPLIT]))
        return replace(sheet, disposition=disposition, paths=(path(subject=name),), blanks=_blanks(draw, sheet, taste))
    found = [way for way in _paths(name, edges) if way.steps]
    paths = tuple(draw(st.permutations(found))[: draw(st.integers(1, PATHS_MAX))]) if found else ()
    if len(paths) > 1 and draw(st.booleans()):
        paths = tuple(replace(way, shared=draw(st.sampled_from(taste.shared))) for way in paths)
    dispositions = [Disposition.NONE, Disposition.PUBLIC]
    if paths:
        dispositions = [Disposition.MOVE] * 3 + [Disposition.PUBLIC] * 2
        dispositions += [Disposition.SPLIT] * 2 if keys[name] else []
    disposition = draw(st.sampled_from(dispositions))
    blanks = _blanks(draw, sheet, taste)
    if disposition is Disposition.PUBLIC and (not paths or not keys[name] or draw(st.booleans())):
        blanks = ()
    if disposition is Disposition.NONE:
        blanks = paths = ()
    if disposition is Disposition.MOVE and taste.bare and draw(st.integers(0, 4)) == 0:
        blanks = ()
    follows = disposition in (Disposition.MOVE, Disposition.SPLIT)
    return replace(
        sheet,
        disposition=disposition,
        home_rows=HomeRows.ALL if follows else draw(st.sampled_from(_home_rows(taste))),
        paths=paths,
        shared=draw(st.sampled_from(taste.shared)),
        ownerless_stay=taste.decided or draw(st.sampled_from([True, True, False])),
        unenforced_follow=taste.decided or draw(st.sampled_from([True, True, False])),
        blanks=blanks,
    )


def _home_rows(taste: Taste) -> list[HomeRows]:
    return [HomeRows.ALL, HomeRows.NEEDED] if taste.decided else [HomeRows.ALL, HomeRows.NEEDED, HomeRows.NOTHING]


def _blanks(draw: st.DrawFn, sheet: Sheet, taste: Taste) -> tuple[Blank, ...]:
    """The stand-in of the note; sometimes an edge's columns are private, too."""
    if not sheet.key:
        return ()
    kinds = [null("note"), literal("note", "-")] + ([token("note", "@x")] if taste.tokens else [])
    blanks = [draw(st.sampled_from(kinds))]
    if taste.blanked_edges and sheet.references and draw(st.integers(0, 4)) == 0:
        edge = draw(st.sampled_from(sheet.references))
        stand_in = (
            len(edge.columns) == 1
            and not edge.enforced
            and not edge.reading
            and not taste.decided
            and draw(st.booleans())
        )
        blanks += [literal(column, "1") if stand_in else null(column) for column in edge.columns]
    return tuple(blanks)


def _paths(name: str, edges: dict[str, tuple[Reference, ...]], hops: int = HOPS_MAX) -> list[Path]:
    """Every way over the edges, up or down, that ends at a person."""
    return [
        path(*steps, subject=end)
        for steps in _ways(name, edges, hops)
        if is_person(end := steps[-1].table.name if steps else name)
    ]


def _rows(draw: st.DrawFn, sheet: Sheet) -> list[dict[str, object]]:
    """Rows with their keys; the note of each says whose it is, and is found nowhere else."""
    rows = []
    for number in range(1, draw(st.integers(0 if not is_person(sheet.name) else 1, ROWS_MAX)) + 1):
        row: dict[str, object] = {"id": number, "part": number % 2, "note": f"private {sheet.name} {number}"}
        row |= {"land": draw(st.sampled_from(COUNTRIES)), "day": draw(st.sampled_from(DAYS))}
        if is_person(sheet.name):
            row["country"] = draw(st.sampled_from(COUNTRIES))
        if not sheet.key:
            row |= {"id": 1, "note": f"keyless {sheet.name}", "land": "CA", "day": None}
        rows.append(row)
    return rows


def _linked(
    draw: st.DrawFn, sheet: Sheet, sheets: tuple[Sheet, ...], rows: dict[str, list[dict[str, object]]]
) -> tuple[tuple[object, ...], ...]:
    linked = []
    for row in rows[sheet.name]:
        for edge in sheet.references:
            if edge.reading is not None:
                keys = [parent["id"] for parent in rows[edge.parent]]
                row[edge.reading.column] = _bag(draw, edge.reading, keys, garbage=True)
                continue
            targets: list[tuple[object, ...]] = [
                tuple(parent[name] for name in edge.parent_columns) for parent in rows[edge.parent]
            ]
            targets += [(None,) * len(edge.columns)]
            if not edge.enforced:
                targets += [(99,) * len(edge.columns)]
            if len(edge.columns) > 1:
                targets += [(None, 1)]
            row |= dict(zip(edge.columns, draw(st.sampled_from(targets)), strict=True))
        linked.append(tuple(row[name] for name in sheet.columns))
    return tuple(linked)
