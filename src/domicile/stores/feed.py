"""The changefeed: which rows changed, as keys, so that their rows are read again in the reader's own snapshot.

A feed carries *keys*, never rows: a step opens a snapshot, asks which keys changed as far as that snapshot shows,
reads their rows in that same snapshot, brings them home, and confirms. So replays converge, and the order in which
keys come is of no account (ADR 0022). What a feed promises, and a caller *must* keep:

1. `begin` before the copy's snapshot: whatever commits after its return is read sooner or later.
2. `read` is told the reader's own snapshot. It returns keys of no transaction that this snapshot does not show: their
   rows could not be seen in it.
3. `confirm` after the rows are at home for good: it forgets what the batch showed, and nothing else. A key whose
   transaction was not shown stays, even where its commit stands earlier than one that was shown.
4. A key may come again that was confirmed; none is lost.
5. A batch that is `complete` holds all keys of its snapshot that nobody confirmed.

Errors: `WorldChanged` when tables are no longer what the feed was begun for, or one was truncated; `FeedBroken` when
keys may be missing, or waiting ones outgrow their limit; `NotPermitted` and `Unreachable` as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from domicile.model import DatasetId

Key = tuple[str, ...]
"""A row's key, its columns in the dataset's order, as texts that PostgreSQL prints in sessions of ours.

Of a table without key it is the hash of the whole row, as a bytea is printed: `\\x` and hex digits.
"""

KEYS_MAX = 50_000


class FeedKind(StrEnum):
    """Where a feed learns of changes: from the server's log of changes, or from triggers that write keys down."""

    SLOT = "slot"
    TRIGGER = "trigger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What changed: old and new keys of every change that the snapshot shows and nobody confirmed.

    `position` is what `confirm` wants, and says nothing to others. `complete` is False when `keys_max` cut it off.
    `oldest` is when the first of these changes was written or committed; `changes` how many changes the keys stand for.
    """

    position: str
    keys: Mapping[DatasetId, frozenset[Key]]
    complete: bool
    oldest: datetime | None
    changes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """What waits: bytes of WAL kept for the feed, lines written down, and seconds since the last confirm (or begin)."""

    bytes: int
    rows: int
    seconds: float


class Changefeed(Protocol):
    """The changes of one store's datasets since `begin`."""

    def begin(self) -> None:
        """Take note of changes from now on; safe to repeat. On return no later change is missed."""
        ...

    def read(self, snapshot: str, *, keys_max: int) -> Batch:
        """Return the keys that `snapshot` shows and nobody confirmed, `keys_max` of them at most.

        `snapshot` is the text of `pg_current_snapshot()` in the reader's transaction.
        """
        ...

    def confirm(self, batch: Batch) -> None:
        """Forget what the batch showed, and nothing else; safe to repeat."""
        ...

    def lay_by(self) -> None:
        """Hold back nothing of the server's log: what waits in it goes to the feed's own disk, each key about once.

        For times in which nobody reads. Nothing is forgotten by it, and nothing told. What holds back too much already
        is no reason to refuse.
        """
        ...

    def lag(self) -> Lag:
        """Say how much waits."""
        ...

    def end(self) -> None:
        """Remove all that the feed needs in the store; safe to repeat."""
        ...
