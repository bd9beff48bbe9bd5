"""Check 23: receipts are stated of those who are at home, once, when what is theirs is cleared and all still there.

The roots themselves tell nothing; a receipt opens one leaf (`paper.py`). What is checked here is that their number,
places and times are those of the other statements, so that who holds a receipt needs nothing but it and the log's key.
"""

from collections import Counter

from domicile_audit.case import Case, Statement, require


def check_receipts(case: Case) -> None:
    """Check 23 (P1, P8): after a clearance, before any erasure, of all who went home, by cohort, place and time.

    A cohort that went back has none: after a clearance nobody goes back (check 15), and before it nothing is stated.
    """
    went: dict[int, Statement] = {}  # by number the cohorts that are at home; all people of a move at once under 0
    parts, people = Counter[int](), dict[int, Counter[str]]()
    known: dict[str, dict[str, str]] = {}  # by clearance, what it leaves out
    for statement in case.of("cohort/v1", "cutover/v1", "receipts/v1"):
        if statement.kind == "receipts/v1":
            cohort = statement["cohort"]
            parts[cohort] += 1
            _check_stated(case, statement, went.get(cohort), known)
            require(statement["part"] == parts[cohort], f"{statement} is not of part {parts[cohort]}, which follows")
            people.setdefault(cohort, Counter()).update(_subjects(statement))
        elif statement.kind == "cohort/v1" and statement["way"] == "source":
            went.pop(statement["number"], None)
        elif statement.kind == "cohort/v1" or not case.live:
            went[statement["number"] if case.live else 0] = statement
    over = case.of("erasure/v1") or case.statements[-1].kind == "certificate/v1"  # then none can follow
    for cohort, statement in went.items() if people and over else ():
        same = people.get(cohort, Counter()) == Counter(statement["subjects"])
        require(same, f"the receipts of cohort {cohort} are not as many as its people, by home")


def _check_stated(case: Case, statement: Statement, went: Statement | None, known: dict[str, dict[str, str]]) -> None:
    """Check 23 goes on: one statement, held against the clearance, the erasures, the plan, and who went when."""
    clearance = case.named(statement["clearance"], "clearance/v1", statement)
    if clearance.sha256 not in known:
        known[clearance.sha256] = _left_out(case, clearance)
    left_out = known[clearance.sha256]
    for home in statement["homes"]:
        require(home not in left_out, f"{statement} rests on a clearance that leaves out slice {left_out.get(home)}")
    early = not case.of("erasure/v1") or statement.index < case.of("erasure/v1")[0].index
    require(early, f"{statement} stands after an erasure, when not everything was there to be counted any more")
    for home, place in statement["homes"].items():
        require(home in case.homes, f"{statement} names a place that is no home")
        own = {key: case.plan["locations"][home][key] for key in ("country", "operator")}
        require({**place, **own} == place, f"{statement} says of {home} another country or operator than the plan")
    require(went is not None, f"{statement} is of a cohort that is not at home")
    at_that_time = went is not None and went["fenced_at"] == statement["home_since"]
    require(at_that_time, f"{statement} is of people who went home at another time")


def _left_out(case: Case, clearance: Statement) -> dict[str, str]:
    """By home a slice of which something leaves, and that the clearance does not name."""
    cleared, slices = set(clearance["slices"]), case.slices.items()
    return {part["home"]: id_ for id_, part in slices if any(part["erase"].values()) and id_ not in cleared}


def _subjects(statement: Statement) -> dict[str, int]:
    return {home: place["subjects"] for home, place in statement["homes"].items()}


def say_receipts(case: Case) -> list[str]:
    """How many people have a receipt, and of how many it can't be shown any more."""
    people = sum(sum(_subjects(statement).values()) for statement in case.of("receipts/v1"))
    gone = sum(finding["count"] for finding in case.of("finding/v1") if finding["kind"] == "receipts destroyed")
    told = f"; the nonces of {gone} were stated as destroyed" if gone else ""
    line = f"the log holds commitments for receipts of {people} people, and nothing that tells who they are{told}"
    return [line] if people else []
