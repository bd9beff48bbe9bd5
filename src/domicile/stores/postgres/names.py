"""How a scope is spelt in SQL: staging tables, key expressions, row expressions, joins along a path.

One builder serves the closure, the guard of the fence, the copy and the erasure, so that they cannot disagree.
"""

from __future__ import annotations

import hashlib

from psycopg import sql

from domicile.catalogue import TableName
from domicile.conditions import qualify_condition
from domicile.model import Blank, DatasetId, DatasetScope, Outside, Path, Scope, Step

STAGING = "domicile"
ROW_HASH = "row_hash"


def tag(dataset: DatasetId) -> str:
    """A short stable name for the dataset's staging tables."""
    return hashlib.sha256(dataset.encode()).hexdigest()[:16]


def staged(kind: str, dataset: DatasetId, schema: str = STAGING) -> sql.Identifier:
    """Name the staging table of that kind (`m` manifest, `w` work, `o` owners)."""
    return sql.Identifier(schema, f"{kind}_{tag(dataset)}")


def relation(name: TableName) -> sql.Identifier:
    """Name a relation."""
    return sql.Identifier(name.schema, name.name)


def source_of(dataset: DatasetScope) -> sql.Composable:
    """The FROM item of exactly this dataset's rows: a partition tree whole, an inheritance parent without children."""
    only = sql.SQL("") if dataset.partitioned else sql.SQL("ONLY ")
    return only + relation(dataset.table)


def column(alias: str, name: str) -> sql.Composable:
    """A qualified column."""
    return sql.Identifier(alias, name)


def columns(names: tuple[str, ...]) -> sql.Composable:
    """A list of bare columns."""
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)


def column_names(dataset: DatasetScope) -> tuple[str, ...]:
    """The columns that travel: all but the generated ones."""
    return tuple(item.name for item in dataset.columns)


def key_names(dataset: DatasetScope) -> tuple[str, ...]:
    """The manifest's key columns, numbered, as a key may be called like one of the manifest's own columns.

    The row's key in its order, or the hash of the whole row where there is none.
    """
    return tuple(f"key_{number}" for number, _ in enumerate(dataset.key, start=1)) or (ROW_HASH,)


def key_expressions(dataset: DatasetScope, alias: str) -> tuple[sql.Composable, ...]:
    """The manifest's key of the row `alias`, in the order of `key_names`."""
    if dataset.key:
        return tuple(column(alias, name) for name in dataset.key)
    return (sql.SQL("md5(convert_to(ROW({})::text, 'UTF8'))").format(_all(dataset, alias)),)


def key_select(dataset: DatasetScope, alias: str) -> sql.Composable:
    """The key expressions with their names."""
    pairs = zip(key_expressions(dataset, alias), key_names(dataset), strict=True)
    return sql.SQL(", ").join(sql.SQL("{} AS {}").format(item, sql.Identifier(name)) for item, name in pairs)


def key_match(dataset: DatasetScope, row: str, line: str) -> sql.Composable:
    """The condition that manifest line `line` names row `row`."""
    pairs = zip(key_expressions(dataset, row), key_names(dataset), strict=True)
    return sql.SQL(" AND ").join(sql.SQL("{} = {}").format(item, column(line, name)) for item, name in pairs)


def _all(dataset: DatasetScope, alias: str) -> sql.Composable:
    return sql.SQL(", ").join(column(alias, name) for name in column_names(dataset))


def row_expressions(dataset: DatasetScope, alias: str, *, blanked: bool, schema: str = STAGING) -> sql.Composable:
    """The travelling columns of row `alias`, private ones replaced by their stand-ins when `blanked`."""
    blanks = {blank.column: blank for blank in dataset.blanks} if blanked else {}
    types = {item.name: item.type for item in dataset.columns}
    return sql.SQL(", ").join(
        stand_in(dataset, blanks[name], types[name], alias, schema) if name in blanks else column(alias, name)
        for name in column_names(dataset)
    )


def stand_in(dataset: DatasetScope, blank: Blank, type_name: str, alias: str, schema: str = STAGING) -> sql.Composable:
    """The stand-in of one private column.

    A token is sha256 over a secret, the column and the row's key, so that it is the same on every side and unique per
    row, and tells nothing without the secret.
    """
    kind = sql.SQL(type_name)  # format_type() text from the catalogue
    if blank.outside is Outside.NULL:
        return sql.SQL("NULL::{}").format(kind)
    if blank.outside is Outside.LITERAL:
        return sql.SQL("{}::{}").format(sql.Literal(blank.literal), kind)
    length = next((item.length_max for item in dataset.columns if item.name == blank.column), None)
    suffix = blank.literal or ""
    digits = min(32, (length or 1000) - len(suffix) - 1)
    if digits < 1:
        suffix, digits = "", max((length or 1) - 1, 0)
    return sql.SQL(
        "('x' || left(encode(sha256(convert_to((SELECT secret FROM {token}) || {place} || ROW({key})::text, 'UTF8')),"
        " 'hex'), {digits}) || {suffix})::{kind}"
    ).format(
        token=sql.Identifier(schema, "token"),
        place=sql.Literal(f"/{dataset.id}/{blank.column}/"),
        key=sql.SQL(", ").join(key_expressions(dataset, alias)),
        digits=sql.Literal(digits),
        suffix=sql.Literal(suffix),
        kind=kind,
    )


def leads_to_mover(scope: Scope, path: Path, start: str, *, schema: str = STAGING) -> sql.Composable:
    """A condition on row (or trigger record) `start`: over `path` it reaches a mover."""
    steps = _needed_steps(scope, path)
    last = _last_key(scope, path, f"h{len(steps) - 1}" if steps else start)
    key = sql.SQL("{} = s.key").format(last)
    subject = sql.Identifier(schema, "subject")
    if not steps:
        return sql.SQL("EXISTS (SELECT FROM {} AS s WHERE {}{})").format(subject, key, _only_when(path, start))
    items, condition = _joined(steps, start)
    return sql.SQL("EXISTS (SELECT FROM {} JOIN {} AS s ON {} WHERE {}{})").format(
        items, subject, key, condition, _only_when(path, start)
    )


def leads_to_anyone(path: Path, start: str) -> sql.Composable:
    """A condition on row `start`: over `path` (of one step or more) it reaches a subject, mover or stayer."""
    first, condition = _joined(path.steps, start)
    return sql.SQL("EXISTS (SELECT FROM {} WHERE {}{})").format(first, condition, _only_when(path, start))


def path_join(scope: Scope, path: Path, start: str) -> tuple[sql.Composable, sql.Composable]:
    """JOIN clauses that follow `path` from row `start`, and the expression of the subject key they end at."""
    clauses: list[sql.Composable] = []
    here = start
    for number, step in enumerate(_needed_steps(scope, path)):
        there = f"h{number}"
        clauses.append(
            sql.SQL(" JOIN {} AS {} ON {}").format(
                relation(step.table), sql.Identifier(there), _step_match(step, here, there)
            )
        )
        here = there
    return sql.SQL("").join(clauses), _last_key(scope, path, here)


def subject_join(path: Path, start: str) -> tuple[sql.Composable, str]:
    """JOIN clauses that follow `path` to the subject's own row, and that row's alias."""
    here = start
    clauses: list[sql.Composable] = []
    for number, step in enumerate(path.steps):
        there = f"h{number}"
        clauses.append(
            sql.SQL(" JOIN {} AS {} ON {}").format(
                relation(step.table), sql.Identifier(there), _step_match(step, here, there)
            )
        )
        here = there
    return sql.SQL("").join(clauses), here


def _needed_steps(scope: Scope, path: Path) -> tuple[Step, ...]:
    """All steps but a last one that only looks up the subject key the row already holds."""
    last = path.steps[-1] if path.steps else None
    if last is not None and not last.many and not last.when and last.to_columns == (scope.subject_key,):
        return path.steps[:-1]
    return path.steps


def _last_key(scope: Scope, path: Path, here: str) -> sql.Composable:
    if len(_needed_steps(scope, path)) < len(path.steps):
        return column(here, path.steps[-1].columns[0])
    return column(here, scope.subject_key)


def _joined(steps: tuple[Step, ...], start: str) -> tuple[sql.Composable, sql.Composable]:
    """FROM items of the steps' tables, and the condition that ties the first to row `start`.

    Apart, so that the planner may turn an EXISTS over them into a join.
    """
    items: sql.Composable = sql.SQL("{} AS h0").format(relation(steps[0].table))
    for number, step in enumerate(steps[1:], start=1):
        here, there = f"h{number - 1}", f"h{number}"
        items += sql.SQL(" JOIN {} AS {} ON {}").format(
            relation(step.table), sql.Identifier(there), _step_match(step, here, there)
        )
    return items, _equal(steps[0].to_columns, "h0", steps[0].columns, start)


def _only_when(path: Path, start: str) -> sql.Composable:
    """The `when` of the first step, which speaks of the starting row."""
    if path.steps and path.steps[0].when:
        return sql.SQL(" AND ") + _condition(path.steps[0].when, start)
    return sql.SQL("")


def _step_match(step: Step, here: str, there: str) -> sql.Composable:
    match = _equal(step.to_columns, there, step.columns, here)
    return match + sql.SQL(" AND ") + _condition(step.when, here) if step.when else match


def _condition(text: str, alias: str) -> sql.Composable:
    return sql.SQL(qualify_condition(text, alias))  # parsed and rebuilt, never pasted


def _equal(left: tuple[str, ...], left_alias: str, right: tuple[str, ...], right_alias: str) -> sql.Composable:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(column(left_alias, one), column(right_alias, other))
        for one, other in zip(left, right, strict=True)
    )
