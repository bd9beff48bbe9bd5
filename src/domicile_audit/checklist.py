"""The checklist. A bundle is accepted if and only if all of these hold; the first that fails is the reason.

 1  the zip is stored files in one spelling, and nothing else           container.py    APPNOTE 4.3.6
 2  the keys are well spelled, differ, and the log's is trusted          container.py    C2SP signed-note, tlog-policy
 3  the log's key signed the SHA-256 of every file                       container.py    DSSE v1.0.2
 4  only known files are in it; the README is the fixed text             container.py    docs/evidence.md, Bundle
 5  the checkpoint is this log's, signed by its key and the quorum       tree.py         C2SP tlog-checkpoint
 6  the tiles are exactly those of its size and fit the entries          tree.py         C2SP tlog-tiles
 7  the entries, in this order, have the signed root                     tree.py         RFC 6962 section 2.1
 8  every entry is an envelope signed by the log's or an approver's key  statements.py   DSSE v1.0.2
 9  every statement is of a known type and in its shape                  statements.py   in-toto Statement v1
10  one plan, first, in the bundle, named by all, closed in itself       story.py        P4
11  every slice was copied before it was called equal                    story.py        P1
12  a fence stood before anything was called equal under it              story.py        P1
13  the equality of a clearance is fenced, whole and without difference  story.py        P1
14  k of n approvers approved that equality with their own keys          story.py        P2
15  every cleared slice was restored at home and is what was compared    story.py        P2
16  erasures are cleared, announced, compared again, within the plan     story.py        P2, P7
17  sweeps are of planned copies                                         story.py        P3
18  the certificate is there, the last word, and the same in its file    certificate.py  P10
19  every copy has a verdict that the log backs; the worst is the whole  certificate.py  P3, P7, P11
20  the counts are those of the statements; nothing unproven is hidden   certificate.py  P11
21  the engine's clock did not run backwards                             certificate.py  P11
22  cohorts went home once, back only from there; all are fenced         cohorts.py      P1

P1 to P11 are the promises of docs/evidence.md. No check reads a clock, a network or another file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from domicile_audit import certificate, cohorts, container, statements, story, tree
from domicile_audit.case import Case, Refused
from domicile_audit.policy import Policy
from domicile_audit.report import Passed, Report, say_not_proven, say_proven

Check = tuple[str, str, Callable[[Case], None]]

CHECKS: Final[Sequence[Check]] = (
    ("zip in its one spelling", "APPNOTE 4.3.6", container.check_zip),
    ("keys", "C2SP signed-note; tlog-policy", container.check_keys),
    ("manifest signed over every file", "DSSE v1.0.2", container.check_manifest),
    ("no unknown file, fixed README", "docs/evidence.md, Bundle", container.check_names),
    ("checkpoint of this log", "C2SP tlog-checkpoint; tlog-policy", tree.check_checkpoint),
    ("tiles and entries", "C2SP tlog-tiles", tree.check_tiles),
    ("root of the tree", "RFC 6962 section 2.1", tree.check_root),
    ("envelopes and signatures", "DSSE v1.0.2", statements.check_envelopes),
    ("statements in their shape", "in-toto Statement v1", statements.check_statements),
    ("plan", "P4", story.check_plan),
    ("transfers", "P1", story.check_transfers),
    ("fence", "P1", story.check_fence),
    ("equality", "P1", story.check_equalities),
    ("approvals", "P2", story.check_approvals),
    ("clearance and restore", "P2", story.check_clearances),
    ("erasures", "P2, P7", story.check_erasures),
    ("sweeps", "P3", story.check_sweeps),
    ("certificate", "P10", certificate.check_certificate),
    ("verdicts", "P3, P7, P11", certificate.check_verdicts),
    ("counts", "P11", certificate.check_counts),
    ("times", "P11", certificate.check_times),
    ("cohorts", "P1", cohorts.check_cohorts),
)


def audit(data: bytes, policy: Policy | None = None) -> Report:
    """Check a bundle from its bytes; nothing but a report comes out."""
    case = Case(data=data, policy=policy)
    passed: list[Passed] = []
    keys_from = "bundle" if policy is None else "policy"
    for number, (title, clause, check) in enumerate(CHECKS, start=1):
        try:
            check(case)
        except Refused as refusal:
            checks = (*passed, Passed(number, title, clause, passed=False))
            return Report(accepted=False, checks=checks, reason=str(refusal), verdict=None, keys_from=keys_from)
        passed.append(Passed(number, title, clause, passed=True))
    return Report(
        accepted=True,
        checks=tuple(passed),
        reason=None,
        verdict=case.statements[-1].predicate["verdict"],
        keys_from=keys_from,
        proven=say_proven(case),
        not_proven=say_not_proven(case),
    )
