"""Check 22: people went home, and back, in cohorts. What a cohort makes void is for checks 12, 13, 15 and 19."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from domicile_audit.case import Case, require


def check_cohorts(case: Case) -> None:
    """Check 22 (P1): each goes home once, back only from there, and the fence closes on those who are at home."""
    homes = set(case.plan["homes"].values())
    inside: dict[int, Mapping[str, int]] = {}  # cohorts that are at home, and their people
    for statement in case.statements if case.live else ():
        where = f"statement {statement.index} ({statement.kind})"
        if statement.kind == "cohort/v1":
            require(set(statement.predicate["subjects"]) <= homes, f"{where} takes people to a place that is no home")
            _go(inside, statement.predicate, where)
        if statement.kind == "cutover/v1":
            same = +Counter(statement.predicate["subjects"]) == sum(map(Counter[str], inside.values()), Counter())
            require(same, f"{where} fences other people than those whom cohorts took home")


def _go(inside: dict[int, Mapping[str, int]], cohort: Mapping[str, Any], where: str) -> None:
    number, people = cohort["number"], cohort["subjects"]
    require(number > 0, f"{where} is of a cohort without a number")
    if cohort["way"] == "home":
        require(number not in inside, f"{where}: cohort {number} went home twice")
        inside[number] = people
        return
    require(number in inside, f"{where}: cohort {number} goes back, and is not at home")
    require(+Counter(people) == +Counter(inside.pop(number)), f"{where}: others go back than cohort {number} is")


def say_cohorts(case: Case) -> list[str]:
    """How many went home and back, and how long they waited: half at most p50, 99 of 100 at most p99."""
    cohorts = [statement.predicate for statement in case.of("cohort/v1")]
    gone = sorted((one["wait_ms"], sum(one["subjects"].values())) for one in cohorts if one["way"] == "home")
    people = sum(count for _, count in gone)
    back = sum(sum(one["subjects"].values()) for one in cohorts) - people
    if not people:
        return []
    p50, p99 = (_wait(gone, share * people) for share in (50, 99))
    home = f"{len(gone)} cohorts of {people} people were stated as gone home"
    again = f"{len(cohorts) - len(gone)} of {back} people as gone back: {people - back} people are at home"
    waits = f"half of them waited at most {p50} ms, 99 of 100 at most {p99} ms, all at most {gone[-1][0]} ms"
    return [f"{home}, {again}", f"on the way home, {waits}"]


def _wait(gone: list[tuple[int, int]], place: int) -> int:
    """The wait of the person at this place, in hundredths of a person, of those who waited least."""
    passed = 0
    for wait, people in gone:
        passed += 100 * people
        if passed >= place:
            return wait
    return gone[-1][0]
