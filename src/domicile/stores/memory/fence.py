"""The guard that stands in the database: no write to a mover's row passes, every other write does (P6).

A row is a mover's when it leads to one over any path of its dataset, before the write or after it. Who the movers
are was read when the fence was stood; that nobody becomes one meanwhile is part of the guard. Once the closure is
frozen, no new row may refer to one that leaves, either.
"""

from __future__ import annotations

from dataclasses import dataclass

from domicile.catalogue import TableName
from domicile.errors import Fenced
from domicile.model import DatasetId, DatasetScope, Kind, Scope
from domicile.stores.memory.closure import SOURCE, residence_of
from domicile.stores.memory.rows import Row, Rows, identity


@dataclass(frozen=True, slots=True, kw_only=True)
class MoverGuard:
    """Refuses writes to rows of `movers`, named by the identities of their subject rows."""

    scope: Scope
    movers: frozenset[tuple[DatasetId, bytes]]
    leaving: frozenset[tuple[DatasetId, bytes]] = frozenset()

    def check(self, before: Rows, after: Rows, table: TableName, change: tuple[Row | None, Row | None]) -> None:
        """Raise Fenced when the old row or the new one is a mover's."""
        dataset = next((item for item in self.scope.datasets if item.table == table), None)
        if dataset is None or not dataset.owned:
            return
        old, new = change
        if (old is not None and self._is_movers(dataset, before, old)) or (
            new is not None
            and (
                self._is_movers(dataset, after, new)
                or self._becomes_mover(dataset, after, new)
                or self._makes_a_mover(dataset, after, new)
                or self._hangs_on_leaving(dataset, after, new)
            )
        ):
            raise Fenced(f"{table}: the row belongs to a person who is being moved; write at home")

    def _is_movers(self, dataset: DatasetScope, rows: Rows, row: Row) -> bool:
        return any(
            (path.subject, identity(self.scope.dataset(path.subject), person)) in self.movers
            for path in dataset.paths
            for person in rows.reached(path, row)
        )

    def _becomes_mover(self, dataset: DatasetScope, rows: Rows, row: Row) -> bool:
        return self.scope.is_subject(dataset.id) and self._moves(self.scope.kind(dataset.id), rows, row)

    def _moves(self, kind: Kind, rows: Rows, person: Row) -> bool:
        return residence_of(kind, rows, person).home is not SOURCE

    def _makes_a_mover(self, dataset: DatasetScope, rows: Rows, row: Row) -> bool:
        """Whether the row tells somebody's market and, now, that they would move."""
        return any(
            self._moves(kind, rows, person)
            for kind in self.scope.kinds
            if dataset.table in kind.market.tables
            for path in dataset.paths
            if path.subject == kind.dataset
            for person in rows.reached(path, row)
        )

    def _hangs_on_leaving(self, dataset: DatasetScope, rows: Rows, row: Row) -> bool:
        for edge in self.scope.edges:
            parent = self.scope.dataset(edge.parent)
            if edge.child == dataset.id:
                for there in rows.referred(parent.table, edge.parent_columns, row, edge):
                    if (parent.id, identity(parent, there)) in self.leaving:
                        return True
        return False
