"""Verdicts that nothing in the log backs: a search for nothing, objects that are back, an erasure that never was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from domicile.evidence import predicates as p
from domicile.proof import Verdict
from tests.vectors import objects
from tests.vectors import scenario as s
from tests.vectors.bad_stories import nothing_erased
from tests.vectors.belied import KEY_BACK
from tests.vectors.pieces import (
    FIRST_OUTCOME,
    FOUND,
    KEY_TOLD,
    OTHERS,
    UNVERIFIED,
    certified,
    finding,
    found_first,
    stated,
    swept,
)
from tests.vectors.registry import told
from tests.vectors.scenario import Line, Script, good

OBJECTS: Final = "media/objects"
ALL: Final = dict.fromkeys((*s.COPIES, OBJECTS, "media/locked-versions"), UNVERIFIED)


# ------------------------------------------------------------------------------------------- residue, and then
def _for_nothing(*copies: str) -> p.SweepPredicate:
    """A search of these copies for no values."""
    return replace(swept(*copies, minute=51), tokens=p.SweptTokens(searched=0, not_searchable=0, canaries=0))


def _then(made: p.SweepPredicate, verdicts: Mapping[str, Verdict]) -> Script:
    return certified(found_first(stated("sweep 2", made)), verdicts)


for _name, _script in {
    "residue-and-then-a-search-for-nothing": lambda: _then(_for_nothing(), dict.fromkeys(s.COPIES, UNVERIFIED)),
    "residue-and-then-a-search-that-read-nothing": lambda: _then(
        swept(size=0, minute=51), dict.fromkeys(s.COPIES, UNVERIFIED)
    ),
    "residue-left-out-by-a-search-for-nothing": lambda: _then(
        _for_nothing(*OTHERS), {FOUND: Verdict.UNKNOWN} | dict.fromkeys(OTHERS, UNVERIFIED)
    ),
}.items():
    told(_name, 19, "and holds residue", _script)


# ------------------------------------------------------------------------------------------- what is back
def _back(*, verdict: Verdict, searched: bool = True, store: str = "media") -> Script:
    """Objects came back after all was searched; nothing is called verified, and their copy is called so."""
    script = objects.lock_is_over().after("sweep", stated("back", finding("objects came back", store)))
    if not searched:
        script = script.bent("sweep", lambda made: replace(made, copies=swept().copies))  # type: ignore[call-arg]
    return certified(script, {OBJECTS: verdict, **{name: kind for name, kind in ALL.items() if name != OBJECTS}})


told("objects-back-and-called-erased", 19, "and objects came back since", lambda: _back(verdict=UNVERIFIED))
told(
    "objects-back-and-never-searched",
    19,
    "and objects came back since",
    lambda: _back(verdict=UNVERIFIED, searched=False),
)


told("residue-in-a-search-for-nothing", 19, "and holds residue", lambda: certified(
    good().signed("sweep", stated("sweep", replace(_for_nothing(), copies=swept(residue=500).copies))),
    dict.fromkeys(s.COPIES, UNVERIFIED),
))  # fmt: skip
told("key-came-back-and-is-announced-again", 19, "and its key came back", lambda: (
    good().before("sweep", *KEY_TOLD, KEY_BACK, replace(KEY_TOLD[0], name="again"))
))  # fmt: skip


def objects_back_and_unknown() -> Script:
    """Objects came back after the search, and nobody says that they are gone."""
    return _back(verdict=Verdict.UNKNOWN)


def objects_back_elsewhere() -> Script:
    """Objects came back to a store that the plan doesn't list: they say nothing of this one."""
    return _back(verdict=UNVERIFIED, store="attic")


def objects_back_and_searched_since() -> Script:
    return objects.lock_is_over().before("sweep", stated("back", finding("objects came back", "media")))


# ------------------------------------------------------------------------------------------- what never was
def _never_erased() -> Script:
    """Nothing was erased; the live rows are there, and all else is called erased."""
    others = {name: UNVERIFIED for name in s.COPIES if name != "app/live"}
    return certified(nothing_erased(good()).without("sweep"), {"app/live": Verdict.PRESENT, **others})


told("called-erased-where-nothing-was", 19, "and nothing was erased", _never_erased)
told("equal-in-the-same-bytes-after-an-outcome", 16, "which comes later", lambda: good().after(
    FIRST_OUTCOME, Line("equality again", lambda play: play["equality"])
))  # fmt: skip
