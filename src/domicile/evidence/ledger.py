"""The ledger: states, signs and appends in one step, and reads back what a log holds.

A detached predicate is on the disk before the entry that names it (`detached/SHA256.json` beside the log), so
a kill between the two leaves a file that nothing names. The same statement twice is one entry, also where the log's key
changed hands in between, but for what may come again after its opposite in the same words (`COMING_AGAIN`, and a
comparison after another one): that is another fact, and a second entry of the same bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domicile.errors import EvidenceFault, HostFault
from domicile.evidence.codec import JSON_BYTES_MAX
from domicile.evidence.keyring import Keyring, Stated, first_log_key
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.predicates import (
    ApprovalPredicate,
    ApprovalRule,
    ApproverKey,
    CertificatePredicate,
    EqualityPredicate,
    FindingPredicate,
    KeyPredicate,
    PlanPredicate,
    Predicate,
)
from domicile.evidence.statement import Sealed, detached_name, parse_envelope, read_unverified, seal, unseal
from domicile.evidence.tlog.log import Log
from domicile.evidence.told import CAME_BACK, ERASED_AGAIN, still_standing
from domicile.host import read_file, sync_folder

OPENED_MAX: Final = 1024
"""Statements that are kept as they were read, of at most JSON_BYTES_MAX each; most are of a few KB."""

COMING_AGAIN: Final = (
    frozenset({CAME_BACK, ERASED_AGAIN}),
    frozenset({"to be emptied", "emptied"}),
    frozenset({"to be removed", "removed"}),
)
"""Kinds of findings that speak by turns of one place: the last word counts. Their texts tell the second, or no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A statement in the log: its place, the SHA-256 by which others name it, and the key that signed it.

    `void` is an approval by a key that was called lost later on: it stands in the log and counts for nothing.
    """

    index: int
    sha256: str
    keyid: str
    predicate: Predicate
    void: bool = False


def counting(recorded: Iterable[Recorded]) -> tuple[Recorded, ...]:
    """The statements that count for something: all but what is void. Whoever judges a log begins here."""
    return tuple(one for one in recorded if not one.void)


def standing_of(recorded: Iterable[Recorded]) -> tuple[Recorded, ...]:
    """Of a log in its order, the statements that count and that no later freeze or cohort has made void."""
    counted = counting(recorded)
    return counted[len(counted) - len(still_standing([one.predicate for one in counted])) :]


class Ledger:
    """A folder: the log in `log/`, detached predicates in `detached/`; `open` makes or continues one."""

    def __init__(self, directory: Path, log: Log, signer: Signer | None) -> None:
        self.log: Final = log
        self._directory = directory
        self._signer = signer
        self._opened: dict[Sealed, Predicate] = {}
        self._ring: Keyring | None = None
        self._before: tuple[int, dict[bytes, int]] = (0, {})
        self._checked = 0  # how many statements had their signatures checked; what changed since, the log notices

    @classmethod
    def open(cls, directory: Path, key: Signer | Verifier, *, size_min: int = 0, cosigned: bool = False) -> Ledger:
        """Open the ledger, checking all of its log; a `Signer` begins one where there is none yet.

        `size_min` is how many entries the caller's journal remembers; fewer are a rollback and refused. What is stated
        in a `cosigned` one is in the log, and published once `log.publish` was given cosignatures.
        """
        signer = key if isinstance(key, Signer) else None
        place = directory / "log"
        if signer is not None and size_min == 0 and not Log.exists(place):
            return cls(directory, Log.create(place, signer, cosigned=cosigned), signer)
        return cls(directory, Log.open(place, key, size_min=size_min, cosigned=cosigned), signer)

    @property
    def size(self) -> int:
        """How many statements there are; what a journal should remember."""
        return self.log.size

    def record(self, predicate: Predicate) -> Recorded:
        """State one thing with the engine's key; on return it is on the disk."""
        return self.record_all([predicate])[0]

    def record_all(self, predicates: Iterable[Predicate]) -> list[Recorded]:
        """State several things under one checkpoint; all or none. One already stated keeps its place."""
        if self._signer is None:
            raise EvidenceFault(f"ledger {self._directory}: opened for reading only; open it with its key")
        signer = self._signer
        return self._append([(predicate, self._sealed_once(predicate, signer)) for predicate in predicates])

    def _sealed_once(self, predicate: Predicate, signer: Signer) -> Sealed:
        """The statement as an earlier key of the log said it, if that is the last word; else by the present key.

        A run that goes on after a change of keys says again what it said before: it stands where it was said. But a
        certificate has to be the last statement, and is said again behind a change.
        """
        sealed = seal(predicate, signer)
        if isinstance(predicate, CertificatePredicate):
            return sealed
        place = self._by_earlier_keys().get(_said(sealed))
        before = sealed if place is None else self.sealed(place)
        return sealed if self._is_news(predicate, before) else before

    def _by_earlier_keys(self) -> Mapping[bytes, int]:
        """The places of what the log's keys before the present one signed, by what it says."""
        keys = self.keyring().log_keys() if self.size else []
        if len(keys) < 2:
            return {}
        since, _ = keys[-1]
        if self._before[0] != since:
            keyids = {key.keyid for _, key in keys}
            entries = ((index, self.sealed(index)) for index in range(since))
            self._before = since, {_said(sealed): index for index, sealed in entries if _keyid(sealed) in keyids}
        return self._before[1]

    def admit(self, envelope: bytes) -> Recorded:
        """Take an approver's signed approval into the log, if the plan in the log names that approver and key."""
        sealed = Sealed(envelope=envelope, detached=None)
        approval = read_unverified(sealed)
        if not isinstance(approval, ApprovalPredicate):
            raise EvidenceFault("approval: this is another statement; give the file that `domicile approve` wrote")
        plan = self.plan()
        if approval.plan != plan.plan:
            raise EvidenceFault("approval: given for another plan; approve the present one")
        if self.log.find(sealed.sha256) is None:
            if approval.approver not in {key.name for key in plan.approvals.of}:
                raise EvidenceFault(f"approval: the plan names no approver {approval.approver}; ask one of the named")
            unseal(sealed, self.keyring().keys_of(approval.approver))
            self._refuse_unseen(approval)
        return self._append([(approval, sealed)])[0]

    def _refuse_unseen(self, approval: ApprovalPredicate) -> None:
        """Refuse an approval of another log than this one, or of one that ends before the equality."""
        first = self.named(approval.equality).index + 1
        if not first <= approval.stands <= self.size or self.log.root_at(approval.stands).hex() != approval.root:
            raise EvidenceFault("approval: given for another log than this one; approve the present one")

    def admit_change(self, envelopes: Sequence[bytes], signer: Signer | None = None) -> list[Recorded]:
        """Take the statements by which one key changes hands, all or none (docs/keys.md).

        Where it is the log's own, `signer` is the new one, and signs the log from then on.
        """
        sealed = [Sealed(envelope=envelope, detached=None) for envelope in envelopes]
        stated = [(self._change(one), one) for one in sealed]
        trial = self.keyring().copied()
        for index, (change, one) in enumerate(stated, start=self.size):
            _take(trial, Stated(index=index, keyid=_keyid(one), predicate=change), one)
        trial.refuse_unsettled()
        new = trial.keys_of(None)
        if new == self.log.verifier:
            return self._append([(change, one) for change, one in stated])
        if signer is None or signer.verifier != new:
            raise EvidenceFault(f"ledger {self._directory}: the log goes on with {new.keyid}; open that key for it")
        self.log.hand_over([one.envelope for one in sealed], signer)
        self._signer = signer
        return [self._recorded(one.sha256) for one in sealed]

    def _change(self, sealed: Sealed) -> KeyPredicate:
        change = read_unverified(sealed)
        if not isinstance(change, KeyPredicate) or change.plan != self.plan().plan:
            raise EvidenceFault("keys: this is no change of a key of this programme; give what `domicile keys` wrote")
        return change

    def keyring(self) -> Keyring:
        """Whose key is in force now; each statement's signature is checked on the way, once."""
        if self._ring is None:
            log = self.log.verifier
            if self.size and _keyid(self.sealed(0)) != log.keyid:
                log = first_log_key(log, (read_unverified(self.sealed(index)) for index in range(self.size)))
            self._ring = Keyring.begin(self._plan(), log, self.log.root_at)
        for index in range(self._checked, self.size):
            sealed = self.sealed(index)
            _take(self._ring, Stated(index=index, keyid=_keyid(sealed), predicate=self._predicate(sealed)), sealed)
            self._checked = index + 1
        return self._ring

    def approvers(self) -> ApprovalRule:
        """Who may approve, with the keys that are in force now: not always those of the plan."""
        rule = self.plan().approvals
        keys = self.keyring().keys
        of = tuple(ApproverKey(name=one.name, vkey=key.vkey) for one in rule.of if (key := keys[one.name]) is not None)
        return ApprovalRule(threshold=rule.threshold, of=of)

    def earlier_heads(self) -> list[tuple[Verifier, int]]:
        """Heads that keys before the present one signed, and under which receipts were given: the newest first.

        A receipt is given under a head whose last statement is a certificate. Each with its key and size.
        """
        *earlier, (since, _) = self.keyring().log_keys()
        heads = [
            (next(key for place, key in reversed(earlier) if place < size), size)
            for size in range(1, since if earlier else 0)
            if isinstance(self._predicate(self.sealed(size - 1)), CertificatePredicate)
        ]
        return heads[::-1]

    def plan(self) -> PlanPredicate:
        """The plan, which is the first statement."""
        self.keyring()
        return self._plan()

    def _plan(self) -> PlanPredicate:
        if not self.size:
            raise EvidenceFault(f"ledger {self._directory}: holds no plan yet; run `domicile apply`")
        predicate = self._predicate(self.sealed(0))
        if not isinstance(predicate, PlanPredicate):
            raise EvidenceFault(f"ledger {self._directory}: does not begin with a plan; begin a new one")
        return predicate

    def _predicate(self, sealed: Sealed) -> Predicate:
        predicate = self._opened.get(sealed)
        if predicate is None:
            predicate = read_unverified(sealed)
            if len(self._opened) < OPENED_MAX:
                self._opened[sealed] = predicate
        return predicate

    def statement(self, index: int) -> Recorded:
        """One statement, its signature checked against the key that was in force there."""
        ring, sealed = self.keyring(), self.sealed(index)
        stated = Stated(index=index, keyid=_keyid(sealed), predicate=self._predicate(sealed))
        return Recorded(
            index=index, sha256=sealed.sha256, keyid=stated.keyid, predicate=stated.predicate, void=ring.is_void(stated)
        )

    def statements(self) -> Iterator[Recorded]:
        """All statements in their order."""
        return (self.statement(index) for index in range(self.size))

    def named(self, sha256: str) -> Recorded:
        """The statement of this SHA-256; `EvidenceFault` if the log has none."""
        index = self.log.find(sha256)
        if index is None:
            raise EvidenceFault("ledger: holds no statement of that SHA-256; give the digest that `status` prints")
        return self.statement(index)

    def sealed(self, index: int) -> Sealed:
        """One entry's bytes, and those of its detached predicate."""
        envelope = self.log.entry(index)
        name = detached_name(envelope)
        return Sealed(envelope=envelope, detached=None if name is None else self._read_detached(name))

    def detached(self) -> Mapping[str, bytes]:
        """The predicates that entries left outside, by SHA-256."""
        names = {name for entry in self.log.entries() if (name := detached_name(entry)) is not None}
        return {name: self._read_detached(name) for name in sorted(names)}

    def receipt(self, index: int) -> bytes:
        """The bytes of a `.tlog-proof` for one statement under the present checkpoint."""
        return self.log.receipt(index)

    def _append(self, stated: list[tuple[Predicate, Sealed]]) -> list[Recorded]:
        fresh = {sealed.sha256: sealed for predicate, sealed in stated if self._is_news(predicate, sealed)}
        for sealed in fresh.values():
            self._write_detached(sealed)
        self.log.append([sealed.envelope for sealed in fresh.values()])
        return [self._recorded(sealed.sha256) for _, sealed in stated]

    def _is_news(self, predicate: Predicate, sealed: Sealed) -> bool:
        """Whether the log doesn't say so yet, or said the opposite since."""
        if self.log.find(sealed.sha256) is None:
            return True
        turn = _turn(predicate)
        for index in reversed(range(self.size if turn else 0)):
            said = self._predicate(self.sealed(index))
            if _turn(said) == turn:
                return said != predicate
        return False

    def _recorded(self, sha256: str) -> Recorded:
        index = self.log.find(sha256)
        if index is None:
            raise RuntimeError("an appended entry is not in the log")
        return self.statement(index)

    def _detached_path(self, name: str) -> Path:
        return self._directory / "detached" / f"{name}.json"

    def _write_detached(self, sealed: Sealed) -> None:
        name = detached_name(sealed.envelope)
        if name is None or sealed.detached is None:
            return
        path = self._detached_path(name)
        fresh = path.with_suffix(".tmp")
        try:
            path.parent.mkdir(exist_ok=True)
            with fresh.open("wb") as out:
                out.write(sealed.detached)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(path)
            for folder in (path.parent, self._directory):
                sync_folder(folder)
        except OSError as error:
            raise HostFault(f"ledger: {path} can't be written ({error.strerror}); check space and rights") from error

    def _read_detached(self, name: str) -> bytes:
        path = self._detached_path(name)
        try:
            return read_file(path, JSON_BYTES_MAX + 1)
        except OSError as error:
            raise EvidenceFault(f"ledger: {path} can't be read ({error.strerror}); restore it from a copy") from error


def _turn(predicate: Predicate) -> tuple[frozenset[str], str] | None:
    """What it is the last word on, where the same words may come again; None where they can't."""
    if isinstance(predicate, EqualityPredicate):
        return frozenset({predicate.KIND}), ""
    if not isinstance(predicate, FindingPredicate):
        return None
    kinds = next((kinds for kinds in COMING_AGAIN if predicate.kind in kinds), None)
    return None if kinds is None else (kinds, predicate.where)


def _keyid(sealed: Sealed) -> str:
    return parse_envelope(sealed.envelope).keyid


def _said(sealed: Sealed) -> bytes:
    return hashlib.sha256(parse_envelope(sealed.envelope).payload).digest()


def _take(ring: Keyring, stated: Stated, sealed: Sealed) -> None:
    """Check one statement's signature and go on over it."""
    unseal(sealed, ring.verifier(stated))
    ring.take(stated)
