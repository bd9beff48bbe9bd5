"""Where one computation of the closure works: a session, a scope, and a schema for its tables.

The closure of a whole store reads all rows; what settles changes (`live.delta`) reads those of some keys alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domicile.config.rules import HomeRows
from domicile.model import DatasetId, DatasetScope, Scope
from domicile.stores.postgres import session
from domicile.stores.postgres.names import key_names, movers_of, source_of, staged

EVERYWHERE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The schema holds `s_…` (the movers of a kind) and `token`; beside them stand `w_…` (lines) and `o_…` (owners)."""

    connection: psycopg.Connection[Any]
    scope: Scope
    schema: str

    def movers(self, kind: DatasetId) -> sql.Composable:
        """The FROM item of the movers of one kind of people: key, home."""
        return movers_of(kind, self.schema)

    def rows(self, dataset: DatasetScope) -> sql.Composable:
        """The FROM item of the dataset's rows that are asked whose they are."""
        return source_of(dataset)

    def lines(self, dataset: DatasetScope) -> sql.Identifier:
        """The work table: one line a row and part."""
        return staged("w", dataset.id, self.schema)

    def owners(self, dataset: DatasetScope) -> sql.Identifier:
        """Whom each candidate row leads to, path by path."""
        return staged("o", dataset.id, self.schema)

    def names(self, dataset: DatasetScope) -> sql.Composable:
        """The key columns of both."""
        return sql.SQL(", ").join(sql.Identifier(name) for name in key_names(dataset))

    def run(self, query: sql.Composable) -> psycopg.Cursor[Any]:
        """Execute."""
        return session.run(self.connection, query)

    def count(self, query: sql.Composable) -> int:
        """Execute for one number."""
        return session.number(self.connection, query)


def is_everywhere(dataset: DatasetScope) -> bool:
    """Whether every home gets all of the dataset's rows, in one form or the other."""
    return not dataset.moves and dataset.home_rows is HomeRows.ALL
