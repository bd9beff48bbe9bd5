"""Bytes said in another spelling: UTF-16, base64, hexadecimal undone, and the places of escapes and of hashes.

What is undone comes with the place where each of its bytes stands in what was read; NOWHERE for bytes between runs,
across which no string holds. What the spellings are, and why: `sweep.decoded`, `sweep.digests`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from domicile.native.compiled import compiled
from domicile.native.patterns import Bytes, Numbers, Places, Words

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
SHORT_HEAD, LONG_HEAD = 1, 2
PERCENT, AMPERSAND, BACKSLASH = 0x25, 0x26, 0x5C
MARKS = np.zeros(256, np.uint8)
MARKS[[PERCENT, AMPERSAND, BACKSLASH]] = 1
_SPELT_BEHIND = np.zeros(256, np.uint8)  # a backslash
_SPELT_BEHIND[list(b'\\"/nrtbfv')] = 1
_ALPHANUMERIC = 62  # letters of base64 below this one
_NAME_BYTES_MAX = 34
_BYTE, _SIX_BITS, _FOUR_BITS = np.uint64(8), np.uint64(6), np.uint64(4)
_LETTER_MASK, _ONE = np.uint64(63), np.uint64(1)


def wide_at(data: Bytes, at: int) -> bool:
    """Whether a character of ASCII, a zero, another character and another zero begin at a place."""
    return bool(
        data[at + 1] == 0 and data[at + 3] == 0 and 0x20 <= data[at] < 0x7F and 0x20 <= data[at + 2] < 0x7F
    )  # fmt: skip


@compiled(wide_at)
def widened(data: Bytes, least: int, out: Bytes, origins: Origins) -> int:
    """Write characters of ASCII parted by zero bytes, `least` and more in a row, and a zero behind; say how much.

    Of a run of so many (3 and more), some four bytes begin at a multiple of the stride, or at the place behind it.
    """
    size, at, begin, end = 0, 0, 0, len(data)
    stride = 2 * least - 4
    while at + 5 <= end:
        if wide_at(data, at):
            first = at
        elif wide_at(data, at + 1):
            first = at + 1
        else:
            at += stride
            continue
        last = first + 2
        while first - 2 >= begin and data[first - 1] == 0 and 0x20 <= data[first - 2] < 0x7F:
            first -= 2
        while last + 2 < end and data[last + 1] == 0 and 0x20 <= data[last + 2] < 0x7F:
            last += 2
        if (last - first) // 2 + 1 >= least:
            for place in range(first, last + 1, 2):
                out[size] = data[place]
                origins[size] = place
                size += 1
            out[size] = 0
            origins[size] = NOWHERE
            size += 1
        begin = last + 1
        at += (last - at + stride - 1) // stride * stride
    return size


def none_of(data: Bytes, at: np.uint64, kinds: Bytes) -> bool:
    """Whether none of eight bytes is of any kind."""
    return bool(
        kinds[data[at]]
        | kinds[data[at + _ONE]]
        | kinds[data[at + np.uint64(2)]]
        | kinds[data[at + np.uint64(3)]]
        | kinds[data[at + np.uint64(4)]]
        | kinds[data[at + np.uint64(5)]]
        | kinds[data[at + np.uint64(6)]]
        | kinds[data[at + np.uint64(7)]]
        == 0
    )


def digits_at(data: Bytes, at: int, count: int, digits: Bytes) -> bool:
    """Whether so many hexadecimal digits begin at a place."""
    last, limit = at, min(at + count, len(data))
    while last < limit and digits[data[last]] < _NO_DIGIT:
        last += 1
    return last == at + count


@compiled(none_of, digits_at)
def escape_places(data: Bytes, begin: int, marks: Bytes, kinds: Bytes, digits: Bytes, found: Places) -> tuple[int, int]:
    """List the places from `begin` on where an escape may begin, and none else that is easily told; where to go on.

    That is a percent sign before two digits; an ampersand before what may be a name or a number and a semicolon; a
    backslash before a letter that means something behind it, or before u and four digits.
    """
    count, end = 0, len(data)
    for at in range(begin, end - 1, 8):
        if at + 8 <= end and none_of(data, np.uint64(at), marks):
            continue
        for place in range(at, min(at + 8, end - 1)):
            mark = data[place]
            if marks[mark] == 0:
                continue
            if mark == PERCENT:
                begins = digits_at(data, place + 1, 2, digits)
            elif mark == AMPERSAND:
                last, limit = place + 1, min(place + _NAME_BYTES_MAX, end)
                while last < limit and (kinds[data[last]] < _ALPHANUMERIC or data[last] == 0x23):
                    last += 1
                begins = last < end and last > place + 1 and data[last] == 0x3B
            else:
                following = data[place + 1]
                begins = _SPELT_BEHIND[following] == 1 or (
                    following == 0x75 and digits_at(data, place + 2, 4, digits)
                )  # fmt: skip
            if begins:
                if count == len(found):
                    return count, place
                found[count] = place
                count += 1
    return count, end


@compiled()
def letters(data: Bytes, kinds: Bytes, least: int, out: Bytes, origins: Origins) -> int:
    """Write every run of letters of base64, `least` and more, with the lines behind it, and four letters between runs.

    Lines end as they are, or as JSON and COPY write it: up to four backslashes, and n or r.
    """
    size, at, end = 0, 0, len(data)
    while at + least <= end:
        ahead = at + least - 1  # where the last letter of the least run would stand: no letter there, no run before it
        while ahead >= at and kinds[data[ahead]] < _NO_LETTER:
            ahead -= 1
        if ahead >= at:
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


def bytes_key(data: Bytes, at: int) -> np.uint64:
    """Eight bytes as a number, the first one highest."""
    key = np.uint64(0)
    for step in range(8):
        key = (key << _BYTE) | np.uint64(data[at + step])
    return key


@compiled(passes, bytes_key, none_of)
def hashes_as_bytes(
    data: Bytes, begin: int, heads: Bytes, words: Words, shift: np.uint64, found_keys: Words, starts: Origins,
    ends: Origins,
) -> tuple[int, int]:  # fmt: skip
    """List the places from `begin` on behind headers of `bytea` that the filter knows; also say where to go on.

    `heads` says of a byte whether it is a header, or begins one that three zero bytes follow.
    """
    count, end = 0, len(data)
    for at in range(begin, end - 8, 8):
        if none_of(data, np.uint64(at), heads):
            continue
        for place in range(at, min(at + 8, end - 8)):
            head = heads[data[place]]
            if head == 0:
                continue
            first = place + 1
            if head == LONG_HEAD:
                first = place + 4
                if first + 8 > end or data[place + 1] != 0 or data[place + 2] != 0 or data[place + 3] != 0:
                    continue
            key = bytes_key(data, first)
            if passes(key, words, shift):
                if count == len(starts):
                    return count, place
                found_keys[count], starts[count], ends[count] = key, first, first + 8
                count += 1
    return count, end


@compiled(passes, digits_key, letters_key)
def hashes_as_letters(
    data: Bytes, begin: int, kinds: Bytes, digits: Bytes, words: Words, shift: np.uint64,
    found_keys: Words, starts: Origins, ends: Origins,
) -> tuple[int, int]:  # fmt: skip
    """List the places of letters and digits that the filter knows, in runs from `begin` on; also say where to go on.

    What a run must be: 22 letters of base64 and more; 32 to 128 digits, which are letters, too. A count below zero:
    there was no room for what one run holds.
    """
    count, at, end = 0, begin, len(data)
    while at + 22 <= end:
        ahead = at + 21  # no letter there, no run before it
        while ahead >= at and kinds[data[ahead]] < _NO_LETTER:
            ahead -= 1
        if ahead >= at:
            at = ahead + 1
            continue
        stop = at + 22
        while stop < end and kinds[data[stop]] < _NO_LETTER:
            stop += 1
        if count + 1 + (stop - at) // 8 > len(starts):
            return (count, at) if count else (-1, at)
        key = letters_key(data, at, kinds)
        if passes(key, words, shift):
            found_keys[count], starts[count], ends[count] = key, at, at + 22
            count += 1
        first = at
        while first + 32 <= stop:
            last = first
            while last < stop and digits[data[last]] < _NO_DIGIT:
                last += 1
            length = last - first
            if 32 <= length <= 128:
                for size in (64, 40, 32):
                    if size <= length and (length == 32 or size != length):
                        key = digits_key(data, last - size, digits)
                        if passes(key, words, shift):
                            found_keys[count], starts[count], ends[count] = key, last - size, last
                            count += 1
                if length != 32:
                    key = digits_key(data, first, digits)
                    if passes(key, words, shift):
                        found_keys[count], starts[count], ends[count] = key, first, first + 32
                        count += 1
            first = last + 1
        at = stop + 1
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
