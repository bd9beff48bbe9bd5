"""Receipts checked by a program in Go that was written from docs/formats-receipts.md (P9)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domicile.evidence.tlog.proof import parse_proof
from domicile_audit.papers.paper import check
from domicile_audit.trust.policy import read_policy
from tests.independent.golang import Refused, Sumdb, build
from tests.vectors import leaves, make, successions

PAPERS = Path(make.__file__).parent / "papers"
POLICIES = {path.stem: path for path in sorted((PAPERS / "policies").glob("*.txt"))}
GOOD = {
    **{name: policies for name, (_, policies) in successions.GOOD.items()},
    **dict.fromkeys(leaves.GOOD, ("first",)),
}
BAD = {**successions.BAD, **leaves.BAD}


@pytest.fixture(scope="module")
def go() -> Sumdb:
    return build()


def paper(kind: str, name: str) -> bytes:
    return (PAPERS / kind / f"{name}.tlog-proof").read_bytes()


def refused(go: Sumdb, data: bytes, *policy: Path) -> str:
    """At which check Go refuses, and why; empty where it doesn't."""
    try:
        go("receipt", *policy, given=data)
    except Refused as refusal:
        return str(refusal)
    return ""


@pytest.mark.parametrize("name", GOOD)
def test_p9_go_opens_the_leaf_of_every_good_receipt_and_says_the_same_of_its_person(go: Sumdb, name: str) -> None:
    data = paper("good", name)
    person = json.loads(parse_proof(data).extra or b"")["person"]
    for policy in ((), *((POLICIES[one],) for one in GOOD[name])):
        assert person == json.loads(go("receipt", *policy, given=data))


@pytest.mark.parametrize("name", BAD)
def test_p9_go_refuses_every_bad_receipt_at_its_check(go: Sumdb, name: str) -> None:
    assert refused(go, paper("bad", name), POLICIES[BAD[name].policy]).startswith(f"check {BAD[name].check}: ")


def test_p9_both_checkers_answer_alike_for_every_receipt_and_every_policy(go: Sumdb) -> None:
    for path in sorted(PAPERS.glob("*/*.tlog-proof")):
        for policy in (None, *POLICIES.values()):
            answer = check(path.read_bytes(), None if policy is None else read_policy(policy.read_bytes()))
            said = refused(go, path.read_bytes(), *([] if policy is None else [policy]))
            assert (answer.accepted or answer.check) == (not said or int(said.split()[1][:-1])), (
                path.stem,
                policy,
                said,
            )


def test_p9_go_refuses_a_receipt_in_which_one_byte_is_another(go: Sumdb) -> None:
    data = paper("good", "given-before")
    for place in range(0, len(data), 67):
        assert refused(go, data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]), place
