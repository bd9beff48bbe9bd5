"""The steps of the flow, each with what the log says of it: what was done, how far, when. Pure, as `facts` is.

A move at once and a live one differ until all are at home; from the comparison under the fence on they are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domicile.evidence.predicates import Went
from domicile.portal import words
from domicile.portal.facts import Facts


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


def steps(facts: Facts) -> Iterator[Step]:
    """Yield the steps of the flow, in its order, each with what the log says of it."""
    plan = facts.plan
    yield from _moved_live(facts) if facts.live else _moved_at_once(facts)
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


def _moved_at_once(facts: Facts) -> Iterator[Step]:
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


def _moved_live(facts: Facts) -> Iterator[Step]:
    """Yield the steps of a move while people write: no statement counts what is copied, the equality does."""
    plan, total = facts.plan, facts.total
    yield Step(
        stage="plan", title="Plan", state=State.DONE, when=plan.made_at,
        text=f"{words.some(len(plan.copies), 'copy', 'copies')} outside home listed; people go home in cohorts",
    )  # fmt: skip
    yield Step(
        stage="transfer", title="Transfer", state=State.DONE if facts.cohorts else State.OPEN,
        text="rows are copied home and kept up while people write; they are counted when they are compared",
    )  # fmt: skip
    yield _cohorts(facts)
    freeze = facts.freeze
    text = f"{words.some(total.slices, 'slice')} of {words.some(total.planned, 'row')} written down"
    yield Step(
        stage="freeze", title="Freeze", state=State.DONE if freeze else State.OPEN,
        when=freeze.frozen_at if freeze else None,
        text=text if freeze else "which rows leave is written down when everybody is at home",
    )  # fmt: skip
    yield _fence(facts)


def _cohorts(facts: Facts) -> Step:
    people = sum((facts.people or {}).values())
    back = sum(one.way is Went.SOURCE for one in facts.cohorts)
    state = State.DONE if facts.freeze else State.PART if people else State.OPEN
    return Step(
        stage="cut over", title="Cohorts", state=state,
        when=facts.cohorts[-1].fenced_at if facts.cohorts else None,
        text=f"{words.some(people, 'person', 'people')} at home; {words.some(len(facts.cohorts) - back, 'cohort')} "
        f"went home, {words.some(back, 'cohort')} came back to the source",
    )  # fmt: skip


def _fence(facts: Facts) -> Step:
    if facts.cutover is None:
        text = "writes at the source are not refused yet"
        if facts.live:
            text = "it closes when all is frozen; until then only those at home are refused at the source"
        return Step(stage="fence", title="Fence", state=State.OPEN, text=text)
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
    state = _state(total.slices_erased, total.slices_to_erase) if facts.frozen else State.OPEN
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
