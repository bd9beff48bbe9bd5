"""The Merkle tree over commitments, as one file: the sorted commitments, then the complete subtrees, height by height.

Leaves stand in the order of their commitments, which is as good as shuffled: a place tells nothing of a key, nor of
when somebody came. So one commitment is found by bisection, and its path by reading some thirty hashes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from domicile.errors import BadFile, HostFault
from domicile.evidence.receipts.leaf import COMMITMENT_BYTES
from domicile.evidence.tlog.merkle import HASH_BYTES, hash_leaf, inclusion_path, range_root


class Tree:
    """The tree in a file, of `size` commitments."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def place(self, commitment: bytes) -> int:
        """Where the commitment stands; BadFile where it doesn't."""
        low, high = 0, self._size
        while low < high:
            middle = (low + high) // 2
            if self._read(middle * HASH_BYTES) < commitment:
                low = middle + 1
            else:
                high = middle
        if low == self._size or self._read(low * HASH_BYTES) != commitment:
            raise BadFile(f"{self._path} doesn't hold what the log names; restore the folder from a copy of this run")
        return low

    def path(self, place: int) -> tuple[bytes, ...]:
        """The hashes from the leaf's sibling up (RFC 6962 section 2.1.1)."""
        return inclusion_path(place, self._size, self._node)

    def root(self) -> bytes:
        """The root."""
        return range_root(0, self._size, self._node)

    def _node(self, height: int, place: int) -> bytes:
        if not height:
            return hash_leaf(self._read(place * HASH_BYTES))
        below = sum(self._size >> lower for lower in range(height))
        return self._read((below + place) * HASH_BYTES)

    def _read(self, start: int) -> bytes:
        try:
            with self._path.open("rb") as source:
                source.seek(start)
                found = source.read(HASH_BYTES)
        except OSError as fault:
            raise BadFile(f"{self._path} can't be read ({fault.strerror}); run as its owner") from None
        if len(found) != HASH_BYTES:
            raise BadFile(f"{self._path} is cut off; restore the folder from a copy of this run")
        return found


def write(path: Path, commitments: Sequence[bytes]) -> bytes:
    """Write the tree of these commitments, in the order of their bytes, and return its root. Synced on return.

    Needs 64 bytes of memory for each beside them.
    """
    level = b"".join(sorted(commitments))
    try:
        path.touch(mode=0o600)
        with path.open("wb") as out:
            out.write(level)
            hashes = b"".join(
                hashlib.sha256(b"\x00" + level[at : at + COMMITMENT_BYTES]).digest()
                for at in range(0, len(level), COMMITMENT_BYTES)
            )
            while len(hashes) > HASH_BYTES:
                pairs = len(hashes) // (2 * HASH_BYTES) * (2 * HASH_BYTES)
                hashes = b"".join(
                    hashlib.sha256(b"\x01" + hashes[at : at + 2 * HASH_BYTES]).digest()
                    for at in range(0, pairs, 2 * HASH_BYTES)
                )
                out.write(hashes)
            out.flush()
            os.fsync(out.fileno())
    except OSError as fault:
        raise HostFault(f"{path} can't be written ({fault.strerror}); check rights and space") from None
    return Tree(path, len(commitments)).root()
