"""Runs with receipts, at once and in cohorts, and the ways in which their roots can be stated wrongly.

`people` are the receipts' own people: nobody but the tests opens their leaves.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

from domicile.evidence import predicates as p
from domicile.evidence.receipts.leaf import Person, Rows, commit
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from tests.vectors import live as on_the_way
from tests.vectors import scenario as s
from tests.vectors.live import SOURCE
from tests.vectors.registry import told
from tests.vectors.scenario import Line, Script, good

replace = dataclasses.replace
FIRST_INTENT = "intent app.public.messages us"
KIND = "app.public.users"


def people(count: int, home: str, *, first: int = 1) -> list[Person]:
    """So many people: each has two messages, one of which stays, and a row whose private parts go."""
    rows = {"app.public.messages": Rows(moved=2, deleted=1, blanked=0)}
    if home == "us":
        rows[KIND] = Rows(moved=1, deleted=0, blanked=1)
    return [Person(kind=KIND, key=str(number), home=home, rows=rows) for number in range(first, first + count)]


def nonce(person: Person) -> bytes:
    """A nonce that everybody knows: for tests only."""
    return hashlib.sha256(f"nonce of {person.home} {person.key}".encode()).digest()


def tree(some: list[Person]) -> tuple[Tree, list[bytes]]:
    """The tree over these people's commitments, and those in their order."""
    commitments = sorted(commit(person, nonce(person)) for person in some)
    return Tree(hash_leaf(one) for one in commitments), commitments


def stated(counts: Mapping[str, int], *, cohort: int = 0, part: int = 1, since: int = 10) -> Line:
    """One statement of receipts, its name telling cohort and part."""
    some = [person for home, count in counts.items() for person in people(count, home, first=1_000 * cohort)]
    places = s.plan().locations

    def make(play: s.Play) -> p.ReceiptsPredicate:
        return p.ReceiptsPredicate(
            plan=s.PLAN,
            clearance=play["clearance"].sha256,
            cohort=cohort,
            part=part,
            home_since=s.at(since),
            counted_at=s.at(32),
            homes={
                home: p.Received(country=places[home].country, operator=places[home].operator, subjects=count)
                for home, count in counts.items()
            },
            root=tree(some)[0].root().hex(),
        )

    return Line(f"receipts {cohort} {part}", make)


def at_once() -> Script:
    """The run at once, with one statement for everybody."""
    return _with({"us": 40, "ca": 10})


def _with(counts: Mapping[str, int]) -> Script:
    return good().before(FIRST_INTENT, stated(counts))


def destroyed_last() -> Script:
    """A nonce was destroyed after the sweep: that voids nothing of what was searched before."""
    told_of = p.FindingPredicate(
        plan=s.PLAN, kind="receipts destroyed", where=KIND, count=1, text="at a person's wish: nobody can open it now"
    )
    return at_once().before("certificate", Line("nonce destroyed", lambda _: told_of))


def in_parts() -> Script:
    """The same, as of more people than one tree holds."""
    return good().before(FIRST_INTENT, stated({"us": 40}), stated({"ca": 10}, part=2))


def in_cohorts() -> Script:
    """The run by cohorts: cohorts 1 and 2 went back, and have none."""
    third = stated({"us": 39, "ca": 9}, cohort=3, since=4)
    return on_the_way.live().before(FIRST_INTENT, third, stated({"us": 1, "ca": 1}, cohort=4, since=9))


ONE = "receipts 0 1"
EVERYBODY = stated({"us": 40, "ca": 10})
told("receipts-before-the-clearance", 23, "does not stand before it", lambda: _early(at_once()))
told("receipts-after-an-erasure", 23, "stands after an erasure", lambda: at_once().moved(ONE, before="sweep"))
told("receipts-twice", 23, "is not of part 2", lambda: at_once().after(ONE, replace(EVERYBODY, name="again")))
told("receipts-of-fewer-than-went", 23, "not as many", lambda: _with({"us": 39, "ca": 10}))
told("receipts-of-more-than-went", 23, "not as many", lambda: _with({"us": 41, "ca": 10}))
told("receipts-without-a-part", 23, "not as many", lambda: in_parts().without("receipts 0 2"))
told("receipts-of-another-day", 23, "at another time", lambda: at_once().set(ONE, home_since=s.at(9)))
told("receipts-at-no-home", 23, "no home", lambda: _with({"us": 40, "sg": 10}))
told("receipts-of-another-operator", 23, "another country or operator", lambda: at_once().set(ONE, homes=_elsewhere()))
told("receipts-of-a-cohort-in-a-move-at-once", 23, "not at home", lambda: at_once().set(ONE, cohort=1))
told(
    "receipts-of-a-cohort-that-went-back",
    23,
    "not at home",
    lambda: in_cohorts().after("receipts 3 1", stated({"us": 5, "ca": 2}, cohort=2, since=2)),
)
told("receipts-without-a-cohort", 23, "not as many", lambda: in_cohorts().without("receipts 4 1"))
told(
    "receipts-and-then-the-cohort-went-back",
    13,
    "no freeze stands after",
    lambda: in_cohorts().after("receipts 4 1", on_the_way.cohort(4, SOURCE, {"us": 1, "ca": 1}, minute=33, wait_ms=90)),
)
told("receipts-dated-before-the-restore", 21, "dated before", lambda: at_once().set(ONE, counted_at=s.at(29)))


def _early(script: Script) -> Script:
    """A statement that names a clearance which is stated only later."""
    clearance = script.play()["clearance"].sha256
    early = stated({"us": 40, "ca": 10})
    made = early.make({"clearance": s.entries_of(good())[0]})
    assert isinstance(made, p.ReceiptsPredicate)
    line = Line(ONE, lambda _: replace(made, clearance=clearance, counted_at=s.at(20)))
    return script.without(ONE).before("clearance", line)


def _elsewhere() -> Mapping[str, p.Received]:
    return {
        "us": p.Received(country="US", operator="Origin Ltd", subjects=40),
        "ca": p.Received(country="CA", operator="Home Ltd", subjects=10),
    }
