"""Whether a log tells, one statement after another, what may be told in that order: the checker says (ADR 0048).

The one place where the engine runs the checker's code. By rules of its own a monitor would share the engine's faults.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from domicile.errors import BadFile, EvidenceFault
from domicile.evidence.publiclog.place import Place, read_detached
from domicile.evidence.statement import detached_name
from domicile.evidence.tlog.merkle import Edge, hash_leaf
from domicile_audit.served import judge_log
from domicile_audit.trust.policy import Policy, read_policy

STORY_BYTES_MAX: Final = 512 * 1024 * 1024
"""Entries and detached predicates together: a bundle holds no more, so that nobody could check a longer log either."""
REASON_CHARS_MAX: Final = 500
Approvals: TypeAlias = Policy
"""An auditor's policy, as the checker reads it."""
WORDS: Final = frozenset({b"log", b"approver", b"approvals"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """The check of docs/evidence.md that the log fails (None where it can't be judged), and why."""

    check: int | None
    text: str


def approvals_of(data: bytes, *, origin: str) -> Approvals | None:
    """Whose approvals a trust policy counts, and how many it wants; None for one of witnesses alone. Else BadFile."""
    kept = [line if line.split()[:1] and line.split()[0] in WORDS else b"" for line in data.split(b"\n")]
    if not any(line.startswith(b"approv") for line in map(bytes.strip, kept)):
        return None
    try:
        return read_policy(b"\n".join([*kept, b"quorum none\n"]))
    except ValueError as fault:
        raise BadFile(f"{origin}: {fault}; `domicile log policy` prints a whole one") from None


def judge(  # noqa: PLR0913 - all of a log, which one, and by which rules
    place: Place, entries: Iterable[bytes], root: bytes, *, log: str, approvals: Approvals | None, since: int
) -> Contradiction | None:
    """What is wrong with the story that all entries of a head tell; None where nothing is, as far as it goes.

    `root` is the head's, `log` the vkey that began the log, `since` how many statements were judged before. Takes the
    log's length in memory some times over. EvidenceFault where the place has other entries than the head.
    """
    held = _hold(place, entries, root)
    if held is None:
        more = f"more than {STORY_BYTES_MAX} bytes are in it, which no bundle holds, so that no checker judges it"
        return Contradiction(check=None, text=more)
    fault = judge_log(held.entries, held.detached, log, approvals, since=since)
    if fault is None:
        return None
    if not fault.number:
        return Contradiction(check=None, text=_line(fault.reason))
    return Contradiction(check=fault.number, text=_line(f"check {fault.number}, {fault.title}: {fault.reason}"))


@dataclass(slots=True)
class _Held:
    """The log in memory."""

    entries: list[bytes]
    detached: dict[str, bytes]
    room: int


def _hold(place: Place, entries: Iterable[bytes], root: bytes) -> _Held | None:
    """Read all of it; None where it is too long."""
    held, edge = _Held([], {}, STORY_BYTES_MAX), Edge()
    for entry in entries:
        edge.append(hash_leaf(entry))
        held.entries.append(entry)
        held.room -= len(entry)
        name = _detached_name(entry)
        data = None if name is None or name in held.detached else _read_detached(place, name)
        if name is not None and data is not None:
            held.detached[name] = data
            held.room -= len(data)
        if held.room < 0:
            return None
    if edge.root() != root:
        raise EvidenceFault("its earlier entries are not those of its head; see `domicile log fsck`")
    return held


def _detached_name(entry: bytes) -> str | None:
    try:
        return detached_name(entry)
    except EvidenceFault:
        return None  # no statement: check 8 or 9 says so


def _read_detached(place: Place, name: str) -> bytes | None:
    try:
        return read_detached(place, name)
    except EvidenceFault:
        return None  # longer than any predicate: check 9 says that it is missing


def _line(text: str) -> str:
    """What the checker quotes of the log is a line for a terminal."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:REASON_CHARS_MAX]
