"""What the dice choose: how lively a run is, which statements people write at, and what they do there.

Every moment has dice of its own, made of the seed, the turn, the statement and how often it came: one statement more or
less somewhere changes nothing elsewhere, and so a seed does nearly the same each time.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from domicile.config.rules import Apart
from tests.schedules import acts
from tests.schedules.acts import Act
from tests.schedules.platform import Platform
from tests.schedules.promises import GONE
from tests.schedules.schedule import Call, Turn
from tests.schedules.world import APARTS, MARKETS, SOURCE

EVERYTHING: Final = {
    "own": 5, "remove_all": 1, "email": 2, "address": 1, "like": 1, "film": 1, "publish": 1, "market": 1, "come": 1,
    "commit": 2, "send": 5, "deliver": 5, "edit": 5,
}  # fmt: skip
LETTERS: Final = {"send": 4, "deliver": 4, "edit": 4, "own": 1, "commit": 1}
HALVES: Final = {
    "own": 4, "give": 2, "email": 2, "address": 2, "film": 2, "publish": 2, "like": 2, "market": 1, "commit": 1,
}  # fmt: skip
UNDER_WAY: Final = {"send": 2, "deliver": 3, "edit": 2}
"""What happens, where a run looks there most, from the comparison of a cohort to the word that it is home, and while
one is brought back."""
BETWEEN_TWO: Final = {"send": 1, "deliver": 1, "edit": 5}
"""The same of a run that looks at pairs."""
PAIRS: Final = 0.15
"""How many runs look at letters between two of one cohort, from two homes, that goes home and is brought back."""
CLOSES: Final = 0.35
REOPENS: Final = 0.3
PEOPLE_MAX: Final = 16
ACTS_MAX: Final = 500
RECENT: Final = 6
BURST: Final = 12
BURSTING, STEADY = 0.35, 0.08
"""How likely acts are while a cohort is under way: at the first statements after the engine has begun something else,
and at later ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """How lively a run is. `hot` is the chance of acts at one statement of `one_in`, `rare` that at any other."""

    apart: Apart
    mix: Mapping[str, int]
    rare: float
    hot: float
    one_in: int
    kills: float
    kills_within: int
    looks_at_flips: bool
    looks_at_pairs: bool


def dice_of(seed: int, *words: object) -> random.Random:
    """Dice that depend on these words alone."""
    return random.Random(" ".join(map(str, (seed, *words))))  # noqa: S311 - a test's own dice


def mood_of(seed: int) -> Mood:
    """The mood of a seed."""
    dice = dice_of(seed, "mood")
    pairs = dice_of(seed, "of two").random() < PAIRS
    flips = dice.random() < 0.6 or pairs
    return Mood(
        apart=APARTS[seed % 2],
        mix=dice.choices((LETTERS, HALVES, EVERYTHING), (4, 2, 4))[0],
        rare=0.001 if flips else dice.choice((0.002, 0.006, 0.02)),
        hot=0.02 if flips else dice.choice((0.1, 0.3, 0.7)),
        one_in=dice.choice((6, 15, 40)),
        kills=dice.choice((0, 0, 0.3)),
        kills_within=dice.choice((150, 800)),
        looks_at_flips=flips,
        looks_at_pairs=pairs,
    )


def acts_at(seed: int, mood: Mood, words: str, dice: random.Random, *, under_way: bool, since_mark: int) -> int:
    """How many acts come at this statement."""
    hot = crc32(f"{seed} {words}".encode()) % mood.one_in == 0
    chance = mood.hot if hot else mood.rare
    if under_way and mood.looks_at_flips:
        chance = max(chance, BURSTING if since_mark <= BURST else STEADY)
    return dice.choice((1, 1, 1, 2, 3)) if dice.random() < chance else 0


def choose(platform: Platform, mood: Mood, dice: random.Random, under_way: Collection[int]) -> Act | None:
    """Choose one act; None where there is nothing of the kind to do. `under_way` are people of a cohort."""
    meeting = _who_meet(platform, under_way, pairs=mood.looks_at_pairs) if mood.looks_at_flips else ()
    mix = (BETWEEN_TWO if mood.looks_at_pairs else UNDER_WAY) if meeting else mood.mix
    kind = dice.choices(list(mix), list(mix.values()))[0]
    if kind in {"send", "edit"}:
        return (_send if kind == "send" else _edit)(platform, dice, meeting)
    return {
        "own": _own, "give": _give, "remove_all": _remove_all, "email": _email, "address": _address, "like": _like,
        "film": _film, "publish": _publish, "market": _market, "come": _come, "commit": _commit, "deliver": _deliver,
    }[kind](platform, dice)  # fmt: skip


def _somebody(platform: Platform, dice: random.Random) -> int:
    return dice.choice(list(platform.promises.markets))


def _body(platform: Platform) -> str:
    return f"v{platform.fresh()}"


def _own(platform: Platform, dice: random.Random) -> Act:
    table, who, own = dice.choice(("note", "note", "payment", "post")), _somebody(platform, dice), platform.promises.own
    left_open = dice.random() < 0.07 and len(platform.held) < 2
    mine = [key for (one, key), (owner, body) in own.items() if (one, owner) == (table, who) and body != GONE]
    what = dice.choice(("write", "write", "change", "change", "delete"))
    if what == "write" or not mine:
        posts = [key for one, key in own if one == "post"]
        to = dice.choice(posts) if table == "post" and dice.random() < 0.7 else None
        return acts.Write(table, platform.fresh(), who, _body(platform), to, left_open)
    body = GONE if what == "delete" and table != "post" else _body(platform)
    return acts.Change(table, dice.choice(mine), body, left_open)


def _give(platform: Platform, dice: random.Random) -> Act:
    notes = [key for (table, key), (_, body) in platform.promises.own.items() if table == "note" and body != GONE]
    return acts.Give(dice.choice(notes or [0]), _somebody(platform, dice))


def _remove_all(platform: Platform, dice: random.Random) -> Act | None:
    return acts.RemoveAll(_somebody(platform, dice)) if dice.random() < 0.2 else None


def _email(platform: Platform, dice: random.Random) -> Act:
    return acts.ChangeEmail(_somebody(platform, dice), _body(platform))


def _address(platform: Platform, dice: random.Random) -> Act:
    return acts.ChangeAddress(dice.choice(list(platform.promises.clips)), _body(platform))


def _like(platform: Platform, dice: random.Random) -> Act:
    return acts.Like(dice.choice(list(platform.promises.clips)))


def _film(platform: Platform, dice: random.Random) -> Act:
    return acts.Film(platform.fresh(), _somebody(platform, dice), _body(platform))


def _publish(platform: Platform, dice: random.Random) -> Act | None:
    hidden = [key for key, clip in platform.promises.clips.items() if not clip.is_public]
    return acts.Publish(dice.choice(hidden)) if hidden else None


def _market(platform: Platform, dice: random.Random) -> Act | None:
    if platform.is_closed or dice.random() < 0.6:
        return None
    return acts.ChangeMarket(_somebody(platform, dice), dice.choice(MARKETS))


def _come(platform: Platform, dice: random.Random) -> Act | None:
    if platform.is_closed or len(platform.promises.markets) >= PEOPLE_MAX or dice.random() < 0.7:
        return None
    return acts.Come(platform.fresh(), dice.choice(MARKETS))


def _commit(platform: Platform, dice: random.Random) -> Act | None:
    del dice
    return acts.Commit() if platform.held else None


Meeting = Sequence[tuple[int, int]]
"""Pairs of somebody who lives at a home, and somebody who is under way, to one or back."""


def _who_meet(platform: Platform, under_way: Collection[int], *, pairs: bool) -> Meeting:
    there = [person for person, place in platform.promises.places.items() if place != SOURCE]
    first = [person for person in there if person in under_way] if pairs else there
    return [(one, other) for one in first for other in under_way if one != other]


def _send(platform: Platform, dice: random.Random, meeting: Meeting) -> Act | None:
    pair = dice.choice(meeting) if meeting else (_somebody(platform, dice), _somebody(platform, dice))
    sender, recipient = pair
    if sender == recipient:
        return None
    first = sender if dice.random() < 0.8 else recipient
    return acts.Send(platform.fresh(), sender, recipient, _body(platform), first, dice.random() < 0.5)


def _deliver(platform: Platform, dice: random.Random) -> Act | None:
    if not platform.promises.due:
        return None
    due = dice.choice(platform.promises.due)
    return acts.Deliver(due.id, due.person)


def _edit(platform: Platform, dice: random.Random, meeting: Meeting) -> Act | None:
    """Change a letter, one of the newest every other time; three in ten are deleted."""
    known = [
        (key, person)
        for key, letter in platform.promises.letters.items()
        for person, may in letter.may.items()
        if may != {GONE}
    ]
    pairs = {frozenset(pair) for pair in meeting}
    known = [one for one in known if frozenset(platform.promises.letters[one[0]].people) in pairs] or known
    if not known:
        return None
    key, person = dice.choice(known[-RECENT:] if dice.random() < 0.5 else known)
    return acts.Edit(key, person, GONE if dice.random() < 0.3 else _body(platform))


def pair(platform: Platform, dice: random.Random) -> Turn:
    """Two people with a letter between them, of two homes, or of whom one stays, go home together."""
    promises = platform.promises
    pairs = [one.people for one in promises.letters.values() if len({promises.markets[who] for who in one.people}) > 1]
    return Turn(call=Call.GO, people=dice.choice(pairs))


def turn(platform: Platform, at_home: list[int], dice: random.Random) -> Turn:
    """Choose what is asked of the engine next."""
    chance = dice.random()
    if chance < 0.5:
        return Turn(call=Call.GO, people=tuple(dice.sample(list(platform.promises.markets), dice.choice((1, 1, 2, 3)))))
    if chance < 0.65:
        return Turn(call=Call.NEXT)
    if chance < 0.9 and at_home:
        return Turn(call=Call.BACK, people=(dice.choice(at_home),))
    return Turn(call=Call.STEP)
