"""A database with tables of every kind that a feed meets, and feeds on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from domicile.catalogue import RelationKind, Table
from domicile.config.rules import Disposition, HomeRows
from domicile.model import DatasetId, DatasetScope
from domicile.stores.feed import Batch, Changefeed, Key
from domicile.stores.postgres.catalogue import read_catalogue
from domicile.stores.postgres.feed.slot import SlotFeed
from domicile.stores.postgres.feed.triggers import TriggerFeed
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.session import Session, connect
from tests.servers import create_database

TABLES = """
CREATE TABLE person (id integer PRIMARY KEY, email text, nickname text, settings json);
CREATE TABLE likes (person_id integer, video_id integer, at date, PRIMARY KEY (video_id, person_id));
CREATE TABLE "Note" ("Id" text PRIMARY KEY, "Body" text);
CREATE TABLE event (id bigint, day date, body text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM ('2020-02-01') TO ('2020-03-01');
CREATE TABLE log_line (at timestamptz, price numeric, body text);
CREATE TABLE other (id integer PRIMARY KEY, body text);
"""
KEYS = {
    "person": ("id",), "likes": ("person_id", "video_id"), "Note": ("Id",), "event": ("id", "day"), "log_line": (),
    "other": ("id",),
}  # fmt: skip
PERSON, LIKES, NOTE, EVENT, LOG_LINE = (DatasetId(f"app.public.{name}") for name in list(KEYS)[:5])


def datasets(connection: psycopg.Connection, *, kind: str) -> tuple[DatasetScope, ...]:
    """The followed datasets of a feed of that kind: all but `other`, and what a slot can't follow."""
    catalogue = read_catalogue(connection)
    tables = {table.name.name: table for table in catalogue.tables if table.name.schema == "public"}
    return tuple(_dataset(tables[name], key) for name, key in list(KEYS.items())[:5] if key or kind == "trigger")


def _dataset(table: Table, key: tuple[str, ...]) -> DatasetScope:
    split = table.name.name == "person"
    return DatasetScope(
        id=DatasetId(f"app.{table.name}"),
        table=table.name,
        partitioned=table.kind is RelationKind.PARTITIONED,
        rows=Disposition.SPLIT if split else Disposition.MOVE,
        home_rows=HomeRows.ALL,
        columns=tuple(item for item in table.columns if not item.generated),
        key=key,
        private=("email", "settings") if split else (),
    )


@dataclass(slots=True)
class Followed:
    """A database, a session that writes, one that reads, and a feed."""

    dsn: str
    feed: Changefeed
    session: Session
    writer: psycopg.Connection
    datasets: tuple[DatasetScope, ...]
    others: list[psycopg.Connection] = field(default_factory=list)

    def write(self, statement: str) -> None:
        self.writer.execute(statement.encode())

    def another(self) -> psycopg.Connection:
        """One more session of the application's."""
        self.others.append(psycopg.connect(self.dsn, autocommit=True))
        return self.others[-1]

    def snapshot(self) -> str:
        """What a reader's transaction would see now."""
        row = self.writer.execute("SELECT pg_current_snapshot()::text").fetchone()
        assert row is not None
        return str(row[0])

    def read(self, *, keys_max: int = 10_000) -> Batch:
        return self.feed.read(self.snapshot(), keys_max=keys_max)

    def take(self) -> Mapping[DatasetId, frozenset[Key]]:
        """Read all and confirm it."""
        batch = self.read()
        assert batch.complete
        self.feed.confirm(batch)
        return batch.keys

    def close(self) -> None:
        for connection in (self.writer, *self.others):
            connection.close()
        self.session.close()


@contextmanager
def followed(
    server: EmbeddedServer, name: str, *, kind: str, encoding: str | None = None, **limits: int
) -> Iterator[Followed]:
    """Make a database with the tables, and a feed that has not begun."""
    dsn = create_database(server, name, encoding=encoding)
    session = Session(dsn, store="app")
    writer = psycopg.connect(dsn, autocommit=True)
    writer.execute(TABLES)
    with connect(dsn, store="app") as connection:
        found = datasets(connection, kind=kind)
    one = Followed(
        dsn=dsn, feed=feed_of(kind, session, found, **limits), session=session, writer=writer, datasets=found
    )
    try:
        yield one
    finally:
        try:
            one.feed.end()
        finally:
            one.close()
            with psycopg.connect(server.dsn(), autocommit=True) as admin:
                admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def feed_of(kind: str, session: Session, found: tuple[DatasetScope, ...], **limits: int) -> Changefeed:
    """A feed of that kind."""
    if kind == "slot":
        return SlotFeed(session, found, retained_mib_max=limits.get("retained_mib_max", 4_096))
    return TriggerFeed(session, found, rows_max=limits.get("rows_max", 100_000))
