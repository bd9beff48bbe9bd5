"""Checks 10 to 17: the statements tell one story, in the only order in which data may be moved and erased."""

import hashlib

from domicile_audit import rotation
from domicile_audit.case import Case, Part, Slices, Statement, require, require_once


def check_plan(case: Case) -> None:
    """Check 10 (P4): one plan, first; its file is in the bundle; every statement names it; it is closed in itself."""
    require(case.plan.kind == "plan/v1", "the log does not begin with a plan")
    case.slices = [case.plan, *case.of("freeze/v1")][-1].slices
    require(len(case.of("plan/v1")) == 1, "the log holds more than one plan")
    digest = hashlib.sha256(case.files["plan.json"]).hexdigest()
    require(case.plan["plan"] == digest, "plan.json is not the plan that was stated")
    for statement in case.statements:
        require(statement["plan"] == digest, f"{statement} is about another plan")
    _check_copies(case)
    for statement in case.of("plan/v1", "freeze/v1"):
        _check_slices(case, statement)
    require(not (case.live and case.plan["slices"]), "the plan has slices of its own, although people went in cohorts")
    rule, keys = case.plan["approvals"], case.approver_keys.values()
    require_once((approver["name"] for approver in rule["of"]), "the plan's approvers")
    same = [approver["vkey"] for approver in rule["of"]] == [key.vkey for key in keys]
    require(same, "keys/ are not those of the plan's approvers")
    require(1 <= rule["threshold"] <= len(keys), "the plan's number of approvals can't be met, or is none")


def _check_copies(case: Case) -> None:
    """Check 10 goes on: each copy once, at a location of the plan; copies of objects bear their store's name."""
    copies, locations = case.plan["copies"], case.plan["locations"]
    require_once((copy["id"] for copy in copies), "the plan's copies")
    require(bool(copies), "the plan lists no copy at all, so nothing could be judged")
    require(case.homes <= locations.keys(), "the plan has a home that is no location")
    for copy in copies:
        own = copy["kind"] != "objects" or (copy["dataset"] == copy["store"] and "." not in copy["store"])
        require(own, f"the plan's copy {copy['id']} is of objects, and bears another dataset than its store's name")
        require(copy["location"] in locations, f"the plan's copy {copy['id']} is at no location")


def _check_slices(case: Case, statement: Statement) -> None:
    """Check 10 goes on: each slice once, at a home of the plan, with no more rows to erase than there are."""
    require_once((part["id"] for part in statement["slices"]), f"the slices of {statement}")
    for part in statement["slices"]:
        where = f"{statement}: slice {part['id']}"
        require(part["home"] in case.homes, f"{where} goes to a place that is no home")
        require(sum(part["erase"].values()) <= part["rows"], f"{where} erases more rows than it has")


def check_transfers(case: Case) -> None:
    """Check 11 (P1): what was copied are planned slices, and before a fenced equality each slice was copied whole.

    In a live move the slices are named long after their rows went: what is stated must be frozen, and nothing must be
    stated.
    """
    missing = set(case.slices)  # what was not copied yet, or last with other rows than planned
    for statement, slices in case.along():
        if statement.kind == "transfer/v1":
            require_once((part["id"] for part in statement["slices"]), str(statement))
            for part in statement["slices"]:
                if part["rows"] == _planned(slices, statement, part["id"])["rows"]:
                    missing.discard(part["id"])
                else:
                    missing.add(part["id"])
        if statement.kind == "equality/v1" and statement["fenced"] and not case.live:
            require(not missing, f"slice {min(missing, default='')} was not transferred whole before {statement}")


def check_fence(case: Case) -> None:
    """Check 12 (P1): a fence stood before anything was called equal under it, for homes of the plan.

    In a live move it closes after the freeze, and a cohort that goes after that opens it again.
    """
    fenced = False
    for statement in case.statements:
        if statement.kind in ("cohort/v1", "freeze/v1"):
            fenced = False
        if statement.kind == "cutover/v1":
            require(case.homes >= statement["subjects"].keys(), f"{statement} fences an unplanned home")
            fenced = True
        if statement.kind == "equality/v1" and statement["fenced"]:
            require(fenced, f"{statement} claims a fence that was not put up before it")


def check_equalities(case: Case) -> None:
    """Check 13 (P1): an equality that clears is made under the fence and holds for every slice of the plan.

    In a live move nobody went since the last freeze, and the equality is of what that freeze names.
    """
    cleared: dict[str, Statement] = {}
    last = case.plan  # the last freeze or cohort
    for statement, slices in case.along():
        if statement.kind in ("cohort/v1", "freeze/v1"):
            last = statement
        if statement.kind == "equality/v1":
            require_once((part["id"] for part in statement["slices"]), str(statement))
            require(slices.keys() >= statement.slices.keys(), f"{statement} compares a slice that is not planned")
        if statement.kind == "clearance/v1":
            equality = case.named(statement["equality"], "equality/v1", statement)
            cleared[equality.sha256] = equality
            frozen = last.kind == ("freeze/v1" if case.live else "plan/v1")
            require(frozen, f"{statement}: no freeze stands, since a cohort went after it or there is none")
            require(last.index < equality.index, f"{statement} rests on an equality from before the last freeze")
    for equality in cleared.values():
        _check_equal(case, equality)


def _check_equal(case: Case, equality: Statement) -> None:
    """Check 13 goes on: fenced, whole, and without a difference."""
    require(equality["fenced"], f"{equality} was not made under the fence, but a clearance rests on it")
    none = equality["differences"] == 0 and equality["strays"] == 0
    require(none, f"{equality} counts differences or strays, but a clearance rests on it")
    for id_, planned in case.slices.items():
        require(id_ in equality.slices, f"{equality} does not compare slice {id_}")
        part = equality.slices[id_]
        require(part["rows"] == planned["rows"], f"{equality}: slice {id_} has other rows than planned")
        require(part["source"] == part["home"], f"{equality}: slice {id_} is not the same at home")


def check_approvals(case: Case) -> None:
    """Check 14 (P2): each clearance has its k approvals, by different people, of this equality, by the right keys."""
    names = rotation.people(case)
    for approval in case.of("approval/v1"):
        require(approval["approver"] in names, f"{approval} is by somebody the plan does not name")
        own = names[approval["approver"]] == case.holders[approval.keyid]
        require(own, f"{approval} is signed with another approver's key")
        case.named(approval["equality"], "equality/v1", approval)
    for clearance in case.of("clearance/v1"):
        _check_approved(case, clearance)


def _check_approved(case: Case, clearance: Statement) -> None:
    """Check 14 goes on: k as the plan wants, and as the auditor's policy wants of the keys that it names."""
    require_once(clearance["approvals"], f"the approvals of {clearance}")
    approvals = [case.named(sha256, "approval/v1", clearance) for sha256 in clearance["approvals"]]
    for approval in approvals:
        same = approval["equality"] == clearance["equality"]
        require(same, f"{approval} approves another equality than that of {clearance}")
    by, wanted = len({approval["approver"] for approval in approvals}), case.plan["approvals"]["threshold"]
    require(by >= wanted, f"{clearance} has {by} approvals, the plan wants {wanted}")
    if case.policy is not None:
        trusted, wanted = rotation.trusted(case, approvals), case.policy.threshold
        require(trusted >= wanted, f"{clearance} has {trusted} trusted approvals, the policy wants {wanted}")


def check_clearances(case: Case) -> None:
    """Check 15 (P2): each cleared slice was read back from a restored backup of home and is what was compared.

    Of objects no restore is asked for; they are told under "not proven". From the first clearance on there is no way
    back: no cohort goes, and nothing is frozen anew.
    """
    for clearance in case.of("clearance/v1"):
        last = case.statements[case.since]
        require(last.index < clearance.index, f"{last} stands after a clearance, and there is no way back then")
        require_once(clearance["slices"], str(clearance))
        require(len(clearance["slices"]) > 0, f"{clearance} clears nothing")
        require(case.slices.keys() >= set(clearance["slices"]), f"{clearance} clears a slice that is not planned")
        equal = case.named(clearance["equality"], "equality/v1", clearance).slices
        restored = _restored(case, clearance)
        for id_ in clearance["slices"]:
            if case.slices[id_]["dataset"] in case.object_stores:
                continue
            require(id_ in restored, f"{clearance}: slice {id_} was not restored at home")
            part = restored[id_]
            same = part["rows"] == equal[id_]["rows"] and part["digest"] == equal[id_]["home"]
            require(same, f"{clearance}: the restore of slice {id_} differs from home")


def _restored(case: Case, clearance: Statement) -> Slices:
    """The slices that were read from restored homes, each once and from its own home."""
    found: dict[str, Part] = {}
    for home, report in clearance["restore"]["homes"].items():
        for part in report["slices"]:
            id_ = part["id"]
            own = id_ in case.slices and case.slices[id_]["home"] == home
            require(own, f"{clearance} restores slice {id_} at a place that is not its home")
            require(id_ not in found, f"{clearance} restores slice {id_} twice")
            found[id_] = part
    return found


def check_erasures(case: Case) -> None:
    """Check 16 (P2, P7): cleared before, announced before, compared again, never more than planned, nothing else.

    Versions of objects that a lock kept may go later, so of an object store's slice a later outcome may tell of more.
    """
    derived = {copy["id"] for copy in case.plan["copies"] if copy["kind"] == "derived-table"}
    cleared = {clearance.sha256: _cleared(case, clearance) for clearance in case.of("clearance/v1")}
    announced: dict[tuple[str, str], Part] = {}  # by slice and clearance
    emptied: set[str] = set()  # derived tables of which it was announced
    done: dict[str, int] = {}
    for statement in case.of("erasure/v1"):
        clearance = case.named(statement["clearance"], "clearance/v1", statement)
        require(statement["collateral"] == 0, f"{statement} touched rows outside the closure")
        require_once((part["id"] for part in statement["slices"]), str(statement))
        emptied.update(statement["emptied"] if statement["phase"] == "intent" else ())
        for id_ in statement["emptied"]:
            require(id_ in derived, f"{statement}: {id_} is emptied, and is no derived table of the plan")
            require(id_ in emptied, f"{statement}: the emptying of {id_} was not announced")
        for part in statement["slices"]:
            _check_part(case, statement, part, cleared[clearance.sha256])
            key = (part["id"], clearance.sha256)
            if statement["phase"] == "intent":
                announced[key] = part
                continue
            where = f"{statement}: slice {part['id']}"
            require(key in announced, f"{statement}: the erasure of slice {part['id']} was not announced")
            later = statement["dataset"] in case.object_stores and part["deleted"] > done.get(part["id"], 0)
            require(part["id"] not in done or later, f"{where} was erased twice")
            within = all(part[count] <= announced[key][count] for count in ("deleted", "blanked"))
            require(within, f"{statement}: more was erased of slice {part['id']} than announced")
            done[part["id"]] = part["deleted"]


def _check_part(case: Case, statement: Statement, part: Part, cleared: dict[str, str]) -> None:
    """Check 16 goes on: what is announced or told of one slice was cleared, is what was compared, and was planned."""
    where = f"{statement}: slice {part['id']}"
    erase = _planned(case.slices, statement, part["id"])["erase"]
    require(part["id"] in cleared, f"{where} was not cleared")
    require(part["digest"] == cleared[part["id"]], f"{where} is not what was proven equal")
    within = part["deleted"] <= erase["delete"] and part["blanked"] <= erase["blank"]
    require(within, f"{where} loses more rows than planned")


def _cleared(case: Case, clearance: Statement) -> dict[str, str]:
    """The slices that a clearance clears, with their digests in the equality that it names."""
    equal = case.named(clearance["equality"], "equality/v1", clearance).slices
    return {id_: equal[id_]["home"] for id_ in clearance["slices"] if id_ in equal}


def check_sweeps(case: Case) -> None:
    """Check 17 (P3): a sweep is about copies of the plan, each once; residue is part of the hits."""
    known = {copy["id"] for copy in case.plan["copies"]}
    for statement in case.of("sweep/v1"):
        require_once((copy["id"] for copy in statement["copies"]), str(statement))
        for copy in statement["copies"]:
            require(copy["id"] in known, f"{statement} searched a copy that is not planned")
            require(copy["residue"] <= copy["hits"], f"{statement}: copy {copy['id']} has more residue than hits")


def _planned(slices: Slices, statement: Statement, id_: str) -> Part:
    """The slice of that id, which must be of the statement's dataset and home."""
    require(id_ in slices, f"{statement} names a slice that is not planned")
    planned = slices[id_]
    same = planned["dataset"] == statement["dataset"] and planned["home"] == statement["home"]
    require(same, f"{statement}: slice {id_} is of another dataset or home")
    return planned
