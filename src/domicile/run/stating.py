"""What each stage states in the log: values of the run turned into predicates, and nothing of a row (P8). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from domicile.config import Config
from domicile.cutover.cohorts import Cohort
from domicile.evidence.canaries import Seal
from domicile.evidence.ledger import Recorded
from domicile.evidence.predicates import (
    ApprovalRule,
    ClearancePredicate,
    CohortPredicate,
    ComparedSlice,
    CutoverPredicate,
    EqualityPredicate,
    EraseCounts,
    ErasedSlice,
    ErasurePredicate,
    FindingPredicate,
    FreezePredicate,
    MovedSlice,
    Phase,
    Place,
    PlannedCopy,
    PlannedSlice,
    PlanPredicate,
    RestoredHome,
    RestoredSlice,
    RestoreReport,
    TransferPredicate,
    Went,
)
from domicile.evidence.told import CAME_BACK, ERASED_AGAIN, OBJECTS_BACK
from domicile.model import Form, Home, Manifest, Slice, SliceId
from domicile.plan.document import Plan
from domicile.proof import Clearance, Copy, Equality, Erased, Fence, Measure, Restore

STATED = (Form.WHOLE, Form.OBJECTS)
"""What is somebody's, in a move at once."""
FENCE_TEXT = "row triggers (always) in the source database on every dataset whose rows are owned"


def plan_statement(  # noqa: PLR0913 - what people signed, and what was frozen
    plan_sha256: str,
    plan: Plan,
    config: Config,
    manifest: Manifest,
    *,
    copies: Sequence[Copy],
    approvals: ApprovalRule,
    live: bool = False,
) -> PlanPredicate:
    """State the plan with the slices as they were frozen under the fence; only whole rows and objects are anybody's.

    A `live` move names no slices yet: `freeze_statement` does, when everybody is at home.
    """
    return PlanPredicate(
        plan=plan_sha256,
        programme=plan.programme,
        engine=plan.engine,
        config_sha256=plan.config_sha256,
        made_at=plan.made_at,
        deadline=plan.forecast.deadline,
        homes=plan.homes,
        locations={
            name: Place(country=place.country, operator=place.operator) for name, place in config.locations.items()
        },
        approvals=approvals,
        slices=() if live else tuple(_planned(piece) for piece in manifest.slices if piece.form in STATED),
        copies=tuple(
            PlannedCopy(
                id=copy.id,
                store=copy.store,
                location=copy.location,
                kind=copy.kind,
                dataset=copy.dataset,
                method=copy.method,
            )
            for copy in copies
        ),
        not_proven=plan.not_proven,
    )


def finding_statements(plan: str, manifest: Manifest) -> Iterator[FindingPredicate]:
    """State what was found and counted, with the rule that decided it."""
    for finding in manifest.findings:
        text = f"{finding.text} (rule: {finding.rule})"
        yield FindingPredicate(plan=plan, kind=finding.kind, where=finding.where, count=finding.count, text=text)


def commitment_statement(plan: str, store: str, count: int) -> FindingPredicate:
    """State that every row about to be erased is committed to, so that a restore can't bring it back unnoticed."""
    return FindingPredicate(
        plan=plan, kind="committed", where=store, count=count,
        text="keyed commitments to the rows about to be erased, for a look after each restore",
    )  # fmt: skip


def seal_statement(plan: str, kind: str, seal: Seal) -> FindingPredicate:
    """State that canaries are sealed, or that they are told now; `text` bears the SHA-256 that binds them."""
    return FindingPredicate(plan=plan, kind=kind, where=seal.by, count=seal.count, text=f"sha256 {seal.sha256}")


def return_statement(plan: str, dataset: str, rows: int, moment: datetime, *, done: bool) -> FindingPredicate:
    """State that erased rows came back with a restore and are about to be erased again, or were (P7)."""
    text = "erased again" if done else "came back with a restore, about to be erased again"
    kind = ERASED_AGAIN if done else CAME_BACK
    return FindingPredicate(
        plan=plan, kind=kind, where=dataset, count=rows, text=f"{text}, {moment:%Y-%m-%d %H:%M:%S} UTC"
    )


def objects_back_statement(plan: str, store: str, count: int, moment: datetime) -> FindingPredicate:
    """State that a store lists objects again under keys whose objects were erased; a person removes them."""
    text = f"versions and uploads under keys of erased objects are there again, {moment:%Y-%m-%d %H:%M:%S} UTC"
    return FindingPredicate(plan=plan, kind=OBJECTS_BACK, where=store, count=count, text=text)


def still_returned(log: Iterable[Recorded]) -> tuple[str, ...]:
    """The datasets of which rows came back, by the log, that were not erased again since."""
    found: dict[str, bool] = {}
    for recorded in log:
        one = recorded.predicate
        if isinstance(one, FindingPredicate) and one.kind in {CAME_BACK, ERASED_AGAIN}:
            found[one.where] = one.kind == CAME_BACK
    return tuple(name for name, is_back in found.items() if is_back)


TO_BE_EMPTIED, EMPTIED = "to be emptied", "emptied"


def emptying_statement(plan: str, copy: str, kind: str, moment: datetime) -> FindingPredicate:
    """State that a derived table is about to be emptied once more, after a certificate, or was (P7)."""
    text = f"all rows, of all people; it is derived, {moment:%Y-%m-%d %H:%M:%S} UTC"
    return FindingPredicate(plan=plan, kind=kind, where=copy, count=1, text=text)


TO_BE_REMOVED, REMOVED = "to be removed", "removed"


def removal_statement(plan: str, copy: str, things: int, *, done: bool, made: str = "") -> FindingPredicate:
    """State that things made before the erasure are about to go from a folder around the source, or have gone (P7)."""
    kind, made = REMOVED if done else TO_BE_REMOVED, made or "made before the erasure"
    text = f"what was {made} is gone" if done else made
    return FindingPredicate(plan=plan, kind=kind, where=copy, count=things, text=text)


def removed(log: Iterable[Recorded]) -> tuple[str, ...]:
    """The copies that went by our hand, as far as the log tells: what was announced is gone, or the run broke off.

    Not those of which something couldn't be removed: after that, a last announcement of 0 things is in the log.
    """
    return tuple(copy for copy, ours in _removals(log) if ours)


def left_over(log: Iterable[Recorded]) -> tuple[str, ...]:
    """The copies of which something was to go and couldn't, by the last word of the log on them."""
    return tuple(copy for copy, ours in _removals(log) if not ours)


def _removals(log: Iterable[Recorded]) -> Iterable[tuple[str, bool]]:
    last: dict[str, bool] = {}
    for one in (recorded.predicate for recorded in log):
        if isinstance(one, FindingPredicate) and one.kind in {TO_BE_REMOVED, REMOVED}:
            last[one.where] = one.kind == REMOVED or one.count > 0
    return last.items()


def transfer_statements(
    plan: str, home: Home, slices: Sequence[Slice], measures: Mapping[SliceId, Measure]
) -> Iterator[TransferPredicate]:
    """State what was copied home, a statement a dataset."""
    private = [piece for piece in slices if piece.form in STATED]
    for dataset in dict.fromkeys(piece.dataset for piece in private):
        moved = tuple(
            MovedSlice(
                id=piece.id,
                rows=measures[piece.id].rows,
                bytes=measures[piece.id].bytes,
                digest=measures[piece.id].digest,
            )
            for piece in private
            if piece.dataset == dataset
        )
        yield TransferPredicate(plan=plan, home=home, dataset=dataset, slices=moved)


def cohort_statement(plan: str, cohort: Cohort) -> CohortPredicate:
    """State that a cohort went home or back; one that was let go went nowhere, and ValueError says so."""
    return CohortPredicate(
        plan=plan,
        number=cohort.number,
        way=Went(cohort.way.value),
        subjects={str(home): count for home, count in cohort.subjects},
        position=cohort.position,
        fenced_at=cohort.fenced_at,
        wait_ms=cohort.wait_ms,
        awaited_ms=cohort.awaited_ms,
        rows=cohort.rows,
    )


def freeze_statement(plan: str, manifest: Manifest, *, position: str, frozen_at: datetime) -> FreezePredicate:
    """State which slices of a live move leave; whole rows that all stay by a rule are in none of them.

    The equality that is stated after it has to be of these slices and no others.
    """
    leaving = (piece for piece in manifest.slices if piece.form is not Form.SKELETON and piece.leaves)
    return FreezePredicate(
        plan=plan, position=position, frozen_at=frozen_at, slices=tuple(_planned(piece) for piece in leaving)
    )


def cutover_statement(plan: str, fence: Fence) -> CutoverPredicate:
    """State since when and where writes are refused."""
    return CutoverPredicate(
        plan=plan,
        position=fence.position,
        fenced_at=fence.fenced_at,
        subjects={str(home): count for home, count in fence.subjects},
        fence=FENCE_TEXT,
    )


def equality_statement(plan: str, equality: Equality) -> EqualityPredicate:
    """State what was read on both sides of every whole slice."""
    pairs = equality.private
    return EqualityPredicate(
        plan=plan,
        position=equality.position,
        fenced=equality.fenced,
        slices=tuple(
            ComparedSlice(id=pair.slice.id, rows=pair.source.rows, source=pair.source.digest, home=pair.home.digest)
            for pair in pairs
        ),
        differences=sum(not pair.equal or pair.is_other for pair in pairs),
        strays=sum(count for _, _, count in equality.strays),
    )


def clearance_statement(
    plan: str, equality_sha256: str, approvals: Sequence[str], restores: Sequence[Restore], slices: Sequence[str]
) -> ClearancePredicate:
    """State what permits the erasure of which slices."""
    homes = {
        str(restore.home): RestoredHome(
            slices=tuple(RestoredSlice(id=m.slice, rows=m.rows, digest=m.digest) for m in restore.measures)
        )
        for restore in restores
    }
    methods = dict.fromkeys(restore.method for restore in restores)
    report = RestoreReport(done_at=max(restore.done_at for restore in restores), method="; ".join(methods), homes=homes)
    return ClearancePredicate(
        plan=plan, equality=equality_sha256, approvals=tuple(approvals), restore=report, slices=tuple(slices)
    )


def erasure_intent(  # noqa: PLR0913 - all that is announced
    plan: str, clearance: Clearance, dataset: str, home: Home, group: Sequence[Slice], *, emptied: Sequence[str] = ()
) -> ErasurePredicate:
    """Announce what is about to be erased (P7)."""
    digests = dict(clearance.digests)
    return ErasurePredicate(
        plan=plan,
        phase=Phase.INTENT,
        clearance=clearance.statement,
        dataset=dataset,
        home=home,
        slices=tuple(
            ErasedSlice(id=piece.id, deleted=piece.delete, blanked=piece.blank, digest=digests[piece.id])
            for piece in group
        ),
        collateral=0,
        emptied=tuple(emptied),
    )


def erasure_outcome(intent: ErasurePredicate, done: Sequence[Erased]) -> ErasurePredicate:
    """Report what was erased (P7)."""
    slices = tuple(
        ErasedSlice(id=item.slice, deleted=item.deleted, blanked=item.blanked, digest=item.digest) for item in done
    )
    return replace(intent, phase=Phase.OUTCOME, slices=slices)


def told_erased(log: Iterable[Recorded]) -> frozenset[SliceId]:
    """The slices of which the log tells what was erased: none of them is announced once more (check 16)."""
    return frozenset(
        SliceId(piece.id)
        for one in log
        if isinstance(one.predicate, ErasurePredicate) and one.predicate.phase is Phase.OUTCOME
        for piece in one.predicate.slices
    )


def _planned(piece: Slice) -> PlannedSlice:
    return PlannedSlice(
        id=piece.id,
        dataset=piece.dataset,
        home=piece.home,
        rows=piece.rows,
        erase=EraseCounts(delete=piece.delete, blank=piece.blank),
    )
