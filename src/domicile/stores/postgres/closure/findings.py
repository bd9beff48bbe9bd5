"""What people should know of the closure beside its rules: rows kept, and edges nobody enforces (section 6)."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from domicile.model import DatasetScope, Edge, Fate, Finding, Form, Holds, Outside
from domicile.stores.postgres.closure.work import Work, is_everywhere
from domicile.stores.postgres.names import column, key_match, lines_match, relation, source_of
from domicile.stores.postgres.readings import as_key, holds, opened, references, refers
from domicile.stores.postgres.readings import unreadable as unreadable_text


def kept(work: Work, dataset: DatasetScope) -> Iterator[Finding]:
    """Count the movers' rows that the source keeps under a rule."""
    if not dataset.moves:
        return
    for fate, others, words in (
        (Fate.KEEP, (Fate.DELETE, Fate.BLANK), "stay at the source whole"),
        (Fate.BLANK, (Fate.DELETE,), "stay at the source as skeletons"),
    ):
        count = work.count(_left_by(work, dataset, fate, others))
        if count:
            yield Finding(
                kind="kept",
                where=str(dataset.id),
                count=count,
                text=f"{count} rows of movers {words} for others who need them",
                rule="see the rules above",
            )


def _left_by(work: Work, dataset: DatasetScope, fate: Fate, others: tuple[Fate, ...]) -> sql.Composable:
    """SELECT the number of owned rows with a line of that fate and none of the others; few have, so these first."""
    owned = sql.SQL("{alias}.form = {whole} AND {alias}.round = 0 AND {alias}.fate = ANY({fates})")

    def of(alias: str, fates: tuple[Fate, ...]) -> sql.Composable:
        values = sql.Literal([one.value for one in fates])
        return owned.format(alias=sql.Identifier(alias), whole=sql.Literal(Form.WHOLE.value), fates=values)

    return sql.SQL(
        "SELECT count(*) FROM (SELECT DISTINCT {names} FROM {lines} AS w WHERE {these}"
        " AND NOT EXISTS (SELECT FROM {lines} AS g WHERE {those} AND {same})) AS x"
    ).format(
        names=work.names(dataset), lines=work.lines(dataset), these=of("w", (fate,)), those=of("g", others),
        same=lines_match(dataset, "g", "w"),
    )  # fmt: skip


def large_objects(work: Work, dataset: DatasetScope) -> Iterator[Finding]:
    """Count the rows on their way home that name an existing large object, which is not moved with them."""
    names = [item.name for item in dataset.columns if item.base == "oid"]
    if not names:
        return
    named = sql.SQL(" OR ").join(
        sql.SQL("EXISTS (SELECT FROM pg_largeobject_metadata AS l WHERE l.oid = {})").format(column("d", name))
        for name in names
    )
    rows = sql.SQL("SELECT count(*) FROM {} AS d WHERE ({})").format(source_of(dataset), named)
    if dataset.decided or not is_everywhere(dataset):
        rows += sql.SQL(" AND EXISTS (SELECT FROM {} AS w WHERE {})").format(
            work.lines(dataset), key_match(dataset, "d", "w")
        )
    count = work.count(rows)
    if count:
        yield Finding(
            kind="large-object",
            where=str(dataset.id),
            count=count,
            text=f"{count} rows on their way home name large objects in {', '.join(names)}, which are not moved",
            rule=None if dataset.owned else "not private: the rows go home without them",
            remedy=None
            if not dataset.owned
            else f"# nothing here; in the database: ALTER TABLE {dataset.table} ADD "
            "content bytea, fill it by lo_get(), then lo_unlink() the objects",
        )


def stand_ins(work: Work, edge: Edge) -> Iterator[Finding]:
    """Count skeletons whose stand-in for a referring column is a value that the parent doesn't hold."""
    child, parent = work.scope.dataset(edge.child), work.scope.dataset(edge.parent)
    blank = next((item for item in child.blanks if (item.column,) == edge.columns), None)
    if edge.reading is not None or blank is None or blank.outside is not Outside.LITERAL:
        return
    held = work.count(
        sql.SQL("SELECT count(*) FROM {} AS p WHERE p.{}::text = {}").format(
            source_of(parent), sql.Identifier(edge.parent_columns[0]), sql.Literal(blank.literal)
        )
    )
    if not (held and is_everywhere(parent)):
        yield Finding(
            kind="stand-in",
            where=f"datasets.{child.id}.fields.{blank.column}",
            count=1,
            text=f"the stand-in of {blank.column} refers to a row of {parent.id} that is not everywhere",
            remedy=f"datasets:\n  {child.id}:\n    fields:\n      {blank.column}: {{class: private, outside: ?}}"
            f"   # a value that {parent.id} holds at every home",
        )


def unenforced(work: Work, edge: Edge) -> Iterator[Finding]:
    """Count the closure rows on an edge that the database does not enforce, and the rows that dangle."""
    if edge.enforced:
        return
    child, parent = work.scope.dataset(edge.child), work.scope.dataset(edge.parent)
    lacking: sql.Composable = sql.SQL("true")
    if edge.missing_on and edge.missing_on != (child.table,):
        leaves = [f"{relation(name).as_string(None)}" for name in edge.missing_on]
        lacking = sql.SQL("c.tableoid = ANY({}::regclass[])").format(sql.Literal(leaves))
    rows = sql.SQL("SELECT count(*) FROM {} AS c WHERE {} AND {}").format(
        source_of(child), refers_at_all(work, edge), lacking
    )
    on_path = any(
        step.columns == edge.columns and step.reading == edge.reading for path in child.paths for step in path.steps[:1]
    )
    if on_path:
        touched = work.count(
            rows
            + sql.SQL(" AND EXISTS (SELECT FROM {} AS w WHERE w.round = 0 AND {})").format(
                work.lines(child), key_match(child, "c", "w")
            )
        )
        if touched:
            yield _unenforced_finding(edge, child, touched)
    dangling = work.count(rows + sql.SQL(" AND ") + dangles(work, edge, parent))
    if dangling:
        yield Finding(
            kind="dangling",
            where=edge.where,
            count=dangling,
            text=f"{dangling} rows refer to rows of {edge.parent} that don't exist",
            rule="counted, left as they are",
        )


def refers_at_all(work: Work, edge: Edge) -> sql.Composable:
    """Whether row `c` names any parent, there or not."""
    if edge.reading is None:
        named = [sql.SQL("{} IS NOT NULL").format(column("c", name)) for name in edge.columns]
        return sql.SQL(" AND ").join([*named, holds(edge, "c")])
    key = as_key(edge.reading.kind, sql.SQL("r.x"))
    return sql.SQL("EXISTS (SELECT FROM ({}) AS r(x) WHERE {} IS NOT NULL)").format(
        references(edge.reading, "c", schema=work.schema), key
    )


def dangles(work: Work, edge: Edge, parent: DatasetScope) -> sql.Composable:
    """Whether row `c` names a parent that is not there."""
    none = sql.SQL("NOT EXISTS (SELECT FROM {} AS p WHERE {})").format(source_of(parent), refers(edge, "c", "p"))
    if edge.reading is None:
        return none
    return sql.SQL("EXISTS (SELECT FROM (SELECT) AS one{} WHERE {} IS NOT NULL AND {})").format(
        opened(edge, "c", schema=work.schema), as_key(edge.reading.kind, sql.SQL("c_reads.x")), none
    )


def unreadable(work: Work, edge: Edge) -> Iterator[Finding]:
    """Count the rows whose text is no JSON where references are read: whose they are, can't be seen there."""
    if edge.reading is None or edge.reading.holds is not Holds.JSON:
        return
    child = work.scope.dataset(edge.child)
    count = work.count(
        sql.SQL("SELECT count(*) FROM {} AS c WHERE {}").format(
            source_of(child), unreadable_text(edge.reading, "c", schema=work.schema)
        )
    )
    if count:
        yield Finding(
            kind="unreadable",
            where=edge.where,
            count=count,
            text=f"{count} rows hold text that is no JSON where references are read",
            rule=f"datasets.{child.id}.unenforced: follow" if child.unenforced_follow else None,
            remedy=None if child.unenforced_follow else f"datasets:\n  {child.id}:\n    unenforced: follow",
        )


def _unenforced_finding(edge: Edge, child: DatasetScope, count: int) -> Finding:
    places = ", ".join(str(name) for name in edge.missing_on[:5])
    return Finding(
        kind="unenforced",
        where=edge.where,
        count=count,
        text=f"{count} closure rows hang on an edge that the database does not enforce ({places})",
        rule=f"datasets.{child.id}.unenforced: follow" if child.unenforced_follow else None,
        remedy=None if child.unenforced_follow else f"datasets:\n  {child.id}:\n    unenforced: follow",
    )
