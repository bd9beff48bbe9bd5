"""How each kind of server file is searched: raw bytes always, and by its layout what raw bytes can't show.

| layout                  | besides raw bytes                                                                  |
|-------------------------|------------------------------------------------------------------------------------|
| relation pages          | every inline compressed value, wherever it stands                                  |
| TOAST pages             | chunks joined to values, unpacked                                                   |
| orphans, other databases| both, as far as the pages look like it                                             |
| WAL                     | pages without their headers; packed page images; compressed values; TOAST chunks  |
| spill, temporary files  | compressed values and TOAST chunks at any offset                                   |
| copies of such files    | the same, by their first page; files in a tar at any offset                        |
| anything else           | its name; what is packed in it (`containers`)                                      |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from threading import Lock

from domicile.engine.in_order import in_order, processors
from domicile.errors import NotPermitted
from domicile.stores.around import Placing
from domicile.stores.postgres.copies import CopyKind
from domicile.stores.postgres.files import READ_BYTES, Files, LocalFiles, ServerFile, Shape, Unread
from domicile.stores.postgres.pages import (
    ToastAssembler,
    carve_chunks,
    carve_together,
    is_foreign_page,
    looks_like_page,
)
from domicile.stores.postgres.walpages import read_page_header
from domicile.sweep.carving import WAL_AHEAD_BYTES, Carver, WalReader, together
from domicile.sweep.containers import search_packed
from domicile.sweep.search import Spot, Tally, Value, View

PAGE_POSITION_BYTES = 10  # pd_lsn and pd_checksum (`bufpage.h`)
CLEAN_FILE_BYTES_MAX = 2 * 1024 * 1024
CLEAN_FILES_BYTES_MAX = 64 * 1024 * 1024
THREADS_MAX = 4  # each holds some 60 MiB for what it looks at, and what pieces of values it has yet to join
GROUP_BYTES = 4 * 1024 * 1024
GROUP_FILES_MAX = 256
_SEGMENT = re.compile(
    r"(?P<start>(.*/)?[0-9A-F]{8})(?P<log>[0-9A-F]{8})(?P<segment>[0-9A-F]{8})(?P<packed>(\.[a-z0-9]+)?)"
)
_TAR_AT = 257  # of the magic in the header of a tar's first file


@dataclass(slots=True)
class _Alike:
    """Small files in which nothing was found, and how much was unpacked of each; threads share it."""

    known: dict[tuple[bool, bytes], int] = field(default_factory=dict, repr=False)
    size: int = 0
    lock: Lock = field(default_factory=Lock)

    def keep(self, likeness: tuple[bool, bytes], unpacked: int) -> None:
        with self.lock:
            if likeness not in self.known and self.size + len(likeness[1]) <= CLEAN_FILES_BYTES_MAX:
                self.known[likeness] = unpacked
                self.size += len(likeness[1])


@dataclass(slots=True)
class Scan:
    """One pass over a server's files, on as many cores as there are where the files are this machine's."""

    files: Files
    layout: Placing
    tally: Tally
    _alike: _Alike = field(default_factory=_Alike)

    def all(self) -> int:
        """Search every file once, and those that came meanwhile once more; return how many."""
        seen: set[str] = set()
        expected = dict(self.layout.by_path)
        threads = processors(most=THREADS_MAX) if self._stays else 1
        for _ in range(2):
            for part in in_order((partial(self._some, group) for group in self._groups(seen)), threads=threads):
                self.tally.take(part)
        for path, storage in expected.items():
            if path not in seen and storage.place.kind is not CopyKind.TEMP_FILES:  # they end with session or server
                self.tally.gap(storage.place.copy, path, "the relation's file isn't where the catalogue says")
        return len(seen)

    @property
    def _stays(self) -> bool:
        """Whether a file is there when the next one has been listed: of what is restored to be seen it may not be."""
        return isinstance(self.files, LocalFiles)

    def _groups(self, seen: set[str]) -> Iterator[list[ServerFile | Unread]]:
        """List the files that weren't seen, small ones together if they stay; now they are seen."""
        group: list[ServerFile | Unread] = []
        size = 0
        for entry in self.files.walk():
            if entry.path in seen:
                continue
            seen.add(entry.path)
            group.append(entry)
            size += entry.size if isinstance(entry, ServerFile) else 0
            if size >= GROUP_BYTES or len(group) == GROUP_FILES_MAX or not self._stays:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _some(self, entries: list[ServerFile | Unread]) -> Tally:
        """Search some files; what is found is counted apart, so that threads don't meet, and added up in order."""
        part = self.tally.part()
        replace(self, tally=part).search(entries)
        return part

    def search(self, entries: Iterable[ServerFile | Unread]) -> None:
        """Search these files."""
        for entry in entries:
            self._entry(entry)

    def _entry(self, entry: ServerFile | Unread) -> None:
        place = self.layout.place(entry.path)
        if isinstance(entry, Unread):
            self.tally.gap(place.copy, self.tally.named(Spot(place.copy, entry.path)).path, entry.why)
            return
        spot = Spot(place.copy, entry.path)
        if place.shape is Shape.PLAIN:
            spot = self.tally.named(spot)
        if not entry.size:
            return
        try:
            self._file(entry, spot, place.shape)
        except NotPermitted as fault:
            self.tally.gap(spot.copy, spot.path, str(fault).replace(entry.path, spot.path))

    def _file(self, entry: ServerFile, spot: Spot, shape: Shape) -> None:
        self.tally.add(spot.copy, files=1)
        if shape is Shape.WAL:
            self.tally.add(spot.copy, read=entry.size)
            self._wal(entry.path, spot)
            if not read_page_header(self.files.read(entry.path, 0, self.layout.geometry.wal_block) or b""):
                self._packed(entry, spot)
        elif shape in {Shape.PAGES, Shape.TOAST_PAGES, Shape.UNKNOWN_PAGES}:
            self._pages(entry.path, spot, shape)
        else:
            self._plain(entry, spot, shape)

    def _blocks(self, path: str) -> Iterator[bytes]:
        """Read a file from start to end; it ends early when the server removes it meanwhile."""
        offset = 0
        while block := self.files.read(path, offset, READ_BYTES):
            yield block
            offset += len(block)

    def _pages(self, path: str, spot: Spot, shape: Shape) -> None:
        """Search a relation's file, unless one just like it was found clean.

        A server's databases begin as copies of each other: their files differ in the positions of last changes only,
        which hold nothing of anybody.
        """
        blocks = self._blocks(path)
        first = next(blocks, b"")
        likeness = self._likeness(first, shape)
        clean = self._alike.known.get(likeness) if likeness else None
        if clean is not None:
            self.tally.add(spot.copy, read=len(first), unpacked=clean)
            return
        before = self.tally.standing(spot.copy)
        self._search_pages(chain((first,), blocks), spot, shape)
        after = self.tally.standing(spot.copy)
        if likeness and after.found == before.found:
            self._alike.keep(likeness, after.unpacked - before.unpacked)

    def _likeness(self, block: bytes, shape: Shape) -> tuple[bool, bytes] | None:
        """What a small file is but for the positions of last changes, and whether it is searched for TOAST."""
        page = self.layout.geometry.block
        if not block or len(block) > CLEAN_FILE_BYTES_MAX:
            return None
        toast = shape is Shape.TOAST_PAGES or (
            shape is Shape.UNKNOWN_PAGES and _looks_like_toast(block[:page], self.layout.geometry.toast_chunk)
        )
        return toast, b"".join(block[at + PAGE_POSITION_BYTES : at + page] for at in range(0, len(block), page))

    def _search_pages(self, blocks: Iterable[bytes], spot: Spot, shape: Shape) -> None:
        tally, geometry = self.tally, self.layout.geometry
        assembler = ToastAssembler(chunk_bytes=geometry.toast_chunk)
        tail, offset, toast = b"", 0, shape is Shape.TOAST_PAGES
        for block in blocks:
            first = block[: geometry.block]
            if offset == 0 and shape is not Shape.UNKNOWN_PAGES and any(first) and not looks_like_page(first):
                other = "a big-endian server" if is_foreign_page(first) else "a kind we don't know (encrypted?)"
                tally.gap(spot.copy, spot.path, f"pages of {other}: compressed values can't be unpacked")
            if offset == 0 and shape is Shape.UNKNOWN_PAGES:
                toast = _looks_like_toast(first, geometry.toast_chunk)
            window = tail + block
            tally.search(window, spot, offset=offset - len(tail), view=View.RAW, carried=len(tail))
            tally.add(spot.copy, read=len(block))
            tail = window[-tally.carry_bytes :] if tally.carry_bytes else b""
            for unpacked in carve_together(block, block=geometry.block, aligned=True):
                tally.search_unpacked(unpacked, spot, offset=offset)
            if toast:
                chunks = carve_chunks(block, chunk_bytes=geometry.toast_chunk, aligned=True)
                joined = (value for chunk in chunks for value in assembler.add(chunk))
                self._values((Value(value.data, offset, View.JOINED) for value in joined), spot)
            offset += len(block)
        self._values((Value(value.data, offset, View.JOINED) for value in assembler.close()), spot)
        if assembler.fragments:
            tally.gap(spot.copy, spot.path, f"{assembler.fragments} parts of out-of-line values whose start is gone")

    def _plain(self, entry: ServerFile, spot: Spot, shape: Shape) -> None:
        head = self.files.read(entry.path, 0, self.layout.geometry.block) or b""
        if looks_like_page(head):  # a relation's file that was copied here
            self._pages(entry.path, spot, Shape.UNKNOWN_PAGES)
            return
        self.tally.stream(self._blocks(entry.path), spot, view=View.RAW)
        if shape is Shape.WORK:
            self.tally.gap(spot.copy, spot.path, "a working file: values may lie across its inner blocks")
        if shape in {Shape.WORK, Shape.TUPLES} or head[_TAR_AT : _TAR_AT + 5] == b"ustar":
            self._loose(entry.path, spot)
        if shape is Shape.PLAIN:
            self._packed(entry, spot)

    def _packed(self, entry: ServerFile, spot: Spot) -> None:
        search_packed(_Stored(self.files, entry), spot, self.tally, geometry=self.layout.geometry)

    def _loose(self, path: str, spot: Spot) -> None:
        carver = Carver(self.tally, spot, self.layout.geometry)
        for block in self._blocks(path):
            carver.feed(block)
        carver.close()

    def _wal(self, path: str, spot: Spot) -> None:
        """Search a segment; its last piece sees a little of the next segment."""
        reader = WalReader(self.tally, spot, self.layout.geometry)
        for block in self._blocks(path):
            reader.feed(block)
        following = self._following(path)
        reader.close((following and self._read_all(following, 0, WAL_AHEAD_BYTES)) or b"")

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

    def _values(self, values: Iterable[Value], spot: Spot) -> None:
        for some in together(values):
            self.tally.search_values(some, spot)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A server's file as something that is opened."""

    files: Files
    entry: ServerFile

    @property
    def size(self) -> int:
        return self.entry.size

    def read(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes; none when the server has removed the file."""
        return self.files.read(self.entry.path, offset, min(length, READ_BYTES)) or b""


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
