"""The closure in SQL, set by set: subjects → owners → what home needs → what the source needs → numbered manifest.

docs/closure.md says what it means; `stores/memory.py` is the same by rows, and property tests compare the two. Runs
inside the caller's transaction, in the schema the caller names: `domicile` to freeze, another one, rolled back, to
survey. Nothing of a row leaves the database; counts do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from domicile.config import Apart, Disposition, HomeRows, Shared
from domicile.errors import StoreFault
from domicile.model import DatasetScope, Edge, Fate, Finding, Form, Path, Scope
from domicile.stores.postgres.names import (
    column,
    key_match,
    key_names,
    key_select,
    leads_to_anyone,
    path_join,
    relation,
    source_of,
    staged,
    subject_join,
)
from domicile.stores.postgres.session import run

ROUNDS_MAX = 10_000
EVERYWHERE = "*"


def is_everywhere(dataset: DatasetScope) -> bool:
    """Whether every home gets all of the dataset's rows, in one form or the other."""
    return not dataset.moves and dataset.home_rows is HomeRows.ALL


def market_query(scope: Scope, *, alias: str = "d", row: sql.Composable | None = None) -> sql.Composable:
    """SELECT key, market value of every subject (or of the one row item `row`), null where the path breaks off."""
    subject = scope.dataset(scope.subject)
    clauses: list[sql.Composable] = []
    here = alias
    for number, step in enumerate(scope.market.path.steps):
        there = f"k{number}"
        match = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(column(there, one), column(here, other))
            for one, other in zip(step.to_columns, step.columns, strict=True)
        )
        clauses.append(sql.SQL(" LEFT JOIN {} AS {} ON {}").format(relation(step.table), sql.Identifier(there), match))
        here = there
    return sql.SQL("SELECT {} AS key, {}::text AS value FROM {} AS {}{}").format(
        column(alias, scope.subject_key),
        column(here, scope.market.field),
        row if row is not None else source_of(subject),
        sql.Identifier(alias),
        sql.SQL("").join(clauses),
    )


def market_of(scope: Scope, value: sql.Composable) -> sql.Composable:
    """The market that a field value means, or null: unknown values of a given list stay, nulls are unknown."""
    pairs = scope.market.values or tuple((market, market) for market, _ in scope.market.homes)
    cases = sql.SQL(" ").join(
        sql.SQL("WHEN {} THEN {}").format(sql.Literal(text), sql.Literal(market)) for text, market in pairs
    )
    unknown = scope.market.unknown
    named = sql.Literal(unknown) if unknown in dict(scope.market.homes) else sql.SQL("NULL")
    return sql.SQL("CASE WHEN {v} IS NULL THEN {named} ELSE CASE {v} {cases} END END").format(
        v=value, named=named, cases=cases
    )


def home_of(scope: Scope, market: sql.Composable) -> sql.Composable:
    """The home of a market, or null for stayers."""
    cases = sql.SQL(" ").join(
        sql.SQL("WHEN {} THEN {}").format(sql.Literal(name), sql.Literal(home)) for name, home in scope.market.homes
    )
    return sql.SQL("CASE {} {} END").format(market, cases)


def movers_query(scope: Scope) -> sql.Composable:
    """SELECT key, market, home of every mover."""
    market = market_of(scope, sql.SQL("r.value"))
    return sql.SQL(
        "SELECT q.key, q.market, {home} AS home FROM (SELECT r.key, {market} AS market FROM ({rows}) AS r) AS q"
        " WHERE {home} IS NOT NULL"
    ).format(home=home_of(scope, sql.SQL("q.market")), market=market, rows=market_query(scope))


class Closure:
    """One computation of the closure in `schema`, which holds table `subject` (the movers) and `token`."""

    def __init__(self, connection: psycopg.Connection[Any], scope: Scope, schema: str) -> None:
        self.connection = connection
        self.scope = scope
        self.schema = schema

    def findings(self) -> Iterator[Finding]:
        """Compute owners and needs; yield what was found on the way. The work tables are left for `number`."""
        yield from self._unknown_markets()
        for dataset in self.scope.datasets:
            self._make_work(dataset)
            if dataset.owned:
                self._collect_owners(dataset)
                yield from self._ownerless(dataset)
                yield from self._decide(dataset)
        yield from self._home_needs()
        yield from self._source_needs()
        for dataset in self.scope.datasets:
            yield from self._kept(dataset)
        for edge in self.scope.edges:
            yield from self._unenforced(edge)

    # -- subjects ------------------------------------------------------------------------------------------------

    def _unknown_markets(self) -> Iterator[Finding]:
        if self.scope.market.unknown in dict(self.scope.market.homes):
            return
        count = self._count(
            sql.SQL("SELECT count(*) FROM ({}) AS r WHERE r.value IS NULL").format(market_query(self.scope))
        )
        if count:
            stay = self.scope.market.unknown == "stay"
            yield Finding(
                kind="unknown-market",
                where=f"{self.scope.subject}",
                count=count,
                text=f"{count} subjects have no market",
                rule="policy.unknown_market: stay" if stay else None,
                remedy=None if stay else "policy:\n  unknown_market: ?   # a market of policy.homes, or stay",
            )

    # -- owners --------------------------------------------------------------------------------------------------

    def _make_work(self, dataset: DatasetScope) -> None:
        self._run(
            sql.SQL(
                "CREATE TABLE {work} AS SELECT ''::text AS part, ''::text AS form, ''::text AS fate, 0 AS round, {key}"
                " FROM {rows} AS d WHERE false"
            ).format(work=self._work(dataset), key=key_select(dataset, "d"), rows=source_of(dataset))
        )

    def _collect_owners(self, dataset: DatasetScope) -> None:
        owners = self._owners(dataset)
        self._run(
            sql.SQL(
                "CREATE TABLE {owners} AS SELECT 0 AS path, ''::text AS home, {key} FROM {rows} AS d WHERE false"
            ).format(owners=owners, key=key_select(dataset, "d"), rows=source_of(dataset))
        )
        for number, path in enumerate(dataset.paths):
            self._run(self._mover_owners(dataset, number, path))
        if len(dataset.paths) > 1 or any(path.many for path in dataset.paths):
            for number, path in enumerate(dataset.paths):
                self._run(self._stayer_owners(dataset, number, path))
        self._run(sql.SQL("ANALYZE {}").format(owners))

    def _mover_owners(self, dataset: DatasetScope, number: int, path: Path) -> sql.Composable:
        joins, key = path_join(self.scope, path, "d")
        return sql.SQL(
            "INSERT INTO {owners} SELECT DISTINCT {number}, s.home, {keys} FROM {rows} AS d{joins}"
            " JOIN {subject} AS s ON s.key = {key}"
        ).format(
            owners=self._owners(dataset), number=sql.Literal(number), keys=key_select(dataset, "d"),
            rows=source_of(dataset), joins=joins, subject=self._subject(), key=key,
        )  # fmt: skip

    def _stayer_owners(self, dataset: DatasetScope, number: int, path: Path) -> sql.Composable:
        joins, last = subject_join(self.scope, path, "d")
        return sql.SQL(
            "INSERT INTO {owners} SELECT DISTINCT {number}, NULL::text, {keys} FROM"
            " (SELECT DISTINCT {names} FROM {owners} WHERE home IS NOT NULL) AS c"
            " JOIN {rows} AS d ON {match}{joins}"
            " WHERE NOT EXISTS (SELECT FROM {subject} AS s WHERE s.key = {key})"
        ).format(
            owners=self._owners(dataset), number=sql.Literal(number), keys=key_select(dataset, "d"),
            names=self._names(dataset), rows=source_of(dataset), match=key_match(dataset, "d", "c"), joins=joins,
            subject=self._subject(), key=column(last, self.scope.subject_key),
        )  # fmt: skip

    def _ownerless(self, dataset: DatasetScope) -> Iterator[Finding]:
        if not dataset.moves or any(path.certain for path in dataset.paths):
            return
        tests = [sql.SQL("NOT ") + leads_to_anyone(path, "d") for path in dataset.paths]
        count = self._count(
            sql.SQL("SELECT count(*) FROM {} AS d WHERE {}").format(source_of(dataset), sql.SQL(" AND ").join(tests))
        )
        if count:
            yield Finding(
                kind="ownerless",
                where=str(dataset.id),
                count=count,
                text=f"{count} rows lead to nobody over {' or '.join(path.text for path in dataset.paths)}",
                rule=f"datasets.{dataset.id}.ownerless: stay" if dataset.ownerless_stay else None,
                remedy=None
                if dataset.ownerless_stay
                else f"datasets:\n  {dataset.id}:\n    ownerless: stay   # or give these rows another path",
            )

    def _decide(self, dataset: DatasetScope) -> Iterator[Finding]:
        count = self._count(
            sql.SQL(
                "SELECT count(*) FROM (SELECT FROM {} GROUP BY {} HAVING count(DISTINCT coalesce(home, '')) > 1) AS x"
            ).format(self._owners(dataset), self._names(dataset))
        )
        if count:
            yield self._shared_finding(dataset, count)
        self._run(self._settled(dataset))
        if dataset.moves:
            return
        twice = self._count(
            sql.SQL("SELECT count(*) FROM (SELECT FROM {} GROUP BY {} HAVING count(*) > 1) AS x").format(
                self._work(dataset), self._names(dataset)
            )
        )
        if twice:
            yield Finding(
                kind="split-shared", where=str(dataset.id), count=twice,
                text=f"{twice} rows belong whole to several homes, which only `move` datasets allow",
                remedy=f"datasets:\n  {dataset.id}:\n    shared: first   # or a path that leads to one person",
            )  # fmt: skip

    def _shared_finding(self, dataset: DatasetScope, count: int) -> Finding:
        where = f"datasets.{dataset.id}.subjects.shared" if len(dataset.paths) > 1 else f"datasets.{dataset.id}.shared"
        return Finding(
            kind="shared",
            where=str(dataset.id),
            count=count,
            text=f"{count} rows lead to subjects who live apart",
            rule=f"{where}: {dataset.shared}" if dataset.shared else None,
            remedy=None if dataset.shared else f"{where}: ?   # each | first | any",
        )

    def _settled(self, dataset: DatasetScope) -> sql.Composable:
        """Whole lines with their fates, by the dataset's rule for shared rows (`each` where none is given yet)."""
        names = self._names(dataset)
        owners: sql.Composable = self._owners(dataset)
        if dataset.shared is Shared.FIRST:
            owners = sql.SQL(
                "(SELECT * FROM (SELECT o.*, min(path) OVER (PARTITION BY {names}) AS best FROM {owners} AS o) AS p"
                " WHERE path = best)"
            ).format(names=names, owners=owners)
        stays = sql.SQL("false") if dataset.shared is Shared.ANY else sql.SQL("bool_or(home IS NULL)")
        fate = Fate.DELETE if dataset.moves else Fate.BLANK
        if not dataset.moves and not dataset.blanks:
            fate = Fate.KEEP
        return sql.SQL(
            "INSERT INTO {work} SELECT h.home, {whole}, CASE WHEN x.stays OR h.home <> x.first_home THEN {keep}"
            " ELSE {fate} END, 0, {keys} FROM"
            " (SELECT {names}, {stays} AS stays, min(home) AS first_home FROM {owners} AS o GROUP BY {names}) AS x"
            " JOIN (SELECT DISTINCT home, {names} FROM {owners} AS o WHERE home IS NOT NULL) AS h ON {match}"
        ).format(
            work=self._work(dataset), whole=sql.Literal(Form.WHOLE.value), keep=sql.Literal(Fate.KEEP.value),
            fate=sql.Literal(fate.value), names=names, stays=stays, owners=owners,
            keys=sql.SQL(", ").join(column("x", name) for name in key_names(dataset)),
            match=sql.SQL(" AND ").join(
                sql.SQL("h.{0} = x.{0}").format(sql.Identifier(name)) for name in key_names(dataset)
            ),
        )  # fmt: skip

    # -- what home needs -----------------------------------------------------------------------------------------

    def _home_needs(self) -> Iterator[Finding]:
        counts: dict[Edge, int] = {}
        edges = [edge for edge in self.scope.edges if not is_everywhere(self.scope.dataset(edge.parent))]
        for number in range(1, ROUNDS_MAX):
            added = 0
            for edge in edges:
                count = sum(self._need(edge, number))
                counts[edge] = counts.get(edge, 0) + count
                added += count
            if not added:
                break
        else:
            raise StoreFault(f"the needs of home did not settle in {ROUNDS_MAX} rounds; this is a fault of the engine")
        yield from (self._apart_finding(edge, count, "home") for edge, count in counts.items() if count)

    def _need(self, edge: Edge, number: int) -> Iterator[int]:
        child, parent = self.scope.dataset(edge.child), self.scope.dataset(edge.parent)
        form = Form.WHOLE if parent.moves and edge.apart_home is Apart.WHOLE else Form.SKELETON
        for rows in self._children_at_home(edge, child, number):
            better = sql.SQL(" AND w.form = {}").format(sql.Literal(form.value)) if form is Form.WHOLE else sql.SQL("")
            cursor = self._run(
                sql.SQL(
                    "INSERT INTO {work} SELECT DISTINCT c.part, {form}, {keep}, {number}, {keys}"
                    " FROM ({rows}) AS c JOIN {parents} AS p ON {match}"
                    " WHERE NOT EXISTS (SELECT FROM {work} AS w WHERE w.part = c.part AND {same}{better})"
                ).format(
                    work=self._work(parent),
                    form=sql.Literal(form.value),
                    keep=sql.Literal(Fate.KEEP.value),
                    number=sql.Literal(number),
                    keys=key_select(parent, "p"),
                    rows=rows,
                    parents=source_of(parent),
                    match=_pairs("p", edge.parent_columns, "c", edge.columns),
                    same=key_match(parent, "p", "w"),
                    better=better,
                )  # fmt: skip
            )
            yield cursor.rowcount
            if form is Form.WHOLE and cursor.rowcount:
                self._drop_outdone(parent)

    def _drop_outdone(self, parent: DatasetScope) -> None:
        """A row that goes whole needs no skeleton beside it."""
        same = sql.SQL(" AND ").join(
            sql.SQL("a.{0} = b.{0}").format(sql.Identifier(name)) for name in ("part", *key_names(parent))
        )
        self._run(
            sql.SQL("DELETE FROM {w} AS a USING {w} AS b WHERE a.form = {s} AND b.form = {whole} AND {same}").format(
                w=self._work(parent), s=sql.Literal(Form.SKELETON.value), whole=sql.Literal(Form.WHOLE.value), same=same
            )
        )

    def _children_at_home(self, edge: Edge, child: DatasetScope, number: int) -> Iterator[sql.Composable]:
        """Queries of (part, edge columns) of child rows that came to lie at a home in the last round."""
        blanked = any(blank.column in edge.columns for blank in child.blanks)
        lines = sql.SQL("SELECT w.part, {} FROM {} AS w JOIN {} AS d ON {} WHERE w.round = {}{}").format(
            _list("d", edge.columns), self._work(child), source_of(child), key_match(child, "d", "w"),
            sql.Literal(number - 1),
            sql.SQL(" AND w.form = {}").format(sql.Literal(Form.WHOLE.value)) if blanked else sql.SQL(""),
        )  # fmt: skip
        if not is_everywhere(child) or blanked:
            yield lines
        elif number == 1:
            homes = sql.SQL(", ").join(sql.SQL("({})").format(sql.Literal(home)) for home in self.scope.homes)
            yield sql.SQL("SELECT h.part, {} FROM {} AS d CROSS JOIN (VALUES {}) AS h(part)").format(
                _list("d", edge.columns), source_of(child), homes
            )

    # -- what the source needs -----------------------------------------------------------------------------------

    def _source_needs(self) -> Iterator[Finding]:
        counts: dict[Edge, int] = {}
        edges = [edge for edge in self.scope.edges if self.scope.dataset(edge.parent).moves]
        for _ in range(ROUNDS_MAX):
            changed = 0
            for edge in edges:
                count = self._spare(edge)
                counts[edge] = counts.get(edge, 0) + count
                changed += count if edge.apart_source is not Apart.REFUSE else 0
            if not changed:
                break
        yield from (self._apart_finding(edge, count, "source") for edge, count in counts.items() if count)

    def _spare(self, edge: Edge) -> int:
        child, parent = self.scope.dataset(edge.child), self.scope.dataset(edge.parent)
        threatened = [Fate.DELETE.value]
        if edge.apart_source is Apart.WHOLE:
            threatened.append(Fate.BLANK.value)
        needed = sql.SQL(
            "SELECT {keys} FROM {children} AS c JOIN {parents} AS p ON {match} WHERE {stays}"
        ).format(
            keys=key_select(parent, "p"), children=source_of(child), parents=source_of(parent),
            match=_pairs("p", edge.parent_columns, "c", edge.columns), stays=self._stays(edge, child),
        )  # fmt: skip
        same = sql.SQL(" AND ").join(
            sql.SQL("w.{0} = n.{0}").format(sql.Identifier(name)) for name in key_names(parent)
        )
        where = sql.SQL("w.fate = ANY({}) AND EXISTS (SELECT FROM ({}) AS n WHERE {})").format(
            sql.Literal(threatened), needed, same
        )
        if edge.apart_source is Apart.REFUSE:
            return self._count(sql.SQL("SELECT count(*) FROM {} AS w WHERE {}").format(self._work(parent), where))
        fate = Fate.KEEP if edge.apart_source is Apart.WHOLE else Fate.BLANK
        return self._run(
            sql.SQL("UPDATE {} AS w SET fate = {} WHERE {}").format(self._work(parent), sql.Literal(fate.value), where)
        ).rowcount

    def _stays(self, edge: Edge, child: DatasetScope) -> sql.Composable:
        """Whether child row `c` still refers to its parent at the source once everything is erased."""
        gone = [Fate.DELETE.value]
        if any(blank.column in edge.columns for blank in child.blanks):
            gone.append(Fate.BLANK.value)
        return sql.SQL("NOT EXISTS (SELECT FROM {} AS g WHERE g.fate = ANY({}) AND {})").format(
            self._work(child), sql.Literal(gone), key_match(child, "c", "g")
        )

    # -- findings ------------------------------------------------------------------------------------------------

    def _apart_finding(self, edge: Edge, count: int, side: str) -> Finding:
        parent = self.scope.dataset(edge.parent)
        rule: str | None = getattr(edge, f"apart_{side}").value
        if side == "home" and not parent.moves:
            rule = f"datasets.{parent.id}.home: needed" if parent.home_rows is HomeRows.NEEDED else "refuse"
        decided = rule != Apart.REFUSE.value
        text = (
            f"{count} rows of {parent.id} are needed at home by {edge.child}, and are not a mover's"
            if side == "home"
            else f"{count} rows of {parent.id} would be erased while rows of {edge.child} that stay refer to them"
        )
        remedy = (
            f"datasets:\n  {edge.child}:\n    edges:\n      {','.join(edge.columns)}: {{apart: {{{side}: ?}}}}"
            "   # skeleton | whole"
        )
        return Finding(
            kind=f"apart-{side}", where=edge.where, count=count, text=text,
            rule=(rule if not parent.moves and side == "home" else f"{edge.where}.apart.{side}: {rule}")
            if decided else None,
            remedy=None if decided else remedy,
        )  # fmt: skip

    def _kept(self, dataset: DatasetScope) -> Iterator[Finding]:
        if not dataset.moves:
            return
        for fate, words in ((Fate.KEEP, "stay at the source whole"), (Fate.BLANK, "stay at the source as skeletons")):
            count = self._count(
                sql.SQL(
                    "SELECT count(*) FROM (SELECT FROM {} WHERE form = {} AND round = 0 GROUP BY {}"
                    " HAVING NOT bool_or(fate = {}) AND bool_or(fate = {}) AND bool_and(fate <> {})) AS x"
                ).format(
                    self._work(dataset),
                    sql.Literal(Form.WHOLE.value),
                    self._names(dataset),
                    sql.Literal(Fate.DELETE.value),
                    sql.Literal(fate.value),
                    sql.Literal((Fate.BLANK if fate is Fate.KEEP else Fate.DELETE).value),
                )  # fmt: skip
            )
            if count:
                yield Finding(
                    kind="kept", where=str(dataset.id), count=count,
                    text=f"{count} rows of movers {words} for others who need them", rule="see the rules above",
                )  # fmt: skip

    def _unenforced(self, edge: Edge) -> Iterator[Finding]:
        if edge.enforced:
            return
        child, parent = self.scope.dataset(edge.child), self.scope.dataset(edge.parent)
        lacking: sql.Composable = sql.SQL("true")
        if edge.missing_on and edge.missing_on != (child.table,):
            leaves = [f"{relation(name).as_string(None)}" for name in edge.missing_on]
            lacking = sql.SQL("c.tableoid = ANY({}::regclass[])").format(sql.Literal(leaves))
        filled = sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(column("c", name)) for name in edge.columns)
        rows = sql.SQL("SELECT count(*) FROM {} AS c WHERE {} AND {}").format(source_of(child), filled, lacking)
        on_path = any(step.columns == edge.columns for path in child.paths for step in path.steps[:1])
        if on_path:
            touched = self._count(
                rows
                + sql.SQL(" AND EXISTS (SELECT FROM {} AS w WHERE w.form = {} AND {})").format(
                    self._work(child), sql.Literal(Form.WHOLE.value), key_match(child, "c", "w")
                )
            )
            if touched:
                yield self._unenforced_finding(edge, child, touched)
        dangling = self._count(
            rows
            + sql.SQL(" AND NOT EXISTS (SELECT FROM {} AS p WHERE {})").format(
                source_of(parent), _pairs("p", edge.parent_columns, "c", edge.columns)
            )
        )
        if dangling:
            yield Finding(
                kind="dangling", where=edge.where, count=dangling,
                text=f"{dangling} rows refer to rows of {edge.parent} that don't exist", rule="counted, left as they are",
            )  # fmt: skip

    def _unenforced_finding(self, edge: Edge, child: DatasetScope, count: int) -> Finding:
        places = ", ".join(str(name) for name in edge.missing_on[:5])
        return Finding(
            kind="unenforced",
            where=edge.where,
            count=count,
            text=f"{count} closure rows hang on an edge that the database does not enforce ({places})",
            rule=f"datasets.{child.id}.unenforced: follow" if child.unenforced_follow else None,
            remedy=None if child.unenforced_follow else f"datasets:\n  {child.id}:\n    unenforced: follow",
        )

    # -- the manifest --------------------------------------------------------------------------------------------

    def number(self) -> None:
        """Turn the work tables into the numbered manifest, indexed and analysed."""
        for dataset in self.scope.datasets:
            self._number(dataset)
            self._run(sql.SQL("DROP TABLE {}").format(self._work(dataset)))
            if dataset.owned:
                self._run(sql.SQL("DROP TABLE {}").format(self._owners(dataset)))

    def _number(self, dataset: DatasetScope) -> None:
        manifest, names = staged("m", dataset.id, self.schema), self._names(dataset)
        lines = sql.SQL("SELECT part, form, fate, part AS owner, {} FROM {}").format(names, self._work(dataset))
        if is_everywhere(dataset):
            lines = self._everywhere_lines(dataset) + sql.SQL(" UNION ALL ") + lines
        copies: sql.Composable = sql.SQL("1::bigint")
        counted: sql.Composable = sql.SQL("")
        if not dataset.key:
            copies = sql.SQL("r.copies")
            counted = sql.SQL(
                " JOIN (SELECT {key}, count(*) AS copies FROM {rows} AS d GROUP BY 1) AS r USING ({names})"
            ).format(key=key_select(dataset, "d"), rows=source_of(dataset), names=names)
        self._run(
            sql.SQL(
                "CREATE TABLE {m} AS SELECT part, form, row_number() OVER (PARTITION BY part, form ORDER BY {names})"
                " AS n, fate, owner, {copies} AS copies, {names} FROM ({lines}) AS l{counted}"
            ).format(m=manifest, names=names, copies=copies, lines=lines, counted=counted)
        )
        self._run(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (part, form, n)").format(manifest))
        self._run(sql.SQL("CREATE INDEX ON {} ({})").format(manifest, names))
        self._run(sql.SQL("ANALYZE {}").format(manifest))

    def _everywhere_lines(self, dataset: DatasetScope) -> sql.Composable:
        distinct = sql.SQL("") if dataset.key else sql.SQL("DISTINCT ")
        joined = sql.SQL(" LEFT JOIN {} AS w ON w.form = {} AND {}").format(
            self._work(dataset), sql.Literal(Form.WHOLE.value), key_match(dataset, "d", "w")
        )
        if dataset.owned and dataset.rows is not Disposition.MOVE:
            return sql.SQL("SELECT {star} AS part, {skeleton} AS form, {keep} AS fate, w.part AS owner, {keys} FROM {rows} AS d{joined}").format(
                star=sql.Literal(EVERYWHERE), skeleton=sql.Literal(Form.SKELETON.value),
                keep=sql.Literal(Fate.KEEP.value), keys=key_select(dataset, "d"), rows=source_of(dataset),
                joined=joined,
            )  # fmt: skip
        return sql.SQL("SELECT {distinct}{star} AS part, {skeleton} AS form, {keep} AS fate, NULL::text AS owner, {keys} FROM {rows} AS d").format(
            distinct=distinct, star=sql.Literal(EVERYWHERE), skeleton=sql.Literal(Form.SKELETON.value),
            keep=sql.Literal(Fate.KEEP.value), keys=key_select(dataset, "d"), rows=source_of(dataset),
        )  # fmt: skip

    # -- spelling ------------------------------------------------------------------------------------------------

    def _subject(self) -> sql.Identifier:
        return sql.Identifier(self.schema, "subject")

    def _work(self, dataset: DatasetScope) -> sql.Identifier:
        return staged("w", dataset.id, self.schema)

    def _owners(self, dataset: DatasetScope) -> sql.Identifier:
        return staged("o", dataset.id, self.schema)

    def _names(self, dataset: DatasetScope) -> sql.Composable:
        return sql.SQL(", ").join(sql.Identifier(name) for name in key_names(dataset))

    def _run(self, query: sql.Composable) -> psycopg.Cursor[Any]:
        return run(self.connection, query)

    def _count(self, query: sql.Composable) -> int:
        row = run(self.connection, query).fetchone()
        return int(row[0]) if row else 0


def _list(alias: str, names: tuple[str, ...]) -> sql.Composable:
    return sql.SQL(", ").join(column(alias, name) for name in names)


def _pairs(left: str, left_names: tuple[str, ...], right: str, right_names: tuple[str, ...]) -> sql.Composable:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(column(left, one), column(right, other))
        for one, other in zip(left_names, right_names, strict=True)
    )
