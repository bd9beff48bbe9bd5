"""What the statements of a run say, put together for reading: counts, steps, and the word of the verdict.

Pure, and never better than the truth (P11): the verdict shown is the worst of what the certificate says and what
`certify` makes of the same statements again. Without a certificate it is `present` while a planned row is not erased,
and `unknown` after that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from domicile.certify import certify, roll_up
from domicile.cutover.cohorts import Cohort, Waits, Way, waits
from domicile.errors import EvidenceFault
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
    Phase,
    PlannedSlice,
    PlanPredicate,
    Predicate,
    SweepPredicate,
    TransferPredicate,
)
from domicile.evidence.told import Slices, is_frozen, people_at_home, slices_of, still_standing, told_of_slices
from domicile.model import Home
from domicile.portal import words
from domicile.proof import CopyVerdict, Verdict

P = TypeVar("P", bound=Predicate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Counts of one dataset for one home, or a sum of such; rows, but for `slices…`, which count slices."""

    slices: int = 0
    slices_copied: int = 0
    slices_equal: int = 0
    slices_differing: int = 0
    slices_erased: int = 0
    slices_to_erase: int = 0
    planned: int = 0
    copied: int = 0
    bytes: int = 0
    moved: int = 0
    deleted: int = 0
    blanked: int = 0

    def __add__(self, other: Rows) -> Rows:
        return Rows(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})

    @property
    def kept(self) -> int | None:
        """Rows home has and the source keeps; None while the erasure is not over, or no slices are named."""
        if not self.slices:
            return None
        whole = self.slices_erased == self.slices_to_erase and self.slices_equal == self.slices
        return self.moved - self.deleted - self.blanked if whole else None

    @property
    def equality(self) -> str:
        """The comparison in words."""
        if not self.slices:
            return words.NOTHING
        if self.slices_differing:
            return f"✕ {self.slices_differing:,} of {self.slices:,} slices differ"
        if self.slices_equal == self.slices:
            return "✓ equal"
        return "not compared" if not self.slices_equal else f"{self.slices_equal:,} of {self.slices:,} slices equal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The word over the page; `doubts` say why a certificate that is there is not believed."""

    verdict: Verdict
    certified: bool
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the page is made from. What a freeze or a cohort made void is in none of it, but for `voided`.

    `frozen` says that the slices are named, `live` that they are named by a freeze and not by the plan.
    """

    plan: PlanPredicate
    live: bool
    frozen: bool
    cohorts: tuple[CohortPredicate, ...]
    freeze: FreezePredicate | None
    cutover: CutoverPredicate | None
    equality: EqualityPredicate | None
    approvals: tuple[ApprovalPredicate, ...]
    voided: tuple[ApprovalPredicate, ...]
    clearances: tuple[ClearancePredicate, ...]
    sweep: SweepPredicate | None
    certificate: CertificatePredicate | None
    findings: tuple[FindingPredicate, ...]
    announced: frozenset[str]
    collateral: int
    rows: Mapping[tuple[str, str], Rows]
    judgement: Judgement

    @property
    def total(self) -> Rows:
        """All datasets and homes."""
        return sum(self.rows.values(), Rows())

    @property
    def people(self) -> Mapping[str, int] | None:
        """People by home: those whom the fence closed on, else those whom cohorts took home; None before both."""
        if self.cutover is not None:
            return self.cutover.subjects
        return people_at_home(self.cohorts) if self.cohorts else None

    @property
    def waits(self) -> Waits | None:
        """How long people waited on the way home, over people; None while nobody went."""
        return waits(
            Cohort(
                number=one.number, way=Way(one.way.value), fenced_at=one.fenced_at, position=one.position,
                subjects=tuple((Home(home), count) for home, count in one.subjects.items()),
                wait_ms=one.wait_ms, awaited_ms=one.awaited_ms, rows=one.rows,
            )
            for one in self.cohorts
        )  # fmt: skip

    def of_dataset(self, dataset: str) -> Rows:
        """All homes of a dataset."""
        return sum((rows for (name, _), rows in self.rows.items() if name == dataset), Rows())

    def of_home(self, home: str) -> Rows:
        """All datasets of a home."""
        return sum((rows for (_, name), rows in self.rows.items() if name == home), Rows())

    @property
    def approved(self) -> tuple[ApprovalPredicate, ...]:
        """The approvals that count: one a named approver, all of the cleared (else the last approved) equality."""
        standing = [one for one in self.approvals if one not in self.voided]
        wanted = self.clearances[-1].equality if self.clearances else None
        if wanted is None and standing:
            wanted = standing[-1].equality
        named = {key.name for key in self.plan.approvals.of}
        valid = [one for one in standing if one.equality == wanted and one.approver in named]
        return tuple({one.approver: one for one in valid}.values())


def gather(statements: Sequence[Predicate]) -> Facts:
    """Put the statements of a log together; EvidenceFault when they don't begin with a plan."""
    plan = next(iter(statements), None)
    if not isinstance(plan, PlanPredicate):
        raise EvidenceFault(
            "report: the log does not begin with a plan; run `domicile plan` and `domicile apply` first"
        )
    standing = still_standing(statements)
    erasures = _all(standing, ErasurePredicate)
    slices, freeze = slices_of(statements), _last(statements, FreezePredicate)
    began = any(isinstance(one, CutoverPredicate | TransferPredicate | EqualityPredicate) for one in standing)
    facts = Facts(
        plan=plan,
        live=len(standing) < len(statements) or not (slices or began),
        frozen=is_frozen(statements) and bool(slices or freeze or began),
        cohorts=tuple(_all(statements, CohortPredicate)),
        freeze=freeze if is_frozen(statements) else None,
        cutover=_last(standing, CutoverPredicate),
        equality=_last([one for one in _all(standing, EqualityPredicate) if one.fenced], EqualityPredicate)
        or _last(standing, EqualityPredicate),
        approvals=tuple(_all(statements, ApprovalPredicate)),
        voided=tuple(_all(statements[: len(statements) - len(standing)], ApprovalPredicate)),
        clearances=tuple(_all(standing, ClearancePredicate)),
        sweep=_last_sweep(standing),
        certificate=_last(statements, CertificatePredicate),
        findings=tuple(_all(statements, FindingPredicate)),
        announced=frozenset(part.id for one in erasures if one.phase is Phase.INTENT for part in one.slices),
        collateral=sum(one.collateral for one in erasures),
        rows=_rows(slices, told_of_slices(statements)),
        judgement=Judgement(verdict=Verdict.PRESENT, certified=False),
    )
    return replace(facts, judgement=_judge(facts, statements))


def _all(statements: Sequence[Predicate], kind: type[P]) -> list[P]:
    return [one for one in statements if isinstance(one, kind)]


def _last(statements: Sequence[Predicate], kind: type[P]) -> P | None:
    return next((one for one in reversed(statements) if isinstance(one, kind)), None)


def _last_sweep(statements: Sequence[Predicate]) -> SweepPredicate | None:
    """The last sweep, if no erasure came after it: an older search says nothing about what is left."""
    for one in reversed(statements):
        if isinstance(one, SweepPredicate):
            return one
        if isinstance(one, ErasurePredicate):
            return None
    return None


def _rows(slices: Sequence[PlannedSlice], told: Slices) -> dict[tuple[str, str], Rows]:
    rows: dict[tuple[str, str], Rows] = {}
    for planned in slices:
        name = planned.id
        here, pair, gone = told.moved.get(name), told.compared.get(name), told.erased.get(name)
        equal = pair is not None and pair.source == pair.home
        wanted = (planned.erase.delete, planned.erase.blank)
        mine = Rows(
            slices=1,
            slices_copied=int(here is not None),
            slices_equal=int(equal),
            slices_differing=int(pair is not None and not equal),
            slices_to_erase=int(any(wanted)),
            slices_erased=int(any(wanted) and gone is not None and (gone.deleted, gone.blanked) == wanted),
            planned=planned.rows,
            copied=here.rows if here else 0,
            bytes=here.bytes if here else 0,
            moved=pair.rows if pair and equal else 0,
            deleted=gone.deleted if gone else 0,
            blanked=gone.blanked if gone else 0,
        )
        place = (planned.dataset, planned.home)
        rows[place] = rows.get(place, Rows()) + mine
    return rows


def _judge(facts: Facts, statements: Sequence[Predicate]) -> Judgement:
    total, certificate = facts.total, facts.certificate
    erased = facts.frozen and total.slices_erased == total.slices_to_erase
    left = Verdict.UNKNOWN if erased else Verdict.PRESENT
    if certificate is None:
        return Judgement(verdict=left, certified=False)
    doubts = tuple(_doubts(facts, certificate, statements))
    said = roll_up([certificate.verdict, *(copy.verdict for copy in certificate.copies)])
    return Judgement(verdict=roll_up([said, left]) if doubts else said, certified=True, doubts=doubts)


def _doubts(facts: Facts, certificate: CertificatePredicate, statements: Sequence[Predicate]) -> Iterator[str]:
    """Say what of the certificate does not follow from the statements before it."""
    if statements[-1] is not certificate:
        yield "statements came after the certificate, so it may no longer hold"
    if any(one.plan != facts.plan.plan for one in statements):
        yield "not all statements are about the same plan"
    verdicts = [
        CopyVerdict(copy=one.id, verdict=one.verdict, why=one.why, until=one.until) for one in certificate.copies
    ]
    before = [one for one in statements if not isinstance(one, CertificatePredicate)]
    try:
        again = certify(before, verdicts, not_proven=certificate.not_proven, issued_at=certificate.issued_at)
    except EvidenceFault as fault:
        yield str(fault)
        return
    told = {one.id: one for one in again.copies}
    for one in certificate.copies:
        if told[one.id].verdict is not one.verdict:
            because = told[one.id].why.removeprefix(f"{one.why}; ")
            yield f"copy {one.id} is called {one.verdict}, by the log it is {told[one.id].verdict}: {because}"
    if again.verdict is not certificate.verdict:
        yield f"the certificate says {certificate.verdict}, its copies roll up to {again.verdict}"
    if again.counts != certificate.counts:
        yield "the certificate's counts are not those of the statements"
    hidden = set(facts.plan.not_proven) - set(certificate.not_proven)
    if hidden:
        yield f"the certificate leaves out {words.some(len(hidden), 'line')} of what the plan calls not proven"
