"""What PostgreSQL packs: pglz undone, and the places where packed values and packed page images can stand.

Formats: `pg_lzcompress.c`, `varatt.h`, `xlogrecord.h`. What is taken for a packed value: `stores.postgres.pages`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from domicile.native.compiled import compiled
from domicile.native.patterns import Bytes, Places, whole_word

_RECORD_HEADER_BYTES = 24
_signed: Any = np.int64  # of bytes, before they are shifted
_HAS_IMAGE, _SAME_RELATION = 0x10, 0x80
# Of the first word of a packed value: compressed and inline, a length below 128 KiB, and of what it unpacks to.
_HEADER_BITS, _HEADER = np.uint64(0x00C00000FFFE0003), np.uint64(2)


def unpack_into(data: Bytes, begin: int, end: int, out: Bytes, first: int, last: int) -> tuple[int, bool]:
    """As `unpack_pglz`, into `out[first:last]`; say where what came out ends."""
    size, at = first, begin
    while at < end and size < last:
        control = data[at]
        at += 1
        for bit in range(8):
            if at >= end or size >= last:
                break
            item = data[at]
            at += 1
            if (control >> bit) & 1 == 0:
                out[size] = item
                size += 1
                continue
            if at >= end:
                return size, False
            offset = ((_signed(item) & 0xF0) << 4) | _signed(data[at])
            length = (_signed(item) & 0x0F) + 3
            at += 1
            if length == 18:  # the longest short tag: one more byte of length follows
                if at >= end:
                    return size, False
                length += _signed(data[at])
                at += 1
            if offset == 0 or offset > size - first:
                return size, False
            for _ in range(min(length, last - size)):
                out[size] = out[size - offset]
                size += 1
    return size, at >= end


@compiled(unpack_into)
def unpack_pglz(data: Bytes, out: Bytes) -> tuple[int, bool]:
    """Undo pglz into `out`, at most as much as it holds; say how much came out, and whether nothing is left over.

    What refers to a place before the beginning, or is cut off, ends it: what came out before stands. Control bytes,
    each for eight items, lowest bit first; 0 is a literal, 1 a tag of length and offset.
    """
    return unpack_into(data, 0, len(data), out, 0, len(out))


@compiled(unpack_into)
def unpack_places(
    data: Bytes, places: Places, begin: int, hopeless: int, apart: Bytes, out: Bytes, begins: Places, ends: Places
) -> tuple[int, int]:  # fmt: skip
    """Undo the values of pglz at `places[begin:]`, with `apart` behind each; say for which there was no room.

    Value n is `out[begins[n]:ends[n]]`; also say where the last one ends, with what is behind it. A value of another
    method takes no room; nor does one of more than `hopeless` bytes that begins with so many literals.
    """
    size = 0
    for number in range(begin, len(places)):
        at = places[number]
        raw = _signed(data[at + 4]) | _signed(data[at + 5]) << 8 | _signed(data[at + 6]) << 16
        if raw + len(apart) > len(out) - size:
            return number, size
        length = (_signed(data[at]) | _signed(data[at + 1]) << 8 | _signed(data[at + 2]) << 16) >> 2
        end = min(at + length, len(data))
        begins[number] = ends[number] = size
        if data[at + 7] == 0:
            matches = end - at - 8 <= hopeless
            control = at + 8
            while not matches and control < at + 8 + hopeless:
                matches = data[control] != 0
                control += 9
            if matches:
                last, _ = unpack_into(data, at + 8, end, out, size, size + raw)
                if last > size:
                    ends[number] = last
                    for step in range(len(apart)):
                        out[last + step] = apart[step]
                    size = last + len(apart)
    return len(places), size


@compiled(whole_word)
def packed_places(
    data: Bytes, begin: int, step: int, block: int, bytes_max: int, ratios: tuple[int, int], found: Places
) -> tuple[int, int]:
    """List where from `begin` on the header of a packed value can stand; say how many, and where to go on.

    Every `step` bytes are looked at; with a `block`, a value ends within its block of so many bytes. `ratios`: how many
    times its size a value of pglz, and of lz4, unpacks to at most. Conditions: those of `stores.postgres.pages`.
    """
    count, at, end = 0, begin, len(data)
    while at + 9 <= end:
        if whole_word(data, np.uint64(at)) & _HEADER_BITS != _HEADER or data[at + 6] > 0x20:
            at += step
            continue
        method = data[at + 7]
        first = data[at + 8]
        if (method != 0 or first & 1 != 0) and (method != 0x40 or first < 0x10):
            at += step
            continue
        length = (_signed(data[at]) | _signed(data[at + 1]) << 8 | _signed(data[at + 2]) << 16) >> 2
        raw = _signed(data[at + 4]) | _signed(data[at + 5]) << 8 | _signed(data[at + 6]) << 16
        if raw == 0:
            at += step
            continue
        room = min(bytes_max, block - at % block if block else end - at)
        packed = length - 8
        likely = 8 < length <= room and raw > packed
        if method == 0:
            likely = likely and packed * 4 <= raw * 3 and raw <= packed * ratios[0]
        else:
            likely = likely and raw <= packed * ratios[1]
        if likely:
            if count == len(found):
                return count, at
            found[count] = at
            count += 1
        at += step
    return count, end


@compiled()
def records_with_packed_images(
    data: Bytes, first: int, packed_flags: int, record_bytes_max: int, found: Places
) -> tuple[int, int]:
    """List the records from `first` on in which an image may be packed; say how many, and where to go on (or the end).

    A record that isn't laid out as one is listed, too, but one that ends before its headers do.
    """
    count, position, end = 0, first, len(data)
    while position + _RECORD_HEADER_BYTES <= end:
        total = (
            _signed(data[position]) | _signed(data[position + 1]) << 8 | _signed(data[position + 2]) << 16
            | _signed(data[position + 3]) << 24
        )  # fmt: skip
        if total < _RECORD_HEADER_BYTES or total > record_bytes_max:
            return count, end
        stop = min(position + total, end)
        at, rest, packed = position + _RECORD_HEADER_BYTES, _signed(0), False
        while at + rest < stop:
            kind = data[at]
            if kind == 255 or kind == 254:
                break
            if kind == 253:
                at += 3
                continue
            if kind == 252:
                at += 5
                continue
            if kind > 32 or at + 4 > stop:
                break
            flags = data[at + 1]
            rest += _signed(data[at + 2]) | _signed(data[at + 3]) << 8
            at += 4
            if flags & _HAS_IMAGE:
                if at + 5 > stop:
                    break
                rest += _signed(data[at]) | _signed(data[at + 1]) << 8
                if data[at + 4] & packed_flags:
                    packed = True
                    break
                at += 5
            at += (0 if flags & _SAME_RELATION else 12) + 4
        if packed:
            if count == len(found):
                return count, position
            found[count] = position
            count += 1
        position += (total + 7) // 8 * 8
    return count, end
