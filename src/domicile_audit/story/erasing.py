"""Checks 14 to 16: what was erased was approved, restored, cleared and announced before."""

from collections.abc import Sequence

from domicile_audit.case import MOVES, Case, Part, Statement, by_id, require, require_once
from domicile_audit.log.tree import root_of_first
from domicile_audit.says import AGAIN, BACK
from domicile_audit.story.moving import require_planned


def check_approvals(case: Case) -> None:
    """Check 14 (P2): each clearance has its k approvals, by different people, of this equality, by the right keys.

    An approval names the log that its signer saw, the equality in it; so it fits no other plan or story before it.
    """
    for approval in case.of("approval/v1"):
        require(approval["approver"] in case.numbers, f"{approval} is by somebody the plan does not name")
        require(
            approval.holder == case.numbers[approval["approver"]], f"{approval} is signed with another approver's key"
        )
        equality, seen = case.basis(approval), approval["stands"]
        require(equality.index < seen <= approval.index, f"{approval} is of a log that ends elsewhere")
        require(root_of_first(seen, case.levels) == approval["root"], f"{approval} is of another log")
    for clearance in case.of("clearance/v1"):
        require_once(clearance["approvals"], f"the approvals of {clearance}")
        for approval in case.approvals(clearance):
            same = approval["equality"] == clearance["equality"]
            require(same, f"{approval} approves another equality than {clearance}")
        require_enough(case, case.approvals(clearance), str(clearance))


def require_enough(case: Case, approvals: Sequence[Statement], what: str) -> None:
    """Refuse unless so many people approved as the plan wants."""
    by, wanted = len({approval["approver"] for approval in approvals}), case.plan["approvals"]["threshold"]
    require(by >= wanted, f"{what} has {by} approvals, the plan wants {wanted}")


def check_clearances(case: Case) -> None:
    """Check 15 (P2): each cleared slice was read back from a restored backup of home; all read are what was compared.

    Of objects no restore is asked for; the answer tells that under "not proven" (report.py).
    """
    for clearance in case.of("clearance/v1"):
        require_once(clearance["slices"], str(clearance))
        require(clearance.ids, f"{clearance} clears nothing")
        require(case.slices.keys() >= clearance.ids, f"{clearance} clears a slice that is not planned")
        homes = clearance["restore"]["homes"].items()
        read = [{**part, "at": home} for home, report in homes for part in report["slices"]]
        restored = by_id(read, f"the restore of {clearance}")
        rows = {id_ for id_ in clearance.ids if case.slices[id_]["dataset"] not in case.object_stores}
        missing = min(rows - restored.keys(), default=None)
        require(missing is None, f"{clearance}: slice {missing} was not restored at home")
        equal = case.basis(clearance).slices
        for id_, part in restored.items():
            own = id_ in case.slices and case.slices[id_]["home"] == part["at"]
            require(own, f"{clearance} restores slice {id_} at a place that is not its home")
            same = (part["rows"], part["digest"]) == (equal[id_]["rows"], equal[id_]["home"])
            require(same, f"{clearance}: the restore of slice {id_} differs from home")


def check_erasures(case: Case) -> None:
    """Check 16 (P2, P7): what goes was cleared and announced, and goes once; nothing is compared or moved after it.

    An intent announces. Another comparison may follow it, and then all is cleared and announced anew: so it counts for
    its clearance only. An outcome tells what is gone, and that is gone for good.
    """
    announced: dict[tuple[str, str], Part] = {}  # by clearance and slice
    to_empty: set[tuple[str, str]] = set()  # clearance and derived table
    done: dict[str, Part] = {}  # the last outcome of each slice
    for statement in case.of("erasure/v1"):
        clearance = case.basis(statement)
        equality = case.basis(clearance)
        _check_rests(case, statement, equality)
        for id_, part in statement.slices.items():
            where, key = f"{statement}: slice {id_}", (clearance.sha256, id_)
            require(id_ in clearance.ids, f"{where} was not cleared")
            same = id_ in equality.slices and part["digest"] == equality.slices[id_]["home"]
            require(same, f"{where} is not what was proven equal")
            if statement["phase"] == "intent":
                require(id_ not in done, f"{where} is announced again, after its erasure was told")
                _check_intent(part, case.slices[id_]["erase"], where)
                announced[key] = part
            else:
                require(key in announced, f"{where}: its erasure was not announced")
                _check_outcome(part, announced[key], where)
                if id_ in done:
                    _check_more(part, done[id_], where, lockable=statement["dataset"] in case.object_stores)
                done[id_] = part
        for id_ in statement["emptied"]:
            where, key, copy = f"{statement}: {id_} is emptied", (clearance.sha256, id_), case.plan.copies.get(id_)
            require(copy and copy["kind"] == "derived-table", f"{where}, and is no derived table of the plan")
            if statement["phase"] == "intent":
                to_empty.add(key)
            require(key in to_empty, f"{where}, and its emptying was not announced")
    _check_again(case)


def _check_rests(case: Case, statement: Statement, equality: Statement) -> None:
    """Check 16 goes on: something planned goes, and the equality that it rests on is the last word on what is where.

    Of an intent: up to there. Of an outcome: in the whole log, since nothing can be compared with what is gone.
    """
    require(statement["collateral"] == 0, f"{statement} touched rows outside the closure")
    require(statement["slices"] or statement["emptied"], f"{statement} erases nothing")
    require(statement["home"] in case.homes, f"{statement} is of a place that is no home")
    require_planned(case, statement)
    until = statement.index if statement["phase"] == "intent" else len(case.statements)
    last = case.last_before(until, *MOVES)
    rests = last.index == equality.index
    require(rests, f"{statement} rests on {equality}, and not on {last}, which comes later")


def _check_intent(part: Part, planned: Part, where: str) -> None:
    """Check 16 goes on: something is to go, and no more than the plan says."""
    require(part["deleted"] or part["blanked"], f"{where} is announced, and nothing of it goes")
    within = part["deleted"] <= planned["delete"] and part["blanked"] <= planned["blank"]
    require(within, f"{where} loses more rows than planned")


def _check_outcome(part: Part, announced: Part, where: str) -> None:
    """Check 16 goes on: no more went than was announced."""
    within = part["deleted"] <= announced["deleted"] and part["blanked"] <= announced["blanked"]
    require(within, f"{where}: more was erased than announced")


def _check_more(part: Part, before: Part, where: str, *, lockable: bool) -> None:
    """Check 16 goes on: only of objects, which a lock may keep, more goes later; then it tells how many went in all."""
    more = part["deleted"] > before["deleted"] and part["blanked"] == before["blanked"]
    require(lockable and more, f"{where} was erased twice")


def _check_again(case: Case) -> None:
    """Check 16 goes on: rows come back only of a dataset that lost some; those are erased again, or none was left."""
    lost: set[str] = set()  # datasets, so far
    back: dict[str, int] = {}  # by dataset, rows that came back last and were not erased again
    for statement in case.of("erasure/v1", "finding/v1"):
        if statement.kind == "erasure/v1":
            lost.update({statement["dataset"]} if statement["phase"] == "outcome" and statement["slices"] else ())
        elif statement["kind"] in (BACK, AGAIN):
            where, count = statement["where"], statement["count"]
            require(where in lost, f"{statement}: rows of {where} were never erased before")
            if statement["kind"] == BACK:
                back[where] = count
            else:
                fits = count in (0, back.pop(where, None))
                require(fits, f"{statement}: other rows of {where} are erased again than came back")
