"""What a store says of itself: tables, keys, edges, triggers, sequences. Pure nouns, no SQL.

Filled by a store's introspection, read by `map` (to draft), `plan` (to resolve and to refuse) and by the stores
themselves. `Catalogue.digest_text` is the part that a plan is bound to: a new column or table changes it (P4).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TableName:
    """A relation's qualified name, as the catalogue spells it (never folded, never quoted)."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{quote_part(self.schema)}.{quote_part(self.name)}"


def quote_part(part: str) -> str:
    """Spell one part of a dotted name: in double quotes when it holds a dot, a quote or a blank."""
    if part and not any(sign in part for sign in '."\n\t '):
        return part
    return '"' + part.replace('"', '""') + '"'


class RelationKind(StrEnum):
    """What kind of relation holds rows."""

    TABLE = "table"
    PARTITIONED = "partitioned"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the database itself compares a parent's column (left) with a child's (right): never by a bare name.

    `operator` is schema and sign; `left` and `right` are schema and name of the types it takes, where a bare name
    could find another operator (None: the columns' own types). `collation` is the parent's, where the child's differs.
    `fold` compares texts without regard to case and outer blanks, where the file says so.
    """

    operator: tuple[str, str] = ("pg_catalog", "=")
    left: tuple[str, str] | None = None
    right: tuple[str, str] | None = None
    collation: tuple[str, str] | None = None
    fold: bool = False


PLAIN = Comparison()
"""The `=` of a type built into PostgreSQL."""
FOLDED = Comparison(fold=True)
"""Of texts whose case and outer blanks don't count, such as e-mail addresses that people typed."""


class OnDelete(StrEnum):
    """What a foreign key does to the child when its parent row goes."""

    NO_ACTION = "no action"
    RESTRICT = "restrict"
    CASCADE = "cascade"
    SET_NULL = "set null"
    SET_DEFAULT = "set default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: `type` is `format_type()` text.

    `base` the type under a domain; `binary` says whether its binary COPY form is the same on every server (built-in
    scalar and array types only); `equality` how two values of it are compared (None: its type has no equality).
    """

    name: str
    position: int
    type: str
    base: str
    category: str
    not_null: bool
    binary: bool
    generated: bool = False
    identity: str | None = None
    default: str | None = None
    collatable: bool = False
    length_max: int | None = None
    labels: tuple[str, ...] = ()
    equality: Comparison | None = PLAIN
    collation: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A declared edge child → parent.

    For a partitioned child, keys on single partitions are folded into one edge of the root, with the partitions that
    lack it in `missing_on`. `comparisons` are the operators that the constraint itself uses, one a column.
    """

    name: str
    child: TableName
    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]
    on_delete: OnDelete = OnDelete.NO_ACTION
    deferrable: bool = False
    validated: bool = True
    missing_on: tuple[TableName, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger of the application (not PostgreSQL's own); `enabled` is pg_trigger.tgenabled (O, D, R, A)."""

    name: str
    events: tuple[str, ...]
    timing: str
    per_row: bool
    function: str
    enabled: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rewrite rule on a table; `enabled` is pg_rewrite.ev_enabled (O, D, R, A)."""

    name: str
    event: str
    instead: bool
    enabled: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A relation that holds rows: a plain table, or the root of a partition tree (its leaves in `leaves`)."""

    name: TableName
    kind: RelationKind
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    leaves: tuple[TableName, ...] = ()
    partition_key: tuple[str, ...] = ()
    inherits: tuple[TableName, ...] = ()
    children: tuple[TableName, ...] = ()
    rows_estimate: int = 0
    bytes: int = 0
    unlogged: bool = False
    row_security: bool = False
    triggers: tuple[Trigger, ...] = ()
    rules: tuple[Rule, ...] = ()
    comment: str | None = None

    def column(self, name: str) -> Column | None:
        """Return the column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that name a row: primary key, else a unique key without nulls, else none at all."""
        return self.primary_key or (self.unique_keys[0] if self.unique_keys else ())

    def tells_apart(self, columns: tuple[str, ...]) -> bool:
        """Whether no two rows of the table itself can have the same values in these columns."""
        return any(key and set(key) <= set(columns) for key in (self.primary_key, *self.unique_keys))


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view or materialised view and the tables it reads, also through other views."""

    name: TableName
    materialised: bool
    reads: tuple[TableName, ...]
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A sequence, its bounds and what draws from it (`owner` is the table and column, when one owns it)."""

    name: TableName
    last_value: int | None
    increment: int
    minimum: int
    maximum: int
    cycles: bool
    owner: tuple[TableName, str] | None = None
    identity: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All that one database says of itself. Partitions are listed with their root only."""

    version: int
    database: str
    system_id: str
    encoding: str
    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    views: tuple[View, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    extensions: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    event_triggers: tuple[str, ...] = ()
    large_objects: int = 0
    notes: tuple[str, ...] = field(default=())

    def table(self, name: TableName) -> Table | None:
        """Return the table of that name, or None."""
        return next((table for table in self.tables if table.name == name), None)

    def materialised(self, name: TableName) -> View | None:
        """Return the materialised view of that name, or None."""
        return next((view for view in self.views if view.materialised and view.name == name), None)

    def digest_text(self) -> str:
        """The shape that a plan is bound to: tables, columns, keys, edges, triggers and rules, never sizes or rows."""
        shape = {
            "tables": [_shape(table) for table in sorted(self.tables, key=lambda table: table.name)],
            "edges": sorted(json.dumps(asdict(key), sort_keys=True, default=str) for key in self.foreign_keys),
            "views": sorted(f"{view.name} {view.materialised} {sorted(map(str, view.reads))}" for view in self.views),
        }
        return json.dumps(shape, sort_keys=True, ensure_ascii=False)


def _shape(table: Table) -> dict[str, object]:
    described = asdict(table)
    for volatile in ("rows_estimate", "bytes", "comment"):
        described.pop(volatile)
    return described
