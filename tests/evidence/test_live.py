"""A live move as the engine states, counts and certifies it, and the checker's word on the result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from domicile.certify import certify
from domicile.cutover.cohorts import Cohort, Way
from domicile.errors import EvidenceFault
from domicile.evidence import predicates as p
from domicile.evidence import told
from domicile.evidence.bundle import make_bundle
from domicile.evidence.codec import encode
from domicile.evidence.statement import read_unverified
from domicile.model import DatasetId, Form, Home, Manifest, Slice, SliceId
from domicile.proof import CopyVerdict, Verdict
from domicile.run import stating
from domicile_audit.checklist import audit
from domicile_audit.log.shape import misfit
from domicile_audit.says import SHAPES
from tests.evidence.test_ledger import VERIFIED, played, said
from tests.vectors import live
from tests.vectors import scenario as s

PRESENT = [replace(verdict, verdict=Verdict.PRESENT) for verdict in VERIFIED]


def statements(script: s.Script) -> list[p.Predicate]:
    return [read_unverified(sealed) for sealed in script.play().values()]


def until(name: str) -> list[p.Predicate]:
    """The live run up to this statement, and this one."""
    return statements(s.Script(live.live().lines[: live.live().place(name) + 1]))


def certified(predicates: Sequence[p.Predicate], verdicts: Sequence[CopyVerdict]) -> p.CertificatePredicate:
    return certify(predicates, verdicts, not_proven=(), issued_at=s.at(60))


# -- what the engine states --------------------------------------------------------------------------------------


def cohort(way: Way) -> Cohort:
    return Cohort(
        number=3, way=way, subjects=((Home("us"), 39), (Home("ca"), 9)), fenced_at=s.at(4), position="0/16B3040",
        wait_ms=388, awaited_ms=97, rows=144,
    )  # fmt: skip


def piece(name: str, *, form: Form = Form.WHOLE, rows: int = 10, delete: int = 0, blank: int = 0) -> Slice:
    return Slice(
        id=SliceId(name), dataset=DatasetId("app.public.messages"), home=Home("us"), part="us", form=form, after=0,
        upto=rows, rows=rows, delete=delete, blank=blank,
    )  # fmt: skip


def manifest(*slices: Slice) -> Manifest:
    return Manifest(subjects=((Home("us"), 40),), slices=slices, tallies=(), findings=())


@pytest.mark.parametrize("way", [Way.HOME, Way.SOURCE])
def test_a_cohort_is_stated_as_it_went(way: Way) -> None:
    stated = stating.cohort_statement(s.PLAN, cohort(way))
    assert misfit(json.loads(encode(stated)), SHAPES["cohort/v1"]) is None
    assert json.loads(encode(stated)) == {
        "plan": s.PLAN, "number": 3, "way": way.value, "subjects": {"us": 39, "ca": 9}, "position": "0/16B3040",
        "fenced_at": "2026-11-22T10:04:00Z", "wait_ms": 388, "awaited_ms": 97, "rows": 144,
    }  # fmt: skip


def test_a_cohort_that_was_let_go_went_nowhere_and_is_not_stated() -> None:
    with pytest.raises(ValueError, match="released"):
        stating.cohort_statement(s.PLAN, cohort(Way.RELEASED))


def test_a_freeze_states_whole_slices_of_which_rows_leave_and_no_others() -> None:
    frozen = manifest(
        piece("deleted", delete=8), piece("blanked", blank=10), piece("stays"),
        piece("skeleton", form=Form.SKELETON, delete=10),
    )  # fmt: skip
    stated = stating.freeze_statement(s.PLAN, frozen, position="0/1", frozen_at=s.at(9))
    assert misfit(json.loads(encode(stated)), SHAPES["freeze/v1"]) is None
    assert [("deleted", 8, 0), ("blanked", 0, 10)] == [(x.id, x.erase.delete, x.erase.blank) for x in stated.slices]


# -- what still counts -------------------------------------------------------------------------------------------


def test_the_slices_are_those_of_the_last_freeze_else_of_the_plan() -> None:
    assert told.slices_of(statements(s.good())) == s.plan().slices
    assert told.slices_of(until("3 home")) == ()
    assert [live.FIRST_ID] == [one.id for one in told.slices_of(until("first equality"))]
    assert told.slices_of(until("freeze")) == s.plan().slices
    assert told.slices_of([]) == ()


def test_a_cohort_and_a_freeze_void_what_was_stated_before_them() -> None:
    assert told.still_standing(statements(s.good())) == statements(s.good())
    assert told.is_frozen(statements(s.good()))
    assert (True, 2) == (told.is_frozen(until("first equality")), len(told.still_standing(until("first equality"))))
    assert (False, 0) == (told.is_frozen(until("1 source")), len(told.still_standing(until("1 source"))))
    assert (True, 0) == (told.is_frozen(until("freeze")), len(told.still_standing(until("freeze"))))


def test_those_at_home_went_and_did_not_come_back() -> None:
    assert told.people_at_home(statements(s.good())) == {}
    assert told.people_at_home(until("2 home")) == {"us": 6, "ca": 3}
    assert told.people_at_home(until("2 source")) == {"us": 1, "ca": 1}
    assert told.people_at_home(statements(live.live())) == {"us": 40, "ca": 10}


# -- certificate and checker -------------------------------------------------------------------------------------


def test_a_live_run_recorded_certified_and_bundled_is_accepted(tmp_path: Path) -> None:
    ledger = played(tmp_path / "evidence", script=live.live())
    made = certified(said(ledger), VERIFIED)
    assert (Verdict.ERASED_VERIFIED, s.certificate().counts) == (made.verdict, made.counts)
    ledger.record(made)
    report = audit(make_bundle(ledger, plan_file=s.PLAN_FILE, signer=s.ENGINE))
    assert (True, "erased-verified") == (report.accepted, report.verdict), report.reason


def test_p1_an_equality_before_a_rollback_is_not_counted(tmp_path: Path) -> None:
    """119 rows were equal in the first freeze; a cohort that went back has made that void."""
    assert certified(until("first equality"), PRESENT).counts["app.public.messages"]["us"].moved == 119
    ledger = played(tmp_path / "evidence", script=live.live(), upto="1 source")
    made = certified(said(ledger), PRESENT)
    assert made.counts["app.public.messages"]["us"].moved == 0
    ledger.record(made)
    report = audit(make_bundle(ledger, plan_file=s.PLAN_FILE, signer=s.ENGINE))
    assert (True, "present") == (report.accepted, report.verdict), report.reason


def test_p3_nothing_is_called_erased_while_no_slices_are_frozen() -> None:
    swept = [*until("1 source"), replace(s.sweep(), swept_at=s.at(50))]
    for run in (swept, [*until("3 home"), replace(s.sweep(), swept_at=s.at(50))]):
        with pytest.raises(EvidenceFault, match="no slices are frozen"):
            certified(run, VERIFIED)
        assert certified(run, PRESENT).verdict is Verdict.PRESENT


def test_p3_a_sweep_before_the_freeze_verifies_nothing() -> None:
    run = [*until("4 home"), replace(s.sweep(), swept_at=s.at(9)), replace(live.freeze(), slices=())]
    with pytest.raises(EvidenceFault, match="not swept"):
        certified(run, VERIFIED)
