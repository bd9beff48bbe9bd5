"""The book: which objects of which store go to which home, and how far each has come. Private, one SQLite file (0600).

It holds no key of an object: keys are keyed digests, and whoever works on an object reads its key from the store's own
listing again. It holds version ids and keyed digests of what was compared, as a resume needs them. `frozen` is written
with the objects in one transaction; each later line is on the disk before the next effect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from domicile.errors import BadFile
from domicile.model import Home
from domicile.private import PrivateFile

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS frozen (store TEXT PRIMARY KEY, gaps INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS object (
  store TEXT, key BLOB, public INTEGER NOT NULL, leaves INTEGER NOT NULL, versions TEXT NOT NULL, digests TEXT,
  state TEXT NOT NULL DEFAULT 'there', removed INTEGER NOT NULL DEFAULT 0, until TEXT,
  PRIMARY KEY (store, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS going (
  store TEXT, home TEXT, key BLOB, last INTEGER NOT NULL, copied INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0, brought TEXT, source TEXT, arrived TEXT,
  PRIMARY KEY (store, home, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS going_key ON going (store, key);
CREATE TABLE IF NOT EXISTS upload (store TEXT, id BLOB, PRIMARY KEY (store, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS awaited (store TEXT, key BLOB, PRIMARY KEY (store, key)) WITHOUT ROWID;
"""


class Standing(StrEnum):
    """How far an object has come at the source."""

    THERE = "there"
    GOING = "going"  # compared again, and its removal begun
    GONE = "gone"
    LOCKED = "locked"  # what isn't locked of it is gone
    HELD = "held"  # other than what was compared, at either end: left as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An object as it was frozen: version ids oldest first, and of each the digest that was compared."""

    key: bytes = field(repr=False)
    public: bool
    leaves: bool
    versions: tuple[str, ...]
    homes: tuple[Home, ...] = ()
    digests: tuple[str, ...] = ()
    standing: Standing = Standing.THERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Objects, their versions and bytes that go to one home, and the versions that leave with it."""

    objects: int
    versions: int
    leaving: int
    bytes: int = 0


class Book(PrivateFile):
    """Lines by store and keyed digest of the key."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES)

    # -- freezing ----------------------------------------------------------------------------------------------------

    def is_frozen(self, store: str) -> bool:
        """Whether the store's objects are listed here."""
        return bool(self.rows("SELECT 1 FROM frozen WHERE store = ?", store))

    def freeze(
        self, store: str, entries: Iterable[Entry], uploads: Iterable[bytes], awaited: Iterable[bytes], *, gaps: int
    ) -> None:
        """Write all objects of a store, or none; what the iterables raise passes. They are read in this order.

        Under `awaited` keys nothing is there yet; what comes there is a mover's.
        """
        with self.transaction() as database:
            for entry in entries:
                database.execute(
                    "INSERT INTO object (store, key, public, leaves, versions) VALUES (?, ?, ?, ?, ?)",
                    (store, entry.key, entry.public, entry.leaves, json.dumps(entry.versions)),
                )
                for home in entry.homes:
                    database.execute(
                        "INSERT INTO going (store, home, key, last) VALUES (?, ?, ?, ?)",
                        (store, home, entry.key, entry.leaves and home == entry.homes[-1]),
                    )
            database.executemany("INSERT OR IGNORE INTO upload VALUES (?, ?)", ((store, one) for one in uploads))
            database.executemany("INSERT OR IGNORE INTO awaited VALUES (?, ?)", ((store, one) for one in awaited))
            database.execute("INSERT INTO frozen VALUES (?, ?)", (store, gaps))

    def gaps(self, store: str) -> int:
        """How many names of files there were beside the objects' own when they were frozen."""
        return int(self.rows("SELECT gaps FROM frozen WHERE store = ?", store)[0][0])

    def awaits(self, store: str, key: bytes) -> bool:
        """Whether a mover's row or upload named this key when nothing was there."""
        return bool(self.rows("SELECT 1 FROM awaited WHERE store = ? AND key = ?", store, key))

    def uploads(self, store: str) -> frozenset[bytes]:
        """The incomplete uploads that were frozen."""
        return frozenset(row[0] for row in self.rows("SELECT id FROM upload WHERE store = ?", store))

    # -- reading -----------------------------------------------------------------------------------------------------

    def entry(self, store: str, key: bytes) -> Entry | None:
        """One object; None where it is none of those that were frozen."""
        rows = self.rows(
            "SELECT public, leaves, versions, digests, state FROM object WHERE store = ? AND key = ?", store, key
        )
        if not rows:
            return None
        public, leaves, versions, digests, state = rows[0]
        homes = self.rows("SELECT home FROM going WHERE store = ? AND key = ? ORDER BY last, home", store, key)
        return Entry(
            key=key, public=bool(public), leaves=bool(leaves), versions=tuple(json.loads(versions)),
            homes=tuple(Home(home) for (home,) in homes), digests=tuple(json.loads(digests or "[]")),
            standing=Standing(state),
        )  # fmt: skip

    def sums(self, store: str, *, public: bool) -> Mapping[Home, Sum]:
        """What goes to each home."""
        rows = self.rows(
            "SELECT g.home, count(*), sum(json_array_length(o.versions)),"
            " sum(json_array_length(o.versions) * g.last), sum(g.bytes)"
            " FROM going AS g JOIN object AS o USING (store, key) WHERE g.store = ? AND o.public = ? GROUP BY 1",
            store, public,
        )  # fmt: skip
        return {
            Home(home): Sum(objects=objects, versions=versions, leaving=leaving, bytes=size)
            for home, objects, versions, leaving, size in rows
        }

    def removed(self, store: str) -> Mapping[Home, int]:
        """How many versions were removed at the source, by the home with which they left."""
        rows = self.rows(
            "SELECT g.home, sum(o.removed) FROM going AS g JOIN object AS o USING (store, key)"
            " WHERE g.store = ? AND g.last GROUP BY 1",
            store,
        )
        return {Home(home): count for home, count in rows}

    def standings(self, store: str) -> Mapping[Standing, int]:
        """How many objects that leave stand where."""
        rows = self.rows("SELECT state, count(*) FROM object WHERE store = ? AND leaves GROUP BY 1", store)
        return {Standing(state): count for state, count in rows}

    # -- copying and comparing ---------------------------------------------------------------------------------------

    def missing(self, store: str, key: bytes) -> tuple[Home, ...]:
        """The homes where this object is not yet."""
        rows = self.rows("SELECT home FROM going WHERE store = ? AND key = ? AND NOT copied", store, key)
        return tuple(Home(home) for (home,) in rows)

    def not_copied(self, store: str, *, public: bool) -> int:
        """How many copies at homes are missing."""
        rows = self.rows(
            "SELECT count(*) FROM going JOIN object USING (store, key) WHERE store = ? AND NOT copied AND public = ?",
            store, public,
        )  # fmt: skip
        return int(rows[0][0])

    def copied(self, store: str, key: bytes, home: Home, *, brought: str, size: int) -> None:
        """An object is at home and was read back; what it is there."""
        self._write(
            "UPDATE going SET copied = 1, brought = ?, bytes = ? WHERE store = ? AND key = ? AND home = ?",
            brought, size, store, key, home,
        )  # fmt: skip

    def begin_comparing(self, store: str) -> None:
        """Forget what was compared before; nothing of the store has been removed yet."""
        self._write("UPDATE going SET source = NULL, arrived = NULL WHERE store = ?", store)

    def compared(
        self, store: str, key: bytes, digests: Sequence[str] | None, ends: Mapping[Home, tuple[str, str]]
    ) -> None:
        """What each version is at the source (None: as was said), and the object at both ends, by home."""
        with self.transaction() as database:
            if digests is not None:
                database.execute(
                    "UPDATE object SET digests = ? WHERE store = ? AND key = ?", (json.dumps(digests), store, key)
                )
            for home, (source, arrived) in ends.items():
                database.execute(
                    "UPDATE going SET source = ?, arrived = ?, copied = ? WHERE store = ? AND key = ? AND home = ?",
                    (source, arrived, source == arrived, store, key, home),
                )

    def ends(self, store: str, home: Home, *, public: bool) -> Iterator[tuple[bytes, str, str]]:
        """What was read of each object at the source and at that home, in the order of the keys' digests."""
        yield from self.stream(
            "SELECT key, coalesce(source, ''), coalesce(arrived, '') FROM going JOIN object USING (store, key)"
            " WHERE store = ? AND home = ? AND public = ? ORDER BY key",
            store, home, public,
        )  # fmt: skip

    def brought(self, store: str, home: Home, *, public: bool) -> Iterator[tuple[bytes, str]]:
        """What each object was at that home as it was copied, in the order of the keys' digests."""
        yield from self.stream(
            "SELECT key, coalesce(brought, '') FROM going JOIN object USING (store, key)"
            " WHERE store = ? AND home = ? AND public = ? ORDER BY key",
            store, home, public,
        )  # fmt: skip

    def erasable(self, store: str, home: Home) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        """By which digests each private object of that home may be erased, in the order of the keys' digests."""
        rows = self.stream(
            "SELECT key, coalesce(digests, '[]') FROM going JOIN object USING (store, key)"
            " WHERE store = ? AND home = ? AND NOT public ORDER BY key",
            store, home,
        )  # fmt: skip
        for key, digests in rows:
            yield key, tuple(json.loads(digests))

    def private(self, store: str) -> Iterator[tuple[bytes, str, int, int]]:
        """Each private object at each of its homes: key, home, versions, and how many of them leave with that home."""
        yield from self.stream(
            "SELECT g.key, g.home, json_array_length(o.versions), json_array_length(o.versions) * g.last"
            " FROM going AS g JOIN object AS o USING (store, key) WHERE g.store = ? AND NOT o.public",
            store,
        )

    def listed(self, store: str, home: Home) -> Iterator[tuple[bytes, bool, tuple[str, ...]]]:
        """Each private object of that home, in the order of the keys' digests; none where nothing was compared.

        Whether it leaves with that home, and its versions' digests as they were compared last, or pinned.
        """
        rows = self.stream(
            "SELECT key, last, coalesce(digests, '[]') FROM going JOIN object USING (store, key)"
            " WHERE store = ? AND home = ? AND NOT public ORDER BY key",
            store, home,
        )  # fmt: skip
        for key, leaves, digests in rows:
            yield key, bool(leaves), tuple(json.loads(digests))

    def not_compared(self, store: str) -> int:
        """How many private objects were not met at the source while both ends were compared."""
        rows = self.rows(
            "SELECT count(*) FROM going JOIN object USING (store, key) WHERE store = ? AND source IS NULL"
            " AND NOT public",
            store,
        )
        return int(rows[0][0])

    # -- erasing -----------------------------------------------------------------------------------------------------

    def stands(
        self, store: str, key: bytes, standing: Standing, *, removed: int, until: datetime | None = None
    ) -> None:  # fmt: skip
        """How far an object has come, and how many of its versions are gone by our hand."""
        self._write(
            "UPDATE object SET state = ?, removed = ?, until = ? WHERE store = ? AND key = ?",
            standing.value, removed, until.isoformat() if until else None, store, key,
        )  # fmt: skip

    def locked(self, store: str) -> tuple[tuple[bytes, int], ...]:
        """The objects of which locked versions are left: key, and how many of its versions are gone by our hand."""
        rows = self.rows("SELECT key, removed FROM object WHERE store = ? AND leaves AND state = 'locked'", store)
        return tuple((key, removed) for key, removed in rows)

    def unfinished(self, store: str) -> tuple[tuple[bytes, int, Standing], ...]:
        """The objects that leave and are neither gone nor held nor locked: key, number of versions, standing."""
        rows = self.rows(
            "SELECT key, json_array_length(versions), state FROM object WHERE store = ? AND leaves"
            " AND state IN ('there', 'going')",
            store,
        )
        return tuple((key, versions, Standing(state)) for key, versions, state in rows)

    def _write(self, query: str, *values: object) -> None:
        self.rows(query, *values)

    def refuse_lost(self, store: str) -> None:
        """Raise BadFile where the store's objects aren't listed here: the file was lost, or put back from before."""
        if not self.is_frozen(store):
            raise BadFile(
                f"{self.path} doesn't list the objects of {store} any more; put it back from a copy of this run: "
                "without it nothing can be erased, and nothing said of what is left"
            )
