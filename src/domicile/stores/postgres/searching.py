"""A sampled search for keys where nobody mapped them: a few rows of each table, looked up in the keys' own index.

Read-only, a statement timeout for each question, and a time for all of them; what fails or is left out becomes a note
that names the table. What is sampled is looked up by parameters, so that no value stands in the text of a statement,
and is forgotten with its table: memory holds the samples of one table (P8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from domicile.catalogue import Column, RelationKind, Table
from domicile.catalogue.clues import (
    PLACES_MAX,
    ROWS_MAX,
    TOKENS_MAX,
    VALUE_CHARACTERS_MAX,
    Clue,
    Clues,
    Place,
    Target,
    TokenKind,
    found_in,
)

STATEMENT_MS_MAX = 5_000
SECONDS_MAX = 180.0
Wants = Callable[[Place, Target], bool]
TEXTS = frozenset({"text", "character varying", "character", "json", "jsonb", "uuid", "bytea"})
NUMBERS = frozenset({"smallint", "integer", "bigint"})


def search(  # noqa: PLR0913 - where, what for, and within which bounds
    conn: psycopg.Connection[Any], columns: Mapping[Table, Sequence[Column]], targets: Sequence[Target], *,
    wants: Wants, monotonic_s: Callable[[], float], rows_max: int = ROWS_MAX, seconds_max: float = SECONDS_MAX,
) -> Clues:  # fmt: skip
    """Sample the columns and count how many of the values found there are keys of the targets that `wants` names."""
    start = monotonic_s()
    work = _Search(conn=conn, targets=targets, wants=wants, rows_max=rows_max)
    looked = 0
    with conn.transaction(force_rollback=True):
        conn.execute("SET TRANSACTION READ ONLY")
        for name, value in (("statement_timeout", str(STATEMENT_MS_MAX)), ("max_parallel_workers_per_gather", "0")):
            conn.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
        for table, mine in columns.items():
            if monotonic_s() - start > seconds_max:
                work.notes.append(f"{len(columns) - looked} tables not looked at: {seconds_max:.0f} s were up")
                break
            work.table(table, mine)
            looked += 1
    return Clues(
        clues=tuple(work.clues), tables=looked, columns=sum(map(len, columns.values())),
        seconds=monotonic_s() - start, notes=tuple(work.notes),
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class _Search:
    conn: psycopg.Connection[Any]
    targets: Sequence[Target]
    wants: Wants
    rows_max: int
    clues: list[Clue] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def table(self, table: Table, columns: Sequence[Column]) -> None:
        telling = [column for column in columns if is_searched(column)]
        if table.kind is RelationKind.FOREIGN or not telling:
            return
        rows = self._ask(table, _rows_query(table, telling, self.rows_max), ())
        places: dict[Place, set[str]] = {}
        for row in rows or ():
            for column, value in zip(telling, row, strict=True):
                for place, text in found_in(table.name, column, value):
                    tokens = places.setdefault(place, set()) if len(places) < PLACES_MAX else places.get(place, set())
                    if len(tokens) < TOKENS_MAX:
                        tokens.add(_normal(place.kind, text))
        for target in self.targets:
            self._look_up(table, target, places)

    def _look_up(self, table: Table, target: Target, places: Mapping[Place, set[str]]) -> None:
        wanted = {
            place: tokens for place, tokens in places.items()
            if place.kind is target.kind and self.wants(place, target)
        }  # fmt: skip
        asked = sorted(set().union(*wanted.values())) if wanted else []
        if not asked:
            return
        rows = self._ask(table, _known_query(target), (asked,))
        known = {row[0] for row in rows or ()}
        for place, tokens in wanted.items():
            if hits := len(tokens & known):
                self.clues.append(
                    Clue(
                        place=place,
                        target=target,
                        sampled=len(tokens),
                        hits=hits,
                        chance=self._chance(table, target, tokens) if target.kind is TokenKind.INTEGER else None,
                    )
                )

    def _chance(self, table: Table, target: Target, tokens: set[str]) -> float:
        """The share of the values' range that are keys: what any whole numbers of that size would hit."""
        low, high = min(map(int, tokens)), max(map(int, tokens))
        rows = self._ask(table, _density_query(target), (low, high))
        return min(1.0, rows[0][0] / (high - low + 1)) if rows else 1.0

    def _ask(self, table: Table, query: Composed, values: tuple[object, ...]) -> list[Any] | None:
        try:
            with self.conn.transaction():
                return self.conn.execute(query, values).fetchall()
        except psycopg.Error as fault:
            if self.conn.closed:
                raise
            note = f"{table.name} could not be searched ({fault.sqlstate or type(fault).__name__})"
            if note not in self.notes:
                self.notes.append(note)
        return None


def is_searched(column: Column) -> bool:
    """Whether keys could stand in a column of that type, and be read."""
    return column.base in TEXTS | NUMBERS or column.category in ("A", "S")


def _normal(kind: TokenKind, text: str) -> str:
    if kind is TokenKind.UUID:
        return text.replace("-", "").lower()
    return text.strip().lower() if kind is TokenKind.EMAIL else text


def _rows_query(table: Table, columns: Sequence[Column], rows_max: int) -> Composed:
    return SQL("SELECT {fields} FROM {only}{table}{sample} LIMIT {rows}").format(
        fields=SQL(", ").join(_read(column) for column in columns),
        only=SQL("ONLY ") if table.kind is RelationKind.TABLE else SQL(""),
        table=Identifier(table.name.schema, table.name.name),
        sample=_block_sample(table, rows_max), rows=Literal(rows_max),
    )  # fmt: skip


def _read(column: Column) -> Composed:
    """The value where it is small: arrays as arrays of texts, bytes as bytes, everything else as text."""
    name = Identifier(column.name)
    if column.base == "bytea":
        value = SQL("CASE WHEN pg_catalog.octet_length({0}) <= 64 THEN {0} END").format(name)
    elif column.category == "A":
        value = SQL("{}::text[]").format(name)
    else:
        value = SQL("{}::text").format(name)
    return SQL("CASE WHEN pg_catalog.pg_column_size({}) <= {} THEN {} END").format(
        name, Literal(VALUE_CHARACTERS_MAX), value
    )


def _block_sample(table: Table, rows_max: int) -> Composed:
    """Some blocks of a large table; twenty times too many, as rows lie unevenly."""
    if table.rows_estimate < 50 * rows_max:
        return SQL("{}").format(SQL(""))
    percent = min(100.0, 100.0 * 20 * rows_max / table.rows_estimate)
    return SQL(" TABLESAMPLE SYSTEM ({}) REPEATABLE (0)").format(Literal(round(percent, 6)))


def _known_query(target: Target) -> Composed:
    """Which of the asked texts are keys there."""
    table, name = Identifier(target.table.schema, target.table.name), Identifier(target.column)
    if target.kind is TokenKind.EMAIL:
        return SQL(
            "SELECT DISTINCT pg_catalog.lower(pg_catalog.btrim(p.{name}::text)) FROM {table} AS p"
            " WHERE pg_catalog.lower(pg_catalog.btrim(p.{name}::text)) = ANY(%s::text[])"
        ).format(name=name, table=table)
    spelled = SQL("pg_catalog.replace(a.x::text, '-', '')") if target.kind is TokenKind.UUID else SQL("a.x::text")
    return SQL(
        "SELECT {spelled} FROM pg_catalog.unnest(%s::{type}[]) AS a(x)"
        " WHERE EXISTS (SELECT FROM {table} AS p WHERE p.{name} = a.x)"
    ).format(spelled=spelled, type=SQL(_lookup_type(target)), table=table, name=name)


def _lookup_type(target: Target) -> str:
    return {TokenKind.INTEGER: "bigint", TokenKind.UUID: "uuid"}.get(target.kind, "text")


def _density_query(target: Target) -> Composed:
    return SQL("SELECT count(*) FROM {} AS p WHERE p.{} BETWEEN %s AND %s").format(
        Identifier(target.table.schema, target.table.name), Identifier(target.column)
    )
