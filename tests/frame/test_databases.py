"""The samples are loaded whole, on the oldest and the newest servers, and copies do not see one another."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import Databases

Sample = Callable[[EmbeddedServer, str], str]

# Counted by hand from the files' COPY and INSERT lines; tests/data/*/README.md.
ROWS = {"pagila": 49_636, "chinook": 15_607, "chinook_identity": 15_607, "northwind": 3_362}


@pytest.mark.parametrize("name", ROWS)
def test_a_sample_is_loaded_whole(pg18: EmbeddedServer, sample: Sample, name: str) -> None:
    assert ROWS[name] == count_rows(sample(pg18, name))


@pytest.mark.parametrize("name", ["pagila", "chinook_identity"])
def test_a_sample_is_loaded_whole_on_debians_server(distributed: EmbeddedServer, sample: Sample, name: str) -> None:
    assert ROWS[name] == count_rows(sample(distributed, name))


def test_copies_do_not_see_one_another(pg18: EmbeddedServer, sample: Sample) -> None:
    first, second = sample(pg18, "northwind"), sample(pg18, "northwind")
    with psycopg.connect(first) as connection:
        connection.execute("TRUNCATE order_details")
    assert ROWS["northwind"] == count_rows(second)
    assert ROWS["northwind"] - 2155 == count_rows(first)


def test_a_database_is_gone_after_its_test(pg18: EmbeddedServer) -> None:
    databases = Databases()
    dsn = databases(pg18)
    psycopg.connect(dsn).close()
    databases.drop()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(dsn)


def count_rows(dsn: str) -> int:
    """Count every table's rows, partitions once."""
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', n.nspname, c.relname) "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
        ).fetchall()
        union = " UNION ALL ".join(f"SELECT count(*) AS n FROM {table}" for (table,) in tables)
        row = connection.execute(f"SELECT sum(n)::bigint FROM ({union}) AS counts").fetchone()
    assert row is not None
    return int(row[0])
