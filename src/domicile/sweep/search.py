"""What a search counts and how bytes flow through the matcher: by copy, place and class, never a value (P8).

A stream is searched in blocks; what a token needs to straddle two blocks is carried over. Memory is bounded by the
block, the matcher and one bit per token and copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import TypeAlias

from domicile.stores.postgres.pages import APART, Unpacked
from domicile.sweep.forms import TokenClass
from domicile.sweep.matcher import Matcher
from domicile.sweep.tokens import TokenCounts

BUCKET_BYTES = 1024 * 1024
PLACES_MAX = 20_000
CLEAN_VALUES_MAX = 500_000  # of which only digests are kept
TOKEN_IN_NAME = "(holds a token)"  # noqa: S105 - what is told of a file's name in place of a token


class View(StrEnum):
    """How the bytes were seen when a token was found in them."""

    RAW = "raw"
    UNPACKED = "unpacked"
    JOINED = "joined"
    ROWS = "rows"
    PACKED = "packed"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Tokens of one class found in one place: `offset` is rounded down to a bucket, so that it tells no value."""

    copy: str
    path: str
    offset: int
    view: View
    token_class: TokenClass
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something of a copy that the search could not see, and why; what follows for the verdict is decided elsewhere."""

    copy: str
    path: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySearch:
    """What the search saw of one copy: hits, different tokens among them, bytes read, and what it could not see."""

    copy: str
    hits: int = 0
    distinct: int = 0
    files: int = 0
    relations: int = 0
    bytes: int = 0
    bytes_unpacked: int = 0
    findings: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything of the copy was seen."""
        return not self.gaps

    @property
    def specific(self) -> int:
        """Hits of values that only one person bears."""
        return sum(finding.count for finding in self.findings if finding.token_class.specific)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """One sweep of one server: every copy that was looked at, how files were reached, and the tokens' numbers.

    `databases` names the server's databases by the numbers that stand in paths.
    """

    tokens: TokenCounts
    how: str
    copies: tuple[CopySearch, ...]
    databases: Mapping[int, str] = field(default_factory=dict)

    def of(self, copy: str) -> CopySearch | None:
        """Return what was seen of a copy; None when nothing belongs to it."""
        return next((search for search in self.copies if search.copy == copy), None)

    @property
    def bytes(self) -> int:
        """All bytes read, unpacked ones not counted again."""
        return sum(search.bytes for search in self.copies)

    @property
    def hits(self) -> int:
        """All hits in all copies."""
        return sum(search.hits for search in self.copies)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a stream comes from."""

    copy: str
    path: str


@dataclass(frozen=True, slots=True)
class Value:
    """What was unpacked from a place of a stream; `offset` is where about it stood."""

    data: bytes = field(repr=False)
    offset: int
    view: View


Place: TypeAlias = tuple[str, int, View, TokenClass]  # path, offset, how it was seen, of which class


@dataclass(slots=True)
class _Account:
    hits: int = 0
    files: int = 0
    relations: int = 0
    bytes: int = 0
    bytes_unpacked: int = 0
    seen: bytearray = field(default_factory=bytearray)
    places: Counter[Place] = field(default_factory=Counter)
    gaps: dict[Gap, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """What was found in a copy so far, hits and gaps together, and how many bytes were unpacked."""

    found: int
    unpacked: int


class Tally:
    """Counts hits by copy, place, view and class; drops the tokens themselves at once."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._accounts: dict[str, _Account] = {}
        self._clean: set[bytes] = set()

    @property
    def carry_bytes(self) -> int:
        """How many bytes of a block must be seen again with the next one."""
        return self._matcher.reach

    def search(self, block: bytes, spot: Spot, *, offset: int, view: View, carried: int = 0) -> bool:
        """Count the hits in a block whose first `carried` bytes were searched before; `offset` is the block's.

        Return whether there was any.
        """
        account = self._account(spot.copy)
        before = account.hits
        for hit in self._matcher.find(block):
            if hit.offset + hit.length <= carried:
                continue
            account.hits += 1
            self._mark(account, hit.token)
            place = (
                spot.path,
                (offset + hit.offset) // BUCKET_BYTES * BUCKET_BYTES,
                view,
                self._matcher.class_of(hit.token),
            )
            self._place(account, place, 1)
        return account.hits > before

    def finds(self, data: bytes) -> bool:
        """Whether there is anything to be found in it; nothing is counted."""
        return any(True for _ in self._matcher.find(data))

    def search_values(self, values: Sequence[Value], spot: Spot) -> None:
        """Count what is found in unpacked values.

        They are looked through together, and each content once: each search has its price, however short the value, and
        a server's databases and its log hold the same packed values of its catalogues again and again.
        """
        self.add(spot.copy, unpacked=sum(len(value.data) for value in values))
        new = {blake2b(value.data, digest_size=16).digest(): value.data for value in values}
        fresh = [data for content, data in new.items() if content not in self._clean]
        if not fresh:
            return
        if self.finds(APART.join(fresh)):
            for value in values:
                self.search(value.data, spot, offset=value.offset // BUCKET_BYTES * BUCKET_BYTES, view=value.view)
        elif len(self._clean) < CLEAN_VALUES_MAX:
            self._clean.update(new)

    def search_unpacked(self, unpacked: Unpacked, spot: Spot, *, offset: int) -> None:
        """Count what is found in values of a stream that begins at `offset`; together first, as most hold nothing."""
        self.add(spot.copy, unpacked=unpacked.size)
        if self.finds(unpacked.data):
            for value in unpacked.values():
                where = (offset + value.offset) // BUCKET_BYTES * BUCKET_BYTES
                self.search(value.data, spot, offset=where, view=View.UNPACKED)

    def part(self) -> Tally:
        """One that looks for the same and counts on its own, beside this one; `take` adds it up."""
        part = Tally(self._matcher)
        part._clean = self._clean
        return part

    def take(self, part: Tally) -> None:
        """Add what a part has counted, as if it had been counted here."""
        for name, theirs in part._accounts.items():
            account = self._account(name)
            account.hits += theirs.hits
            account.files += theirs.files
            account.relations += theirs.relations
            account.bytes += theirs.bytes
            account.bytes_unpacked += theirs.bytes_unpacked
            account.seen = _either(account.seen, theirs.seen)
            for place, count in theirs.places.items():
                self._place(account, place, count)
            for gap in theirs.gaps:
                self.gap(gap.copy, gap.path, gap.why)

    def _place(self, account: _Account, place: Place, count: int) -> None:
        if place not in account.places and len(account.places) >= PLACES_MAX:
            place = ("(more places)", 0, *place[2:])
        account.places[place] += count

    def _mark(self, account: _Account, token: int) -> None:
        if not account.seen:
            account.seen = bytearray(self._matcher.tokens // 8 + 1)
        account.seen[token >> 3] |= 1 << (token & 7)

    def named(self, spot: Spot) -> Spot:
        """Search a path; return the spot under which findings may be told: parts that hold a token are left out."""
        parts = spot.path.split("/")
        told = [TOKEN_IN_NAME if self._names(part) else part for part in parts]
        if told == parts and not self._names(spot.path):
            return spot
        masked = Spot(spot.copy, "/".join(told) if told != parts else TOKEN_IN_NAME)
        self.search(spot.path.encode(errors="surrogateescape"), masked, offset=0, view=View.NAME)
        return masked

    def _names(self, name: str) -> bool:
        return any(True for _ in self._matcher.find(name.encode(errors="surrogateescape")))

    def stream(self, blocks: Iterable[bytes], spot: Spot, *, view: View) -> None:
        """Search a stream of blocks as one."""
        flow = Flow(self, spot, view=view)
        for block in blocks:
            flow.feed(block)
            self.add(spot.copy, read=len(block))

    def add(self, copy: str, *, files: int = 0, relations: int = 0, read: int = 0, unpacked: int = 0) -> None:
        """Count what was read."""
        account = self._account(copy)
        account.files += files
        account.relations += relations
        account.bytes += read
        account.bytes_unpacked += unpacked

    def standing(self, copy: str) -> Standing:
        """What is known of a copy so far."""
        account = self._account(copy)
        return Standing(account.hits + len(account.gaps), account.bytes_unpacked)

    def gap(self, copy: str, path: str, why: str) -> None:
        """Note something that could not be seen."""
        account = self._account(copy)
        if len(account.gaps) < PLACES_MAX:
            account.gaps[Gap(copy=copy, path=path, why=why)] = None

    def _account(self, copy: str) -> _Account:
        account = self._accounts.get(copy)
        if account is None:
            account = self._accounts[copy] = _Account()
        return account

    def result(self, copies: Sequence[str] = ()) -> tuple[CopySearch, ...]:
        """Return one value per copy touched, and per copy named, sorted."""
        names = sorted({*copies, *self._accounts})
        return tuple(self._sum(name, self._account(name)) for name in names)

    def _sum(self, name: str, account: _Account) -> CopySearch:
        return CopySearch(
            copy=name,
            hits=account.hits,
            distinct=int.from_bytes(account.seen, "little").bit_count(),
            files=account.files,
            relations=account.relations,
            bytes=account.bytes,
            bytes_unpacked=account.bytes_unpacked,
            findings=tuple(
                Finding(copy=name, path=path, offset=offset, view=view, token_class=token_class, count=count)
                for (path, offset, view, token_class), count in sorted(account.places.items())
            ),
            gaps=tuple(account.gaps),
        )


def _either(ours: bytearray, theirs: bytearray) -> bytearray:
    """The bits that stand in one or the other; an empty one has none."""
    if not ours or not theirs:
        return ours or theirs
    return bytearray((int.from_bytes(ours, "little") | int.from_bytes(theirs, "little")).to_bytes(len(ours), "little"))


class Flow:
    """A stream that is searched as its blocks come: what lies across two of them is found, and counted once."""

    def __init__(self, tally: Tally, spot: Spot, *, view: View, placed: bool = True) -> None:
        self._tally = tally
        self._spot = spot
        self._view = view
        self._placed = placed  # whether the stream's offsets are the file's
        self._tail = b""
        self._offset = 0

    def feed(self, block: bytes) -> None:
        """Search the next block."""
        tail, carry = self._tail, self._tally.carry_bytes
        window = tail + block if tail else block
        offset = self._offset - len(tail) if self._placed else 0
        self._tally.search(window, self._spot, offset=offset, view=self._view, carried=len(tail))
        self._offset += len(block)
        self._tail = window[-carry:] if carry else b""
