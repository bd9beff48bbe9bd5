"""What a run states: the predicates of our in-toto statements, one frozen class a type (docs/evidence.md).

Ids are texts, counts whole numbers, digests lower-case hex. Digests of rows are keyed BLAKE3 under a key that
stays private (P8): anyone may compare them, nobody can guess rows from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar, Final

from domicile.evidence.codec import Hex
from domicile.proof import Verdict


class Phase(StrEnum):
    """Whether an erasure is announced (P7: before the effect) or reported (after it)."""

    INTENT = "intent"
    OUTCOME = "outcome"


class KeyPhase(StrEnum):
    """What a finding says of a key under which a copy is encrypted: the kinds of such findings, in their order."""

    INTENT = "key to be destroyed"
    OUTCOME = "key destroyed"
    CAME_BACK = "key came back"


class Scope(StrEnum):
    """What an approval allows."""

    ERASE = "erase"


class KeyChange(StrEnum):
    """What became of a signing key: its holder took another, or it is lost or stolen."""

    ROTATED = "rotated"
    REVOKED = "revoked"


class Went(StrEnum):
    """Where a cohort went: home, or back to the source."""

    HOME = "home"
    SOURCE = "source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """What every predicate carries: the SHA-256 of the plan file's bytes."""

    KIND: ClassVar[str] = ""
    plan: Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A location of the plan."""

    country: str
    operator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproverKey:
    """Who may approve, and with which key (a vkey)."""

    name: str
    vkey: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """How many of whom have to approve an erasure."""

    threshold: int
    of: tuple[ApproverKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseCounts:
    """Rows of a slice to delete and rows to blank; the rest of its rows the source keeps."""

    delete: int
    blank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSlice:
    """One slice of the frozen manifest."""

    id: str
    dataset: str
    home: str
    rows: int
    erase: EraseCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCopy:
    """One copy of the inventory."""

    id: str
    store: str
    location: str
    kind: str
    dataset: str | None
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPredicate(Predicate):
    """The programme, the slices, and the complete inventory of copies.

    A plan of a live move has no slices: a freeze names them, when everybody is at home.
    """

    KIND: ClassVar[str] = "plan/v1"
    programme: str
    engine: str
    config_sha256: Hex
    made_at: datetime
    deadline: date | None
    homes: Mapping[str, str]
    locations: Mapping[str, Place]
    approvals: ApprovalRule
    slices: tuple[PlannedSlice, ...]
    copies: tuple[PlannedCopy, ...]
    not_proven: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedSlice:
    """What was copied home of a slice."""

    id: str
    rows: int
    bytes: int
    digest: Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPredicate(Predicate):
    """The slices of one dataset copied to one home."""

    KIND: ClassVar[str] = "transfer/v1"
    home: str
    dataset: str
    slices: tuple[MovedSlice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortPredicate(Predicate):
    """One cohort that went home, or back: its people by home, and since when and how long each of them waited.

    Waits are measured by the engine's clock: `wait_ms` from the moment writes were refused until the other side took
    them, `awaited_ms` the part of it that went to transactions that were under way. `rows` were drained meanwhile.
    """

    KIND: ClassVar[str] = "cohort/v1"
    number: int
    way: Went
    subjects: Mapping[str, int]
    position: str
    fenced_at: datetime
    wait_ms: int
    awaited_ms: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezePredicate(Predicate):
    """The slices of a live move, named when everybody is at home; a cohort that goes after it voids it."""

    KIND: ClassVar[str] = "freeze/v1"
    position: str
    frozen_at: datetime
    slices: tuple[PlannedSlice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutoverPredicate(Predicate):
    """The fence: since when and where writes of the subjects are refused, and how many subjects each home has."""

    KIND: ClassVar[str] = "cutover/v1"
    position: str
    fenced_at: datetime
    subjects: Mapping[str, int]
    fence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSlice:
    """A slice read on both sides: its rows at the source, and the digests of both."""

    id: str
    rows: int
    source: Hex
    home: Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualityPredicate(Predicate):
    """The result of `verify`; only one made under the fence, without differences and strays, can clear."""

    KIND: ClassVar[str] = "equality/v1"
    position: str
    fenced: bool
    slices: tuple[ComparedSlice, ...]
    differences: int
    strays: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPredicate(Predicate):
    """One approver's yes to one equality (its envelope's SHA-256), in their own hand.

    `root` is the root of this log's first `stands` entries: what they saw, from the plan to that equality and beyond.
    """

    KIND: ClassVar[str] = "approval/v1"
    approver: str
    role: str
    scope: Scope
    equality: Hex
    approved_at: datetime
    stands: int
    root: Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPredicate(Predicate):
    """A signing key that is not used any more (docs/keys.md), of an approver, or with None of the log's.

    `key` and `new` are vkeys. `root` is the root of this log's first `stands` entries: what the key signed among those
    stands after a revocation, what it signed since does not. `since` is when it was lost, by the word of who states it.
    """

    KIND: ClassVar[str] = "key/v1"
    what: KeyChange
    approver: str | None
    key: str
    new: str | None
    since: datetime
    stands: int
    root: Hex
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredSlice:
    """A slice as it was read from the restored backup of home."""

    id: str
    rows: int
    digest: Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredHome:
    """The slices read from one home's restored backup."""

    slices: tuple[RestoredSlice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """Backups of the homes, really restored and read."""

    done_at: datetime
    method: str
    homes: Mapping[str, RestoredHome]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearancePredicate(Predicate):
    """Permission to erase the named slices: equality, approvals (envelopes' SHA-256) and restore."""

    KIND: ClassVar[str] = "clearance/v1"
    equality: Hex
    approvals: tuple[Hex, ...]
    restore: RestoreReport
    slices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedSlice:
    """Rows deleted and blanked, and the digest that source and home had when compared again."""

    id: str
    deleted: int
    blanked: int
    digest: Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasurePredicate(Predicate):
    """What is about to be erased, or what was."""

    KIND: ClassVar[str] = "erasure/v1"
    phase: Phase
    clearance: Hex
    dataset: str
    home: str
    slices: tuple[ErasedSlice, ...]
    collateral: int
    emptied: tuple[str, ...]
    """Copies of the plan, derived tables, that are emptied of all people's rows before the slices go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A home as a receipt names it, so that who holds one needs no plan; and how many people's receipts are of it."""

    country: str
    operator: str
    subjects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptsPredicate(Predicate):
    """Receipts of people who went home: the Merkle root over one hiding commitment for each of them (ADR 0038).

    Stated after a clearance and before anything is erased. `cohort` is 0 in a move at once; `part` counts from 1, as a
    tree has at most so many leaves. `home_since` is when writes at the source were refused.
    """

    KIND: ClassVar[str] = "receipts/v1"
    clearance: Hex
    cohort: int
    part: int
    home_since: datetime
    counted_at: datetime
    homes: Mapping[str, Received]
    root: Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptTokens:
    """How many values were looked for, how many could not be, and how many canaries were among them."""

    searched: int
    not_searchable: int
    canaries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptCopy:
    """A copy that was read: bytes read, matches, and the residue among them (in-scope private data)."""

    id: str
    method: str
    bytes: int
    hits: int
    residue: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptRows:
    """Datasets asked by query, and rows found that should be gone."""

    datasets: int
    hits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPredicate(Predicate):
    """A search of the copies for what must not be there."""

    KIND: ClassVar[str] = "sweep/v1"
    swept_at: datetime
    tokens: SweptTokens
    copies: tuple[SweptCopy, ...]
    rows: SweptRows


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCopy:
    """The verdict on a copy; `until` with `blocked-until` and only then."""

    id: str
    verdict: Verdict
    why: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows of one dataset for one home: moved = deleted + blanked + kept."""

    moved: int
    deleted: int
    blanked: int
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePredicate(Predicate):
    """The verdicts, rolled up to the worst, the counts, and what is not proven."""

    KIND: ClassVar[str] = "certificate/v1"
    verdict: Verdict
    copies: tuple[JudgedCopy, ...]
    counts: Mapping[str, Mapping[str, Counts]]
    not_proven: tuple[str, ...]
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingPredicate(Predicate):
    """Something counted that a reader should know."""

    KIND: ClassVar[str] = "finding/v1"
    kind: str
    where: str
    count: int
    text: str


KINDS: Final[Mapping[str, type[Predicate]]] = {
    kind.KIND: kind
    for kind in (
        PlanPredicate,
        TransferPredicate,
        CohortPredicate,
        FreezePredicate,
        CutoverPredicate,
        EqualityPredicate,
        ApprovalPredicate,
        KeyPredicate,
        ClearancePredicate,
        ErasurePredicate,
        ReceiptsPredicate,
        SweepPredicate,
        CertificatePredicate,
        FindingPredicate,
    )
}
