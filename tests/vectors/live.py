"""A run in which people went home in cohorts while the service ran, and the ways in which it can be told wrongly.

One cohort goes back at once, another after the first freeze: what was called equal then is void, and all of it is
frozen, fenced and compared again. From the clearance on it is the run of `scenario`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from domicile.evidence import predicates as p
from domicile.proof import Verdict
from tests.vectors import scenario as s
from tests.vectors.registry import told
from tests.vectors.scenario import Line, Script, good

replace = dataclasses.replace
HOME, SOURCE = p.Went.HOME, p.Went.SOURCE
FIRST_ID = "messages/us/0"


def cohort(number: int, way: p.Went, subjects: Mapping[str, int], *, minute: int, wait_ms: int) -> Line:
    """One cohort's statement; its name tells number and way."""
    made = p.CohortPredicate(
        plan=s.PLAN,
        number=number,
        way=way,
        subjects=subjects,
        position=f"0/16B{3000 + 10 * minute}",
        fenced_at=s.at(minute),
        wait_ms=wait_ms,
        awaited_ms=wait_ms // 4,
        rows=3 * sum(subjects.values()),
    )
    return Line(f"{number} {way}", lambda _: made)


def freeze() -> p.FreezePredicate:
    return p.FreezePredicate(plan=s.PLAN, position="0/16B3740", frozen_at=s.at(9), slices=s.plan().slices)


def _first_freeze() -> p.FreezePredicate:
    """What was frozen before a cohort went back: one slice, of fewer rows and another name."""
    slices = (replace(s.plan().slices[0], id=FIRST_ID, rows=119, erase=p.EraseCounts(delete=119, blank=0)),)
    return replace(freeze(), position="0/16B3060", frozen_at=s.at(6), slices=slices)


def _first_equality() -> p.EqualityPredicate:
    slices = (p.ComparedSlice(id=FIRST_ID, rows=119, source=s.digest(FIRST_ID), home=s.digest(FIRST_ID)),)
    return replace(s.equality(fenced=True), position="0/16B3070", slices=slices)


def live() -> Script:
    """The run as it should be; the last cohort is the first one's people again."""
    rest = good().lines[good().place("cutover") :]
    lines = (
        Line("plan", lambda _: replace(s.plan(), slices=())),
        cohort(1, HOME, {"us": 1, "ca": 1}, minute=1, wait_ms=412),
        cohort(2, HOME, {"us": 5, "ca": 2}, minute=2, wait_ms=980),
        cohort(2, SOURCE, {"us": 5, "ca": 2}, minute=3, wait_ms=350),
        cohort(3, HOME, {"us": 39, "ca": 9}, minute=4, wait_ms=388),
        Line("first freeze", lambda _: _first_freeze()),
        Line("first cutover", lambda _: replace(s.cutover(), position="0/16B3065", fenced_at=s.at(7))),
        Line("first equality", lambda _: _first_equality()),
        cohort(1, SOURCE, {"us": 1, "ca": 1}, minute=8, wait_ms=200),
        cohort(4, HOME, {"us": 1, "ca": 1}, minute=9, wait_ms=2104),
        Line("freeze", lambda _: freeze()),
        *rest,
    )
    return Script(lines)


def not_frozen() -> Script:
    """A run that stopped where a cohort had gone back after a freeze: nothing is called equal any more."""
    place = live().place("1 source") + 1
    copies = tuple(
        p.JudgedCopy(id=c.id, verdict=Verdict.PRESENT, why="people are on their way", until=None)
        for c in s.certificate().copies
    )
    nothing = p.Counts(moved=0, deleted=0, blanked=0, kept=0)
    made = replace(
        s.certificate(), verdict=Verdict.PRESENT, copies=copies, counts={"app.public.messages": {"us": nothing}}
    )
    return Script((*live().lines[:place], Line("certificate", lambda _: made)))


# ------------------------------------------------------------------------------------------- 10 the slices of a freeze
_SL = s.plan().slices


def _freeze(place: int, **values: object) -> Script:
    return live().set("freeze", slices=(*_SL[:place], replace(_SL[place], **values), *_SL[place + 1 :]))


told("live-plan-with-slices", 10, "slices of its own", lambda: live().set("plan", slices=_SL))
told("freeze-with-a-slice-twice", 10, "twice", lambda: live().set("freeze", slices=(*_SL, _SL[0])))
told("freeze-of-a-slice-elsewhere", 10, "no home", lambda: _freeze(0, home="sg"))
told(
    "freeze-erases-more-than-there-is",
    10,
    "more rows than it has",
    lambda: _freeze(0, erase=p.EraseCounts(delete=120, blank=1)),
)

# ------------------------------------------------------------------------------------------- 11, 12, 13
told(
    "transfer-of-what-is-not-frozen-yet",
    11,
    "not planned",
    lambda: live().before("first freeze", Line("transfer", lambda _: s.transfer("app.public.messages", "us"))),
)
told("freeze-without-a-fence-after-it", 12, "not put up before it", lambda: live().without("cutover"))
told("freeze-after-the-fence", 12, "not put up before it", lambda: _dated(live().swapped("freeze", "cutover")))
told(
    "equality-of-a-void-freeze",
    13,
    "not planned",
    lambda: live().after("cutover", Line("again", lambda _: replace(_first_equality(), position="0/16B3750"))),
)
told(
    "clearance-of-an-equality-before-the-last-freeze",
    13,
    "from before statement",
    lambda: (
        live()
        .set("first freeze", slices=_SL)
        .signed("equality", Line("equality again", lambda _: s.equality(fenced=True)))
        .signed("first equality", Line("equality", lambda _: replace(s.equality(fenced=True), position="0/16B3070")))
    ),
)
told(
    "clearance-after-a-cohort-went-back",
    13,
    "no freeze stands after",
    lambda: live().before("approval operator", cohort(4, SOURCE, {"us": 1, "ca": 1}, minute=15, wait_ms=90)),
)
told(
    "clearance-before-the-last-cohort-is-frozen",
    13,
    "no freeze stands after",
    lambda: live().swapped("4 home", "freeze"),
)


def _dated(script: Script) -> Script:
    """The same with the freeze at the time of the fence, so that the clock is no reason."""
    return script.set("freeze", frozen_at=s.at(10))


# ------------------------------------------------------------------------------------------- 13 no way back
told(
    "cohort-after-the-clearance",
    13,
    "no freeze stands after",
    lambda: live().after("clearance", cohort(4, SOURCE, {"us": 1, "ca": 1}, minute=31, wait_ms=90)),
)
told(
    "freeze-after-the-clearance",
    13,
    "from before statement",
    lambda: live().after("clearance", Line("late", lambda _: replace(freeze(), frozen_at=s.at(31)))),
)


# ------------------------------------------------------------------------------------------- 19 verdicts, 20 counts
def _nothing_left(*lines: Line) -> Script:
    """Somebody went home, and the certificate says that all is erased."""
    first = (live().lines[0], cohort(1, HOME, {"us": 40, "ca": 10}, minute=1, wait_ms=412))
    copies = tuple(replace(c, verdict=Verdict.ERASED_UNVERIFIED) for c in s.certificate().copies)
    made = replace(s.certificate(), counts={}, copies=copies, verdict=Verdict.ERASED_UNVERIFIED)
    return Script((*first, *lines, Line("certificate", lambda _: made)))


told("nothing-frozen-but-called-erased", 19, "and nothing was erased", lambda: _nothing_left(good().lines[-2]))
told(
    "certificate-counting-a-void-equality",
    20,
    "not those of the statements",
    lambda: not_frozen().set(
        "certificate",
        counts={"app.public.messages": {"us": p.Counts(moved=119, deleted=0, blanked=0, kept=119)}},
    ),
)

# ------------------------------------------------------------------------------------------- 21 times, 22 cohorts
told("cohort-before-the-one-it-follows", 21, "dated before", lambda: live().set("2 home", fenced_at=s.at(0)))
told("freeze-before-the-last-cohort", 21, "dated before", lambda: live().set("freeze", frozen_at=s.at(8)))
told("cohort-without-a-number", 22, "without a number", lambda: live().set("3 home", number=0))
told("cohort-home-twice", 22, "went home twice", lambda: live().set("4 home", number=3))
told("cohort-back-that-never-went", 22, "is not at home", lambda: live().set("2 source", number=9))
told("cohort-back-twice", 22, "is not at home", lambda: live().set("1 source", number=2))
told("cohort-back-with-others", 22, "others go back", lambda: live().set("2 source", subjects={"us": 6, "ca": 2}))
told("cohort-to-an-unplanned-home", 22, "no home", lambda: live().set("3 home", subjects={"us": 39, "sg": 9}))
told("cohort-left-at-the-source", 22, "fences other people", lambda: live().without("4 home"))
told(
    "fence-of-people-who-never-went",
    22,
    "fences other people",
    lambda: live().set("cutover", subjects={"us": 41, "ca": 9}),
)
