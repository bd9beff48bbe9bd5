"""The protocol of a store. One conformance suite (`tests/stores/`) runs over every implementation.

A store is asked in the words of the model; how it finds the rows is its own business. Every method that writes is
safe to repeat after a crash: it first looks at what is there. Ordering invariants a caller *must* keep:

1. `stand_fence` before `freeze`; `freeze` before `prepare` and `load`.
2. `finish` (constraints, triggers) after the last `load`; `verify`'s reads after `finish`.
3. `erase` children first, the subject's own dataset last, each slice with the digest that home proved.
4. `drop_staging` after the last `erase`.

Errors: every method raises only `DomicileError`s; `Unreachable` may be retried, all others may not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from domicile.catalogue import Catalogue
from domicile.model import DatasetScope, Digest, Home, Manifest, Scope, Slice, SliceId
from domicile.proof import Erased, Fence, Measure
from domicile.stores.traces import Trace

Sink = Callable[[bytes], None]
Living = Callable[[Any, Callable[[Any], Digest]], bool]
"""Asks whether home, as it lives on, holds a slice but for what changed there since it was proven.

It is given the source's session, and a function that reads the source's rows of the slice without those whose keys it
names; both as that kind of store has them.
"""
LEAF_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A slice as it was read, and hints where it differs from another reading: leaf → digest, or none at all.

    Leaves are stretches of `LEAF_ROWS` manifest numbers. They are told only where rows and numbers are known to run
    side by side, and say something only against a reading that tells them, too.
    """

    measure: Measure
    leaves: Mapping[int, str] = field(default_factory=dict)


class Snapshot(Protocol):
    """A read-only view of one moment of a store; the reads of one snapshot agree with each other."""

    def read(self, piece: Slice, sink: Sink, *, at_home: bool) -> Measure:
        """Stream the slice's rows in manifest order into `sink` as the store's own copy frames, bounded in memory.

        `at_home` says on which side this store stands: at the source a skeleton slice is read through its blanks,
        at home it is read as it lies. Equal rows give equal digests on both sides.
        """
        ...

    def measure(self, piece: Slice, sink: Sink, *, at_home: bool) -> Reading:
        """Read the slice as `read` does, with hints for narrowing.

        Home may take for the slice's rows what lies between its ends, if as many: content that equals the source's is
        the slice's in any case. So where the two readings differ, `strays` is to be asked, not `holds_only`.
        """
        ...

    def leaves(self, piece: Slice, *, at_home: bool) -> Mapping[int, str]:
        """Hash the slice by leaves of `LEAF_ROWS` manifest numbers: leaf → digest; for narrowing differences only."""
        ...

    def rows(self, piece: Slice, leaf: int, *, at_home: bool) -> Mapping[tuple[str, ...], str]:
        """Hash each row of one leaf: key → digest. Bounded by the leaf's size."""
        ...

    def strays(self, dataset: DatasetScope, home: Home, *, limit: int) -> tuple[int, tuple[tuple[str, ...], ...]]:
        """Count rows at home that the manifest doesn't send there, and name the first `limit` keys."""
        ...

    def holds_only(self, dataset: DatasetScope, home: Home, measures: Mapping[Slice, Measure]) -> bool:
        """Whether these readings, all equal to the source's, are all that home holds of the dataset: no strays then.

        False says nothing: `strays` finds out.
        """
        ...

    def position(self) -> str:
        """The place in the store's change history that this snapshot shows."""
        ...


class SourceStore(Protocol):
    """The side that data leaves."""

    def catalogue(self) -> Catalogue:
        """Say what the store holds."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open a view of this moment."""
        ...

    def survey(self, scope: Scope) -> Manifest:
        """Count the closure and everything a person must decide, without leaving anything behind."""
        ...

    def trace(self, scope: Scope, dataset: DatasetScope, texts: tuple[str, ...], *, survey: bool) -> Trace | None:
        """Say all that is known of the row of that key, leaving nothing behind; None where there is no such row.

        `texts` are the key's columns as texts. With `survey` the closure is computed, if none is frozen; without it who
        else needs the row stays unknown.
        """
        ...

    def find_key(self, dataset: DatasetScope, digest: str, *, rows_max: int) -> tuple[str, ...] | None:
        """Look for the key of that digest among the dataset's first `rows_max` rows in key order."""
        ...

    def stand_fence(self, scope: Scope) -> Fence:
        """Refuse, in the store itself, every write to rows of the scope's subjects. Others' writes go on (P6)."""
        ...

    def freeze(self, scope: Scope) -> Manifest:
        """Freeze the closure as the key manifest. Repeated: return the frozen one. Refuse what is undecided."""
        ...

    def manifest_keys(self, dataset: DatasetScope, home: Home, sink: Sink) -> None:
        """Stream the manifest's lines that concern `home` for the home's own copy of it."""
        ...

    def erase(
        self, piece: Slice, proven: Digest, read_home: Callable[[], Digest], *, living: Living | None = None
    ) -> Erased:
        """Erase one slice in one transaction.

        Lock its rows, read them again, compare with `proven` and with home's digest read now, delete or blank them,
        prove that nothing else was touched, and mark the slice. Where home's digest is another one, `living` is asked,
        if it is there: whether home differs by nothing but what changed there since.

        Raises NotEqual when anything differs, Collateral when another row would be touched; both leave all in place.
        """
        ...

    def erased(self) -> Mapping[SliceId, Erased]:
        """What was erased so far, from the marks that stand in the same transactions."""
        ...

    def release_fence(self) -> None:
        """Take the guard away."""
        ...

    def drop_staging(self) -> None:
        """Remove manifest, marks and guard from the store."""
        ...


class HomeStore(Protocol):
    """The side that data comes home to."""

    def catalogue(self) -> Catalogue:
        """Say what the store holds."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open a view of this moment."""
        ...

    def prepare(self, scope: Scope, home: Home, source: SourceStore) -> None:
        """Make the empty tables and this home's copy of the manifest."""
        ...

    def load(self, piece: Slice, feed: Callable[[Sink], Measure]) -> Measure:
        """Write the slice that `feed` streams, and its mark, in one transaction. Already marked: return the mark."""
        ...

    def loaded(self) -> Mapping[SliceId, Measure]:
        """The marks of the slices that are here."""
        ...

    def reload(self, piece: Slice, feed: Callable[[Sink], Measure]) -> Measure:
        """Replace the slice's rows by what `feed` streams, in one transaction (repair)."""
        ...

    def remove_strays(self, dataset: DatasetScope, home: Home) -> int:
        """Delete rows that the manifest doesn't send here (repair); return how many."""
        ...

    def finish(self, scope: Scope, home: Home, *, share: int, shares: int) -> None:
        """Build indexes, validate constraints, fill views, and give sequences range `share` of `shares`."""
        ...

    def finished(self) -> bool:
        """Whether `finish` was completed."""
        ...

    def prove_restore(self, scope: Scope, home: Home, slices: tuple[Slice, ...]) -> Iterator[Measure]:
        """Back this home up, restore the backup beside it, and read the slices from the restored copy."""
        ...
