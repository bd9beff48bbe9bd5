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

import binascii
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html.entities import html5
from operator import attrgetter
from typing import Protocol

# Undone as base64, any text gives bytes that look random, four times over. With fewer bytes than these, chance alone
# would find tokens in them: of 2,000,000 tokens of nine bytes one is found in 2^51 random places.
DECODED_BYTES_MIN = 9
BASE64_RUN_MIN = DECODED_BYTES_MIN * 4 // 3
HEX_RUN_MIN = DECODED_BYTES_MIN * 2
_PAD = b"zzzz"  # between runs: letters of base64, and no digits of hexadecimal
_NOWHERE = -1


class Decoded(Protocol):
    """Bytes that a block says in another spelling: `data`, and the length from which on a match in them tells."""

    data: bytes
    bytes_min: int

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        """Say where in the block the bytes from `start` to `end` are spelt; None when they aren't, as a whole."""
        ...


def decodings(block: bytes, *, reach: int) -> Iterator[Decoded]:
    """Undo every spelling found in a block; `reach` is the length of the longest pattern, in bytes."""
    wide = _wide(block)
    if wide is not None:
        yield wide
    text = _base64_text(block)
    if text is not None:
        for shift in range(4):
            yield _Base64(text, shift)
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

_WIDE_KINDS = bytes(0 if byte == 0 else 1 if 0x20 <= byte < 0x7F else 2 for byte in range(256))
_WIDE_FIRST = b"\x01\x00" * 5 + b"\x01"
_WIDE = re.compile(_WIDE_FIRST + b"(?:\x00\x01)*+")


class _Wide:
    """Characters of ASCII without the zero bytes between them, of either byte order."""

    bytes_min = 1

    def __init__(self, pieces: _Pieces) -> None:
        self.data = pieces.joined()
        self._pieces = pieces

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        first, last = self._pieces.origin(start, step=2), self._pieces.origin(end - 1, step=2)
        return (first, last + 1) if first >= 0 and last - first == 2 * (end - 1 - start) else None


def _wide(block: bytes) -> _Wide | None:
    kinds = block.translate(_WIDE_KINDS)
    first = kinds.find(_WIDE_FIRST)  # up to three times as fast as the expression
    if first < 0:
        return None
    pieces = _Pieces()
    for match in _WIDE.finditer(kinds, first):
        pieces.add(block[match.start() : match.end() : 2], match.start())
        pieces.add(b"\0", _NOWHERE)
    return _Wide(pieces)


# --- base64 and hexadecimal -------------------------------------------------------------------------------------------

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_KINDS = bytes(1 if byte in _LETTERS else 2 if byte in b"\r\n" else 3 if byte == 0x5C else 0 for byte in range(256))
# A line, and the lines behind it: also with the ends of lines as JSON, COPY and programs write them, \n or \r\n.
_RUN = re.compile(b"\x01" * BASE64_RUN_MIN + rb"\x01*+(?:(?:\x02{1,2}|\x03{1,4}\x01)\x01*+)*+")
_LINE = re.compile(rb"((?<=\\)[nr])|([A-Za-z0-9+/_-]+)")
_HEX_RUN = re.compile(rb"[0-9A-Fa-f]{%d,}" % HEX_RUN_MIN)
_STANDARD = bytes.maketrans(b"-_", b"+/")


_ENDS = re.compile(rb"\\+[nr]?")
_FIRST = b"\x01" * BASE64_RUN_MIN


class _Text:
    """Every run of letters of base64 in a block, lines joined.

    A server's catalogue holds a run for each 100 bytes, and almost no block holds a token: so the way back is made only
    where something was found.
    """

    def __init__(self, block: bytes, spans: list[tuple[int, int]]) -> None:
        letters = _PAD.join([*(block[start:end] for start, end in spans), b""]).translate(None, b"\r\n")
        self.letters = _ENDS.sub(b"", letters) if b"\\" in letters else letters
        self.standard = self.letters.translate(_STANDARD)
        self._block = block
        self._spans = spans

    def place(self, first: int, last: int) -> tuple[int, int] | None:
        """Say where in the block the letters from `first` to `last` stand."""
        start, end = self._pieces.origin(first), self._pieces.origin(last)
        return (start, end + 1) if start >= 0 and end >= 0 else None

    @cached_property
    def _pieces(self) -> _Pieces:
        pieces = _Pieces()
        for start, end in self._spans:
            for line in _LINE.finditer(self._block[start:end]):  # what stands before it isn't looked at, as above
                if line[2]:
                    pieces.add(line[2], start + line.start())
            pieces.add(_PAD, _NOWHERE)
        return pieces


def _base64_text(block: bytes) -> _Text | None:
    kinds = block.translate(_KINDS)
    first = kinds.find(_FIRST)
    return _Text(block, [match.span() for match in _RUN.finditer(kinds, first)]) if first >= 0 else None


class _Base64:
    """The runs decoded as if each began `shift` letters late."""

    bytes_min = DECODED_BYTES_MIN

    def __init__(self, text: _Text, shift: int) -> None:
        self._text = text
        self._shift = shift
        whole = (len(text.standard) - shift) // 4 * 4
        self.data = binascii.a2b_base64(text.standard[shift : shift + whole])

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        last = end - 1
        return self._text.place(
            self._shift + start // 3 * 4 + start % 3, self._shift + last // 3 * 4 + last % 3 + 1
        )  # of four letters, the first and the second hold the first byte


class _Hexadecimal:
    """The runs of digits decoded from their first or their second digit on."""

    bytes_min = DECODED_BYTES_MIN

    def __init__(self, text: _Text, spans: list[tuple[int, int]], shift: int) -> None:
        # Each from where it begins on to an even number of digits, and a byte of zero behind it.
        self._spans = [(start + shift, end - (end - start - shift) % 2) for start, end in spans]
        digits = b"00".join([*(text.letters[start:end] for start, end in self._spans), b""])
        self.data = bytes.fromhex(digits.decode())
        self._text = text

    def place(self, start: int, end: int) -> tuple[int, int] | None:
        first, last = self._pieces.origin(start, step=2), self._pieces.origin(end - 1, step=2)
        if first < 0 or last - first != 2 * (end - 1 - start):
            return None
        return self._text.place(first, last + 1)

    @cached_property
    def _pieces(self) -> _Pieces:
        pieces = _Pieces()
        for start, end in self._spans:
            pieces.add(bytes((end - start) // 2), start)
            pieces.add(b"\0", _NOWHERE)
        return pieces


def _hexadecimal(text: _Text) -> Iterator[_Hexadecimal]:
    spans = [match.span() for match in _HEX_RUN.finditer(text.letters)]
    if spans:
        for shift in range(2):
            yield _Hexadecimal(text, spans, shift)


# --- escapes ----------------------------------------------------------------------------------------------------------

# Each expression begins with one letter, which is looked for as fast as memory can be read; no two can overlap.
_PERCENT = re.compile(rb"%(?:25){0,3}[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*+")
_REFERENCE = re.compile(rb"&(?:amp;){0,3}(#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BACKSLASH = re.compile(
    rb"\\(?:\\{0,3}(?:u([0-9A-Fa-f]{4}(?:\\{1,4}u[dD][c-fC-F][0-9A-Fa-f]{2})?)|([\"/]))|([\\nrtbfv]))"
)
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"\\": b"\\"}
_SURROGATE = re.compile(rb"\\+u")
_PERCENT_BYTES = 3


class _Escaped:
    """The surroundings of escapes, with the escapes undone."""

    bytes_min = 1

    def __init__(self, pieces: _Pieces, widths: dict[int, int]) -> None:
        self.data = pieces.joined()
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
    for match in _PERCENT.finditer(block):
        yield from _percents(match[0], match.start())
    for match in _REFERENCE.finditer(block):
        said = _referred(match[1].decode())
        if said is not None:
            yield _Escape(match.start(), match.end(), said, match.end() - match.start())
    for match in _BACKSLASH.finditer(block):
        unit, sign, control = match.groups()
        said = _units(unit) if unit else sign or _CONTROLS[control]
        yield _Escape(match.start(), match.end(), said, match.end() - match.start())


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
