"""The closure of some keys: which rows of them belong at which home now, by the builders of the whole closure.

Works in one repeatable-read transaction at the source, so that all it says is true of one moment, and in temporary
tables: `x_…` the keys, `w_…` lines and `o_…` owners as the closure has them, `h_…` keys of rows whose people live at
home already (home is their authority), `p_…` people whose market changed, `n_…` what a home asks for. What people who
changed market, or rows on the way from other rows to people, lead to is settled with them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domicile.errors import Undecided
from domicile.model import DatasetId, DatasetScope, Fate, Form, Home, Kind, Path, Scope, Step
from domicile.stores.postgres.closure import needs, owners
from domicile.stores.postgres.closure.market import movers_query
from domicile.stores.postgres.closure.work import Work
from domicile.stores.postgres.comparing import compare_each
from domicile.stores.postgres.live.carrying import (
    TEMPORARY,
    create,
    is_ready,
    keys_of,
    load_keys,
    mark_ready,
    wanted_of,
)
from domicile.stores.postgres.names import (
    STAGING,
    column,
    key_match,
    key_names,
    key_select,
    lines_match,
    movers_of,
    source_of,
    staged,
)
from domicile.stores.postgres.paths import follow, path_join, same_person
from domicile.stores.postgres.readings import opened, refers
from domicile.stores.postgres.session import number

ASKED_MAX = 50
ROUNDS_OF_A_HOME = 1_000_000
ROUNDS_OF_A_TIME = 10_000
Keys = Mapping[DatasetId, Collection[tuple[str, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta(Work):
    """The closure of the keys in `x_…`; people at home count as people who stay: their rows are not the source's."""

    def movers(self, kind: DatasetId) -> sql.Composable:
        """The people who are to go home and are not there yet."""
        return sql.SQL("(SELECT y.key, y.home FROM {} AS y WHERE y.state <> 'home')").format(movers_of(kind))

    def rows(self, dataset: DatasetScope) -> sql.Composable:
        """The rows of the keys."""
        return sql.SQL("(SELECT c.* FROM {} AS c JOIN {} AS x ON {})").format(
            source_of(dataset), keys_of(dataset), key_match(dataset, "c", "x")
        )

    def lines(self, dataset: DatasetScope) -> sql.Identifier:
        """The lines of the keys."""
        return staged("w", dataset.id, TEMPORARY)

    def owners(self, dataset: DatasetScope) -> sql.Identifier:
        """Whom the rows of the keys lead to."""
        return staged("o", dataset.id, TEMPORARY)

    def at_home(self, dataset: DatasetScope) -> sql.Identifier:
        """Keys of rows that lead to people at home: key, home."""
        return staged("h", dataset.id, TEMPORARY)

    def changed_people(self, kind: DatasetId) -> sql.Identifier:
        """People whose market is another than the one noted: key, home, was."""
        return staged("p", kind, TEMPORARY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What one settling found: the datasets with keys to look at, those with rows that others need, counts.

    `astray` are people who are fenced, and whose market is not the one that they are about to go home to.
    """

    work: Delta
    keyed: tuple[DatasetScope, ...]
    needed: tuple[DatasetScope, ...]
    keys: int
    people: int
    astray: int = 0


def make_tables(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Make the session's temporary tables, unless it has them."""
    if is_ready(connection, "delta"):
        return
    for dataset in scope.datasets:
        key = sql.SQL("SELECT {} FROM {} AS d WHERE false").format(key_select(dataset, "d"), source_of(dataset))
        create(connection, keys_of(dataset), key)
        extra = sql.SQL("SELECT ''::text AS part, ''::text AS form, ''::text AS fate, 0 AS round, q.* FROM ({}) AS q")
        create(connection, staged("w", dataset.id, TEMPORARY), extra.format(key))
        create(connection, wanted_of(dataset), sql.SQL("SELECT ''::text AS form, q.* FROM ({}) AS q").format(key))
        if dataset.owned:
            homes = sql.SQL("SELECT ''::text AS home, q.* FROM ({}) AS q").format(key)
            create(connection, staged("h", dataset.id, TEMPORARY), homes)
            led = sql.SQL("SELECT 0 AS path, ''::text AS home, q.* FROM ({}) AS q").format(key)
            create(connection, staged("o", dataset.id, TEMPORARY), led)
    for kind in scope.kinds:
        people = sql.SQL("SELECT m.key, m.home, m.home AS was FROM {} AS m WHERE false").format(movers_of(kind.dataset))
        create(connection, staged("p", kind.dataset, TEMPORARY), people)
    mark_ready(connection, "delta")


def settle(connection: psycopg.Connection[Any], scope: Scope, keys: Keys, *, cohort: int | None = None) -> Settled:
    """Say where the rows of these keys belong now. Raises Undecided where a row needs a rule that the file lacks.

    Whoever is in the `cohort` is asked for their market, whatever changed: a step that was let go may have heard of it.
    """
    work = Delta(connection=connection, scope=scope, schema=STAGING)
    make_tables(connection, scope)
    keyed = {dataset: len(found) for dataset, found in keys.items() if found}
    for dataset in keyed:
        load_keys(connection, scope.dataset(dataset), keys[dataset])
    asked = {kind: _asked(work, kind, set(keyed), cohort) for kind in scope.kinds}
    astray = sum(_astray(work, kind, keys) for kind, keys in asked.items() if keys)
    people = sum(_people(work, kind, keys) for kind, keys in asked.items() if keys)
    touched = set(keyed)
    for kind in scope.kinds if people else ():
        touched |= _rows_of_people(work, kind)
    touched |= _rows_beyond_links(work, touched)
    _decide(work, [dataset for dataset in scope.datasets if dataset.id in touched])
    grown = _needs(work, frozenset(touched))
    needed = tuple(dataset for dataset in scope.datasets if dataset.id in grown)
    return Settled(
        work=work,
        keyed=tuple(dataset for dataset in scope.datasets if dataset.id in touched),
        needed=needed,
        keys=sum(keyed.values()),
        people=people,
        astray=astray,
    )


def settle_more(connection: psycopg.Connection[Any], scope: Scope, keys: Keys) -> Settled:
    """The same of more keys, in the transaction of a settling that is done with."""
    make_tables(connection, scope)
    _forget(Delta(connection=connection, scope=scope, schema=STAGING))
    return settle(connection, scope, keys)


def settle_cohort(connection: psycopg.Connection[Any], scope: Scope, cohort: int) -> Settled:
    """Say where all rows of one cohort's people belong, in the transaction of a settling that is done with."""
    work = Delta(connection=connection, scope=scope, schema=STAGING)
    make_tables(connection, scope)
    _forget(work)
    touched: set[DatasetId] = set()
    for kind in scope.kinds:
        work.run(
            sql.SQL("INSERT INTO {} SELECT key, home, home FROM {} WHERE cohort = {}").format(
                work.changed_people(kind.dataset), movers_of(kind.dataset), sql.Literal(cohort)
            )
        )
        touched |= _rows_of_people(work, kind)
    keyed = tuple(dataset for dataset in scope.datasets if dataset.id in touched)
    _decide(work, keyed)
    return Settled(work=work, keyed=keyed, needed=(), keys=0, people=0)


def follow_wanted(
    settled: Settled, home: Home, wanted: Iterable[DatasetScope], *, times: int
) -> tuple[int, tuple[DatasetScope, ...]]:
    """Add lines for the keys that a home asks for (`n_…`) and for all that their rows refer to.

    Returns the first round of these lines, and the datasets that have any.
    """
    work, asked = settled.work, tuple(wanted)
    after = ROUNDS_OF_A_HOME * (1 + work.scope.homes.index(home)) + ROUNDS_OF_A_TIME * times
    for dataset in asked:
        names = work.names(dataset)
        work.run(
            sql.SQL(
                "INSERT INTO {lines} (part, form, fate, round, {names}) SELECT {home}, n.form, {keep}, {round}, {keys}"
                " FROM {wanted} AS n WHERE NOT EXISTS (SELECT FROM {lines} AS w WHERE w.part = {home} AND {same}"
                " AND w.form IN (n.form, {whole}))"
            ).format(
                lines=work.lines(dataset), names=names, home=sql.Literal(home), keep=sql.Literal(Fate.KEEP.value),
                round=sql.Literal(after), wanted=wanted_of(dataset), same=lines_match(dataset, "w", "n"),
                keys=sql.SQL(", ").join(column("n", name) for name in key_names(dataset)),
                whole=sql.Literal(Form.WHOLE.value),
            )
        )  # fmt: skip
    _refuse(needs.of_home(work, children=frozenset(dataset.id for dataset in asked), after=after))
    found = _lined(work, sql.SQL("w.round >= {} AND w.part = {}").format(sql.Literal(after), sql.Literal(home)))
    return after, tuple(dataset for dataset in work.scope.datasets if dataset.id in found)


def _forget(work: Delta) -> None:
    """Empty the tables in the middle of a transaction."""
    for dataset in work.scope.datasets:
        names = [keys_of(dataset), work.lines(dataset)]
        names += [work.at_home(dataset), work.owners(dataset)] if dataset.owned else []
        for name in names:
            work.run(sql.SQL("DELETE FROM {}").format(name))
    for kind in work.scope.kinds:
        work.run(sql.SQL("DELETE FROM {}").format(work.changed_people(kind.dataset)))


# -- people whose market changed ---------------------------------------------------------------------------------


def _asked(work: Delta, kind: Kind, keyed: Collection[DatasetId], cohort: int | None) -> sql.Composable | None:
    """The keys of the people whose market is asked for, as a row item; None where nobody's is."""
    candidates = list(_candidates(work, kind, keyed))
    if cohort is not None:
        candidates.append(
            sql.SQL("SELECT key FROM {} WHERE cohort = {}").format(movers_of(kind.dataset), sql.Literal(cohort))
        )
    return (
        sql.SQL("(SELECT DISTINCT key FROM ({}) AS q)").format(sql.SQL(" UNION ALL ").join(candidates))
        if candidates
        else None
    )


def _found(work: Delta, kind: Kind, asked: sql.Composable) -> sql.Composable:
    """FROM whom was asked (a), where they belong now (n) and where they were to go (s), where the two differ."""
    scope, people = work.scope, source_of(work.scope.dataset(kind.dataset))
    row = sql.SQL("(SELECT y.* FROM {} AS y JOIN {} AS a ON {})").format(
        people, asked, same_person(scope, kind.dataset, column("a", "key"), column("y", kind.key))
    )
    return sql.SQL(
        "FROM {asked} AS a LEFT JOIN ({now}) AS n ON {new} LEFT JOIN {movers} AS s ON {old}"
        " WHERE n.home IS DISTINCT FROM s.home"
    ).format(
        asked=asked, movers=movers_of(kind.dataset), now=movers_query(scope, kind, schema=STAGING, row=row),
        new=same_person(scope, kind.dataset, column("n", "key"), column("a", "key")),
        old=same_person(scope, kind.dataset, column("s", "key"), column("a", "key")),
    )  # fmt: skip


def _astray(work: Delta, kind: Kind, asked: sql.Composable) -> int:
    """How many who are fenced were to go where they don't belong any more: who changes market just then."""
    counted = sql.SQL("SELECT count(*) {} AND s.state = 'fenced'").format(_found(work, kind, asked))
    row = work.run(counted).fetchone()
    return int(row[0]) if row else 0


def _people(work: Delta, kind: Kind, asked: sql.Composable) -> int:
    """Note who came into a market, left it, or goes to another home; those who are at home stay there."""
    found = work.run(
        sql.SQL("INSERT INTO {} SELECT a.key, n.home, s.home {} AND (s.state IS NULL OR s.state = 'moving')").format(
            work.changed_people(kind.dataset), _found(work, kind, asked)
        )
    ).rowcount
    if found:
        _note_people(work, kind)
    return found


def _note_people(work: Delta, kind: Kind) -> None:
    same = same_person(work.scope, kind.dataset, column("p", "key"), column("s", "key"))
    changed, movers = work.changed_people(kind.dataset), movers_of(kind.dataset)
    work.run(sql.SQL("DELETE FROM {} AS s USING {} AS p WHERE {}").format(movers, changed, same))
    work.run(
        sql.SQL("INSERT INTO {} (key, home, state) SELECT key, home, 'moving' FROM {} WHERE home IS NOT NULL").format(
            movers, changed
        )
    )


def _candidates(work: Delta, kind: Kind, keyed: Collection[DatasetId]) -> Iterator[sql.Composable]:
    """SELECTs of the keys of people whose own row changed, or a row that tells their market."""
    dataset = work.scope.dataset(kind.dataset)
    if kind.dataset in keyed:
        if dataset.key == (kind.key,):
            yield sql.SQL("SELECT x.key_1 AS key FROM {} AS x").format(keys_of(dataset))
        else:
            yield sql.SQL("SELECT d.{} AS key FROM {} AS d").format(sql.Identifier(kind.key), work.rows(dataset))
    person = sql.SQL("d.{} AS key").format(sql.Identifier(kind.key))
    for piece in kind.market.evidence:
        yield from _passing(work, dataset, piece.steps, person, keyed)


def _rows_of_people(work: Delta, kind: Kind) -> set[DatasetId]:
    """Add all rows that lead to the people whose market changed."""
    touched: set[DatasetId] = set()
    for dataset in work.scope.datasets:
        for path in dataset.paths if dataset.decided else ():
            if path.subject == kind.dataset and _add(work, dataset, _leading(work, dataset, path)):
                touched.add(dataset.id)
    return touched


def _leading(work: Delta, dataset: DatasetScope, path: Path) -> sql.Composable:
    joins, match = path_join(work.scope, path, "d")
    return sql.SQL("SELECT DISTINCT {} FROM {} AS d{} JOIN {} AS s ON {}").format(
        key_select(dataset, "d"), source_of(dataset), joins, work.changed_people(path.subject), match
    )


# -- rows whose way to people leads over changed rows --------------------------------------------------------------


def _rows_beyond_links(work: Delta, keyed: Collection[DatasetId]) -> set[DatasetId]:
    """Add the rows whose path leads over a changed row that is nobody's own."""
    touched: set[DatasetId] = set()
    for dataset in work.scope.datasets:
        for path in dataset.paths if dataset.decided else ():
            for query in _passing(work, dataset, path.steps[:-1], key_select(dataset, "d"), keyed):
                if _add(work, dataset, query):
                    touched.add(dataset.id)
    return touched


def _passing(
    work: Delta, dataset: DatasetScope, steps: tuple[Step, ...], wanted: sql.Composable, keyed: Collection[DatasetId]
) -> Iterator[sql.Composable]:
    """SELECTs of `wanted` of the rows `d` whose steps lead over a keyed row, gone or not where its key is known."""
    for at, step in enumerate(steps):
        link = next((one for one in work.scope.datasets if one.table == step.table), None)
        if link is None or link.id not in keyed:
            continue
        if step.reading is None and not step.down and step.to_columns == link.key:
            joins, here = follow(work.scope, steps[:at], "d")
            far = [column("x", name) for name in key_names(link)]
            match = compare_each(step.comparisons, far, [column(here, name) for name in step.columns])
        else:
            joins, here = follow(work.scope, steps[: at + 1], "d")
            match = key_match(link, here, "x")
        yield sql.SQL("SELECT DISTINCT {} FROM {} AS d{} JOIN {} AS x ON {}").format(
            wanted, source_of(dataset), joins, keys_of(link), match
        )


def _add(work: Delta, dataset: DatasetScope, found: sql.Composable) -> int:
    """Add keys to those that are settled; return how many are new."""
    names = key_names(dataset)
    same: sql.Composable = sql.SQL(" AND ").join(
        sql.SQL("x.{0} = q.{0}").format(sql.Identifier(name)) if not dataset.key_comparisons else sql.SQL("true")
        for name in names
    )
    if dataset.key_comparisons:
        same = compare_each(
            dataset.key_comparisons, [column("x", name) for name in names], [column("q", name) for name in names]
        )
    return work.run(
        sql.SQL("INSERT INTO {x} SELECT * FROM ({found}) AS q WHERE NOT EXISTS (SELECT FROM {x} AS x WHERE {same})")
        .format(x=keys_of(dataset), found=found, same=same)
    ).rowcount  # fmt: skip


# -- lines ---------------------------------------------------------------------------------------------------------


def _decide(work: Delta, datasets: Iterable[DatasetScope]) -> None:
    for dataset in datasets:
        if dataset.owned:
            _note_at_home(work, dataset)
        if not dataset.decided:
            continue
        if dataset.sole:
            work.run(sql.SQL("INSERT INTO {} {}").format(work.lines(dataset), owners.sole_lines(work, dataset)))
        else:
            owners.fill_owners(work, dataset)
            _refuse(owners.decide(work, dataset))


def _note_at_home(work: Delta, dataset: DatasetScope) -> None:
    """Note the rows that lead to people who live at home already."""
    for path in dataset.paths:
        joins, match = path_join(work.scope, path, "d")
        work.run(
            sql.SQL(
                "INSERT INTO {} SELECT DISTINCT s.home, {} FROM {} AS d{} JOIN (SELECT y.key, y.home FROM {} AS y"
                " WHERE y.state = 'home') AS s ON {}"
            ).format(
                work.at_home(dataset), key_select(dataset, "d"), work.rows(dataset), joins, movers_of(path.subject),
                match,
            )
        )  # fmt: skip


def _needs(work: Delta, touched: frozenset[DatasetId]) -> set[DatasetId]:
    """Add the rows that those on their way home refer to; return their datasets."""
    _refuse(needs.of_home(work, children=touched))
    for edge in work.scope.edges:
        if edge.child in touched and work.scope.dataset(edge.parent).moves and needs.refuses_at_home(work.scope, edge):
            child, parent = work.scope.dataset(edge.child), work.scope.dataset(edge.parent)
            ways = [(*path_join(work.scope, path, "p"), path) for path in parent.paths]
            theirs = sql.SQL(" OR ").join(
                sql.SQL("EXISTS (SELECT FROM (SELECT p.*) AS p{} JOIN {} AS s ON {} WHERE s.home = w.part)").format(
                    joins, movers_of(path.subject), match
                )
                for joins, match, path in ways
            )
            count = number(
                work.connection,
                sql.SQL(
                    "SELECT count(*) FROM {} AS w JOIN {} AS c ON {}{} JOIN {} AS p ON {} WHERE w.form = 'whole'"
                    " AND NOT ({})"
                ).format(
                    work.lines(child), source_of(child), key_match(child, "c", "w"),
                    opened(edge, "c", schema=STAGING), source_of(parent), refers(edge, "c", "p"), theirs,
                ),
            )  # fmt: skip
            if count:
                raise Undecided(
                    f"{edge.where}: {count} rows on their way home refer to rows of {edge.parent} that are somebody "
                    "else's; `domicile plan` says which rule the file lacks"
                )
    return _lined(work, sql.SQL("w.round > 0"))


def _lined(work: Delta, condition: sql.Composable) -> set[DatasetId]:
    """The datasets that have lines `w` of that condition."""
    each = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {} AS w WHERE {})").format(
            sql.Literal(dataset.id), work.lines(dataset), condition
        )
        for dataset in work.scope.datasets
    )
    return {DatasetId(name) for (name,) in work.run(each)}


def _refuse(findings: Iterable[Any]) -> None:
    open_ones = [finding for finding in findings if finding.remedy is not None]
    if open_ones:
        lines = "\n".join(f"- {finding.where}: {finding.text}; add\n{finding.remedy}" for finding in open_ones)
        raise Undecided(f"rows came that need a rule which domicile.yaml does not give:\n{lines}")
