"""Following: whatever is done at the source, step by step, ends at the homes as the closure of all says."""

from __future__ import annotations

import random
from dataclasses import replace

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from domicile.config.rules import Apart
from domicile.errors import Undecided
from domicile.stores.feed import FeedKind
from domicile.stores.postgres.live.follower import Follower
from tests.live.histories import Followed, Place, changes, otherwise, rows_of
from tests.stores import flow, invariants
from tests.stores.benches import MemoryBench, Row
from tests.stores.random_worlds import DECIDED, worlds
from tests.stores.world import Sheet, World

QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # each example takes a second: a failing one is told as it is
histories = settings(
    max_examples=15, deadline=None, print_blob=True, suppress_health_check=QUIET, phases=PHASES, derandomize=True
)


@pytest.mark.timeout(900)
@histories
@given(world=worlds(replace(DECIDED, tokens=False)), seed=st.integers(0, 2**32))
def test_homes_follow_any_history(world: World, seed: int, place: Place) -> None:
    _follow(world, seed, place, FeedKind.TRIGGER)


@pytest.mark.timeout(900)
@settings(histories, max_examples=4)
@given(world=worlds(replace(DECIDED, tokens=False, keyless=False)), seed=st.integers(0, 2**32))
def test_homes_follow_any_history_by_a_slot(world: World, seed: int, place: Place) -> None:
    _follow(world, seed, place, FeedKind.SLOT)


def _follow(world: World, seed: int, place: Place, kind: FeedKind) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test's own dice
    memory = MemoryBench(world)
    try:
        flow.move(memory)
    except Undecided:  # worlds are decided for one home, and these have two
        reject()
    expected = invariants.observe_homes(memory, world)
    with Followed(world, place, kind) as follower, psycopg.connect(place.source, autocommit=True) as platform:
        before = replace(world, sheets=tuple(otherwise(sheet, dice) for sheet in world.sheets))
        empty = replace(world, sheets=tuple(replace(sheet, rows=()) for sheet in world.sheets))
        for start, end in ((empty, before), (before, world)):
            for statement in changes(start, end, dice):
                platform.execute(statement)
                if not dice.randrange(6):
                    _step(follower)
        while not (done := follower.step()).complete or done.keys:
            assert not done.unlike
        found = {
            str(home): {sheet.name: rows_of(dsn, sheet) for sheet in world.sheets} for home, dsn in place.homes.items()
        }
    for home, tables in expected.items():
        for name, rows in tables.items():
            _compare(world, world.sheet(name), rows, found[home][name])


def _compare(world: World, sheet: Sheet, expected: list[Row], found: list[Row]) -> None:
    """All that the closure sends is there as often; what else is there is nobody's whole row.

    But for rows that others need whole: those stay so when the others have gone.
    """
    referring = [edge.home for other in world.sheets for edge in other.references if edge.parent == sheet.name]
    stays_whole = Apart.WHOLE in referring
    missing = [row for row in expected if found.count(row) < expected.count(row)]
    bare = [_bare(sheet, row) for row in found]
    assert [] == [row for row in missing if not (stays_whole and row in bare)], sheet.name
    extra = [row for row in found if found.count(row) > expected.count(row)]
    assert [] == [row for row in extra if row != _bare(sheet, row) and not stays_whole], sheet.name
    if sheet.disposition == "move" and not referring:
        assert [] == extra


def _bare(sheet: Sheet, row: Row) -> Row:
    """The row with its private columns blanked."""
    instead = {blank.column: blank.literal for blank in sheet.blanks}
    return tuple(instead.get(name, value) for name, value in zip(sheet.columns, row, strict=True))


def _step(follower: Follower) -> None:
    """In the middle of things rows may lack a rule, or what they refer to; then nothing is brought."""
    try:
        follower.step()
    except Undecided:
        return
