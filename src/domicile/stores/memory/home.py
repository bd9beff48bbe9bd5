"""The side that data comes home to, in memory: every load is one effect with its mark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from domicile.catalogue import Catalogue
from domicile.errors import NotEqual, StoreFault, Unreachable
from domicile.model import DatasetScope, Home, Scope, Slice, SliceId
from domicile.proof import Measure
from domicile.stores import Sink, SourceStore
from domicile.stores.memory.database import HomeSide, MemoryDatabase
from domicile.stores.memory.faults import Faults
from domicile.stores.memory.lines import read_line
from domicile.stores.memory.manifest import lines_of
from domicile.stores.memory.rows import Row, identity
from domicile.stores.memory.snapshot import Keys, MemorySnapshot, Meter, is_stray
from domicile.stores.memory.values import decode, split


class MemoryHome:
    """A home over a `MemoryDatabase`; keeps nothing itself, so a new one over the same database goes on."""

    def __init__(self, database: MemoryDatabase, *, digest_key: bytes, faults: Faults | None = None) -> None:
        self.database = database
        self._digest_key = digest_key
        self._faults = faults or Faults()

    def catalogue(self) -> Catalogue:
        """Say what the store holds."""
        self._faults.reach("memory")
        return self.database.catalogue

    @contextmanager
    def snapshot(self) -> Iterator[MemorySnapshot]:
        """Open a view of this moment."""
        self._faults.reach("memory")
        yield self._view()

    def prepare(self, scope: Scope, home: Home, source: SourceStore) -> None:
        """Make the empty tables and this home's copy of the manifest."""
        self._faults.reach("memory")
        if self.database.home_side is not None:
            return
        catalogue = source.catalogue()
        lines = tuple(read_line(frame) for dataset in scope.datasets for frame in _frames_of(source, dataset, home))
        if any(self.database.tables.values()):
            raise StoreFault("store memory already holds rows; a home starts empty")
        self._faults.effect(f"prepare {home}")
        self.database.catalogue = catalogue
        self.database.tables = {table.name: [] for table in catalogue.tables}
        self.database.home_side = HomeSide(scope=scope, home=home, lines=lines)

    def load(self, piece: Slice, feed: Callable[[Sink], Measure]) -> Measure:
        """Write the slice that `feed` streams, and its mark."""
        self._faults.reach("memory")
        side = self._side()
        if piece.id in side.loaded:
            return side.loaded[piece.id]
        return self._write(piece, feed, kept=self.database.tables[self._dataset(piece).table])

    def loaded(self) -> Mapping[SliceId, Measure]:
        """The marks of the slices that are here."""
        self._faults.reach("memory")
        side = self.database.home_side
        return dict(side.loaded) if side else {}

    def reload(self, piece: Slice, feed: Callable[[Sink], Measure]) -> Measure:
        """Replace the slice's rows by what `feed` streams."""
        self._faults.reach("memory")
        dataset = self._dataset(piece)
        replaced = {line.key for line in lines_of(piece, self._side().lines)}
        table = self.database.tables[dataset.table]
        return self._write(piece, feed, kept=[row for row in table if identity(dataset, row) not in replaced])

    def remove_strays(self, dataset: DatasetScope, home: Home) -> int:
        """Delete rows that the manifest doesn't send here."""
        self._faults.reach("memory")
        rows = self.database.tables[dataset.table]
        kept = [row for row in rows if not is_stray(dataset, home, self._side().lines, row)]
        if len(kept) < len(rows):
            self._faults.effect(f"remove strays {dataset.id}")
            self.database.put(dataset.table, kept)
        return len(rows) - len(kept)

    def finish(self, scope: Scope, home: Home, *, share: int, shares: int) -> None:  # noqa: ARG002 - protocol
        """Validate the constraints that the source enforces; remember the share of every sequence."""
        self._faults.reach("memory")
        if self._side().share is not None:
            return
        if not 0 <= share < shares:
            raise RuntimeError(f"share {share} of {shares} does not exist")
        for key in self.database.catalogue.foreign_keys:
            if key.validated and not key.missing_on:
                self._validate(key.name, (key.child, key.columns), (key.parent, key.parent_columns))
        self._faults.effect(f"finish {home}")
        self._side().share = share

    def finished(self) -> bool:
        """Whether `finish` was completed."""
        self._faults.reach("memory")
        side = self.database.home_side
        return side is not None and side.share is not None

    def prove_restore(
        self,
        scope: Scope,  # noqa: ARG002 - protocol
        home: Home,  # noqa: ARG002 - protocol
        slices: tuple[Slice, ...],
    ) -> Iterator[Measure]:
        """Copy the database, and read the slices from the copy."""
        self._faults.reach("memory")
        restored = MemoryHome(self.database.copy(), digest_key=self._digest_key, faults=self._faults)
        with restored.snapshot() as view:
            for piece in slices:
                yield view.read(piece, lambda _: None, at_home=True)

    def _write(self, piece: Slice, feed: Callable[[Sink], Measure], *, kept: list[Row]) -> Measure:
        dataset = self._dataset(piece)
        intake = _Intake(dataset, Meter(self._digest_key), tears=self._faults.tears(piece.id))
        sent = feed(intake)
        arrived = intake.end(piece)
        if (sent.rows, sent.digest) != (arrived.rows, arrived.digest):
            raise NotEqual(f"{piece.id}: what arrived is not what was sent; nothing was written, run again")
        present = {identity(dataset, row) for row in kept}
        if dataset.key and any(identity(dataset, row) in present for row in intake.rows):
            raise StoreFault(f"{piece.id}: a row with this key is already at home; run `domicile verify --repair`")
        self._faults.effect(f"load {piece.id}")
        self.database.put(dataset.table, [*kept, *intake.rows])
        self._side().loaded[piece.id] = arrived
        return arrived

    def _validate(
        self, name: str, child: tuple[object, tuple[str, ...]], parent: tuple[object, tuple[str, ...]]
    ) -> None:
        moment = self.database.moment()
        for row in moment.of(child[0]):  # type: ignore[arg-type]
            values = [row[column] for column in child[1]]
            if None not in values and not moment.find(parent[0], parent[1], values):  # type: ignore[arg-type]
                raise StoreFault(f"constraint {name} does not hold at home: a parent of {child[0]} is missing")

    def _side(self) -> HomeSide:
        if self.database.home_side is None:
            raise RuntimeError("a home must be prepared before anything else is asked for")
        return self.database.home_side

    def _dataset(self, piece: Slice) -> DatasetScope:
        return self._side().scope.dataset(piece.dataset)

    def _view(self) -> MemorySnapshot:
        side = self._side()
        return MemorySnapshot(
            scope=side.scope,
            lines=side.lines,
            moment=self.database.moment(),
            keys=Keys(digest=self._digest_key),
            version=self.database.version,
            faults=self._faults,
        )


class _Intake:
    """A sink that turns a stream back into rows, however it was cut into blocks."""

    def __init__(self, dataset: DatasetScope, meter: Meter, *, tears: bool) -> None:
        self.rows: list[Row] = []
        self._names = [column.name for column in dataset.columns]
        self._meter = meter
        self._tears = tears
        self._rest = b""

    def __call__(self, block: bytes) -> None:
        if self._tears:
            raise Unreachable("store memory: the connection broke off (a fault on purpose); run again")
        self._rest += block
        frame, self._rest = split(self._rest)
        while frame is not None:
            self._meter.add(frame)
            self.rows.append(dict(zip(self._names, _values(frame), strict=True)))
            frame, self._rest = split(self._rest)

    def end(self, piece: Slice) -> Measure:
        """What arrived; raise when the last frame is not whole."""
        if self._rest:
            raise StoreFault(f"{piece.id}: the stream ended within a row; nothing was written, run again")
        return self._meter.measure(piece.id)


def _values(frame: bytes) -> list[object]:
    values = decode(frame)
    if not isinstance(values, list):
        raise StoreFault("a frame is not a row; the stream was changed on its way")
    return values


def _frames_of(source: SourceStore, dataset: DatasetScope, home: Home) -> list[bytes]:
    frames: list[bytes] = []
    source.manifest_keys(dataset, home, frames.append)
    return frames
