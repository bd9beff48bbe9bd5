"""Whoever keeps old rows is named, and the verdict is `present` as long as they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest

from domicile.proof import Verdict
from domicile.stores.postgres.horizon import Outcome, Patience, Treatment, holders, inventory, treat
from domicile.stores.postgres.horizon.holders import boundary
from domicile.sweep import TokenClass, Tokens, decide_all, sweep_server
from tests.horizon.conftest import PEOPLE
from tests.servers import own_server

QUICK = Patience(lock_timeout_ms=200, lock_tries_max=2, holder_polls_max=2, holder_poll_ms=20)
ERASED = Tokens({f"number.{number}@example.org".encode(): TokenClass.EMAIL for number in range(10, 51)})


@contextmanager
def old_snapshot(conn: psycopg.Connection, dsn: str) -> Iterator[str]:
    """A session that looked at the rows before they were deleted, and still may."""
    conn.execute("INSERT INTO app.people SELECT g, format('number.%s@example.org', g) FROM generate_series(1, 50) g")
    with psycopg.connect(dsn) as other:
        other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        other.execute("SELECT 1")
        conn.execute("DELETE FROM app.people WHERE id <= 50")
        yield f"process {other.info.backend_pid}"


@contextmanager
def prepared(conn: psycopg.Connection, dsn: str) -> Iterator[str]:
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("BEGIN")
        other.execute("CREATE TABLE app.pending (id int)")
        other.execute("PREPARE TRANSACTION 'held'")
    conn.execute("DELETE FROM app.people WHERE id <= 50")
    yield "prepared transaction number"
    conn.execute("ROLLBACK PREPARED 'held'")


@contextmanager
def locked(conn: psycopg.Connection, dsn: str) -> Iterator[str]:
    with psycopg.connect(dsn) as other:
        conn.execute("SELECT pg_current_xact_id()")
        other.execute("LOCK TABLE app.people IN ACCESS SHARE MODE")
        yield f"process {other.info.backend_pid} use it"


@pytest.mark.parametrize("holding", [old_snapshot, prepared, locked])
def test_p3_old_rows_that_are_held_are_present_and_the_holder_is_named(
    conn: psycopg.Connection,
    dsn: str,
    holding: Callable[[psycopg.Connection, str], AbstractContextManager[str]],
) -> None:
    with holding(conn, dsn) as name:
        said: list[str] = []
        copies = inventory(conn, [PEOPLE])
        held = {o.copy: o for o in treat(conn, copies, [PEOPLE], progress=said.append, patience=QUICK)}[
            "heap:app.people"
        ]
        verdict = judge(conn, (held,))["heap:app.people"]
    assert Treatment.HELD == held.treatment
    assert name in held.why
    assert Verdict.PRESENT == verdict
    copies = inventory(conn, [PEOPLE])
    freed = treat(conn, copies, [PEOPLE], patience=QUICK)
    assert Verdict.ERASED_VERIFIED == judge(conn, freed)["heap:app.people"]


SLOW_ANALYSIS = {
    "autovacuum": "on", "autovacuum_naptime": "1s", "autovacuum_analyze_threshold": "1",
    "autovacuum_vacuum_threshold": "1000000", "autovacuum_vacuum_cost_delay": "100ms",
    "autovacuum_vacuum_cost_limit": "1", "fsync": "off",
}  # fmt: skip


def test_p11_autovacuum_that_analyses_holds_rows_like_any_reader() -> None:
    """Only a plain vacuum under way does not."""
    with (
        own_server("analysis", parameters=SLOW_ANALYSIS) as server,
        psycopg.connect(server.dsn(), autocommit=True) as conn,
    ):
        conn.execute("CREATE TABLE crowd AS SELECT g, repeat('x', 1000) FROM generate_series(1, 20000) g")
        found: set[str] = set()
        for _ in range(200):
            found = {one.name.partition(" (")[2] for one in holders(conn, since=boundary(conn))}
            if found:
                break
            conn.execute("SELECT pg_sleep(0.05)")
        assert {"autovacuum worker, active)"} == found


def judge(conn: psycopg.Connection, outcomes: tuple[Outcome, ...]) -> dict[str, Verdict]:
    copies = inventory(conn, [PEOPLE])
    result = sweep_server(conn, ERASED, copies, [PEOPLE])
    return {said.copy: said.verdict for said in decide_all(copies, outcomes, result, rows_erased=True)}
