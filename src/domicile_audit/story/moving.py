"""Checks 10 to 13: what was planned was moved, and proven equal at home while nobody could write."""

import hashlib

from domicile_audit.case import STEPS, Case, Statement, require, require_once

SOURCES = ("live-rows", "objects")  # the kinds of copies that people's data leaves


def check_plan(case: Case) -> None:
    """Check 10 (P4): one plan, first; every statement names the digest of its file; it is closed in itself."""
    require(case.of("plan/v1") == [case.plan], "the log does not begin with a plan, or holds more than one plan")
    file = case.files.get("plan.json")  # a log as it is served has none beside it
    digest = case.plan["plan"] if file is None else hashlib.sha256(file).hexdigest()
    for statement in case.statements:
        require(statement["plan"] == digest, f"{statement} is about another plan than plan.json")
    _check_copies(case)
    for statement in case.of("plan/v1", "freeze/v1"):
        _check_slices(case, statement)
    require(not case.live or not case.plan.slices, "the plan has slices of its own, although people went in cohorts")
    rule, first_keys = case.plan["approvals"], [chain[0].vkey for chain in case.chains[1:]]
    require_once((approver["name"] for approver in rule["of"]), "the plan's approvers")
    require([approver["vkey"] for approver in rule["of"]] == first_keys, "keys/ are not those of the plan's approvers")
    require(1 <= rule["threshold"] <= len(first_keys), "the plan's number of approvals can't be met, or is none")


def _check_copies(case: Case) -> None:
    """Check 10 goes on: each copy once, at a location of the plan, its sources not at home; objects by their store."""
    copies, locations = case.plan.copies, case.plan["locations"]
    require(any(copy["kind"] in SOURCES for copy in copies.values()), "the plan lists neither live rows nor objects")
    both = min(case.object_stores & {store for store, _ in case.live_rows}, default=None)
    require(both is None, f"the plan's store {both} holds rows, and objects too")
    require(case.homes <= locations.keys(), "the plan has a home that is no location")
    for id_, copy in copies.items():
        where, store = f"the plan's copy {id_}", copy["store"]
        require(copy["location"] in locations, f"{where} is at no location")
        if copy["kind"] in SOURCES:
            require(copy["location"] not in case.homes, f"{where} is a source, and at a home")
            require("." not in store, f"{where} is of a store with a dot in its name, which parts it from its datasets")
        own = copy["kind"] != "objects" or copy["dataset"] == store
        require(own, f"{where} is of objects, and bears another dataset than its store's name")


def _check_slices(case: Case, statement: Statement) -> None:
    """Check 10 goes on: each slice once, at a home of the plan, with no more rows to erase than there are."""
    for id_, part in statement.slices.items():
        require(part["home"] in case.homes, f"{statement}: slice {id_} goes to a place that is no home")
        store, dot, _ = part["dataset"].partition(".")
        live = {(store, part["dataset"]), (store, None)} & case.live_rows
        listed = live if dot else store in case.object_stores
        require(listed, f"{statement}: slice {id_} is of rows or objects that are no copy of the plan")
        require(sum(part["erase"].values()) <= part["rows"], f"{statement}: slice {id_} erases more rows than it has")


def check_transfers(case: Case) -> None:
    """Check 11 (P1): what was copied are planned slices; in a move at once each one whole, before it is called equal.

    In a live move the slices are named long after their rows went: what is stated must be frozen, and none
    need be stated.
    """
    copied: dict[str, int] = {}  # the rows of each slice when it was last copied
    for statement in case.of("transfer/v1", "equality/v1"):
        if statement.kind == "transfer/v1":
            require_planned(case, statement)
            copied.update({id_: part["rows"] for id_, part in statement.slices.items()})
        elif statement["fenced"] and not case.live:
            short = [id_ for id_, part in case.slices.items() if copied.get(id_) != part["rows"]]
            require(not short, f"slice {min(short, default='')} was not transferred whole before {statement}")


def check_fence(case: Case) -> None:
    """Check 12 (P1): a fence stood before anything was called equal under it, on people of each home that gets rows.

    In a live move it closes after the freeze, and a cohort that goes after that opens it again.
    """
    fences = case.of("cutover/v1")
    for fence in fences:
        require(case.homes >= fence["subjects"].keys(), f"{fence} fences an unplanned home")
        same = case.live or fence.predicate == fences[0].predicate
        require(same, f"{fence} is another fence than the one before, and people went all at once")
        for home in case.frozen_before(fence.index).homes_with_rows:
            require(fence["subjects"].get(home), f"{fence} fences nobody of {home}, where rows went")
    for equality in case.of("equality/v1"):
        fenced = case.last_before(equality.index, "cutover/v1", *STEPS).kind == "cutover/v1"
        require(fenced or not equality["fenced"], f"{equality} claims a fence that was not put up before it")


def check_equalities(case: Case) -> None:
    """Check 13 (P1): an equality that clears is made under the fence and holds for every slice of the plan.

    In a live move it is of what the last freeze names, and nobody goes after that: there is no way back.
    """
    clears = {clearance["equality"] for clearance in case.of("clearance/v1")}
    for equality in case.of("equality/v1"):
        require_planned(case, equality)
        if equality.sha256 not in clears:
            continue
        require(equality["fenced"], f"{equality} was not made under the fence, but a clearance rests on it")
        require(not equality["differences"] and not equality["strays"], f"{equality} clears with differences or strays")
        for id_, planned in case.slices.items():
            require(id_ in equality.slices, f"{equality} does not compare slice {id_}")
            part = equality.slices[id_]
            require(part["rows"] == planned["rows"], f"{equality}: slice {id_} has other rows than planned")
            require(part["source"] == part["home"], f"{equality}: slice {id_} is not the same at home")
    for clearance in case.of("clearance/v1"):
        equality, last = case.basis(clearance), case.last_step
        require(last.kind != "cohort/v1", f"{clearance}: no freeze stands after {last}")
        require(last.index < equality.index, f"{clearance} rests on {equality}, which is from before {last}")


def require_planned(case: Case, statement: Statement) -> None:
    """Each slice that the statement names was named by the last freeze before it, else by the plan.

    Its dataset and home are the statement's, if that has them.
    """
    slices = case.frozen_before(statement.index).slices
    for id_ in statement.slices:
        require(id_ in slices, f"{statement} names a slice that is not planned")
        for key in ("dataset", "home"):
            same = key not in statement.predicate or slices[id_][key] == statement[key]
            require(same, f"{statement}: slice {id_} is of another dataset or home")
