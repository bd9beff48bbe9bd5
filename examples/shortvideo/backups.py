"""What the platform keeps beside its database, as platforms do: archived log, a dump, a base backup, a standby.

All of it holds everybody's data, and none of it goes when rows are deleted; the standby deletes them, too, and keeps
their bytes as the source does. Homes have a folder for dumps of their own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domicile.stores.postgres.programs import find_client, server_user
from domicile.stores.postgres.server import EmbeddedServer, ServerSettings

DUMP: Final = "nightly.dump"
BASE_BACKUP: Final = "base-backup"
TOOL_SECONDS_MAX: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Where it lies."""

    archive: Path
    dumps: Path
    homes: Mapping[str, Path]
    """Location → the folder of its home's own backups."""
    standby: str
    """DSN of the service's database on the source's standby."""


def folders(beside: Path, *names: str) -> dict[str, Path]:
    """Make and return folders by their names; servers may write to them as another user of the system."""
    found = {name: beside / name for name in names}
    for folder in found.values():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
    return found


def follow(source: EmbeddedServer, folder: Path, *, password: str, parameters: Mapping[str, str]) -> EmbeddedServer:
    """Start a streaming standby of the source, from a base backup where it is not there yet."""
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
    settings = ServerSettings(parameters=parameters)
    return EmbeddedServer.start(folder, name="standby", password=password, settings=settings)


def archiving(archive: Path) -> Mapping[str, str]:
    """The server's settings."""
    return {"archive_mode": "on", "archive_command": f"cp %p {archive}/%f", "archive_timeout": "60s"}


def keep(
    source: EmbeddedServer, database: str, kept: Mapping[str, Path], *, password: str, parameters: Mapping[str, str]
) -> tuple[Beside, EmbeddedServer]:
    """Dump and back up the source, and start its standby beside the folders, which are given by name."""
    nightly(source.dsn(database), kept["dumps"], major=source.major)
    folder = kept["dumps"].parents[1] / "standby"
    standby = follow(source, folder, password=password, parameters=parameters)
    homes = {name: path for name, path in kept.items() if name not in ("wal", "dumps")}
    beside = Beside(archive=kept["wal"], dumps=kept["dumps"], homes=homes, standby=standby.dsn(database))
    return beside, standby


def nightly(dsn: str, dumps: Path, *, major: int) -> None:
    """Dump the database and back up the whole server, unless an earlier start did so."""
    if not (dumps / DUMP).exists():
        _call("pg_dump", dsn, f"--file={dumps / DUMP}", "--format=custom", major=major)
    if not (dumps / BASE_BACKUP).exists():
        _call(
            "pg_basebackup", dsn, f"--pgdata={dumps / BASE_BACKUP}", "--format=tar", "--gzip", "--wal-method=fetch",
            "--checkpoint=fast", major=major,
        )  # fmt: skip


def _call(name: str, dsn: str, *options: str, major: int) -> None:
    program = find_client(name, at_least_major=major)
    subprocess.run(
        [program, f"--dbname={dsn}", *options], check=True, capture_output=True, timeout=TOOL_SECONDS_MAX
    )  # fmt: skip
