"""What was shown: measures, equality, fence, restore, clearance, what was erased, verdicts. All immutable.

Order is carried by values: `erase` wants a `Clearance`, and only `cutover.clear` makes one, from an `Equality`
that `verify` made under a fence, from approvals, and from a restore at home that was really done (P2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domicile.model import DatasetId, Digest, Form, Home, Slice, SliceId


class Verdict(StrEnum):
    """What is known of one stored copy, worst last (the roll-up of several is the worst)."""

    ERASED_VERIFIED = "erased-verified"
    KEY_DESTROYED = "key-destroyed"
    ERASED_UNVERIFIED = "erased-unverified"
    BLOCKED_UNTIL = "blocked-until"
    HELD = "held"
    UNKNOWN = "unknown"
    PRESENT = "present"


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

    @property
    def is_other(self) -> bool:
        """Whether the source has another number of rows than was frozen: somebody passed the fence."""
        return self.source.rows != self.slice.rows


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
        return tuple(pair for pair in self.pairs if pair.slice.form is not Form.SKELETON)

    @property
    def drifted(self) -> tuple[Pair, ...]:
        """The pairs of rows that are nobody's secret and differ: people who stay go on writing theirs (P6)."""
        return tuple(pair for pair in self.pairs if pair.slice.form is Form.SKELETON and not pair.equal)

    @property
    def others(self) -> tuple[Pair, ...]:
        """The pairs of whole rows that are no longer what was frozen."""
        return tuple(pair for pair in self.private if pair.is_other)

    @property
    def clears(self) -> bool:
        """Whether every whole slice is equal, and as large as it was frozen, and home holds no stray."""
        same = all(pair.equal for pair in self.private) and not self.others
        return same and not any(count for _, _, count in self.strays)


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
