"""A bench is a source and its homes made from a world, and the doors through which a test looks at their rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, cast

import psycopg
import pytest
from psycopg import sql

from domicile.catalogue import TableName
from domicile.errors import Fenced
from domicile.model import SLICE_ROWS_MAX, Home, Scope
from domicile.stores import HomeStore, SourceStore
from domicile.stores.memory import Faults, MemoryDatabase, MemoryHome, MemorySource
from domicile.stores.postgres import staging
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.session import FENCED_STATE
from domicile.stores.postgres.source import PostgresSource
from tests.stores.world import World

DIGEST_KEY = b"digest key of the tests, 32 long"
NOON = datetime(2020, 9, 1, 12, tzinfo=UTC)
SOURCE = "source"

Row = tuple[object, ...]


class Flowing:
    """What the flow needs: both sides of a move."""

    scope: Scope
    source: SourceStore
    homes: Mapping[Home, HomeStore]


class Bench(Flowing, ABC):
    """Both sides, and their rows."""

    world: World

    @abstractmethod
    def reopen(self) -> None:
        """Make new store objects over the same databases, as after a crash."""

    @abstractmethod
    def home_over_the_source(self) -> HomeStore:
        """A home store over a database that already holds somebody's tables."""

    @abstractmethod
    def rows(self, place: str, table: str) -> list[Row]:
        """All rows of a table at `source` or at a home, in a fixed order."""

    @abstractmethod
    def insert(self, place: str, table: str, row: Mapping[str, object]) -> None:
        """Write as the application does; raise Fenced when the store refuses."""

    @abstractmethod
    def update(self, place: str, table: str, where: Mapping[str, object], change: Mapping[str, object]) -> int:
        """Write as the application does."""

    @abstractmethod
    def delete(self, place: str, table: str, where: Mapping[str, object]) -> int:
        """Write as the application does."""

    @abstractmethod
    def tamper(self, table: str, where: Mapping[str, object], change: Mapping[str, object]) -> None:
        """Write at the source past the guard, as somebody with every right could."""


class MemoryBench(Bench):
    """The reference stores."""

    def __init__(self, world: World, *, rows_max: int = SLICE_ROWS_MAX, faults: Faults | None = None) -> None:
        self.world = world
        self.rows_max = rows_max
        self.faults = faults or Faults()
        catalogue = world.catalogue()
        empty = World(sheets=()).catalogue()
        self.scope = world.scope(catalogue)
        self.databases = {
            SOURCE: MemoryDatabase(catalogue, {sheet.table: sheet.dicts() for sheet in world.sheets}),
            **{str(home): MemoryDatabase(empty) for home in self.scope.homes},
        }
        self.reopen()

    def reopen(self) -> None:
        self.source = MemorySource(
            self.databases[SOURCE],
            digest_key=DIGEST_KEY,
            now=lambda: NOON,
            rows_max=self.rows_max,
            faults=self.faults,
        )
        self.homes = {
            home: MemoryHome(self.databases[home], digest_key=DIGEST_KEY, faults=self.faults)
            for home in self.scope.homes
        }

    def home_over_the_source(self) -> HomeStore:
        return MemoryHome(self.databases[SOURCE], digest_key=DIGEST_KEY)

    def rows(self, place: str, table: str) -> list[Row]:
        sheet = self.world.sheet(table)
        found = self.databases[place].tables.get(sheet.table, [])
        return sorted((_plain(row[name] for name in sheet.columns) for row in found), key=repr)

    def insert(self, place: str, table: str, row: Mapping[str, object]) -> None:
        self.databases[place].insert(self.world.sheet(table).table, row)

    def update(self, place: str, table: str, where: Mapping[str, object], change: Mapping[str, object]) -> int:
        return self.databases[place].update(self.world.sheet(table).table, where, change)

    def delete(self, place: str, table: str, where: Mapping[str, object]) -> int:
        return self.databases[place].delete(self.world.sheet(table).table, where)

    def tamper(self, table: str, where: Mapping[str, object], change: Mapping[str, object]) -> None:
        database = self.databases[SOURCE]
        guard, database.guard = database.guard, None
        database.update(self.world.sheet(table).table, where, change)
        database.guard = guard


class PostgresBench(Bench):
    """Real databases; `database` makes an empty one and returns its DSN."""

    def __init__(self, world: World, database: Callable[[], str]) -> None:
        self.world = world
        homes = [Home(home) for home in dict.fromkeys(home for _, home in world.markets)]
        self.dsns = {SOURCE: database(), **{str(home): database() for home in homes}}
        with psycopg.connect(self.dsns[SOURCE]) as connection:
            make_tables(connection, world)
        self.opened: list[PostgresSource | PostgresHome] = []
        with closing(PostgresSource(self.dsns[SOURCE], key=DIGEST_KEY, name="app")) as store:
            self.scope = world.scope(store.catalogue())
        self.reopen()

    def reopen(self) -> None:
        self.close()
        source = PostgresSource(self.dsns[SOURCE], key=DIGEST_KEY, name="app")
        homes = {home: self._home(str(home)) for home in self.scope.homes}
        self.opened = [source, *homes.values()]
        for store in self.opened:
            store.bind(self.scope)
        self.source = source
        self.homes = {home: as_home(store) for home, store in homes.items()}

    def close(self) -> None:
        for store in self.opened:
            store.close()
        self.opened = []

    def home_over_the_source(self) -> HomeStore:
        home = self._home(SOURCE)
        self.opened.append(home)
        return as_home(home)

    def _home(self, place: str) -> PostgresHome:
        return PostgresHome(self.dsns[place], key=DIGEST_KEY, name=f"app-{place}")

    def rows(self, place: str, table: str) -> list[Row]:
        sheet = self.world.sheet(table)
        with psycopg.connect(self.dsns[place]) as connection:
            there = connection.execute("SELECT to_regclass(%s)", [_name(sheet.table).as_string(None)]).fetchone()
            if not there or there[0] is None:
                return []
            names = sql.SQL(", ").join(
                sql.SQL("{}::text" if words == "jsonb" else "{}").format(sql.Identifier(name))
                for name, words in sheet.columns.items()
            )
            found = connection.execute(sql.SQL("SELECT {} FROM {}").format(names, _name(sheet.table)))
            return sorted(map(_plain, found), key=repr)

    def insert(self, place: str, table: str, row: Mapping[str, object]) -> None:
        self._write(
            place,
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                _name(self.world.sheet(table).table),
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join(map(sql.Literal, row.values())),
            ),
        )

    def update(self, place: str, table: str, where: Mapping[str, object], change: Mapping[str, object]) -> int:
        return self._write(
            place,
            sql.SQL("UPDATE {} SET {} WHERE {}").format(
                _name(self.world.sheet(table).table), _equal(change, ", "), _equal(where, " AND ")
            ),
        )

    def delete(self, place: str, table: str, where: Mapping[str, object]) -> int:
        return self._write(
            place,
            sql.SQL("DELETE FROM {} WHERE {}").format(_name(self.world.sheet(table).table), _equal(where, " AND ")),
        )

    def tamper(self, table: str, where: Mapping[str, object], change: Mapping[str, object]) -> None:
        name = _name(self.world.sheet(table).table)
        with psycopg.connect(self.dsns[SOURCE]) as connection:
            connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(name))
            connection.execute(
                sql.SQL("UPDATE {} SET {} WHERE {}").format(name, _equal(change, ", "), _equal(where, " AND "))
            )
            guards = connection.execute(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal",
                [name.as_string(None)],
            )
            for (guard,) in guards.fetchall():
                connection.execute(
                    sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(name, sql.Identifier(guard))
                )

    def _write(self, place: str, statement: sql.Composed) -> int:
        with psycopg.connect(self.dsns[place]) as connection:
            try:
                return connection.execute(statement).rowcount
            except psycopg.Error as fault:
                if fault.sqlstate == FENCED_STATE:
                    raise Fenced("refused by the guard") from None
                raise


def _plain(values: Iterable[object]) -> Row:
    """A row that can be a member of a set."""
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


def as_home(store: PostgresHome) -> HomeStore:
    """The home as the protocol sees it; it prepares itself only from a source of its own kind."""
    return cast("HomeStore", store)


def make_tables(connection: psycopg.Connection[Any], world: World) -> None:
    """Make the world's tables and rows."""
    for statement in world.ddl():
        connection.execute(statement)
    for sheet in world.sheets:
        names = sql.SQL(", ").join(map(sql.Identifier, sheet.columns))
        command = sql.SQL("COPY {} ({}) FROM STDIN").format(_name(sheet.table), names)
        with connection.cursor() as cursor, cursor.copy(command) as copy:
            for row in sheet.rows:
                copy.write_row(row)
    for statement in world.constraints():
        connection.execute(statement)


def patch_rows_max(rows_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut PostgreSQL's slices smaller than any real run would."""
    monkeypatch.setattr(staging, "SLICE_ROWS_MAX", rows_max)


def _name(table: TableName) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)


def _equal(values: Mapping[str, object], joint: str) -> sql.Composed:
    return sql.SQL(joint).join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in values.items()
    )
