"""Bundles of keys of a cheat's own, which their log hands on to the auditor's trusted ones: these never signed.

A rotation is signed by the old key alone, so anybody can name anybody's public key as the next one.
"""

from __future__ import annotations

from dataclasses import replace

from domicile.evidence import predicates as p
from domicile.evidence.keys import Signer
from tests.vectors import make
from tests.vectors import rotations as r
from tests.vectors import scenario as s
from tests.vectors.scenario import Line, Script

LOG, LOG_2 = (Signer(name=s.ENGINE.name, seed=s.key(f"cheat/{turn}").seed) for turn in (1, 2))
ONE, TWO = s.key("cheat.example/one"), s.key("cheat.example/two")
RULE = p.ApprovalRule(
    threshold=2,
    of=tuple(
        p.ApproverKey(name=name, vkey=key.verifier.vkey) for name, key in (("operator", ONE), ("monitor", TWO))
    ),
)  # fmt: skip
APPROVERS: r.Keys = {
    "approver-1": ONE, "approver-1-after-1": s.OPERATOR, "approver-2": TWO, "approver-2-after-1": s.MONITOR,
}  # fmt: skip
LAST = "certificate"


def _by_cheats(script: Script, log: Signer) -> Script:
    """The same plan and story, signed by other keys."""
    of = {s.ENGINE: log, s.OPERATOR: ONE, s.MONITOR: TWO}
    script = script.set("plan", approvals=RULE)
    return Script(tuple(replace(line, signer=of[line.signer]) for line in script.lines))


def _hand_approvers_on(script: Script) -> Script:
    """Before the certificate both approvers' keys are handed on to those of the auditor's policy."""
    for who, key, trusted in (("operator", ONE, s.OPERATOR), ("monitor", TWO, s.MONITOR)):
        handed = r.change(who, key, trusted, what="rotated", stands=1)
        script = script.before(LAST, Line(f"{who} hands on", handed, key))
    return script


def _hand_log_on_and_back(script: Script) -> Script:
    """The cheat's log is handed on to the trusted key, which the cheat's approvers then call lost."""
    script = script.before(LAST, Line("log hands on", r.change(None, LOG, s.ENGINE, what="rotated"), LOG))
    lost = r.change(None, s.ENGINE, LOG_2, what="revoked", stands=script.place(LAST))
    script = script.before(LAST, Line("vote 1", lost, ONE), Line("vote 2", lost, TWO))
    return r.later(_hand_approvers_on(script), "vote 2", LOG, LOG_2)


LOG_KEYS: r.Keys = {"log": LOG_2, "log-before-1": LOG, "log-before-2": s.ENGINE}


def bundles() -> dict[str, bytes]:
    """By name; they hold together without a policy, and the policy `right` refuses each."""
    approvals = _hand_approvers_on(_by_cheats(s.good(), s.ENGINE))
    both = _hand_log_on_and_back(_by_cheats(s.good(), LOG))
    votes = _hand_log_on_and_back(_by_cheats(make.stopped_before_the_clearance(), LOG))
    return {
        "approved-by-keys-handed-on-to-trusted-ones": r.bundle(approvals, {"log": s.ENGINE, **APPROVERS}, log=s.ENGINE),
        "all-keys-handed-on-to-trusted-ones": r.bundle(both, {**LOG_KEYS, **APPROVERS}, log=LOG_2),
        "log-key-lost-by-votes-of-keys-handed-on": r.bundle(votes, {**LOG_KEYS, **APPROVERS}, log=LOG_2),
    }
