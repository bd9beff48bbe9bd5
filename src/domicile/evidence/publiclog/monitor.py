"""Follows a log from outside: whether it only grew, and whether every new statement is one.

    rollback    fewer entries than it had
    fork        its head does not continue what was seen
    damaged     its files are not those of its head
    split       somebody else was shown another log of this name
    behind      somebody else was shown more of it
    quorum      too few witnesses cosigned its head
    statement   an entry is no statement of the engine's or of an approver's
    old         its head, or its cosignatures, are older than wanted; or dated after now

What was seen is kept as the right edge of the tree, so that a look costs what came since. It goes on only without an
alarm: one that rang rings again until a person has looked, and moved the state away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from domicile.errors import BadFile, EvidenceFault
from domicile.evidence.codec import Hex
from domicile.evidence.keys import parse_vkey
from domicile.evidence.predicates import ApprovalPredicate, PlanPredicate, Predicate
from domicile.evidence.publiclog.fsck import Signed, lacking, open_signed
from domicile.evidence.publiclog.place import Place, read_checkpoint, read_detached, read_entries
from domicile.evidence.statement import Sealed, detached_name, read_unverified, unseal
from domicile.evidence.tlog.merkle import Edge, hash_leaf
from domicile.evidence.tlog.policy import NONE, Policy
from domicile.evidence.tlog.tile import TILE_WIDTH, Tile

ENTRIES_MAX: Final = 4_194_304
STATEMENTS_TOLD_MAX: Final = 32
CLOCKS_APART: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a monitor remembers of one log."""

    vkey: str
    size: int
    edge: tuple[Hex, ...]
    grew_at: datetime
    plan: Hex | None = None
    approvers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One thing that must not be."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look found: the head that is shown, what is new, what is wrong, and what to remember from now on."""

    checkpoint: bytes
    size: int
    new: int
    kinds: Mapping[str, int]
    cosigned_at: Mapping[str, datetime]
    alarms: tuple[Alarm, ...]
    state: State | None


@dataclass(slots=True)
class _Look:
    place: Place
    policy: Policy
    signed: Signed
    now: datetime
    state: State
    kinds: dict[str, int] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)

    def ring(self, kind: str, text: str) -> None:
        self.alarms.append(Alarm(kind=kind, text=text))


def look(  # noqa: PLR0913 - a place, by which rules, and what it is held against
    place: Place, policy: Policy, state: State | None, *, against: Mapping[str, bytes], now: datetime,
    older_than: timedelta | None = None,
) -> Looked:  # fmt: skip
    """Look at the log there once. `against` are checkpoints of it that others were shown, by where they come from.

    They have to be read before, or a log that grows meanwhile seems behind. Raises Unreachable or HostFault when the
    log can't be read, EvidenceFault when it, or one held against it, is no checkpoint of a log of the policy.
    """
    checkpoint = read_checkpoint(place)
    signed = open_signed(checkpoint, policy, where=place.name)
    others = {name: open_signed(data, policy, where=name) for name, data in against.items()}
    if any(one.head.origin != signed.head.origin for one in others.values()):
        raise EvidenceFault(f"log {signed.head.origin}: held against a checkpoint of another log; name one of this log")
    before = state or State(vkey=signed.vkey, size=0, edge=(), grew_at=now)
    if before.vkey != signed.vkey:
        raise EvidenceFault(f"log {signed.head.origin}: the state is of a log with another key; name its own state")
    this = _Look(place, policy, signed, now, before)
    after = _follow(this, others)
    _check_age(this, before if after is None else after, older_than)
    if not policy.is_met_by(signed.times):
        this.ring("quorum", lacking(policy, signed))
    return Looked(
        checkpoint=checkpoint, size=signed.head.size, new=max(0, signed.head.size - before.size), kinds=this.kinds,
        cosigned_at={name: datetime.fromtimestamp(time, UTC) for name, time in signed.times.items() if time < 2**37},
        alarms=tuple(this.alarms), state=None if this.alarms else after,
    )  # fmt: skip


def _follow(this: _Look, others: Mapping[str, Signed]) -> State | None:
    """Read what is new, and hold the head against what was seen and what others were shown."""
    head, before = this.signed.head, this.state
    if head.size > ENTRIES_MAX:
        raise EvidenceFault(
            f"log {this.place.name}: more than {ENTRIES_MAX} entries; this program follows no larger one"
        )
    if head.size < before.size:
        this.ring("rollback", f"{before.size} entries were seen here, now there are {head.size}")
        return None
    edge = Edge(before.size, [bytes.fromhex(node) for node in before.edge])
    roots = {edge.size: edge.root()}
    wanted = {one.head.size for one in others.values()}
    after = before
    try:
        for index, entry in _entries(this.place, before.size, head.size):
            after = _read_statement(this, after, index, entry)
            edge.append(hash_leaf(entry))
            if edge.size in wanted:
                roots[edge.size] = edge.root()
        if edge.root() != head.root:
            _ring_fork(this)
            return None
        _hold_against(this, roots, others)
    except EvidenceFault as fault:
        this.ring("damaged", str(fault))
        return None
    if head.size > before.size:
        after = replace(after, grew_at=this.now)
    return replace(after, size=head.size, edge=tuple(node.hex() for node in edge.nodes))


def _ring_fork(this: _Look) -> None:
    """Say whether the log is whole in itself, and another one, or whether its files are broken."""
    head, before = this.signed.head, this.state
    whole = _roots(this.place, head.size, {head.size})[head.size] == head.root
    if before.size and whole:
        this.ring("fork", f"its head of {head.size} entries does not continue the {before.size} that were seen")
    else:
        this.ring("damaged", f"its entries are not those of its head of {head.size}; see `domicile log fsck`")


def _hold_against(this: _Look, roots: dict[int, bytes], others: Mapping[str, Signed]) -> None:
    head = this.signed.head
    unknown = {one.head.size for one in others.values() if one.head.size <= head.size} - roots.keys()
    if unknown:
        roots |= _roots(this.place, head.size, {*unknown, head.size})
        if roots[head.size] != head.root:
            raise EvidenceFault("its earlier entries are not those of its head; see `domicile log fsck`")
    for name, other in others.items():
        size = other.head.size
        if size > head.size:
            this.ring("behind", f"{name} was shown {size} entries, here there are {head.size}")
        elif roots[size] != other.head.root:
            this.ring("split", f"{name} was shown another log of {size} entries, signed by the same key")


def _roots(place: Place, size: int, wanted: set[int]) -> dict[int, bytes]:
    """The roots of these sizes, from all entries."""
    edge, roots = Edge(), {0: Edge().root()}
    for _, entry in _entries(place, 0, size):
        edge.append(hash_leaf(entry))
        if edge.size in wanted:
            roots[edge.size] = edge.root()
    return roots


def _entries(place: Place, since: int, size: int) -> Iterator[tuple[int, bytes]]:
    for index in range(since // TILE_WIDTH, -(-size // TILE_WIDTH)):
        start = index * TILE_WIDTH
        tile = Tile(level=None, index=index, width=min(TILE_WIDTH, size - start))
        for number, entry in enumerate(read_entries(place, tile), start=start):
            if number >= since:
                yield number, entry


def _read_statement(this: _Look, state: State, index: int, entry: bytes) -> State:
    """Check one entry, count its kind, and take the plan's approvers from the first one."""
    try:
        predicate = _opened(this, state, entry)
        _require_place(predicate.plan, state, index, is_plan=isinstance(predicate, PlanPredicate))
    except (EvidenceFault, BadFile) as fault:
        if sum(alarm.kind == "statement" for alarm in this.alarms) < STATEMENTS_TOLD_MAX:
            this.ring("statement", f"entry {index}: {fault}")
        return state
    this.kinds[predicate.KIND] = this.kinds.get(predicate.KIND, 0) + 1
    if isinstance(predicate, PlanPredicate):
        approvers = {key.name: key.vkey for key in predicate.approvals.of}
        return replace(state, plan=predicate.plan, approvers=approvers)
    return state


def _opened(this: _Look, state: State, entry: bytes) -> Predicate:
    """The predicate, in its shape and signed by the log's key, or an approval by that of an approver of the plan."""
    name = detached_name(entry)
    detached = None if name is None else read_detached(this.place, name)
    if name is not None and detached is None:
        raise EvidenceFault("statement: its predicate is not served beside the log (`detached`)")
    sealed = Sealed(envelope=entry, detached=detached)
    predicate = read_unverified(sealed)
    vkey = this.signed.vkey
    if isinstance(predicate, ApprovalPredicate):
        vkey = state.approvers.get(predicate.approver, "")
        if not vkey:
            raise EvidenceFault("statement: an approval by somebody whom the plan does not name")
    return unseal(sealed, parse_vkey(vkey))


def _require_place(plan: str, state: State, index: int, *, is_plan: bool) -> None:
    if is_plan != (index == 0):
        raise EvidenceFault("statement: the plan is the first entry, and no other is")
    if not is_plan and plan != state.plan:
        raise EvidenceFault("statement: names another plan than the log's own")


def _check_age(this: _Look, state: State, older_than: timedelta | None) -> None:
    """A head is as old as the latest moment at which a quorum had cosigned it; without witnesses, as when it grew."""
    seen = state.grew_at
    if this.policy.quorum != NONE and this.policy.is_met_by(this.signed.times):
        seen = _quorum_at(this.policy, this.signed.times)
        if seen > this.now + CLOCKS_APART:
            this.ring("old", f"its cosignatures are of {seen:%Y-%m-%d %H:%M} UTC, which is after now")
    if older_than is not None and this.now - seen > older_than:
        this.ring("old", f"nothing newer than {seen:%Y-%m-%d %H:%M:%S} UTC; the log or its witnesses stand still")


def _quorum_at(policy: Policy, times: Mapping[str, int]) -> datetime:
    latest = 0
    for time in sorted(times.values(), reverse=True):
        if policy.is_met_by([name for name, at in times.items() if at >= time]):
            latest = time
            break
    return datetime.fromtimestamp(min(latest, 2**37), UTC)


def kinds_told(kinds: Mapping[str, int]) -> Sequence[str]:
    """How many statements of each kind are new, as words."""
    return [f"{count} {kind}" for kind, count in sorted(kinds.items())]
