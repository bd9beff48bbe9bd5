"""The first rows of each finding, by keyed digest (P8): between the closure and its numbering, one bounded query each.

Keys come into this process, are hashed, and go no further; the digests stand in the manifest, the plan and its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from psycopg import sql

from domicile.model import DatasetScope, Edge, Fate, Finding, Form, Kind
from domicile.stores.postgres.closure.findings import dangles, refers_at_all
from domicile.stores.postgres.closure.market import markets_query
from domicile.stores.postgres.closure.needs import children_at_home, matches, stays
from domicile.stores.postgres.closure.work import Work
from domicile.stores.postgres.names import column, key_expressions, key_match, key_names, source_of
from domicile.stores.postgres.paths import leads_to_anyone, lives_elsewhere
from domicile.stores.postgres.readings import opened, refers
from domicile.stores.postgres.readings import unreadable as unreadable_text
from domicile.stores.traces import LISTED_MAX, key_digest

Rows: TypeAlias = tuple[DatasetScope, sql.Composable]
"""A dataset, and SELECT of the keys (under the names that the manifest gives them) of some of its rows."""


def with_keys(work: Work, findings: Iterable[Finding], *, digest_key: bytes) -> Iterator[Finding]:
    """Yield the findings, with the digests of their first rows where rows can be named."""
    for finding in findings:
        rows = _rows_of(work, finding)
        if rows is None:
            yield finding
            continue
        dataset, query = rows
        texts = sql.SQL(", ").join(sql.SQL("x.{}::text").format(sql.Identifier(name)) for name in key_names(dataset))
        order = sql.SQL(", ").join(sql.SQL("x.{}").format(sql.Identifier(name)) for name in key_names(dataset))
        found = work.run(
            sql.SQL("SELECT ARRAY[{}] FROM (SELECT DISTINCT q.* FROM ({}) AS q) AS x ORDER BY {} LIMIT {}").format(
                texts, query, order, sql.Literal(LISTED_MAX)
            )
        ).fetchall()
        digests = tuple(key_digest(digest_key, dataset.id, key) for (key,) in found)
        yield replace(finding, keys=digests, dataset=str(dataset.id))


def _rows_of(work: Work, finding: Finding) -> Rows | None:
    by_dataset: dict[str, Callable[[Work, DatasetScope], sql.Composable]] = {
        "ownerless": _ownerless, "shared": _shared, "split-shared": _split_shared,
    }  # fmt: skip
    by_edge: dict[str, Callable[[Work, Edge, bool], Rows]] = {
        "apart-home": _apart_home, "apart-source": _apart_source, "dangling": _dangling, "unreadable": _unreadable,
    }  # fmt: skip
    if finding.kind in by_dataset:
        dataset = next(one for one in work.scope.datasets if str(one.id) == finding.where)
        return dataset, by_dataset[finding.kind](work, dataset)
    if finding.kind in by_edge:
        edge = next(one for one in work.scope.edges if one.where == finding.where and _is_about(finding, one))
        return by_edge[finding.kind](work, edge, finding.remedy is not None)
    if finding.kind in ("unknown-market", "market-conflict"):
        kind = next(one for one in work.scope.kinds if str(one.dataset) == finding.where)
        return work.scope.dataset(kind.dataset), _open_market(work, kind, finding.kind)
    return None


def _is_about(finding: Finding, edge: Edge) -> bool:
    """Whether the finding is of this edge: two may have the same columns and place, to different parents."""
    return f" {edge.parent} " in f"{finding.text} " or finding.kind == "unreadable"


def _keys(dataset: DatasetScope, alias: str) -> sql.Composable:
    pairs = zip(key_expressions(dataset, alias), key_names(dataset), strict=True)
    return sql.SQL(", ").join(sql.SQL("{} AS {}").format(item, sql.Identifier(name)) for item, name in pairs)


def _ownerless(work: Work, dataset: DatasetScope) -> sql.Composable:
    tests = [sql.SQL("NOT ") + leads_to_anyone(work.scope, path, "d", schema=work.schema) for path in dataset.paths]
    return sql.SQL("SELECT {} FROM {} AS d WHERE {}").format(
        _keys(dataset, "d"), source_of(dataset), sql.SQL(" AND ").join(tests)
    )


def _shared(work: Work, dataset: DatasetScope) -> sql.Composable:
    return sql.SQL("SELECT {0} FROM {1} GROUP BY {0} HAVING count(DISTINCT coalesce(home, '')) > 1").format(
        work.names(dataset), work.owners(dataset)
    )


def _split_shared(work: Work, dataset: DatasetScope) -> sql.Composable:
    return sql.SQL("SELECT {0} FROM {1} WHERE round = 0 GROUP BY {0} HAVING count(*) > 1").format(
        work.names(dataset), work.lines(dataset)
    )


def _open_market(work: Work, kind: Kind, name: str) -> sql.Composable:
    dataset = work.scope.dataset(kind.dataset)
    wanted = sql.SQL("m.told = 0") if name == "unknown-market" else sql.SQL("m.told > 1")
    return sql.SQL("SELECT {} FROM {} AS d JOIN ({}) AS m ON m.key = d.{} WHERE {} AND NOT {}").format(
        _keys(dataset, "d"), source_of(dataset), markets_query(work.scope, kind, schema=work.schema),
        sql.Identifier(kind.key), wanted,
        lives_elsewhere(work.scope, kind.dataset, column("m", "key"), schema=work.schema),
    )  # fmt: skip


def _apart_home(work: Work, edge: Edge, refused: bool) -> Rows:
    """Parents that home rows refer to and that are not their owner's there; refused: that no rule sends there."""
    child, parent = work.scope.dataset(edge.child), work.scope.dataset(edge.parent)
    rows = sql.SQL(" UNION ALL ").join(children_at_home(work, edge, child, None))
    there = sql.SQL("") if refused else sql.SQL(" AND w.round = 0")
    return parent, sql.SQL(
        "SELECT {keys} FROM ({rows}) AS c JOIN {parents} AS p ON {match} WHERE NOT EXISTS"
        " (SELECT FROM {work} AS w WHERE w.part = c.home_part AND {same}{there})"
    ).format(
        keys=_keys(parent, "p"), rows=rows, parents=source_of(parent), match=matches(edge), work=work.lines(parent),
        same=key_match(parent, "p", "w"), there=there,
    )  # fmt: skip


def _apart_source(work: Work, edge: Edge, refused: bool) -> Rows:
    """Movers' parents that rows which stay refer to: still to be deleted, or kept, by this edge's rule or another."""
    child, parent = work.scope.dataset(edge.child), work.scope.dataset(edge.parent)
    deleted = sql.SQL("EXISTS (SELECT FROM {} AS w WHERE w.fate = {} AND {})").format(
        work.lines(parent), sql.Literal(Fate.DELETE.value), key_match(parent, "p", "w")
    )
    owned = sql.SQL("EXISTS (SELECT FROM {} AS w WHERE w.round = 0 AND w.form = {} AND {})").format(
        work.lines(parent), sql.Literal(Form.WHOLE.value), key_match(parent, "p", "w")
    )
    return parent, sql.SQL("SELECT {} FROM {} AS c{} JOIN {} AS p ON {} WHERE {} AND {}").format(
        _keys(parent, "p"), source_of(child), opened(edge, "c", schema=work.schema), source_of(parent),
        refers(edge, "c", "p"), stays(work, edge, child), deleted if refused else owned,
    )  # fmt: skip


def _dangling(work: Work, edge: Edge, _: bool) -> Rows:
    child, parent = work.scope.dataset(edge.child), work.scope.dataset(edge.parent)
    return child, sql.SQL("SELECT {} FROM {} AS c WHERE {} AND {}").format(
        _keys(child, "c"), source_of(child), refers_at_all(work, edge), dangles(work, edge, parent)
    )


def _unreadable(work: Work, edge: Edge, _: bool) -> Rows:
    child = work.scope.dataset(edge.child)
    if edge.reading is None:
        raise RuntimeError("only references read out of a column can be unreadable")
    return child, sql.SQL("SELECT {} FROM {} AS c WHERE {}").format(
        _keys(child, "c"), source_of(child), unreadable_text(edge.reading, "c", schema=work.schema)
    )
