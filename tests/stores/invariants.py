"""What must be true after any decided move, asked of the rows alone: nothing here knows how the closure is computed.

Reachability, dangling references and private values are worked out again from the world, by brute force.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from domicile.config import Apart, Disposition, Shared
from domicile.model import Path
from tests.stores.benches import SOURCE, Bench, Row
from tests.stores.world import Sheet, World

Places = dict[str, dict[str, list[Row]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Rows before at the source, and afterwards everywhere."""

    world: World
    before: dict[str, list[Row]]
    after: dict[str, list[Row]]
    homes: Places


def observe(bench: Bench, world: World) -> dict[str, list[Row]]:
    """All rows at the source."""
    return {sheet.name: bench.rows(SOURCE, sheet.name) for sheet in world.sheets}


def observe_homes(bench: Bench, world: World) -> Places:
    """All rows at the homes."""
    homes = dict.fromkeys(home for _, home in world.markets)
    return {home: {sheet.name: bench.rows(home, sheet.name) for sheet in world.sheets} for home in homes}


def broken(move: Move) -> list[str]:
    """Name every invariant that does not hold, and on what."""
    return [*_lost(move), *_dangling(move), *_leaked(move), *_touched(move)]


def _lost(move: Move) -> Iterator[str]:
    """P1: a row that is no longer at the source as it was is whole at some home, as often as it was."""
    for name, rows in move.before.items():
        for row in set(rows):
            gone = rows.count(row) - move.after[name].count(row)
            if gone > 0 and not any(home[name].count(row) >= gone for home in move.homes.values()):
                yield f"lost: {name} {row}"
            if gone < 0 and row not in rows:
                yield f"appeared: {name} {row}"


def _dangling(move: Move) -> Iterator[str]:
    """No reference breaks anywhere that was whole before."""
    for place, tables in {SOURCE: move.after, **move.homes}.items():
        for sheet in move.world.sheets:
            for row in tables[sheet.name]:
                for number, edge in enumerate(sheet.references):
                    values = _pick(sheet, row, edge.columns)
                    if None in values:
                        continue
                    parent = move.world.sheet(edge.parent)

                    def held(tables: dict[str, list[Row]], parent: Sheet = parent, number: int = number) -> bool:
                        edge = sheet.references[number]  # noqa: B023 - called at once
                        return any(
                            _pick(parent, there, edge.parent_columns) == values  # noqa: B023 - called at once
                            for there in tables[parent.name]
                        )

                    if held(move.before) and not held(tables):
                        yield f"dangling at {place}: {sheet.name} {row} over {edge.columns}"


def _leaked(move: Move) -> Iterator[str]:
    """A private value is at a home only if its row leads to one of that home's movers, or a rule says `whole`."""
    whole = {
        edge.parent
        for sheet in move.world.sheets
        for edge in sheet.references
        if edge.home is Apart.WHOLE and move.world.sheet(edge.parent).disposition is Disposition.MOVE
    }
    for home, tables in move.homes.items():
        for sheet in move.world.sheets:
            if sheet.name in whole or not any(blank.column == "note" for blank in sheet.blanks):
                continue
            notes = {_pick(sheet, row, ("note",)) for row in tables[sheet.name]}
            for row in move.before[sheet.name]:
                if _pick(sheet, row, ("note",)) in notes and home not in _destinations(move, sheet, row):
                    yield f"leaked to {home}: {sheet.name} {row}"


def _touched(move: Move) -> Iterator[str]:
    """P6: what leads to a stayer, or to nobody, lies at the source as it did."""
    for sheet in move.world.sheets:
        for row in move.before[sheet.name]:
            by_path = [_reached(move, sheet, row, way) for way in sheet.paths]
            found = set().union(*by_path)
            if sheet.shared is Shared.FIRST:
                found = next((part for part in by_path if part), set())
            if sheet.shared is Shared.ANY and found != {SOURCE}:
                continue
            if (SOURCE in found or not found) and row not in move.after[sheet.name]:
                yield f"touched: {sheet.name} {row}"


def _destinations(move: Move, sheet: Sheet, row: Row) -> set[str]:
    return set().union(*(_reached(move, sheet, row, way) for way in sheet.paths))


def _reached(move: Move, sheet: Sheet, row: Row, way: Path) -> set[str]:
    """Where the people live that the row leads to."""
    return {_home(move, there, person) for there, person in _walked(move, sheet, row, way)}


def _walked(move: Move, sheet: Sheet, row: Row, way: Path) -> list[tuple[Sheet, Row]]:
    """The rows that the row leads to, by comparing every row with every row."""
    here = [(sheet, row)]
    for step in way.steps:
        there = next(sheet for sheet in move.world.sheets if sheet.table == step.table)
        here = [
            (there, other)
            for start, row in here
            for other in move.before[there.name]
            if None not in _pick(start, row, step.columns)
            and _pick(start, row, step.columns) == _pick(there, other, step.to_columns)
        ]
    return here


def _home(move: Move, sheet: Sheet, person: Row) -> str:
    """Where all that is told of a person's country agrees that they live, else what the file says."""
    world, homes = move.world, dict(move.world.markets)
    telling = _walked(move, sheet, person, world.market_path)
    if world.market_when is not None:
        telling = [
            (there, row) for there, row in telling if f"part = {_pick(there, row, ('part',))[0]}" == world.market_when
        ]
    told = {_pick(there, row, (world.market_field,))[0] for there, row in telling} - {None}
    places = {homes.get(str(country), SOURCE) for country in told}
    if len(places) == 1:
        return places.pop()
    return homes.get(str(world.market_conflict if places else world.unknown), SOURCE)


def _pick(sheet: Sheet, row: Row, columns: tuple[str, ...]) -> Row:
    names = list(sheet.columns)
    return tuple(row[names.index(column)] for column in columns)
