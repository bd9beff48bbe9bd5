"""P9: golden receipts with one defect of the file, the statements or the leaf, and good ones of unusual people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domicile.evidence.tlog.proof import parse_proof
from domicile_audit.papers.paper import CHECKS, check
from domicile_audit.papers.receipt import as_text
from domicile_audit.trust.policy import read_policy
from tests.vectors import leaves, make, successions

PAPERS = Path(make.__file__).parent / "papers"


def paper(kind: str, name: str) -> bytes:
    return (PAPERS / kind / f"{name}.tlog-proof").read_bytes()


FIRST = read_policy((PAPERS / "policies" / "first.txt").read_bytes())


@pytest.mark.parametrize("name", leaves.GOOD)
def test_p9_a_receipt_of_an_unusual_person_is_accepted(name: str) -> None:
    answer = check(paper("good", name), FIRST)
    assert answer.accepted, answer.reason
    assert all(line.isprintable() for line in as_text(answer).split("\n")), "a terminal obeys no person's key"
    assert json.loads(parse_proof(paper("good", name)).extra or b"")["person"] == answer.paper.person


@pytest.mark.parametrize("name", leaves.BAD)
def test_p9_a_receipt_with_one_defect_is_refused_for_its_own_reason(name: str) -> None:
    bad = leaves.BAD[name]
    answer = check(paper("bad", name), FIRST)
    assert (False, bad.check) == (answer.accepted, answer.check), answer.reason
    assert bad.reason in answer.reason


def test_each_check_of_a_receipt_has_a_bad_one() -> None:
    every = (*leaves.BAD.values(), *successions.BAD.values())
    assert set(range(1, len(CHECKS) + 1)) == {bad.check for bad in every}
    assert not leaves.BAD.keys() & successions.BAD.keys()
    assert not leaves.GOOD.keys() & successions.GOOD.keys()
