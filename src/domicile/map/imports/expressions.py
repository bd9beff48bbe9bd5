"""SQL expressions of other tools → our spellings: `(log.data ->> 'order_id')::int` → `data->order_id`.

Only what means the same is taken: a column, a path into JSON, the elements of an array, a text's anchored pattern. For
anything else the answer is None, and whoever asked reports it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import sqlglot
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError

from domicile.map.imports.interchange import TableRef
from domicile.model import EACH

LENGTH_MAX = 2_000
_ELEMENTS = ("jsonb_array_elements", "jsonb_array_elements_text", "json_array_elements", "json_array_elements_text")
_PATHS = ("jsonb_extract_path", "jsonb_extract_path_text", "json_extract_path", "json_extract_path_text")


def spell_expression(text: str, child: TableRef) -> str | None:
    """Return the column or the reference inside a column that the expression reads, or None."""
    tree = _parse(text)
    return None if tree is None else _spell(tree, child)


def plain_condition(text: str, child: TableRef) -> str | None:
    """Return the condition with its columns unqualified, or None where it names another table or is no condition."""
    tree = _parse(text)
    if tree is None:
        return None
    for column in list(tree.find_all(exp.Column)):
        name = _column(column, child)
        if name is None:
            return None
        plain = exp.column(exp.to_identifier(name, quoted=True))
        if column is tree:
            return None  # a bare column is no comparison
        column.replace(plain)
    return tree.sql(dialect="postgres")


def _parse(text: str) -> exp.Expr | None:
    if len(text) > LENGTH_MAX:
        return None
    try:
        statements = sqlglot.parse(text, dialect="postgres")
    except (SqlglotError, RecursionError):
        return None
    return statements[0] if len(statements) == 1 else None


def _spell(node: exp.Expr, child: TableRef) -> str | None:
    if isinstance(node, (exp.Paren, exp.Cast)):
        return _spell(node.this, child)
    if isinstance(node, exp.Column):
        return _column(node, child)
    for kinds, step in _STEPS:
        if isinstance(node, kinds):
            return step(node, child)
    return None


def _column(node: exp.Column, child: TableRef) -> str | None:
    """A column of the child alone; PostgreSQL folds names without quotes to lower case."""
    schema, table = _name(node.args.get("db")), _name(node.args.get("table"))
    if (table is not None and table != child.name) or (schema is not None and schema != (child.schema_ or schema)):
        return None
    return _name(node.this) if isinstance(node.this, exp.Identifier) else None


def _name(node: exp.Expr | None) -> str | None:
    if not isinstance(node, exp.Identifier):
        return None
    return str(node.this) if node.args.get("quoted") else str(node.this).lower()


def _extract(node: exp.Expr, child: TableRef) -> str | None:
    start, path = _spell(node.this, child), node.args.get("expression")
    if not isinstance(path, exp.JSONPath):
        return None
    steps = path.expressions[1:]
    if not all(isinstance(step, exp.JSONPathKey) and isinstance(step.this, str) for step in steps):
        return None
    return _walk(start, [step.this for step in steps])


def _extract_text_path(node: exp.Expr, child: TableRef) -> str | None:
    path = node.args.get("expression")
    inside = re.fullmatch(r"\{([^{}\"\\]*)\}", path.this) if isinstance(path, exp.Literal) and path.is_string else None
    return _walk(_spell(node.this, child), inside[1].split(",")) if inside else None


def _bracket(node: exp.Expr, child: TableRef) -> str | None:
    keys = node.expressions
    if len(keys) != 1 or not isinstance(keys[0], exp.Literal) or not keys[0].is_string:
        return None
    return _walk(_spell(node.this, child), [keys[0].this])


def _unnest(node: exp.Expr, child: TableRef) -> str | None:
    start = _spell(node.this, child)
    return None if start is None else start + EACH


def _called(node: exp.Expr, child: TableRef) -> str | None:
    name, arguments = str(node.this).lower(), node.expressions
    if name in _ELEMENTS and len(arguments) == 1:
        start = _argument(arguments[0], child)
        return None if start is None else start + EACH
    if name in _PATHS and arguments and all(isinstance(item, exp.Literal) and item.is_string for item in arguments[1:]):
        return _walk(_spell(arguments[0], child), [item.this for item in arguments[1:]])
    return None


def _argument(node: exp.Expr, child: TableRef) -> str | None:
    """Inside a call, the parser takes `a -> 'b'` for a lambda."""
    if not isinstance(node, exp.Lambda):
        return _spell(node, child)
    key, names = node.this, node.expressions
    if not isinstance(key, exp.Literal) or not key.is_string or len(names) != 1:
        return None
    return _walk(_name(names[0]), [key.this])


def _substring(node: exp.Expr, child: TableRef) -> str | None:
    """A text's first match (`substring(key from …)`); only an anchored pattern has no second."""
    pattern, start = node.args.get("start"), _spell(node.this, child)
    if start is None or node.args.get("length") or not isinstance(pattern, exp.Literal) or not pattern.is_string:
        return None
    return f"{start} ~ {pattern.this}" if pattern.this.startswith("^") else None


def _walk(start: str | None, keys: list[str]) -> str | None:
    """Append keys of JSON objects; numbers name places of an array, which we can't say."""
    if start is None or not keys:
        return None
    if any(not key or key.isdigit() or "->" in key or EACH in key or " ~ " in key for key in keys):
        return None
    return "->".join((start, *keys))


_STEPS: tuple[tuple[type[exp.Expr], Callable[[exp.Expr, TableRef], str | None]], ...] = (
    (exp.JSONExtractScalar, _extract),
    (exp.JSONExtract, _extract),
    (exp.JSONBExtractScalar, _extract_text_path),
    (exp.JSONBExtract, _extract_text_path),
    (exp.Bracket, _bracket),
    (exp.Explode, _unnest),
    (exp.Unnest, _unnest),
    (exp.Anonymous, _called),
    (exp.Substring, _substring),
)
