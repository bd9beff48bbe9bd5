"""Which rows name objects while people write, and whose they are now: asked of paths and people's states, not frozen.

Values travel to the engine and nowhere else, and no statement's text holds one (P8).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from domicile.model import DatasetScope, Home, Path, Scope
from domicile.stores.postgres.names import movers_of, source_of
from domicile.stores.postgres.naming import Named, lines_of
from domicile.stores.postgres.paths import any_of, counts, has_outsiders, leads_to_mover, path_join


def rows_naming_now(
    connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, naming: str
) -> Iterator[Named]:
    """Read what each row names in the column `naming`, once for each of its owners; psycopg's errors pass."""
    parts = [_of_movers(scope, dataset, number, path, naming) for number, path in enumerate(dataset.paths)]
    theirs = any_of(leads_to_mover(scope, path, "d") for path in dataset.paths)
    others = sql.SQL("SELECT d.{column}::text, NULL::text, true FROM {rows} AS d WHERE d.{column} IS NOT NULL"
                     " AND NOT ({theirs})").format(
        column=sql.Identifier(naming), rows=source_of(dataset), theirs=theirs,
    )  # fmt: skip
    for value, home, stays in lines_of(connection, sql.SQL(" UNION ALL ").join([*parts, others])):
        yield Named(value=str(value), home=None if home is None else Home(home), stays=bool(stays))


def rows_of_cohort(
    connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, naming: str, cohort: int
) -> Iterator[tuple[str, Home]]:
    """Read what the rows of one cohort's people name, and the home of each; at the source, or at a home of theirs."""
    mine = sql.SQL(" AND s.cohort = {}").format(sql.Literal(cohort))
    parts = [_of_movers(scope, dataset, number, path, naming, mine) for number, path in enumerate(dataset.paths)]
    if not parts:
        return
    for value, home, _ in lines_of(connection, sql.SQL(" UNION ALL ").join(parts)):
        yield str(value), Home(home)


def people_of_cohort(connection: psycopg.Connection[Any], scope: Scope, cohort: int) -> Iterator[tuple[str, Home]]:
    """Read the keys of one cohort's people as text, of the market's own kind, and their homes."""
    query = sql.SQL("SELECT s.key::text, s.home FROM {} AS s WHERE s.cohort = {}").format(
        movers_of(scope.kinds[0].dataset), sql.Literal(cohort)
    )
    for text, home in lines_of(connection, query):
        yield str(text), Home(home)


def _of_movers(  # noqa: PLR0913, PLR0917 - a path of a dataset, and of whom
    scope: Scope, dataset: DatasetScope, number: int, path: Path, naming: str,
    mine: sql.Composable = sql.SQL(""),  # noqa: B008 - a constant
) -> sql.Composable:  # fmt: skip
    """SELECT value, home, stays of the rows that this path leads to movers."""
    joins, match = path_join(scope, path, "d")
    return sql.SQL(
        "SELECT d.{column}::text, s.home, ({stays}) FROM {rows} AS d{joins} JOIN {movers} AS s ON {match}"
        " WHERE d.{column} IS NOT NULL{counts}{mine}"
    ).format(
        column=sql.Identifier(naming), stays=has_outsiders(scope, dataset, "d"), rows=source_of(dataset), joins=joins,
        movers=movers_of(path.subject), match=match, counts=counts(scope, dataset, number, "d"), mine=mine,
    )  # fmt: skip
