"""What becomes of the transactions of one peek: told from memory, cut off, or sent to the queue. Nothing but decisions.

A slot moves on in the order of commits, and a snapshot shows transactions in none. So a batch may tell what lies behind
a transaction that is not shown yet; confirmed is only what lies before it, and the rest is told again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import takewhile

from domicile.errors import FeedBroken
from domicile.model import DatasetId
from domicile.stores.feed import Key
from domicile.stores.postgres.feed.moments import Moment
from domicile.stores.postgres.feed.stream import End, Line


class Fate(StrEnum):
    """How a peek ends."""

    READING = "reading"
    FULL = "full"  # more than there is room for; what comes of it is for `settle` to say
    CUT = "cut"  # the first transactions fit, are shown, and are told; the rest waits in the slot
    SPILLED = "spilled"  # written to the queue
    COMPLETE = "complete"  # all that the snapshot shows is told


@dataclass(slots=True, kw_only=True)
class Transaction:
    """What one transaction changed; `upto` is 0 while it has not ended."""

    xid: int
    at: datetime
    upto: int = 0
    keys: dict[DatasetId, set[Key]] = field(default_factory=dict)
    emptied: DatasetId | None = None
    changes: int = 0

    def add(self, line: Line) -> int:
        """Take a line in; return by how many keys it made the transaction larger."""
        self.changes += 1
        if line.key is None:
            self.emptied = line.dataset
            return 0
        found = self.keys.setdefault(line.dataset, set())
        before = len(found)
        found.add(line.key)
        return len(found) - before

    def lines(self) -> Iterator[Line]:
        """All of it, each key once."""
        if self.emptied is not None:
            yield Line(xid=self.xid, at=self.at, dataset=self.emptied, key=None)
        for dataset, keys in self.keys.items():
            for key in keys:
                yield Line(xid=self.xid, at=self.at, dataset=dataset, key=key)


@dataclass(slots=True, kw_only=True)
class Heap:
    """The transactions of a peek that reads up to `upto`, with room for so many keys and messages."""

    seen: Moment
    upto: int
    room: int
    messages_max: int
    fate: Fate = Fate.READING
    messages: int = 0
    spilled_upto: int = 0
    _ended: list[Transaction] = field(default_factory=list)
    _open: Transaction | None = None
    _size: int = 0

    def take(self, told: Iterable[Line | End]) -> None:
        """Add what a message said."""
        for one in told:
            if self._open is None:
                self._open = Transaction(xid=one.xid, at=one.at)
            if isinstance(one, End):
                self._open.upto = one.upto
                self._ended.append(self._open)
                self._open = None
            else:
                self._size += self._open.add(one)
                if self._size > self.room and self.fate is Fate.READING:
                    self.fate = Fate.FULL

    def settle(self) -> bool:
        """Say what becomes of it; False: it is full, and none of it can be told from memory."""
        if self.fate is Fate.READING and self.messages >= self.messages_max:
            self.fate = Fate.FULL
        if self.fate is Fate.READING:
            if self._open is not None:
                raise FeedBroken("the slot broke a transaction off; run again")
            self.fate = Fate.COMPLETE
        if self.fate is Fate.FULL and (first := self._first()):
            self._ended, self._open, self.fate = first, None, Fate.CUT
        return self.fate is not Fate.FULL

    def spill(self) -> None:
        """From now on nothing stays in memory."""
        self.fate = Fate.SPILLED

    def drain(self) -> Iterator[Line]:
        """Give the lines out, and forget them."""
        for one in self._ended:
            yield from one.lines()
            self.spilled_upto = one.upto
        self._ended.clear()
        if self._open is not None:
            yield from self._open.lines()
            self._open = Transaction(xid=self._open.xid, at=self._open.at)

    def shown(self) -> list[Transaction]:
        """The transactions to tell."""
        if self.fate not in {Fate.CUT, Fate.COMPLETE}:
            return []
        return [one for one in self._ended if self._is_shown(one)]

    @property
    def confirmable(self) -> int | None:
        """How far all is shown; None where that is nowhere."""
        if self.fate not in {Fate.CUT, Fate.COMPLETE}:
            return None
        before = list(takewhile(self._is_shown, self._ended))
        if self.fate is Fate.COMPLETE and len(before) == len(self._ended):
            return max([self.upto, *(one.upto for one in before[-1:])])
        return before[-1].upto if before else None

    def _first(self) -> list[Transaction]:
        """The first transactions, as far as they are shown and there is room for them."""
        found, size = [], 0
        for one in takewhile(self._is_shown, self._ended):
            size += sum(map(len, one.keys.values()))
            if size > self.room:
                break
            found.append(one)
        return found

    def _is_shown(self, one: Transaction) -> bool:
        """Whether the snapshot shows it, or there is nothing in it to be shown."""
        return not one.changes or self.seen.shows(one.xid)
