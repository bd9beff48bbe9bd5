"""How a stored value is unpacked without the server: pglz and LZ4, also when its tail is damaged.

The formats are those of PostgreSQL's `src/common/pg_lzcompress.c` and of the LZ4 block specification. A whole LZ4
block goes through the `lz4` package; what is damaged goes through our own decoder, which gives the bytes up to the
damage: a half-overwritten value still tells what its first half said, and no library offers that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import lz4.block
import numpy as np

from domicile.native import packed

RAW_BYTES_MAX = 256 * 1024 * 1024
PGLZ_RATIO_MAX = 92  # a tag of 3 bytes and its control bit stand for at most 273 bytes
# `first_success_by` of PGLZ_strategy_default is 1,024: no value is kept packed of which so many bytes hold no match.
PGLZ_FIRST_MATCH_BYTES_MAX = 1024 + 9  # and what is written between two looks: a control byte and its eight items
LZ4_RATIO_MAX = 256  # one length byte stands for at most 255 bytes


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
    if len(payload) > PGLZ_FIRST_MATCH_BYTES_MAX and not any(payload[:PGLZ_FIRST_MATCH_BYTES_MAX:9]):
        return Unpacked(b"", whole=False)  # the server would have given up: small numbers look like that
    return unpack_pglz(payload, raw_bytes)


def plausible(method: int, payload_bytes: int, raw_bytes: int) -> bool:
    """Whether a value of these sizes can exist: smaller when packed, and within the method's best ratio."""
    if not payload_bytes or raw_bytes <= payload_bytes:
        return False
    if method == Method.PGLZ:  # its default strategy keeps nothing that saves less than a quarter
        return payload_bytes * 4 <= raw_bytes * 3 and raw_bytes <= payload_bytes * PGLZ_RATIO_MAX
    return method == Method.LZ4 and raw_bytes <= payload_bytes * LZ4_RATIO_MAX


def unpack_pglz(payload: bytes, raw_bytes: int) -> Unpacked:
    """Unpack pglz (`native.packed`)."""
    out = np.empty(min(raw_bytes, len(payload) * PGLZ_RATIO_MAX), np.uint8)
    size, emptied = packed.unpack_pglz(np.frombuffer(payload, np.uint8), out)
    return Unpacked(out[:size].tobytes(), whole=emptied and size == raw_bytes)


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
