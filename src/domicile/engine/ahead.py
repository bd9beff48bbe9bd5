"""One thread reads ahead of another that writes, by a bounded number of blocks: so neither end waits without need.

What goes wrong in the reading thread is raised where its blocks are asked for. Leaving the `with` stops the thread and
waits for it; how much it may be ahead is a number of blocks, so memory does not grow with what is read.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from domicile.engine.threads import Halt, Halted

BLOCKS_AHEAD_MAX = 16
STOP_LOOK_S = 0.05

Task = TypeVar("Task")
Result = TypeVar("Result")
Put = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class _End(Generic[Result]):
    """After the last block of a task: its result (one), or what went wrong."""

    results: tuple[Result, ...] = ()
    fault: BaseException | None = None


class Ahead(Generic[Task, Result]):
    """`read(task, put)` runs for each task in turn, in a thread of its own; `take` hands its blocks on, in order."""

    def __init__(self, tasks: Iterable[Task], read: Callable[[Task, Put], Result]) -> None:
        self._read = read
        self._halt = Halt()
        self._queue: queue.Queue[bytes | _End[Result]] = queue.Queue(maxsize=BLOCKS_AHEAD_MAX)
        self._thread = threading.Thread(target=self._run, args=(tuple(tasks),), name="domicile-ahead", daemon=True)

    def __enter__(self) -> Ahead[Task, Result]:
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the thread, whatever it is at."""
        self._halt.ask()
        while self._thread.is_alive():
            self._drop_waiting()
            self._thread.join(STOP_LOOK_S)

    def take(self, sink: Put) -> Result:
        """Pass the next task's blocks into `sink`; return its result, or raise what went wrong with it."""
        while not isinstance(item := self._queue.get(), _End):
            sink(item)
        if item.fault is not None:
            raise item.fault
        return item.results[0]

    def _run(self, tasks: tuple[Task, ...]) -> None:
        try:
            for task in tasks:
                self._queue.put(_End((self._read(task, self._put),)))
        except Halted:
            return
        except BaseException as fault:  # noqa: BLE001 - handed over, raised by `take`
            self._queue.put(_End(fault=fault))

    def _put(self, block: bytes) -> None:
        self._halt()
        self._queue.put(block)

    def _drop_waiting(self) -> None:
        try:
            while True:
                self._queue.get_nowait()
        except queue.Empty:
            return
