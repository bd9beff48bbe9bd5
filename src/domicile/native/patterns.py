"""Many byte strings looked for at once: a window of each, chosen for being rare, is looked up wherever it could stand.

A string is known by one window of it (its anchor), up to 16 bytes wide. A compact filter (of 64-bit words, three bits
for each) knows the beginning of every anchor, up to 8 bytes: at each place of what is searched it is asked for the
bytes there. Where it knows them, the hash of the whole anchor is looked up among the sorted hashes, and what is there
is compared byte by byte. So nothing that is there is passed over, and nothing else is told. A string is known by its
number; `bounds[n]` to `bounds[n + 1]` is where it stands.

With a `step` of more than 1, only every `step`-th place is looked at, and the filter knows as many pieces of each
anchor, those that begin at its first bytes. Wherever an anchor stands, just one of them begins at such a place: each
string is found, and found once. It needs anchors of `width + step - 1` bytes and more, for pieces of `width`.
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
_SIX = np.uint64(63)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
_SIX_BITS, _TWELVE, _EIGHTEEN = np.uint64(6), np.uint64(12), np.uint64(18)


def piece_hash(piece: np.uint64) -> np.uint64:
    """Hash a piece of an anchor, what isn't of it masked out; its upper bits are well mixed."""
    mixed = piece * _ODD
    return (mixed ^ (mixed >> _HALF)) * _ODD_TOO


def whole_word(data: Bytes, at: np.uint64) -> np.uint64:
    """The word that begins at a place with eight bytes behind it, the first byte lowest.

    Spelt out, so that the compiler makes one load of it; with unsigned places, so that it asks for no sign.
    """
    return (
        np.uint64(data[at])
        | np.uint64(data[at + _ONE]) << np.uint64(8)
        | np.uint64(data[at + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[at + np.uint64(3)]) << np.uint64(24)
        | np.uint64(data[at + np.uint64(4)]) << np.uint64(32)
        | np.uint64(data[at + np.uint64(5)]) << np.uint64(40)
        | np.uint64(data[at + np.uint64(6)]) << np.uint64(48)
        | np.uint64(data[at + np.uint64(7)]) << np.uint64(56)
    )


def word_at(data: Bytes, at: int) -> np.uint64:
    """The word that begins at a place, the first byte lowest; zeros behind the end."""
    if at + 8 <= len(data):
        return whole_word(data, np.uint64(at))
    found = np.uint64(0)
    for place in range(len(data) - 1, at - 1, -1):
        found = (found << _BYTE) | np.uint64(data[place])
    return found


def bits_of(key: np.uint64, shift: np.uint64) -> np.uint64:
    """The three bits of a hash in its word of the filter: what stands behind the number of the word."""
    return (
        (_ONE << ((key >> (shift - _SIX_BITS)) & _SIX))
        | (_ONE << ((key >> (shift - _TWELVE)) & _SIX))
        | (_ONE << ((key >> (shift - _EIGHTEEN)) & _SIX))
    )


def anchor_hash(data: Bytes, at: int, masks: tuple[np.uint64, np.uint64]) -> np.uint64:
    """Hash the anchor that begins at a place."""
    if at + 16 <= len(data):
        low, high = whole_word(data, np.uint64(at)), whole_word(data, np.uint64(at) + _BYTE)
    else:
        low, high = word_at(data, at), word_at(data, at + 8)
    return piece_hash((low & masks[0]) ^ ((high & masks[1]) * _ODD_TOO))


def next_known(data: Bytes, begin: int, mask: np.uint64, step: int, words: Words, shift: np.uint64) -> int:
    """The first place from `begin` on, in steps, whose piece the filter knows, or that has no eight bytes behind it."""
    at, stride, end = np.uint64(begin), np.uint64(step), np.uint64(len(data))
    while at + _BYTE <= end:
        key = piece_hash(whole_word(data, at) & mask)
        bits = bits_of(key, shift)
        if words[key >> shift] & bits == bits:
            break
        at += stride
    return int(at)


def mask_of(width: int) -> np.uint64:
    """What of a word is a piece of `width` bytes; none of it where the width is less than 1."""
    return np.uint64((1 << 8 * min(max(width, 0), 8)) - 1)


@compiled(piece_hash, whole_word, word_at)
def count_pieces(
    texts: Bytes, bounds: Places, width: int, mask: np.uint64, counts: Bytes, shift: np.uint64
) -> None:  # fmt: skip
    """Count how often pieces occur in the strings, by hash, up to COUNT_MAX."""
    for number in range(len(bounds) - 1):
        for at in range(bounds[number], bounds[number + 1] - width + 1):
            place = piece_hash(word_at(texts, at) & mask) >> shift
            if counts[place] < COUNT_MAX:
                counts[place] += np.uint8(1)


@compiled(piece_hash, whole_word, word_at, anchor_hash)
def choose_anchors(
    texts: Bytes, bounds: Places, reach: int, masks: tuple[np.uint64, np.uint64], mask: np.uint64, step: int,
    counts: Bytes, shift: np.uint64, anchors: Bytes, hashes: Words,
) -> None:  # fmt: skip
    """Choose of each string the anchor of `reach` bytes whose pieces are rarest together: its place, and its hash."""
    for number in range(len(bounds) - 1):
        begin, last = bounds[number], min(bounds[number + 1] - reach, bounds[number] + 255)
        common = np.int64(0)  # of the pieces from `at` on
        for at in range(begin, begin + step):
            common += np.int64(counts[piece_hash(word_at(texts, at) & mask) >> shift])
        rarest, chosen = common, begin
        for at in range(begin + 1, last + 1):
            common -= np.int64(counts[piece_hash(word_at(texts, at - 1) & mask) >> shift])
            common += np.int64(counts[piece_hash(word_at(texts, at + step - 1) & mask) >> shift])
            if common < rarest:
                rarest, chosen = common, at
        anchors[number] = np.uint8(chosen - begin)
        hashes[number] = anchor_hash(texts, chosen, masks)


@compiled(piece_hash, whole_word, word_at, bits_of)
def fill_filter(
    texts: Bytes, bounds: Places, anchors: Bytes, mask: np.uint64, step: int, words: Words, shift: np.uint64
) -> None:  # fmt: skip
    """Set the bits of each piece of each anchor."""
    for number in range(len(anchors)):
        begin = bounds[number] + np.int64(anchors[number])
        for at in range(begin, begin + step):
            key = piece_hash(word_at(texts, at) & mask)
            words[key >> shift] |= bits_of(key, shift)


@compiled()
def fill_directory(hashes: Words, directory: Numbers, shift: np.uint64) -> None:
    """Say for each beginning of a hash where in the sorted hashes those with it begin; the last entry is the end."""
    for number in range(len(hashes)):
        directory[(hashes[number] >> shift) + _ONE] += np.uint32(1)
    for place in range(1, len(directory)):
        directory[place] += directory[place - 1]


@compiled(piece_hash, whole_word, word_at, bits_of, anchor_hash, next_known)
def search(
    data: Bytes, begin: int, width: int, mask: np.uint64, step: int, words: Words, shift: np.uint64,
    reach: int, masks: tuple[np.uint64, np.uint64], hashes: Words, order: Numbers, directory: Numbers,
    directory_shift: np.uint64, texts: Bytes, bounds: Places, anchors: Bytes, found_at: Places, found: Numbers,
) -> tuple[int, int]:  # fmt: skip
    """Find every string in `data` of whose anchor a piece stands at `begin`, a step behind it, …; say how many.

    Also say where to go on: at the end, or at a place of which `found` had no room for all strings.
    """
    count, size = 0, len(data)
    at = next_known(data, begin, mask, step, words, shift)
    while at + width <= size:
        before = count
        for anchor in range(max(at - step + 1, 0), min(at, size - reach) + 1):
            key = anchor_hash(data, anchor, masks)
            place = key >> directory_shift
            for entry in range(directory[place], directory[place + _ONE]):
                if hashes[entry] != key:
                    continue
                number = order[entry]
                start = anchor - np.int64(anchors[number])
                first, length = bounds[number], bounds[number + 1] - bounds[number]
                if start < 0 or start + length > size:
                    continue
                same = True
                for ahead in range(length):
                    if data[start + ahead] != texts[first + ahead]:
                        same = False
                        break
                if same:
                    if count == len(found):
                        return before, at
                    found_at[count] = start
                    found[count] = number
                    count += 1
        at = next_known(data, at + step, mask, step, words, shift)
    return count, size


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
