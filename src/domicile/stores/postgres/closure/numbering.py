"""The manifest: work lines numbered, indexed and analysed (docs/closure.md, section 5)."""

from __future__ import annotations

from psycopg import sql

from domicile.model import DatasetScope, Fate, Form
from domicile.stores.postgres.closure.work import EVERYWHERE, Work, is_everywhere
from domicile.stores.postgres.names import key_match, key_select, source_of, staged


def number(work: Work) -> None:
    """Turn the work tables into the numbered manifest, indexed and analysed."""
    for dataset in work.scope.datasets:
        _number(work, dataset)
        work.run(sql.SQL("DROP TABLE {}").format(work.lines(dataset)))
        if dataset.decided and not dataset.sole:
            work.run(sql.SQL("DROP TABLE {}").format(work.owners(dataset)))


def _number(work: Work, dataset: DatasetScope) -> None:
    manifest, names = staged("m", dataset.id, work.schema), work.names(dataset)
    lines: sql.Composable = sql.SQL(
        "SELECT part, form, fate, CASE WHEN round = 0 THEN part END AS owner, {} FROM {}"
    ).format(names, work.lines(dataset))
    if is_everywhere(dataset):
        lines = _everywhere_lines(work, dataset) + sql.SQL(" UNION ALL ") + lines
    copies: sql.Composable = sql.SQL("1::bigint")
    counted: sql.Composable = sql.SQL("")
    if not dataset.key:
        copies = sql.SQL("r.copies")
        counted = sql.SQL(
            " JOIN (SELECT {key}, count(*) AS copies FROM {rows} AS d GROUP BY 1) AS r USING ({names})"
        ).format(key=key_select(dataset, "d"), rows=source_of(dataset), names=names)
    work.run(
        sql.SQL(
            "CREATE TABLE {m} AS SELECT part, form, row_number() OVER (PARTITION BY part, form"
            " ORDER BY part <> {star} AND owner IS NULL, {names}) AS n, fate, owner, {copies} AS copies, {names}"
            " FROM ({lines}) AS l{counted}"
        ).format(m=manifest, star=sql.Literal(EVERYWHERE), names=names, copies=copies, lines=lines, counted=counted)
    )
    work.run(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (part, form, n)").format(manifest))
    # With all that a slice asks of a line, so that its reading leaves the table alone once that was vacuumed.
    work.run(sql.SQL("CREATE INDEX ON {} ({}) INCLUDE (n, part, form)").format(manifest, names))
    work.run(sql.SQL("ANALYZE {}").format(manifest))


def _everywhere_lines(work: Work, dataset: DatasetScope) -> sql.Composable:
    distinct = sql.SQL("") if dataset.key else sql.SQL("DISTINCT ")
    joined = sql.SQL(" LEFT JOIN {} AS w ON {}").format(_owning_lines(work, dataset), key_match(dataset, "d", "w"))
    if dataset.decided:
        return sql.SQL(
            "SELECT {star} AS part, {skeleton} AS form, {keep} AS fate, w.part AS owner, {keys}"
            " FROM {rows} AS d{joined}"
        ).format(
            star=sql.Literal(EVERYWHERE),
            skeleton=sql.Literal(Form.SKELETON.value),
            keep=sql.Literal(Fate.KEEP.value),
            keys=key_select(dataset, "d"),
            rows=source_of(dataset),
            joined=joined,
        )
    return sql.SQL(
        "SELECT {distinct}{star} AS part, {skeleton} AS form, {keep} AS fate, NULL::text AS owner, {keys}"
        " FROM {rows} AS d"
    ).format(
        distinct=distinct,
        star=sql.Literal(EVERYWHERE),
        skeleton=sql.Literal(Form.SKELETON.value),
        keep=sql.Literal(Fate.KEEP.value),
        keys=key_select(dataset, "d"),
        rows=source_of(dataset),
    )


def _owning_lines(work: Work, dataset: DatasetScope) -> sql.Composable:
    """A FROM item of the whole lines, one a row: also of a row of several homes, which `split-shared` refuses."""
    names = work.names(dataset)
    part, grouped = sql.SQL("part"), sql.Composed([])
    if not dataset.sole:
        part, grouped = sql.SQL("min(part) AS part"), sql.SQL(" GROUP BY {}").format(names)
    return sql.SQL("(SELECT {}, {} FROM {} WHERE form <> {}{})").format(
        part, names, work.lines(dataset), sql.Literal(Form.SKELETON.value), grouped
    )
