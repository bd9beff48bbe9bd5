"""What a WAL segment holds that a plain byte search can't see: bytes split by page headers, and packed page images.

A segment is a row of pages, each with a header that cuts through the records; `strip_pages` takes the headers out,
so that a value lying across a page boundary is whole again. With `wal_compression`, images of pages are packed
without any header of their own; `page_images` walks the records to find them. Sources: `xlog_internal.h` (pages),
`xlogrecord.h` (records, block references, images) of PostgreSQL 13 to 18.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from domicile.native import packed
from domicile.stores.postgres.compression import Method, unpack

PAGE_HEADER_BYTES = 24
LONG_PAGE_HEADER_BYTES = 40
RECORD_HEADER_BYTES = 24
RECORD_BYTES_MAX = 1020 * 1024 * 1024
SEGMENT_NAME = re.compile(r"[0-9A-F]{24}")
# The magic of each version's pages; from 15 on the bits of an image's flags mean other things.
MAGIC_FIRST = 0xD106  # PostgreSQL 13
MAGIC_15 = 0xD10E  # 14 has 0xD10D, 15 has 0xD110
MAGIC_LAST = 0xD17F
PACKED_14, PACKED_15 = 0x02, 0x04 | 0x08 | 0x10
RECORDS_AT_ONCE = 4096
_PAGE = struct.Struct("<HHIQI")
_IMAGE = struct.Struct("<HHB")
_LONG_HEADER = 0x0002
_HAS_IMAGE, _SAME_RELATION = 0x10, 0x80
_BLOCK_MAX, _TOPLEVEL, _ORIGIN, _DATA_LONG, _DATA_SHORT = 32, 252, 253, 254, 255


@dataclass(frozen=True, slots=True)
class WalPage:
    """One page's place, flags and what of the record before it continues on it."""

    magic: int
    header_bytes: int
    address: int
    remaining: int


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive pages of one history, headers taken out; records begin at `first`."""

    offset: int
    magic: int
    data: bytes
    first: int


@dataclass(frozen=True, slots=True)
class PageImage:
    """A packed page image: unpacked to a whole page, or `data` None when its method isn't one we read."""

    offset: int
    data: bytes | None


def read_page_header(page: bytes) -> WalPage | None:
    """Read a WAL page's header, or None when there is none (an empty page, another file)."""
    if len(page) < PAGE_HEADER_BYTES:
        return None
    magic, flags, _, address, remaining = _PAGE.unpack_from(page)
    if not MAGIC_FIRST <= magic <= MAGIC_LAST or address % len(page):
        return None
    return WalPage(magic, LONG_PAGE_HEADER_BYTES if flags & _LONG_HEADER else PAGE_HEADER_BYTES, address, remaining)


def runs(segment: bytes, *, page_bytes: int) -> Iterator[Run]:
    """Cut a segment into runs of pages that belong together (a recycled one holds two histories), headers out.

    Pages without a header (never written, or of another file) form runs with magic 0.
    """
    parts: list[bytes] = []
    begin, first, magic = 0, 0, 0
    expected: int | None = None
    for offset in range(0, len(segment), page_bytes):
        page = segment[offset : offset + page_bytes]
        header = read_page_header(page)
        address = header.address if header else None
        if parts and address != expected:
            yield Run(begin, magic, b"".join(parts), first)
            parts = []
        if not parts:
            begin, magic, first = offset, header.magic if header else 0, -(-header.remaining // 8) * 8 if header else 0
        parts.append(page[header.header_bytes :] if header else page)
        expected = header.address + page_bytes if header else None
    if parts:
        yield Run(begin, magic, b"".join(parts), first)


def page_images(run: Run, *, block: int) -> Iterator[PageImage]:
    """Walk the run's records and unpack every packed page image."""
    if not run.magic:
        return
    legacy = run.magic < MAGIC_15
    view, at = np.frombuffer(run.data, np.uint8), run.first
    while at < len(view):
        places = np.empty(RECORDS_AT_ONCE, np.int64)
        count, at = packed.records_with_packed_images(
            view, at, PACKED_14 if legacy else PACKED_15, RECORD_BYTES_MAX, places
        )  # fmt: skip
        for position in places[:count].tolist():
            total = int.from_bytes(run.data[position : position + 4], "little")
            for image in _images_of(run.data[position : position + total], legacy=legacy, block=block):
                yield PageImage(run.offset + position, image)


@dataclass(frozen=True, slots=True)
class _Packed:
    length: int
    hole_at: int
    hole_bytes: int
    flags: int


def _images_of(record: bytes, *, legacy: bool, block: int) -> Iterator[bytes | None]:
    try:
        blocks, at = _block_headers(record, legacy=legacy, block=block)
    except (IndexError, struct.error):
        return  # the record ends in the next segment; its images start there again after the checkpoint, or are cut
    for image, data_bytes in blocks:
        if image is not None:
            method = _method(image.flags, legacy=legacy)
            if method != "plain":
                yield _unpack_image(record[at : at + image.length], image, method, block)
            at += image.length
        at += data_bytes


def _block_headers(record: bytes, *, legacy: bool, block: int) -> tuple[list[tuple[_Packed | None, int]], int]:
    """Read the block references of a record; also where the first image begins."""
    found: list[tuple[_Packed | None, int]] = []
    at, rest = RECORD_HEADER_BYTES, 0
    while at + rest < len(record):
        kind = record[at]
        if kind == _DATA_SHORT:
            return found, at + 2
        if kind == _DATA_LONG:
            return found, at + 5
        if kind in {_ORIGIN, _TOPLEVEL}:
            at += 3 if kind == _ORIGIN else 5
            continue
        if kind > _BLOCK_MAX:
            return [], at
        flags, data_bytes = struct.unpack_from("<BH", record, at + 1)
        at += 4
        image = None
        if flags & _HAS_IMAGE:
            image, at = _image_header(record, at, legacy=legacy, block=block)
            rest += image.length
        at += (0 if flags & _SAME_RELATION else 12) + 4
        rest += data_bytes
        found.append((image, data_bytes))
    return found, at


def _image_header(record: bytes, at: int, *, legacy: bool, block: int) -> tuple[_Packed, int]:
    length, hole_at, flags = _IMAGE.unpack_from(record, at)
    at += _IMAGE.size
    hole = 0
    has_hole = flags & 0x01
    if _method(flags, legacy=legacy) == "plain":
        hole = block - length
    elif has_hole:
        hole = struct.unpack_from("<H", record, at)[0]
        at += 2
    return _Packed(length, hole_at, hole, flags), at


def _method(flags: int, *, legacy: bool) -> Method | str:
    """Name the method of an image: up to 14 one bit says pglz; from 15 on a bit each for pglz, lz4, zstd."""
    if legacy:
        return Method.PGLZ if flags & 0x02 else "plain"
    if flags & 0x04:
        return Method.PGLZ
    if flags & 0x08:
        return Method.LZ4
    return "zstd" if flags & 0x10 else "plain"


def _unpack_image(payload: bytes, packed: _Packed, method: Method | str, block: int) -> bytes | None:
    if not isinstance(method, Method):
        return None
    data = unpack(method, payload, block - packed.hole_bytes).data
    return data[: packed.hole_at] + bytes(packed.hole_bytes) + data[packed.hole_at :]
