"""pgBackRest for the service's servers, where this machine has it and a PostgreSQL of its distribution that it knows.

Debian and Ubuntu pair the two, and a pgBackRest knows no PostgreSQL that is younger than itself: so both are asked.
Each server has a repository of its own, and a configuration as a person would write it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from domicile.errors import HostFault
from domicile.stores.postgres.programs import distribution_servers, major_of, reachable, server_user, spawn
from domicile.stores.postgres.server import EmbeddedServer

PROGRAM: Final = "pgbackrest"
STANZA: Final = "service"
SCRATCH: Final = Path("/var/tmp")  # noqa: S108 - what is made in it is private
SECONDS_MAX: Final = 600
HELD: Final = ("repo", "lock", "log", "spool", "socket")
"""Folders of the repository's user."""
SOCKETS: Final = "shortvideo-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A pgBackRest, by its own word, and the folder of a server that it knows."""

    version: str
    binaries: Path
    major: int

    def __str__(self) -> str:
        return f"{self.version}, PostgreSQL {self.major}"


def find_pair() -> Pair | None:
    """Ask pgBackRest about the servers of this machine's distribution, the newest first; None: there is no pair."""
    if shutil.which(PROGRAM) is None:
        return None
    with tempfile.TemporaryDirectory(prefix=SOCKETS, dir=SCRATCH) as name:
        folder = Path(name)
        folder.chmod(0o711)
        for binaries in distribution_servers():
            major = major_of(binaries)
            if _knows(folder / str(major), binaries):
                version = run("version").stdout.decode(errors="replace").strip()[:60]
                return Pair(version=version, binaries=binaries, major=major)
    return None


def _knows(folder: Path, binaries: Path) -> bool:
    """Whether pgBackRest makes a stanza of a fresh cluster of these programs."""
    user = server_user()
    if not reachable(binaries / "initdb", user):
        return False
    for part in (folder, folder / "repo"):
        part.mkdir()
        _own(part)
    with (folder / "log").open("wb") as log:
        made = spawn([binaries / "initdb", "--no-sync", f"--pgdata={folder}/data"], user, log=log.fileno())
        if made.wait(SECONDS_MAX):
            return False
    asked = run(
        f"--repo1-path={folder}/repo", f"--lock-path={folder}", f"--pg1-path={folder}/data", f"--stanza={STANZA}",
        "--no-config", "--log-level-file=off", "--no-online", "stanza-create", check=False,
    )  # fmt: skip
    return asked.returncode == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """The repository of one server, in a folder of its own."""

    folder: Path
    sockets: Path
    """Where the server listens for the tool; elsewhere, because a socket's path may not be long."""

    @property
    def config(self) -> Path:
        """The configuration of pgBackRest."""
        return self.folder / "pgbackrest.conf"

    @property
    def path(self) -> Path:
        """The repository itself."""
        return self.folder / "repo"

    @property
    def scratch(self) -> Path:
        """Where Domicile restores what it has to look at."""
        return self.folder / "scratch"

    @property
    def stanza(self) -> str:
        """Its one stanza."""
        return STANZA

    @property
    def user(self) -> str | None:
        """The OS user whose it is, where that isn't us."""
        found = server_user()
        return found.name if found else None

    @classmethod
    def make(cls, folder: Path, sockets: Path) -> Repository:
        """Make the folders that are not there yet; `sockets` is a fresh private one."""
        made = cls(folder=folder, sockets=sockets)
        for part in (*(folder / name for name in HELD), sockets):
            part.mkdir(parents=True, exist_ok=True)
            part.chmod(0o700)
            _own(part)
        made.scratch.mkdir(exist_ok=True)
        made.scratch.chmod(0o711)
        return made

    def settings(self, archive: Path | None = None) -> Mapping[str, str]:
        """What the server is told: its log goes here, and as plain files to `archive` as well, where there is one."""
        push = f"{PROGRAM} --config={self.config} --stanza={STANZA} archive-push %p"
        both = f"cp %p {archive}/%f && {push}" if archive else push
        return {
            "archive_mode": "on", "archive_command": both, "archive_timeout": "60s",
            "unix_socket_directories": str(self.sockets),
        }  # fmt: skip

    def serve(self, server: EmbeddedServer) -> None:
        """Let the tool in, and make the stanza; both may be there from an earlier start."""
        lines = [
            "[global]", f"repo1-path={self.path}", f"lock-path={self.folder}/lock", f"log-path={self.folder}/log",
            f"spool-path={self.folder}/spool", "compress-level=1", "repo1-bundle=y", "repo1-retention-full=2",
            "start-fast=y", "",
            f"[{STANZA}]", f"pg1-path={server.data_directory}", f"pg1-port={server.port}",
            f"pg1-socket-path={self.sockets}", "pg1-user=postgres",
        ]  # fmt: skip
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        access = server.data_directory / "pg_hba.conf"
        own = "local all postgres trust\n"
        before = access.read_text(encoding="utf-8")
        if not before.startswith(own):
            access.write_text(own + before, encoding="utf-8")
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
        self.tool("stanza-create")

    def back_up(self, kind: str) -> None:
        """Take a backup of a kind, unless an earlier start took one of it."""
        suffix = {"full": "F", "incr": "I"}[kind]
        if not any(path.is_dir() and path.name.endswith(suffix) for path in (self.path / "backup" / STANZA).glob("*")):
            self.tool(f"--type={kind}", "backup")

    def tool(self, *words: str) -> None:
        """Run pgBackRest on it."""
        run(f"--config={self.config}", f"--stanza={STANZA}", "--log-level-console=off", *words)


def _own(path: Path) -> None:
    user = server_user()
    if user is not None:
        shutil.chown(path, user.uid, user.gid)


def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run the program as the servers' user."""
    user = server_user()
    done = subprocess.run(
        [PROGRAM, *words], capture_output=True, cwd="/", timeout=SECONDS_MAX, check=False,
        user=user.uid if user else None, group=user.gid if user else None, extra_groups=[] if user else None,
    )  # fmt: skip
    if check and done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise HostFault(f"pgBackRest {words[-1]} of the service failed: {said[0] if said else 'it said nothing'}")
    return done
