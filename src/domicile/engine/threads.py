"""Two things at once: one in the caller's thread, where Ctrl-C arrives, the other in a thread beside it.

Whichever fails first stops the other, and its error is the one that is raised; a thread never outlives the call, so
that the sessions they work on can be closed. Stopping is a request, `Halt`, looked at between blocks of a stream.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

First = TypeVar("First")
Second = TypeVar("Second")
Result = TypeVar("Result")


class Halted(Exception):
    """Raised in a thread that was asked to stop."""


class Halt:
    """A request to stop: a sink that is called with each block and raises Halted once somebody asked."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        """Ask everybody who looks here to stop."""
        self._asked.set()

    def __call__(self, _: bytes = b"") -> None:
        """Raise Halted if somebody asked."""
        if self._asked.is_set():
            raise Halted


@dataclass(slots=True)
class _Outcome(Generic[Result]):
    """What became of one of the two."""

    value: list[Result] = field(default_factory=list)
    fault: BaseException | None = None


def both(first: Callable[[Halt], First], second: Callable[[Halt], Second]) -> tuple[First, Second]:
    """Run `first` here and `second` beside it; return both results, or raise the error of the one that failed.

    Both get the same `Halt`. An error asks the other one to stop and waits for it.
    """
    halt, ours, theirs = Halt(), _Outcome[First](), _Outcome[Second]()
    thread = threading.Thread(target=_run, args=(second, halt, theirs), name="domicile-beside", daemon=True)
    thread.start()
    try:
        _run(first, halt, ours)
        thread.join()
    except BaseException:  # a signal while waiting
        halt.ask()
        thread.join()
        raise
    _raise_fault(ours.fault, theirs.fault)
    return ours.value[0], theirs.value[0]


def _run(work: Callable[[Halt], Result], halt: Halt, outcome: _Outcome[Result]) -> None:
    try:
        outcome.value.append(work(halt))
    except BaseException as fault:  # noqa: BLE001 - handed over, raised by `both`
        outcome.fault = fault
        halt.ask()


def _raise_fault(*faults: BaseException | None) -> None:
    """Raise what went wrong: that a thread was stopped is only told when nothing else is."""
    found = [fault for fault in faults if fault is not None]
    for fault in sorted(found, key=lambda one: isinstance(one, Halted)):
        raise fault
