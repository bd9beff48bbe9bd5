"""An approver's yes: a signature in their own hand over exactly one plan and one equality."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from domicile.errors import NoClearance, Refused
from domicile.evidence.keyring import Keyring
from domicile.evidence.keys import Signer
from domicile.evidence.predicates import ApprovalPredicate, EqualityPredicate, Scope
from domicile.evidence.signers import open_key
from domicile.evidence.statement import seal
from domicile.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Who approved what, and how many have."""

    approver: str
    equality: str
    given: int
    threshold: int


def approve(run: Run, key: Path | str, role: str, *, secret: str | None = None) -> Given:
    """Sign the last equality that was read under the fence; leave the signature in the programme's folder.

    `key` is a file of `domicile keys new`, or the URI of a key elsewhere that may ask for a `secret` (env:, file:).
    Raises NoClearance when there is nothing to approve yet, Refused when no approver of the plan has that key now.
    """
    signer = open_key(str(key), secret=secret, host=run.host, name="approver")
    stated = run.last(EqualityPredicate, lambda found: found.fenced and not found.differences and not found.strays)
    if stated is None:
        raise NoClearance("nothing to approve yet: no equality was read under a fence; run `domicile apply`")
    plan = run.ledger.plan()
    name, signer = as_approver(run.ledger.keyring(), signer, str(key))
    before = run.record.approvals(stated.sha256)
    if name not in before:
        approval = ApprovalPredicate(
            plan=plan.plan, approver=name, role=role, scope=Scope.ERASE, equality=stated.sha256,
            approved_at=run.host.now(), stands=run.ledger.size, root=run.ledger.log.root.hex(),
        )  # fmt: skip
        path = run.workspace.approvals / f"{name}-{stated.sha256[:16]}.json"
        run.workspace.write(path, seal(approval, signer).envelope)
        before = run.record.approvals(stated.sha256)
    return Given(approver=name, equality=stated.sha256, given=len(before), threshold=plan.approvals.threshold)


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
