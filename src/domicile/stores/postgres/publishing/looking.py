"""Looks at one location's database: what it can do and has (`sight`), what it publishes and reads (`observe`).

Reads catalogues only, no row of a table, and of a subscription's connection string only whether a password is in it.
Source: the chapter "System Catalogs" and pg_stat_subscription, pg_stat_subscription_stats of PostgreSQL 16 to 18.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from domicile.catalogue import TableName
from domicile.model import Scope
from domicile.publish import (
    Arrivals,
    Observed,
    ObservedPublication,
    ObservedSlot,
    ObservedSubscription,
    ObservedTable,
    Publishing,
    Sight,
    SightedColumn,
    SightedTable,
)
from domicile.stores.postgres.publishing.arrivals import state_of
from domicile.stores.postgres.session import run

MADE = "domicile made this: "

ABLE = """
SELECT current_setting('wal_level') = 'logical', current_setting('is_superuser')::boolean,
       current_setting('max_replication_slots')::int
           - (SELECT count(*) FROM pg_replication_slots WHERE NOT starts_with(slot_name, 'domicile_')
                 OR starts_with(slot_name, 'domicile_feed_')),
       current_setting('max_logical_replication_workers')::int
"""
COLUMNS = """
SELECT n.nspname, c.relname, c.relkind = 'p', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attgenerated <> ''
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE (n.nspname, c.relname) IN ({tables}) AND c.relkind IN ('r', 'p') ORDER BY 1, 2, a.attnum
"""
IDENTITY = """
WITH here AS (
    SELECT c.oid AS root, r.relid, n.nspname, c.relname
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
      CROSS JOIN LATERAL (SELECT c.oid AS relid UNION SELECT relid FROM pg_partition_tree(c.oid)) AS r
     WHERE (n.nspname, c.relname) IN ({tables}) AND c.relkind IN ('r', 'p'))
SELECT here.nspname, here.relname, here.relid = here.root, ln.nspname, leaf.relname, leaf.relreplident,
       coalesce((SELECT array_agg(a.attname::text ORDER BY a.attname)
          FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
         WHERE i.indrelid = here.relid AND i.indisvalid
           AND CASE leaf.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END),
       '{{}}')
  FROM here JOIN pg_class AS leaf ON leaf.oid = here.relid JOIN pg_namespace AS ln ON ln.oid = leaf.relnamespace
"""
PUBLICATIONS = """
SELECT p.pubname, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot,
       obj_description(p.oid, 'pg_publication') FROM pg_publication AS p ORDER BY 1
"""
PUBLISHED = (
    "SELECT pubname, schemaname, tablename, attnames::text[], rowfilter FROM pg_publication_tables ORDER BY 1, 2, 3"
)
SLOTS = """
SELECT slot_name, plugin, active, coalesce(wal_status, ''),
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint
  FROM pg_replication_slots WHERE slot_type = 'logical' AND database = current_database() ORDER BY 1
"""
SUBSCRIPTIONS = """
SELECT s.oid, s.subname, s.subenabled, s.suborigin, s.subslotname, s.subpublications::text[],
       EXISTS (SELECT FROM pg_stat_subscription AS w WHERE w.subid = s.oid AND w.pid IS NOT NULL AND w.relid IS NULL),
       coalesce((SELECT e.apply_error_count + e.sync_error_count FROM pg_stat_subscription_stats AS e
                  WHERE e.subid = s.oid), 0)
  FROM pg_subscription AS s
 WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 2
"""
FOLLOWED = """
SELECT r.srsubid, n.nspname, c.relname, r.srsubstate::text FROM pg_subscription_rel AS r
  JOIN pg_class AS c ON c.oid = r.srrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
"""
IN_THE_OPEN = r"SELECT oid, subconninfo ~* 'password\s*=' OR subconninfo ~ '://[^@/]*:[^@/]*@' FROM pg_subscription"


# -- before anything is made -----------------------------------------------------------------------------------------


def sight(connection: psycopg.Connection[Any], scope: Scope) -> Sight:
    """Say what the server can do, and how the scope's tables look there; none of them has to be there."""
    row = connection.execute(ABLE).fetchone()
    logical, superuser, slots, workers = row or (False, False, 0, 0)
    return Sight(
        version=connection.info.server_version, logical=logical, superuser=superuser, slots_free=int(slots),
        workers=int(workers),        tables=_tables(connection, [dataset.table for dataset in scope.datasets]),
    )  # fmt: skip


def _tables(connection: psycopg.Connection[Any], names: list[TableName]) -> Mapping[TableName, SightedTable]:
    if not names:
        return {}
    pairs = sql.SQL(", ").join(
        sql.SQL("({}, {})").format(sql.Literal(one.schema), sql.Literal(one.name)) for one in names
    )
    found: dict[TableName, list[SightedColumn]] = {}
    partitioned: set[TableName] = set()
    for schema, name, parts, column, kind, not_null, generated in run(
        connection, sql.SQL(COLUMNS).format(tables=pairs)
    ):
        table = TableName(schema=schema, name=name)
        found.setdefault(table, []).append(
            SightedColumn(name=column, type=kind, not_null=not_null, generated=generated)
        )
        if parts:
            partitioned.add(table)
    identities = _identities(run(connection, sql.SQL(IDENTITY).format(tables=pairs)))
    return {
        name: SightedTable(
            columns=tuple(items), identity=identities[name][0], identity_full=identities[name][1],
            partitioned=name in partitioned, odd_leaves=identities[name][2],
        )
        for name, items in found.items()
    }  # fmt: skip


Identity = tuple[tuple[str, ...], bool, tuple[TableName, ...]]


def _identities(rows: Iterable[Any]) -> Mapping[TableName, Identity]:
    """Of each table: the columns, whether it is FULL, and the partitions that differ from it."""
    roots: dict[TableName, tuple[tuple[str, ...], str]] = {}
    leaves: dict[TableName, list[tuple[TableName, tuple[str, ...], str]]] = {}
    for schema, name, is_root, leaf_schema, leaf_name, how, names in rows:
        table = TableName(schema=schema, name=name)
        if is_root:
            roots[table] = (tuple(names), how)
        else:
            leaf = TableName(schema=leaf_schema, name=leaf_name)
            leaves.setdefault(table, []).append((leaf, tuple(names), how))
    return {
        table: (
            names,
            how == "f",
            tuple(
                leaf
                for leaf, own, leaf_how in leaves.get(table, ())
                if own != names or (leaf_how == "f") != (how == "f")
            ),
        )
        for table, (names, how) in roots.items()
    }


# -- what is there ---------------------------------------------------------------------------------------------------


def observe(connection: psycopg.Connection[Any], publishing: Publishing) -> Observed:
    """Say what the database publishes, which slots it has, what it reads, and whether arriving rows are met."""
    return Observed(
        publications=tuple(_publications(connection)),
        slots=tuple(
            ObservedSlot(name=name, plugin=plugin, active=active, wal_status=status, lag_bytes=int(lag))
            for name, plugin, active, status, lag in connection.execute(SLOTS).fetchall()
        ),
        subscriptions=tuple(_subscriptions(connection)),
        arrivals=_arrivals(connection, publishing),
    )


def _arrivals(connection: psycopg.Connection[Any], publishing: Publishing) -> Mapping[TableName, Arrivals]:
    return {table.table: state_of(connection, table) for table in publishing.tables}


def _publications(connection: psycopg.Connection[Any]) -> Iterator[ObservedPublication]:
    rows = connection.execute(PUBLISHED).fetchall()
    for name, insert, update, delete, truncate, via_root, comment in connection.execute(PUBLICATIONS).fetchall():
        tables = tuple(
            ObservedTable(table=TableName(schema=schema, name=table), columns=frozenset(columns), where=where)
            for publication, schema, table, columns, where in rows
            if publication == name
        )
        flags = {"insert": insert, "update": update, "delete": delete, "truncate": truncate}
        yield ObservedPublication(
            name=name, actions=frozenset(action for action, on in flags.items() if on), via_root=via_root,
            tables=tables, as_made=comment == made_note(tables),
        )  # fmt: skip


def made_note(tables: Iterable[ObservedTable]) -> str:
    """The comment of a publication of ours: a digest of its row filters as the server spells them."""
    text = "\n".join(sorted(f"{table.table}\x00{table.where}" for table in tables))
    return MADE + hashlib.sha256(text.encode()).hexdigest()


def note_made(connection: psycopg.Connection[Any], name: str) -> None:
    """Write the comment of a publication that was just made."""
    found = next(item for item in _publications(connection) if item.name == name)
    run(
        connection,
        sql.SQL("COMMENT ON PUBLICATION {} IS {}").format(sql.Identifier(name), sql.Literal(made_note(found.tables))),
    )


def _subscriptions(connection: psycopg.Connection[Any]) -> Iterator[ObservedSubscription]:
    followed: dict[int, dict[TableName, str]] = {}
    for oid, schema, name, state in connection.execute(FOLLOWED).fetchall():
        followed.setdefault(oid, {})[TableName(schema=schema, name=name)] = state
    passwords = _passwords(connection)
    for oid, name, enabled, origin, slot, publications, running, errors in connection.execute(SUBSCRIPTIONS).fetchall():
        yield ObservedSubscription(
            name=name, enabled=enabled, running=running, origin=origin, slot=slot,
            publications=frozenset(publications), tables=followed.get(oid, {}), errors=int(errors),
            password=passwords.get(oid),
        )  # fmt: skip


def _passwords(connection: psycopg.Connection[Any]) -> Mapping[int, bool]:
    may = connection.execute("SELECT has_column_privilege('pg_subscription', 'subconninfo', 'SELECT')").fetchone()
    if not may or not may[0]:
        return {}
    return dict(connection.execute(IN_THE_OPEN).fetchall())
