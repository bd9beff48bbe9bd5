"""What may happen in the middle of a move: it stops with the reason, and there is a way on, or a way back."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psycopg
import pytest

from domicile.errors import FeedBroken, NotEqual, Refused, Unreachable, Waiting, WorldChanged
from domicile.evidence.predicates import CohortPredicate
from domicile.run import Stage
from domicile.run.live import cohort_of
from domicile.stores.postgres.live.people import People
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import World, homes_of, moving_in, moving_world
from tests.servers import HASTY, own_server

BY_TRIGGERS: Final = "cutover: {pause: never, grow: [0.2], feed: trigger}\n"
BY_SLOT: Final = "cutover: {pause: never, grow: [0.2], feed: slot}\n"


def _run(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


def _note_of(place: str, world: World, person: int) -> list[str]:
    with psycopg.connect(world.dsns[place]) as connection:
        return [str(row[0]) for row in connection.execute('SELECT body FROM "Note" WHERE person_id = %s', [person])]


def test_p4_a_column_that_comes_on_the_way_stops_the_move_until_it_is_gone(
    pg18: EmbeddedServer, tmp_path: Path
) -> None:
    with moving_world(pg18, tmp_path, "column", cutover=BY_TRIGGERS) as world:
        first = world.live.cut_over(world.scope, cohort_of("next"))
        _run(world.dsns["source"], 'ALTER TABLE "Note" ADD COLUMN secret text')
        with pytest.raises(WorldChanged, match="Note"):
            world.live.cut_over(world.scope, cohort_of("next"))
        with pytest.raises(WorldChanged):
            world.run.apply(until=Stage.CUTOVER)
        _run(world.dsns["source"], 'ALTER TABLE "Note" DROP COLUMN secret')
        world.run.apply(until=Stage.CUTOVER)
        assert 0 == world.standing.people.left()
        assert first.people


def test_p1_people_come_back_also_where_the_changefeed_broke(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with homes_of(pg18, "broken") as dsns:
        with moving_in(dsns, tmp_path, cutover=BY_TRIGGERS) as world:
            world.live.cut_over(world.scope, cohort_of("key:1,2"))
            home = world.dsns["us"]
            _run(home, "UPDATE \"Note\" SET body = 'written at home' WHERE person_id = 1")
            _run(world.dsns["source"], 'ALTER TABLE "Note" DISABLE TRIGGER zzzz_domicile_log')
            with pytest.raises(FeedBroken, match="Note"):
                world.run.apply(until=Stage.CUTOVER)
            with pytest.raises(Refused, match="rollback"):
                world.run.abandon()
        with world.programme.opened() as run:
            live, scope = run.moving()
            live.roll_back(scope, 1)
            assert ["written at home"] == _note_of("source", world, 1)
            assert run.abandon()
        with psycopg.connect(dsns["source"]) as connection:
            found = connection.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zzzz_domicile%'").fetchone()
            assert (0,) == found


def test_p1_a_slot_that_somebody_drops_stops_the_move_and_people_come_back(tmp_path: Path) -> None:
    with (
        own_server("slotted", parameters={**HASTY, "wal_level": "logical"}) as server,
        moving_world(server, tmp_path, "dropped", cutover=BY_SLOT) as world,
    ):
        world.live.cut_over(world.scope, cohort_of("key:1,2"))
        drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
        _run(world.dsns["source"], f"{drop} WHERE database = current_database()")
        with pytest.raises(FeedBroken, match="slot"):
            world.run.apply(until=Stage.CUTOVER)
        world.live.roll_back(world.scope, 1)
        assert world.run.abandon()


def _behind_its_back(dsn: str, statement: str) -> None:
    """Change a home so that its log knows nothing of it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute('ALTER TABLE "Note" DISABLE TRIGGER zzzz_domicile_log')
        connection.execute(statement.encode())
        connection.execute('ALTER TABLE "Note" ENABLE ALWAYS TRIGGER zzzz_domicile_log')


def test_p1_what_home_lost_unseen_is_not_closed_and_people_may_come_again(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with moving_world(pg18, tmp_path, "lost", cutover=BY_TRIGGERS) as world:
        world.run.apply(until=Stage.CUTOVER)
        _behind_its_back(world.dsns["us"], 'DELETE FROM "Note" WHERE person_id = 1')
        with pytest.raises(NotEqual, match="way back is open again"):
            world.run.apply(close=True, yes=True)
        _run(world.dsns["source"], "INSERT INTO person VALUES (61, 'US', 'late', 'e61', 0)")
        _behind_its_back(world.dsns["us"], "INSERT INTO \"Note\" VALUES (1000, 1, 'first')")
        with pytest.raises(Waiting, match="approvals"):
            world.run.apply(close=True, yes=True)
        assert "us" == world.authority(61)


def test_p1_p2_what_home_loses_unseen_after_the_clearance_is_not_erased_until_it_is_mended(
    pg18: EmbeddedServer, tmp_path: Path
) -> None:
    with moving_world(pg18, tmp_path, "unseen", cutover=BY_TRIGGERS) as world:
        with pytest.raises(Waiting, match="approvals"):
            world.run.apply(close=True, until=Stage.CLEAR)
        world.programme.approve_in(world.run)
        world.run.apply(until=Stage.CLEAR)
        _behind_its_back(world.dsns["us"], 'DELETE FROM "Note" WHERE person_id = 1')
        with pytest.raises(NotEqual, match="mend it there"):
            world.run.apply(until=Stage.ERASE, yes=True)
        assert ["first"] == _note_of("source", world, 1)
        _behind_its_back(world.dsns["us"], "INSERT INTO \"Note\" VALUES (1000, 1, 'first')")
        world.run.apply(until=Stage.ERASE, yes=True)
        assert [] == _note_of("source", world, 1)
        assert ["first"] == _note_of("us", world, 1)


def _slots(world: World) -> list[int]:
    """How many bytes of log each slot of the source holds back."""
    with psycopg.connect(world.dsns["source"]) as connection:
        held = "pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint"
        return [int(row[0]) for row in connection.execute(f"SELECT {held} FROM pg_replication_slots".encode())]


def test_p6_a_closed_move_holds_no_log_back_and_a_cleared_one_follows_nothing(tmp_path: Path) -> None:
    with (
        own_server("closed", parameters={**HASTY, "wal_level": "logical"}) as server,
        moving_world(server, tmp_path, "closed", cutover=BY_SLOT) as world,
    ):
        with pytest.raises(Waiting, match="approvals"):
            world.run.apply(close=True, until=Stage.CLEAR)
        _run(world.dsns["source"], "SELECT pg_logical_emit_message(false, 'other', repeat('x', 2000000))")
        _run(world.dsns["source"], "INSERT INTO \"Note\" VALUES (9, 3, 'a stayer''s')")
        over = iter([False, True])
        world.live.follow(world.scope, until=lambda: next(over))
        assert max(_slots(world)) < 100_000
        world.live.roll_back(world.scope, 1)
        _run(world.dsns["source"], "UPDATE \"Note\" SET body = 'since' WHERE person_id = 1")
        with pytest.raises(Waiting, match="approvals"):
            world.run.apply(close=True, until=Stage.CLEAR)
        assert ["since"] == _note_of("us", world, 1)
        world.programme.approve_in(world.run)
        world.run.apply(until=Stage.CLEAR)
        assert [] == _slots(world)
        with pytest.raises(Refused, match="cleared"):
            world.live.follow(world.scope, until=lambda: True)
        world.run.apply(until=Stage.ERASE, yes=True)
        assert [] == _note_of("source", world, 1)


def test_p2_until_cutover_erases_nothing_where_all_go_at_once(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with moving_world(pg18, tmp_path, "at_once", cutover="") as world:
        world.run.apply(until=Stage.CUTOVER, yes=True)
        world.programme.approve_in(world.run)
        world.run.apply(until=Stage.CUTOVER, yes=True)
        assert ["first"] == _note_of("source", world, 1)


def test_cohorts_are_spelled_in_four_ways() -> None:
    assert cohort_of("next") == cohort_of("")
    assert 0.01 == cohort_of("1%").share
    assert 500 == cohort_of("500").people
    assert ("a", "b") == cohort_of("key:a,b").keys


def test_p7_p11_who_went_back_is_stated_also_where_the_last_word_of_it_was_lost(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke behind the last commit: they are at the source, in no cohort, and the log must say so."""
    dissolve = People.dissolve

    def dissolve_and_break(people: People, cohort: int) -> None:
        dissolve(people, cohort)
        raise Unreachable("behind the commit")

    with homes_of(pg18, "unstated") as dsns:
        with moving_in(dsns, tmp_path, cutover=BY_TRIGGERS) as world:
            world.live.cut_over(world.scope, cohort_of("key:1,2"))
            with monkeypatch.context() as patched:
                patched.setattr(People, "dissolve", dissolve_and_break)
                with pytest.raises(Unreachable):
                    world.live.roll_back(world.scope, 1)
        with world.programme.opened() as run:
            live, scope = run.moving()
            live.cut_over(scope, cohort_of("key:1"))
            ways = [one.predicate.way for one in run.ledger.statements() if isinstance(one.predicate, CohortPredicate)]
    assert ["home", "source", "home"] == ways
