"""Faults on purpose: a crash at any numbered effect, a load that tears, a digest that lies, a store that is away.

An effect is one change that a store makes as a whole. A crash at effect k leaves exactly the k effects before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from domicile.errors import Unreachable
from domicile.model import SliceId


class CrashHere(BaseException):
    """The process dies here; nothing of ours catches it."""


@dataclass(slots=True, kw_only=True)
class Faults:
    """What goes wrong; by default nothing. Shared by several stores, it numbers all their effects in one row."""

    crash_after: int | None = None
    """Die when this many effects were made and one more is asked for."""
    tear_load: SliceId | None = None
    """Break off in the middle of the first load of this slice."""
    flip_digest: frozenset[SliceId] = frozenset()
    """Read these slices wrong."""
    unreachable: int = 0
    """Be away for so many calls."""
    effects: list[str] = field(default_factory=list)
    """What was done, in order."""

    def reach(self, store: str) -> None:
        """Stand before every call of a store."""
        if self.unreachable > 0:
            self.unreachable -= 1
            raise Unreachable(f"store {store}: no connection (a fault on purpose); run again")

    def effect(self, name: str) -> None:
        """Stand right before every effect."""
        if self.crash_after is not None and len(self.effects) >= self.crash_after:
            raise CrashHere(name)
        self.effects.append(name)

    def tears(self, piece: SliceId) -> bool:
        """Whether the load of this slice tears, which it does once."""
        if self.tear_load != piece:
            return False
        self.tear_load = None
        return True
