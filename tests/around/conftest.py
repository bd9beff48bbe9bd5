"""A source that archives its WAL, folders for archive and dumps, and programmes that name them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pytest

from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from tests.around.restic import PLANTED, Machine, machine
from tests.attack.conftest import World, run
from tests.attack.programme import make
from tests.attack.test_second_thoughts import RULES, SCHEMA
from tests.servers import SCRATCH, Databases, own_server

MOVER: Final = b"person-2@example.org"
"""Of the market that goes home."""
STAYER: Final = b"person-1@example.org"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archiving:
    """A server and the folder that its archive_command fills."""

    server: EmbeddedServer
    folder: Path

    def settle(self) -> None:
        """Archive all that is written so far."""
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            # Something new, so that what is archived last is a segment and not the note of a base backup.
            connection.execute("SELECT pg_logical_emit_message(false, 'settle', '')")
            row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
            assert row
            connection.execute("CHECKPOINT")
            for _ in range(600):
                done = connection.execute("SELECT last_archived_wal >= %s FROM pg_stat_archiver", [row[0]]).fetchone()
                if done and done[0]:
                    return
                connection.execute("SELECT pg_sleep(0.05)")
        raise AssertionError("the archiver stands still")


@pytest.fixture(scope="module")
def archiving() -> Iterator[Archiving]:
    """PostgreSQL 18 with an archive."""
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-archive-", dir=SCRATCH))
    folder.chmod(0o777)
    parameters = {
        "archive_mode": "on", "archive_command": f"cp %p {folder}/%f", "autovacuum": "off", "fsync": "off",
        "max_wal_size": "64MB", "min_wal_size": "48MB", "shared_buffers": "16MB",
    }  # fmt: skip
    try:
        with own_server("around", parameters=parameters) as server:
            yield Archiving(server=server, folder=folder)
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrounded:
    """A world, its archive and its folder of dumps."""

    world: World
    archiving: Archiving
    dumps: Path

    def dump(self, name: str, *options: str, database: str | None = None) -> Path:
        """Let the real pg_dump write a dump of the source (or of another database) into the folder."""
        path = self.dumps / name
        dsn = database or self.world.source
        program = find_client("pg_dump", at_least_major=18)
        subprocess.run([program, f"--dbname={dsn}", f"--file={path}", *options], check=True, capture_output=True)
        return path

    def told(self) -> dict[str, str]:
        """The verdict of each copy around the server."""
        with self.world.programme.opened() as opened:
            statements = [recorded.predicate for recorded in opened.ledger.statements()]
        return {
            copy.id: copy.verdict.value
            for copy in getattr(statements[-1], "copies", ())
            if copy.id.startswith(("wal/", "dumps/"))
        }


Surround = Callable[..., Surrounded]


@pytest.fixture
def surrounded(archiving: Archiving, database: Databases, tmp_path: Path) -> Surround:
    """Make a world with folders around it; `wal` and `dumps` are added to their rules, none leaves the folder out."""

    def of(*, wal: str | None = "removed_by: engine", dumps: str | None = "removed_by: engine") -> Surrounded:
        source, home = database(archiving.server), database(archiving.server)
        run(source, SCHEMA)
        folder = tmp_path / "dumps"
        folder.mkdir()
        lines = "".join(
            f"  {name}: {{kind: {kind}, location: here, of: app, path: {path}, {rule}}}\n"
            for name, kind, path, rule in (
                ("wal", "archive", archiving.folder, wal), ("dumps", "dumps", folder, dumps),
            )
            if rule is not None
        )  # fmt: skip
        programme = make(tmp_path / "programme", lines + RULES, source=source, homes={"CA": home})
        return Surrounded(world=World(source=source, home=home, programme=programme), archiving=archiving, dumps=folder)

    return of


def holding(folder: Path, value: bytes) -> list[str]:
    """Name the files below a folder that hold these bytes as they are, by another way than ours."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and value in path.read_bytes()
    )


@pytest.fixture(scope="module")
def repository() -> Iterator[Path]:
    """An empty repository, made once: making its key takes a second."""
    with machine() as made:
        yield made.folder


@pytest.fixture
def at(repository: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine of the test's own, with a folder in which a value lies."""
    folder = repository.parent / f"{repository.name}-{tmp_path.name}"
    shutil.copytree(repository, folder)
    made = Machine(folder=folder)
    (made.data / "old.sql").write_bytes(PLANTED + os.urandom(4096))
    try:
        yield made
    finally:
        shutil.rmtree(folder)
