"""The way back: what changes at home for people who live there flows to the source, until the clearance.

Carried are rows that lead to people at home; what is gone at a home goes at the source only if it leads to people of
that very home. One that a stayer has a part in is not carried: it stands on both sides, and each side's lives its own
life (`shared: each`). One that somebody of another home has a part in comes when it is new, where there is none. When
who has it is brought back (`keys_of_cohort`), each comes as it is at home, a stayer's where there is none: till then it
is nobody's at the source, or it is there for who lives there, and what they did to it counts. What one of a cohort
deleted comes as another of it has it, at another home (`carry_kept`), and goes where none has. Of split rows private
columns alone are carried: what is public is written where the platform writes it. A split row whose public half is not
at the source yet waits for it, unless its people are fenced at home to be brought back: then it comes whole.

What was brought back stands noted at the source, by the transaction that brings it, until home's log has forgotten it:
brought once more after a kill it would replace what was written at the source meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from domicile.model import DatasetId, DatasetScope, Home, Scope
from domicile.stores.postgres.feed.triggers import log_of
from domicile.stores.postgres.live import carrying
from domicile.stores.postgres.live.carrying import How, keys_of
from domicile.stores.postgres.names import (
    STAGING,
    column,
    columns,
    key_expressions,
    key_match,
    key_names,
    key_select,
    lines_match,
    movers_of,
    row_expressions,
    source_of,
    staged,
    stand_in,
)
from domicile.stores.postgres.paths import counting, has_outsiders, leads_to_mover, path_join
from domicile.stores.postgres.session import run

Keys = dict[DatasetId, set[tuple[str, ...]]]
Ask = Callable[[DatasetScope], int]
"""Has what a cohort's people have, at other homes, of the rows that are gone at one brought to the source."""
HOME: Final = "domicile_home"
BROUGHT: Final = sql.Identifier(STAGING, "brought")


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """Rows written at the source, rows taken away there, and rows that wait for their public half.

    `owed` are the keys of rows that are new at the source, and of several homes' people; and of those that are gone at
    home and stay at the source, where somebody has them who is on the way. The source's feed passes over what the
    engine writes, or leaves alone, and who of these people is still on the way needs them at home.
    """

    rows: int
    gone: int
    waiting: int
    owed: Keys


def make_waiting(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Make the lists of split rows that wait, and that of what was brought back, at the source."""
    run(
        connection,
        sql.SQL("CREATE TABLE IF NOT EXISTS {} (home text PRIMARY KEY, position text NOT NULL)").format(BROUGHT),
    )
    for dataset in _carried(scope):
        if not dataset.moves:
            run(
                connection,
                sql.SQL("CREATE TABLE IF NOT EXISTS {} AS SELECT ''::text AS {}, {} FROM {} AS d WHERE false").format(
                    _waiting(dataset), sql.Identifier(HOME), key_select(dataset, "d"), source_of(dataset)
                ),
            )


def waiting(connection: psycopg.Connection[Any], scope: Scope, home: Home) -> Keys:
    """The keys of this home's rows that wait for their public half."""
    found: Keys = {}
    for dataset in _carried(scope):
        if not dataset.moves:
            texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in key_names(dataset))
            query = sql.SQL("SELECT {} FROM {} WHERE {} = {}").format(
                texts, _waiting(dataset), sql.Identifier(HOME), sql.Literal(home)
            )
            rows = run(connection, query).fetchall()
            if rows:
                found[dataset.id] = {tuple(str(part) for part in row) for row in rows}
    return found


def bring_back(  # noqa: PLR0913 - both ends, what, of whom, and how finally
    home: psycopg.Connection[Any],
    source: psycopg.Connection[Any],
    scope: Scope,
    keys: dict[DatasetId, Collection[tuple[str, ...]]],
    *,
    of: Home,
    closing: bool,
    ask: Ask | None = None,
    shared: bool = False,
) -> Returned:
    """Write what the home `of` holds of these keys at the source, within transactions of the caller's on both.

    `closing`: nothing waits any more, what lacks a public half comes whole. While a cohort is brought back, `ask` has
    its other homes asked for what is gone here; `shared`: these are keys of its people, and what they have together
    with others is all that comes.
    """
    make_keys(home, scope)
    carrying.make_arrivals(source, scope)
    datasets = [dataset for dataset in _carried(scope) if keys.get(dataset.id)]
    rows = gone = 0
    for dataset in datasets:
        run(home, sql.SQL("DELETE FROM {}").format(keys_of(dataset)))
        carrying.load_keys(home, dataset, keys[dataset.id])
        rows += carrying.carry(home, source, dataset, rows=_theirs(scope, dataset, shared=shared))
        missing = carrying.carry_gone(home, source, dataset, gone=_gone(dataset, key_match(dataset, "d", "x")))
        if ask is not None and missing and dataset.moves and not dataset.sole:
            rows += ask(dataset)
        gone += missing
    waits, owed = 0, Keys()
    for dataset in datasets:
        if dataset.moves:
            owed[dataset.id] = _write_whole(source, scope, dataset)
        else:
            waits += _write_split(source, scope, dataset, of, closing=closing)
    for dataset in reversed(datasets):  # children first: whose a row is may hang on one that goes, too
        if dataset.moves:
            owed[dataset.id] |= _take_away(source, scope, dataset, of)
        else:
            _blank(source, scope, dataset, of)
    return Returned(rows=rows, gone=gone, waiting=waits, owed={name: keys for name, keys in owed.items() if keys})


def note_brought(source: psycopg.Connection[Any], home: Home, position: str) -> None:
    """Note how far this home's log was brought back, in the transaction that brings it."""
    run(
        source,
        sql.SQL("INSERT INTO {} VALUES ({}, {}) ON CONFLICT (home) DO UPDATE SET position = excluded.position").format(
            BROUGHT, sql.Literal(home), sql.Literal(position)
        ),
    )


def brought(source: psycopg.Connection[Any]) -> dict[Home, str]:
    """The positions that were brought back, and may still stand in the homes' logs."""
    return {Home(home): position for home, position in run(source, sql.SQL("SELECT * FROM {}").format(BROUGHT))}


def forget_brought(source: psycopg.Connection[Any], home: Home) -> None:
    """Delete the note, once home's log has forgotten what was brought."""
    run(source, sql.SQL("DELETE FROM {} WHERE home = {}").format(BROUGHT, sql.Literal(home)))


def make_keys(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Make the session's tables of keys, unless it has them."""
    if carrying.is_ready(connection, "keys"):
        return
    for dataset in scope.datasets:
        shape = sql.SQL("SELECT {} FROM {} AS d WHERE false").format(key_select(dataset, "d"), source_of(dataset))
        carrying.create(connection, keys_of(dataset), shape)
    carrying.mark_ready(connection, "keys")


def _carried(scope: Scope) -> tuple[DatasetScope, ...]:
    return tuple(dataset for dataset in scope.datasets if dataset.decided)


def _waiting(dataset: DatasetScope) -> sql.Identifier:
    return staged("wait", dataset.id)


def keys_of_cohort(  # noqa: PLR0913 - where, of whom, and in which order
    connection: psycopg.Connection[Any], scope: Scope, cohort: int, home: Home, *, at_once: int,
    children_first: bool = False,
) -> Iterator[Keys]:  # fmt: skip
    """The keys, on this side, of rows that a cohort's people of that home may have together with others.

    So many of one dataset at a time, in one transaction of a session that does nothing else. With `children_first`
    each still leads to its people when its turn comes, though what it leads over may go.
    """
    for dataset in _carried(scope)[:: -1 if children_first else 1]:
        if not dataset.moves or dataset.sole or not dataset.key:
            continue
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(part) for part in key_expressions(dataset, "d"))
        for path in dataset.paths:
            joins, match = path_join(scope, path, "d")
            query = sql.SQL(
                "SELECT DISTINCT {} FROM {} AS d{} JOIN {} AS s ON {} WHERE s.cohort = {} AND s.home = {}"
            ).format(
                texts, source_of(dataset), joins, movers_of(path.subject), match, sql.Literal(cohort), sql.Literal(home)
            )
            with connection.transaction(), connection.cursor("domicile_shared") as cursor:
                cursor.execute(query)
                while keys := cursor.fetchmany(at_once):
                    yield {dataset.id: {tuple(map(str, key)) for key in keys}}


def carry_kept(
    other: psycopg.Connection[Any], source: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, cohort: int
) -> int:
    """Carry to the source what a cohort's people at this other home have of the rows that are gone at one of theirs.

    These are no longer among those that are to go; return how many.
    """
    names, gone = columns(key_names(dataset)), carrying.gone_of(dataset)
    run(other, sql.SQL("DELETE FROM {}").format(keys_of(dataset)))
    carrying.copy(source, other, sql.SQL("SELECT {} FROM {}").format(names, gone), into=keys_of(dataset), names=names)
    theirs = sql.SQL("{} AND {}").format(
        key_match(dataset, "d", "x"),
        counting(
            scope, dataset, "d", lambda path: leads_to_mover(scope, path, "d", states=("home", "fenced"), cohort=cohort)
        ),
    )
    rows = sql.SQL("SELECT {}, {} FROM {} AS d JOIN {} AS x ON {}").format(
        sql.Literal(How.LAST.value), row_expressions(dataset, "d", blanked=False), source_of(dataset),
        keys_of(dataset), theirs,
    )  # fmt: skip
    found = carrying.carry(other, source, dataset, rows=rows)
    if found:
        run(source, sql.SQL("DELETE FROM {}").format(gone))
        carrying.carry_gone(other, source, dataset, gone=_gone(dataset, theirs))
    return found


def _theirs(scope: Scope, dataset: DatasetScope, *, shared: bool) -> sql.Composable:
    """SELECT of home's rows of the keys that lead to people who live there, and what is to be done with them."""
    outsiders = has_outsiders(scope, dataset, "d")
    # Of who is fenced here to go back, home's row is the only whole one, and from then on nobody brings it any more.
    last = counting(scope, dataset, "d", lambda path: leads_to_mover(scope, path, "d", states=("fenced",)))
    how: sql.Composable = sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
        last, sql.Literal(How.LAST.value), sql.Literal(How.PRIVATE.value)
    )
    which: sql.Composable = sql.SQL(" AND NOT ({})").format(outsiders)
    if dataset.moves:
        last = sql.SQL("true") if shared else last
        how = sql.SQL("CASE WHEN NOT ({}) THEN {} WHEN {} THEN {} ELSE {} END").format(
            outsiders, sql.Literal(How.REPLACE.value), last, sql.Literal(How.LAST.value), sql.Literal(How.ADD.value)
        )
        which = sql.SQL(" AND ({})").format(outsiders)
        if not shared:
            which = sql.SQL(" AND (NOT ({}) OR {} OR {})").format(outsiders, last, _is_new(dataset))
    return sql.SQL("SELECT {} AS how, {} FROM {} AS d JOIN {} AS x ON {} WHERE ({}){}").format(
        how, row_expressions(dataset, "d", blanked=False), source_of(dataset), keys_of(dataset),
        key_match(dataset, "d", "x"), lives_at_home(scope, dataset, "d"), which,
    )  # fmt: skip


def _is_new(dataset: DatasetScope) -> sql.Composable:
    """The condition that home's log says of the key `x` more than that a row was changed: it came, or went and came.

    A row without key is another one once it was changed.
    """
    if not dataset.key:
        return sql.SQL("true")
    return sql.SQL("EXISTS (SELECT FROM {} AS k WHERE k.public AND {})").format(
        log_of(dataset.id), lines_match(dataset, "x", "k")
    )


def _gone(dataset: DatasetScope, match: sql.Composable) -> sql.Composable:
    """SELECT of the keys `x` of which no row `d` is here that they match."""
    names = sql.SQL(", ").join(column("x", name) for name in key_names(dataset))
    return sql.SQL("SELECT {} FROM {} AS x WHERE NOT EXISTS (SELECT FROM {} AS d WHERE {})").format(
        names, keys_of(dataset), source_of(dataset), match
    )


def lives_at_home(scope: Scope, dataset: DatasetScope, row: str, *, home: Home | None = None) -> sql.Composable:
    """The condition that the row leads to somebody who lives at home: at that one; else at any that is listed here."""
    return counting(
        scope, dataset, row, lambda path: leads_to_mover(scope, path, row, states=("home", "fenced"), home=home)
    )


def _write_split(
    connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, home: Home, *, closing: bool
) -> int:
    """Write what is private at the source; return how many rows wait for their public half.

    What is private comes last: a public half that the platform writes meanwhile may be missed by what waits, or comes
    whole, but not by both.
    """
    mine = sql.SQL("DELETE FROM {} WHERE {} = {}")
    run(connection, mine.format(_waiting(dataset), sql.Identifier(HOME), sql.Literal(home)))
    last = (How.PRIVATE, How.LAST) if closing else (How.LAST,)
    carrying.insert(connection, dataset, carrying.arrived(dataset, *last), unless_there=True)
    waits = 0 if closing else _note_waiting(connection, dataset, home)
    _write_private(connection, scope, dataset, home)
    return waits


def _note_waiting(connection: psycopg.Connection[Any], dataset: DatasetScope, home: Home) -> int:
    return run(
        connection,
        sql.SQL("INSERT INTO {} SELECT {}, {} FROM {} AS b WHERE NOT EXISTS (SELECT FROM {} AS d WHERE {})").format(
            _waiting(dataset), sql.Literal(home), key_select(dataset, "b"), carrying.arrived(dataset, How.PRIVATE),
            source_of(dataset), carrying.same_row(dataset, "d", "b"),
        ),
    ).rowcount  # fmt: skip


def _write_whole(connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope) -> set[tuple[str, ...]]:
    """Write whole rows at the source; return the keys of those that are owed to who is on the way."""
    outside, here = _outside(scope, dataset), _here(scope, dataset)
    replacing, new = (
        sql.SQL("(SELECT b.* FROM {} AS b WHERE NOT ({}))").format(
            carrying.arrived(dataset, how), has_outsiders(scope, dataset, "b")
        )
        for how in (How.REPLACE, How.ADD)
    )
    carrying.put(connection, dataset, carrying.Put(using=replacing, spare=(outside,)))
    # Where nobody of the row lives, it is as it was when somebody did; who is brought back has it as it is at home.
    last = carrying.arrived(dataset, How.LAST)
    carrying.delete(connection, dataset, last, carrying.same_row(dataset, "d", "b"), (outside, here))
    return carrying.add(connection, dataset, new) | carrying.add(connection, dataset, last)


def _outside(scope: Scope, dataset: DatasetScope) -> sql.Composable:
    return sql.SQL("({})").format(has_outsiders(scope, dataset, "d"))


def _here(scope: Scope, dataset: DatasetScope) -> sql.Composable:
    """The condition that the row leads to somebody who is at the source, and on the way home."""
    return counting(scope, dataset, "d", lambda path: leads_to_mover(scope, path, "d", states=("moving", "fenced")))


def _take_away(
    connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, home: Home
) -> set[tuple[str, ...]]:
    """Delete at the source what is gone at home; return the keys of those that are owed to who is on the way."""
    outside, here = _outside(scope, dataset), _here(scope, dataset)
    # A home may hold rows of another home's people beside its own: that they are gone there means nothing here.
    stranger = sql.SQL("NOT ({})").format(lives_at_home(scope, dataset, "d", home=home))
    gone, match = carrying.gone_of(dataset), carrying.gone_match(dataset)
    carrying.delete(connection, dataset, gone, match, (outside, stranger, here))
    if dataset.sole:
        return set()
    last, same = carrying.arrived(dataset, How.LAST), carrying.same_row(dataset, "d", "b")
    return _left_alone(connection, dataset, gone, match, here) | _left_alone(connection, dataset, last, same, here)


def _left_alone(
    connection: psycopg.Connection[Any], dataset: DatasetScope, using: sql.Composable, match: sql.Composable,
    here: sql.Composable,
) -> set[tuple[str, ...]]:  # fmt: skip
    """The keys of rows that are gone at a home, and that somebody at the source still has who is on the way."""
    keys = sql.SQL(", ").join(sql.SQL("{}::text").format(part) for part in key_expressions(dataset, "d"))
    query = sql.SQL("SELECT {} FROM {} AS d JOIN {} AS b ON {} WHERE {}").format(
        keys, source_of(dataset), using, match, here
    )
    return {tuple(map(str, key)) for key in run(connection, query)}


def _write_private(connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, home: Home) -> None:
    private = tuple(blank.column for blank in dataset.blanks)
    stranger = sql.SQL("NOT ({})").format(lives_at_home(scope, dataset, "d", home=home))
    arrived = carrying.arrived(dataset, How.PRIVATE, How.LAST)
    carrying.update(connection, dataset, private, arrived, (stranger,))


def _blank(connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, home: Home) -> None:
    """Blank what is private at the source of split rows that are gone at home."""
    stranger = sql.SQL("NOT ({})").format(lives_at_home(scope, dataset, "d", home=home))
    types = {item.name: item.type for item in dataset.columns}
    sets = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(
            sql.Identifier(blank.column), stand_in(dataset, blank, types[blank.column], "d", STAGING)
        )
        for blank in dataset.blanks
        if blank.column in types
    )
    run(
        connection,
        sql.SQL("UPDATE {} AS d SET {} FROM {} AS b WHERE {} AND NOT ({})").format(
            source_of(dataset), sets, carrying.gone_of(dataset), carrying.gone_match(dataset), stranger
        ),
    )
