"""Values left behind on purpose, one kind of place each: how a row's bytes get there in a real server.

Every plant is a canary of its own shape, long enough that no pglz control byte can leave it whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from domicile.catalogue import TableName
from domicile.stores.postgres.horizon import Copy, CopyKind, Outcome, Patience, inventory, treat
from domicile.stores.postgres.server import EmbeddedServer
from domicile.sweep import SearchResult, TokenClass, Tokens, sweep_server

FIRST, SECOND = "canary-planted-", "value-0123456789"
CANARY = FIRST + SECOND
QUICK = Patience(lock_timeout_ms=500, lock_tries_max=2, holder_polls_max=3, holder_poll_ms=50)
# In lz4 literals stay readable; a value whose parts came before is stored as two references.
PACKED = f"(repeat('{FIRST}|{SECOND}|', 40) || repeat('x', 2500) || '{CANARY}')"
NOISE = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 400) g)"
LONG = f"({NOISE} || repeat('{FIRST}|{SECOND}|', 400) || '{CANARY}')"
DATASETS = tuple(TableName(schema="app", name=name) for name in ("plain", "packed", "outside", "straddling", "parted"))

SCHEMA = f"""
CREATE SCHEMA app;
CREATE TABLE app.plain (id int PRIMARY KEY, email text);
CREATE INDEX ON app.plain (email);
CREATE TABLE app.packed (id int PRIMARY KEY, bio text);
CREATE INDEX ON app.packed (bio);
CREATE TABLE app.outside (id int PRIMARY KEY, bio text);
CREATE TABLE app.straddling (id int PRIMARY KEY, bio text);
ALTER TABLE app.straddling ALTER bio SET STORAGE EXTERNAL;
CREATE TABLE app.parted (id int, email text) PARTITION BY RANGE (id);
CREATE TABLE app.parted_low PARTITION OF app.parted FOR VALUES FROM (0) TO (10);
CREATE TABLE app.parted_high PARTITION OF app.parted FOR VALUES FROM (10) TO (20);
INSERT INTO app.plain SELECT g, 'somebody.' || g || '@example.org' FROM generate_series(100, 299) g;
INSERT INTO app.plain VALUES (1, '{CANARY}'), (2, '{CANARY}'), (3, '{CANARY}');
INSERT INTO app.packed VALUES (1, {PACKED});
INSERT INTO app.outside VALUES (1, {LONG});
INSERT INTO app.straddling VALUES (1, repeat('y', 1996 - 12) || '{CANARY}' || repeat('z', 3000));
INSERT INTO app.parted VALUES (5, '{CANARY}'), (15, '{CANARY}');
CREATE VIEW app.addresses AS SELECT email FROM app.plain;
CREATE MATERIALIZED VIEW app.mailing AS SELECT email FROM app.addresses;
CREATE MATERIALIZED VIEW app.mailing_count AS SELECT email, count(*) FROM app.mailing GROUP BY email;
"""


def parameters_of(major: int) -> dict[str, str]:
    """Settings that open every place of the horizon."""
    return {
        "shared_preload_libraries": "pg_stat_statements",
        "wal_level": "logical",
        "max_prepared_transactions": "5",
        "logging_collector": "on",
        "log_directory": "log",
        "autovacuum": "off",
        "max_wal_size": "64MB",
        "min_wal_size": "48MB",
        "wal_compression": "on" if major < 15 else "pglz",
        "logical_decoding_work_mem": "64kB",
        "fsync": "off",
    }


def tokens(*texts: str) -> Tokens:
    """Tokens given by hand."""
    return Tokens(dict.fromkeys((text.encode() for text in texts or (CANARY,)), TokenClass.CANARY))


@contextmanager
def connected(dsn: str) -> Iterator[psycopg.Connection]:
    """An autocommit session."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def plant_schema(conn: psycopg.Connection, *, lz4: bool = False) -> None:
    """Make the mapped tables with a canary in each, and everything PostgreSQL itself derives from them."""
    if lz4:
        conn.execute("SET default_toast_compression = lz4")
    conn.execute(SCHEMA)
    conn.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    conn.execute(f"DO $$ BEGIN PERFORM 1; /* {CANARY} */ END $$")
    conn.execute("ANALYZE")
    conn.execute(f"SELECT lo_from_bytea(0, {LONG}::bytea)")


def delete_rows(conn: psycopg.Connection) -> None:
    """What the erase did before the horizon is treated."""
    for table in DATASETS:
        conn.execute(f"DELETE FROM {table.schema}.{table.name} WHERE id < 100")
    conn.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")


def copies_but(conn: psycopg.Connection, *skipped: CopyKind) -> tuple[Copy, ...]:
    """The inventory without some kinds."""
    return tuple(copy for copy in inventory(conn, DATASETS) if copy.kind not in skipped)


def treat_quickly(conn: psycopg.Connection, copies: tuple[Copy, ...]) -> tuple[Outcome, ...]:
    """Treat with little patience, so that a test of a holder is quick."""
    return treat(conn, copies, DATASETS, patience=QUICK)


def sweep_for_canary(conn: psycopg.Connection, *, sql_only: bool = False) -> SearchResult:
    """Sweep the server for the one canary."""
    return sweep_server(conn, tokens(), inventory(conn, DATASETS), DATASETS, sql_only=sql_only)


@contextmanager
def plants_elsewhere(server: EmbeddedServer, conn: psycopg.Connection, dsn: str) -> Iterator[None]:
    """Leave the canary in every place that no treatment of ours empties; gone again at the end."""
    data = server.data_directory
    with ExitStack() as stack:
        for plant in (_tables, _comment, _notification, _sorting, _spill, _prepared, _other_database):
            stack.enter_context(plant(server, conn, dsn))
        for path in _orphans(conn, data), data / "left.txt":
            stack.callback(path.unlink)
        (data / "left.txt").write_text(f"who: {CANARY}\n")
        _logged(conn)
        yield


@contextmanager
def _tables(server: EmbeddedServer, conn: psycopg.Connection, dsn: str) -> Iterator[None]:
    conn.execute("CREATE SCHEMA side")
    conn.execute(f"CREATE TABLE side.export AS SELECT 1 AS id, '{CANARY}'::bytea AS blob")
    conn.execute(f"CREATE UNLOGGED TABLE side.scratch AS SELECT '{CANARY}'::text AS note")
    conn.execute("CREATE SCHEMA domicile")
    conn.execute(f"CREATE TABLE domicile.manifest AS SELECT '{CANARY}'::text AS key")
    yield
    conn.execute("DROP SCHEMA side CASCADE")
    conn.execute("DROP SCHEMA domicile CASCADE")


@contextmanager
def _comment(server: EmbeddedServer, conn: psycopg.Connection, dsn: str) -> Iterator[None]:
    conn.execute(f"COMMENT ON TABLE app.plain IS 'ask {CANARY}'")
    yield
    conn.execute("COMMENT ON TABLE app.plain IS NULL")
    conn.execute("VACUUM FULL pg_description")


@contextmanager
def _notification(server: EmbeddedServer, conn: psycopg.Connection, dsn: str) -> Iterator[None]:
    """A listener that never reads, and more messages than the server keeps in memory."""
    with connected(dsn) as listener:
        listener.execute("LISTEN app")
        listener.execute("BEGIN")
        conn.execute(f"SELECT pg_notify('app', '{CANARY}' || g || repeat('n', 7000)) FROM generate_series(1, 100) g")
        yield
        listener.execute("COMMIT")


@contextmanager
def _sorting(server: EmbeddedServer, conn: psycopg.Connection, dsn: str) -> Iterator[None]:
    """A session that keeps a sort on disk."""
    with connected(dsn) as sorting:
        sorting.execute("SET work_mem = '64kB'")
        sorting.execute("BEGIN")
        sorting.execute(f"DECLARE sorted CURSOR FOR SELECT '{CANARY}' || g FROM generate_series(1, 20000) g ORDER BY 1")
        sorting.execute("FETCH 1 FROM sorted")
        yield
        sorting.execute("COMMIT")


@contextmanager
def _spill(server: EmbeddedServer, conn: psycopg.Connection, dsn: str) -> Iterator[None]:
    """A logical slot's consumer that decodes a large open transaction, and so spills it to disk."""
    conn.execute("SELECT pg_create_logical_replication_slot('feed', 'test_decoding')")
    walsender = psycopg.pq.PGconn.connect(f"{dsn} replication=database".encode())
    with connected(dsn) as writer:
        writer.execute("BEGIN")
        writer.execute("CREATE TABLE app.bulk (note text)")
        writer.execute(f"INSERT INTO app.bulk SELECT '{CANARY}' || g FROM generate_series(1, 20000) g")
        walsender.exec_(b"START_REPLICATION SLOT feed LOGICAL 0/0")
        for _ in range(200):
            conn.execute("SELECT pg_switch_wal(), pg_sleep(0.05)")
            if list((server.data_directory / "pg_replslot" / "feed").glob("*.spill")):
                break
        yield
        writer.execute("ROLLBACK")
    walsender.finish()
    for _ in range(200):
        row = conn.execute("SELECT active FROM pg_replication_slots WHERE slot_name = 'feed'").fetchone()
        if row and not row[0]:
            break
        conn.execute("SELECT pg_sleep(0.05)")
    conn.execute("SELECT pg_drop_replication_slot('feed')")


@contextmanager
def _prepared(server: EmbeddedServer, conn: psycopg.Connection, dsn: str) -> Iterator[None]:
    """A prepared transaction whose name tells who it is about; after a checkpoint it is a file."""
    with connected(dsn) as writer:
        writer.execute("BEGIN")
        writer.execute("CREATE TABLE app.pending (id int)")
        writer.execute(f"PREPARE TRANSACTION '{CANARY}'")
    yield
    conn.execute(f"ROLLBACK PREPARED '{CANARY}'")


@contextmanager
def _other_database(server: EmbeddedServer, conn: psycopg.Connection, dsn: str) -> Iterator[None]:
    conn.execute("CREATE DATABASE elsewhere TEMPLATE template0")
    with connected(server.dsn("elsewhere")) as other:
        other.execute(f"CREATE TABLE copy AS SELECT 1 AS id, {LONG} AS bio")
        other.execute("CHECKPOINT")
    yield
    conn.execute("DROP DATABASE elsewhere")


def _orphans(conn: psycopg.Connection, data: Path) -> Path:
    """A relation file that a crash left behind: the TOAST table's bytes under a number that nobody owns."""
    conn.execute("CHECKPOINT")
    row = conn.execute(
        "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'app.outside'::regclass"
    ).fetchone()
    assert row
    toast = data / str(row[0])
    orphan = toast.with_name("999999")
    orphan.write_bytes(toast.read_bytes())
    return orphan


def _logged(conn: psycopg.Connection) -> None:
    try:
        conn.execute(f"SELECT '{CANARY}'::int")
    except psycopg.errors.InvalidTextRepresentation:
        return
    raise AssertionError("the server took a word for a number")
