"""A schedule: what is asked of the engine, turn by turn, and at which of its statements people do what.

A statement is named by its words without values and by how often it came in its turn, so that it is found again where
others before it are more or fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from domicile.config.rules import Apart
from domicile.stores.feed import FeedKind
from tests.schedules.acts import Act

WORDS_CHARS_MAX: Final = 90
AFTERWARDS: Final = ""
"""The words of what happens once the turn is over."""


class Call(StrEnum):
    """What is asked of the engine."""

    GO = "cut over"
    NEXT = "cut over two"
    BACK = "roll back cohort"
    STEP = "two steps"
    EVERYBODY = "everybody home"
    CLOSE = "close"
    CLEAR = "approve and clear"
    ERASE = "erase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An act, at a statement: when its words come for the `nth` time in the turn."""

    words: str
    nth: int
    act: Act

    def __str__(self) -> str:
        """When it is."""
        return f"before `{self.words[:WORDS_CHARS_MAX]}`, time {self.nth}" if self.words else "afterwards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One call of the engine, and what happens meanwhile. `people` are those whom it is about, or the cohort."""

    call: Call
    people: tuple[int, ...] = ()
    acts: tuple[Placed, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.call.value, *map(str, self.people)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """All of it."""

    feed: FeedKind
    apart: Apart
    turns: tuple[Turn, ...] = ()

    def __len__(self) -> int:
        return sum(1 + len(turn.acts) for turn in self.turns)

    def parts(self) -> list[tuple[int, int]]:
        """All that can be left out, the later first: (turn, -1), or (turn, act)."""
        found = [(at, act) for at, turn in enumerate(self.turns) for act in range(-1, len(turn.acts))]
        return found[::-1]

    def without(self, parts: set[tuple[int, int]]) -> Schedule:
        """The same with these left out; with a turn all its acts are."""

        def kept() -> Iterator[Turn]:
            for at, turn in enumerate(self.turns):
                if (at, -1) not in parts:
                    yield replace(turn, acts=tuple(one for n, one in enumerate(turn.acts) if (at, n) not in parts))

        return replace(self, turns=tuple(kept()))
