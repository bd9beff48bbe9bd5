"""Checks 10 to 17: the statements tell one story, in the only order in which data may be moved and erased."""

from domicile_audit import rotation
from domicile_audit.case import MOVES, STEPS, Case, Part, Slices, Statement, require, require_once
from domicile_audit.tree import root_of_first

SOURCES = ("live-rows", "objects")  # the kinds of copies that people's data leaves


def check_plan(case: Case) -> None:
    """Check 10 (P4): one plan, first; its file is in the bundle; every statement names it; it is closed in itself."""
    require(case.plan.kind == "plan/v1", "the log does not begin with a plan")
    require(len(case.of("plan/v1")) == 1, "the log holds more than one plan")
    digest = case.plan_sha256
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
    copies, locations = case.plan["copies"], case.plan["locations"]
    require_once((copy["id"] for copy in copies), "the plan's copies")
    require(copies, "the plan lists no copy at all, so nothing could be judged")
    require(any(copy["kind"] in SOURCES for copy in copies), "the plan lists neither live rows nor objects")
    both = min(case.object_stores & case.row_stores, default=None)
    require(both is None, f"the plan's store {both} holds rows, and objects too")
    dotted = min((store for store in case.row_stores if "." in store), default=None)
    require(dotted is None, f"the plan's store {dotted} has a dot in its name, which parts a store from its datasets")
    require(case.homes <= locations.keys(), "the plan has a home that is no location")
    for copy in copies:
        own = copy["kind"] != "objects" or (copy["dataset"] == copy["store"] and "." not in copy["store"])
        require(own, f"the plan's copy {copy['id']} is of objects, and bears another dataset than its store's name")
        require(copy["location"] in locations, f"the plan's copy {copy['id']} is at no location")
        away = copy["kind"] not in SOURCES or copy["location"] not in case.homes
        require(away, f"the plan's copy {copy['id']} is a source, and at a home")


def _check_slices(case: Case, statement: Statement) -> None:
    """Check 10 goes on: each slice once, at a home of the plan, with no more rows to erase than there are."""
    require_once((part["id"] for part in statement["slices"]), str(statement))
    for id_, part in statement.slices.items():
        require(part["home"] in case.homes, f"{statement}: slice {id_} goes to a place that is no home")
        store, dot, _ = part["dataset"].partition(".")
        listed = store in (case.row_stores if dot else case.object_stores)
        require(listed, f"{statement}: slice {id_} is of a store whose rows or objects are no copy of the plan")
        erased = part["erase"]["delete"] + part["erase"]["blank"]
        require(erased <= part["rows"], f"{statement}: slice {id_} erases more rows than it has")


def check_transfers(case: Case) -> None:
    """Check 11 (P1): what was copied are planned slices, and before a fenced equality each slice was copied whole.

    In a live move the slices are named long after their rows went: what is stated must be frozen, and nothing must be
    stated.
    """
    missing = set(case.slices)  # what was not copied yet, or last with other rows than planned
    for statement, slices in case.along():
        if statement.kind == "transfer/v1":
            _require_planned(statement, slices)
            missing.update(statement.slices)
            missing -= {id_ for id_, part in statement.slices.items() if part["rows"] == slices[id_]["rows"]}
        if statement.kind == "equality/v1" and statement["fenced"] and not case.live:
            require(not missing, f"slice {min(missing, default='')} was not transferred whole before {statement}")


def check_fence(case: Case) -> None:
    """Check 12 (P1): a fence stood before anything was called equal under it, on people of each home that gets rows.

    In a live move it closes after the freeze, and a cohort that goes after that opens it again.
    """
    last = case.plan  # the last cut-over, cohort or freeze
    homes = _homes_of_rows(case.plan)
    for statement in case.statements:
        if statement.kind in {"cutover/v1", *STEPS}:
            last = statement
        if statement.kind == "freeze/v1":
            homes = _homes_of_rows(statement)
        if statement.kind == "equality/v1" and statement["fenced"]:
            require(last.kind == "cutover/v1", f"{statement} claims a fence that was not put up before it")
            for home in homes:
                require(last["subjects"].get(home), f"{last} fences nobody of {home}, where rows went")
        if statement.kind == "cutover/v1":
            require(case.homes >= statement["subjects"].keys(), f"{statement} fences an unplanned home")
            same = case.live or statement.predicate == case.of("cutover/v1")[0].predicate
            require(same, f"{statement} is another fence than the one before, and people went all at once")


def _homes_of_rows(statement: Statement) -> list[str]:
    """The homes of the slices that a plan or freeze names, but for those without rows."""
    return sorted({part["home"] for part in statement["slices"] if part["rows"]})


def check_equalities(case: Case) -> None:
    """Check 13 (P1): an equality that clears is made under the fence and holds for every slice of the plan.

    In a live move nobody went since the last freeze, and the equality is of what that freeze names.
    """
    cleared: dict[str, Statement] = {}
    last = case.plan  # the last cohort or freeze
    for statement, slices in case.along():
        if statement.kind in STEPS:
            last = statement
        if statement.kind == "equality/v1":
            _require_planned(statement, slices)
        if statement.kind == "clearance/v1":
            require(last.kind == "freeze/v1" or not case.live, f"{statement}: no freeze stands since the last cohort")
            equality = case.named(statement["equality"], "equality/v1", statement)
            require(last.index < equality.index, f"{statement} rests on an equality from before the last freeze")
            cleared[equality.sha256] = equality
    for equality in cleared.values():
        _check_equal(case, equality)


def _check_equal(case: Case, equality: Statement) -> None:
    """Check 13 goes on: fenced, whole, and without a difference."""
    require(equality["fenced"], f"{equality} was not made under the fence, but a clearance rests on it")
    require(not equality["differences"] and not equality["strays"], f"{equality} clears with differences or strays")
    for id_, planned in case.slices.items():
        require(id_ in equality.slices, f"{equality} does not compare slice {id_}")
        part = equality.slices[id_]
        require(part["rows"] == planned["rows"], f"{equality}: slice {id_} has other rows than planned")
        require(part["source"] == part["home"], f"{equality}: slice {id_} is not the same at home")


def check_approvals(case: Case) -> None:
    """Check 14 (P2): each clearance has its k approvals, by different people, of this equality, by the right keys.

    An approval names the log that its signer saw, the equality in it; so it fits no other plan or story before it.
    """
    numbers = rotation.chain_numbers(case)
    for approval in case.of("approval/v1"):
        require(approval["approver"] in numbers, f"{approval} is by somebody the plan does not name")
        own = numbers[approval["approver"]] == case.holders[approval.keyid]
        require(own, f"{approval} is signed with another approver's key")
        equality, seen = case.named(approval["equality"], "equality/v1", approval), approval["stands"]
        require(equality.index < seen <= approval.index, f"{approval} is of a log that ends elsewhere")
        require(root_of_first(seen, case.levels) == approval["root"], f"{approval} is of another log")
    clearances, under = case.of("clearance/v1"), {erasure["clearance"] for erasure in case.of("erasure/v1")}
    for clearance in clearances:
        _check_approved(case, clearance, counts=clearance is clearances[-1] or clearance.sha256 in under)


def _check_approved(case: Case, clearance: Statement, *, counts: bool) -> None:
    """Check 14 goes on: k as the plan wants, and as the auditor's policy wants of the keys that it names.

    The latter of a clearance that counts: something was erased under it, or it is the last. Another one may have had an
    approver whom nobody trusts by now, since the key was called lost.
    """
    require_once(clearance["approvals"], f"the approvals of {clearance}")
    approvals = [case.named(sha256, "approval/v1", clearance) for sha256 in clearance["approvals"]]
    for approval in approvals:
        require(approval["equality"] == clearance["equality"], f"{approval} approves another equality than {clearance}")
    rotation.require_approved(case, approvals, str(clearance), counts=counts)


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
        equal = case.named(clearance["equality"], "equality/v1", clearance).slices
        restored = _restored(case, clearance)
        for id_ in clearance["slices"]:
            if case.slices[id_]["dataset"] in case.object_stores:
                continue
            require(id_ in restored, f"{clearance}: slice {id_} was not restored at home")
        for id_, part in restored.items():
            same = part == (equal[id_]["rows"], equal[id_]["home"])
            require(same, f"{clearance}: the restore of slice {id_} differs from home")


def _restored(case: Case, clearance: Statement) -> dict[str, tuple[int, str]]:
    """Rows and digest of each slice that was read from a restored home, once and from its own."""
    found: dict[str, tuple[int, str]] = {}
    for home, report in clearance["restore"]["homes"].items():
        for part in report["slices"]:
            id_ = part["id"]
            own = id_ in case.slices and case.slices[id_]["home"] == home
            require(own, f"{clearance} restores slice {id_} at a place that is not its home")
            require(id_ not in found, f"{clearance} restores slice {id_} twice")
            found[id_] = part["rows"], part["digest"]
    return found


def check_erasures(case: Case) -> None:
    """Check 16 (P2, P7): cleared before, announced before, compared again, never more than planned, nothing else.

    Versions of objects that a lock kept may go later, so of an object store's slice a later outcome may tell of more.
    """
    _check_emptied(case)
    _check_settled(case)
    cleared = {clearance.sha256: _cleared(case, clearance) for clearance in case.of("clearance/v1")}
    announced: dict[tuple[str, str], Part] = {}  # by clearance and slice
    done: dict[str, Part] = {}
    for statement in case.of("erasure/v1"):
        require(statement["collateral"] == 0, f"{statement} touched rows outside the closure")
        _require_planned(statement, case.slices)
        for id_, part in statement.slices.items():
            where, key = f"{statement}: slice {id_}", (statement["clearance"], id_)
            _check_part(part, case.slices[id_]["erase"], cleared[statement["clearance"]], where)
            if statement["phase"] == "intent":
                require(part["deleted"] or part["blanked"], f"{where} is announced, and nothing of it goes")
                require(id_ not in done, f"{where} is announced again, after its erasure was told")
                announced[key] = part
                continue
            require(key in announced, f"{where}: its erasure was not announced")
            within = all(part[count] <= announced[key][count] for count in ("deleted", "blanked"))
            require(within, f"{where}: more was erased than announced")
            before = done.setdefault(id_, part)
            later = part["deleted"] > before["deleted"] and part["blanked"] == before["blanked"]
            more = statement["dataset"] in case.object_stores and later
            require(part is before or more, f"{where} was erased twice")
            done[id_] = part


def _check_settled(case: Case) -> None:
    """Check 16 goes on: what it rests on was the last word on what is where; after an outcome there is no other."""
    now = case.plan  # the last move of what is read of the log
    last = [now, *case.of(*MOVES)][-1]  # and of all of it
    for statement in case.of("erasure/v1", *MOVES):
        if statement.kind != "erasure/v1":
            now = statement
            continue
        require(statement["slices"] or statement["emptied"], f"{statement} erases nothing")
        clearance = case.named(statement["clearance"], "clearance/v1", statement)
        equality = case.named(clearance["equality"], "equality/v1", clearance)
        move = last if statement["phase"] == "outcome" else now
        same = move.sha256 == equality.sha256
        require(same, f"{statement} rests on {equality}, and not on {move}, which comes later")


def _check_part(part: Part, planned: Part, cleared: dict[str, str], where: str) -> None:
    """Check 16 goes on: what is announced or told of one slice was cleared, is what was compared, and was planned."""
    require(part["id"] in cleared, f"{where} was not cleared")
    require(part["digest"] == cleared[part["id"]], f"{where} is not what was proven equal")
    within = part["deleted"] <= planned["delete"] and part["blanked"] <= planned["blank"]
    require(within, f"{where} loses more rows than planned")


def _cleared(case: Case, clearance: Statement) -> dict[str, str]:
    """The slices that a clearance clears, with their digests in the equality that it names."""
    equal = case.named(clearance["equality"], "equality/v1", clearance).slices
    return {id_: equal[id_]["home"] for id_ in equal.keys() & clearance["slices"]}


def _check_emptied(case: Case) -> None:
    """Check 16 goes on: only derived tables of the plan are emptied, and that was announced."""
    derived = {copy["id"] for copy in case.plan["copies"] if copy["kind"] == "derived-table"}
    announced: set[str] = set()
    for statement in case.of("erasure/v1"):
        announced.update(statement["emptied"] if statement["phase"] == "intent" else ())
        for id_ in statement["emptied"]:
            require(id_ in derived, f"{statement}: {id_} is emptied, and is no derived table of the plan")
            require(id_ in announced, f"{statement}: the emptying of {id_} was not announced")


def check_sweeps(case: Case) -> None:
    """Check 17 (P3): a sweep is about copies of the plan, each once; residue is part of the hits."""
    known = {copy["id"] for copy in case.plan["copies"]}
    for statement in case.of("sweep/v1"):
        require_once((copy["id"] for copy in statement["copies"]), str(statement))
        for copy in statement["copies"]:
            require(copy["id"] in known, f"{statement} searched a copy that is not planned")
            require(copy["residue"] <= copy["hits"], f"{statement}: copy {copy['id']} has more residue than hits")


def _require_planned(statement: Statement, slices: Slices) -> None:
    """Each slice of the statement stands there once, is one of these, and of its dataset and home if it names such."""
    require_once((part["id"] for part in statement["slices"]), str(statement))
    for id_ in statement.slices:
        require(id_ in slices, f"{statement} names a slice that is not planned")
        same = all(slices[id_][key] == statement[key] for key in {"dataset", "home"} & statement.predicate.keys())
        require(same, f"{statement}: slice {id_} is of another dataset or home")
