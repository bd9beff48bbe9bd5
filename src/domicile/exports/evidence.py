"""What an export is made from: the log's verified statements, its head, and what they come to.

The ledger checks hashes and signatures when statements are read, `portal.facts` rolls the verdict up anew, and the
auditor's checker is asked (`audited`). A certificate that one of them does not bear out is not believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domicile.errors import EvidenceFault, Refused
from domicile.evidence.ledger import Ledger, Recorded, counting
from domicile.evidence.predicates import (
    ApprovalPredicate,
    CertificatePredicate,
    ClearancePredicate,
    CohortPredicate,
    CutoverPredicate,
    EqualityPredicate,
    ErasurePredicate,
    FindingPredicate,
    FreezePredicate,
    PlannedCopy,
    PlanPredicate,
    Predicate,
    SweepPredicate,
    SweptCopy,
    TransferPredicate,
)
from domicile.evidence.tlog.checkpoint import open_checkpoint
from domicile.exports.audited import Audit
from domicile.portal.facts import Facts, gather
from domicile.proof import Verdict

ALWAYS: Final = (
    "that the signers told the truth about their stores, and that their clocks were right",
    "that the list of copies is complete: a copy that nobody listed has no verdict",
    "that no other version of this log was shown to others, unless witnesses have cosigned it",
    "who holds the keys: the engine's own key was taken; domicile-audit checks against keys that you got elsewhere",
    "that a law is complied with: statements support a clause, the rest is for people to judge",
)
"""What no export shows, whatever the log says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyStanding:
    """A planned copy and what is known of it; `verdict` is None before a certificate, `swept` before a search."""

    copy: PlannedCopy
    verdict: Verdict | None
    why: str
    until: datetime | None
    swept: SweptCopy | None
    believed: bool

    @property
    def satisfied(self) -> bool:
        """Whether nothing is left to say: erased, searched, and the certificate follows from the log."""
        return self.believed and self.verdict is Verdict.ERASED_VERIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All statements of a log in order, its head, and the facts made of them; `root` is 64 hex digits."""

    origin: str
    root: str
    checkpoint: bytes
    statements: tuple[Recorded, ...]
    facts: Facts
    audit: Audit | None
    copies: tuple[CopyStanding, ...]

    @property
    def finished(self) -> bool:
        """Whether the log has a certificate."""
        return self.facts.certificate is not None

    @property
    def believed(self) -> bool:
        """Whether there is a certificate, it follows from the statements before it, and the checker accepts all."""
        return self.finished and not self.doubts

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why a certificate that is there is not believed."""
        return _doubts(self.facts, self.audit)

    @property
    def satisfied(self) -> bool:
        """Whether the whole is erased and verified."""
        return self.believed and self.facts.judgement.verdict is Verdict.ERASED_VERIFIED

    @property
    def last_at(self) -> datetime:
        """The last time that the engine stated, in the order of the log."""
        return [when for when, _ in times(self)][-1]

    @property
    def not_proven(self) -> tuple[str, ...]:
        """All that plan and certificate call not proven, what makes the certificate doubtful, and what never is."""
        facts = self.facts
        stated = facts.certificate.not_proven if facts.certificate else ()
        return tuple(dict.fromkeys([*self.doubts, *facts.plan.not_proven, *stated, *ALWAYS]))


def read_evidence(ledger: Ledger, *, audit: Audit | None, unfinished: bool = False) -> Evidence:
    """Read and check all statements; `audit` is what the checker says of them, None where it was not asked.

    Raises EvidenceFault when a hash or signature does not hold or no plan is there, Refused when no certificate is
    there and the caller did not ask for an `unfinished` run.
    """
    head = open_checkpoint(ledger.log.checkpoint_bytes, ledger.log.verifier)
    statements = tuple(ledger.statements())
    if head.size != len(statements):
        raise EvidenceFault(f"log {head.origin}: holds {len(statements)} statements, its head says {head.size}")
    facts = gather([one.predicate for one in counting(statements)])
    if facts.certificate is None and not unfinished:
        raise Refused(
            "this run has no certificate yet, so an export could be mistaken for a result; finish it with "
            "`domicile apply`, or export it with --unfinished, which says so on every finding"
        )
    return Evidence(
        origin=head.origin, root=head.root.hex(), checkpoint=ledger.log.checkpoint_bytes, statements=statements,
        facts=facts, audit=audit, copies=tuple(_copies(facts, believed=not _doubts(facts, audit))),
    )  # fmt: skip


def _doubts(facts: Facts, audit: Audit | None) -> tuple[str, ...]:
    if facts.certificate is None:
        return ()
    asked = () if audit and audit.accepted else (f"domicile-audit {audit.says if audit else 'was not asked'}",)
    return (*facts.judgement.doubts, *asked)


def _copies(facts: Facts, *, believed: bool) -> Iterator[CopyStanding]:
    judged = {one.id: one for one in facts.certificate.copies} if facts.certificate else {}
    swept = {one.id: one for one in facts.sweep.copies} if facts.sweep else {}
    for copy in facts.plan.copies:
        mine = judged.get(copy.id)
        yield CopyStanding(
            copy=copy,
            verdict=mine.verdict if mine else None,
            why=mine.why if mine else "nobody has judged this copy yet",
            until=mine.until if mine else None,
            swept=swept.get(copy.id),
            believed=facts.judgement.certified and believed,
        )


def time_of(predicate: Predicate) -> datetime | None:
    """The time that a statement tells by itself; None for those of which only the order is known."""
    match predicate:
        case PlanPredicate():
            return predicate.made_at
        case CohortPredicate() | CutoverPredicate():
            return predicate.fenced_at
        case FreezePredicate():
            return predicate.frozen_at
        case ApprovalPredicate():
            return predicate.approved_at
        case ClearancePredicate():
            return predicate.restore.done_at
        case SweepPredicate():
            return predicate.swept_at
        case CertificatePredicate():
            return predicate.issued_at
    return None


def times(evidence: Evidence) -> Iterator[tuple[datetime, bool]]:
    """A time for each statement, and whether it is its own; else the engine's last one before it.

    An approval's time is its approver's clock, so it is no time for the statements after it.
    """
    last = evidence.facts.plan.made_at
    for one in evidence.statements:
        own = time_of(one.predicate)
        if own is not None and not isinstance(one.predicate, ApprovalPredicate):
            last = own
        yield own or last, own is not None


def tell(predicate: Predicate) -> str:
    """Say in one line what a statement states: counts, never a row."""
    match predicate:
        case PlanPredicate():
            return f"{len(predicate.slices)} slices and {len(predicate.copies)} copies are planned"
        case TransferPredicate():
            rows = sum(one.rows for one in predicate.slices)
            return f"{rows} rows of {predicate.dataset} were copied to {predicate.home}"
        case CohortPredicate():
            return f"cohort {predicate.number}: {sum(predicate.subjects.values())} people went to {predicate.way.value}"
        case FreezePredicate():
            return f"{len(predicate.slices)} slices were frozen"
        case CutoverPredicate():
            return f"writes of {sum(predicate.subjects.values())} people are refused at the source"
        case EqualityPredicate():
            fence = "under the fence" if predicate.fenced else "without a fence"
            return (
                f"{len(predicate.slices)} slices were compared {fence}: "
                f"{predicate.differences} differences, {predicate.strays} strays"
            )
    return _tell_of_erasure(predicate)


def _tell_of_erasure(predicate: Predicate) -> str:
    match predicate:
        case ApprovalPredicate():
            return f"{predicate.approver} approved, as {predicate.role}: {predicate.scope.value}"
        case ClearancePredicate():
            restored = ", ".join(predicate.restore.homes) or "no home"
            return f"{len(predicate.slices)} slices were cleared; restored: {restored}"
        case ErasurePredicate():
            deleted = sum(one.deleted for one in predicate.slices)
            blanked = sum(one.blanked for one in predicate.slices)
            return (
                f"{predicate.phase.value}: {deleted} rows of {predicate.dataset} deleted, {blanked} blanked "
                f"({predicate.home}), {predicate.collateral} beside them"
            )
        case SweepPredicate():
            residue = sum(one.residue for one in predicate.copies)
            return (
                f"{predicate.tokens.searched} values were looked for in {len(predicate.copies)} copies: "
                f"{residue} found as bytes, {predicate.rows.hits} as rows"
            )
        case CertificatePredicate():
            return f"verdict {predicate.verdict.value} over {len(predicate.copies)} copies"
        case FindingPredicate():
            return f"{predicate.kind}, {predicate.where}: {predicate.text}"
    return predicate.KIND
