"""What the platform keeps beside its database, as platforms do: archived log, a nightly dump, a base backup.

All of it holds everybody's data, and none of it goes when rows are deleted.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from domicile.stores.postgres.programs import find_client

DUMP: Final = "nightly.dump"
BASE_BACKUP: Final = "base-backup"
TOOL_SECONDS_MAX: Final = 600


def folders(beside: Path) -> tuple[Path, Path]:
    """Make and return where archived log and where dumps go; servers may run as another user of the system."""
    archive, dumps = beside / "wal", beside / "dumps"
    for folder in (archive, dumps):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
    return archive, dumps


def archiving(archive: Path) -> Mapping[str, str]:
    """The server's settings."""
    return {"archive_mode": "on", "archive_command": f"cp %p {archive}/%f", "archive_timeout": "60s"}


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
