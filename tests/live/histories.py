"""Histories of random worlds: tables at a source, changes to them, and homes that follow."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

import psycopg
from psycopg import sql

from domicile.host import Host
from domicile.model import Home, State
from domicile.stores.feed import FeedKind
from domicile.stores.postgres import fence
from domicile.stores.postgres.feed.choosing import make_feed
from domicile.stores.postgres.fence import create_staging, install_at_home
from domicile.stores.postgres.guard import Guarding
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.live import back
from domicile.stores.postgres.live.follower import Follower
from domicile.stores.postgres.names import STAGING
from domicile.stores.postgres.session import Session
from domicile.stores.postgres.source import PostgresSource
from tests.stores.benches import DIGEST_KEY, Row, _plain
from tests.stores.world import Sheet, World

SCHEMAS: Final = ("public", "domicile", "domicile_directory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The databases of a small platform: one that data leaves, and two homes."""

    source: str
    homes: dict[Home, str]


class Followed:
    """A world's tables at the source, and homes that follow it."""

    def __init__(self, world: World, place: Place, kind: FeedKind | Literal["auto"]) -> None:
        self.world, self.place, self.kind = world, place, kind

    def __enter__(self) -> Follower:
        for dsn in (self.place.source, *self.place.homes.values()):
            with psycopg.connect(dsn, autocommit=True) as connection:
                for schema in SCHEMAS:
                    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
                for statement in self.world.ddl():
                    connection.execute(statement)
        self.source = PostgresSource(self.place.source, key=DIGEST_KEY, name="app")
        scope = self.world.scope(self.source.catalogue())
        connection = self.source.connection
        with connection.transaction():
            create_staging(connection, scope, STAGING, state=State.MOVING)
            connection.execute("INSERT INTO domicile.token VALUES ('secret')")
            fence.lock_for_guard(connection, scope)
            fence.install(connection, scope, Guarding(closed=False))
            back.make_waiting(connection, scope)
        homes = {home: PostgresHome(self.place.homes[home], key=DIGEST_KEY, name=f"app-{home}") for home in scope.homes}
        for store in homes.values():
            install_at_home(store.connection, scope)
        self.session = Session(self.place.source, store="app")
        self.feed = make_feed(self.kind, self.session, scope.datasets, host=Host())
        self.feed.begin()
        self.follower = Follower(source=self.source, homes=homes, feed=self.feed, feeds_back={}, scope=scope)
        return self.follower

    def __exit__(self, *_: object) -> None:
        self.follower.close()
        self.feed.end()
        self.source.close()
        for store in self.follower.homes.values():
            store.close()
        self.session.close()


def otherwise(sheet: Sheet, dice: random.Random) -> Sheet:
    """The sheet as it may have been: rows missing, values of other rows in some columns."""
    names = list(sheet.columns)
    free = [number for number, name in enumerate(names) if name not in sheet.key]
    rows = []
    for row in sheet.rows:
        if dice.randrange(3):
            other = list(row)
            if free and dice.randrange(2):
                at = dice.choice(free)
                other[at] = dice.choice(sheet.rows)[at]
            rows.append(tuple(other))
    return replace(sheet, rows=tuple(rows))


def changes(start: World, end: World, dice: random.Random) -> Iterator[sql.Composed]:
    statements = [one for sheet in start.sheets for one in _of_sheet(sheet, end.sheet(sheet.name))]
    dice.shuffle(statements)
    yield from statements


def _of_sheet(start: Sheet, end: Sheet) -> Iterator[sql.Composed]:
    table = sql.Identifier(start.table.schema, start.table.name)
    names = list(start.columns)
    if not start.key:
        if start.rows != end.rows:
            values = sql.SQL(", ").join(_values(row) for row in end.rows)
            insert = sql.SQL("; INSERT INTO {} VALUES {}").format(table, values) if end.rows else sql.SQL("")
            yield sql.SQL("DELETE FROM {}{}").format(table, insert)
        return
    places = [names.index(name) for name in start.key]
    before = {tuple(row[at] for at in places): row for row in start.rows}
    after = {tuple(row[at] for at in places): row for row in end.rows}
    for key in before.keys() | after.keys():
        where = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(part))
            for name, part in zip(start.key, key, strict=True)
        )
        if key not in after:
            yield sql.SQL("DELETE FROM {} WHERE {}").format(table, where)
        elif key not in before:
            yield sql.SQL("INSERT INTO {} VALUES {}").format(table, _values(after[key]))
        elif before[key] != after[key]:
            sets = sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(part))
                for name, part in zip(names, after[key], strict=True)
            )
            yield sql.SQL("UPDATE {} SET {} WHERE {}").format(table, sets, where)


def _values(row: Row) -> sql.Composed:
    return sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row)))


def rows_of(dsn: str, sheet: Sheet) -> list[Row]:
    names = sql.SQL(", ").join(
        sql.SQL("{}::text" if words == "jsonb" else "{}").format(sql.Identifier(name))
        for name, words in sheet.columns.items()
    )
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(sheet.table.schema, sheet.table.name))
        )
        return sorted(map(_plain, found), key=repr)
