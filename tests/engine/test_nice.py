"""Resting in proportion to the work."""

from __future__ import annotations

import pytest

from domicile.engine import Nice
from domicile.host import Host


class Clock(Host):
    """A host whose time passes when it is told to."""

    passed = 0.0
    rested = 0.0

    def monotonic_s(self) -> float:
        return Clock.passed

    def pause(self, seconds: float) -> None:
        Clock.passed += seconds
        Clock.rested += seconds


@pytest.mark.parametrize(("ratio", "rested"), [(0, 0), (0.5, 2), (3, 12)])
def test_it_rests_so_many_times_as_long_as_it_worked_and_resting_is_no_work(ratio: float, rested: float) -> None:
    Clock.passed = Clock.rested = 0.0
    nice = Nice(ratio, Clock())
    for worked in (1.0, 3.0):
        Clock.passed += worked
        nice.rest()
    assert rested == Clock.rested
    assert 4.0 + rested == Clock.passed
