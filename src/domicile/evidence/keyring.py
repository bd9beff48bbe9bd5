"""Whose key was in force where in the log: keys change hands by statements of the log itself (docs/keys.md, ADR 0040).

The rules, the same that the checker has (check 24):

1. A `key/v1` names the key in force of an approver of the plan, or of the log, and the root of the log's own first
   `stands` entries. It is signed by that key, or stands beside others with the same predicate, one by each of as many
   other approvers as an erasure needs, and no more.
2. `rotated` is signed by the key itself and names the next; `revoked` may name one, and of the log's key has to. Only
   the others revoke the log's key, and a key that is gone is named no more.
3. The log's key changes right behind its last statement: `stands` is the place of the change.
4. Behind the change nothing is signed by the old key. What an approver signed from `stands` on, before it was revoked,
   is void.
5. No key comes twice, under whatever name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from domicile.errors import EvidenceFault
from domicile.evidence.keys import Verifier, parse_vkey
from domicile.evidence.predicates import ApprovalPredicate, KeyChange, KeyPredicate, PlanPredicate, Predicate

CHANGES_MAX: Final = 99
"""Changes of one holder's keys in one log: their files in the bundle are numbered with two digits."""
LOG: Final = None
"""Who holds the log's key, beside the approvers' names."""

Who = str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """One statement, as far as it matters here: its place, whose key signed it, what it says."""

    index: int
    keyid: str
    predicate: Predicate


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A key that changed hands: `behind` is the place of the first statement that the new one may sign."""

    predicate: KeyPredicate
    behind: int


@dataclass(slots=True, kw_only=True)
class Keyring:
    """The keys of one log; statements are taken in their order, each once."""

    threshold: int
    keys: dict[Who, Verifier | None]
    root_at: Callable[[int], bytes]
    changes: list[Change] = field(default_factory=list)
    used: set[bytes] = field(default_factory=set)
    _votes: dict[str, KeyPredicate] = field(default_factory=dict, init=False)

    @classmethod
    def begin(cls, plan: PlanPredicate, log: Verifier, root_at: Callable[[int], bytes]) -> Keyring:
        """The keys that the plan names, and the log's first one; `root_at` gives the root of a size of this log."""
        keys: dict[Who, Verifier | None] = {LOG: log}
        keys |= {approver.name: parse_vkey(approver.vkey) for approver in plan.approvals.of}
        used = {key.public for key in keys.values() if key is not None}
        return cls(threshold=plan.approvals.threshold, keys=keys, root_at=root_at, used=used)

    def copied(self) -> Keyring:
        """The same, to try on."""
        return replace(self, keys=dict(self.keys), changes=list(self.changes), used=set(self.used))

    def verifier(self, stated: Stated) -> Verifier:
        """The key that has to have signed the next statement; EvidenceFault if none, or another, may."""
        return self.keys_of(self._who(stated))

    def keys_of(self, who: Who) -> Verifier:
        """The key in force; EvidenceFault if there is none."""
        key = self.keys.get(who)
        if key is None:
            raise EvidenceFault(f"keys: {name_of(who)} has no key in force; see `domicile log list` and docs/keys.md")
        return key

    def owner(self, public: bytes) -> tuple[str, Verifier] | None:
        """The approver whose key in force this is, and that key; None for any other."""
        return next(
            (
                (who, key)
                for who, key in self.keys.items()
                if who is not LOG and key is not None and key.public == public
            ),
            None,
        )

    def take(self, stated: Stated) -> None:
        """Go on over one statement whose signature was checked against `verifier`; EvidenceFault by the rules above."""
        if not isinstance(stated.predicate, KeyPredicate):
            self.refuse_unsettled()
            return
        change = stated.predicate
        if change not in self._votes.values():
            self.refuse_unsettled()
            self._require_sound(change, stated.index)
        self._votes[stated.keyid] = change
        if self._has_authority(change):
            self._apply(change, stated.index + 1)

    def refuse_unsettled(self) -> None:
        """Raise EvidenceFault when a change was signed by too few."""
        if self._votes:
            change = next(iter(self._votes.values()))
            raise EvidenceFault(
                f"keys: the change of {name_of(change.approver)}'s key is signed by {len(self._votes)} of "
                f"{self.threshold} that it needs; see docs/keys.md"
            )

    def is_void(self, stated: Stated) -> bool:
        """Say whether an approval was signed by a key that was lost by then (rule 4)."""
        said = stated.predicate
        return isinstance(said, ApprovalPredicate) and any(
            change.predicate.what is KeyChange.REVOKED
            and change.predicate.approver == said.approver
            and change.predicate.stands <= stated.index < change.behind
            for change in self.changes
        )

    def lineage(self, who: Who) -> list[Verifier]:
        """All keys of one holder, in their order, the one in force last."""
        mine = [change.predicate for change in self.changes if change.predicate.approver == who]
        lines = [change.key for change in mine] + [change.new for change in mine[-1:] if change.new is not None]
        first = self.keys[who]
        return [parse_vkey(line) for line in lines] if mine else [first] if first is not None else []

    def log_keys(self) -> list[tuple[int, Verifier]]:
        """The log's keys in their order, each with the place of the first statement, and head, that is its own."""
        places = [0, *(change.behind for change in self.changes if change.predicate.approver is LOG)]
        return list(zip(places, self.lineage(LOG), strict=True))

    def may_vote(self, about: Who) -> set[str]:
        """The keyids of those who may revoke somebody's key: all other approvers."""
        return {key.keyid for who, key in self.keys.items() if who not in (LOG, about) and key is not None}

    def _who(self, stated: Stated) -> Who:
        said = stated.predicate
        if isinstance(said, ApprovalPredicate):
            if said.approver not in self.keys:
                raise EvidenceFault(f"keys: the plan names no approver {said.approver}; ask one of the named")
            return said.approver
        if not isinstance(said, KeyPredicate):
            return LOG
        for who, key in self.keys.items():
            if key is not None and key.keyid == stated.keyid:
                return who
        raise EvidenceFault(f"keys: a change is signed by {stated.keyid}, which is no key in force; see docs/keys.md")

    def _require_sound(self, change: KeyPredicate, index: int) -> None:
        """Rules 1 to 3 and 5, but for who signed."""
        about = name_of(change.approver)
        key = self.keys.get(change.approver)
        if key is None or key.vkey != change.key:
            raise EvidenceFault(f"keys: the key named as {about}'s is not the one in force; see docs/keys.md")
        if sum(one.predicate.approver == change.approver for one in self.changes) >= CHANGES_MAX:
            raise EvidenceFault(f"keys: {about}'s key changed {CHANGES_MAX} times already; begin a new log")
        late = change.stands > index if change.approver is not LOG else change.stands != index
        if late or self.root_at(change.stands).hex() != change.root:
            raise EvidenceFault(f"keys: the change of {about}'s key speaks of another log, or another place in it")
        if change.new is None:
            if change.what is KeyChange.ROTATED or change.approver is LOG:
                raise EvidenceFault(f"keys: the change of {about}'s key names no new one")
            return
        new = parse_vkey(change.new)
        if new.public in self.used or (change.approver is LOG and new.name != key.name):
            raise EvidenceFault(f"keys: {about}'s new key was used before, or the log's is named otherwise")

    def _has_authority(self, change: KeyPredicate) -> bool:
        """Rules 1 and 2: signed by the key itself, or by enough others."""
        key = self.keys_of(change.approver)
        if key.keyid in self._votes:
            if change.what is KeyChange.REVOKED and (change.approver is LOG or change.new is not None):
                raise EvidenceFault(f"keys: {name_of(change.approver)} can't name a new key for one it calls lost")
            return True
        if change.what is KeyChange.ROTATED or not self._votes.keys() <= self.may_vote(change.approver):
            raise EvidenceFault(f"keys: the change of {name_of(change.approver)}'s key is signed by the wrong ones")
        return len(self._votes) >= self.threshold

    def _apply(self, change: KeyPredicate, behind: int) -> None:
        new = parse_vkey(change.new) if change.new is not None else None
        self.keys[change.approver] = new
        self.used |= {new.public} if new is not None else set()
        self.changes.append(Change(predicate=change, behind=behind))
        self._votes = {}


def name_of(who: Who) -> str:
    """A holder in words."""
    return "the log" if who is LOG else who


def first_log_key(now: Verifier, predicates: Iterable[Predicate]) -> Verifier:
    """The key that began the log: the one that the first change of it names, else the present one."""
    changes = (one for one in predicates if isinstance(one, KeyPredicate) and one.approver is LOG)
    first = next(changes, None)
    return now if first is None else parse_vkey(first.key)


def quorum_of(ring: Keyring, change: KeyPredicate, signed: Mapping[str, bytes]) -> list[bytes]:
    """The envelopes by keyid that bring a change about, in the order of their keyids; none while there are too few."""
    votes = {keyid: envelope for keyid, envelope in signed.items() if keyid in ring.may_vote(change.approver)}
    return [votes[keyid] for keyid in sorted(votes)][: ring.threshold] if len(votes) >= ring.threshold else []
