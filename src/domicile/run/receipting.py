"""Receipts joined with the run: made and stated before the first row goes, given to one person, and destroyed.

Everybody's leaf is made between the clearance and the erasure: all rows are still there to be counted, what is counted
was called equal, and nobody can be taken back any more, so no receipt can become void. The verdicts of copies are known
later; a receipt carries the certificate for them. docs/receipts.md has the forms, ADR 0038 the reasons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from domicile.errors import Refused, Waiting, WorldChanged
from domicile.evidence.commitments import Commitments, has_key
from domicile.evidence.keyring import LOG
from domicile.evidence.ledger import Recorded
from domicile.evidence.predicates import (
    CertificatePredicate,
    CohortPredicate,
    CutoverPredicate,
    ErasurePredicate,
    FindingPredicate,
    KeyPredicate,
    PlanPredicate,
    Predicate,
    ReceiptsPredicate,
    Received,
    Went,
)
from domicile.evidence.receipts.document import write_document
from domicile.evidence.receipts.keeping import Choice, Receipts
from domicile.evidence.receipts.leaf import Person
from domicile.model import Scope
from domicile.objects import Objects
from domicile.proof import Clearance
from domicile.record import Record
from domicile.stores.postgres.persons import ALL_AT_ONCE, counted_people
from domicile.stores.postgres.session import application_path, faults
from domicile.stores.postgres.source import PostgresSource

TO_BE_DESTROYED, DESTROYED = "receipts to be destroyed", "receipts destroyed"
WHERE = "receipts"
TIME = "%Y-%m-%d %H:%M:%S.%f"
"""So fine that no two destructions are told in the same words, which would be one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Went:
    """The people of one cohort, or of a move at once: since when they live at home, and how many by home."""

    since: datetime
    subjects: Mapping[str, int]


# -- making ------------------------------------------------------------------------------------------------------------


def make(
    record: Record, source: PostgresSource, scope: Scope, clearance: Clearance, objects: Objects
) -> None:  # fmt: skip
    """Make everybody's receipt and state the roots, once, before the first row goes.

    A run whose erasure began without receipts gets none: what went can't be counted any more.
    """
    if record.last(ReceiptsPredicate) is not None or record.last(ErasurePredicate) is not None:
        return
    receipts = _opened(record)
    try:
        with record.timed("receipts", unit="people") as words:
            stated = receipts.stated() or _made(record, source, _counted(source, scope, objects), clearance, receipts)
            try:
                _refuse_others(stated, _who_went(recorded.predicate for recorded in record.ledger.statements()))
            except WorldChanged:
                receipts.forget()
                raise
            people = sum(home.subjects for one in stated for home in one.homes.values())
            trees = f", in {len(stated)} trees" if len(stated) > 1 else ""
            words[0] = f"{people} people have one{trees}; the log holds nothing of them but the root"
    finally:
        receipts.close()
    record.state_all(stated)


def _made(
    record: Record,
    source: PostgresSource,
    counted: Iterator[tuple[int, Person]],
    clearance: Clearance,
    receipts: Receipts,
) -> tuple[ReceiptsPredicate, ...]:
    plan, now = record.ledger.plan(), record.now()
    went = _who_went(recorded.predicate for recorded in record.ledger.statements())

    def state(cohort: int, part: int, homes: Mapping[str, int], root: bytes) -> ReceiptsPredicate:
        if cohort not in went:
            raise WorldChanged(
                f"people of cohort {cohort} are in the source's list, and the log knows of no such cohort"
            )
        return ReceiptsPredicate(
            plan=plan.plan, clearance=clearance.statement, cohort=cohort, part=part, home_since=went[cohort].since,
            counted_at=now, homes={home: _received(plan, home, count) for home, count in homes.items()},
            root=root.hex(),
        )  # fmt: skip

    with faults(source.name, "count rows for receipts"), application_path(source.connection):
        return receipts.make(counted, state, record.host)


def _counted(source: PostgresSource, scope: Scope, objects: Objects) -> Iterator[tuple[int, Person]]:
    """All people with their rows, and the versions of their objects beside them under the store's name."""
    if not objects:
        yield from counted_people(source.connection, scope)
        return
    with objects.owned(scope) as owned:
        for cohort, person in counted_people(source.connection, scope):
            mine = owned.of(person)
            yield cohort, replace(person, rows={**person.rows, **mine}) if mine else person


def _who_went(statements: Iterator[Predicate]) -> dict[int, _Went]:
    """Who lives at home, by the log: cohorts that were not brought back, or everybody who was fenced at once."""
    cohorts: dict[int, _Went] = {}
    at_once: dict[int, _Went] = {}
    for one in statements:
        if isinstance(one, CohortPredicate) and one.way is Went.HOME:
            cohorts[one.number] = _Went(since=one.fenced_at, subjects=one.subjects)
        elif isinstance(one, CohortPredicate):
            cohorts.pop(one.number, None)
        elif isinstance(one, CutoverPredicate):
            at_once = {ALL_AT_ONCE: _Went(since=one.fenced_at, subjects=one.subjects)}
    return cohorts or at_once


def _refuse_others(stated: Sequence[ReceiptsPredicate], went: Mapping[int, _Went]) -> None:
    """Raise WorldChanged unless the people with receipts are, in number, those who went home by the log."""
    counted: dict[int, Counter[str]] = {}
    for one in stated:
        homes = counted.setdefault(one.cohort, Counter())
        homes.update({home: received.subjects for home, received in one.homes.items()})
    for cohort, who in went.items():
        found = counted.get(cohort, Counter())
        if +Counter(dict(who.subjects)) != +found:
            raise WorldChanged(
                f"{sum(found.values())} people are in the source's list where the log says that "
                f"{sum(who.subjects.values())} went home; nothing is erased. Look who changed the schema `domicile`"
            )


def _received(plan: PlanPredicate, home: str, count: int) -> Received:
    place = plan.locations[home]
    return Received(country=place.country, operator=place.operator, subjects=count)


# -- one person --------------------------------------------------------------------------------------------------------


def receipt(record: Record, key: str, *, kind: str = "") -> bytes:
    """The receipt of the person of that key, as the bytes of a `.tlog-proof`.

    Raise Waiting while no certificate stands, as only that tells of copies; Refused where there is no receipt.
    """
    statements = tuple(record.ledger.statements())
    certificate = statements[-1] if statements else None
    if certificate is None or not isinstance(certificate.predicate, CertificatePredicate):
        raise Waiting("no certificate stands, and a receipt tells its verdicts; `domicile apply` comes to one")
    receipts = _kept(record)
    try:
        leaf = receipts.find(key, (kind,) if kind else receipts.kinds())
    finally:
        receipts.close()
    stated = next((one.index for one in statements if one.predicate == leaf.stated), None)
    if stated is None:
        raise Refused("the receipts kept here are not those of this log; put the folder back from a copy of this run")
    ledger = record.ledger
    return write_document(
        ledger.log, leaf, stated=(stated, ledger.sealed(stated)),
        certificate=(certificate.index, ledger.sealed(certificate.index)),
        changes=[(index, ledger.sealed(index)) for index in _changes_of_keys(statements)],
    )  # fmt: skip


def _changes_of_keys(statements: Sequence[Recorded]) -> list[int]:
    """Where the log tells of keys that changed hands; nowhere if its own never did, as a receipt has no other."""
    changes = [(one.index, one.predicate) for one in statements if isinstance(one.predicate, KeyPredicate)]
    own = any(change.approver is LOG for _, change in changes)
    return [index for index, _ in changes] if own else []


# -- destroying --------------------------------------------------------------------------------------------------------


def count(record: Record) -> int:
    """How many people have a receipt here; 0 where none were made, or all were destroyed."""
    if not record.receipts.exists() or not has_key(record.commitments):
        return 0
    receipts = _kept(record)
    try:
        return receipts.count()
    finally:
        receipts.close()


def destroy(record: Record, keys: Sequence[str] | None, *, kind: str = "") -> int:
    """Destroy the nonces of these people, or of all (None), for good: announced before, told after (P7).

    Returns how many. Raise Refused where one of the keys has no receipt; then none is destroyed.
    """
    finish(record)
    receipts = _kept(record)
    moment = record.now()
    record.remember(moment + timedelta(microseconds=1))  # so that no two are told in the same words
    try:
        return _destroy(record, receipts, receipts.choose(keys, (kind,) if kind else receipts.kinds(), moment))
    finally:
        receipts.close()


def finish(record: Record) -> None:
    """Finish a destruction that a kill broke off."""
    if not record.receipts.exists():
        return
    receipts = _kept(record)
    try:
        choice = receipts.chosen()
        if choice is not None:
            _destroy(record, receipts, choice)
    finally:
        receipts.close()


def _destroy(record: Record, receipts: Receipts, choice: Choice) -> int:
    record.state(_told(record, TO_BE_DESTROYED, choice))
    receipts.overwrite()
    record.state(_told(record, DESTROYED, choice))
    receipts.settle()
    return choice.count


def _told(record: Record, kind: str, choice: Choice) -> FindingPredicate:
    """How many, and when, and nothing of whose."""
    what = "nonces of receipts destroyed" if kind == DESTROYED else "nonces of receipts about to be destroyed"
    text = f"{what}; nobody can show any more that the log speaks of these people, {choice.moment:{TIME}} UTC"
    return FindingPredicate(
        plan=record.ledger.plan().plan, kind=kind, where=WHERE, count=choice.count, text=text
    )  # fmt: skip


def standing_certificate(statements: Sequence[Recorded]) -> CertificatePredicate | None:
    """The certificate that is the last word, but for the destruction of receipts, which takes no word of it back."""
    for one in (recorded.predicate for recorded in reversed(statements)):
        if isinstance(one, CertificatePredicate):
            return one
        if not isinstance(one, FindingPredicate) or one.kind not in {TO_BE_DESTROYED, DESTROYED}:
            return None
    return None


# -- files -------------------------------------------------------------------------------------------------------------


def _opened(record: Record) -> Receipts:
    """The folder, to be written to; the key of the commitments is made where there is none."""
    commitments = Commitments.make(record.commitments, record.host)
    try:
        return Receipts(record.receipts, commitments.key_of("receipts"))
    finally:
        commitments.close()


def _kept(record: Record) -> Receipts:
    """The folder as it was left."""
    if not record.receipts.exists() or not has_key(record.commitments):
        raise Refused("no receipts are kept here: none were made yet, or all were destroyed")
    return _opened(record)
