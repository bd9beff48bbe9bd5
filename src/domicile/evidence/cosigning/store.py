"""What a witness saw last of each log: one SQLite file, durable before a cosignature leaves.

The look at the last head, the decision and the new head are one transaction (tlog-witness: "must be performed
atomically"). A store that is put back from an old copy would cosign what it forgot: keep no backup of it that is
older than its last answer; a new key is the safe way on.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domicile.errors import HostFault
from domicile.evidence.keys import Verifier
from domicile.evidence.tlog.checkpoint import Checkpoint
from domicile.evidence.tlog.witness import NOTHING, AddCheckpoint, Seen, require_growth, require_key_in_force
from domicile.host import sync_folder

BUSY_S: Final = 10
_TABLE = """
CREATE TABLE IF NOT EXISTS log (
  origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, checkpoint BLOB NOT NULL, seen_at INTEGER NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The last head of a log: what was cosigned, the note itself, and when, in seconds since 1970."""

    origin: str
    size: int
    root: bytes
    checkpoint: bytes
    seen_at: int


class WitnessStore:
    """The file, open for this process and its threads; another process waits its turn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._faults():
            path.touch(mode=0o600)
            sync_folder(path.parent)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
            self._database.execute("PRAGMA synchronous = EXTRA")
            self._database.execute(_TABLE)

    def advance(self, request: AddCheckpoint, head: Checkpoint, *, keys: Sequence[Verifier], now: int) -> None:
        """Take this head as the last one; `Declined`, and nothing is changed, unless it continues what was seen.

        `keys` are the log's, in the order in which they took over.
        """
        with self._lock, self._faults(), self._transaction():
            kept = self._find(head.origin)
            if kept is not None:
                require_key_in_force(request, kept.checkpoint, keys)
            require_growth(request, head, NOTHING if kept is None else Seen(size=kept.size, root=kept.root))
            self._database.execute(
                "INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?, ?)",
                (head.origin, head.size, head.root, request.checkpoint, now),
            )

    def last(self, origin: str) -> Kept | None:
        """What was seen last of this log."""
        with self._lock, self._faults():
            return self._find(origin)

    def all(self) -> tuple[Kept, ...]:
        """What was seen last of each log, by origin."""
        with self._lock, self._faults():
            rows = self._database.execute("SELECT * FROM log ORDER BY origin").fetchall()
        return tuple(_kept(row) for row in rows)

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    def _find(self, origin: str) -> Kept | None:
        row = self._database.execute("SELECT * FROM log WHERE origin = ?", (origin,)).fetchone()
        return None if row is None else _kept(row)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as fault:
            raise HostFault(f"witness store {self._path}: {fault}; check space, rights and other programs") from None


def _kept(row: tuple[str, int, bytes, bytes, int]) -> Kept:
    origin, size, root, checkpoint, seen_at = row
    return Kept(origin=origin, size=size, root=root, checkpoint=checkpoint, seen_at=seen_at)
