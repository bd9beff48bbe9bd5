"""Two values compared as the database's own keys compare them: by operator, types and collation (ADR 0013)."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from domicile.catalogue import PLAIN, Comparison

OPERATOR_SIGNS = frozenset("+-*/<>=~!@#%^&|`?")


def compare_each(
    comparisons: tuple[Comparison, ...], left: Sequence[sql.Composable], right: Sequence[sql.Composable]
) -> sql.Composable:
    """The condition that two lists are equal, one by one; without comparisons by PostgreSQL's own equality."""
    pairs = zip(comparisons or (PLAIN,) * len(left), left, right, strict=True)
    return sql.SQL(" AND ").join(compare(how, one, other) for how, one, other in pairs)


def compare(how: Comparison, left: sql.Composable, right: sql.Composable) -> sql.Composable:
    """`left` (the parent's) equals `right` (the child's), by the operator, types and collation that are meant."""
    if how.fold:
        return sql.SQL("{} = {}").format(_folded(left), _folded(right))
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


def _folded(value: sql.Composable) -> sql.Composable:
    return sql.SQL('lower(btrim(({})::text COLLATE "default"))').format(value)


def _cast(value: sql.Composable, kind: tuple[str, str] | None) -> sql.Composable:
    return sql.SQL("({})::{}").format(value, sql.Identifier(*kind)) if kind else value
