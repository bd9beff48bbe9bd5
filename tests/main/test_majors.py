"""The move on every major that is supported, source and home alike: schema, rows, ranges, restore."""

from __future__ import annotations

import pytest

from tests.main.conftest import Begin
from tests.main.programme import value


@pytest.mark.parametrize("major", [13, 14, 15, 16, 17])
def test_source_and_home_of_one_major(programme: Begin, major: int) -> None:
    begun = programme("chinook_identity", {"CA": "ca"}, major=major)
    begun.move()
    begun.approve()
    begun.cli("apply", "--yes", "--until", "erase")
    assert (8, 51) == tuple(value(side, "SELECT count(*) FROM customer") for side in (begun.homes["ca"], begun.source))
