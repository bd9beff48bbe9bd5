"""Three locations for publishing: sg on PostgreSQL 18, us and ca as two databases of one PostgreSQL 16."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from domicile import config
from domicile.plan.resolve import resolve
from domicile.publish import Checked, Publishing, decide, judge
from domicile.stores.postgres.catalogue import read_catalogue
from domicile.stores.postgres.programs import server_user
from domicile.stores.postgres.publishing import Server, drop_publishing, make_publishing, observe, sight
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.session import connect
from tests.servers import HASTY, create_database, own_server

Pair = tuple[EmbeddedServer, EmbeddedServer]
READY: Final = {
    **HASTY, "max_logical_replication_workers": "16", "max_worker_processes": "24", "max_replication_slots": "32",
    "max_wal_senders": "32", "wal_retrieve_retry_interval": "100ms",
}  # fmt: skip
PEER: Final = "peer"
PEER_PASSWORD: Final = "peer-secret"
SECONDS_MAX: Final = 20
WAIT: Final = Event()

TABLES: Final = """
CREATE TABLE person (
    id integer PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, phone text, country char(2) NOT NULL,
    seen timestamptz DEFAULT now(), mail_host text GENERATED ALWAYS AS (split_part(email, '@', 2)) STORED);
CREATE TABLE post (
    id integer PRIMARY KEY, person_id integer NOT NULL REFERENCES person, body text,
    letters integer GENERATED ALWAYS AS (length(body)) STORED, address inet, likes integer NOT NULL DEFAULT 0);
CREATE TABLE tag (name text PRIMARY KEY, label text);
CREATE TABLE note (id integer PRIMARY KEY, person_id integer NOT NULL REFERENCES person, words text);
CREATE TABLE "Odd View" (id integer, day date, person_id integer NOT NULL, title text, "Agent" text,
    PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE odd_old PARTITION OF "Odd View" FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
CREATE TABLE odd_new PARTITION OF "Odd View" FOR VALUES FROM ('2020-01-01') TO ('2040-01-01');
"""
ROWS: Final = """
INSERT INTO person VALUES (1, 'Ada', 'ada@private.example', '+1-ada', 'US', '2020-01-01'),
    (2, 'Cleo', 'cleo@private.example', '+1-cleo', 'CA', '2020-01-01'),
    (3, 'Sam', 'sam@private.example', '+65-sam', 'SG', '2020-01-01');
INSERT INTO post VALUES (1, 1, 'from Ada', DEFAULT, '10.0.0.1'), (3, 3, 'from Sam', DEFAULT, '10.0.0.3');
INSERT INTO tag VALUES ('cats', 'Cats');
"""
FILE: Final = """
version: 1
programme: {name: homecoming}
policy:
  homes: {US: us, CA: ca}
  unknown_market: stay
  approvals: {erase: {threshold: 1, of: [operator]}}
  public: {replicate: true, trusted: [sg, us, ca], connections: {sg: env:SG_PEER, us: env:US_PEER, ca: env:CA_PEER}}
locations:
  sg: {country: SG, operator: Origin Ltd}
  us: {country: US, operator: Home Inc}
  ca: {country: CA, operator: Home Inc}
stores:
  app: {kind: postgresql, location: sg, dsn: env:SG}
  app-us: {kind: postgresql, location: us, dsn: env:US, home_of: app}
  app-ca: {kind: postgresql, location: ca, dsn: env:CA, home_of: app}
subject: {dataset: app.public.person, key: id, market: {field: country}}
datasets:
  app.public.person:
    rows: split
    fields:
      id: public
      name: public
      email: {class: private, category: user.contact.email, outside: token}
      phone: private
      country: {class: private, outside: ZZ}
      seen: private
      mail_host: private
  app.public.post:
    rows: split
    path: person_id
    fields: {id: public, person_id: public, body: public, letters: public, address: private, likes: public}
  app.public.tag: {rows: public, fields: {name: public, label: public}}
  app.public.note: {rows: move, path: person_id}
  app.public."Odd View":
    rows: split
    path: [{via: person_id, to: app.public.person}]
    fields: {id: public, day: public, person_id: public, title: public, Agent: {class: private, outside: none}}
    edges: {person_id: {to: app.public.person}}
    unenforced: follow
"""


def eventually(look: Callable[[], object], wanted: object) -> None:
    """Look again and again until it is as wanted; fail after SECONDS_MAX."""
    end = monotonic() + SECONDS_MAX
    while (seen := look()) != wanted:
        assert monotonic() < end, f"wanted {wanted!r}, still {seen!r}"
        WAIT.wait(0.02)


def _wait(seconds: float) -> None:
    WAIT.wait(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The locations' databases, with a session at each that replicates nothing by itself."""

    dsns: Mapping[str, str]
    reached_by: Mapping[str, str]
    sessions: Mapping[str, psycopg.Connection[Any]]
    text: str
    decided: dict[str, Publishing] = field(default_factory=dict)

    def run(self, place: str, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute as the application would; return the rows, if there are any."""
        cursor = self.sessions[place].execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def decide(self, text: str | None = None) -> Publishing:
        """What the file wants of these databases."""
        text = text or self.text
        if text not in self.decided:
            parsed = config.load(text.encode())
            scope = resolve(parsed, read_catalogue(self.sessions["sg"]))
            sights = {place: sight(session, scope) for place, session in self.sessions.items()}
            self.decided[text] = decide(scope, parsed, sights)
        return self.decided[text]

    def servers(self) -> dict[str, Server]:
        """All locations, as the engine is given them."""
        return {
            place: Server(connection=session, store=place, reached_by=self.reached_by[place])
            for place, session in self.sessions.items()
        }

    def make(self, *, bring: bool = False, text: str | None = None) -> tuple[str, ...]:
        """Publish."""
        return make_publishing(self.decide(text), self.servers(), bring=bring)

    def check(self) -> Checked:
        """Hold what is there against the file."""
        publishing = self.decide()
        return judge(publishing, {place: observe(session, publishing) for place, session in self.sessions.items()})

    def drop(self, *, text: str | None = None) -> tuple[str, ...]:
        """Take all away."""
        return drop_publishing(self.decide(text), self.servers(), pause=_wait)

    def quiet(self) -> None:
        """Wait until all that was written so far has arrived everywhere."""
        for place in self.sessions:
            here = self.run(place, "SELECT pg_current_wal_lsn()::text")[0][0]
            eventually(
                lambda place=place, here=here: self.run(  # type: ignore[misc]
                    place,
                    "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
                    " AND confirmed_flush_lsn < %s::pg_lsn",
                    here,
                ),
                [(0,)],
            )

    def settle(self) -> None:
        """Wait until nothing is left to remark.

        Where a row came from two locations at the same time, one was told so and tried again: that is forgotten, once
        all else is well, as the remark advises.
        """

        def remarks() -> list[tuple[str, str, str]]:
            return [(item.kind, item.location, item.where) for item in self.check().remarks]

        eventually(lambda: [item for item in remarks() if item[0] != "errors"], [])
        for place in self.sessions:
            self.run(place, "SELECT pg_stat_reset_subscription_stats(NULL)")
        eventually(remarks, [])


@contextmanager
def two_servers() -> Iterator[Pair]:
    """The source's server and the homes', each with the role of the others and the file of its password."""
    with own_server("sg", parameters=READY) as source, own_server("us", major=16, parameters=READY) as home:
        for server in (source, home):
            with psycopg.connect(server.dsn(), autocommit=True) as admin:
                admin.execute(f"CREATE ROLE {PEER} LOGIN REPLICATION PASSWORD '{PEER_PASSWORD}'")
                admin.execute(f"GRANT pg_read_all_data TO {PEER}")
            passfile = _passfile(server)
            passfile.write_text(f"*:*:*:{PEER}:{PEER_PASSWORD}\n", encoding="utf-8")
            user = server_user()
            if user:
                os.chown(passfile, user.uid, user.gid)
            passfile.chmod(0o600)
        yield source, home


def _passfile(server: EmbeddedServer) -> Path:
    return server.directory / "peers"


@contextmanager
def places(servers: Pair, *, fill: Callable[[str, str], None], file: str = FILE) -> Iterator[Places]:
    """Fresh databases at the three locations, filled by `fill(place, dsn)`; gone afterwards. Each has its own names."""
    source, home = servers
    where = {"sg": source, "us": home, "ca": home}
    name = uuid4().hex[:8]
    dsns = {place: create_database(server, f"{place}_{name}") for place, server in where.items()}
    # A passfile is of the server that reads it: each reads the other's, or its own.
    reached_by = {
        place: make_conninfo(
            "", host="127.0.0.1", port=server.port, user=PEER, dbname=f"{place}_{name}",
            passfile=str(_passfile(server)),
        )
        for place, server in where.items()
    }  # fmt: skip
    for place, dsn in dsns.items():
        fill(place, dsn)
    with ExitStack() as stack:
        sessions = {place: stack.enter_context(connect(dsn, store=place)) for place, dsn in dsns.items()}
        for session in sessions.values():
            session.execute("SET search_path = public, pg_catalog")
        text = file.replace("name: homecoming", f"name: p{name}")
        made = Places(dsns=dsns, reached_by=reached_by, sessions=sessions, text=text)
        yield made
        made.drop()
    for place, server in where.items():
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(f"{place}_{name}")))


def fill_small(place: str, dsn: str) -> None:
    """The small world as a move leaves it: at home the own people whole, others as skeletons."""
    with psycopg.connect(dsn) as connection:
        connection.execute(TABLES)
        connection.execute(ROWS)
        country = {"us": "US", "ca": "CA", "sg": "SG"}[place]
        connection.execute(
            "UPDATE post SET address = NULL FROM person AS p WHERE p.id = person_id AND p.country <> %s", (country,)
        )
        connection.execute(
            "UPDATE person SET email = 'token-' || id, phone = NULL, seen = NULL, country = 'ZZ' WHERE country <> %s",
            (country,),
        )
