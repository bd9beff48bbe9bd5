"""Checks 10 to 17: the statements tell one story, in the only order in which data may be moved and erased."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from domicile_audit import rotation
from domicile_audit.case import Case, Statement, require


def check_plan(case: Case) -> None:
    """Check 10 (P4): one plan, first; its file is in the bundle; every statement names it; it is closed in itself."""
    require(case.statements[0].kind == "plan/v1", "the log does not begin with a plan")
    case.slices = case.slices_at(len(case.statements))
    require(len(case.of("plan/v1")) == 1, "the log holds more than one plan")
    digest = hashlib.sha256(case.files["plan.json"]).hexdigest()
    require(case.plan["plan"] == digest, "plan.json is not the plan that was stated")
    for statement in case.statements:
        require(statement.predicate["plan"] == digest, f"{_name(statement)} is about another plan")
    _check_inventory(case.plan)
    _check_slices(case.plan, case.plan["slices"], "the plan")
    for freeze in case.of("freeze/v1"):
        _check_slices(case.plan, freeze.predicate["slices"], _name(freeze))
    require(not (case.live and case.plan["slices"]), "the plan has slices of its own, although people went in cohorts")
    _check_approvers(case)


def check_transfers(case: Case) -> None:
    """Check 11 (P1): what was copied are planned slices, and before a fenced equality each slice was copied.

    In a live run the slices are named long after their rows went, so none of these is asked for.
    """
    copied: dict[str, int] = {}
    for statement in case.statements:
        if statement.kind == "transfer/v1":
            slices = case.slices_at(statement.index) if case.live else case.slices
            for part in statement.predicate["slices"]:
                _require_planned(slices, statement, part["id"])
                copied[part["id"]] = part["rows"]
            _require_once((part["id"] for part in statement.predicate["slices"]), _name(statement))
        if statement.kind == "equality/v1" and statement.predicate["fenced"] and not case.live:
            for planned in case.plan["slices"]:
                same = copied.get(planned["id"]) == planned["rows"]
                require(same, f"slice {planned['id']} was not transferred whole before {_name(statement)}")


def check_fence(case: Case) -> None:
    """Check 12 (P1): a fence stood before anything was called equal under it, for homes of the plan.

    In a live run it closes after the freeze, and a cohort that goes after that opens it again.
    """
    fenced = False
    for statement in case.statements:
        fenced = fenced and statement.kind not in ("cohort/v1", "freeze/v1")
        if statement.kind == "cutover/v1":
            known = set(case.plan["homes"].values())
            require(set(statement.predicate["subjects"]) <= known, f"{_name(statement)} fences an unplanned home")
            fenced = True
        if statement.kind == "equality/v1" and statement.predicate["fenced"]:
            require(fenced, f"{_name(statement)} claims a fence that was not put up before it")


def check_equalities(case: Case) -> None:
    """Check 13 (P1): an equality that clears is made under the fence and holds for every slice of the plan."""
    for statement in case.of("equality/v1"):
        ids = [part["id"] for part in statement.predicate["slices"]]
        _require_once(ids, _name(statement))
        known = case.slices_at(statement.index) if case.live else case.slices
        require(set(ids) <= set(known), f"{_name(statement)} compares a slice that is not planned")
    for clearance in case.of("clearance/v1"):
        equality = case.named(clearance.predicate["equality"], "equality/v1", clearance)
        if case.live:
            _check_frozen(case, clearance, equality)
        _check_equality(case, equality)


def _check_frozen(case: Case, clearance: Statement, equality: Statement) -> None:
    """Check 13 goes on: in a live run nobody went since the last freeze, and the equality is of what it names."""
    last = [one for one in case.statements[: clearance.index] if one.kind in ("cohort/v1", "freeze/v1")][-1:]
    frozen = bool(last) and last[0].kind == "freeze/v1"
    require(frozen, f"{_name(clearance)}: no freeze stands, since a cohort went after it or there is none")
    since = last[0].index < equality.index
    require(since, f"{_name(clearance)} rests on an equality from before the last freeze")


def check_approvals(case: Case) -> None:
    """Check 14 (P2): each clearance has its k approvals, by different people, of this equality, by the right keys."""
    for approval in case.of("approval/v1"):
        keyid = _approver_keyids(case).get(approval.predicate["approver"])
        require(keyid is not None, f"{_name(approval)} is by somebody the plan does not name")
        own = keyid is not None and rotation.holder(case, keyid) == rotation.holder(case, approval.keyid)
        require(own, f"{_name(approval)} is signed with another approver's key")
        case.named(approval.predicate["equality"], "equality/v1", approval)
    for clearance in case.of("clearance/v1"):
        _check_approved(case, clearance)


def check_clearances(case: Case) -> None:
    """Check 15 (P2): each cleared slice was read back from a restored backup of home and is what was compared.

    Of objects no restore is asked for; they are told under "not proven".

    From the first clearance on there is no way back: no cohort goes, and nothing is frozen anew.
    """
    for clearance in case.of("clearance/v1"):
        last = case.statements[case.since]
        require(last.index < clearance.index, f"{_name(last)} stands after a clearance, and there is no way back then")
        slices = clearance.predicate["slices"]
        _require_once(slices, _name(clearance))
        require(bool(slices), f"{_name(clearance)} clears nothing")
        require(set(slices) <= set(case.slices), f"{_name(clearance)} clears a slice that is not planned")
        equal = _compared(case, clearance)
        restored = _restored(case, clearance)
        for id_ in slices:
            if case.slices[id_]["dataset"] in case.object_stores:
                continue
            require(id_ in restored, f"{_name(clearance)}: slice {id_} was not restored at home")
            part = restored[id_]
            same = (part["rows"], part["digest"]) == (equal[id_]["rows"], equal[id_]["home"])
            require(same, f"{_name(clearance)}: the restore of slice {id_} differs from home")


def check_erasures(case: Case) -> None:
    """Check 16 (P2, P7): cleared before, announced before, compared again, never more than planned, nothing else.

    Versions of objects that a lock kept may go later, so of an object store's slice a later outcome may tell of more.
    """
    intents: dict[tuple[str, str], Mapping[str, Any]] = {}
    done: dict[str, int] = {}
    announced: set[str] = set()
    cleared = {clearance.sha256: _cleared(case, clearance) for clearance in case.of("clearance/v1")}
    for statement in case.of("erasure/v1"):
        clearance = case.named(statement.predicate["clearance"], "clearance/v1", statement)
        require(statement.predicate["collateral"] == 0, f"{_name(statement)} touched rows outside the closure")
        _require_once((part["id"] for part in statement.predicate["slices"]), _name(statement))
        _check_emptied(case, statement, announced)
        for part in statement.predicate["slices"]:
            key = (part["id"], clearance.sha256)
            _check_erased(case, statement, cleared[clearance.sha256], part)
            if statement.predicate["phase"] == "intent":
                intents[key] = part
                continue
            require(key in intents, f"{_name(statement)}: the erasure of slice {part['id']} was not announced")
            later = statement.predicate["dataset"] in case.object_stores and part["deleted"] > done.get(part["id"], 0)
            require(part["id"] not in done or later, f"{_name(statement)}: slice {part['id']} was erased twice")
            within = all(part[count] <= intents[key][count] for count in ("deleted", "blanked"))
            require(within, f"{_name(statement)}: more was erased of slice {part['id']} than announced")
            done[part["id"]] = part["deleted"]


def _check_emptied(case: Case, statement: Statement, announced: set[str]) -> None:
    """Check 16 goes on: only derived tables of the plan are emptied, and announced before."""
    derived = {copy["id"] for copy in case.plan["copies"] if copy["kind"] == "derived-table"}
    for id_ in statement.predicate["emptied"]:
        require(id_ in derived, f"{_name(statement)}: {id_} is emptied, and is no derived table of the plan")
        if statement.predicate["phase"] == "intent":
            announced.add(id_)
        require(id_ in announced, f"{_name(statement)}: the emptying of {id_} was not announced")


def check_sweeps(case: Case) -> None:
    """Check 17 (P3): a sweep is about copies of the plan, each once; residue is part of the hits."""
    known = {copy["id"] for copy in case.plan["copies"]}
    for statement in case.of("sweep/v1"):
        ids = [copy["id"] for copy in statement.predicate["copies"]]
        _require_once(ids, _name(statement))
        require(set(ids) <= known, f"{_name(statement)} searched a copy that is not planned")
        for copy in statement.predicate["copies"]:
            within = copy["residue"] <= copy["hits"]
            require(within, f"{_name(statement)}: copy {copy['id']} has more residue than hits")


def _check_inventory(plan: Mapping[str, Any]) -> None:
    """Ids are unique, and every name that is used is defined."""
    _require_once((copy["id"] for copy in plan["copies"]), "the plan's copies")
    require(bool(plan["copies"]), "the plan lists no copy at all, so nothing could be judged")
    homes = set(plan["homes"].values())
    require(homes <= set(plan["locations"]), "the plan has a home that is no location")
    for copy in plan["copies"]:
        own = copy["kind"] != "objects" or (copy["dataset"] == copy["store"] and "." not in copy["store"])
        require(own, f"the plan's copy {copy['id']} is of objects, and bears another dataset than its store's name")
        require(copy["location"] in plan["locations"], f"the plan's copy {copy['id']} is at no location")


def _check_slices(plan: Mapping[str, Any], slices: Sequence[Mapping[str, Any]], where: str) -> None:
    """Each id once, at a home of the plan, with no more rows to erase than there are."""
    _require_once((part["id"] for part in slices), f"the slices of {where}")
    for part in slices:
        known = part["home"] in plan["homes"].values()
        require(known, f"{where}: slice {part['id']} goes to a place that is no home")
        fits = part["erase"]["delete"] + part["erase"]["blank"] <= part["rows"]
        require(fits, f"{where}: slice {part['id']} erases more rows than it has")


def _check_approvers(case: Case) -> None:
    """keys/ holds the plan's approvers in the plan's order; the threshold can be met and is not zero."""
    rule = case.plan["approvals"]
    _require_once((approver["name"] for approver in rule["of"]), "the plan's approvers")
    stated = [approver["vkey"] for approver in rule["of"]]
    require(stated == [key.vkey for key in case.approver_keys.values()], "keys/ are not those of the plan's approvers")
    require(1 <= rule["threshold"] <= len(stated), "the plan's number of approvals can't be met, or is none")


def _check_equality(case: Case, equality: Statement) -> None:
    predicate = equality.predicate
    require(predicate["fenced"], f"{_name(equality)} was not made under the fence, but a clearance rests on it")
    none = predicate["differences"] == 0 and predicate["strays"] == 0
    require(none, f"{_name(equality)} counts differences or strays, but a clearance rests on it")
    parts = {part["id"]: part for part in predicate["slices"]}
    for id_, planned in case.slices.items():
        require(id_ in parts, f"{_name(equality)} does not compare slice {id_}")
        require(parts[id_]["rows"] == planned["rows"], f"{_name(equality)}: slice {id_} has other rows than planned")
        same = parts[id_]["source"] == parts[id_]["home"]
        require(same, f"{_name(equality)}: slice {id_} is not the same at home")


def _check_approved(case: Case, clearance: Statement) -> None:
    predicate = clearance.predicate
    _require_once(predicate["approvals"], f"the approvals of {_name(clearance)}")
    approvals = [case.named(sha256, "approval/v1", clearance) for sha256 in predicate["approvals"]]
    for approval in approvals:
        same = approval.predicate["equality"] == predicate["equality"]
        require(same, f"{_name(approval)} approves another equality than that of {_name(clearance)}")
    names = {approval.predicate["approver"] for approval in approvals}
    wanted = case.plan["approvals"]["threshold"]
    require(len(names) >= wanted, f"{_name(clearance)} has {len(names)} approvals, the plan wants {wanted}")
    if case.policy is not None:
        trusted = rotation.trusted(case, {approval.keyid for approval in approvals})
        wanted = case.policy.threshold
        require(trusted >= wanted, f"{_name(clearance)} has {trusted} trusted approvals, the policy wants {wanted}")


def _restored(case: Case, clearance: Statement) -> dict[str, Mapping[str, Any]]:
    """The slices that were read from restored homes, each from its own home."""
    found: dict[str, Mapping[str, Any]] = {}
    for home, report in clearance.predicate["restore"]["homes"].items():
        for part in report["slices"]:
            planned = case.slices.get(part["id"])
            own = planned is not None and planned["home"] == home
            require(own, f"{_name(clearance)} restores slice {part['id']} at a place that is not its home")
            require(part["id"] not in found, f"{_name(clearance)} restores slice {part['id']} twice")
            found[part["id"]] = part
    return found


def _cleared(case: Case, clearance: Statement) -> dict[str, str]:
    """The digests of the slices that a clearance clears, by id."""
    equal = _compared(case, clearance)
    return {id_: equal[id_]["home"] for id_ in clearance.predicate["slices"] if id_ in equal}


def _compared(case: Case, clearance: Statement) -> dict[str, Mapping[str, Any]]:
    """The slices of the equality that a clearance names, by id."""
    equality = case.named(clearance.predicate["equality"], "equality/v1", clearance)
    return {part["id"]: part for part in equality.predicate["slices"]}


def _check_erased(case: Case, statement: Statement, cleared: Mapping[str, str], part: Mapping[str, Any]) -> None:
    _require_planned(case.slices, statement, part["id"])
    require(part["id"] in cleared, f"{_name(statement)}: slice {part['id']} was not cleared")
    same = part["digest"] == cleared[part["id"]]
    require(same, f"{_name(statement)}: slice {part['id']} is not what was proven equal")
    erase = case.slices[part["id"]]["erase"]
    within = part["deleted"] <= erase["delete"] and part["blanked"] <= erase["blank"]
    require(within, f"{_name(statement)}: slice {part['id']} loses more rows than planned")


def _require_planned(slices: Mapping[str, Mapping[str, Any]], statement: Statement, id_: str) -> None:
    planned = slices.get(id_)
    require(planned is not None, f"{_name(statement)} names a slice that is not planned")
    same = planned is not None and all(planned[key] == statement.predicate[key] for key in ("dataset", "home"))
    require(same, f"{_name(statement)}: slice {id_} is of another dataset or home")


def _approver_keyids(case: Case) -> dict[str, str]:
    """The plan's approvers in the plan's order, which is that of keys/ (check 10)."""
    names = [approver["name"] for approver in case.plan["approvals"]["of"]]
    return dict(zip(names, case.approver_keys, strict=True))


def _require_once(items: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for item in items:
        require(item not in seen, f"{where}: {item} stands there twice")
        seen.add(item)


def _name(statement: Statement) -> str:
    return f"statement {statement.index} ({statement.kind})"
