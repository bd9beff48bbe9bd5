"""P1, P3: what is lost, there again, otherwise, leaked or left is told, and nothing else; a sound world is silent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import pytest

from tests.schedules.oracle import Moment, Seen, Stand, complaints
from tests.schedules.promises import GONE, Clip, Letter, Promises

AT_HOME, ALSO_AT_HOME, ON_THE_WAY, STAYER = 1, 2, 5, 9
LIVES: Final = {AT_HOME: "us", ALSO_AT_HOME: "us", ON_THE_WAY: "source", STAYER: "source"}
MARKETS: Final = {AT_HOME: "US", ALSO_AT_HOME: "US", ON_THE_WAY: "CA", STAYER: "SG"}
TOGETHER, APART = 7, 8
LETTERS: Final = {TOGETHER: (AT_HOME, ALSO_AT_HOME), APART: (AT_HOME, STAYER)}
DELETED: Final = ("note", 77)


def _promises() -> Promises:
    made = Promises(markets=dict(MARKETS), emails={person: f"e{person}" for person in MARKETS})
    made.own = {("note", person): (person, f"n{person}") for person in MARKETS} | {DELETED: (AT_HOME, GONE)}
    made.clips = {person: Clip(owner=person, address=f"a{person}", likes=3) for person in MARKETS}
    for key, people in LETTERS.items():
        made.letters[key] = Letter(people=people, may={person: {"l"} for person in people}, bodies={"l"})
    return made


def _stand(*private: int, letters: tuple[int, ...]) -> Stand:
    """What a place holds: all that is private of these people, what is public of all, and letters."""
    return Stand(
        own={("note", person): (person, f"n{person}") for person in private},
        emails={person: f"e{person}" if person in private else None for person in MARKETS},
        clips={person: (3, f"a{person}" if person in private else None) for person in MARKETS},
        letters={key: (LETTERS[key], "l") for key in letters},
    )


HOMES: Final = {
    "us": _stand(AT_HOME, ALSO_AT_HOME, letters=(TOGETHER, APART)),
    "ca": _stand(ON_THE_WAY, letters=()),
}
STANDS: Final = {
    Moment.BETWEEN: {"source": _stand(*MARKETS, letters=(TOGETHER, APART)), **HOMES},
    Moment.QUIET: {"source": _stand(*MARKETS, letters=(TOGETHER, APART)), **HOMES},
    Moment.ERASED: {"source": _stand(ON_THE_WAY, STAYER, letters=(APART,)), **HOMES},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One thing that is otherwise at one place, at some moment, and what is told of it."""

    moment: Moment
    place: str
    part: str
    key: Any
    value: Any
    told: str


DEFECTS: Final = [
    Defect(moment=moment, place=place, part=part, key=key, value=value, told=told)
    for moment, place, part, key, value, told in (
        (Moment.BETWEEN, "us", "own", ("note", 1), None, "lost: note 1 of 1 at us"),
        (Moment.BETWEEN, "us", "own", ("note", 1), (1, "z"), "otherwise: note 1 of 1 at us"),
        (Moment.BETWEEN, "us", "own", DELETED, (1, "z"), "there again: note 77 of 1 at us"),
        (Moment.BETWEEN, "source", "own", ("note", 9), None, "lost: note 9 of 9 at source"),
        (Moment.BETWEEN, "us", "emails", 1, "z", "otherwise: the e-mail of 1 at us"),
        (Moment.BETWEEN, "us", "clips", 1, (3, "z"), "otherwise: the address of clip 1"),
        (Moment.BETWEEN, "us", "letters", APART, None, "lost: letter 8"),
        (Moment.BETWEEN, "source", "letters", APART, None, "lost: letter 8"),
        (Moment.BETWEEN, "us", "letters", APART, ((1, 9), "z"), "otherwise: letter 8"),
        (Moment.QUIET, "source", "own", ("note", 1), None, "lost: note 1 of 1 (at us) at the source"),
        (Moment.QUIET, "source", "own", DELETED, (1, "z"), "there again: note 77 of 1 (at us) at the source"),
        (Moment.QUIET, "source", "emails", 1, "z", "otherwise: the e-mail of 1 at source"),
        (Moment.QUIET, "source", "clips", 1, (2, "a1"), "otherwise: likes at the source of clip 1"),
        (Moment.QUIET, "us", "clips", 1, (2, "a1"), "otherwise: likes at us of clip 1"),
        (Moment.QUIET, "source", "clips", 1, (3, "z"), "otherwise: the address at the source of clip 1"),
        (Moment.QUIET, "source", "letters", TOGETHER, ((1, 2), "z"), "otherwise: letter 7"),
        (Moment.QUIET, "ca", "own", ("note", 1), (1, "n1"), "leaked: note 1 of 1 (us) is at ca"),
        (Moment.QUIET, "us", "own", ("note", 5), (5, "n5"), "leaked: note 5 of 5 (source) is at us"),
        (Moment.QUIET, "ca", "emails", 9, "e9", "leaked: the e-mail of 9 (source) is at ca"),
        (Moment.QUIET, "ca", "clips", 1, (3, "a1"), "leaked: the address of clip 1"),
        (Moment.QUIET, "ca", "letters", APART, ((1, 9), "l"), "leaked: letter 8"),
        (Moment.ERASED, "source", "own", ("note", 1), (1, "n1"), "left: note 1 of 1"),
        (Moment.ERASED, "source", "emails", 1, "e1", "left: the e-mail of 1"),
        (Moment.ERASED, "source", "clips", 1, (3, "a1"), "left: the address of clip 1"),
        (Moment.ERASED, "source", "letters", TOGETHER, ((1, 2), "l"), "left: letter 7"),
        (Moment.ERASED, "us", "own", ("note", 1), None, "lost: note 1 of 1 at us"),
    )
]


def _seen(stands: dict[str, Stand], moment: Moment) -> Seen:
    return Seen(promises=_promises(), lives=LIVES, stands=stands, moment=moment, is_closed=False)


@pytest.mark.parametrize("moment", Moment)
def test_a_sound_world_is_silent(moment: Moment) -> None:
    assert [] == list(complaints(_seen(STANDS[moment], moment)))


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: f"{defect.moment.name} {defect.told}")
def test_p1_p3_what_is_otherwise_is_told(defect: Defect) -> None:
    stand = STANDS[defect.moment][defect.place]
    part = dict(getattr(stand, defect.part))
    if defect.value is None:
        del part[defect.key]
    else:
        part[defect.key] = defect.value
    stands = {**STANDS[defect.moment], defect.place: replace(stand, **{defect.part: part})}
    told = list(complaints(_seen(stands, defect.moment)))
    assert told, "it is silent"
    assert all(one.startswith(defect.told) for one in told), told


def test_who_waits_is_not_asked_for() -> None:
    lives = {**LIVES, STAYER: None}
    stands = {**STANDS[Moment.BETWEEN], "source": _stand(AT_HOME, ALSO_AT_HOME, ON_THE_WAY, letters=(TOGETHER,))}
    seen = Seen(promises=_promises(), lives=lives, stands=stands, moment=Moment.BETWEEN, is_closed=False)
    assert [] == list(complaints(seen))
