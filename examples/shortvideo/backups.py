"""What the platform keeps beside its databases, as platforms do: archived log, dumps, repositories, a standby.

At the source all of it holds everybody's data, and none of it goes when rows are deleted; the standby deletes them,
too, and keeps their bytes as the source does. At home it is the backup: of the first home a repository of pgBackRest,
where this machine has one, of the others a folder for dumps.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domicile.stores.postgres.programs import find_client, server_user
from domicile.stores.postgres.server import EmbeddedServer, ServerSettings
from shortvideo.repositories import SCRATCH, SOCKETS, Pair, Repository, find_pair

DUMP: Final = "nightly.dump"
BASE_BACKUP: Final = "base-backup"
TOOL_SECONDS_MAX: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Where it lies."""

    source: str
    """The source's location."""
    archive: Path
    dumps: Path
    homes: Mapping[str, Path]
    """Location → the folder of dumps of its home."""
    pair: Pair | None
    """The pgBackRest and the server that all this is made with; None: there is none, the server is the embedded one."""
    repositories: Mapping[str, Repository]
    """Location → the repository of its server; empty without pgBackRest."""

    @classmethod
    def prepare(cls, folder: Path, locations: Sequence[str], ending: ExitStack) -> Beside:
        """Make the folders, before there are servers. The source comes first; `ending` takes the sockets away."""
        source, *homes = locations
        pair = find_pair()
        backed = locations[:2] if pair else ()
        kept = _folders(folder, "wal", "dumps", *(home for home in homes if home not in backed))
        return cls(
            source=source, archive=kept.pop("wal"), dumps=kept.pop("dumps"), homes=kept, pair=pair,
            repositories={
                place: Repository.make(folder / f"repository-{place}", _sockets(ending)) for place in backed
            },
        )  # fmt: skip

    @property
    def standby_folder(self) -> Path:
        """Where the source's standby has its files."""
        return self.dumps.parents[1] / "standby"

    def settings(self, location: str, parameters: Mapping[str, str]) -> ServerSettings:
        """What the server of a location is told, on top of `parameters`."""
        archive = self.archive if location == self.source else None
        repository = self.repositories.get(location)
        own = repository.settings(archive) if repository else _archiving(archive) if archive else {}
        binaries = self.pair.binaries if self.pair else None
        return ServerSettings(binaries=binaries, parameters={**parameters, **own})

    def serve(self, location: str, server: EmbeddedServer) -> None:
        """Once a server is up, its repository takes its log."""
        if location in self.repositories:
            self.repositories[location].serve(server)

    def back_up(self) -> None:
        """Take the first full backup of each server that has a repository, unless an earlier start did so."""
        for repository in self.repositories.values():
            repository.back_up("full")

    def nightly(self, dsn: str, *, major: int) -> None:
        """Dump the source and back up its whole server, unless an earlier start did so."""
        if not (self.dumps / DUMP).exists():
            _call("pg_dump", dsn, f"--file={self.dumps / DUMP}", "--format=custom", major=major)
        if not (self.dumps / BASE_BACKUP).exists():
            _call(
                "pg_basebackup", dsn, f"--pgdata={self.dumps / BASE_BACKUP}", "--format=tar", "--gzip",
                "--wal-method=fetch", "--checkpoint=fast", major=major,
            )  # fmt: skip
        if self.repositories:
            self.repositories[self.source].back_up("incr")

    def follow(self, source: EmbeddedServer, *, password: str, parameters: Mapping[str, str]) -> EmbeddedServer:
        """Start a streaming standby of the source, from a base backup where it is not there yet."""
        folder = self.standby_folder
        data = folder / "data"
        if not data.exists():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o711)
            _call(
                "pg_basebackup", source.dsn(), f"--pgdata={data}", "--write-recovery-conf", "--wal-method=stream",
                "--checkpoint=fast", "--no-sync", major=source.major,
            )  # fmt: skip
            user = server_user()
            if user is not None:
                subprocess.run(["chown", "-R", f"{user.uid}:{user.gid}", data], check=True)
        settings = ServerSettings(binaries=self.pair.binaries if self.pair else None, parameters=parameters)
        return EmbeddedServer.start(folder, name="standby", password=password, settings=settings)


def _folders(beside: Path, *names: str) -> dict[str, Path]:
    """Make and return folders by their names; servers may write to them as another user of the system."""
    found = {name: beside / name for name in names}
    for folder in found.values():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
    return found


def _sockets(ending: ExitStack) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=SOCKETS, dir=SCRATCH))
    ending.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _archiving(archive: Path) -> Mapping[str, str]:
    """The server's settings."""
    return {"archive_mode": "on", "archive_command": f"cp %p {archive}/%f", "archive_timeout": "60s"}


def _call(name: str, dsn: str, *options: str, major: int) -> None:
    program = find_client(name, at_least_major=major)
    subprocess.run(
        [program, f"--dbname={dsn}", *options], check=True, capture_output=True, timeout=TOOL_SECONDS_MAX
    )  # fmt: skip
