"""The source's changes come home: what was settled is read in the same snapshot and written in one transaction.

Rows of people who are on their way are replaced by the source's. Rows that lead to people who live at home are theirs:
of these only public columns follow the source. What others need of rows that are nobody's of this home follows as
skeletons, as the closure says, and stays while something at home refers to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domicile.model import DatasetScope, Form, Home, Scope
from domicile.rules import Apart, HomeRows
from domicile.stores.postgres.closure.needs import refuses_at_home
from domicile.stores.postgres.closure.work import is_everywhere
from domicile.stores.postgres.live import carrying
from domicile.stores.postgres.live.carrying import How, keys_of
from domicile.stores.postgres.live.delta import Settled
from domicile.stores.postgres.names import (
    STAGING,
    column,
    key_match,
    key_names,
    lines_match,
    row_expressions,
    source_of,
)
from domicile.stores.postgres.paths import leads_to_mover
from domicile.stores.postgres.readings import opened, refers


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """Rows that came to one home, and rows that went from there."""

    rows: int
    gone: int


def bring(settled: Settled, target: psycopg.Connection[Any], home: Home, *, lived_in: bool) -> Brought:
    """Write what was settled into one home; the caller holds the transaction, and passes the home's guard.

    `lived_in` says that people live there already, whose rows are then left alone.
    """
    scope = settled.work.scope
    carrying.make_arrivals(target, scope)
    datasets = [dataset for dataset in scope.datasets if dataset in settled.keyed or dataset in settled.needed]
    rows = gone = 0
    arrived: list[DatasetScope] = []
    for dataset in datasets:
        come, go = carrying.carry(
            settled.work.connection, target, dataset,
            rows=_rows(settled, dataset, home), gone=_gone(settled, dataset, home),
        )  # fmt: skip
        rows, gone = rows + come, gone + go
        if come or go:
            arrived.append(dataset)
    _write(target, scope, arrived, lived_in=lived_in)
    return Brought(rows=rows, gone=gone)


# -- what is read at the source ------------------------------------------------------------------------------------


def _rows(settled: Settled, dataset: DatasetScope, home: Home) -> Iterator[sql.Composable]:
    if _never_there(dataset):
        return
    keyed = dataset in settled.keyed
    if keyed and dataset.decided:
        yield _lines(settled, dataset, home, Form.WHOLE, how=sql.Literal(How.REPLACE.value), own=True)
    if dataset in settled.needed:
        changed = sql.SQL("CASE WHEN EXISTS (SELECT FROM {} AS x WHERE {}) THEN {} ELSE {} END").format(
            keys_of(dataset), lines_match(dataset, "x", "w"), sql.Literal(How.PUT.value), sql.Literal(How.ADD.value)
        )
        for form in (Form.WHOLE, Form.SKELETON) if dataset.moves else (Form.SKELETON,):
            yield _lines(settled, dataset, home, form, how=changed, own=False)
    if not keyed:
        return
    how = _of_others(settled.work.scope, dataset)
    if how is not None:
        whole = dataset.moves and _kept_whole(settled.work.scope, dataset)
        yield _unlined(settled, dataset, home, how, blanked=not whole, theirs=False)
    if dataset.owned and not dataset.moves:
        yield _unlined(settled, dataset, home, How.PUBLIC, blanked=True, theirs=True)


def _lines(  # noqa: PLR0913 - which lines, and what is to be done with their rows
    settled: Settled, dataset: DatasetScope, home: Home, form: Form, *, how: sql.Composable, own: bool
) -> sql.Composable:
    """Rows that lines send there: because of their people (`own`), or because other rows refer to them."""
    condition = sql.SQL("w.round = 0") if own else sql.SQL("w.round > 0")
    return sql.SQL(
        "SELECT {how} AS how, {rows} FROM {source} AS d JOIN (SELECT DISTINCT * FROM {lines}) AS w ON {match}"
        " WHERE w.part = {home} AND w.form = {form} AND {condition}"
    ).format(
        how=how, rows=row_expressions(dataset, "d", blanked=form is Form.SKELETON), source=source_of(dataset),
        lines=settled.work.lines(dataset), match=key_match(dataset, "d", "w"), home=sql.Literal(home),
        form=sql.Literal(form.value), condition=condition,
    )  # fmt: skip


def _unlined(  # noqa: PLR0913 - which rows, and what is to be done with them
    settled: Settled, dataset: DatasetScope, home: Home, how: How, *, blanked: bool, theirs: bool
) -> sql.Composable:
    """Rows of the keys that no line sends there: of people who live there already (`theirs`), or of nobody there."""
    led = sql.SQL("NOT " if not theirs else "") + _at_home(settled, dataset, home)
    return sql.SQL("SELECT {} AS how, {} FROM {} AS d JOIN {} AS x ON {} WHERE NOT {} AND {}").format(
        sql.Literal(how.value), row_expressions(dataset, "d", blanked=blanked), source_of(dataset), keys_of(dataset),
        key_match(dataset, "d", "x"), _lined(settled, dataset, home), led,
    )  # fmt: skip


def _lined(settled: Settled, dataset: DatasetScope, home: Home) -> sql.Composable:
    return sql.SQL("EXISTS (SELECT FROM {} AS w WHERE w.part = {} AND {})").format(
        settled.work.lines(dataset), sql.Literal(home), lines_match(dataset, "w", "x")
    )


def _at_home(settled: Settled, dataset: DatasetScope, home: Home) -> sql.Composable:
    if not dataset.owned:
        return sql.SQL("false")
    return sql.SQL("EXISTS (SELECT FROM {} AS h WHERE h.home = {} AND {})").format(
        settled.work.at_home(dataset), sql.Literal(home), lines_match(dataset, "h", "x")
    )


def _gone(settled: Settled, dataset: DatasetScope, home: Home) -> sql.Composable | None:
    """Keys whose rows are no more, or no more for this home."""
    if dataset not in settled.keyed or _never_there(dataset):
        return None
    there = sql.SQL("EXISTS (SELECT FROM {} AS d WHERE {})").format(source_of(dataset), key_match(dataset, "d", "x"))
    left: sql.Composable = sql.SQL("")
    if _of_others(settled.work.scope, dataset) is None:
        left = sql.SQL(" OR (NOT {} AND NOT {})").format(
            _lined(settled, dataset, home), _at_home(settled, dataset, home)
        )
    names = sql.SQL(", ").join(column("x", name) for name in key_names(dataset))
    return sql.SQL("SELECT {} FROM {} AS x WHERE NOT {}{}").format(names, keys_of(dataset), there, left)


def _never_there(dataset: DatasetScope) -> bool:
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


def _kept_whole(scope: Scope, dataset: DatasetScope) -> bool:
    return any(edge.parent == dataset.id and edge.apart_home is Apart.WHOLE for edge in scope.edges)


# -- what is written at home ---------------------------------------------------------------------------------------


def _write(connection: psycopg.Connection[Any], scope: Scope, datasets: list[DatasetScope], *, lived_in: bool) -> None:
    for dataset in reversed(datasets):
        theirs = _theirs(scope, dataset) if lived_in else ()
        carrying.delete(
            connection, dataset, carrying.arrived(dataset, How.REPLACE), carrying.same_row(dataset, "d", "b")
        )
        carrying.delete(
            connection, dataset, carrying.arrived(dataset, How.PUT), carrying.same_row(dataset, "d", "b"), theirs
        )
    for dataset in datasets:
        theirs = _theirs(scope, dataset) if lived_in else ()
        carrying.insert(connection, dataset, carrying.arrived(dataset, How.REPLACE), unless_there=False)
        carrying.insert(connection, dataset, carrying.arrived(dataset, How.PUT, How.ADD), unless_there=True)
        every = tuple(item.name for item in dataset.columns)
        carrying.update(connection, dataset, every, carrying.arrived(dataset, How.REFRESH), theirs)
        public = tuple(name for name in every if name not in dataset.private)
        carrying.update(connection, dataset, public, carrying.arrived(dataset, How.PUBLIC))
    for dataset in reversed(datasets):
        theirs = _theirs(scope, dataset) if lived_in else ()
        spared = (*theirs, *_needed(scope, dataset))
        carrying.delete(connection, dataset, carrying.gone_of(dataset), carrying.gone_match(dataset), spared)
        carrying.delete(
            connection, dataset, carrying.arrived(dataset, How.SPARE), carrying.same_row(dataset, "d", "b"), spared
        )
        every = tuple(item.name for item in dataset.columns)
        carrying.update(connection, dataset, every, carrying.arrived(dataset, How.SPARE), theirs)


def _theirs(scope: Scope, dataset: DatasetScope) -> tuple[sql.Composable, ...]:
    """Conditions on row `d` at home: it leads to somebody who lives here."""
    return tuple(leads_to_mover(scope, path, "d", states=("home", "fenced")) for path in dataset.paths)


def _needed(scope: Scope, dataset: DatasetScope) -> tuple[sql.Composable, ...]:
    """Conditions on row `d` at home: something here refers to it."""
    return tuple(
        sql.SQL("EXISTS (SELECT FROM {} AS c{} WHERE {})").format(
            source_of(scope.dataset(edge.child)), opened(edge, "c", schema=STAGING), refers(edge, "c", "d")
        )
        for edge in scope.edges
        if edge.parent == dataset.id and edge.child != dataset.id
    )
