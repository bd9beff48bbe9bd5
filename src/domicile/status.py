"""Where a run is and what comes next, read from the log and the journal; asks no store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from domicile.cutover import missing_approvals
from domicile.evidence.ledger import Recorded, standing_of
from domicile.evidence.predicates import (
    CertificatePredicate,
    ClearancePredicate,
    CohortPredicate,
    CutoverPredicate,
    EqualityPredicate,
    ErasurePredicate,
    FreezePredicate,
    JudgedCopy,
    Phase,
    PlanPredicate,
    Predicate,
    ReceiptsPredicate,
    SweepPredicate,
)
from domicile.evidence.told import is_frozen, object_stores, people_at_home, slices_of
from domicile.proof import Verdict
from domicile.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Lines for people, and the same as values."""

    lines: tuple[str, ...]
    next: str
    verdict: Verdict | None
    verdicts: tuple[JudgedCopy, ...]

    def as_json(self) -> dict[str, Any]:
        """The same for scripts."""
        return {
            "done": list(self.lines),
            "next": self.next,
            "verdict": self.verdict,
            "copies": [{"id": c.id, "verdict": c.verdict, "why": c.why, "until": c.until} for c in self.verdicts],
        }


def read_status(run: Run) -> Status:
    """Say what is done and what comes next."""
    lines: list[str] = []
    certificate = run.last(CertificatePredicate)
    if not run.ledger.size:
        planned = run.workspace.plan.exists()
        step = "domicile apply" if planned else "domicile plan"
        return Status(lines=("planned" if planned else "no plan yet",), next=step, verdict=None, verdicts=())
    recorded = tuple(run.ledger.statements())
    statements = [one.predicate for one in recorded]
    standing = standing_of(recorded)
    lines.extend(_frozen(run.ledger.plan(), statements))
    step = "domicile apply"
    if (found := _last(standing, CutoverPredicate)) and isinstance(found.predicate, CutoverPredicate):
        people = sum(found.predicate.subjects.values())
        lines.append(f"at home, and fenced since {found.predicate.fenced_at:%Y-%m-%d %H:%M} UTC: {people:,} subjects")
    if (found := _last(standing, EqualityPredicate)) and isinstance(found.predicate, EqualityPredicate):
        equal = not found.predicate.differences and not found.predicate.strays
        lines.append(f"equality {found.sha256[:16]}…: {'all equal' if equal else 'DIFFERENT'}")
        given = run.record.approvals(found.sha256)
        missing = missing_approvals(run.config.policy.approvals.erase, tuple(given))
        lines.append(f"approvals: {', '.join(given) or 'none'}; {missing} missing")
        step = "domicile verify --repair" if not equal else "domicile approve --key …" if missing else step + " --yes"
    if run.last(ClearancePredicate):
        lines.append("cleared")
    if people := sum(
        home.subjects for one in statements if isinstance(one, ReceiptsPredicate) for home in one.homes.values()
    ):
        lines.append(f"receipts: of {people:,} people; `domicile subject receipt KEY` writes one")
    outcomes = run.last(ErasurePredicate, lambda one: one.phase is Phase.OUTCOME)
    if outcomes:
        lines.append("erased at the source" if run.journal.get("erase_done", bool) else "erasing")
    if (found := run.last(SweepPredicate)) and isinstance(found.predicate, SweepPredicate):
        lines.append(f"swept for {found.predicate.tokens.searched:,} values in {len(found.predicate.copies)} copies")
    lines.extend(_unpublished(run))
    if run.given_up:
        lines.append("given up")
        step = f"empty the homes, move {run.workspace.folder} away, then domicile plan"
    if certificate is None or not isinstance(certificate.predicate, CertificatePredicate):
        return Status(lines=tuple(lines), next=step, verdict=None, verdicts=())
    return Status(
        lines=(*lines, f"report: {run.workspace.report}", f"bundle: {run.workspace.bundle}"),
        next=f"domicile log policy > trust.txt && domicile-audit {run.workspace.bundle} --trust trust.txt",
        verdict=certificate.predicate.verdict,
        verdicts=certificate.predicate.copies,
    )


def _unpublished(run: Run) -> Iterator[str]:
    if waiting := run.ledger.size - run.ledger.log.published_size:
        yield f"{waiting} statements are not published: too few witnesses cosigned; `domicile log publish` asks"


def _frozen(plan: PlanPredicate, statements: Sequence[Predicate]) -> Iterator[str]:
    """Tell who went home in cohorts, and what is frozen; in a live move nothing is, until everybody is at home."""
    cohorts = [one for one in statements if isinstance(one, CohortPredicate)]
    if cohorts:
        people = sum(people_at_home(statements).values())
        numbers = len({one.number for one in cohorts})
        yield f"at home, by {numbers} cohort{'s' if numbers > 1 else ''}: {people:,} subjects"
    slices = slices_of(statements)
    unnamed = not plan.slices and not any(isinstance(one, FreezePredicate) for one in statements)
    if unnamed or not is_frozen(statements):
        yield f"no slices are frozen yet; plan {plan.plan[:16]}…"
        return
    versions = sum(piece.rows for piece in slices if piece.dataset in object_stores(plan))
    rows = sum(piece.rows for piece in slices) - versions
    objects = f" and {versions:,} versions of objects" if versions else ""
    yield f"frozen: {rows:,} private rows{objects} in {len(slices)} slices; plan {plan.plan[:16]}…"


def _last(recorded: Sequence[Recorded], kind: type[Predicate]) -> Recorded | None:
    return next((one for one in reversed(recorded) if isinstance(one.predicate, kind)), None)
