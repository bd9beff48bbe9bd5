"""Nobody waits longer than they have to: whatever stops a cut-over lets its people go, and a move comes to an end."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psycopg
import pytest

from domicile.cutover.cohorts import Cohort, Way
from domicile.errors import StoreFault, Unreachable
from domicile.run import Stage, moving
from domicile.run.live import cohort_of
from domicile.run.moving import Moving
from domicile.stores.postgres.live.people import People
from domicile.stores.postgres.live.standing import Standing
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import World, moving_world

SOON: Final = "cutover: {pause: never, grow: [0.5], feed: trigger, wait_s_max: 1}\n"


def _stops(*_: object, **__: object) -> None:
    raise StoreFault("somebody changed the table")


def test_p6_whatever_stops_a_cut_over_lets_its_people_go(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with moving_world(pg18, tmp_path, "letgo", cutover=SOON) as world:
        monkeypatch.setattr(Moving, "_drain", _stops)
        with pytest.raises(StoreFault):
            world.live.cut_over(world.scope, cohort_of("key:1"))
        assert "source" == world.authority(1)
        monkeypatch.undo()
        _lets_go_after_a_kill(world, monkeypatch)
        assert "us" == world.authority(1)
        _lives_on_at_home(world)


def _lets_go_after_a_kill(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed under the fence; the next run looks at all of the cohort again, and nobody waits for that."""
    number = world.standing.people.fenced_cohort()
    assert number is not None
    world.standing.people.move(number, "fenced")
    assert world.authority(1) is None
    places: list[str | None] = []
    catch_up = Moving.catch_up

    def look(self: Moving, *given: object) -> None:
        places.append(world.authority(1))
        catch_up(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Moving, "catch_up", look)
    world.live.cut_over(world.scope, cohort_of("key:1"))
    monkeypatch.undo()
    assert ["source", "source"] == places


def _lives_on_at_home(world: World) -> None:
    """Somebody writes at home for longer than a way back may wait."""
    with psycopg.connect(world.dsns["us"]) as writer:
        writer.execute("UPDATE \"Note\" SET body = 'slow' WHERE person_id = 1")
        with pytest.raises(Unreachable):
            world.live.roll_back(world.scope, world.live.moving.cohorts()[-1].number)
        assert "us" == world.authority(1)
        writer.execute("UPDATE \"Note\" SET body = 'slower' WHERE person_id = 1")
    world.live.roll_back(world.scope, world.live.moving.cohorts()[-1].number)
    assert "source" == world.authority(1)
    with psycopg.connect(world.dsns["source"]) as source:
        assert ("slower",) == source.execute('SELECT body FROM "Note" WHERE person_id = 1').fetchone()


def test_p6_a_lock_that_somebody_holds_at_home_keeps_nobody_fenced_for_longer_than_the_file_allows(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with moving_world(pg18, tmp_path, "locked", cutover=SOON) as world, psycopg.connect(world.dsns["us"]) as holder:
        move, keep = People.move, Moving._keep
        kept: list[Cohort] = []

        def lock_then_move(self: People, number: int, state: str) -> None:
            if not kept and state == "fenced":
                with psycopg.connect(world.dsns["source"]) as source:
                    source.execute("UPDATE \"Note\" SET body = 'last' WHERE person_id = 1")
                holder.execute('SELECT FROM "Note" WHERE person_id = 1 FOR UPDATE')
            move(self, number, state)

        def let_go_of_the_lock(self: Moving, cohort: Cohort) -> None:
            kept.append(cohort)
            holder.rollback()
            keep(self, cohort)

        monkeypatch.setattr(People, "move", lock_then_move)
        monkeypatch.setattr(Moving, "_keep", let_go_of_the_lock)
        world.live.cut_over(world.scope, cohort_of("key:1"))
        assert [Way.RELEASED, Way.HOME] == [cohort.way for cohort in kept]
        assert kept[0].wait_ms < 2_500
        assert "another session was in the way" in kept[0].why
        assert [("last",)] == holder.execute('SELECT body FROM "Note" WHERE person_id = 1').fetchall()


def test_p6_of_two_that_wait_for_each_other_the_engine_gives_way_and_begins_again(
    pg18: EmbeddedServer, tmp_path: Path
) -> None:
    seen = "UPDATE person SET seen = seen + 1 WHERE id = 1"
    moved = "UPDATE clip SET ip = host(ip::inet + 1) WHERE id = 1"
    with moving_world(pg18, tmp_path, "deadlock", cutover=SOON) as world, psycopg.connect(world.dsns["us"]) as writer:
        world.live.cut_over(world.scope, cohort_of("key:1"))
        moving = world.live.moving
        follower = moving.follower(world.standing)
        for number, (first, then) in enumerate([(seen, moved), (moved, seen)], start=1):
            with psycopg.connect(world.dsns["source"]) as source:
                source.execute("UPDATE person SET handle = %s WHERE id = 1", [f"renamed {number}"])
                source.execute("UPDATE clip SET likes = %s WHERE id = 1", [number])
            writer.execute(first.encode())

            def go_on(then: str = then) -> None:
                _await_the_engine(world.dsns["us"])
                writer.execute(then.encode())
                writer.commit()

            with ThreadPoolExecutor(1) as beside:
                going_on = beside.submit(go_on)
                assert 2 == moving.step(follower).keys
                going_on.result()
            row = "SELECT handle, seen, likes, ip FROM person JOIN clip ON clip.id = person.id WHERE clip.id = 1"
            assert [(f"renamed {number}", number, number, f"10.0.0.{1 + number}")] == writer.execute(row).fetchall()


def _await_the_engine(dsn: str) -> None:
    """Until it waits for somebody's lock."""
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'domicile' AND wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    with psycopg.connect(dsn, autocommit=True) as looker:
        give_up = time.monotonic() + 30
        while looker.execute(waits).fetchone() != (1,):
            assert time.monotonic() < give_up


def test_p6_a_move_comes_to_an_end_where_people_keep_coming(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with moving_world(pg18, tmp_path, "coming", cutover=SOON) as world:
        taken: list[int] = []
        next_cohort = Moving.next_cohort

        def one_more(self: Moving, standing: Standing) -> Cohort:
            with psycopg.connect(world.dsns["source"]) as source:
                source.execute("INSERT INTO person VALUES (%s, 'US', 'h', 'e', 0)", [5000 + len(taken)])
            cohort = next_cohort(self, standing)
            taken.append(cohort.people)
            return cohort

        monkeypatch.setattr(moving, "LATE_COHORTS_MAX", 3)
        monkeypatch.setattr(Moving, "next_cohort", one_more)
        world.run.apply(until=Stage.CUTOVER)
        assert 36 <= sum(taken)
        assert 12 > len(taken)
        monkeypatch.undo()
        world.run.apply(until=Stage.CUTOVER)
        assert 0 == world.standing.people.left()
        assert "us" == world.authority(5000)
