"""Keys of people found where nobody mapped them: what is sought, what a sampled value holds, and what was hit.

Values are personal data: they are looked up in the store they came from and forgotten; a clue holds counts (P8).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from domicile.catalogue import Column, TableName

ROWS_MAX: Final = 200
"""Rows sampled of a table."""
VALUE_CHARACTERS_MAX: Final = 8_192
TOKENS_MAX: Final = 400
"""Distinct values looked up of one place."""
PLACES_MAX: Final = 200
"""Places (paths, patterns) told apart in one column."""
DEPTH_MAX: Final = 6
INTEGER: Final = re.compile(r"^-?[0-9]{1,18}$")
UUID: Final = re.compile(r"^[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}$")
UUID_WITHIN: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
EMAIL: Final = re.compile(r"^\s*[^@\s]+@[^@\s]+\.[^@\s]+\s*$")
PREFIXED: Final = re.compile(r"^([A-Za-z][A-Za-z_]*[:/#=-])([0-9]{1,18})$")
UUID_BYTES: Final = 16
BYTEA: Final = "no hop reads bytea: give the table another path, or a generated column that holds the key"
WITHIN_PATTERN: Final = "([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"
TEXT_KEY_LENGTH_MIN: Final = 8


class TokenKind(StrEnum):
    """What a found text could be the key of."""

    INTEGER = "integer"
    UUID = "uuid"
    TEXT = "text"
    EMAIL = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A column whose values are keys of people, or of other rows that paths lead to."""

    table: TableName
    column: str
    type: str
    kind: TokenKind
    person: bool
    is_key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a column values were found, as `domicile.yaml` spells it; `note` says where it can't."""

    table: TableName
    column: str
    spelled: str
    kind: TokenKind
    whole: bool
    """Whether the column itself holds the key, and nothing around it."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clue:
    """Of the distinct values sampled at a place, so many are keys of the target.

    `chance` is the share of the values' own range that are keys; only for whole numbers.
    """

    place: Place
    target: Target
    sampled: int
    hits: int
    chance: float | None = None

    @property
    def share(self) -> float:
        """The share of the sampled values that are keys."""
        return self.hits / self.sampled if self.sampled else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clues:
    """All that a search found, and what it could not look at."""

    clues: tuple[Clue, ...]
    tables: int
    columns: int
    seconds: float
    notes: tuple[str, ...] = ()


def kind_of(text: str) -> TokenKind | None:
    """What a whole text could be the key of, or None."""
    if INTEGER.match(text):
        return TokenKind.INTEGER
    if UUID.match(text):
        return TokenKind.UUID
    if EMAIL.match(text):
        return TokenKind.EMAIL
    return TokenKind.TEXT if TEXT_KEY_LENGTH_MIN <= len(text) <= 200 else None


def found_in(table: TableName, column: Column, value: object) -> Iterator[tuple[Place, str]]:
    """Every place in the value of a column where a key could stand, with the text there."""
    for spelled, text in _texts_in(column, value):
        kind = kind_of(text)
        if kind is not None:
            yield Place(
                table=table, column=column.name, spelled=spelled, kind=kind,
                whole=spelled == column.name and column.base != "bytea", note=BYTEA if column.base == "bytea" else "",
            ), text  # fmt: skip


def _texts_in(column: Column, value: object) -> Iterator[tuple[str, str]]:
    """Spelling and text of every place."""
    if isinstance(value, bytes):
        if len(value) == UUID_BYTES:
            yield column.name, value.hex()
        elif value.isascii():
            yield column.name, value.decode("ascii")
    elif isinstance(value, list):
        yield from ((f"{column.name}[]", str(item)) for item in value)
    elif isinstance(value, str) and (column.base in ("json", "jsonb") or value[:1] in ("{", "[")):
        yield from ((f"{column.name}{path}", text) for path, text in _leaves(value))
    elif isinstance(value, str):
        yield column.name, value
        if match := PREFIXED.match(value):
            yield f"{column.name} ~ ^{match[1]}([0-9]+)$", match[2]
        elif not UUID.match(value):
            yield from ((f"{column.name} ~ {WITHIN_PATTERN}", text) for text in UUID_WITHIN.findall(value))


def _leaves(text: str) -> Iterator[tuple[str, str]]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return
    yield from _walk(tree, "", 0)


def _walk(node: object, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > DEPTH_MAX:
        return
    if isinstance(node, dict):
        for key, item in node.items():
            if "->" not in key and "[]" not in key and " ~ " not in key:
                yield from _walk(item, f"{path}->{key}", depth + 1)
    elif isinstance(node, list):
        for item in node:
            yield from _walk(item, f"{path}[]", depth + 1)
    elif path and isinstance(node, str | int) and not isinstance(node, bool):
        yield path, str(node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How many rows of a dataset lead where; `rows` is None when counting took too long.

    `paths` say of each path how many rows it leads to movers, and how many to people who stay only.
    """

    dataset: str
    rows: int | None
    movers: int = 0
    stayers: int = 0
    nobody: int = 0
    paths: tuple[tuple[str, int, int], ...] = ()
