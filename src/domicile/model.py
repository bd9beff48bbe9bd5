"""What is whose: fields, paths, edges, market rules, the scope of a move, its slices and manifest. All immutable."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NewType

from domicile.catalogue import PLAIN, Column, Comparison, TableName
from domicile.config.rules import Apart, Decide, Disposition, HomeRows, Shared

DatasetId = NewType("DatasetId", str)
Home = NewType("Home", str)
SliceId = NewType("SliceId", str)
Digest = NewType("Digest", str)

SLICE_ROWS_MAX = 250_000


class State(StrEnum):
    """Where a person stands in the move; `outside` is who is no mover, and has no line."""

    OUTSIDE = "outside"
    MOVING = "moving"
    """A mover; the source is the authority."""
    FENCED = "fenced"
    """Being cut over, or being brought back: nobody writes."""
    HOME = "home"
    """Home is the authority."""


class Side(StrEnum):
    """Which of the two ends a guard stands at."""

    SOURCE = "source"
    HOME = "home"


class Outside(StrEnum):
    """How a private value is stood for in a skeleton: by NULL, by a token made from the row's key, by a literal."""

    NULL = "null"
    TOKEN = "token"  # noqa: S105 - the word of the file
    LITERAL = "literal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blank:
    """The stand-in of one private column in a skeleton row; for a token, `literal` is what is appended to it."""

    column: str
    outside: Outside
    literal: str | None = None


EACH = "[]"


class Holds(StrEnum):
    """What a column holds that references are read out of."""

    ARRAY = "array"
    JSONB = "jsonb"
    JSON = "json"
    """JSON kept as text, or of type json: read text by text, and maybe no JSON at all."""
    TEXT = "text"


class KeyKind(StrEnum):
    """How a reference that was read as text is compared with the key it names."""

    INTEGER = "integer"
    UUID = "uuid"
    TEXT = "text"
    OTHER = "other"
    """By the key's own text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How references are read out of a column that is no plain key: the result is a set of texts, maybe empty.

    `steps` are JSON keys, `EACH` stands for all elements of an array (of SQL or JSON), read as JSON path reads in lax
    mode: a key asked of an array is asked of its elements. `pattern` is a regular expression whose first group is the
    reference, at every match. Texts that are no JSON hold no reference, and are counted.
    """

    column: str
    holds: Holds
    steps: tuple[str, ...] = ()
    pattern: str | None = None
    kind: KeyKind = KeyKind.TEXT
    comparison: Comparison = PLAIN

    @property
    def spelled(self) -> str:
        """As `domicile.yaml` writes it."""
        path = "".join(step if step == EACH else f"->{step}" for step in self.steps)
        return f"{self.column}{path}" + (f" ~ {self.pattern}" if self.pattern is not None else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A resolved hop: rows of `table` joined on `columns` = `to_columns`; `many` when one row may lead to several.

    `comparisons` have the parent on their left: the row that the hop leads to, or of a hop `down` the row it starts
    from. Of a hop upward `reading` says how its one column holds references, of a hop downward `to_reading` does.
    """

    columns: tuple[str, ...]
    table: TableName
    to_columns: tuple[str, ...]
    many: bool = False
    when: str | None = None
    down: bool = False
    comparisons: tuple[Comparison, ...] = ()
    reading: Reading | None = None
    to_reading: Reading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How a row leads to a person: steps that end in the table of `subject` (none: the row is the person's own).

    `certain` when the database itself makes every row reach somebody: enforced keys that are never null. `shared` is
    the path's own rule for rows of several people, where it has one.
    """

    steps: tuple[Step, ...]
    text: str
    subject: DatasetId
    certain: bool = False
    shared: Shared | None = None

    @property
    def many(self) -> bool:
        """Whether one row may lead to several subjects over this path."""
        return any(step.many for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetScope:
    """One dataset, resolved against the catalogue: what moves, by which key, over which paths, blanked how."""

    id: DatasetId
    table: TableName
    partitioned: bool
    rows: Disposition
    home_rows: HomeRows
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    paths: tuple[Path, ...] = ()
    shared: Shared | None = None
    ownerless_stay: bool = False
    blanks: tuple[Blank, ...] = ()
    unenforced_follow: bool = False
    binary: bool = False
    bytes: int = 0
    private: tuple[str, ...] = ()
    key_comparisons: tuple[Comparison, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether its rows go home whole and leave the source whole."""
        return self.rows is Disposition.MOVE

    def sharing(self, path: Path) -> Shared | None:
        """The rule for rows that this path leads to several people: the path's own, else the dataset's."""
        return path.shared or self.shared

    @property
    def owned(self) -> bool:
        """Whether its rows, or private fields in them, belong to subjects; these are fenced."""
        return bool(self.paths)

    @property
    def decided(self) -> bool:
        """Whether its paths decide where its rows go: rows that move, or that hold private fields to blank."""
        return self.owned and (self.moves or bool(self.blanks))

    @property
    def sole(self) -> bool:
        """Whether none of its rows can have more than one owner: so there is nothing to share, and nothing to count."""
        return bool(self.key) and len(self.paths) == 1 and not self.paths[0].many


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A child's reference to a parent among the datasets; `enforced` by the database on every partition or not.

    With `when` it is one only for child rows of which that is true: one target of a polymorphic pair.
    """

    name: str
    child: DatasetId
    columns: tuple[str, ...]
    parent: DatasetId
    parent_columns: tuple[str, ...]
    enforced: bool
    missing_on: tuple[TableName, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    apart_home: Apart = Apart.REFUSE
    apart_source: Apart = Apart.REFUSE
    reading: Reading | None = None
    when: str | None = None

    @property
    def spelled(self) -> str:
        """The child's side as `domicile.yaml` writes it."""
        columns = self.reading.spelled if self.reading else ",".join(self.columns)
        return columns if self.when is None else f"{columns} when {self.when}"

    @property
    def where(self) -> str:
        """The place of its rule in domicile.yaml."""
        return f"datasets.{self.child}.edges.{self.spelled}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One place that tells a person's market: steps from their row, a field, and what its values mean.

    Without `values` they are names of markets; a value that is not in `values` means elsewhere. `pattern` takes its
    first group out of the value, and a value that does not match tells nothing. `date` is a column of the same row
    for `latest`; `since` and `until` bound when the row is true; `when` is asked of it, too.
    """

    name: str
    steps: tuple[Step, ...]
    field: str
    comparison: Comparison = PLAIN
    when: str | None = None
    values: tuple[tuple[str, str], ...] | None = None
    pattern: str | None = None
    date: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRule:
    """How the market of a person is decided from evidence, in this order.

    `decide`: the `first` evidence that tells anything, the `latest` by its date, or all must `agree`. `conflict` and
    `unknown` are a market or `stay`; None, or `in-scope`, asks a person before anything moves.
    """

    evidence: tuple[Evidence, ...]
    decide: Decide
    homes: tuple[tuple[str, str], ...]
    unknown: str
    conflict: str | None = None
    as_of: date | None = None

    @property
    def tables(self) -> frozenset[TableName]:
        """The tables beside people's own whose rows tell a market, or lead to one that does."""
        return frozenset(step.table for piece in self.evidence for step in piece.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of people: where each has their one row, its key, and how their market is decided."""

    dataset: DatasetId
    key: str
    market: MarketRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A table or materialised view that is computed `of` others: after the erasure emptied, or refreshed (ADR 0019)."""

    id: DatasetId
    table: TableName
    of: tuple[DatasetId, ...]
    view: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """All that decides the closure of the programme's markets.

    `kinds` are the kinds of people, the market's own subjects first. Datasets stand parents first; what is derived
    from them is none of them, as its rows go nowhere. The same object makes the SQL of copy and verify, the guard of
    the fence, and the erasure.
    """

    kinds: tuple[Kind, ...]
    datasets: tuple[DatasetScope, ...]
    edges: tuple[Edge, ...]
    derived: tuple[Derived, ...] = ()

    @property
    def subject(self) -> DatasetId:
        """The dataset of the market's own subjects."""
        return self.kinds[0].dataset

    def kind(self, dataset: DatasetId) -> Kind:
        """Return the kind of people whose own rows the dataset holds; a KeyError is our bug."""
        for kind in self.kinds:
            if kind.dataset == dataset:
                return kind
        raise KeyError(dataset)

    def is_subject(self, dataset: DatasetId) -> bool:
        """Whether the dataset holds people's own rows."""
        return any(kind.dataset == dataset for kind in self.kinds)

    def dataset(self, dataset: DatasetId) -> DatasetScope:
        """Return the dataset of that id; a KeyError is our bug."""
        for candidate in self.datasets:
            if candidate.id == dataset:
                return candidate
        raise KeyError(dataset)

    @property
    def homes(self) -> tuple[Home, ...]:
        """The homes, each once, in the order of the policy."""
        return tuple(dict.fromkeys(Home(home) for _, home in self.kinds[0].market.homes))


class Form(StrEnum):
    """How much of a row goes home: all of it, or a skeleton with the private fields blanked.

    The end of a move under way says of whole rows, too, what may be compared while home lives (`closing`): of split
    rows key and private columns, as what is public goes on being written on both sides; of rows of several homes the
    key, as each home keeps a version of its own; nothing of rows that the source keeps as well.
    """

    WHOLE = "whole"
    SKELETON = "skeleton"
    PRIVATE = "private"
    SHARED = "shared"
    KEPT = "kept"
    OBJECTS = "objects"
    """No rows: versions of objects, of an object store. They go home whole."""


class Fate(StrEnum):
    """What becomes of a closure row at the source."""

    DELETE = "delete"
    BLANK = "blank"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Rows of one dataset for one home in a range of the frozen manifest.

    `after < n <= upto` of part `part` (a home, or `*` for rows that every home gets). Skeleton slices hold nothing
    private.
    """

    id: SliceId
    dataset: DatasetId
    home: Home
    part: str
    form: Form
    after: int
    upto: int
    rows: int
    delete: int = 0
    blank: int = 0

    @property
    def leaves(self) -> bool:
        """Whether anything of it leaves the source."""
        return bool(self.delete or self.blank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something counted that a person decides or should know: `kind` is stable, `rule` says what the file decides.

    `keys` are keyed digests of the first rows' keys (P8), which `domicile explain` takes; `dataset` is theirs.
    """

    kind: str
    where: str
    count: int
    text: str
    rule: str | None = None
    remedy: str | None = None
    keys: tuple[str, ...] = ()
    dataset: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts of one dataset for one home at the moment of the freeze.

    `kept` are closure rows the source keeps under a rule, `supporting` rows of others that home needs.
    """

    dataset: DatasetId
    home: Home
    whole: int
    supporting: int
    delete: int
    blank: int
    kept: int
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The frozen closure: subjects per home, slices, tallies, and what was found on the way. Keys stay in the store."""

    subjects: tuple[tuple[Home, int], ...]
    slices: tuple[Slice, ...]
    tallies: tuple[Tally, ...]
    findings: tuple[Finding, ...]

    def undecided(self) -> tuple[Finding, ...]:
        """The findings for which the file has no rule; while there are any, nothing moves."""
        return tuple(finding for finding in self.findings if finding.remedy is not None)
