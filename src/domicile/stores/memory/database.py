"""A small database in memory: tables of rows, the application's door to them, and our own schema beside them.

A row is replaced, never changed, so a copy of the lists is a view of one moment. What the engine keeps here
(`source_side`, `home_side`) is as durable as the rows: a new store object over the same database finds it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from domicile.catalogue import Catalogue, ForeignKey, TableName
from domicile.model import Home, Manifest, Scope, SliceId
from domicile.proof import Erased, Fence, Measure
from domicile.stores.memory.closure import Line, Node
from domicile.stores.memory.rows import Row, Rows


class Guard(Protocol):
    """What stands before every write of the application."""

    def check(self, before: Rows, after: Rows, table: TableName, change: tuple[Row | None, Row | None]) -> None:
        """Raise Fenced when the old row or the new one is a mover's."""


@dataclass(slots=True, kw_only=True)
class SourceSide:
    """Our schema at the source: fence, manifest and marks."""

    movers: dict[Node, Home] = field(default_factory=dict)
    fence: Fence | None = None
    scope: Scope | None = None
    lines: tuple[Line, ...] = ()
    manifest: Manifest | None = None
    token_key: bytes = b""
    erased: dict[SliceId, Erased] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class HomeSide:
    """Our schema at home: its copy of the manifest, and marks."""

    scope: Scope
    home: Home
    lines: tuple[Line, ...]
    loaded: dict[SliceId, Measure] = field(default_factory=dict)
    share: int | None = None


class MemoryDatabase:
    """Tables of rows; `insert`, `update` and `delete` are the application's, and pass the guard."""

    def __init__(self, catalogue: Catalogue, rows: Mapping[TableName, Iterable[Row]] | None = None) -> None:
        self.catalogue = catalogue
        self.tables: dict[TableName, list[Row]] = {table.name: [] for table in catalogue.tables}
        for name, given in (rows or {}).items():
            self.tables[name] = [dict(row) for row in given]
        self.guard: Guard | None = None
        self.source_side: SourceSide | None = None
        self.home_side: HomeSide | None = None
        self.version = 0

    def moment(self) -> Rows:
        """All rows as they are now."""
        return Rows(self.tables)

    def put(self, table: TableName, rows: Iterable[Row]) -> None:
        """Replace a table's rows: the engine's door, past the guard."""
        self.tables[table] = list(rows)
        self.version += 1

    def insert(self, table: TableName, row: Row) -> None:
        """Add a row. Raises Fenced."""
        self._write(table, [(None, dict(row))])

    def update(self, table: TableName, where: Row, change: Row) -> int:
        """Change the rows that hold the values of `where`; return how many. Raises Fenced."""
        found = self._matching(table, where)
        self._write(table, [(row, {**row, **change}) for row in found])
        return len(found)

    def delete(self, table: TableName, where: Row) -> int:
        """Delete the rows that hold the values of `where`; return how many. Raises Fenced."""
        found = self._matching(table, where)
        self._write(table, [(row, None) for row in found])
        return len(found)

    def copy(self) -> MemoryDatabase:
        """A database of its own with the same rows and the same schema of ours: what a restored backup is."""
        other = MemoryDatabase(self.catalogue, self.tables)
        other.home_side, other.source_side = self.home_side, self.source_side
        return other

    def references_to(self, table: TableName) -> tuple[ForeignKey, ...]:
        """The enforced foreign keys that point at a table."""
        return tuple(key for key in self.catalogue.foreign_keys if key.parent == table)

    def _matching(self, table: TableName, where: Row) -> list[Row]:
        return [row for row in self.tables[table] if all(row[name] == value for name, value in where.items())]

    def _write(self, table: TableName, changes: list[tuple[Row | None, Row | None]]) -> None:
        replaced = {id(old): new for old, new in changes if old is not None}
        kept = [replaced.get(id(row), row) for row in self.tables[table]]
        added = [new for old, new in changes if old is None]
        after = [row for row in (*kept, *added) if row is not None]
        if self.guard is not None:
            for change in changes:
                self.guard.check(self.moment(), self.moment().changed(table, after), table, change)
        self.put(table, after)
