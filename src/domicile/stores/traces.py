"""What a store tells of one row: hops, people, evidence, who else needs it. Nouns only; `explain` says what follows.

The texts of keys are personal data: they have no `repr`, and leave the process only for the operator's terminal. What
stands for a key elsewhere is a keyed digest (P8): BLAKE3 under the run's key over a purpose tag, the dataset's id and
the texts of the key, each with its length before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import blake3

from domicile.model import DatasetId, Fate, Form, Home

PURPOSE: Final = b"domicile row key v1\x00"
DIGEST_DIGITS: Final = 16
LISTED_MAX: Final = 20
"""Rows named of one finding, and people of one path."""


def key_digest(key: bytes, dataset: DatasetId, texts: Sequence[str]) -> str:
    """The digest that stands for a row's key: 16 hexadecimal digits, the same in every store under one key."""
    meter = blake3.blake3(PURPOSE, key=key)
    for text in (str(dataset), *texts):
        data = text.encode()
        meter.update(b"%d:%b" % (len(data), data))
    return meter.hexdigest()[:DIGEST_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowKey:
    """A row's key, for a terminal as text and for everything else as digest."""

    digest: str
    texts: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HopTrace:
    """One hop: from how many rows it began, why it broke off from some, and how many rows it found."""

    rows: int
    when: int
    """The hop's condition is not true of them."""
    unreadable: int
    """They hold text that is no JSON."""
    null: int
    """They refer to nothing."""
    nothing: int
    """They refer to rows that are not there."""
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one row of evidence tells: by its place in the rule, the market and home that its value means, its date."""

    piece: int
    market: str | None
    home: Home | None
    newest: bool
    """Whether no row of evidence about the person has a later date."""
    dated: str | None = field(default=None, repr=False)


def told_once(told: Iterable[Told]) -> tuple[Told, ...]:
    """List what evidence tells in a fixed order, each thing once, however many rows and references tell it."""
    return tuple(sorted(set(told), key=lambda one: (one.piece, one.dated or "", one.market or "")))


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonTrace:
    """A person that a path reaches, what the evidence tells now, and the home that the closure takes them to have.

    `elsewhere`: by the directory they live at the home of another programme, so that they neither move nor stay.
    """

    kind: DatasetId
    key: RowKey
    told: tuple[Told, ...]
    home: Home | None
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTrace:
    """One path: its hops, the first people at its end, and all of them counted by home (None: they stay).

    Who lives at the home of another programme is not counted.
    """

    hops: tuple[HopTrace, ...]
    people: tuple[PersonTrace, ...]
    destinations: tuple[tuple[Home | None, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedTrace:
    """Rows that refer to this one over an edge of the scope and lie at a home, or stay at the source (None)."""

    edge: int
    home: Home | None
    children: int
    first: tuple[RowKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLine:
    """One line of the manifest: the part and form the row stands in, what becomes of it, and whether it is owned."""

    part: str
    form: Form
    fate: Fate
    owned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All that a store tells of one row.

    `present` is false for a row that is only in the frozen manifest. `needs` and `lines` are None where the closure was
    not computed.
    """

    dataset: DatasetId
    key: RowKey
    present: bool
    frozen: bool
    paths: tuple[PathTrace, ...]
    needs: tuple[NeedTrace, ...] | None
    lines: tuple[RowLine, ...] | None
