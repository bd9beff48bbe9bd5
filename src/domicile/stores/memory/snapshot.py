"""The reads of one moment: slices in manifest order, hashed on the way; leaves, single rows, strays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import blake3

from domicile.catalogue import Column
from domicile.model import Blank, DatasetScope, Digest, Form, Home, Outside, Scope, Slice, SliceId
from domicile.proof import Measure
from domicile.stores import LEAF_ROWS, Reading, Sink
from domicile.stores.memory.closure import EVERY_HOME, Line
from domicile.stores.memory.faults import Faults
from domicile.stores.memory.manifest import lines_of
from domicile.stores.memory.rows import Row, Rows, identity, key_text
from domicile.stores.memory.values import encode

PURPOSE: Final = b"domicile memory slice v1\x00"
TOKEN_PURPOSE: Final = b"domicile memory token v1\x00"
TOKEN_DIGITS: Final = 32
INTEGERS: Final = frozenset({"smallint", "integer", "bigint"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The secrets of a store: one for digests, and at the source one for stand-ins."""

    digest: bytes
    token: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySnapshot:
    """A view of one moment of a store, source or home."""

    scope: Scope
    lines: tuple[Line, ...]
    moment: Rows
    keys: Keys
    version: int
    faults: Faults

    def read(self, piece: Slice, sink: Sink, *, at_home: bool) -> Measure:
        """Stream the slice's rows; see `domicile.stores.Snapshot.read`."""
        meter = Meter(self.keys.digest)
        for _, row in self._rows_of(piece, at_home=at_home):
            frame = encode_row(self.scope.dataset(piece.dataset), row)
            meter.add(frame)
            sink(frame)
        return meter.measure(piece.id, lie=piece.id in self.faults.flip_digest)

    def measure(self, piece: Slice, sink: Sink, *, at_home: bool) -> Reading:
        """Read the slice; the hints are its leaves."""
        return Reading(measure=self.read(piece, sink, at_home=at_home), leaves=self.leaves(piece, at_home=at_home))

    def leaves(self, piece: Slice, *, at_home: bool) -> Mapping[int, str]:
        """Hash the slice by leaves."""
        meters: dict[int, Meter] = {}
        for line, row in self._rows_of(piece, at_home=at_home):
            meter = meters.setdefault((line.n - 1) // LEAF_ROWS, Meter(self.keys.digest))
            meter.add(encode_row(self.scope.dataset(piece.dataset), row))
        return {leaf: meter.measure(piece.id).digest for leaf, meter in meters.items()}

    def rows(self, piece: Slice, leaf: int, *, at_home: bool) -> Mapping[tuple[str, ...], str]:
        """Hash each row of one leaf; equal rows of a dataset without key together."""
        dataset = self.scope.dataset(piece.dataset)
        meters: dict[tuple[str, ...], Meter] = {}
        for line, row in self._rows_of(piece, at_home=at_home):
            if (line.n - 1) // LEAF_ROWS == leaf:
                meters.setdefault(key_text(dataset, row), Meter(self.keys.digest)).add(encode_row(dataset, row))
        return {key: meter.measure(piece.id).digest for key, meter in meters.items()}

    def strays(self, dataset: DatasetScope, home: Home, *, limit: int) -> tuple[int, tuple[tuple[str, ...], ...]]:
        """Count rows that no line sends to `home`, and name the first `limit`."""
        found = [row for row in self.moment.of(dataset.table) if is_stray(dataset, home, self.lines, row)]
        return len(found), tuple(key_text(dataset, row) for row in found[:limit])

    def holds_only(self, dataset: DatasetScope, home: Home, measures: Mapping[Slice, Measure]) -> bool:  # noqa: ARG002 - as the protocol
        """Whether there is no stray."""
        return not self.strays(dataset, home, limit=1)[0]

    def position(self) -> str:
        """The number of writes so far."""
        return f"{self.version}"

    def _rows_of(self, piece: Slice, *, at_home: bool) -> Iterator[tuple[Line, Row]]:
        dataset = self.scope.dataset(piece.dataset)
        by_key: dict[bytes, list[Row]] = {}
        for row in self.moment.of(dataset.table):
            by_key.setdefault(identity(dataset, row), []).append(row)
        for line in lines_of(piece, self.lines):
            for row in by_key.get(line.key, ()):
                through_blanks = piece.form is Form.SKELETON and not at_home
                yield line, blank(dataset, row, self.keys.token) if through_blanks else row


class Meter:
    """Counts and hashes what passes: keyed BLAKE3 over a purpose tag and the frames."""

    def __init__(self, key: bytes) -> None:
        self.rows = self.bytes = 0
        self._hash = blake3.blake3(PURPOSE, key=key)

    def add(self, frame: bytes) -> None:
        """Take one row's frame."""
        self.rows += 1
        self.bytes += len(frame)
        self._hash.update(frame)

    def measure(self, piece: SliceId, *, lie: bool = False) -> Measure:
        """What passed, as a value; with `lie`, the digest of something else."""
        if lie:
            self._hash.update(b"flipped")
        return Measure(slice=piece, rows=self.rows, bytes=self.bytes, digest=Digest(self._hash.hexdigest()))


def encode_row(dataset: DatasetScope, row: Row) -> bytes:
    """One row's frame: the columns that travel, in their order."""
    return encode([row[column.name] for column in dataset.columns])


def is_stray(dataset: DatasetScope, home: Home, lines: tuple[Line, ...], row: Row) -> bool:
    """Whether no line sends the row to `home`."""
    return identity(dataset, row) not in {
        line.key for line in lines if line.dataset == dataset.id and line.part in (home, EVERY_HOME)
    }


def blank(dataset: DatasetScope, row: Row, token_key: bytes) -> Row:
    """The row's skeleton: every private column replaced by its stand-in."""
    columns = {column.name: column for column in dataset.columns}
    return {
        **row,
        **{item.column: _stand_in(dataset, item, columns[item.column], row, token_key) for item in dataset.blanks},
    }


def _stand_in(dataset: DatasetScope, item: Blank, column: Column, row: Row, token_key: bytes) -> object:
    if item.outside is Outside.NULL:
        return None
    if item.outside is Outside.LITERAL:
        return _literal(item.literal or "", column.base)
    place = f"{dataset.id}/{item.column}/".encode()
    made = blake3.blake3(TOKEN_PURPOSE + place + identity(dataset, row), key=token_key).hexdigest()
    return f"x{made[:TOKEN_DIGITS]}{item.literal or ''}"


def _literal(text: str, base: str) -> object:
    if base in INTEGERS:
        return int(text)
    return text == "true" if base == "boolean" else text
