"""A private folder into which a backup is restored to be searched, and that is gone afterwards, also after a crash.

Who uses a folder holds a lock on it; the lock ends with the process. A folder of ours without a lock is what a killed
run left, and goes when the next one begins.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from domicile.errors import HostFault

PREFIX: Final = "domicile-restored-"
SPARE_BYTES: Final = 64 * 1024 * 1024
SPARE_RATIO: Final = 1.1


class Scratch:
    """One private folder below `parent`, of the OS user `owner`; `close` removes it.

    A program that writes there gets `lock` along, so that the folder is in use as long as it lives.
    """

    def __init__(self, parent: Path, *, owner: tuple[int, int] | None) -> None:
        self._parent = parent
        self._owner = owner
        try:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            self.lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.give(self.path)
        except OSError as fault:
            raise HostFault(f"no folder can be made in {parent} ({fault.strerror}); name another `scratch`") from None

    def folder(self, name: str) -> Path:
        """Make an empty folder in it that the owner can write to."""
        path = self.path / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        self.give(path)
        return path

    def remove(self, name: str) -> None:
        """Remove a folder in it and all that was restored there."""
        shutil.rmtree(self.path / name, ignore_errors=True)

    def refuse_small(self, wanted: int, *, what: str) -> None:
        """Raise HostFault where that many bytes can't be restored."""
        free, needed = shutil.disk_usage(self.path).free, int(wanted * SPARE_RATIO) + SPARE_BYTES
        if free < needed:
            raise HostFault(
                f"{what} has to be restored to be searched: {needed} bytes, and {self._parent} has {free} free; make "
                "room there, then `domicile apply` again"
            )

    def close(self) -> None:
        """Remove the folder, then let go of it."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            os.close(self.lock)

    def give(self, path: Path) -> None:
        """Make a path the owner's."""
        if self._owner:
            os.chown(path, *self._owner)


def clear_leftovers(parent: Path, *, owner: tuple[int, int] | None) -> int:
    """Remove what killed runs left in `parent`; return how many folders. Others' and those in use stay."""
    removed = 0
    ours = {os.geteuid(), *([owner[0]] if owner else [])}
    for path in sorted(parent.glob(f"{PREFIX}*")) if parent.is_dir() else ():
        with suppress(OSError):
            state = path.lstat()
            if not stat.S_ISDIR(state.st_mode) or state.st_uid not in ours:
                continue
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
                removed += 1
            finally:
                os.close(lock)
    return removed
