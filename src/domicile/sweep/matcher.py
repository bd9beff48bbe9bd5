"""What finds tokens in bytes: every form of every token, as bytes, in every spelling undone, and as hashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from domicile.native.patterns import Bytes
from domicile.sweep.decoded import decodings
from domicile.sweep.digests import Digests
from domicile.sweep.forms import TokenClass, forms
from domicile.sweep.kept import CLASSES, Kept
from domicile.sweep.patterns import Patterns

SPELT_TIMES_MAX = 6  # \\u0040 for one byte
LINE_BYTES_MAX = 256  # base64 is broken into lines of 64 or 76; a line is known as one by its first 12 letters


@dataclass(frozen=True, slots=True)
class Hit:
    """One match in a block: where it starts, how long it is, and which token, by number."""

    offset: int
    length: int
    token: int


class Matcher:
    """Every form of the tokens, or of the specific or the unspecific ones. Nothing of them is told."""

    def __init__(self, kept: Kept, *, specific: bool | None = None, encodings: Sequence[str] = ()) -> None:
        self._ranks = kept.ranks
        self._patterns = Patterns(
            (form, number)
            for number, text, token_class in _numbered(kept, specific)
            for form in forms(text, token_class, encodings=encodings)
        )
        self._digests = Digests(_numbered(kept, specific))

    def __repr__(self) -> str:
        return f"Matcher({len(self._patterns)} forms)"

    @property
    def tokens(self) -> int:
        """How many tokens there are, those that aren't looked for counted too."""
        return len(self._ranks)

    @property
    def longest(self) -> int:
        """How long the longest form is, in bytes."""
        return self._patterns.longest

    @property
    def reach(self) -> int:
        """How many bytes of a block the longest token may take, spelt in any way that is undone."""
        return SPELT_TIMES_MAX * self.longest + LINE_BYTES_MAX if self.longest else 0

    def class_of(self, token: int) -> TokenClass:
        """Say of which class a token is, by its number."""
        return CLASSES[self._ranks[token]]

    def find(self, block: bytes) -> Iterator[Hit]:
        """Find every form of every token in the block, overlapping ones too, as bytes and in every spelling undone."""
        if not self.longest or not block:
            return
        yield from self._find(block)
        for start, end, number in self._digests.find(block):
            yield Hit(start, end - start, number)
        for decoded in decodings(block, reach=self.longest):
            for hit in self._find(decoded.data):
                place = decoded.place(hit.offset, hit.offset + hit.length)
                if hit.length >= decoded.bytes_min and place is not None:
                    yield Hit(place[0], place[1] - place[0], hit.token)

    def _find(self, data: bytes | Bytes) -> Iterator[Hit]:
        for start, length, number in self._patterns.find(data):
            yield Hit(start, length, number)


def _numbered(kept: Kept, specific: bool | None) -> Iterator[tuple[int, bytes, TokenClass]]:
    for number, (text, token_class) in enumerate(kept):
        if specific is None or token_class.specific is specific:
            yield number, text, token_class
