"""How a loop becomes machine code: by numba, at its first call, kept beside the source where that can be written.

numba takes half a second to import, and a command that sweeps nothing doesn't wait for it. What is compiled lets go of
the interpreter's one lock while it runs, so that two files are searched on two cores.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_LOCK = Lock()


class Compiled(Generic[P, R]):
    """A function whose body is translated before it runs for the first time; `uses` are plain functions it calls."""

    def __init__(self, function: Callable[P, R], uses: tuple[Callable[..., Any], ...]) -> None:
        self.plain = function
        self._uses = uses
        self._translated: Callable[P, R] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it; translate it before, the first time."""
        translated = self._translated
        if translated is None:
            with _LOCK:
                translated = self._translated = self._translated or _translate(self.plain, self._uses)
        return translated(*args, **kwargs)


def compiled(*uses: Callable[..., Any]) -> Callable[[Callable[P, R]], Compiled[P, R]]:
    """Mark a function as a loop that is compiled."""

    def mark(function: Callable[P, R]) -> Compiled[P, R]:
        return Compiled(function, uses)

    return mark


def _translate(function: Callable[P, R], uses: tuple[Callable[..., Any], ...]) -> Callable[P, R]:
    from numba import njit  # noqa: PLC0415 - see above
    from numba.extending import register_jitable  # noqa: PLC0415 - see above

    for used in uses:
        register_jitable(used)
    translated: Callable[P, R]
    try:
        translated = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # nowhere to keep it: it is compiled by each process
        translated = njit(nogil=True)(function)
    return translated
