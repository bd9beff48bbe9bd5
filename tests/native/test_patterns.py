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
from domicile.sweep.patterns import LENGTHS, REACH_MAX, STEP_MAX, Patterns

FEW = st.binary(min_size=1, max_size=14) | st.text("ab", min_size=1, max_size=14).map(str.encode)
LONG = st.binary(min_size=10, max_size=40) | st.text("ab", min_size=10, max_size=40).map(str.encode)


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


@settings(deadline=None)
@given(
    st.integers(1, STEP_MAX),
    st.lists(LONG, min_size=1, max_size=30),
    st.lists(st.integers(0, 29) | st.binary(max_size=9), max_size=40),
    st.integers(0, REACH_MAX - 10),
)
def test_p3_a_look_at_every_step_th_place_only_finds_every_string_once(
    step: int, strings: list[bytes], parts: list[int | bytes], longer: int
) -> None:
    strings = [text + bytes(longer) for text in strings]
    data = b"".join(part if isinstance(part, bytes) else strings[part % len(strings)] for part in parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "PIECES_MAX", step * len(strings))
        found = Patterns(numbered(strings))
    shortest = min(map(len, strings))
    assert [min(step, shortest - 5)] == [group._step for group in found._groups]
    assert simply(strings, data) == sorted(found.find(data))


@pytest.mark.parametrize("length", range(6, 20))
def test_p3_a_string_is_found_at_any_place_and_cut_off_it_is_not(length: int) -> None:
    """Also where nothing stands before it or behind it: whichever of its pieces is looked at."""
    text = bytes(range(97, 97 + length))
    found = Patterns(numbered([text]))
    assert [min(STEP_MAX, min(length, REACH_MAX) - (5 if length >= 10 else 4))] == [g._step for g in found._groups]
    for before in range(2 * STEP_MAX):
        for behind in (0, 1, 7, 30):
            data = b"." * before + text + b"." * behind
            assert [(before, length, 0)] == list(found.find(data))
            assert [] == list(found.find(data.replace(text, text[1:])))
            assert [] == list(found.find(data.replace(text, text[:-1])))


@pytest.mark.parametrize("length", LENGTHS)
def test_p3_a_full_filter_costs_time_and_no_hit(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """However few bits there are, what passes is compared; what is there passes."""
    monkeypatch.setattr(patterns, "FILTER_WORDS_MAX", 1 << 10)
    chance = random.Random(length)  # noqa: S311 - a seed, so that the noise is the same each time
    strings = sorted({chance.randbytes(length) for _ in range(20_000 if length > 2 else 40)})
    wanted = chance.sample(range(len(strings)), 20)
    data = b"--".join(strings[owner] for owner in wanted)
    found = {owner for _, _, owner in Patterns(numbered(strings)).find(data)}
    assert set(wanted) <= found
    if length >= 6:
        assert set(wanted) == found


def test_the_filter_lets_few_of_the_others_pass() -> None:
    """Of 100,000 strings, seven pieces each: at most 1 of 100 places of noise is looked at further in vain."""
    chance = random.Random(5)  # noqa: S311 - as above
    (group,) = Patterns((chance.randbytes(12), owner) for owner in range(100_000))._groups
    others = np.frombuffer(chance.randbytes(8 * 50_000), np.uint64)
    bits = np.array([native.bits_of(key, group._shift) for key in others])
    passed = np.count_nonzero(group._filter[others >> group._shift] & bits == bits)
    assert 7 == group._step
    assert 0 < passed < len(others) / 100


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


def test_masks_are_those_of_the_first_bytes() -> None:
    widths = {-8: 0, 0: 0, 2: 0xFFFF, 8: (1 << 64) - 1, 16: (1 << 64) - 1}
    assert widths == {width: int(native.mask_of(width)) for width in widths}
