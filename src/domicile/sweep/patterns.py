"""Every form of every token, as strings that are looked for at once: compact, so that many millions fit in memory.

Strings are sorted into groups by the width of their anchor (`native.patterns`): the longer, the rarer by chance, so
each string goes to the widest that it has room for. A group costs one pass over what is searched. Beside its own bytes
a string takes 25 bytes, and 2 to 4 in the filter. Nothing of a string is told (P8).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from domicile.native import patterns as native

WIDTHS = (10, 6, 4, 2, 1)  # a passport's number has 9 letters, a phone number 10 digits and more
FILTER_BITS_PER_STRING = 16
FILTER_WORDS_MIN, FILTER_WORDS_MAX = 1 << 10, 1 << 24  # 128 MiB
COUNTS_MIN, COUNTS_MAX = 1 << 10, 1 << 26
FOUND_MAX = 1 << 14


class Patterns:
    """Strings and whose they are; made once, then only read."""

    def __init__(self, strings: Iterator[tuple[bytes, int]]) -> None:
        gathered: dict[int, tuple[bytearray, array[int], array[int]]] = {
            width: (bytearray(), array("q", [0]), array("I")) for width in WIDTHS
        }
        rooms = [
            gathered[next((width for width in WIDTHS if width <= size), WIDTHS[-1])] for size in range(WIDTHS[0] + 1)
        ]
        self.longest = 0
        for text, owner in strings:
            if text:
                texts, bounds, owners = rooms[min(len(text), WIDTHS[0])]
                texts += text
                bounds.append(len(texts))
                owners.append(owner)
                self.longest = max(self.longest, len(text))
        rooms.clear()
        self._groups: list[_Group] = []
        while gathered:
            width, (texts, bounds, owners) = gathered.popitem()
            if owners:
                self._groups.append(_Group(width, texts, bounds, owners))

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
    """The strings whose anchors have one width."""

    def __init__(self, width: int, texts: bytearray, bounds: array[int], owners: array[int]) -> None:
        self._width, self._masks = width, native.masks_of(width)
        self._texts = np.frombuffer(texts, np.uint8)
        self._bounds = np.frombuffer(bounds, np.int64)
        self._owners = np.frombuffer(owners, np.uint32)
        hashes = self._anchored()
        self._order = np.argsort(hashes).astype(np.uint32)
        self._hashes = hashes[self._order]
        self._filter, self._shift = self._filtered(len(hashes))
        self._directory, self._directory_shift = native.directory_of(self._hashes)

    def _anchored(self) -> native.Words:
        count = len(self._owners)
        places = native.power_of_two(4 * count, COUNTS_MIN, COUNTS_MAX)
        counts, shift = np.zeros(places, np.uint8), np.uint64(64 - places.bit_length() + 1)
        native.count_windows(self._texts, self._bounds, self._width, self._masks, counts, shift)
        self._anchors, hashes = np.zeros(count, np.uint8), np.zeros(count, np.uint64)
        native.choose_anchors(
            self._texts, self._bounds, self._width, self._masks, counts, shift, self._anchors, hashes
        )  # fmt: skip
        return hashes

    def _filtered(self, count: int) -> tuple[native.Words, np.uint64]:
        size = native.power_of_two(FILTER_BITS_PER_STRING * count // 64, FILTER_WORDS_MIN, FILTER_WORDS_MAX)
        words, shift = np.zeros(size, np.uint64), np.uint64(64 - size.bit_length() + 1)
        native.fill_filter(self._hashes, words, shift)
        return words, shift

    def __len__(self) -> int:
        return len(self._owners)

    def find(self, view: native.Bytes) -> Iterator[tuple[int, int, int]]:
        """Find the group's strings."""
        at, room = self._width - 1, FOUND_MAX
        while at < len(view):
            starts, found = np.empty(room, np.int64), np.empty(room, np.uint32)
            count, following = native.search(
                view, at, self._width, self._masks, self._filter, self._shift, self._hashes, self._order,
                self._directory, self._directory_shift, self._texts, self._bounds, self._anchors, starts, found,
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
