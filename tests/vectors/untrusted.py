"""Bundles of people who hold none of the keys that a trust policy names, but put these keys where it looks for them.

Anybody can begin a chain with a key of their own and hand it on to somebody else's, of which only the public half is
needed. All of these are accepted by whoever takes the keys from the bundle itself, as it must be.
"""

from __future__ import annotations

from dataclasses import replace

from domicile.evidence import predicates as p
from domicile.evidence.keys import Signer
from domicile.proof import Verdict
from tests.vectors import rotations as r
from tests.vectors import scenario as s
from tests.vectors.scenario import Line, Script, good

FIRST, LAST = (Signer(name=s.ENGINE.name, seed=s.key(f"posed.example/log/{turn}").seed) for turn in (1, 2))
POSED, POSED_TOO = s.key("operator.posed.example"), s.key("monitor.posed.example")
CHAINS: r.Keys = {
    "approver-1": POSED, "approver-1-after-1": s.OPERATOR, "approver-2": POSED_TOO, "approver-2-after-1": s.MONITOR,
}  # fmt: skip


def bundles() -> dict[str, bytes]:
    """By name; the log's key is true in some, and its holder the cheat."""
    return {
        "approved-by-keys-that-hand-on-to-the-true-ones": _bundle(_handed_on(_posed(good())), s.ENGINE),
        "log-of-nobody-by-way-of-the-true-keys": _bundle(_all_posed(), LAST, FIRST, s.ENGINE),
        "log-key-called-lost-by-keys-that-hand-on-to-the-true-ones": _bundle(_called_lost(), LAST, s.ENGINE),
    }


def _bundle(script: Script, log: Signer, *before: Signer) -> bytes:
    earlier = {f"log-before-{turn}": key for turn, key in enumerate(before, start=1)}
    return r.bundle(script, {"log": log, **earlier, **CHAINS}, log=log)


def _posed(script: Script) -> Script:
    """The run with the approvers' names, but with other keys in the plan and under the approvals."""
    of = tuple(
        replace(one, vkey=key.verifier.vkey)
        for one, key in zip(s.plan().approvals.of, (POSED, POSED_TOO), strict=True)
    )  # fmt: skip
    script = script.set("plan", approvals=p.ApprovalRule(threshold=2, of=of))
    posed = {s.OPERATOR: POSED, s.MONITOR: POSED_TOO}
    return Script(tuple(replace(line, signer=posed.get(line.signer, line.signer)) for line in script.lines))


def _handed_on(script: Script) -> Script:
    """At last both take over keys of which nobody has the secret."""
    return script.before(
        "certificate",
        Line("operator hands on", r.change("operator", POSED, s.OPERATOR, what="rotated", stands=1), POSED),
        Line("monitor hands on", r.change("monitor", POSED_TOO, s.MONITOR, what="rotated", stands=1), POSED_TOO),
    )


def _all_posed() -> Script:
    """Not even the log's key is there: it is handed to the true one, and called lost at once."""
    lines = tuple(replace(line, signer=FIRST) if line.signer == s.ENGINE else line for line in _posed(good()).lines)
    script = Script(lines).before("sweep", Line("log hands on", r.change(None, FIRST, s.ENGINE, what="rotated"), FIRST))
    votes = r.votes(None, s.ENGINE, LAST, POSED, POSED_TOO, stands=script.place("sweep"))
    return _handed_on(r.later(script.before("sweep", *votes), votes[-1].name, FIRST, LAST))


def _called_lost() -> Script:
    """The true log up to where nothing is approved yet; from there on somebody else goes on with it."""
    after = [name for name in good().names() if name.startswith(("approval", "intent", "outcome"))]
    counts = {
        dataset: {home: replace(c, deleted=0, blanked=0, kept=c.moved) for home, c in homes.items()}
        for dataset, homes in s.certificate().counts.items()
    }
    copies = tuple(replace(copy, verdict=Verdict.PRESENT) for copy in s.certificate().copies)
    script = _posed(good().without(*after, "clearance", "sweep"))
    script = script.set("certificate", copies=copies, counts=counts, verdict=Verdict.PRESENT)
    votes = r.votes(None, s.ENGINE, LAST, POSED, POSED_TOO, stands=script.place("certificate"))
    return _handed_on(r.later(script.before("certificate", *votes), votes[-1].name, s.ENGINE, LAST))
