"""How each kind of server file is searched: raw bytes always, and by its layout what raw bytes can't show.

| layout                  | besides raw bytes                                                                  |
|-------------------------|------------------------------------------------------------------------------------|
| relation pages          | every inline compressed value, wherever it stands                                  |
| TOAST pages             | chunks joined to values, unpacked                                                   |
| orphans, other databases| both, as far as the pages look like it                                             |
| WAL                     | pages without their headers; packed page images; compressed values; TOAST chunks  |
| spill, temporary files  | compressed values and TOAST chunks at any offset                                   |
| copies of such files    | the same, by their first page; files in a tar at any offset                        |
| anything else           | nothing; files that are themselves compressed or encrypted archives are gaps        |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from domicile.errors import NotPermitted
from domicile.stores.around import Placing
from domicile.stores.postgres.files import READ_BYTES, Files, Place, ServerFile, Shape, Unread
from domicile.stores.postgres.pages import (
    ToastAssembler,
    carve_chunks,
    carve_compressed,
    is_foreign_page,
    looks_like_page,
)
from domicile.stores.postgres.walpages import page_images, runs
from domicile.sweep.search import Spot, Tally, View

WAL_PIECE_BYTES = 16 * 1024 * 1024
WAL_AHEAD_BYTES = 512 * 1024  # a record with images is at most 33 pages long
LOOSE_AHEAD_BYTES = 32 * 1024
PAGE_POSITION_BYTES = 10  # pd_lsn and pd_checksum (`bufpage.h`)
CLEAN_PAGES_MAX = 4096  # at 8 KiB: 32 MiB; a new database has about 900
_SEGMENT = re.compile(
    r"(?P<start>(.*/)?[0-9A-F]{8})(?P<log>[0-9A-F]{8})(?P<segment>[0-9A-F]{8})(?P<packed>(\.[a-z0-9]+)?)"
)
_TAR_AT = 257  # of the magic in the header of a tar's first file
_ARCHIVES = (
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"\xfd7zXZ",
    b"BZh",
    b"\x04\x22\x4d\x18",
    b"PK\x03\x04",
    b"PGDMP",
    b"PAR1",
    b"7z\xbc\xaf",
)


@dataclass(slots=True)
class Scan:
    """One pass over a server's files."""

    files: Files
    layout: Placing
    tally: Tally
    _clean: dict[bytes, int] = field(default_factory=dict, repr=False)

    def all(self) -> int:
        """Search every file once, and those that came meanwhile once more; return how many."""
        seen: set[str] = set()
        expected = dict(self.layout.by_path)
        for _ in range(2):
            for entry in self.files.walk():
                if entry.path not in seen:
                    seen.add(entry.path)
                    expected.pop(entry.path, None)
                    self._entry(entry)
        for path, storage in expected.items():
            self.tally.gap(storage.place.copy, path, "the relation's file isn't where the catalogue says")
        return len(seen)

    def _entry(self, entry: ServerFile | Unread) -> None:
        place = self.layout.place(entry.path)
        if isinstance(entry, Unread):
            self.tally.gap(place.copy, entry.path, entry.why)
            return
        if not entry.size:
            return
        try:
            self._file(entry, place)
        except NotPermitted as fault:
            self.tally.gap(place.copy, entry.path, str(fault))

    def _file(self, entry: ServerFile, place: Place) -> None:
        spot = Spot(place.copy, entry.path)
        self.tally.add(place.copy, files=1)
        if place.shape is Shape.WAL:
            self.tally.add(place.copy, read=entry.size)
            self._wal(entry.path, spot)
        elif place.shape in {Shape.PAGES, Shape.TOAST_PAGES, Shape.UNKNOWN_PAGES}:
            self._pages(entry.path, spot, place.shape)
        else:
            self._plain(entry, spot, place.shape)

    def _blocks(self, path: str) -> Iterator[bytes]:
        """Read a file from start to end; it ends early when the server removes it meanwhile."""
        offset = 0
        while block := self.files.read(path, offset, READ_BYTES):
            yield block
            offset += len(block)

    def _pages(self, path: str, spot: Spot, shape: Shape) -> None:
        tally, geometry = self.tally, self.layout.geometry
        assembler = ToastAssembler(chunk_bytes=geometry.toast_chunk)
        tail, offset, toast = b"", 0, shape is Shape.TOAST_PAGES
        for block in self._blocks(path):
            first = block[: geometry.block]
            if offset == 0 and shape is not Shape.UNKNOWN_PAGES and any(first) and not looks_like_page(first):
                other = "a big-endian server" if is_foreign_page(first) else "a kind we don't know (encrypted?)"
                tally.gap(spot.copy, path, f"pages of {other}: compressed values can't be unpacked")
            if offset == 0 and shape is Shape.UNKNOWN_PAGES:
                toast = _looks_like_toast(first, geometry.toast_chunk)
            window = tail + block
            tally.search(window, spot, offset=offset - len(tail), view=View.RAW, carried=len(tail))
            tally.add(spot.copy, read=len(block))
            tail = window[-tally.carry_bytes :] if tally.carry_bytes else b""
            for at in range(0, len(block), geometry.block):
                self._page(block[at : at + geometry.block], spot, offset + at)
            if toast:
                for chunk in carve_chunks(block, chunk_bytes=geometry.toast_chunk, aligned=True):
                    for value in assembler.add(chunk):
                        self._unpacked(value.data, spot, offset, View.JOINED)
            offset += len(block)
        for value in assembler.close():
            self._unpacked(value.data, spot, offset, View.JOINED)
        if assembler.fragments:
            tally.gap(spot.copy, path, f"{assembler.fragments} parts of out-of-line values whose start is gone")

    def _page(self, page: bytes, spot: Spot, offset: int) -> None:
        """Search the packed values of a page.

        A server's databases begin as copies of each other: a page that differs from one that was found clean only in
        the position of its last change isn't unpacked again.
        """
        content = page[PAGE_POSITION_BYTES:]
        clean = self._clean.get(content)
        if clean is not None:
            self.tally.add(spot.copy, unpacked=clean)
            return
        unpacked, found = 0, False
        for value in carve_compressed(page, block=self.layout.geometry.block, aligned=True):
            unpacked += len(value.data)
            found |= self._unpacked(value.data, spot, offset + value.offset, View.UNPACKED)
        if not found and len(self._clean) < CLEAN_PAGES_MAX:
            self._clean[content] = unpacked

    def _plain(self, entry: ServerFile, spot: Spot, shape: Shape) -> None:
        head = self.files.read(entry.path, 0, self.layout.geometry.block) or b""
        if head.startswith(_ARCHIVES):
            self.tally.gap(spot.copy, entry.path, "a compressed file: unpack it to search it")
        if looks_like_page(head):  # a relation's file that was copied here
            self._pages(entry.path, spot, Shape.UNKNOWN_PAGES)
            return
        self.tally.stream(self._blocks(entry.path), spot, view=View.RAW)
        if shape is Shape.WORK:
            self.tally.gap(spot.copy, entry.path, "a working file: values may lie across its inner blocks")
        if shape in {Shape.WORK, Shape.TUPLES} or head[_TAR_AT : _TAR_AT + 5] == b"ustar":
            self._loose(entry.path, spot)

    def _loose(self, path: str, spot: Spot) -> None:
        """Search the compressed values and TOAST chunks of a file whose tuples stand anywhere."""
        geometry = self.layout.geometry
        assembler = ToastAssembler(chunk_bytes=geometry.toast_chunk)
        tail, offset = b"", 0
        for block in self._blocks(path):
            window = tail + block
            for value in carve_compressed(window, block=geometry.block, aligned=False):
                self._unpacked(value.data, spot, offset, View.UNPACKED)
            for chunk in carve_chunks(window, chunk_bytes=geometry.toast_chunk, aligned=False):
                for value in assembler.add(chunk):
                    self._unpacked(value.data, spot, offset, View.JOINED)
            tail = window[-LOOSE_AHEAD_BYTES:]
            offset += len(block)
        for value in assembler.close():
            self._unpacked(value.data, spot, offset, View.JOINED)

    def _wal(self, path: str, spot: Spot) -> None:
        """Search a segment in pieces; each sees a little of the next, and the last a little of the next segment."""
        offset = 0
        assembler = ToastAssembler(chunk_bytes=self.layout.geometry.toast_chunk)
        while piece := self._read_all(path, offset, WAL_PIECE_BYTES + WAL_AHEAD_BYTES):
            if len(piece) <= WAL_PIECE_BYTES:
                following = self._following(path)
                piece += (following and self._read_all(following, 0, WAL_AHEAD_BYTES)) or b""
            self._wal_piece(piece, spot, offset, assembler)
            offset += WAL_PIECE_BYTES
        for value in assembler.close():
            self._unpacked(value.data, spot, offset, View.JOINED)

    def _read_all(self, path: str, offset: int, length: int) -> bytes:
        parts = []
        while length > 0 and (part := self.files.read(path, offset, min(length, READ_BYTES))):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def _following(self, path: str) -> str | None:
        """Name the segment after this one, as the server numbers them; packed ones end alike."""
        match = _SEGMENT.fullmatch(path)
        if match is None:
            return None
        per_log = 0x100000000 // self.layout.geometry.wal_segment
        number = int(match["log"], 16) * per_log + int(match["segment"], 16) + 1
        return f"{match['start']}{number // per_log:08X}{number % per_log:08X}{match['packed']}"

    def _wal_piece(self, piece: bytes, spot: Spot, offset: int, assembler: ToastAssembler) -> None:
        geometry = self.layout.geometry
        for run in runs(piece, page_bytes=geometry.wal_block):
            self.tally.search(run.data, spot, offset=offset + run.offset, view=View.RAW)
            for value in carve_compressed(run.data, block=geometry.block, aligned=False):
                self._unpacked(value.data, spot, offset + run.offset, View.UNPACKED)
            for chunk in carve_chunks(run.data, chunk_bytes=geometry.toast_chunk, aligned=False):
                for value in assembler.add(chunk):
                    self._unpacked(value.data, spot, offset + run.offset, View.JOINED)
            for image in page_images(run, block=geometry.block):
                if image.data is None:
                    self.tally.gap(spot.copy, spot.path, "page images packed with zstd can't be unpacked here")
                else:
                    self._image(image.data, spot, offset + image.offset)

    def _image(self, page: bytes, spot: Spot, offset: int) -> None:
        geometry = self.layout.geometry
        self._unpacked(page, spot, offset, View.UNPACKED)
        for value in carve_compressed(page, block=geometry.block, aligned=True):
            self._unpacked(value.data, spot, offset, View.UNPACKED)

    def _unpacked(self, data: bytes, spot: Spot, offset: int, view: View) -> bool:
        """Search an unpacked value; return whether something was found."""
        self.tally.add(spot.copy, unpacked=len(data))
        return self.tally.search(data, spot, offset=offset // _MEGABYTE * _MEGABYTE, view=view)


_MEGABYTE = 1024 * 1024


def _looks_like_toast(page: bytes, chunk_bytes: int) -> bool:
    """Whether a page that nobody owns is of a TOAST table: its first tuple is a chunk."""
    if not looks_like_page(page):
        return False
    lower = int.from_bytes(page[12:14], "little")
    for at in range(24, lower, 4):
        pointer = int.from_bytes(page[at : at + 4], "little")
        start, used = pointer & 0x7FFF, (pointer >> 15) & 3
        if used == 1:
            chunks = carve_chunks(page[start : start + 48 + chunk_bytes], chunk_bytes=chunk_bytes, aligned=True)
            return any(chunk.offset == 18 for chunk in chunks)
    return False
