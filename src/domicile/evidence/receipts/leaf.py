"""One person's leaf: what went home of them, and a commitment to it that tells nothing without its nonce.

The commitment is SHA-256 over a purpose tag, 32 random bytes and the opening as canonical JSON. It hides, as nobody can
guess the nonce, also who knows all of the rest; it binds, as nobody finds two openings of one SHA-256. Who is given the
nonce and the opening computes it again (docs/formats-receipts.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from domicile.evidence.codec import Json, dump_json

NONCE_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32
_PURPOSE: Final = b"domicile receipt v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of one dataset that lead to one person: at home, and of those deleted and blanked at the source."""

    moved: int
    deleted: int
    blanked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person: the dataset of their own row, its key as the database writes it, where they live, and their rows.

    Never shown by `repr`, as a key is personal data (P8).
    """

    kind: str
    key: str
    home: str
    rows: Mapping[str, Rows]

    def __repr__(self) -> str:
        return "Person(…)"


def opening(person: Person) -> Json:
    """What the commitment commits to, as JSON values."""
    return {
        "home": person.home, "key": person.key, "kind": person.kind,
        "rows": {
            dataset: {"blanked": rows.blanked, "deleted": rows.deleted, "moved": rows.moved}
            for dataset, rows in person.rows.items()
        },
    }  # fmt: skip


def commit(person: Person, nonce: bytes) -> bytes:
    """The person's commitment under a nonce: 32 bytes."""
    if len(nonce) != NONCE_BYTES:
        raise RuntimeError("a nonce has 32 bytes, or a commitment could have two openings")
    return hashlib.sha256(_PURPOSE + nonce + dump_json(opening(person))).digest()
