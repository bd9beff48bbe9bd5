"""What a trust policy asks of approvals, and of votes on lost keys, beyond what the plan does: checks 14 and 24 go on.

The story asks whether as many approved as the plan wants, whoever they are. Here it is asked whether enough of them are
those whom the auditor trusts.
"""

from collections.abc import Collection, Iterable
from itertools import dropwhile

from domicile_audit.case import Case, Statement, require


def check_approvals(case: Case) -> None:
    """Check 14 goes on: of each clearance that counts; something was erased under it, or it is the last.

    Another one may have had an approver whom nobody trusts by now, since the key was called lost.
    """
    last = [clearance.sha256 for clearance in case.of("clearance/v1")[-1:]]
    for clearance in case.of("clearance/v1"):
        if clearance.sha256 in {*case.erased_under, *last}:
            _require_approved(case, case.approvals(clearance), str(clearance))


def check_keys(case: Case) -> None:
    """Check 24 goes on: of votes on lost keys, and once more of what was erased, without what a lost key signed."""
    for votes in case.votes:
        _require_trusted(case, votes, str(votes[0]))
    for clearance in case.of("clearance/v1"):
        if clearance.sha256 in case.erased_under:
            standing = [approval for approval in case.approvals(clearance) if approval.index not in case.void]
            _require_approved(case, standing, f"{clearance}, without what a lost key signed,")


def is_trusted(case: Case, statement: Statement, named: Collection[str]) -> bool:
    """Whether one of the named keys signed this, or one behind it in its chain.

    From a named one the chain leads on by its signature or by trusted votes. What stands before it counts for nothing:
    anybody can begin a chain with a key of their own, and hand it on to somebody else's.
    """
    trusted = dropwhile(lambda key: key.vkey not in named, case.chains[statement.holder])
    return statement.keyid in {key.keyid for key in trusted}


def _require_approved(case: Case, approvals: Collection[Statement], what: str) -> None:
    """Refuse unless enough trusted people approved, and each whom the policy calls a must."""
    _require_trusted(case, approvals, what)
    for vkey in sorted(case.policy.musts if case.policy else ()):
        given = any(is_trusted(case, approval, {vkey}) for approval in approvals)
        require(given, f"{what} is without the approval of {vkey}, which the policy wants")


def _require_trusted(case: Case, statements: Iterable[Statement], what: str) -> None:
    """Refuse unless as many holders signed these as the policy wants, with keys that it trusts."""
    if case.policy is None:
        return
    named, wanted = case.policy.approvers, case.policy.threshold
    signed = {statement.holder for statement in statements if is_trusted(case, statement, named)}
    require(len(signed) >= wanted, f"{what} has {len(signed)} trusted approvals, the policy wants {wanted}")
