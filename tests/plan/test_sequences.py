"""Shares of a sequence never meet, whatever its bounds and direction."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domicile.catalogue import Sequence, TableName
from domicile.errors import Refused
from domicile.stores.postgres.sequences import bounds


def sequence(*, last: int | None, increment: int, minimum: int, maximum: int) -> Sequence:
    return Sequence(
        name=TableName(schema="public", name="s"),
        last_value=last,
        increment=increment,
        minimum=minimum,
        maximum=maximum,
        cycles=False,
    )


@given(
    st.integers(-(2**31), 2**31), st.integers(8, 2**40), st.integers(1, 6), st.sampled_from([1, 10, -1, -5]), st.data()
)
def test_shares_are_disjoint_unused_and_within_the_bounds(
    low: int, width: int, shares: int, step: int, data: st.DataObject
) -> None:
    high = low + width
    last = data.draw(st.none() | st.integers(low, high))
    found = sequence(last=last, increment=step, minimum=low, maximum=high)
    left = width + 1 if last is None else (high - last if step > 0 else last - low)
    if left < shares:
        with pytest.raises(Refused):
            bounds(found, 0, shares)
        return
    ranges = [bounds(found, share, shares) for share in range(shares)]
    taken = sorted(ranges)
    assert all(low <= start <= end <= high for start, end in taken)
    assert all(before[1] < after[0] for before, after in pairwise(taken))
    if last is not None:
        assert all(start > last if step > 0 else end < last for start, end in ranges)
    assert ranges[0] == (taken[0] if step > 0 else taken[-1])


def test_an_integer_key_of_four_locations() -> None:
    found = sequence(last=1000, increment=1, minimum=1, maximum=2**31 - 1)
    assert [(1001, 536871661), (536871662, 1073742322)] == [bounds(found, share, 4) for share in (0, 1)]
