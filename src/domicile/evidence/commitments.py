"""What was erased, as keyed commitments: enough to know a row again when a restore brings it back, and no more.

One SQLite file beside the journal, and the key in a file of its own. A commitment is the keyed BLAKE3 of dataset and
key, 128 bits of it; without the key nobody can say whether a row was erased, and once the key is destroyed nobody ever
will again (P8). The tables stand in it as they were, in SQL, so that a database restored years later can be asked
without the plan. Lookups take no memory; the file has about 40 bytes for each row.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from blake3 import blake3

from domicile.errors import BadFile, HostFault, Refused
from domicile.host import Host, sync_folder, write_new

COMMITMENT_BYTES: Final = 16
BATCH_ROWS: Final = 10_000
_PURPOSE: Final = b"domicile erased row v1\x00"
_DERIVED: Final = b"domicile derived key v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A table as it has to be asked again, children before parents: SQL over the row `d`, with quoted names.

    `key` gives the text that is committed to. `blank` says how private columns are blanked and `is_blank` whether they
    are; both empty where no row of the dataset was blanked.
    """

    dataset: str
    relation: str
    rows: str
    key: str
    blank: str = ""
    is_blank: str = ""


class Commitments:
    """The file and its key; `None` from `open` when there is none."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        try:
            path.touch(mode=0o600)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=10)
            self._database.execute("PRAGMA synchronous = EXTRA")  # FULL may take the last commit back
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS committed (place INTEGER PRIMARY KEY, dataset TEXT UNIQUE, body TEXT)"
            )
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS erased (commitment BLOB PRIMARY KEY, blanked INTEGER) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as fault:
            raise HostFault(f"{path} can't be opened ({fault}); check space and rights") from None

    @classmethod
    def make(cls, path: Path, host: Host) -> Commitments:
        """Open the file, or begin one with a key of its own."""
        place = _key_path(path)
        if not place.exists():
            if path.exists():
                raise Refused(f"{place} was destroyed, so what was erased can't be known again; {path} is of no use")
            _write_key(place, host.entropy(32))
        return cls(path, _read_key(place))

    @classmethod
    def open(cls, path: Path) -> Commitments:
        """Open the file that is there; Refused when nothing was committed to, or the key was destroyed."""
        if not path.exists():
            raise Refused(f"{path} isn't there: nothing was erased from here yet, or it was moved away")
        if not _key_path(path).exists():
            raise Refused(f"{_key_path(path)} was destroyed: nobody can say any more which rows were erased")
        return cls(path, _read_key(_key_path(path)))

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    def write(self, table: Committed, lines: Iterable[tuple[str, bool]]) -> int:
        """Commit to the rows of a table, key text and whether it is only blanked; return how many. Safe to repeat."""
        count, lines = 0, iter(lines)
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute(
                "INSERT INTO committed (dataset, body) VALUES (?, ?)"
                " ON CONFLICT (dataset) DO UPDATE SET body = excluded.body",
                (table.dataset, json.dumps(asdict(table))),
            )
            while batch := [(self._commitment(table.dataset, key), blank) for key, blank in islice(lines, BATCH_ROWS)]:
                self._database.executemany("INSERT OR REPLACE INTO erased VALUES (?, ?)", batch)
                count += len(batch)
            self._database.execute("COMMIT")
        except sqlite3.Error as fault:
            raise HostFault(f"{self._path} can't be written ({fault}); free space and run again") from None
        return count

    def tables(self) -> Iterator[Committed]:
        """The tables in the order in which their rows went."""
        try:
            rows = self._database.execute("SELECT body FROM committed ORDER BY place").fetchall()
            yield from (Committed(**json.loads(body)) for (body,) in rows)
        except (sqlite3.Error, TypeError, ValueError, RecursionError):
            raise BadFile(f"{self._path} can't be read; restore it from a copy") from None

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM erased").fetchone()[0])

    def fate(self, dataset: str, key: str) -> bool | None:
        """Whether a row of that key was blanked (True) or deleted (False); None when it wasn't erased."""
        try:
            found = self._database.execute(
                "SELECT blanked FROM erased WHERE commitment = ?", (self._commitment(dataset, key),)
            ).fetchone()
        except sqlite3.Error:
            raise BadFile(f"{self._path} can't be read; restore it from a copy") from None
        return bool(found[0]) if found else None

    def key_of(self, use: str) -> bytes:
        """A key for something that goes with this one: whoever destroys this one destroys that too; 32 bytes."""
        return blake3(_DERIVED + use.encode(), key=self._key).digest()

    def _commitment(self, dataset: str, key: str) -> bytes:
        text = dataset.encode()
        body = _PURPOSE + len(text).to_bytes(4, "big") + text + key.encode()
        return blake3(body, key=self._key).digest(COMMITMENT_BYTES)


def has_key(path: Path) -> bool:
    """Whether it can be said which rows were erased: the key is there."""
    return _key_path(path).exists()


def destroy_key(path: Path) -> None:
    """Destroy the key: from then on the commitments tell nothing to anybody. Refused when it is gone already."""
    place = _key_path(path)
    try:
        size = place.stat().st_size
        with place.open("r+b") as handle:
            handle.write(bytes(size))
            handle.flush()
            os.fsync(handle.fileno())
        place.unlink()
        sync_folder(place.parent)
    except FileNotFoundError:
        raise Refused(f"{place} isn't there; it was destroyed before, or nothing was erased") from None
    except OSError as fault:
        raise HostFault(f"{place} can't be destroyed ({fault.strerror}); check rights") from None


def _key_path(path: Path) -> Path:
    return path.with_suffix(".key")


def _write_key(place: Path, key: bytes) -> None:
    try:
        write_new(place, key, mode=0o600)
    except OSError as fault:
        raise HostFault(f"{place} can't be written ({fault.strerror}); check rights and space") from None


def _read_key(place: Path) -> bytes:
    try:
        key = place.read_bytes()
    except OSError as fault:
        raise BadFile(f"{place} can't be read ({fault.strerror}); run as its owner") from None
    if len(key) != 32:
        raise BadFile(f"{place} is not a key of ours; restore it from a copy")
    return key
