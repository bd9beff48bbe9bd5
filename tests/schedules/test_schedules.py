"""P1, P5: whatever people do between two statements of the engine, what was promised is there (`make schedules`).

And the search can fail: orders that must hold (docs/protocol.md) are taken away one by one, and it finds what comes of
that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from domicile.config.rules import Apart
from domicile.model import DatasetScope
from domicile.run.moving import Moving
from domicile.stores.feed import FeedKind
from domicile.stores.postgres.live import back, carrying
from domicile.stores.postgres.live.carrying import How
from domicile.stores.postgres.live.follower import Follower
from domicile.stores.postgres.names import column, column_names, columns, source_of
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.session import run
from tests.schedules import acts
from tests.schedules.__main__ import asked, search
from tests.schedules.playing import BEGUN_AGAIN, Improvised, Played, Written, play
from tests.schedules.schedule import AFTERWARDS, Call, Placed, Schedule, Turn
from tests.schedules.shrinking import shrink
from tests.schedules.world import Worlds

pytestmark = pytest.mark.timeout(300)
SEEDS: Final = [(FeedKind.TRIGGER, seed) for seed in (1, 10, 16, 18, 20, 25, 54)] + [(FeedKind.SLOT, 1)]
CALLS: Final = {Call.GO, Call.BACK, Call.CLOSE, Call.ERASE}
ACTS: Final = {acts.Kill, acts.Send, acts.Deliver, acts.Edit, acts.Change, acts.ChangeMarket, acts.Publish}


@pytest.fixture(scope="module")
def worlds(pg18: EmbeddedServer) -> Iterator[Worlds]:
    """Worlds on the session's server."""
    made = Worlds(pg18)
    yield made
    made.end()


@pytest.mark.slow
def test_p1_p5_whatever_people_do_between_two_statements_what_was_promised_is_there(worlds: Worlds) -> None:
    calls, done, story = set[Call](), set[type](), list[str]()
    for feed, seed in SEEDS:
        played = play(worlds, Improvised(seed=seed, feed=feed))
        assert "" == played.broken, f"{feed} {seed}"
        calls |= {turn.call for turn in played.schedule.turns}
        done |= {type(one.act) for turn in played.schedule.turns for one in turn.acts}
        story += played.story
    assert calls >= CALLS, "these seeds ask less of the engine than they are to"
    assert done >= ACTS, "people do less than they are to"
    assert BEGUN_AGAIN in story


def _nothing_owed(follower: Follower, connection: object, done: object, batch: object) -> object:
    follower._owed = {}
    return done


def _as_it_is(
    other: object, source: psycopg.Connection[Any], scope: object, dataset: DatasetScope, cohort: object
) -> int:
    """Leave at the source what is gone at one home, whether another has it or not."""
    names = column_names(dataset)
    query = sql.SQL("INSERT INTO {} ({}) SELECT {}, {} FROM {} AS d JOIN {} AS b ON {}").format(
        carrying.rows_of(dataset), columns((carrying.HOW, *names)), sql.Literal(How.LAST.value),
        sql.SQL(", ").join(column("d", name) for name in names), source_of(dataset), carrying.gone_of(dataset),
        carrying.gone_match(dataset),
    )  # fmt: skip
    rows = run(source, query).rowcount
    run(source, sql.SQL("DELETE FROM {}").format(carrying.gone_of(dataset)))
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """What is put in the place of a part of the engine, seeds of which one is to find it, and as what."""

    owner: Any
    name: str
    instead: Any
    seeds: tuple[int, ...]
    kind: str


FLAWS: Final = {
    "what comes back of two homes' people goes forth to nobody": Flaw(
        owner=Follower, name="_bring_owed", instead=_nothing_owed, seeds=(54, 41), kind="lost",
    ),
    "what a cohort has together with others is not brought back with it": Flaw(
        owner=Follower, name="return_shared", instead=lambda *_: 0, seeds=(18, 6, 40), kind="lost",
    ),
    "what one deleted goes while another is brought back with them": Flaw(
        owner=back, name="carry_kept", instead=lambda *_: 0, seeds=(1, 44, 51), kind="lost",
    ),
    "what one deleted is there for the other as the source has it": Flaw(
        owner=back, name="carry_kept", instead=_as_it_is, seeds=(25, 67, 44), kind="there again",
    ),
    "what changed at home comes where the other deleted theirs": Flaw(
        owner=back, name="_is_new", instead=lambda _: sql.SQL("true"), seeds=(16, 40), kind="there again",
    ),
    "a cohort is not drained": Flaw(
        owner=Moving, name="_drain", instead=lambda *_: ("", ""), seeds=(20, 19, 44), kind="otherwise",
    ),
}  # fmt: skip


def test_seeds_that_find_a_flaw_find_nothing_without_it() -> None:
    assert {(FeedKind.TRIGGER, flaw.seeds[0]) for flaw in FLAWS.values()} <= set(SEEDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLAWS)
def test_an_order_that_is_taken_away_is_missed(worlds: Worlds, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    flaw = FLAWS[name]
    monkeypatch.setattr(flaw.owner, flaw.name, flaw.instead)
    runs = (Improvised(seed=seed, feed=FeedKind.TRIGGER) for seed in flaw.seeds)
    assert any(play(worlds, run).kind == flaw.kind for run in runs), "no seed found it"


def test_a_seed_that_fails_is_told_with_how_to_repeat_it_and_its_shortest_story(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flaw = FLAWS["a cohort is not drained"]
    monkeypatch.setattr(flaw.owner, flaw.name, flaw.instead)
    (seed, *_) = flaw.seeds
    assert 1 == search(worlds, asked(["--seed", str(seed), "--seeds", "1", "--feed", "trigger", "--shrink", "1"]))
    told = capsys.readouterr().out
    first, complaint, *_ = told.splitlines()
    assert first.startswith(f"trigger {seed}: ")
    assert first.endswith("FAILED")
    assert complaint.startswith(flaw.kind)
    assert f"again: python -m tests.schedules --feed trigger --seed {seed} --seeds 1\n" in told
    assert "\ncut over " in told
    assert told.endswith("1 seeds failed\n")


def test_what_was_done_is_done_again_by_its_schedule(worlds: Worlds) -> None:
    """But for what the engine asks again while it waits: how often is the server's affair, the first time above all."""

    def pairs() -> Iterator[tuple[Played, Played]]:
        for seed in (18, 54, 18, 54, 20):
            played = play(worlds, Improvised(seed=seed, feed=FeedKind.TRIGGER))
            yield played, play(worlds, Written(schedule=played.schedule))

    assert any(played.story == again.story for played, again in pairs())


def _fails_by(schedule: Schedule) -> Played:
    """As a run that fails where 1 goes home and has written before: whatever else is done."""
    turns = [turn for turn in schedule.turns if turn == Turn(call=Call.GO, people=(1,), acts=turn.acts)]
    wrote = [one for turn in turns for one in turn.acts if one.act == acts.ChangeEmail(1, "v")]
    return Played(schedule=schedule, story=(), statements=0, broken="lost: 1" if wrote else "")


def test_a_failing_schedule_is_made_as_short_as_it_can_be() -> None:
    many = tuple(Placed(words=AFTERWARDS, nth=1, act=acts.ChangeEmail(who, "v")) for who in (2, 1, 3, 1, 4))
    turns = tuple(Turn(call=Call.GO, people=(who,), acts=many) for who in (3, 1, 2, 1))
    whole = _fails_by(Schedule(feed=FeedKind.SLOT, apart=Apart.WHOLE, turns=turns))
    shortest = shrink(whole, _fails_by)
    assert (Turn(call=Call.GO, people=(1,), acts=(many[1],)),) == shortest.schedule.turns
    assert "lost: 1" == shortest.broken
    assert len(shrink(whole, _fails_by, runs_max=1).schedule) > 2
