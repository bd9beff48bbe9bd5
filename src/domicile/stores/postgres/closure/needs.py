"""What home needs for its foreign keys, and what the source does (docs/closure.md, sections 3 and 4).

Both are followed round by round until nothing is added; each edge's rule in the file decides, and is counted. A round
asks only the edges of datasets that the round before has added to: of hundreds of edges few are asked twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from psycopg import sql

from domicile.config.rules import Apart, HomeRows
from domicile.errors import StoreFault
from domicile.model import DatasetId, DatasetScope, Edge, Fate, Finding, Form, Scope
from domicile.stores.postgres.closure.work import Work, is_everywhere
from domicile.stores.postgres.comparing import compare_each
from domicile.stores.postgres.names import column, key_match, key_select, lines_match, source_of
from domicile.stores.postgres.readings import holds, is_key, opened, refers

ROUNDS_MAX = 10_000
ANALYSE_LINES_MIN = 100


def of_home(work: Work, *, children: frozenset[DatasetId] | None = None, after: int = 0) -> Iterator[Finding]:
    """Add the rows that home rows refer to, until nothing is added; count them by edge.

    Refusing edges are not followed: they are asked at the end, for parents that no other rule has brought. `children`
    are the datasets that have lines, where these are not all there are: then refusing edges are somebody else's.
    Begins with the lines of round `after`.
    """
    counts: dict[Edge, int] = {}
    edges = [edge for edge in work.scope.edges if not is_everywhere(work.scope.dataset(edge.parent))]
    followed = [edge for edge in edges if not refuses_at_home(work.scope, edge)]
    asked = [edge for edge in followed if children is None or edge.child in children]
    for number in range(after + 1, after + ROUNDS_MAX):
        grown: set[DatasetId] = set()
        for edge in asked:
            count = sum(_need(work, edge, number))
            counts[edge] = counts.get(edge, 0) + count
            grown.update([edge.parent] if count else [])
            _analyse(work, edge.parent, count)
        asked = [edge for edge in followed if edge.child in grown]
        if not asked:
            break
    else:
        raise StoreFault(f"the needs of home did not settle in {ROUNDS_MAX} rounds; this is a fault of the engine")
    for edge in edges:
        if children is None and refuses_at_home(work.scope, edge):
            counts[edge] = _missing(work, edge)
    yield from (_apart_finding(work, edge, counts[edge], "home") for edge in edges if counts.get(edge))


def _analyse(work: Work, dataset: DatasetId, changed: int) -> None:
    """Tell the planner of lines that came or changed, or it joins them by nested loops, as if they were one or none.

    Measured on 373 tables: of 2,000 lines changed unseen, counting those kept took 2 s instead of 2 ms.
    """
    if changed >= ANALYSE_LINES_MIN:
        work.run(sql.SQL("ANALYZE {}").format(work.lines(work.scope.dataset(dataset))))


def refuses_at_home(scope: Scope, edge: Edge) -> bool:
    """Whether a row at home may not refer to a parent that is not its owner's there."""
    parent = scope.dataset(edge.parent)
    if parent.moves:
        return edge.apart_home is Apart.REFUSE
    return parent.home_rows is HomeRows.NOTHING


def _missing(work: Work, edge: Edge) -> int:
    """Count, by home, the parent rows that home rows refer to and that are not on their way there."""
    child, parent = work.scope.dataset(edge.child), work.scope.dataset(edge.parent)
    rows = sql.SQL(" UNION ALL ").join(children_at_home(work, edge, child, None))
    return work.count(
        sql.SQL(
            "SELECT count(*) FROM (SELECT DISTINCT c.home_part, {keys} FROM ({rows}) AS c"
            " JOIN {parents} AS p ON {match}"
            " WHERE NOT EXISTS (SELECT FROM {work} AS w WHERE w.part = c.home_part AND {same})) AS x"
        ).format(
            keys=key_select(parent, "p"),
            rows=rows,
            parents=source_of(parent),
            match=matches(edge),
            work=work.lines(parent),
            same=key_match(parent, "p", "w"),
        )
    )


def _need(work: Work, edge: Edge, number: int) -> Iterator[int]:
    child, parent = work.scope.dataset(edge.child), work.scope.dataset(edge.parent)
    form = Form.WHOLE if parent.moves and edge.apart_home is Apart.WHOLE else Form.SKELETON
    for rows in children_at_home(work, edge, child, number):
        better = sql.SQL(" AND w.form = {}").format(sql.Literal(form.value)) if form is Form.WHOLE else sql.SQL("")
        cursor = work.run(
            sql.SQL(
                "INSERT INTO {work} SELECT DISTINCT c.home_part, {form}, {keep}, {number}, {keys}"
                " FROM ({rows}) AS c JOIN {parents} AS p ON {match}"
                " WHERE NOT EXISTS (SELECT FROM {work} AS w WHERE w.part = c.home_part AND {same}{better})"
            ).format(
                work=work.lines(parent),
                form=sql.Literal(form.value),
                keep=sql.Literal(Fate.KEEP.value),
                number=sql.Literal(number),
                keys=key_select(parent, "p"),
                rows=rows,
                parents=source_of(parent),
                match=matches(edge),
                same=key_match(parent, "p", "w"),
                better=better,
            )
        )
        yield cursor.rowcount
        if form is Form.WHOLE and cursor.rowcount:
            _drop_outdone(work, parent)


def _drop_outdone(work: Work, parent: DatasetScope) -> None:
    """A row that goes whole needs no skeleton beside it."""
    same = sql.SQL("a.part = b.part AND {}").format(lines_match(parent, "a", "b"))
    work.run(
        sql.SQL("DELETE FROM {w} AS a USING {w} AS b WHERE a.form = {s} AND b.form = {whole} AND {same}").format(
            w=work.lines(parent), s=sql.Literal(Form.SKELETON.value), whole=sql.Literal(Form.WHOLE.value), same=same
        )
    )


def children_at_home(work: Work, edge: Edge, child: DatasetScope, number: int | None) -> Iterator[sql.Composable]:
    """Queries of (part, edge columns) of child rows that came to lie at a home in the last round; None: in any."""
    blanked = any(blank.column in edge.columns for blank in child.blanks)
    opening = opened(edge, "d", schema=work.schema)
    lines = sql.SQL("SELECT w.part AS home_part, {} FROM {} AS w JOIN {} AS d ON {}{} WHERE {}{} AND {}").format(
        _referring(edge),
        work.lines(child),
        source_of(child),
        key_match(child, "d", "w"),
        opening,
        sql.SQL("true") if number is None else sql.SQL("w.round = {}").format(sql.Literal(number - 1)),
        sql.SQL(" AND w.form = {}").format(sql.Literal(Form.WHOLE.value)) if blanked else sql.SQL(""),
        holds(edge, "d"),
    )
    if not is_everywhere(child) or blanked:
        yield lines
    elif number in (None, 1):
        homes = sql.SQL(", ").join(sql.SQL("({})").format(sql.Literal(home)) for home in work.scope.homes)
        yield sql.SQL(
            "SELECT h.part AS home_part, {} FROM {} AS d{} CROSS JOIN (VALUES {}) AS h(part) WHERE {}"
        ).format(_referring(edge), work.rows(child), opening, homes, holds(edge, "d"))


def _referring(edge: Edge) -> sql.Composable:
    """What row `d` refers to, under names of our own: the referring columns may be called anything."""
    if edge.reading is not None:
        return sql.SQL("d_reads.x AS refers_1")
    return sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(column("d", name), sql.Identifier(f"refers_{number}"))
        for number, name in enumerate(edge.columns, start=1)
    )


def matches(edge: Edge) -> sql.Composable:
    """A condition that `c`, made by `_referring`, refers to row `p`."""
    if edge.reading is not None:
        return is_key(edge.reading, column("p", edge.parent_columns[0]), sql.SQL("c.refers_1"))
    parents = [column("p", name) for name in edge.parent_columns]
    return compare_each(edge.comparisons, parents, [column("c", f"refers_{n}") for n, _ in enumerate(parents, start=1)])


def of_source(work: Work) -> Iterator[Finding]:
    """Spare the rows that rows which stay refer to, until nothing changes; count them by edge.

    Refusing edges are asked at the end, for parents that are still to be deleted.
    """
    counts: dict[Edge, int] = {}
    edges = [edge for edge in work.scope.edges if work.scope.dataset(edge.parent).moves]
    followed = [edge for edge in edges if edge.apart_source is not Apart.REFUSE]
    asked = followed
    while asked:  # it ends: a fate only ever turns from delete to blank and from blank to keep
        changed: set[DatasetId] = set()
        for edge in asked:
            count = _spare(work, edge)
            counts[edge] = counts.get(edge, 0) + count
            changed.update([edge.parent] if count else [])
            _analyse(work, edge.parent, count)
        asked = [edge for edge in followed if edge.child in changed]
    for edge in edges:
        if edge.apart_source is Apart.REFUSE:
            counts[edge] = _spare(work, edge)
    yield from (_apart_finding(work, edge, counts[edge], "source") for edge in edges if counts.get(edge))


def _spare(work: Work, edge: Edge) -> int:
    child, parent = work.scope.dataset(edge.child), work.scope.dataset(edge.parent)
    threatened = [Fate.DELETE.value]
    if edge.apart_source is Apart.WHOLE:
        threatened.append(Fate.BLANK.value)
    needed = sql.SQL("SELECT {keys} FROM {children} AS c{opening} JOIN {parents} AS p ON {match} WHERE {stays}").format(
        keys=key_select(parent, "p"),
        children=source_of(child),
        opening=opened(edge, "c", schema=work.schema),
        parents=source_of(parent),
        match=refers(edge, "c", "p"),
        stays=stays(work, edge, child),
    )
    same = lines_match(parent, "w", "n")
    where = sql.SQL("w.fate = ANY({}) AND EXISTS (SELECT FROM ({}) AS n WHERE {})").format(
        sql.Literal(threatened), needed, same
    )
    if edge.apart_source is Apart.REFUSE:
        return work.count(sql.SQL("SELECT count(*) FROM {} AS w WHERE {}").format(work.lines(parent), where))
    fate = Fate.KEEP if edge.apart_source is Apart.WHOLE or not parent.blanks else Fate.BLANK
    return work.run(
        sql.SQL("UPDATE {} AS w SET fate = {} WHERE {}").format(work.lines(parent), sql.Literal(fate.value), where)
    ).rowcount


def stays(work: Work, edge: Edge, child: DatasetScope) -> sql.Composable:
    """Whether child row `c` still refers to its parent at the source once everything is erased."""
    gone = [Fate.DELETE.value]
    if any(blank.column in edge.columns for blank in child.blanks):
        gone.append(Fate.BLANK.value)
    return sql.SQL("NOT EXISTS (SELECT FROM {} AS g WHERE g.fate = ANY({}) AND {})").format(
        work.lines(child), sql.Literal(gone), key_match(child, "c", "g")
    )


def _apart_finding(work: Work, edge: Edge, count: int, side: str) -> Finding:
    parent = work.scope.dataset(edge.parent)
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
        f"datasets:\n  {edge.child}:\n    edges:\n      {_key(edge)}: {{apart: {{{side}: ?}}}}   # skeleton | whole"
    )
    return Finding(
        kind=f"apart-{side}",
        where=edge.where,
        count=count,
        text=text,
        rule=(rule if not parent.moves and side == "home" else f"{edge.where}.apart.{side}: {rule}")
        if decided
        else None,
        remedy=None if decided else remedy,
    )


def _key(edge: Edge) -> str:
    """The edge's key as YAML spells it, in quotes where it holds a condition."""
    return edge.spelled if edge.when is None else json.dumps(edge.spelled, ensure_ascii=False)
