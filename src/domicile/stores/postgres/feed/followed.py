"""Which datasets a feed follows, and what of their tables must stay as it was at its begin.

A column that is added fills every row without a change that anybody reports; a partition that is attached brings rows
that nobody wrote. So the shape of each table is written down at the begin and looked at in every read (P4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from domicile.config.rules import HomeRows
from domicile.errors import Unreachable, WorldChanged
from domicile.host import Host
from domicile.model import DatasetId, DatasetScope, Scope
from domicile.stores.postgres.names import STAGING, relation
from domicile.stores.postgres.session import Session, faults, run

TRIES_MAX = 30
LOCK_TIMEOUT_MS = 2_000
PAUSE_S = 0.2

# One text for a table: its columns in order, and the oids of all tables that hold its rows.
SHAPE = """
SELECT (SELECT string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
          FROM pg_attribute AS a WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped)
       || ' in ' || (SELECT string_agg(t.relid::oid::text, ' ' ORDER BY t.relid::oid)
                       FROM (SELECT r.oid AS relid UNION SELECT relid FROM pg_partition_tree(r.oid)) AS t)
  FROM (SELECT to_regclass({table})::oid AS oid) AS r
"""

MARKS = """
WITH t AS (SELECT r.oid FROM (SELECT to_regclass(q.name)::oid AS oid FROM unnest(ARRAY[{tables}]) AS q(name)) AS r
           UNION SELECT p.relid FROM unnest(ARRAY[{tables}]) AS q(name)
           CROSS JOIN LATERAL pg_partition_tree(to_regclass(q.name)) AS p)
SELECT md5(concat_ws('/',
  (SELECT string_agg(t.oid::text, ' ' ORDER BY t.oid) FROM t),
  (SELECT count(*) FROM unnest(ARRAY[{tables}]) AS q(name) WHERE to_regclass(q.name) IS NULL),
  (SELECT string_agg(format('%s.%s.%s.%s', a.attrelid, a.attnum, a.xmin, y.xmin), ' ' ORDER BY a.attrelid, a.attnum)
     FROM pg_attribute AS a JOIN t ON t.oid = a.attrelid LEFT JOIN pg_type AS y ON y.oid = a.atttypid
    WHERE a.attnum > 0),
  (SELECT string_agg(format('%s.%s.%s', g.oid, g.xmin, p.xmin), ' ' ORDER BY g.oid)
     FROM pg_trigger AS g JOIN t ON t.oid = g.tgrelid JOIN pg_proc AS p ON p.oid = g.tgfoid)))
"""


def followed(scope: Scope) -> tuple[DatasetScope, ...]:
    """The datasets whose changes matter: their rows travel, or lead somewhere, or tell a person's market."""
    on_the_way = {step.table for dataset in scope.datasets for path in dataset.paths for step in path.steps}
    on_the_way.update(*(kind.market.tables for kind in scope.kinds))
    return tuple(
        dataset
        for dataset in scope.datasets
        if dataset.owned
        or dataset.moves
        or dataset.home_rows is not HomeRows.NOTHING
        or scope.is_subject(dataset.id)
        or dataset.table in on_the_way
    )


def shapes_query(datasets: Iterable[DatasetScope]) -> sql.Composable:
    """SELECT dataset, shape of each dataset's table as it is now; the shape of one that is gone is null."""
    return sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}::text AS dataset, ({}) AS shape").format(sql.Literal(dataset.id), _shape(dataset))
        for dataset in datasets
    )


def note_shape(connection: psycopg.Connection[Any], dataset: DatasetScope) -> None:
    """Write down what the table looks like; raise WorldChanged when it is not what the scope says."""
    refuse_other_columns(connection, dataset)
    run(
        connection,
        sql.SQL("INSERT INTO {} SELECT dataset, shape FROM ({}) AS q ON CONFLICT (dataset) DO NOTHING").format(
            shapes_table(), shapes_query([dataset])
        ),
    )


def refuse_other_columns(connection: psycopg.Connection[Any], dataset: DatasetScope) -> None:
    """Raise WorldChanged when the table's columns are not those of the scope."""
    rows = run(
        connection,
        sql.SQL(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a WHERE"
            " a.attrelid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
        ).format(table_text(dataset)),
    )
    if {(str(name), str(kind)) for name, kind in rows} != {(item.name, item.type) for item in dataset.columns}:
        raise WorldChanged(f"{dataset.id}: its columns are not those of the plan; run `domicile plan` again")


def refuse_changed_shapes(connection: psycopg.Connection[Any], datasets: Sequence[DatasetScope]) -> None:
    """Raise WorldChanged when a table is not what it was at the begin."""
    if not datasets:
        return
    changed = run(
        connection,
        sql.SQL(
            "SELECT q.dataset FROM ({}) AS q LEFT JOIN {} AS s USING (dataset)"
            " WHERE s.shape IS DISTINCT FROM q.shape OR q.shape IS NULL ORDER BY 1 LIMIT 1"
        ).format(shapes_query(datasets), shapes_table()),
    ).fetchone()
    if changed is not None:
        raise WorldChanged(
            f"{changed[0]}: its columns or partitions changed since the changefeed began, so changes may be missing; "
            "take the change back, or give the run up and plan again"
        )


class Marks:
    """Whether the catalogue's rows about some tables are those that were looked at last.

    By a digest of the rows that say what the tables are, their partitions and their triggers. Whatever changes one of
    them writes it anew, with another xmin: as long as the digest is the same, what was looked at once need not be
    looked at again, before each reading and under a fence.
    """

    def __init__(self, datasets: Sequence[DatasetScope]) -> None:
        tables = sql.SQL(", ").join(table_text(dataset) for dataset in datasets)
        self._query = sql.SQL(MARKS).format(tables=tables).as_bytes(None) if datasets else b""
        self._seen = ""

    @contextmanager
    def unseen(self, connection: psycopg.Connection[Any]) -> Iterator[bool]:
        """Give whether to look; what was looked at without an error counts as seen."""
        row = connection.execute(self._query).fetchone() if self._query else None
        mark = str(row[0]) if row else ""
        yield mark != self._seen
        self._seen = mark


def make_tables(connection: psycopg.Connection[Any]) -> None:
    """Make the feed's own tables in our schema, unless they are there."""
    run(connection, sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(STAGING)))
    run(connection, sql.SQL("REVOKE ALL ON SCHEMA {} FROM PUBLIC").format(sql.Identifier(STAGING)))
    for name, columns in (
        ("pass", "transaction text PRIMARY KEY"),
        ("feed_shape", "dataset text PRIMARY KEY, shape text"),
        ("feed_state", "name text PRIMARY KEY, position pg_lsn, facts text, at timestamptz NOT NULL"),
        (
            "feed_truncated",
            "dataset text NOT NULL, xid xid8 DEFAULT pg_current_xact_id(), at timestamptz DEFAULT clock_timestamp()",
        ),
    ):
        run(
            connection,
            sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(sql.Identifier(STAGING, name), sql.SQL(columns)),
        )


def refuse_truncated(connection: psycopg.Connection[Any], snapshot: str) -> None:
    """Raise WorldChanged when the snapshot shows that a followed table was emptied."""
    emptied = run(
        connection,
        sql.SQL(
            "SELECT t.dataset FROM {} AS t WHERE pg_visible_in_snapshot(t.xid, {}::pg_snapshot) ORDER BY 1 LIMIT 1"
        ).format(truncated_table(), sql.Literal(snapshot)),
    ).fetchone()
    if emptied is not None:
        raise truncated(DatasetId(emptied[0]))


def truncated(dataset: DatasetId) -> WorldChanged:
    """What there is to say when somebody emptied a followed table."""
    return WorldChanged(
        f"{dataset}: somebody truncated it while it was followed, which names no keys; give the run up and begin again"
    )


def drop_tables(connection: psycopg.Connection[Any]) -> None:
    """Drop the feeds' own tables; `domicile.pass` stays, as the guard has it too."""
    for name in ("feed_shape", "feed_state", "feed_truncated", "feed_queue"):
        run(connection, sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(STAGING, name)))


def truncated_table() -> sql.Identifier:
    """The table of what was emptied."""
    return sql.Identifier(STAGING, "feed_truncated")


def shapes_table() -> sql.Identifier:
    """The table of the shapes at the begin."""
    return sql.Identifier(STAGING, "feed_shape")


def state_table() -> sql.Identifier:
    """The table of how far each feed was confirmed."""
    return sql.Identifier(STAGING, "feed_state")


def patiently(session: Session, host: Host, what: str, act: Callable[[psycopg.Connection[Any]], None]) -> None:
    """Do it in a transaction of its own that queues for locks, and others behind it, only briefly; again and again."""
    for _ in range(TRIES_MAX):
        try:
            with faults(session.store, what), session.connection.transaction():
                run(session.connection, sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT_MS)))
                act(session.connection)
        except Unreachable:
            host.pause(PAUSE_S)
        else:
            return
    raise Unreachable(
        f"store {session.store}: no lock in {TRIES_MAX} tries of {LOCK_TIMEOUT_MS} ms to {what}; end the long "
        "transaction that holds it, then run again"
    )


def exists(connection: psycopg.Connection[Any], name: str) -> bool:
    """Whether a table of that name is in our schema."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{STAGING}.{name}",)).fetchone()
    return bool(row and row[0])


def table_text(dataset: DatasetScope) -> sql.Literal:
    """The dataset's table as a text that `to_regclass` reads."""
    return sql.Literal(relation(dataset.table).as_string(None))


def _shape(dataset: DatasetScope) -> sql.Composable:
    return sql.SQL(SHAPE).format(table=table_text(dataset))
