"""Which rows name objects, and whose they are: read from the closure of a survey, or from the frozen manifest.

Values travel to the engine and nowhere else, and no statement's text holds one (P8).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from domicile.model import DatasetScope, Fate, Form, Home, Scope
from domicile.stores.postgres.closure import EVERYWHERE
from domicile.stores.postgres.names import STAGING, column, key_match, movers_of, relation, source_of, staged
from domicile.stores.postgres.paths import same_person

LINES_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A value that names an object: `home` of its row's owner, None where the row is nobody's who moves.

    `stays` when the source keeps the row as well.
    """

    value: str
    home: Home | None
    stays: bool


def rows_naming(
    connection: psycopg.Connection[Any], dataset: DatasetScope, naming: str, schema: str = STAGING
) -> Iterator[Named]:
    """Read what each row names in the column `naming`, once for each of its owners; psycopg's errors pass."""
    if not dataset.owned:
        lines: sql.Composable = sql.SQL("SELECT NULL::text AS part, NULL::text AS fate WHERE false")
        match: sql.Composable = sql.SQL("true")
    else:
        lines = sql.SQL("SELECT * FROM {} WHERE owner IS NOT NULL AND part <> {} AND form <> {}").format(
            staged("m", dataset.id, schema), sql.Literal(EVERYWHERE), sql.Literal(Form.SKELETON.value)
        )
        match = key_match(dataset, "d", "m")
    query = sql.SQL(
        "SELECT d.{column}::text, m.part, m.fate FROM {rows} AS d LEFT JOIN ({lines}) AS m ON {match}"
        " WHERE d.{column} IS NOT NULL"
    ).format(column=sql.Identifier(naming), rows=source_of(dataset), lines=lines, match=match)
    for value, part, fate in lines_of(connection, query):
        home = Home(part) if part is not None else None
        yield Named(value=str(value), home=home, stays=home is None or fate == Fate.KEEP.value)


def people(
    connection: psycopg.Connection[Any], scope: Scope, schema: str = STAGING
) -> Iterator[tuple[str, Home | None]]:  # fmt: skip
    """Read every person's key as text, of the market's own kind, and their home; None for who stays."""
    kind = scope.kinds[0]
    query = sql.SQL(
        "SELECT p.{key}::text, s.home FROM {people} AS p LEFT JOIN {movers} AS s ON {same}"
    ).format(
        people=source_of(scope.dataset(kind.dataset)), key=sql.Identifier(kind.key),
        movers=movers_of(kind.dataset, schema),
        same=same_person(scope, kind.dataset, column("s", "key"), column("p", kind.key)),
    )  # fmt: skip
    for text, home in lines_of(connection, query):
        yield str(text), Home(home) if home is not None else None


def people_at(connection: psycopg.Connection[Any], scope: Scope, home: Home) -> Iterator[tuple[str, Home | None]]:
    """The same of those who moved to this home; asked of the home itself."""
    kind = scope.kinds[0]
    dataset = scope.dataset(kind.dataset)
    query = sql.SQL(
        "SELECT p.{key}::text FROM {people} AS p JOIN {lines} AS m ON {match} WHERE m.part = {home}"
        " AND m.owner = m.part"
    ).format(
        people=relation(dataset.table), lines=staged("m", dataset.id), match=key_match(dataset, "p", "m"),
        key=sql.Identifier(kind.key), home=sql.Literal(str(home)),
    )  # fmt: skip
    for (text,) in lines_of(connection, query):
        yield str(text), home


def lines_of(connection: psycopg.Connection[Any], query: sql.Composed) -> Iterator[tuple[Any, ...]]:
    """The lines of a query as a stream; `query` has no parameters, so that nobody's value is in its text."""
    with connection.transaction(), connection.cursor(name="domicile_naming") as cursor:
        cursor.itersize = LINES_AT_ONCE
        cursor.execute(query)
        yield from cursor
