"""What a PostgreSQL database says of itself: a fixed number of catalogue queries, whatever the number of tables.

The queries stand in the `.sql` files beside this one; `fold` makes nouns of their rows. Source: the chapter "System
Catalogs" of PostgreSQL 13 to 18. Needs no right beyond CONNECT; what a role cannot see becomes a note.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.sql import SQL

from domicile.catalogue import Catalogue
from domicile.errors import StoreFault
from domicile.stores.postgres.catalogue.fold import Rows, fold

VERSION_MIN = 130000


def read_catalogue(conn: psycopg.Connection[Any]) -> Catalogue:
    """Read the whole catalogue in one transaction; raise StoreFault when the server is too old or breaks off.

    Nothing is written, no row of a table is read, and the session's settings are left as they were.
    """
    if conn.info.server_version < VERSION_MIN:
        raise StoreFault(f"PostgreSQL {conn.info.server_version // 10000} can't be read: Domicile needs 13 or later")
    try:
        with conn.transaction():
            path = _search_path(conn, "")
            rows = _read(conn)
            _search_path(conn, path)
    except psycopg.Error as fault:
        raise StoreFault(
            f"reading the catalogue of {conn.info.dbname} failed ({fault.sqlstate or type(fault).__name__}); "
            "run `domicile doctor` to see what the role may do"
        ) from None
    return fold(rows, system_id=_system_id(conn))


def _read(conn: psycopg.Connection[Any]) -> Rows:
    return Rows(
        database=_query(conn, "database")[0],
        tables=_query(conn, "tables"),
        members=_query(conn, "leaves"),
        inheritance=_query(conn, "inheritance"),
        types=_query(conn, "types"),
        columns=_query(conn, "columns"),
        keys=_query(conn, "keys"),
        foreign_keys=_query(conn, "foreign_keys"),
        triggers=_query(conn, "triggers"),
        rules=_query(conn, "rules"),
        views=_query(conn, "views"),
        sequences=_query(conn, "sequences"),
    )


def _query(conn: psycopg.Connection[Any], name: str) -> list[Any]:
    with conn.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(SQL(_text(name))).fetchall()


@cache
def _text(name: str) -> str:
    folder = resources.files(__name__)
    text = folder.joinpath(f"{name}.sql").read_text(encoding="utf-8")
    return text.replace("{scope}", folder.joinpath("scope.sql").read_text(encoding="utf-8"))


def _search_path(conn: psycopg.Connection[Any], wanted: str) -> str:
    """Set the search path for this transaction; return the old one. Empty: every name is spelt with its schema."""
    row = conn.execute("SELECT pg_catalog.current_setting('search_path')").fetchone()
    conn.execute("SELECT pg_catalog.set_config('search_path', %s, true)", (wanted,))
    return str(row[0]) if row else ""


def _system_id(conn: psycopg.Connection[Any]) -> str:
    """Return the cluster's identifier, or nothing where the role may not ask."""
    try:
        with conn.transaction():
            return str(_query(conn, "system")[0].system_id)
    except psycopg.Error:
        return ""
