"""Results come in the order in which they were asked for, and no more is begun than is bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from domicile.engine.in_order import AHEAD_PER_THREAD, in_order, processors


def test_results_come_in_their_order_whichever_is_done_first() -> None:
    """The first ends only when the second did."""
    second = threading.Event()

    def first() -> str:
        assert second.wait(60)
        return "first"

    def then() -> str:
        second.set()
        return "second"

    assert ["first", "second"] == list(in_order([first, then], threads=2))


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_is_begun_than_is_taken_and_may_be_ahead(threads: int) -> None:
    begun: list[int] = []

    def works() -> Iterator[Callable[[], int]]:
        for number in range(100):
            begun.append(number)
            yield partial(int, number)

    results = in_order(works(), threads=threads)
    assert [0, 1, 2] == [next(results) for _ in range(3)]
    assert len(begun) <= 3 + 1 + AHEAD_PER_THREAD * threads
    assert list(range(3, 100)) == list(results)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_one_raises_is_raised_in_its_turn_and_nothing_goes_on(threads: int) -> None:
    before = threading.active_count()
    done: list[int] = []

    def work(number: int) -> int:
        if number == 3:
            raise ValueError("the third")
        done.append(number)
        return number

    results = in_order((partial(work, number) for number in range(1, 1_000)), threads=threads)
    assert [1, 2] == [next(results), next(results)]
    with pytest.raises(ValueError, match="the third"):
        next(results)
    assert len(done) < 20
    assert before == threading.active_count()


@pytest.mark.parametrize("most", [1, 2, 4])
def test_limit_of_threads(most: int) -> None:
    assert 1 <= processors(most=most) <= most
