"""Checks 14 to 17: what was erased was approved, restored, cleared and announced before; and what was looked for."""

from domicile_audit.case import MOVES, Case, Part, by_id, require, require_once
from domicile_audit.log.tree import root_of_first
from domicile_audit.says import AGAIN
from domicile_audit.story import rotation
from domicile_audit.story.moving import require_planned


def check_approvals(case: Case) -> None:
    """Check 14 (P2): each clearance has its k approvals, by different people, of this equality, by the right keys.

    An approval names the log that its signer saw, the equality in it; so it fits no other plan or story before it. What
    the auditor's policy wants is asked of a clearance that counts: something was erased under it, or it is the last.
    Another one may have had an approver whom nobody trusts by now, since the key was called lost.
    """
    numbers = rotation.chain_numbers(case)
    for approval in case.of("approval/v1"):
        require(approval["approver"] in numbers, f"{approval} is by somebody the plan does not name")
        own = numbers[approval["approver"]] == case.holders[approval.keyid]
        require(own, f"{approval} is signed with another approver's key")
        equality, seen = case.named(approval["equality"], "equality/v1", approval), approval["stands"]
        require(equality.index < seen <= approval.index, f"{approval} is of a log that ends elsewhere")
        require(root_of_first(seen, case.levels) == approval["root"], f"{approval} is of another log")
    must_hold = {erasure["clearance"] for erasure in case.of("erasure/v1")}
    must_hold |= {clearance.sha256 for clearance in case.of("clearance/v1")[-1:]}
    for clearance in case.of("clearance/v1"):
        require_once(clearance["approvals"], f"the approvals of {clearance}")
        approvals = [case.named(sha256, "approval/v1", clearance) for sha256 in clearance["approvals"]]
        for approval in approvals:
            same = approval["equality"] == clearance["equality"]
            require(same, f"{approval} approves another equality than {clearance}")
        rotation.require_approved(case, approvals, str(clearance), counts=clearance.sha256 in must_hold)


def check_clearances(case: Case) -> None:
    """Check 15 (P2): each cleared slice was read back from a restored backup of home; all read are what was compared.

    Of objects no restore is asked for; they are told under "not proven".
    """
    for clearance in case.of("clearance/v1"):
        require_once(clearance["slices"], str(clearance))
        require(clearance["slices"], f"{clearance} clears nothing")
        require(case.slices.keys() >= set(clearance["slices"]), f"{clearance} clears a slice that is not planned")
        homes = clearance["restore"]["homes"].items()
        read = [{**part, "at": home} for home, report in homes for part in report["slices"]]
        restored = by_id(read, f"the restore of {clearance}")
        rows = {id_ for id_ in clearance["slices"] if case.slices[id_]["dataset"] not in case.object_stores}
        missing = min(rows - restored.keys(), default=None)
        require(missing is None, f"{clearance}: slice {missing} was not restored at home")
        equal = case.named(clearance["equality"], "equality/v1", clearance).slices
        for id_, part in restored.items():
            own = id_ in case.slices and case.slices[id_]["home"] == part["at"]
            require(own, f"{clearance} restores slice {id_} at a place that is not its home")
            same = (part["rows"], part["digest"]) == (equal[id_]["rows"], equal[id_]["home"])
            require(same, f"{clearance}: the restore of slice {id_} differs from home")


def check_erasures(case: Case) -> None:
    """Check 16 (P2, P7): cleared, announced, on the last word of what is where, and only derived tables are emptied.

    After an outcome there is no other word on what is where.
    """
    derived = {id_ for id_, copy in case.plan.copies.items() if copy["kind"] == "derived-table"}
    announced: set[tuple[str, str]] = set()  # derived tables, by clearance
    last_move = case.last_before(len(case.statements), *MOVES)
    for statement in case.of("erasure/v1"):
        require(statement["collateral"] == 0, f"{statement} touched rows outside the closure")
        require(statement["slices"] or statement["emptied"], f"{statement} erases nothing")
        require_planned(case, statement)
        clearance = case.named(statement["clearance"], "clearance/v1", statement)
        equality = case.named(clearance["equality"], "equality/v1", clearance)
        basis = case.last_before(statement.index, *MOVES)
        require(
            basis.sha256 == equality.sha256, f"{statement} rests on {equality}, and not on {basis}, which comes later"
        )
        if statement["phase"] == "intent":  # it may be followed by another comparison, and be announced anew
            announced.update((clearance.sha256, id_) for id_ in statement["emptied"])
        else:
            require(basis is last_move, f"{statement} rests on {equality}, and not on {last_move}, which comes later")
        for id_ in statement["emptied"]:
            require(id_ in derived, f"{statement}: {id_} is emptied, and is no derived table of the plan")
            require((clearance.sha256, id_) in announced, f"{statement}: the emptying of {id_} was not announced")
    _check_gone(case)
    first = {outcome["dataset"]: outcome.index for outcome in reversed(case.outcomes)}
    for finding in case.of("finding/v1"):
        again = first.get(finding["where"], case.size) < finding.index  # under the clearance of the first time
        require(finding["kind"] != AGAIN or again, f"{finding}: rows of {finding['where']} were never erased before")


def _check_gone(case: Case) -> None:
    """Check 16 goes on: each slice was cleared, is what was compared, announced as planned, erased as announced."""
    cleared = {clearance.sha256: set(clearance["slices"]) for clearance in case.of("clearance/v1")}
    announced: dict[tuple[str, str], Part] = {}  # by clearance and slice
    done: dict[str, Part] = {}
    for statement in case.of("erasure/v1"):
        clearance = case.named(statement["clearance"], "clearance/v1", statement)
        equal = case.named(clearance["equality"], "equality/v1", clearance).slices
        for id_, part in statement.slices.items():
            where, key = f"{statement}: slice {id_}", (clearance.sha256, id_)
            require(id_ in cleared[clearance.sha256], f"{where} was not cleared")
            same = id_ in equal and part["digest"] == equal[id_]["home"]
            require(same, f"{where} is not what was proven equal")
            if statement["phase"] == "intent":
                require(id_ not in done, f"{where} is announced again, after its erasure was told")
                _check_announced(part, case.slices[id_]["erase"], where)
                announced[key] = part
            else:
                require(key in announced, f"{where}: its erasure was not announced")
                may_go_on = done.get(id_) if statement["dataset"] in case.object_stores else None
                require(id_ not in done or may_go_on, f"{where} was erased twice")
                _check_outcome(part, announced[key], may_go_on, where)
                done[id_] = part


def _check_announced(part: Part, planned: Part, where: str) -> None:
    """Check 16 goes on: something is to go, and no more than the plan says."""
    require(part["deleted"] or part["blanked"], f"{where} is announced, and nothing of it goes")
    within = part["deleted"] <= planned["delete"] and part["blanked"] <= planned["blank"]
    require(within, f"{where} loses more rows than planned")


def _check_outcome(part: Part, announced: Part, before: Part | None, where: str) -> None:
    """Check 16 goes on: no more went than was announced; of objects that a lock kept, more may go later.

    Then the later outcome tells how many went in all, and not how many more.
    """
    within = part["deleted"] <= announced["deleted"] and part["blanked"] <= announced["blanked"]
    require(within, f"{where}: more was erased than announced")
    if before:
        more = part["deleted"] > before["deleted"] and part["blanked"] == before["blanked"]
        require(more, f"{where} was erased twice")


def check_sweeps(case: Case) -> None:
    """Check 17 (P3): a sweep is about copies of the plan, each once; residue is part of the hits, rows of datasets."""
    for statement in case.of("sweep/v1"):
        for id_, copy in statement.copies.items():
            require(id_ in case.plan.copies, f"{statement} searched a copy that is not planned")
            require(copy["residue"] <= copy["hits"], f"{statement}: copy {id_} has more residue than hits")
        rows = statement["rows"]
        require(rows["datasets"] or not rows["hits"], f"{statement} found rows by query, and asked of no dataset")
