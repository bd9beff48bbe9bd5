"""How columns that refer to each other are compared: as the database's own key does, or not at all.

`=` by its bare name depends on the search path, and ours is PostgreSQL's own schema only: there citext would compare
as text, and rows be missed. So each comparison names its operator. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from domicile.catalogue import PLAIN, Column, Comparison, Table
from domicile.errors import Refused

STRINGS = "S"


def compare_all(
    parent: Table,
    parent_columns: tuple[str, ...],
    child: Table,
    columns: tuple[str, ...],
    *,
    declared: tuple[Comparison, ...] = (),
) -> tuple[Comparison, ...]:
    """Say how each column of a reference is compared; `declared` is what a foreign key uses.

    Raises:
        Refused: a type without equality, or two types with no equality in common.
    """
    found = tuple(declared) or (None,) * len(columns)
    return tuple(
        _compare(_Side(parent, one), _Side(child, other), how)
        for one, other, how in zip(parent_columns, columns, found, strict=True)
    )


def compare_key(table: Table) -> tuple[Comparison, ...]:
    """Say how each column of the table's own key is compared with the manifest's."""
    return compare_all(table, table.key, table, table.key)


def own_equality(table: Table) -> Iterator[str]:
    """Yield the columns whose equality is not PostgreSQL's own."""
    yield from (column.name for column in table.columns if not _is_plain(column.equality))


class _Side:
    def __init__(self, table: Table, name: str) -> None:
        found = table.column(name)
        if found is None:
            raise RuntimeError(f"{table.name} has no column {name}")
        self.column: Column = found
        self.place = f"{table.name}.{name}"


def _compare(parent: _Side, child: _Side, declared: Comparison | None) -> Comparison:
    comparison = declared or _by_type(parent, child)
    same = parent.column.base == child.column.base
    if same and comparison.operator == PLAIN.operator and "." not in parent.column.base:
        comparison = PLAIN
    if child.column.collation and parent.column.collation and child.column.collation != parent.column.collation:
        # A foreign key compares by its parent's collation (ri_triggers.c); of those that tell bytes apart any would do.
        return replace(comparison, collation=parent.column.collation)
    return comparison


def _by_type(parent: _Side, child: _Side) -> Comparison:
    """The parent's own equality, which is what a foreign key to it would use; strings are cast to the parent's type."""
    for side in (parent, child):
        if side.column.equality is None:
            raise Refused(
                f"{side.place}: its type {side.column.type} has no equality, so that no reference to it can be asked; "
                "let the key or path go over another column"
            )
    mine, other = parent.column, child.column
    alike = mine.category == other.category and _is_plain(mine.equality) and _is_plain(other.equality)
    if mine.base == other.base or alike:
        return mine.equality or PLAIN
    if mine.category == other.category == STRINGS:
        text = ("pg_catalog", "text")
        return replace(mine.equality or PLAIN, left=(mine.equality or PLAIN).left or text, right=_operand(mine) or text)
    raise Refused(
        f"{child.place} ({other.type}) and {parent.place} ({mine.type}) have no equality in common; "
        "let the path go over columns of one type, or declare a foreign key"
    )


def _operand(column: Column) -> tuple[str, str] | None:
    return column.equality.right if column.equality else None


def _is_plain(comparison: Comparison | None) -> bool:
    return comparison is None or comparison.operator == PLAIN.operator
