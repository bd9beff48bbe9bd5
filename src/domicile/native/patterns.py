"""Many byte strings looked for at once: a window of each, chosen for being rare, is looked up at every place.

A string is known by one window of `width` bytes of it (its anchor). At each place of what is searched, the hash of the
window there is looked up in a compact filter (of 64-bit words, two bits for each anchor); what passes is looked up in
the sorted hashes, and what is there is compared byte by byte. So nothing that is there is passed over, and nothing else
is told. Widths up to 16 bytes. A string is known by its number; `bounds[n]` to `bounds[n + 1]` is where it stands.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from domicile.native.compiled import compiled

Bytes: TypeAlias = NDArray[np.uint8]
Words: TypeAlias = NDArray[np.uint64]
Numbers: TypeAlias = NDArray[np.uint32]
Places: TypeAlias = NDArray[np.int64]

COUNT_MAX = 255
_ODD = np.uint64(0x9E3779B97F4A7C15)
_ODD_TOO = np.uint64(0xC2B2AE3D27D4EB4F)
_BYTE = np.uint64(8)
_TOP = np.uint64(56)
_SIX = np.uint64(63)
_HALF = np.uint64(32)
_ONE = np.uint64(1)


def window_hash(high: np.uint64, low: np.uint64) -> np.uint64:
    """Hash a window that is given as two words, what isn't of it masked out; its upper bits are well mixed."""
    mixed = (low ^ (high * _ODD_TOO)) * _ODD
    return (mixed ^ (mixed >> _HALF)) * _ODD_TOO


def masks_of(width: int) -> tuple[np.uint64, np.uint64]:
    """The masks of the upper and the lower word of a window of `width` bytes."""
    whole = (1 << 8 * width) - 1
    return np.uint64(whole >> 64), np.uint64(whole & (1 << 64) - 1)


@compiled(window_hash)
def count_windows(
    texts: Bytes, bounds: Places, width: int, masks: tuple[np.uint64, np.uint64], counts: Bytes, shift: np.uint64
) -> None:
    """Count how often windows occur in the strings, by hash, up to COUNT_MAX."""
    for number in range(len(bounds) - 1):
        high, low = np.uint64(0), np.uint64(0)
        for at in range(bounds[number], bounds[number + 1]):
            high = (high << _BYTE) | (low >> _TOP)
            low = (low << _BYTE) | np.uint64(texts[at])
            if at - bounds[number] + 1 >= width:
                place = window_hash(high & masks[0], low & masks[1]) >> shift
                if counts[place] < COUNT_MAX:
                    counts[place] += np.uint8(1)


@compiled(window_hash)
def choose_anchors(
    texts: Bytes, bounds: Places, width: int, masks: tuple[np.uint64, np.uint64], counts: Bytes, shift: np.uint64,
    anchors: Bytes, hashes: Words,
) -> None:  # fmt: skip
    """Choose the rarest window of each string: where it begins in the string, and its hash."""
    for number in range(len(bounds) - 1):
        high, low = np.uint64(0), np.uint64(0)
        rarest = np.int64(COUNT_MAX + 1)
        for at in range(bounds[number], bounds[number + 1]):
            high = (high << _BYTE) | (low >> _TOP)
            low = (low << _BYTE) | np.uint64(texts[at])
            begin = at - bounds[number] + 1 - width
            if begin >= 0:
                found = window_hash(high & masks[0], low & masks[1])
                if counts[found >> shift] < rarest and begin <= 255:
                    rarest = np.int64(counts[found >> shift])
                    anchors[number] = np.uint8(begin)
                    hashes[number] = found


@compiled()
def fill_filter(hashes: Words, words: Words, shift: np.uint64) -> None:
    """Set the two bits of each hash."""
    for number in range(len(hashes)):
        found = hashes[number]
        bits = (_ONE << ((found >> (shift - np.uint64(6))) & _SIX)) | (
            _ONE << ((found >> (shift - np.uint64(12))) & _SIX)
        )
        words[found >> shift] |= bits


@compiled()
def fill_directory(hashes: Words, directory: Numbers, shift: np.uint64) -> None:
    """Say for each beginning of a hash where in the sorted hashes those with it begin; the last entry is the end."""
    for number in range(len(hashes)):
        directory[(hashes[number] >> shift) + _ONE] += np.uint32(1)
    for place in range(1, len(directory)):
        directory[place] += directory[place - 1]


@compiled(window_hash)
def search(
    data: Bytes, begin: int, width: int, masks: tuple[np.uint64, np.uint64], words: Words, shift: np.uint64,
    hashes: Words, order: Numbers, directory: Numbers, directory_shift: np.uint64,
    texts: Bytes, bounds: Places, anchors: Bytes, found_at: Places, found: Numbers,
) -> tuple[int, int]:  # fmt: skip
    """Find every string in `data` whose anchor ends behind `begin`; say how many, and where to go on.

    Where `found` has no room for all that ends at a place, that place is where to go on. At the end it is the length.
    """
    high, low = np.uint64(0), np.uint64(0)
    count = 0
    for at in range(max(begin - width + 1, 0), min(begin, len(data))):
        high = (high << _BYTE) | (low >> _TOP)
        low = (low << _BYTE) | np.uint64(data[at])
    for at in range(begin, len(data)):
        high = (high << _BYTE) | (low >> _TOP)
        low = (low << _BYTE) | np.uint64(data[at])
        key = window_hash(high & masks[0], low & masks[1])
        bits = (_ONE << ((key >> (shift - np.uint64(6))) & _SIX)) | (_ONE << ((key >> (shift - np.uint64(12))) & _SIX))
        if words[key >> shift] & bits != bits:
            continue
        before = count
        place = key >> directory_shift
        for entry in range(directory[place], directory[place + _ONE]):
            if hashes[entry] != key:
                continue
            number = order[entry]
            start = at - width + 1 - np.int64(anchors[number])
            first, length = bounds[number], bounds[number + 1] - bounds[number]
            if start < 0 or start + length > len(data):
                continue
            same = True
            for step in range(length):
                if data[start + step] != texts[first + step]:
                    same = False
                    break
            if same:
                if count == len(found):
                    return before, at
                found_at[count] = start
                found[count] = number
                count += 1
    return count, len(data)


def read_only(data: Bytes) -> Bytes:
    """The same bytes, as those of a `bytes` object are: what is compiled then exists once."""
    data.setflags(write=False)
    return data


def directory_of(hashes: Words) -> tuple[Numbers, np.uint64]:
    """Make the directory of sorted hashes, about two to an entry, and say which bits of one lead there."""
    size = power_of_two(len(hashes) // 2, 2, 1 << 26)
    shift = np.uint64(64 - size.bit_length() + 1)
    directory = np.zeros(size + 1, np.uint32)
    fill_directory(hashes, directory, shift)
    return directory, shift


def power_of_two(wanted: int, least: int, most: int) -> int:
    """The power of two from `wanted` on, within bounds that are powers of two."""
    return min(max(1 << max(wanted - 1, 0).bit_length(), least), most)
