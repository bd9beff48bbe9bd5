"""One row traced in SQL: hops, people, evidence, and who else needs it (see `domicile.stores.traces`).

Everything happens in one transaction that is rolled back. The key that was asked for stands in settings of that
transaction, never in the text of a statement, where logs and pg_stat_statements would keep it (P8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from domicile.config.conditions import qualify_condition
from domicile.model import DatasetScope, Edge, Fate, Form, Home, Kind, Path, Scope, Step
from domicile.stores.postgres import elsewhere
from domicile.stores.postgres.closure import Work, compute, number
from domicile.stores.postgres.closure.market import home_expression, markets_query, told_query
from domicile.stores.postgres.closure.work import is_everywhere
from domicile.stores.postgres.fence import create_staging
from domicile.stores.postgres.names import (
    STAGING,
    column,
    key_expressions,
    key_match,
    key_names,
    movers_of,
    source_of,
    staged,
)
from domicile.stores.postgres.paths import follow, leads_to_anyone, lives_elsewhere
from domicile.stores.postgres.readings import as_key, json_function, opened, references, refers, unreadable
from domicile.stores.postgres.session import run
from domicile.stores.traces import (
    LISTED_MAX,
    HopTrace,
    NeedTrace,
    PathTrace,
    PersonTrace,
    RowKey,
    RowLine,
    Told,
    Trace,
    key_digest,
    told_once,
)

CHILDREN_NAMED = 3
FETCHED_ROWS = 10_000
UNBOUNDED = {"character": "bpchar", "bit": "varbit"}  # by their own names these are one character, one bit
SURVEY = "domicile_survey"


@contextmanager
def traced_world(connection: psycopg.Connection[Any], scope: Scope, *, frozen: bool, survey: bool) -> Iterator[str]:
    """A moment in which rows can be traced, in the schema that is yielded; nothing of it stays."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ" + (" READ ONLY" if frozen else ""))
    try:
        if frozen:
            yield STAGING
            return
        if survey:
            create_staging(connection, scope, SURVEY)
            run(connection, sql.SQL("INSERT INTO {} VALUES ('survey')").format(sql.Identifier(SURVEY, "token")))
            work = Work(connection=connection, scope=scope, schema=SURVEY)
            for _ in compute(work):
                pass
            number(work)
        else:
            run(connection, sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SURVEY)))
            run(connection, json_function(SURVEY))
            elsewhere.list_people(connection, scope, SURVEY)
        yield SURVEY
    finally:
        if not connection.closed:
            connection.execute("ROLLBACK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracer:
    """One moment; `computed` says whether the schema holds movers and manifest."""

    connection: psycopg.Connection[Any]
    scope: Scope
    schema: str
    digest_key: bytes
    computed: bool
    frozen: bool

    def trace(self, dataset: DatasetScope, texts: tuple[str, ...]) -> Trace | None:
        """Trace the row of that key; None where there is none, nor a line of it."""
        if not self._ask(dataset, texts):
            return None
        found = self._one(dataset)
        lines = tuple(self._lines(dataset)) if self.computed else None
        if found is None and not lines:
            return None
        return Trace(
            dataset=dataset.id, key=found or self._key(dataset, texts), present=found is not None, frozen=self.frozen,
            paths=tuple(self._path(dataset, path) for path in dataset.paths) if found else (),
            needs=(tuple(self._needs(dataset)) if found else ()) if self.computed else None,
            lines=lines,
        )  # fmt: skip

    def _ask(self, dataset: DatasetScope, texts: tuple[str, ...]) -> bool:
        """Put the key into settings; false when a text can't be such a key."""
        for place, text in enumerate(texts, start=1):
            self.connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (_setting(place), text))
        casts = [sql.SQL("{}::{}").format(_asked_text(place), kind) for place, kind in enumerate(_kinds(dataset), 1)]
        with suppress(psycopg.DataError), self.connection.transaction():
            run(self.connection, sql.SQL("SELECT {}").format(sql.SQL(", ").join(casts)))
            return True
        return False

    def _one(self, dataset: DatasetScope) -> RowKey | None:
        query = sql.SQL("SELECT {} FROM {}").format(_key_texts(dataset, "d"), _row(dataset))
        row = run(self.connection, query).fetchone()
        return self._key(dataset, row[0]) if row else None

    def _key(self, dataset: DatasetScope, texts: Sequence[str]) -> RowKey:
        return RowKey(digest=key_digest(self.digest_key, dataset.id, texts), texts=tuple(texts))

    def _lines(self, dataset: DatasetScope) -> Iterator[RowLine]:
        query = sql.SQL("SELECT part, form, fate, owner IS NOT NULL AND owner = part FROM {} AS m WHERE {}").format(
            staged("m", dataset.id, self.schema), _asked(dataset, key_names(dataset), "m")
        )
        for part, form, fate, owned in run(self.connection, query).fetchall():
            yield RowLine(part=part, form=Form(form), fate=Fate(fate), owned=owned)

    # -- paths ---------------------------------------------------------------------------------------------------

    def _path(self, dataset: DatasetScope, path: Path) -> PathTrace:
        kind = self.scope.kind(path.subject)
        people = self._people(dataset, path, kind)
        return PathTrace(
            hops=tuple(self._hop(dataset, path, number) for number in range(len(path.steps))),
            people=tuple(self._persons(kind, people)),
            destinations=tuple(self._destinations(kind, people)),
        )

    def _hop(self, dataset: DatasetScope, path: Path, number: int) -> HopTrace:
        step = path.steps[number]
        before = self._table(dataset, path, number)
        joins, here = follow(self.scope, path.steps[:number], "d", schema=self.schema)
        starts = sql.SQL(
            "(SELECT DISTINCT ON (k.k) {here}.* FROM {row}{joins} CROSS JOIN LATERAL (SELECT {key}) AS k(k))"
        ).format(here=sql.Identifier(here), row=_row(dataset), joins=joins, key=_key_texts(before, here))
        alone = replace(path, steps=(step,))
        query = sql.SQL(
            "SELECT count(*), count(*) FILTER (WHERE NOT w), count(*) FILTER (WHERE w AND u),"
            " count(*) FILTER (WHERE w AND NOT u AND NOT n), count(*) FILTER (WHERE w AND NOT u AND n AND NOT f)"
            " FROM (SELECT {when} AS w, {unreadable} AS u, {names} AS n, {finds} AS f FROM {starts} AS b) AS x"
        ).format(
            when=_when(step, "b"), unreadable=_unreadable(step, "b", self.schema),
            names=_names_any(step, "b", self.schema), finds=leads_to_anyone(self.scope, alone, "b", schema=self.schema),
            starts=starts,
        )  # fmt: skip
        rows, when, broken, null, nothing = run(self.connection, query).fetchone() or (0, 0, 0, 0, 0)
        found = self._found(dataset, path, number + 1)
        return HopTrace(rows=rows, when=when, unreadable=broken, null=null, nothing=nothing, found=found)

    def _found(self, dataset: DatasetScope, path: Path, hops: int) -> int:
        joins, here = follow(self.scope, path.steps[:hops], "d", schema=self.schema)
        query = sql.SQL("SELECT count(DISTINCT {}) FROM {}{}").format(
            _key_texts(self._table(dataset, path, hops), here), _row(dataset), joins
        )
        row = run(self.connection, query).fetchone()
        return int(row[0]) if row else 0

    def _table(self, dataset: DatasetScope, path: Path, hops: int) -> DatasetScope:
        """The dataset in which so many hops end."""
        if not hops:
            return dataset
        return next(item for item in self.scope.datasets if item.table == path.steps[hops - 1].table)

    def _people(self, dataset: DatasetScope, path: Path, kind: Kind) -> sql.Composable:
        """A FROM item: the own rows of the people at the end of the path."""
        joins, last = follow(self.scope, path.steps, "d", schema=self.schema)
        return sql.SQL("(SELECT q.* FROM {people} AS q WHERE q.{key} IN (SELECT {found} FROM {row}{joins}))").format(
            people=source_of(self.scope.dataset(kind.dataset)), key=sql.Identifier(kind.key),
            found=column(last, kind.key), row=_row(dataset), joins=joins,
        )  # fmt: skip

    def _destinations(self, kind: Kind, people: sql.Composable) -> Iterator[tuple[Home | None, int]]:
        query = sql.SQL("SELECT h.home, count(*) FROM ({}) AS h WHERE h.home IS NOT NULL OR NOT {} GROUP BY 1").format(
            self._homes(kind, people), self._elsewhere(kind)
        )
        counted = dict(run(self.connection, query).fetchall())
        for home in (*self.scope.homes, None):
            if counted.get(home):
                yield home, counted[home]

    def _homes(self, kind: Kind, people: sql.Composable) -> sql.Composable:
        """SELECT key, home (null: stays) of the people."""
        if self.computed:
            return sql.SQL(
                "SELECT q.{key} AS key, s.home FROM {people} AS q LEFT JOIN {movers} AS s ON s.key = q.{key}"
            ).format(key=sql.Identifier(kind.key), people=people, movers=movers_of(kind.dataset, self.schema))
        told = markets_query(self.scope, kind, schema=self.schema, row=people)
        return sql.SQL("SELECT h.key, CASE WHEN NOT {} THEN {} END AS home FROM ({}) AS h").format(
            self._elsewhere(kind), home_expression(kind.market, "h"), told
        )

    def _elsewhere(self, kind: Kind) -> sql.Composable:
        """The condition that `h` lives at the home of another programme."""
        return lives_elsewhere(self.scope, kind.dataset, column("h", "key"), schema=self.schema)

    def _persons(self, kind: Kind, people: sql.Composable) -> Iterator[PersonTrace]:
        dataset = self.scope.dataset(kind.dataset)
        first = sql.SQL('(SELECT q.* FROM {} AS q ORDER BY {} COLLATE "C" LIMIT {})').format(
            people, _key_texts(dataset, "q"), sql.Literal(LISTED_MAX)
        )
        query = sql.SQL("SELECT h.key::text, h.home, {} FROM ({}) AS h").format(
            self._elsewhere(kind), self._homes(kind, first)
        )
        homes = {key: (home, away) for key, home, away in run(self.connection, query)}
        told: dict[str, list[Told]] = {}
        for key, piece, market, newest, dated in run(
            self.connection, told_query(self.scope, kind, first, schema=self.schema)
        ):
            home = dict(kind.market.homes).get(market)
            told.setdefault(key, []).append(
                Told(piece=piece, market=market, home=Home(home) if home else None, newest=newest, dated=dated)
            )
        query = sql.SQL('SELECT {0}, q.{1}::text FROM {2} AS q ORDER BY {0} COLLATE "C"').format(
            _key_texts(dataset, "q"), sql.Identifier(kind.key), first
        )
        for texts, key in run(self.connection, query).fetchall():
            yield PersonTrace(
                kind=kind.dataset, key=self._key(dataset, texts),
                told=told_once(told.get(key, ())), home=homes[key][0], elsewhere=homes[key][1],
            )  # fmt: skip

    # -- needs ---------------------------------------------------------------------------------------------------

    def _needs(self, dataset: DatasetScope) -> Iterator[NeedTrace]:
        for place, edge in enumerate(self.scope.edges):
            if edge.parent == dataset.id:
                child = self.scope.dataset(edge.child)
                for home in self.scope.homes:
                    yield from self._need(dataset, place, edge, home, self._lies(edge, child, home))
                yield from self._need(dataset, place, edge, None, self._stays(edge, child))

    def _need(
        self, dataset: DatasetScope, place: int, edge: Edge, home: Home | None, condition: sql.Composable
    ) -> Iterator[NeedTrace]:
        child = self.scope.dataset(edge.child)
        rows = sql.SQL("SELECT DISTINCT {} AS k FROM {} AS c{} JOIN {} ON {} WHERE {}").format(
            _key_texts(child, "c"), source_of(child), opened(edge, "c", schema=self.schema), _row(dataset),
            refers(edge, "c", "d"), condition,
        )  # fmt: skip
        query = sql.SQL('SELECT k, count(*) OVER () FROM ({}) AS x ORDER BY k COLLATE "C" LIMIT {}').format(
            rows, sql.Literal(CHILDREN_NAMED)
        )
        found = run(self.connection, query).fetchall()
        if found:
            yield NeedTrace(
                edge=place, home=home, children=found[0][1],
                first=tuple(self._key(child, texts) for texts, _ in found),
            )  # fmt: skip

    def _lies(self, edge: Edge, child: DatasetScope, home: Home) -> sql.Composable:
        """Whether child row `c` comes to lie at the home with its reference."""
        blanked = _is_blanked(child, edge)
        if is_everywhere(child) and not blanked:
            return sql.SQL("true")
        return sql.SQL("EXISTS (SELECT FROM {} AS m WHERE m.part = {} AND {}{})").format(
            staged("m", child.id, self.schema), sql.Literal(home), key_match(child, "c", "m"),
            sql.SQL(" AND m.form <> {}").format(sql.Literal(Form.SKELETON.value)) if blanked else sql.SQL(""),
        )  # fmt: skip

    def _stays(self, edge: Edge, child: DatasetScope) -> sql.Composable:
        """Whether child row `c` stays at the source with its reference."""
        gone = [Fate.DELETE.value, *([Fate.BLANK.value] if _is_blanked(child, edge) else [])]
        return sql.SQL("NOT EXISTS (SELECT FROM {} AS m WHERE m.fate = ANY({}) AND {})").format(
            staged("m", child.id, self.schema), sql.Literal(gone), key_match(child, "c", "m")
        )


def find_key(
    connection: psycopg.Connection[Any], dataset: DatasetScope, digest: str, *, key: bytes, rows_max: int
) -> tuple[str, ...] | None:
    """Look for the key of that digest among the first rows in key order, reading keys only, a few at a time."""
    order = (
        sql.SQL(" ORDER BY {}").format(sql.SQL(", ").join(key_expressions(dataset, "d")))
        if dataset.key
        else sql.SQL("")
    )
    query = sql.SQL("SELECT {} FROM {} AS d{} LIMIT {}").format(
        _key_texts(dataset, "d"), source_of(dataset), order, sql.Literal(rows_max)
    )
    with connection.transaction(force_rollback=True), connection.cursor(name="domicile_keys") as cursor:
        cursor.itersize = FETCHED_ROWS
        for (texts,) in cursor.execute(query):
            if key_digest(key, dataset.id, texts) == digest:
                return tuple(texts)
    return None


def _row(dataset: DatasetScope) -> sql.Composable:
    """The FROM item `d`: the row that was asked for."""
    return sql.SQL("(SELECT t.* FROM {} AS t WHERE {} LIMIT 1) AS d").format(
        source_of(dataset), _asked(dataset, dataset.key, "t")
    )


def _asked(dataset: DatasetScope, names: tuple[str, ...], alias: str) -> sql.Composable:
    """The condition that `alias` has the key that was asked for, under these names."""
    mine = [column(alias, name) for name in names] or list(key_expressions(dataset, alias))
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}::{}").format(item, _asked_text(place), kind)
        for place, (item, kind) in enumerate(zip(mine, _kinds(dataset), strict=True), start=1)
    )


def _kinds(dataset: DatasetScope) -> list[sql.Composable]:
    """The types of the key's columns."""
    bases = {item.name: item.base for item in dataset.columns}
    return [sql.SQL(UNBOUNDED.get(bases[name], bases[name])) for name in dataset.key] or [sql.SQL("text")]


def _setting(place: int) -> str:
    return f"domicile.key_{place}"


def _asked_text(place: int) -> sql.Composable:
    return sql.SQL("pg_catalog.current_setting({})").format(sql.Literal(_setting(place)))


def _key_texts(dataset: DatasetScope, alias: str) -> sql.Composable:
    """The row's key as an array of texts."""
    return sql.SQL("ARRAY[{}]").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(item) for item in key_expressions(dataset, alias))
    )


def _when(step: Step, row: str) -> sql.Composable:
    if not step.when:
        return sql.SQL("true")
    return sql.SQL("coalesce({}, false)").format(sql.SQL(qualify_condition(step.when, row)))


def _unreadable(step: Step, row: str, schema: str) -> sql.Composable:
    return unreadable(step.reading, row, schema=schema) if step.reading else sql.SQL("false")


def _names_any(step: Step, row: str, schema: str) -> sql.Composable:
    """Whether the row refers to anything, there or not."""
    if step.reading is None:
        return sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(column(row, name)) for name in step.columns)
    return sql.SQL("EXISTS (SELECT FROM ({}) AS r(x) WHERE {} IS NOT NULL)").format(
        references(step.reading, row, schema=schema), as_key(step.reading.kind, sql.SQL("r.x"))
    )


def _is_blanked(child: DatasetScope, edge: Edge) -> bool:
    return any(blank.column in edge.columns for blank in child.blanks)
