"""Tokens as they are kept: one string of bytes, where each begins, and its class; many millions fit in memory.

As objects of Python, each would take 100 bytes more.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from domicile.native.patterns import Bytes
from domicile.native.texts import hash_texts, mark_repeated
from domicile.sweep.forms import TokenClass

Wanted: TypeAlias = NDArray[np.bool_]
CLASSES = tuple(TokenClass)
RANK = {token_class: rank for rank, token_class in enumerate(CLASSES)}


class Kept:
    """Tokens and their classes, by number. Nothing of them is told."""

    __slots__ = ("_bounds", "_ranks", "_texts")

    def __init__(self) -> None:
        self._texts = bytearray()
        self._bounds = array("q", [0])
        self._ranks = bytearray()

    @classmethod
    def of(cls, tokens: Iterable[tuple[bytes, TokenClass]]) -> Kept:
        """Keep these."""
        kept = cls()
        for text, token_class in tokens:
            kept.add(text, token_class)
        return kept

    def __repr__(self) -> str:
        return f"Kept({len(self)})"

    def __len__(self) -> int:
        return len(self._ranks)

    def __reduce__(self) -> NoReturn:
        raise TypeError("tokens stay in the memory of the process that read them")

    def __iter__(self) -> Iterator[tuple[bytes, TokenClass]]:
        for (begin, end), rank in zip(pairwise(self._bounds), self._ranks, strict=True):
            yield bytes(self._texts[begin:end]), CLASSES[rank]

    @property
    def size(self) -> int:
        """How long all texts are."""
        return len(self._texts)

    @property
    def ranks(self) -> bytes:
        """The class of each token, as its number in CLASSES."""
        return bytes(self._ranks)

    def by_class(self) -> dict[TokenClass, int]:
        """Count the tokens of each class that has any."""
        counts = {token_class: self._ranks.count(rank) for rank, token_class in enumerate(CLASSES)}
        return {token_class: count for token_class, count in counts.items() if count}

    def add(self, text: bytes, token_class: TokenClass) -> None:
        """Keep one more."""
        self._texts += text
        self._bounds.append(len(self._texts))
        self._ranks.append(RANK[token_class])

    def extend(self, other: Kept) -> None:
        """Keep all of another's."""
        begin = len(self._texts)
        self._texts += other._texts
        self._bounds.extend(begin + bound for bound in other._bounds[1:])
        self._ranks += other._ranks

    def settled(self) -> Kept:
        """Keep each text once, where it came first, with the most specific class that it was given."""
        texts, bounds = np.frombuffer(self._texts, np.uint8), np.frombuffer(self._bounds, np.int64)
        ranks, repeated = np.frombuffer(bytearray(self._ranks), np.uint8), np.zeros(len(self), np.uint8)
        hashes = np.empty(len(self), np.uint64)
        hash_texts(texts, bounds, hashes)
        mark_repeated(np.argsort(hashes, kind="stable"), hashes, texts, bounds, ranks, repeated)
        return self._take(repeated == 0, ranks)

    def chosen(self, wanted: Iterable[bool]) -> Kept:
        """Keep those that are wanted."""
        return self._take(np.fromiter(wanted, np.bool_, len(self)), np.frombuffer(self._ranks, np.uint8))

    def _take(self, wanted: Wanted, ranks: Bytes) -> Kept:
        bounds = np.frombuffer(self._bounds, np.int64)
        lengths = bounds[1:] - bounds[:-1]
        kept = Kept()
        kept._texts = bytearray(np.frombuffer(self._texts, np.uint8)[np.repeat(wanted, lengths)].tobytes())
        kept._bounds.frombytes(np.cumsum(lengths[wanted]).tobytes())
        kept._ranks = bytearray(ranks[wanted].tobytes())
        return kept
