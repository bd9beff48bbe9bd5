"""What a slot's messages say of the followed tables: keys, truncations, ends of transactions.

What the engine itself writes is passed over from the line on that it writes into `domicile.pass`, as the triggers do.
That table stands in the publication for this alone; a line in it that was rolled back is not in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from domicile.errors import FeedBroken
from domicile.model import DatasetId
from domicile.stores.feed import Key
from domicile.stores.postgres.feed.moments import Moment
from domicile.stores.postgres.feed.pgoutput import (
    Begin,
    Commit,
    Delete,
    Insert,
    Relation,
    Truncate,
    Unchanged,
    Update,
    Values,
    parse,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A changed row's key; `key` None: the dataset's table, or a part of it, was emptied."""

    xid: int
    at: datetime
    dataset: DatasetId
    key: Key | None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A transaction ended here, and its changes were told. `upto` is the place in the log behind its commit."""

    xid: int
    at: datetime
    upto: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The published tables by oid: which dataset's rows each holds, and that one where the engine marks itself."""

    datasets: Mapping[int, DatasetId]
    keys: Mapping[DatasetId, tuple[str, ...]]
    passes: int


class Stream:
    """Reads the messages of one peek, from its first on; `seen` gives the transactions their whole numbers."""

    def __init__(self, tables: Tables, seen: Moment) -> None:
        self._tables = tables
        self._seen = seen
        self._places: dict[int, tuple[int, ...]] = {}
        self._begin: Begin | None = None
        self._passing = False

    def read(self, data: bytes) -> Iterator[Line | End]:
        """Say what one message means, if it means anything; FeedBroken where it does not fit what came before."""
        told = parse(data)
        match told:
            case Begin():
                if self._begin is not None:
                    raise _out_of_order()
                self._begin, self._passing = told, False
            case Commit():
                begin = self._open()
                if begin.commit != told.commit:
                    raise _out_of_order()
                self._begin = None
                yield End(xid=self._seen.whole(begin.xid), at=begin.at, upto=told.end)
            case Relation():
                self._learn(told)
            case Insert() | Update() | Delete():
                yield from self._change(told)
            case Truncate():
                yield from self._emptied(told)
            case _:
                pass

    def _open(self) -> Begin:
        if self._begin is None:
            raise _out_of_order()
        return self._begin

    def _learn(self, told: Relation) -> None:
        """Note where a table's values of the key stand."""
        if told.oid == self._tables.passes:
            return
        key = self._tables.keys[self._dataset(told.oid)]
        if not set(key) <= set(told.columns):
            raise FeedBroken(
                f"{self._dataset(told.oid)}: the slot does not tell the columns of its key; give the run up and begin "
                "again"
            )
        self._places[told.oid] = tuple(told.columns.index(name) for name in key)

    def _change(self, told: Insert | Update | Delete) -> Iterator[Line]:
        self._open()
        if told.relation == self._tables.passes:
            self._passing = self._passing or isinstance(told, Insert)
            return
        if self._passing:
            return
        old = None if isinstance(told, Insert) or told.old is None else self._key(told.relation, told.old, None)
        new = None if isinstance(told, Delete) else self._key(told.relation, told.new, old)
        for key in dict.fromkeys(key for key in (old, new) if key is not None):
            yield self._line(told.relation, key)

    def _key(self, relation: int, values: Values, before: Key | None) -> Key:
        """The key among a row's values; one that is not sent is as it was before."""
        places = self._places.get(relation)
        if places is None:
            raise _out_of_order()
        return tuple(
            self._value(relation, values, place, None if before is None else before[number])
            for number, place in enumerate(places)
        )

    def _value(self, relation: int, values: Values, place: int, before: str | None) -> str:
        if place >= len(values):
            raise _out_of_order()
        value = values[place]
        if isinstance(value, Unchanged):
            value = before
        if value is None:
            raise FeedBroken(
                f"{self._dataset(relation)}: the slot tells a change without its key; was the table's replica identity "
                "another for a while? Give the run up and begin again"
            )
        return value

    def _emptied(self, told: Truncate) -> Iterator[Line]:
        self._open()
        for relation in told.relations:
            if relation != self._tables.passes:
                yield self._line(relation, None)

    def _line(self, relation: int, key: Key | None) -> Line:
        begin = self._open()
        return Line(xid=self._seen.whole(begin.xid), at=begin.at, dataset=self._dataset(relation), key=key)

    def _dataset(self, relation: int) -> DatasetId:
        found = self._tables.datasets.get(relation)
        if found is None:
            raise FeedBroken(
                f"the slot tells changes of a table (oid {relation}) that is not followed: somebody changed the "
                "publication; give the run up and begin again"
            )
        return found


def _out_of_order() -> FeedBroken:
    return FeedBroken("the slot's messages come in no order that pgoutput has; give the run up and begin again")
