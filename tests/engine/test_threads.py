"""Two things at once, and one ahead of the other: results in order, errors told, no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from domicile.engine import Ahead, Halt, Halted, both
from domicile.engine.ahead import BLOCKS_AHEAD_MAX

WAIT_S = 30


class _Ours(Exception):
    pass


class _Theirs(Exception):
    pass


def _raise(fault: BaseException) -> Callable[[Halt], int]:
    def work(_: Halt) -> int:
        raise fault

    return work


def _until_halted(halt: Halt) -> int:
    while True:
        halt()


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("domicile-")]


def test_both_run_at_once() -> None:
    met = threading.Barrier(2)
    assert (True, True) == both(lambda _: met.wait(WAIT_S) >= 0, lambda _: met.wait(WAIT_S) >= 0)
    assert [] == _threads()


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (_raise(_Ours()), _until_halted, _Ours),
        (_until_halted, _raise(_Theirs()), _Theirs),
        (_raise(KeyboardInterrupt()), _until_halted, KeyboardInterrupt),
        (_until_halted, _raise(SystemExit()), SystemExit),
        (_raise(Halted()), _raise(_Theirs()), _Theirs),
    ],
)
def test_the_error_of_one_stops_the_other_and_is_told(
    first: Callable[[Halt], int], second: Callable[[Halt], int], told: type[BaseException]
) -> None:
    with pytest.raises(told):
        both(first, second)
    assert [] == _threads()


def test_blocks_come_in_order_task_by_task() -> None:
    def read(task: int, put: Callable[[bytes], None]) -> str:
        for number in range(3 * BLOCKS_AHEAD_MAX):
            put(b"%d/%d " % (task, number))
        return f"end of {task}"

    taken = bytearray()
    with Ahead((1, 2, 3), read) as ahead:
        ends = [ahead.take(taken.extend) for _ in range(3)]
    assert ["end of 1", "end of 2", "end of 3"] == ends
    assert b"".join(b"%d/%d " % (task, n) for task in (1, 2, 3) for n in range(3 * BLOCKS_AHEAD_MAX)) == taken
    assert [] == _threads()


def test_it_is_ahead_by_a_bounded_number_of_blocks() -> None:
    put_so_far: list[int] = []
    full, over = threading.Event(), threading.Event()

    def read(_: int, put: Callable[[bytes], None]) -> int:
        for number in range(10 * BLOCKS_AHEAD_MAX):
            put(b"x")
            put_so_far.append(number)
            if number == BLOCKS_AHEAD_MAX - 1:
                full.set()
            if number == BLOCKS_AHEAD_MAX:
                over.set()
        return 0

    seen: list[int] = []
    with Ahead((1,), read) as ahead:
        assert full.wait(WAIT_S)
        assert not over.wait(0.2)  # nothing is taken, so it stands at the limit
        assert BLOCKS_AHEAD_MAX == len(put_so_far)
        ahead.take(lambda _: seen.append(1))
    assert 10 * BLOCKS_AHEAD_MAX == len(seen)


def test_an_error_while_reading_is_told_where_the_blocks_are_asked_for() -> None:
    def read(task: int, put: Callable[[bytes], None]) -> int:
        put(b"x")
        if task == 2:
            raise _Theirs
        return task

    with Ahead((1, 2, 3), read) as ahead:
        assert 1 == ahead.take(lambda _: None)
        with pytest.raises(_Theirs):
            ahead.take(lambda _: None)
    assert [] == _threads()


def test_leaving_early_stops_the_reading() -> None:
    def read(_: int, put: Callable[[bytes], None]) -> int:
        while True:
            put(b"x")

    with pytest.raises(_Ours), Ahead((1,), read):
        raise _Ours
    assert [] == _threads()
