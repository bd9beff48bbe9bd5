"""Rows of some keys from one database into another: temporary tables on both sides, and COPY between them.

What arrives stands in `b_…` (rows, each with what is to be done with it) and `g_…` (keys of rows that are to go), typed
as the dataset's own table. It is deleted before the transaction's end (`clear`): a hundred tables that the server
empties with each commit cost 185 ms a commit where this takes 5 (measured; one line in two tables of 120).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import sql

from domicile.model import DatasetScope, Scope
from domicile.stores.postgres.comparing import compare_each
from domicile.stores.postgres.copying import CopyIn, copy_out
from domicile.stores.postgres.names import (
    column_names,
    columns,
    key_expressions,
    key_match,
    key_names,
    key_select,
    lines_match,
    source_of,
    staged,
)
from domicile.stores.postgres.session import run

TEMPORARY = "pg_temp"
ROOM_BYTES_MAX = 1024 * 1024
FEW = 16
HOW = "domicile_how"
ONE_SPELLING = frozenset(
    (
        "smallint", "integer", "bigint", "oid", "boolean", "uuid", "date", "timestamp without time zone",
        "timestamp with time zone", "text", "character varying", "bytea",
    )
)  # fmt: skip
"""Types in which values that are equal are the same bytes; of texts, where no collation of their own says otherwise."""
PLAIN_COLLATIONS = frozenset((None, ("pg_catalog", "default"), ("pg_catalog", "C")))


class How(StrEnum):
    """What is to be done with a row that arrives."""

    REPLACE = "w"
    """Whole: in place of what is there."""
    PUT = "u"
    """In place of what is there, unless that is its people's own here."""
    BARE = "b"
    """As PUT, with the private columns blanked; whole, if others here want it so."""
    ADD = "s"
    """Only if there is none: others refer to it."""
    REFRESH = "r"
    """Asked for once more, with all that it refers to, if it is here or others here refer to it."""
    SPARE = "c"
    """As REFRESH where others here refer to it; else what is here goes."""
    PUBLIC = "p"
    """Its public columns alone."""
    PRIVATE = "v"
    """Its private columns alone."""
    LAST = "l"
    """As PRIVATE; whole where there is none."""


def keys_of(dataset: DatasetScope) -> sql.Identifier:
    """The temporary table of the keys that are settled."""
    return staged("x", dataset.id, TEMPORARY)


def rows_of(dataset: DatasetScope) -> sql.Identifier:
    """The temporary table of the rows that arrived."""
    return staged("b", dataset.id, TEMPORARY)


def gone_of(dataset: DatasetScope) -> sql.Identifier:
    """The temporary table of the keys whose rows are to go."""
    return staged("g", dataset.id, TEMPORARY)


def wanted_of(dataset: DatasetScope) -> sql.Identifier:
    """The temporary table of the keys whose rows a home asked for."""
    return staged("n", dataset.id, TEMPORARY)


def create(connection: psycopg.Connection[Any], name: sql.Identifier, query: sql.Composable) -> None:
    """Make one temporary table of the query's shape."""
    run(connection, sql.SQL("CREATE TEMPORARY TABLE {} AS {}").format(name, query))


def clear(connection: psycopg.Connection[Any]) -> None:
    """Delete what stands in the session's temporary tables; before each COMMIT."""
    filled = _larger_than(connection, 0)
    if filled:
        every = sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(name) for name in filled)
        connection.execute(every.as_bytes(connection), prepare=False)  # several in one can't be


def shrink(connection: psycopg.Connection[Any]) -> None:
    """Give back the room of temporary tables that have grown; between transactions."""
    for name in _larger_than(connection, ROOM_BYTES_MAX):
        run(connection, sql.SQL("VACUUM {}").format(name))


def prime(connection: psycopg.Connection[Any]) -> None:
    """Have the planner expect few lines in each of the session's temporary tables, right after they were made.

    Of a table that was never looked through it expects ten full pages, some 2,000 lines, and reads a table of millions
    from end to end for the sake of eight keys.
    """
    names = [sql.Identifier(TEMPORARY, name) for name in _tables(connection)]
    if not names:
        return
    few = sql.SQL("INSERT INTO {0} SELECT (q.line).* FROM (SELECT NULL::{0} AS line FROM generate_series(1, {1})) AS q")
    for statements in (
        sql.SQL("; ").join(few.format(name, sql.Literal(FEW)) for name in names),
        sql.SQL("VACUUM {}").format(sql.SQL(", ").join(names)),
        sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(name) for name in names),
    ):
        connection.execute(statements.as_bytes(connection), prepare=False)


def _tables(connection: psycopg.Connection[Any]) -> list[str]:
    """The session's temporary tables, but for those that only note something."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = pg_my_temp_schema() AND c.relkind = 'r'"
        " AND c.relnatts > 0 ORDER BY 1"
    ).fetchall()
    return [str(name) for (name,) in rows]


def _larger_than(connection: psycopg.Connection[Any], size: int) -> list[sql.Identifier]:
    rows = connection.execute(
        "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = pg_my_temp_schema() AND c.relkind = 'r'"
        " AND pg_relation_size(c.oid) > %s",
        (size,),
    ).fetchall()
    return [sql.Identifier(TEMPORARY, str(name)) for (name,) in rows]


def is_ready(connection: psycopg.Connection[Any], part: str) -> bool:
    """Whether the session has its temporary tables."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"pg_temp.domicile_ready_{part}",)).fetchone()
    return bool(row and row[0])


def mark_ready(connection: psycopg.Connection[Any], part: str) -> None:
    """Note that the session has them."""
    name = sql.Identifier(TEMPORARY, f"domicile_ready_{part}")
    run(connection, sql.SQL("CREATE TEMPORARY TABLE {} ()").format(name))


def make_arrivals(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Make the tables of what arrives, once a session."""
    if is_ready(connection, "arrivals"):
        return
    for dataset in scope.datasets:
        shape = sql.SQL("SELECT ''::text AS {}, {} FROM {} AS d WHERE false").format(
            sql.Identifier(HOW), columns(column_names(dataset)), source_of(dataset)
        )
        create(connection, rows_of(dataset), shape)
        keys = sql.SQL("SELECT {} FROM {} AS d WHERE false").format(key_select(dataset, "d"), source_of(dataset))
        create(connection, gone_of(dataset), keys)
        create(connection, wanted_of(dataset), sql.SQL("SELECT ''::text AS form, q.* FROM ({}) AS q").format(keys))
    mark_ready(connection, "arrivals")


def load_keys(connection: psycopg.Connection[Any], dataset: DatasetScope, keys: Collection[tuple[str, ...]]) -> None:
    """Put keys, as texts, into the table of those that are settled; one that comes in two spellings once."""
    names = key_names(dataset)
    query = sql.SQL("COPY {} ({}) FROM STDIN").format(keys_of(dataset), columns(names))
    with connection.cursor() as cursor, cursor.copy(query.as_bytes(connection)) as copy:
        for key in keys:
            copy.write_row(key if dataset.key else tuple(_hash(part) for part in key))
    if _respelt(dataset):
        run(
            connection,
            sql.SQL("DELETE FROM {0} AS a USING {0} AS b WHERE a.ctid < b.ctid AND {1}").format(
                keys_of(dataset), lines_match(dataset, "a", "b")
            ),
        )


def _hash(text: str) -> str:
    return text if text.startswith("\\x") else f"\\x{text}"


def carry(
    source: psycopg.Connection[Any], target: psycopg.Connection[Any], dataset: DatasetScope, *, rows: sql.Composable
) -> int:
    """Copy rows, a SELECT of how and the travelling columns, to where they arrive; return how many."""
    return copy(source, target, rows, into=rows_of(dataset), names=columns((HOW, *column_names(dataset))))


def carry_gone(
    source: psycopg.Connection[Any], target: psycopg.Connection[Any], dataset: DatasetScope, *, gone: sql.Composable
) -> int:
    """The same for keys of rows that are to go."""
    return copy(source, target, gone, into=gone_of(dataset), names=columns(key_names(dataset)))


def copy(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    query: sql.Composable,
    *,
    into: sql.Identifier,
    names: sql.Composable,
) -> int:
    """Copy what a query gives into a table of the other side, begun with the first row; return how many rows."""
    writer: CopyIn | None = None

    def put(block: bytes) -> None:
        nonlocal writer
        if writer is None:
            writer = CopyIn(target, into, names, binary=False)
        writer(block)

    try:
        count = copy_out(source, query, put, binary=False)
    except BaseException:
        if writer is not None:
            writer.abort()
        raise
    return writer.end() if writer is not None else count


def hows(connection: psycopg.Connection[Any], dataset: DatasetScope) -> frozenset[How]:
    """What is to be done with the rows that arrived: what isn't asked for costs nothing."""
    query = sql.SQL("SELECT DISTINCT y.{} FROM {} AS y").format(sql.Identifier(HOW), rows_of(dataset))
    return frozenset(How(one) for (one,) in run(connection, query))


def arrived(dataset: DatasetScope, *how: How) -> sql.Composable:
    """The FROM item `b` of what arrived to be treated so."""
    return sql.SQL("(SELECT y.* FROM {} AS y WHERE y.{} = ANY({}))").format(
        rows_of(dataset), sql.Identifier(HOW), sql.Literal([one.value for one in how])
    )


def same_row(dataset: DatasetScope, row: str, arrival: str) -> sql.Composable:
    """The condition that row and arrival have one key."""
    return compare_each(dataset.key_comparisons, key_expressions(dataset, row), key_expressions(dataset, arrival))


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Arrivals that take the place of what is there, but for rows that a condition spares."""

    using: sql.Composable
    spare: tuple[sql.Composable, ...] = ()


def put(connection: psycopg.Connection[Any], dataset: DatasetScope, *puts: Put) -> None:
    """Put what arrived in the place of the rows that are there.

    In place: somebody who is just writing a row that refers to one of these finds it. Were it deleted and inserted
    again, their foreign key would wait for us, and then not see the new one. Only where rows exchange a unique value
    there is no other way.
    """
    if dataset.key:
        everything = column_names(dataset)
        with suppress(psycopg.errors.UniqueViolation), connection.transaction():
            for one in puts:
                _delete_numbered(connection, dataset, one)
            for one in puts:
                update(connection, dataset, everything, one.using, one.spare)
            for one in puts:
                insert(connection, dataset, one.using, unless_there=True)
            return
    for one in puts:
        delete(connection, dataset, one.using, same_row(dataset, "d", "b"), one.spare)
    for one in puts:
        insert(connection, dataset, one.using, unless_there=bool(dataset.key or one.spare))


def _delete_numbered(connection: psycopg.Connection[Any], dataset: DatasetScope, one: Put) -> None:
    """Delete the rows whose numbers, that nobody may set, are not those that arrived: these are to be inserted anew."""
    others = [
        sql.SQL("d.{0} <> b.{0}").format(sql.Identifier(name)) for name in _numbered(dataset) if name not in dataset.key
    ]
    if others:
        match = sql.SQL("{} AND ({})").format(same_row(dataset, "d", "b"), sql.SQL(" OR ").join(others))
        delete(connection, dataset, one.using, match, one.spare)


def _numbered(dataset: DatasetScope) -> frozenset[str]:
    """The columns that are GENERATED ALWAYS AS IDENTITY: an UPDATE may not set them."""
    return frozenset(item.name for item in dataset.columns if item.identity == "always")


def _respelt(dataset: DatasetScope) -> frozenset[str]:
    """The columns of the key in which equal values may be spelt in several ways, such as 1.0 and 1.00."""
    return frozenset(
        item.name
        for item in dataset.columns
        if item.name in dataset.key and (item.base not in ONE_SPELLING or item.collation not in PLAIN_COLLATIONS)
    )


def delete(
    connection: psycopg.Connection[Any], dataset: DatasetScope, using: sql.Composable, match: sql.Composable,
    spare: Iterable[sql.Composable] = (),
) -> int:  # fmt: skip
    """Delete the rows `d` that match `b` and that no condition spares."""
    conditions = sql.SQL("").join(sql.SQL(" AND NOT ({})").format(one) for one in spare)
    return run(
        connection,
        sql.SQL("DELETE FROM {} AS d USING {} AS b WHERE {}{}").format(source_of(dataset), using, match, conditions),
    ).rowcount


def insert(
    connection: psycopg.Connection[Any], dataset: DatasetScope, using: sql.Composable, *, unless_there: bool
) -> int:
    """Insert what arrived, all of it or what isn't there yet; return how many rows."""
    return run(connection, _inserting(dataset, using, unless_there=unless_there)).rowcount


def add(connection: psycopg.Connection[Any], dataset: DatasetScope, using: sql.Composable) -> set[tuple[str, ...]]:
    """Insert what isn't there yet; return the keys of what was inserted, as texts."""
    keys = sql.SQL(", ").join(sql.SQL("{}::text").format(part) for part in key_expressions(dataset, "d"))
    query = sql.SQL("{} RETURNING {}").format(_inserting(dataset, using, unless_there=True), keys)
    return {tuple(map(str, key)) for key in run(connection, query)}


def _inserting(dataset: DatasetScope, using: sql.Composable, *, unless_there: bool) -> sql.Composable:
    """INSERT of what arrived, into `d`."""
    names = columns(column_names(dataset))
    unless = sql.SQL(" WHERE NOT EXISTS (SELECT FROM {} AS e WHERE {})").format(
        source_of(dataset), same_row(dataset, "e", "b")
    )
    listed = sql.SQL(", ").join(sql.Identifier("b", name) for name in column_names(dataset))
    return sql.SQL("INSERT INTO {} AS d ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS b{}").format(
        relation_of(dataset), names, listed, using, unless if unless_there else sql.SQL("")
    )


def relation_of(dataset: DatasetScope) -> sql.Identifier:
    """The bare name, as INSERT wants it."""
    return sql.Identifier(dataset.table.schema, dataset.table.name)


def update(
    connection: psycopg.Connection[Any], dataset: DatasetScope, names: Collection[str], using: sql.Composable,
    spare: Collection[sql.Composable] = (),
) -> int:  # fmt: skip
    """Set these columns of the rows that are there to what arrived; of keys only the spelling, where it differs.

    Apart from the others: who refers to a row waits for an UPDATE that names its key.
    """
    if not dataset.key:
        return 0
    respelt = [name for name in names if name in _respelt(dataset) - _numbered(dataset)]
    if respelt:
        old, new = (sql.SQL(", ").join(sql.Identifier(row, name) for name in respelt) for row in ("d", "b"))
        alike = sql.SQL("ROW({})::record *= ROW({})::record").format(old, new)
        _set(connection, dataset, respelt, using, (*spare, alike))
    changed = [name for name in names if name not in dataset.key and name not in _numbered(dataset)]
    return _set(connection, dataset, changed, using, spare) if changed else 0


def _set(
    connection: psycopg.Connection[Any], dataset: DatasetScope, names: Collection[str], using: sql.Composable,
    spare: Iterable[sql.Composable],
) -> int:  # fmt: skip
    sets = sql.SQL(", ").join(sql.SQL("{0} = b.{0}").format(sql.Identifier(name)) for name in names)
    conditions = sql.SQL("").join(sql.SQL(" AND NOT ({})").format(one) for one in spare)
    return run(
        connection,
        sql.SQL("UPDATE {} AS d SET {} FROM {} AS b WHERE {}{}").format(
            source_of(dataset), sets, using, same_row(dataset, "d", "b"), conditions
        ),
    ).rowcount


def gone_match(dataset: DatasetScope) -> sql.Composable:
    """The condition that `b`, a line of the keys to go, names row `d`."""
    return key_match(dataset, "d", "b")
