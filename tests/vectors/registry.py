"""How a bad bundle is kept: its name, the check that must refuse it, and the reason.

Where a defect would be caught earlier, the cheat holds the engine's key and signs everything again, so that the
named check is the one that refuses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from domicile.evidence.bundle import pack
from tests.vectors import scenario as s
from tests.vectors.scenario import ENGINE, Script, good


@dataclasses.dataclass(frozen=True)
class Defect:
    """One bad bundle."""

    check: int
    reason: str
    make: Callable[[], bytes]


DEFECTS: dict[str, Defect] = {}


def defect(name: str, check: int, reason: str) -> Callable[[Callable[[], bytes]], None]:
    def keep(make: Callable[[], bytes]) -> None:
        assert name not in DEFECTS
        DEFECTS[name] = Defect(check, reason, make)

    return keep


def told(name: str, check: int, reason: str, script: Callable[[], Script]) -> None:
    """A cheat tells another story and signs all of it."""
    defect(name, check, reason)(lambda: s.bundle_of(script()))


def filed(name: str, check: int, reason: str, change: Callable[[dict[str, bytes]], object]) -> None:
    """A cheat changes files and signs the manifest again."""

    def make() -> bytes:
        files = s.files_of(good())
        change(files)
        return pack(files, ENGINE)

    defect(name, check, reason)(make)


def put(name: str, data: bytes) -> Callable[[dict[str, bytes]], object]:
    return lambda files: files.update({name: data})


def gone(name: str) -> Callable[[dict[str, bytes]], object]:
    return lambda files: files.pop(name)
