"""Cohorts: how many people go home together, and what is reported of it. Pure; `moving` acts on it.

Canaries first, then cohorts that grow as the rule says, until nobody is left. The wait of a cohort is the wait of each
of its people: from the moment their writes are refused until home takes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domicile.model import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How people go home while the service runs.

    `canaries` are keys of people who go first; `grow` are the sizes of the cohorts after them, as shares of all, the
    last one again until nobody is left. `wait_s_max` is how long a cohort may wait before it is let go and tried again.
    The engine rests `nice_ratio` times as long as it worked, but never while somebody waits.
    """

    canaries: tuple[str, ...] = ()
    grow: tuple[float, ...] = (0.01, 0.05, 0.1)
    wait_s_max: float = 5.0
    nice_ratio: float = 0.0


class Way(StrEnum):
    """Where a cohort went."""

    HOME = "home"
    SOURCE = "source"
    """Back, by `rollback`."""
    RELEASED = "released"
    """Nowhere: it missed its time, or differed, and was let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """What became of one cohort: people by home, since when and how long they waited, and rows that were drained."""

    number: int
    way: Way
    subjects: tuple[tuple[Home, int], ...]
    fenced_at: datetime
    position: str
    wait_ms: int
    awaited_ms: int
    rows: int
    why: str = ""

    @property
    def people(self) -> int:
        """How many people it is."""
        return sum(count for _, count in self.subjects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long people waited, in milliseconds: half of them at most `p50`, 99 % at most `p99`."""

    p50: int
    p99: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LagPoint:
    """One look at the lag: seconds since the feed began, changes of the last step, age of the oldest of them in s."""

    at_s: float
    changes: int
    behind_s: float


def size_of(number: int, grow: Sequence[float], people: int) -> int:
    """Say how many people the cohort of that number (from 0) holds, of all `people`; at least one.

    The last share is that of all later ones.
    """
    return max(1, math.ceil(people * grow[min(number, len(grow) - 1)]))


def waits(cohorts: Iterable[Cohort]) -> Waits | None:
    """Sum up over people, not over cohorts; None while nobody went home."""
    each = sorted((cohort.wait_ms, cohort.people) for cohort in cohorts if cohort.way is Way.HOME and cohort.people)
    if not each:
        return None
    total = sum(people for _, people in each)
    return Waits(p50=_at(each, total * 0.5), p99=_at(each, total * 0.99), max=each[-1][0])


def _at(each: Sequence[tuple[int, int]], place: float) -> int:
    passed = 0
    for wait, people in each:
        passed += people
        if passed >= place:
            return wait
    return each[-1][0]
