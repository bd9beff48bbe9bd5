"""What SQLite syncs, seen from inside this process: it writes below Python, where nothing of `os` can be wrapped.

SQLite asks a table of functions, its VFS (https://www.sqlite.org/vfs.html), for everything it does to files. The one in
use is a structure in memory that may be changed: each file that is opened while the watch lasts gets a table of its own
functions in which `xSync` tells about itself first. Folders are synced below that table; SQLite opens them by a system
call that can be set from outside for the purpose of tests (`xSetSystemCall`, "openDirectory"), and then syncs at once.
"""

from __future__ import annotations

import _sqlite3
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_void_p
from typing import Any, Final, Protocol

METHODS: Final = 19
"""Words of `sqlite3_io_methods`, version 3."""
SYNC: Final = 5
"""Which of them is `xSync`."""

Open: Final = CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(c_void_p), c_int, c_void_p)
Sync: Final = CFUNCTYPE(c_int, c_void_p, c_int)
OpenFolder: Final = CFUNCTYPE(c_int, c_char_p, POINTER(c_int))
SetCall: Final = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
GetCall: Final = CFUNCTYPE(c_void_p, c_void_p, c_char_p)


class Watcher(Protocol):
    """Called before each sync and after it."""

    def __call__(self, path: str, /, *, synced: bool) -> None:
        """What is synced, or was now."""


class _Vfs(Structure):
    _fields_ = (
        ("version", c_int), ("file_bytes", c_int), ("path_chars_max", c_int), ("next", c_void_p), ("name", c_char_p),
        ("data", c_void_p), ("open", c_void_p), ("delete", c_void_p), ("access", c_void_p), ("full_path", c_void_p),
        ("dl_open", c_void_p), ("dl_error", c_void_p), ("dl_sym", c_void_p), ("dl_close", c_void_p),
        ("randomness", c_void_p), ("sleep", c_void_p), ("time", c_void_p), ("last_error", c_void_p),
        ("time_64", c_void_p), ("set_call", c_void_p), ("get_call", c_void_p), ("next_call", c_void_p),
    )  # fmt: skip


@contextmanager
def sqlite_watched(watcher: Watcher) -> Iterator[None]:
    """Have the watcher told of each sync of what SQLite opens meanwhile; open connections are closed by then."""
    vfs, name = _vfs(), b"openDirectory"
    plain_open, plain_folder = vfs.open, GetCall(vfs.get_call)(ctypes.addressof(vfs), name)
    opening, folder = _opening(plain_open, watcher), _opening_folder(plain_folder, watcher)
    vfs.open = ctypes.cast(opening, c_void_p).value
    SetCall(vfs.set_call)(ctypes.addressof(vfs), name, ctypes.cast(folder, c_void_p))
    try:
        yield
    finally:
        vfs.open = plain_open
        SetCall(vfs.set_call)(ctypes.addressof(vfs), name, plain_folder)


_KEPT: Final[list[Any]] = []
"""The functions that SQLite was given: a connection may outlive the watch, and would call what is gone."""


def _vfs() -> _Vfs:
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    library.sqlite3_vfs_find.argtypes = (c_char_p,)
    found: _Vfs = library.sqlite3_vfs_find(None).contents
    return found


def _opening(plain: int, watcher: Watcher) -> Any:
    call = Open(plain)

    def open_file(vfs: int, name: int | None, file: Any, flags: int, flags_out: int | None) -> int:
        """Open a file; SQLite keeps the pointer that is its name, so that it is handed on as it came."""
        code: int = call(vfs, name, file, flags, flags_out)
        if code == 0 and name and file[0]:
            own = (c_void_p * METHODS)(*(c_void_p * METHODS).from_address(file[0]))
            sync = _syncing(own[SYNC] or 0, ctypes.string_at(name).decode(), watcher)
            own[SYNC] = ctypes.cast(sync, c_void_p).value
            _KEPT.append((own, sync))
            file[0] = ctypes.addressof(own)
        return code

    made = Open(open_file)
    _KEPT.append((made, call))
    return made


def _syncing(plain: int, path: str, watcher: Watcher) -> Any:
    call = Sync(plain)

    def sync(file: int, flags: int) -> int:
        watcher(path, synced=False)
        code: int = call(file, flags)
        if code == 0:
            watcher(path, synced=True)
        return code

    return Sync(sync)


def _opening_folder(plain: int, watcher: Watcher) -> Any:
    call = OpenFolder(plain)

    def open_folder(name: bytes, handle: Any) -> int:
        """Open the folder of a file; `name` is the file's."""
        path = name.decode().rpartition("/")[0] or "/"
        watcher(path, synced=False)
        code: int = call(name, handle)
        if code == 0:
            watcher(path, synced=True)
        return code

    made = OpenFolder(open_folder)
    _KEPT.append((made, call))
    return made
