"""Verify: read every slice on both sides again and compare; narrow a difference to its keys; repair on request.

What each check can miss stands in docs/claims.md. The digests are keyed BLAKE3 over the store's own copy frames in
manifest order, so a lost, doubled, swapped or altered row changes them; rows at home that no manifest line sends
there are counted apart, as strays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from domicile.engine import Halt, both
from domicile.events import Advanced, Listener
from domicile.model import DatasetId, Home, Scope, Slice
from domicile.proof import Difference, Equality, Measure, Pair
from domicile.stores import HomeStore, Reading, Sink, Snapshot, SourceStore

Leaves = tuple[Mapping[int, str], Mapping[int, str]]
DIFFERENCES_MAX = 1_000
STRAYS_NAMED_MAX = 100
LEAVES_NAMED_MAX = 100


class Readable(Protocol):
    """What a comparison asks of a store."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open a view of one moment."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair did: slices copied again, strays removed."""

    slices: int
    strays: int


def verify(  # noqa: PLR0913 - both ends, what, and under which fence
    source: Readable,
    homes: Mapping[Home, Readable],
    scope: Scope,
    slices: Sequence[Slice],
    *,
    fenced: bool,
    now: datetime,
    listener: Listener,
) -> Equality:
    """Compare all slices and look for strays; differences are named up to `DIFFERENCES_MAX` keys."""
    pairs: list[Pair] = []
    strays: list[tuple[DatasetId, Home, int]] = []
    differences: list[Difference] = []
    with source.snapshot() as left:
        position = left.position()
        for home, store in homes.items():
            mine = [piece for piece in slices if piece.home == home]
            with store.snapshot() as right:
                read: dict[DatasetId, list[Pair]] = {dataset.id: [] for dataset in scope.datasets}
                for piece in mine:
                    ours, theirs = _read(left, right, piece)
                    pair = Pair(slice=piece, source=ours.measure, home=theirs.measure)
                    pairs.append(pair)
                    read[piece.dataset].append(pair)
                    if not pair.equal:
                        differences.extend(narrow(left, right, piece, hints=(ours.leaves, theirs.leaves)))
                    listener(Advanced(stage="verify", units=pair.source.rows, bytes=2 * pair.source.bytes))
                for found in _strays(right, scope, home, read):
                    strays.append(found[0])
                    differences.extend(found[1])
    return Equality(
        position=position,
        fenced=fenced,
        pairs=tuple(pairs),
        strays=tuple(strays),
        differences=tuple(differences[:DIFFERENCES_MAX]),
        made_at=now,
    )


def narrow(left: Snapshot, right: Snapshot, piece: Slice, *, hints: Leaves | None = None) -> Iterator[Difference]:
    """Find the keys on which a slice differs: hashed leaves first, rows only of the leaves that differ.

    `hints` are the leaves of both sides as they were read; where they lead to nothing, both sides are asked.
    """
    found = False
    if hints is not None and all(hints):
        for difference in _within(left, right, piece, hints):
            found = True
            yield difference
    if not found:
        asked = both(lambda _: left.leaves(piece, at_home=False), lambda _: right.leaves(piece, at_home=True))
        yield from _within(left, right, piece, asked)


def _within(left: Snapshot, right: Snapshot, piece: Slice, leaves: Leaves) -> Iterator[Difference]:
    ours, theirs = leaves
    suspects = sorted(leaf for leaf in ours.keys() | theirs.keys() if ours.get(leaf) != theirs.get(leaf))
    for leaf in suspects[:LEAVES_NAMED_MAX]:
        rows, copies = both(
            partial(_rows, left, piece, leaf, at_home=False), partial(_rows, right, piece, leaf, at_home=True)
        )
        for key in sorted(rows.keys() | copies.keys()):
            if rows.get(key) != copies.get(key):
                kind = "missing" if key not in copies else "stray" if key not in rows else "changed"
                yield Difference(dataset=piece.dataset, home=piece.home, kind=kind, key=key)


def _rows(view: Snapshot, piece: Slice, leaf: int, _: Halt, *, at_home: bool) -> Mapping[tuple[str, ...], str]:
    return view.rows(piece, leaf, at_home=at_home)


def repair(
    source: SourceStore, homes: Mapping[Home, HomeStore], scope: Scope, equality: Equality, *, home_lives: bool
) -> Repaired:
    """Copy the differing slices again and remove the strays; verify afterwards.

    Once an erasure began, home lives: what nobody sent was written there and is nowhere else, and of what differs only
    slices that are still to leave the source are copied again (P1).
    """
    copied = removed = 0
    rows = [pair for pair in equality.pairs if pair.slice.dataset in {dataset.id for dataset in scope.datasets}]
    for pair in rows:  # objects are brought again by the next `apply`
        if not pair.equal and (pair.slice.leaves or not home_lives):
            with source.snapshot() as view:
                homes[pair.slice.home].reload(pair.slice, _feeder(view, pair.slice))
            copied += 1
    for dataset, home, count in equality.strays:
        if count and not home_lives:
            removed += homes[home].remove_strays(scope.dataset(dataset), home)
    return Repaired(slices=copied, strays=removed)


def _feeder(view: Snapshot, piece: Slice) -> Callable[[Sink], Measure]:
    def feed(sink: Sink) -> Measure:
        return view.read(piece, sink, at_home=False)

    return feed


def _read(left: Snapshot, right: Snapshot, piece: Slice) -> tuple[Reading, Reading]:
    """Read both sides at once: each has its own session, and its own server works for it."""
    return both(
        lambda halt: left.measure(piece, halt, at_home=False), lambda halt: right.measure(piece, halt, at_home=True)
    )


def _strays(
    right: Snapshot, scope: Scope, home: Home, read: Mapping[DatasetId, Sequence[Pair]]
) -> Iterator[tuple[tuple[DatasetId, Home, int], tuple[Difference, ...]]]:
    """Look for strays, dataset by dataset; where all is equal and as many rows lie at home, there are none."""
    for dataset in scope.datasets:
        count: int = 0
        keys: tuple[tuple[str, ...], ...] = ()
        pairs = read[dataset.id]
        equal = all(pair.equal for pair in pairs)
        if not equal or not right.holds_only(dataset, home, {pair.slice: pair.home for pair in pairs}):
            count, keys = right.strays(dataset, home, limit=STRAYS_NAMED_MAX)
        named = tuple(Difference(dataset=dataset.id, home=home, kind="stray", key=key) for key in keys)
        yield (dataset.id, home, count), named
