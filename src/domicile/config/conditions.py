"""`when:` of a hop: a comparison on the row's own columns, parsed, never pasted.

Allowed: columns, literals, comparisons, `in`, `is null`, `like`, `and`, `or`, `not`, `->>` and casts. Anything else
(functions, subqueries, other relations) is refused, so that a condition can neither write nor look elsewhere.
"""

from __future__ import annotations

import sqlglot
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError

from domicile.errors import BadFile

LENGTH_MAX = 2_000
ALLOWED = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE,
    exp.In, exp.Is, exp.Like, exp.ILike, exp.And, exp.Or, exp.Not, exp.Paren, exp.Neg, exp.Tuple, exp.Cast,
    exp.DataType, exp.JSONExtractScalar, exp.JSONPath, exp.JSONPathRoot, exp.JSONPathKey, exp.JSONExtract,
)  # fmt: skip


def split_when(text: str) -> tuple[str, str | None]:
    """Split the key of an edge, `COLUMNS when CONDITION` (ADR 0020).

    What reads references out of a column by a pattern has no condition: its blanks belong to the pattern.
    """
    columns, word, condition = text.partition(" when ")
    return (columns, condition) if word and "~" not in columns else (text, None)


def parse_condition(
    text: str, *, columns: frozenset[str], where: str, own_equality: frozenset[str] = frozenset()
) -> None:
    """Refuse the condition unless it is a plain comparison on `columns`; raise BadFile naming `where`.

    The operators of columns with an equality of their own (citext) are in no schema that we look in: such a column is
    cast first, so that the file itself says how it is compared.
    """
    tree = _parse(text, where)
    for node in tree.walk():
        if not isinstance(node, ALLOWED):
            raise BadFile(f"{where}: `when` may not hold {type(node).__name__.lower()}; compare the row's own columns")
    for column in tree.find_all(exp.Column):
        if column.table or column.name not in columns:
            raise BadFile(f"{where}: `when` names {column.sql()}, which is not a column of the dataset")
        if column.name in own_equality and not isinstance(column.parent, (exp.Cast, exp.Is)):
            raise BadFile(
                f"{where}: `when` compares {column.name}, whose type has an equality of its own; say which is meant, "
                f"e.g. {column.name}::text = 'Video'"
            )


def condition_columns(text: str | None) -> frozenset[str]:
    """The columns that a condition, parsed before, compares; none where there is no condition."""
    return frozenset(column.name for column in _parse(text, "when").find_all(exp.Column)) if text else frozenset()


def qualify_condition(text: str, alias: str) -> str:
    """Return the condition as SQL with every column qualified by `alias`. The text was parsed before."""
    tree = _parse(text, "when")
    for column in list(tree.find_all(exp.Column)):
        column.replace(exp.column(exp.to_identifier(column.name, quoted=True), exp.to_identifier(alias, quoted=True)))
    return tree.sql(dialect="postgres")


def named_columns(text: str) -> frozenset[str]:
    """The columns that the condition looks at. The text was parsed before."""
    return frozenset(column.name for column in _parse(text, "when").find_all(exp.Column))


def _parse(text: str, where: str) -> exp.Expression:
    if len(text) > LENGTH_MAX:
        raise BadFile(f"{where}: `when` is longer than {LENGTH_MAX} characters")
    try:
        statements = sqlglot.parse(text, dialect="postgres")
    except (SqlglotError, RecursionError):
        raise BadFile(f"{where}: `when` is not a condition; write e.g. \"kind = 'Video'\"") from None
    if len(statements) != 1 or statements[0] is None:
        raise BadFile(f"{where}: `when` must be one condition")
    return exp.paren(statements[0], copy=False)
