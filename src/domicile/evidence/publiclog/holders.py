"""Whose keys a log's statements and heads are signed by, as a monitor follows it (docs/keys.md, ADR 0044).

The keys change by the log's own statements. Where a new one is met, the rules of `domicile.evidence.keyring` are gone
through from the plan on, over entries that are read anew and held against the root that was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from domicile.errors import BadFile, EvidenceFault
from domicile.evidence.codec import load_json
from domicile.evidence.keyring import LOG, Keyring, Stated
from domicile.evidence.keys import Verifier, parse_vkey
from domicile.evidence.predicates import KeyChange, KeyPredicate, PlanPredicate, Predicate
from domicile.evidence.statement import PREDICATE_PREFIX, Sealed, parse_envelope, read_unverified, unseal
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from domicile.evidence.tlog.note import Note

KEY_KIND: Final = PREDICATE_PREFIX + KeyPredicate.KIND

Entries = Callable[[int], Iterable[tuple[int, bytes]]]
"""The first so many entries, each with its place."""
Seal = Callable[[bytes], Sealed]
"""An entry with its predicate, if that lies outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """A key that the log had, and the first place, and size of a head, that is the next one's."""

    vkey: str
    until: int
    rotated: bool


@dataclass(slots=True, kw_only=True)
class Holders:
    """The keys in force: the log's, the approvers', and what the log's were before."""

    log: Verifier
    before: tuple[Before, ...]
    approvers: Mapping[str, str]
    entries: Entries
    seal: Seal
    _ring: Keyring | None = field(default=None, init=False)
    _tree: Tree = field(default_factory=Tree, init=False)

    def take_plan(self, plan: PlanPredicate) -> None:
        """The plan names the approvers."""
        self.approvers = {key.name: key.vkey for key in plan.approvals.of}

    def open_change(self, index: int, sealed: Sealed, seen: bytes) -> Predicate:
        """Check one `key/v1` by the rules, and go on with the keys that it leaves in force; EvidenceFault by them.

        `seen` is the root of all entries before it.
        """
        ring = self._ring or self._begin(index, seen)
        self._ring = ring
        stated = _stated(index, sealed)
        change = unseal(sealed, ring.verifier(stated))
        count = len(ring.changes)
        ring.take(stated)
        if len(ring.changes) > count:
            self._follow(ring, index)
        return change

    def pass_by(self, entry: bytes, predicate: Predicate | None) -> None:
        """Go on over an entry of whatever kind; EvidenceFault when a change before it was signed by too few."""
        if self._ring is not None:
            self._tree.append(hash_leaf(entry))
            if not isinstance(predicate, KeyPredicate):
                self._ring.refuse_unsettled()

    def settle(self) -> None:
        """The log ends here: EvidenceFault when its last change was signed by too few."""
        if self._ring is not None:
            self._ring.refuse_unsettled()

    def of_head(self, size: int) -> Verifier:
        """Whose signature a head of that size bears."""
        return next((parse_vkey(one.vkey) for one in self.before if size < one.until), self.log)

    def all(self) -> list[Verifier]:
        """The log's keys, the present one last."""
        return [*(parse_vkey(one.vkey) for one in self.before), self.log]

    def is_trusted_by(self, named: Sequence[Verifier]) -> bool:
        """Whether somebody who knows these keys may follow the log: from one of them on, it leads to the present one.

        It does from the first, as that signed the plan with its approvers; from one that itself handed on, as it signed
        for all before; and from the present one. Else strangers could call a trusted key lost.
        """
        keys, rotated = self.all(), [one.rotated for one in self.before]
        return any(key in named and (turn in (0, len(keys) - 1) or rotated[turn]) for turn, key in enumerate(keys))

    def _begin(self, size: int, seen: bytes) -> Keyring:
        """Go through the rules from the plan on, up to that size."""
        ring: Keyring | None = None
        self._tree = Tree()
        for index, entry in self.entries(size):
            if ring is None:
                plan = read_unverified(self.seal(entry))
                if not isinstance(plan, PlanPredicate):
                    raise EvidenceFault("keys: the log does not begin with its plan")
                ring = Keyring.begin(plan, self.all()[0], self._tree.root)
            elif kind_of(entry) == KEY_KIND:
                ring.take(_stated(index, self.seal(entry)))
            else:
                ring.refuse_unsettled()
            self._tree.append(hash_leaf(entry))
        if ring is None or self._tree.root() != seen:
            raise EvidenceFault("keys: the earlier entries are not those that were seen; see `domicile log fsck`")
        return ring

    def _follow(self, ring: Keyring, index: int) -> None:
        self.approvers = {who: key.vkey for who, key in ring.keys.items() if who is not LOG and key is not None}
        log = ring.keys_of(LOG)
        if log != self.log:
            rotated = ring.changes[-1].predicate.what is KeyChange.ROTATED
            self.before = (*self.before, Before(vkey=self.log.vkey, until=index + 1, rotated=rotated))
            self.log = log


def first_key(entries: Iterable[tuple[int, bytes]], named: Sequence[Verifier], seal: Seal) -> Verifier | None:
    """The key that began a log, not yet believed: one of these, or the one that the log's first change of it names."""
    for index, entry in entries:
        if index == 0:
            try:
                keyid = parse_envelope(entry).keyid
            except EvidenceFault:
                return None
            known = next((key for key in named if key.keyid == keyid), None)
            if known is not None:
                return known
        if kind_of(entry) == KEY_KIND:
            try:
                change = read_unverified(seal(entry))
                if isinstance(change, KeyPredicate) and change.approver is LOG:
                    return parse_vkey(change.key)
            except (EvidenceFault, BadFile):
                continue
    return None


def kind_of(entry: bytes) -> str | None:
    """The predicate type of an entry, not yet believed; None for what is no statement."""
    try:
        payload = load_json(parse_envelope(entry).payload)
    except (EvidenceFault, BadFile):
        return None
    kind = payload.get("predicateType") if isinstance(payload, dict) else None
    return kind if isinstance(kind, str) else None


def bears_line_of(note: Note, key: Verifier) -> bool:
    """Whether a note has a signature line of this key, right or wrong."""
    return any((line.name, line.key_id) == (key.name, key.key_id) for line in note.signatures)


def _stated(index: int, sealed: Sealed) -> Stated:
    return Stated(index=index, keyid=parse_envelope(sealed.envelope).keyid, predicate=read_unverified(sealed))
