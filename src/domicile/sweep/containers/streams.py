"""Compressed streams, opened in bounded steps: whatever goes in, at most OUT_BYTES come out at a time.

Every fault of a library about its input becomes `Damaged`; what came before it was given.
"""

from __future__ import annotations

import bz2
import lzma
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import IO, Protocol, cast

import lz4.frame
import zstandard

from domicile.sweep.containers.kinds import Kind

IN_BYTES = 64 * 1024
OUT_BYTES = 1024 * 1024
LZMA_MEMORY_BYTES_MAX = 256 * 1024 * 1024
ZSTD_WINDOW_BYTES_MAX = 128 * 1024 * 1024
# What the libraries raise on bytes that are not what they should be.
FAULTS = (
    ArithmeticError, EOFError, LookupError, MemoryError, OSError, RuntimeError, ValueError,
    lzma.LZMAError, sqlite3.Error, struct.error, zipfile.BadZipFile, zlib.error, zstandard.ZstdError,
)  # fmt: skip


class Damaged(Exception):
    """Bytes that are not what their beginning says, or end too early; the message holds none of them."""


class Readable(Protocol):
    """A stream of bytes that is read once."""

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; none at the end."""
        ...


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Zlib:
    """zlib's decompressor, behaving like those of bz2 and lzma."""

    def __init__(self, window: int) -> None:
        self._inner = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


_WAYS: dict[Kind, Callable[[], _Decompressor]] = {
    Kind.GZIP: lambda: _Zlib(31),
    Kind.ZLIB: lambda: _Zlib(15),
    Kind.BZIP2: bz2.BZ2Decompressor,
    Kind.XZ: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LZMA_MEMORY_BYTES_MAX),
    Kind.LZMA: lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=LZMA_MEMORY_BYTES_MAX),
    Kind.LZ4: lz4.frame.LZ4FrameDecompressor,
}
STREAMS = frozenset({*_WAYS, Kind.ZSTD})


def unpack(kind: Kind, packed: Readable) -> Iterator[bytes]:
    """Unpack a stream of one kind, all its members; raise Damaged where it is, or where anything stands behind it."""
    try:
        yield from _zstd(packed) if kind is Kind.ZSTD else _members(packed, _WAYS[kind])
    except FAULTS as fault:
        raise Damaged(f"damaged ({type(fault).__name__})") from None


def _members(packed: Readable, make: Callable[[], _Decompressor]) -> Iterator[bytes]:
    data = packed.read(IN_BYTES)
    while data:
        way = make()
        while not way.eof:
            unpacked = way.decompress(data, OUT_BYTES)
            data = b""
            if unpacked:
                yield unpacked
            if way.needs_input and not way.eof:
                data = packed.read(IN_BYTES)
                if not data:
                    raise Damaged("cut off")
        data = (way.unused_data or b"").lstrip(b"\0")  # members may be padded
        while not data and (data := packed.read(IN_BYTES)):
            data = data.lstrip(b"\0")


def _zstd(packed: Readable) -> Iterator[bytes]:
    """All frames. The library takes an end in the middle of a frame for an end: so the frames are walked beside it."""
    frames = _Frames(packed)
    way = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    with way.stream_reader(
        cast("IO[bytes]", frames), read_size=IN_BYTES, read_across_frames=True, closefd=False
    ) as reader:
        while unpacked := reader.read(OUT_BYTES):
            yield unpacked
    if not frames.whole:
        raise Damaged("cut off")


@dataclass(frozen=True, slots=True)
class _Step:
    """So many bytes come next; they are looked at, or passed over; a stream may end before them, or not."""

    size: int
    kept: bool = True
    ends: bool = False


class _Frames:
    """Follows the frames and blocks of a zstd stream (RFC 8878, section 3.1.1) while it is read."""

    def __init__(self, packed: Readable) -> None:
        self._packed = packed
        self._walk = _frames()
        self._step = next(self._walk)
        self._held = b""
        self._gone = 0

    @property
    def whole(self) -> bool:
        """Whether the stream ended with a frame."""
        return self._step.ends and not self._gone

    def read(self, size: int) -> bytes:
        """Read on."""
        data = self._packed.read(size)
        at = 0
        while at < len(data):
            taken = min(self._step.size - self._gone, len(data) - at)
            if self._step.kept:
                self._held += data[at : at + taken]
            at += taken
            self._gone += taken
            while self._gone == self._step.size:
                held, self._held, self._gone = self._held, b"", 0
                self._step = self._walk.send(held)
        return data


def _frames() -> Generator[_Step, bytes, None]:
    while True:
        magic = int.from_bytes((yield _Step(4, ends=True)), "little")
        if magic & 0xFFFFFFF0 == 0x184D2A50:  # to be skipped
            size = int.from_bytes((yield _Step(4)), "little")
            yield _Step(size, kept=False)
            continue
        descriptor = (yield _Step(1))[0]
        single, dictionary = descriptor >> 5 & 1, (0, 1, 2, 4)[descriptor & 3]
        content = (single, 2, 4, 8)[descriptor >> 6]
        yield _Step(1 - single + dictionary + content, kept=False)
        last = 0
        while not last:
            block = int.from_bytes((yield _Step(3)), "little")
            last, same = block & 1, block >> 1 & 3 == 1
            yield _Step(1 if same else block >> 3, kept=False)
        yield _Step(4 if descriptor & 4 else 0, kept=False)
