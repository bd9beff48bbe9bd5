"""What the dice choose: how lively a run is, which statements people write at, and what they do there.

Every moment has dice of its own, made of the seed, the turn, the statement and how often it came: one statement more or
less somewhere changes nothing elsewhere, and so a seed does nearly the same each time.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

from psycopg import sql

from domicile.config.rules import Apart
from domicile.stores.postgres.names import movers_of
from tests.schedules import acts
from tests.schedules.acts import Act
from tests.schedules.platform import Platform
from tests.schedules.promises import GONE
from tests.schedules.schedule import Call, Turn
from tests.schedules.world import APARTS, MARKETS, PERSON, SOURCE

EVERYTHING: Final = {
    "own": 5, "remove_all": 1, "email": 2, "address": 1, "like": 1, "film": 1, "publish": 1, "market": 1, "come": 1,
    "commit": 2, "send": 5, "deliver": 5, "edit": 5,
}  # fmt: skip
LETTERS: Final = {"send": 4, "deliver": 4, "edit": 4, "own": 1, "commit": 1}
HALVES: Final = {
    "own": 4, "email": 2, "address": 2, "film": 2, "publish": 2, "like": 2, "market": 1, "commit": 1,
}  # fmt: skip
AT_THE_FLIP: Final = {"send": 2, "deliver": 3, "edit": 1}
"""What happens between the comparison of a cohort and its word that it is home, where a run looks there most."""
CLOSES: Final = 0.35
REOPENS: Final = 0.3
PEOPLE_MAX: Final = 16
ACTS_MAX: Final = 500
RECENT: Final = 14
AT_A_FLIP: Final = 0.3


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


def dice_of(seed: int, *words: object) -> random.Random:
    """Dice that depend on these words alone."""
    return random.Random(" ".join(map(str, (seed, *words))))  # noqa: S311 - a test's own dice


def mood_of(seed: int) -> Mood:
    """The mood of a seed."""
    dice = dice_of(seed, "mood")
    flips = dice.random() < 0.6
    return Mood(
        apart=APARTS[seed % 2],
        mix=dice.choices((LETTERS, HALVES, EVERYTHING), (4, 2, 4))[0],
        rare=0.001 if flips else dice.choice((0.002, 0.006, 0.02)),
        hot=0.02 if flips else dice.choice((0.1, 0.3, 0.7)),
        one_in=dice.choice((6, 15, 40)),
        kills=dice.choice((0, 0, 0.3)),
        kills_within=dice.choice((150, 800)),
        looks_at_flips=flips,
    )


def acts_at(seed: int, mood: Mood, words: str, dice: random.Random, *, at_a_flip: bool) -> int:
    """How many acts come at this statement."""
    hot = crc32(f"{seed} {words}".encode()) % mood.one_in == 0
    chance = mood.hot if hot else mood.rare
    if at_a_flip and mood.looks_at_flips:
        chance = max(chance, AT_A_FLIP)
    return dice.choice((1, 1, 1, 2, 3)) if dice.random() < chance else 0


def choose(platform: Platform, mood: Mood, dice: random.Random, *, at_a_flip: bool) -> Act | None:
    """Choose one act; None where there is nothing of the kind to do."""
    mix = AT_THE_FLIP if at_a_flip and mood.looks_at_flips else mood.mix
    kind = dice.choices(list(mix), list(mix.values()))[0]
    if kind == "send":
        return _send(platform, dice, at_a_flip=at_a_flip and mood.looks_at_flips)
    return {
        "own": _own, "remove_all": _remove_all, "email": _email, "address": _address, "like": _like, "film": _film,
        "publish": _publish, "market": _market, "come": _come, "commit": _commit, "deliver": _deliver, "edit": _edit,
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


def _send(platform: Platform, dice: random.Random, *, at_a_flip: bool) -> Act | None:
    sender, recipient = _somebody(platform, dice), _somebody(platform, dice)
    if at_a_flip:
        sender, recipient = _who_meet(platform, dice) or (sender, recipient)
    if sender == recipient:
        return None
    first = sender if dice.random() < 0.8 else recipient
    return acts.Send(platform.fresh(), sender, recipient, _body(platform), first, dice.random() < 0.5)


def _who_meet(platform: Platform, dice: random.Random) -> tuple[int, int] | None:
    """Somebody who lives at a home, and somebody of the cohort that is on the way."""
    rows = platform.lines[SOURCE].execute(
        sql.SQL("SELECT key, state FROM {} WHERE cohort IS NOT NULL").format(movers_of(PERSON))
    )
    people: list[tuple[Any, ...]] = rows.fetchall()
    there = [int(key) for key, state in people if state == "home"]
    going = [int(key) for key, state in people if state != "home"]
    return (dice.choice(there), dice.choice(going)) if there and going else None


def _deliver(platform: Platform, dice: random.Random) -> Act | None:
    if not platform.promises.due:
        return None
    due = dice.choice(platform.promises.due)
    return acts.Deliver(due.id, due.person)


def _edit(platform: Platform, dice: random.Random) -> Act | None:
    """Change a letter, one of the newer ones every other time; three in ten are deleted."""
    known = [
        (key, person)
        for key, letter in platform.promises.letters.items()
        for person, may in letter.may.items()
        if may != {GONE}
    ]
    if not known:
        return None
    key, person = dice.choice(known[-RECENT:] if dice.random() < 0.5 else known)
    return acts.Edit(key, person, GONE if dice.random() < 0.3 else _body(platform))


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
