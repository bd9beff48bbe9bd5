"""The messages of a slot: written by hand as the manual has them, read back; and whatever else comes, one error."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from domicile.errors import FeedBroken
from domicile.model import DatasetId
from domicile.stores.postgres.feed.moments import moment
from domicile.stores.postgres.feed.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    Message,
    Origin,
    Relation,
    Told,
    Truncate,
    Type,
    Unchanged,
    Update,
    Values,
    parse,
)
from domicile.stores.postgres.feed.stream import Stream, Tables

START = datetime(2000, 1, 1, tzinfo=UTC)
texts = some.text(some.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
places = some.integers(0, 2**64 - 1)
oids = some.integers(0, 2**32 - 1)
times = some.integers(0, 10**15).map(lambda us: START + timedelta(microseconds=us))
rows = some.lists(some.one_of(some.none(), some.just(UNCHANGED), texts), max_size=5).map(tuple)
messages = some.one_of(
    some.builds(Begin, commit=places, at=times, xid=oids),
    some.builds(Commit, commit=places, end=places, at=times),
    some.builds(Origin, commit=places, name=texts),
    some.builds(
        Relation, oid=oids, schema=texts, name=texts, identity=some.sampled_from("dnfi"),
        columns=some.lists(texts, max_size=5).map(tuple),
    ),
    some.builds(Type, oid=oids, schema=texts, name=texts),
    some.builds(Insert, relation=oids, new=rows),
    some.builds(Update, relation=oids, old=some.none() | rows, new=rows),
    some.builds(Delete, relation=oids, old=rows),
    some.builds(Truncate, relations=some.lists(oids, max_size=4).map(tuple)),
    some.builds(Message, transactional=some.booleans(), at=places, prefix=texts, bytes=some.integers(0, 40)),
)  # fmt: skip


def written(told: Told) -> bytes:
    """The bytes that the server sends, by the manual."""
    match told:
        case Begin():
            return b"B" + struct.pack("!QqI", told.commit, _us(told.at), told.xid)
        case Commit():
            return b"C\0" + struct.pack("!QQq", told.commit, told.end, _us(told.at))
        case Origin():
            return b"O" + struct.pack("!Q", told.commit) + _name(told.name)
        case Relation():
            names = b"".join(b"\1" + _name(name) + struct.pack("!Ii", 23, -1) for name in told.columns)
            head = struct.pack("!I", told.oid) + _name(told.schema) + _name(told.name) + told.identity.encode()
            return b"R" + head + struct.pack("!h", len(told.columns)) + names
        case Type():
            return b"Y" + struct.pack("!I", told.oid) + _name(told.schema) + _name(told.name)
        case Insert():
            return b"I" + struct.pack("!I", told.relation) + b"N" + _row(told.new)
        case Update():
            old = b"" if told.old is None else b"K" + _row(told.old)
            return b"U" + struct.pack("!I", told.relation) + old + b"N" + _row(told.new)
        case Delete():
            return b"D" + struct.pack("!I", told.relation) + b"O" + _row(told.old)
        case Truncate():
            return b"T" + struct.pack("!ib", len(told.relations), 3) + struct.pack(f"!{len(told.relations)}I", *told.relations)
        case Message():
            head = struct.pack("!bQ", told.transactional, told.at) + _name(told.prefix)
            return b"M" + head + struct.pack("!i", told.bytes) + bytes(told.bytes)


def _us(at: datetime) -> int:
    return (at - START) // timedelta(microseconds=1)


def _name(text: str) -> bytes:
    return text.encode() + b"\0"


def _row(values: Values) -> bytes:
    return struct.pack("!h", len(values)) + b"".join(map(_value, values))


def _value(value: str | Unchanged | None) -> bytes:
    if isinstance(value, str):
        return b"t" + struct.pack("!i", len(value.encode())) + value.encode()
    return b"n" if value is None else b"u"


@given(messages)
def test_what_is_written_is_read(told: Told) -> None:
    assert told == parse(written(told))


@given(messages, some.data())
def test_a_message_that_is_cut_or_goes_on_is_refused(told: Told, data: some.DataObject) -> None:
    whole = written(told)
    short = whole[: data.draw(some.integers(0, len(whole) - 1))]
    for other in (short, whole + b"\0"):
        with pytest.raises(FeedBroken):
            parse(other)


@given(some.lists(some.one_of(some.binary(max_size=60), messages.map(written)), max_size=6))
def test_any_bytes_give_messages_or_one_error(pieces: list[bytes]) -> None:
    tables = Tables(datasets={1: DatasetId("a.b.c")}, keys={DatasetId("a.b.c"): ("id",)}, passes=2)
    stream = Stream(tables, moment("10:10:"))
    try:
        for piece in pieces:
            list(stream.read(piece))
    except FeedBroken as broken:
        assert "give the run up" in str(broken)


@given(messages, some.integers(0, 10_000), some.integers(1, 255))
def test_a_byte_that_is_flipped_gives_a_message_or_one_error(told: Told, place: int, flip: int) -> None:
    data = bytearray(written(told))
    data[place % len(data)] ^= flip
    try:
        parse(bytes(data))
    except FeedBroken:
        pass


@given(some.integers(3, 2**40), some.integers(-(2**31) + 1, 2**31 - 1))
def test_a_number_without_epoch_is_the_one_next_to_the_snapshot(following: int, distance: int) -> None:
    xid = following + distance
    if xid < 3:
        return
    assert xid == moment(f"{following}:{following}:").whole(xid % 2**32)


def test_a_snapshot_shows_what_was_decided_before_it() -> None:
    seen = moment("100:105:101,103")
    assert [True, True, False, True, False, True, False, False] == [
        seen.shows(xid) for xid in (99, 100, 101, 102, 103, 104, 105, 106)
    ]


def test_a_key_that_is_not_sent_is_as_it_was() -> None:
    tables = Tables(datasets={1: DatasetId("a.b.c")}, keys={DatasetId("a.b.c"): ("id",)}, passes=2)
    stream = Stream(tables, moment("10:10:"))
    told = [
        Begin(commit=9, at=START, xid=5),
        Relation(oid=1, schema="b", name="c", identity="d", columns=("body", "id")),
        Update(relation=1, old=(None, "long"), new=("x", UNCHANGED)),
    ]
    (line,) = [line for one in told for line in stream.read(written(one))]
    assert ("long",) == line.key  # type: ignore[union-attr]
    with pytest.raises(FeedBroken, match="without its key"):
        list(stream.read(written(Update(relation=1, old=None, new=("x", UNCHANGED)))))
    with pytest.raises(FeedBroken, match="not followed"):
        list(stream.read(written(Relation(oid=3, schema="b", name="d", identity="d", columns=("id",)))))
