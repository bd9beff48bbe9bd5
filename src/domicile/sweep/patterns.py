"""Every form of every token, as strings that are looked for at once: compact, so that many millions fit in memory.

Strings are sorted into groups by their length (`LENGTHS`): a group costs one pass over what is searched. The fewer
strings, the fewer places are looked at (`native.patterns`): the step is as long as the shortest anchor has room for and
the filter's size allows. Beside its own bytes a string takes 25 bytes, and 2 to 4 in the filter for each byte of the
step. Nothing of a string is told (P8).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from domicile.native import patterns as native

LENGTHS = (10, 6, 4, 2, 1)  # of the shortest of a group: a passport's number has 9 letters, a phone number 10 and more
NARROWEST = {10: 6, 6: 5, 4: 4, 2: 2, 1: 1}  # pieces: what is less wide stands everywhere in any text
REACH_MAX, WIDTH_MAX, STEP_MAX = 16, 8, 8
PIECES_MAX = 1 << 22  # their filter takes 8 MiB: a larger one falls out of the processor's cache
FILTER_BITS_PER_PIECE = 16
FILTER_WORDS_MIN, FILTER_WORDS_MAX = 1 << 10, 1 << 24  # 128 MiB
COUNTS_MIN, COUNTS_MAX = 1 << 10, 1 << 26
FOUND_MAX = 1 << 14


class Patterns:
    """Strings and whose they are; made once, then only read."""

    def __init__(self, strings: Iterator[tuple[bytes, int]]) -> None:
        gathered: dict[int, tuple[bytearray, array[int], array[int]]] = {
            least: (bytearray(), array("q", [0]), array("I")) for least in LENGTHS
        }
        rooms = [
            gathered[next((least for least in LENGTHS if least <= size), LENGTHS[-1])] for size in range(LENGTHS[0] + 1)
        ]
        self.longest = 0
        for text, owner in strings:
            if text:
                texts, bounds, owners = rooms[min(len(text), LENGTHS[0])]
                texts += text
                bounds.append(len(texts))
                owners.append(owner)
                self.longest = max(self.longest, len(text))
        rooms.clear()
        self._groups: list[_Group] = []
        while gathered:
            least, (texts, bounds, owners) = gathered.popitem()
            if owners:
                self._groups.append(_Group(least, texts, bounds, owners))

    def __repr__(self) -> str:
        return f"Patterns({len(self)})"

    def __len__(self) -> int:
        return sum(len(group) for group in self._groups)

    def __reduce__(self) -> NoReturn:
        raise TypeError("tokens stay in the memory of the process that read them")

    def find(self, data: bytes | native.Bytes) -> Iterator[tuple[int, int, int]]:
        """Find every string, overlapping ones too: where it starts, its length, and whose it is."""
        view = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
        for group in self._groups:
            yield from group.find(view)


class _Group:
    """The strings of one range of lengths, `least` bytes and more."""

    def __init__(self, least: int, texts: bytearray, bounds: array[int], owners: array[int]) -> None:
        self._texts = np.frombuffer(texts, np.uint8)
        self._bounds = np.frombuffer(bounds, np.int64)
        self._owners = np.frombuffer(owners, np.uint32)
        shortest = int(np.min(self._bounds[1:] - self._bounds[:-1]))
        self._reach = min(shortest, REACH_MAX)
        self._step = max(min(STEP_MAX, self._reach - NARROWEST[least] + 1, PIECES_MAX // len(owners)), 1)
        self._width = min(WIDTH_MAX, self._reach - self._step + 1)
        self._mask = native.mask_of(self._width)
        self._masks = (native.mask_of(self._reach), native.mask_of(self._reach - 8))
        hashes = self._anchored()
        self._order = np.argsort(hashes).astype(np.uint32)
        self._hashes = hashes[self._order]
        self._filter, self._shift = self._filtered()
        self._directory, self._directory_shift = native.directory_of(self._hashes)

    def _anchored(self) -> native.Words:
        count = len(self._owners)
        places = native.power_of_two(4 * count, COUNTS_MIN, COUNTS_MAX)
        counts, shift = np.zeros(places, np.uint8), np.uint64(64 - places.bit_length() + 1)
        native.count_pieces(self._texts, self._bounds, self._width, self._mask, counts, shift)
        self._anchors, hashes = np.zeros(count, np.uint8), np.zeros(count, np.uint64)
        native.choose_anchors(
            self._texts, self._bounds, self._reach, self._masks, self._mask, self._step, counts, shift, self._anchors,
            hashes,
        )  # fmt: skip
        return hashes

    def _filtered(self) -> tuple[native.Words, np.uint64]:
        pieces = len(self._owners) * self._step
        size = native.power_of_two(FILTER_BITS_PER_PIECE * pieces // 64, FILTER_WORDS_MIN, FILTER_WORDS_MAX)
        words, shift = np.zeros(size, np.uint64), np.uint64(64 - size.bit_length() + 1)
        native.fill_filter(self._texts, self._bounds, self._anchors, self._mask, self._step, words, shift)
        return words, shift

    def __len__(self) -> int:
        return len(self._owners)

    def find(self, view: native.Bytes) -> Iterator[tuple[int, int, int]]:
        """Find the group's strings."""
        at, room = 0, FOUND_MAX
        while at < len(view):
            starts, found = np.empty(room, np.int64), np.empty(room, np.uint32)
            count, following = native.search(
                view, at, self._width, self._mask, self._step, self._filter, self._shift,
                self._reach, self._masks, self._hashes, self._order, self._directory, self._directory_shift,
                self._texts, self._bounds, self._anchors, starts, found,
            )  # fmt: skip
            if following == at and not count:
                room *= 2  # more strings end at this one place than there is room for
            at = following
            if count:
                numbers = found[:count]
                lengths = self._bounds[numbers.astype(np.int64) + 1] - self._bounds[numbers]
                yield from zip(
                    starts[:count].tolist(), lengths.tolist(), self._owners[numbers].tolist(), strict=True
                )  # fmt: skip
