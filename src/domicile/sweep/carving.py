"""Streams of a server's tuples and WAL that come in blocks: what raw bytes don't show of them is unpacked and searched.

`Carver` for tuples that stand anywhere (spill and temporary files, tars, what was unpacked), `WalReader` for WAL.
Memory is bounded by a piece and by what the assembler of TOAST values keeps.
"""

from __future__ import annotations

from domicile.stores.postgres.pages import Geometry, ToastAssembler, carve_chunks, carve_compressed
from domicile.stores.postgres.walpages import page_images, runs
from domicile.sweep.search import BUCKET_BYTES, Spot, Tally, View

WAL_PIECE_BYTES = 16 * 1024 * 1024
WAL_AHEAD_BYTES = 512 * 1024  # a record with images is at most 33 pages long
LOOSE_AHEAD_BYTES = 32 * 1024
UNPACKED_TIMES_MAX = 16  # a database's values unpack to a few times its size
UNPACKED_BYTES_FREE = 64 * 1024 * 1024


def search_unpacked(tally: Tally, data: bytes, spot: Spot, offset: int, view: View) -> bool:
    """Search an unpacked value; return whether something was found."""
    tally.add(spot.copy, unpacked=len(data))
    return tally.search(data, spot, offset=offset // BUCKET_BYTES * BUCKET_BYTES, view=view)


class Carver:
    """Searches the compressed values and TOAST chunks of a stream whose tuples stand anywhere."""

    def __init__(self, tally: Tally, spot: Spot, geometry: Geometry, *, inside: bool = False) -> None:
        self._geometry = geometry
        self._found = _Found(tally, spot, inside=inside)
        self._assembler = ToastAssembler(chunk_bytes=geometry.toast_chunk)
        self._tail = b""
        self._offset = 0

    def feed(self, block: bytes) -> None:
        """Take the next block of the stream."""
        self._found.read += len(block)
        window = self._tail + block
        for value in carve_compressed(window, block=self._geometry.block, aligned=False):
            if not self._found.search(value.data, self._offset, View.UNPACKED):
                break
        for chunk in carve_chunks(window, chunk_bytes=self._geometry.toast_chunk, aligned=False):
            for value in self._assembler.add(chunk):
                self._found.search(value.data, self._offset, View.JOINED)
        self._tail = window[-LOOSE_AHEAD_BYTES:]
        self._offset += len(block)

    def close(self) -> None:
        """Search what is still pending."""
        for value in self._assembler.close():
            self._found.search(value.data, self._offset, View.JOINED)


class WalReader:
    """Searches a segment in pieces; each sees a little of the next."""

    def __init__(self, tally: Tally, spot: Spot, geometry: Geometry, *, inside: bool = False) -> None:
        self._geometry = geometry
        self._found = _Found(tally, spot, inside=inside)
        self._assembler = ToastAssembler(chunk_bytes=geometry.toast_chunk)
        self._pending = b""
        self._offset = 0

    def feed(self, block: bytes) -> None:
        """Take the next block of a segment."""
        self._found.read += len(block)
        self._pending += block
        while len(self._pending) >= WAL_PIECE_BYTES + WAL_AHEAD_BYTES:
            self._piece(self._pending[: WAL_PIECE_BYTES + WAL_AHEAD_BYTES])
            self._pending = self._pending[WAL_PIECE_BYTES:]
            self._offset += WAL_PIECE_BYTES

    def close(self, ahead: bytes = b"") -> None:
        """Search the rest, with what the next segment begins with."""
        if self._pending:
            self._piece(self._pending + ahead)
        for value in self._assembler.close():
            self._found.search(value.data, 0, View.JOINED)

    def _piece(self, piece: bytes) -> None:
        geometry = self._geometry
        for run in runs(piece, page_bytes=geometry.wal_block):
            at = self._offset + run.offset
            self._found.raw(run.data, at)
            for value in carve_compressed(run.data, block=geometry.block, aligned=False):
                if not self._found.search(value.data, at, View.UNPACKED):
                    break
            for chunk in carve_chunks(run.data, chunk_bytes=geometry.toast_chunk, aligned=False):
                for value in self._assembler.add(chunk):
                    self._found.search(value.data, at, View.JOINED)
            for image in page_images(run, block=geometry.block):
                self._image(image.data, self._offset + image.offset)

    def _image(self, page: bytes | None, offset: int) -> None:
        if page is None:
            self._found.gap("page images packed with zstd can't be unpacked here")
            return
        if not self._found.search(page, offset, View.UNPACKED):
            return
        for value in carve_compressed(page, block=self._geometry.block, aligned=True):
            self._found.search(value.data, offset, View.UNPACKED)


class _Found:
    """Searches what was found in one stream.

    Inside a container, offsets aren't the file's, and what is unpacked is bounded by what was `read`: such a stream may
    be made so that each of its bytes begins a value of two megabytes. The server's own files are not.
    """

    def __init__(self, tally: Tally, spot: Spot, *, inside: bool) -> None:
        self._tally = tally
        self._spot = spot
        self._inside = inside
        self._unpacked = 0
        self.read = 0

    def raw(self, data: bytes, offset: int) -> None:
        self._tally.search(data, self._spot, offset=0 if self._inside else offset, view=View.RAW)

    def search(self, data: bytes, offset: int, view: View) -> bool:
        """Search an unpacked value; False when no more may be unpacked."""
        self._unpacked += len(data)
        if self._inside and self._unpacked > UNPACKED_BYTES_FREE + UNPACKED_TIMES_MAX * self.read:
            self.gap("the values packed in it unpack to more than is searched")
            return False
        search_unpacked(self._tally, data, self._spot, 0 if self._inside else offset, view)
        return True

    def gap(self, why: str) -> None:
        self._tally.gap(self._spot.copy, self._spot.path, why)
