"""Transfer: every slice of the frozen manifest, once, from source to home.

What is done is known from home's own marks, which stand in the same transaction as the rows; so the stage may be
killed anywhere and begun again (P5). The source is read ahead of home by some blocks, also past the end of a slice:
while one is committed there, the next is already on its way.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing

from domicile.engine import Ahead, Nice
from domicile.events import Advanced, Listener
from domicile.model import Home, Scope, Slice, SliceId
from domicile.proof import Measure
from domicile.stores import HomeStore, Sink, SourceStore


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
    with closing(copy(source, home_store, [piece for piece in slices if piece.id not in done])) as copied:
        for piece, measure in copied:
            done[piece.id] = measure
            listener(Advanced(stage="transfer", units=measure.rows, bytes=measure.bytes, text=piece.dataset))
    home_store.finish(scope, home, share=share, shares=shares)
    return tuple(done[piece.id] for piece in slices)


def _tell_resumed(slices: Sequence[Slice], done: Mapping[SliceId, Measure], listener: Listener) -> None:
    resumed = [done[piece.id] for piece in slices if piece.id in done]
    if resumed:
        rows, size = sum(measure.rows for measure in resumed), sum(measure.bytes for measure in resumed)
        listener(Advanced(stage="transfer", units=rows, bytes=size, text="already there"))


def copy(
    source: SourceStore, home_store: HomeStore, slices: Sequence[Slice], *, nice: Nice | None = None
) -> Generator[tuple[Slice, Measure], None, None]:
    """Copy slices that are not at home, in turn; yield each when it is committed there. `nice` is the copy's own."""

    def read(piece: Slice, put: Sink) -> Measure:
        def relay(block: bytes) -> None:
            put(block)
            if nice is not None:
                nice.rest()

        with source.snapshot() as view:
            return view.read(piece, relay, at_home=False)

    with Ahead(slices, read) as ahead:
        for piece in slices:
            yield piece, home_store.load(piece, ahead.take)
