"""Holds a request while its person is between two places: a short wait that is measured, in place of an error.

A person is waited for `HOLD_SECONDS` from when their fence was first met, not each of their requests anew: under a
fence that stands for long the first is held and the others are refused at once.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from shortvideo.residence import Residence, Residences

HOLD_SECONDS: Final = 2.0
HOLDS_MAX: Final = 256
"""Requests held at once; more are refused at once."""
LOOK_SECONDS: Final = 0.25
"""Between looks while no change is heard of: the directory may be unable to tell."""
FENCE_SECONDS_MAX: Final = 60.0
"""A fence met longer ago may be another one by now."""
FENCED_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Where the person lives, maybe still fenced, and for how long the request was held; None: it was not."""

    residence: Residence
    held_ms: int | None = None


class Holding:
    """Where people live, for a router; `begin` in its event loop."""

    def __init__(self, residences: Residences) -> None:
        self._residences = residences
        self._held = 0
        self._met_at: dict[int, float] = {}
        self._moved = asyncio.Event()

    def begin(self) -> None:
        """Hear of changes from now on."""
        loop = asyncio.get_running_loop()

        def stir(_: frozenset[str] | None) -> None:
            with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                loop.call_soon_threadsafe(self._stir)

        self._residences.directory.listen(stir)
        self._residences.directory.watch()

    async def locate(self, person: int) -> Residence:
        """Say where the person lives; raise DirectoryUnknown."""
        known = self._residences.known(person)
        return await asyncio.to_thread(self._residences.locate, person) if known is None else known

    async def settle(self, person: int) -> Settled:
        """Say where the person lives, once they may write there or the wait is over."""
        residence = await self.locate(person)
        if not residence.fenced:
            self._met_at.pop(person, None)
            return Settled(residence=residence)
        began, until = time.monotonic(), self._met(person) + HOLD_SECONDS
        if began >= until or self._held >= HOLDS_MAX:
            return Settled(residence=residence)
        self._held += 1
        try:
            residence = await self._wait(person, until)
        finally:
            self._held -= 1
        return Settled(residence=residence, held_ms=round((time.monotonic() - began) * 1000))

    async def _wait(self, person: int, until: float) -> Residence:
        while True:
            moved, left = self._moved, until - time.monotonic()
            residence = await self.locate(person)
            if not residence.fenced or left <= 0:
                return residence
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_SECONDS)):
                    await moved.wait()

    def _met(self, person: int) -> float:
        """When this fence was first met."""
        now = time.monotonic()
        met = self._met_at.get(person, 0.0)
        if now - met > FENCE_SECONDS_MAX:
            if len(self._met_at) >= FENCED_MAX:
                self._met_at.clear()
            met = self._met_at[person] = now
        return met

    def _stir(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
