"""The Merkle tree: leaf and node hashes, root, inclusion and consistency (RFC 6962, section 2.1).

The tree keeps every complete subtree's hash by height: `levels[h][i]` is the hash of the leaves
`i * 2**h .. (i + 1) * 2**h`. Appending costs two hashes a leaf, a root or a proof costs O(log n).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from domicile.errors import EvidenceFault

HASH_BYTES = 32
PROOF_HASHES_MAX = 63
Node: TypeAlias = Callable[[int, int], bytes]
"""Asked for height and place: the hash of a complete subtree of `2**height` leaves."""


def hash_leaf(entry: bytes) -> bytes:
    """Hash an entry (RFC 6962 section 2.1: a zero byte before a leaf)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Hash two children (RFC 6962 section 2.1: a one byte before a node)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """An append-only Merkle tree of leaf hashes, kept in memory."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0])

    def append(self, leaf_hash: bytes) -> None:
        """Add one leaf hash at the right."""
        node, height = leaf_hash, 0
        while True:
            if height == len(self._levels):
                self._levels.append([])
            level = self._levels[height]
            level.append(node)
            if len(level) % 2:
                return
            node, height = hash_node(level[-2], level[-1]), height + 1

    def drop_after(self, size: int) -> None:
        """Forget the leaves from `size` on, as if they had not been appended."""
        for height, level in enumerate(self._levels):
            del level[size >> height :]

    def level(self, height: int) -> Sequence[bytes]:
        """The hashes of all complete subtrees of `2**height` leaves, from the left."""
        return self._levels[height] if height < len(self._levels) else ()

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves, or of all."""
        size = self.size if size is None else size
        self._require(size <= self.size)
        return hashlib.sha256(b"").digest() if size == 0 else self._range(0, size)

    def inclusion(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """The audit path of a leaf, its sibling first (RFC 6962 section 2.1.1)."""
        size = self.size if size is None else size
        self._require(0 <= index < size <= self.size)
        return inclusion_path(index, size, lambda height, place: self._levels[height][place])

    def consistency(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """The proof that the first `old` leaves of `new` are unchanged (RFC 6962 section 2.1.2)."""
        new = self.size if new is None else new
        self._require(0 <= old <= new <= self.size)
        if old in (0, new):
            return ()
        path: list[bytes] = []
        low, high, whole = 0, new, True
        while old != high:
            middle = low + _split(high - low)
            if old <= middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low, whole = middle, False
        tail = [] if whole else [self._range(low, high)]
        return tuple(tail + path[::-1])

    def _range(self, low: int, high: int) -> bytes:
        """The hash of the leaves low..high, a range that RFC 6962 splits the tree into."""
        return range_root(low, high, lambda height, place: self._levels[height][place])

    @staticmethod
    def _require(holds: bool) -> None:
        if not holds:
            raise EvidenceFault("log: asked for an entry or size that it does not have; look at its checkpoint")


class Edge:
    """The right edge of a tree: the hashes of its largest complete subtrees from the left, enough to grow it.

    What a reader keeps who follows a log: 2 KB at most, whatever the size.
    """

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        if len(nodes) != size.bit_count() or any(len(node) != HASH_BYTES for node in nodes):
            raise EvidenceFault("log: these are not the hashes of an edge of that size; restore the file from a copy")
        self.size = size
        self.nodes = list(nodes)

    def append(self, leaf_hash: bytes) -> None:
        """Add one leaf hash at the right."""
        node, size = leaf_hash, self.size
        while size % 2:
            node, size = hash_node(self.nodes.pop(), node), size >> 1
        self.nodes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root of all leaves (RFC 6962 section 2.1)."""
        if not self.nodes:
            return hashlib.sha256(b"").digest()
        *left, node = self.nodes
        for other in reversed(left):
            node = hash_node(other, node)
        return node


def range_root(low: int, high: int, node: Node) -> bytes:
    """The hash of the leaves low..high, a range that RFC 6962 splits the tree into; `node` gives complete subtrees."""
    width = high - low
    if width & (width - 1) == 0:
        height = width.bit_length() - 1
        return node(height, low >> height)
    middle = low + _split(width)
    return hash_node(range_root(low, middle, node), range_root(middle, high, node))


def inclusion_path(index: int, size: int, node: Node) -> tuple[bytes, ...]:
    """The audit path of a leaf among `size`, its sibling first (RFC 6962 section 2.1.1)."""
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(range_root(middle, high, node))
            high = middle
        else:
            path.append(range_root(low, middle, node))
            low = middle
    return tuple(reversed(path))


def root_from_inclusion(leaf_hash: bytes, *, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that this path claims (RFC 9162 section 2.1.3.2); `EvidenceFault` if its length is wrong."""
    if not 0 <= index < size or len(path) > PROOF_HASHES_MAX:
        raise EvidenceFault("proof: the index is not in the tree; ask for the proof again")
    node, place, last = leaf_hash, index, size - 1
    for sibling in path:
        if last == 0:
            raise EvidenceFault("proof: too long; ask for the proof again")
        if place % 2 or place == last:
            node = hash_node(sibling, node)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            node = hash_node(node, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise EvidenceFault("proof: too short; ask for the proof again")
    return node


def is_consistent(*, old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Say whether the new tree begins with the old one (RFC 9162 section 2.1.4.2)."""
    if not 0 <= old <= new or len(path) > PROOF_HASHES_MAX + 1:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == hashlib.sha256(b"").digest()
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    return bool(hashes) and _climb(old - 1, new - 1, hashes) == (old_root, new_root)


def _climb(place: int, last: int, hashes: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The old and the new root that the hashes lead to, or None if there are too many or too few."""
    while place % 2:
        place, last = place >> 1, last >> 1
    left = right = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return None
        if place % 2 or place == last:
            left, right = hash_node(sibling, left), hash_node(sibling, right)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            right = hash_node(right, sibling)
        place, last = place >> 1, last >> 1
    return (left, right) if last == 0 else None


def _split(width: int) -> int:
    """The largest power of two below width (RFC 6962 section 2.1)."""
    return 1 << ((width - 1).bit_length() - 1)
