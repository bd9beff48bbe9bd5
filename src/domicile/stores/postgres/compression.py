"""How a stored value is unpacked without the server: pglz and LZ4, also when its tail is damaged.

The formats are those of PostgreSQL's `src/common/pg_lzcompress.c` and of the LZ4 block specification. A whole LZ4
block goes through the `lz4` package; what is damaged goes through our own decoder, which gives the bytes up to the
damage: a half-overwritten value still tells what its first half said, and no library offers that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import lz4.block

RAW_BYTES_MAX = 256 * 1024 * 1024
PGLZ_RATIO_MAX = 92  # a tag of 3 bytes and its control bit stand for at most 273 bytes
# `first_success_by` of PGLZ_strategy_default is 1,024: no value is kept packed of which so many bytes hold no match.
PGLZ_FIRST_MATCH_BYTES_MAX = 1024 + 9  # and what is written between two looks: a control byte and its eight items
KNOWN_PAYLOAD_BYTES_MAX = 16 * 1024
KNOWN_BYTES_MAX = 64 * 1024 * 1024
LZ4_RATIO_MAX = 256  # one length byte stands for at most 255 bytes


class _Known:
    """What small pglz values held, within a bound of memory.

    A server's own catalogues are the same in each of its databases, thousands of packed values in each; and pglz is
    unpacked item by item.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[bytes, int], Unpacked] = {}
        self._bytes = 0

    def unpack(self, payload: bytes, raw_bytes: int) -> Unpacked:
        known = self._found.get((payload, raw_bytes))
        if known is not None:
            return known
        unpacked = unpack_pglz(payload, raw_bytes)
        self._bytes += len(payload) + len(unpacked.data)
        if self._bytes > KNOWN_BYTES_MAX:
            self._found, self._bytes = {}, len(payload) + len(unpacked.data)
        self._found[payload, raw_bytes] = unpacked
        return unpacked


_KNOWN = _Known()


class Method(IntEnum):
    """The two bits of `va_tcinfo` that name the compression (`varatt.h`)."""

    PGLZ = 0
    LZ4 = 1


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came out, and whether it is the whole value."""

    data: bytes
    whole: bool


def unpack(method: Method, payload: bytes, raw_bytes: int) -> Unpacked:
    """Unpack one value of `raw_bytes`; on damage give what stands before it and say that it isn't whole."""
    if method is not Method.PGLZ:
        return unpack_lz4(payload, raw_bytes)
    if _never_matches(payload):
        return Unpacked(b"", whole=False)
    if len(payload) > KNOWN_PAYLOAD_BYTES_MAX:
        return unpack_pglz(payload, raw_bytes)
    return _KNOWN.unpack(payload, raw_bytes)


def _never_matches(payload: bytes) -> bool:
    """Whether this begins with so many literals that the server would have given up: small numbers look like that."""
    return len(payload) > PGLZ_FIRST_MATCH_BYTES_MAX and not any(payload[:PGLZ_FIRST_MATCH_BYTES_MAX:9])


def plausible(method: int, payload_bytes: int, raw_bytes: int) -> bool:
    """Whether a value of these sizes can exist: smaller when packed, and within the method's best ratio."""
    if not payload_bytes or raw_bytes <= payload_bytes:
        return False
    if method == Method.PGLZ:  # its default strategy keeps nothing that saves less than a quarter
        return payload_bytes * 4 <= raw_bytes * 3 and raw_bytes <= payload_bytes * PGLZ_RATIO_MAX
    return method == Method.LZ4 and raw_bytes <= payload_bytes * LZ4_RATIO_MAX


def unpack_pglz(payload: bytes, raw_bytes: int) -> Unpacked:  # noqa: C901 - one loop: calls cost threefold
    """Unpack pglz: control bytes, each for eight items, lowest bit first; 0 is a literal, 1 a (length, offset) tag."""
    out = bytearray()
    append = out.append
    position, end = 0, len(payload)
    try:
        while position < end and len(out) < raw_bytes:
            control = payload[position]
            position += 1
            if not control:
                out += payload[position : position + 8]
                position += 8
                continue
            for _ in range(8):
                if position >= end:
                    break
                first = payload[position]
                position += 1
                if control & 1:
                    offset = ((first & 0xF0) << 4) | payload[position]
                    length = (first & 0x0F) + 3
                    position += 1
                    if length == 18:  # the longest short tag: one more byte of length follows
                        length += payload[position]
                        position += 1
                    start = len(out) - offset
                    if start < 0 or not offset:
                        return Unpacked(bytes(out[:raw_bytes]), whole=False)
                    if offset >= length:
                        out += out[start : start + length]
                    else:
                        out += (out[start:] * (length // offset + 1))[:length]
                    if len(out) >= raw_bytes:
                        break
                else:
                    append(first)
                control >>= 1
    except IndexError:  # a tag cut off by the end
        return Unpacked(bytes(out[:raw_bytes]), whole=False)
    return Unpacked(bytes(out[:raw_bytes]), whole=len(out) >= raw_bytes and position >= end)


def _repeat(out: bytearray, offset: int, length: int) -> bool:
    """Append `length` bytes from `offset` bytes back, which may overlap what is appended; False when it can't."""
    start = len(out) - offset
    if offset == 0 or start < 0:
        return False
    if offset >= length:
        out += out[start : start + length]
    else:
        out += (out[start:] * (length // offset + 1))[:length]
    return True


def unpack_lz4(payload: bytes, raw_bytes: int) -> Unpacked:
    """Unpack one LZ4 block."""
    try:
        data = bytes(lz4.block.decompress(payload, uncompressed_size=raw_bytes))
    except (lz4.block.LZ4BlockError, ValueError, MemoryError, OverflowError):
        return _unpack_lz4_prefix(payload, raw_bytes)
    return Unpacked(data, whole=len(data) == raw_bytes)


def _unpack_lz4_prefix(payload: bytes, raw_bytes: int) -> Unpacked:
    """Unpack an LZ4 block sequence by sequence until it ends or makes no sense."""
    out = bytearray()
    position = 0
    while position < len(payload) and len(out) < raw_bytes:
        token = payload[position]
        literals, position = _length(payload, position + 1, token >> 4)
        out += payload[position : position + literals]
        position += literals
        if position + 2 > len(payload):
            break
        offset = int.from_bytes(payload[position : position + 2], "little")
        length, position = _length(payload, position + 2, token & 15)
        if not _repeat(out, offset, min(length + 4, raw_bytes)):
            break
    return Unpacked(bytes(out[:raw_bytes]), whole=False)


def _length(payload: bytes, position: int, nibble: int) -> tuple[int, int]:
    """Read an LZ4 length: a nibble, continued in bytes while they are 255."""
    length = nibble
    if nibble == 15:  # the nibble that says "more bytes follow"
        while position < len(payload):
            length += payload[position]
            position += 1
            if payload[position - 1] != 255:  # as above
                break
    return length, position
