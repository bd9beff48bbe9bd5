"""How the files of tables, statistics and views are written anew, and how we know that they really were.

`VACUUM FULL` without the right only warns, and `ANALYZE` of an empty table leaves its old statistics standing, so no
return code is believed: a rewrite counts when the server gives the relation another file, statistics of an empty
table count when the catalogue has none. Every step may be repeated after a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from domicile.catalogue import TableName

RESOURCES = "53"
"""SQLSTATE class of a full disk and the like: no word on the copy, and mended before it is judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """What one rewrite did: whether the relation and all that hangs on it have new files, else why not."""

    table: TableName
    rewritten: bool
    why: str
    lock_ms: float
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LockPatience:
    """How long a rewrite queues for its lock, how often it tries again, and the pause that others get in between."""

    lock_timeout_ms: int
    tries_max: int
    pause_ms: int


_FILES_SQL: LiteralString = """
WITH own AS (
    SELECT c.oid, c.reltoastrelid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND c.relname = %(name)s),
parts AS (
    SELECT oid FROM own UNION SELECT reltoastrelid FROM own WHERE reltoastrelid <> 0)
SELECT oid::bigint, pg_relation_filenode(oid)::bigint FROM (
    SELECT oid FROM parts UNION SELECT i.indexrelid FROM pg_index i JOIN parts ON i.indrelid = parts.oid) AS part
 WHERE pg_relation_filenode(oid) IS NOT NULL
"""


def files_of(conn: psycopg.Connection, table: TableName) -> dict[int, int]:
    """Read the file numbers of a relation, its TOAST table and all indexes; by oid."""
    rows = conn.execute(_FILES_SQL, {"schema": table.schema, "name": table.name})
    return dict(rows.fetchall())


def vacuum_full(conn: psycopg.Connection, table: TableName, *, patience: LockPatience, analyse: bool = True) -> Rewrite:
    """Rewrite one relation and say whether every file of it is new."""
    verb = sql.SQL("VACUUM (FULL, ANALYZE) {}" if analyse else "VACUUM (FULL) {}")
    return _rewritten_by(conn, table, verb.format(identifier(table)), patience)


def refresh(conn: psycopg.Connection, view: TableName, *, patience: LockPatience) -> Rewrite:
    """Compute a materialised view again, which writes a new file, and its statistics."""
    done = _rewritten_by(conn, view, sql.SQL("REFRESH MATERIALIZED VIEW {}").format(identifier(view)), patience)
    if done.rewritten:
        conn.execute(sql.SQL("ANALYZE {}").format(identifier(view)))
    return done


def empty(conn: psycopg.Connection, table: TableName, *, patience: LockPatience) -> tuple[Rewrite, ...]:
    """Empty a table, or every partition and child of it (ADR 0019). It may be repeated."""
    return tuple(_truncate(conn, leaf, patience) for leaf in leaves(conn, table))


def _truncate(conn: psycopg.Connection, table: TableName, patience: LockPatience) -> Rewrite:
    """Empty one relation; its triggers stay silent, as those of the erasure do (ADR 0006): an archive is a copy."""
    try:
        conn.execute("SELECT set_config('session_replication_role', 'replica', false)")
    except psycopg.errors.InsufficientPrivilege:
        return Rewrite(table=table, rewritten=False, why="its triggers can't be silenced", lock_ms=0.0, refused=True)
    try:
        return _rewritten_by(conn, table, sql.SQL("TRUNCATE ONLY {}").format(identifier(table)), patience)
    finally:
        if not conn.broken:
            conn.execute("RESET session_replication_role")


def _rewritten_by(
    conn: psycopg.Connection, table: TableName, statement: sql.Composed, patience: LockPatience
) -> Rewrite:
    before = files_of(conn, table)
    took_ms = 0.0
    for _ in range(patience.tries_max):
        fault, more_ms = _run(conn, statement, patience.lock_timeout_ms)
        took_ms += more_ms
        if fault is None:
            break
        if fault.sqlstate != psycopg.errors.LockNotAvailable.sqlstate:
            refused = fault.sqlstate == psycopg.errors.InsufficientPrivilege.sqlstate
            why = f"refused with {type(fault).__name__} ({fault.sqlstate})"
            return Rewrite(table=table, rewritten=False, why=why, lock_ms=took_ms, refused=refused)
        conn.execute("SELECT pg_sleep(%s)", (patience.pause_ms / 1000,))
    else:
        users = ", ".join(_users_of(conn, table)) or "others"
        why = f"no lock in {patience.tries_max} tries of {patience.lock_timeout_ms} ms: {users} use it"
        return Rewrite(table=table, rewritten=False, why=why, lock_ms=took_ms)
    after = files_of(conn, table)
    kept = [oid for oid, node in before.items() if after.get(oid) == node]
    if kept or not after:
        return Rewrite(
            table=table, rewritten=False, why=f"{len(kept)} of its files are still the old ones", lock_ms=took_ms,
            refused=len(kept) == len(before),
        )  # fmt: skip
    return Rewrite(table=table, rewritten=True, why=f"{len(after)} new files", lock_ms=took_ms)


_USERS_SQL: LiteralString = """
SELECT DISTINCT coalesce('process ' || l.pid, 'a prepared transaction')
  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND n.nspname = %(schema)s AND c.relname = %(name)s
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
 ORDER BY 1 LIMIT 5
"""


def _users_of(conn: psycopg.Connection, table: TableName) -> list[str]:
    """Name who has the relation locked."""
    rows = conn.execute(_USERS_SQL, {"schema": table.schema, "name": table.name}).fetchall()
    return [name for (name,) in rows]


def _run(conn: psycopg.Connection, statement: sql.Composed, lock_timeout_ms: int) -> tuple[psycopg.Error | None, float]:
    """Run a statement under a lock time-out; give its fault, if any, and the milliseconds by the server's clock."""
    began = conn.execute("SELECT clock_timestamp()").fetchone()
    conn.execute("SELECT set_config('lock_timeout', %s, false)", (str(lock_timeout_ms),))
    fault: psycopg.Error | None = None
    try:
        conn.execute(statement)
    except psycopg.Error as raised:
        if conn.broken or (raised.sqlstate or "").startswith(RESOURCES):
            raise
        fault = raised
    finally:
        if not conn.broken:
            conn.execute("SELECT set_config('lock_timeout', '0', false)")
    ended = conn.execute("SELECT clock_timestamp()").fetchone()
    if began is None or ended is None:
        return fault, 0.0
    return fault, (ended[0] - began[0]).total_seconds() * 1000


_CLEAR_SQL: LiteralString = """
WITH subject AS (
    SELECT c.oid FROM pg_class c WHERE c.oid = %(table)s::regclass
    UNION SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = %(table)s::regclass)
DELETE FROM pg_catalog.pg_statistic WHERE starelid IN (SELECT oid FROM subject)
"""
_CLEAR_EXTENDED_SQL: LiteralString = """
DELETE FROM pg_catalog.pg_statistic_ext_data
 WHERE stxoid IN (SELECT oid FROM pg_catalog.pg_statistic_ext WHERE stxrelid = %(table)s::regclass)
"""


def clear_statistics_of_empty(conn: psycopg.Connection, tables: Sequence[TableName]) -> None:
    """Delete the statistics of tables that became empty: ANALYZE leaves those as they were. Superusers only."""
    for table in tables:
        name = identifier(table).as_string(conn)
        row = conn.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(identifier(table))).fetchone()
        if row and row[0]:
            continue
        conn.execute(_CLEAR_SQL, {"table": name})
        conn.execute(_CLEAR_EXTENDED_SQL, {"table": name})


def identifier(table: TableName) -> sql.Identifier:
    """The relation's name for SQL."""
    return sql.Identifier(table.schema, table.name)


_TREE_SQL: LiteralString = """
WITH RECURSIVE tree(oid) AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND c.relname = %(name)s AND c.relkind IN ('r', 'p')
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid)
SELECT n.nspname, c.relname, c.relkind::text
  FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') ORDER BY 1, 2
"""


def leaves(conn: psycopg.Connection, table: TableName) -> tuple[TableName, ...]:
    """Name the relations with files of their own: the table, or all its partitions and children."""
    return tuple(_name(schema, name) for schema, name, kind in _tree(conn, table) if kind == "r")


def parents(conn: psycopg.Connection, table: TableName) -> tuple[TableName, ...]:
    """Name the partitioned tables in the tree, which have statistics but no files."""
    return tuple(_name(schema, name) for schema, name, kind in _tree(conn, table) if kind == "p")


def _tree(conn: psycopg.Connection, table: TableName) -> list[tuple[str, str, str]]:
    return conn.execute(_TREE_SQL, {"schema": table.schema, "name": table.name}).fetchall()


def _name(schema: str, name: str) -> TableName:
    return TableName(schema=schema, name=name)
