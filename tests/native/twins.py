"""What the compiled loops do, done slowly: by regular expressions and item by item."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_KINDS = bytes(1 if byte in LETTERS else 2 if byte in b"\r\n" else 3 if byte == 0x5C else 0 for byte in range(256))
_RUN = re.compile(b"\x01" * 12 + rb"\x01*+(?:(?:\x02{1,2}|\x03{1,4}\x01)\x01*+)*+")
_LINE = re.compile(rb"((?<=\\)[nr])|([A-Za-z0-9+/_-]+)")
_WIDE = re.compile(rb"[ -~](?:\x00[ -~]){5,}")
_DIGITS = re.compile(rb"[0-9A-Fa-f]{18,}")
_PACKED = re.compile(
    b"[" + b"".join(re.escape(bytes([byte])) for byte in range(2, 256, 4)) + b"]"
    rb"(?=[\x00-\xff][\x00\x01]\x00(?!\x00\x00\x00)[\x00-\xff]{2}[\x00-\x20]"
    b"(?:\\x00[" + b"".join(re.escape(bytes([byte])) for byte in range(0, 256, 2)) + rb"]|\x40[\x10-\xff]))",
    re.DOTALL,
)

Placed = list[tuple[int, int]]  # each byte, and where it stands; -1: nowhere


def widened(data: bytes) -> Placed:
    """The bytes of UTF-16 that are ASCII, six and more in a row."""
    found: Placed = []
    for match in _WIDE.finditer(data):
        found += [(data[at], at) for at in range(match.start(), match.end(), 2)]
        found.append((0, -1))
    return found


def letters(data: bytes) -> Placed:
    """Every run of letters of base64, lines joined."""
    found: Placed = []
    for run in _RUN.finditer(data.translate(_KINDS)):
        for line in _LINE.finditer(data[run.start() : run.end()]):
            if line[2]:
                found += [(byte, run.start() + line.start() + at) for at, byte in enumerate(line[2])]
        found += [(0x7A, -1)] * 4
    return found


def unhexed(text: bytes, shift: int) -> Placed:
    """Every run of 18 digits and more, from its digit `shift` on."""
    found: Placed = []
    for match in _DIGITS.finditer(text):
        digits = match[0][shift:]
        digits = digits[: len(digits) // 2 * 2]
        found += [(byte, match.start() + shift + 2 * at) for at, byte in enumerate(bytes.fromhex(digits.decode()))]
        found.append((0, -1))
    return found


def packed_places(data: bytes, *, step: int, block: int, bytes_max: int) -> list[int]:
    """Where the header of a packed value can stand."""
    found = []
    for match in _PACKED.finditer(data):
        start = match.start()
        header, information = struct.unpack_from("<II", data, start)
        length, raw, method = header >> 2, information & 0x3FFFFFFF, information >> 30
        room = min(bytes_max, block - start % block if block else len(data) - start)
        ratio = 256 if method else 92
        fits = (length - 8) * 4 <= raw * 3 if method == 0 else True
        if start % step == 0 and 8 < length <= room and length - 8 < raw <= (length - 8) * ratio and fits:
            found.append(start)
    return found


def hashes_as_bytes(data: bytes, *, short: bytes, long: bytes) -> list[tuple[int, int]]:
    """Where eight bytes stand behind a header: of one byte, or of one that three zeros follow."""
    found = []
    for at, byte in enumerate(data):
        first = at + 1 if byte in short else at + 4 if byte in long and data[at + 1 : at + 4] == bytes(3) else 0
        if first and first + 8 <= len(data):
            found.append((first, int.from_bytes(data[first : first + 8], "big")))
    return found


def unpack_pglz(payload: bytes, raw_bytes: int) -> bytes:
    """Undo pglz item by item."""
    out = bytearray()
    items = _items(payload)
    while len(out) < raw_bytes and (item := next(items, None)):
        if isinstance(item, bytes):
            out += item
            continue
        offset, length = item
        if not offset or offset > len(out):
            break
        for _ in range(length):
            out.append(out[-offset])
    return bytes(out[:raw_bytes])


def _items(payload: bytes) -> Iterator[bytes | tuple[int, int]]:
    at = 0
    while at < len(payload):
        control, at = payload[at], at + 1
        for bit in range(8):
            if at >= len(payload):
                return
            if not control >> bit & 1:
                yield payload[at : at + 1]
                at += 1
                continue
            size = 3 if payload[at] & 15 == 15 else 2
            if at + size > len(payload):
                return
            more = payload[at + 2] if size == 3 else 0
            yield (payload[at] & 0xF0) << 4 | payload[at + 1], (payload[at] & 15) + 3 + more
            at += size
