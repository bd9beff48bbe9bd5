"""The nouns that travel between stages: scope, slices, manifest, equality, clearance, verdicts. All immutable.

Order is carried by values: `erase` wants a `Clearance`, and only `cutover.clear` makes one, from an `Equality`
that `verify` made under a fence, from approvals, and from a restore at home that was really done (P2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from domicile.catalogue import PLAIN, Column, Comparison, TableName
from domicile.config import Apart, Disposition, HomeRows, Shared

DatasetId = NewType("DatasetId", str)
Home = NewType("Home", str)
SliceId = NewType("SliceId", str)
Digest = NewType("Digest", str)

SLICE_ROWS_MAX = 250_000


class Verdict(StrEnum):
    """What is known of one stored copy, worst last (the roll-up of several is the worst)."""

    ERASED_VERIFIED = "erased-verified"
    KEY_DESTROYED = "key-destroyed"
    ERASED_UNVERIFIED = "erased-unverified"
    BLOCKED_UNTIL = "blocked-until"
    HELD = "held"
    UNKNOWN = "unknown"
    PRESENT = "present"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A resolved hop: rows of `table` joined on `columns` = `to_columns`; `many` when one row may lead to several.

    `comparisons` have the parent on their left: the row that the hop leads to, or with `many` the row it starts from.
    `single` when the database itself lets at most one row match; a forward hop to columns without a key is neither.
    """

    columns: tuple[str, ...]
    table: TableName
    to_columns: tuple[str, ...]
    many: bool = False
    when: str | None = None
    comparisons: tuple[Comparison, ...] = ()
    single: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How a row leads to its subject: steps that end in the subject's table (none: the row is the subject).

    `certain` when the database itself makes every row reach somebody: enforced keys that are never null.
    """

    steps: tuple[Step, ...]
    text: str
    certain: bool = False

    @property
    def many(self) -> bool:
        """Whether one row may lead to several subjects over this path."""
        return any(step.many for step in self.steps)

    @property
    def single(self) -> bool:
        """Whether the database lets no row lead to more than one subject over this path."""
        return all(step.single for step in self.steps)


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
        return bool(self.key) and len(self.paths) == 1 and self.paths[0].single


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A child's reference to a parent among the datasets; `enforced` by the database on every partition or not."""

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

    @property
    def where(self) -> str:
        """The place of its rule in domicile.yaml."""
        return f"datasets.{self.child}.edges.{','.join(self.columns)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRule:
    """How the market of a subject is read: path, field, and what the values mean (None: they are market names).

    `single` when the database itself lets a subject reach one row at most; `when` is asked of the row that tells.
    """

    path: Path
    field: str
    values: tuple[tuple[str, str], ...] | None
    homes: tuple[tuple[str, str], ...]
    unknown: str
    comparison: Comparison = PLAIN
    when: str | None = None
    conflict: str | None = None
    single: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """All that decides the closure of the programme's markets.

    Datasets stand parents first, the subject's among them. The same object makes the SQL of copy and verify, the
    guard of the fence, and the erasure.
    """

    subject: DatasetId
    subject_key: str
    market: MarketRule
    datasets: tuple[DatasetScope, ...]
    edges: tuple[Edge, ...]

    def dataset(self, dataset: DatasetId) -> DatasetScope:
        """Return the dataset of that id; a KeyError is our bug."""
        for candidate in self.datasets:
            if candidate.id == dataset:
                return candidate
        raise KeyError(dataset)

    @property
    def homes(self) -> tuple[Home, ...]:
        """The homes, each once, in the order of the policy."""
        return tuple(dict.fromkeys(Home(home) for _, home in self.market.homes))


class Form(StrEnum):
    """How much of a row goes home: all of it, or a skeleton with the private fields blanked."""

    WHOLE = "whole"
    SKELETON = "skeleton"


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
    """Something counted that a person decides or should know: `kind` is stable, `rule` says what the file decides."""

    kind: str
    where: str
    count: int
    text: str
    rule: str | None = None
    remedy: str | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What one read or write of a slice saw: rows, bytes on the wire, and their keyed BLAKE3 digest."""

    slice: SliceId
    rows: int
    bytes: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key on which source and home differ: `missing` at home, `changed`, or a `stray` row at home.

    The key is for the operator's terminal only and never for evidence (P8).
    """

    dataset: DatasetId
    home: Home
    kind: str
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One slice read on both sides."""

    slice: Slice
    source: Measure
    home: Measure

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same rows, bit for bit, in the same order."""
        return (self.source.rows, self.source.digest) == (self.home.rows, self.home.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Equality:
    """The result of `verify`: every slice on both sides, strays at home, and whether a fence stood meanwhile."""

    position: str
    fenced: bool
    pairs: tuple[Pair, ...]
    strays: tuple[tuple[DatasetId, Home, int], ...]
    differences: tuple[Difference, ...]
    made_at: datetime

    @property
    def holds(self) -> bool:
        """Whether nothing differs at all."""
        return all(pair.equal for pair in self.pairs) and not any(count for _, _, count in self.strays)

    @property
    def private(self) -> tuple[Pair, ...]:
        """The pairs of whole rows: what a clearance rests on."""
        return tuple(pair for pair in self.pairs if pair.slice.form is Form.WHOLE)

    @property
    def drifted(self) -> tuple[Pair, ...]:
        """The pairs of rows that are nobody's secret and differ: people who stay go on writing theirs (P6)."""
        return tuple(pair for pair in self.pairs if pair.slice.form is Form.SKELETON and not pair.equal)

    @property
    def clears(self) -> bool:
        """Whether every whole slice is equal and home holds no stray."""
        return all(pair.equal for pair in self.private) and not any(count for _, _, count in self.strays)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """A standing guard in the source database: whose writes are refused, since when and from which position."""

    position: str
    fenced_at: datetime
    subjects: tuple[tuple[Home, int], ...]
    wait_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """A backup of a home that was really restored there and read back, slice by slice."""

    home: Home
    method: str
    done_at: datetime
    measures: tuple[Measure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """Permission to erase the named slices, each with the digest that home proved. Made only by `cutover.clear`."""

    statement: str
    digests: tuple[tuple[SliceId, Digest], ...]

    def digest_of(self, slice_id: SliceId) -> Digest | None:
        """Return what home proved of the slice, or None when it isn't cleared."""
        return dict(self.digests).get(slice_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What one erasure transaction did to the source."""

    slice: SliceId
    deleted: int
    blanked: int
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One stored instance of private data outside home, as the plan lists it."""

    id: str
    store: str
    location: str
    kind: str
    dataset: str | None
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyVerdict:
    """The verdict on one copy and its reason; `until` only with `blocked-until`."""

    copy: str
    verdict: Verdict
    why: str
    until: datetime | None = None
