"""The treatment: every leaf, no old statistics, any number of times, through a crash of the server."""

from __future__ import annotations

import psycopg
import pytest

from domicile.catalogue import TableName
from domicile.errors import Unreachable
from domicile.proof import Verdict
from domicile.stores.postgres.horizon import Treatment, inventory, treat
from domicile.stores.postgres.horizon.rewrite import leaves
from domicile.stores.postgres.server import EmbeddedServer
from tests.horizon.conftest import PEOPLE
from tests.horizon.test_holders import QUICK, judge
from tests.servers import own_server

EVENTS = TableName(schema="app", name="events")


def test_every_partition_and_child_is_rewritten(conn: psycopg.Connection) -> None:
    conn.execute("CREATE TABLE app.events (id int, at int) PARTITION BY RANGE (at)")
    conn.execute(
        "CREATE TABLE app.events_a PARTITION OF app.events FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id)"
    )
    conn.execute("CREATE TABLE app.events_a1 PARTITION OF app.events_a FOR VALUES FROM (0) TO (10)")
    conn.execute("CREATE TABLE app.events_b PARTITION OF app.events FOR VALUES FROM (10) TO (20)")
    query = "SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE relname LIKE 'events%' AND relkind = 'r'"
    before: dict[str, int] = dict(conn.execute(query).fetchall())
    outcomes = treat(conn, inventory(conn, [EVENTS]), [EVENTS], patience=QUICK)
    after: dict[str, int] = dict(conn.execute(query).fetchall())
    assert {"events_a1", "events_b"} == {leaf.name for leaf in leaves(conn, EVENTS)} == set(before)
    assert not set(before.values()) & set(after.values())
    assert {Treatment.PROVEN} == {
        o.treatment for o in outcomes if o.copy.endswith(":app.events") and "live" not in o.copy
    }


@pytest.mark.parametrize("emptied", [True, False])
def test_p3_statistics_of_an_emptied_table_go(conn: psycopg.Connection, emptied: bool) -> None:
    """ANALYZE leaves the old statistics of a table that became empty."""
    conn.execute("CREATE STATISTICS app.both (mcv) ON id, email FROM app.people")
    conn.execute("UPDATE app.people SET email = 'number.40@example.org'")
    conn.execute("CREATE INDEX ON app.people (upper(email))")
    conn.execute("ANALYZE app.people")
    conn.execute("DELETE FROM app.people" if emptied else "DELETE FROM app.people WHERE id < 60")
    conn.execute("UPDATE app.people SET email = 'somebody else'")
    copies = inventory(conn, [PEOPLE])
    outcomes = treat(conn, copies, [PEOPLE], patience=QUICK)
    rows = conn.execute("SELECT count(*) FROM pg_stats WHERE schemaname = 'app'").fetchone()
    assert rows
    assert emptied == (rows[0] == 0)
    assert Verdict.ERASED_VERIFIED == judge(conn, outcomes)["statistics"]


def test_p5_again_and_again(conn: psycopg.Connection) -> None:
    copies = inventory(conn, [PEOPLE])
    first, second = (treat(conn, copies, [PEOPLE], patience=QUICK) for _ in range(2))
    assert [(o.copy, o.treatment) for o in first] == [(o.copy, o.treatment) for o in second]
    assert {copy.id for copy in copies} == {o.copy for o in first}
    assert (50,) == conn.execute("SELECT count(*) FROM app.people").fetchone()


@pytest.mark.crash
@pytest.mark.parametrize("moment", ["rewriting app.people", "rewriting pg_statistic", "pg_wal:"])
def test_p5_through_a_crash_of_the_server(moment: str) -> None:
    with own_server("horizon-crash", parameters={"autovacuum": "off"}) as server:
        _people(server)
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            slot = moment == "pg_wal:"
            if slot:  # so that there is something to report on
                conn.execute("SELECT pg_create_physical_replication_slot('keeper', true)")
            copies = inventory(conn, [PEOPLE])
            with pytest.raises(Unreachable):
                treat(conn, copies, [PEOPLE], progress=lambda said: _kill_at(server, said, moment), patience=QUICK)
        server.restart()
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            if slot:
                conn.execute("SELECT pg_drop_replication_slot('keeper')")
            outcomes = treat(conn, inventory(conn, [PEOPLE]), [PEOPLE], patience=QUICK)
            verdicts = judge(conn, outcomes)
            row = conn.execute("SELECT count(*) FROM pg_file_settings WHERE name = 'wal_recycle'").fetchone()
    assert {"dumps-and-backups", "free-blocks", "server-log"} == {
        copy for copy, verdict in verdicts.items() if verdict is not Verdict.ERASED_VERIFIED
    }
    assert (0,) == row


def _kill_at(server: EmbeddedServer, said: str, moment: str) -> None:
    if said.startswith(moment):
        server.kill()


def _people(server: EmbeddedServer) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as conn:
        conn.execute("CREATE SCHEMA app")
        conn.execute("CREATE TABLE app.people (id int PRIMARY KEY, email text)")
        conn.execute(
            "INSERT INTO app.people SELECT g, format('number.%s@example.org', g) FROM generate_series(1, 100) g"
        )
        conn.execute("ANALYZE app.people")
        conn.execute("DELETE FROM app.people WHERE id <= 50")


def test_lock_time_is_measured(conn: psycopg.Connection) -> None:
    outcomes = treat(conn, inventory(conn, [PEOPLE]), [PEOPLE], patience=QUICK)
    (heap,) = (outcome for outcome in outcomes if outcome.copy == "heap:app.people")
    assert heap.lock_ms is not None
    assert 0 < heap.lock_ms < 10_000


def test_p6_the_wait_behind_every_try_is_measured(conn: psycopg.Connection, dsn: str) -> None:
    """Others queue behind the engine also when it gives up."""
    with psycopg.connect(dsn) as other:
        other.execute("LOCK TABLE app.people IN ACCESS SHARE MODE")
        outcomes = treat(conn, inventory(conn, [PEOPLE]), [PEOPLE], patience=QUICK)
    (heap,) = (outcome for outcome in outcomes if outcome.copy == "heap:app.people")
    assert Treatment.HELD == heap.treatment
    assert heap.lock_ms is not None
    assert heap.lock_ms >= QUICK.lock_tries_max * QUICK.lock_timeout_ms
