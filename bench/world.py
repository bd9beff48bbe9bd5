"""The world of the bench: two servers, a table of watch events of which a share belongs to movers, and its scope."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import psycopg

from domicile.config import load
from domicile.model import DatasetId, Home, Manifest, Scope, Slice
from domicile.plan.resolve import resolve
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.programs import distribution_servers, major_of
from domicile.stores.postgres.server import EmbeddedServer, ServerSettings
from domicile.stores.postgres.source import PostgresSource

HERE = Path(__file__).resolve().parent
KEY = bytes(range(32))
PASSWORD = "throw-away"  # noqa: S105 - of a server on loopback that lives as long as the bench
HOME = Home("us")
EVENTS = DatasetId("app.public.watch_event")
OF_DISTRIBUTION = {major_of(folder): folder for folder in distribution_servers()}
"""The servers that Debian or Ubuntu brought, by major: 15 on Debian 12."""
CREATE_DATABASE = "CREATE DATABASE app"
# Durable as a real server is. Checkpoints and autovacuum run between the runs, so that no contender pays another's.
PARAMETERS = {"autovacuum": "off", "max_wal_size": "16GB", "checkpoint_timeout": "1h", "shared_buffers": "512MB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything there is; `share_percent` of the people are movers."""

    people: int
    events: int
    share_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The two databases and what the engine needs to work on them."""

    source_server: EmbeddedServer
    home_server: EmbeddedServer
    scope: Scope

    @property
    def source_dsn(self) -> str:
        """The database that the rows leave."""
        return self.source_server.dsn("app")

    @property
    def home_dsn(self) -> str:
        """The database that they go to."""
        return self.home_server.dsn("app")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The two stores of one process, bound to the scope."""

    source: PostgresSource
    home: PostgresHome

    def close(self) -> None:
        """Give both sessions back."""
        self.source.close()
        self.home.close()


def engine_of(source_dsn: str, home_dsn: str, scope: Scope) -> Engine:
    """Make the stores as the runner makes them."""
    source = PostgresSource(source_dsn, key=KEY, name="app")
    home = PostgresHome(home_dsn, key=KEY, name="app-us")
    source.bind(scope)
    home.bind(scope)
    return Engine(source=source, home=home)


def event_slices(manifest: Manifest) -> tuple[Slice, ...]:
    """The slices of the watch events."""
    return tuple(piece for piece in manifest.slices if piece.dataset == EVENTS)


@contextmanager
def servers(*names: str, major: int) -> Iterator[tuple[EmbeddedServer, ...]]:
    """Start a server of each name, with an empty database `app`; all is gone afterwards."""
    folder = Path(mkdtemp(prefix="domicile-bench-", dir="/var/tmp"))
    folder.chmod(0o711)
    settings = ServerSettings(binaries=None if major == 18 else OF_DISTRIBUTION[major], parameters=PARAMETERS)
    running: list[EmbeddedServer] = []
    try:
        for name in names:
            running.append(EmbeddedServer.start(folder / name, name=name, password=PASSWORD, settings=settings))
            execute(running[-1].dsn(), CREATE_DATABASE)
        yield tuple(running)
    finally:
        for server in running:
            server.kill()
        rmtree(folder)


@contextmanager
def made_world(sizes: Sizes, *, major: int) -> Iterator[World]:
    """Start two servers, fill the source, make the (empty) home; all is gone afterwards."""
    with servers("source", "home", major=major) as (source, home):
        _fill(source.dsn("app"), sizes)
        yield World(source_server=source, home_server=home, scope=_scope(source.dsn("app")))


def execute(dsn: str, statement: str) -> None:
    """Run one statement by itself."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


def _fill(dsn: str, sizes: Sizes) -> None:
    with psycopg.connect(dsn) as connection:
        for name in ("people", "events", "share_percent"):
            connection.execute("SELECT set_config(%s, %s, false)", [f"bench.{name}", str(getattr(sizes, name))])
        connection.execute((HERE / "world.sql").read_bytes())
    execute(dsn, "VACUUM (FREEZE, ANALYZE)")


def _scope(dsn: str) -> Scope:
    source = PostgresSource(dsn, key=KEY, name="app")
    try:
        return resolve(load((HERE / "domicile.yaml").read_bytes()), source.catalogue())
    finally:
        source.close()
