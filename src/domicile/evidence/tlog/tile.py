"""Tiles: which files a tree of some size is made of, their paths and their bytes (C2SP tlog-tiles)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from domicile.errors import EvidenceFault

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
ENTRY_BYTES_MAX = 65_535  # a big-endian uint16 stands before each entry
_ENTRIES = "entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One file: `level` is None for a bundle of entries, else the tile's level; `width` 256 means full."""

    level: int | None
    index: int
    width: int

    @property
    def path(self) -> str:
        """The file's path below the log, with forward slashes (tlog-tiles, "Merkle Tree")."""
        level = _ENTRIES if self.level is None else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_path_of_index(self.index)}{partial}"

    @property
    def start(self) -> int:
        """Where the tile begins in its level."""
        return self.index * TILE_WIDTH


def tiles_of(size: int, *, since: int = 0) -> tuple[Tile, ...]:
    """The tiles of a tree of this size that a tree of `since` leaves did not have, entries first."""
    found = _row(None, size, since)
    level = 0
    while size >> (TILE_HEIGHT * level):
        shift = TILE_HEIGHT * level
        found.extend(_row(level, size >> shift, since >> shift))
        level += 1
    return tuple(found)


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Write a bundle of entries (tlog-tiles, "Log entries")."""
    if any(len(entry) > ENTRY_BYTES_MAX for entry in entries):
        raise EvidenceFault(f"log: an entry is longer than {ENTRY_BYTES_MAX} bytes; detach its predicate")
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def decode_entries(data: bytes, *, width: int) -> tuple[bytes, ...]:
    """Read a bundle that must hold exactly `width` entries."""
    entries: list[bytes] = []
    place = 0
    while place < len(data):
        start = place + 2
        place = start + int.from_bytes(data[place:start], "big")
        if place > len(data) or start > len(data) or len(entries) == width:
            raise EvidenceFault("log: a bundle of entries is cut or too long; restore the file from a copy")
        entries.append(data[start:place])
    if len(entries) != width:
        raise EvidenceFault("log: a bundle of entries is too short; restore the file from a copy")
    return tuple(entries)


def _row(level: int | None, count: int, since: int) -> list[Tile]:
    first = since // TILE_WIDTH if count > since else count // TILE_WIDTH + 1
    full = [Tile(level=level, index=i, width=TILE_WIDTH) for i in range(first, count // TILE_WIDTH)]
    rest = count % TILE_WIDTH
    partial = [Tile(level=level, index=count // TILE_WIDTH, width=rest)] if rest and count > since else []
    return full + partial


def _path_of_index(index: int) -> str:
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))
