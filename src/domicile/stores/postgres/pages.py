"""What a page holds that a plain byte search can't see: compressed values and TOAST chunks, live, dead or forgotten.

No catalogue is asked. A file is *carved*: every place where the header of a compressed varlena or of a TOAST chunk's
tuple can stand is tried. So dead tuples, line pointers already freed, stale bytes between `pd_lower` and `pd_upper`,
dropped columns, index entries and files that no relation owns are all read the same way. A header that only looks
like one costs time and gives bytes that no token matches.

Sources: `bufpage.h` (page header), `varatt.h` (varlena, `va_tcinfo`), `heaptoast.h`, `toast_internals.c` (an
external compressed value starts with its `va_tcinfo`). Little-endian servers only: `looks_like_page` refuses others.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from domicile.native import packed
from domicile.native.patterns import Bytes, Places
from domicile.stores.postgres.compression import (
    LZ4_RATIO_MAX,
    PGLZ_FIRST_MATCH_BYTES_MAX,
    PGLZ_RATIO_MAX,
    RAW_BYTES_MAX,
    Method,
    plausible,
    unpack,
)

PAGE_LAYOUT = 4  # since PostgreSQL 8.3
TOAST_PENDING_BYTES_MAX = 128 * 1024 * 1024
PROBE_BYTES = 16 * 1024
PACKED_BYTES_MAX = 128 * 1024
PLACES_AT_ONCE = 4096
UNPACKED_AT_ONCE_BYTES = 4 * 1024 * 1024  # more than the largest that a header is taken for, 2 MiB
APART = (
    b"\x00\n\xff\n"  # between values that are searched together: no token holds it, and no spelling goes on behind it
)
_APART = np.frombuffer(APART, np.uint8)
_SIZES = struct.Struct("<II")
_SHORT = struct.Struct("<HHH")
_RAW_BITS = 0x3FFFFFFF

# From t_infomask2 on: three attributes, any t_infomask, t_hoff 24, no null bitmap (the TOAST table's row type).
_CHUNK = re.compile(
    rb"\x03[\x00\x08\x10\x18\x20\x28\x30\x38\x40\x48\x50\x58\x60\x68\x70\x78\x80\x88\x90\x98\xa0\xa8\xb0\xb8"
    rb"\xc0\xc8\xd0\xd8\xe0\xe8\xf0\xf8][\x00-\xff]{2}\x18",
    re.DOTALL,
)
_INFOMASK2_AT = 18  # of t_infomask2 in HeapTupleHeaderData
_CHUNK_DATA_AT = 6  # of the first column, counted from t_infomask2


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The sizes a cluster was made with, in bytes (`pg_control_init()`)."""

    block: int = 8192
    wal_block: int = 8192
    wal_segment: int = 16 * 1024 * 1024
    toast_chunk: int = 1996


@dataclass(frozen=True, slots=True)
class Carved:
    """A value unpacked from a place in a file."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Values unpacked together: one behind the other in `data`, APART behind each.

    `places` are where they stood; `begins` and `ends` where they lie in `data`.
    """

    data: bytes = field(repr=False)
    places: Places
    begins: Places
    ends: Places

    @property
    def size(self) -> int:
        """How many bytes the values have together."""
        return int(np.sum(self.ends - self.begins))

    def values(self) -> Iterator[Carved]:
        """One value after the other."""
        for place, begin, end in zip(self.places.tolist(), self.begins.tolist(), self.ends.tolist(), strict=True):
            yield Carved(place, self.data[begin:end])


@dataclass(frozen=True, slots=True)
class Chunk:
    """One row of a TOAST table, wherever it was found."""

    offset: int
    value: int
    sequence: int
    data: bytes


def looks_like_page(page: bytes) -> bool:
    """Whether this is a page of a little-endian server's relation: its size and layout version fit its header."""
    if len(page) < 24:
        return False
    lower, upper, special = _SHORT.unpack_from(page, 12)
    version = int.from_bytes(page[18:20], "little")
    return (
        version & 0xFF == PAGE_LAYOUT and version & 0xFF00 == len(page) and 24 <= lower <= upper <= special <= len(page)
    )


def is_foreign_page(page: bytes) -> bool:
    """Whether this page was written by a big-endian server, whose values we can't unpack."""
    if len(page) < 24:
        return False
    version = int.from_bytes(page[18:20], "big")
    return version & 0xFF == PAGE_LAYOUT and version & 0xFF00 == len(page)


def carve_compressed(data: bytes, *, block: int, aligned: bool, bytes_max: int = PACKED_BYTES_MAX) -> Iterator[Carved]:
    """Unpack every inline compressed value of at most `bytes_max` packed bytes in `data`, one by one."""
    for unpacked in carve_together(data, block=block, aligned=aligned, bytes_max=bytes_max):
        yield from unpacked.values()


def carve_together(data: bytes, *, block: int, aligned: bool, bytes_max: int = PACKED_BYTES_MAX) -> Iterator[Unpacked]:
    """Unpack every inline compressed value of at most `bytes_max` packed bytes in `data`, about 4 MiB at once.

    `aligned` for relation pages: values start at multiples of four and end within their block. Otherwise (WAL,
    spill and temporary files) they may start anywhere. What is taken for one: a 4-byte varlena header whose two low
    bits say "compressed, inline", a length below 128 KiB; a va_tcinfo of 1 byte to 2 MiB with method pglz (0x00) or
    lz4 (0x40) in its top bits; sizes that are `plausible`; and a first item that is a literal, for there is nothing
    yet to refer to. A table of small integers looks like headers a million times.
    """
    view, at = np.frombuffer(data, np.uint8), 0
    within = (4, block) if aligned else (1, 0)
    while at < len(view):
        places = np.empty(PLACES_AT_ONCE, np.int64)
        count, at = packed.packed_places(
            view, at, *within, bytes_max, (PGLZ_RATIO_MAX, LZ4_RATIO_MAX), places
        )  # fmt: skip
        yield from _unpacked_pglz(view, places[:count])
        yield from _unpacked_lz4(data, places[:count][view[places[:count] + 7] != 0].tolist())


def _unpacked_pglz(view: Bytes, places: Places) -> Iterator[Unpacked]:
    begin = 0
    while begin < len(places):
        out = np.empty(UNPACKED_AT_ONCE_BYTES, np.uint8)
        begins, ends = np.zeros(len(places), np.int64), np.zeros(len(places), np.int64)
        following, size = packed.unpack_places(
            view, places, begin, PGLZ_FIRST_MATCH_BYTES_MAX, _APART, out, begins, ends
        )  # fmt: skip
        if size:
            some = np.flatnonzero(ends > begins)
            yield Unpacked(out[:size].tobytes(), places[some], begins[some], ends[some])
        begin = following


def _unpacked_lz4(data: bytes, places: list[int]) -> Iterator[Unpacked]:
    held: list[Carved] = []
    size = 0
    for start in places:
        length, raw = int.from_bytes(data[start : start + 3], "little") >> 2, data[start + 4 : start + 7]
        value = unpack(Method.LZ4, data[start + 8 : start + length], int.from_bytes(raw, "little")).data
        if value:
            held.append(Carved(start, value))
            size += len(value)
        if size > UNPACKED_AT_ONCE_BYTES:
            yield _joined_values(held)
            held, size = [], 0
    if held:
        yield _joined_values(held)


def _joined_values(values: list[Carved]) -> Unpacked:
    ends = np.cumsum([len(value.data) + len(APART) for value in values]) - len(APART)
    return Unpacked(
        b"".join(part for value in values for part in (value.data, APART)),
        np.array([value.offset for value in values], np.int64),
        ends - np.array([len(value.data) for value in values], np.int64),
        ends,
    )


def carve_chunks(data: bytes, *, chunk_bytes: int, aligned: bool) -> Iterator[Chunk]:
    """Find every row of a TOAST table in `data`; `aligned` for relation pages, where tuples start at multiples of 8."""
    position = 0
    while match := _CHUNK.search(data, position):
        start = match.start()
        position = start + 1
        if aligned and (start - _INFOMASK2_AT) % 8:
            continue
        chunk = _read_chunk(data, start, chunk_bytes)
        if chunk is not None:
            yield chunk


def _read_chunk(data: bytes, start: int, chunk_bytes: int) -> Chunk | None:
    at = start + _CHUNK_DATA_AT
    if at + 9 > len(data):
        return None
    value, sequence = _SIZES.unpack_from(data, at)
    first = data[at + 8]
    if first & 1:
        begin, size = at + 9, (first >> 1) - 1
    elif not first & 3 and at + 12 <= len(data):
        begin, size = at + 12, (int.from_bytes(data[at + 8 : at + 12], "little") >> 2) - 4
    else:
        return None
    fits = 0 < size <= chunk_bytes and begin + size <= len(data)
    if not fits or not value or sequence > 1024 * 1024 * 1024 // chunk_bytes:
        return None
    return Chunk(start, value, sequence, data[begin : begin + size])


@dataclass(slots=True)
class _Pending:
    offset: int
    chunks: dict[int, bytes] = field(default_factory=dict)
    last: int | None = None
    bytes: int = 0

    @property
    def complete(self) -> bool:
        return self.last is not None and len(self.chunks) == self.last + 1


class ToastAssembler:
    """Joins chunks, in whatever order they come, to values, within a bound of memory.

    `fragments` counts values with a part missing, damaged or too large: if they were compressed, we can't read them.
    """

    def __init__(self, *, chunk_bytes: int, pending_bytes_max: int = TOAST_PENDING_BYTES_MAX) -> None:
        self._chunk_bytes = chunk_bytes
        self._pending_bytes_max = pending_bytes_max
        self._pending: dict[int, _Pending] = {}
        self._bytes = 0
        self.fragments = 0

    def add(self, chunk: Chunk) -> Iterator[Carved]:
        """Take one chunk; yield the values that became complete or had to make room."""
        pending = self._pending.get(chunk.value)
        known = pending.chunks.get(chunk.sequence) if pending else None
        if known is not None and known != chunk.data:
            yield from self._close(chunk.value)  # the same number, used by two values over time
            pending = known = None
        if known is not None:
            return
        pending = pending or self._pending.setdefault(chunk.value, _Pending(chunk.offset))
        pending.chunks[chunk.sequence] = chunk.data
        pending.bytes += len(chunk.data)
        self._bytes += len(chunk.data)
        if len(chunk.data) < self._chunk_bytes:
            pending.last = chunk.sequence
        if pending.complete:
            yield from self._close(chunk.value)
        while self._bytes > self._pending_bytes_max:
            yield from self._close(next(iter(self._pending)))

    def close(self) -> Iterator[Carved]:
        """Yield what is still pending, as far as it can be joined."""
        for value in list(self._pending):
            yield from self._close(value)

    def _close(self, value: int) -> Iterator[Carved]:
        pending = self._pending.pop(value)
        self._bytes -= pending.bytes
        joined = _joined(pending.chunks)
        if joined:
            yield Carved(pending.offset, joined)
        unpacked, whole = unpack_external(joined)
        if unpacked:
            yield Carved(pending.offset, unpacked)
        if len(pending.chunks) <= max(pending.chunks) or (unpacked and not whole):
            self.fragments += 1


def _joined(chunks: dict[int, bytes]) -> bytes:
    """Join the chunks from the first on, up to the first gap."""
    parts: list[bytes] = []
    while len(parts) in chunks:
        parts.append(chunks[len(parts)])
    return b"".join(parts)


def unpack_external(data: bytes) -> tuple[bytes, bool]:
    """Unpack a joined external value if it can be a compressed one; nothing for a plain one. Also: is it whole."""
    if len(data) < 8:
        return b"", True
    information = int.from_bytes(data[:4], "little")
    raw, method = information & _RAW_BITS, information >> 30
    if not plausible(method, len(data) - 4, raw):
        return b"", True
    probe = unpack(Method(method), data[4 : 4 + PROBE_BYTES], min(raw, PROBE_BYTES))
    if len(probe.data) < min(raw, PROBE_BYTES, len(data) - 4):
        return b"", True  # plain text whose first four bytes happen to look like sizes
    if raw > RAW_BYTES_MAX:
        return probe.data, False
    unpacked = unpack(Method(method), data[4:], raw)
    return unpacked.data, unpacked.whole
