"""Checks 22 and 23: people went home, and back, in cohorts; receipts are stated of those who are at home.

What a cohort makes void is for checks 12, 13 and 19. The roots of receipts tell nothing by themselves; a receipt opens
one leaf (`papers/`). What is checked here is that their number, places and times are those of the other
statements, so that who holds a receipt needs nothing but it and the log's key.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from domicile_audit.case import MOVES, Case, require, require_once


def check_cohorts(case: Case) -> None:
    """Check 22 (P1): each goes home once, back only from there, and the fence closes on those who are at home."""
    together = Counter[str]()  # all people at home
    for statement in case.of("cohort/v1", "cutover/v1"):
        people = Counter[str](statement["subjects"])
        if statement.kind == "cutover/v1":
            same = not case.live or people == together
            require(same, f"{statement} fences other people than those whom cohorts took home")
            if not case.live:
                case.at_home[0] = statement
            continue
        number = statement["number"]
        require(case.homes >= people.keys(), f"{statement} takes people to a place that is no home")
        require(number > 0, f"{statement} is of a cohort without a number")
        if statement["way"] == "home":
            require(number not in case.at_home, f"{statement}: cohort {number} went home twice")
            case.at_home[number] = statement
            together.update(people)
        else:
            require(number in case.at_home, f"{statement}: cohort {number} goes back, and is not at home")
            same = people == Counter(case.at_home.pop(number)["subjects"])
            require(same, f"{statement}: others go back than cohort {number} is")
            together.subtract(people)


def check_receipts(case: Case) -> None:
    """Check 23 (P1, P8): after a clearance, before any erasure, of all who went home, by cohort, place and time.

    After a clearance nobody goes home or back (check 13), so those at home are the same for all receipts.
    """
    parts, people = Counter[int](), defaultdict[int, Counter[str]](Counter)
    leaving = _slices_that_lose(case, case.slices)
    cleared = {clearance.sha256: _slices_that_lose(case, clearance["slices"]) for clearance in case.of("clearance/v1")}
    for statement in case.of("receipts/v1"):
        clearance = case.basis(statement)
        basis = case.last_before(statement.index, *MOVES)
        require(basis.sha256 == clearance["equality"], f"{statement} rests on {clearance}, and {basis} comes later")
        early = all(statement.index < erasure.index for erasure in case.of("erasure/v1")[:1])
        require(early, f"{statement} stands after an erasure, when not everything was there to be counted any more")
        for home, place in statement["homes"].items():
            require(home in case.homes, f"{statement} names a place that is no home")
            whole = cleared[clearance.sha256][home] == leaving[home]
            require(whole, f"{statement} rests on a clearance that leaves out something of {home}")
            same = case.plan["locations"][home].items() <= place.items()
            require(same, f"{statement} says of {home} another country or operator than the plan")
        cohort = statement["cohort"]
        require(cohort in case.at_home, f"{statement} is of a cohort that is not at home")
        at_that_time = case.at_home[cohort]["fenced_at"] == statement["home_since"]
        require(at_that_time, f"{statement} is of people who went home at another time")
        parts[cohort] += 1
        require(statement["part"] == parts[cohort], f"{statement} is not of part {parts[cohort]}, which follows")
        people[cohort].update({home: place["subjects"] for home, place in statement["homes"].items()})
    require_once((statement["root"] for statement in case.of("receipts/v1")), "the roots of receipts")
    over = case.of("erasure/v1") or case.statements[-1].kind == "certificate/v1"  # then none can follow
    if people and over:
        for cohort, went in case.at_home.items():
            same = people[cohort] == Counter(went["subjects"])
            require(same, f"the receipts of cohort {cohort} are not as many as its people, by home")


def _slices_that_lose(case: Case, ids: Iterable[str]) -> Counter[str]:
    """By home, of how many of these slices something leaves the source."""
    slices = [case.slices[id_] for id_ in case.slices.keys() & ids]
    return Counter(part["home"] for part in slices if any(part["erase"].values()))
