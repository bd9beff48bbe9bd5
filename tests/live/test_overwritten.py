"""P1: whoever writes last is not overwritten by what the engine brings once more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
import pytest

from domicile.live import cohort_of
from domicile.model import Home
from domicile.stores.feed import Batch, Changefeed
from domicile.stores.postgres.live.follower import Follower
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import World, moving_world

pytestmark = pytest.mark.timeout(120)
US: Final = Home("us")
AT_HOME, LATER = 1, 6  # both of the US
LETTER: Final = "INSERT INTO letter VALUES (1, 1, 6, 'first')"
BODY: Final = "SELECT body FROM letter WHERE id = 1"


def _run(world: World, place: str, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(world.dsns[place], autocommit=True) as connection:
        cursor = connection.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def _one_at_home(world: World) -> Follower:
    """A letter of two people to one home: one lives there, the other is still at the source."""
    _run(world, "source", LETTER)
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
        _run(world, "us", "UPDATE letter SET body = 'of home' WHERE id = 1")
        feed: Changefeed = follower.feeds_back[US]

        def killed(batch: Batch) -> None:
            raise _Killed

        monkeypatch.setattr(feed, "confirm", killed)
        with pytest.raises(_Killed):
            bring(follower)
        monkeypatch.undo()
        assert [("of home",)] == _run(world, "source", BODY)
        _run(world, "source", "UPDATE letter SET body = 'newer' WHERE id = 1")
        bring(follower)
        assert [("newer",)] == _run(world, "source", BODY)
        world.live.moving.step(follower)
        assert [("newer",)] == _run(world, "us", BODY)
        _run(world, "us", "UPDATE letter SET body = 'newest' WHERE id = 1")
        bring(follower)
        assert [("newest",)] == _run(world, "source", BODY)
        assert [] == _run(world, "source", "SELECT home FROM domicile.brought")


def test_p1_a_step_forth_confirms_first_what_was_brought_back(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with moving_world(pg18, tmp_path, "forth_first") as world:
        follower = _one_at_home(world)
        _run(world, "us", "UPDATE letter SET body = 'of home' WHERE id = 1")

        def killed(batch: Batch) -> None:
            raise _Killed

        monkeypatch.setattr(follower.feeds_back[US], "confirm", killed)
        with pytest.raises(_Killed):
            follower.step_back(US)
        monkeypatch.undo()
        follower.step()
        assert 0 == follower.feeds_back[US].lag().rows
