"""Receipts of logs whose key changed hands, for one person of `receipts.py`; and what a thief makes of that.

given-before      under the first key, which was handed on afterwards
given-after       certified anew under the second key; the statement of receipts is of the first
twice             a third key
changed-early     the second key signed all from the fence on
lost              both approvers, one of them with a key that took over, called the first one lost
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from domicile.evidence import predicates as p
from domicile.evidence.bundle import trust_policy
from domicile.evidence.codec import dump_json
from domicile.evidence.keys import Signer
from domicile.evidence.receipts.document import write_document
from domicile.evidence.receipts.keeping import Leaf
from domicile.evidence.receipts.leaf import Person, commit
from domicile.evidence.statement import Sealed, read_unverified, seal
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from domicile.evidence.tlog.proof import format_proof, parse_proof
from tests.vectors import receipts
from tests.vectors import rotations as r
from tests.vectors import scenario as s
from tests.vectors.scenario import Line, Script

FIRST, SECOND = s.ENGINE, r.ENGINE_2
THIRD = Signer(name=FIRST.name, seed=s.key("homecoming.example/log/3").seed)
APPROVERS = Signer(name=FIRST.name, seed=s.MONITOR.seed)
THIEF = Signer(name=FIRST.name, seed=s.key("thief.example").seed)
Extra = dict[str, Any]


def everybody() -> list[Person]:
    """The people of `receipts.stated`."""
    return [*receipts.people(40, "us", first=0), *receipts.people(10, "ca", first=0)]


def paper(
    script: Script, log: Signer, *, changes: Sequence[int] | None = None, people: Sequence[Person] = (), last: int = -1
) -> bytes:
    """The receipt of one person under the head of a script that this key signed, with these of its changes of keys.

    By default of the people of the statement, and with the last statement as the certificate.
    """
    entries = list(script.play().values())
    said = [read_unverified(sealed) for sealed in entries]
    stated = next(place for place, one in enumerate(said) if isinstance(one, p.ReceiptsPredicate))
    shown = [place for place, one in enumerate(said) if isinstance(one, p.KeyPredicate)]
    with tempfile.TemporaryDirectory() as folder:
        made = Log.create(Path(folder) / "log", log)
        made.append([sealed.envelope for sealed in entries])
        return write_document(
            made, _leaf(said[stated], people or everybody()), stated=(stated, entries[stated]),
            certificate=(len(said) + last, entries[last]),
            changes=[(place, entries[place]) for place in (shown if changes is None else changes)],
        )  # fmt: skip


def _leaf(stated: p.Predicate, people: Sequence[Person]) -> Leaf:
    assert isinstance(stated, p.ReceiptsPredicate)
    tree, commitments = receipts.tree(list(people))
    assert stated.root == tree.root().hex()
    who = people[7]
    place = commitments.index(commit(who, receipts.nonce(who)))
    return Leaf(person=who, nonce=receipts.nonce(who), place=place, path=tree.inclusion(place), stated=stated)


# --------------------------------------------------------------------------------------------------------- the stories
def handed(script: Script, name: str, old: Signer, new: Signer, *, by: Signer | None = None) -> Script:
    """The log's key handed on right behind that statement, and all that follows signed by the next one."""
    line = f"to {new.seed.hex()[:8]}"
    change = r.change(None, old, new, what="rotated", stands=script.place(name) + 1)
    return r.later(script.after(name, Line(line, change, by or old)), line, old, new)


def anew(script: Script, key: Signer, name: str = "certificate anew") -> Script:
    """Certified once more, as after a change behind a certificate."""
    return Script((*script.lines, Line(name, lambda _: s.certificate(), key)))


def after() -> Script:
    return anew(handed(receipts.at_once(), "certificate", FIRST, SECOND), SECOND)


def twice(third: Signer = THIRD) -> Script:
    return anew(handed(after(), "certificate anew", SECOND, third), third, "certificate again")


def early() -> Script:
    return handed(receipts.at_once(), "equality", FIRST, SECOND)


def lost(*voters: Signer) -> Script:
    """Monitor's key is handed on; then both approvers call the log's key lost."""
    on = Line("hand on", r.change("monitor", s.MONITOR, r.MONITOR_2, what="rotated", stands=9), s.MONITOR)
    script = receipts.at_once().after("clearance", on)
    votes = r.votes(None, FIRST, SECOND, *(voters or (s.OPERATOR, r.MONITOR_2)), stands=len(script.lines))
    return anew(Script((*script.lines, *votes)), SECOND)


def voted_by_a_thief() -> Script:
    """Monitor votes, and is then called lost, from before that vote on, by operator and counsel."""
    script = receipts.at_once().set("plan", approvals=r.THREE)
    votes = r.votes(None, FIRST, SECOND, s.OPERATOR, s.MONITOR, stands=len(script.lines))
    script = Script((*script.lines, *votes))
    void = r.change("monitor", s.MONITOR, r.MONITOR_2, what="revoked", stands=len(script.lines) - 1)
    more = [Line(f"void {key.name}", void, key) for key in (s.OPERATOR, r.COUNSEL)]
    return anew(Script((*script.lines, *more)), SECOND)


def not_its_own(script: Script, name: str, key: Signer) -> Script:
    """One statement signed by another key."""
    return script.signed(name, replace(script.lines[script.place(name)], signer=key))


def by_keys_handed_on() -> Script:
    """A thief's log is handed on to the trusted key, and back by approvers of the thief who become the true ones."""
    one, two = s.key("cheat.example/one"), s.key("cheat.example/two")
    rule = p.ApprovalRule(
        threshold=2,
        of=tuple(
            p.ApproverKey(name=name, vkey=key.verifier.vkey) for name, key in (("operator", one), ("monitor", two))
        ),
    )
    of = {FIRST: THIEF, s.OPERATOR: one, s.MONITOR: two}
    script = receipts.at_once().set("plan", approvals=rule)
    script = Script(tuple(replace(line, signer=of[line.signer]) for line in script.lines))
    script = handed(script, "certificate", THIEF, FIRST)
    votes = r.votes(None, FIRST, THIRD, one, two, stands=len(script.lines))
    more = [
        Line(f"{who} hands on", r.change(who, key, trusted, what="rotated", stands=1), key)
        for who, key, trusted in (("operator", one, s.OPERATOR), ("monitor", two, s.MONITOR))
    ]
    return anew(Script((*script.lines, *votes, *more)), THIRD)


# -------------------------------------------------------------------------------------------------------- bent receipts
def bent(data: bytes, change: Callable[[Extra], object]) -> bytes:
    proof = parse_proof(data)
    extra: Extra = json.loads(proof.extra or b"")
    change(extra)
    return format_proof(replace(proof, extra=dump_json(extra)))


def taken_over(data: bytes, other: bytes, *names: str) -> bytes:
    """A receipt with parts of another one."""
    theirs = json.loads(parse_proof(other).extra or b"")
    return bent(data, lambda extra: extra.update({name: theirs[name] for name in names}))


def forged(script: Script, name: str, *, as_if: Signer) -> Script:
    """One statement of the thief bears the id of another key."""
    theirs, own = (key.verifier.keyid.encode() for key in (THIEF, as_if))
    line = script.lines[script.place(name)]

    def make(play: s.Play) -> Sealed:
        made = line.make(play)
        assert isinstance(made, p.Predicate)
        sealed = seal(made, THIEF)
        return Sealed(envelope=sealed.envelope.replace(theirs, own), detached=None)

    return script.signed(name, replace(line, make=make))


def given_up_by_a_thief() -> Script:
    """The log's key calls itself lost, and names the next."""
    script = receipts.at_once()
    change = r.change(None, FIRST, SECOND, what="revoked", stands=len(script.lines))
    return anew(Script((*script.lines, Line("revoked", change, FIRST))), SECOND)


def handed_on_again() -> Script:
    """The key that was handed on names another next one."""
    script = handed(receipts.at_once(), "certificate", FIRST, SECOND)
    change = r.change(None, FIRST, THIRD, what="rotated", stands=len(script.lines))
    return anew(Script((*script.lines, Line("again", change, FIRST))), THIRD)


def without_a_key() -> Script:
    script = receipts.at_once()
    votes = r.votes(None, FIRST, None, s.OPERATOR, s.MONITOR, stands=len(script.lines))
    return anew(Script((*script.lines, *votes)), FIRST)


def votes_apart() -> Script:
    script = receipts.at_once()
    one, two = r.votes(None, FIRST, SECOND, s.OPERATOR, s.MONITOR, stands=len(script.lines))
    return anew(Script((*script.lines, one, Line("between", lambda _: s.certificate()), two)), SECOND)


def with_monitors_next_key(*voters: Signer, what: str, new: Signer = r.MONITOR_2) -> Script:
    """Monitor's key changes, as these sign; then operator and the next key call the log's key lost."""
    line = r.change("monitor", s.MONITOR, new, what=what, stands=9)
    script = receipts.at_once().after("clearance", *(Line(f"on {n}", line, key) for n, key in enumerate(voters)))
    votes = r.votes(None, FIRST, SECOND, s.OPERATOR, new, stands=len(script.lines))
    return anew(Script((*script.lines, *votes)), SECOND)


def voted_before_it_was_handed_on() -> Script:
    """Monitor votes and rotates, and the next key is called lost, from before that vote on."""
    script = receipts.at_once().set("plan", approvals=r.THREE)
    votes = r.votes(None, FIRST, SECOND, s.OPERATOR, s.MONITOR, stands=len(script.lines))
    script = Script((*script.lines, *votes))
    rotated = r.change("monitor", s.MONITOR, r.MONITOR_2, what="rotated", stands=9)
    void = r.change("monitor", r.MONITOR_2, s.key("monitor.example/3"), what="revoked", stands=len(script.lines) - 1)
    more = [Line(f"void {key.name}", void, key) for key in (s.OPERATOR, r.COUNSEL)]
    return anew(Script((*script.lines, Line("on", rotated, s.MONITOR), *more)), SECOND)


# ------------------------------------------------------------------------------------------------------ what is made
@dataclass(frozen=True)
class Bad:
    """A receipt that one of the policies refuses, at this check, for this reason."""

    policy: str
    check: int
    reason: str
    make: Callable[[], bytes]


def head_of(script: Script) -> tuple[int, str]:
    """Size and root, in base64, of all statements of a script."""
    entries = [sealed.envelope for sealed in script.play().values()]
    return len(entries), base64.b64encode(Tree(hash_leaf(entry) for entry in entries).root()).decode()


def policies() -> dict[str, str]:
    """By name: of the time of the first key, of the second with what stood before, and without that."""
    rule = s.plan().approvals
    size, root = head_of(receipts.at_once())
    before = [f"before {FIRST.verifier.vkey} {size} {root}"]
    return {
        "first": trust_policy(FIRST.verifier, rule),
        "second": trust_policy(SECOND.verifier, rule, before=before),
        "second-alone": trust_policy(SECOND.verifier, rule),
        "third": trust_policy(THIRD.verifier, rule),
        "three": trust_policy(FIRST.verifier, r.THREE),
    }


GOOD: Final[dict[str, tuple[Callable[[], bytes], tuple[str, ...]]]] = {
    "given-before": (lambda: paper(receipts.at_once(), FIRST), ("first", "three", "second")),
    "given-after": (lambda: paper(after(), SECOND), ("first", "three", "second", "second-alone")),
    "twice": (lambda: paper(twice(), THIRD), ("first", "three", "second", "second-alone", "third")),
    "changed-early": (lambda: paper(early(), SECOND), ("first", "three", "second", "second-alone")),
    "lost": (lambda: paper(lost(), SECOND), ("first", "three", "second", "second-alone")),
}
"""By name: the receipt, and the policies that accept it."""

BAD: Final[dict[str, Bad]] = {
    "given-before-and-not-listed": Bad("second-alone", 4, "does not trust", lambda: paper(receipts.at_once(), FIRST)),
    "old-head-of-another-story": Bad(
        "second", 4, "names the heads that count",
        lambda: paper(receipts.at_once().set("certificate", issued_at=s.at(61)), FIRST),
    ),
    "old-head-of-another-size": Bad(
        "second", 4, "names the heads that count", lambda: paper(anew(receipts.at_once(), FIRST), FIRST)
    ),
    "old-key-goes-on-alone": Bad(
        "second", 4, "names the heads that count",
        lambda: paper(anew(handed(receipts.at_once(), "certificate", FIRST, SECOND), FIRST), FIRST, changes=()),
    ),
    "old-key-goes-on-behind-its-change": Bad(
        "first", 4, "do not lead to",
        lambda: paper(anew(handed(receipts.at_once(), "certificate", FIRST, SECOND), FIRST), FIRST),
    ),
    "old-key-certifies-under-the-next": Bad(
        "first", 6, "signed by a key that has no place here",
        lambda: paper(not_its_own(after(), "certificate anew", FIRST), SECOND),
    ),
    "next-key-states-receipts-too-early": Bad(
        "first", 5, "signed by a key that has no place here",
        lambda: paper(not_its_own(after(), receipts.ONE, SECOND), SECOND),
    ),
    "change-by-a-thief": Bad(
        "first", 4, "signed by the wrong ones",
        lambda: paper(anew(handed(receipts.at_once(), "certificate", FIRST, SECOND, by=THIEF), SECOND), SECOND),
    ),
    "change-by-the-next-key": Bad(
        "second", 4, "signed by the wrong ones",
        lambda: paper(anew(handed(receipts.at_once(), "certificate", FIRST, SECOND, by=SECOND), SECOND), SECOND),
    ),
    "change-with-a-forged-signature": Bad(
        "first", 4, "signature of",
        lambda: paper(forged(after(), after().names()[-2], as_if=FIRST), SECOND),
    ),
    "change-that-is-not-in-the-log": Bad(
        "first", 4, "is not in the log", lambda: taken_over(paper(after(), SECOND), paper(early(), SECOND), "keys")
    ),
    "change-at-another-place": Bad(
        "first", 4, "is not in the log",
        lambda: bent(paper(after(), SECOND), lambda extra: extra["keys"][0].update(index=2)),
    ),
    "change-of-another-log": Bad(
        "first", 4, "speaks of another log",
        lambda: paper(after().set(after().names()[-2], root=s.digest("another log")), SECOND),
    ),
    "change-behind-less-than-all": Bad(
        "first", 4, "or another place in it",
        lambda: paper(after().set(after().names()[-2], stands=len(after().lines) - 3), SECOND),
    ),
    "change-to-another-name": Bad(
        "first", 4, "keeps its name", lambda: paper(anew(
            handed(receipts.at_once(), "certificate", FIRST, r.RENAMED), r.RENAMED), r.RENAMED),
    ),
    "change-to-a-key-of-before": Bad("first", 4, "comes again", lambda: paper(twice(FIRST), FIRST)),
    "change-to-an-approvers-key": Bad(
        "first", 4, "comes again",
        lambda: paper(twice(APPROVERS), APPROVERS),
    ),
    "changes-in-another-order": Bad(
        "first", 4, "not in the order", lambda: bent(paper(twice(), THIRD), lambda extra: extra["keys"].reverse())
    ),
    "a-change-left-out": Bad(
        "first", 4, "does not trust", lambda: paper(twice(), THIRD, changes=(len(twice().lines) - 2,))
    ),
    "a-change-left-out-before-the-statement": Bad(
        "third", 5, "signed by a key that has no place here",
        lambda: paper(twice(), THIRD, changes=(len(twice().lines) - 2,)),
    ),
    "no-change-of-the-log": Bad(
        "first", 4, "none of them is the log's", lambda: paper(lost(), SECOND, changes=(10,))
    ),
    "change-of-another-plan": Bad(
        "first", 7, "two different plans",
        lambda: paper(after().set(after().names()[-2], plan=s.digest("another plan")), SECOND),
    ),
    "lost-by-one": Bad("first", 4, "1 trusted approvers, 2 are needed", lambda: paper(lost(s.OPERATOR), SECOND)),
    "lost-by-one-twice": Bad(
        "first", 4, "1 trusted approvers, 2 are needed", lambda: paper(lost(s.OPERATOR, s.OPERATOR), SECOND)
    ),
    "lost-by-a-key-that-was-handed-on": Bad(
        "first", 4, "1 trusted approvers, 2 are needed", lambda: paper(lost(s.OPERATOR, s.MONITOR), SECOND)
    ),
    "lost-by-strangers": Bad(
        "first", 4, "0 trusted approvers, 2 are needed", lambda: paper(lost(s.STRANGER, r.COUNSEL), SECOND)
    ),
    "lost-by-keys-handed-on-to-trusted-ones": Bad(
        "first", 4, "0 trusted approvers", lambda: paper(by_keys_handed_on(), THIRD)
    ),
    "change-by-which-the-key-calls-itself-lost": Bad(
        "first", 4, "may rotate", lambda: paper(given_up_by_a_thief(), SECOND)
    ),
    "change-by-a-key-that-was-handed-on": Bad(
        "first", 4, "was not in force", lambda: paper(handed_on_again(), THIRD)
    ),
    "change-to-no-key": Bad("first", 4, "leaves the log without a key", lambda: paper(without_a_key(), FIRST)),
    "lost-by-votes-apart": Bad("first", 4, "1 trusted approvers, 2 are needed", lambda: paper(votes_apart(), SECOND)),
    "lost-by-a-forged-vote": Bad(
        "first", 4, "signature of", lambda: paper(forged(lost(), "vote 1", as_if=s.OPERATOR), SECOND)
    ),
    "approver-handed-on-with-a-forged-signature": Bad(
        "first", 4, "signature of", lambda: paper(forged(lost(), "hand on", as_if=s.MONITOR), SECOND)
    ),
    "approver-names-the-next-key-of-a-lost-one": Bad(
        "first", 4, "no more", lambda: paper(with_monitors_next_key(s.MONITOR, what="revoked"), SECOND)
    ),
    "approver-votes-about-themselves": Bad(
        "first", 4, "1 trusted approvers, 2 are needed",
        lambda: paper(with_monitors_next_key(s.OPERATOR, s.MONITOR, what="revoked"), SECOND),
    ),
    "lost-by-a-key-whose-next-one-was-stolen": Bad(
        "three", 4, "a key that was lost by then", lambda: paper(voted_before_it_was_handed_on(), SECOND)
    ),
    "lost-by-a-stolen-key": Bad("three", 4, "a key that was lost by then", lambda: paper(voted_by_a_thief(), SECOND)),
}  # fmt: skip


def files(folder: Path) -> dict[Path, bytes]:
    """All that is made here."""
    made = {folder / "policies" / f"{name}.txt": text.encode() for name, text in policies().items()}
    made |= {folder / "good" / f"{name}.tlog-proof": make() for name, (make, _) in GOOD.items()}
    return made | {folder / "bad" / f"{name}.tlog-proof": bad.make() for name, bad in BAD.items()}
