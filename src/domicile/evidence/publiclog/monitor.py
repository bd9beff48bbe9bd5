"""Follows a log from outside: whether it only grew, whether every new statement is one, and what all of them tell.

    rollback    fewer entries than it had
    fork        its head does not continue what was seen
    damaged     its files are not those of its head
    split       somebody else was shown another log of this name
    behind      somebody else was shown more of it
    key         a head is signed by a key that the log handed on before, or never handed over to
    quorum      too few witnesses cosigned its head
    statement   an entry is no statement of the engine's or of an approver's
    story       the auditor's checker refuses what all of them tell, in this order (`story`)
    old         its head, or its cosignatures, are older than wanted; or dated after now

What was seen is kept as the right edge of the tree, so that a log that did not grow is not read again. One that did is
read from its beginning, as its story is judged anew. Where keys change hands the
log says so, and the monitor goes on with the next one (`holders`). It goes on only without an
alarm: one that rang rings again until a person has looked, and moved the state away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from domicile.errors import BadFile, EvidenceFault
from domicile.evidence.codec import Hex, from_json, load_json
from domicile.evidence.keys import Verifier, parse_vkey
from domicile.evidence.predicates import ApprovalPredicate, KeyPredicate, PlanPredicate, Predicate
from domicile.evidence.publiclog.fsck import Signed, Unsigned, lacking, read_unsigned
from domicile.evidence.publiclog.holders import Before, Holders, bears_line_of, first_key
from domicile.evidence.publiclog.place import Place, read_checkpoint, read_detached, read_entries
from domicile.evidence.publiclog.story import Approvals, judge
from domicile.evidence.statement import Sealed, detached_name, read_unverified, unseal
from domicile.evidence.tlog.checkpoint import open_checkpoint
from domicile.evidence.tlog.merkle import Edge, hash_leaf
from domicile.evidence.tlog.policy import NONE, Policy
from domicile.evidence.tlog.tile import TILE_WIDTH, Tile

ENTRIES_MAX: Final = 4_194_304
STATEMENTS_TOLD_MAX: Final = 32
CLOCKS_APART: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a monitor remembers of one log: `vkey` is its key in force, `before` are those that it took over from.

    The first `judged` entries tell a story that holds.
    """

    vkey: str
    size: int
    edge: tuple[Hex, ...]
    grew_at: datetime
    plan: Hex | None = None
    approvers: Mapping[str, str] = field(default_factory=dict)
    before: tuple[Before, ...] = ()
    judged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One thing that must not be; `check` is the number in docs/evidence.md of the check that a story fails."""

    kind: str
    text: str
    check: int | None = None


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
    shown: Unsigned
    now: datetime
    state: State
    holders: Holders
    approvals: Approvals | None
    kinds: dict[str, int] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)

    @property
    def signed(self) -> Signed:
        """The head, whose signature is judged apart."""
        return Signed(head=self.shown.head, vkey=self.holders.log.vkey, times=self.shown.times)

    def ring(self, kind: str, text: str, check: int | None = None) -> None:
        self.alarms.append(Alarm(kind=kind, text=text, check=check))


def read_state(data: bytes) -> State:
    """What an earlier look remembered, as `encode` wrote it; BadFile for anything else."""
    found = load_json(data)
    if isinstance(found, dict):
        found.setdefault("before", [])  # one of before keys were followed
        found.setdefault("judged", 0)  # one of before stories were judged
    return from_json(found, State)


def look(  # noqa: PLR0913 - a place, by which rules, and what it is held against
    place: Place, policy: Policy, state: State | None, *, against: Mapping[str, bytes], now: datetime,
    older_than: timedelta | None = None, approvals: Approvals | None = None,
) -> Looked:  # fmt: skip
    """Look at the log there once. `against` are checkpoints of it that others were shown, by where they come from.

    They have to be read before, or a log that grows meanwhile seems behind. Approvals count by the plan, and by
    `approvals` where they are given. Raises Unreachable or HostFault when the
    log can't be read, EvidenceFault when it, or one held against it, is no checkpoint of a log of the policy.
    """
    checkpoint = read_checkpoint(place)
    shown = read_unsigned(checkpoint, policy, where=place.name)
    origin = shown.head.origin
    others = {name: read_unsigned(data, policy, where=name) for name, data in against.items()}
    if any(one.head.origin != origin for one in others.values()):
        raise EvidenceFault(f"log {origin}: held against a checkpoint of another log; name one of this log")
    before = state or _begin(place, policy, shown, now)
    log = parse_vkey(before.vkey)
    if log.name != origin:
        raise EvidenceFault(f"log {origin}: the state is of a log with another key; name its own state")
    holders = Holders(
        log=log, before=before.before, approvers=before.approvers, seal=lambda entry: _sealed(place, entry),
        entries=lambda upto: islice(_entries(place, 0, shown.head.size), upto),
    )  # fmt: skip
    this = _Look(place, policy, shown, now, before, holders, approvals)
    after = _follow(this, others)
    _judge_head(this)
    _check_age(this, before if after is None else after, older_than)
    if not policy.is_met_by(shown.times):
        this.ring("quorum", lacking(policy, this.signed))
    return Looked(
        checkpoint=checkpoint, size=shown.head.size, new=max(0, shown.head.size - before.size), kinds=this.kinds,
        cosigned_at={name: datetime.fromtimestamp(time, UTC) for name, time in shown.times.items() if time < 2**37},
        alarms=tuple(this.alarms), state=None if this.alarms else after,
    )  # fmt: skip


def _begin(place: Place, policy: Policy, shown: Unsigned, now: datetime) -> State:
    """Of a log that was not seen before: which key began it, not yet believed."""
    named = list(policy.logs)
    entries = _entries(place, 0, min(shown.head.size, ENTRIES_MAX))
    key = first_key(entries, named, lambda entry: _sealed(place, entry)) or next(
        (key for key in named if bears_line_of(shown.note, key)), None
    )
    if key is None:
        raise EvidenceFault(_untrusted(place.name))
    return State(vkey=key.vkey, size=0, edge=(), grew_at=now)


def _judge_head(this: _Look) -> None:
    """The head is signed by the key that the log has there, and that is one to which a key of the policy led."""
    if not this.holders.is_trusted_by(list(this.policy.logs)):
        raise EvidenceFault(_untrusted(this.place.name))
    head, key = this.shown.head, this.holders.of_head(this.shown.head.size)
    if bears_line_of(this.shown.note, key):
        open_checkpoint(this.shown.data, key)
        return
    this.ring("key", f"its head of {head.size} entries is not signed by {key.keyid}, whose log it is there")


def _untrusted(name: str) -> str:
    return (
        f"{name}: its checkpoint is signed by no log of the policy, nor by a key that took over from it; "
        "get the policy of this log"
    )


def _follow(this: _Look, others: Mapping[str, Unsigned]) -> State | None:
    """Read what is new, and hold the head against what was seen and what others were shown."""
    head, before = this.shown.head, this.state
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
            after = _read_statement(this, after, index, entry, edge.root)
            edge.append(hash_leaf(entry))
            if edge.size in wanted:
                roots[edge.size] = edge.root()
        if edge.root() != head.root:
            _ring_fork(this)
            return None
        _settle(this)
        _judge_story(this)
        _hold_against(this, roots, others)
    except EvidenceFault as fault:
        this.ring("damaged", str(fault))
        return None
    if head.size > before.size:
        after = replace(after, grew_at=this.now)
    keys = this.holders
    return replace(
        after, size=head.size, edge=tuple(node.hex() for node in edge.nodes), vkey=keys.log.vkey, before=keys.before,
        approvers=keys.approvers, judged=head.size,
    )  # fmt: skip


def _judge_story(this: _Look) -> None:
    """Have all of the log judged, if it has grown since that was done."""
    head, judged = this.shown.head, this.state.judged
    if head.size <= judged:
        return
    entries = (entry for _, entry in _entries(this.place, 0, head.size))
    log = this.holders.all()[0].vkey
    wrong = judge(this.place, entries, head.root, log=log, approvals=this.approvals, since=judged)
    if wrong is not None:
        this.ring("story", wrong.text, wrong.check)


def _settle(this: _Look) -> None:
    try:
        this.holders.settle()
    except EvidenceFault as fault:
        this.ring("statement", f"the last entry: {fault}")


def _ring_fork(this: _Look) -> None:
    """Say whether the log is whole in itself, and another one, or whether its files are broken."""
    head, before = this.shown.head, this.state
    whole = _roots(this.place, head.size, {head.size})[head.size] == head.root
    if before.size and whole:
        this.ring("fork", f"its head of {head.size} entries does not continue the {before.size} that were seen")
    else:
        this.ring("damaged", f"its entries are not those of its head of {head.size}; see `domicile log fsck`")


def _hold_against(this: _Look, roots: dict[int, bytes], others: Mapping[str, Unsigned]) -> None:
    head = this.shown.head
    unknown = {one.head.size for one in others.values() if one.head.size <= head.size} - roots.keys()
    if unknown:
        roots |= _roots(this.place, head.size, {*unknown, head.size})
        if roots[head.size] != head.root:
            raise EvidenceFault("its earlier entries are not those of its head; see `domicile log fsck`")
    for name, other in others.items():
        size, key = other.head.size, _signer(this, other)
        if size > head.size:
            by = "" if key else ", signed by a key of which this log says nothing yet"
            this.ring("behind", f"{name} was shown {size} entries, here there are {head.size}{by}")
        elif key is None:
            this.ring("key", f"{name} was shown {size} entries, signed by no key of this log")
        elif roots[size] != other.head.root:
            this.ring("split", f"{name} was shown another log of {size} entries, signed by {key.keyid}")
        elif key != this.holders.of_head(size):
            this.ring("key", f"{name} was shown {size} entries, signed by {key.keyid}, which has no place there")


def _signer(this: _Look, other: Unsigned) -> Verifier | None:
    """Which of the log's keys signed what somebody else was shown; that of its size before any other."""
    for key in (this.holders.of_head(other.head.size), *this.holders.all(), *this.policy.logs):
        if bears_line_of(other.note, key):
            try:
                open_checkpoint(other.data, key)
            except EvidenceFault:
                return None
            return key
    return None


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


def _read_statement(this: _Look, state: State, index: int, entry: bytes, root: Callable[[], bytes]) -> State:
    """Check one entry, count its kind, and take the plan's approvers from the first one."""
    predicate: Predicate | None = None
    try:
        predicate = _opened(this, index, entry, root)
        _require_place(predicate.plan, state, index, is_plan=isinstance(predicate, PlanPredicate))
        this.holders.pass_by(entry, predicate)
    except (EvidenceFault, BadFile) as fault:
        if sum(alarm.kind == "statement" for alarm in this.alarms) < STATEMENTS_TOLD_MAX:
            this.ring("statement", f"entry {index}: {fault}")
        return state
    this.kinds[predicate.KIND] = this.kinds.get(predicate.KIND, 0) + 1
    if isinstance(predicate, PlanPredicate):
        this.holders.take_plan(predicate)
        return replace(state, plan=predicate.plan)
    return state


def _opened(this: _Look, index: int, entry: bytes, root: Callable[[], bytes]) -> Predicate:
    """The predicate, in its shape and signed by the key in force: the log's, or that of an approver of the plan."""
    sealed = _sealed(this.place, entry)
    predicate = read_unverified(sealed)
    if isinstance(predicate, KeyPredicate):
        return this.holders.open_change(index, sealed, root())
    key = this.holders.log
    if isinstance(predicate, ApprovalPredicate):
        vkey = this.holders.approvers.get(predicate.approver, "")
        if not vkey:
            raise EvidenceFault("statement: an approval by somebody whom the plan does not name, or without a key")
        key = parse_vkey(vkey)
    return unseal(sealed, key)


def _sealed(place: Place, entry: bytes) -> Sealed:
    """An entry, with its predicate if that lies beside the log."""
    name = detached_name(entry)
    detached = None if name is None else read_detached(place, name)
    if name is not None and detached is None:
        raise EvidenceFault("statement: its predicate is not served beside the log (`detached`)")
    return Sealed(envelope=entry, detached=detached)


def _require_place(plan: str, state: State, index: int, *, is_plan: bool) -> None:
    if is_plan != (index == 0):
        raise EvidenceFault("statement: the plan is the first entry, and no other is")
    if not is_plan and plan != state.plan:
        raise EvidenceFault("statement: names another plan than the log's own")


def _check_age(this: _Look, state: State, older_than: timedelta | None) -> None:
    """A head is as old as the latest moment at which a quorum had cosigned it; without witnesses, as when it grew."""
    seen = state.grew_at
    if this.policy.quorum != NONE and this.policy.is_met_by(this.shown.times):
        seen = _quorum_at(this.policy, this.shown.times)
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
