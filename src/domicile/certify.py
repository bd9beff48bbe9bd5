"""The certificate: verdicts rolled up to the worst, and counts taken from the statements, never from memory.

Pure. `docs/evidence.md` gives the order of verdicts; `domicile_audit` computes it all again in its own code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from domicile.errors import EvidenceFault
from domicile.evidence.predicates import (
    CertificatePredicate,
    Counts,
    EqualityPredicate,
    ErasurePredicate,
    FindingPredicate,
    JudgedCopy,
    KeyPhase,
    Phase,
    PlannedCopy,
    PlannedSlice,
    PlanPredicate,
    Predicate,
    SweepPredicate,
)
from domicile.evidence.told import (
    CAME_BACK,
    ERASED_AGAIN,
    OBJECTS_BACK,
    KeyStanding,
    is_frozen,
    keys_told,
    object_stores,
    slices_of,
    still_standing,
)
from domicile.proof import CopyVerdict, Verdict

WORST_LAST = tuple(Verdict)  # the order in which model.py declares them
_MAY_HOLD_RESIDUE = frozenset({Verdict.BLOCKED_UNTIL, Verdict.HELD, Verdict.PRESENT})
LIVE_ROWS, OBJECTS = "live-rows", "objects"
_IN_USE = frozenset({LIVE_ROWS, OBJECTS, "derived-table"})
_NOT_GONE = frozenset({Verdict.UNKNOWN, *_MAY_HOLD_RESIDUE})
_VOIDS_A_SEARCH = frozenset({CAME_BACK, ERASED_AGAIN, OBJECTS_BACK})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What the statements say, in the order of the log."""

    frozen: bool
    equal: Mapping[str, int]
    erased: Mapping[str, tuple[int, int]]
    sweep: SweepPredicate | None
    residue: Mapping[str, bool]
    """By copy that held residue when it was last looked at: whether a later sweep left it out."""
    rows_found: int
    keys: Mapping[str, KeyStanding]
    returned: frozenset[str]
    """Copies whose key came back, whatever became of it since."""
    erasing: bool
    """Whether an erasure of slices was done."""


def roll_up(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of the verdicts; nothing judged is `unknown`."""
    return max(verdicts, key=WORST_LAST.index, default=Verdict.UNKNOWN)


def certify(
    statements: Sequence[Predicate],
    verdicts: Sequence[CopyVerdict],
    *,
    not_proven: Sequence[str],
    issued_at: datetime,
) -> CertificatePredicate:
    """Make the certificate of a run; `EvidenceFault` where a verdict says more than the statements do.

    `statements` are all predicates of the log in order, the plan first; `not_proven` is added to the plan's own.
    """
    plan = next(iter(statements), None)
    if not isinstance(plan, PlanPredicate):
        raise EvidenceFault("certificate: the log does not begin with a plan; begin a new run")
    slices = slices_of(statements)
    facts = _gather(statements, {planned.id: planned.rows for planned in slices})
    in_use = {copy.id for copy in plan.copies if copy.kind in _IN_USE}
    back, read = _back_since(plan, statements), _read_since(statements)
    told = [
        _still_found(_looked_at(_still_closed(_by_now(one, issued_at), read), back), facts, in_use) for one in verdicts
    ]
    judged = _judge(plan, slices, _objects_left(plan, slices, told, facts), facts)
    return CertificatePredicate(
        plan=plan.plan,
        verdict=roll_up(copy.verdict for copy in judged),
        copies=judged,
        counts=_count(slices, facts),
        not_proven=tuple(dict.fromkeys([*plan.not_proven, *not_proven])),
        issued_at=issued_at,
    )


def _by_now(verdict: CopyVerdict, now: datetime) -> CopyVerdict:
    """What was kept until a day that is over by now is there, and nothing keeps it."""
    if verdict.verdict is not Verdict.BLOCKED_UNTIL or verdict.until is None or verdict.until > now:
        return verdict
    why = f"{verdict.why}; that day has come: `domicile apply --yes` treats it"
    return replace(verdict, verdict=Verdict.PRESENT, why=why, until=None)


def _still_found(verdict: CopyVerdict, facts: _Facts, in_use: Collection[str]) -> CopyVerdict:
    """What was found in a copy, and not looked at again, counts as being there.

    But nobody may know any more, of what no service uses and a later search left out; or nobody be able to read it.
    """
    if verdict.copy not in facts.residue or verdict.verdict in {*_MAY_HOLD_RESIDUE, Verdict.KEY_DESTROYED}:
        return verdict
    if verdict.verdict is Verdict.UNKNOWN and facts.residue[verdict.copy] and verdict.copy not in in_use:
        return verdict
    why = f"{verdict.why}; an earlier search found something in it"
    return replace(verdict, verdict=Verdict.PRESENT, why=why)


def _still_closed(verdict: CopyVerdict, read: Collection[str]) -> CopyVerdict:
    """A copy that was read after its key was to be destroyed may have another one."""
    if verdict.verdict is not Verdict.KEY_DESTROYED or verdict.copy not in read:
        return verdict
    why = f"{verdict.why}; a search found something in it since that was announced"
    return replace(verdict, verdict=Verdict.UNKNOWN, why=why)


def _read_since(statements: Iterable[Predicate]) -> frozenset[str]:
    """The copies in which a search found something after their key was last said to be destroyed."""
    read: set[str] = set()
    for one in statements:
        if isinstance(one, FindingPredicate) and one.kind == KeyPhase.INTENT.value:
            read.discard(one.where)
        elif isinstance(one, SweepPredicate):
            read.update(copy.id for copy in one.copies if copy.residue)
    return frozenset(read)


def _objects_left(
    plan: PlanPredicate, slices: Sequence[PlannedSlice], told: Sequence[CopyVerdict], facts: _Facts
) -> Sequence[CopyVerdict]:
    """Where objects are not erased as planned, and no copy of their store says so, the objects themselves do.

    So it is where somebody else removed what a lock had kept: nothing in the log tells that it went.
    """
    stores = object_stores(plan)
    left = {
        planned.dataset for planned in slices
        if planned.dataset in stores and facts.erased.get(planned.id, (0, 0))[0] != planned.erase.delete
    }  # fmt: skip
    store_of = {copy.id: copy.store for copy in plan.copies}
    left -= {store_of[one.copy] for one in told if one.copy in store_of and one.verdict in _MAY_HOLD_RESIDUE}
    of_objects = {copy.id for copy in plan.copies if copy.kind == OBJECTS and copy.store in left}
    why = "not all of it was erased by this programme, as planned: `domicile apply --yes` goes on"
    return [
        replace(one, verdict=Verdict.PRESENT, why=f"{one.why}; {why}") if one.copy in of_objects else one
        for one in told
    ]


def _looked_at(verdict: CopyVerdict, back: Mapping[str, str]) -> CopyVerdict:
    """Of a copy to which something may have come back nobody knows anything before it is searched again.

    Rows that came back may be in it under a newer key than the one that was destroyed.
    """
    because = {Verdict.ERASED_UNVERIFIED: OBJECTS_BACK, Verdict.KEY_DESTROYED: CAME_BACK}.get(verdict.verdict)
    if because is None or back.get(verdict.copy) != because:
        return verdict
    what = "objects came back since it was searched" if because == OBJECTS_BACK else "rows came back since its key went"
    why = f"{verdict.why}; {what}: run `domicile apply`"
    return replace(verdict, verdict=Verdict.UNKNOWN, why=why)


def _back_since(plan: PlanPredicate, statements: Iterable[Predicate]) -> Mapping[str, str]:
    """The copies that were not searched since objects came back to their store, or rows to any, and which of these.

    Rows that came back are in no copy whose key was destroyed after that.
    """
    back: dict[str, str] = {}
    for one in statements:
        if isinstance(one, FindingPredicate):
            if one.kind == OBJECTS_BACK:
                back |= {copy.id: OBJECTS_BACK for copy in plan.copies if _is_of(copy, one.where)}
            elif one.kind in (CAME_BACK, ERASED_AGAIN):
                back |= {copy.id: CAME_BACK for copy in plan.copies if copy.kind != OBJECTS}
            elif one.kind == KeyPhase.OUTCOME.value:
                back.pop(one.where, None)
        elif isinstance(one, SweepPredicate) and _is_search(one):
            for copy in one.copies:
                back.pop(copy.id, None)
    return back


def _is_of(copy: PlannedCopy, store: str) -> bool:
    return copy.kind == OBJECTS and copy.store == store


def _gather(statements: Sequence[Predicate], planned: Mapping[str, int]) -> _Facts:
    equal: Mapping[str, int] = {}
    erased: dict[str, tuple[int, int]] = {}
    sweep: SweepPredicate | None = None
    sweeps = [one for one in statements if isinstance(one, SweepPredicate)]
    for statement in still_standing(statements):
        if isinstance(statement, EqualityPredicate) and statement.fenced:
            equal = {s.id: s.rows for s in statement.slices if s.source == s.home and s.rows == planned.get(s.id)}
        elif isinstance(statement, ErasurePredicate):
            if statement.phase is Phase.OUTCOME:
                erased.update({s.id: (s.deleted, s.blanked) for s in statement.slices})
            sweep = None  # a search before the last erasure says nothing about what is left after it
        elif isinstance(statement, FindingPredicate) and statement.kind in _VOIDS_A_SEARCH:
            sweep = None
        elif isinstance(statement, SweepPredicate):
            sweep = statement
    return _Facts(
        frozen=is_frozen(statements), equal=equal, erased=erased, sweep=sweep,
        residue=_residue(sweeps), rows_found=_rows_found(sweeps),
        keys=keys_told(statements),
        returned=frozenset(
            one.where for one in statements
            if isinstance(one, FindingPredicate) and one.kind == KeyPhase.CAME_BACK.value
        ),
        erasing=any(
            isinstance(one, ErasurePredicate) and one.phase is Phase.OUTCOME and bool(one.slices) for one in statements
        ),
    )  # fmt: skip


def _residue(sweeps: Sequence[SweepPredicate]) -> Mapping[str, bool]:
    """Residue stands until a later sweep looks at the same copy: one that leaves it out takes nothing back.

    Nor does one that searched for nothing, or read nothing; what it found stands all the same.
    """
    looks = [
        (copy.id, place, copy.residue)
        for place, one in enumerate(sweeps)
        for copy in one.copies
        if copy.residue or _is_search(one)
    ]
    last = {name: (place, found) for name, place, found in looks}
    return {name: place < looks[-1][1] for name, (place, found) in last.items() if found}


def _rows_found(sweeps: Iterable[SweepPredicate]) -> int:
    """Rows that were found stand until a later sweep asks of as many datasets; what a narrower one finds is added."""
    asked = found = 0
    for one in sweeps:
        found = one.rows.hits + (found if one.rows.datasets < asked else 0)
        asked = max(asked, one.rows.datasets)
    return found


def _judge(
    plan: PlanPredicate, slices: Sequence[PlannedSlice], verdicts: Sequence[CopyVerdict], facts: _Facts
) -> tuple[JudgedCopy, ...]:
    given = {verdict.copy: verdict for verdict in verdicts}
    missing = sorted({copy.id for copy in plan.copies} ^ given.keys())
    if missing or len(given) != len(verdicts):
        raise EvidenceFault(f"certificate: copies without one verdict: {missing}; judge each planned copy once")
    judged = tuple(_judged(given[copy.id]) for copy in plan.copies)
    for copy in judged:
        _require_backed(copy, facts)
    there = {copy.id for copy in judged if copy.verdict is Verdict.PRESENT}
    live = [copy for copy in plan.copies if copy.kind == LIVE_ROWS and copy.id in there]
    rows = {copy.dataset for copy in live if copy.dataset is None or copy.dataset.startswith(f"{copy.store}.")}
    if not live:
        _require_nothing_found(facts)
    told = object_stores(plan) | {dataset for dataset in rows if dataset}
    if None not in rows:
        _require_all_erased([one for one in slices if one.dataset not in told], facts)
    return judged


def _judged(verdict: CopyVerdict) -> JudgedCopy:
    if (verdict.until is not None) is not (verdict.verdict is Verdict.BLOCKED_UNTIL):
        raise EvidenceFault(f"certificate: copy {verdict.copy}: a date goes with blocked-until and only with it")
    return JudgedCopy(id=verdict.copy, verdict=verdict.verdict, why=verdict.why, until=verdict.until)


def _require_backed(copy: JudgedCopy, facts: _Facts) -> None:
    swept = {s.id: s for s in facts.sweep.copies} if facts.sweep else {}
    found = swept.get(copy.id)
    standing = facts.keys.get(copy.id)
    destroyed = standing is not None and standing.phase is KeyPhase.OUTCOME
    if copy.verdict is Verdict.KEY_DESTROYED and not destroyed:
        raise EvidenceFault(f"certificate: the log doesn't tell that the key of copy {copy.id} was destroyed")
    if copy.id in facts.returned and copy.verdict not in _NOT_GONE:
        raise EvidenceFault(f"certificate: the key of copy {copy.id} came back, so it can't be {copy.verdict.value}")
    if copy.verdict is Verdict.ERASED_UNVERIFIED and not facts.erasing:
        raise EvidenceFault(f"certificate: nothing was erased, so copy {copy.id} can't be {copy.verdict.value}")
    if copy.verdict is not Verdict.ERASED_VERIFIED:
        return
    if facts.sweep is None or found is None or not _is_search(facts.sweep):
        raise EvidenceFault(f"certificate: copy {copy.id} was not swept since the erasure; run `domicile sweep`")


def _is_search(sweep: SweepPredicate) -> bool:
    """Whether it searched for something, and read something."""
    return sweep.tokens.searched > 0 and any(copy.bytes for copy in sweep.copies)


def _require_nothing_found(facts: _Facts) -> None:
    if not facts.frozen:
        raise EvidenceFault("certificate: people went home, and no slices are frozen, so a copy is `present`")
    if facts.rows_found:
        raise EvidenceFault("certificate: the sweep found rows by query, so a copy is `present`; erase them")


def _require_all_erased(slices: Sequence[PlannedSlice], facts: _Facts) -> None:
    for planned in slices:
        if facts.erased.get(planned.id, (0, 0)) != (planned.erase.delete, planned.erase.blank):
            raise EvidenceFault(
                f"certificate: slice {planned.id} is not erased as planned, so a copy is `present`; erase it"
            )


def _count(slices: Sequence[PlannedSlice], facts: _Facts) -> Mapping[str, Mapping[str, Counts]]:
    counts: dict[str, dict[str, Counts]] = {}
    for planned in slices:
        moved = facts.equal.get(planned.id, 0)
        deleted, blanked = facts.erased.get(planned.id, (0, 0))
        homes = counts.setdefault(planned.dataset, {})
        old = homes.get(planned.home, Counts(moved=0, deleted=0, blanked=0, kept=0))
        homes[planned.home] = Counts(
            moved=old.moved + moved,
            deleted=old.deleted + deleted,
            blanked=old.blanked + blanked,
            kept=old.kept + moved - deleted - blanked,
        )
    return counts
