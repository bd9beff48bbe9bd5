"""One database, read and written in plain SQL: rows come back as the dataclass that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, LiteralString, Self, TypeAlias, TypeVar

from psycopg import Connection, Cursor
from psycopg.rows import class_row
from psycopg.sql import Composed
from psycopg_pool import ConnectionPool

T = TypeVar("T")
Values: TypeAlias = Sequence[Any] | Mapping[str, Any]
REQUESTS_AT_ONCE = 12
# A request holds two at most, so that requests never wait for one another's connections in a ring.
POOL_CONNECTIONS_MAX = 2 * REQUESTS_AT_ONCE
POOL_WAIT_SECONDS = 5


class Session:
    """A connection: in a transaction, or each statement on its own."""

    def __init__(self, connection: Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    def run(self, statement: LiteralString, values: Values = ()) -> int:
        """Execute; return how many rows it touched."""
        return self._connection.execute(statement, values).rowcount

    def execute(self, statement: Composed) -> None:
        """Execute a statement that was put together from names."""
        self._connection.execute(statement)

    def all(self, kind: type[T], query: LiteralString, values: Values = ()) -> list[T]:
        """Return every row as a `kind`; columns are named as its fields."""
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            return cursor.execute(query, values).fetchall()

    def one(self, kind: type[T], query: LiteralString, values: Values = ()) -> T | None:
        """Return the first row as a `kind`."""
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            return cursor.execute(query, values).fetchone()

    def column(self, query: LiteralString, values: Values = ()) -> list[Any]:
        """Return the first column."""
        return [row[0] for row in self._rows(query, values)]

    def value(self, query: LiteralString, values: Values = ()) -> Any:  # noqa: ANN401 - the query says which type
        """Return the first column of the first row, or None."""
        row = self._rows(query, values).fetchone()
        return None if row is None else row[0]

    def _rows(self, query: LiteralString, values: Values) -> Cursor[tuple[Any, ...]]:
        return self._connection.execute(query, values)


class Database:
    """A pool of sessions."""

    def __init__(self, dsn: str, *, name: str) -> None:
        self._pool: ConnectionPool[Connection[tuple[Any, ...]]] = ConnectionPool(
            dsn,
            kwargs={"autocommit": True, "application_name": f"shortvideo {name}"},
            min_size=1,
            max_size=POOL_CONNECTIONS_MAX,
            timeout=POOL_WAIT_SECONDS,
            open=False,
            name=name,
        )

    def __enter__(self) -> Self:
        self._pool.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self._pool.close()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Give a session in which each statement stands alone."""
        with self._pool.connection() as connection:
            yield Session(connection)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session in which all or nothing happens."""
        with self._pool.connection() as connection, connection.transaction():
            yield Session(connection)

    def run(self, statement: LiteralString, values: Values = ()) -> int:
        """As Session.run."""
        with self.session() as session:
            return session.run(statement, values)

    def all(self, kind: type[T], query: LiteralString, values: Values = ()) -> list[T]:
        """As Session.all."""
        with self.session() as session:
            return session.all(kind, query, values)

    def one(self, kind: type[T], query: LiteralString, values: Values = ()) -> T | None:
        """As Session.one."""
        with self.session() as session:
            return session.one(kind, query, values)

    def column(self, query: LiteralString, values: Values = ()) -> list[Any]:
        """As Session.column."""
        with self.session() as session:
            return session.column(query, values)

    def value(self, query: LiteralString, values: Values = ()) -> Any:  # noqa: ANN401 - as Session.value
        """As Session.value."""
        with self.session() as session:
            return session.value(query, values)
