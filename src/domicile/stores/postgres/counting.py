"""How many rows of each dataset lead to movers, to people who stay, to nobody, and over which path: counts only.

In one transaction that is rolled back. A dataset whose count takes longer than its time is reported as not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from domicile.catalogue.clues import Reached
from domicile.model import DatasetScope, Path, Scope
from domicile.stores.postgres.fence import create_staging
from domicile.stores.postgres.names import source_of
from domicile.stores.postgres.paths import leads_to_anyone, leads_to_mover
from domicile.stores.postgres.session import run

SCHEMA = "domicile_survey"
DATASET_MS_MAX = 60_000


def count_reached(
    connection: psycopg.Connection[Any], scope: Scope, *, dataset_ms_max: int = DATASET_MS_MAX
) -> Iterator[Reached]:
    """Count every dataset that has paths."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        create_staging(connection, scope, SCHEMA)
        connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, true)", (str(dataset_ms_max),))
        for dataset in scope.datasets:
            if dataset.paths:
                yield _count(connection, scope, dataset)
    finally:
        if not connection.closed:
            connection.execute("ROLLBACK")


def _count(connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope) -> Reached:
    names = [(f"m{number}", f"a{number}") for number, _ in enumerate(dataset.paths)]
    tests = [
        sql.SQL("{} AS {}, {} AS {}").format(
            leads_to_mover(scope, path, "d", schema=SCHEMA), sql.Identifier(mover), _anyone(scope, path),
            sql.Identifier(anyone),
        )
        for path, (mover, anyone) in zip(dataset.paths, names, strict=True)
    ]  # fmt: skip
    movers, anyone = (sql.SQL(" OR ").join(map(sql.Identifier, column)) for column in zip(*names, strict=True))
    each = [
        sql.SQL("count(*) FILTER (WHERE {m}), count(*) FILTER (WHERE {a} AND NOT {m})").format(
            m=sql.Identifier(mover), a=sql.Identifier(one)
        )
        for mover, one in names
    ]
    query = sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE {m}), count(*) FILTER (WHERE ({a}) AND NOT ({m})), {each}"
        " FROM (SELECT {tests} FROM {rows} AS d) AS x"
    ).format(
        m=movers, a=anyone, each=sql.SQL(", ").join(each), tests=sql.SQL(", ").join(tests), rows=source_of(dataset)
    )  # fmt: skip
    try:
        with connection.transaction():
            (row,) = run(connection, query).fetchall()
    except psycopg.errors.QueryCanceled:
        return Reached(dataset=str(dataset.id), rows=None)
    rows, moving, staying, *paths = row
    return Reached(
        dataset=str(dataset.id), rows=rows, movers=moving, stayers=staying, nobody=rows - moving - staying,
        paths=tuple(
            (path.text, *paths[2 * number : 2 * number + 2]) for number, path in enumerate(dataset.paths)
        ),
    )  # fmt: skip


def _anyone(scope: Scope, path: Path) -> sql.Composable:
    return leads_to_anyone(scope, path, "d", schema=SCHEMA) if path.steps else sql.SQL("true")
