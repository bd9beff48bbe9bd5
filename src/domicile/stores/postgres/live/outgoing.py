"""What goes to which home: read at the source from what was settled, in one statement a dataset for all homes.

`f_…` holds the rows, each with its home and with what is to be done with it there, `l_…` the keys whose rows are to
leave a home. The server keeps the plans of these statements, which a COPY of the same queries would not let it do: half
of a small step was planning them, home by home.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domicile.config.rules import HomeRows
from domicile.model import DatasetId, DatasetScope, Form, Home, Scope
from domicile.stores.postgres.closure.needs import refuses_at_home
from domicile.stores.postgres.closure.work import is_everywhere
from domicile.stores.postgres.live import carrying
from domicile.stores.postgres.live.carrying import HOW, TEMPORARY, How, keys_of
from domicile.stores.postgres.live.delta import Settled
from domicile.stores.postgres.names import (
    column,
    column_names,
    columns,
    key_match,
    key_names,
    key_select,
    lines_match,
    row_expressions,
    source_of,
    staged,
)
from domicile.stores.postgres.session import run

HOME = "domicile_home"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What goes to one home of one dataset: how many rows, what is to be done with them, and how many keys leave."""

    dataset: DatasetScope
    how: frozenset[How]
    rows: int
    gone: int


def pack(settled: Settled, *, whole: How = How.REPLACE) -> dict[Home, tuple[Load, ...]]:
    """Read what goes where, in the transaction of the settling; return it by home, in the order of the scope.

    `whole` is what is to be done with the rows of people who are on their way.
    """
    work, scope = settled.work, settled.work.scope
    make_loads(work.connection, scope)
    datasets = [dataset for dataset in scope.datasets if dataset in settled.keyed or dataset in settled.needed]
    for dataset in datasets:
        rows = list(_rows(settled, dataset, whole))
        if rows:
            query = sql.SQL(" UNION ALL ").join(sql.SQL("({})").format(one) for one in rows)
            work.run(sql.SQL("INSERT INTO {} {}").format(_rows_of(dataset), query))
        gone = _gone(settled, dataset)
        if gone is not None:
            work.run(sql.SQL("INSERT INTO {} {}").format(_leaving(dataset), gone))
    return _counted(work.connection, scope, datasets)


def unpack(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Empty the tables in the middle of a transaction."""
    make_loads(connection, scope)
    for dataset in scope.datasets:
        run(connection, sql.SQL("DELETE FROM {}").format(_rows_of(dataset)))
        run(connection, sql.SQL("DELETE FROM {}").format(_leaving(dataset)))


def send(source: psycopg.Connection[Any], target: psycopg.Connection[Any], home: Home, load: Load) -> None:
    """Copy what goes to one home into its tables of what arrives."""
    dataset = load.dataset
    query = sql.SQL("SELECT {} FROM {} WHERE {} = {}")
    for count, names, out, into in (
        (load.rows, columns((HOW, *column_names(dataset))), _rows_of(dataset), carrying.rows_of(dataset)),
        (load.gone, columns(key_names(dataset)), _leaving(dataset), carrying.gone_of(dataset)),
    ):
        if count:
            one = query.format(names, out, sql.Identifier(HOME), sql.Literal(home))
            carrying.copy(source, target, one, into=into, names=names)


def _rows_of(dataset: DatasetScope) -> sql.Identifier:
    return staged("f", dataset.id, TEMPORARY)


def _leaving(dataset: DatasetScope) -> sql.Identifier:
    return staged("l", dataset.id, TEMPORARY)


def make_loads(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Make the tables of what goes out, once a session."""
    if carrying.is_ready(connection, "loads"):
        return
    for dataset in scope.datasets:
        names = columns((HOME, HOW)) + sql.SQL(", ") + columns(column_names(dataset))
        shape = sql.SQL("SELECT {} FROM (SELECT ''::text AS {}, ''::text AS {}, d.* FROM {} AS d WHERE false) AS q")
        carrying.create(
            connection,
            _rows_of(dataset),
            shape.format(names, sql.Identifier(HOME), sql.Identifier(HOW), source_of(dataset)),
        )
        keys = sql.SQL("SELECT ''::text AS {}, {} FROM {} AS d WHERE false")
        carrying.create(
            connection,
            _leaving(dataset),
            keys.format(sql.Identifier(HOME), key_select(dataset, "d"), source_of(dataset)),
        )
    carrying.mark_ready(connection, "loads")


def _counted(
    connection: psycopg.Connection[Any], scope: Scope, datasets: list[DatasetScope]
) -> dict[Home, tuple[Load, ...]]:
    rows: dict[tuple[Home, DatasetId], dict[How, int]] = {}
    gone: dict[tuple[Home, DatasetId], int] = {}
    each = sql.SQL(" UNION ALL ").join(
        sql.SQL(
            "SELECT {id}, {home}, {how}, count(*) FROM {rows} GROUP BY 2, 3 UNION ALL"
            " SELECT {id}, {home}, NULL, count(*) FROM {gone} GROUP BY 2"
        ).format(
            id=sql.Literal(dataset.id), home=sql.Identifier(HOME), how=sql.Identifier(HOW), rows=_rows_of(dataset),
            gone=_leaving(dataset),
        )
        for dataset in datasets
    )  # fmt: skip
    for name, home, how, count in run(connection, each) if datasets else ():
        place = Home(home), DatasetId(name)
        if how is None:
            gone[place] = int(count)
        else:
            rows.setdefault(place, {})[How(how)] = int(count)
    return {
        home: tuple(
            Load(
                dataset=dataset,
                how=frozenset(rows.get((home, dataset.id), ())),
                rows=sum(rows.get((home, dataset.id), {}).values()),
                gone=gone.get((home, dataset.id), 0),
            )
            for dataset in datasets
            if (home, dataset.id) in rows or (home, dataset.id) in gone
        )
        for home in scope.homes
    }


# -- what is read --------------------------------------------------------------------------------------------------


def _rows(settled: Settled, dataset: DatasetScope, whole: How) -> Iterator[sql.Composable]:
    """SELECTs of home, how, and the travelling columns."""
    if never_there(dataset):
        return
    keyed, homes = dataset in settled.keyed, settled.work.scope.homes
    if keyed and dataset.decided:
        condition = sql.SQL("w.round = 0")
        yield _lines(settled, dataset, homes, Form.WHOLE, how=sql.Literal(whole.value), condition=condition)
    if dataset in settled.needed:
        yield from _needed_rows(settled, dataset, homes, after=1)
    if not keyed:
        return
    how = _of_others(settled.work.scope, dataset)
    if how is not None:
        yield _unlined(settled, dataset, how, theirs=False)
    if dataset.owned and not dataset.moves:
        yield _unlined(settled, dataset, How.PUBLIC, theirs=True)


def wanted(settled: Settled, dataset: DatasetScope, home: Home, *, after: int) -> sql.Composable:
    """SELECT of how and the travelling columns of the rows that one home asked for."""
    each = sql.SQL(" UNION ALL ").join(
        sql.SQL("({})").format(one) for one in _needed_rows(settled, dataset, (home,), after=after)
    )
    names = (HOW, *column_names(dataset))
    return sql.SQL("SELECT {} FROM ({}) AS q ({})").format(columns(names), each, columns((HOME, *names)))


def _needed_rows(
    settled: Settled, dataset: DatasetScope, homes: tuple[Home, ...], *, after: int
) -> Iterator[sql.Composable]:
    """Rows that others there refer to, by lines of the round `after` and later ones."""
    changed = sql.SQL("CASE WHEN EXISTS (SELECT FROM {} AS x WHERE {}) THEN {} ELSE {} END").format(
        keys_of(dataset), lines_match(dataset, "x", "w"), sql.Literal(How.BARE.value), sql.Literal(How.ADD.value)
    )
    condition = sql.SQL("w.round >= {}").format(sql.Literal(after))
    if dataset.moves:
        yield _lines(settled, dataset, homes, Form.WHOLE, how=sql.Literal(How.PUT.value), condition=condition)
    yield _lines(settled, dataset, homes, Form.SKELETON, how=changed, condition=condition)


def _lines(  # noqa: PLR0913 - which lines, and what is to be done with their rows
    settled: Settled, dataset: DatasetScope, homes: tuple[Home, ...], form: Form, *, how: sql.Composable,
    condition: sql.Composable,
) -> sql.Composable:  # fmt: skip
    """Rows that lines send there: because of their people, or because other rows refer to them."""
    return sql.SQL(
        "SELECT w.part, {how}, {rows} FROM {source} AS d JOIN (SELECT DISTINCT * FROM {lines}) AS w ON {match}"
        " WHERE w.part = ANY({homes}::text[]) AND w.form = {form} AND {condition}"
    ).format(
        how=how, rows=row_expressions(dataset, "d", blanked=form is Form.SKELETON), source=source_of(dataset),
        lines=settled.work.lines(dataset), match=key_match(dataset, "d", "w"),
        homes=sql.Literal([str(home) for home in homes]), form=sql.Literal(form.value), condition=condition,
    )  # fmt: skip


def _unlined(settled: Settled, dataset: DatasetScope, how: How, *, theirs: bool) -> sql.Composable:
    """Rows of the keys that no line sends there: of people who live there already (`theirs`), or of nobody there."""
    led = sql.SQL("" if theirs else "NOT ") + _at_home(settled, dataset)
    return sql.SQL(
        "SELECT z.home, {}, {} FROM {} AS d JOIN {} AS x ON {} CROSS JOIN {} AS z WHERE NOT {} AND {}"
    ).format(
        sql.Literal(how.value), row_expressions(dataset, "d", blanked=True), source_of(dataset), keys_of(dataset),
        key_match(dataset, "d", "x"), _homes(settled), _lined(settled, dataset), led,
    )  # fmt: skip


def _gone(settled: Settled, dataset: DatasetScope) -> sql.Composable | None:
    """SELECT of home and keys whose rows are no more, or no more for that home."""
    if dataset not in settled.keyed or never_there(dataset):
        return None
    there = sql.SQL("EXISTS (SELECT FROM {} AS d WHERE {})").format(source_of(dataset), key_match(dataset, "d", "x"))
    left: sql.Composable = sql.SQL("")
    if _of_others(settled.work.scope, dataset) is None:
        left = sql.SQL(" OR (NOT {} AND NOT {})").format(_lined(settled, dataset), _at_home(settled, dataset))
    names = sql.SQL(", ").join(column("x", name) for name in key_names(dataset))
    return sql.SQL("SELECT z.home, {} FROM {} AS x CROSS JOIN {} AS z WHERE NOT {}{}").format(
        names, keys_of(dataset), _homes(settled), there, left
    )


def _homes(settled: Settled) -> sql.Composable:
    """The FROM item of all homes: home."""
    return sql.SQL("(SELECT unnest({}::text[]) AS home)").format(
        sql.Literal([str(home) for home in settled.work.scope.homes])
    )


def _lined(settled: Settled, dataset: DatasetScope) -> sql.Composable:
    return sql.SQL("EXISTS (SELECT FROM {} AS w WHERE w.part = z.home AND {})").format(
        settled.work.lines(dataset), lines_match(dataset, "w", "x")
    )


def _at_home(settled: Settled, dataset: DatasetScope) -> sql.Composable:
    if not dataset.owned:
        return sql.SQL("false")
    return sql.SQL("EXISTS (SELECT FROM {} AS h WHERE h.home = z.home AND {})").format(
        settled.work.at_home(dataset), lines_match(dataset, "h", "x")
    )


def never_there(dataset: DatasetScope) -> bool:
    """Whether no row of the dataset is ever at a home."""
    return not dataset.decided and dataset.home_rows is HomeRows.NOTHING


def _of_others(scope: Scope, dataset: DatasetScope) -> How | None:
    """What becomes at a home of a changed row that no line sends there; None: it is not there."""
    if is_everywhere(dataset):
        return How.PUT
    if not dataset.moves:
        return How.REFRESH if dataset.home_rows is not HomeRows.NOTHING else None
    needed = any(edge.parent == dataset.id and not refuses_at_home(scope, edge) for edge in scope.edges)
    return How.SPARE if needed else None
