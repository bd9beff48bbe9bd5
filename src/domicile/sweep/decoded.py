r"""What searched bytes say in another spelling: UTF-16, base64, hexadecimal and escapes, undone before the search.

| spelling    | undone where                                                        | shortest token, in bytes        |
|-------------|---------------------------------------------------------------------|---------------------------------|
| UTF-16      | six and more characters of ASCII with a zero byte between them      | any                             |
| base64      | runs of 12 and more letters, both alphabets, each of four alignments, lines joined | DECODED_BYTES_MIN |
| hexadecimal | runs of 18 and more digits, both alignments, lines joined           | DECODED_BYTES_MIN               |
| escapes     | around %40, &#64; &amp;, \\u0040, \\/ and \\n of JSON and COPY, escaped once more | any |

One pass each, over a block: memory is a few times the block, time grows with the block only. A spelling inside
another one (hexadecimal inside base64) is not undone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from html.entities import html5
from operator import attrgetter
from typing import Protocol

import numpy as np

from domicile.native.patterns import Bytes, read_only
from domicile.native.spellings import (
    AMPERSAND,
    BACKSLASH,
    DIGIT_OF,
    LETTER_OF,
    MARKS,
    PERCENT,
    Origins,
    escape_places,
    letters,
    unbase64,
    unhex,
    widened,
)

# Undone as base64, any text gives bytes that look random, four times over. With fewer bytes than these, chance alone
# would find tokens in them: of 2^24 tokens of nine bytes one is found in 2^48 random places.
DECODED_BYTES_MIN = 9
BASE64_RUN_MIN = DECODED_BYTES_MIN * 4 // 3
HEX_RUN_MIN = DECODED_BYTES_MIN * 2
WIDE_RUN_MIN = 6
ESCAPES_AT_ONCE = 4096
_NOWHERE = -1


class Decoded(Protocol):
    """Bytes that a block says in another spelling: `data`, and the length from which on a match in them tells."""

    data: Bytes
    bytes_min: int

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        """Say where in the block the bytes from `start` to `end` are spelt; None when they aren't, as a whole."""
        ...


def decodings(block: bytes, *, reach: int) -> Iterator[Decoded]:
    """Undo every spelling found in a block; `reach` is the length of the longest pattern, in bytes."""
    view = np.frombuffer(block, np.uint8)
    wide = _wide(view)
    if wide is not None:
        yield wide
    text = _base64_text(view)
    if text is not None:
        for shift in range(4):
            yield _Base64(text, shift, np.empty(len(text.letters), np.uint8))
        yield from _hexadecimal(text)
    escaped = _escaped(block, reach)
    if escaped is not None:
        yield escaped


class _Pieces:
    """Pieces of a block put one behind the other, and the way back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._starts: list[int] = []
        self._origins: list[int] = []
        self._size = 0

    def add(self, part: bytes, origin: int) -> int:
        """Append a piece that stands at `origin` in the block, or nowhere; return its number."""
        self._starts.append(self._size)
        self._origins.append(origin)
        self._parts.append(part)
        self._size += len(part)
        return len(self._starts) - 1

    def joined(self) -> bytes:
        """All pieces; they are let go."""
        data = b"".join(self._parts)
        self._parts = []
        return data

    def number(self, position: int) -> int:
        """Say in which piece a byte stands."""
        return bisect_right(self._starts, position) - 1

    def origin(self, position: int, *, step: int = 1) -> int:
        """Say where in the block a byte stands whose piece takes `step` bytes for each; negative: nowhere."""
        number = self.number(position)
        if self._origins[number] == _NOWHERE:
            return _NOWHERE
        return self._origins[number] + (position - self._starts[number]) * step


# --- UTF-16 -----------------------------------------------------------------------------------------------------------


class _Wide:
    """Characters of ASCII without the zero bytes between them, of either byte order."""

    bytes_min = 1

    def __init__(self, data: Bytes, origins: Origins) -> None:
        self.data = data
        self._origins = origins

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        first, last = int(self._origins[start]), int(self._origins[end - 1])
        return (first, last + 1) if first >= 0 and last - first == 2 * (end - 1 - start) else None


def _wide(block: Bytes) -> _Wide | None:
    room = len(block) // 2 + len(block) // (2 * WIDE_RUN_MIN) + 2
    data, origins = np.empty(room, np.uint8), np.empty(room, np.int32)
    size = widened(block, WIDE_RUN_MIN, data, origins)
    return _Wide(read_only(data[:size]), origins) if size else None


# --- base64 and hexadecimal -------------------------------------------------------------------------------------------


class _Text:
    """Every run of letters of base64 in a block, lines joined, and where each letter stands."""

    def __init__(self, letters: Bytes, origins: Origins) -> None:
        self.letters = letters
        self._origins = origins

    def place(self, first: int, last: int) -> tuple[int, int] | None:
        """Say where in the block the letters from `first` to `last` stand."""
        start, end = int(self._origins[first]), int(self._origins[last])
        return (start, end + 1) if start >= 0 and end >= 0 else None


def _base64_text(block: Bytes) -> _Text | None:
    room = len(block) + 4 * (len(block) // BASE64_RUN_MIN + 1)
    data, origins = np.empty(room, np.uint8), np.empty(room, np.int32)
    size = letters(block, LETTER_OF, BASE64_RUN_MIN, data, origins)
    return _Text(read_only(data[:size]), origins) if size else None


class _Base64:
    """The runs decoded as if each began `shift` letters late."""

    bytes_min = DECODED_BYTES_MIN

    def __init__(self, text: _Text, shift: int, out: Bytes) -> None:
        self._text = text
        self._shift = shift
        self.data = read_only(out[: unbase64(text.letters, LETTER_OF, shift, out)])

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        last = end - 1
        return self._text.place(
            self._shift + start // 3 * 4 + start % 3, self._shift + last // 3 * 4 + last % 3 + 1
        )  # of four letters, the first and the second hold the first byte


class _Hexadecimal:
    """The runs of digits decoded from their first or their second digit on."""

    bytes_min = DECODED_BYTES_MIN

    def __init__(self, text: _Text, data: Bytes, places: Origins) -> None:
        self.data = data
        self._text = text
        self._places = places

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        first, last = int(self._places[start]), int(self._places[end - 1])
        if first < 0 or last - first != 2 * (end - 1 - start):
            return None
        return self._text.place(first, last + 1)


def _hexadecimal(text: _Text) -> Iterator[_Hexadecimal]:
    room = len(text.letters) // 2 + len(text.letters) // HEX_RUN_MIN + 1
    for shift in range(2):
        data, places = np.empty(room, np.uint8), np.empty(room, np.int32)
        size = unhex(text.letters, DIGIT_OF, HEX_RUN_MIN, shift, data, places)
        if size:
            yield _Hexadecimal(text, read_only(data[:size]), places)


# --- escapes ----------------------------------------------------------------------------------------------------------

# Each expression begins with one letter; no two can overlap. `escape_places` must know what each can begin with.
_PERCENT = re.compile(rb"%(?:25){0,3}[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*+")
_REFERENCE = re.compile(rb"&(?:amp;){0,3}(#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BACKSLASH = re.compile(
    rb"\\(?:\\{0,3}(?:u([0-9A-Fa-f]{4}(?:\\{1,4}u[dD][c-fC-F][0-9A-Fa-f]{2})?)|([\"/]))|([\\nrtbfv]))"
)
_EXPRESSIONS = {PERCENT: _PERCENT, AMPERSAND: _REFERENCE, BACKSLASH: _BACKSLASH}
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"\\": b"\\"}
_SURROGATE = re.compile(rb"\\+u")
_PERCENT_BYTES = 3


class _Escaped:
    """The surroundings of escapes, with the escapes undone."""

    bytes_min = 1

    def __init__(self, pieces: _Pieces, widths: dict[int, int]) -> None:
        self.data = np.frombuffer(pieces.joined(), np.uint8)
        self._pieces = pieces
        self._widths = widths  # of each piece that is an escape

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        first, last = self._pieces.number(start), self._pieces.number(end - 1)
        if first == last and first not in self._widths:
            return None  # no escape in it: the block itself holds it, and was searched
        begin, stop = (self._edge(number, at) for number, at in ((first, start), (last, end - 1)))
        return None if begin is None or stop is None else (begin[0], stop[1])

    def _edge(self, number: int, position: int) -> tuple[int, int] | None:
        width = self._widths.get(number)
        if width == _PERCENT_BYTES:  # or many of them
            at = self._pieces.origin(position, step=_PERCENT_BYTES)
        else:
            at = self._pieces.origin(position, step=1 if width is None else 0)
        return None if at < 0 else (at, at + (width or 1))


@dataclass(frozen=True, slots=True)
class _Escape:
    """An escape, or a run of %40 and the like: where it stands, what it says, and the width of what says a byte."""

    start: int
    end: int
    said: bytes
    width: int


def _escaped(block: bytes, reach: int) -> _Escaped | None:
    pieces = _Pieces()
    widths: dict[int, int] = {}
    end = _NOWHERE
    for escape in sorted(_escapes(block), key=attrgetter("start")):
        start = escape.start
        if end != _NOWHERE and start - end > 2 * reach:
            pieces.add(block[end : end + reach], end)
            pieces.add(b"\0", _NOWHERE)
            end = _NOWHERE
        end = max(start - reach, 0) if end == _NOWHERE else end
        pieces.add(block[end:start], end)
        widths[pieces.add(escape.said, start)] = escape.width
        end = escape.end
    if not widths:
        return None
    pieces.add(block[end : end + reach], end)
    return _Escaped(pieces, widths)


def _escapes(block: bytes) -> Iterator[_Escape]:
    for match in _matches(block):
        start, end = match.span()
        if block[start] == PERCENT:
            yield from _percents(match[0], start)
        elif block[start] == AMPERSAND:
            said = _referred(match[1].decode())
            if said is not None:
                yield _Escape(start, end, said, end - start)
        else:
            unit, sign, control = match.groups()
            yield _Escape(start, end, _units(unit) if unit else sign or _CONTROLS[control], end - start)


def _matches(block: bytes) -> Iterator[re.Match[bytes]]:
    """What each of the three expressions finds in a block; compiled code says where to look."""
    view, at = np.frombuffer(block, np.uint8), 0
    behind = dict.fromkeys(_EXPRESSIONS, 0)
    while at < len(view):
        places = np.empty(ESCAPES_AT_ONCE, np.int64)
        count, at = escape_places(view, at, MARKS, LETTER_OF, DIGIT_OF, places)
        for place in places[:count].tolist():
            mark = block[place]
            match = _EXPRESSIONS[mark].match(block, place) if place >= behind[mark] else None
            if match:
                behind[mark] = match.end()
                yield match


def _percents(run: bytes, start: int) -> Iterator[_Escape]:
    """A run of escaped bytes; the first may be escaped once more (%2540)."""
    first = run.find(b"%", 1)
    first = len(run) if first < 0 else first
    if first > _PERCENT_BYTES:
        yield _Escape(start, start + first, bytes.fromhex(run[first - 2 : first].decode()), first)
        run, start = run[first:], start + first
    if run:
        said = bytes.fromhex(run.replace(b"%", b"").decode())
        yield _Escape(start, start + len(run), said, _PERCENT_BYTES)


def _referred(name: str) -> bytes | None:
    if not name.startswith("#"):
        return html5[f"{name};"].encode() if f"{name};" in html5 else None
    number = int(f"0{name[1:]}", 16) if name[1] in "xX" else int(name[1:])
    return chr(number).encode(errors="replace") if number < 0x110000 else None


def _units(unit: bytes) -> bytes:
    pair = b"".join(int(part, 16).to_bytes(2, "big") for part in _SURROGATE.split(unit))
    return pair.decode("utf-16-be", errors="replace").encode()
