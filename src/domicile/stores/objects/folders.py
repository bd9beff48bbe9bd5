"""Folders by their handles: every step down is one name below an open folder, and no link is ever followed.

A path would be looked up anew at each call, and a link put into it meanwhile would lead elsewhere. Errors of the system
come out as ours, without the names they hold.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from domicile.errors import DomicileError, HostFault, NotPermitted, StoreFault

PARTS_FOLDER: Final = ".domicile-parts"
"""The folder beside a file's place where it is written; its name is no key."""
FOLDER_MODE: Final = 0o700
SYNCED_MAX: Final = 100_000
"""Folders that are remembered as being on the disk by name; with more, some are synced again."""
OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would keep us waiting
CREATE_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """An open folder; a context manager that closes it."""

    handle: int
    store: str

    @classmethod
    def root(cls, path: Path, *, store: str) -> Folder:
        """Open the root, which may itself be a link; raise StoreFault where there is no folder."""
        try:
            return cls(handle=os.open(path, OPEN_FOLDER & ~os.O_NOFOLLOW), store=store)
        except OSError as fault:
            if fault.errno in ABSENT:
                raise StoreFault(f"store {store}: its folder is not there; mount or make it") from None
            raise translated(fault, store) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        os.close(self.handle)

    @contextmanager
    def below(self, parts: tuple[str, ...]) -> Iterator[Folder | None]:
        """Go down; None where one of the parts is no folder."""
        handle = self._down(parts)
        try:
            yield None if handle is None else Folder(handle=handle, store=self.store)
        finally:
            if handle is not None:
                os.close(handle)

    @contextmanager
    def made(self, parts: tuple[str, ...], synced: set[int]) -> Iterator[Folder]:
        """Go down and make what is missing, each on the disk before the next.

        `synced` are the numbers of folders whose names are on the disk, and gets more: what is there already may be of
        a process that was killed before it synced.
        """
        handle = os.dup(self.handle)
        try:
            for part in parts:
                with faults(self.store):
                    fresh = _make(part, handle)
                    inner = os.open(part, OPEN_FOLDER, dir_fd=handle)
                    if fresh or os.fstat(inner).st_ino not in synced:
                        os.fsync(handle)
                        _remember(synced, os.fstat(inner).st_ino)
                os.close(handle)
                handle = inner
            yield Folder(handle=handle, store=self.store)
        finally:
            os.close(handle)

    def entries(self) -> Iterator[os.DirEntry[str]]:
        """What the folder holds, one after another."""
        with faults(self.store), os.scandir(self.handle) as found:
            yield from found

    def look(self, name: str) -> os.stat_result | None:
        """What a name is, not followed; None where there is none."""
        try:
            return os.stat(name, dir_fd=self.handle, follow_symlinks=False)
        except OSError as fault:
            if fault.errno in ABSENT:
                return None
            raise translated(fault, self.store) from None

    def open_file(self, name: str) -> int | None:
        """Open a plain file to read; None where there is none of that name."""
        info = self.look(name)
        if info is None or not _is_plain(info):
            return None
        try:
            handle = os.open(name, OPEN_FILE, dir_fd=self.handle)
        except OSError as fault:
            if fault.errno in ABSENT:
                return None
            raise translated(fault, self.store) from None
        if _is_plain(os.fstat(handle)):
            return handle
        os.close(handle)
        return None

    def create_file(self, name: str, *, mode: int) -> int:
        """Open a plain file to write, made where there is none; raise StoreFault where it is something else."""
        with faults(self.store):
            handle = os.open(name, CREATE_FILE, mode, dir_fd=self.handle)
        info = os.fstat(handle)
        if _is_plain(info) and info.st_nlink == 1:
            return handle
        os.close(handle)
        raise StoreFault(f"store {self.store}: something of ours was replaced in a folder {PARTS_FOLDER}; remove it")

    def rename(self, name: str, to: Folder) -> None:
        """Move a file over its place in another folder; on return it is there for good."""
        with faults(self.store):
            os.rename(name, name, src_dir_fd=self.handle, dst_dir_fd=to.handle)
            os.fsync(to.handle)

    def remove_file(self, name: str) -> None:
        """Remove a name for good."""
        with faults(self.store):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.handle)
            os.fsync(self.handle)

    def drop_if_empty(self, name: str) -> bool:
        """Remove a folder that holds nothing; whether it did."""
        try:
            os.rmdir(name, dir_fd=self.handle)
        except OSError as fault:
            if fault.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.EACCES, errno.EPERM, *ABSENT}:
                return False
            raise translated(fault, self.store) from None
        with faults(self.store):
            os.fsync(self.handle)
        return True

    def _down(self, parts: tuple[str, ...]) -> int | None:
        handle = os.dup(self.handle)
        for part in parts:
            try:
                inner = os.open(part, OPEN_FOLDER, dir_fd=handle)
            except OSError as fault:
                if fault.errno in ABSENT:
                    return None
                raise translated(fault, self.store) from None
            finally:
                os.close(handle)
            handle = inner
        return handle


@contextmanager
def faults(store: str) -> Iterator[None]:
    """Let the system's errors come out as ours."""
    try:
        yield
    except OSError as fault:
        raise translated(fault, store) from None


def translated(fault: OSError, store: str) -> DomicileError:
    """Our error for one of the system's: without the names, which can be personal data."""
    kind = errno.errorcode.get(fault.errno or 0, "unknown")
    if fault.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return NotPermitted(f"store {store}: the system refuses access below its folder ({kind}); give the rights")
    if fault.errno in {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}:
        return HostFault(f"store {store}: the disk or the limit of open files is full ({kind}); make room, run again")
    if fault.errno in {errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOTEMPTY, errno.EEXIST}:
        return StoreFault(
            f"store {store}: where a key needs a folder is a file or a link, or the other way round ({kind}); move "
            "such objects to a store that keeps any key"
        )
    return StoreFault(f"store {store}: the system failed below its folder ({kind}); see its own log")


def _make(name: str, handle: int) -> bool:
    """Make a folder; whether there was none."""
    try:
        os.mkdir(name, FOLDER_MODE, dir_fd=handle)
    except FileExistsError:
        return False
    return True


def _remember(synced: set[int], number: int) -> None:
    if len(synced) >= SYNCED_MAX:
        synced.clear()
    synced.add(number)


def _is_plain(info: os.stat_result) -> bool:
    return (info.st_mode & 0o170000) == 0o100000
