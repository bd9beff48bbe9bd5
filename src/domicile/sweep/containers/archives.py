"""Archives of files: tar as a stream, zip by its directory. Names of members lie in the bytes that are searched anyway.

Formats: POSIX.1-2017 `pax` (ustar and pax headers), the GNU tar manual (base-256 sizes, sparse members), APPNOTE.TXT.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from domicile.sweep.containers.kinds import Kind, is_tar_header
from domicile.sweep.containers.opening import Opening, Reader, part
from domicile.sweep.containers.streams import FAULTS, IN_BYTES, Damaged

BLOCK_BYTES = 512
HEADER_BYTES_MAX = 1024 * 1024
ZIP_DIRECTORY_BYTES_MAX = 32 * 1024 * 1024  # read as a whole, and about ten times as large then
ZIP_END_BYTES = 22 + 65535
ZIP_STEP_BYTES = 4096  # of bzip2 and lzma, whose output the library doesn't bound: at most some 80 MB for each step
_PAX_SIZE = re.compile(rb"(?:^|\n)\d{1,7} size=(\d{1,18})\n")
_SIZED = b"\x00\x30\x37\x53\x44\x4d"  # regular files, those of GNU (sparse, listing, continued)
_HEADERS = b"\x78\x67\x4c\x4b\x58"  # pax, pax for all, long name, long link, Solaris' pax


def open_tar(opening: Opening, reader: Reader, depth: int) -> None:
    """Look into every member of a tar."""
    ended, size_told = False, None
    while header := reader.exactly(BLOCK_BYTES):
        if not any(header):
            ended = True
            continue
        if not is_tar_header(header):
            raise Damaged("damaged (a member's header)")
        opening.member()
        kind, size = header[156:157], _size(header[124:136]) if size_told is None else size_told
        if kind in {b"%c" % byte for byte in _HEADERS}:
            size_told = _told(reader, size, is_pax=kind in {b"x", b"X"})
            continue
        size_told = None
        more = header[482] if kind == b"S" else 0
        while more:
            more = (reader.exactly(BLOCK_BYTES) or bytes(BLOCK_BYTES))[504:505] not in {b"", b"\0"}
        if kind and kind in {b"%c" % byte for byte in _SIZED}:
            _member(opening, reader, size, depth)
    if not ended:
        raise Damaged("cut off")


def _member(opening: Opening, reader: Reader, size: int, depth: int) -> None:
    member = Reader(part(reader, size))
    opening.inside(member, depth + 1)
    member.drain()
    _pad(reader, size)


def _told(reader: Reader, size: int, *, is_pax: bool) -> int | None:
    """Read a header in front of a member: the size that it tells, or None."""
    if size > HEADER_BYTES_MAX:
        raise Damaged("damaged (a header larger than any)")
    found = _PAX_SIZE.search(reader.exactly(size))
    _pad(reader, size)
    return int(found[1]) if found and is_pax else None


def _pad(reader: Reader, size: int) -> None:
    padding = -size % BLOCK_BYTES
    if len(reader.exactly(padding)) < padding:
        raise Damaged("cut off")


def _size(digits: bytes) -> int:
    if digits[0] & 0x80:  # GNU: base 256
        return int.from_bytes(digits[1:], "big")
    said = digits.strip(b" \0")
    if not re.fullmatch(rb"[0-7]{0,12}", said):
        raise Damaged("damaged (a member's size)")
    return int(said or b"0", 8)


def open_zip(opening: Opening, file: BinaryIO, depth: int) -> None:
    """Look into every member of a zip's directory."""
    try:
        if _directory_bytes(file) > ZIP_DIRECTORY_BYTES_MAX:
            raise Damaged("has a larger directory than is read")
        archive = zipfile.ZipFile(file)
        members = archive.infolist()
    except FAULTS as fault:
        raise Damaged(f"damaged ({type(fault).__name__})") from None
    for member in members:
        opening.member()
        if member.flag_bits & 1:
            opening.gap(Kind.ZIP, "holds an encrypted member")
        else:
            opening.content(Kind.ZIP, _unzipped(archive, member), depth + 1)


def _unzipped(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    step = IN_BYTES if member.compress_type in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} else ZIP_STEP_BYTES
    try:
        with archive.open(member) as handle:
            while block := handle.read(step):
                yield block
    except NotImplementedError:
        raise Damaged("holds a member packed in a way that nothing here unpacks") from None
    except FAULTS as fault:
        raise Damaged(f"holds a damaged member ({type(fault).__name__})") from None


def _directory_bytes(file: BinaryIO) -> int:
    """Read from the end of a zip how large its directory is (APPNOTE 4.3.14 to 4.3.16)."""
    size = file.seek(0, 2)
    base = file.seek(max(size - ZIP_END_BYTES - 20, 0))
    tail = file.read(ZIP_END_BYTES + 20)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        return 0  # none: the library says what is wrong
    told = int.from_bytes(tail[end + 12 : end + 16], "little")
    locator = tail[max(end - 20, 0) : end]
    if told < 0xFFFFFFFF or not locator.startswith(b"PK\x06\x07"):
        return told
    file.seek(min(int.from_bytes(locator[8:16], "little"), base + end))
    return int.from_bytes(file.read(56)[40:48], "little")
