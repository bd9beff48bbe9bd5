"""What went home of each person: rows of the frozen manifest, counted by the people they lead to, for their receipts.

One statement for all people, with one pass over each dataset: the paths are those of the closure, so a person is
counted for a row if and only if the row is in the manifest as one of theirs. A row of several people counts for each.
Keys leave the server here, to be hashed (`receipts`); they go no further.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from domicile.config.rules import Shared
from domicile.evidence.receipts.leaf import Person, Rows
from domicile.model import DatasetScope, Fate, Path, Scope
from domicile.stores.postgres.names import column, key_match, key_select, lines_match, movers_of, source_of, staged
from domicile.stores.postgres.naming import lines_of
from domicile.stores.postgres.paths import any_of, leads_to_anyone, path_join
from domicile.stores.postgres.session import run

PEOPLE_AT_ONCE = 10_000
ALL_AT_ONCE = 0
"""The number of the one cohort of a move at once."""


def counted_people(connection: psycopg.Connection[Any], scope: Scope) -> Iterator[tuple[int, Person]]:
    """Stream all movers with the number of their cohort, those of one cohort together; each once.

    To be read before the first row is erased. Datasets none of whose rows is somebody's are left out.
    """
    datasets = tuple(dataset for dataset in scope.datasets if dataset.decided)
    kinds = tuple(kind.dataset for kind in scope.kinds)
    with connection.transaction(), connection.cursor("domicile_people") as cursor:
        run(connection, sql.SQL("SET LOCAL work_mem = '128MB'"))
        cursor.itersize = PEOPLE_AT_ONCE
        cursor.execute(_people(scope, datasets).as_bytes(connection))
        for kind, key, home, cohort, rows in cursor:
            yield (
                int(cohort),
                Person(kind=str(kinds[kind]), key=key, home=home, rows=dict(_read(rows, datasets))),
            )


def people_naming(
    connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, naming: str
) -> Iterator[tuple[str, str, str]]:
    """Stream what the rows that went home name in the column `naming`, each for the people it leads to.

    Kind and key of the person, and the value; to be read before the first row is erased.
    """
    value: sql.Composable = sql.SQL("{}::text").format(column("d", naming))
    rows, kind, key = _of_people(scope, dataset, value)
    value = value if dataset.sole else column("q", "value")
    query = sql.SQL("SELECT {kind}, {key}, {value} FROM {rows} WHERE m.owner IS NOT NULL AND {value} IS NOT NULL")
    kinds = tuple(str(one.dataset) for one in scope.kinds)
    for number, person, named in lines_of(connection, query.format(kind=kind, key=key, value=value, rows=rows)):
        yield kinds[number], str(person), str(named)


def _people(scope: Scope, datasets: tuple[DatasetScope, ...]) -> sql.Composable:
    movers = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} AS kind, key::text AS key, home, coalesce(cohort, {}) AS cohort FROM {}").format(
            sql.Literal(number), sql.Literal(ALL_AT_ONCE), movers_of(kind.dataset)
        )
        for number, kind in enumerate(scope.kinds)
    )
    nothing = sql.SQL("SELECT 0, 0, ''::text, 0::bigint, 0::bigint, 0::bigint WHERE false")
    counts = sql.SQL(" UNION ALL ").join(
        [*(_counts(scope, number, dataset) for number, dataset in enumerate(datasets)), nothing]
    )
    return sql.SQL(
        "SELECT p.kind, p.key, p.home, p.cohort,"
        " string_agg(concat_ws(':', c.dataset, c.moved, c.deleted, c.blanked), ',' ORDER BY c.dataset)"
        " FROM ({movers}) AS p LEFT JOIN ({counts}) AS c (dataset, kind, key, moved, deleted, blanked)"
        " ON c.kind = p.kind AND c.key = p.key GROUP BY p.kind, p.key, p.home, p.cohort ORDER BY p.cohort"
    ).format(movers=movers, counts=counts)


def _counts(scope: Scope, number: int, dataset: DatasetScope) -> sql.Composable:
    """SELECT of dataset, kind, key, and how many rows went home, are to be deleted and blanked."""
    rows, kind, key = _of_people(scope, dataset)
    return sql.SQL(
        "SELECT {number} AS dataset, {kind} AS kind, {key} AS key, sum(m.copies)::bigint,"
        " coalesce(sum(m.copies) FILTER (WHERE m.fate = {delete}), 0)::bigint,"
        " coalesce(sum(m.copies) FILTER (WHERE m.fate = {blank}), 0)::bigint"
        " FROM {rows} WHERE m.owner IS NOT NULL GROUP BY 1, 2, 3"
    ).format(
        number=sql.Literal(number), kind=kind, key=key, rows=rows, delete=sql.Literal(Fate.DELETE.value),
        blank=sql.Literal(Fate.BLANK.value),
    )  # fmt: skip


def _of_people(
    scope: Scope, dataset: DatasetScope, value: sql.Composable | None = None
) -> tuple[sql.Composable, sql.Composable, sql.Composable]:
    """FROM of the lines `m` with the people whom their rows lead to; kind and key of these.

    The row itself is `d` where one path leads to people, else `q`, which has nothing of it but a `value`, if asked for.
    """
    manifest = staged("m", dataset.id)
    if dataset.sole:
        (path,) = dataset.paths
        joins, match = path_join(scope, path, "d")
        rows = sql.SQL("{} AS d{} JOIN {} AS s ON {} JOIN {} AS m ON {} AND m.part = s.home").format(
            source_of(dataset), joins, movers_of(path.subject), match, manifest, key_match(dataset, "d", "m")
        )
        return rows, sql.Literal(_kind(scope, path)), sql.SQL("s.key::text")
    led = sql.SQL(" UNION ").join(_led(scope, dataset, at, value) for at in range(len(dataset.paths)))
    rows = sql.SQL("({}) AS q JOIN {} AS m ON {} AND m.part = q.home").format(
        led, manifest, lines_match(dataset, "q", "m")
    )
    return rows, column("q", "kind"), column("q", "key")


def _led(scope: Scope, dataset: DatasetScope, at: int, value: sql.Composable | None) -> sql.Composable:
    """SELECT of the rows that a path leads to movers, each once for each of them.

    By the rule `first` a later path counts only where none before it leads to anyone (docs/closure.md).
    """
    path = dataset.paths[at]
    joins, match = path_join(scope, path, "d")
    counts: sql.Composable = sql.SQL("true")
    if at and dataset.sharing(path) is Shared.FIRST:
        counts = sql.SQL("NOT ({})").format(any_of(_leads(scope, one) for one in dataset.paths[:at]))
    return sql.SQL(
        "SELECT DISTINCT {kind} AS kind, s.key::text AS key, s.home AS home{also}, {keys} FROM {rows} AS d{joins}"
        " JOIN {movers} AS s ON {match} WHERE {counts}"
    ).format(
        kind=sql.Literal(_kind(scope, path)), keys=key_select(dataset, "d"), rows=source_of(dataset), joins=joins,
        movers=movers_of(path.subject), match=match, counts=counts,
        also=sql.SQL("") if value is None else sql.SQL(", {} AS value").format(value),
    )  # fmt: skip


def _leads(scope: Scope, path: Path) -> sql.Composable:
    return leads_to_anyone(scope, path, "d") if path.steps else sql.SQL("true")


def _kind(scope: Scope, path: Path) -> int:
    return next(number for number, kind in enumerate(scope.kinds) if kind.dataset == path.subject)


def _read(text: str, datasets: tuple[DatasetScope, ...]) -> Iterator[tuple[str, Rows]]:
    for part in text.split(",") if text else ():
        dataset, moved, deleted, blanked = part.split(":")
        yield str(datasets[int(dataset)].id), Rows(moved=int(moved), deleted=int(deleted), blanked=int(blanked))
