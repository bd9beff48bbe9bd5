"""What is counted: latencies and outcomes per location and per state of the person. Memory does not grow with time."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

FLOOR_MS: Final = 0.05
GROWTH: Final = 1.02  # a percentile is at most this factor above the true one
PERCENTILES: Final = (50, 95, 99)


class State(StrEnum):
    """Where the person is in the move, as far as the person can tell."""

    STAYS = "stays"  # answered where they were when they came
    MOVING = "moving"  # asked to try again in a moment, not served since
    HOME = "home"  # answered elsewhere than where they were when they came


class Result(StrEnum):
    """How a request ended."""

    OK = "ok"
    HELD = "held"  # 503 with Retry-After: the data is moving, and the service says so
    REFUSED = "refused"  # 4xx
    FAILED = "failed"  # 5xx
    NO_ANSWER = "no-answer"


ERRORS: Final = (Result.REFUSED, Result.FAILED, Result.NO_ANSWER)


@dataclass(slots=True)
class Histogram:
    """Durations in buckets that grow by GROWTH; the longest is kept as it is."""

    buckets: Counter[int] = field(default_factory=Counter)
    count: int = 0
    max_ms: float = 0.0

    def add(self, ms: float) -> None:
        """Count one duration."""
        self.buckets[max(0, math.ceil(math.log(max(ms, FLOOR_MS) / FLOOR_MS, GROWTH)))] += 1
        self.count += 1
        self.max_ms = max(self.max_ms, ms)

    def percentile(self, percent: float) -> float:
        """Return a duration in ms that `percent` of all do not exceed; 0 when there is none."""
        wanted, seen = math.ceil(self.count * percent / 100), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return min(self.max_ms, FLOOR_MS * GROWTH**bucket)
        return 0.0

    def merge(self, other: Histogram) -> None:
        """Add what another one counted."""
        self.buckets.update(other.buckets)
        self.count += other.count
        self.max_ms = max(self.max_ms, other.max_ms)


@dataclass(slots=True)
class Figures:
    """One group's latencies and outcomes. `since_due` counts from when the request should have been sent."""

    since_due: Histogram = field(default_factory=Histogram)
    since_sent: Histogram = field(default_factory=Histogram)
    results: Counter[Result] = field(default_factory=Counter)

    def add(self, result: Result, *, due_ms: float, sent_ms: float) -> None:
        """Count one request."""
        self.since_due.add(due_ms)
        self.since_sent.add(sent_ms)
        self.results[result] += 1

    @property
    def errors(self) -> int:
        """How many ended as nobody wants."""
        return sum(self.results[result] for result in ERRORS)

    def merge(self, other: Figures) -> None:
        """Add what another one counted."""
        self.since_due.merge(other.since_due)
        self.since_sent.merge(other.since_sent)
        self.results.update(other.results)

    def as_json(self) -> dict[str, Any]:
        """Return the line's part: times in ms."""
        times = {f"p{percent}_ms": round(self.since_due.percentile(percent), 2) for percent in PERCENTILES}
        sent = {f"sent_p{percent}_ms": round(self.since_sent.percentile(percent), 2) for percent in PERCENTILES}
        counts = {result.value: self.results[result] for result in Result}
        return {"requests": self.since_due.count, **times, "max_ms": round(self.since_due.max_ms, 2), **sent, **counts}


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Group:
    """What figures are kept apart by."""

    location: str
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """How long one request took: since it was due, since it was sent, and what the router says that it held it for."""

    due_ms: float
    sent_ms: float
    held_ms: float | None = None
    writes: bool = False


@dataclass(slots=True)
class Phase:
    """What was felt while one thing went on: by those who are to move, by the others, and how long was held."""

    movers: Figures = field(default_factory=Figures)
    others: Figures = field(default_factory=Figures)
    writes: Figures = field(default_factory=Figures)  # of both, what writes
    held: Histogram = field(default_factory=Histogram)  # by the router, which says so; the service gave an answer then
    began: float = field(default_factory=time.monotonic)
    ended: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it went on."""
        return self.ended - self.began

    def all(self) -> Figures:
        """Return both as one."""
        whole = Figures()
        whole.merge(self.movers)
        whole.merge(self.others)
        return whole


@dataclass(slots=True)
class Board:
    """Every group's figures, since the start and in the running second; and the outcomes of each act.

    `phase` is what goes on now, where somebody says so, and `movers` the countries whose people are to move.
    """

    total: dict[Group, Figures] = field(default_factory=dict)
    second: dict[Group, Figures] = field(default_factory=dict)
    acts: dict[str, Figures] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)  # what went wrong: act, status
    phase: str = ""
    movers: frozenset[str] = frozenset()
    phases: dict[str, Phase] = field(default_factory=dict)

    def add(self, group: Group, act: str, result: Result, *, due_ms: float, sent_ms: float) -> None:
        """Count one request."""
        for figures in (
            self.total.setdefault(group, Figures()),
            self.second.setdefault(group, Figures()),
            self.acts.setdefault(act, Figures()),
        ):
            figures.add(result, due_ms=due_ms, sent_ms=sent_ms)

    def feel(self, phase: str, country: str, result: Result, took: Took) -> None:
        """Count one request for the phase in which it was due, and for the person's kind."""
        found = self.phases.setdefault(phase, Phase())
        figures = found.movers if country in self.movers else found.others
        figures.add(result, due_ms=took.due_ms, sent_ms=took.sent_ms)
        if took.writes:
            found.writes.add(result, due_ms=took.due_ms, sent_ms=took.sent_ms)
        if took.held_ms is not None:
            found.held.add(took.held_ms)
        found.ended = time.monotonic()

    def take_second(self) -> dict[Group, Figures]:
        """Return the running second's figures and begin another."""
        taken, self.second = self.second, {}
        return taken

    def all(self) -> Figures:
        """Return everything as one group."""
        return together(self.total)


def together(groups: dict[Group, Figures]) -> Figures:
    """Return the groups as one."""
    whole = Figures()
    for figures in groups.values():
        whole.merge(figures)
    return whole


def lines(kind: str, second: int, groups: dict[Group, Figures]) -> Iterator[dict[str, Any]]:
    """Yield a JSON line for each group."""
    for group in sorted(groups):
        yield {
            "kind": kind,
            "second": second,
            "location": group.location,
            "state": group.state.value,
            **groups[group].as_json(),
        }
