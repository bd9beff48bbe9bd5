"""The side that data leaves, in memory: fence, freeze, erase, each one effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import blake3

from domicile.catalogue import Catalogue, ForeignKey
from domicile.errors import Collateral, NoClearance, NotEqual, Undecided
from domicile.model import (
    SLICE_ROWS_MAX,
    DatasetScope,
    Digest,
    Fate,
    Home,
    Manifest,
    Scope,
    Slice,
    SliceId,
)
from domicile.proof import Erased, Fence
from domicile.stores import Living, Sink
from domicile.stores.memory.closure import EVERY_HOME, SOURCE, Node, close, is_blanked
from domicile.stores.memory.database import MemoryDatabase, SourceSide
from domicile.stores.memory.faults import Faults
from domicile.stores.memory.fence import MoverGuard
from domicile.stores.memory.lines import write_line
from domicile.stores.memory.manifest import lines_of, write_lines, write_manifest
from domicile.stores.memory.rows import Row, identity, key_text
from domicile.stores.memory.snapshot import Keys, MemorySnapshot, blank
from domicile.stores.memory.tracing import Tracer
from domicile.stores.traces import Trace, key_digest


class MemorySource:
    """A source over a `MemoryDatabase`; keeps nothing itself, so a new one over the same database goes on.

    `digest_key` has 32 bytes and is the homes' too; `now` is the host's clock.
    """

    def __init__(
        self,
        database: MemoryDatabase,
        *,
        digest_key: bytes,
        now: Callable[[], datetime],
        rows_max: int = SLICE_ROWS_MAX,
        faults: Faults | None = None,
    ) -> None:
        self.database = database
        self._digest_key = digest_key
        self._now = now
        self._rows_max = rows_max
        self._faults = faults or Faults()

    def catalogue(self) -> Catalogue:
        """Say what the store holds."""
        self._faults.reach("memory")
        return self.database.catalogue

    @contextmanager
    def snapshot(self) -> Iterator[MemorySnapshot]:
        """Open a view of this moment."""
        self._faults.reach("memory")
        yield self._view(self._side())

    def survey(self, scope: Scope) -> Manifest:
        """Count the closure, and leave nothing behind."""
        self._faults.reach("memory")
        closure = close(scope, self.database.moment(), self._movers())
        return write_manifest(closure, write_lines(closure), rows_max=self._rows_max, digest_key=self._digest_key)

    def stand_fence(self, scope: Scope) -> Fence:
        """Refuse every write to rows of the scope's subjects."""
        self._faults.reach("memory")
        side = self.database.source_side or SourceSide()
        if side.fence is not None:
            return side.fence
        markets = close(scope, self.database.moment()).markets
        movers = {key: home for key, home in markets.items() if home is not SOURCE}
        counted = tuple((home, list(movers.values()).count(home)) for home in scope.homes)
        fence = Fence(position=str(self.database.version), fenced_at=self._now(), subjects=counted, wait_ms=0)
        self._faults.effect("stand fence")
        side.movers, side.fence, side.scope = movers, fence, scope
        self.database.source_side = side
        self.database.guard = MoverGuard(scope=scope, movers=frozenset(movers))
        return fence

    def freeze(self, scope: Scope) -> Manifest:
        """Freeze the closure as the key manifest."""
        self._faults.reach("memory")
        side = self._side()
        if side.manifest is not None:
            return side.manifest
        closure = close(scope, self.database.moment(), side.movers)
        lines = write_lines(closure)
        manifest = write_manifest(closure, lines, rows_max=self._rows_max, digest_key=self._digest_key)
        if undecided := manifest.undecided():
            kinds = "; ".join(f"{item.where}: {item.text}; add {item.remedy}" for item in undecided)
            raise Undecided(f"rows need a rule that the file does not give: {kinds}")
        self._faults.effect("freeze")
        token_key = blake3.blake3(b"domicile memory tokens", key=self._digest_key).digest()
        side.scope, side.token_key, side.lines, side.manifest = scope, token_key, lines, manifest
        leaving = frozenset((line.dataset, line.key) for line in lines if line.fate is Fate.DELETE)
        self.database.guard = MoverGuard(scope=scope, movers=frozenset(side.movers), leaving=leaving)
        return manifest

    def trace(self, scope: Scope, dataset: DatasetScope, texts: tuple[str, ...], *, survey: bool) -> Trace | None:
        """Say all that is known of one row."""
        self._faults.reach("memory")
        closure = close(scope, self.database.moment(), self._movers())
        side = self.database.source_side
        frozen = side is not None and side.manifest is not None
        lines = side.lines if side is not None and frozen else write_lines(closure)
        tracer = Tracer(closure=closure, lines=lines, digest_key=self._digest_key, frozen=frozen)
        return tracer.trace(dataset, texts, computed=survey or frozen)

    def find_key(self, dataset: DatasetScope, digest: str, *, rows_max: int) -> tuple[str, ...] | None:
        """Look for the key of that digest among the dataset's first rows."""
        self._faults.reach("memory")
        for row in self.database.moment().of(dataset.table)[:rows_max]:
            texts = key_text(dataset, row)
            if key_digest(self._digest_key, dataset.id, texts) == digest:
                return texts
        return None

    def manifest_keys(self, dataset: DatasetScope, home: Home, sink: Sink) -> None:
        """Stream the lines that concern `home`."""
        self._faults.reach("memory")
        for line in self._side().lines:
            if line.dataset == dataset.id and line.part in (home, EVERY_HOME):
                sink(write_line(line))

    def erase(
        self, piece: Slice, proven: Digest, read_home: Callable[[], Digest], *, living: Living | None = None
    ) -> Erased:
        """Delete or blank the slice's rows, if both sides still hold what was proven and nothing else is touched."""
        if living is not None:
            raise RuntimeError("nobody lives at a home of this store while its source is erased")
        self._faults.reach("memory")
        side = self._side()
        if piece.id in side.erased:
            return side.erased[piece.id]
        if self.database.guard is None:
            raise NoClearance(f"{piece.id}: the fence was opened since; nothing was erased: `domicile status`")
        here = self._view(side).read(piece, lambda _: None, at_home=False)
        if here.digest != proven:
            raise NotEqual(f"{piece.id}: the source no longer holds what was proven; run `domicile verify` again")
        if read_home() != proven:
            raise NotEqual(f"{piece.id}: home doesn't hold what was proven; run `domicile verify` again")
        dataset = self._scope(side).dataset(piece.dataset)
        fates = {line.key: line.fate for line in lines_of(piece, side.lines)}
        before = self.database.tables[dataset.table]
        gone = [row for row in before if fates.get(identity(dataset, row)) is Fate.DELETE]
        blanked = {id(row) for row in before if fates.get(identity(dataset, row)) is Fate.BLANK}
        self._refuse_collateral(side, dataset, gone)
        if (len(gone), len(blanked)) != (piece.delete, piece.blank):
            raise Collateral(
                f"{piece.id}: {len(gone)} rows to delete, {piece.delete} in the manifest; nothing was done"
            )
        erased = Erased(slice=piece.id, deleted=len(gone), blanked=len(blanked), digest=here.digest)
        after = [
            blank(dataset, row, side.token_key) if id(row) in blanked else row
            for row in before
            if fates.get(identity(dataset, row)) is not Fate.DELETE
        ]
        self._faults.effect(f"erase {piece.id}")
        self.database.put(dataset.table, after)
        side.erased[piece.id] = erased
        return erased

    def erased(self) -> Mapping[SliceId, Erased]:
        """What was erased so far."""
        self._faults.reach("memory")
        side = self.database.source_side
        return dict(side.erased) if side else {}

    def release_fence(self) -> None:
        """Take the guard away."""
        self._faults.reach("memory")
        if self.database.guard is not None:
            self._faults.effect("release fence")
            self.database.guard = None
            self._side().fence = None

    def drop_staging(self) -> None:
        """Remove manifest, marks and guard."""
        self._faults.reach("memory")
        if self.database.source_side is not None:
            self._faults.effect("drop staging")
            self.database.source_side = None
            self.database.guard = None

    def _side(self) -> SourceSide:
        if self.database.source_side is None:
            raise RuntimeError("the fence must stand before anything else is asked for")
        return self.database.source_side

    def _scope(self, side: SourceSide) -> Scope:
        if side.scope is None:
            raise RuntimeError("a fence always holds its scope")
        return side.scope

    def _movers(self) -> Mapping[Node, Home] | None:
        side = self.database.source_side
        return side.movers if side and side.fence else None

    def _view(self, side: SourceSide) -> MemorySnapshot:
        return MemorySnapshot(
            scope=self._scope(side),
            lines=side.lines,
            moment=self.database.moment(),
            keys=Keys(digest=self._digest_key, token=side.token_key),
            version=self.database.version,
            faults=self._faults,
        )

    def _refuse_collateral(self, side: SourceSide, dataset: DatasetScope, gone: list[Row]) -> None:
        """Refuse when a row that stays refers to one that goes: the database would cascade, blank it or refuse."""
        moment = self.database.moment()
        for key in self.database.references_to(dataset.table):
            released = self._released(side, key)
            for parent in gone:
                for child in moment.find(key.child, key.columns, [parent[name] for name in key.parent_columns]):
                    if not any(identity(known, child) in keys for known, keys in released):
                        raise Collateral(f"{key.name}: rows of {key.child} that stay refer to rows of {dataset.id}")

    def _released(self, side: SourceSide, key: ForeignKey) -> list[tuple[DatasetScope, set[bytes]]]:
        """The child rows that will be gone, or lose the reference, when all slices are erased."""
        found = []
        for dataset in self._scope(side).datasets:
            if dataset.table == key.child:
                fates = {Fate.DELETE, Fate.BLANK} if is_blanked(dataset, key.columns) else {Fate.DELETE}
                lines = (line for line in side.lines if line.dataset == dataset.id and line.fate in fates)
                found.append((dataset, {line.key for line in lines}))
        return found
