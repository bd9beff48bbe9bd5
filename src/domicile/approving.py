"""An approver's yes: a signature in their own hand over exactly one plan and one equality."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from domicile.errors import NoClearance, Refused
from domicile.evidence.keyring import Keyring
from domicile.evidence.keys import Signer
from domicile.evidence.ledger import Ledger
from domicile.evidence.predicates import ApprovalPredicate, EqualityPredicate, Scope
from domicile.evidence.signers import open_key
from domicile.evidence.statement import seal
from domicile.run import Run

ROOT_DIGITS_MIN: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Who approved what, and how many have; `stands` and `root` are the log that was signed with it."""

    approver: str
    equality: str
    stands: int
    root: str
    given: int
    threshold: int


def approve(run: Run, key: Path | str, role: str, *, secret: str | None = None, seen: str | None = None) -> Given:
    """Sign the last equality that was read under the fence; leave the signature in the programme's folder.

    `key` is a file of `domicile keys new`, or the URI of a key elsewhere that may ask for a `secret` (env:, file:).
    `seen` is the root (hex, or its beginning) of the log that the approver checked; else the present one is signed.
    Raises NoClearance when there is nothing to approve yet, Refused when no approver of the plan has that key now, or
    when the log never had that root since the equality.
    """
    signer = open_key(str(key), secret=secret, host=run.host, name="approver")
    stated = run.last(EqualityPredicate, lambda found: found.fenced and not found.differences and not found.strays)
    if stated is None:
        raise NoClearance("nothing to approve yet: no equality was read under a fence; run `domicile apply`")
    plan = run.ledger.plan()
    name, signer = as_approver(run.ledger.keyring(), signer, str(key))
    stands = _place(run.ledger, stated.index, seen)
    if name not in run.record.approvals(stated.sha256):
        approval = ApprovalPredicate(
            plan=plan.plan, approver=name, role=role, scope=Scope.ERASE, equality=stated.sha256,
            approved_at=run.host.now(), stands=stands, root=run.ledger.log.root_at(stands).hex(),
        )  # fmt: skip
        path = run.workspace.approvals / f"{name}-{stated.sha256[:16]}.json"
        run.workspace.write(path, seal(approval, signer).envelope)
    given = run.record.approvals(stated.sha256)
    signed = run.ledger.named(given[name]).predicate
    if not isinstance(signed, ApprovalPredicate):
        raise TypeError("an approval is none")
    return Given(
        approver=name, equality=stated.sha256, stands=signed.stands, root=signed.root, given=len(given),
        threshold=plan.approvals.threshold,
    )  # fmt: skip


def _place(ledger: Ledger, equality: int, seen: str | None) -> int:
    """How many statements the log had that was seen, the equality among them."""
    if seen is None:
        return ledger.size
    text = seen.rstrip("…").lower()
    if not re.fullmatch(f"[0-9a-f]{{{ROOT_DIGITS_MIN},64}}", text):
        raise Refused(f"--root: {ROOT_DIGITS_MIN} to 64 hex digits, as `domicile-audit` prints the root of a log")
    for size in range(ledger.size, equality, -1):
        if ledger.log.root_at(size).hex().startswith(text):
            return size
    raise Refused(
        f"the log has not had the root {text} since what is to be approved was compared; nothing was signed. Have it "
        "checked as it is now: `domicile audit-bundle`, then `domicile-audit spot-check`"
    )


def as_approver(ring: Keyring, signer: Signer, text: str) -> tuple[str, Signer]:
    """Whose key this is now, and the key under the name that the plan, or a change of keys, gives it; or Refused."""
    owner = ring.owner(signer.verifier.public)
    if owner is None:
        raise Refused(
            f"the plan names no approver with the key of {text}; ask who may approve: `domicile status`, and with "
            "which key now: `domicile keys list`"
        )
    name, verifier = owner
    return name, replace(signer, name=verifier.name)
