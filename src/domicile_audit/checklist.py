"""The checklist: a bundle is refused unless all 24 checks hold; the first that fails is the reason.

Where all hold, a policy may ask for more (demands.py), and claims.py answers that, promise by promise.

Checks 1 to 9 stand in `log/`, by the specs of others, 10 to 24 in `story/`, by our own; docs/checker.md says in which
order to read. Of the rest `trust/` reads the auditor's policy (approvers.py goes on with 14 and 24), `report.py` words
the answer, `papers/` is for receipts and proofs, `spot/` looks into stores, `served.py` is for a log that goes on.

P1 to P11 are the promises of docs/evidence.md. No check reads a clock, a network or another file, and each takes time
and memory in proportion to the bundle.
"""

from collections.abc import Callable, Sequence

from domicile_audit.case import Case, Refused
from domicile_audit.log import container, envelopes, tree
from domicile_audit.report import Passed, Report, accept, refuse
from domicile_audit.story import certificate, erasing, moving, people, rotation, verdicts
from domicile_audit.trust import approvers
from domicile_audit.trust.policy import Policy

Check = Callable[[Case], None]


def both(first: Check, then: Check) -> Check:
    """A check of the story, and then of what the auditor's policy asks beyond it."""

    def check(case: Case) -> None:
        first(case)
        then(case)

    return check


CHECKS: Sequence[tuple[str, str, Check]] = (
    ("zip in its one spelling", "APPNOTE 4.3.6", container.check_zip),
    ("keys", "C2SP signed-note; tlog-policy", container.check_keys),
    ("manifest signed over every file", "DSSE v1.0.2", container.check_manifest),
    ("no unknown file, fixed README", "docs/evidence.md, Bundle", container.check_names),
    ("checkpoint of this log", "C2SP tlog-checkpoint; tlog-policy", tree.check_checkpoint),
    ("tiles and entries", "C2SP tlog-tiles", tree.check_tiles),
    ("root of the tree", "RFC 6962 section 2.1", tree.check_root),
    ("envelopes and signatures", "DSSE v1.0.2", envelopes.check_envelopes),
    ("statements in their shape", "in-toto Statement v1", envelopes.check_statements),
    ("plan", "P4", moving.check_plan),
    ("transfers", "P1", moving.check_transfers),
    ("fence", "P1", moving.check_fence),
    ("equality", "P1", moving.check_equalities),
    ("approvals", "P2", both(erasing.check_approvals, approvers.check_approvals)),
    ("clearance and restore", "P2", erasing.check_clearances),
    ("erasures", "P2, P7", erasing.check_erasures),
    ("sweeps", "P3", erasing.check_sweeps),
    ("certificate", "P10", certificate.check_certificate),
    ("verdicts", "P3, P7, P11", verdicts.check_verdicts),
    ("counts", "P11", certificate.check_counts),
    ("times", "P11", certificate.check_times),
    ("cohorts", "P1", people.check_cohorts),
    ("receipts", "P1, P8", people.check_receipts),
    ("keys in force", "P2", both(rotation.check_keys, approvers.check_keys)),
)


def audit(data: bytes, policy: Policy | None = None) -> Report:
    """Check a bundle from its bytes; nothing but a report comes out.

    What a policy asks for beyond keys and approvals is for `claims.with_claims`.
    """
    return judge(Case(data=data, policy=policy))


def judge(case: Case) -> Report:
    """Check a case that holds nothing but its bytes and a policy, and fill it."""
    passed: list[Passed] = []
    for number, (title, clause, check) in enumerate(CHECKS, start=1):
        try:
            check(case)
        except Refused as refusal:
            return refuse(case.policy, [*passed, Passed(number, title, clause, passed=False)], str(refusal))
        passed.append(Passed(number, title, clause, passed=True))
    return accept(case, passed)
