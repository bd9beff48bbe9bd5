"""Random small worlds: trees, diamonds, cycles, self references, paths up and down, every disposition and rule."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from domicile.config import Apart, Disposition, HomeRows, Shared
from domicile.model import Blank, Path
from tests.stores.world import Reference, Sheet, World, down, literal, null, path, token, up

COUNTRIES = ("US", "CA", "FR", None)
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


DECIDED = Taste(
    shared=(Shared.EACH, Shared.FIRST, Shared.ANY),
    apart=(Apart.SKELETON, Apart.WHOLE),
    unknown=("stay", "US"),
    decided=True,
)


@st.composite
def worlds(draw: st.DrawFn, taste: Taste = Taste()) -> World:
    """A world of 2 to 6 sheets with at most 5 rows each."""
    count = draw(st.integers(1, SHEETS_MAX - 1))
    names = ["person", *(f"t{number}" for number in range(1, count + 1))]
    keys = {"person": ("id",)} | {
        name: draw(st.sampled_from([("id",), ("id",), ("id",), ("part", "id"), ()])) for name in names[1:]
    }
    edges = {name: _references(draw, name, names, keys, taste) for name in names}
    sheets = tuple(_sheet(draw, name, keys, edges, taste) for name in names)
    rows = {sheet.name: _rows(draw, sheet) for sheet in sheets}
    filled = tuple(replace(sheet, rows=_linked(draw, sheet, sheets, rows)) for sheet in sheets)
    world = World(sheets=filled, unknown=draw(st.sampled_from(taste.unknown)))
    return (
        _told_elsewhere(draw, world, edges, taste) if taste.told_elsewhere and draw(st.integers(0, 2)) == 0 else world
    )


def _told_elsewhere(draw: st.DrawFn, world: World, edges: dict[str, tuple[Reference, ...]], taste: Taste) -> World:
    """The same world, where rows that refer to a person tell the market, one or many of them, agreeing or not."""
    below = [(name, edge) for name, found in edges.items() for edge in found if edge.parent == "person"]
    if not below:
        return world
    child, edge = draw(st.sampled_from(below))
    return replace(
        world,
        market_path=path(down(child, edge.columns, edge.parent_columns)),
        market_field="country",
        market_when=draw(st.sampled_from([None, None, "part = 1"])),
        market_conflict=draw(st.sampled_from(["stay", "US"] + ([] if taste.decided else [None]))),
        market_single=False,
    )


def _references(
    draw: st.DrawFn, name: str, names: list[str], keys: dict[str, tuple[str, ...]], taste: Taste
) -> tuple[Reference, ...]:
    parents = [parent for parent in names if keys[parent]]
    made = []
    for number in range(draw(st.integers(0 if name == "person" else 1, 3 if name != "person" else 1))):
        parent = draw(st.sampled_from(parents if number else ["person", *parents]))
        columns = tuple(f"e{number}_{part}" for part in range(len(keys[parent])))
        made.append(
            Reference(
                columns=columns,
                parent=parent,
                parent_columns=keys[parent],
                enforced=draw(st.sampled_from([True, True, False])),
                home=draw(st.sampled_from(taste.apart)),
                source=draw(st.sampled_from(taste.apart)),
            )
        )
    return tuple(made)


def _sheet(
    draw: st.DrawFn,
    name: str,
    keys: dict[str, tuple[str, ...]],
    edges: dict[str, tuple[Reference, ...]],
    taste: Taste,
) -> Sheet:
    columns = {"id": "integer", "part": "integer", "note": "text", "country": "text"}
    columns |= {column: "integer" for edge in edges[name] for column in edge.columns}
    sheet = Sheet(name=name, columns=columns, key=keys[name], references=edges[name])
    if name == "person":
        disposition = draw(st.sampled_from([Disposition.MOVE, Disposition.SPLIT]))
        return replace(sheet, disposition=disposition, paths=(path(),), blanks=_blanks(draw, sheet, taste))
    found = [way for way in _paths(name, edges) if way.steps]
    paths = tuple(draw(st.permutations(found))[: draw(st.integers(1, PATHS_MAX))]) if found else ()
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
        stand_in = len(edge.columns) == 1 and not edge.enforced and not taste.decided and draw(st.booleans())
        blanks += [literal(column, "1") if stand_in else null(column) for column in edge.columns]
    return tuple(blanks)


def _paths(name: str, edges: dict[str, tuple[Reference, ...]], hops: int = HOPS_MAX) -> list[Path]:
    """Every way over the edges, up or down, that ends at a person."""
    ways = [path()] if name == "person" else []
    if not hops:
        return ways
    for edge in edges[name]:
        step = up(edge.columns, edge.parent, edge.parent_columns)
        ways += [path(step, *rest.steps) for rest in _paths(edge.parent, edges, hops - 1)]
    for child, references in edges.items():
        for edge in references:
            if edge.parent == name:
                step = down(child, edge.columns, edge.parent_columns)
                ways += [path(step, *rest.steps) for rest in _paths(child, edges, hops - 1)]
    return [way for way in ways if len(way.steps) <= HOPS_MAX]


def _rows(draw: st.DrawFn, sheet: Sheet) -> list[dict[str, object]]:
    """Rows with their keys; the note of each says whose it is, and is found nowhere else."""
    rows = []
    for number in range(1, draw(st.integers(0 if sheet.name != "person" else 1, ROWS_MAX)) + 1):
        row: dict[str, object] = {"id": number, "part": number % 2, "note": f"private {sheet.name} {number}"}
        row["country"] = draw(st.sampled_from(COUNTRIES))
        if not sheet.key:
            row |= {"id": 1, "note": f"keyless {sheet.name}", "country": "CA"}
        rows.append(row)
    return rows


def _linked(
    draw: st.DrawFn, sheet: Sheet, sheets: tuple[Sheet, ...], rows: dict[str, list[dict[str, object]]]
) -> tuple[tuple[object, ...], ...]:
    linked = []
    for row in rows[sheet.name]:
        for edge in sheet.references:
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
