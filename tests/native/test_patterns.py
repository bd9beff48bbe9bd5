"""Many strings at once: exactly what `bytes.find` finds, whatever strings and bytes there are."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domicile.native import patterns as native
from domicile.native.patterns import directory_of, power_of_two
from domicile.sweep import patterns
from domicile.sweep.patterns import WIDTHS, Patterns

FEW = st.binary(min_size=1, max_size=14) | st.text("ab", min_size=1, max_size=14).map(str.encode)


def simply(strings: list[bytes], data: bytes) -> list[tuple[int, int, int]]:
    """The same, one string after the other."""
    found = []
    for owner, text in enumerate(strings):
        at = data.find(text)
        while at >= 0:
            found.append((at, len(text), owner))
            at = data.find(text, at + 1)
    return sorted(found)


def numbered(strings: list[bytes]) -> Iterator[tuple[bytes, int]]:
    return ((text, owner) for owner, text in enumerate(strings))


@settings(deadline=None)
@given(st.lists(FEW, min_size=1, max_size=30), st.lists(st.integers(0, 29) | st.binary(max_size=5), max_size=40))
def test_p3_every_string_is_found_wherever_it_stands_and_no_other(
    strings: list[bytes], parts: list[int | bytes]
) -> None:
    data = b"".join(part if isinstance(part, bytes) else strings[part % len(strings)] for part in parts)
    assert simply(strings, data) == sorted(Patterns(numbered(strings)).find(data))


def test_p3_strings_that_share_all_but_one_byte_are_told_apart() -> None:
    """Their windows are each other's, but for the one that holds the byte: the rarest is the anchor."""
    strings = [b"the same beginning of all %04d the same end of all" % number for number in range(3_000)]
    found = Patterns(numbered(strings))
    for owner in (0, 1, 1_500, 2_999):
        data = b"x" * owner + strings[owner] + b" of all"
        assert [(owner, len(strings[owner]), owner)] == list(found.find(data))
    (group,) = found._groups
    assert max(np.unique(group._hashes, return_counts=True)[1]) <= 10


def test_p3_more_hits_at_one_place_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "FOUND_MAX", 2)
    strings = [b"a" * length for length in range(10, 31)]
    data = b"." + b"a" * 40 + b"." + b"b" * 5
    assert simply(strings, data) == sorted(Patterns(numbered(strings)).find(data))
    assert simply([b"needle-00001"] * 5, b"needle-00001" * 3) == sorted(
        Patterns(numbered([b"needle-00001"] * 5)).find(b"needle-00001" * 3)
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_p3_a_full_filter_costs_time_and_no_hit(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """However few bits there are, what passes is compared; what is there passes."""
    monkeypatch.setattr(patterns, "FILTER_WORDS_MAX", 1 << 10)
    chance = random.Random(width)  # noqa: S311 - a seed, so that the noise is the same each time
    strings = sorted({chance.randbytes(width) for _ in range(20_000 if width > 2 else 40)})
    wanted = chance.sample(range(len(strings)), 20)
    data = b"--".join(strings[owner] for owner in wanted)
    found = {owner for _, _, owner in Patterns(numbered(strings)).find(data)}
    assert set(wanted) <= found
    if width >= 6:
        assert set(wanted) == found


def test_the_filter_lets_few_of_the_others_pass() -> None:
    """Two bits for each of 100,000 strings: at most 1 of 20 windows of noise is looked up in vain."""
    chance = random.Random(5)  # noqa: S311 - as above
    (group,) = Patterns((chance.randbytes(12), owner) for owner in range(100_000))._groups
    others = np.frombuffer(chance.randbytes(8 * 50_000), np.uint64)
    shift, six = group._shift, np.uint64(63)
    one = np.uint64(1)
    bits = (one << ((others >> (shift - np.uint64(6))) & six)) | (one << ((others >> (shift - np.uint64(12))) & six))
    passed = np.count_nonzero(group._filter[others >> shift] & bits == bits)
    assert 0 < passed < len(others) / 20


def test_two_threads_search_at_once() -> None:
    strings = [b"needle-%06d" % number for number in range(1_000)]
    found, data = Patterns(numbered(strings)), b" ".join(strings) * 50
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(len(list(found.find(data))))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [50_000] * 4 == results


def test_a_directory_leads_to_every_hash() -> None:
    chance = random.Random(1)  # noqa: S311 - as above
    hashes = np.array(sorted(chance.getrandbits(64) for _ in range(1_000)), np.uint64)
    directory, shift = directory_of(hashes)
    for number, found in enumerate(hashes.tolist()):
        place = found >> int(shift)
        assert directory[place] <= number < directory[place + 1]


@pytest.mark.parametrize(("wanted", "expected"), [(0, 4), (4, 4), (5, 8), (8, 8), (9, 16), (10**9, 64)])
def test_limits_of_a_table(wanted: int, expected: int) -> None:
    assert expected == power_of_two(wanted, 4, 64)


def test_p8_no_string_is_told() -> None:
    found = Patterns(numbered([b"ada@example.org"]))
    assert "Patterns(1)" == repr(found)
    assert "ada" not in repr(found._groups)
    with pytest.raises(TypeError):
        found.__reduce__()


def test_masks_are_those_of_the_last_bytes() -> None:
    assert [0, 0xFFFF] == [int(mask) for mask in native.masks_of(2)]
    assert [0xFFFF, (1 << 64) - 1] == [int(mask) for mask in native.masks_of(10)]
