"""Locks that the engine queues for: whoever waits behind it waits a bounded time (P6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from domicile.errors import Unreachable
from domicile.host import Host
from domicile.run import Stage
from domicile.stores.postgres import fence, source
from tests.attack.conftest import World, Worlds
from tests.attack.test_second_thoughts import RULES, SCHEMA


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "LOCK_TIMEOUT_MS", 50)
    monkeypatch.setattr(source, "FENCE_TRIES_MAX", 3)
    monkeypatch.setattr(Host, "pause", lambda *_: None)


@contextmanager
def _long_transaction(made: World, statement: str) -> Iterator[None]:
    """Somebody's transaction stays open; if the engine waited for its end, the server would end it after a while."""
    with psycopg.connect(made.source) as connection:
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = '8s'")
        connection.execute(statement.encode())
        yield


def test_p6_an_open_transaction_that_drew_a_number_stalls_nobody_else(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    made.programme.plan()
    with _long_transaction(made, "SELECT nextval('note_id_seq')"):
        with pytest.raises(Unreachable, match="sequence"):
            made.programme.apply(until=Stage.TRANSFER)
        made.at_source("SET lock_timeout = '1s'; INSERT INTO note (person_id, body) VALUES (1, 'a stayer writes on')")
    made.programme.apply(until=Stage.TRANSFER)


def test_p6_a_long_reader_does_not_stall_the_tables_when_the_guard_goes(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    made.programme.clear()
    made.programme.apply(until=Stage.ERASE, yes=True)
    with _long_transaction(made, "SELECT count(*) FROM note"):
        with pytest.raises(Unreachable, match="lock"):
            made.programme.apply(until=Stage.SWEEP)
        made.at_source("SET lock_timeout = '1s'; INSERT INTO note (person_id, body) VALUES (1, 'a stayer writes on')")
    made.programme.apply()
    assert [(None,)] == made.at_source("SELECT to_regnamespace('domicile')")


def test_p6_guards_go_table_by_table_so_that_a_busy_one_keeps_no_other_waiting(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    made.programme.clear()
    made.programme.apply(until=Stage.ERASE, yes=True)
    standing = "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE tgname LIKE 'zzzz_domicile%' ORDER BY 1"
    assert ("person",) in made.at_source(standing)
    with _long_transaction(made, "SELECT count(*) FROM note"), pytest.raises(Unreachable, match="lock"):
        made.programme.apply(until=Stage.SWEEP)
    assert ("person",) not in made.at_source(standing)
    assert ("note",) in made.at_source(standing)


def test_p6_a_run_is_given_up_as_patiently(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    made.programme.clear()
    held = _long_transaction(made, "SELECT nextval('note_id_seq')")
    with held, made.programme.opened() as run, pytest.raises(Unreachable):
        run.abandon()
    with made.programme.opened() as run:
        run.abandon()
    made.at_source("INSERT INTO note (person_id, body) VALUES (2, 'a mover writes again')")
