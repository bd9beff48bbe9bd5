"""Joins the objects with the log: what came home, and what leaves, announced before and told after (P7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from domicile.errors import NoClearance
from domicile.events import Noted
from domicile.evidence.predicates import ClearancePredicate, ErasurePredicate, FindingPredicate, Phase
from domicile.model import DatasetId, Digest, Home, Slice, SliceId
from domicile.objects import Objects
from domicile.proof import Clearance, Measure
from domicile.record import Record
from domicile.run import stating
from domicile.run.stating import REMOVED, TO_BE_REMOVED


def bring(record: Record, objects: Objects, homes: Sequence[Home]) -> None:
    """Bring the frozen objects home, and state it."""
    slices = objects.slices()
    if not slices:
        return
    with record.timed("objects", total=sum(piece.rows for piece in slices), unit="versions") as words:
        objects.transfer(record.listener)
        done = objects.measures()
        for home in homes:
            state_brought(record, home, [piece for piece in slices if piece.home == home], done)
        words[0] = f"{sum(piece.rows for piece in slices)} versions of objects at home"


def state_brought(record: Record, home: Home, slices: Sequence[Slice], done: Mapping[SliceId, Measure]) -> None:
    """State what came home; not once an erasure was announced: what is brought again then is no other transfer (P1)."""
    if record.last(ErasurePredicate) is None:
        record.state_all(stating.transfer_statements(record.ledger.plan().plan, home, slices, done))


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
        told = stating.told_erased(record.ledger.statements())  # under whatever clearance: for good
        proven = [tuple(_proven(group, clearance)) for _, _, group in groups]
        intents = [stating.erasure_intent(plan, clearance, name, home, group) for name, home, group in groups]
        record.state_all(one for one in intents if not _is_told(one, told))
        objects.erase(removing, lambda copy: _announced(record, copy), record.listener)
        removed = 0
        for intent, pieces in zip(intents, proven, strict=True):
            done = [objects.erased(piece, digest) for piece, digest in pieces]
            removed += sum(item.deleted for item in done)
            if not _is_told(intent, told):
                record.state(stating.erasure_outcome(intent, done))
        words[0] = f"{removed} versions of objects removed at the source"


def go_on(record: Record, objects: Objects) -> None:
    """Remove what a lock kept and lets go by now: under the same clearance, said before and after (P7)."""
    if not objects:
        return
    plan = record.ledger.plan().plan

    def removing(copy: str, things: int, done: bool) -> None:
        record.state(stating.removal_statement(plan, copy, things, done=done, made="kept by a lock until its day"))

    told = {(name, home): _last_outcome(record, name, home) for name, home, _ in objects.leaving()}
    cleared = {SliceId(piece.id): Digest(piece.digest) for one in told.values() if one for piece in one.slices}
    if any(one is not None and _is_void(record, one) for one in told.values()) and _is_less(objects, told):
        record.listener(
            Noted(
                text="what a lock kept of objects stays: the clearance that it would go under has too few approvals "
                "without the void ones, and what is told of a slice is told under no other. Remove it by hand when its "
                "day has come, then `domicile apply` looks for it"
            )
        )
        return
    if not objects.go_on(removing, cleared, now=record.now(), listener=record.listener):
        return
    for name, home, group in objects.leaving():
        outcome = told[name, home]
        if outcome is not None:
            done = [objects.erased(piece, cleared[piece.id]) for piece in group]
            record.state(stating.erasure_outcome(outcome, done))


def _is_void(record: Record, outcome: ErasurePredicate) -> bool:
    """Whether too few approvals of its clearance count by now."""
    clearance = record.ledger.named(outcome.clearance).predicate
    return (
        not isinstance(clearance, ClearancePredicate)
        or len(set(record.who_approved(clearance))) < record.ledger.plan().approvals.threshold
    )


def _is_less(objects: Objects, told: Mapping[tuple[DatasetId, Home], ErasurePredicate | None]) -> bool:
    """Whether less of a slice went so far than was to go."""
    gone = {piece.id: piece.deleted for one in told.values() if one for piece in one.slices}
    return any(gone.get(piece.id, 0) < piece.delete for _, _, group in objects.leaving() for piece in group)


def _is_told(intent: ErasurePredicate, told: frozenset[SliceId]) -> bool:
    return told.issuperset(SliceId(piece.id) for piece in intent.slices)


def _last_outcome(record: Record, dataset: str, home: Home) -> ErasurePredicate | None:
    last = record.last(
        ErasurePredicate,
        lambda one: one.phase is Phase.OUTCOME and one.dataset == dataset and one.home == home,
    )
    found = last.predicate if last else None
    return found if isinstance(found, ErasurePredicate) else None


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
