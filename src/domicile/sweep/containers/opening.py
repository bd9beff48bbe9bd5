"""What happens to the bytes that come out of a container: they are searched, counted against the limits, looked into.

A reader never raises for what is wrong with its bytes: it notes the gap and ends, so that whatever reads from it sees
an end. Memory is bounded by a few blocks a level; depth, members and bytes by `Limits`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from domicile.stores.postgres.pages import Geometry
from domicile.sweep.carving import Carver
from domicile.sweep.containers.kinds import HEAD_BYTES, Kind, sealed, sniff
from domicile.sweep.containers.streams import OUT_BYTES, Damaged
from domicile.sweep.search import Flow, Spot, Tally, View

GATHERED_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a container is opened; what is beyond is a gap.

    Text packs to a tenth, logs to a fiftieth, zeros in a base backup to a thousandth; so a file may unpack to
    `ratio_max` times its size, and a small one to `unpacked_bytes_free` in any case. What needs random access is
    copied to a temporary file of up to `spool_bytes_max`.
    """

    depth_max: int = 6
    ratio_max: int = 300
    unpacked_bytes_free: int = 1024 * 1024 * 1024
    unpacked_bytes_max: int = 1024 * 1024 * 1024 * 1024
    members_max: int = 1_000_000
    spool_bytes_max: int = 16 * 1024 * 1024 * 1024
    silence_seconds_max: int = 60


class Source(Protocol):
    """Bytes that can be read anywhere: a file, an object of a store."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes; none at the end."""
        ...


class Reader:
    """A stream of blocks that is read once, with a look ahead."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._held = b""
        self._at = 0  # what of it was read: blocks aren't cut, as each cut is a copy

    def peek(self, size: int) -> bytes:
        """Look at the next `size` bytes; fewer at the end."""
        if len(self._held) - self._at < size:
            parts, length = [self._held[self._at :]], len(self._held) - self._at
            while length < size and (block := next(self._blocks, b"")):
                parts.append(block)
                length += len(block)
            self._held, self._at = b"".join(parts), 0
        return self._held[self._at : self._at + size]

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; none at the end."""
        if self._at == len(self._held):
            self._held, self._at = next(self._blocks, b""), 0
        data = self._held[self._at : self._at + size]
        self._at += len(data)
        return data

    def exactly(self, size: int) -> bytes:
        """Read `size` bytes; fewer at the end."""
        data = self.peek(size)
        self._at += len(data)
        return data

    def drain(self) -> None:
        """Read to the end."""
        self._held, self._at = b"", 0
        for _ in self._blocks:
            pass


def part(reader: Reader, size: int) -> Iterator[bytes]:
    """Read the next `size` bytes of a stream, as blocks."""
    while size > 0 and (block := reader.read(min(size, OUT_BYTES))):
        size -= len(block)
        yield block


def gathered(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Join small blocks, as each is searched together with the end of the one before; also before a fault."""
    parts: list[bytes] = []
    size = 0
    try:
        for block in blocks:
            parts.append(block)
            size += len(block)
            if size >= GATHERED_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
    except (Damaged, Exhausted):
        if parts:
            yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)


class Exhausted(Exception):
    """A limit was reached; the message says which."""


@dataclass(slots=True)
class Opening:
    """One outer file that is being opened."""

    tally: Tally
    spot: Spot
    geometry: Geometry
    limits: Limits
    open: Callable[[Opening, Kind, Reader, int, Source | None], None]
    packed: int = 0  # bytes of the outer file, as far as they are known
    unpacked: int = 0
    members: int = 0
    _spent: str | None = field(default=None, repr=False)

    def gap(self, kind: Kind | str, why: str) -> None:
        """Note something inside that couldn't be seen."""
        self.tally.gap(self.spot.copy, self.spot.path, f"{kind}: {why}")

    def take(self, size: int) -> None:
        """Count what came out, or was tried; raise Exhausted beyond the limits, from then on always."""
        self.unpacked += size
        most = max(self.limits.unpacked_bytes_free, self.packed * self.limits.ratio_max)
        if self.unpacked > min(most, self.limits.unpacked_bytes_max):
            self._spent = "unpacks to more than is searched"
        if self._spent:
            raise Exhausted(self._spent)

    def member(self) -> None:
        """Count a member; raise Exhausted beyond the limit."""
        self.members += 1
        if self.members > self.limits.members_max:
            self._spent = "has more members than are searched"
        if self._spent:
            raise Exhausted(self._spent)

    def searched(self, kind: Kind, blocks: Iterator[bytes]) -> Generator[bytes, None, None]:
        """Search blocks that came out of a container, as they are read on; end where they are damaged or too many."""
        flow = Flow(self.tally, self.spot, view=View.PACKED, placed=False)
        carver = Carver(self.tally, self.spot, self.geometry, inside=True)
        try:
            for block in gathered(blocks):
                self.take(len(block))
                self.tally.add(self.spot.copy, unpacked=len(block))
                flow.feed(block)
                carver.feed(block)
                yield block
        except (Damaged, Exhausted) as fault:
            self.gap(kind, str(fault))
        finally:
            carver.close()

    def content(self, kind: Kind, blocks: Iterator[bytes], depth: int) -> None:
        """Search blocks that came out of a container, and what is packed in them in turn."""
        with closing(self.searched(kind, blocks)) as found:
            reader = Reader(found)
            self.inside(reader, depth)
            reader.drain()

    def inside(self, reader: Reader, depth: int, source: Source | None = None) -> None:
        """Open what a stream holds, if it is packed; its own bytes are searched elsewhere."""
        head = reader.peek(HEAD_BYTES)
        kind, why = sniff(head), sealed(head)
        if why:
            self.tally.gap(self.spot.copy, self.spot.path, why)
        if kind is None:
            return
        if depth >= self.limits.depth_max:
            self.gap(kind, f"lies deeper than {self.limits.depth_max} containers")
            return
        try:
            self.open(self, kind, reader, depth, source)
        except (Damaged, Exhausted) as fault:
            self.gap(kind, str(fault))
