"""Check 22: people went home, and back, in cohorts. What a cohort makes void is for checks 12, 13, 15 and 19."""

from collections import Counter

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
