"""Erase: cleared slices leave the source, children first, the subject's own rows last.

Wants a `Clearance`; each slice is compared again, on both sides, in the transaction that erases it (P1). Every slice
that is done is marked in that transaction, so the stage may be killed anywhere and begun again (P5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from domicile.errors import NoClearance
from domicile.events import Advanced, Listener
from domicile.model import DatasetId, Digest, Home, Scope, Slice
from domicile.proof import Clearance, Erased
from domicile.stores import HomeStore, Living, SourceStore


def order(scope: Scope, slices: Sequence[Slice]) -> Iterator[tuple[DatasetId, Home, tuple[Slice, ...]]]:
    """Group the slices that leave something: children before parents, people's own datasets last, by home."""
    names = [dataset.id for dataset in reversed(scope.datasets)]
    names.sort(key=scope.is_subject)
    for name in names:
        for home in scope.homes:
            group = tuple(piece for piece in slices if piece.leaves and (piece.dataset, piece.home) == (name, home))
            if group:
                yield name, home, group


def erase_group(  # noqa: PLR0913 - both ends, what, by which permission, and how homes are asked
    source: SourceStore,
    homes: Mapping[Home, HomeStore],
    group: Sequence[Slice],
    clearance: Clearance,
    *,
    listener: Listener,
    living: Callable[[Slice], Living] | None = None,
) -> tuple[Erased, ...]:
    """Erase the slices of one dataset and home; return what each transaction did.

    `living` makes what is asked of a home that lives on and no longer is what it was when it was compared.

    Raises NoClearance for a slice the clearance doesn't name, NotEqual or Collateral as the store says.
    """
    done: list[Erased] = []
    marks = source.erased()
    for piece in group:
        proven = clearance.digest_of(piece.id)
        if proven is None:
            raise NoClearance(f"{piece.id} is not cleared; nothing of it was erased")
        result = marks.get(piece.id) or source.erase(
            piece, proven, _reader(homes[piece.home], piece), living=living(piece) if living else None
        )
        done.append(result)
        listener(Advanced(stage="erase", units=result.deleted + result.blanked, text=piece.dataset))
    return tuple(done)


def _reader(store: HomeStore, piece: Slice) -> Callable[[], Digest]:
    def read() -> Digest:
        with store.snapshot() as view:
            return view.read(piece, _discard, at_home=True).digest

    return read


def _discard(_: bytes) -> None:
    return None
