"""Print what a SQLAlchemy MetaData and its mapped classes declare, as one JSON value (docs/importers.md).

Runs as a program of the application's interpreter: `python sqlalchemy_probe.py package.module:Base.metadata`. Needs
SQLAlchemy 1.4 or later and nothing else; what the application prints goes to standard error.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from typing import Any

WORDS_MAX = 200
CATEGORY_KEYS = ("data_category", "data_categories", "category")


def main(spec: str) -> dict[str, Any]:
    """Import the module, find the metadata, and list its edges and fields."""
    from sqlalchemy.orm import configure_mappers

    metadata = _metadata(spec)
    configure_mappers()
    mappers = _mappers(metadata)
    names: dict[Any, str] = {}
    for mapper in mappers:
        for attribute in mapper.column_attrs:
            for column in attribute.columns:
                if getattr(column, "table", None) is not None:
                    names.setdefault(column, f"{_class(mapper)}.{attribute.key}")
    answer: dict[str, Any] = {
        "version": 1,
        "source": "SQLAlchemy",
        "edges": [],
        "fields": [],
        "tables": [],
        "unsaid": [],
    }
    for table in metadata.tables.values():
        _constraints(table, names, answer)
        _columns(table, names, answer)
    for mapper in mappers:
        if getattr(mapper.local_table, "fullname", None):
            named = {"table": _ref(mapper.local_table), "name": mapper.class_.__name__, "source": _class(mapper)}
            answer["tables"].append(named)
        for relation in mapper.relationships:
            if relation.parent is mapper:
                _relation(mapper, relation, answer)
    return answer


def _metadata(spec: str) -> Any:
    """What `package.module:name.name` names: a MetaData, or something that has one."""
    from sqlalchemy import MetaData

    module, _, path = spec.partition(":")
    found: Any = importlib.import_module(module)
    for name in (path or "metadata").split("."):
        found = getattr(found, name)
    metadata = found if isinstance(found, MetaData) else getattr(found, "metadata", None)
    if not isinstance(metadata, MetaData):
        raise TypeError(f"{spec} is no MetaData and has none")
    return metadata


def _mappers(metadata: Any) -> list[Any]:
    """All classes mapped to the metadata's tables; the registries are found among living objects."""
    from sqlalchemy.orm import registry

    registries = [item for item in gc.get_objects() if isinstance(item, registry) and item.metadata is metadata]
    mappers = [mapper for each in registries for mapper in each.mappers]
    return sorted(mappers, key=_class)


def _class(mapper: Any) -> str:
    return f"{mapper.class_.__module__}.{mapper.class_.__qualname__}"


def _ref(table: Any) -> dict[str, Any]:
    return {"schema": table.schema, "name": table.name}


def _constraints(table: Any, names: dict[Any, str], answer: dict[str, Any]) -> None:
    for constraint in sorted(table.foreign_key_constraints, key=lambda item: [column.name for column in item.columns]):
        columns = list(constraint.columns)
        source = ", ".join(names.get(column, f"{table.fullname}.{column.name}") for column in columns)
        try:
            referred = [element.column for element in constraint.elements]
        except Exception as fault:  # noqa: BLE001 - the target is not in this metadata; the reason is SQLAlchemy's
            answer["unsaid"].append(f"{source}: {_first_line(fault)}")
            continue
        answer["edges"].append(
            {
                "child": _ref(table), "via": [column.name for column in columns], "parent": _ref(referred[0].table),
                "key": [column.name for column in referred], "source": source,
            }
        )  # fmt: skip


def _columns(table: Any, names: dict[Any, str], answer: dict[str, Any]) -> None:
    for column in table.columns:
        source = names.get(column, f"{table.fullname}.{column.name}")
        said = next((column.info[key] for key in CATEGORY_KEYS if key in column.info), None)
        category = said[0] if isinstance(said, (list, tuple)) and said else said
        words = column.comment or column.info.get("description") or column.info.get("label")
        if isinstance(category, str) or isinstance(words, str):
            answer["fields"].append(
                {
                    "table": _ref(table), "name": column.name, "source": source,
                    "category": category if isinstance(category, str) else None,
                    "words": words[:WORDS_MAX] if isinstance(words, str) else None,
                }
            )  # fmt: skip


def _relation(mapper: Any, relation: Any, answer: dict[str, Any]) -> None:
    """The edges of one relationship: its own, or the two of its link table."""
    source = f"{_class(mapper)}.{relation.key}"
    joins = [(relation.primaryjoin, relation.synchronize_pairs)]
    if relation.secondary is not None:
        joins.append((relation.secondaryjoin, relation.secondary_synchronize_pairs or []))
    for join, pairs in joins:
        edge = _edge(join, pairs)
        if isinstance(edge, str):
            answer["unsaid"].append(f"{source}: {edge}")
        elif edge is not None:
            answer["edges"].append(dict(edge, source=source))


def _edge(join: Any, pairs: Any) -> Any:
    """An edge, None for one that a declared key already says, or the reason why there is none."""
    if not pairs:
        return f"its join compares no two columns: {_text(join)}"
    parents, children = {pair[0].table for pair in pairs}, {pair[1].table for pair in pairs}
    if len(parents) != 1 or len(children) != 1:
        return f"its join is about more than two tables: {_text(join)}"
    child, parent = children.pop(), parents.pop()
    if not all(hasattr(table, "fullname") for table in (child, parent)):
        return f"its join is about a subquery: {_text(join)}"
    conditions = _conditions(join, {frozenset(pair) for pair in pairs}, child)
    if conditions is None:
        return f"its join asks for more than equal columns and fixed values: {_text(join)}"
    return {
        "child": _ref(child), "via": [pair[1].name for pair in pairs], "parent": _ref(parent),
        "key": [pair[0].name for pair in pairs], "when": " AND ".join(conditions) or None,
    }  # fmt: skip


def _conditions(join: Any, pairs: Any, child: Any) -> Any:
    """What the join asks besides the pairs, as SQL on the child's own columns; None when that can't be said."""
    from sqlalchemy.sql import operators
    from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, Grouping
    from sqlalchemy.sql.schema import Column

    if isinstance(join, Grouping):
        return _conditions(join.element, pairs, child)
    if isinstance(join, BooleanClauseList):
        if join.operator is not operators.and_:
            return None
        parts = [_conditions(clause, pairs, child) for clause in join.clauses]
        return None if any(part is None for part in parts) else [text for part in parts for text in part]
    if not isinstance(join, BinaryExpression) or join.operator is not operators.eq:
        return None
    sides = [_bare(join.left), _bare(join.right)]
    if frozenset(sides) in pairs:
        return []
    for column, value in (sides, sides[::-1]):
        if isinstance(column, Column) and column.table is child and isinstance(value, BindParameter):
            literal = _literal(value.effective_value)
            return None if literal is None else ['"{}" = {}'.format(column.name.replace('"', '""'), literal)]
    return None


def _bare(element: Any) -> Any:
    """The table's own column behind the annotations of foreign() and remote()."""
    deannotate = getattr(element, "_deannotate", None)
    return deannotate() if callable(deannotate) else element


def _literal(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return "'{}'".format(value.replace("'", "''")) if isinstance(value, str) else None


def _text(join: Any) -> str:
    return " ".join(str(join).split())[:WORDS_MAX]


def _first_line(fault: BaseException) -> str:
    lines = str(fault).strip().splitlines()
    return "{}: {}".format(type(fault).__name__, lines[0] if lines else "no reason given")


def run(arguments: list[str]) -> int:
    """Keep standard output for the answer alone; an application may print while it is imported."""
    answer_to = os.dup(1)
    os.dup2(2, 1)
    sys.path[:] = [os.getcwd(), *sys.path[1:]]
    try:
        answer = main(arguments[0])
    except (Exception, SystemExit) as fault:  # noqa: BLE001 - anything may happen in foreign code; the caller says it
        answer = {"failed": _first_line(fault)[:500]}
    with os.fdopen(answer_to, "w", encoding="utf-8") as out:
        json.dump(answer, out)
    return 1 if "failed" in answer else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
