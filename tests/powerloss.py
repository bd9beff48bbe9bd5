"""What a loss of power would leave of a folder, at every moment while something works in it.

A file system promises only what was synced: a file's contents by its own `fsync`, a name by that of its folder. All the
rest may be there after the loss, or not: a name that nobody synced may be missing, lead to an old file or to an empty
one, and a removal or a rename may be undone. `Disk` watches the calls of this process, and of SQLite in it, keeps
contents and names as they were synced last, and notes at each step what the worst losses leave (`Remains`). A test lays
each of them out in a fresh folder, opens it there, and looks for what had been promised until then.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from tests.sqlitefiles import sqlite_watched

STEPS: Final = ("replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir", "ftruncate")
SHARED_MEMORY: Final = "-shm"
"""How SQLite's files end that are made anew after a loss."""
Names = Mapping[int, Mapping[str, int]]
"""The names in each folder: from the folder's number to the numbers of what it names."""
Contents = Mapping[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What one loss of power leaves: files by path, folders with None; and what had been promised when it came."""

    promised: Any
    moment: str = field(compare=False)
    files: tuple[tuple[str, bytes | None], ...] = field(repr=False)

    def lay(self, place: Path) -> Path:
        """Put it into a folder that is made for it, all for its owner only, and return that."""
        place.mkdir(parents=True)
        for name, data in self.files:
            if data is None:
                (place / name).mkdir(mode=0o700)
            else:
                (place / name).touch(mode=0o600)
                (place / name).write_bytes(data)
        return place


class _Killed(BaseException):
    """Nothing after it happens."""


class Disk:
    """A folder, of which everything is on the disk when the watch begins."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._promised: Any = None
        self._found: dict[Remains, None] = {}
        self._names: dict[int, Mapping[str, int]] = {}
        self._contents: dict[int, bytes] = {}
        self._held: list[int] = []
        self._faults: list[Exception] = []
        self._watching = False
        self._steps_left: int | None = None
        self.was_killed = False

    @property
    def remains(self) -> tuple[Remains, ...]:
        """All that was noted, in order, each once."""
        return tuple(self._found)

    def promise(self, value: Any) -> None:
        """Say what holds from now on, whatever happens, as the call that promises it has returned."""
        self._promised = value
        self._look("on return")

    def ever_synced(self) -> bytes:
        """The bytes of all files as they were synced last, also of those that have no name any more."""
        return b"\x00".join(self._contents.values())

    @contextmanager
    def watched(self) -> Iterator[Disk]:
        """Watch until the end of the block."""
        with pytest.MonkeyPatch.context() as patch, sqlite_watched(self._sqlite):
            self._names, self._contents = self._now(hold=True)
            patch.setattr(os, "fsync", partial(self._sync, os.fsync))
            for name in STEPS:
                patch.setattr(os, name, partial(self._step, name, getattr(os, name)))
            self._watching = True
            try:
                yield self
                self._look("the end")
            finally:
                self._watching = False
                while self._held:
                    os.close(self._held.pop())
        if self._faults:
            raise self._faults[0]

    @contextmanager
    def killed_after(self, steps: int) -> Iterator[None]:
        """Let so many steps happen, and end the block at the next as SIGKILL would; `was_killed` says whether it came.

        What the kernel was told stays, and whether it is on the disk nobody knows: what comes next has to see to that.
        """
        self._steps_left, self.was_killed = steps, False
        try:
            yield
        except _Killed:
            self.was_killed = True
        finally:
            self._steps_left = None

    # -- what happens ----------------------------------------------------------------------------------------------

    def _sync(self, plain: Callable[[int], None], handle: int) -> None:
        path = str(Path(f"/proc/self/fd/{handle}").readlink())
        self._look(f"before a sync of {path}")
        self._go_on()
        plain(handle)
        self._note(path, handle)

    def _step(self, name: str, plain: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self._look(f"before {name} {arguments[0]}")
        self._go_on()
        return plain(*arguments, **options)

    def _go_on(self) -> None:
        if self._steps_left is not None:
            self._steps_left -= 1
            if self._steps_left < 0:
                raise _Killed

    def _sqlite(self, path: str, /, *, synced: bool) -> None:
        """Called from below SQLite, which can't take an exception; also by what outlives the watch."""
        try:
            if not self._watching:
                return
            if not synced:
                self._look(f"before a sync of {path}")
                return
            handle = os.open(path, os.O_RDONLY)
            try:
                self._note(path, handle)
            finally:
                os.close(handle)
        except Exception as fault:  # noqa: BLE001 - raised at the end of the watch
            self._faults.append(fault)

    def _note(self, path: str, handle: int) -> None:
        """It is synced: keep what is in it, and the number from being given to another."""
        if self.root not in (Path(path), *Path(path).parents):
            return
        number, found = os.fstat(handle).st_ino, Path(f"/proc/self/fd/{handle}")
        if number not in self._names and number not in self._contents:
            self._held.append(os.dup(handle))
        if found.is_dir():
            self._names[number] = _names_in(found)
        else:
            self._contents[number] = found.read_bytes()

    # -- what is left ----------------------------------------------------------------------------------------------

    def _look(self, moment: str) -> None:
        names, contents = self._now()
        folders = {*names, *self._names} - {*contents}
        moment = moment.replace(f"{self.root}/", "")
        for what, left, held in self._losses(names, contents):
            files = tuple(_tree(self.root.stat().st_ino, left, held, folders))
            self._found.setdefault(Remains(promised=self._promised, moment=f"{moment}: {what}", files=files))

    def _losses(self, names: Names, contents: Contents) -> Iterator[tuple[str, Names, Contents]]:
        yield "all is lost that was not synced", self._names, self._contents
        yield "names went through, contents did not", {**self._names, **names}, self._contents
        yield "contents went through, names did not", self._names, {**self._contents, **contents}
        for number, found in names.items():
            if found != self._names.get(number):
                yield "the names of one folder went through", {**self._names, number: found}, self._contents

    def _now(self, *, hold: bool = False) -> tuple[dict[int, Mapping[str, int]], dict[int, bytes]]:
        """What the folder holds as this process sees it."""
        names: dict[int, Mapping[str, int]] = {}
        contents: dict[int, bytes] = {}
        for place in (self.root, *self.root.rglob("*")):
            status = place.lstat()
            if hold and not stat.S_ISLNK(status.st_mode):
                self._held.append(os.open(place, os.O_RDONLY))
            if stat.S_ISDIR(status.st_mode):
                names[status.st_ino] = _names_in(place)
            elif stat.S_ISREG(status.st_mode):
                contents[status.st_ino] = place.read_bytes()
        return names, contents


def _names_in(folder: Path) -> dict[str, int]:
    with os.scandir(folder) as entries:
        return {entry.name: entry.inode() for entry in entries if not entry.name.endswith(SHARED_MEMORY)}


def _tree(
    folder: int, names: Names, contents: Contents, folders: set[int], above: str = ""
) -> Iterator[tuple[str, bytes | None]]:
    """All that is reached from a folder by its names."""
    for name, number in sorted(names.get(folder, {}).items()):
        if number in folders:
            yield above + name, None
            yield from _tree(number, names, contents, folders, f"{above}{name}/")
        else:
            yield above + name, contents.get(number, b"")
