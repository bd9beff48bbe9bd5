"""Makes a failing schedule short: what can be left out while it goes on failing in the same way is left out.

First all acts of people and rows that the fault doesn't name; then halves, then smaller parts, down to single acts. A
run for each, and a limit on runs; so the shortest one that was found isn't always the shortest there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from tests.schedules.acts import Act
from tests.schedules.playing import Played
from tests.schedules.schedule import Schedule

RUNS_MAX: Final = 120
_NUMBER: Final = re.compile(r"(?<![A-Za-z\d])\d+")
_VALUE: Final = re.compile(r"=(\d+)")


def shrink(played: Played, again: Callable[[Schedule], Played], *, runs_max: int = RUNS_MAX) -> Played:
    """Return the shortest run that was found to fail as `played` did; `again` plays a schedule."""
    shortest, runs = played, 0

    def without(parts: set[tuple[int, int]]) -> bool:
        """Leave these out for good, if that goes on failing."""
        nonlocal shortest, runs
        if not parts or runs >= runs_max:
            return False
        runs += 1
        tried = again(shortest.schedule.without(parts))
        if tried.kind != played.kind or len(tried.schedule) >= len(shortest.schedule):
            return False
        shortest = tried
        return True

    without(_of_others(played))
    size, found = len(shortest.schedule), True
    while runs < runs_max and (size > 1 or found):
        size, at, found = max(1, size // 2), 0, False
        while runs < runs_max and (parts := set(shortest.schedule.parts()[at : at + size])):
            if without(parts):
                found = True
            else:
                at += size
    return shortest


def _of_others(played: Played) -> set[tuple[int, int]]:
    """The acts that name no number which the fault names."""
    named = set(map(int, _NUMBER.findall(played.broken)))
    return {
        (at, number)
        for at, turn in enumerate(played.schedule.turns)
        for number, one in enumerate(turn.acts)
        if not named & _numbers(one.act)
    }


def _numbers(act: Act) -> set[int]:
    return set(map(int, _VALUE.findall(str(act))))
