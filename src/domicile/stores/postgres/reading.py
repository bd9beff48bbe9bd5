"""A snapshot of one database: slices in manifest order, leaves and rows for narrowing, strays at home."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from domicile.model import DatasetScope, Form, Home, Measure, Scope, Slice
from domicile.stores import LEAF_ROWS, Sink
from domicile.stores.postgres.closure import EVERYWHERE
from domicile.stores.postgres.copying import Meter, copy_out
from domicile.stores.postgres.names import (
    column,
    key_expressions,
    key_match,
    key_names,
    row_expressions,
    source_of,
    staged,
)
from domicile.stores.postgres.session import faults, number, run

RANGE_TYPES_WITHOUT_COLLATION = frozenset({"N", "D", "U"})


class PostgresSnapshot:
    """The reads of one transaction. `scope` says how datasets are spelt, `key` is the digest key (32 bytes)."""

    def __init__(self, connection: psycopg.Connection[Any], scope: Scope, key: bytes, store: str) -> None:
        self.connection = connection
        self.scope = scope
        self.key = key
        self.store = store

    def read(self, piece: Slice, sink: Sink, *, at_home: bool) -> Measure:
        """Stream the slice; see `domicile.stores.Snapshot.read`."""
        dataset = self.scope.dataset(piece.dataset)
        blanked = piece.form is Form.SKELETON and not at_home
        meter = Meter(self.key, sink)
        query = sql.SQL("SELECT {} FROM {} ORDER BY m.n").format(
            row_expressions(dataset, "d", blanked=blanked), slice_rows(dataset, piece)
        )
        with faults(self.store, f"read {piece.id}"):
            rows = copy_out(self.connection, query, meter, binary=dataset.binary)
        return meter.measure(piece.id, rows)

    def leaves(self, piece: Slice, *, at_home: bool) -> Mapping[int, str]:
        """Hash by leaves, in the database; a hint for narrowing, never a commitment."""
        query = sql.SQL(
            "SELECT (m.n - 1) / {size} AS leaf, md5(string_agg(md5({row}), '' ORDER BY m.n, md5({row})))"
        ).format(size=sql.Literal(LEAF_ROWS), row=self._row_text(piece, at_home=at_home)) + sql.SQL(
            " FROM {} GROUP BY 1"
        ).format(slice_rows(self.scope.dataset(piece.dataset), piece))
        with faults(self.store, f"hash {piece.id}"):
            return {int(leaf): str(digest) for leaf, digest in run(self.connection, query)}

    def rows(self, piece: Slice, leaf: int, *, at_home: bool) -> Mapping[tuple[str, ...], str]:
        """Hash each row of a leaf; the keys as text."""
        dataset = self.scope.dataset(piece.dataset)
        keys = sql.SQL(", ").join(sql.SQL("m.{}::text").format(sql.Identifier(name)) for name in key_names(dataset))
        query = sql.SQL(
            "SELECT md5(string_agg(md5({row}), '' ORDER BY md5({row}))), {keys} FROM {rows}"
            " AND (m.n - 1) / {size} = {leaf} GROUP BY m.n, {keys}"
        ).format(
            row=self._row_text(piece, at_home=at_home), keys=keys, rows=slice_rows(dataset, piece),
            size=sql.Literal(LEAF_ROWS), leaf=sql.Literal(leaf),
        )  # fmt: skip
        with faults(self.store, f"hash rows of {piece.id}"):
            return {tuple(str(part) for part in row[1:]): str(row[0]) for row in run(self.connection, query)}

    def strays(self, dataset: DatasetScope, home: Home, *, limit: int) -> tuple[int, tuple[tuple[str, ...], ...]]:
        """Count rows that no manifest line sends to `home`, and name some."""
        keys = sql.SQL(", ").join(sql.SQL("{}::text").format(item) for item in key_expressions(dataset, "d"))
        rows = stray_rows(dataset, home)
        with faults(self.store, f"look for strays in {dataset.id}"):
            counted = number(self.connection, sql.SQL("SELECT count(*) FROM {}").format(rows))
            found = run(
                self.connection, sql.SQL("SELECT {} FROM {} LIMIT {}").format(keys, rows, sql.Literal(limit))
            ).fetchall()
        return counted, tuple(tuple(str(part) for part in row) for row in found)

    def position(self) -> str:
        """The write-ahead log position of now (LSN)."""
        with faults(self.store, "read its position"):
            return current_position(self.connection)

    def _row_text(self, piece: Slice, *, at_home: bool) -> sql.Composable:
        dataset = self.scope.dataset(piece.dataset)
        blanked = piece.form is Form.SKELETON and not at_home
        return sql.SQL("ROW({})::text").format(row_expressions(dataset, "d", blanked=blanked))


def current_position(connection: psycopg.Connection[Any]) -> str:
    """The insert position, or on a standby the replayed one."""
    row = connection.execute(
        "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text"
    ).fetchone()
    return str(row[0]) if row else "0/0"


def slice_lines(piece: Slice) -> sql.Composable:
    """The condition on manifest line `m` that it belongs to the slice."""
    condition = sql.SQL("m.part = {} AND m.form = {} AND m.n > {} AND m.n <= {}").format(
        sql.Literal(piece.part), sql.Literal(piece.form.value), sql.Literal(piece.after), sql.Literal(piece.upto)
    )
    if piece.part == EVERYWHERE:
        condition += sql.SQL(" AND m.owner IS DISTINCT FROM {}").format(sql.Literal(piece.home))
    return condition


def slice_rows(dataset: DatasetScope, piece: Slice) -> sql.Composable:
    """FROM … WHERE … of the slice's lines `m` and rows `d`; ends in WHERE, so that conditions may be added."""
    return sql.SQL("{} AS m JOIN {} AS d ON {} WHERE {}{}").format(
        staged("m", dataset.id), source_of(dataset), key_match(dataset, "d", "m"), slice_lines(piece),
        key_range(dataset, piece),
    )  # fmt: skip


def key_range(dataset: DatasetScope, piece: Slice) -> sql.Composable:
    """Bounds on the row's own key, so that a slice reads its stretch of the table and not all of it.

    Left out for keys that sort by a collation, which may differ between two machines.
    """
    kinds = {item.name: item for item in dataset.columns}
    if not dataset.key or any(
        kinds[name].collatable or kinds[name].category not in RANGE_TYPES_WITHOUT_COLLATION for name in dataset.key
    ):
        return sql.SQL("")
    row = sql.SQL("ROW({})").format(sql.SQL(", ").join(column("d", name) for name in dataset.key))
    bound = sql.SQL("(SELECT {keys} FROM {m} AS b WHERE b.part = {part} AND b.form = {form} AND b.n = {n})")

    def edge(number: int) -> sql.Composable:
        return bound.format(
            keys=sql.SQL(", ").join(column("b", name) for name in dataset.key), m=staged("m", dataset.id),
            part=sql.Literal(piece.part), form=sql.Literal(piece.form.value), n=sql.Literal(number),
        )  # fmt: skip

    return sql.SQL(" AND {row} >= {low} AND {row} <= {high}").format(
        row=row, low=edge(piece.after + 1), high=edge(piece.upto)
    )


def stray_rows(dataset: DatasetScope, home: Home) -> sql.Composable:
    """FROM … WHERE … of rows `d` at home that no line sends to `home`."""
    return sql.SQL(
        "{rows} AS d WHERE NOT EXISTS (SELECT FROM {m} AS m WHERE {match}"
        " AND (m.part = {home} OR (m.part = {star} AND m.owner IS DISTINCT FROM {home})))"
    ).format(
        rows=source_of(dataset), m=staged("m", dataset.id), match=key_match(dataset, "d", "m"),
        home=sql.Literal(home), star=sql.Literal(EVERYWHERE),
    )  # fmt: skip


@contextmanager
def snapshot(connection: psycopg.Connection[Any], scope: Scope, key: bytes, store: str) -> Iterator[PostgresSnapshot]:
    """Open a repeatable-read, read-only view."""
    with faults(store, "open a snapshot"):
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield PostgresSnapshot(connection, scope, key, store)
    finally:
        if not connection.closed:
            with faults(store, "close a snapshot"):
                connection.execute("ROLLBACK")
