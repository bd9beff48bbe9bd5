"""The private folder of receipts: nonces, trees, and what each person's leaf says, found by keyed digests of keys.

```
receipts/       0700, files 0600
  people.db     by keyed digest of a person's key: their place among the nonces, home, and rows; the statements
  nonces        32 bytes for each person, one after the other, so that one can be overwritten where it stands
  N.tree        the tree of the N-th statement
```

No key of a person is in it: who asks for a receipt says the key, and with it the leaf is made again. The digests are
made with a key that hangs on that of the commitments (`commitments`), and are of no use once that is destroyed. A nonce
is destroyed in this order, each step on the disk before the next, so that a kill anywhere is made good by doing it
again: chosen, (announced in the log), overwritten, line gone, (told in the log), no longer chosen.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from blake3 import blake3

from domicile.errors import BadFile, HostFault, Refused
from domicile.evidence.codec import decode, encode
from domicile.evidence.predicates import ReceiptsPredicate
from domicile.evidence.receipts import trees
from domicile.evidence.receipts.leaf import NONCE_BYTES, Person, Rows, commit
from domicile.host import Host, sync_folder
from domicile.private import PrivateFile

PART_PEOPLE_MAX: Final = 1_000_000
"""Leaves of one tree: what is held in memory while it is made, about 300 bytes for each."""
BATCH_PEOPLE: Final = 10_000
_PURPOSE: Final = b"domicile receipt of v1\x00"
_GONE: Final = bytes(NONCE_BYTES)
_TABLES: Final = """
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS name (place INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS part (number INTEGER PRIMARY KEY, first INTEGER NOT NULL, size INTEGER NOT NULL, body BLOB);
CREATE TABLE IF NOT EXISTS person (digest BLOB PRIMARY KEY, place INTEGER NOT NULL, home INTEGER NOT NULL, rows TEXT)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chosen (digest BLOB PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS choice (moment TEXT, count INTEGER);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One person's leaf, opened: their nonce, its place in the tree of a statement, and the path from there up."""

    person: Person
    nonce: bytes
    place: int
    path: tuple[bytes, ...]
    stated: ReceiptsPredicate

    def __repr__(self) -> str:
        return "Leaf(…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Whose nonces are being destroyed: how many, and since when."""

    count: int
    moment: datetime


State: TypeAlias = Callable[[int, int, Mapping[str, int], bytes], ReceiptsPredicate]
"""Makes the statement of one tree: of cohort, part, how many people of each home, and the root."""


class Receipts:
    """The folder, and the 32-byte key by which people are found in it."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._key = key
        self._people = PrivateFile(folder / "people.db", _TABLES, wal=False)

    def close(self) -> None:
        """Give the file back."""
        self._people.close()

    # -- making ----------------------------------------------------------------------------------------------------

    def make(self, people: Iterable[tuple[int, Person]], state: State, host: Host) -> tuple[ReceiptsPredicate, ...]:
        """Commit to all people (with their cohort's number; those of one cohort together), all or nothing.

        What an earlier run made and did not finish is replaced. On return everything is on the disk.
        """
        self.forget()
        try:
            self._folder.mkdir(mode=0o700)
            sync_folder(self._folder.parent)
        except OSError as fault:
            raise self._fault(fault) from None
        with self._people.transaction() as database, self._writing("nonces") as nonces:
            writer = _Writer(self._folder, self._key, database, nonces, state, host)
            for cohort, person in people:
                writer.add(cohort, person)
            writer.end()
            nonces.flush()
            os.fsync(nonces.fileno())
            sync_folder(self._folder)
        return self.stated()

    def stated(self) -> tuple[ReceiptsPredicate, ...]:
        """The statements of the trees, in their order; none where nothing was made."""
        if not self._people.path.exists():
            return ()
        return tuple(
            decode(bytes(body), ReceiptsPredicate)
            for (body,) in self._people.rows("SELECT body FROM part ORDER BY number")
        )

    # -- one person ------------------------------------------------------------------------------------------------

    def find(self, key: str, kinds: Sequence[str]) -> Leaf:
        """The leaf of the person of that key, of one of these kinds.

        Raise Refused where nobody of it went home, or their nonce was destroyed: which of the two, nothing here tells.
        """
        found = [(kind, *row) for kind in kinds for row in self._lines(kind, key)]
        if not found:
            raise Refused(
                "there is no receipt for that key: nobody of it went home, or its nonce was destroyed. Write the key "
                "as the database does"
            )
        if len(found) > 1:
            raise Refused(f"that key is one of {', '.join(kind for kind, *_ in found)}; say which with --kind")
        ((kind, place, home, rows),) = found
        names = dict(self._people.rows("SELECT place, text FROM name"))
        try:
            person = Person(kind=kind, key=key, home=names[home], rows=_read_rows(rows, names))
        except (LookupError, TypeError, ValueError, RecursionError):
            raise BadFile(f"{self._people.path} can't be read; restore the folder from a copy of this run") from None
        nonce = self._nonce(place)
        number, size, body = self._part_of(place)
        tree = trees.Tree(self._folder / f"{number}.tree", size)
        leaf = tree.place(commit(person, nonce))
        return Leaf(
            person=person, nonce=nonce, place=leaf, path=tree.path(leaf), stated=decode(body, ReceiptsPredicate)
        )

    def kinds(self) -> tuple[str, ...]:
        """The kinds of people who have receipts here: datasets of their own rows."""
        return tuple(text for (text,) in self._people.rows("SELECT text FROM name WHERE place < 0 ORDER BY place DESC"))

    def count(self) -> int:
        """How many nonces there still are."""
        return int(self._people.rows("SELECT count(*) FROM person")[0][0])

    # -- destroying ------------------------------------------------------------------------------------------------

    def choose(self, keys: Sequence[str] | None, kinds: Sequence[str], moment: datetime) -> Choice:
        """Choose whose nonces are to go: of these keys, or of all (None); Refused where a key has none.

        From then on they are as good as gone: `overwrite` is done, now or by the next run.
        """
        found = [self.find(key, kinds).person for key in keys or ()]
        mine = [(self._digest(person.kind, person.key),) for person in found]
        with self._people.transaction() as database:
            if keys is None:
                database.execute("INSERT INTO chosen SELECT digest, place FROM person")
            database.executemany("INSERT OR IGNORE INTO chosen SELECT digest, place FROM person WHERE digest = ?", mine)
            count = int(database.execute("SELECT count(*) FROM chosen").fetchone()[0])
            database.execute("INSERT INTO choice VALUES (?, ?)", (moment.isoformat(), count))
        return Choice(count=count, moment=moment)

    def chosen(self) -> Choice | None:
        """Whose nonces were chosen and are not told as destroyed yet."""
        rows = self._people.rows("SELECT moment, count FROM choice")
        return Choice(moment=datetime.fromisoformat(rows[0][0]), count=rows[0][1]) if rows else None

    def overwrite(self) -> None:
        """Overwrite the chosen nonces where they stand, and remove their people's lines. Safe to repeat."""
        places = [place for (place,) in self._people.rows("SELECT place FROM chosen ORDER BY place")]
        try:
            with (self._folder / "nonces").open("r+b") as nonces:
                for place in places:
                    nonces.seek(place * NONCE_BYTES)
                    nonces.write(_GONE)
                nonces.flush()
                os.fsync(nonces.fileno())
        except OSError as fault:
            raise self._fault(fault) from None
        with self._people.transaction() as database:
            database.execute("DELETE FROM person WHERE digest IN (SELECT digest FROM chosen)")
            database.execute("DELETE FROM chosen")

    def settle(self) -> None:
        """The destruction is told; where no nonce is left, nothing else is of use either."""
        with self._people.transaction() as database:
            database.execute("DELETE FROM choice")
        if not self.count():
            self.forget()

    def forget(self) -> None:
        """Remove the folder, and what tells that there are receipts first: the next run takes them for whole."""
        self._people.forget()
        try:
            if self._folder.exists():
                shutil.rmtree(self._folder)
                sync_folder(self._folder.parent)
        except OSError as fault:
            raise self._fault(fault) from None

    # -- files -----------------------------------------------------------------------------------------------------

    def _digest(self, kind: str, key: str) -> bytes:
        return _digest_of(self._key, kind, key)

    def _lines(self, kind: str, key: str) -> list[tuple[int, int, str]]:
        return self._people.rows("SELECT place, home, rows FROM person WHERE digest = ?", self._digest(kind, key))

    def _nonce(self, place: int) -> bytes:
        try:
            with (self._folder / "nonces").open("rb") as source:
                source.seek(place * NONCE_BYTES)
                nonce = source.read(NONCE_BYTES)
        except OSError as fault:
            raise self._fault(fault) from None
        if len(nonce) != NONCE_BYTES or nonce == _GONE:
            raise BadFile(f"{self._folder / 'nonces'} lacks a nonce; restore the folder from a copy of this run")
        return nonce

    def _part_of(self, place: int) -> tuple[int, int, bytes]:
        ((number, size, body),) = self._people.rows(
            "SELECT number, size, body FROM part WHERE first <= ? ORDER BY first DESC LIMIT 1", place
        )
        return number, size, bytes(body)

    @contextmanager
    def _writing(self, name: str) -> Iterator[BinaryIO]:
        try:
            (self._folder / name).touch(mode=0o600)
            with (self._folder / name).open("wb") as out:
                yield out
        except OSError as fault:
            raise self._fault(fault) from None

    def _fault(self, fault: Exception) -> HostFault:
        return HostFault(
            f"{self._folder} can't be used ({type(fault).__name__}); check space, rights and other runs, then run again"
        )


class _Writer:
    """Writes people, nonces and trees, part by part; a part is one cohort's, and of bounded size."""

    def __init__(  # noqa: PLR0913, PLR0917 - where to, and what with
        self, folder: Path, key: bytes, database: sqlite3.Connection, nonces: BinaryIO, state: State, host: Host
    ) -> None:  # fmt: skip
        self._folder = folder
        self._key = key
        self._database = database
        self._nonces = nonces
        self._state = state
        self._host = host
        self._names: dict[str, int] = {}
        self._kinds: dict[str, None] = {}
        self._waiting: list[Person] = []
        self._commitments: list[bytes] = []
        self._homes: Counter[str] = Counter()
        self._cohort, self._part, self._number, self._first = -1, 0, 0, 0

    def add(self, cohort: int, person: Person) -> None:
        """Commit to one person; those of a cohort come together."""
        full = len(self._commitments) + len(self._waiting) == PART_PEOPLE_MAX
        if cohort != self._cohort or full:
            self._end_part()
            self._part = self._part + 1 if cohort == self._cohort else 1
            self._cohort = cohort
        self._waiting.append(person)
        if len(self._waiting) == BATCH_PEOPLE:
            self._write_waiting()

    def end(self) -> None:
        """Write what waits, and the names that lines have numbers for; kinds of people under numbers below 0."""
        self._end_part()
        self._database.executemany("INSERT INTO name VALUES (?, ?)", ((at, text) for text, at in self._names.items()))
        self._database.executemany(
            "INSERT INTO name VALUES (?, ?)", ((-at, text) for at, text in enumerate(self._kinds, start=1))
        )

    def _write_waiting(self) -> None:
        batch, self._waiting = self._waiting, []
        fresh = self._host.entropy(NONCE_BYTES * len(batch))
        nonces = [fresh[at : at + NONCE_BYTES] for at in range(0, len(fresh), NONCE_BYTES)]
        self._nonces.write(fresh)
        self._database.executemany(
            "INSERT INTO person VALUES (?, ?, ?, ?)",
            (self._line(person, at) for at, person in enumerate(batch, start=self._first + len(self._commitments))),
        )
        self._commitments += [commit(person, nonce) for person, nonce in zip(batch, nonces, strict=True)]
        self._homes.update(person.home for person in batch)

    def _end_part(self) -> None:
        self._write_waiting()
        size = len(self._commitments)
        if not size:
            return
        self._number += 1
        root = trees.write(self._folder / f"{self._number}.tree", self._commitments)
        stated = self._state(self._cohort, self._part, self._homes, root)
        self._database.execute(
            "INSERT INTO part VALUES (?, ?, ?, ?)", (self._number, self._first, size, encode(stated))
        )
        self._first += size
        self._commitments, self._homes = [], Counter()

    def _line(self, person: Person, place: int) -> tuple[bytes, int, int, str]:
        self._kinds.setdefault(person.kind)
        rows = [[self._name(dataset), one.moved, one.deleted, one.blanked] for dataset, one in person.rows.items()]
        digest = _digest_of(self._key, person.kind, person.key)
        return digest, place, self._name(person.home), json.dumps(rows, separators=(",", ":"))

    def _name(self, text: str) -> int:
        return self._names.setdefault(text, len(self._names))


def _digest_of(key: bytes, kind: str, person: str) -> bytes:
    text = kind.encode()
    return blake3(_PURPOSE + len(text).to_bytes(4, "big") + text + person.encode(), key=key).digest()


def _read_rows(text: str, names: dict[int, str]) -> dict[str, Rows]:
    return {
        names[dataset]: Rows(moved=moved, deleted=deleted, blanked=blanked)
        for dataset, moved, deleted, blanked in json.loads(text)
    }
