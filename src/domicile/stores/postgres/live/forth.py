"""The source's changes come home: what was settled is read in the same snapshot and written in one transaction.

Rows of people who are on their way are replaced by the source's. Rows that lead to people who live at home are theirs:
of these only public columns follow the source. What others need of rows that are nobody's of this home follows as
skeletons, as the closure says, and stays while something at home refers to it; of changed rows that are nobody's here
the home says which these are, and asks for them and for what they refer to in turn.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domicile.config.rules import Apart
from domicile.errors import StoreFault
from domicile.model import DatasetId, DatasetScope, Form, Home, Scope
from domicile.stores.postgres.feed.triggers import log_of
from domicile.stores.postgres.guard import without_private
from domicile.stores.postgres.live import back, carrying, comparing, delta, outgoing
from domicile.stores.postgres.live.carrying import HOW, How, Put
from domicile.stores.postgres.live.delta import Settled
from domicile.stores.postgres.live.outgoing import Load
from domicile.stores.postgres.names import STAGING, key_match, key_names, key_select, source_of
from domicile.stores.postgres.paths import any_of, leads_to_mover
from domicile.stores.postgres.readings import opened, refers
from domicile.stores.postgres.session import run

Arrived = list[tuple[DatasetScope, frozenset[How]]]
"""Datasets of which rows arrived, and what is to be done with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """Rows that came to one home, and rows that went from there."""

    rows: int
    gone: int


def bring(  # noqa: PLR0913 - what, to whom, and what stands there
    settled: Settled, loads: tuple[Load, ...], target: psycopg.Connection[Any], home: Home, *, lived_in: bool,
    again: bool = False,
) -> Brought:  # fmt: skip
    """Write what goes to one home there; the caller holds the transaction, and passes the home's guard.

    `lived_in` says that people live there already, whose rows are then left alone; `again` that nothing says that these
    rows changed at the source: then whole rows that changed at home, and were not brought back yet, are left alone too.
    """
    scope = settled.work.scope
    carrying.make_arrivals(target, scope)
    back.make_keys(target, scope)
    for load in loads:
        outgoing.send(settled.work.connection, target, home, load)
        if again and lived_in and load.dataset.decided:
            _spare_changed(target, load.dataset)
        if How.REPLACE in load.how:
            comparing.note(target, load.dataset)
    arrived: Arrived = [(load.dataset, load.how) for load in loads]
    _write(target, scope, arrived, {load.dataset.id for load in loads if load.gone}, lived_in=lived_in)
    rows, gone = sum(load.rows for load in loads), sum(load.gone for load in loads)
    for times in range(delta.ASKED_MAX):
        asked = [dataset for dataset, how in arrived if _ask(settled, target, dataset, how, lived_in=lived_in)]
        if not asked:
            return Brought(rows=rows, gone=gone)
        come, arrived = _bring_wanted(settled, target, home, asked, times=times, lived_in=lived_in)
        rows += come
    raise StoreFault(f"{home} asked {delta.ASKED_MAX} times for rows that others need; this is a fault of the engine")


def _spare_changed(target: psycopg.Connection[Any], dataset: DatasetScope) -> None:
    """Take out of what arrived the whole rows that home's key-log names.

    The rows are locked first: who is just writing one is over when the log is read, and who comes next waits for us.
    """
    whole = carrying.arrived(dataset, How.REPLACE)
    run(
        target,
        sql.SQL("SELECT FROM {} AS d JOIN {} AS b ON {} FOR NO KEY UPDATE OF d").format(
            source_of(dataset), whole, carrying.same_row(dataset, "d", "b")
        ),
    )
    run(
        target,
        sql.SQL("DELETE FROM {} AS b USING {} AS k WHERE b.{} = {} AND {}").format(
            carrying.rows_of(dataset), log_of(dataset.id), sql.Identifier(HOW), sql.Literal(How.REPLACE.value),
            key_match(dataset, "b", "k"),
        ),
    )  # fmt: skip


def _ask(
    settled: Settled, target: psycopg.Connection[Any], dataset: DatasetScope, how: frozenset[How], *, lived_in: bool
) -> int:
    """Ask for the rows that are nobody's here, and stay or are missed: whole where a referring edge says so."""
    scope = settled.work.scope
    if not dataset.key or not how & {How.REFRESH, How.SPARE, How.BARE}:
        return 0
    wanted = carrying.wanted_of(dataset)
    run(target, sql.SQL("DELETE FROM {}").format(wanted))
    here = sql.SQL("EXISTS (SELECT FROM {} AS d WHERE {}{})")
    same = carrying.same_row(dataset, "d", "b")
    present = here.format(source_of(dataset), same, sql.SQL(""))
    whole = _any(_referring(scope, dataset, "b", whole=True))
    referred = [whole, *_referring(scope, dataset, "b", whole=False)]
    theirs = sql.SQL("").join(
        sql.SQL(" AND NOT {}").format(here.format(source_of(dataset), same, sql.SQL(" AND {}").format(one)))
        for one in (_theirs(scope, dataset) if lived_in else ())
    )
    found = run(
        target,
        sql.SQL(
            "INSERT INTO {n} SELECT CASE WHEN {whole} THEN {w} ELSE {s} END, {keys} FROM {b} AS b"
            " WHERE (CASE WHEN b.{how} = {bare} THEN {whole} ELSE {any} END){theirs}"
        ).format(
            n=wanted, whole=whole, w=sql.Literal(Form.WHOLE.value), s=sql.Literal(Form.SKELETON.value),
            keys=key_select(dataset, "b"), b=carrying.arrived(dataset, How.REFRESH, How.SPARE, How.BARE),
            how=sql.Identifier(HOW), bare=sql.Literal(How.BARE.value), any=_any([present, *referred]), theirs=theirs,
        ),
    ).rowcount  # fmt: skip
    if found:
        run(settled.work.connection, sql.SQL("DELETE FROM {}").format(wanted))
        names = sql.SQL(", ").join(map(sql.Identifier, ("form", *key_names(dataset))))
        query = sql.SQL("SELECT {} FROM {}").format(names, wanted)
        carrying.copy(target, settled.work.connection, query, into=wanted, names=names)
    return found


def _any(conditions: Collection[sql.Composable]) -> sql.Composable:
    return sql.SQL("({})").format(sql.SQL(" OR ").join(conditions)) if conditions else sql.SQL("false")


def _bring_wanted(  # noqa: PLR0913 - what was asked for, by whom, and how often before
    settled: Settled, target: psycopg.Connection[Any], home: Home, asked: list[DatasetScope], *, times: int,
    lived_in: bool,
) -> tuple[int, Arrived]:  # fmt: skip
    """Bring what this home asked for, and what that refers to; how many rows, and what arrived."""
    after, datasets = delta.follow_wanted(settled, home, asked, times=times)
    rows = 0
    for dataset in datasets:
        run(target, sql.SQL("DELETE FROM {}").format(carrying.rows_of(dataset)))
        run(target, sql.SQL("DELETE FROM {}").format(carrying.gone_of(dataset)))
        query = outgoing.wanted(settled, dataset, home, after=after)
        rows += carrying.carry(settled.work.connection, target, dataset, rows=query)
    arrived = [(dataset, carrying.hows(target, dataset)) for dataset in datasets]
    _write(target, settled.work.scope, arrived, set(), lived_in=lived_in)
    return rows, arrived


# -- what is written at home ---------------------------------------------------------------------------------------


def _write(
    connection: psycopg.Connection[Any], scope: Scope, arrived: Arrived, gone: Collection[DatasetId], *, lived_in: bool
) -> None:
    for dataset, how in arrived:
        _put(connection, dataset, how, _spared(scope, dataset, lived_in=lived_in), _begun_here(scope, dataset))
    for dataset, how in reversed(arrived):
        spared = (*_spared(scope, dataset, lived_in=lived_in), *_needed(scope, dataset))
        if dataset.id in gone:
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
