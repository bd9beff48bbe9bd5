"""What each kind of statement comes to, and which clauses that supports: presence in the log is not enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from domicile.evidence import predicates as p
from domicile.exports.evidence import Evidence
from domicile.exports.holding import SUPPORTING, holdings
from domicile.exports.packs import Clause, Pack, SupportedBy, choose
from domicile.exports.support import Reason, State, Support, supports
from domicile.proof import Verdict
from tests.exports import made
from tests.vectors import bad_stories, live, objects, rotations
from tests.vectors import scenario as s
from tests.vectors.scenario import Script

AT_ONCE = {"transfer/v1"}
LIVE = {"cohort/v1", "freeze/v1"}
US1 = "app.public.messages us"


def holding(script: Script, folder: Path) -> set[str]:
    """The kinds that hold."""
    found = holdings(made.evidence_of(script, folder, unfinished=True))
    assert set(SUPPORTING) == set(found)
    return {kind for kind, one in found.items() if one.holds}


def test_a_good_run_of_either_form_has_all_kinds_but_the_others(tmp_path: Path) -> None:
    assert set(SUPPORTING) - LIVE == holding(s.good(), tmp_path / "at once")
    assert set(SUPPORTING) - AT_ONCE == holding(live.live(), tmp_path / "live")
    assert set(SUPPORTING) - LIVE == holding(rotations.stolen(), tmp_path / "approved again")


def test_a_kind_names_its_statements(tmp_path: Path) -> None:
    names = s.good().names()
    found = {kind: one.statements for kind, one in holdings(made.evidence_of(s.good(), tmp_path / "log")).items()}
    assert (names.index("equality"),) == found["equality/v1"]
    assert (names.index("approval operator"), names.index("approval monitor")) == found["approval/v1"]
    assert 6 == len(found["erasure/v1"])
    assert () == found["cohort/v1"]


def _slice(change: Callable[[Any], Any]) -> Callable[[p.Predicate], p.Predicate]:
    """Bend the first slice of a statement."""
    return lambda said: replace(said, slices=(change(said.slices[0]), *said.slices[1:]))  # type: ignore[attr-defined, call-arg]


def _without_first(said: Any) -> Any:
    return replace(said, slices=said.slices[1:])


def _restore(said: Any) -> Any:
    return replace(said, restore=replace(said.restore, homes={"us": said.restore.homes["us"]}))


def _restored_other(said: Any) -> Any:
    us = said.restore.homes["us"]
    bent = replace(us, slices=(replace(us.slices[0], digest=s.digest("other")), *us.slices[1:]))
    return replace(said, restore=replace(said.restore, homes={**said.restore.homes, "us": bent}))


def _residue(said: Any) -> Any:
    return replace(said, copies=(replace(said.copies[0], hits=1, residue=1), *said.copies[1:]))


FROM_EQUALITY = {"equality/v1", "approval/v1", "clearance/v1", "erasure/v1", "certificate/v1"}
FROM_APPROVAL = FROM_EQUALITY - {"equality/v1", "certificate/v1"}
FROM_ERASURE = {"erasure/v1", "certificate/v1"}
LACKS: dict[str, tuple[Script, set[str]]] = {
    "a slice not copied": (s.good().without(f"transfer {US1}"), {"transfer/v1"}),
    "no fence": (s.good().without("cutover"), {"cutover/v1"}),
    "an equality without a fence": (s.good().set("equality", fenced=False), FROM_EQUALITY),
    "a difference": (s.good().set("equality", differences=1), FROM_EQUALITY - {"certificate/v1"}),
    "a stray": (s.good().set("equality", strays=1), FROM_EQUALITY - {"certificate/v1"}),
    "another digest at home": (
        s.good().bent("equality", _slice(lambda one: replace(one, home=s.digest("x")))), FROM_EQUALITY
    ),
    "a row too few": (s.good().bent("equality", _slice(lambda one: replace(one, rows=119))), FROM_EQUALITY),
    "a slice not compared": (s.good().bent("equality", _without_first), FROM_EQUALITY),
    "approvals that the clearance does not name": (s.good().set("clearance", approvals=()), FROM_APPROVAL),
    "one approval": (
        s.good().signed("clearance", s.Line("clearance", lambda play: s.clearance(play, ("approval operator",)))),
        FROM_APPROVAL,
    ),
    "an approval of another equality": (
        s.good().signed(
            "approval monitor",
            s.Line("approval monitor", s.approval("monitor", "monitor", of="early equality"), s.MONITOR),
        ),
        FROM_APPROVAL,
    ),
    "an approval by a key that was lost by then": (rotations.stolen(clears=rotations.APPROVED), FROM_APPROVAL),
    "an approval after the clearance": (bad_stories._late(), FROM_APPROVAL),
    "a clearance of another equality": (s.good().set("clearance", equality=s.digest("another")), FROM_APPROVAL),
    "a home not restored": (s.good().bent("clearance", _restore), FROM_APPROVAL),
    "other rows restored": (s.good().bent("clearance", _restored_other), FROM_APPROVAL),
    "a slice not cleared": (s.good().bent("clearance", _without_first), {"clearance/v1"}),
    "an erasure that nobody announced": (s.good().without(f"intent {US1}"), {"erasure/v1"}),
    "an erasure announced afterwards": (s.good().swapped(f"intent {US1}", f"outcome {US1}"), {"erasure/v1"}),
    "an erasure that is not over": (s.good().without(f"outcome {US1}"), FROM_ERASURE),
    "rows beside": (s.good().set(f"outcome {US1}", collateral=1), {"erasure/v1"}),
    "a row too few erased": (
        s.good().bent(f"outcome {US1}", _slice(lambda one: replace(one, deleted=119))), FROM_ERASURE
    ),
    "an erasure under no clearance": (s.good().set(f"outcome {US1}", clearance=s.digest("none")), {"erasure/v1"}),
    "no sweep": (s.good().without("sweep"), {"sweep/v1", "certificate/v1"}),
    "a sweep before an erasure": (
        s.good().moved("sweep", before=f"outcome {US1}"), {"sweep/v1", "certificate/v1"}
    ),
    "a sweep for nothing": (
        s.good().set("sweep", tokens=p.SweptTokens(searched=0, not_searchable=9, canaries=0)),
        {"sweep/v1", "certificate/v1"},
    ),
    "residue": (s.good().bent("sweep", _residue), {"sweep/v1", "certificate/v1"}),
    "rows found by query": (
        s.good().set("sweep", rows=p.SweptRows(datasets=2, hits=1)), {"sweep/v1", "certificate/v1"}
    ),
    "no certificate": (made.unfinished(), {"certificate/v1"}),
    "a certificate that is not believed": (made.doubtful(), {"certificate/v1"}),
    "a better certificate than its copies": (
        made.judged(Verdict.PRESENT).set("certificate", verdict=Verdict.ERASED_VERIFIED), {"certificate/v1"}
    ),
    "an object that a lock kept": (objects.objects(), {"erasure/v1"}),
}  # fmt: skip


@pytest.mark.parametrize("name", LACKS)
def test_p11_a_kind_does_not_hold_because_it_is_there(name: str, tmp_path: Path) -> None:
    script, lacking = LACKS[name]
    assert lacking == set(SUPPORTING) - LIVE - holding(script, tmp_path / "log")


def test_p11_a_cohort_that_went_back_voids_what_came_before(tmp_path: Path) -> None:
    went = holding(live.not_frozen(), tmp_path / "log")
    assert {"plan/v1"} == went - {"certificate/v1"}


# -- clauses -------------------------------------------------------------------------------------------------------


def clause(statements: tuple[str, ...], *, verdicts: tuple[Verdict, ...] = ()) -> Pack:
    return Pack(
        pack=1, id="made", title="made", version="1", text="made", read=date(2026, 11, 30), source="https://example.org/",
        clauses=(
            Clause(
                id="one", reference="1", says="made", not_shown=("all",),
                supported_by=SupportedBy(statements=statements, verdicts=verdicts),
            ),
        ),
    )  # fmt: skip


def support(evidence: Evidence, pack: Pack) -> Support:
    (found,) = supports(evidence, holdings(evidence), [pack])
    return found


def test_a_clause_is_supported_when_all_that_it_names_holds(tmp_path: Path) -> None:
    evidence = made.evidence_of(s.good(), tmp_path / "log")
    found = support(evidence, clause(("plan/v1", "transfer/v1 or cohort/v1"), verdicts=(Verdict.ERASED_VERIFIED,)))
    assert (State.SATISFIED, ()) == (found.state, found.because)
    assert ("plan/v1", "transfer/v1") == found.kinds
    lacking = support(evidence, clause(("plan/v1", "cohort/v1 or freeze/v1")))
    assert (State.NOT_SATISFIED, Reason.FAIL) == (lacking.state, lacking.reason)
    assert "cohort/v1 does not hold: no cohort went; freeze/v1 does not hold" in lacking.because[0]


def test_p11_a_pack_that_names_key_destroyed_gets_no_better_answer(tmp_path: Path) -> None:
    """The operator's pack may name it; it is told in other words, and it is not satisfied."""
    evidence = made.evidence_of(s.key_destroyed(), tmp_path / "log")
    named = support(evidence, clause(("sweep/v1",), verdicts=(Verdict.KEY_DESTROYED,)))
    unnamed = support(evidence, clause(("sweep/v1",), verdicts=(Verdict.ERASED_VERIFIED,)))
    assert {State.NOT_SATISFIED} == {named.state, unnamed.state}
    assert ("1 of 4 copies: key-destroyed, which the pack names, but which no search can show",) == named.because
    assert ("1 of 4 copies: key-destroyed",) == unnamed.because


def test_p11_without_any_copy_no_verdict_supports(tmp_path: Path) -> None:
    script = made.without_copies()
    found = support(
        made.evidence_of(script, tmp_path / "log"), clause(("plan/v1",), verdicts=(Verdict.ERASED_VERIFIED,))
    )
    assert (State.NOT_SATISFIED, Reason.OTHER) == (found.state, found.reason)


@pytest.mark.parametrize("verdict", list(Verdict)[1:])
def test_p11_every_clause_of_ours_that_names_verdicts_falls_with_one_copy(verdict: Verdict, tmp_path: Path) -> None:
    evidence = made.evidence_of(made.judged(verdict), tmp_path / "log")
    found = supports(evidence, holdings(evidence), [one.pack for one in choose([])])
    fallen = [one for one in found if one.clause.supported_by.verdicts]
    assert len(fallen) >= 4
    assert {State.NOT_SATISFIED} == {one.state for one in fallen}
    assert {State.SATISFIED} == {one.state for one in found if one not in fallen}
