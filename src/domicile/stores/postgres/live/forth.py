"""The source's changes come home: what was settled is read in the same snapshot and written in one transaction.

Rows of people who are on their way are replaced by the source's. Rows that lead to people who live at home are theirs:
of these only public columns follow the source. What others need of rows that are nobody's of this home follows as
skeletons, as the closure says, and stays while something at home refers to it; of changed rows that are nobody's here
the home says which these are, and asks for them and for what they refer to in turn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domicile.errors import StoreFault
from domicile.model import DatasetScope, Form, Home, Scope
from domicile.rules import Apart, HomeRows
from domicile.stores.postgres.closure.needs import refuses_at_home
from domicile.stores.postgres.closure.work import is_everywhere
from domicile.stores.postgres.guard import without_private
from domicile.stores.postgres.live import carrying, delta
from domicile.stores.postgres.live.carrying import HOW, How, Put, keys_of
from domicile.stores.postgres.live.delta import Settled
from domicile.stores.postgres.names import (
    STAGING,
    column,
    key_match,
    key_names,
    key_select,
    lines_match,
    row_expressions,
    source_of,
)
from domicile.stores.postgres.paths import any_of, leads_to_mover
from domicile.stores.postgres.readings import opened, refers
from domicile.stores.postgres.session import run


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
    for times in range(delta.ASKED_MAX):
        asked = [dataset for dataset in arrived if _ask(settled, target, dataset, lived_in=lived_in)]
        if not asked:
            return Brought(rows=rows, gone=gone)
        come, arrived = _bring_wanted(settled, target, home, asked, times=times, lived_in=lived_in)
        rows += come
    raise StoreFault(f"{home} asked {delta.ASKED_MAX} times for rows that others need; this is a fault of the engine")


def _ask(settled: Settled, target: psycopg.Connection[Any], dataset: DatasetScope, *, lived_in: bool) -> int:
    """Ask for the rows that are nobody's here, and stay or are missed: whole where a referring edge says so."""
    scope = settled.work.scope
    how, _ = carrying.hows(target, dataset)
    if not dataset.key or not how & {How.REFRESH, How.SPARE, How.BARE}:
        return 0
    run(settled.work.connection, sql.SQL("DELETE FROM {}").format(carrying.wanted_of(dataset)))
    here = sql.SQL("EXISTS (SELECT FROM {} AS d WHERE {}{})")
    same = carrying.same_row(dataset, "d", "b")
    present = here.format(source_of(dataset), same, sql.SQL(""))
    whole = _any(_referring(scope, dataset, "b", whole=True))
    referred = [whole, *_referring(scope, dataset, "b", whole=False)]
    theirs = sql.SQL("").join(
        sql.SQL(" AND NOT {}").format(here.format(source_of(dataset), same, sql.SQL(" AND {}").format(one)))
        for one in (_theirs(scope, dataset) if lived_in else ())
    )
    query = sql.SQL("SELECT CASE WHEN {whole} THEN {w} ELSE {s} END, {keys} FROM {b} AS b WHERE ({wanted}){theirs}")
    names = sql.SQL(", ").join(map(sql.Identifier, ("form", *key_names(dataset))))
    return carrying.copy(
        target, settled.work.connection,
        query.format(
            whole=whole, w=sql.Literal(Form.WHOLE.value),
            s=sql.Literal(Form.SKELETON.value), keys=key_select(dataset, "b"),
            b=carrying.arrived(dataset, How.REFRESH, How.SPARE, How.BARE), theirs=theirs,
            wanted=sql.SQL("CASE WHEN b.{} = {} THEN {} ELSE {} END").format(
                sql.Identifier(HOW), sql.Literal(How.BARE.value), whole, _any([present, *referred])
            ),
        ),
        into=carrying.wanted_of(dataset), names=names,
    )  # fmt: skip


def _any(conditions: Collection[sql.Composable]) -> sql.Composable:
    return sql.SQL("({})").format(sql.SQL(" OR ").join(conditions)) if conditions else sql.SQL("false")


def _bring_wanted(  # noqa: PLR0913 - what was asked for, by whom, and how often before
    settled: Settled, target: psycopg.Connection[Any], home: Home, asked: list[DatasetScope], *, times: int,
    lived_in: bool,
) -> tuple[int, list[DatasetScope]]:  # fmt: skip
    """Bring what this home asked for, and what that refers to; how many rows, and of which datasets."""
    after, datasets = delta.follow_wanted(settled, home, asked, times=times)
    rows = 0
    for dataset in datasets:
        run(target, sql.SQL("DELETE FROM {}").format(carrying.rows_of(dataset)))
        run(target, sql.SQL("DELETE FROM {}").format(carrying.gone_of(dataset)))
        come, _ = carrying.carry(
            settled.work.connection, target, dataset, rows=_needed_rows(settled, dataset, home, after=after), gone=None
        )
        rows += come
    _write(target, settled.work.scope, list(datasets), lived_in=lived_in)
    return rows, list(datasets)


# -- what is read at the source ------------------------------------------------------------------------------------


def _rows(settled: Settled, dataset: DatasetScope, home: Home) -> Iterator[sql.Composable]:
    if _never_there(dataset):
        return
    keyed = dataset in settled.keyed
    if keyed and dataset.decided:
        condition = sql.SQL("w.round = 0")
        yield _lines(settled, dataset, home, Form.WHOLE, how=sql.Literal(How.REPLACE.value), condition=condition)
    if dataset in settled.needed:
        yield from _needed_rows(settled, dataset, home, after=1)
    if not keyed:
        return
    how = _of_others(settled.work.scope, dataset)
    if how is not None:
        yield _unlined(settled, dataset, home, how, blanked=True, theirs=False)
    if dataset.owned and not dataset.moves:
        yield _unlined(settled, dataset, home, How.PUBLIC, blanked=True, theirs=True)


def _needed_rows(settled: Settled, dataset: DatasetScope, home: Home, *, after: int) -> Iterator[sql.Composable]:
    """Rows that others there refer to, by lines of the round `after` and later ones."""
    changed = sql.SQL("CASE WHEN EXISTS (SELECT FROM {} AS x WHERE {}) THEN {} ELSE {} END").format(
        keys_of(dataset), lines_match(dataset, "x", "w"), sql.Literal(How.BARE.value), sql.Literal(How.ADD.value)
    )
    condition = sql.SQL("w.round >= {}").format(sql.Literal(after))
    if dataset.moves:
        yield _lines(settled, dataset, home, Form.WHOLE, how=sql.Literal(How.PUT.value), condition=condition)
    yield _lines(settled, dataset, home, Form.SKELETON, how=changed, condition=condition)


def _lines(  # noqa: PLR0913 - which lines, and what is to be done with their rows
    settled: Settled, dataset: DatasetScope, home: Home, form: Form, *, how: sql.Composable, condition: sql.Composable
) -> sql.Composable:
    """Rows that lines send there: because of their people, or because other rows refer to them."""
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


# -- what is written at home ---------------------------------------------------------------------------------------


def _write(connection: psycopg.Connection[Any], scope: Scope, datasets: list[DatasetScope], *, lived_in: bool) -> None:
    asked = [(dataset, *carrying.hows(connection, dataset)) for dataset in datasets]
    for dataset, how, _ in asked:
        _put(connection, dataset, how, _spared(scope, dataset, lived_in=lived_in), _begun_here(scope, dataset))
    for dataset, how, gone in reversed(asked):
        spared = (*_spared(scope, dataset, lived_in=lived_in), *_needed(scope, dataset))
        if gone:
            carrying.delete(connection, dataset, carrying.gone_of(dataset), carrying.gone_match(dataset), spared)
        if How.SPARE in how:
            match = carrying.same_row(dataset, "d", "b")
            carrying.delete(connection, dataset, carrying.arrived(dataset, How.SPARE), match, spared)


def _put(
    connection: psycopg.Connection[Any], dataset: DatasetScope, how: frozenset[How],
    spared: tuple[sql.Composable, ...], begun_here: tuple[sql.Composable, ...],
) -> None:  # fmt: skip
    """Write what arrived; what is spared of all but whole rows stays, and of who began here the public half follows."""
    public = tuple(item.name for item in dataset.columns if item.name not in dataset.private)
    others = carrying.arrived(dataset, How.PUT, How.BARE)
    puts = [Put(using=carrying.arrived(dataset, How.REPLACE))] if How.REPLACE in how else []
    if how & {How.PUT, How.BARE}:
        puts.append(Put(using=others, spare=spared))
    if puts:
        carrying.put(connection, dataset, *puts)
    if How.ADD in how:
        carrying.insert(connection, dataset, carrying.arrived(dataset, How.ADD), unless_there=True)
    if How.PUBLIC in how:
        carrying.update(connection, dataset, public, carrying.arrived(dataset, How.PUBLIC))
    for own in begun_here if how & {How.PUT, How.BARE} else ():
        carrying.update(connection, dataset, public, others, (sql.SQL("NOT ({})").format(own),))


def _spared(scope: Scope, dataset: DatasetScope, *, lived_in: bool) -> tuple[sql.Composable, ...]:
    """Conditions on row `d` at home: it is somebody's who lives here, or who began here before anybody came home."""
    return _theirs(scope, dataset) if lived_in else _begun_here(scope, dataset)


def _theirs(scope: Scope, dataset: DatasetScope) -> tuple[sql.Composable, ...]:
    """Conditions on row `d` at home: it leads to somebody who lives here."""
    moved = (leads_to_mover(scope, path, "d", states=("home", "fenced")) for path in dataset.paths)
    return (*moved, *_begun_here(scope, dataset))


def _begun_here(scope: Scope, dataset: DatasetScope) -> tuple[sql.Composable, ...]:
    """The condition on split row `d` that it is of somebody who began here: it holds private values, and no mover's.

    Of such rows the source knows the public half at most, so home's is the only whole one.
    """
    if dataset.moves or not dataset.owned or not dataset.key:
        return ()
    moving = any_of(leads_to_mover(scope, path, "d", states=("moving",)) for path in dataset.paths)
    return (sql.SQL("NOT ({}) AND NOT ({})").format(without_private(dataset, "d"), moving),)


def _needed(scope: Scope, dataset: DatasetScope) -> tuple[sql.Composable, ...]:
    """Conditions on row `d` at home: another row here refers to it."""
    return (*_referring(scope, dataset, "d", whole=True), *_referring(scope, dataset, "d", whole=False))


def _referring(scope: Scope, dataset: DatasetScope, row: str, *, whole: bool) -> tuple[sql.Composable, ...]:
    """Conditions on a row: another row at home refers to it, by an edge that wants it whole, or by one that doesn't."""
    return tuple(
        sql.SQL("EXISTS (SELECT FROM {} AS c{} WHERE {}{})").format(
            source_of(scope.dataset(edge.child)), opened(edge, "c", schema=STAGING), refers(edge, "c", row),
            sql.SQL(" AND NOT ({})").format(carrying.same_row(dataset, "c", row))
            if edge.child == dataset.id and dataset.key
            else sql.SQL(""),
        )
        for edge in scope.edges
        if edge.parent == dataset.id and (edge.apart_home is Apart.WHOLE and dataset.moves) is whole
    )  # fmt: skip
