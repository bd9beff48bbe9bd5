"""Logs that the checker accepts, made for measuring: one that says nothing much, and a whole move.

All of it is made up, but in the shapes and lengths of a run's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from domicile.evidence.keys import Signer
from domicile.evidence.ledger import Ledger
from domicile.evidence.predicates import (
    ApprovalPredicate,
    ApprovalRule,
    ApproverKey,
    CertificatePredicate,
    ClearancePredicate,
    ComparedSlice,
    Counts,
    CutoverPredicate,
    EqualityPredicate,
    EraseCounts,
    ErasedSlice,
    ErasurePredicate,
    FindingPredicate,
    JudgedCopy,
    MovedSlice,
    Phase,
    Place,
    PlannedCopy,
    PlannedSlice,
    PlanPredicate,
    Predicate,
    RestoredHome,
    RestoredSlice,
    RestoreReport,
    Scope,
    SweepPredicate,
    SweptCopy,
    SweptRows,
    SweptTokens,
    TransferPredicate,
)
from domicile.evidence.statement import seal
from domicile.proof import Verdict

PLAN_FILE: Final = b"{}\n"
PLAN: Final = hashlib.sha256(PLAN_FILE).hexdigest()
APPROVER: Final = Signer(name="bench.example/approver", seed=hashlib.sha256(b"approver").digest())
WHEN: Final = datetime(2026, 11, 22, 10, tzinfo=UTC)
COPY: Final = "app/live"
HOME: Final = "ca"
SLICES: Final = 4
"""Slices of each dataset."""
ROWS: Final = 1_000
"""Rows of each slice, all of which are deleted."""
OF_A_DATASET: Final = 3
"""Statements that each dataset of a move adds: its transfer, the announcement of its erasure, and the outcome."""


def findings(count: int) -> list[Predicate]:
    """Statements of the length that most have."""
    return [
        FindingPredicate(plan=PLAN, kind="bench", where=f"app.public.table_{number}", count=number, text="t" * 200)
        for number in range(count)
    ]


def quiet(count: int) -> list[Predicate]:
    """A plan of one copy, findings, and a certificate that calls it present."""
    return [plan_of(()), *findings(count - 2), certificate(Verdict.PRESENT, {})]


def record_move(ledger: Ledger, datasets: int) -> None:
    """A move of so many datasets, from the plan to the certificate, with its approval."""
    slices = [(f"table_{number}/{part}", f"app.public.table_{number}") for number in range(datasets)
              for part in range(SLICES)]  # fmt: skip
    ids, names = [id_ for id_, _ in slices], list(dict.fromkeys(dataset for _, dataset in slices))
    of = {name: ids[SLICES * at : SLICES * (at + 1)] for at, name in enumerate(names)}
    erased = EraseCounts(delete=ROWS, blank=0)
    planned = tuple(PlannedSlice(id=id_, dataset=name, home=HOME, rows=ROWS, erase=erased) for id_, name in slices)
    fenced = EqualityPredicate(
        plan=PLAN, position="0/16B3800", fenced=True, differences=0, strays=0,
        slices=tuple(ComparedSlice(id=id_, rows=ROWS, source=digest(id_), home=digest(id_)) for id_ in ids),
    )  # fmt: skip
    cutover = CutoverPredicate(
        plan=PLAN, position="0/16B3748", fenced_at=WHEN, subjects={HOME: ROWS}, fence="guard in the database"
    )
    *_, equality = ledger.record_all(
        [plan_of(planned), *(_transfer(name, of[name]) for name in names), cutover, fenced]
    )
    approval = ApprovalPredicate(
        plan=PLAN, approver="approver", role="approver", scope=Scope.ERASE, equality=equality.sha256, approved_at=WHEN,
        stands=ledger.size, root=ledger.log.root.hex(),
    )  # fmt: skip
    approved = ledger.admit(seal(approval, APPROVER).envelope)
    restored = RestoredHome(slices=tuple(RestoredSlice(id=id_, rows=ROWS, digest=digest(id_)) for id_ in ids))
    clearance = ledger.record(
        ClearancePredicate(
            plan=PLAN, equality=equality.sha256, approvals=(approved.sha256,), slices=tuple(ids),
            restore=RestoreReport(done_at=WHEN, method="pg_dump and restore", homes={HOME: restored}),
        )
    )  # fmt: skip
    counts = {name: {HOME: Counts(moved=ROWS * SLICES, deleted=ROWS * SLICES, blanked=0, kept=0)} for name in names}
    ledger.record_all([
        *(one for name in names for one in _erasures(clearance.sha256, name, of[name])), _sweep(datasets),
        certificate(Verdict.ERASED_VERIFIED, counts),
    ])  # fmt: skip


def digest(what: str) -> str:
    """A digest as long as any."""
    return hashlib.sha256(what.encode()).hexdigest()


def plan_of(slices: tuple[PlannedSlice, ...]) -> PlanPredicate:
    """The plan of these slices and of one copy."""
    return PlanPredicate(
        plan=PLAN, programme="bench", engine="0", config_sha256=PLAN, made_at=WHEN, deadline=None, homes={"CA": HOME},
        locations={HOME: Place(country="CA", operator="Home"), "sg": Place(country="SG", operator="Origin")},
        approvals=ApprovalRule(threshold=1, of=(ApproverKey(name="approver", vkey=APPROVER.verifier.vkey),)),
        slices=slices, not_proven=(),
        copies=(PlannedCopy(id=COPY, store="app", location="sg", kind="live-rows", dataset=None, method="delete"),),
    )  # fmt: skip


def _transfer(dataset: str, ids: list[str]) -> TransferPredicate:
    slices = tuple(MovedSlice(id=id_, rows=ROWS, bytes=ROWS * 100, digest=digest(f"stream {id_}")) for id_ in ids)
    return TransferPredicate(plan=PLAN, home=HOME, dataset=dataset, slices=slices)


def _erasures(clearance: str, dataset: str, ids: list[str]) -> Iterator[ErasurePredicate]:
    slices = tuple(ErasedSlice(id=id_, deleted=ROWS, blanked=0, digest=digest(id_)) for id_ in ids)
    for phase in (Phase.INTENT, Phase.OUTCOME):
        yield ErasurePredicate(
            plan=PLAN, phase=phase, clearance=clearance, dataset=dataset, home=HOME, slices=slices, collateral=0,
            emptied=(),
        )  # fmt: skip


def _sweep(datasets: int) -> SweepPredicate:
    return SweepPredicate(
        plan=PLAN, swept_at=WHEN, tokens=SweptTokens(searched=ROWS, not_searchable=0, canaries=0),
        copies=(SweptCopy(id=COPY, method="bytes", bytes=1_000_000, hits=0, residue=0),),
        rows=SweptRows(datasets=datasets, hits=0),
    )  # fmt: skip


def certificate(
    verdict: Verdict, counts: dict[str, dict[str, Counts]], *, copies: tuple[str, ...] = (COPY,)
) -> CertificatePredicate:
    """The last word on these copies, the same of each."""
    return CertificatePredicate(
        plan=PLAN, verdict=verdict, counts=counts, not_proven=(), issued_at=WHEN,
        copies=tuple(JudgedCopy(id=id_, verdict=verdict, why="searched, and found nothing", until=None)
                     for id_ in copies),
    )  # fmt: skip
