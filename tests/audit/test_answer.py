"""What the answer says beside yes or no: the date, who approved with which key, and what was looked for less."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from domicile.evidence import predicates as p
from domicile.evidence.bundle import pack
from domicile_audit.checklist import audit
from domicile_audit.trust.policy import read_policy
from tests.vectors import make
from tests.vectors import scenario as s

RIGHT = read_policy((Path(make.__file__).parent / "policies" / "right.txt").read_bytes())


def test_the_answer_says_whether_the_fixed_date_was_kept_and_who_approved_with_which_key() -> None:
    for minutes, words in ((60, "is in time"), (60 * 24 * 9, "is in time"), (60 * 24 * 10, "is LATER THAN THAT")):
        told = audit(s.bundle_of(s.good().set("certificate", issued_at=s.at(minutes))), RIGHT).proven
        assert f"it fixes the date 2026-12-01, and the certificate {words}" in told
        by = f"monitor ({s.MONITOR.verifier.keyid}), operator ({s.OPERATOR.verifier.keyid})"
        assert f"the erasure of 3 slices was approved by {by}" in told
    undated = audit(s.bundle_of(s.good().set("plan", deadline=None))).proven
    assert not [line for line in undated if "fixes the date" in line]


def test_p11_an_approver_whom_the_policy_does_not_know_is_named_apart() -> None:
    authority = p.ApproverKey(name="The Authority", vkey=s.STRANGER.verifier.vkey)
    rule = p.ApprovalRule(threshold=2, of=(*s.plan().approvals.of, authority))
    names = ("approval operator", "approval monitor", "approval authority")
    script = (
        s.good()
        .set("plan", approvals=rule)
        .before("clearance", s.Line(names[2], s.approval("The Authority", "authority"), s.STRANGER))
        .signed("clearance", s.Line("clearance", lambda play: s.clearance(play, names)))
    )
    files = s.files_of(script) | {"keys/approver-3.vkey": f"{s.STRANGER.verifier.vkey}\n".encode()}
    [line] = [line for line in audit(pack(files, s.ENGINE), RIGHT).proven if "was approved by" in line]
    known, _, unknown = line.partition("; by keys that your policy doesn't know")
    assert ("monitor" in known, "Authority" in known, "The Authority (stranger" in unknown) == (True, False, True)


def test_a_last_search_for_fewer_values_is_told() -> None:
    tokens = p.SweptTokens(searched=1, not_searchable=0, canaries=0)
    fewer = dataclasses.replace(s.sweep(), tokens=tokens, swept_at=s.at(51))
    report = audit(s.bundle_of(s.good().after("sweep", s.Line("sweep 2", lambda _: fewer))))
    assert [line for line in report.not_proven if "the last search was for 1 values, an earlier one for 200" in line]
