"""Following: whatever is done at the source, step by step, ends at the homes as the closure of all says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from psycopg import sql

from domicile.errors import Undecided
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
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.session import Session
from domicile.stores.postgres.source import PostgresSource
from tests.servers import create_database
from tests.stores import flow, invariants
from tests.stores.benches import DIGEST_KEY, MemoryBench, Row, _plain
from tests.stores.random_worlds import DECIDED, worlds
from tests.stores.world import Sheet, World

QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
histories = settings(max_examples=40, deadline=None, print_blob=True, suppress_health_check=QUIET)
SCHEMAS = ("public", "domicile", "domicile_directory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The databases of a small platform: one that data leaves, and two homes."""

    source: str
    homes: dict[Home, str]


@pytest.fixture(scope="module")
def place(pg18: EmbeddedServer) -> Place:
    names = {Home(home): create_database(pg18, f"live_{home}") for home in ("us", "ca")}
    return Place(source=create_database(pg18, "live_source"), homes=names)


@pytest.mark.timeout(900)
@histories
@given(world=worlds(replace(DECIDED, tokens=False)), seed=st.integers(0, 2**32))
def test_homes_follow_any_history(world: World, seed: int, place: Place) -> None:
    _follow(world, seed, place, FeedKind.TRIGGER)


@pytest.mark.timeout(900)
@settings(histories, max_examples=6)
@given(world=worlds(replace(DECIDED, tokens=False, keyless=False)), seed=st.integers(0, 2**32))
def test_homes_follow_any_history_by_a_slot(world: World, seed: int, place: Place) -> None:
    _follow(world, seed, place, FeedKind.SLOT)


def _follow(world: World, seed: int, place: Place, kind: FeedKind) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test's own dice
    memory = MemoryBench(world)
    try:
        flow.move(memory)
    except Undecided:  # worlds are decided for one home, and these have two
        reject()
    expected = invariants.observe_homes(memory, world)
    with _followed(world, place, kind) as follower, psycopg.connect(place.source, autocommit=True) as platform:
        before = replace(world, sheets=tuple(_otherwise(sheet, dice) for sheet in world.sheets))
        empty = replace(world, sheets=tuple(replace(sheet, rows=()) for sheet in world.sheets))
        for start, end in ((empty, before), (before, world)):
            for statement in _changes(start, end, dice):
                platform.execute(statement)
                if not dice.randrange(6):
                    _step(follower)
        while not (done := follower.step()).complete or done.keys:
            assert not done.unlike
        found = {
            str(home): {sheet.name: _rows(dsn, sheet) for sheet in world.sheets} for home, dsn in place.homes.items()
        }
    for home, tables in expected.items():
        for name, rows in tables.items():
            _compare(world, world.sheet(name), rows, found[home][name])


def _compare(world: World, sheet: Sheet, expected: list[Row], found: list[Row]) -> None:
    """All that the closure sends is there as often; what else is there is nobody's whole row."""
    missing = [row for row in expected if found.count(row) < expected.count(row)]
    assert [] == missing, sheet.name
    extra = [row for row in found if found.count(row) > expected.count(row)]
    blanked = [list(sheet.columns).index(blank.column) for blank in sheet.blanks]
    assert [] == [row for row in extra if any(row[number] is not None for number in blanked)], sheet.name
    needed = any(edge.parent == sheet.name for other in world.sheets for edge in other.references)
    if sheet.disposition == "move" and not needed:
        assert [] == extra


def _step(follower: Follower) -> None:
    """In the middle of things rows may lack a rule, or what they refer to; then nothing is brought."""
    try:
        follower.step()
    except Undecided:
        return


class _followed:  # noqa: N801 - reads as a verb
    def __init__(self, world: World, place: Place, kind: FeedKind) -> None:
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


def _otherwise(sheet: Sheet, dice: random.Random) -> Sheet:
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


def _changes(start: World, end: World, dice: random.Random) -> Iterator[sql.Composed]:
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


def _rows(dsn: str, sheet: Sheet) -> list[Row]:
    names = sql.SQL(", ").join(
        sql.SQL("{}::text" if words == "jsonb" else "{}").format(sql.Identifier(name))
        for name, words in sheet.columns.items()
    )
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            sql.SQL("SELECT {} FROM {}").format(names, sql.Identifier(sheet.table.schema, sheet.table.name))
        )
        return sorted(map(_plain, found), key=repr)
