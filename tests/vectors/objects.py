"""A run with objects beside the rows, one version of which is locked, and the ways in which it can be told wrongly."""

from __future__ import annotations

import dataclasses
from typing import Any

from domicile.evidence import predicates as p
from domicile.proof import Verdict
from tests.vectors import scenario as s
from tests.vectors.registry import defect, told
from tests.vectors.scenario import Line, Script, good

replace = dataclasses.replace
ID = "media/us/objects"
ROWS, GONE = 9, 8
COPIES = {"media/objects": "objects", "media/locked-versions": "locked-versions"}
INTENT, OUTCOME = "objects intent", "objects outcome"


def _plan() -> p.PlanPredicate:
    planned = p.PlannedSlice(
        id=ID, dataset="media", home="us", rows=ROWS, erase=p.EraseCounts(delete=ROWS, blank=0)
    )  # fmt: skip
    copies = tuple(
        p.PlannedCopy(id=id_, store="media", location="sg", kind=kind, dataset="media", method="one by one")
        for id_, kind in COPIES.items()
    )
    return replace(s.plan(), slices=(*s.plan().slices, planned), copies=(*s.plan().copies, *copies))


def _transfer() -> p.TransferPredicate:
    moved = p.MovedSlice(id=ID, rows=ROWS, bytes=900, digest=s.digest(f"stream {ID}"))
    return p.TransferPredicate(plan=s.PLAN, home="us", dataset="media", slices=(moved,))


def _equality() -> p.EqualityPredicate:
    rows = s.equality(fenced=True)
    return replace(rows, slices=(*rows.slices, _compared()))


def _compared() -> p.ComparedSlice:
    return p.ComparedSlice(id=ID, rows=ROWS, source=s.digest(ID), home=s.digest(ID))


def _erasure(phase: p.Phase, deleted: int) -> s.Maker:
    def make(play: s.Play) -> p.ErasurePredicate:
        part = p.ErasedSlice(id=ID, deleted=deleted, blanked=0, digest=s.digest(ID))
        return p.ErasurePredicate(
            plan=s.PLAN, phase=phase, clearance=play["clearance"].sha256, dataset="media", home="us", slices=(part,),
            collateral=0, emptied=(),
        )  # fmt: skip

    return make


def certified(locked: Verdict = Verdict.BLOCKED_UNTIL, gone: int = GONE) -> p.CertificatePredicate:
    """The certificate, with a verdict of what is locked, and how many versions went."""
    rows = s.certificate()
    until = s.at(9_999) if locked is Verdict.BLOCKED_UNTIL else None
    judged = (
        p.JudgedCopy(id="media/objects", verdict=Verdict.ERASED_VERIFIED, why="none is there", until=None),
        p.JudgedCopy(id="media/locked-versions", verdict=locked, why="by a lock", until=until),
    )
    counts = {**rows.counts, "media": {"us": p.Counts(moved=ROWS, deleted=gone, blanked=0, kept=ROWS - gone)}}
    verdict = rows.verdict if locked is Verdict.ERASED_VERIFIED else locked
    return replace(rows, verdict=verdict, copies=(*rows.copies, *judged), counts=counts)


def objects() -> Script:
    """The run as it should be: one version stays until its day."""
    swept = tuple(p.SweptCopy(id=id_, method="objects", bytes=100, hits=0, residue=0) for id_ in COPIES)
    return (
        good()
        .signed("plan", Line("plan", lambda _: _plan()))
        .before("cutover", Line("transfer media", lambda _: _transfer()))
        .signed("equality", Line("equality", lambda _: _equality()))
        .bent("clearance", lambda made: replace(made, slices=(*_slices(made), ID)))
        .before("sweep", Line(INTENT, _erasure(p.Phase.INTENT, ROWS)), Line(OUTCOME, _erasure(p.Phase.OUTCOME, GONE)))
        .bent("sweep", lambda made: replace(made, copies=(*_copies(made), *swept)))
        .signed("certificate", Line("certificate", lambda _: certified()))
    )


def lock_is_over(later: int = ROWS) -> Script:
    """The same once more, when the lock's day had come: what it kept went by a later outcome."""
    locked = Verdict.ERASED_VERIFIED if later == ROWS else Verdict.BLOCKED_UNTIL
    return (
        objects()
        .before("sweep", Line("objects later", _erasure(p.Phase.OUTCOME, later)))
        .signed("certificate", Line("certificate", lambda _: certified(locked, gone=later)))
    )


def _slices(made: Any) -> tuple[str, ...]:
    return tuple(made.slices)


def _copies(made: Any) -> tuple[p.SweptCopy, ...]:
    return tuple(made.copies)


# ------------------------------------------------------------------------------------------- 10 to 13
told(
    "objects-of-a-table",
    10,
    "bears another dataset",
    lambda: (
        objects()
        .set("plan", copies=tuple(replace(c, dataset="app.public.messages") for c in _plan().copies))
        .set("clearance", restore=p.RestoreReport(done_at=s.at(30), method="none", homes={}))
    ),
)
told(
    "objects-of-a-store-named-like-a-table",
    10,
    "a dot in its name",
    lambda: objects().set(
        "plan",
        copies=(
            *_plan().copies,
            replace(_plan().copies[-1], id="a/b", kind="objects", store="app.media", dataset="app.media"),
        ),
    ),
)
told("objects-never-transferred", 11, "was not transferred whole", lambda: objects().without("transfer media"))
told(
    "objects-never-compared",
    13,
    "does not compare",
    lambda: objects().set("equality", slices=s.equality(fenced=True).slices),
)
told(
    "objects-that-differ-at-home",
    13,
    "not the same at home",
    lambda: objects().set(
        "equality", slices=(*s.equality(fenced=True).slices, replace(_compared(), home=s.digest("other")))
    ),
)


# ------------------------------------------------------------------------------------------- 16 order, 19 what is left
told("objects-told-again-with-the-same", 16, "erased twice", lambda: lock_is_over(GONE))
told("objects-told-again-with-fewer", 16, "erased twice", lambda: lock_is_over(GONE - 1))


@defect("objects-erased-before-the-clearance", 16, "does not stand before it")
def _() -> bytes:
    clearance = objects().play()["clearance"]

    def early(make: s.Maker) -> s.Maker:
        return lambda play: make({**play, "clearance": clearance})

    lines = {line.name: line for line in objects().lines}
    moved = [replace(lines[name], make=early(lines[name].make)) for name in (INTENT, OUTCOME)]
    return s.bundle_of(objects().without(INTENT, OUTCOME).before("clearance", *moved))


told("objects-erased-unannounced", 16, "was not announced", lambda: objects().without(INTENT))
told(
    "objects-erased-uncleared",
    16,
    "was not cleared",
    lambda: objects().set("clearance", slices=tuple(s.SLICES)),
)
told(
    "objects-erased-beyond-the-plan",
    16,
    "more was erased than announced",
    lambda: objects().set(OUTCOME, slices=(p.ErasedSlice(id=ID, deleted=ROWS + 1, blanked=0, digest=s.digest(ID)),)),
)
told(
    "objects-left-and-no-copy-says-so",
    19,
    "no copy of media",
    lambda: objects().signed("certificate", Line("certificate", lambda _: certified(Verdict.ERASED_VERIFIED))),
)


def _not_blanked() -> Script:
    """One version was to be blanked, and stayed as it was."""
    plan = _plan()
    planned = replace(plan.slices[-1], erase=p.EraseCounts(delete=GONE, blank=ROWS - GONE))
    return (
        objects()
        .signed("plan", Line("plan", lambda _: replace(plan, slices=(*plan.slices[:-1], planned))))
        .signed(INTENT, Line(INTENT, _erasure(p.Phase.INTENT, GONE)))
        .signed("certificate", Line("certificate", lambda _: certified(Verdict.ERASED_VERIFIED)))
    )


told("objects-not-blanked-and-no-copy-says-so", 19, "no copy of media", _not_blanked)
