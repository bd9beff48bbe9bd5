"""What the statements of a run say, put together for reading: counts, steps, and the word of the verdict.

Pure, and never better than the truth (P11): the verdict shown is the worst of what the certificate says and what
`certify` makes of the same statements again. Without a certificate it is `present` while a planned row is not erased,
and `unknown` after that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from domicile.certify import certify, roll_up
from domicile.errors import EvidenceFault
from domicile.portal import words
from domicile.predicates import (
    ApprovalPredicate,
    CertificatePredicate,
    ClearancePredicate,
    ComparedSlice,
    CutoverPredicate,
    EqualityPredicate,
    ErasurePredicate,
    FindingPredicate,
    Phase,
    PlanPredicate,
    Predicate,
    SweepPredicate,
    TransferPredicate,
)
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
        """Rows home has and the source keeps; None while the erasure is not over."""
        whole = self.slices_erased == self.slices_to_erase and self.slices_equal == self.slices
        return self.moved - self.deleted - self.blanked if whole else None

    @property
    def equality(self) -> str:
        """The comparison in words."""
        if self.slices_differing:
            return f"✕ {self.slices_differing:,} of {self.slices:,} slices differ"
        if self.slices_equal == self.slices:
            return "✓ equal"
        return "not compared" if not self.slices_equal else f"{self.slices_equal:,} of {self.slices:,} slices equal"


class State(StrEnum):
    """How far a step is."""

    DONE = "done"
    PART = "under way"
    OPEN = "not done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the flow: what it is, how far, when, and what it found. `stage` is the name timings go by."""

    stage: str
    title: str
    state: State
    text: str
    when: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The word over the page; `doubts` say why a certificate that is there is not believed."""

    verdict: Verdict
    certified: bool
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the page is made from."""

    plan: PlanPredicate
    cutover: CutoverPredicate | None
    equality: EqualityPredicate | None
    approvals: tuple[ApprovalPredicate, ...]
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

    def of_dataset(self, dataset: str) -> Rows:
        """All homes of a dataset."""
        return sum((rows for (name, _), rows in self.rows.items() if name == dataset), Rows())

    def of_home(self, home: str) -> Rows:
        """All datasets of a home."""
        return sum((rows for (_, name), rows in self.rows.items() if name == home), Rows())

    @property
    def approved(self) -> tuple[ApprovalPredicate, ...]:
        """The approvals that count: one a named approver, all of the cleared (else the last approved) equality."""
        wanted = self.clearances[-1].equality if self.clearances else None
        if wanted is None and self.approvals:
            wanted = self.approvals[-1].equality
        named = {key.name for key in self.plan.approvals.of}
        valid = [one for one in self.approvals if one.equality == wanted and one.approver in named]
        return tuple({one.approver: one for one in valid}.values())


def gather(statements: Sequence[Predicate]) -> Facts:
    """Put the statements of a log together; EvidenceFault when they don't begin with a plan."""
    plan = next(iter(statements), None)
    if not isinstance(plan, PlanPredicate):
        raise EvidenceFault(
            "report: the log does not begin with a plan; run `domicile plan` and `domicile apply` first"
        )
    erasures = _all(statements, ErasurePredicate)
    facts = Facts(
        plan=plan,
        cutover=_last(statements, CutoverPredicate),
        equality=_last([one for one in _all(statements, EqualityPredicate) if one.fenced], EqualityPredicate)
        or _last(statements, EqualityPredicate),
        approvals=tuple(_all(statements, ApprovalPredicate)),
        clearances=tuple(_all(statements, ClearancePredicate)),
        sweep=_last_sweep(statements),
        certificate=_last(statements, CertificatePredicate),
        findings=tuple(_all(statements, FindingPredicate)),
        announced=frozenset(part.id for one in erasures if one.phase is Phase.INTENT for part in one.slices),
        collateral=sum(one.collateral for one in erasures),
        rows=_rows(plan, statements),
        judgement=Judgement(verdict=Verdict.PRESENT, certified=False),
    )
    return replace(facts, judgement=_judge(facts, statements))


def steps(facts: Facts) -> Iterator[Step]:
    """Yield the steps of the flow, in its order, each with what the log says of it."""
    plan, total = facts.plan, facts.total
    yield Step(
        stage="plan", title="Plan", state=State.DONE, when=plan.made_at,
        text=f"{words.some(len(plan.slices), 'slice')}, {words.some(total.planned, 'row')} and "
        f"{words.some(len(plan.copies), 'copy', 'copies')} outside home listed",
    )  # fmt: skip
    yield _fence(facts)
    yield Step(
        stage="transfer", title="Transfer", state=_state(total.slices_copied, total.slices),
        text=f"{words.some(total.copied, 'row')} ({words.size(total.bytes)}) copied home, "
        f"{total.slices_copied:,} of {words.some(total.slices, 'slice')}",
    )  # fmt: skip
    yield _verify(facts)
    signed, needed = len(facts.approved), plan.approvals.threshold
    yield Step(
        stage="approve", title="Approve", state=_state(signed, needed),
        when=max((one.approved_at for one in facts.approved), default=None),
        text=f"{min(signed, needed):,} of {needed:,} needed signatures; {len(plan.approvals.of):,} may sign",
    )  # fmt: skip
    yield _clear(facts)
    yield _erase(facts)
    yield _sweep(facts)
    issued = facts.certificate.issued_at if facts.certificate else None
    yield Step(
        stage="certify", title="Certify", state=State.DONE if issued else State.OPEN, when=issued,
        text="a verdict on every listed copy, rolled up to the worst" if issued else "no certificate yet",
    )  # fmt: skip


def _fence(facts: Facts) -> Step:
    if facts.cutover is None:
        return Step(stage="fence", title="Fence", state=State.OPEN, text="writes at the source are not refused yet")
    people = sum(facts.cutover.subjects.values())
    return Step(
        stage="fence", title="Fence", state=State.DONE, when=facts.cutover.fenced_at,
        text=f"writes to the rows of {words.some(people, 'person', 'people')} are refused at the source until they are "
        f"erased (position {facts.cutover.position}; {facts.cutover.fence})",
    )  # fmt: skip


def _verify(facts: Facts) -> Step:
    total, equality = facts.total, facts.equality
    if equality is None:
        return Step(stage="verify", title="Verify", state=State.OPEN, text="source and home are not compared yet")
    where = "under the fence" if equality.fenced else "but not under the fence, so it can't permit an erasure"
    return Step(
        stage="verify", title="Verify", state=_state(total.slices_equal, total.slices),
        text=f"both sides read again: {words.some(total.moved, 'row')} equal {where}; "
        f"{words.some(equality.differences, 'difference')}, {words.some(equality.strays, 'stray')} at home",
    )  # fmt: skip


def _clear(facts: Facts) -> Step:
    if not facts.clearances:
        return Step(stage="restore", title="Clear", state=State.OPEN, text="no erasure is permitted yet")
    restore = facts.clearances[-1].restore
    names = {name for one in facts.clearances for name in one.slices}
    return Step(
        stage="restore", title="Clear", state=State.DONE, when=restore.done_at,
        text=f"erasure of {words.some(len(names), 'slice')} permitted; backups of "
        f"{words.some(len(restore.homes), 'home')} restored and read back ({restore.method})",
    )  # fmt: skip


def _erase(facts: Facts) -> Step:
    total = facts.total
    text = (
        f"{words.some(total.deleted, 'row')} deleted, {words.some(total.blanked, 'row')} blanked at the source, "
        f"{total.slices_erased:,} of {words.some(total.slices_to_erase, 'slice')}; "
        f"{words.some(facts.collateral, 'other row')} touched"
    )
    state = _state(total.slices_erased, total.slices_to_erase)
    if state is State.OPEN:
        text = "announced, and not reported as done" if facts.announced else "nothing is erased yet"
        state = State.PART if facts.announced else State.OPEN
    return Step(stage="erase", title="Erase", state=state, text=text)


def _sweep(facts: Facts) -> Step:
    sweep = facts.sweep
    if sweep is None:
        return Step(stage="sweep", title="Sweep", state=State.OPEN, text="no search since the last erasure")
    read, residue = sum(one.bytes for one in sweep.copies), sum(one.residue for one in sweep.copies)
    return Step(
        stage="sweep", title="Sweep", state=State.DONE, when=sweep.swept_at,
        text=f"{words.some(sweep.tokens.searched, 'value')}, {words.some(sweep.tokens.canaries, 'canary', 'canaries')} "
        f"among them, looked for in {words.some(len(sweep.copies), 'copy', 'copies')} ({words.size(read)} read): "
        f"{words.some(residue, 'match', 'matches')} that should not be there, "
        f"{words.some(sweep.rows.hits, 'row')} found by query",
    )  # fmt: skip


def _state(done: int, all_: int) -> State:
    if done >= all_:
        return State.DONE
    return State.PART if done else State.OPEN


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


def _rows(plan: PlanPredicate, statements: Sequence[Predicate]) -> dict[tuple[str, str], Rows]:
    copied = {part.id: part for one in _all(statements, TransferPredicate) for part in one.slices}
    compared = _compared(statements)
    erased = {
        part.id: part for one in _all(statements, ErasurePredicate) if one.phase is Phase.OUTCOME for part in one.slices
    }
    rows: dict[tuple[str, str], Rows] = {}
    for planned in plan.slices:
        here, pair, gone = copied.get(planned.id), compared.get(planned.id), erased.get(planned.id)
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


def _compared(statements: Sequence[Predicate]) -> dict[str, ComparedSlice]:
    """The last comparison of each slice under a fence; only those count."""
    return {part.id: part for one in _all(statements, EqualityPredicate) if one.fenced for part in one.slices}


def _judge(facts: Facts, statements: Sequence[Predicate]) -> Judgement:
    total, certificate = facts.total, facts.certificate
    erased = total.slices_erased == total.slices_to_erase
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
    if again.verdict is not certificate.verdict:
        yield f"the certificate says {certificate.verdict}, its copies roll up to {again.verdict}"
    if again.counts != certificate.counts:
        yield "the certificate's counts are not those of the statements"
    hidden = set(facts.plan.not_proven) - set(certificate.not_proven)
    if hidden:
        yield f"the certificate leaves out {words.some(len(hidden), 'line')} of what the plan calls not proven"
