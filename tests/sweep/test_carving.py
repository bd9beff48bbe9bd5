"""Streams in which values seem to begin everywhere: searched together, each content once, and not without end."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import lz4.block
import pytest

from domicile.stores.postgres.pages import Geometry
from domicile.sweep import TokenClass, Tokens
from domicile.sweep.carving import WalReader
from domicile.sweep.matcher import Hit, Matcher
from domicile.sweep.search import CopySearch, Spot, Tally, View

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


def hidden(number: int) -> bytes:
    """The token's halves come before it, so that it is stored as two references."""
    stored = packed((CANARY[:9] + b"|" + CANARY[9:] + b"|") * 40 + b"x" * 2500 + CANARY + str(number).encode())
    assert CANARY not in stored
    return stored


def test_log_of_small_numbers_is_searched_a_few_times(tally: Tally) -> None:
    """A search for each of the ten thousand values that seem to begin there took minutes a segment."""
    search = read(tally, small_numbers(1024 * 1024))
    assert search.bytes_unpacked > 10_000
    assert Counted.calls < 5


def test_p3_a_packed_value_among_them_is_found_and_its_place_is_told(tally: Tally) -> None:
    numbers = small_numbers(256 * 1024)
    search = read(tally, bytes(1024 * 1024) + numbers + hidden(1) + numbers)
    assert {(View.UNPACKED, 1024 * 1024, 1)} == {(place.view, place.offset, place.count) for place in search.findings}


def test_what_was_searched_and_clean_is_not_searched_again_but_counted(tally: Tally) -> None:
    log = b"".join(packed(str(number).encode() * 200) for number in range(50))
    once = read(tally, log)
    calls = Counted.calls
    again = read(tally, log)
    assert Counted.calls == calls + 1  # the bytes as they lie
    assert 2 * once.bytes_unpacked == again.bytes_unpacked


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
