"""P2, P9: keys that change hands, as an auditor with a trust policy sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from domicile.evidence import predicates as p
from domicile.evidence.bundle import trust_policy
from domicile.evidence.keys import Signer
from domicile_audit.checklist import audit
from domicile_audit.policy import Policy, read_policy
from tests.vectors import make, rotations
from tests.vectors import scenario as s

GOOD = Path(make.__file__).parent / "good"


def policy(log: Signer, *approvers: Signer, threshold: int = 2) -> Policy:
    of = tuple(p.ApproverKey(name=key.name, vkey=key.verifier.vkey) for key in approvers)
    return read_policy(trust_policy(log.verifier, p.ApprovalRule(threshold=threshold, of=of)).encode())


def reason(name: str, trusted: Policy) -> str | None:
    return audit((GOOD / f"{name}.zip").read_bytes(), trusted).reason


@pytest.mark.parametrize("log", [s.ENGINE, rotations.ENGINE_2], ids=["first", "present"])
@pytest.mark.parametrize("monitor", [s.MONITOR, rotations.MONITOR_2], ids=["first", "present"])
def test_p9_a_policy_may_name_the_first_key_or_the_present_one(log: Signer, monitor: Signer) -> None:
    assert reason("keys-rotated", policy(log, s.OPERATOR, monitor)) is None


def test_p9_a_policy_that_names_none_of_a_holders_keys_refuses() -> None:
    strange = policy(s.STRANGER, s.OPERATOR, s.MONITOR)
    assert "is not in the trust policy" in (reason("keys-rotated", strange) or "")
    assert "1 trusted approvals" in (reason("keys-rotated", policy(s.ENGINE, s.OPERATOR, s.STRANGER)) or "")


UNTRUSTED = {
    "approved-by-keys-handed-on-to-trusted-ones": (14, "0 trusted approvals, the policy wants 2"),
    "all-keys-handed-on-to-trusted-ones": (14, "0 trusted approvals, the policy wants 2"),
    "log-key-lost-by-votes-of-keys-handed-on": (24, "signed by 0 trusted approvers only"),
}


@pytest.mark.parametrize("name", UNTRUSTED)
def test_p2_a_key_that_was_handed_on_to_a_trusted_one_is_not_trusted_for_it(name: str) -> None:
    """Whoever has no key at all names the trusted ones as their successors: these never signed."""
    data = (GOOD.parent / "untrusted" / f"{name}.zip").read_bytes()
    assert audit(data).accepted, "without a policy the keys are the bundle's own"
    report = audit(data, policy(s.ENGINE, s.OPERATOR, s.MONITOR))
    assert UNTRUSTED[name][0] == report.checks[-1].number
    assert UNTRUSTED[name][1] in (report.reason or "")


def test_p2_every_untrusted_bundle_has_its_reason() -> None:
    assert sorted(UNTRUSTED) == sorted(path.stem for path in (GOOD.parent / "untrusted").glob("*.zip"))


def test_p2_who_trusts_a_persons_next_key_alone_has_no_part_in_what_the_first_one_approved() -> None:
    handed = s.Line("hand on", rotations.change("monitor", s.MONITOR, rotations.MONITOR_2, what="rotated"), s.MONITOR)
    script = s.good().after("clearance", handed)
    keys = {
        "log": s.ENGINE, "approver-1": s.OPERATOR, "approver-2": s.MONITOR, "approver-2-after-1": rotations.MONITOR_2,
    }  # fmt: skip
    data = rotations.bundle(script, keys, log=s.ENGINE)
    assert audit(data, policy(s.ENGINE, s.OPERATOR, s.MONITOR)).accepted
    refused = audit(data, policy(s.ENGINE, s.OPERATOR, rotations.MONITOR_2)).reason or ""
    assert "1 trusted approvals, the policy wants 2" in refused


def test_p2_two_keys_of_one_person_are_one_trusted_approval() -> None:
    both = policy(s.ENGINE, s.MONITOR, rotations.MONITOR_2)
    assert "1 trusted approvals, the policy wants 2" in (reason("keys-rotated", both) or "")


def test_p2_the_votes_on_a_lost_key_have_to_be_trusted_as_well() -> None:
    """The plan's own number of its own approvers called it lost; whoever asks trusts only one of these."""
    trusted = policy(s.ENGINE, s.OPERATOR, s.MONITOR, s.STRANGER)
    assert "signed by 1 trusted approvers only" in (reason("approver-key-stolen", trusted) or "")
    assert reason("approver-key-stolen", policy(s.ENGINE, s.OPERATOR, s.MONITOR, rotations.COUNSEL)) is None


def test_p11_the_answer_tells_of_every_key_that_changed_and_what_that_leaves_open() -> None:
    report = audit((GOOD / "log-key-lost.zip").read_bytes())
    told = [line for line in report.proven if "was revoked to" in line]
    assert [f"signed by {key.verifier.keyid}" in line for key, line in zip((s.OPERATOR, s.MONITOR), told, strict=True)]
    assert all(f"{s.ENGINE.verifier.keyid} of the log" in line for line in told)
    assert any("a lost key was not used before" in line for line in report.not_proven)
    assert not any("lost key" in line for line in audit((GOOD / "keys-rotated.zip").read_bytes()).not_proven)
