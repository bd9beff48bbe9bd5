"""P1: rows made at home wait until the source has their public half, each home's own, or come back whole."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, Final, LiteralString

import psycopg
import pytest

from domicile.model import Home
from domicile.run.live import cohort_of
from domicile.stores.postgres.live import back, carrying
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import World, moving_world

pytestmark = pytest.mark.timeout(120)
OF: Final = {"us": 1, "ca": 2}
CLIP: Final = "INSERT INTO clip VALUES (%s, %s, 'made at home', 3, '10.9.9.9')"
PUBLIC: Final = "INSERT INTO clip VALUES (%s, %s, 'made at home', 3, NULL)"
PUBLISHED: Final = "INSERT INTO clip VALUES (%s, %s, 'made at home', 3, NULL) ON CONFLICT DO NOTHING"
FOUND: Final = "SELECT id, ip FROM clip WHERE id > 5000 ORDER BY id"


def _run(world: World, place: str, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(world.dsns[place], autocommit=True) as connection:
        cursor = connection.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def _step_back(world: World, *homes: str) -> None:
    follower = world.live.moving.follower(world.standing)
    for home in homes:
        follower.step_back(Home(home))


def test_p1_a_row_waits_for_its_public_half_whatever_another_home_brings(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with moving_world(pg18, tmp_path, "each_waits") as world:
        world.live.cut_over(world.scope, cohort_of("key:1,2"))
        for home, person in OF.items():
            _run(world, home, CLIP, 5000 + person, person)
        _step_back(world, "us", "ca", "us")
        assert [] == _run(world, "source", FOUND)
        for person in OF.values():
            _run(world, "source", PUBLIC, 5000 + person, person)
        _step_back(world, "us", "ca")
        assert [(5001, "10.9.9.9"), (5002, "10.9.9.9")] == _run(world, "source", FOUND)


def test_p1_who_is_brought_back_has_at_the_source_also_what_waited(pg18: EmbeddedServer, tmp_path: Path) -> None:
    """Others of that home live on there, and theirs waits on."""
    with moving_world(pg18, tmp_path, "waited_back") as world:
        for person in (1, 6):
            world.live.cut_over(world.scope, cohort_of(f"key:{person}"))
            _run(world, "us", CLIP, 5000 + person, person)
        _step_back(world, "us")
        assert [] == _run(world, "source", FOUND)
        world.live.roll_back(world.scope, 1)
        assert [(5001, "10.9.9.9")] == _run(world, "source", FOUND)
        _run(world, "source", PUBLIC, 5006, 6)
        _step_back(world, "us")
        assert [(5001, "10.9.9.9"), (5006, "10.9.9.9")] == _run(world, "source", FOUND)


@pytest.mark.parametrize(("room", "before"), [(carrying, "insert"), (back, "_note_waiting"), (back, "_write_private")])
def test_p1_a_public_half_that_comes_while_the_private_one_is_brought_is_not_without_it(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: ModuleType, before: str
) -> None:
    """The platform publishes between two statements of the step back, whichever they are."""
    with moving_world(pg18, tmp_path, f"published{before}") as world:
        world.live.cut_over(world.scope, cohort_of("key:1"))
        _run(world, "us", CLIP, 5001, 1)
        act = getattr(room, before)

        def acting(*words: Any, **more: Any) -> Any:
            _run(world, "source", PUBLISHED, 5001, 1)
            return act(*words, **more)

        monkeypatch.setattr(room, before, acting)
        _step_back(world, "us")
        monkeypatch.undo()
        _step_back(world, "us")
        assert [(5001, "10.9.9.9")] == _run(world, "source", FOUND)
