"""What `map` asks a store beyond its catalogue, and the bounded answers: nouns only.

The values are personal data. They live in memory between the read and the draft, have no `repr`, and nothing writes
them down (P8); only market values such as country names reach the draft.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from domicile.catalogue import TableName

FieldName = tuple[TableName, str]

ROWS_MAX = 200
VALUE_CHARACTERS_MAX = 256
LISTED_VALUES_MAX = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """The question whether the values of one column set are found in another's: a hint that an edge exists."""

    child: TableName
    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Of `asked` distinct sampled values of the child, `found` are in the parent."""

    asked: int
    found: int

    @property
    def share(self) -> float:
        """The found share, 0 to 1; 0 when nothing could be asked."""
        return self.found / self.asked if self.asked else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KindQuestion:
    """The question which value of `column` means the row of `table` where `where` holds: a polymorphic pair's kind."""

    child: TableName
    column: str
    table: TableName
    key: str
    where: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindAnswer:
    """The value, None when it could not be read; `used` says whether a row of the child has it, None as before."""

    value: str | None
    used: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is worth reading: fields whose distinct values matter, and edges that the database does not declare."""

    lists: tuple[FieldName, ...] = ()
    containments: tuple[Containment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSample:
    """A few values of one field as text, cut short; `nulls` counts the sampled rows that had none."""

    rows: int
    nulls: int
    values: tuple[str, ...] = field(default=(), repr=False)

    @property
    def distinct_share(self) -> float:
        """How many of the values are different ones, 0 to 1; 0 for none."""
        return len(set(self.values)) / len(self.values) if self.values else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueList:
    """The distinct values of one field, sorted; `whole` when there were no more than could be listed."""

    values: tuple[str, ...] = field(default=(), repr=False)
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """All bounded reads of one database."""

    fields: Mapping[FieldName, FieldSample] = field(default_factory=dict, repr=False)
    lists: Mapping[FieldName, ValueList] = field(default_factory=dict, repr=False)
    containments: Mapping[Containment, Found] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
