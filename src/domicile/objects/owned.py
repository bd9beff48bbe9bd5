"""How many versions of objects of each person go home, and leave, for their receipts.

By the rules by which the objects were frozen, asked again between clearance and erasure, when rows and objects are all
still there: a rule about rows of the rows that went home, a rule about keys or labels of one more listing. An object
counts for each person whom a rule leads to. One that a cohort took home and that nothing names any more counts for
nobody.

Kept in a file that SQLite makes for itself and that nobody else can open; keys of people and objects are keyed digests.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Self

import blake3

from domicile.evidence.receipts.leaf import Person, Rows

PURPOSE: Final = b"domicile person of objects v1\x00"
_TABLES: Final = """
CREATE TABLE going (key BLOB, home TEXT, moved INTEGER, deleted INTEGER, PRIMARY KEY (key, home)) WITHOUT ROWID;
CREATE TABLE owner (key BLOB, person BLOB, PRIMARY KEY (key, person)) WITHOUT ROWID;
CREATE TABLE share (person BLOB, home TEXT, store TEXT, moved INTEGER, deleted INTEGER,
  PRIMARY KEY (person, home, store)) WITHOUT ROWID;
"""


class Owned:
    """The counts of all stores, store by store: `begin`, `add` as often as needed, `end`; then `of` each person.

    A context manager that drops them. SQLite's errors pass.
    """

    def __init__(self, *, digest_key: bytes) -> None:
        self._digest_key = digest_key
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._database.close()

    def begin(self, going: Iterable[tuple[bytes, str, int, int]]) -> None:
        """Take what of a store goes where: the object's digest, home, how many versions, and how many of them leave."""
        self._database.execute("BEGIN")
        self._database.execute("DELETE FROM going")
        self._database.execute("DELETE FROM owner")
        self._database.executemany("INSERT INTO going VALUES (?, ?, ?, ?)", going)

    def add(self, owners: Iterable[tuple[bytes, str, str]]) -> None:
        """Take whose objects are: the object's digest, kind and key of the person; doubles and others count nothing."""
        self._database.executemany(
            "INSERT OR IGNORE INTO owner VALUES (?, ?)", ((key, self._person(kind, who)) for key, kind, who in owners)
        )

    def end(self, store: str) -> None:
        """Count the store's."""
        self._database.execute(
            "INSERT INTO share SELECT o.person, g.home, ?, sum(g.moved), sum(g.deleted)"
            " FROM owner AS o JOIN going AS g USING (key) GROUP BY 1, 2",
            (store,),
        )
        self._database.execute("COMMIT")

    def of(self, person: Person) -> Mapping[str, Rows]:
        """The versions of one person's objects at their home, by store; none of a store where they have nothing."""
        found = self._database.execute(
            "SELECT store, moved, deleted FROM share WHERE person = ? AND home = ? ORDER BY store",
            (self._person(person.kind, person.key), person.home),
        )
        return {store: Rows(moved=moved, deleted=deleted, blanked=0) for store, moved, deleted in found}

    def _person(self, kind: str, key: str) -> bytes:
        text = kind.encode() + b"\x00" + key.encode("utf-8", "surrogateescape")
        return blake3.blake3(PURPOSE + text, key=self._digest_key).digest()
