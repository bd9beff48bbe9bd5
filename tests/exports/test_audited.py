"""An export is never better than the auditor's checker: it is asked, and what it refuses satisfies nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from domicile.errors import DomicileError, HostFault
from domicile.exports import audited
from domicile.exports.audited import Audit, ask
from domicile.exports.holding import holdings
from domicile.exports.oscal import assessment_results
from domicile.exports.packs import choose
from tests.exports import made
from tests.exports.test_oscal import states
from tests.vectors import bad_stories, live, make, objects
from tests.vectors import scenario as s
from tests.vectors.registry import DEFECTS

REGISTERED = (bad_stories, live, objects, make)  # importing them fills DEFECTS
SLIPPING = {  # what no rule of `holding` sees, and the checker does
    "transfer-of-less-rows": 11,
    "fence-after-the-equality": 12,
    "erasure-of-other-content": 16,
    "sweep-of-a-copy-twice": 17,
    "restore-before-the-fence": 21,
    "cohort-home-twice": 22,
}


def test_a_good_bundle_is_accepted() -> None:
    assert Audit(accepted=True) == ask(s.bundle_of(s.good()))


@pytest.mark.parametrize("name", SLIPPING)
def test_p11_what_the_checker_refuses_satisfies_nothing(name: str, tmp_path: Path) -> None:
    found = ask(DEFECTS[name].make())
    assert (False, SLIPPING[name]) == (found.accepted, found.refused_at)
    evidence = made.evidence_of(s.good(), tmp_path / "log", audit=found)
    document = json.loads(assessment_results(evidence, choose([])))["assessment-results"]
    assert {"not-satisfied"} == {state for state, _ in states(document["results"][0]).values()}
    assert f"refused at check {found.refused_at}" in document["results"][0]["description"]
    assert not holdings(evidence)["certificate/v1"].holds


def test_p11_a_checker_that_was_not_asked_accepts_nothing(tmp_path: Path) -> None:
    evidence = made.evidence_of(s.good(), tmp_path / "log", audit=None)
    assert ("domicile-audit was not asked",) == evidence.doubts
    assert not evidence.believed


def test_every_checks_number_that_refuses_comes_back() -> None:
    """The slipping ones are of those that golden bundles know, each refused where the registry says."""
    assert {name: DEFECTS[name].check for name in SLIPPING} == SLIPPING


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ((sys.executable, "-c", "print('no answer')"), "gave no answer"),
        ((sys.executable, "-c", "print('[]')"), "gave no answer"),
        (("/nonexistent",), "gave no answer"),
        (
            (sys.executable, "-c", 'print(\'{"accepted": true, "refused_at": null, "reason": ""}\'); exit(1)'),
            "differ",
        ),
    ],
    ids=["no JSON", "no object", "no program", "another exit code"],
)
def test_a_checker_that_does_not_answer_is_a_fault(
    program: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audited, "PROGRAM", program)
    with pytest.raises(HostFault, match=said) as fault:
        ask(b"")
    assert isinstance(fault.value, DomicileError)
