"""P1: whoever writes last is not overwritten by what the engine brings once more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
import pytest

from domicile.model import Home
from domicile.run.live import cohort_of
from domicile.stores.feed import Batch, Changefeed
from domicile.stores.postgres.live import back
from domicile.stores.postgres.live.follower import Follower
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import World, moving_world

pytestmark = pytest.mark.timeout(120)
US: Final = Home("us")
AT_HOME, LATER = 1, 6  # both of the US
LETTER: Final = "INSERT INTO letter VALUES (1, 1, 6, 'first'), (2, 1, 6, 'another')"
UNLOGGED: Final = """
    ALTER TABLE letter DISABLE TRIGGER zzzz_domicile_log;
    UPDATE letter SET body = 'lost' WHERE id = 2;
    ALTER TABLE letter ENABLE ALWAYS TRIGGER zzzz_domicile_log
"""
BODY: Final = "SELECT body FROM letter WHERE id = 1"


def _one_at_home(world: World) -> Follower:
    """A letter of two people to one home: one lives there, the other is still at the source."""
    world.at("source", LETTER)
    world.live.cut_over(world.scope, cohort_of(f"key:{AT_HOME}"))
    return world.live.moving.follower(world.standing)


def _step_back(follower: Follower) -> None:
    follower.step_back(US)


def _return_all(follower: Follower) -> None:
    with psycopg.connect(follower.homes[US].dsn) as moment:
        moment.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        row = moment.execute("SELECT pg_current_snapshot()::text").fetchone()
        follower.return_until(US, moment, str(row[0]) if row else "")


class _Killed(Exception):
    """What comes between the step back and its confirmation."""


@pytest.mark.parametrize("bring", [_step_back, _return_all])
def test_p1_p5_a_step_back_that_was_not_confirmed_is_not_brought_back_again(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bring: Callable[[Follower], None]
) -> None:
    with moving_world(pg18, tmp_path, f"again{bring.__name__}") as world:
        follower = _one_at_home(world)
        world.at("us", "UPDATE letter SET body = 'of home' WHERE id = 1")
        feed: Changefeed = follower.feeds_back[US]

        def killed(batch: Batch) -> None:
            raise _Killed

        monkeypatch.setattr(feed, "confirm", killed)
        with pytest.raises(_Killed):
            bring(follower)
        monkeypatch.undo()
        assert [("of home",)] == world.at("source", BODY)
        world.at("source", "UPDATE letter SET body = 'newer' WHERE id = 1")
        bring(follower)
        assert [("newer",)] == world.at("source", BODY)
        world.live.moving.step(follower)
        assert [("newer",)] == world.at("us", BODY)
        world.at("us", "UPDATE letter SET body = 'newest' WHERE id = 1")
        bring(follower)
        assert [("newest",)] == world.at("source", BODY)
        assert [] == world.at("source", "SELECT home FROM domicile.brought")


def test_p1_a_step_forth_confirms_first_what_was_brought_back(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with moving_world(pg18, tmp_path, "forth_first") as world:
        follower = _one_at_home(world)
        world.at("us", "UPDATE letter SET body = 'of home' WHERE id = 1")

        def killed(batch: Batch) -> None:
            raise _Killed

        monkeypatch.setattr(follower.feeds_back[US], "confirm", killed)
        with pytest.raises(_Killed):
            follower.step_back(US)
        monkeypatch.undo()
        follower.step()
        assert 0 == follower.feeds_back[US].lag().rows


def _step_with_repair(world: World, follower: Follower) -> int:
    """Compare and repair as before a cohort's fence; return how many datasets differed."""
    assert 2 == world.standing.people.choose(2, keys=(str(LATER),), size=None)
    return len(follower.step(cohort=2, repair=True).unlike)


def _done_with_it(world: World, follower: Follower) -> None:
    """What home wrote is there, comes to the source, and then both are alike."""
    assert [("of home",)] == world.at("us", BODY)
    world.live.moving.step(follower)
    assert [("of home",)] == world.at("source", BODY)
    assert () == follower.step(cohort=2).unlike


def test_p1_the_repair_of_a_cohort_spares_what_home_wrote_meanwhile(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with moving_world(pg18, tmp_path, "repaired") as world:
        follower = _one_at_home(world)
        world.at("us", "UPDATE letter SET body = 'of home' WHERE id = 1")
        world.at("us", "INSERT INTO letter VALUES (3, 1, 6, 'new at home')")
        assert 1 == _step_with_repair(world, follower)
        assert [("new at home",)] == world.at("us", "SELECT body FROM letter WHERE id = 3")
        _done_with_it(world, follower)


def test_p1_the_repair_of_a_cohort_waits_for_who_is_just_writing(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with moving_world(pg18, tmp_path, "just_writing") as world:
        follower = _one_at_home(world)
        world.at("us", UNLOGGED)
        with _writing(world.dsns["us"], "UPDATE letter SET body = 'of home' WHERE id = 1"):
            assert 1 == _step_with_repair(world, follower)
        assert [("another",)] == world.at("us", "SELECT body FROM letter WHERE id = 2")
        _done_with_it(world, follower)


@contextmanager
def _writing(dsn: str, statement: LiteralString) -> Iterator[None]:
    """Somebody who has written and commits in a while."""
    with psycopg.connect(dsn) as connection:
        connection.execute(statement)
        later = threading.Timer(3.0, connection.commit)
        later.start()
        yield
        later.join()


def test_p1_who_changes_a_letter_while_it_is_brought_back_changes_it(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is still at the source waits for the step back, and then finds the row: it was not deleted and made anew."""
    changed: list[int] = []
    with moving_world(pg18, tmp_path, "changed_meanwhile") as world:
        follower = _one_at_home(world)
        world.at("us", "UPDATE letter SET body = 'of home' WHERE id = 1")

        def change() -> None:
            with psycopg.connect(world.dsns["source"], autocommit=True) as line:
                changed.append(line.execute("UPDATE letter SET body = 'newer' WHERE id = 1").rowcount)

        changing, note = threading.Thread(target=change), back.note_brought

        def noting(source: psycopg.Connection[Any], home: Home, position: str) -> None:
            changing.start()
            changing.join(0.3)  # it waits for this transaction
            note(source, home, position)

        monkeypatch.setattr(back, "note_brought", noting)
        _step_back(follower)
        changing.join()
        assert [1] == changed
        assert [("newer",)] == world.at("source", BODY)
