"""The ledger: one JSON line for each write that the service acknowledged, and for each whose outcome is not known.

Append-only. Lines are flushed and synced to the disk in batches, so that a crash of the client costs at most the
last SYNC_S_MAX seconds: a line that is missing makes the oracle miss a loss, never report one that is none.
It holds cookies and passwords of simulated people: the file is its owner's alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import Final, Self, TextIO

SYNC_S_MAX: Final = 0.5
SYNC_LINES_MAX: Final = 500
LINE_CHARS_MAX: Final = 64 * 1024

Value = str | int | bool | None


class Kind(StrEnum):
    """What a line is about."""

    PERSON = "person"  # somebody comes: cookie, country, what is needed to look with their eyes
    BASELINE = "baseline"  # how many rows of each kind the person had before
    COMMENT = "comment"
    COMMENT_DELETED = "comment-deleted"
    LIKE = "like"  # what.on says whether it is there afterwards
    FOLLOW = "follow"  # as LIKE
    BLOCK = "block"  # as LIKE
    MESSAGE = "message"
    VIDEO = "video"
    VIDEO_DELETED = "video-deleted"
    DRAFT = "draft"
    DRAFT_DELETED = "draft-deleted"
    DRAFT_PUBLISHED = "draft-published"
    SETTINGS = "settings"
    WATCH = "watch"
    REPORT = "report"
    PAYOUT_ACCOUNT = "payout-account"
    ACCOUNT_DELETED = "account-deleted"


class Outcome(StrEnum):
    """What the client knows of it."""

    DONE = "done"
    UNKNOWN = "unknown"  # no answer, or one that does not say: it may be there, and it may not


class BadLedger(Exception):
    """A line of the ledger that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line. `what` are the facts of the kind; `location` is where the answer came from."""

    kind: Kind
    person: int
    outcome: Outcome = Outcome.DONE
    location: str = "-"
    at: float = 0.0  # seconds since the epoch
    what: dict[str, Value] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return a fact that is text; raise BadLedger when it is none."""
        value = self.what.get(name)
        if not isinstance(value, str):
            raise BadLedger(f"{self.kind} of person {self.person}: no {name}")
        return value

    def number(self, name: str) -> int:
        """Return a fact that is a number; raise BadLedger when it is none."""
        value = self.what.get(name)
        if not isinstance(value, int):
            raise BadLedger(f"{self.kind} of person {self.person}: no {name}")
        return value


class Ledger:
    """The file, open for appending."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8"
        )
        self._unsynced = 0
        self._synced_at = monotonic()

    def write(self, entry: Entry) -> None:
        """Append a line; it is on the disk SYNC_S_MAX seconds later when `sync_if_due` is called meanwhile."""
        self._file.write(json.dumps(asdict(entry), ensure_ascii=False, separators=(",", ":")) + "\n")
        self._unsynced += 1
        if self._unsynced >= SYNC_LINES_MAX:
            self.sync()

    def sync_if_due(self) -> None:
        """Sync what has waited long enough."""
        if self._unsynced and monotonic() - self._synced_at >= SYNC_S_MAX:
            self.sync()

    def sync(self) -> None:
        """Bring every line to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._unsynced, self._synced_at = 0, monotonic()

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path) -> Iterator[Entry]:
    """Read the lines in order; a last line that a crash cut off is left out. Raise BadLedger for any other."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            yield _parsed(line, number)


def _parsed(line: str, number: int) -> Entry:
    try:
        raw = json.loads(line[:LINE_CHARS_MAX])
        return Entry(
            kind=Kind(raw["kind"]),
            person=int(raw["person"]),
            outcome=Outcome(raw["outcome"]),
            location=str(raw["location"]),
            at=float(raw["at"]),
            what=dict(raw["what"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadLedger(f"line {number}: {type(error).__name__}") from error
