"""The messages of PostgreSQL's output plugin `pgoutput`, protocol version 1, as values.

Format: the PostgreSQL manual, "Logical Replication Message Formats". Only what version 1 can send stands here: no
streamed and no two-phase transactions. Every length is held against the bytes that are there, a message must be read
to its last byte, and whatever else comes is `FeedBroken`. No error holds a value of a row (P8).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from domicile.errors import FeedBroken

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
COLUMNS_MAX: Final = 1_664
RELATIONS_MAX: Final = 1_000_000
NAME_BYTES_MAX: Final = 1_024


class Unchanged:
    """A value that lies outside the row, did not change, and is not sent."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()
Values = tuple[str | Unchanged | None, ...]
"""A row's values as texts, None for null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A transaction whose commit stands at `commit`, at that time; `xid` lacks the epoch."""

    commit: int
    at: datetime
    xid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The end of the transaction. Whoever has it goes on at `end`."""

    commit: int
    end: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a replicated transaction was first committed."""

    commit: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table, as it was at this place of the log; its rows follow with its oid and their values in this order."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A type that is not the server's own."""

    oid: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """A new row."""

    relation: int
    new: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A changed row. `old` is there where its identity changed, or is the whole row; beside a mere key all is null."""

    relation: int
    old: Values | None
    new: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """A row that is gone: its key, or the whole of it."""

    relation: int
    old: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate:
    """Tables that were emptied."""

    relations: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody wrote into the log with `pg_logical_emit_message`; its content is passed over."""

    transactional: bool
    at: int
    prefix: str
    bytes: int


Told = Begin | Commit | Origin | Relation | Type | Insert | Update | Delete | Truncate | Message


def parse(data: bytes) -> Told:
    """Read one message; FeedBroken is all that can come out of other bytes."""
    reader = _Reader(data)
    read = _KINDS.get(reader.byte())
    if read is None:
        raise _strange("a message of a kind that version 1 does not know")
    told = read(reader)
    reader.end()
    return told


class _Reader:
    """Reads forward, never past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        if size < 0 or size > len(self._data) - self._at:
            raise _strange("a message ends before its time")
        self._at += size
        return self._data[self._at - size : self._at]

    def byte(self) -> bytes:
        return self.take(1)

    def number(self, form: str) -> int:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(value)

    def count(self, form: str, most: int) -> int:
        value = self.number(form)
        if not 0 <= value <= most:
            raise _strange("a number of things that can't be")
        return value

    def time(self) -> datetime:
        microseconds = self.number("!q")
        try:
            return EPOCH + timedelta(microseconds=microseconds)
        except OverflowError:
            raise _strange("a time that can't be") from None

    def name(self) -> str:
        end = self._data.find(b"\0", self._at, self._at + NAME_BYTES_MAX)
        if end < 0:
            raise _strange("a name without end")
        text = _text(self.take(end - self._at))
        self.take(1)
        return text

    def values(self) -> Values:
        return tuple(self._value() for _ in range(self.count("!h", COLUMNS_MAX)))

    def _value(self) -> str | Unchanged | None:
        kind = self.byte()
        if kind == b"t":
            return _text(self.take(self.number("!i")))
        if kind == b"n":
            return None
        if kind == b"u":
            return UNCHANGED
        raise _strange("a value of a kind that was not asked for")

    def end(self) -> None:
        if self._at != len(self._data):
            raise _strange("a message goes on after its end")


def _begin(reader: _Reader) -> Begin:
    return Begin(commit=reader.number("!Q"), at=reader.time(), xid=reader.number("!I"))


def _commit(reader: _Reader) -> Commit:
    if reader.byte() != b"\0":
        raise _strange("a commit with flags")
    return Commit(commit=reader.number("!Q"), end=reader.number("!Q"), at=reader.time())


def _origin(reader: _Reader) -> Origin:
    return Origin(commit=reader.number("!Q"), name=reader.name())


def _relation(reader: _Reader) -> Relation:
    oid, schema, name = reader.number("!I"), reader.name(), reader.name()
    identity = _text(reader.byte())
    columns = tuple(_column(reader) for _ in range(reader.count("!h", COLUMNS_MAX)))
    return Relation(oid=oid, schema=schema, name=name, identity=identity, columns=columns)


def _column(reader: _Reader) -> str:
    reader.byte()  # 1: of the key
    name = reader.name()
    reader.take(8)  # type and its modifier
    return name


def _type(reader: _Reader) -> Type:
    return Type(oid=reader.number("!I"), schema=reader.name(), name=reader.name())


def _insert(reader: _Reader) -> Insert:
    relation = reader.number("!I")
    _expect(reader.byte(), b"N")
    return Insert(relation=relation, new=reader.values())


def _update(reader: _Reader) -> Update:
    relation, old, kind = reader.number("!I"), None, reader.byte()
    if kind in (b"K", b"O"):
        old, kind = reader.values(), reader.byte()
    _expect(kind, b"N")
    return Update(relation=relation, old=old, new=reader.values())


def _delete(reader: _Reader) -> Delete:
    relation = reader.number("!I")
    _expect(reader.byte(), b"K", b"O")
    return Delete(relation=relation, old=reader.values())


def _truncate(reader: _Reader) -> Truncate:
    count = reader.count("!i", RELATIONS_MAX)
    reader.byte()  # CASCADE, RESTART IDENTITY
    return Truncate(relations=tuple(reader.number("!I") for _ in range(count)))


def _message(reader: _Reader) -> Message:
    flags, at, prefix = reader.byte(), reader.number("!Q"), reader.name()
    size = reader.number("!i")
    reader.take(size)
    return Message(transactional=flags == b"\1", at=at, prefix=prefix, bytes=size)


_KINDS: Final[dict[bytes, Callable[[_Reader], Told]]] = {
    b"B": _begin, b"C": _commit, b"O": _origin, b"R": _relation, b"Y": _type, b"I": _insert, b"U": _update,
    b"D": _delete, b"T": _truncate, b"M": _message,
}  # fmt: skip


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _strange("a text that is not in UTF-8") from None


def _expect(found: bytes, *wanted: bytes) -> None:
    if found not in wanted:
        raise _strange("a row without its mark")


def _strange(what: str) -> FeedBroken:
    return FeedBroken(
        f"the slot's messages are not what pgoutput's version 1 sends: {what}; give the run up, and begin again with "
        "the feed of triggers"
    )
