"""Two servers of one's own behind proxies, whose whole state can be kept and put back: a fresh world in a moment.

Kept are the servers' data directories and the engine's folder, so that object numbers, names and ports stay the same.
The clusters are lean: a sweep reads every byte of the server, and what PostgreSQL brings along takes it seconds.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo

from domicile.stores.postgres.server import EmbeddedServer, ServerSettings
from tests.crash.effects import Side
from tests.crash.proxy import Moment, Proxy, proxy
from tests.servers import PASSWORD, SCRATCH, create_database

SMALL: Final = {
    "dynamic_shared_memory_type": "mmap",  # what a killed server leaves lies in its own folder
    "fsync": "off",  # a killed server's files are the kernel's, which lives
    "autovacuum": "off", "max_wal_size": "32MB", "min_wal_size": "32MB", "shared_buffers": "16MB",
}  # fmt: skip
SOURCE: Final = "platform"
"""The source's database. Homes are called after their location."""
LEAN: Final = (
    "UPDATE pg_database SET datistemplate = false WHERE datname = 'template0'",
    "DROP DATABASE template0",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a world is: the engine's folder, and connection strings of the databases, both ways."""

    folder: Path
    direct: Mapping[str, str]
    """Database → its connection string, for platform and checks."""
    engine: Mapping[str, str]
    """The same for the engine: through the proxies, where one is to cut."""
    ports: Mapping[int, Side]
    """Which side listens where."""


@dataclass(slots=True, kw_only=True)
class Ground:
    """The servers, and what was kept of them."""

    servers: Mapping[Side, EmbeddedServer]
    homes: tuple[str, ...]
    root: Path
    ending: ExitStack
    _proxies: dict[Side, Proxy] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """The world that stands here."""
        direct = {SOURCE: self.servers[Side.SOURCE].dsn(SOURCE)}
        direct |= {home: self.servers[Side.HOME].dsn(home) for home in self.homes}
        ports = {server.port: side for side, server in self.servers.items()}
        return Place(folder=self.root / "programme", direct=direct, engine=direct, ports=ports)

    @property
    def proxied(self) -> Place:
        """The same, reached through the proxies."""
        place = self.place
        engine = {
            name: make_conninfo(dsn, port=self._proxy(Side.SOURCE if name == SOURCE else Side.HOME).port)
            for name, dsn in place.direct.items()
        }
        ports = {self._proxy(side).port: side for side in self.servers}
        return Place(folder=place.folder, direct=place.direct, engine=engine, ports=ports)

    def act(self, what: str, side: Side) -> None:
        """Do to one server what a failure asks for."""
        if what == "kill":
            self.servers[side].kill()
            self.servers[side].restart()
        elif what == "cut":
            self._proxy(side).cut_at([b""], Moment.UNSAID)
        elif what == "cut unheard":
            self._proxy(side).cut_at([b""], Moment.UNHEARD)

    def _proxy(self, side: Side) -> Proxy:
        """The proxy of one server, made when first asked for."""
        if side not in self._proxies:
            self._proxies[side] = self.ending.enter_context(proxy(self.servers[side].port))
        return self._proxies[side]

    def keep(self, name: str) -> None:
        """Keep all as it is now, under a name."""
        for side, server in self.servers.items():
            server.stop()
            _copy(server.data_directory, self.root / f"{name}.{side}")
            server.restart()
        _copy(self.place.folder, self.root / f"{name}.programme")

    def put_back(self, name: str) -> None:
        """Have all as it was when it was kept."""
        for side, server in self.servers.items():
            server.stop()
            _copy(self.root / f"{name}.{side}", server.data_directory)
            server.restart()
        for one in self._proxies.values():
            one.cut_at([], Moment.UNSAID)
        _copy(self.root / f"{name}.programme", self.place.folder)


@contextmanager
def ground(homes: tuple[str, ...]) -> Iterator[Ground]:
    """Make one, with an empty database for the source and each home; it and all its files are gone afterwards."""
    with ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="domicile-test-everywhere-", dir=SCRATCH))
        root.chmod(0o711)
        stack.callback(shutil.rmtree, root)
        servers = {side: _serve(stack, root / f"server-{side}") for side in (Side.SOURCE, Side.HOME)}
        create_database(servers[Side.SOURCE], SOURCE)
        for home in homes:
            create_database(servers[Side.HOME], home)
        with psycopg.connect(servers[Side.SOURCE].dsn(), autocommit=True) as connection:
            for statement in LEAN:
                connection.execute(statement.encode())
        yield Ground(servers=servers, homes=homes, root=root, ending=stack)


def _serve(stack: ExitStack, folder: Path) -> EmbeddedServer:
    settings = ServerSettings(binaries=None, parameters=SMALL)
    server = EmbeddedServer.start(folder, name=folder.name, password=PASSWORD, settings=settings)
    stack.callback(server.stop)
    return server


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "--archive", "--reflink=auto", source, target], check=True)
