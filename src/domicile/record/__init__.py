"""What a run has done and still knows: statements in the log, secrets, counts and times in the journal, events told.

Three things survive a kill: the stores' own marks (not here), the log and the journal. A stage asks `last` and the
journal before it begins, states what it did with `state`, and runs within `timed`.

Where the file names witnesses, what is stated is published before `state` returns: in the log, then in the journal how
long that is, then cosigned by a quorum, then in `checkpoint`. Killed or without a quorum between two of these, the next
`state` or `publish` goes on; a run begins with `publish`, so that no stage rests on what nobody else saw (P7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from domicile.errors import EvidenceFault, NoQuorum
from domicile.events import Advanced, Began, Ended, Event, Listener, Noted
from domicile.evidence.cosigning.asking import Witnesses
from domicile.evidence.keys import Signer
from domicile.evidence.ledger import Ledger, Recorded
from domicile.evidence.predicates import ApprovalPredicate, ClearancePredicate, Predicate
from domicile.host import Host
from domicile.proof import Equality
from domicile.record.journal import Journal
from domicile.record.workspace import Workspace

Kind = TypeVar("Kind", bound=Predicate)
NO_EQUALITY = ""


class Record:
    """Log and journal of one programme, open for this engine alone."""

    def __init__(  # noqa: PLR0913 - what is private, what is public, and who hears and cosigns
        self, workspace: Workspace, signer: Signer, journal: Journal, *, host: Host, listener: Listener,
        witnesses: Witnesses | None = None,
    ) -> None:  # fmt: skip
        self._workspace = workspace
        self._heard = listener
        self._passed: dict[str, tuple[int, int]] = {}
        self.journal = journal
        self.host = host
        self.commitments = workspace.commitments
        self.receipts = workspace.receipts
        self.seals = workspace.seals
        self.witnesses = witnesses
        self.ledger = Ledger.open(
            workspace.evidence, signer, size_min=journal.get("log_size", int) or 0, cosigned=witnesses is not None
        )

    def last(self, kind: type[Kind], accept: Callable[[Kind], bool] = lambda _: True) -> Recorded | None:
        """The last statement of that kind in the log, or None."""
        found = None
        for recorded in self.ledger.statements():
            if isinstance(recorded.predicate, kind) and accept(recorded.predicate):
                found = recorded
        return found

    def state(self, predicate: Predicate) -> Recorded:
        """State one thing in the log."""
        return self.state_all([predicate])[0]

    def state_all(self, predicates: Iterable[Predicate]) -> list[Recorded]:
        """State several things at once, published on return; the journal remembers how long the log is."""
        recorded = self._append_all(predicates)
        self.publish()
        return recorded

    def tell_all(self, predicates: Iterable[Predicate]) -> list[Recorded]:
        """State what can be taken back: in the log on return, and published now only if witnesses answer at once."""
        recorded = self._append_all(predicates)
        try:
            self.publish(wait_s=0)
        except NoQuorum as fault:
            self.listener(Noted(text=f"not published yet: {fault}"))
        return recorded

    def _append_all(self, predicates: Iterable[Predicate]) -> list[Recorded]:
        recorded = self.ledger.record_all(predicates)
        self.journal.put("log_size", self.ledger.size, int)
        return recorded

    def publish(self, *, wait_s: float | None = None, anew: bool = False) -> None:
        """Publish what is in the log and is not yet; with `anew` have the present head cosigned once more.

        Raises NoQuorum when too few witnesses cosign, and EvidenceFault when one saw another log: nothing is lost.
        """
        log = self.ledger.log
        if not log.size or (log.is_published and not anew):
            return
        if self.witnesses is None:
            log.publish()
            return
        cosigned = self.witnesses.cosign(log, wait_s=wait_s)
        log.publish(cosigned.signatures)
        for remark in cosigned.remarks:
            self.listener(Noted(text=f"published without {remark}"))

    def approvals(self, equality_sha256: str) -> dict[str, str]:
        """Take what approvers left into the log; approver → digest of the approval, for this equality only."""
        for path, envelope in self._workspace.approval_files():
            try:
                self.ledger.admit(envelope)
            except EvidenceFault as fault:
                raise EvidenceFault(f"{path}: {fault}; then remove this file") from None
        self.journal.put("log_size", self.ledger.size, int)
        return {
            recorded.predicate.approver: recorded.sha256
            for recorded in self.ledger.statements()
            if isinstance(recorded.predicate, ApprovalPredicate)
            and recorded.predicate.equality == equality_sha256
            and not recorded.void
        }

    def who_approved(self, clearance: ClearancePredicate) -> tuple[str, ...]:
        """The approvers of a clearance, without those whose approval of it is void."""
        return tuple(
            recorded.predicate.approver
            for recorded in self.ledger.statements()
            if isinstance(recorded.predicate, ApprovalPredicate)
            and recorded.sha256 in clearance.approvals
            and not recorded.void
        )

    # -- the equality that may clear -----------------------------------------------------------------------------

    def keep_equality(self, equality: Equality, sha256: str) -> None:
        """Keep what was compared, without the keys that differ, under its statement's digest."""
        self.journal.put("equality", _without_keys(equality), Equality)
        self.journal.put("equality_sha256", sha256, str)

    def kept_equality(self, sha256: str) -> Equality | None:
        """The equality of that statement, if it is the last one kept and clears."""
        kept = self.journal.get("equality", Equality)
        if kept is None or not kept.clears or self.journal.get("equality_sha256", str) != sha256:
            return None
        return kept

    def forget_equality(self) -> None:
        """Have it compared, and approved, anew."""
        self.journal.put("equality_sha256", NO_EQUALITY, str)

    # -- the time ------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The time, and never before one that was stated: a clock that was set back would spoil the evidence."""
        now, latest = self.host.now(), self.journal.get("latest", datetime)
        now = max(now, latest) if latest else now
        self.remember(now)
        return now

    def remember(self, stated: datetime) -> None:
        """Keep a time that was stated, for `now`."""
        latest = self.journal.get("latest", datetime)
        if latest is None or stated > latest:
            self.journal.put("latest", stated, datetime)

    # -- events and times ----------------------------------------------------------------------------------------

    def listener(self, event: Event) -> None:
        """Pass an event on, and keep count of what passed in each stage."""
        if isinstance(event, Advanced):
            units, size = self._passed.get(event.stage, (0, 0))
            self._passed[event.stage] = (units + event.units, size + event.bytes)
        self._heard(event)

    @contextmanager
    def timed(self, stage: str, *, total: int = 0, unit: str = "rows") -> Iterator[list[str]]:
        """Run a stage: tell its beginning and end, and add its time to the journal; its words go into the list."""
        self.listener(Began(stage=stage, total=total, unit=unit))
        start, words = self.host.monotonic_s(), [""]
        yield words
        seconds = self.host.monotonic_s() - start
        times = self.journal.get("seconds", dict[str, float]) or {}
        times[stage] = times.get(stage, 0.0) + seconds
        self.journal.put("seconds", times, dict[str, float])
        if stage in self._passed:
            passed = self.journal.get("passed", dict[str, tuple[int, int]]) or {}
            self.journal.put("passed", {**passed, stage: self._passed[stage]}, dict[str, tuple[int, int]])
        self.listener(Ended(stage=stage, text=words[0], seconds=seconds))


def _without_keys(equality: Equality) -> Equality:
    return replace(equality, differences=())
