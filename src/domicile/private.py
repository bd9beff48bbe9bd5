"""A private file of the run, in SQLite (0600): each line is on the disk before the next effect."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from domicile.errors import HostFault
from domicile.host import sync_folder


class PrivateFile:
    """One file with the tables of its user; nothing is opened before it is asked for.

    With `wal`, commits are cheap and what is deleted stays for a while in the file beside it; without, they cost more
    and SQLite's `secure_delete` is enough.
    """

    def __init__(self, path: Path, tables: str, *, wal: bool = True) -> None:
        self.path = path
        self._tables = tables
        self._wal = wal
        self._open: sqlite3.Connection | None = None

    def close(self) -> None:
        """Give the file back."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def forget(self) -> None:
        """Remove the file, and what SQLite keeps beside it; on return they are off the disk."""
        self.close()
        try:
            found = [self.path.with_name(self.path.name + tail) for tail in ("", "-wal", "-shm", "-journal")]
            for path in (there := [one for one in found if one.exists()]):
                path.unlink()
            if there:
                sync_folder(self.path.parent)
        except OSError as fault:
            raise self._fault(fault) from None

    def rows(self, query: str, *values: object) -> list[Any]:
        """What a query says, all of it."""
        try:
            return self._database().execute(query, values).fetchall()
        except sqlite3.Error as fault:
            raise self._fault(fault) from None

    def stream(self, query: str, *values: object) -> Iterator[Any]:
        """What a query says, one by one."""
        try:
            yield from self._database().execute(query, values)
        except sqlite3.Error as fault:
            raise self._fault(fault) from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all that the block does, or nothing."""
        database = self._database()
        try:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                database.execute("ROLLBACK")
                raise
        except sqlite3.Error as fault:
            raise self._fault(fault) from None

    def _database(self) -> sqlite3.Connection:
        if self._open is None:
            try:
                self.path.touch(mode=0o600)
                self._open = sqlite3.connect(self.path, isolation_level=None, timeout=10)
                if self._wal:
                    self._open.execute("PRAGMA journal_mode = WAL")
                self._open.execute("PRAGMA synchronous = EXTRA")  # without WAL, FULL may take the last commit back
                self._open.executescript(self._tables)
            except (OSError, sqlite3.Error) as fault:
                raise self._fault(fault) from None
        return self._open

    def _fault(self, fault: Exception) -> HostFault:
        return HostFault(
            f"{self.path} can't be used ({type(fault).__name__}); check space, rights and other runs, then run again"
        )
