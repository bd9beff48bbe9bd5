"""Streams of a server's tuples and WAL that come in blocks: what raw bytes don't show of them is unpacked and searched.

`Carver` for tuples that stand anywhere (spill and temporary files, tars, what was unpacked), `WalReader` for WAL.
Memory is bounded by a piece and by what the assembler of TOAST values keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from domicile.stores.postgres.pages import (
    Geometry,
    ToastAssembler,
    Unpacked,
    carve_chunks,
    carve_compressed,
    carve_together,
)
from domicile.stores.postgres.walpages import Run, page_images, runs
from domicile.sweep.search import Spot, Tally, Value, View

WAL_PIECE_BYTES = 16 * 1024 * 1024
WAL_AHEAD_BYTES = 512 * 1024  # a record with images is at most 33 pages long
LOOSE_AHEAD_BYTES = 32 * 1024
TOGETHER_BYTES_MAX = 4 * 1024 * 1024
UNPACKED_TIMES_MAX = 16  # a database's values unpack to a few times its size
UNPACKED_BYTES_FREE = 64 * 1024 * 1024


def together(values: Iterable[Value]) -> Iterator[list[Value]]:
    """Group values, so that what is held at once is bounded."""
    held: list[Value] = []
    size = 0
    for value in values:
        held.append(value)
        size += len(value.data)
        if size > TOGETHER_BYTES_MAX:
            yield held
            held, size = [], 0
    if held:
        yield held


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
        carved = carve_together(window, block=self._geometry.block, aligned=False)
        self._found.unpacked(carved, self._offset - len(self._tail))
        self._found.values(self._joined(window))
        self._tail = window[-LOOSE_AHEAD_BYTES:]
        self._offset += len(block)

    def _joined(self, window: bytes) -> Iterator[Value]:
        for chunk in carve_chunks(window, chunk_bytes=self._geometry.toast_chunk, aligned=False):
            for joined in self._assembler.add(chunk):
                yield Value(joined.data, self._offset, View.JOINED)

    def close(self) -> None:
        """Search what is still pending."""
        self._found.values(Value(joined.data, self._offset, View.JOINED) for joined in self._assembler.close())


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
        self._found.values(Value(joined.data, 0, View.JOINED) for joined in self._assembler.close())

    def _piece(self, piece: bytes) -> None:
        for run in runs(piece, page_bytes=self._geometry.wal_block):
            self._found.raw(run.data, self._offset + run.offset)
            block = self._geometry.block  # a value in a record is no longer than a block, as none in a tuple is
            carved = carve_together(run.data, block=block, aligned=False, bytes_max=block)
            self._found.unpacked(carved, self._offset + run.offset)
            self._found.values(self._values(run))

    def _values(self, run: Run) -> Iterator[Value]:
        """Unpack what is packed in a run but for values in records: of TOAST, and in images of pages."""
        block, at = self._geometry.block, self._offset + run.offset
        for chunk in carve_chunks(run.data, chunk_bytes=self._geometry.toast_chunk, aligned=False):
            for joined in self._assembler.add(chunk):
                yield Value(joined.data, at, View.JOINED)
        for image in page_images(run, block=block):
            if image.data is None:
                self._found.gap("page images packed with zstd can't be unpacked here")
                continue
            yield Value(image.data, self._offset + image.offset, View.UNPACKED)
            for carved in carve_compressed(image.data, block=block, aligned=True):
                yield Value(carved.data, self._offset + image.offset, View.UNPACKED)


class _Found:
    """Searches what was found in one stream.

    What is unpacked is bounded by what was `read`: anybody who may write may write bytes of which each seems to begin a
    value of two megabytes. Inside a container, offsets aren't the file's.
    """

    def __init__(self, tally: Tally, spot: Spot, *, inside: bool) -> None:
        self._tally = tally
        self._spot = spot
        self._inside = inside
        self._unpacked = 0
        self.read = 0

    def raw(self, data: bytes, offset: int) -> None:
        self._tally.search(data, self._spot, offset=0 if self._inside else offset, view=View.RAW)

    def values(self, values: Iterable[Value]) -> None:
        """Search unpacked values, until no more may be unpacked."""
        for some in together(self._bounded(values)):
            self._tally.search_values(some, self._spot)

    def unpacked(self, carved: Iterable[Unpacked], offset: int) -> None:
        """Search values that were unpacked together from a stream that begins at `offset`, until no more may be."""
        for found in carved:
            some = replace(found, places=np.zeros_like(found.places)) if self._inside else found
            begin = 0 if self._inside else offset
            if self._unpacked + some.size > self._limit:
                self.values(Value(value.data, begin + value.offset, View.UNPACKED) for value in some.values())
                return
            self._unpacked += some.size
            self._tally.search_unpacked(some, self._spot, offset=begin)

    @property
    def _limit(self) -> int:
        return UNPACKED_BYTES_FREE + UNPACKED_TIMES_MAX * self.read

    def _bounded(self, values: Iterable[Value]) -> Iterator[Value]:
        for value in values:
            self._unpacked += len(value.data)
            if self._unpacked > self._limit:
                self.gap("the values packed in it unpack to more than is searched")
                return
            yield Value(value.data, 0, value.view) if self._inside else value

    def gap(self, why: str) -> None:
        self._tally.gap(self._spot.copy, self._spot.path, why)
