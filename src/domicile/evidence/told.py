"""What a log tells, read out of its statements in their order: what counts of it, what is to go, whose keys are gone.

Pure. Each face and stage that needs one of these answers asks here, so that no two of them read a log differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from domicile.evidence.predicates import (
    ClearancePredicate,
    CohortPredicate,
    ComparedSlice,
    EqualityPredicate,
    ErasedSlice,
    ErasurePredicate,
    FindingPredicate,
    FreezePredicate,
    KeyPhase,
    MovedSlice,
    Phase,
    PlannedSlice,
    PlanPredicate,
    Predicate,
    RestoredSlice,
    TransferPredicate,
    Went,
)

CAME_BACK, ERASED_AGAIN, OBJECTS_BACK = "came back", "erased again", "objects came back"
"""Kinds of findings of what a restore brought back: what was searched before one of them tells nothing any more."""


def object_stores(plan: PlanPredicate) -> frozenset[str]:
    """The object stores of a plan: their slices are of objects, and bear the store's name as dataset."""
    return frozenset(copy.store for copy in plan.copies if copy.kind == "objects" and copy.dataset == copy.store)


def rows_erased(statements: Iterable[Predicate]) -> bool:
    """Whether rows were erased, or a derived table was emptied, by a log in its order: objects alone are none."""
    beside: frozenset[str] = frozenset()
    for one in statements:
        if isinstance(one, PlanPredicate):
            beside = object_stores(one)
        if (
            isinstance(one, ErasurePredicate)
            and one.phase is Phase.OUTCOME
            and (one.dataset not in beside or one.emptied)
        ):
            return True
    return False


def slices_of(statements: Iterable[Predicate]) -> tuple[PlannedSlice, ...]:
    """The slices that are to go, of a log in its order: those of the last freeze, else those of the plan."""
    slices: tuple[PlannedSlice, ...] = ()
    for statement in statements:
        if isinstance(statement, PlanPredicate | FreezePredicate):
            slices = statement.slices
    return slices


def still_standing(statements: Sequence[Predicate]) -> Sequence[Predicate]:
    """The statements that still count of a log in its order: all of a move at once.

    Of a live move only those after its last freeze or cohort: each of the two voids what was called equal before it.
    """
    places = [place for place, one in enumerate(statements) if isinstance(one, CohortPredicate | FreezePredicate)]
    return statements[places[-1] + 1 :] if places else statements


def is_frozen(statements: Sequence[Predicate]) -> bool:
    """Whether the slices are named: always in a move at once, in a live one while no cohort went after a freeze."""
    last = [one for one in statements if isinstance(one, CohortPredicate | FreezePredicate)][-1:]
    return not last or isinstance(last[0], FreezePredicate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """The last word on each slice, by its id: copied, compared under a fence, read from a backup, erased.

    What was copied stays copied; of the rest only what still stands counts.
    """

    moved: Mapping[str, MovedSlice]
    compared: Mapping[str, ComparedSlice]
    restored: Mapping[str, RestoredSlice]
    erased: Mapping[str, ErasedSlice]


def told_of_slices(statements: Sequence[Predicate]) -> Slices:
    """What a log in its order tells of slices."""
    standing = still_standing(statements)
    fenced = [one for one in standing if isinstance(one, EqualityPredicate) and one.fenced]
    outcomes = [one for one in standing if isinstance(one, ErasurePredicate) and one.phase is Phase.OUTCOME]
    restores = [home for one in standing if isinstance(one, ClearancePredicate) for home in one.restore.homes.values()]
    return Slices(
        moved={part.id: part for one in statements if isinstance(one, TransferPredicate) for part in one.slices},
        compared={part.id: part for one in fenced for part in one.slices},
        restored={part.id: part for home in restores for part in home.slices},
        erased={part.id: part for one in outcomes for part in one.slices},
    )


def people_at_home(statements: Iterable[Predicate]) -> Mapping[str, int]:
    """How many people cohorts took home and did not bring back, by home."""
    counts: dict[str, int] = {}
    for statement in statements:
        if isinstance(statement, CohortPredicate):
            sign = 1 if statement.way is Went.HOME else -1
            for home, people in statement.subjects.items():
                counts[home] = counts.get(home, 0) + sign * people
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStanding:
    """What a log tells of the destruction of a copy's key: the generations, and how far it got."""

    generations: tuple[str, ...]
    phase: KeyPhase


_GENERATIONS: Final = re.compile(r"generations((?: [0-9a-f]{40})+)")


def key_finding(plan: str, copy: str, key: str, standing: KeyStanding) -> FindingPredicate:
    """State that a copy's key is about to be destroyed, that all copies of it are gone, or that one came back (P7).

    Generations are named by their public halves; nothing of a secret is told.
    """
    count = len(standing.generations)
    text = f"{key}, generations {' '.join(standing.generations)}"
    return FindingPredicate(plan=plan, kind=standing.phase.value, where=copy, count=count, text=text)


def keys_told(statements: Iterable[Predicate]) -> Mapping[str, KeyStanding]:
    """What the log tells of the keys of copies, by copy: the last that was said."""
    found: dict[str, KeyStanding] = {}
    phases = {phase.value: phase for phase in KeyPhase}
    for one in statements:
        if isinstance(one, FindingPredicate) and one.kind in phases and (match := _GENERATIONS.search(one.text)):
            found[one.where] = KeyStanding(generations=tuple(match[1].split()), phase=phases[one.kind])
    return found
