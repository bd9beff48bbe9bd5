"""P1: what somebody at one home writes to somebody who is going to another one just now is at both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg
import pytest

from domicile.model import Home
from domicile.run import Stage
from domicile.run.live import cohort_of
from domicile.stores.postgres.live.follower import Follower, Stepped
from domicile.stores.postgres.live.people import People
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import CUTOVER, RULES, SCHEMA, World, homes_of, moving_in, moving_world

pytestmark = pytest.mark.timeout(120)
US: Final = Home("us")
AT_HOME, LEAVING = 1, 2  # the one lives in the US, the other goes to Canada
LETTER: Final = "INSERT INTO letter VALUES (7, 1, 2, 'first') ON CONFLICT (id) DO NOTHING"
READ: Final = "SELECT id, sender, recipient, body FROM letter"
TALK: Final = """
CREATE TABLE talk (id bigint PRIMARY KEY, host bigint NOT NULL REFERENCES person,
    guest bigint NOT NULL REFERENCES person, other bigint NOT NULL REFERENCES person, body text);
"""
TALKS: Final = RULES.replace(
    "  app.public.wallet", "  app.public.talk: {rows: move, subjects: {by: [host, guest, other], shared: each}}\n"
    "  app.public.wallet"
)  # fmt: skip
FEEDS: Final = ("slot", "trigger")


def _after_compared(monkeypatch: pytest.MonkeyPatch, act: Callable[[Follower], None]) -> None:
    """Have `act` happen once a cohort was compared, before it is fenced."""
    step = Follower.step

    def stepping(follower: Follower, *, cohort: int | None = None, repair: bool = False) -> Stepped:
        done = step(follower, cohort=cohort, repair=repair)
        if cohort is not None:
            act(follower)
        return done

    monkeypatch.setattr(Follower, "step", stepping)


def _written_at_both(world: World) -> Callable[[Follower], None]:
    """The platform writes at the writer's home, and then where the reader is; the engine was there before it."""

    def write(follower: Follower) -> None:
        world.at("us", LETTER)
        follower.step_back(US)
        world.at("source", LETTER)

    return write


@pytest.mark.parametrize("feed", FEEDS)
def test_p1_a_letter_that_came_back_after_the_comparison_goes_home_with_its_reader(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, feed: str
) -> None:
    cutover = CUTOVER.replace("{", f"{{feed: {feed}, ", 1)
    with moving_world(pg18, tmp_path, f"between_{feed}", cutover=cutover) as world:
        world.live.cut_over(world.scope, cohort_of(f"key:{AT_HOME}"))
        _after_compared(monkeypatch, _written_at_both(world))
        world.live.cut_over(world.scope, cohort_of(f"key:{LEAVING}"))
        for place in ("us", "source", "ca"):
            assert [(7, 1, 2, "first")] == world.at(place, READ)


class _Killed(Exception):
    """What comes between the step back and the next one forth."""


def test_p1_p5_it_goes_home_with_its_reader_where_the_run_was_killed(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with homes_of(pg18, "between_killed") as dsns:
        with moving_in(dsns, tmp_path) as world:
            _kill_before_the_fence(world, monkeypatch)
        with world.programme.opened() as run:
            run.apply(until=Stage.CUTOVER)
        assert [(7, 1, 2, "first")] == world.at("ca", READ)


def _kill_before_the_fence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.live.cut_over(world.scope, cohort_of(f"key:{AT_HOME}"))
    _after_compared(monkeypatch, _written_at_both(world))

    def killed(people: People, cohort: int, state: str) -> None:
        raise _Killed

    monkeypatch.setattr(People, "move", killed)
    with pytest.raises(_Killed):
        world.live.cut_over(world.scope, cohort_of(f"key:{LEAVING}"))
    monkeypatch.undo()


def test_p1_what_came_back_takes_the_place_of_nothing_that_somebody_at_home_wrote_since(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with homes_of(pg18, "between_three") as dsns, moving_in(dsns, tmp_path, schema=SCHEMA + TALK, rules=TALKS) as world:
        world.live.cut_over(world.scope, cohort_of(f"key:{AT_HOME}"))

        def write(follower: Follower) -> None:
            world.at("us", "INSERT INTO talk VALUES (7, 1, 6, 2, 'first')")
            follower.step_back(US)
            world.at("us", "UPDATE talk SET body = 'second'")

        _after_compared(monkeypatch, write)
        world.live.cut_over(world.scope, cohort_of(f"key:{LEAVING}"))
        assert [("second",)] == world.at("us", "SELECT body FROM talk")
        assert [("first",)] == world.at("ca", "SELECT body FROM talk")


def test_p6_who_writes_the_other_end_of_a_letter_at_that_moment_stops_nothing(
    pg18: EmbeddedServer, tmp_path: Path
) -> None:
    """It was written at home; at the source it is not committed yet as the engine brings it back."""
    with moving_world(pg18, tmp_path, "other_end") as world:
        world.live.cut_over(world.scope, cohort_of(f"key:{AT_HOME}"))
        world.at("us", LETTER)
        with psycopg.connect(world.dsns["source"]) as other_end:
            other_end.execute(LETTER)
            committing = threading.Timer(0.15, other_end.commit)
            committing.start()
            world.live.moving.step(world.live.moving.follower(world.standing))
            committing.join()
        assert [(7, 1, 2, "first")] == world.at("source", READ)
