"""The streams themselves: what a slow server has not taken yet does not pile up here."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from domicile.stores.postgres.copying import BLOCK_BYTES, CopyIn
from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import Databases

BLOCKS = 256  # 64 MiB: far more than sockets hold
STANDS_S, WAIT_S = 2, 120
SLOW = """
CREATE TABLE slow (t text);
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END$$;
CREATE TRIGGER wait BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION wait();
"""


def test_what_the_server_refuses_in_the_middle_of_a_stream_is_told(pg18: EmbeddedServer, database: Databases) -> None:
    with psycopg.connect(database(pg18), autocommit=True) as connection:
        connection.execute("CREATE TABLE short (t text CHECK (length(t) < 10))")
        writer = CopyIn(connection, sql.Identifier("short"), sql.Identifier("t"), binary=False)
        with pytest.raises(psycopg.errors.CheckViolation):
            _write(writer, lambda: None)
        writer.abort()
        assert connection.execute("SELECT count(*) FROM short").fetchone() == (0,)


def test_nothing_piles_up_before_a_home_that_is_slow(pg18: EmbeddedServer, database: Databases) -> None:
    dsn = database(pg18)
    written: list[None] = []

    def write() -> None:
        with psycopg.connect(dsn) as connection:
            writer = CopyIn(connection, sql.Identifier("slow"), sql.Identifier("t"), binary=False)
            _write(writer, lambda: written.append(None))

    with psycopg.connect(dsn, autocommit=True) as holder:
        holder.execute(SLOW)
        holder.execute("SELECT pg_advisory_lock(1)")
        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        thread.join(STANDS_S)
        assert len(written) < BLOCKS
        holder.execute("SELECT pg_advisory_unlock(1)")
        thread.join(WAIT_S)
    assert BLOCKS == len(written)


def _write(writer: CopyIn, done: Callable[[], None]) -> None:
    for _ in range(BLOCKS):
        writer(b"x" * (BLOCK_BYTES - 1) + b"\n")
        done()
    writer.end()
