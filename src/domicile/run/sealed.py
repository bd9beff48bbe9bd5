"""Sealed canaries in a run: their seals are in the log before anything is cleared, and are opened after the erasure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from domicile.errors import BadFile, Refused, Waiting
from domicile.evidence import canaries
from domicile.evidence.canaries import Canaries, Seal
from domicile.evidence.predicates import FindingPredicate
from domicile.record import Record
from domicile.run import stating

SEALS_MAX: Final = 64
SEALED: Final = "canaries sealed"
OPENED: Final = "canaries opened"
_DIGEST = re.compile(r"[0-9a-f]{64}")


def hand_over(record: Record, seal: Seal) -> None:
    """Put a seal where the next clearance takes it into the log; Refused when it comes too late."""
    place = record.seals / f"{seal.by}.json"
    if place.exists() and canaries.load_seal(place) == seal:
        return
    if record.journal.get("committed", int) is not None:
        raise Refused("something was erased already: a seal that comes now proves nothing")
    if place.exists():
        raise Refused(f"{seal.by} has handed another seal over; one person seals once")
    if len(list(record.seals.glob("*.json"))) >= SEALS_MAX:
        raise Refused(f"{SEALS_MAX} seals are there; no more are taken")
    canaries.save_seal(place, seal)


def state_seals(record: Record) -> None:
    """State the seals that were handed over; before the clearance, so that what is cleared was sealed before."""
    plan = record.ledger.plan().plan
    for path in sorted(record.seals.glob("*.json")):
        seal = canaries.load_seal(path)
        record.state(stating.seal_statement(plan, SEALED, seal))


def sealed(record: Record, kind: str = SEALED) -> Iterator[Seal]:
    """The seals in the log, of those sealed or of those opened."""
    for recorded in record.ledger.statements():
        one = recorded.predicate
        digest = _DIGEST.search(one.text) if isinstance(one, FindingPredicate) and one.kind == kind else None
        if digest and isinstance(one, FindingPredicate):
            yield Seal(by=one.where, count=one.count, sha256=digest[0])


def unopened(record: Record) -> tuple[Seal, ...]:
    """The seals that nobody opened yet."""
    done = set(sealed(record, OPENED))
    return tuple(seal for seal in sealed(record) if seal not in done)


def open_seal(record: Record, told: Canaries) -> Seal:
    """Open a seal of the log; from then on the sweep looks for its words.

    Raise Refused before the erasure is done, BadFile when the words are not those that were sealed.
    """
    if not record.journal.get("erase_done", bool):
        raise Refused("the erasure isn't done: opened now, the canaries could still be spared")
    seal = canaries.opens(told, tuple(sealed(record)))
    if seal is None:
        raise BadFile("these are not the canaries of any seal in the log; nothing was opened")
    place = record.seals / f"{seal.by}.opened"
    if not place.exists():
        canaries.save(place, told)
    record.state(stating.seal_statement(record.ledger.plan().plan, OPENED, seal))
    for name in ("judged", "sweep_stated"):
        record.journal.forget(name)
    return seal


def opened_words(record: Record) -> tuple[str, ...]:
    """The words of all opened seals."""
    return tuple(word for path in _opened(record) for word in canaries.load(path).words)


def _opened(record: Record) -> list[Path]:
    return sorted(record.seals.glob("*.opened"))


def refuse_unopened(record: Record) -> None:
    """Raise Waiting while a seal is unopened: its words can't be looked for."""
    waiting = unopened(record)
    if waiting:
        names = ", ".join(f"{seal.by} ({seal.count})" for seal in waiting)
        raise Waiting(
            f"canaries are sealed and not opened: {names}; each runs `domicile canary open FILE`, then `domicile "
            "apply` again. `domicile certify` goes on without them, and says so"
        )


def not_opened(record: Record) -> Iterator[str]:
    """What the certificate says of seals that nobody opened."""
    for seal in unopened(record):
        yield f"{seal.count} canaries that {seal.by} sealed were never opened, so nobody looked for them"
