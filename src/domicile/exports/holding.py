"""What each kind of statement comes to: whether it holds, in one line, and which statements say so.

Presence is not enough: an equality with differences is in the log, too. Each kind has one rule, after the checks of
docs/evidence.md; `domicile-audit` makes them all again in its own code, and more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from domicile.evidence.ledger import Recorded, standing_of
from domicile.evidence.predicates import (
    ApprovalPredicate,
    CertificatePredicate,
    ClearancePredicate,
    CohortPredicate,
    CutoverPredicate,
    EqualityPredicate,
    ErasurePredicate,
    FreezePredicate,
    Phase,
    PlannedSlice,
    PlanPredicate,
    Predicate,
    SweepPredicate,
    TransferPredicate,
)
from domicile.evidence.told import object_stores, slices_of
from domicile.exports.evidence import Evidence

P = TypeVar("P", bound=Predicate)
Places = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Whether what a kind of statement should show is shown, why, and by which statements (their places)."""

    kind: str
    holds: bool
    says: str
    statements: Places


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """The statements that still count, the slices that go, the equalities and clearances that are good, by SHA-256."""

    evidence: Evidence
    standing: tuple[Recorded, ...]
    slices: tuple[PlannedSlice, ...]
    equalities: Mapping[str, tuple[int, EqualityPredicate]]
    clearances: Mapping[str, tuple[int, ClearancePredicate]]


def holdings(evidence: Evidence) -> Mapping[str, Holding]:
    """Ask every kind of statement that a clause can rest on."""
    standing, slices = standing_of(evidence.statements), slices_of(one.predicate for one in evidence.statements)
    equalities = _equalities(standing, slices)
    case = _Case(
        evidence=evidence, standing=standing, slices=slices, equalities=equalities,
        clearances=_clearances(evidence, standing, slices, equalities),
    )  # fmt: skip
    found = {}
    for kind, (form, ask) in _RULES.items():
        holds, says, places = ask(case)
        every = tuple(one.index for one in evidence.statements if isinstance(one.predicate, form))
        found[kind] = Holding(kind=kind, holds=holds, says=says, statements=places if holds else every)
    return found


def _of(standing: tuple[Recorded, ...], form: type[P]) -> Iterator[tuple[Recorded, P]]:
    return ((one, one.predicate) for one in standing if isinstance(one.predicate, form))


def _equalities(
    standing: tuple[Recorded, ...], slices: tuple[PlannedSlice, ...]
) -> Mapping[str, tuple[int, EqualityPredicate]]:
    """Fenced comparisons that find every slice whole and equal (check 13)."""
    wanted = {one.id: one.rows for one in slices}
    found = {}
    for one, said in _of(standing, EqualityPredicate):
        equal = {part.id: part.rows for part in said.slices if part.source == part.home}
        if said.fenced and not said.differences and not said.strays and wanted and equal == wanted:
            found[one.sha256] = (one.index, said)
    return found


def _clearances(
    evidence: Evidence,
    standing: tuple[Recorded, ...],
    slices: tuple[PlannedSlice, ...],
    equalities: Mapping[str, tuple[int, EqualityPredicate]],
) -> Mapping[str, tuple[int, ClearancePredicate]]:
    """Clearances of such an equality, with enough approvals before them, and what they clear restored (14, 15)."""
    plan = evidence.facts.plan
    rows = {one.id for one in slices if one.dataset not in object_stores(plan)}
    found = {}
    for one, said in _of(standing, ClearancePredicate):
        equality = equalities.get(said.equality)
        if equality is None or len(_approvers(standing, one.index, said)) < plan.approvals.threshold:
            continue
        asked = rows & set(said.slices)
        equal = {(part.id, part.rows, part.home) for part in equality[1].slices if part.id in asked}
        restored = {(part.id, part.rows, part.digest) for home in said.restore.homes.values() for part in home.slices}
        if equal <= restored:
            found[one.sha256] = (one.index, said)
    return found


def _approvers(standing: tuple[Recorded, ...], before: int, said: ClearancePredicate) -> Mapping[str, int]:
    """Who approved a clearance's equality before it, and where; that the plan names them the ledger has checked."""
    return {
        approval.approver: one.index
        for one, approval in _of(standing, ApprovalPredicate)
        if one.sha256 in said.approvals and approval.equality == said.equality and one.index < before
    }  # fmt: skip


# -- a rule for each kind: whether it holds, in words, and by which statements -------------------------------------


def _plan(case: _Case) -> tuple[bool, str, Places]:
    plan = case.evidence.facts.plan
    return True, f"names {len(case.slices)} slices, {len(plan.copies)} copies outside home and their methods", (0,)


def _transfer(case: _Case) -> tuple[bool, str, Places]:
    facts = case.evidence.facts
    if facts.live:
        return False, "people went in cohorts, so rows came home before they had a slice", ()
    holds = 0 < facts.total.slices == facts.total.slices_copied
    places = tuple(one.index for one, _ in _of(case.standing, TransferPredicate))
    return holds, f"{facts.total.slices_copied} of {facts.total.slices} slices were copied home", places


def _cohort(case: _Case) -> tuple[bool, str, Places]:
    facts = case.evidence.facts
    if not facts.cohorts:
        return False, "no cohort went", ()
    people = sum((facts.people or {}).values())
    places = tuple(one.index for one in case.evidence.statements if isinstance(one.predicate, CohortPredicate))
    holds = facts.frozen and people > 0
    return holds, f"{people} people are at home{'' if facts.frozen else ', and nothing is frozen since'}", places


def _freeze(case: _Case) -> tuple[bool, str, Places]:
    facts = case.evidence.facts
    if facts.freeze is None:
        return False, "the slices are those of the plan" if not facts.live else "nothing is frozen", ()
    places = [one.index for one in case.evidence.statements if isinstance(one.predicate, FreezePredicate)][-1:]
    return True, f"{len(facts.freeze.slices)} slices are frozen, and no cohort went since", tuple(places)


def _cutover(case: _Case) -> tuple[bool, str, Places]:
    places = tuple(one.index for one, _ in _of(case.standing, CutoverPredicate))[-1:]
    return bool(places), "writes are refused at the source" if places else "no fence stands in the log", places


def _equality(case: _Case) -> tuple[bool, str, Places]:
    places = tuple(index for index, _ in case.equalities.values())[-1:]
    total = case.evidence.facts.total
    return bool(places), f"{total.slices_equal} of {total.slices} slices were read equal under the fence", places


def _approval(case: _Case) -> tuple[bool, str, Places]:
    rule = case.evidence.facts.plan.approvals
    if not case.clearances:
        return False, f"no clearance rests on {rule.threshold} of {len(rule.of)} approvals of an equality", ()
    index, said = list(case.clearances.values())[-1]
    given = _approvers(case.standing, index, said)
    return True, f"{len(given)} approved, {rule.threshold} of {len(rule.of)} are asked for", tuple(given.values())


def _clearance(case: _Case) -> tuple[bool, str, Places]:
    going = {one.id for one in case.slices if one.erase.delete or one.erase.blank}
    cleared = {name for _, said in case.clearances.values() for name in said.slices}
    holds = bool(cleared) and going <= cleared
    says = f"{len(cleared)} slices were cleared on an equality, approvals and restores; {len(going - cleared)} were not"
    return holds, says, tuple(index for index, _ in case.clearances.values())


def _erasure(case: _Case) -> tuple[bool, str, Places]:
    """Each slice erased as planned, announced before, under a good clearance, and nothing beside it (check 16)."""
    wanted = {one.id: (one.erase.delete, one.erase.blank) for one in case.slices if one.erase.delete or one.erase.blank}
    announced: set[str] = set()
    erased: dict[str, tuple[int, int]] = {}
    places, collateral = [], 0
    for one, said in _of(case.standing, ErasurePredicate):
        places.append(one.index)
        collateral += said.collateral
        if said.clearance not in case.clearances:
            continue
        if said.phase is Phase.INTENT:
            announced |= {part.id for part in said.slices}
        else:
            erased |= {part.id: (part.deleted, part.blanked) for part in said.slices if part.id in announced}
    done = sum(1 for name, counts in wanted.items() if erased.get(name) == counts)
    says = f"{done} of {len(wanted)} slices were erased as planned, {collateral} rows beside them"
    return 0 < len(wanted) == done and not collateral, says, tuple(places)


def _sweep(case: _Case) -> tuple[bool, str, Places]:
    last = case.evidence.facts.sweep
    if last is None:
        return False, "no search came after the last erasure", ()
    residue = sum(one.residue for one in last.copies)
    places = tuple(one.index for one, said in _of(case.standing, SweepPredicate) if said is last)
    says = (
        f"{last.tokens.searched} values were looked for in {len(last.copies)} copies, {last.tokens.not_searchable} "
        f"could not be; {residue} were found as bytes, {last.rows.hits} as rows"
    )
    return bool(last.tokens.searched) and not residue and not last.rows.hits, says, places


def _certificate(case: _Case) -> tuple[bool, str, Places]:
    evidence, judgement = case.evidence, case.evidence.facts.judgement
    places = tuple(one.index for one in evidence.statements if isinstance(one.predicate, CertificatePredicate))[-1:]
    if not evidence.finished:
        return False, "the run is not finished: there is no certificate", ()
    doubts = f"; it is not believed: {'; '.join(evidence.doubts)}" if evidence.doubts else ""
    return evidence.believed, f"the worst verdict is {judgement.verdict.value}{doubts}", places


_Rule = tuple[type[Predicate], Callable[[_Case], tuple[bool, str, Places]]]
_RULES: Final[Mapping[str, _Rule]] = {
    PlanPredicate.KIND: (PlanPredicate, _plan),
    TransferPredicate.KIND: (TransferPredicate, _transfer),
    CohortPredicate.KIND: (CohortPredicate, _cohort),
    FreezePredicate.KIND: (FreezePredicate, _freeze),
    CutoverPredicate.KIND: (CutoverPredicate, _cutover),
    EqualityPredicate.KIND: (EqualityPredicate, _equality),
    ApprovalPredicate.KIND: (ApprovalPredicate, _approval),
    ClearancePredicate.KIND: (ClearancePredicate, _clearance),
    ErasurePredicate.KIND: (ErasurePredicate, _erasure),
    SweepPredicate.KIND: (SweepPredicate, _sweep),
    CertificatePredicate.KIND: (CertificatePredicate, _certificate),
}
SUPPORTING: Final = tuple(_RULES)
"""The kinds of statement that a clause may rest on. A finding is none: it says what a reader should know, not that
something was done."""
