"""The nouns of publishing: what is seen of a server, what should cross between two, and what was found. All frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from domicile.catalogue import Column, TableName
from domicile.model import Blank, DatasetId, Finding


class Arrivals(StrEnum):
    """How a table stands towards what arrives by a subscription."""

    STANDS = "stands"
    """Our trigger is there, fires for what arrives only, and is the one that we wrote."""
    MISSING = "missing"
    OTHER = "other"


# -- what a server says before anything is made ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SightedColumn:
    """One column of a table at one location; `type` is `format_type()` text."""

    name: str
    type: str
    not_null: bool
    generated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SightedTable:
    """One table at one location: its columns, and by which of them changes name their row (the replica identity).

    `identity` is empty where there is none; `identity_full` when the whole row names itself. `odd_leaves` are
    partitions that name their rows otherwise than their root.
    """

    columns: tuple[SightedColumn, ...]
    identity: tuple[str, ...]
    identity_full: bool = False
    partitioned: bool = False
    odd_leaves: tuple[TableName, ...] = ()

    def column(self, name: str) -> SightedColumn | None:
        """Return the column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one location's server can do, and the tables that it has."""

    version: int
    logical: bool
    superuser: bool
    slots_free: int
    workers: int
    tables: Mapping[TableName, SightedTable]


# -- what should be -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One dataset whose public part crosses, the same from every location to every other.

    `columns` cross, `kept_back` stay where they are (private and excepted ones), `stand_ins` are what a receiver puts
    in their place when a row arrives that it has not. `where` is the row filter. `deletes` says whether deletions
    cross: never those of rows whose other half may lie at the receiver.
    """

    dataset: DatasetId
    table: TableName
    columns: tuple[str, ...]
    identity: tuple[str, ...]
    partitioned: bool = False
    kept_back: tuple[str, ...] = ()
    stand_ins: tuple[Blank, ...] = ()
    where: str | None = None
    deletes: bool = False
    shapes: Mapping[str, Column] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One direction between two locations; `name` is that of the subscription at the receiver and of its slot."""

    publisher: str
    receiver: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """All that crosses. `private` are tables that hold something private, with these columns (None: the whole row)."""

    locations: tuple[str, ...]
    tables: tuple[Published, ...]
    crossings: tuple[Crossing, ...]
    private: Mapping[TableName, frozenset[str] | None]
    findings: tuple[Finding, ...]

    def undecided(self) -> tuple[Finding, ...]:
        """The findings that forbid publishing: each says what to do."""
        return tuple(finding for finding in self.findings if finding.remedy is not None)

    def of(self, *, deletes: bool) -> tuple[Published, ...]:
        """The tables whose deletions cross, or those whose don't: one publication each."""
        return tuple(table for table in self.tables if table.deletes is deletes)


# -- what is ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedTable:
    """One table of a publication with the columns and the row filter that it really has."""

    table: TableName
    columns: frozenset[str]
    where: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedPublication:
    """One publication of a database. `as_made`: its row filters are those that we wrote."""

    name: str
    actions: frozenset[str]
    via_root: bool
    tables: tuple[ObservedTable, ...]
    as_made: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedSlot:
    """One logical slot of a database; `lag_bytes` is what its reader has not confirmed yet."""

    name: str
    plugin: str
    active: bool
    wal_status: str
    lag_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedSubscription:
    """One subscription of a database. `password` says whether its connection string holds one (None: can't be seen)."""

    name: str
    enabled: bool
    running: bool
    origin: str
    slot: str | None
    publications: frozenset[str]
    tables: Mapping[TableName, str]
    errors: int
    password: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one location's database publishes, reads, and does with what arrives."""

    publications: tuple[ObservedPublication, ...]
    slots: tuple[ObservedSlot, ...]
    subscriptions: tuple[ObservedSubscription, ...]
    arrivals: Mapping[TableName, Arrivals]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing that is not as it should be. `red`: what the policy promises does not hold, or may leak."""

    kind: str
    location: str
    where: str
    text: str
    remedy: str
    red: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check saw: bytes that each crossing is behind (None: it isn't there), and the remarks, red ones first."""

    lag_bytes: Mapping[str, int | None]
    remarks: tuple[Remark, ...]

    @property
    def red(self) -> bool:
        """Whether anything promised does not hold."""
        return any(remark.red for remark in self.remarks)
