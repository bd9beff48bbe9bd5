"""Many things done by a few threads, their results taken in the order in which they were asked for.

For work that lets go of the interpreter's lock, as compiled loops and reading files do. What is done ahead is bounded,
so memory does not grow with the number of things. No thread outlives the call.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")
AHEAD_PER_THREAD = 2


def processors(*, most: int) -> int:
    """How many threads can run at once here, `most` at most."""
    return max(min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, most), 1)


def in_order(works: Iterable[Callable[[], Result]], *, threads: int) -> Iterator[Result]:
    """Do these, so many at once; yield what each returned, in their order. What one raises is raised in its turn.

    Then what hasn't begun isn't done, and what has is waited for. With one thread, all is done in the caller's.
    """
    if threads == 1:
        for work in works:
            yield work()
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="domicile-in-order") as pool:
        try:
            for work in works:
                waiting.append(pool.submit(work))
                if len(waiting) > AHEAD_PER_THREAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for late in waiting:
                late.cancel()
