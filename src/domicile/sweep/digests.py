"""Hashes of e-mails and phone numbers: platforms keep them, to match people with what advertisers have.

They are no patterns: each form of each hash would be one, and be looked for everywhere. So only places are looked at
where a hash can stand, and looked up by its first eight bytes:

| written as    | where it can stand                                                              |
|---------------|---------------------------------------------------------------------------------|
| hexadecimal   | at the beginning or the end of 32 to 128 digits, of either case                 |
| base64        | at the beginning of 22 and more letters, of either alphabet                     |
| bytes         | behind the header of a `bytea` of 16, 20 or 32 bytes, as it lies on disk        |

By chance one of 2^24 hashes is found in one of 2^40 such places.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn, TypeAlias

import numpy as np

from domicile.native.patterns import Words, directory_of
from domicile.native.spellings import (
    DIGIT_OF,
    LETTER_OF,
    LONG_HEAD,
    NOWHERE,
    SHORT_HEAD,
    Origins,
    equal_keys,
    fill,
    hashes_as_bytes,
    hashes_as_letters,
)
from domicile.sweep.forms import TokenClass

Look: TypeAlias = Callable[[int, Words, Origins, Origins], tuple[int, int]]

KEY_BYTES = 8
FILTER_BITS_MIN = 16
FILTER_BITS_MAX = 27  # 16 MiB: of 2^24 hashes, one in eight of its bits is set
FOUND_MAX = 1 << 12
PHONE_DIGITS_MIN = 6
_HASHES = (hashlib.md5, hashlib.sha1, hashlib.sha256)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_NO_DIGITS = re.compile(r"[^0-9]+")
# `varatt.h`: a short header tells the length, itself included, and one bit; a long one (in statistics), and two bits.
_HEADS = np.zeros(256, np.uint8)
for _size in (16, 20, 32):
    _HEADS[_size + 1 << 1 | 1], _HEADS[_size + 4 << 2] = SHORT_HEAD, LONG_HEAD


class Digests:
    """The hashes of all tokens that have any, by number of the token. Nothing of them is told."""

    def __init__(self, tokens: Iterable[tuple[int, bytes, TokenClass]]) -> None:
        gathered, owners = bytearray(), array("I")
        for number, text, token_class in tokens:
            for digest in digests(text, token_class):
                gathered += digest[:KEY_BYTES]
                owners.append(number)
        keys = np.frombuffer(gathered, ">u8").astype(np.uint64)
        order = np.argsort(keys)
        self._keys = keys[order]
        self._owners = np.frombuffer(owners, np.uint32)[order]
        bits = min(FILTER_BITS_MAX, max(FILTER_BITS_MIN, (64 * len(keys)).bit_length()))
        self._filter, self._shift = np.zeros(1 << bits - 6, np.uint64), np.uint64(64 - bits)
        fill(self._keys, self._filter, self._shift)
        self._directory, self._directory_shift = directory_of(self._keys)

    def __repr__(self) -> str:
        return f"Digests({len(self._keys)})"

    def __len__(self) -> int:
        return len(self._keys)

    def __reduce__(self) -> NoReturn:
        raise TypeError("hashes of tokens stay in the memory of the process that made them")

    def find(self, block: bytes) -> Iterator[tuple[int, int, int]]:
        """Find every hash in a block: where it starts and ends, as far as it was looked at, and whose it is."""
        if not len(self._keys):
            return
        view, known, shift = np.frombuffer(block, np.uint8), self._filter, self._shift
        yield from self._looked_up(
            len(view), lambda at, *places: hashes_as_bytes(view, at, _HEADS, known, shift, *places)
        )  # fmt: skip
        yield from self._looked_up(
            len(view), lambda at, *places: hashes_as_letters(view, at, LETTER_OF, DIGIT_OF, known, shift, *places)
        )  # fmt: skip

    def _looked_up(self, size: int, look: Look) -> Iterator[tuple[int, int, int]]:
        at, room = 0, FOUND_MAX
        while at < size:
            found, starts, ends = np.empty(room, np.uint64), np.empty(room, np.int32), np.empty(room, np.int32)
            count, at = look(at, found, starts, ends)
            if count < 0:
                room = size  # one run holds more places than there is room for
            elif count:
                yield from self._equal(found[:count], starts.tolist(), ends.tolist())

    def _equal(self, found: Words, starts: list[int], ends: list[int]) -> Iterator[tuple[int, int, int]]:
        entries = np.empty(len(found), np.int32)
        equal_keys(found, self._keys, self._directory, self._directory_shift, entries)
        for place in np.flatnonzero(entries != NOWHERE).tolist():
            entry = int(entries[place])
            while entry < len(self._keys) and self._keys[entry] == found[place]:
                yield starts[place], ends[place], int(self._owners[entry])
                entry += 1


def digests(text: bytes, token_class: TokenClass) -> Iterator[bytes]:
    """Hash a token in every way that is looked for; nothing for tokens that nobody matches people by."""
    try:
        plain = text.decode()
    except UnicodeDecodeError:
        return
    for value in normalised(plain, token_class):
        spelt = value.encode()
        for named in _HASHES:
            yield named(spelt, usedforsecurity=False).digest()


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
