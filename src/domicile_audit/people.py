"""Check 23: receipts are stated of those who are at home, once, when what is theirs is cleared and all still there.

The roots themselves tell nothing; a receipt opens one leaf (`receipt.py`). What is checked here is that their number,
places and times are those of the other statements, so that who holds a receipt needs nothing but it and the log's key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from domicile_audit.case import Case, Statement, require


def check_receipts(case: Case) -> None:
    """Check 23 (P1, P8): after a clearance, before any erasure, of all who went home, by cohort, place and time.

    A cohort that went back has none: after a clearance nobody goes back (check 15), and before it nothing is stated.
    """
    stated = case.of("receipts/v1")
    counted: dict[int, Counter[str]] = {}
    for one in stated:
        where, parts = f"statement {one.index} (receipts/v1)", one.predicate["part"]
        case.named(one.predicate["clearance"], "clearance/v1", one)
        early = all(erasure.index > one.index for erasure in case.of("erasure/v1"))
        require(early, f"{where} stands after an erasure, when not everything was there to be counted any more")
        before = [two for two in stated if two.index < one.index]
        same = [two.predicate["part"] for two in before if two.predicate["cohort"] == one.predicate["cohort"]]
        require(parts == len(same) + 1, f"{where} is of part {parts} where part {len(same) + 1} follows")
        _check_places(case, one, where)
        went = _who_went(case, one.index).get(one.predicate["cohort"])
        require(went is not None, f"{where} is of a cohort that is not at home")
        since = went["fenced_at"] if went else ""
        require(one.predicate["home_since"] == since, f"{where} is of people who went home at another time")
        homes = {home: place["subjects"] for home, place in one.predicate["homes"].items()}
        counted[one.predicate["cohort"]] = counted.get(one.predicate["cohort"], Counter()) + Counter(homes)
    if stated:
        for cohort, went in _who_went(case, stated[-1].index).items():
            all_ = +Counter(went["subjects"]) == counted.get(cohort, Counter())
            require(all_, f"the receipts of cohort {cohort} are not as many as its people, by home")


def _check_places(case: Case, one: Statement, where: str) -> None:
    for home, place in one.predicate["homes"].items():
        require(home in case.plan["homes"].values(), f"{where} names a place that is no home")
        own = case.plan["locations"][home]
        same = all(place[key] == own[key] for key in ("country", "operator"))
        require(same, f"{where} says of {home} another country or operator than the plan")


def _who_went(case: Case, index: int) -> dict[int, Mapping[str, Any]]:
    """By number the cohorts that are at home before a statement; in a move at once all people, under 0."""
    found: dict[int, Mapping[str, Any]] = {}
    for kind, number, predicate in _goings(case, index):
        if kind == "source":
            found.pop(number, None)
        elif kind == "home" or not case.live:
            found[number] = predicate
    return found


def _goings(case: Case, index: int) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    for statement in case.statements[:index]:
        if statement.kind == "cohort/v1":
            yield statement.predicate["way"], statement.predicate["number"], statement.predicate
        if statement.kind == "cutover/v1":
            yield "fence", 0, statement.predicate


def say_receipts(case: Case) -> list[str]:
    """How many people have a receipt, and of how many it can't be shown any more."""
    people = sum(place["subjects"] for one in case.of("receipts/v1") for place in one.predicate["homes"].values())
    gone = sum(f.predicate["count"] for f in case.of("finding/v1") if f.predicate["kind"] == "receipts destroyed")
    if not people:
        return []
    told = f"; the nonces of {gone} were stated as destroyed" if gone else ""
    return [f"the log holds commitments for receipts of {people} people, and nothing that tells who they are{told}"]
