"""P1, P2, P3, P5 of the live move, in every state of a small world; and every wrong order of steps is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest

from tests.protocol import search
from tests.protocol.model import Flaw, Place, State, World
from tests.protocol.search import explore
from tests.protocol.worlds import ALONE, OLD_SNAPSHOTS, SHARED, SPLIT, STAYERS_TOO, WORLDS

COUNTED = {
    "one person": 239,
    "transactions with old snapshots": 900,
    "a split row": 5130,
    "a row shared with a stayer": 525,
    "a row of two movers": 12508,
    "two movers and all their rows": 17250,
}
"""How many states there are: the walk is the same each time, and a world that shrinks unnoticed proves less."""

FLAWED = {
    Flaw.FLIP_BEFORE_DRAIN: (ALONE, "P1: home is the authority"),
    Flaw.NO_WAIT: (ALONE, "P1: home is the authority"),
    Flaw.COPY_BEFORE_FEED: (ALONE, "P1: home is the authority"),
    Flaw.CONFIRM_UNSEEN: (ALONE, "P1: home is the authority"),
    Flaw.SOURCE_FLIPS_FIRST: (ALONE, "P1: home is the authority"),
    Flaw.ERASE_BEFORE_CLOSE: (ALONE, "P3: Ann's row was erased at the source and is there again"),
    Flaw.BACK_WITHOUT_FENCE: (ALONE, "two authorities: Ann"),
    Flaw.BACK_WITHOUT_DRAIN: (ALONE, "P1: source is the authority"),
    Flaw.BACK_AFTER_CLOSE: (ALONE, "P1: source is the authority of Ann's row and has no such row"),
    Flaw.OLD_SNAPSHOT_PASSES: (OLD_SNAPSHOTS, "P1: home is the authority"),
    Flaw.SOURCE_OVERWRITES: (SPLIT, "P1: an acknowledged write of the private half of Ann's row is nowhere"),
    Flaw.NO_MARK: (SHARED, "P1: an acknowledged write of Ann's and Ben's row is nowhere"),
    Flaw.CONFIRM_LATER: (SHARED, "P1: home is the authority of Ann's and Ben's row"),
    Flaw.WHOLE_ROW_FOR_PUBLIC: (SPLIT, "P1: home is the authority of the private half of Ann's row and has no such"),
    Flaw.OLD_WORD_PASSES: (
        STAYERS_TOO,
        "P1: who lives at home lacks an acknowledged write of Ann's and a stayer's row",
    ),
    Flaw.NOTE_UNREAD: (SHARED, "P5: from here the run can't end"),
}


@pytest.mark.parametrize("name", WORLDS)
def test_p1_p3_p5_hold_in_every_state(name: str) -> None:
    found = explore(WORLDS[name])
    assert found.wrong is None, str(found)
    assert found.ends
    assert COUNTED[name] == found.states


@cache
def sound(world: World) -> bool:
    """Whether nothing is wrong in a world without a flaw."""
    return explore(world).wrong is None


def test_every_flaw_is_searched_for() -> None:
    assert set(Flaw) == set(FLAWED)


@pytest.mark.parametrize("flaw", FLAWED, ids=lambda flaw: flaw.name.lower())
def test_a_wrong_order_of_steps_is_found(flaw: Flaw) -> None:
    world, wrong = FLAWED[flaw]
    assert sound(world)  # what is found is the flaw's doing
    found = explore(replace(world, flaw=flaw))
    assert found.wrong is not None
    assert found.wrong.startswith(wrong), str(found)
    assert found.trace


def test_a_trace_reads_as_a_story() -> None:
    told = str(explore(replace(ALONE, flaw=Flaw.NO_WAIT))).splitlines()
    assert "P1: home is the authority of Ann's row and lacks an acknowledged write" == told[1]
    assert [
        "   1. the feed begins",
        "   2. a writer of Ann's row passes the guard at the source",
        "   3. the copy reads Ann's row",
        "   4. the copy of Ann's row commits at home",
        "   5. Ann is fenced at the source",
        "   6. Ann is fenced at home",
        "   7. Ann is flipped at home",
        "   8. the writer of Ann's row at the source commits",
    ] == told[2:]


def test_the_fence_at_home_before_a_cut_over_is_not_what_keeps_writes() -> None:
    """It is a *should*: the comparison wants stillness on both sides. Nothing is lost without it."""
    for world in (ALONE, SPLIT, STAYERS_TOO, SHARED):
        found = explore(replace(world, home_fenced_too=False))
        assert found.wrong is None, str(found)


def test_p2_nothing_is_erased_before_all_are_home_and_the_way_back_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "complaints", _erased_early)
    for world in (ALONE, SPLIT, SHARED):
        assert explore(world).wrong is None
    found = explore(replace(ALONE, flaw=Flaw.ERASE_BEFORE_CLOSE))
    assert "P2: erased too early" == found.wrong


def _erased_early(_: World, state: State) -> Iterator[str]:
    if state.erased and not (state.closed and set(state.at_source) == set(state.at_home) == {Place.HOME}):
        yield "P2: erased too early"


def test_a_world_that_has_grown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "STATES_MAX", 238)
    with pytest.raises(RuntimeError, match="make the world smaller"):
        explore(ALONE)
