"""What a scenario is: a world, the engine's steps through it with what people do in between, and what must be true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tests.crash.actor import Act
from tests.crash.ground import Ground, Place


def _nothing(_: Place) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of the engine. `ends` names the error with which it ends well, if any; then a person does `then`."""

    name: str
    act: Act
    ends: str = ""
    then: Callable[[Place], None] = _nothing


class Scenario(Protocol):
    """All of it. What `make` returns is handed to the checks: what the world was at the start."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    @property
    def homes(self) -> tuple[str, ...]:
        """The homes' databases."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The engine's calls, in their order."""

    def make(self, ground: Ground) -> Any:
        """Fill the empty databases and the engine's folder."""

    def check_meanwhile(self, ground: Ground, start: Any, *, dice: int) -> None:
        """After a failure, while no engine runs: what must be true at any moment, and what people do then."""

    def check_end(self, ground: Ground, start: Any) -> None:
        """After the last step."""

    def facts(self, ground: Ground) -> dict[str, str]:
        """What else is the same at the end of every run, to be compared with an undisturbed one."""
