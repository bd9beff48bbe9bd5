"""What rows say of objects, and where people live: by keyed digests of keys. For one listing only.

Kept in a file that SQLite makes for itself and that nobody else can open; it is gone when it is closed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import blake3

from domicile.config.belongings import ObjectRule
from domicile.errors import HostFault
from domicile.model import Home
from domicile.stores.postgres.naming import Named

KEY_PURPOSE: Final = b"domicile object key v1\x00"
PERSON_PURPOSE: Final = b"domicile person's key v1\x00"


def key_digest(key: str, *, digest_key: bytes) -> bytes:
    """The keyed digest that stands for a key."""
    return blake3.blake3(KEY_PURPOSE + key.encode("utf-8", "surrogateescape"), key=digest_key).digest()


@contextmanager
def sqlite_faults() -> Iterator[None]:
    """Let SQLite's errors come out as ours: its own file is where the system keeps temporary ones."""
    try:
        yield
    except sqlite3.Error as fault:
        raise HostFault(
            f"the list of what rows name can't be kept ({type(fault).__name__}); make room for temporary files (TMPDIR)"
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the rows of one rule say of one object: whose it is, and whether somebody who stays has it, too.

    `nobody`: one of its labels names nobody who is there.
    """

    rule: int
    homes: frozenset[Home]
    stays: bool
    nobody: bool = False


class Claims:
    """The claims of all rules of one store; a context manager that drops them."""

    def __init__(self, *, digest_key: bytes) -> None:
        self._digest_key = digest_key
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(
            "CREATE TABLE claim (key BLOB, rule INTEGER, home TEXT, stays INTEGER, PRIMARY KEY (key, rule, home, stays)"
            ") WITHOUT ROWID"
        )
        self._database.execute("CREATE TABLE person (key BLOB PRIMARY KEY, home TEXT) WITHOUT ROWID")
        self._database.execute("CREATE TABLE met (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("CREATE TABLE going (key BLOB, home TEXT, PRIMARY KEY (key, home)) WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Drop them."""
        self._database.close()

    def add(self, number: int, rule: ObjectRule, rows: Iterable[Named]) -> int:
        """Take what rows name by that rule; return how many name nothing in this store."""
        elsewhere = 0
        self._database.execute("BEGIN")
        for row in rows:
            key = rule.key_named(row.value)
            if key is None:
                elsewhere += 1
                continue
            self._database.execute(
                "INSERT OR IGNORE INTO claim VALUES (?, ?, ?, ?)",
                (key_digest(key, digest_key=self._digest_key), number, row.home or "", row.stays),
            )
        self._database.execute("COMMIT")
        return elsewhere

    def add_people(self, people: Iterable[tuple[str, Home | None]]) -> None:
        """Take who lives where, by the texts of their keys."""
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT OR IGNORE INTO person VALUES (?, ?)", ((self._person(text), home or "") for text, home in people)
        )
        self._database.execute("COMMIT")

    def who(self, text: str) -> tuple[Home | None] | None:
        """The home of the person of that key, in a tuple with None for who stays; None where there is nobody."""
        row = self._database.execute("SELECT home FROM person WHERE key = ?", (self._person(text),)).fetchone()
        return None if row is None else (Home(row[0]) if row[0] else None,)

    def _person(self, text: str) -> bytes:
        return blake3.blake3(PERSON_PURPOSE + text.encode("utf-8", "surrogateescape"), key=self._digest_key).digest()

    def of(self, key: bytes) -> tuple[Claim, ...]:
        """What is claimed of an object that the store lists."""
        rows = self._database.execute("SELECT rule, home, stays FROM claim WHERE key = ? ORDER BY rule", (key,))
        found: dict[int, tuple[set[Home], bool]] = {}
        for rule, home, stays in rows.fetchall():
            homes, before = found.get(rule, (set(), False))
            found[rule] = (homes | ({Home(home)} if home else set()), before or bool(stays))
        if found:
            self._database.execute("INSERT OR IGNORE INTO met VALUES (?)", (key,))
        return tuple(Claim(rule=rule, homes=frozenset(homes), stays=stays) for rule, (homes, stays) in found.items())

    def note_going(self, key: bytes, home: Home) -> None:
        """Note that an object of the listing goes to a home."""
        self._database.execute("INSERT OR IGNORE INTO going VALUES (?, ?)", (key, home))

    def is_going(self, key: bytes, home: Home) -> bool:
        """Whether it was noted so, or rows name an object for somebody of that home that isn't listed."""
        query = (
            "SELECT 1 FROM going WHERE key = ?1 AND home = ?2 UNION ALL"
            " SELECT 1 FROM claim WHERE key = ?1 AND home = ?2"
        )
        return self._database.execute(query, (key, home)).fetchone() is not None

    def unmet_of_movers(self, rules: Iterable[int]) -> Iterator[bytes]:
        """What rows of those rules name for people who move and nobody else, and the store didn't list."""
        query = (
            "SELECT key FROM claim WHERE rule IN (SELECT value FROM json_each(?))"
            " AND key NOT IN (SELECT key FROM met) GROUP BY key HAVING NOT max(stays) AND max(home) <> ''"
        )
        for (key,) in self._database.execute(query, (json.dumps(list(rules)),)):
            yield key

    def unmet(self) -> int:
        """How many objects rows name and the store didn't list."""
        query = "SELECT count(DISTINCT key) FROM claim WHERE key NOT IN (SELECT key FROM met)"
        return int(self._database.execute(query).fetchone()[0])
