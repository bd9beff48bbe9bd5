"""The case: what the checks have established so far, and the one way to say no."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from domicile_audit.log.keys import Key
    from domicile_audit.trust.policy import Policy

Part = Mapping[str, Any]  # an object of the JSON of a statement, its shape checked
Parts = Mapping[str, Part]  # slices or copies by their id
LOG = 0  # the place of the log's keys among the chains; approvers have theirs from 1 on
STEPS = ("cohort/v1", "freeze/v1")  # of a live move; each voids what was fenced or compared before it
MOVES = ("transfer/v1", "cutover/v1", "equality/v1")  # each makes the comparison before it old


class Refused(ValueError):
    """The bundle, or the trust policy, does not hold; the message is the reason."""


def require(holds: object, reason: str) -> None:
    """Refuse unless it holds (is true, or is not empty)."""
    if not holds:
        raise Refused(reason)


def require_once(items: Iterable[str], where: str) -> None:
    """Refuse if one of the items stands there twice."""
    for item, times in Counter(items).items():
        require(times == 1, f"{where}: {item} stands there twice")


def by_id(parts: Sequence[Part], where: str) -> Parts:
    """These parts by their ids; refuse if one stands there twice."""
    require_once((part["id"] for part in parts), where)
    return {part["id"]: part for part in parts}


@dataclass(frozen=True)
class Statement:
    """One statement of the log, signed and in its shape; `sha256` is that of its envelope's bytes."""

    index: int
    sha256: str
    kind: str
    keyid: str
    holder: int  # the number of the chain that its key is in
    predicate: Part

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401  (what the shape says)
        return self.predicate[key]

    def __str__(self) -> str:
        return f"statement {self.index} ({self.kind})"

    @cached_property
    def slices(self) -> Parts:
        """What it says of each slice, once, by the slice's id (of a clearance, which names them only: `ids`)."""
        return by_id(self["slices"], str(self))

    @cached_property
    def ids(self) -> frozenset[str]:
        """Of a clearance: the ids of its slices."""
        return frozenset(self["slices"])

    @cached_property
    def copies(self) -> Parts:
        """What a plan, sweep or certificate says of each copy, once, by the copy's id."""
        return by_id(self["copies"], str(self))

    @cached_property
    def is_search(self) -> bool:
        """Of a sweep: whether it searched for something, and read something."""
        return self["tokens"]["searched"] > 0 and any(copy["bytes"] for copy in self["copies"])

    @cached_property
    def homes_with_rows(self) -> list[str]:
        """Of a plan or freeze: the homes of its slices, but for those without rows."""
        return sorted({part["home"] for part in self["slices"] if part["rows"]})


@dataclass
class Case:
    """Filled from the top of the checklist to the bottom; a check may rely on what those above it left here.

    What is cached is asked for from check 10 on, when all statements are there. What freezes and cohorts do: a freeze
    replaces the slices (`frozen_before`); it, and each cohort, opens the fence and makes what was compared before old.
    """

    data: bytes
    policy: Policy | None
    files: dict[str, bytes] = field(default_factory=dict)  # 1
    engine: Key = field(init=False)  # 2, the key of the log and of the engine
    chains: list[list[Key]] = field(default_factory=list)  # 2: the log's keys, then each approver's (rotation.py)
    holders: dict[str, int] = field(default_factory=dict)  # 2: the number of the chain that a key is in, by keyid
    size: int = 0  # 5
    root: bytes = b""  # 5
    cosigned: dict[str, int] = field(default_factory=dict)  # 5: when, by the policy's names of witnesses
    cosignatures: int = 0  # 5: lines behind the log's own signature, whether a policy knows their keys or not
    entries: list[bytes] = field(default_factory=list)  # 6
    levels: list[list[bytes]] = field(default_factory=list)  # 6: the hashes of the entries, then of full tiles below
    envelopes: list[tuple[bytes, str]] = field(default_factory=list)  # 8: payload, keyid
    statements: list[Statement] = field(default_factory=list)  # 9
    detached_bytes: int = 0  # 9: predicates that lie beside the log, counted for each statement that names one
    by_sha256: dict[str, Statement] = field(default_factory=dict)  # 9: the first one of these bytes
    votes: list[list[Statement]] = field(default_factory=list)  # 24: by which others changed a holder's key
    void: set[int] = field(default_factory=set)  # 24: the places of what a lost key signed
    at_home: dict[int, Statement] = field(default_factory=dict)  # 22: how each cohort went home; at once: 0, the fence
    by_kinds: dict[tuple[str, ...], Sequence[Statement]] = field(default_factory=dict)  # what `of` has found

    @property
    def plan(self) -> Statement:
        """The plan."""
        return self.statements[0]

    @cached_property
    def numbers(self) -> dict[str | None, int]:
        """The number of each approver's chain by name; of the log's by None."""
        names = [None, *(approver["name"] for approver in self.plan["approvals"]["of"])]
        return {name: number for number, name in enumerate(names)}

    @cached_property
    def last_step(self) -> Statement:
        """The last cohort or freeze; in a move at once the plan."""
        return self.last_before(len(self.statements), *STEPS)

    @property
    def live(self) -> bool:
        """Whether the service ran meanwhile, as cohorts or freezes say; then freezes name the slices, not the plan."""
        return bool(self.of(*STEPS))

    @cached_property
    def slices(self) -> Parts:
        """What is moved: the slices of the last freeze, else of the plan."""
        return self.frozen_before(len(self.statements)).slices

    @cached_property
    def homes(self) -> frozenset[str]:
        """The locations that are home to some market."""
        return frozenset(self.plan["homes"].values())

    @cached_property
    def object_stores(self) -> frozenset[str]:
        """The stores whose slices are of objects; such a slice bears the store's name as dataset."""
        return frozenset(copy["store"] for copy in self.plan.copies.values() if copy["kind"] == "objects")

    @cached_property
    def live_rows(self) -> frozenset[tuple[str, str | None]]:
        """Store and dataset of each copy of live rows; a dataset of None: all of the store.

        The dataset of a slice of rows begins with the store's name and a dot.
        """
        copies = self.plan.copies.values()
        return frozenset((copy["store"], copy["dataset"]) for copy in copies if copy["kind"] == "live-rows")

    @cached_property
    def derived(self) -> frozenset[str | None]:
        """The tables that the service makes anew from others; an erasure empties them whole."""
        return frozenset(copy["dataset"] for copy in self.plan.copies.values() if copy["kind"] == "derived-table")

    @cached_property
    def losing(self) -> frozenset[str]:
        """The datasets of rows of which something is to be erased."""
        losing = frozenset(part["dataset"] for part in self.slices.values() if any(part["erase"].values()))
        return losing - self.object_stores

    @cached_property
    def outcomes(self) -> list[Statement]:
        """The erasures of slices that were done, as far as the log says."""
        return [one for one in self.of("erasure/v1") if one["phase"] == "outcome" and one["slices"]]

    @cached_property
    def erased_under(self) -> frozenset[str]:
        """The clearances under which something was erased, or announced, by their digests."""
        return frozenset(erasure["clearance"] for erasure in self.of("erasure/v1"))

    @cached_property
    def gone(self) -> dict[str, tuple[int, int]]:
        """Rows deleted and blanked, by slice, as its last outcome tells."""
        return {part["id"]: (part["deleted"], part["blanked"]) for one in self.outcomes for part in one["slices"]}

    def of(self, *kinds: str) -> Sequence[Statement]:
        """The statements of these types, in the order of the log."""
        if kinds not in self.by_kinds:
            self.by_kinds[kinds] = [statement for statement in self.statements if statement.kind in kinds]
        return self.by_kinds[kinds]

    def frozen_before(self, place: int) -> Statement:
        """What named the slices, at a place of the log: the last freeze before it, or the plan."""
        return self.last_before(place, "freeze/v1")

    def last_before(self, place: int, *kinds: str) -> Statement:
        """The last statement of these types before a place of the log behind the plan; the plan where there is none."""
        found = self.of("plan/v1", *kinds)  # in their order, the plan first: so there is always one
        return found[bisect_left(found, place, key=lambda statement: statement.index) - 1]

    def basis(self, statement: Statement) -> Statement:
        """What this one rests on: erasures and receipts on a clearance, clearances and approvals on an equality."""
        what = "clearance" if "clearance" in statement.predicate else "equality"
        return self.named(statement[what], f"{what}/v1", statement)

    def approvals(self, clearance: Statement) -> list[Statement]:
        """The approvals that a clearance names."""
        return [self.named(sha256, "approval/v1", clearance) for sha256 in clearance["approvals"]]

    def named(self, sha256: str, kind: str, by: Statement) -> Statement:
        """The statement of that type and digest, which must stand before the one that names it."""
        found = self.by_sha256.get(sha256)
        if found is not None and found.kind == kind and found.index < by.index:
            return found
        raise Refused(f"{by} names a {kind} that does not stand before it in the log")
