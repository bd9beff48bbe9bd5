"""Bytes said in another spelling: UTF-16, base64, hexadecimal undone, and the places where hashes can stand.

What is undone comes with the place where each of its bytes stands in what was read; NOWHERE for bytes between runs,
across which no string holds. What the spellings are, and why: `sweep.decoded`, `sweep.digests`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from domicile.native.compiled import compiled
from domicile.native.patterns import Bytes, Numbers, Words

Origins: TypeAlias = NDArray[np.int32]

NOWHERE = -1
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NO_LETTER, _END_OF_LINE, _BACKSLASH = 64, 65, 66
_NO_DIGIT = 16
LETTER_OF = np.full(256, _NO_LETTER, np.uint8)
for _value, _letter in enumerate(_LETTERS):
    LETTER_OF[_letter] = _value
LETTER_OF[ord("-")], LETTER_OF[ord("_")] = 62, 63
LETTER_OF[[0x0D, 0x0A]], LETTER_OF[0x5C] = _END_OF_LINE, _BACKSLASH
DIGIT_OF = np.full(256, _NO_DIGIT, np.uint8)
for _value, _letter in enumerate(b"0123456789abcdef"):
    DIGIT_OF[_letter] = _value
    DIGIT_OF[ord(chr(_letter).upper())] = _value
_BYTE, _TOP, _SIX_BITS, _FOUR_BITS = np.uint64(8), np.uint64(56), np.uint64(6), np.uint64(4)
_LAST, _FOUR_BYTES, _LETTER_MASK, _ONE = np.uint64(0xFF), np.uint64(0xFFFFFFFF), np.uint64(63), np.uint64(1)
_ODD = np.uint64(0x9E3779B97F4A7C15)


@compiled()
def widened(data: Bytes, least: int, out: Bytes, origins: Origins) -> int:
    """Write characters of ASCII parted by zero bytes, `least` and more in a row, and a zero behind; say how much."""
    size, at, end = 0, 0, len(data)
    while at + 1 < end:
        if data[at + 1] != 0 or not 0x20 <= data[at] < 0x7F:
            at += 1
            continue
        last = at
        while last + 2 < end and data[last + 1] == 0 and 0x20 <= data[last + 2] < 0x7F:
            last += 2
        if (last - at) // 2 + 1 >= least:
            for place in range(at, last + 1, 2):
                out[size] = data[place]
                origins[size] = place
                size += 1
            out[size] = 0
            origins[size] = NOWHERE
            size += 1
        at = last + 1
    return size


@compiled()
def letters(data: Bytes, kinds: Bytes, least: int, out: Bytes, origins: Origins) -> int:
    """Write every run of letters of base64, `least` and more, with the lines behind it, and four letters between runs.

    Lines end as they are, or as JSON and COPY write it: up to four backslashes, and n or r.
    """
    size, at, end = 0, 0, len(data)
    while at < end:
        if kinds[data[at]] >= _NO_LETTER:
            at += 1
            continue
        # Where the last letter of the least run would stand: no letter there, no run before it.
        ahead = at + least - 1
        if ahead >= end:
            break
        while ahead > at and kinds[data[ahead]] < _NO_LETTER:
            ahead -= 1
        if ahead > at:
            at = ahead + 1
            continue
        while at < end:
            kind = kinds[data[at]]
            if kind < _NO_LETTER:
                out[size] = data[at]
                origins[size] = at
                size += 1
                at += 1
            elif kind == _END_OF_LINE:
                at += 1
            elif kind == _BACKSLASH:
                behind = at + 1
                while behind < end and behind - at < 5 and data[behind] == 0x5C:
                    behind += 1
                if behind - at > 4 or behind >= end or kinds[data[behind]] >= _NO_LETTER:
                    break
                at = behind
                if data[at] == 0x6E or data[at] == 0x72:
                    at += 1
            else:
                break
        for _ in range(4):
            out[size] = 0x7A
            origins[size] = NOWHERE
            size += 1
    return size


@compiled()
def unbase64(text: Bytes, kinds: Bytes, shift: int, out: Bytes) -> int:
    """Undo base64 of letters of either alphabet from the letter `shift` on; say how many bytes came out."""
    size = 0
    for at in range(shift, len(text) - 3, 4):
        first, second, third, fourth = kinds[text[at]], kinds[text[at + 1]], kinds[text[at + 2]], kinds[text[at + 3]]
        out[size] = (first << 2) | (second >> 4)
        out[size + 1] = (second << 4) | (third >> 2)
        out[size + 2] = (third << 6) | fourth
        size += 3
    return size


@compiled()
def unhex(text: Bytes, digits: Bytes, least: int, shift: int, out: Bytes, places: Origins) -> int:
    """Undo hexadecimal in runs of `least` and more digits, each from its digit `shift` on, with a zero behind it."""
    size, at, end = 0, 0, len(text)
    while at < end:
        if digits[text[at]] >= _NO_DIGIT:
            at += 1
            continue
        last = at
        while last < end and digits[text[last]] < _NO_DIGIT:
            last += 1
        if last - at >= least:
            for place in range(at + shift, last - 1, 2):
                out[size] = (digits[text[place]] << 4) | digits[text[place + 1]]
                places[size] = place
                size += 1
            out[size] = 0
            places[size] = NOWHERE
            size += 1
        at = last
    return size


def passes(key: np.uint64, words: Words, shift: np.uint64) -> bool:
    """Whether the filter knows the beginning of a hash."""
    place = key >> shift
    return bool(words[place >> _SIX_BITS] >> (place & _LETTER_MASK) & _ONE)


@compiled()
def fill(keys: Words, words: Words, shift: np.uint64) -> None:
    """Set one bit for each beginning of a hash."""
    for number in range(len(keys)):
        place = keys[number] >> shift
        words[place >> _SIX_BITS] |= _ONE << (place & _LETTER_MASK)


def digits_key(data: Bytes, at: int, digits: Bytes) -> np.uint64:
    """The eight bytes that 16 digits say."""
    key = np.uint64(0)
    for step in range(16):
        key = (key << _FOUR_BITS) | np.uint64(digits[data[at + step]])
    return key


def letters_key(data: Bytes, at: int, kinds: Bytes) -> np.uint64:
    """The first eight bytes that letters of base64 say: ten of them, and four bits of the eleventh."""
    key = np.uint64(0)
    for step in range(10):
        key = (key << _SIX_BITS) | np.uint64(kinds[data[at + step]])
    return (key << _FOUR_BITS) | (np.uint64(kinds[data[at + 10]]) >> np.uint64(2))


@compiled(passes, digits_key, letters_key)
def hash_places(
    data: Bytes, begin: int, kinds: Bytes, digits: Bytes, words: Words, shift: np.uint64,
    found_keys: Words, starts: Origins, ends: Origins,
) -> tuple[int, int]:  # fmt: skip
    """List the places from `begin` on where a hash can stand that the filter knows; say how many, and where to go on.

    `begin` is 0, or where an earlier call left off. There is room for eight places at least.
    """
    count, end = 0, len(data)
    low, high = np.uint64(0), np.uint64(0)
    for at in range(max(begin - 16, 0), begin):
        high = (high << _BYTE) | (low >> _TOP)
        low = (low << _BYTE) | np.uint64(data[at])
    run, number = begin, begin  # where the run of letters, and of digits, begins that ends before `at`
    for at in range(begin, end + 1):
        byte = data[at] if at < end else np.uint8(0)
        if digits[byte] >= _NO_DIGIT:
            length = at - number
            if 32 <= length <= 128:
                for size in (64, 40, 32):
                    if size <= length and (length == 32 or at - size != number):
                        key = digits_key(data, at - size, digits)
                        if passes(key, words, shift):
                            found_keys[count], starts[count], ends[count] = key, at - size, at
                            count += 1
                if length != 32:
                    key = digits_key(data, number, digits)
                    if passes(key, words, shift):
                        found_keys[count], starts[count], ends[count] = key, number, number + 32
                        count += 1
            number = at + 1
        if kinds[byte] >= _NO_LETTER:
            if at - run >= 22:
                key = letters_key(data, run, kinds)
                if passes(key, words, shift):
                    found_keys[count], starts[count], ends[count] = key, run, run + 22
                    count += 1
            run = at + 1
        if at == end:
            break
        high = (high << _BYTE) | (low >> _TOP)
        low = (low << _BYTE) | np.uint64(byte)
        short, long = high & _LAST, high & _FOUR_BYTES
        if short == 35 or short == 43 or short == 67:
            if at >= 8 and passes(low, words, shift):
                found_keys[count], starts[count], ends[count] = low, at - 7, at + 1
                count += 1
        elif (
            (long == 0x50000000 or long == 0x60000000 or long == 0x90000000) and at >= 11 and passes(low, words, shift)
        ):
            found_keys[count], starts[count], ends[count] = low, at - 7, at + 1
            count += 1
        if count + 8 > len(starts) and run == at + 1 and number == at + 1:
            return count, at + 1
        if count + 8 > len(starts):
            return -1, begin
    return count, end


@compiled()
def equal_keys(found: Words, keys: Words, directory: Numbers, shift: np.uint64, entries: Origins) -> None:
    """Say for each found key which entry of the sorted keys is the first with it; NOWHERE when none is."""
    for number in range(len(found)):
        entries[number] = NOWHERE
        place = found[number] >> shift
        for entry in range(directory[place], directory[place + _ONE]):
            if keys[entry] == found[number]:
                entries[number] = entry
                break
