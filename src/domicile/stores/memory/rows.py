"""Rows as the reference store sees them: mappings of column to value, found by equality, named by their key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from domicile.catalogue import FOLDED, TableName
from domicile.model import DatasetScope, Edge, Path, Step
from domicile.stores.memory.conditions import holds
from domicile.stores.memory.readings import references
from domicile.stores.memory.values import encode

Row: TypeAlias = Mapping[str, object]


class Rows:
    """All rows of one moment."""

    def __init__(self, tables: Mapping[TableName, Iterable[Row]]) -> None:
        self._tables = {name: tuple(rows) for name, rows in tables.items()}
        self._found: dict[tuple[TableName, tuple[str, ...]], dict[bytes, list[Row]]] = {}

    def of(self, table: TableName) -> tuple[Row, ...]:
        """The rows of a table, in the order in which they lie there."""
        return self._tables.get(table, ())

    def find(self, table: TableName, columns: Sequence[str], values: Sequence[object]) -> list[Row]:
        """The rows whose columns equal the values; null equals nothing."""
        if any(value is None for value in values):
            return []
        place = (table, tuple(columns))
        if place not in self._found:
            self._found[place] = {}
            for row in self.of(table):
                self._found[place].setdefault(spell(row, columns), []).append(row)
        return self._found[place].get(encode(list(values)), [])

    def reached(self, path: Path, row: Row) -> list[Row]:
        """The subjects' own rows that `row` leads to over `path`; none where it breaks off."""
        return self.followed(path.steps, row)

    def followed(self, steps: Iterable[Step], row: Row) -> list[Row]:
        """The rows at which the steps end."""
        here = [row]
        for step in steps:
            here = [
                there
                for start in here
                if step.when is None or holds(step.when, start)
                for there in self._there(step, start)
            ]
        return here

    def _there(self, step: Step, start: Row) -> list[Row]:
        if step.to_reading is not None:
            wanted, fold = start[step.columns[0]], step.to_reading.comparison.fold
            found = [(there, references(step.to_reading, there)) for there in self.of(step.table)]
            return [there for there, keys in found if any(same(key, wanted, fold=fold) for key in keys)]
        return self.referred(step.table, step.to_columns, start, step)

    def referred(self, table: TableName, to_columns: Sequence[str], row: Row, edge: Step | Edge) -> list[Row]:
        """The rows of `table` that `row` refers to, by its columns or by what is read out of one."""
        if edge.when is not None and not holds(edge.when, row):
            return []
        if edge.reading is None:
            keys = [[row[name] for name in edge.columns]]
            fold = FOLDED in edge.comparisons
        else:
            keys, fold = [[key] for key in references(edge.reading, row)], edge.reading.comparison.fold
        if not fold:
            return [there for key in keys for there in self.find(table, to_columns, key)]
        return [
            there
            for key in keys
            for there in self.of(table)
            if all(same(there[name], value, fold=True) for name, value in zip(to_columns, key, strict=True))
        ]

    def changed(self, table: TableName, rows: Iterable[Row]) -> Rows:
        """The same moment with other rows in one table."""
        return Rows({**self._tables, table: tuple(rows)})


def same(one: object, other: object, *, fold: bool) -> bool:
    """Whether two values are equal; folded, as texts without regard to case and outer blanks. Null equals nothing."""
    if one is None or other is None:
        return False
    return str(one).strip(" ").lower() == str(other).strip(" ").lower() if fold else encode(one) == encode(other)


def spell(row: Row, columns: Iterable[str]) -> bytes:
    """The bytes of some of the row's values."""
    return encode([row[name] for name in columns])


def identity(dataset: DatasetScope, row: Row) -> bytes:
    """What names the row: its key, or all of it where there is no key."""
    return spell(row, dataset.key or [column.name for column in dataset.columns])


def key_text(dataset: DatasetScope, row: Row) -> tuple[str, ...]:
    """The identity for a person's eyes."""
    return tuple(str(row[name]) for name in dataset.key or [column.name for column in dataset.columns])
