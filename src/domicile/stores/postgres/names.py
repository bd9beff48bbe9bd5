"""How a scope is spelt in SQL: staging tables, key expressions, row expressions, joins along a path.

One builder serves the closure, the guard of the fence, the copy and the erasure, so that they cannot disagree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from psycopg import sql

from domicile.catalogue import PLAIN, Comparison, TableName
from domicile.conditions import qualify_condition
from domicile.model import Blank, DatasetId, DatasetScope, Edge, Outside, Path, Scope, Step

STAGING = "domicile"
ROW_HASH = "row_hash"
JOIN, LEFT_JOIN = sql.SQL("JOIN"), sql.SQL("LEFT JOIN")
OPERATOR_SIGNS = frozenset("+-*/<>=~!@#%^&|`?")


def tag(dataset: DatasetId) -> str:
    """A short stable name for the dataset's staging tables."""
    return hashlib.sha256(dataset.encode()).hexdigest()[:16]


def run_id(key: bytes) -> str:
    """What tells the run of this digest key from another, and nothing else."""
    return hashlib.sha256(b"domicile run\x00" + key).hexdigest()


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
    return (sql.SQL("sha256(convert_to(ROW({})::text, 'UTF8'))").format(_all(dataset, alias)),)


def key_select(dataset: DatasetScope, alias: str) -> sql.Composable:
    """The key expressions with their names."""
    pairs = zip(key_expressions(dataset, alias), key_names(dataset), strict=True)
    return sql.SQL(", ").join(sql.SQL("{} AS {}").format(item, sql.Identifier(name)) for item, name in pairs)


def key_match(dataset: DatasetScope, row: str, line: str) -> sql.Composable:
    """The condition that manifest line `line` names row `row`."""
    lines = [column(line, name) for name in key_names(dataset)]
    return _each(dataset.key_comparisons, key_expressions(dataset, row), lines)


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
    found = subject_match(scope, path, f"h{len(steps) - 1}" if steps else start)
    subject = sql.Identifier(schema, "subject")
    if not steps:
        return sql.SQL("EXISTS (SELECT FROM {} AS s WHERE {}{})").format(subject, found, _only_when(path, start))
    items, condition = _joined(scope, steps, start)
    return sql.SQL("EXISTS (SELECT FROM {} JOIN {} AS s ON {} WHERE {}{})").format(
        items, subject, found, condition, _only_when(path, start)
    )


def leads_to_anyone(scope: Scope, path: Path, start: str) -> sql.Composable:
    """A condition on row `start`: over `path` (of one step or more) it reaches a subject, mover or stayer."""
    first, condition = _joined(scope, path.steps, start)
    return sql.SQL("EXISTS (SELECT FROM {} WHERE {}{})").format(first, condition, _only_when(path, start))


def path_join(scope: Scope, path: Path, start: str) -> tuple[sql.Composable, sql.Composable]:
    """JOIN clauses that follow `path` from row `start`, and the condition that line `s` is the subject they end at."""
    steps = _needed_steps(scope, path)
    clauses, here = _joins(scope, steps, start)
    return clauses, subject_match(scope, path, here)


def subject_join(scope: Scope, path: Path, start: str) -> tuple[sql.Composable, sql.Composable]:
    """JOIN clauses that follow `path` to the subject's own row, and the condition that line `s` is that subject."""
    clauses, here = _joins(scope, path.steps, start)
    return clauses, _key_of_subject(scope, here)


def subject_row(scope: Scope, path: Path, start: str) -> tuple[sql.Composable, str]:
    """JOIN clauses that follow `path` to the subject's own row, and that row's alias."""
    return _joins(scope, path.steps, start)


def market_joins(scope: Scope, start: str) -> tuple[sql.Composable, str]:
    """LEFT JOIN clauses that follow the path to the market from subject `start`, and the alias they end at."""
    return _joins(scope, scope.market.path.steps, start, word=LEFT_JOIN, prefix="k")


def _joins(
    scope: Scope, steps: tuple[Step, ...], start: str, *, word: sql.SQL = JOIN, prefix: str = "h"
) -> tuple[sql.Composable, str]:
    here = start
    clauses: list[sql.Composable] = []
    for number, step in enumerate(steps):
        there = f"{prefix}{number}"
        clauses.append(
            sql.SQL(" {} {} AS {} ON {}").format(
                word, step_source(scope, step), sql.Identifier(there), step_match(step, here, there)
            )
        )
        here = there
    return sql.SQL("").join(clauses), here


def step_source(scope: Scope, step: Step) -> sql.Composable:
    """The FROM item of the table that a step leads to: rows of tables that inherit from it are other datasets'."""
    return next((source_of(dataset) for dataset in scope.datasets if dataset.table == step.table), relation(step.table))


def _needed_steps(scope: Scope, path: Path) -> tuple[Step, ...]:
    """All steps but a last one that only looks up the subject key the row already holds."""
    last = path.steps[-1] if path.steps else None
    if last is not None and not last.many and not last.when and last.to_columns == (scope.subject_key,):
        return path.steps[:-1]
    return path.steps


def subject_match(scope: Scope, path: Path, here: str) -> sql.Composable:
    """The condition that line `s` of the movers is the subject to whom row `here`, the last needed one, belongs."""
    if len(_needed_steps(scope, path)) == len(path.steps):
        return _key_of_subject(scope, here)
    last = path.steps[-1]
    return _each(last.comparisons, [column("s", "key")], [column(here, last.columns[0])])


def _key_of_subject(scope: Scope, here: str) -> sql.Composable:
    return same_subject(scope, column("s", "key"), column(here, scope.subject_key))


def same_subject(scope: Scope, one: sql.Composable, other: sql.Composable) -> sql.Composable:
    """The condition that two subject keys are one subject's."""
    subject = scope.dataset(scope.subject)
    how = next((item.equality for item in subject.columns if item.name == scope.subject_key), None)
    return compare(how or PLAIN, one, other)


def _joined(scope: Scope, steps: tuple[Step, ...], start: str) -> tuple[sql.Composable, sql.Composable]:
    """FROM items of the steps' tables, and the condition that ties the first to row `start`.

    Apart, so that the planner may turn an EXISTS over them into a join.
    """
    items: sql.Composable = sql.SQL("{} AS h0").format(step_source(scope, steps[0]))
    for number, step in enumerate(steps[1:], start=1):
        here, there = f"h{number - 1}", f"h{number}"
        items += sql.SQL(" JOIN {} AS {} ON {}").format(
            step_source(scope, step), sql.Identifier(there), step_match(step, here, there)
        )
    return items, _step_columns(steps[0], start, "h0")


def _only_when(path: Path, start: str) -> sql.Composable:
    """The `when` of the first step, which speaks of the starting row."""
    if path.steps and path.steps[0].when:
        return sql.SQL(" AND ") + _condition(path.steps[0].when, start)
    return sql.SQL("")


def step_match(step: Step, here: str, there: str) -> sql.Composable:
    """The condition that row `there` is one that row `here` leads to."""
    match = _step_columns(step, here, there)
    return match + sql.SQL(" AND ") + _condition(step.when, here) if step.when else match


def _step_columns(step: Step, here: str, there: str) -> sql.Composable:
    near = [column(here, name) for name in step.columns]
    far = [column(there, name) for name in step.to_columns]
    return _each(step.comparisons, near, far) if step.many else _each(step.comparisons, far, near)


def _condition(text: str, alias: str) -> sql.Composable:
    return sql.SQL(qualify_condition(text, alias))  # parsed and rebuilt, never pasted


def edge_match(edge: Edge, parent: str, child: str, *, names: tuple[str, ...] | None = None) -> sql.Composable:
    """The condition that row `child` refers to row `parent`; `names` where its columns go by others."""
    referring = [column(child, name) for name in names or edge.columns]
    return _each(edge.comparisons, [column(parent, name) for name in edge.parent_columns], referring)


def lines_match(dataset: DatasetScope, one: str, other: str) -> sql.Composable:
    """The condition that two lines of the manifest, or of the work tables, name the same row."""
    names = key_names(dataset)
    return _each(
        dataset.key_comparisons, [column(one, name) for name in names], [column(other, name) for name in names]
    )


def _each(
    comparisons: tuple[Comparison, ...], left: Sequence[sql.Composable], right: Sequence[sql.Composable]
) -> sql.Composable:
    pairs = zip(comparisons or (PLAIN,) * len(left), left, right, strict=True)
    return sql.SQL(" AND ").join(compare(how, one, other) for how, one, other in pairs)


def compare(how: Comparison, left: sql.Composable, right: sql.Composable) -> sql.Composable:
    """`left` (the parent's) equals `right` (the child's), by the operator, types and collation that are meant."""
    equals: sql.Composable = sql.SQL("=")
    if how.operator != PLAIN.operator:
        schema, sign = how.operator
        if not OPERATOR_SIGNS.issuperset(sign):
            raise RuntimeError("an operator's name holds a sign that none may hold")
        equals = sql.SQL("OPERATOR({}.{})").format(sql.Identifier(schema), sql.SQL(sign))
    parts = [_cast(left, how.left), equals, _cast(right, how.right)]
    if how.collation:
        parts.append(sql.SQL("COLLATE {}").format(sql.Identifier(*how.collation)))
    return sql.SQL(" ").join(parts)


def _cast(value: sql.Composable, kind: tuple[str, str] | None) -> sql.Composable:
    return sql.SQL("({})::{}").format(value, sql.Identifier(*kind)) if kind else value
