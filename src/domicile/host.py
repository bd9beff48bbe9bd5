"""The one door to clock, entropy and environment, so that one seed reproduces a test (STYLE rule 13)."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from domicile.errors import BadFile

SECRET_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine as the engine sees it; tests hand in their own."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return seconds that never run backwards, for rates."""
        return time.monotonic()

    def entropy(self, size: int) -> bytes:
        """Return `size` bytes nobody can guess."""
        return secrets.token_bytes(size)

    def pause(self, seconds: float) -> None:
        """Wait, for a poll whose number of rounds the caller bounds."""
        time.sleep(seconds)

    def secret(self, reference: str, *, base: Path) -> str:
        """Resolve `env:NAME` or `file:PATH` (relative to `base`); raise BadFile when it isn't there.

        The value never appears in the error.
        """
        scheme, _, rest = reference.partition(":")
        if scheme == "env" and rest:
            value = self.environment.get(rest)
            if not value:
                raise BadFile(f"environment variable {rest} is not set; set it, or use file:PATH in domicile.yaml")
            return value
        if scheme == "file" and rest:
            path = base / rest
            try:
                with path.open("rb") as handle:
                    return handle.read(SECRET_BYTES_MAX).decode().strip()
            except (OSError, UnicodeDecodeError) as fault:
                raise BadFile(
                    f"secret file {path} can't be read: {type(fault).__name__}; check path and rights"
                ) from fault
        raise BadFile(f"a secret is given as env:NAME or file:PATH, not as a value ({scheme or 'empty'}:…)")


def write_whole(path: Path, data: bytes) -> None:
    """Put a file in place whole, or not at all; on return it is on the disk. OSErrors pass."""
    fresh = path.with_name(f"{path.name}.tmp")
    with fresh.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Put a new file in place whole, or not at all; on return it is on the disk. FileExistsError where there is one.

    Other OSErrors pass, too. What a killed one left beside it may be another name of the file itself, and goes first.
    """
    fresh = path.with_name(f"{path.name}.tmp")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(fresh, path)
    finally:
        fresh.unlink()
    sync_folder(path.parent)


def read_file(path: Path, bytes_max: int) -> bytes:
    """The first so many bytes of a file; OSError for what is none, as a pipe in its place is waited for for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as source:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        return source.read(bytes_max)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk: a file's own fsync does not see to that. OSErrors pass."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
