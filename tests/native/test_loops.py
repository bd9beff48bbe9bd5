"""The compiled loops and their slow twins say the same of any bytes."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from domicile.native import packed, spellings
from domicile.native.compiled import compiled
from domicile.stores.postgres.compression import unpack_pglz
from domicile.stores.postgres.pages import carve_compressed
from domicile.sweep import decoded
from tests.native import twins

SPELT = st.lists(
    st.binary(max_size=6)
    | st.text("abcABC0189+/-_", max_size=30).map(str.encode)
    | st.sampled_from([b"\n", b"\r\n", b"\\n", b"\\\\r", b"\\\\\\\\\\n", b"\\u", b"\x00"])
    | st.text("abcdef @~", max_size=12).map(lambda text: text.encode("utf-16-le"))
    | st.binary(max_size=30).map(lambda raw: raw.hex().encode()),
    max_size=12,
).map(b"".join)
ITEMS = st.lists(st.binary(min_size=1, max_size=12), max_size=12).map(b"".join)


def view(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def placed(loop: Callable[..., int], *given_: object, room: int) -> twins.Placed:
    out, origins = np.empty(room, np.uint8), np.empty(room, np.int32)
    size = loop(*given_, out, origins)
    return list(zip(out[:size].tolist(), origins[:size].tolist(), strict=True))


@settings(deadline=None)
@given(SPELT)
def test_p3_spellings_are_undone_as_their_twins_do(data: bytes) -> None:
    room = 2 * len(data) + 16
    assert twins.widened(data) == placed(spellings.widened, view(data), 6, room=room)
    letters = placed(spellings.letters, view(data), spellings.LETTER_OF, 12, room=room)
    assert twins.letters(data) == letters
    text = bytes(byte for byte, _ in letters)
    for shift in range(2):
        found = placed(spellings.unhex, view(text), spellings.DIGIT_OF, 18, shift, room=room)
        assert twins.unhexed(text, shift) == found


@pytest.mark.parametrize("before", range(18))
def test_p3_the_shortest_runs_are_seen_wherever_they_stand(before: int) -> None:
    """Also at the very end, and before something else."""
    for behind in (b"", b"\x01", b"\x01" * 9):
        wide = b"\x01" * before + "abcdef".encode("utf-16-le")[:11] + behind
        assert 7 == len(twins.widened(wide))
        assert twins.widened(wide) == placed(spellings.widened, view(wide), 6, room=64)
        text = b"\x01" * before + b"abcdefghijkl" + behind
        assert 16 == len(twins.letters(text))
        assert twins.letters(text) == placed(spellings.letters, view(text), spellings.LETTER_OF, 12, room=64)
        for escape in (b"&" + b"a" * 32 + b";", b"&amp;amp;amp;#x10FFFF;", b"%40", b"%25252540", b"\\u0040", b"\\n"):
            data = b"\x01" * before + escape + behind
            assert [(before, before + len(escape))] == [match.span() for match in decoded._matches(data)]


@settings(deadline=None)
@given(st.text("ABCXYZabcxyz0189+/-_", max_size=60), st.integers(0, 3))
def test_p3_base64_is_undone_as_python_does(text: str, shift: int) -> None:
    out = np.empty(len(text), np.uint8)
    size = spellings.unbase64(view(text.encode()), spellings.LETTER_OF, shift, out)
    standard = text[shift:].translate(str.maketrans("-_", "+/"))
    assert base64.b64decode(standard[: len(standard) // 4 * 4]) == out[:size].tobytes()


@settings(deadline=None)
@given(ITEMS, st.integers(0, 3_000))
def test_p3_pglz_is_undone_as_its_twin_does(payload: bytes, raw: int) -> None:
    assert twins.unpack_pglz(payload, raw) == unpack_pglz(payload, raw).data


ESCAPED = st.lists(
    st.binary(max_size=6)
    | st.sampled_from([b"%", b"%25", b"%40", b"%2", b"&", b"&amp;", b"&#64;", b"&#x4", b";", b"&eacute", b"\\", b"\\u"])
    | st.sampled_from([b"\\n", b"\\u0040", b"0040", b"\\ud83d\\ude00", b'\\"', b"a" * 33, b"#"]),
    max_size=14,
).map(b"".join)


@settings(deadline=None)
@given(ESCAPED, st.integers(1, 3))
def test_p3_escapes_are_seen_wherever_their_expressions_see_them(data: bytes, held: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoded, "ESCAPES_AT_ONCE", held)
        found = [match.span() for match in decoded._matches(data)]
    simply = [match.span() for expression in decoded._EXPRESSIONS.values() for match in expression.finditer(data)]
    assert sorted(simply) == sorted(found)


HEADS = np.zeros(256, np.uint8)
HEADS[[0x23, 0x43]], HEADS[[0x50, 0x90]] = spellings.SHORT_HEAD, spellings.LONG_HEAD


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"#", b"C", b"P", b"\x90", b"\0\0\0"]) | st.binary(max_size=12), max_size=14).map(
        b"".join
    ),
    st.integers(1, 3),
)
def test_p3_places_of_hashes_as_bytes_are_seen_as_their_twin_does(data: bytes, room: int) -> None:
    """By a filter that lets every hash pass."""
    words = np.full(1, (1 << 64) - 1, np.uint64)
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(data):
        keys, starts, ends = np.empty(room, np.uint64), np.empty(room, np.int32), np.empty(room, np.int32)
        count, at = spellings.hashes_as_bytes(view(data), at, HEADS, words, np.uint64(58), keys, starts, ends)
        found += zip(starts[:count].tolist(), keys[:count].tolist(), strict=True)
    assert twins.hashes_as_bytes(data, short=b"#C", long=b"P\x90") == found


HEADERS = st.builds(
    lambda length, raw, method, rest: struct.pack("<II", length << 2 | 2, raw | method << 30) + rest,
    st.integers(0, 200), st.integers(0, 2_000), st.sampled_from([0, 0, 1, 2]), st.binary(max_size=40),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(HEADERS | st.binary(max_size=9), max_size=8).map(b"".join), st.booleans(), st.integers(1, 3))
def test_p3_headers_of_packed_values_are_seen_as_their_twin_does(data: bytes, aligned: bool, room: int) -> None:
    step, block = (4, 64) if aligned else (1, 0)
    found: list[int] = []
    at = 0
    while at < len(data):
        places = np.empty(room, np.int64)
        count, at = packed.packed_places(view(data), at, step, block, 150, (92, 256), places)
        found += places[:count].tolist()
    assert twins.packed_places(data, step=step, block=block, bytes_max=150) == found


@pytest.mark.parametrize("listed", [2, 4096])
def test_p3_values_that_have_no_room_together_are_unpacked_in_turn(
    monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    """Three of 1.5 MB each, where 4 MiB are unpacked at once; and more headers than are listed at once."""
    monkeypatch.setattr("domicile.stores.postgres.pages.PLACES_AT_ONCE", listed)
    run = bytes([0b11111110]) + b"a" + bytes([0x0F, 0x01, 255]) * 7 + (b"\xff" + bytes([0x0F, 0x01, 255]) * 8) * 700
    raw = 1_500_000
    value = struct.pack("<II", (len(run) + 8) << 2 | 2, raw) + run
    assert [raw] * 3 == [len(found.data) for found in carve_compressed(value * 3, block=8192, aligned=False)]


def test_a_record_with_a_packed_image_is_listed_and_another_is_not() -> None:
    def record(flags: int, image: int) -> bytes:
        head = bytes([0, flags]) + struct.pack("<H", 0)
        head += struct.pack("<HHB", 100, 40, image) + (b"\0\0" if image & 1 else b"") if flags & 0x10 else b""
        body = head + bytes(16) + b"\xff\x04data" + bytes(100)
        size = 24 + len(body)
        return struct.pack("<I", size) + bytes(20) + body + bytes(-size % 8)

    records = [record(0, 0), record(0x10, 0x05), record(0x10, 0x01), record(0x10, 0x09)]
    starts = [sum(map(len, records[:number])) for number in range(4)]
    places = np.empty(8, np.int64)
    count, at = packed.records_with_packed_images(view(b"".join(records)), 0, 0x1C, 1 << 20, places)
    assert [starts[1], starts[3]] == places[:count].tolist()
    assert sum(map(len, records)) == at
    count, at = packed.records_with_packed_images(view(b"".join(records)), 0, 0x1C, 1 << 20, places[:1])
    assert (1, starts[3]) == (count, at)


def test_hashes_in_more_places_than_there_is_room_for_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one run of letters, and in many."""
    from domicile.sweep import TokenClass, Tokens  # noqa: PLC0415 - beside its one use
    from domicile.sweep.digests import digests  # noqa: PLC0415 - as above

    monkeypatch.setattr("domicile.sweep.digests.FOUND_MAX", 2)
    (md5, *_) = digests(b"ada@example.org", TokenClass.EMAIL)
    matcher = Tokens({b"ada@example.org": TokenClass.EMAIL}).matcher()
    for between, times in ((b"-", 20), (b" ", 20), (b"+/", 3)):
        hits = list(matcher.find(between.join([md5.hex().encode()] * times)))
        assert [(32 + len(between)) * number for number in range(times)] == [hit.offset for hit in hits]
    assert [1 + 17 * number for number in range(9)] == [hit.offset for hit in matcher.find((b"#" + md5) * 9)]


def test_what_cannot_be_kept_beside_its_source_is_compiled_all_the_same() -> None:
    namespace: dict[str, Callable[[int], int]] = {}
    exec("def twice(number):\n    return 2 * number", namespace)  # noqa: S102 - a function that has no file
    assert 84 == compiled()(namespace["twice"])(42)
