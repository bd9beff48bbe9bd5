"""Somebody who writes for everybody, one act after the other, each where the directory says that its person lives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, LiteralString

import psycopg

from domicile.stores.postgres.session import FENCED_STATE
from tests.schedules.promises import Broken, Clip, Letter, Lives, Promises
from tests.schedules.world import PLACES, SOURCE

PATIENCE: Final = "-c lock_timeout=15ms -c idle_in_transaction_session_timeout=10s"
"""People's own writes wait for no lock of the engine's: act and engine are one thread here, and the act is left out."""
IN_THE_WAY: Final = ("55P03", "40P01", "40001")
FIRST_ID: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A transaction that somebody left open, and what is promised once it is committed."""

    line: psycopg.Connection[Any]
    words: str
    promise: Callable[[], None]


@dataclass(slots=True, kw_only=True)
class Platform:
    """Sessions at all places, and what was promised over them."""

    lines: Mapping[str, psycopg.Connection[Any]]
    dsns: Mapping[str, str]
    promises: Promises = field(default_factory=Promises)
    held: list[Held] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    is_closed: bool = False
    """Nobody comes any more, and nothing public comes home."""
    _ids: Iterator[int] = field(default_factory=lambda: count(FIRST_ID))

    def fresh(self) -> int:
        """A number that nothing has yet."""
        return next(self._ids)

    def asked(self, *people: int) -> tuple[int, dict[int, str | None]]:
        """The directory's version, and where these people are written as of it."""
        rows = (
            self.lines[SOURCE]
            .execute(
                "SELECT c.version, k.key, p.state, p.authority FROM domicile_directory.clock AS c CROSS JOIN"
                " unnest(%s::text[]) AS k (key) LEFT JOIN domicile_directory.place AS p USING (key)",
                [[str(person) for person in people]],
            )
            .fetchall()
        )
        return int(rows[0][0]), {
            int(key): SOURCE if state in {None, "moving"} else None if state == "fenced" else str(authority)
            for _, key, state, authority in rows
        }

    def everybody(self) -> Lives:
        """Where all people are written."""
        return self.asked(*self.promises.markets)[1]

    def write(self, place: str, query: LiteralString, values: Mapping[str, object], *, version: int) -> int:
        """Run one statement there, in the name of that version of the directory; how many rows it was."""
        with self.lines[place].transaction():
            self.lines[place].execute("SELECT set_config('domicile.as_of', %s, true)", [str(version)])
            return self.lines[place].execute(query, values).rowcount

    def hold(self, place: str, query: LiteralString, values: Mapping[str, object], promise: Callable[[], None]) -> int:
        """The same in a transaction that stays open until `commit`."""
        line = psycopg.connect(self.dsns[place], options=PATIENCE)
        try:
            found = line.execute(query, values).rowcount
        except psycopg.Error:
            line.close()
            raise
        self.held.append(Held(line=line, words=str(values), promise=promise))
        return found

    def commit(self) -> None:
        """Commit all that is open; what then fails is no promise."""
        while self.held:
            one = self.held.pop(0)
            try:
                one.line.commit()
                one.promise()
            except psycopg.Error as fault:
                self.refused[f"commit: {fault.sqlstate}"] += 1
            finally:
                one.line.close()

    @contextmanager
    def refusable(self, words: str) -> Iterator[None]:
        """What the guards refuse, or a lock of the engine's, is not done; anything else that fails is a finding."""
        try:
            yield
        except psycopg.Error as fault:
            if fault.sqlstate != FENCED_STATE and fault.sqlstate not in IN_THE_WAY:
                raise Broken(f"refused: {words}: {fault!r}") from fault
            self.refused[str(fault.sqlstate)] += 1


@contextmanager
def platform_in(dsns: Mapping[str, str]) -> Iterator[Platform]:
    """A platform on these databases, which knows what stands there."""
    lines = {place: psycopg.connect(dsns[place], autocommit=True, options=PATIENCE) for place in PLACES}
    platform = Platform(lines=lines, dsns=dsns)
    _look(lines[SOURCE], platform.promises)
    try:
        platform.promises.met(platform.everybody())
        yield platform
    finally:
        for line in (*lines.values(), *(one.line for one in platform.held)):
            line.close()


def _look(source: psycopg.Connection[Any], promises: Promises) -> None:
    own: Sequence[tuple[str, LiteralString]] = (
        ("note", "SELECT id, person_id, body FROM note"),
        ("payment", "SELECT number, wallet_id, amount FROM payment"),
        ("post", "SELECT id, person_id, body FROM post"),
    )
    for table, query in own:
        promises.own |= {(table, key): (owner, body) for key, owner, body in source.execute(query)}
    for person, market, email in source.execute("SELECT id, market, email FROM person"):
        promises.markets[person], promises.emails[person] = market, email
    for key, owner, address in source.execute("SELECT id, person_id, ip FROM clip"):
        promises.clips[key] = Clip(owner=owner, address=address)
    for key, sender, recipient, body in source.execute("SELECT * FROM letter"):
        may = {person: {body} for person in (sender, recipient)}
        promises.letters[key] = Letter(people=(sender, recipient), may=may, bodies={body})
