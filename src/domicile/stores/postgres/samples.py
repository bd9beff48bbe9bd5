"""Bounded reads of rows, for hints only: a few rows of each table, a few value lists, a few containments.

Read-only, under a statement timeout, one savepoint a question; what fails becomes a note that names the table and
PostgreSQL's error code, never a value. Blocks are chosen by a fixed seed, so an unchanged table answers the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from domicile.catalogue import Catalogue, Column, RelationKind, Table, TableName
from domicile.catalogue.samples import (
    LISTED_VALUES_MAX,
    ROWS_MAX,
    VALUE_CHARACTERS_MAX,
    Containment,
    FieldName,
    FieldSample,
    Found,
    KindAnswer,
    KindQuestion,
    Questions,
    Samples,
    ValueList,
)

STATEMENT_MS_MAX = 5_000
STORED_BYTES_MAX = 8_192  # a larger stored value is not fetched, let alone unpacked
LIST_ROWS_MAX = 200_000
CONTAINMENT_VALUES_MAX = 200
# Cast to text is cheap and telling: strings, numbers, dates, booleans, addresses, enums, arrays; json and uuid below.
CATEGORIES = frozenset("SNDTBIEA")
TYPES = frozenset({"uuid", "json", "jsonb"})


def read_samples(
    conn: psycopg.Connection[Any], catalogue: Catalogue, questions: Questions, *, rows_max: int = ROWS_MAX
) -> Samples:
    """Answer the questions; the transaction is rolled back, so nothing of the session changes."""
    plain = frozenset(table.name for table in catalogue.tables if table.kind is RelationKind.TABLE)
    reading = _Reading(conn=conn, rows_max=rows_max, plain=plain)
    with conn.transaction(force_rollback=True):
        conn.execute("SET TRANSACTION READ ONLY")
        for name, value in (
            ("statement_timeout", str(STATEMENT_MS_MAX)),
            ("synchronize_seqscans", "off"),
            ("max_parallel_workers_per_gather", "0"),
            ("search_path", ""),
        ):
            conn.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
        for table in catalogue.tables:
            reading.rows(table)
        for field_name in questions.lists:
            reading.value_list(field_name)
        for question in questions.containments:
            reading.containment(question)
    return Samples(
        fields=reading.fields,
        lists=reading.lists,
        containments=reading.containments,
        notes=tuple(reading.notes),
    )


def read_kinds(conn: psycopg.Connection[Any], questions: tuple[KindQuestion, ...]) -> dict[KindQuestion, KindAnswer]:
    """Look up the kinds of polymorphic pairs, and whether rows have them; a kind that isn't there has no answer."""
    reading, used = _Reading(conn=conn, rows_max=0, plain=frozenset()), _UsedKinds()
    found: dict[KindQuestion, KindAnswer] = {}
    with conn.transaction(force_rollback=True):
        conn.execute("SET TRANSACTION READ ONLY")
        for name, value in (("statement_timeout", str(STATEMENT_MS_MAX)), ("search_path", "")):
            conn.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
        for question in questions:
            rows = reading.ask(question.table, _kind_query(question))
            if rows is None:
                found[question] = KindAnswer(value=None, used=None)
            elif len(rows) == 1 and rows[0][0] is not None:
                value = str(rows[0][0])
                found[question] = KindAnswer(value=value, used=used.holds(reading, question, value))
    return found


@dataclass(slots=True, kw_only=True)
class _UsedKinds:
    """The kinds that rows have, by table and column, each read once; None where that took too long."""

    known: dict[FieldName, frozenset[str] | None] = field(default_factory=dict)

    def holds(self, reading: _Reading, question: KindQuestion, value: str) -> bool | None:
        place = (question.child, question.column)
        if place not in self.known:
            query = SQL("SELECT DISTINCT {column}::text FROM {table} LIMIT {values}").format(
                column=Identifier(question.column), table=_identifier(question.child),
                values=Literal(LISTED_VALUES_MAX + 1),
            )  # fmt: skip
            rows = reading.ask(question.child, query)
            whole = rows is not None and len(rows) <= LISTED_VALUES_MAX
            self.known[place] = frozenset(row[0] for row in rows or ()) if whole else None
        values = self.known[place]
        return None if values is None else value in values


def _kind_query(question: KindQuestion) -> Composed:
    return SQL("SELECT {key}::text FROM {table} WHERE {conditions} LIMIT 2").format(
        key=Identifier(question.key),
        table=_identifier(question.table),
        conditions=SQL(" AND ").join(
            SQL("{column}::text = {value}").format(column=Identifier(name), value=Literal(value))
            for name, value in question.where
        ),
    )


@dataclass(slots=True, kw_only=True)
class _Reading:
    conn: psycopg.Connection[Any]
    rows_max: int
    plain: frozenset[TableName]  # not partitioned: what inherits from them is a table of its own
    fields: dict[FieldName, FieldSample] = field(default_factory=dict)
    lists: dict[FieldName, ValueList] = field(default_factory=dict)
    containments: dict[Containment, Found] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def rows(self, table: Table) -> None:
        """Sample a table's rows, unless they lie on another server."""
        columns = [column for column in table.columns if _is_telling(column)]
        if table.kind is RelationKind.FOREIGN or not columns:
            return
        rows = self.ask(table.name, _rows_query(table, columns, self.rows_max))
        for position, column in enumerate(columns):
            values = tuple(row[position] for row in rows or () if row[position] is not None)
            self.fields[table.name, column.name] = FieldSample(
                rows=len(rows or ()), nulls=len(rows or ()) - len(values), values=values
            )

    def value_list(self, name: FieldName) -> None:
        """List a field's distinct values."""
        query = SQL(
            "SELECT DISTINCT v FROM (SELECT pg_catalog.left({column}::text, {width}) AS v FROM {table} LIMIT {rows}) s"
            " WHERE v IS NOT NULL LIMIT {values}"
        ).format(
            column=Identifier(name[1]),
            width=Literal(VALUE_CHARACTERS_MAX),
            table=_identifier(name[0], only=name[0] in self.plain),
            rows=Literal(LIST_ROWS_MAX),
            values=Literal(LISTED_VALUES_MAX + 1),
        )
        rows = self.ask(name[0], query)
        if rows is not None:
            values = sorted(row[0] for row in rows)
            self.lists[name] = ValueList(
                values=tuple(values[:LISTED_VALUES_MAX]), whole=len(values) <= LISTED_VALUES_MAX
            )

    def containment(self, question: Containment) -> None:
        """Count how many of the child's sampled distinct values the parent has."""
        rows = self.ask(question.child, _containment_query(question, plain=self.plain))
        if rows:
            self.containments[question] = Found(asked=rows[0][0], found=rows[0][1])

    def ask(self, table: TableName, query: Composed) -> list[Any] | None:
        """Run one query in a savepoint; what fails becomes a note and None."""
        try:
            with self.conn.transaction():
                return self.conn.execute(query).fetchall()
        except psycopg.OperationalError as fault:
            if self.conn.closed:
                raise
            self._note(table, fault)
        except psycopg.Error as fault:
            self._note(table, fault)
        return None

    def _note(self, table: TableName, fault: psycopg.Error) -> None:
        note = f"{table} could not be sampled ({fault.sqlstate or type(fault).__name__}): classed by name and type only"
        if note not in self.notes:
            self.notes.append(note)


def _is_telling(column: Column) -> bool:
    return column.category in CATEGORIES or column.base in TYPES


def _rows_query(table: Table, columns: list[Column], rows_max: int) -> Composed:
    return SQL("SELECT {fields} FROM {table}{sample} LIMIT {rows}").format(
        fields=SQL(", ").join(_short(column) for column in columns),
        table=_identifier(table.name, only=table.kind is RelationKind.TABLE),
        sample=_block_sample(table, rows_max),
        rows=Literal(rows_max),
    )


def _short(column: Column) -> Composed:
    return SQL(
        "CASE WHEN pg_catalog.pg_column_size({column}) <= {bytes} THEN pg_catalog.left({column}::text, {width}) END"
    ).format(column=Identifier(column.name), bytes=Literal(STORED_BYTES_MAX), width=Literal(VALUE_CHARACTERS_MAX))


def _block_sample(table: Table, rows_max: int) -> Composable:
    """Sample blocks of a large table; twenty times too many, as rows lie unevenly."""
    if table.rows_estimate < 50 * rows_max:
        return SQL("")
    percent = min(100.0, 100.0 * 20 * rows_max / table.rows_estimate)
    return SQL(" TABLESAMPLE SYSTEM ({percent}) REPEATABLE (0)").format(percent=Literal(round(percent, 6)))


def _containment_query(question: Containment, *, plain: frozenset[TableName]) -> Composed:
    pairs = list(zip(question.columns, question.parent_columns, strict=True))
    return SQL(
        "SELECT count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM {parent} p WHERE {match}))"
        " FROM (SELECT DISTINCT {columns} FROM (SELECT {columns} FROM {child} WHERE {filled} LIMIT {rows}) s"
        " LIMIT {values}) c"
    ).format(
        parent=_identifier(question.parent, only=question.parent in plain),
        match=SQL(" AND ").join(
            SQL("p.{} = c.{}").format(Identifier(parent), Identifier(child)) for child, parent in pairs
        ),
        columns=SQL(", ").join(map(Identifier, question.columns)),
        child=_identifier(question.child, only=question.child in plain),
        filled=SQL(" AND ").join(SQL("{} IS NOT NULL").format(Identifier(name)) for name in question.columns),
        rows=Literal(LIST_ROWS_MAX),
        values=Literal(CONTAINMENT_VALUES_MAX),
    )


def _identifier(name: TableName, *, only: bool = False) -> Composed:
    return SQL("ONLY {}" if only else "{}").format(Identifier(name.schema, name.name))
