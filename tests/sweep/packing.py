"""Containers with something in them, each made by another program than the one that opens it where there is one."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import lz4.frame
import zstandard

from domicile.sweep import CopySearch, TokenClass, Tokens
from domicile.sweep.containers import Limits, search_source, search_stream
from domicile.sweep.search import Spot, Tally

CANARY = b"canary-planted-value-0123456789"
OTHER = b"canary-planted-value-9876543210"
SPOT = Spot("server-files", "left/export")
PADDING = b"id,who\n" * 500  # so that no library stores it as it is


def content(token: bytes = CANARY) -> bytes:
    """A file that says a token, parted so that nothing but the whole of it says it."""
    return PADDING + b"\n1," + token[:15] + b"\n2," + token[15:] + b"\n3," + token + b"\n" + PADDING


def zipped(data: bytes, *, method: int = zipfile.ZIP_DEFLATED, name: str = "a.csv") -> bytes:
    """A zip of one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def tarred(data: bytes, *, form: int = tarfile.PAX_FORMAT, name: str = "a.csv") -> bytes:
    """A tar of one member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def sqlite_file(data: bytes, *, encoding: str = "UTF-8") -> bytes:
    """A database with a value that takes several pages."""
    with sqlite3.connect(":memory:") as conn:
        conn.execute(f"PRAGMA encoding = '{encoding}'")
        conn.execute('CREATE TABLE "an ""odd"" name" (id INTEGER PRIMARY KEY, note, blank)')
        conn.execute('INSERT INTO "an ""odd"" name" (note) VALUES (?)', (data.decode(),))
        conn.execute('INSERT INTO "an ""odd"" name" (note) VALUES (?)', (data,))
        conn.commit()
        return bytes(conn.serialize())


def pdf(data: bytes) -> bytes:
    """A document with one packed stream, and one that isn't."""
    packed = zlib.compress(data)
    return (
        b"%%PDF-1.5\n%%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Length 5 >>\nstream\nhello\nendstream\nendobj\n"
        b"2 0 obj\n<< /Length %d /Filter /FlateDecode >>\nstream\r\n%s\nendstream\nendobj\ntrailer\n<< >>\n%%%%EOF\n"
    ) % (len(packed), packed)


Pack = Callable[[bytes], bytes]
PACKS: dict[str, Pack] = {
    "gzip": gzip.compress,
    "gzip, second member": lambda data: gzip.compress(b"first") + gzip.compress(data),
    "gzip, padded": lambda data: gzip.compress(data) + bytes(512),
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "bzip2, second member": lambda data: bz2.compress(b"first") + bz2.compress(data),
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "zstd, second frame": lambda data: (
        b"P*M\x18\x03\x00\x00\x00abc"
        + zstandard.ZstdCompressor(write_checksum=True).compress(b"first")
        + zstandard.ZstdCompressor(write_checksum=True).compress(data)
    ),
    "lz4": lambda data: bytes(lz4.frame.compress(data, content_checksum=True)),
    "zip": zipped,
    "zip, bzip2": lambda data: zipped(data, method=zipfile.ZIP_BZIP2),
    "zip, lzma": lambda data: zipped(data, method=zipfile.ZIP_LZMA),
    "sqlite": sqlite_file,
    "sqlite, UTF-16": lambda data: sqlite_file(data, encoding="UTF-16le"),
    "pdf": pdf,
    "tar of gzip": lambda data: tarred(gzip.compress(data)),
    "tar of gzip, ustar": lambda data: tarred(gzip.compress(data), form=tarfile.USTAR_FORMAT, name="d/" + "n" * 95),
    "tar of gzip, long names": lambda data: tarred(gzip.compress(data), form=tarfile.GNU_FORMAT, name="n" * 300),
    "tar of gzip, pax": lambda data: tarred(gzip.compress(data), name="ñ" * 150),
    "gzip of tar of zip": lambda data: gzip.compress(tarred(zipped(data))),
    "zip of zip stored": lambda data: zipped(zipped(data), method=zipfile.ZIP_STORED),
    "gzip of sqlite": lambda data: gzip.compress(sqlite_file(data)),
    "sqlite of gzip": lambda data: sqlite_file(b"a short note, nothing in it") and _with_blob(gzip.compress(data)),
    "zstd of pdf": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(pdf(data)),
}


def _with_blob(data: bytes) -> bytes:
    with sqlite3.connect(":memory:") as conn:
        conn.execute("CREATE TABLE attachment (name text, content blob)")
        conn.execute("INSERT INTO attachment VALUES ('a', ?)", (data,))
        conn.commit()
        return bytes(conn.serialize())


class Stored:
    """Bytes as a source."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """How many."""
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        """Some of them."""
        return self._data[offset : offset + length]


def looked_into(data: bytes, *, limits: Limits | None = None, streamed: bool = False, path: str = "") -> CopySearch:
    """Search bytes for the canary."""
    tally = Tally(Tokens({CANARY: TokenClass.CANARY}).matcher())
    spot = Spot(SPOT.copy, path or SPOT.path)
    if streamed:
        blocks = (data[at : at + 4096] for at in range(0, len(data), 4096))
        search_stream(blocks, spot, tally, limits=limits or Limits())
    else:
        search_source(Stored(data), spot, tally, limits=limits or Limits())
    return tally.result([SPOT.copy])[0]
