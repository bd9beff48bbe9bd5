"""Rows as the reference store sees them: mappings of column to value, found by equality, named by their key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from domicile.catalogue import TableName
from domicile.model import DatasetScope, Path, Reading, Step
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
            wanted = start[step.columns[0]]
            return [there for there in self.of(step.table) if wanted in references(step.to_reading, there)]
        return self.referred(step.table, step.to_columns, start, step.columns, step.reading)

    def referred(
        self, table: TableName, to_columns: Sequence[str], row: Row, columns: Sequence[str], reading: Reading | None
    ) -> list[Row]:
        """The rows of `table` that `row` refers to, by its columns or by what is read out of one."""
        if reading is None:
            return self.find(table, to_columns, [row[name] for name in columns])
        return [there for key in references(reading, row) for there in self.find(table, to_columns, [key])]

    def changed(self, table: TableName, rows: Iterable[Row]) -> Rows:
        """The same moment with other rows in one table."""
        return Rows({**self._tables, table: tuple(rows)})


def spell(row: Row, columns: Iterable[str]) -> bytes:
    """The bytes of some of the row's values."""
    return encode([row[name] for name in columns])


def identity(dataset: DatasetScope, row: Row) -> bytes:
    """What names the row: its key, or all of it where there is no key."""
    return spell(row, dataset.key or [column.name for column in dataset.columns])


def key_text(dataset: DatasetScope, row: Row) -> tuple[str, ...]:
    """The identity for a person's eyes."""
    return tuple(str(row[name]) for name in dataset.key or [column.name for column in dataset.columns])
