"""The guard by states: each row is written at one side, and nobody writes what is being cut over (P1, P6)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from domicile.errors import Unreachable
from domicile.host import Host
from domicile.model import State
from domicile.stores.postgres import fence, places
from domicile.stores.postgres.names import movers_of
from domicile.stores.postgres.session import connect
from domicile.stores.postgres.writers import await_writers
from tests.attack.conftest import run
from tests.live.conftest import FENCED as SIX
from tests.live.conftest import MOVING as FOUR
from tests.live.conftest import PEOPLE, Sides, make_sides
from tests.servers import Databases, own_server

FENCED: Final = "DM001"
TOO_OLD: Final = "40001"
# People: 1 and 3 stay, 2 and 8 are home, 4 is moving, 6 is fenced. A row of two people has the number 10 a + b.
REFUSED_AT_SOURCE: Final = {
    "home: an insert": "INSERT INTO note VALUES (100, 2, 'x')",
    "home: an update": "UPDATE note SET body = 'x' WHERE id = 2",
    "home: a delete": "DELETE FROM note WHERE id = 2",
    "home: given away to a stayer": "UPDATE note SET person_id = 1 WHERE id = 2",
    "home: given away to a mover": "UPDATE note SET person_id = 4 WHERE id = 2",
    "home: taken from a stayer": "UPDATE note SET person_id = 2 WHERE id = 1",
    "home: taken from a mover": "UPDATE note SET person_id = 2 WHERE id = 4",
    "home and home": "UPDATE letter SET body = 'x' WHERE id = 28",
    "home and the same": "UPDATE letter SET body = 'x' WHERE id = 22",
    "home and fenced": "UPDATE letter SET body = 'x' WHERE id = 26",
    "fenced": "UPDATE note SET body = 'x' WHERE id = 6",
    "fenced and stayer": "UPDATE letter SET body = 'x' WHERE id = 16",
    "fenced and moving": "DELETE FROM letter WHERE id = 64",
    "first: home before a stayer": "UPDATE receipt SET body = 'x' WHERE id = 21",
    "first: home before a mover": "UPDATE receipt SET body = 'x' WHERE id = 24",
    "first: nobody before home": "UPDATE receipt SET body = 'x' WHERE id = 2",
    "first: fenced after a stayer": "UPDATE receipt SET body = 'x' WHERE id = 16",
    "any: home and a stayer": "UPDATE gift SET body = 'x' WHERE id = 12",
    "a private column": "UPDATE clip SET ip = 'x' WHERE id = 2",
    "a private column to nothing": "UPDATE clip SET ip = NULL WHERE id = 2",
    "a private column with a public one": "UPDATE clip SET title = 'x', place = 2 WHERE id = 2",
    "a private column that only looks the same": "SET extra_float_digits = 0; UPDATE clip SET place = 1.5 + 1e-15 WHERE id = 2",  # noqa: E501
    "the key": "UPDATE clip SET id = 200 WHERE id = 2",
    "a public row's owner": "UPDATE clip SET person_id = 1 WHERE id = 2",
    "a public row's owner, from a stayer": "UPDATE clip SET person_id = 2 WHERE id = 1",
    "a public row's delete": "DELETE FROM clip WHERE id = 2",
    "a public row with a private value": "INSERT INTO clip VALUES (100, 2, 't', '{}', '10.0.0.2', 'unknown')",
    "a public row with no stand-in": "INSERT INTO clip VALUES (100, 2, 't', '{}', NULL, 'phone')",
    "a public row of somebody fenced": "UPDATE clip SET title = 'x' WHERE id = 6",
    "a computed path": "UPDATE mark SET doc = '{\"person\": 1}' WHERE id = 2",
    "their own private column": "UPDATE person SET email = 'x' WHERE id = 2",
    "themselves": "DELETE FROM person WHERE id = 2",
    "a partition": "UPDATE event_low SET what = 'x' WHERE id = 2",
    "between partitions": "UPDATE event SET id = 500 WHERE id = 2",
    "as a replica": "SET session_replication_role = replica; UPDATE note SET body = 'x' WHERE id = 2",
    "truncate": "TRUNCATE note",
}
PASSED_AT_SOURCE: Final = {
    "moving": "UPDATE note SET body = 'x' WHERE id = 4",
    "moving: an insert": "INSERT INTO note VALUES (100, 4, 'x')",
    "moving: a delete": "DELETE FROM note WHERE id = 4",
    "moving: given to a stayer": "UPDATE note SET person_id = 1 WHERE id = 4",
    "moving: themselves": "UPDATE person SET email = 'x' WHERE id = 4",
    "a stayer": "UPDATE note SET body = 'x' WHERE id = 1",
    "each: home and a stayer": "UPDATE letter SET body = 'x' WHERE id = 21",
    "each: home and moving": "DELETE FROM letter WHERE id = 42",
    "each: from a stayer to home": "INSERT INTO letter VALUES (100, 1, 2, 'x')",
    "first: a stayer before home": "UPDATE receipt SET body = 'x' WHERE id = 12",
    "first: moving before home": "UPDATE receipt SET body = 'x' WHERE id = 42",
    "any: home and moving": "UPDATE gift SET body = 'x' WHERE id = 42",
    "any: stayers": "UPDATE gift SET body = 'x' WHERE id = 13",
    "a public column": "UPDATE clip SET title = 'x' WHERE id = 2",
    "a public column without an equality": "UPDATE clip SET doc = '{\"a\": 1}' WHERE id = 2",
    "a public column with the private ones as they are": "UPDATE clip SET title = 'x', ip = ip, place = 1.5 WHERE id = 2",  # noqa: E501
    "a public row": "INSERT INTO clip VALUES (100, 2, 't', '{}', NULL, 'unknown')",
    "a public row with a computed path": "INSERT INTO mark (id, doc) VALUES (100, '{\"person\": 2}')",
    "a public column beside a computed path": 'UPDATE mark SET doc = \'{"person": 2, "a": 1}\' WHERE id = 2',
    "their own public column": "UPDATE person SET handle = 'x' WHERE id = 2",
    "somebody who becomes a mover": "UPDATE person SET market = 'CA' WHERE id = 1",
    "somebody who would stay": "UPDATE person SET market = 'SG' WHERE id = 4",
    "a new mover": "INSERT INTO person VALUES (100, 'CA', 'h', 'e')",
}
REFUSED_AT_HOME: Final = {
    "moving": "UPDATE note SET body = 'x' WHERE id = 4",
    "moving: an insert": "INSERT INTO note VALUES (100, 4, 'x')",
    "moving and a stayer": "UPDATE letter SET body = 'x' WHERE id = 14",
    "moving: a public column": "UPDATE clip SET title = 'x' WHERE id = 4",
    "moving: themselves": "UPDATE person SET email = 'x' WHERE id = 4",
    "fenced": "UPDATE note SET body = 'x' WHERE id = 6",
    "fenced and home": "DELETE FROM letter WHERE id = 26",
    "first: moving before home": "UPDATE receipt SET body = 'x' WHERE id = 42",
    "home: given to moving": "UPDATE note SET person_id = 4 WHERE id = 2",
    "as a replica": "SET session_replication_role = replica; UPDATE note SET body = 'x' WHERE id = 4",
    "truncate": "TRUNCATE note",
}
PASSED_AT_HOME: Final = {
    "home": "UPDATE note SET body = 'x' WHERE id = 2",
    "home: an insert": "INSERT INTO note VALUES (100, 2, 'x')",
    "home: a delete": "DELETE FROM note WHERE id = 2",
    "home and moving": "UPDATE letter SET body = 'x' WHERE id = 24",
    "first: home before moving": "UPDATE receipt SET body = 'x' WHERE id = 24",
    "home: a private column": "UPDATE clip SET ip = 'x' WHERE id = 2",
    "nobody's here": "UPDATE note SET body = 'x' WHERE id = 1",
    "a newcomer": "INSERT INTO person VALUES (100, 'CA', 'h', 'e')",
}


@pytest.mark.parametrize("name", REFUSED_AT_SOURCE)
def test_p1_the_source_has_no_say_over_people_at_home(sides: Sides, name: str) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        sides.attempt(sides.source, REFUSED_AT_SOURCE[name])
    assert FENCED == refusal.value.sqlstate


@pytest.mark.parametrize("name", PASSED_AT_SOURCE)
def test_p6_the_source_goes_on_for_all_others(sides: Sides, name: str) -> None:
    sides.attempt(sides.source, PASSED_AT_SOURCE[name])


@pytest.mark.parametrize("name", REFUSED_AT_HOME)
def test_p1_nobody_writes_early_at_home(sides: Sides, name: str) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        sides.attempt(sides.home, REFUSED_AT_HOME[name])
    assert FENCED == refusal.value.sqlstate


@pytest.mark.parametrize("name", PASSED_AT_HOME)
def test_p6_home_goes_on_for_who_lives_there(sides: Sides, name: str) -> None:
    sides.attempt(sides.home, PASSED_AT_HOME[name])


LEFT_BEHIND: Final = {
    "a new row with somebody at home": "INSERT INTO letter VALUES (100, 1, 2, 'x')",
    "a change of it": "UPDATE letter SET body = 'x' WHERE id = 21",
    "its end": "DELETE FROM letter WHERE id = 21",
    "with somebody moving": "INSERT INTO letter VALUES (100, 4, 2, 'x')",
}


def _directed(made: Sides) -> int:
    """Keep a directory at the source, of those who are at home; return its version before they were."""
    with connect(made.source, store="app") as connection:
        places.create(connection, store="app")
        before = places.version(connection)
        places.record_all(connection, made.scope)
    return before


def test_p1_who_went_by_an_old_word_of_the_directory_does_not_write_behind_a_move(own_sides: Sides) -> None:
    """They took the row for one of both, and it would never come home."""
    made = own_sides
    before = _directed(made)
    with connect(made.source, store="app") as connection:
        now = places.version(connection)
    assert now > before
    for name, statement in LEFT_BEHIND.items():
        with pytest.raises(psycopg.Error, match="ask it again") as refusal:
            made.attempt(made.source, f"SET LOCAL domicile.as_of = {before}", statement)
        assert FENCED == refusal.value.sqlstate, name
        made.attempt(made.source, f"SET LOCAL domicile.as_of = {now}", statement)
        made.attempt(made.source, statement)


def test_p6_an_old_word_of_the_directory_hinders_nobody_else(own_sides: Sides) -> None:
    made = own_sides
    made.attempt(made.source, "SET LOCAL domicile.as_of = 1", LEFT_BEHIND["its end"])  # no directory is kept
    before = _directed(made)
    for name in ("moving", "a stayer", "first: a stayer before home", "any: stayers", "a public column", "a new mover"):
        made.attempt(made.source, f"SET LOCAL domicile.as_of = {before}", PASSED_AT_SOURCE[name])


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_p6_one_snapshot_alone_is_no_hindrance(sides: Sides, isolation: str) -> None:
    sides.attempt(sides.source, PASSED_AT_SOURCE["moving"], isolation=isolation)
    sides.attempt(sides.home, PASSED_AT_HOME["home"], isolation=isolation)


def _began(dsn: str, isolation: str) -> psycopg.Connection:
    connection = psycopg.connect(dsn)
    connection.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
    connection.execute("SELECT count(*) FROM person")
    return connection


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_p1_an_old_snapshot_does_not_write_under_old_states(own_sides: Sides, isolation: str) -> None:
    made = own_sides
    with _began(made.source, isolation) as old:
        made.bring(made.source, State.FENCED, FOUR)
        with pytest.raises(psycopg.Error) as refusal:
            old.execute("UPDATE note SET body = 'late' WHERE id = 4")
        assert TOO_OLD == refusal.value.sqlstate
        old.rollback()
        with pytest.raises(psycopg.Error) as again:  # begun anew it sees the fence
            old.execute("UPDATE note SET body = 'late' WHERE id = 4")
        assert FENCED == again.value.sqlstate


def test_p6_an_old_snapshot_still_writes_of_people_whose_state_is_the_same(own_sides: Sides) -> None:
    made = own_sides
    with _began(made.source, "REPEATABLE READ") as old:
        made.bring(made.source, State.MOVING, SIX)
        old.execute("UPDATE note SET body = 'x' WHERE id IN (1, 4)")


def test_p1_an_old_snapshot_does_not_overlook_who_became_a_mover_since(own_sides: Sides) -> None:
    made = own_sides
    with connect(made.source, store="app") as connection:
        movers = movers_of(PEOPLE).as_string(connection)
    with _began(made.source, "REPEATABLE READ") as old:
        run(made.source, f"INSERT INTO {movers} VALUES (1, 'ca', 'fenced', 3)")
        with pytest.raises(psycopg.Error) as refusal:
            old.execute("UPDATE note SET body = 'late' WHERE id = 1")
    assert TOO_OLD == refusal.value.sqlstate


def test_p1_read_committed_sees_the_fence_in_its_next_statement(own_sides: Sides) -> None:
    made = own_sides
    with _began(made.source, "READ COMMITTED") as writer:
        writer.execute("UPDATE note SET body = 'x' WHERE id = 4")
        made.bring(made.source, State.FENCED, FOUR)
        with pytest.raises(psycopg.Error) as refusal:
            writer.execute("UPDATE note SET body = 'y' WHERE id = 4")
    assert FENCED == refusal.value.sqlstate


class Meanwhile(Host):
    """A clock that lets something happen in each pause."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        object.__setattr__(self, "_act", act)

    def pause(self, seconds: float) -> None:
        self._act()  # type: ignore[attr-defined]
        super().pause(seconds)


def _await(made: Sides, *, wait_s: float, meanwhile: Callable[[], None] = lambda: None) -> int:
    host = Meanwhile(meanwhile)
    with connect(made.source, store="app") as connection:
        return await_writers(connection, made.scope, host=host, deadline=host.monotonic_s() + wait_s)


WRITES: Final = {
    "a table": "UPDATE note SET body = 'x' WHERE id = 4",
    "a partition": "UPDATE event_low SET what = 'x' WHERE id = 4",
    "a row that nobody holds": "UPDATE clip SET title = 'x' WHERE id = 100",
}


@pytest.mark.parametrize("name", WRITES)
def test_p1_the_engine_waits_for_who_passed_the_guard_before(own_sides: Sides, name: str) -> None:
    made = own_sides
    with psycopg.connect(made.source) as writer:
        writer.execute(WRITES[name].encode())
        made.bring(made.source, State.FENCED, FOUR)
        with pytest.raises(Unreachable, match=f"pid {writer.info.backend_pid}"):
            _await(made, wait_s=0)
        paused: list[None] = []

        def commit() -> None:
            paused.append(None)
            writer.commit()

        _await(made, wait_s=60, meanwhile=commit)
    assert paused


def test_p1_the_engine_waits_for_who_prepared_a_transaction(tmp_path: Path) -> None:
    """Nobody's session holds it any more, and it may be committed at any time."""
    databases = Databases()
    with own_server("prepared", major=13, parameters={"max_prepared_transactions": "2"}) as server:
        made = make_sides(server, databases, tmp_path)
        with psycopg.connect(made.source, autocommit=True) as writer:
            writer.execute("BEGIN; UPDATE note SET body = 'x' WHERE id = 4")
            made.bring(made.source, State.FENCED, FOUR)

            def prepare() -> None:
                if writer.info.transaction_status:
                    writer.execute("PREPARE TRANSACTION 'late'")

            def commit() -> None:
                run(made.source, "COMMIT PREPARED 'late'")

            with pytest.raises(Unreachable, match="prepared"):
                _await(made, wait_s=1, meanwhile=prepare)
            _await(made, wait_s=60, meanwhile=commit)


def test_p6_the_engine_waits_for_nobody_who_does_not_write_there(own_sides: Sides) -> None:
    made = own_sides
    with psycopg.connect(made.source) as reader, psycopg.connect(made.source) as other:
        reader.execute("SELECT * FROM note FOR UPDATE")
        other.execute("CREATE TABLE elsewhere (id int); INSERT INTO elsewhere VALUES (1)")
        assert 1_000 > _await(made, wait_s=60)


def test_p6_who_begins_to_write_later_is_not_waited_for(own_sides: Sides) -> None:
    made = own_sides
    with psycopg.connect(made.source) as first, psycopg.connect(made.source) as second:
        first.execute("UPDATE note SET body = 'x' WHERE id = 4")

        def change_over() -> None:
            second.execute("UPDATE note SET body = 'x' WHERE id = 1")
            first.commit()

        _await(made, wait_s=60, meanwhile=change_over)
        assert TransactionStatus.INTRANS == second.info.transaction_status


def test_a_state_is_reached_from_its_own_ones_only(own_sides: Sides) -> None:
    made = own_sides
    with pytest.raises(RuntimeError):
        made.bring(made.source, State.HOME, FOUR)  # never fenced
    with pytest.raises(RuntimeError):
        made.bring(made.source, State.FENCED, 1)  # no mover
    with connect(made.source, store="app") as connection:
        assert {State.HOME: 2, State.MOVING: 1, State.FENCED: 1} == fence.count_states(connection, made.scope)
        movers = movers_of(PEOPLE).as_string(connection)
        run(made.source, f"UPDATE {movers} SET cohort = 7 WHERE key IN (4, 6)")
        assert 1 == fence.set_state(connection, made.scope, 7, State.FENCED)
        assert 0 == fence.set_state(connection, made.scope, 7, State.FENCED)
        assert 2 == fence.set_state(connection, made.scope, 7, State.HOME)


def test_the_guard_of_a_home_is_noticed_when_it_is_opened(own_sides: Sides) -> None:
    made = own_sides
    with connect(made.home, store="app-ca") as connection:
        assert [] == fence.open_guards(connection, fence.guarded(made.scope))
        run(made.home, "ALTER TABLE note DISABLE TRIGGER zzzz_domicile_guard")
        assert ["public.note"] == fence.open_guards(connection, fence.guarded(made.scope))
