"""The journal: the private record of a run and, with the stores' own marks and the log, all that a resume needs.

One SQLite file, readable by its owner only. It holds the run's secret (the digest key), counts, times and
digests: no key of a row and no value (P8).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from domicile.errors import BadFile, HostFault

Value = TypeVar("Value")
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


class Journal:
    """Named values, each written whole; the last one counts."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=10)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("CREATE TABLE IF NOT EXISTS entry (name TEXT PRIMARY KEY, body TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as fault:
            raise HostFault(f"journal {path} can't be opened ({fault}); check space, rights and other runs") from None
        self._path = path

    def put(self, name: str, value: Value, kind: type[Value]) -> None:
        """Write a value; on return it is on the disk."""
        body = _adapter(kind).dump_json(value).decode()
        try:
            self._database.execute("INSERT OR REPLACE INTO entry VALUES (?, ?)", (name, body))
        except sqlite3.Error as fault:
            raise HostFault(f"journal {self._path} can't be written ({fault}); free space and run again") from None

    def get(self, name: str, kind: type[Value]) -> Value | None:
        """Read a value, or None; raise BadFile when it is not of that kind."""
        try:
            row = self._database.execute("SELECT body FROM entry WHERE name = ?", (name,)).fetchone()
            return _adapter(kind).validate_json(row[0]) if row else None
        except (sqlite3.Error, ValidationError):
            raise BadFile(f"journal {self._path}: entry {name} can't be read; restore the file from a copy") from None

    def forget(self, name: str) -> None:
        """Remove a value that no longer holds; on return it is off the disk."""
        try:
            self._database.execute("DELETE FROM entry WHERE name = ?", (name,))
        except sqlite3.Error as fault:
            raise HostFault(f"journal {self._path} can't be written ({fault}); free space and run again") from None

    def once(self, name: str, kind: type[Value], make: Callable[[], Value]) -> Value:
        """Read a value; make and write it when there is none."""
        found = self.get(name, kind)
        if found is None:
            found = make()
            self.put(name, found, kind)
        return found

    def close(self) -> None:
        """Give the file back."""
        self._database.close()


def _adapter(kind: type[Value]) -> TypeAdapter[Value]:
    """What reads and writes values of a kind; making it takes milliseconds, and people wait for some of these notes."""
    found = _ADAPTERS.get(kind)
    if found is None:
        found = _ADAPTERS[kind] = TypeAdapter(kind)
    return found
