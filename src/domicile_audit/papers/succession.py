"""The log's keys in a receipt, where they changed hands: the statements that say so lie in it (docs/keys.md).

It is the rules of check 24 (`rotation.py`) for somebody who has a few statements of the log and not all of them:

1. Each stands in the log, in its order. Votes for one change stand in a row and say the same.
2. A change of the log's key names the key in force and the next, of the same name. It speaks of its own place, and of
   the root of all that stands before it, which its path holds.
3. It is `rotated`, signed by that key; or `revoked`, by as many approvers as the policy wants, with keys in force that
   the policy names or that took over from these by the same rules. Without a policy nobody is known, and none counted.
4. No vote that counted was signed with a key that was lost by then. No key comes twice.

So trust goes forward only, as there: from a key that the policy names to those that took over from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domicile_audit.case import Refused, require
from domicile_audit.log.keys import Key, read_vkey
from domicile_audit.papers.placed import Sealed, read_sealed, require_in, root_of
from domicile_audit.trust.policy import Policy


@dataclass(frozen=True, slots=True)
class Vote:
    """One `key/v1` in the log: its place, what it says, and the root of all before it."""

    index: int
    said: Sealed
    root_before: bytes


@dataclass(frozen=True, slots=True)
class Handover:
    """The log's key changed: by how many known voters, or, where it rotated, by nobody but itself (None)."""

    old: Key
    new: Key
    voters: int | None


@dataclass(slots=True)
class Succession:
    """The log's keys so far, and the approvers of the policy with their keys in force."""

    threshold: int | None  # votes that a lost key needs; None without a policy
    people: dict[str, tuple[int, Key]]  # by keyid: whose, and the key
    keys: list[Key] = field(default_factory=list)
    handovers: list[Handover] = field(default_factory=list)
    since: list[int] = field(default_factory=list)  # the first place that is each key's own
    counted: list[tuple[int, int]] = field(default_factory=list)  # votes: whose, and where they stand
    lost: list[tuple[int, range]] = field(default_factory=list)  # whose key was lost, and from where to where used
    used: list[Key] = field(default_factory=list)

    def key_at(self, index: int) -> Key:
        """The log's key in force at a place."""
        return next(key for key, since in zip(reversed(self.keys), reversed(self.since), strict=True) if since <= index)


def begin(policy: Policy | None) -> Succession:
    """Nothing but the policy's approvers."""
    keys = [read_vkey(line) for line in sorted(policy.approvers)] if policy is not None else []
    people = {key.keyid: (number, key) for number, key in enumerate(keys)}
    return Succession(None if policy is None else policy.threshold, people, used=keys)


def read_votes(placed: Sequence[Mapping[str, Any]], size: int, root: bytes) -> list[Vote]:
    """Rule 1: the statements of a receipt's `keys`, each at its place in the log of that size and root."""
    votes: list[Vote] = []
    for one in placed:
        said, index = read_sealed(one, "key/v1"), one["index"]
        path = [bytes.fromhex(node) for node in one["path"]]
        left = require_in(root, said.entry, index, size, path, f"the change of a key at {index} is not in the log")
        require(not votes or votes[-1].index < index, "the changes of keys are not in the order of the log")
        votes.append(Vote(index, said, root_of(left)))
    return votes


def follow(votes: Sequence[Vote], policy: Policy | None) -> Succession:
    """The log's keys by these changes, the first in force from the beginning; refuse if none of them is the log's."""
    heirs = begin(policy)
    for group in _changes(votes):
        if group[0].said.predicate["approver"] is None:
            _change_log(heirs, group)
        else:
            _change_approver(heirs, group)
    require(bool(heirs.keys), "the receipt holds changes of keys, and none of them is the log's")
    void = [where for who, where in heirs.counted for lost, span in heirs.lost if who == lost and where in span]
    require(not void, "a vote on the log's key was signed with a key that was lost by then")  # 4
    return heirs


def _changes(votes: Sequence[Vote]) -> Iterator[list[Vote]]:
    """Votes in a row that say the same are one change."""
    group: list[Vote] = []
    for vote in votes:
        row = bool(group) and vote.index == group[-1].index + 1 and vote.said.predicate == group[-1].said.predicate
        if group and not row:
            yield group
            group = []
        group.append(vote)
    if group:
        yield group


def _change_log(heirs: Succession, group: list[Vote]) -> None:
    """Rules 2 and 3."""
    first, change = group[0], group[0].said.predicate
    key = read_vkey(change["key"], "a key of the log")
    if not heirs.keys:
        _add(heirs, key, 0)
    require(heirs.keys[-1] == key, f"the change at {first.index} is of a key of the log that was not in force")
    place = change["stands"] == first.index and change["root"] == first.root_before.hex()
    require(place, f"the change at {first.index} speaks of another log, or another place in it")
    if first.said.keyid == key.keyid:
        require(len(group) == 1 and change["what"] == "rotated", f"the log's key may rotate at {first.index}, no more")
        first.said.require_signed(key)
        voters = None
    else:
        voters = _require_votes(heirs, group, but=None)
    require(change["new"] is not None, f"the change at {first.index} leaves the log without a key")
    new = read_vkey(change["new"], "a key of the log")
    require(new.name == key.name, "a log keeps its name, also where its key changes")
    _add(heirs, new, group[-1].index + 1)
    heirs.handovers.append(Handover(key, new, voters))


def _change_approver(heirs: Succession, group: list[Vote]) -> None:
    """Rule 3 for approvers: whoever the policy doesn't name is nobody here, and nor is who takes over from them."""
    first, change = group[0], group[0].said.predicate
    key = read_vkey(change["key"], "a key of an approver")
    who, in_force = heirs.people.get(key.keyid, (None, None))
    if who is None or in_force != key:
        return
    if first.said.keyid == key.keyid:
        may = (change["what"] == "rotated") == (change["new"] is not None)
        require(len(group) == 1 and may, f"a key may rotate at {first.index}, or be given up, no more")
        first.said.require_signed(key)
    else:
        _require_votes(heirs, group, but=who)
        heirs.lost.append((who, range(change["stands"], first.index)))
    del heirs.people[key.keyid]
    if change["new"] is not None:
        new = read_vkey(change["new"], "a key of an approver")
        if heirs.people.get(new.keyid, (who, None))[1] != new:  # a policy may name two keys of one person
            _take(heirs, new)
        heirs.people[new.keyid] = (who, new)


def _require_votes(heirs: Succession, group: list[Vote], *, but: int | None) -> int:
    """How many others signed: different people whom the policy names, none about themselves; refuse too few."""
    where = group[0].index
    require(group[0].said.predicate["what"] == "revoked", f"the change at {where} is signed by the wrong ones")
    voters = set()
    for vote in group:
        who, key = heirs.people.get(vote.said.keyid, (but, None))
        if key is not None and who is not None and who != but:
            vote.said.require_signed(key)
            voters.add(who)
            heirs.counted.append((who, vote.index))
    enough = heirs.threshold is None or len(voters) >= heirs.threshold
    require(enough, f"the change at {where} is signed by {len(voters)} trusted approvers, {heirs.threshold} are needed")
    return len(voters)


def _add(heirs: Succession, key: Key, since: int) -> None:
    _take(heirs, key)
    heirs.keys.append(key)
    heirs.since.append(since)


def _take(heirs: Succession, key: Key) -> None:
    twice = any(key.public == one.public or key.keyid == one.keyid for one in heirs.used)
    if twice:
        raise Refused(f"{key.keyid} was in use before, and comes again")
    heirs.used.append(key)
