"""A service whose people stand in every state: a source and a home of the same tables, guarded on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from domicile import config
from domicile.model import DatasetId, Home, Scope, State
from domicile.plan.resolve import resolve
from domicile.stores.postgres import fence
from domicile.stores.postgres.catalogue import read_catalogue
from domicile.stores.postgres.guard import Guarding
from domicile.stores.postgres.names import movers_of
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.session import connect
from tests.attack.conftest import run
from tests.attack.programme import PERSON, make
from tests.live.histories import Place
from tests.servers import Databases, databases_of

PEOPLE: Final = DatasetId("app.public.person")
STAYER, HOME, MOVING, FENCED, HOME_TOO, OTHER_STAYER = 1, 2, 4, 6, 8, 3
STATES: Final = {HOME: State.HOME, HOME_TOO: State.HOME, MOVING: State.MOVING, FENCED: State.FENCED}
SCHEMA: Final = """
CREATE TABLE person (id int PRIMARY KEY, market text, handle text, email text);
INSERT INTO person SELECT i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END, 'h' || i, 'e' || i
    FROM generate_series(1, 8) AS i WHERE i NOT IN (5, 7);
CREATE TABLE note (id int PRIMARY KEY, person_id int REFERENCES person, body text);
INSERT INTO note SELECT i, i, 'n' FROM person AS p(i);
CREATE TABLE letter (id int PRIMARY KEY, sender int REFERENCES person, recipient int REFERENCES person, body text);
INSERT INTO letter SELECT 10 * s.id + r.id, s.id, r.id, 'l' FROM person AS s, person AS r;
CREATE TABLE receipt (id int PRIMARY KEY, payer int REFERENCES person, shop int REFERENCES person, body text);
INSERT INTO receipt SELECT 10 * s.id + r.id, s.id, r.id, 'r' FROM person AS s, person AS r;
INSERT INTO receipt SELECT r.id, NULL, r.id, 'r' FROM person AS r;
CREATE TABLE gift (id int PRIMARY KEY, giver int REFERENCES person, taker int REFERENCES person, body text);
INSERT INTO gift SELECT 10 * s.id + r.id, s.id, r.id, 'g' FROM person AS s, person AS r;
CREATE TABLE clip (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, title text, doc json, ip text,
    device text NOT NULL, place float8);
INSERT INTO clip SELECT i, i, 't', '{}', '10.0.0.1', 'phone', 1.5 FROM person AS p(i);
CREATE TABLE event (id int, person_id int REFERENCES person, what text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE event_low PARTITION OF event FOR VALUES FROM (0) TO (100);
CREATE TABLE event_high PARTITION OF event DEFAULT;
INSERT INTO event SELECT i, i, 'w' FROM person AS p(i);
CREATE TABLE mark (id int PRIMARY KEY, doc jsonb, secret text,
    person_id int GENERATED ALWAYS AS ((doc ->> 'person')::int) STORED REFERENCES person);
INSERT INTO mark SELECT i, jsonb_build_object('person', i), 's' FROM person AS p(i);
"""
RULES: Final = (
    PERSON
    + """
datasets:
  app.public.person:
    rows: split
    fields: {id: public, market: public, handle: public, email: private}
  app.public.note: {rows: move, path: person_id}
  app.public.letter: {rows: move, subjects: {by: [sender, recipient], shared: each}}
  app.public.receipt: {rows: move, subjects: {by: [payer, shop], shared: first}}
  app.public.gift: {rows: move, subjects: {by: [giver, taker], shared: any}}
  app.public.clip:
    rows: split
    path: person_id
    fields:
      id: public
      person_id: public
      title: public
      doc: public
      ip: private
      device: {class: private, outside: unknown}
      place: private
  app.public.event: {rows: move, path: person_id}
  app.public.mark:
    rows: split
    path: person_id
    fields: {id: public, doc: public, person_id: public, secret: private}
"""
)


@dataclass(slots=True, kw_only=True)
class Sides:
    """Both ends."""

    source: str
    home: str
    scope: Scope

    def attempt(self, dsn: str, *statements: str, isolation: str = "READ COMMITTED") -> None:
        """Write as the application does, and take it back."""
        with psycopg.connect(dsn) as connection:
            try:
                connection.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
                for statement in statements:
                    connection.execute(statement.encode())
            finally:
                connection.rollback()

    def bring(self, dsn: str, state: State, *people: int) -> None:
        """Bring people to a state, as the engine does."""
        with connect(dsn, store="app") as connection, connection.transaction():
            fence.set_state(connection, self.scope, {PEOPLE: [str(person) for person in people]}, state)


def scope_of(dsn: str, folder: Path) -> Scope:
    """The scope of the rules over the tables that are there."""
    make(folder, RULES, source=dsn, homes={"CA": dsn})
    parsed, _ = config.read(folder / "domicile.yaml")
    with connect(dsn, store="app") as connection:
        return resolve(parsed, read_catalogue(connection))


def begin(dsn: str, scope: Scope) -> None:
    """Install the guard of a live move at the source: nobody is fenced yet."""
    with connect(dsn, store="app") as connection, connection.transaction():
        fence.create_staging(connection, scope, "domicile", state=State.MOVING)
        fence.lock_for_guard(connection, scope)
        fence.late_movers(connection, scope, state=State.MOVING)
        fence.install(connection, scope, Guarding(closed=False))
    run(dsn, "INSERT INTO domicile.token VALUES ('a secret')")


def list_at_home(source: str, home: str, scope: Scope) -> None:
    """Install the guard of a home, and its list of people."""
    with connect(home, store="app-ca") as connection:
        fence.install_at_home(connection, scope)
        fence.install_at_home(connection, scope)  # as after a crash
        (kind,) = scope.kinds
        movers = movers_of(kind.dataset).as_string(connection)
    with psycopg.connect(home) as connection:
        for key, place, state, cohort in run(source, f"SELECT key, home, state, cohort FROM {movers}"):
            values: list[Any] = [key, place, state, cohort]
            connection.execute(f"INSERT INTO {movers} VALUES (%s, %s, %s, %s)".encode(), values)


def make_sides(server: EmbeddedServer, databases: Databases, folder: Path) -> Sides:
    """A source and a home, each with people in all states."""
    source, home = databases(server), databases(server)
    run(source, SCHEMA)
    run(home, SCHEMA)
    scope = scope_of(source, folder)
    begin(source, scope)
    sides = Sides(source=source, home=home, scope=scope)
    sides.bring(source, State.FENCED, HOME, HOME_TOO, FENCED)
    sides.bring(source, State.HOME, HOME, HOME_TOO)
    list_at_home(source, home, scope)
    return sides


@pytest.fixture(scope="module")
def template(pg18: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """Both ends, to be copied, never written."""
    databases = Databases()
    yield make_sides(pg18, databases, tmp_path_factory.mktemp("states"))
    databases.drop()


@pytest.fixture(scope="module")
def sides(pg18: EmbeddedServer, template: Sides) -> Iterator[Sides]:
    """Both ends for the tests that share them: each attempt is rolled back."""
    databases = Databases()
    yield copy_of(template, pg18, databases)
    databases.drop()


@pytest.fixture
def own_sides(pg18: EmbeddedServer, template: Sides, database: Databases) -> Sides:
    """Both ends for one test alone."""
    return copy_of(template, pg18, database)


def copy_of(template: Sides, server: EmbeddedServer, databases: Databases) -> Sides:
    """A copy of both databases."""
    source, home = (databases(server, str(conninfo_to_dict(dsn)["dbname"])) for dsn in (template.source, template.home))
    return Sides(source=source, home=home, scope=template.scope)


@pytest.fixture(scope="module")
def place(pg18: EmbeddedServer, request: pytest.FixtureRequest) -> Iterator[Place]:
    """The databases of a small platform: one that data leaves, and two homes."""
    module = request.module.__name__.rsplit(".", 1)[-1]
    with databases_of(pg18, [f"{module}_{place}" for place in ("source", "us", "ca")]) as made:
        homes = {Home(home): made[f"{module}_{home}"] for home in ("us", "ca")}
        yield Place(source=made[f"{module}_source"], homes=homes)
