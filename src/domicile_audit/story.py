"""Checks 10 to 17: the statements tell one story, in the only order in which data may be moved and erased."""

import hashlib

from domicile_audit import rotation
from domicile_audit.case import MOVES, STEPS, Case, Part, Parts, Statement, by_id, require, require_once
from domicile_audit.tree import root_of_first

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
    both = min(case.object_stores & case.row_stores, default=None)
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
        listed = store in (case.row_stores if dot else case.object_stores)
        require(listed, f"{statement}: slice {id_} is of a store whose rows or objects are no copy of the plan")
        require(sum(part["erase"].values()) <= part["rows"], f"{statement}: slice {id_} erases more rows than it has")


def check_transfers(case: Case) -> None:
    """Check 11 (P1): what was copied are planned slices, and before a fenced equality each slice was copied whole.

    In a live move the slices are named long after their rows went: what is stated must be frozen, and none
    need be stated.
    """
    missing = set(case.slices)  # what was not copied yet, or last with other rows than planned
    for statement in case.of("transfer/v1", "equality/v1"):
        if statement.kind == "transfer/v1":
            slices = _require_planned(case, statement)
            missing.update(statement.slices)
            missing -= {id_ for id_, part in statement.slices.items() if part["rows"] == slices[id_]["rows"]}
        elif statement["fenced"] and not case.live:
            require(not missing, f"slice {min(missing, default='')} was not transferred whole before {statement}")


def check_fence(case: Case) -> None:
    """Check 12 (P1): a fence stood before anything was called equal under it, on people of each home that gets rows.

    In a live move it closes after the freeze, and a cohort that goes after that opens it again.
    """
    for fence in case.of("cutover/v1"):
        require(case.homes >= fence["subjects"].keys(), f"{fence} fences an unplanned home")
        same = case.live or fence.predicate == case.of("cutover/v1")[0].predicate
        require(same, f"{fence} is another fence than the one before, and people went all at once")
    fenced = {}  # each fence, with the plan or freeze that names the slices, once: there may be very many equalities
    for equality in case.of("equality/v1"):
        if equality["fenced"]:
            fence = case.last_before(equality.index, "cutover/v1", *STEPS)
            require(fence.kind == "cutover/v1", f"{equality} claims a fence that was not put up before it")
            names = case.last_before(equality.index, "freeze/v1")
            fenced[fence.index, names.index] = fence, names
    for fence, names in fenced.values():
        for home in names.homes:
            require(fence["subjects"].get(home), f"{fence} fences nobody of {home}, where rows went")


def check_equalities(case: Case) -> None:
    """Check 13 (P1): an equality that clears is made under the fence and holds for every slice of the plan.

    In a live move nobody went since the last freeze, and the equality is of what that freeze names.
    """
    clears = {clearance["equality"] for clearance in case.of("clearance/v1")}
    for equality in case.of("equality/v1"):
        _require_planned(case, equality)
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
        last = case.last_before(clearance.index, *STEPS)
        require(last.kind == "freeze/v1" or not case.live, f"{clearance}: no freeze stands since the last cohort")
        equality = case.named(clearance["equality"], "equality/v1", clearance)
        require(last.index < equality.index, f"{clearance} rests on an equality from before the last freeze")


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
    count = {erasure["clearance"] for erasure in case.of("erasure/v1")}
    count |= {clearance.sha256 for clearance in case.of("clearance/v1")[-1:]}
    for clearance in case.of("clearance/v1"):
        require_once(clearance["approvals"], f"the approvals of {clearance}")
        approvals = [case.named(sha256, "approval/v1", clearance) for sha256 in clearance["approvals"]]
        for approval in approvals:
            same = approval["equality"] == clearance["equality"]
            require(same, f"{approval} approves another equality than {clearance}")
        rotation.require_approved(case, approvals, str(clearance), counts=clearance.sha256 in count)


def check_clearances(case: Case) -> None:
    """Check 15 (P2): each cleared slice was read back from a restored backup of home; all read are what was compared.

    Of objects no restore is asked for; they are told under "not proven". From the first clearance on there is no way
    back: no cohort goes, and nothing is frozen anew.
    """
    for clearance in case.of("clearance/v1"):
        late = case.last_step
        require(late.index < clearance.index, f"{late} stands after a clearance, and there is no way back then")
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
    emptied: set[str] = set()  # what was announced
    for statement in case.of("erasure/v1"):
        intent = statement["phase"] == "intent"
        require(statement["collateral"] == 0, f"{statement} touched rows outside the closure")
        require(statement["slices"] or statement["emptied"], f"{statement} erases nothing")
        _require_planned(case, statement)
        clearance = case.named(statement["clearance"], "clearance/v1", statement)
        equality = case.named(clearance["equality"], "equality/v1", clearance)
        move = case.last_before(statement.index if intent else len(case.statements), *MOVES)
        same = move.sha256 == equality.sha256
        require(same, f"{statement} rests on {equality}, and not on {move}, which comes later")
        emptied.update(statement["emptied"] if intent else ())
        for id_ in statement["emptied"]:
            require(id_ in derived, f"{statement}: {id_} is emptied, and is no derived table of the plan")
            require(id_ in emptied, f"{statement}: the emptying of {id_} was not announced")
    _check_gone(case)


def _check_gone(case: Case) -> None:
    """Check 16 goes on: each slice was cleared and announced, is what was compared, and loses what was planned, once.

    Versions of objects that a lock kept may go later, so of an object store's slice a later outcome may tell of more.
    """
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
            planned = case.slices[id_]["erase"]
            within = part["deleted"] <= planned["delete"] and part["blanked"] <= planned["blank"]
            require(within, f"{where} loses more rows than planned")
            before = done.get(id_)
            if statement["phase"] == "intent":
                require(part["deleted"] or part["blanked"], f"{where} is announced, and nothing of it goes")
                require(before is None, f"{where} is announced again, after its erasure was told")
                announced[key] = part
                continue
            require(key in announced, f"{where}: its erasure was not announced")
            within = all(part[count] <= announced[key][count] for count in ("deleted", "blanked"))
            require(within, f"{where}: more was erased than announced")
            later = before and part["deleted"] > before["deleted"] and part["blanked"] == before["blanked"]
            more = statement["dataset"] in case.object_stores and later
            require(before is None or more, f"{where} was erased twice")
            done[id_] = part


def check_sweeps(case: Case) -> None:
    """Check 17 (P3): a sweep is about copies of the plan, each once; residue is part of the hits."""
    for statement in case.of("sweep/v1"):
        for id_, copy in statement.copies.items():
            require(id_ in case.plan.copies, f"{statement} searched a copy that is not planned")
            require(copy["residue"] <= copy["hits"], f"{statement}: copy {id_} has more residue than hits")


def _require_planned(case: Case, statement: Statement) -> Parts:
    """Each slice of the statement stands there once, and is one of those before it, with its dataset and home if named.

    What they are, is handed back: the slices of the last freeze before the statement, else those of the plan.
    """
    slices = case.last_before(statement.index, "freeze/v1").slices
    for id_ in statement.slices:
        require(id_ in slices, f"{statement} names a slice that is not planned")
        same = all(slices[id_][key] == statement[key] for key in {"dataset", "home"} & statement.predicate.keys())
        require(same, f"{statement}: slice {id_} is of another dataset or home")
    return slices
