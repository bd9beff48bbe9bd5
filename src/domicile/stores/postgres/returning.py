"""Rows that were erased and came back with a restore: found by their commitments, and erased again in one transaction.

Nothing private is needed: the database is asked for its keys, and each is looked up. The tables are locked meanwhile, a
restored database is not in use yet. Triggers, rules and cascades are silent, as in the erasure; so what foreign keys
would have said is asked outright: no row that stays may refer to one that goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from domicile.errors import Collateral
from domicile.evidence.commitments import Committed
from domicile.model import DatasetScope, Fate, Outside
from domicile.stores.postgres.names import (
    column,
    is_stand_in,
    key_expressions,
    key_names,
    relation,
    source_of,
    staged,
    stand_in,
)
from domicile.stores.postgres.session import number, run

ROWS_AT_ONCE = 10_000
LOCK_TIMEOUT = "10s"  # a restored database isn't in use; where it is, nobody waits behind us for longer
TEMPORARY = "pg_temp"
NO_TABLE = "no such table here"
Fates = Callable[[str, str], bool | None]
"""Asked for a dataset and a key: whether that row was blanked (True) or deleted (False), or neither (None)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What was found of one dataset: rows once deleted, rows once blanked; `missing` says why it can't be asked."""

    dataset: str
    deleted: int = 0
    blanked: int = 0
    missing: str = ""

    @property
    def rows(self) -> int:
        """Both kinds."""
        return self.deleted + self.blanked


def committed(connection: psycopg.Connection[Any], dataset: DatasetScope) -> Committed:
    """Write down how the dataset's table is asked again without plan and staging."""
    types = {item.name: item.type for item in dataset.columns}
    blank = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(one.column), stand_in(dataset, one, types[one.column], "d", TEMPORARY))
        for one in dataset.blanks
    )
    is_blank = sql.SQL(" AND ").join(
        sql.SQL("{} IS NULL").format(column("d", one.column))
        if one.outside is Outside.NULL
        else sql.SQL("coalesce({}, false)").format(is_stand_in(dataset, one, types[one.column], "d"))
        for one in dataset.blanks
    )
    return Committed(
        dataset=str(dataset.id),
        relation=relation(dataset.table).as_string(connection),
        rows=source_of(dataset).as_string(connection),
        key=sql.SQL("ROW({})::text").format(sql.SQL(", ").join(key_expressions(dataset, "d"))).as_string(connection),
        blank=blank.as_string(connection),
        is_blank=is_blank.as_string(connection),
    )


def erased_lines(connection: psycopg.Connection[Any], dataset: DatasetScope) -> Iterator[tuple[str, bool]]:
    """Stream the keys of the manifest's lines that are to be erased, and whether each is only blanked."""
    query = sql.SQL("SELECT ROW({})::text, fate = {} FROM {} WHERE fate = ANY({})").format(
        sql.SQL(", ").join(sql.Identifier(name) for name in key_names(dataset)),
        sql.Literal(Fate.BLANK.value),
        staged("m", dataset.id),
        sql.Literal([Fate.DELETE.value, Fate.BLANK.value]),
    )
    with connection.transaction(), connection.cursor("domicile_erased") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(query)
        for key, blanked in cursor:
            yield str(key), bool(blanked)


def find(
    connection: psycopg.Connection[Any], tables: tuple[Committed, ...], fates: Fates, *, lock: bool
) -> tuple[Returned, ...]:
    """Look for rows that came back, within a transaction of the caller's.

    With `lock` nobody writes to the tables until its end, so that `erase_found` finds the same.
    """
    run(connection, sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
    run(connection, sql.SQL(_MADE_SQL))
    run(connection, sql.SQL("INSERT INTO pg_temp.token VALUES (gen_random_uuid()::text || gen_random_uuid()::text)"))
    return tuple(_find(connection, table, fates, lock=lock) for table in tables)


def _find(connection: psycopg.Connection[Any], table: Committed, fates: Fates, *, lock: bool) -> Returned:
    if not number(connection, sql.SQL("SELECT count(to_regclass({}))").format(sql.Literal(table.relation))):
        return Returned(dataset=table.dataset, missing=NO_TABLE)
    counts = {False: 0, True: 0}
    try:
        with connection.transaction():
            if lock:
                run(connection, sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(_as_is(table.relation)))
            for batch in _batches(connection, table, fates):
                with connection.cursor() as cursor:
                    cursor.executemany("INSERT INTO pg_temp.returned VALUES (%s, %s::tid, %s)", batch)
                for _, _, blanked in batch:
                    counts[blanked] += 1
    except psycopg.errors.UndefinedColumn:
        return Returned(dataset=table.dataset, missing="its columns aren't those that were erased from")
    return Returned(dataset=table.dataset, deleted=counts[False], blanked=counts[True])


def _batches(
    connection: psycopg.Connection[Any], table: Committed, fates: Fates
) -> Iterator[list[tuple[int, str, bool]]]:
    is_blank = _as_is(table.is_blank) if table.is_blank else sql.SQL("true")
    query = sql.SQL("SELECT d.tableoid::bigint, d.ctid::text, {}, {} FROM {} AS d").format(
        _as_is(table.key), is_blank, _as_is(table.rows)
    )
    with connection.cursor("domicile_returned") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(query)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield [
                (place, where, blanked)
                for place, where, key, is_blank_now in rows
                if (blanked := fates(table.dataset, key)) is not None and not (blanked and is_blank_now)
            ]


def erase_found(connection: psycopg.Connection[Any], tables: tuple[Committed, ...]) -> None:
    """Erase what `find` found in this transaction, children first; raise Collateral when a row that stays refers to it.

    Raise it also when another number of rows went than was found.
    """
    _refuse_referred(connection)
    run(connection, sql.SQL("SET LOCAL session_replication_role = replica"))
    for table in tables:
        if number(connection, sql.SQL("SELECT count(to_regclass({}))").format(sql.Literal(table.relation))):
            _erase(connection, table)


def _erase(connection: psycopg.Connection[Any], table: Committed) -> None:
    found = sql.SQL("r.place = d.tableoid AND r.tid = d.ctid")
    for blanked, action in (
        (False, sql.SQL("DELETE FROM {rows} AS d USING pg_temp.returned AS r WHERE NOT r.blanked AND {found}")),
        (True, sql.SQL("UPDATE {rows} AS d SET {blank} FROM pg_temp.returned AS r WHERE r.blanked AND {found}")),
    ):
        if blanked and not table.blank:
            continue
        expected = number(
            connection,
            sql.SQL("SELECT count(*) FROM {} AS d JOIN pg_temp.returned AS r ON {} WHERE r.blanked = {}").format(
                _as_is(table.rows), found, sql.Literal(blanked)
            ),
        )
        done = run(connection, action.format(rows=_as_is(table.rows), blank=_as_is(table.blank), found=found)).rowcount
        if done != expected:
            raise Collateral(f"{table.dataset}: {done} rows went where {expected} were found; rolled back")


def _refuse_referred(connection: psycopg.Connection[Any]) -> None:
    """Raise Collateral when a foreign key of the database leads from a row that stays to one that is to be deleted."""
    keys = connection.execute(_REFERENCES_SQL).fetchall()
    for child, parent, child_columns, parent_columns, name in keys:
        match = sql.SQL(" AND ").join(
            sql.SQL("c.{} = p.{}").format(sql.Identifier(one), sql.Identifier(other))
            for one, other in zip(child_columns, parent_columns, strict=True)
        )
        left = number(
            connection,
            sql.SQL(
                "SELECT count(*) FROM {child} AS c JOIN {parent} AS p ON {match} JOIN pg_temp.returned AS r"
                " ON r.place = p.tableoid AND r.tid = p.ctid AND NOT r.blanked"
                " WHERE NOT EXISTS (SELECT FROM pg_temp.returned AS o WHERE o.place = c.tableoid AND o.tid = c.ctid"
                " AND NOT o.blanked)"
            ).format(child=_as_is(child), parent=_as_is(parent), match=match),
        )
        if left:
            raise Collateral(
                f"{left} rows of {child} that were never erased refer to rows of {parent} that were ({name}); nothing "
                "was changed. Remove them, or let them refer elsewhere, then run `domicile restore-guard` again"
            )


def _as_is(text: str) -> sql.SQL:
    """SQL that `committed` composed, with its names quoted."""
    return sql.SQL(text)


_MADE_SQL: LiteralString = """
DROP TABLE IF EXISTS pg_temp.returned; DROP TABLE IF EXISTS pg_temp.token;
CREATE TEMPORARY TABLE returned (place oid, tid tid, blanked bool);
CREATE TEMPORARY TABLE token (secret text)
"""
_REFERENCES_SQL: LiteralString = """
SELECT (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = k.conrelid),
       (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid = k.confrelid),
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (number, place)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (number, place)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place),
       k.conname::text
FROM pg_constraint k
WHERE k.contype = 'f' AND k.conparentid = 0
  AND EXISTS (SELECT FROM pg_temp.returned r WHERE NOT r.blanked
                AND (r.place = k.confrelid OR k.confrelid IN (SELECT relid FROM pg_partition_ancestors(r.place))))
ORDER BY 1, 5
"""
