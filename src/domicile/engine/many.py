"""Several small things at once, each in a thread of its own; none outlives the call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

Result = TypeVar("Result")
AT_ONCE_MAX: Final = 64


def all_at_once(works: Sequence[Callable[[], Result]]) -> list[Result]:
    """Do all of these and return what each returned, in their order; what one raises is raised when all are done."""
    if len(works) > AT_ONCE_MAX:
        raise RuntimeError(f"more than {AT_ONCE_MAX} things at once")
    results: dict[int, Result] = {}
    faults: dict[int, BaseException] = {}

    def do(number: int) -> None:
        try:
            results[number] = works[number]()
        except BaseException as fault:  # noqa: BLE001 - handed over, raised below
            faults[number] = fault

    threads = [
        threading.Thread(target=do, args=(number,), name=f"domicile-{number}", daemon=True)
        for number in range(len(works))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _, fault in sorted(faults.items(), key=lambda item: item[0]):
        raise fault
    return [results[number] for number in range(len(works))]
