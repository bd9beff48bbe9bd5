"""What a run tells while it works: counts and ids, never a value of a row (P8). Faces turn it into bars or lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """A stage begins; `total` counts its units (rows, slices, copies), 0 when unknown."""

    stage: str
    total: int = 0
    unit: str = "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """`units` more are done; `bytes` passed for them."""

    stage: str
    units: int
    bytes: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A stage is done; `text` says what came of it."""

    stage: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something worth a line."""

    text: str


Event = Began | Advanced | Ended | Noted
Listener = Callable[[Event], None]


def silent(_: Event) -> None:
    """A listener that does not listen."""
