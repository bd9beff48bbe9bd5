"""A PostgreSQL whose WAL goes to a real pgBackRest, and programmes that name its stanza."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from domicile.stores.around.pgbackrest.stanza import Backup, parse
from domicile.stores.postgres.programs import server_user
from domicile.stores.postgres.server import EmbeddedServer, ServerSettings, free_port
from tests.attack.conftest import World
from tests.servers import DISTRIBUTION_MAJOR, PASSWORD, SCRATCH, binaries_of

STANZA: Final = "app"


def quick_folder(prefix: str) -> Path:
    """A folder of the test's own: restoring writes each file through, which costs seconds on a disk."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=SCRATCH))


@dataclass(frozen=True, slots=True, kw_only=True)
class Repositories:
    """A folder with a configuration of pgBackRest, its repository, and what it needs beside."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "pgbackrest.conf"

    @property
    def repository(self) -> Path:
        return self.folder / "repo"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def write_config(self, data: Path, port: int, *, stanzas: tuple[str, ...] = (STANZA,), extra: str = "") -> None:
        """Write the configuration as a person would; small files lie together in bundles, as they are."""
        lines = [
            "[global]", f"repo1-path={self.repository}", f"lock-path={self.folder}/lock", f"log-path={self.folder}/log",
            f"spool-path={self.folder}/spool", "compress-type=none", "repo1-bundle=y", "repo1-retention-full=9",
            "job-retry=0",  # not to wait for half a minute on a file that a test damaged
            extra,
        ]  # fmt: skip
        for stanza in stanzas:
            lines += [f"[{stanza}]", f"pg1-path={data}", f"pg1-port={port}", f"pg1-socket-path={self.folder}/socket",
                      "pg1-user=postgres"]  # fmt: skip
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def tool(self, *words: str, stanza: str | None = STANZA) -> subprocess.CompletedProcess[bytes]:
        """Run pgBackRest as its own user, by hand."""
        user = server_user()
        named = [f"--stanza={stanza}"] if stanza else []
        return subprocess.run(
            ["pgbackrest", f"--config={self.config}", *named, *words], check=True, capture_output=True, cwd="/",
            user=user.uid if user else None, group=user.gid if user else None, extra_groups=[] if user else None,
        )  # fmt: skip

    def backups(self, stanza: str = STANZA) -> tuple[Backup, ...]:
        """What `info` lists."""
        (found,) = parse(self.tool("--output=json", "info", stanza=stanza).stdout)
        return found.backups

    def back_up(self, kind: str, stanza: str = STANZA) -> str:
        """Take a backup; its label."""
        self.tool(f"--type={kind}", "--start-fast", "--no-expire-auto", "backup", stanza=stanza)
        return self.backups(stanza)[-1].label

    def put_back(self, kept: Path, folder: Path) -> None:
        """Copy a folder into the repository, as its user would."""
        shutil.copytree(kept, folder)
        for path in (folder, *folder.rglob("*")):
            self.own(path)

    @staticmethod
    def own(path: Path) -> None:
        """Give a path to the repository's user."""
        if user := server_user():
            os.chown(path, user.uid, user.gid)

    def holding(self, value: bytes) -> list[str]:
        """Name the files of the repository that hold these bytes, as GNU grep finds them."""
        found = subprocess.run(
            ["grep", "-rlaF", "--", value.decode(), "."], cwd=self.repository, capture_output=True, check=False,
            encoding="utf-8", errors="surrogateescape",
        )  # fmt: skip
        return sorted(line.removeprefix("./") for line in found.stdout.splitlines())


@contextmanager
def folder_of_repository(prefix: str = "domicile-test-repository-") -> Iterator[Repositories]:
    """Give an empty one; it is gone afterwards."""
    folder = quick_folder(prefix)
    folder.chmod(0o755)
    user = server_user()
    try:
        for name in ("repo", "lock", "log", "spool", "socket", "scratch"):
            (folder / name).mkdir()
            if user and name != "scratch":
                os.chown(folder / name, user.uid, user.gid)
        (folder / "scratch").chmod(0o711)
        yield Repositories(folder=folder)
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backed:
    """A server and its repository."""

    server: EmbeddedServer
    at: Repositories

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL on the server."""
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def backed_server() -> Iterator[Backed]:
    """Start the distribution's PostgreSQL, which its pgBackRest knows, with `archive-push`, and make its stanza."""
    with folder_of_repository() as at:
        directory = Path(tempfile.mkdtemp(prefix="domicile-test-backed-", dir=at.folder))
        directory.chmod(0o711)
        port = free_port()
        at.write_config(directory / "data", port)
        push = f"pgbackrest --config={at.config} --stanza={STANZA} archive-push %p"
        parameters = {
            "archive_mode": "on", "archive_command": push, "unix_socket_directories": str(at.folder / "socket"),
            "autovacuum": "off", "fsync": "off", "shared_buffers": "16MB", "max_wal_size": "64MB",
            "min_wal_size": "32MB",
        }  # fmt: skip
        settings = ServerSettings(binaries=binaries_of(DISTRIBUTION_MAJOR), parameters=parameters, port=port)
        server = EmbeddedServer.start(directory, name="backed", password=PASSWORD, settings=settings)
        try:
            access = server.data_directory / "pg_hba.conf"
            access.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n", encoding="ascii")
            made = Backed(server=server, at=at)
            made.run("SELECT pg_reload_conf()")
            at.tool("stanza-create")
            yield made
        finally:
            server.kill()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A world whose source is backed up by pgBackRest, as store `backups`."""

    world: World
    backed: Backed

    @property
    def at(self) -> Repositories:
        return self.backed.at

    def told(self) -> dict[str, str]:
        """The verdict of each copy of the repository."""
        return {copy: verdict for copy, (verdict, _) in self.reasons().items()}

    def reasons(self) -> dict[str, tuple[str, str]]:
        """The verdict of each copy of the repository, and why."""
        with self.world.programme.opened() as opened:
            statements = [recorded.predicate for recorded in opened.ledger.statements()]
        return {
            copy.id.removeprefix("backups/"): (copy.verdict.value, copy.why)
            for copy in getattr(statements[-1], "copies", ())
            if copy.id.startswith("backups/")
        }  # fmt: skip


Keep = Callable[..., Kept]


def line_of(at: Repositories, rule: str, *, name: str = "backups", of: str = "app", stanza: str = STANZA) -> str:
    """One line of `stores:`."""
    user = server_user()
    own = f", user: {user.name}" if user else ""
    return (
        f"  {name}: {{kind: pgbackrest, location: here, of: {of}, stanza: {stanza}, config: {at.config}, "
        f"scratch: {at.scratch}{own}, {rule}}}\n"
    )
