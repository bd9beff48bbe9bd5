"""Joins the objects with the log: what came home, and what leaves, announced before and told after (P7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from domicile import stating
from domicile.errors import NoClearance
from domicile.model import Digest, Home, Slice
from domicile.objects import Objects
from domicile.predicates import FindingPredicate
from domicile.proof import Clearance
from domicile.record import Record
from domicile.stating import REMOVED, TO_BE_REMOVED


def bring(record: Record, objects: Objects, homes: Sequence[Home]) -> None:
    """Bring the frozen objects home, and state it."""
    slices = objects.slices()
    if not slices:
        return
    with record.timed("objects", total=sum(piece.rows for piece in slices), unit="versions") as words:
        objects.transfer(record.listener)
        done, plan = objects.measures(), record.ledger.plan().plan
        for home in homes:
            mine = [piece for piece in slices if piece.home == home]
            record.state_all(stating.transfer_statements(plan, home, mine, done))
        words[0] = f"{sum(piece.rows for piece in slices)} versions of objects at home"


def erase(record: Record, objects: Objects, clearance: Clearance) -> None:
    """Erase the cleared objects: all announced, then each compared again and removed, then told."""
    groups = objects.leaving()
    if not objects:
        return
    objects.refuse_other(clearance)
    plan = record.ledger.plan().plan

    def removing(copy: str, things: int, done: bool) -> None:
        record.state(stating.removal_statement(plan, copy, things, done=done))

    with record.timed("erase", total=sum(p.delete for _, _, g in groups for p in g), unit="versions") as words:
        proven = [tuple(_proven(group, clearance)) for _, _, group in groups]
        intents = [stating.erasure_intent(plan, clearance, name, home, group) for name, home, group in groups]
        record.state_all(intents)
        objects.erase(removing, lambda copy: _announced(record, copy), record.listener)
        removed = 0
        for intent, pieces in zip(intents, proven, strict=True):
            done = [objects.erased(piece, digest) for piece, digest in pieces]
            removed += sum(item.deleted for item in done)
            record.state(stating.erasure_outcome(intent, done))
        words[0] = f"{removed} versions of objects removed at the source"


def _announced(record: Record, copy: str) -> int | None:
    """Of how many things of a copy the log tells that they are about to go, and not yet that they have gone."""
    last = record.last(FindingPredicate, lambda found: found.where == copy and found.kind in {TO_BE_REMOVED, REMOVED})
    if last is None or not isinstance(last.predicate, FindingPredicate) or last.predicate.kind == REMOVED:
        return None
    return last.predicate.count


def _proven(group: Sequence[Slice], clearance: Clearance) -> Iterator[tuple[Slice, Digest]]:
    for piece in group:
        proven = clearance.digest_of(piece.id)
        if proven is None:
            raise NoClearance(f"{piece.id} is not cleared; nothing of it was erased")
        yield piece, proven
