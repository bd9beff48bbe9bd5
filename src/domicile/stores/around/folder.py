"""A folder on this machine: what lies in it at the top, when it was made, and removing it so that it is really gone.

A thing with another hard link, or a link to elsewhere, isn't gone when its name is: it is left, and said to be held.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from domicile.errors import NotPermitted
from domicile.host import sync_folder

THINGS_MAX = 1_000_000
FILES_OF_A_THING_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A file or a directory at the top of the folder: bytes, and the oldest and newest change of its files (UTC).

    They are the same for a file. For a directory they may lie far apart: copying keeps dates.
    """

    name: str
    is_folder: bool
    bytes: int
    changed_at: datetime
    newest_at: datetime
    kept_by: str = ""
    """Why its bytes would outlive its name; empty: they wouldn't."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The folder of one store."""

    store: str
    path: Path

    def refuse_missing(self) -> None:
        """Raise NotPermitted when there is no such folder, or it can't be listed."""
        try:
            with os.scandir(self.path):
                return
        except OSError as fault:
            raise NotPermitted(
                f"store {self.store}: {self.path} can't be listed ({fault.strerror}); check `path`, and that it is "
                "mounted on this machine"
            ) from None

    def things(self) -> Iterator[Thing]:
        """List what lies at the top, by name. A thing that goes away meanwhile is left out."""
        self.refuse_missing()
        for count, entry in enumerate(sorted(os.scandir(self.path), key=lambda entry: entry.name)):
            if count >= THINGS_MAX:
                raise NotPermitted(f"store {self.store}: {self.path} holds more than {THINGS_MAX} things; split it")
            try:
                yield _look(entry)
            except FileNotFoundError:
                continue
            except OSError as fault:
                raise NotPermitted(
                    f"store {self.store}: something in {self.path} can't be looked at ({fault.strerror})"
                ) from None

    def head(self, name: str, length: int) -> bytes:
        """Read the first bytes of a file; none of a directory, or when it is gone."""
        try:
            with (self.path / name).open("rb") as handle:
                return handle.read(length)
        except (FileNotFoundError, IsADirectoryError):
            return b""
        except OSError as fault:
            raise NotPermitted(f"store {self.store}: a file can't be read ({fault.strerror})") from None

    def remove(self, name: str) -> str | None:
        """Remove a thing and see that it is gone; None when it is, else why not."""
        path = self.path / name
        try:
            thing = _look_at(path)
            if thing.kept_by:
                return thing.kept_by
            if thing.is_folder:
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:
            pass
        except OSError as fault:
            return fault.strerror or type(fault).__name__
        return "it is still there" if os.path.lexists(path) else None

    def sync(self) -> None:
        """Have the removals on the disk."""
        try:
            sync_folder(self.path)
        except OSError as fault:
            raise NotPermitted(f"store {self.store}: {self.path} can't be synced ({fault.strerror})") from None


def _look(entry: os.DirEntry[str]) -> Thing:
    return _look_at(Path(entry.path))


def _look_at(path: Path) -> Thing:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return Thing(
            name=path.name, is_folder=False, bytes=status.st_size, changed_at=_time(status), newest_at=_time(status),
            kept_by=_keeps(status),
        )  # fmt: skip
    size, changed_at, newest_at, kept_by = 0, _time(status), _time(status), ""
    for count, below in enumerate(_below(path)):
        if count >= FILES_OF_A_THING_MAX:
            kept_by = kept_by or f"it holds more than {FILES_OF_A_THING_MAX} files"
            break
        size += below.st_size
        changed_at, newest_at = min(changed_at, _time(below)), max(newest_at, _time(below))
        kept_by = kept_by or _keeps(below)
    return Thing(
        name=path.name, is_folder=True, bytes=size, changed_at=changed_at, newest_at=newest_at, kept_by=kept_by
    )


def _below(path: Path) -> Iterator[os.stat_result]:
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _below(Path(entry.path))
            else:
                yield entry.stat(follow_symlinks=False)


def _keeps(status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link: what it points to would stay"
    if not stat.S_ISREG(status.st_mode):
        return "no plain file"
    return "another hard link holds the same bytes" if status.st_nlink > 1 else ""


def _time(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)
