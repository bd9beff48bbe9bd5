"""What came home while people write: which objects, as what, and whose are at home already. Private (0600).

The book lists what was frozen; this file is its forerunner. It holds no key of an object, only keyed digests, and of
each object at each home: what the source listed when it was brought, and which versions that made at home. `settled`
says which cohort has taken an object home: from then on home is the authority for it, and nothing replaces or removes
it there. A line without versions at home was begun: nothing was there under its key before, and what may lie there now
is what its listing tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from domicile.errors import BadFile
from domicile.model import Home
from domicile.private import PrivateFile
from domicile.stores.objects import ObjectVersion

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS begun (store TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS carried (
  store TEXT, home TEXT, key BLOB, public INTEGER NOT NULL, listing TEXT NOT NULL, there TEXT NOT NULL,
  digests TEXT NOT NULL, traits TEXT NOT NULL, bytes INTEGER NOT NULL, stale INTEGER NOT NULL DEFAULT 0,
  awaited TEXT, PRIMARY KEY (store, home, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settled (
  store TEXT, home TEXT, key BLOB, cohort INTEGER, PRIMARY KEY (store, home, key, cohort)) WITHOUT ROWID;
"""
Listing = tuple[tuple[str, int, str, str, bool], ...]
"""A key's versions as a listing tells them, oldest first: id, size, etag, when, and whether it is a delete marker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One object at one home, version by version: what the source listed, and what home listed when it had come.

    `stale`: to be brought anew. `awaited` is the digest of what is about to be written back at the source.
    """

    listing: Listing = field(default=(), repr=False)
    there: Listing = field(default=(), repr=False)
    digests: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    bytes: int = 0
    stale: bool = False
    awaited: str | None = None

    @property
    def is_begun(self) -> bool:
        """Whether it was begun, and nothing is known of how far it came."""
        return not self.there

    def is_continued_by(self, listing: Listing) -> bool:
        """Whether the source lists what it listed then, and perhaps younger versions behind it."""
        return not self.stale and not self.is_begun and listing[: len(self.listing)] == self.listing


def listing_of(history: Sequence[ObjectVersion]) -> Listing:
    """What a listing says of a key's versions."""
    return tuple(
        (one.version_id, one.size, one.etag, one.modified_at.isoformat(), one.is_delete_marker) for one in history
    )


class Carried(PrivateFile):
    """Lines by store, home and keyed digest of the key."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TABLES)

    def begin(self, store: str) -> None:
        """Say that objects of that store are being carried."""
        self.rows("INSERT OR IGNORE INTO begun VALUES (?)", store)

    def refuse_lost(self, store: str) -> None:
        """Raise BadFile where it is not said any more: the file was lost, or put back from before."""
        if not self.rows("SELECT 1 FROM begun WHERE store = ?", store):
            raise BadFile(
                f"{self.path} doesn't tell which objects of {store} are at home any more; put it back from a copy of "
                "this run: without it nobody can say what at home is its people's own"
            )

    # -- lines -------------------------------------------------------------------------------------------------------

    def line(self, store: str, home: Home, key: bytes) -> Line | None:
        """What is known of an object at a home."""
        rows = self.rows(
            "SELECT listing, there, digests, traits, bytes, stale, awaited FROM carried"
            " WHERE store = ? AND home = ? AND key = ?",
            store, home, key,
        )  # fmt: skip
        if not rows:
            return None
        listing, there, digests, traits, all_bytes, stale, awaited = rows[0]
        return Line(
            listing=_listing(listing),
            there=_listing(there), digests=tuple(json.loads(digests)), traits=tuple(json.loads(traits)),
            bytes=all_bytes, stale=bool(stale), awaited=awaited,
        )  # fmt: skip

    def note(self, store: str, home: Home, key: bytes, line: Line, *, public: bool) -> None:
        """Say what an object is at a home now; a line without versions says that it is begun."""
        self.rows(
            "INSERT INTO carried VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " public = excluded.public, listing = excluded.listing, there = excluded.there, digests = excluded.digests,"
            " traits = excluded.traits, bytes = excluded.bytes, stale = excluded.stale, awaited = excluded.awaited",
            store, home, key, public, json.dumps(line.listing), json.dumps(line.there), json.dumps(line.digests),
            json.dumps(line.traits), line.bytes, line.stale, line.awaited,
        )  # fmt: skip

    def drop(self, store: str, home: Home, key: bytes) -> None:
        """Forget an object: nothing of it is at home by our hand."""
        self.rows("DELETE FROM carried WHERE store = ? AND home = ? AND key = ?", store, home, key)

    def unsettled(self, store: str, home: Home) -> Iterator[bytes]:
        """The private objects that were brought to a home and that no cohort has taken there."""
        rows = self.stream(
            "SELECT key FROM carried AS c WHERE store = ? AND home = ? AND NOT public AND NOT EXISTS (SELECT 1"
            " FROM settled AS s WHERE s.store = c.store AND s.home = c.home AND s.key = c.key)",
            store, home,
        )  # fmt: skip
        for (key,) in rows:
            yield key

    # -- whose they are ----------------------------------------------------------------------------------------------

    def settle(self, cohort: int, keys: Iterable[tuple[str, Home, bytes]]) -> None:
        """Say that a cohort takes these objects home, all or none."""
        with self.transaction() as database:
            database.executemany("INSERT OR IGNORE INTO settled VALUES (?, ?, ?, ?)", ((*one, cohort) for one in keys))

    def unsettle(self, cohort: int) -> None:
        """Say that the cohort isn't at home, or not any more."""
        self.rows("DELETE FROM settled WHERE cohort = ?", cohort)

    def is_settled(self, store: str, home: Home, key: bytes) -> bool:
        """Whether somebody at home has the object."""
        return bool(
            self.rows("SELECT 1 FROM settled WHERE store = ? AND home = ? AND key = ? LIMIT 1", store, home, key)
        )

    def homes_of(self, store: str, key: bytes) -> AbstractSet[Home]:
        """The homes where somebody has it."""
        return {Home(home) for (home,) in self.rows("SELECT DISTINCT home FROM settled WHERE store = ? AND key = ?",
                                                    store, key)}  # fmt: skip

    def settled_by(self, store: str, cohort: int) -> AbstractSet[tuple[Home, bytes]]:
        """The objects that a cohort took home."""
        rows = self.rows("SELECT home, key FROM settled WHERE store = ? AND cohort = ?", store, cohort)
        return {(Home(home), key) for home, key in rows}


def _listing(text: str) -> Listing:
    return tuple((id_, size, etag, when, gone) for id_, size, etag, when, gone in json.loads(text))
