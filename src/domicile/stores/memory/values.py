"""Values ↔ bytes: one spelling per value, so that equal rows give equal frames and nothing else does.

A value is a tag, the length of its payload, `:` and the payload (a netstring with a type). Lists and mappings hold
values; a row is the list of its values. 1, 1.0, "1", True and Decimal("1.0") are five different values.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from domicile.errors import StoreFault

TAG_BYTES = 1


def encode(value: object) -> bytes:
    """Spell the value; raise StoreFault for a type the store doesn't know."""
    for kind, tag, write, _ in _KINDS:
        if type(value) is kind:
            payload = write(value)
            return b"%b%d:%b" % (tag, len(payload), payload)
    raise StoreFault(f"store memory holds no values of type {type(value).__name__}; convert them first")


def decode(data: bytes) -> object:
    """Read what `encode` spelt; raise StoreFault when it is anything else."""
    value, rest = _take(data)
    if rest:
        raise StoreFault("a frame is longer than its value; the stream was changed on its way")
    return value


def split(data: bytes) -> tuple[bytes | None, bytes]:
    """Cut the first whole frame off a stream: (frame, rest), or (None, data) when it isn't there yet."""
    head, colon, _ = data.partition(b":")
    if not colon:
        return None, data
    if not head[TAG_BYTES:].isdigit():
        raise StoreFault("a frame without a length; the stream was changed on its way")
    end = len(head) + 1 + int(head[TAG_BYTES:])
    return (data[:end], data[end:]) if len(data) >= end else (None, data)


def _take(data: bytes) -> tuple[object, bytes]:
    frame, rest = split(data)
    if frame is None:
        raise StoreFault("a frame is shorter than it says; the stream broke off")
    tag, payload = frame[:TAG_BYTES], frame[frame.index(b":") + 1 :]
    for _, known, _, read in _KINDS:
        if tag == known:
            try:
                return read(payload), rest
            except (ValueError, ArithmeticError, struct.error):
                raise StoreFault("a frame holds no value of its type; the stream was changed on its way") from None
    raise StoreFault("a frame of unknown type; the stream was changed on its way")


def _list(payload: bytes) -> list[object]:
    values = []
    while payload:
        value, payload = _take(payload)
        values.append(value)
    return values


def _mapping(payload: bytes) -> dict[object, object]:
    flat = _list(payload)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _interval(value: timedelta) -> bytes:
    return b"%d %d %d" % (value.days, value.seconds, value.microseconds)


def _text(value: object) -> bytes:
    return str(value).encode()


_KINDS: tuple[tuple[type, bytes, Callable[..., bytes], Callable[[bytes], object]], ...] = (
    (type(None), b"-", lambda _: b"", lambda _: None),
    (bool, b"?", lambda value: b"t" if value else b"f", lambda payload: payload == b"t"),
    (int, b"i", _text, lambda payload: int(payload.decode())),
    (str, b"s", str.encode, bytes.decode),
    (float, b"f", lambda value: struct.pack(">d", value), lambda payload: struct.unpack(">d", payload)[0]),
    (bytes, b"b", lambda value: value, lambda payload: payload),
    (Decimal, b"n", _text, lambda payload: Decimal(payload.decode())),
    (datetime, b"z", lambda value: value.isoformat().encode(), lambda data: datetime.fromisoformat(data.decode())),
    (date, b"d", lambda value: value.isoformat().encode(), lambda data: date.fromisoformat(data.decode())),
    (time, b"c", lambda value: value.isoformat().encode(), lambda data: time.fromisoformat(data.decode())),
    (timedelta, b"v", _interval, lambda data: timedelta(*map(int, data.split()))),
    (UUID, b"u", _text, lambda payload: UUID(payload.decode())),
    (list, b"l", lambda value: b"".join(map(encode, value)), _list),
    (
        dict,
        b"m",
        lambda value: b"".join(encode(key) + encode(value[key]) for key in sorted(value)),
        _mapping,
    ),
)
