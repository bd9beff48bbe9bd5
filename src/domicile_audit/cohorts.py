"""Check 22: people went home, and back, in cohorts. What a cohort makes void is for checks 12, 13, 15 and 19."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate

from domicile_audit.case import Case, require


def check_cohorts(case: Case) -> None:
    """Check 22 (P1): each goes home once, back only from there, and the fence closes on those who are at home."""
    inside: dict[int, Counter[str]] = {}  # the cohorts that are at home: how many people, by home
    at_home = Counter[str]()  # all of them together
    for statement in case.of("cohort/v1", "cutover/v1") if case.live else ():
        people = Counter[str](statement["subjects"])
        if statement.kind == "cutover/v1":
            require(people == at_home, f"{statement} fences other people than those whom cohorts took home")
            continue
        number = statement["number"]
        require(case.homes >= people.keys(), f"{statement} takes people to a place that is no home")
        require(number > 0, f"{statement} is of a cohort without a number")
        if statement["way"] == "home":
            require(number not in inside, f"{statement}: cohort {number} went home twice")
            inside[number] = people
            at_home.update(people)
        else:
            require(number in inside, f"{statement}: cohort {number} goes back, and is not at home")
            require(people == inside.pop(number), f"{statement}: others go back than cohort {number} is")
            at_home.subtract(people)


def say_cohorts(case: Case) -> list[str]:
    """How many went home and back, and how long they waited: half at most p50, 99 of 100 at most p99."""
    cohorts = case.of("cohort/v1")
    gone = sorted((one["wait_ms"], sum(one["subjects"].values())) for one in cohorts if one["way"] == "home")
    people = sum(count for _, count in gone)
    back = sum(sum(one["subjects"].values()) for one in cohorts) - people
    if not people:
        return []
    p50, p99, longest = (_wait(gone, share * people) for share in (50, 99, 100))
    home = f"{len(gone)} cohorts of {people} people were stated as gone home"
    again = f"{len(cohorts) - len(gone)} of {back} people as gone back: {people - back} people are at home"
    waits = f"half of them waited at most {p50} ms, 99 of 100 at most {p99} ms, all at most {longest} ms"
    return [f"{home}, {again}", f"on the way home, {waits}"]


def _wait(gone: list[tuple[int, int]], place: int) -> int:
    """The wait of the person at this place, in hundredths of a person, of those who waited least."""
    passed = accumulate(people for _, people in gone)
    return next(wait for (wait, _), people in zip(gone, passed, strict=True) if 100 * people >= place)
