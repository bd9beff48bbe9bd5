"""What a file or stream is, by its first bytes; and which kinds nobody opens here, with the reason. Pure."""

from __future__ import annotations

import lzma
import re
import zlib
from enum import StrEnum

from domicile.stores.postgres.walpages import read_page_header

HEAD_BYTES = 8192  # a page of WAL
PROBE_BYTES_MIN = 32
_TAR_AT = 257
_TAR_HEADER_BYTES = 512
_DUMP_FORMAT_AT = 10
_DUMP_CUSTOM = 1  # 3 is tar's table of contents, 5 a directory's: neither is packed


class Kind(StrEnum):
    """A kind that is opened; its value is how a gap names it."""

    GZIP = "a gzip file"
    BZIP2 = "a bzip2 file"
    XZ = "an xz file"
    LZMA = "an lzma file"
    ZLIB = "a zlib stream"
    ZSTD = "a zstd file"
    LZ4 = "an lz4 file"
    ZIP = "a zip file"
    TAR = "a tar"
    SQLITE = "a SQLite database"
    PDF = "a PDF"
    DUMP = "a dump of PostgreSQL"
    PARQUET = "a Parquet file"
    ORC = "an ORC file"
    ARROW = "an Arrow file"
    WAL = "a WAL segment"


_MAGICS = (
    (re.compile(rb"\x1f\x8b\x08"), Kind.GZIP),
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), Kind.BZIP2),
    (re.compile(rb"\xfd7zXZ\x00"), Kind.XZ),
    (re.compile(rb"\x28\xb5\x2f\xfd"), Kind.ZSTD),
    (re.compile(rb"[\x50-\x5f]\x2a\x4d\x18"), Kind.ZSTD),  # a frame to skip, as pzstd writes first
    (re.compile(rb"\x04\x22\x4d\x18"), Kind.LZ4),
    (re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)"), Kind.ZIP),
    (re.compile(rb"SQLite format 3\x00"), Kind.SQLITE),
    (re.compile(rb"%PDF-"), Kind.PDF),
    (re.compile(rb"PAR1(?:[\x00-\x1f]|..\x00\x00)", re.DOTALL), Kind.PARQUET),
    (re.compile(rb"ORC[\x00-\x1f\x80-\xff]"), Kind.ORC),
    (re.compile(rb"ARROW1\x00\x00"), Kind.ARROW),
)
_SEALED = (
    (re.compile(rb"PARE(?:[\x00-\x1f]|..\x00\x00)", re.DOTALL), "an encrypted Parquet file"),
    (re.compile(rb"Obj\x01"), "an Avro file: its blocks may be packed"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7z file: nothing here opens it"),
    (re.compile(rb"Rar!\x1a\x07"), "a rar file: nothing here opens it"),
    (re.compile(rb"\x1f\x9d[\x09-\x10\x89-\x90]"), "a file of compress: nothing here opens it"),
    (re.compile(rb"LZIP\x01"), "an lzip file: nothing here opens it"),
    (re.compile(rb"\x89LZO\x00\r\n"), "an lzop file: nothing here opens it"),
    (re.compile(rb"\x02\x21\x4c\x18"), "an lz4 file of the former format: nothing here opens it"),
    (re.compile(rb"\xff\x06\x00\x00sNaPpY"), "a snappy file: nothing here opens it"),
    (re.compile(rb"Salted__"), "a file that openssl encrypted"),
    (re.compile(rb"age-encryption\.org/"), "a file that age encrypted"),
    (re.compile(rb"-----BEGIN PGP MESSAGE-----"), "a file that PGP encrypted"),
    (re.compile(rb"0[\x80-\x88].{0,8}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", re.DOTALL), "encrypted as CMS"),
    (re.compile(rb"LUKS\xba\xbe"), "an encrypted disk"),
)  # fmt: skip


def sniff(head: bytes) -> Kind | None:
    """Say what something is that begins with `head` (up to HEAD_BYTES of it); None for anything else."""
    for magic, kind in _MAGICS:
        if magic.match(head):
            return kind
    if head.startswith(b"PGDMP") and head[_DUMP_FORMAT_AT : _DUMP_FORMAT_AT + 1] == bytes([_DUMP_CUSTOM]):
        return Kind.DUMP
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar" or is_tar_header(head[:_TAR_HEADER_BYTES]):
        return Kind.TAR
    if len(head) == HEAD_BYTES and read_page_header(head):
        return Kind.WAL
    return _probed(head)


def sealed(head: bytes) -> str | None:
    """Say why something that begins with `head` can't be opened; None for anything else."""
    return next((why for magic, why in _SEALED if magic.match(head)), None)


def is_tar_header(block: bytes) -> bool:
    """Whether these 512 bytes are the header of a tar's member: its checksum fits (POSIX pax, ustar)."""
    if len(block) != _TAR_HEADER_BYTES or not any(block[:_TAR_AT]):
        return False
    said = block[148:156].strip(b" \0")
    if not re.fullmatch(rb"[0-7]{1,7}", said):
        return False
    return int(said, 8) == sum(block) - sum(block[148:156]) + 8 * 0x20


def _probed(head: bytes) -> Kind | None:
    """Two kinds have no magic worth the name: they are what can be unpacked as such."""
    if head[:1] == b"\x78" and len(head) > 2 and int.from_bytes(head[:2], "big") % 31 == 0:
        return Kind.ZLIB if _unpacks(head, zlib.decompressobj(), zlib.error) else None
    if head[:3] == b"\x5d\x00\x00" and len(head) > 13:
        return Kind.LZMA if _unpacks(head, lzma.LZMADecompressor(lzma.FORMAT_ALONE), lzma.LZMAError) else None
    return None


def _unpacks(head: bytes, way: zlib._Decompress | lzma.LZMADecompressor, fault: type[Exception]) -> bool:
    try:
        return len(way.decompress(head, PROBE_BYTES_MIN)) >= PROBE_BYTES_MIN
    except (fault, EOFError, MemoryError):
        return False
