"""How a large object is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domicile.errors import NotEqual, StoreFault
from domicile.stores.objects.parts import PART_BYTES, PART_BYTES_MAX, PARTS_MAX, cut, part_bytes, sizes


@given(blocks=st.lists(st.binary(max_size=9)), part=st.integers(1, 7))
def test_parts_are_the_blocks_again(blocks: list[bytes], part: int) -> None:
    whole = b"".join(blocks)
    parts = list(cut(blocks, part=part, size=len(whole)))
    assert whole == b"".join(parts)
    assert sizes(len(whole), part) == [len(one) for one in parts]
    assert all(len(one) == part for one in parts[:-1])


@given(blocks=st.lists(st.binary(max_size=9)), part=st.integers(1, 7), off=st.integers(-5, 5).filter(bool))
def test_a_stream_of_another_length_is_refused(blocks: list[bytes], part: int, off: int) -> None:
    size = sum(map(len, blocks)) + off
    with pytest.raises(NotEqual):
        list(cut(blocks, part=part, size=size))


def test_parts_grow_only_where_there_would_be_too_many() -> None:
    assert PART_BYTES == part_bytes(0, store="s") == part_bytes(PARTS_MAX * PART_BYTES, store="s")
    assert 2 * PART_BYTES == part_bytes(PARTS_MAX * PART_BYTES + 1, store="s")
    largest = PARTS_MAX * PART_BYTES_MAX
    assert PART_BYTES_MAX == part_bytes(largest, store="s")
    with pytest.raises(StoreFault, match=r"store s: an object of \d+ bytes is larger"):
        part_bytes(largest + 1, store="s")
