"""The stages in their order, driven over any stores: as little as a test needs until it asks for the real runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from domicile.model import Digest, Form, Home, Manifest, Slice
from domicile.proof import Erased, Measure, Pair
from domicile.stores import HomeStore, Sink, Snapshot
from tests.stores.benches import Flowing


def freeze(bench: Flowing) -> Manifest:
    """Stand the fence, and freeze."""
    bench.source.stand_fence(bench.scope)
    return bench.source.freeze(bench.scope)


def move(bench: Flowing) -> Manifest:
    """Everything up to the proof: fence, freeze, prepare, load, finish."""
    manifest = freeze(bench)
    load(bench, manifest)
    finish(bench)
    return manifest


def load(bench: Flowing, manifest: Manifest) -> None:
    """Prepare the homes and fill them."""
    for home, store in bench.homes.items():
        store.prepare(bench.scope, home, bench.source)
    with bench.source.snapshot() as view:
        for piece in manifest.slices:
            bench.homes[piece.home].load(piece, feed(view, piece))


def feed(view: Snapshot, piece: Slice) -> Callable[[Sink], Measure]:
    """What a home's `load` asks of the source."""
    return lambda sink: view.read(piece, sink, at_home=False)


def finish(bench: Flowing) -> None:
    """Constraints and sequences."""
    for share, (home, store) in enumerate(bench.homes.items(), start=1):
        store.finish(bench.scope, home, share=share, shares=len(bench.homes) + 1)


def verify(bench: Flowing, manifest: Manifest) -> list[Pair]:
    """Every slice on both sides."""
    with bench.source.snapshot() as view:
        source = {piece.id: view.read(piece, _drop, at_home=False) for piece in manifest.slices}
    pairs = []
    for home, store in bench.homes.items():
        with store.snapshot() as view:
            pairs += [
                Pair(slice=piece, source=source[piece.id], home=view.read(piece, _drop, at_home=True))
                for piece in manifest.slices
                if piece.home == home
            ]
    return pairs


def strays(bench: Flowing) -> dict[tuple[str, str], int]:
    """Rows at home that should not be there, where there are any."""
    found = {}
    for home, store in bench.homes.items():
        with store.snapshot() as view:
            for dataset in bench.scope.datasets:
                count, _ = view.strays(dataset, home, limit=10)
                if count:
                    found[str(dataset.id), str(home)] = count
    return found


def erase(bench: Flowing, manifest: Manifest) -> list[Erased]:
    """Prove all slices equal, then erase them, children first."""
    pairs = verify(bench, manifest)
    assert [pair.slice.id for pair in pairs if not pair.equal] == []
    digests = {pair.slice.id: pair.home.digest for pair in pairs}
    return [erase_one(bench, piece, digests[piece.id]) for piece in erasable(bench, manifest)]


def erasable(bench: Flowing, manifest: Manifest) -> Iterator[Slice]:
    """The slices that leave the source, in the order in which they must."""
    for dataset in reversed(bench.scope.datasets):
        for piece in manifest.slices:
            if piece.dataset == dataset.id and (piece.delete or piece.blank):
                yield piece


def erase_one(bench: Flowing, piece: Slice, proven: Digest) -> Erased:
    """Erase one slice against its home."""
    return bench.source.erase(piece, proven, lambda: home_digest(bench.homes[piece.home], piece))


def home_digest(store: HomeStore, piece: Slice) -> Digest:
    """What home holds of the slice now."""
    with store.snapshot() as view:
        return view.read(piece, _drop, at_home=True).digest


def slice_of(manifest: Manifest, dataset: str, home: str, form: Form = Form.WHOLE) -> Slice:
    """The first slice of a dataset for a home."""
    return next(
        piece
        for piece in manifest.slices
        if (piece.dataset, piece.home, piece.form) == (dataset, Home(home), form) and piece.rows
    )


def _drop(_: bytes) -> None:
    return None
