"""Streams in which values seem to begin everywhere: searched together, each content once, and not without end."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import lz4.block
import pytest

from domicile.stores.postgres.pages import APART, Geometry, carve_together
from domicile.sweep import TokenClass, Tokens
from domicile.sweep.carving import WalReader
from domicile.sweep.matcher import Hit, Matcher
from domicile.sweep.search import CopySearch, Spot, Tally, Value, View

CANARY = b"canary@example.net"
SPOT = Spot("wal", "pg_wal/000000010000000000000001")


class Counted(Matcher):
    """The matcher, and how often it was called."""

    calls = 0

    def find(self, block: bytes) -> Iterator[Hit]:
        type(self).calls += 1
        return super().find(block)


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> Tally:
    monkeypatch.setattr(Counted, "calls", 0)
    matcher = Tokens({CANARY: TokenClass.EMAIL}).matcher()
    matcher.__class__ = Counted
    return Tally(matcher)


def read(tally: Tally, log: bytes) -> CopySearch:
    reader = WalReader(tally, SPOT, Geometry())
    reader.feed(log)
    reader.close()
    (search,) = tally.result()
    return search


def small_numbers(size: int) -> bytes:
    dice = random.Random(5)  # noqa: S311
    return struct.pack(f"<{size // 4}i", *(dice.randrange(300) for _ in range(size // 4)))


def packed(value: bytes) -> bytes:
    payload: bytes = lz4.block.compress(value, store_size=False)
    return struct.pack("<II", (len(payload) + 8) << 2 | 2, len(value) | 1 << 30) + payload


def packed_pglz(value: bytes) -> bytes:
    """A value of a repeated piece: its letters, then references back to them, 18 bytes at most each."""
    piece = next(value[:size] for size in range(3, len(value)) if value == value[:size] * (len(value) // size))
    items = [bytes([byte]) for byte in piece]
    left = len(value) - len(piece)
    while left:
        length = min(17, left) if left - 17 not in {1, 2} else 14
        items.append(bytes([length - 3, len(piece)]))
        left -= length
    payload = b""
    for at in range(0, len(items), 8):
        some = items[at : at + 8]
        payload += bytes([sum((len(item) == 2) << bit for bit, item in enumerate(some))]) + b"".join(some)
    return struct.pack("<II", (len(payload) + 8) << 2 | 2, len(value)) + payload


def hidden(number: int) -> bytes:
    """The token's halves come before it, so that it is stored as two references."""
    stored = packed((CANARY[:9] + b"|" + CANARY[9:] + b"|") * 40 + b"x" * 2500 + CANARY + str(number).encode())
    assert CANARY not in stored
    return stored


def test_log_of_small_numbers_is_searched_a_few_times(tally: Tally) -> None:
    """A search for each of the ten thousand values that seem to begin there took minutes a segment."""
    search = read(tally, small_numbers(1024 * 1024))
    assert search.bytes_unpacked > 10_000
    assert Counted.calls < 10


def test_p3_a_packed_value_among_them_is_found_and_its_place_is_told(tally: Tally) -> None:
    numbers = small_numbers(256 * 1024)
    search = read(tally, bytes(1024 * 1024) + numbers + hidden(1) + numbers)
    assert {(View.UNPACKED, 1024 * 1024, 1)} == {(place.view, place.offset, place.count) for place in search.findings}


def test_values_of_one_log_are_searched_together_and_counted(tally: Tally) -> None:
    log = b"".join(packed(str(number).encode() * 200) for number in range(50))
    once = read(tally, log)
    assert 2 == Counted.calls  # the bytes as they lie, and all that came out
    assert sum(len(str(number)) * 200 for number in range(50)) == once.bytes_unpacked


def test_what_was_searched_and_clean_is_not_searched_again_but_counted(tally: Tally) -> None:
    values = [Value(str(number).encode() * 200, 0, View.JOINED) for number in range(50)]
    tally.search_values(values, SPOT)
    tally.search_values(values[10:], SPOT)
    (search,) = tally.result()
    assert 1 == Counted.calls
    assert sum(len(value.data) for value in (*values, *values[10:])) == search.bytes_unpacked


@pytest.mark.parametrize("held", [1, 3])
def test_p3_values_are_joined_so_that_nothing_reaches_from_one_into_the_next(
    monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """Of both methods, in whatever pieces they come: the same values, one by one and together."""
    monkeypatch.setattr("domicile.stores.postgres.pages.PLACES_AT_ONCE", held)
    values = [b"abcd" * 20, b"", CANARY * 9, b"efgh" * 30]
    data = b"..".join((packed(values[0]), packed_pglz(values[2]), packed(values[2]), packed_pglz(values[3])))
    parts = list(carve_together(data, block=8192, aligned=False))
    assert sorted((values[0], values[2], values[2], values[3])) == sorted(
        carved.data for part in parts for carved in part.values()
    )
    for part in parts:
        assert b"".join(carved.data + APART for carved in part.values()) == part.data
        assert sum(len(carved.data) for carved in part.values()) == part.size
        assert all(data[carved.offset] & 3 == 2 for carved in part.values())


def test_p3_tokens_in_values_of_both_methods_are_counted_each_at_its_place(tally: Tally) -> None:
    far = bytes(1024 * 1024)
    log = packed_pglz(CANARY * 9) + far + packed(CANARY * 5) + far + packed_pglz(b"clean" * 9) + packed_pglz(CANARY * 3)
    search = read(tally, log)
    unpacked = {place.offset: place.count for place in search.findings if place.view is View.UNPACKED}
    assert {0: 9, 1024 * 1024: 5, 2 * 1024 * 1024: 3} == unpacked


def test_p3_what_was_found_once_is_found_again(tally: Tally) -> None:
    assert 1 == read(tally, hidden(1)).hits
    assert 2 == read(tally, hidden(1)).hits
    assert 3 == read(tally, hidden(2) + packed(b"clean " * 100)).hits


def test_p11_what_unpacks_to_too_much_is_a_gap(tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody who may write can write bytes of which each begins a long value."""
    monkeypatch.setattr("domicile.sweep.carving.UNPACKED_BYTES_FREE", 1_000_000)
    log = b"".join(packed(str(number).encode() * 20_000) for number in range(60))
    search = read(tally, log)
    assert ["the values packed in it unpack to more than is searched"] == [gap.why for gap in search.gaps]
    assert search.bytes_unpacked <= 1_000_000 + 16 * len(log)
