"""What must be true after any decided move, asked of the rows alone: nothing here knows how the closure is computed.

Reachability, dangling references and private values are worked out again from the world, by brute force.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from domicile.config.rules import Apart, Decide, Disposition, Shared
from domicile.model import Path, Reading, Step
from domicile.stores.memory.conditions import holds
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
                for edge in sheet.references:
                    parent = move.world.sheet(edge.parent)
                    if edge.when is not None and not holds(edge.when, dict(zip(sheet.columns, row, strict=True))):
                        continue
                    for key in _named(sheet, row, edge.columns, edge.reading):
                        before = [_pick(parent, there, edge.parent_columns) for there in move.before[parent.name]]
                        now = [_pick(parent, there, edge.parent_columns) for there in tables[parent.name]]
                        if key in before and key not in now:
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
    """P6: what leads to a stayer who counts, or to nobody, lies at the source as it did."""
    for sheet in move.world.sheets:
        for row in move.before[sheet.name]:
            stays, reached = False, False
            for way in sheet.paths:
                found, rule = _reached(move, sheet, row, way), way.shared or sheet.shared
                if SOURCE in found and not (rule is Shared.FIRST and reached) and rule is not Shared.ANY:
                    stays = True
                reached = reached or bool(found)
            nobodys = not any(_reached(move, sheet, row, way) - {SOURCE} for way in sheet.paths)
            if (stays or nobodys) and row not in move.after[sheet.name]:
                yield f"touched: {sheet.name} {row}"


def _destinations(move: Move, sheet: Sheet, row: Row) -> set[str]:
    return set().union(*(_reached(move, sheet, row, way) for way in sheet.paths))


def _reached(move: Move, sheet: Sheet, row: Row, way: Path) -> set[str]:
    """Where the people live that the row leads to."""
    return {_home(move, there, person) for there, person in _walk(move, sheet, row, way.steps)}


def _walk(move: Move, sheet: Sheet, row: Row, steps: tuple[Step, ...]) -> list[tuple[Sheet, Row]]:
    """The rows at the end of the steps, by comparing every row with every row."""
    here = [(sheet, row)]
    for step in steps:
        there = next(sheet for sheet in move.world.sheets if sheet.table == step.table)
        here = [
            (there, other)
            for start, row in here
            if step.when is None or holds(step.when, dict(zip(start.columns, row, strict=True)))
            for other in move.before[there.name]
            if set(_named(start, row, step.columns, step.reading))
            & set(_named(there, other, step.to_columns, step.to_reading))
        ]
    return here


def _named(sheet: Sheet, row: Row, columns: tuple[str, ...], reading: Reading | None) -> list[Row]:
    """The keys that stand in the columns, or inside the one column; none where a part is null."""
    values = _pick(sheet, row, columns)
    if None in values:
        return []
    if reading is None:
        return [values]
    (value,) = values
    if reading.pattern is not None:
        texts: list[object] = re.findall(reading.pattern, str(value))
    elif isinstance(value, tuple):
        texts = list(value)
    else:
        texts = _in_json(str(value), reading.steps)
    return [(int(text),) for text in map(str, texts) if text.isdecimal()]


def _in_json(text: str, steps: tuple[str, ...]) -> list[object]:
    """The random worlds write JSON in two shapes only."""
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return [value["who"]] if steps == ("who",) else [item["id"] for item in value["all"]]


def _home(move: Move, sheet: Sheet, person: Row) -> str:
    """Where a person lives, by all that is told of them."""
    world = move.world
    people = next(item for item in world.people if item.sheet == sheet.name)
    told: list[tuple[int, date, str]] = []
    for number, piece in enumerate(people.evidence):
        for there, row in _walk(move, sheet, person, piece.steps):
            value, dated, since = (
                _pick(there, row, (name,))[0] if name else None for name in (piece.field, piece.date, piece.since)
            )
            early = people.as_of and isinstance(since, date) and since > people.as_of
            unsaid = piece.when is not None and f"part = {_pick(there, row, ('part',))[0]}" != piece.when
            if value is None or early or unsaid or (piece.pattern and not re.search(piece.pattern, str(value))):
                continue
            market = str(value) if piece.values is None else dict(piece.values).get(str(value), "")
            told.append((number, dated if isinstance(dated, date) else date.min, market))
    homes = {dict(world.markets).get(market, SOURCE) for *_, market in told}
    if people.decide is Decide.FIRST and told:
        homes = {dict(world.markets).get(m, SOURCE) for n, _, m in told if n == min(told)[0]}
    if people.decide is Decide.LATEST and told:
        newest = max(day for _, day, _ in told)
        homes = {dict(world.markets).get(m, SOURCE) for _, day, m in told if day == newest}
    if not told:
        return dict(world.markets).get(world.unknown, SOURCE)
    return homes.pop() if len(homes) == 1 else dict(world.markets).get(str(people.conflict), SOURCE)


def _pick(sheet: Sheet, row: Row, columns: tuple[str, ...]) -> Row:
    names = list(sheet.columns)
    return tuple(row[names.index(column)] for column in columns)
