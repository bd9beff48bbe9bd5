"""Runs in which keys change hands (docs/keys.md), and what a cheat makes of that.

rotated      monitor's key and, between an intent and its outcome, the log's
stolen       monitor's key was stolen and used; two others say so, and a new key approves
lost         the log's key is lost behind the sweep; both approvers go on with a new one
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from domicile.evidence import predicates as p
from domicile.evidence.bundle import README, pack
from domicile.evidence.keys import Signer
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from tests.vectors import scenario as s
from tests.vectors.registry import defect
from tests.vectors.scenario import Line, Script

ENGINE_2 = Signer(name=s.ENGINE.name, seed=s.key("homecoming.example/log/2").seed)
MONITOR_2 = s.key("monitor.example/2")
COUNSEL = s.key("counsel.example")
APPROVED = "approval monitor"
INTENT, OUTCOME = (f"{phase} app.public.users us" for phase in (p.Phase.INTENT, p.Phase.OUTCOME))
THREE = p.ApprovalRule(
    threshold=2,
    of=(*s.plan().approvals.of, p.ApproverKey(name="counsel", vkey=COUNSEL.verifier.vkey)),
)

Keys = Mapping[str, Signer]


def change(who: str | None, old: Signer, new: Signer | None, *, what: str, stands: int | None = None) -> s.Maker:
    """A key/v1 that speaks of the log as it is played so far; `stands` counts the statements that are left standing."""

    def make(play: s.Play) -> p.KeyPredicate:
        entries = [sealed.envelope for sealed in play.values()]
        size = _place(entries) if stands is None else stands
        tree = Tree()
        for entry in entries[:size]:
            tree.append(hash_leaf(entry))
        return p.KeyPredicate(
            plan=s.PLAN, what=p.KeyChange(what), approver=who, key=old.verifier.vkey,
            new=None if new is None else new.verifier.vkey, since=s.at(15), stands=size, root=tree.root().hex(),
            why="as agreed in writing",
        )  # fmt: skip

    return make


def _place(entries: list[bytes]) -> int:
    """How many statements stand before this one and the votes for the same change before it."""
    from domicile.evidence.statement import Sealed, read_unverified  # noqa: PLC0415

    votes = 0
    while votes < len(entries) and isinstance(
        read_unverified(Sealed(envelope=entries[-1 - votes], detached=None)), p.KeyPredicate
    ):
        votes += 1
    return len(entries) - votes


def later(script: Script, name: str, old: Signer, new: Signer) -> Script:
    """The same with everything behind a statement signed by a new key."""
    at = script.place(name) + 1
    behind = tuple(replace(line, signer=new) if line.signer == old else line for line in script.lines[at:])
    return Script(script.lines[:at] + behind)


def bundle(script: Script, keys: Keys, *, log: Signer) -> bytes:
    """The bundle of a script whose log is signed by that key, with these keys."""
    return pack(files_of(script, keys, log=log), log)


def files_of(script: Script, keys: Keys, *, log: Signer) -> dict[str, bytes]:
    """Its files but the manifest."""
    played = s.entries_of(script)
    files = s.log_files([sealed.envelope for sealed in played], log)
    files |= {f"keys/{name}.vkey": f"{key.verifier.vkey}\n".encode() for name, key in keys.items()}
    files |= {"README.txt": README.encode(), "plan.json": s.PLAN_FILE, "certificate.dsse.json": played[-1].envelope}
    return files


def rotated(log: Signer = ENGINE_2) -> Script:
    handed = Line("hand on", change("monitor", s.MONITOR, MONITOR_2, what="rotated"), s.MONITOR)
    script = later(s.good().before(APPROVED, handed), "hand on", s.MONITOR, MONITOR_2)
    own = Line("log hands on", change(None, s.ENGINE, log, what="rotated"), s.ENGINE)
    return later(script.before(OUTCOME, own), "log hands on", s.ENGINE, log)


ROTATED: Keys = {
    "log": ENGINE_2, "log-before-1": s.ENGINE, "approver-1": s.OPERATOR, "approver-2": s.MONITOR,
    "approver-2-after-1": MONITOR_2,
}  # fmt: skip


def votes(who: str | None, old: Signer, new: Signer | None, *signers: Signer, stands: int | None = None) -> list[Line]:
    make = change(who, old, new, what="revoked", stands=stands)
    return [Line(f"vote {number}", make, signer) for number, signer in enumerate(signers, start=1)]


def stolen(*signers: Signer, clears: str = "approval again", new: Signer | None = MONITOR_2) -> Script:
    """The thief's approval stands right before the votes that void it."""
    script = s.good().set("plan", approvals=THREE)
    at = script.place(APPROVED)
    lines = votes("monitor", s.MONITOR, new, *(signers or (s.OPERATOR, COUNSEL)), stands=at)
    again = Line("approval again", s.approval("monitor", "monitor"), MONITOR_2)
    script = script.after(APPROVED, *lines, *([again] if new is not None else []))
    cleared = Line("clearance", lambda play: s.clearance(play, ("approval operator", clears)))
    return script.signed("clearance", cleared)


STOLEN: Keys = {
    "log": s.ENGINE, "approver-1": s.OPERATOR, "approver-2": s.MONITOR, "approver-2-after-1": MONITOR_2,
    "approver-3": COUNSEL,
}  # fmt: skip


def lost(*signers: Signer) -> Script:
    lines = votes(None, s.ENGINE, ENGINE_2, *(signers or (s.OPERATOR, s.MONITOR)))
    return later(s.good().after("sweep", *lines), lines[-1].name, s.ENGINE, ENGINE_2)


ROTATED_ONE: Keys = {
    "log": s.ENGINE, "approver-1": s.OPERATOR, "approver-2": s.MONITOR, "approver-2-after-1": MONITOR_2,
}  # fmt: skip
LOST: Keys = {"log": ENGINE_2, "log-before-1": s.ENGINE, "approver-1": s.OPERATOR, "approver-2": s.MONITOR}


def good_bundles() -> dict[str, bytes]:
    """Runs that are accepted."""
    return {
        "keys-rotated": bundle(rotated(), ROTATED, log=ENGINE_2),
        "approver-key-stolen": bundle(stolen(), STOLEN, log=s.ENGINE),
        "log-key-lost": bundle(lost(), LOST, log=ENGINE_2),
        "handed-on-by-who-saw-little": bundle(_saw_little(), ROTATED_ONE, log=s.ENGINE),
    }


def _saw_little() -> Script:
    """Who hands a key on had seen the log only as far as before their approval: that makes nothing void."""
    make = change("monitor", s.MONITOR, MONITOR_2, what="rotated", stands=3)
    return s.good().before("certificate", Line("hand on", make, s.MONITOR))


def cheat(
    name: str, reason: str, script: Callable[[], Script], keys: Keys, log: Signer = s.ENGINE, *, check: int = 24
) -> None:
    defect(name, check, reason)(lambda: bundle(script(), keys, log=log))


def handed_on(make: s.Maker, signer: Signer, name: str = "hand on") -> Script:
    """The rotated run with one of its changes told otherwise."""
    return rotated().signed(name, Line(name, make, signer))


# ------------------------------------------------------------------------------------------------ keys/ and the log
cheat("keys-with-a-gap", "a gap before it", rotated, {**ROTATED, "log-before-3": COUNSEL}, ENGINE_2, check=2)
cheat("key-in-two-chains", "two roles", rotated, {**ROTATED, "approver-1-after-1": MONITOR_2}, ENGINE_2, check=2)
cheat("key-that-nobody-handed-over-to", "no statement hands over", s.good, {**LOST}, ENGINE_2)
cheat(
    "key-that-the-log-never-named",
    "no statement hands over",
    rotated,
    {**ROTATED, "approver-1-after-1": COUNSEL},
    ENGINE_2,
)
cheat(
    "key-handed-to-another", "the next key in keys/ is another",
    lambda: handed_on(change("monitor", s.MONITOR, COUNSEL, what="rotated"), s.MONITOR),
    ROTATED, ENGINE_2,
)  # fmt: skip


@defect("log-signed-by-its-lost-key", 5, "not signed by the log's key")
def _() -> bytes:
    files = files_of(lost(), LOST, log=s.ENGINE)
    return pack(files, ENGINE_2)


# ------------------------------------------------------------------------------------------------- signed too late
cheat(
    "signed-with-a-key-that-was-handed-on", "was not in force there",
    lambda: rotated().signed("sweep", replace(s.good().lines[s.good().place("sweep")], signer=s.ENGINE)),
    ROTATED, ENGINE_2,
)  # fmt: skip
cheat(
    "signed-with-a-key-of-later", "was not in force there",
    lambda: rotated().signed("cutover", replace(s.good().lines[s.good().place("cutover")], signer=ENGINE_2)),
    ROTATED, ENGINE_2,
)  # fmt: skip
cheat(
    "approved-with-a-key-that-was-handed-on", "was not in force there",
    lambda: rotated().signed(APPROVED, replace(s.good().lines[s.good().place(APPROVED)], signer=s.MONITOR)),
    ROTATED, ENGINE_2,
)  # fmt: skip
cheat(
    "approved-with-a-key-that-was-given-up", "was not in force there",
    lambda: s.good().before(
        APPROVED, Line("give up", change("monitor", s.MONITOR, None, what="revoked"), s.MONITOR)
    ),
    {"log": s.ENGINE, "approver-1": s.OPERATOR, "approver-2": s.MONITOR},
)  # fmt: skip
cheat(
    "a-key-is-called-lost-that-was-given-up", "that key was not in force",
    lambda: s.good().set("plan", approvals=THREE).before(
        "certificate",
        Line("give up", change("monitor", s.MONITOR, None, what="revoked"), s.MONITOR),
        *votes("monitor", s.MONITOR, None, s.OPERATOR, COUNSEL, stands=3),
    ),
    {"log": s.ENGINE, "approver-1": s.OPERATOR, "approver-2": s.MONITOR, "approver-3": COUNSEL},
)  # fmt: skip
cheat("cleared-by-a-thief", "without what a lost key signed", lambda: stolen(clears=APPROVED), STOLEN)

# ------------------------------------------------------------------------------------------------------- authority
cheat("too-few-call-a-key-lost", "1 approvers; 2 have to say it", lambda: lost(s.OPERATOR), LOST, ENGINE_2)
cheat("the-log-calls-an-approvers-key-lost", "signed by the wrong ones", lambda: stolen(s.OPERATOR, s.ENGINE), STOLEN)
cheat("a-lost-key-votes-on-itself", "signed by the wrong ones", lambda: stolen(s.OPERATOR, s.MONITOR), STOLEN)
cheat("a-thief-names-the-next-key", "and no more", lambda: stolen(s.MONITOR), STOLEN)
cheat("a-thief-gives-up-the-log", "and no more", lambda: lost(s.ENGINE), LOST, ENGINE_2)
cheat(
    "others-hand-a-key-on", "signed by the wrong ones",
    lambda: handed_on(change("monitor", s.MONITOR, MONITOR_2, what="rotated"), s.OPERATOR),
    ROTATED, ENGINE_2,
)  # fmt: skip
cheat(
    "a-key-of-nobody-changes", "nobody whom the plan names",
    lambda: rotated().set("hand on", approver="counsel"), ROTATED, ENGINE_2,
)  # fmt: skip
cheat(
    "a-key-changes-that-was-not-in-force", "that key was not in force",
    lambda: rotated().set("hand on", key=COUNSEL.verifier.vkey), ROTATED, ENGINE_2,
)  # fmt: skip
cheat(
    "a-key-changes-in-another-log", "another log",
    lambda: rotated().set("hand on", root=s.digest("another log")), ROTATED, ENGINE_2,
)  # fmt: skip
cheat(
    "the-logs-key-changes-elsewhere", "another place",
    lambda: handed_on(change(None, s.ENGINE, ENGINE_2, what="rotated", stands=3), s.ENGINE, "log hands on"),
    ROTATED, ENGINE_2,
)  # fmt: skip


cheat(
    "the-log-has-no-next-key", "can't go on without a key",
    lambda: s.good().before("certificate", *votes(None, s.ENGINE, None, s.OPERATOR, s.MONITOR)),
    {"log": s.ENGINE, "approver-1": s.OPERATOR, "approver-2": s.MONITOR},
)  # fmt: skip
RENAMED = s.key("another.example/log")
cheat(
    "the-log-takes-another-name", "a log keeps its name", lambda: rotated(RENAMED), {**ROTATED, "log": RENAMED}, RENAMED
)


@defect("a-thief-votes", 24, "its key was lost by then")
def _() -> bytes:
    """Monitor's thief helps to replace counsel's key; then monitor gives the key up, from before that."""
    script = s.good().set("plan", approvals=THREE)
    at = script.place("clearance")
    new = s.key("counsel.example/2")
    lines = votes("counsel", COUNSEL, new, s.OPERATOR, s.MONITOR)
    lines.append(Line("give up", change("monitor", s.MONITOR, None, what="revoked", stands=at), s.MONITOR))
    keys = {
        "log": s.ENGINE, "approver-1": s.OPERATOR, "approver-2": s.MONITOR, "approver-3": COUNSEL,
        "approver-3-after-1": new,
    }  # fmt: skip
    return bundle(script.before("clearance", *lines), keys, log=s.ENGINE)
