"""A durable server of the room's own, with slots and prepared transactions, and a table in it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from domicile.catalogue import TableName
from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import Databases, own_server
from tests.translated import translate_loops

PEOPLE = TableName(schema="app", name="people")


@pytest.fixture(scope="package", autouse=True)
def _translated() -> None:
    translate_loops()


@pytest.fixture(scope="package")
def horizon_server() -> Iterator[EmbeddedServer]:
    """PostgreSQL 18 with a small WAL."""
    parameters = {
        "wal_level": "logical", "max_prepared_transactions": "5", "autovacuum": "off", "fsync": "off",
        "max_wal_size": "64MB", "min_wal_size": "48MB",
    }  # fmt: skip
    with own_server("horizon", parameters=parameters) as server:
        yield server


@pytest.fixture
def dsn(horizon_server: EmbeddedServer, database: Databases) -> str:
    """A fresh database with 100 people; those up to 50 have been erased."""
    dsn = database(horizon_server)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA app")
        conn.execute("CREATE TABLE app.people (id int PRIMARY KEY, email text)")
        conn.execute(
            "INSERT INTO app.people SELECT g, format('number.%s@example.org', g) FROM generate_series(1, 100) g"
        )
        conn.execute("DELETE FROM app.people WHERE id <= 50")
    return dsn


@pytest.fixture
def conn(dsn: str) -> Iterator[psycopg.Connection]:
    """A superuser's session in it."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn
