"""An approver's yes: a signature in their own hand over exactly one plan and one equality."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from domicile.errors import NoClearance, Refused
from domicile.keys import load_signer, parse_vkey
from domicile.predicates import ApprovalPredicate, EqualityPredicate, Scope
from domicile.run import Run
from domicile.statement import seal


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Who approved what, and how many have."""

    approver: str
    equality: str
    given: int
    threshold: int


def approve(run: Run, key_file: Path, role: str) -> Given:
    """Sign the last equality that was read under the fence; leave the signature in the programme's folder.

    Raises NoClearance when there is nothing to approve yet, Refused when the plan names no such key.
    """
    signer = load_signer(key_file)
    stated = run.last(EqualityPredicate, lambda found: found.fenced and not found.differences and not found.strays)
    if stated is None:
        raise NoClearance("nothing to approve yet: no equality was read under a fence; run `domicile apply`")
    plan = run.ledger.plan()
    names = [approver.name for approver in plan.approvals.of if parse_vkey(approver.vkey) == signer.verifier]
    if not names:
        raise Refused(f"the plan names no approver with the key of {key_file}; ask who may approve: `domicile status`")
    before = run.record.approvals(stated.sha256)
    if names[0] not in before:
        approval = ApprovalPredicate(
            plan=plan.plan, approver=names[0], role=role, scope=Scope.ERASE, equality=stated.sha256,
            approved_at=run.host.now(),
        )  # fmt: skip
        path = run.workspace.approvals / f"{names[0]}-{stated.sha256[:16]}.json"
        run.workspace.write(path, seal(approval, signer).envelope)
        before = run.record.approvals(stated.sha256)
    return Given(approver=names[0], equality=stated.sha256, given=len(before), threshold=plan.approvals.threshold)
