"""P9: receipts over a change of the log's key, each held against policies of before and after it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domicile.evidence.bundle import lines_before, trust_policy
from domicile.evidence.tlog.proof import parse_proof
from domicile.run import receipting
from domicile_audit.papers.paper import check
from domicile_audit.papers.receipt import as_json, as_text
from domicile_audit.trust.policy import Policy, read_policy
from tests.receipts.conftest import Tell, everybody
from tests.vectors import make, rotations, successions
from tests.vectors import receipts as r
from tests.vectors import scenario as s

FOLDER = Path(make.__file__).parent / "papers"
POLICIES = sorted(successions.policies())


def paper(kind: str, name: str) -> bytes:
    return (FOLDER / kind / f"{name}.tlog-proof").read_bytes()


def policy(name: str) -> Policy:
    return read_policy((FOLDER / "policies" / f"{name}.txt").read_bytes())


@pytest.mark.parametrize("name", successions.GOOD)
def test_p9_a_receipt_is_checkable_with_every_policy_whose_key_the_log_leads_from(name: str) -> None:
    accepting = successions.GOOD[name][1]
    data = paper("good", name)
    answers = {one: check(data, policy(one)) for one in POLICIES}
    assert sorted(accepting) == [one for one in POLICIES if answers[one].accepted], answers
    assert all(4 == answers[one].check for one in POLICIES if not answers[one].accepted)
    assert check(data).accepted, "without a policy its keys are its own"


@pytest.mark.parametrize("name", successions.BAD)
def test_p9_a_receipt_of_a_bad_succession_is_refused_for_its_own_reason(name: str) -> None:
    bad = successions.BAD[name]
    answer = check(paper("bad", name), policy(bad.policy))
    assert (False, bad.check) == (answer.accepted, answer.check), answer.reason
    assert bad.reason in answer.reason


def test_p11_a_thief_of_the_first_key_convinces_whoever_still_trusts_it_and_nobody_else() -> None:
    """Backdated, under a head that the true log never had: only a policy that names heads, or another key, sees it."""
    for name in ("old-head-of-another-story", "old-head-of-another-size", "old-key-goes-on-alone"):
        data = paper("bad", name)
        assert ["first", "three"] == [one for one in POLICIES if check(data, policy(one)).accepted]


def test_p9_one_flipped_byte_of_a_succession_is_refused_wherever_it_is() -> None:
    data = paper("good", "lost")
    for place in range(0, len(data), 97):
        assert not check(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], policy("first")).accepted


def test_a_person_reads_whose_key_stated_and_what_a_lost_one_leaves_open() -> None:
    said = as_text(check(paper("good", "twice"), policy("first")))
    keys = [key.verifier.keyid for key in (successions.FIRST, successions.SECOND, successions.THIRD)]
    assert f"Stated by        {keys[2]}" in said
    assert f"{keys[0]} handed the log on to {keys[1]}" in said
    assert f"{keys[1]} handed the log on to {keys[2]}" in said
    alone = json.loads(as_json(check(paper("good", "lost"))))
    assert any("nobody's votes are known" in line for line in alone["not_proven"])
    trusting = json.loads(as_json(check(paper("good", "lost"), policy("first"))))
    assert any("2 approvers of your policy called it lost" in line for line in trusting["proven"])
    assert [keys[0], keys[1]] == [line.split("+A")[0] for line in trusting["log_keys"]]


def test_p9_what_a_run_writes_and_prints_after_its_key_changed_is_accepted(tell: Tell) -> None:
    """The engine's own receipts and policies, of a real log: each receipt with each policy."""
    told = tell(r.at_once(), everybody())
    rule = s.plan().approvals
    of_then = trust_policy(told.record.ledger.log.verifier, rule)
    given_before = receipting.receipt(told.record, "7")
    assert [] == lines_before(told.record.ledger)

    ledger = told.record.ledger
    change = rotations.change(None, s.ENGINE, successions.SECOND, what="rotated", stands=ledger.size)
    played = {str(index): ledger.sealed(index) for index in range(ledger.size)}
    ledger.admit_change([s.Script((s.Line("x", lambda _: change(played)),)).play()["x"].envelope], successions.SECOND)
    told.record.state(s.certificate())
    given_after = receipting.receipt(told.record, "7")
    of_now = trust_policy(ledger.log.verifier, ledger.approvers(), before=lines_before(ledger))
    for data in (given_before, given_after):
        for text in (of_then, of_now):
            answer = check(data, read_policy(text.encode()))
            assert answer.accepted, answer.reason
    formats = [json.loads(parse_proof(data).extra or b"")["format"] for data in (given_before, given_after)]
    assert ["urn:domicile:receipt/v1", "urn:domicile:receipt/v2"] == formats


RIGHT = successions.policies()["second"]
BEFORE = next(line for line in RIGHT.splitlines() if line.startswith("before "))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (BEFORE.replace(" 19 ", " 019 "), "not a line this version reads"),
        (BEFORE.replace(" 19 ", " 0 "), "not a line this version reads"),
        (BEFORE + " x", "not a line this version reads"),
        (BEFORE.rpartition(" ")[0] + f" {'A' * 44}", "root has 32 bytes"),
        (BEFORE[:-2] + "==", "is not base64|another spelling"),
        (BEFORE.replace("before homecoming", "before omecoming"), "do not belong together"),
        (BEFORE.replace(successions.FIRST.verifier.vkey, successions.SECOND.verifier.vkey), "a key stands there twice"),
    ],
)
def test_p9_a_line_about_a_head_of_before_is_read_strictly(line: str, reason: str) -> None:
    assert read_policy(RIGHT.encode()).before
    with pytest.raises(ValueError, match=reason):
        read_policy(RIGHT.replace(BEFORE, line).encode())
