"""The rows a server shows, as one stream of bytes per relation: what a search by content reads beside the files.

Every table of the database is read, not only the mapped ones: a side copy in a place nobody thought of is what a
sweep is for. The server itself unpacks compressed and out-of-line values here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from domicile.catalogue import TableName
from domicile.stores.postgres.copies import CopyKind, copy_id
from domicile.stores.postgres.files import materialised_views, read_roots
from domicile.stores.postgres.names import DIRECTORY

BLOCK_BYTES = 1024 * 1024
_HEX = re.compile(rb"\\x([0-9a-f]{12,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A relation whose rows are read, and the copy they belong to."""

    name: TableName
    copy: str
    dataset: bool


_RELATIONS_SQL: LiteralString = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relpersistence::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'domicile') AND n.nspname NOT LIKE 'pg\\_t%'
 ORDER BY n.nspname, c.relname
"""
# What the catalogue itself says in text: unspecific tokens that occur there would be found in every data directory.
_CATALOGUE_SQL: LiteralString = """
SELECT c.relname FROM pg_class c
 WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r'
   AND c.relname IN ('pg_proc', 'pg_class', 'pg_attribute', 'pg_description', 'pg_shdescription', 'pg_type',
                     'pg_operator', 'pg_collation', 'pg_constraint', 'pg_rewrite', 'pg_ts_dict')
 ORDER BY 1
"""


def relations(
    conn: psycopg.Connection, datasets: Sequence[TableName], derived: Sequence[TableName] = ()
) -> tuple[Relation, ...]:
    """List every relation with rows of the connected database, but the system's and our own."""
    roots, emptied = read_roots(conn, datasets), read_roots(conn, derived)
    views = {oid for oid, *_ in materialised_views(conn)}
    found = []
    for oid, schema, name, kind, persistence in conn.execute(_RELATIONS_SQL).fetchall():
        table = TableName(schema=schema, name=name)
        copy = copy_id(CopyKind.UNLOGGED_TABLES if persistence == "u" else CopyKind.UNMAPPED_TABLES)
        if schema == DIRECTORY:
            copy = copy_id(CopyKind.DIRECTORY)
        if oid in roots:
            copy = copy_id(CopyKind.LIVE_ROWS, roots[oid])
        elif oid in emptied:
            copy = copy_id(CopyKind.DERIVED_TABLE, emptied[oid])
        elif kind == "m" and oid in views:
            copy = copy_id(CopyKind.MATERIALISED_VIEW, table)
        found.append(Relation(name=table, copy=copy, dataset=oid in roots))
    return tuple(found)


def stream(conn: psycopg.Connection, name: TableName) -> Iterator[bytes]:
    """Read a relation as COPY text in blocks of whole rows; psycopg's errors pass."""
    query = sql.SQL("COPY (SELECT * FROM ONLY {}) TO STDOUT").format(sql.Identifier(name.schema, name.name))
    yield from _blocks(conn, query, _with_bytea)


def _with_bytea(block: bytes) -> bytes:
    """Append what the block's bytea values say: COPY writes them as hexadecimal."""
    parts = [bytes.fromhex(digits[: len(digits) // 2 * 2].decode()) for digits in _HEX.findall(block)]
    return b"\n".join((block, *parts)) if parts else block


def large_objects(conn: psycopg.Connection) -> Iterator[bytes]:
    """Read all large objects one behind the other; psycopg's errors pass."""
    query = sql.SQL("COPY (SELECT encode(data, 'hex') FROM pg_catalog.pg_largeobject ORDER BY loid, pageno) TO STDOUT")
    yield from _blocks(conn, query, lambda block: bytes.fromhex(block.replace(b"\n", b"").decode()))


def _blocks(conn: psycopg.Connection, query: sql.Composed | sql.SQL, view: Callable[[bytes], bytes]) -> Iterator[bytes]:
    rows: list[bytes] = []
    size = 0
    with conn.transaction():
        conn.execute("SELECT set_config('row_security', 'off', true), set_config('bytea_output', 'hex', true)")
        with conn.cursor() as cursor, cursor.copy(query) as copy:
            for row in copy:
                rows.append(bytes(row))
                size += len(row)
                if size >= BLOCK_BYTES:
                    yield view(b"".join(rows))
                    rows, size = [], 0
    if rows:
        yield view(b"".join(rows))


def staying(conn: psycopg.Connection, datasets: Sequence[TableName]) -> Iterator[bytes]:
    """Read what legitimately stays: the rows left in the datasets, and the catalogue's own words.

    Call it after the rows were deleted. For `tokens.without_common`.
    """
    for relation in relations(conn, datasets):
        if relation.dataset:
            yield from stream(conn, relation.name)
    for (name,) in conn.execute(_CATALOGUE_SQL).fetchall():
        yield from stream(conn, TableName(schema="pg_catalog", name=name))
