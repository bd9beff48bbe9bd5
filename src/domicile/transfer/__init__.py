"""Transfer: every slice of the frozen manifest, once, from source to home.

Deciding (`next_slice`) is apart from doing (`transfer`). What is done is known from home's own marks, which stand in
the same transaction as the rows; so the stage may be killed anywhere and begun again (P5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from domicile.events import Advanced, Listener
from domicile.model import Home, Measure, Scope, Slice, SliceId
from domicile.stores import HomeStore, Sink, SourceStore


def next_slice(slices: Sequence[Slice], done: Mapping[SliceId, Measure]) -> Slice | None:
    """Say what to copy next, or None when every slice is copied."""
    return next((piece for piece in slices if piece.id not in done), None)


def transfer(  # noqa: PLR0913 - both ends, what, and the share of the sequences
    source: SourceStore,
    home_store: HomeStore,
    scope: Scope,
    home: Home,
    slices: Sequence[Slice],
    *,
    share: int,
    shares: int,
    listener: Listener,
) -> tuple[Measure, ...]:
    """Bring all slices of one home there and complete its schema; return their measures in the slices' order.

    `share` of `shares` is the range of every sequence that this home draws from; 0 stays with the source.
    """
    home_store.prepare(scope, home, source)
    done = dict(home_store.loaded())
    _tell_resumed(slices, done, listener)
    while (piece := next_slice(slices, done)) is not None:
        measure = _copy(source, home_store, piece)
        done[piece.id] = measure
        listener(Advanced(stage="transfer", units=measure.rows, bytes=measure.bytes, text=piece.dataset))
    home_store.finish(scope, home, share=share, shares=shares)
    return tuple(done[piece.id] for piece in slices)


def _tell_resumed(slices: Sequence[Slice], done: Mapping[SliceId, Measure], listener: Listener) -> None:
    resumed = [done[piece.id] for piece in slices if piece.id in done]
    if resumed:
        rows, size = sum(measure.rows for measure in resumed), sum(measure.bytes for measure in resumed)
        listener(Advanced(stage="transfer", units=rows, bytes=size, text="already there"))


def _copy(source: SourceStore, home_store: HomeStore, piece: Slice) -> Measure:
    with source.snapshot() as view:

        def feed(sink: Sink) -> Measure:
            return view.read(piece, sink, at_home=False)

        return home_store.load(piece, feed)
