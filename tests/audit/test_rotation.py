"""P2, P9: keys that change hands, as an auditor with a trust policy sees them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from domicile.evidence import predicates as p
from domicile.evidence.bundle import trust_policy
from domicile.evidence.keys import Signer
from domicile.evidence.tlog.merkle import Tree
from domicile_audit.checklist import audit
from domicile_audit.log.tree import merkle_root, root_of_first
from domicile_audit.trust.policy import Policy, read_policy
from tests.vectors import make, rotations
from tests.vectors import scenario as s

GOOD = Path(make.__file__).parent / "good"


def test_p9_the_root_of_a_beginning_is_that_of_the_log_when_it_had_that_size() -> None:
    """Over the edges of tiles of all levels, held against the engine's own tree as it grows."""
    leaves = [hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(65_536 + 257)]
    levels = [leaves]
    while len(levels[-1]) >= 256:
        row = levels[-1]
        levels.append([merkle_root(row[place : place + 256]) for place in range(0, len(row) // 256 * 256, 256)])
    grown, sizes = Tree(), {1, 2, 255, 256, 257, 300, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, 65_793}
    for size, leaf in enumerate(leaves, start=1):
        grown.append(leaf)
        if size in sizes:
            assert grown.root().hex() == root_of_first(size, levels), size


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


def test_p2_two_keys_of_one_person_are_one_trusted_approval() -> None:
    both = policy(s.ENGINE, s.MONITOR, rotations.MONITOR_2)
    assert "1 trusted approvals, the policy wants 2" in (reason("keys-rotated", both) or "")


def test_p2_the_votes_on_a_lost_key_have_to_be_trusted_as_well() -> None:
    """The plan's own number of its own approvers called it lost; whoever asks trusts only one of these."""
    trusted = policy(s.ENGINE, s.OPERATOR, s.MONITOR, s.STRANGER)
    assert "1 trusted approvals, the policy wants 2" in (reason("approver-key-stolen", trusted) or "")
    assert reason("approver-key-stolen", policy(s.ENGINE, s.OPERATOR, s.MONITOR, rotations.COUNSEL)) is None


def test_p11_the_answer_tells_of_every_key_that_changed_and_what_that_leaves_open() -> None:
    report = audit((GOOD / "log-key-lost.zip").read_bytes())
    told = [line for line in report.proven if "was revoked to" in line]
    assert [f"signed by {key.verifier.keyid}" in line for key, line in zip((s.OPERATOR, s.MONITOR), told, strict=True)]
    assert all(f"{s.ENGINE.verifier.keyid} of the log" in line for line in told)
    assert any("a lost key was not used before" in line for line in report.not_proven)
    assert not any("lost key" in line for line in audit((GOOD / "keys-rotated.zip").read_bytes()).not_proven)
