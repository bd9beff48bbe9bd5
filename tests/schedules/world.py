"""The small platform of the schedules: twelve people of three markets, two homes, rows of one person and of two.

Its movers' rows are at home already and nobody is cut over. With the feed of triggers that is a copy of a world that
was made once; a slot belongs to its database, so with it each world is made anew.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg

from domicile.config.rules import Apart
from domicile.model import DatasetId
from domicile.run import Stage
from domicile.stores.feed import FeedKind
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.programme import Programme, make
from tests.servers import SCRATCH, create_database, drop_database

PERSON: Final = DatasetId("app.public.person")
SOURCE: Final = "source"
HOMES: Final = ("us", "ca")
PLACES: Final = (SOURCE, *HOMES)
MARKETS: Final = ("US", "CA", "SG")
SCHEMA: Final = """
CREATE TABLE person (id bigint PRIMARY KEY, market text NOT NULL, handle text NOT NULL, email text);
INSERT INTO person SELECT i, CASE WHEN i <= 4 THEN 'US' WHEN i <= 8 THEN 'CA' ELSE 'SG' END, 'h' || i, 'e' || i
    FROM generate_series(1, 12) AS i;
CREATE TABLE note (id bigint PRIMARY KEY, person_id bigint NOT NULL REFERENCES person, body text);
INSERT INTO note SELECT i, i, 'first' FROM person AS p(i);
CREATE TABLE letter (id bigint PRIMARY KEY, sender bigint NOT NULL REFERENCES person,
    recipient bigint NOT NULL REFERENCES person, body text);
INSERT INTO letter SELECT row_number() OVER (), a.id, b.id, 'first' FROM person AS a, person AS b
    WHERE (a.id * 7 + b.id * 3) % 4 = 0 AND a.id <> b.id;
CREATE TABLE wallet (id bigint PRIMARY KEY, person_id bigint NOT NULL REFERENCES person);
INSERT INTO wallet SELECT i, i FROM person AS p(i);
CREATE TABLE payment (wallet_id bigint NOT NULL REFERENCES wallet, number bigint, amount text,
    PRIMARY KEY (wallet_id, number));
INSERT INTO payment SELECT i, i, 'first' FROM person AS p(i);
CREATE TABLE post (id bigint PRIMARY KEY, person_id bigint NOT NULL REFERENCES person, reply_to bigint REFERENCES post,
    body text NOT NULL);
INSERT INTO post SELECT i, i, NULLIF(i - 1, 0), 'first' FROM person AS p(i);
CREATE TABLE clip (id bigint PRIMARY KEY, person_id bigint NOT NULL REFERENCES person, title text, likes int, ip text);
INSERT INTO clip SELECT i, i, 't', 0, 'first' FROM person AS p(i);
"""
RULES: Final = """
subject:
  dataset: app.public.person
  key: id
  market: {field: market}
datasets:
  app.public.person:
    rows: split
    fields: {id: public, market: {class: private, outside: none}, handle: public, email: private}
  app.public.note: {rows: move, path: person_id}
  app.public.letter: {rows: move, subjects: {by: [sender, recipient], shared: each}}
  app.public.wallet: {rows: move, path: person_id}
  app.public.payment: {rows: move, path: [wallet_id, person_id]}
  app.public.post:
    rows: move
    path: person_id
    fields: {body: {class: private, outside: ""}}
    edges: {reply_to: {apart: APART}}
  app.public.clip:
    rows: split
    path: person_id
    fields: {id: public, person_id: public, title: public, likes: public, ip: private}
directory: {purpose: requests find the home of who moved}
cutover: {feed: FEED, pause: never, grow: [0.1, 0.3], wait_s_max: 20}
"""
APARTS: Final = (Apart.SKELETON, Apart.WHOLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One of them: connection strings by place, and the programme that moves its people."""

    dsns: Mapping[str, str]
    programme: Programme


@dataclass(slots=True)
class Worlds:
    """Makes them on one server; what they are copied from is gone with `end`."""

    server: EmbeddedServer
    _root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="domicile-test-schedules-", dir=SCRATCH)))
    _made: set[str] = field(default_factory=set)
    _count: int = 0

    @contextmanager
    def fresh(self, feed: FeedKind, apart: Apart) -> Iterator[World]:
        """Give one in which nobody has written yet; it is gone afterwards."""
        self._count += 1
        name = f"schedules_{self._count}"
        try:
            yield self._make(name, feed, apart) if feed is FeedKind.SLOT else self._copy(name, apart)
        finally:
            self._drop(name)

    def end(self) -> None:
        """Drop what worlds were copied from."""
        for name in self._made:
            self._drop(name)
        shutil.rmtree(self._root)

    def _make(self, name: str, feed: FeedKind, apart: Apart) -> World:
        dsns = {place: create_database(self.server, f"{name}_{place}") for place in PLACES}
        with psycopg.connect(dsns[SOURCE]) as connection:
            connection.execute(SCHEMA.encode())
        rules = RULES.replace("APART", apart).replace("FEED", feed)
        homes = {home.upper(): dsns[home] for home in HOMES}
        programme = make(self._root / name, rules, source=dsns[SOURCE], homes=homes)
        with programme.opened() as run:
            run.plan()
            run.apply(until=Stage.TRANSFER)
        return World(dsns=dsns, programme=programme)

    def _copy(self, name: str, apart: Apart) -> World:
        template = f"schedules_{apart}"
        if template not in self._made:
            self._made.add(template)
            self._make(template, FeedKind.TRIGGER, apart)
        dsns = {place: create_database(self.server, f"{name}_{place}", f"{template}_{place}") for place in PLACES}
        shutil.copytree(self._root / template, self._root / name)
        homes = {f"HOME_{home.upper()}": dsns[home] for home in HOMES}
        return World(
            dsns=dsns, programme=Programme(folder=self._root / name, environment={"APP_DSN": dsns[SOURCE], **homes})
        )

    def _drop(self, name: str) -> None:
        for place in PLACES:
            drop_database(self.server, f"{name}_{place}")
        shutil.rmtree(self._root / name, ignore_errors=True)
