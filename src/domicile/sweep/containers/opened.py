"""Each kind of container goes to what opens it; those that need random access get a file."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from domicile.sweep.carving import WalReader
from domicile.sweep.containers.archives import open_tar, open_zip
from domicile.sweep.containers.columns import open_arrow, open_orc, open_parquet
from domicile.sweep.containers.databases import open_dump, open_sqlite
from domicile.sweep.containers.documents import open_pdf
from domicile.sweep.containers.kinds import Kind
from domicile.sweep.containers.opening import Exhausted, Opening, Reader, Source
from domicile.sweep.containers.streams import OUT_BYTES, STREAMS, Damaged, unpack

SPOOL_MEMORY_BYTES = 64 * 1024 * 1024
_FILES: dict[Kind, Callable[[Opening, BinaryIO, int], None]] = {
    Kind.ZIP: open_zip,
    Kind.SQLITE: open_sqlite,
    Kind.PDF: open_pdf,
    Kind.DUMP: open_dump,
    Kind.PARQUET: open_parquet,
    Kind.ORC: open_orc,
    Kind.ARROW: open_arrow,
}


def open_kind(opening: Opening, kind: Kind, reader: Reader, depth: int, source: Source | None) -> None:
    """Search what is inside a stream of this kind; raise Damaged or Exhausted where that can't go on."""
    if kind in STREAMS:
        opening.content(kind, unpack(kind, reader), depth + 1)
    elif kind is Kind.TAR:
        open_tar(opening, reader, depth)
    elif kind is Kind.WAL:
        _wal(opening, reader)
    else:
        with _as_file(opening, reader, source) as file:
            _FILES[kind](opening, file, depth)


def _wal(opening: Opening, reader: Reader) -> None:
    segment = WalReader(opening.tally, opening.spot, opening.geometry, inside=True)
    while block := reader.read(OUT_BYTES):
        segment.feed(block)
    segment.close()


@contextmanager
def _as_file(opening: Opening, reader: Reader, source: Source | None) -> Iterator[BinaryIO]:
    """Give a stream as a file: the source itself, or a copy in memory, or in a temporary file without a name."""
    if source is not None:
        yield io.BufferedReader(_SourceFile(source), OUT_BYTES)
        return
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_MEMORY_BYTES) as copy:
        size = 0
        while block := reader.read(OUT_BYTES):
            size += len(block)
            if size > opening.limits.spool_bytes_max:
                raise Exhausted("is larger than what is copied to look into it")
            try:
                copy.write(block)
            except OSError as fault:
                raise Damaged(f"can't be copied to look into it ({type(fault).__name__}); make room") from None
        copy.seek(0)
        yield cast("BinaryIO", copy)


class _SourceFile(io.RawIOBase):
    """A source as a file of Python's."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise OSError("before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._source.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
