"""Keys that change hands (docs/keys.md, ADR 0040): rotated by who holds them, revoked by those who don't.

Works on the programme's folder alone: no store is opened, and the engine's key only where it signs. A change of the
log's key is announced by nobody else: the next key lies in `engine.key.next` before the log is signed by it, and takes
the other's place after that, so that a kill in between loses neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from domicile.approving import as_approver
from domicile.errors import EvidenceFault, Refused
from domicile.evidence.codec import encode
from domicile.evidence.keyring import LOG, Keyring, Who, name_of, quorum_of
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.ledger import Ledger
from domicile.evidence.predicates import KeyChange, KeyPredicate
from domicile.evidence.signers import Place
from domicile.evidence.statement import Sealed, parse_envelope, read_unverified, seal
from domicile.host import Host
from domicile.record.journal import Journal
from domicile.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What became of a change: whose key, what it says, how many signed of how many; `at` once it is in the log."""

    who: Who
    change: KeyPredicate
    signed: int
    needed: int
    at: int | None


class Keeping:
    """The keys of one programme; use `opened()`, which keeps an engine out meanwhile."""

    def __init__(
        self, workspace: Workspace, programme: str, host: Host, key: Signer | Verifier, journal: Journal
    ) -> None:
        self.workspace, self.host, self.journal = workspace, host, journal
        self._programme = programme
        self.ledger = Ledger.open(workspace.evidence, key, size_min=journal.get("log_size", int) or 0)

    @classmethod
    @contextmanager
    def opened(
        cls, workspace: Workspace, programme: str, host: Host, *, place: Place | None, lost: bool = False
    ) -> Iterator[Keeping]:
        """Open the folder; with `lost` by the public half of the log's key alone."""
        with workspace.locked():
            if not (workspace.evidence / "log" / "checkpoint").exists():
                raise Refused(
                    f"{workspace.folder}: no log yet, so no key is bound to anything; name the new one in the file"
                )
            key = workspace.log_verifier() if lost else workspace.signer(programme, host, place)
            journal = Journal(workspace.journal)
            try:
                keeping = cls(workspace, programme, host, key, journal)
                if not keeping.ledger.size:
                    raise Refused("the log is empty, so no key is bound to it yet; name the new one in the file")
                yield keeping
            finally:
                journal.close()

    @property
    def ring(self) -> Keyring:
        """The keys as the log has them."""
        return self.ledger.keyring()

    def rotate(self, holder: Signer, text: str, new: Verifier, why: str) -> Changed:
        """Hand an approver's key on, signed by the key itself."""
        name, signer = as_approver(self.ring, holder, text)
        change = self._change(KeyChange.ROTATED, name, Proposal(why=why, new=new))
        return self._admit([seal(change, signer).envelope], change)

    def give_up(self, holder: Signer, text: str, proposal: Proposal) -> Changed:
        """Call one's own key lost, signed by the key itself; it gets no successor by that."""
        name, signer = as_approver(self.ring, holder, text)
        change = self._change(KeyChange.REVOKED, name, replace(proposal, new=None))
        return self._admit([seal(change, signer).envelope], change)

    def rotate_log(self, why: str, place: Place | None) -> Changed:
        """Hand the log's key on; the next one signs the log from here on."""
        signer = self.workspace.signer(self._programme, self.host)
        following = self._next(place)
        change = self._change(KeyChange.ROTATED, LOG, Proposal(why=why, new=following.verifier))
        return self._admit([seal(change, signer).envelope], change, following)

    def revoke(self, who: Who, voter: Signer, text: str, proposal: Proposal) -> Changed:
        """Sign, as another approver, that a key is lost; the change takes place once enough did.

        Who comes first says why and names the next key; the others sign the very same, or are refused.
        """
        name, signer = as_approver(self.ring, voter, text)
        if name == who:
            raise Refused(
                f"{name} can't vote on a key of their own; give it up with `domicile keys revoke` and that key"
            )
        if self.ring.keys.get(who) is None:
            raise Refused(f"the plan names no approver {who} with a key in force; `domicile keys list` shows them")
        able = len(self.ring.may_vote(who))
        if able < self.ring.threshold:
            raise Refused(
                f"{name_of(who)}'s key: {able} others could call it lost, and {self.ring.threshold} have to; its "
                "holder rotates it, or you plan anew (docs/keys.md)"
            )
        waiting = self._waiting(who)
        change = waiting[0][0] if waiting else self._propose(who, proposal)
        if waiting and proposal.differs(change):
            raise Refused(
                f"others signed another change of {name_of(who)}'s key: {change.why}; sign that one by leaving the "
                f"options away, or remove their files from {self.workspace.key_changes}"
            )
        self.workspace.key_changes.mkdir(mode=0o700, exist_ok=True)
        digest = hashlib.sha256(encode(change)).hexdigest()[:16]
        sealed = seal(change, signer)
        self.workspace.write(self.workspace.key_changes / f"{digest}-{sealed.sha256[:16]}.json", sealed.envelope)
        return self._settle(who, change)

    def _propose(self, who: Who, proposal: Proposal) -> KeyPredicate:
        if who is LOG:
            proposal = replace(proposal, new=self._next(proposal.place).verifier)
        return self._change(KeyChange.REVOKED, who, proposal)

    def _settle(self, who: Who, change: KeyPredicate) -> Changed:
        signed = {parse_envelope(envelope).keyid: envelope for _, envelope in self._waiting(who)}
        votes = quorum_of(self.ring, change, signed)
        if not votes:
            return Changed(who=who, change=change, signed=len(signed), needed=self.ring.threshold, at=None)
        following = self.workspace.next_signer(self._programme, self.host) if who is LOG else None
        changed = self._admit(votes, change, following)
        for path, _ in self.workspace.key_change_files():
            path.unlink()
        return changed

    def _waiting(self, who: Who) -> list[tuple[KeyPredicate, bytes]]:
        """What others signed of the key in force, and is not in the log yet.

        Of the log's key only what speaks of all that is in the log now: if it grew since, they look at it again.
        """
        key = self.ring.keys_of(who)
        found = []
        for path, envelope in self.workspace.key_change_files():
            change = read_unverified(Sealed(envelope=envelope, detached=None))
            if not isinstance(change, KeyPredicate):
                raise EvidenceFault(f"{path}: this is no change of a key; remove this file")
            whole = who is not LOG or change.stands == self.ledger.size
            if change.approver == who and change.key == key.vkey and whole:
                found.append((change, envelope))
        return found

    def _next(self, place: Place | None) -> Signer:
        """The key that takes over the log; one that was made for it before and not used is taken again."""
        name = self.ledger.log.origin
        if place is not None:
            self.workspace.key_next.unlink(missing_ok=True)
        if not self.workspace.key_next.exists():
            self.workspace.begin_key(self.workspace.key_next, name, self.host, place)
        return self.workspace.next_signer(self._programme, self.host)

    def _change(self, what: KeyChange, who: Who, proposal: Proposal) -> KeyPredicate:
        if not proposal.why:
            raise Refused("say why, in a few words that hold nobody's data: they stay in the log (`--why`)")
        size = self.ledger.size if proposal.stands is None else proposal.stands
        if not 0 < size <= self.ledger.size:
            raise Refused(f"the log has {self.ledger.size} statements; say how many of them stand, from 1 on")
        new, since = proposal.new, proposal.since or self.host.now()
        return KeyPredicate(
            plan=self.ledger.plan().plan, what=what, approver=who, key=self.ring.keys_of(who).vkey,
            new=None if new is None else new.vkey, since=since.replace(microsecond=0), stands=size,
            root=self.ledger.log.root_at(size).hex(), why=proposal.why,
        )  # fmt: skip

    def _admit(self, envelopes: list[bytes], change: KeyPredicate, following: Signer | None = None) -> Changed:
        recorded = self.ledger.admit_change(envelopes, following)
        self.journal.put("log_size", self.ledger.size, int)
        self.workspace.promote()
        return Changed(
            who=change.approver, change=change, signed=len(recorded), needed=len(recorded), at=recorded[0].index
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the first who revokes a key says: why, what of it stands, and the next one (of the log: where it lies)."""

    why: str
    new: Verifier | None = None
    place: Place | None = None
    stands: int | None = None
    since: datetime | None = None

    def differs(self, change: KeyPredicate) -> bool:
        """Say whether somebody who signs later asks for something else than this change."""
        return (
            (self.why not in ("", change.why))
            or (self.new is not None and self.new.vkey != change.new)
            or (self.stands is not None and self.stands != change.stands)
        )
