"""Hashes of e-mails and phone numbers: platforms keep them, to match people with what advertisers have.

They are no patterns of the automaton: random bytes share no beginnings, and with 225,000 of them it took five times
the memory and four times the time. So only places are looked at where a hash can stand, and looked up by its first
eight bytes:

| written as    | where it can stand                                                              |
|---------------|---------------------------------------------------------------------------------|
| hexadecimal   | at the beginning or the end of 32 to 128 digits, of either case                 |
| base64        | at the beginning of 22 and more letters, of either alphabet                     |
| bytes         | behind the header of a `bytea` of 16, 20 or 32 bytes, as it lies on disk        |

By chance one of 2^24 hashes is found in one of 2^40 such places.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NoReturn

from domicile.sweep.forms import TokenClass

KEY_BYTES = 8
FILTER_BITS_MIN = 16
FILTER_BITS_MAX = 27  # 16 MiB: of 2^24 hashes, one in eight of its bits is set
HEX_DIGITS_MAX = 128
PHONE_DIGITS_MIN = 6
_NAMES = ("md5", "sha1", "sha256")
_HEX_DIGITS = (64, 40, 32)
_BASE64_LETTERS_MIN = 22
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_NO_DIGITS = re.compile(r"[^0-9]+")
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_LETTER = bytes(int(byte in _LETTERS) for byte in range(256))
_DIGIT = bytes(int(byte in b"0123456789abcdefABCDEF") for byte in range(256))
_LETTERS_FIRST, _DIGITS_FIRST = b"\x01" * _BASE64_LETTERS_MIN, b"\x01" * min(_HEX_DIGITS)
_LETTERS_RUN, _DIGITS_RUN = re.compile(_LETTERS_FIRST + b"\x01*+"), re.compile(_DIGITS_FIRST + b"\x01*+")
_STANDARD = bytes.maketrans(b"-_", b"+/")
# `varatt.h`: a short header tells the length, itself included, and one bit; a long one (in statistics), and two bits.
# One expression for each: what begins with one letter is looked for as fast as memory can be read.
_HEADERS = {
    header: re.compile(re.escape(header) + b"(?=(.{8}))", re.DOTALL)
    for size in (16, 20, 32)
    for header in (bytes([size + 1 << 1 | 1]), (size + 4 << 2).to_bytes(4, "little"))
}


class Digests:
    """The hashes of all tokens that have any, by number of the token. Nothing of them is told."""

    def __init__(self, tokens: Iterable[tuple[int, bytes, TokenClass]]) -> None:
        found = sorted(
            int.from_bytes(digest[:KEY_BYTES], "big") << 32 | number
            for number, text, token_class in tokens
            for digest in digests(text, token_class)
        )
        self._keys = array("Q", (entry >> 32 for entry in found))
        self._owners = array("I", (entry & 0xFFFFFFFF for entry in found))
        bits = min(FILTER_BITS_MAX, max(FILTER_BITS_MIN, (64 * len(found)).bit_length()))
        self._filter = bytearray(1 << bits - 3)
        self._shift = 64 - bits
        for key in self._keys:
            place = key >> self._shift
            self._filter[place >> 3] |= 1 << (place & 7)

    def __repr__(self) -> str:
        return f"Digests({len(self._keys)})"

    def __len__(self) -> int:
        return len(self._keys)

    def __reduce__(self) -> NoReturn:
        raise TypeError("hashes of tokens stay in the memory of the process that made them")

    def find(self, block: bytes) -> Iterator[tuple[int, int, int]]:
        """Find every hash in a block: where it starts and ends, as far as it was looked at, and whose it is."""
        if not self._keys:
            return
        yield from self._in_bytea(block)
        starts = [start for start, _ in _runs(block.translate(_LETTER), _LETTERS_FIRST, _LETTERS_RUN)]
        if starts:
            yield from self._in_base64(block, starts)
            yield from self._in_digits(block)

    def _in_bytea(self, block: bytes) -> Iterator[tuple[int, int, int]]:
        headers = [expression for header, expression in _HEADERS.items() if header in block]
        beginnings = b"".join([beginning for header in headers for beginning in header.findall(block)])
        if self._any(struct.iter_unpack(">Q", beginnings)):
            for header in headers:
                for match in header.finditer(block):
                    yield from self._at(match.end(), match.end() + KEY_BYTES, match[1])

    def _in_base64(self, block: bytes, starts: list[int]) -> Iterator[tuple[int, int, int]]:
        heads = b"".join([block[start : start + 12] for start in starts]).translate(_STANDARD)
        decoded = binascii.a2b_base64(heads)  # nine bytes for each
        if self._any(struct.iter_unpack(">Qx", decoded)):
            for number, start in enumerate(starts):
                yield from self._at(start, start + _BASE64_LETTERS_MIN, decoded[9 * number : 9 * number + KEY_BYTES])

    def _in_digits(self, block: bytes) -> Iterator[tuple[int, int, int]]:
        places = [
            place
            for start, end in _runs(block.translate(_DIGIT), _DIGITS_FIRST, _DIGITS_RUN)
            if end - start <= HEX_DIGITS_MAX
            for place in _places(start, end)
        ]
        if self._any((int(block[start : start + 2 * KEY_BYTES], 16),) for start, _ in places):
            for start, end in places:
                yield from self._at(start, end, bytes.fromhex(block[start : start + 2 * KEY_BYTES].decode()))

    def _any(self, keys: Iterable[tuple[int]]) -> bool:
        """Whether any of these is a hash: almost never, so their places aren't kept until then."""
        passed, shift = self._filter, self._shift
        return any(
            passed[key >> shift >> 3] >> (key >> shift & 7) & 1 and self._number(key) is not None for (key,) in keys
        )

    def _number(self, key: int) -> int | None:
        at = bisect_left(self._keys, key)
        return at if at < len(self._keys) and self._keys[at] == key else None

    def _at(self, start: int, end: int, beginning: bytes) -> Iterator[tuple[int, int, int]]:
        for number in self._owners_of(beginning):
            yield start, end, number

    def _owners_of(self, beginning: bytes) -> Iterator[int]:
        key = int.from_bytes(beginning, "big")
        at = self._number(key) if self._any([(key,)]) else None
        while at is not None and at < len(self._keys) and self._keys[at] == key:
            yield self._owners[at]
            at += 1


def _places(start: int, end: int) -> Iterable[tuple[int, int]]:
    """Where in a run of digits a hash can begin, and up to where it was looked at."""
    if end - start == min(_HEX_DIGITS):
        return ((start, end),)
    ending = {end - digits: end for digits in _HEX_DIGITS if digits <= end - start}
    return (ending | {start: start + min(_HEX_DIGITS)}).items()


def _runs(kinds: bytes, first: bytes, run: re.Pattern[bytes]) -> Iterator[tuple[int, int]]:
    begin = kinds.find(first)
    return (match.span() for match in run.finditer(kinds, begin)) if begin >= 0 else iter(())


def digests(text: bytes, token_class: TokenClass) -> Iterator[bytes]:
    """Hash a token in every way that is looked for; nothing for tokens that nobody matches people by."""
    try:
        plain = text.decode()
    except UnicodeDecodeError:
        return
    for value in normalised(plain, token_class):
        for name in _NAMES:
            yield hashlib.new(name, value.encode(), usedforsecurity=False).digest()


def normalised(plain: str, token_class: TokenClass) -> tuple[str, ...]:
    """Spell an e-mail or a phone number as it is spelt before it is hashed; nothing for other tokens."""
    plain = plain.strip()
    if token_class is TokenClass.EMAIL or (token_class is TokenClass.CANARY and _EMAIL.fullmatch(plain)):
        return tuple(dict.fromkeys((plain, plain.lower())))
    if token_class is not TokenClass.PHONE:
        return ()
    digits = _NO_DIGITS.sub("", plain)
    if len(digits) < PHONE_DIGITS_MIN:
        return (plain,)
    return tuple(dict.fromkeys((plain, digits, f"+{digits.removeprefix('00')}")))
