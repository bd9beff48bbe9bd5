"""Which clauses a run supports: a pack held against the evidence. Supports, never complies.

A clause is satisfied only when the certificate is there and follows from the log, every kind of statement that the
pack names holds, and, where the pack names verdicts, every copy is `erased-verified`. All that falls short says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from domicile.exports.evidence import CopyStanding, Evidence
from domicile.exports.holding import Holding
from domicile.exports.packs import Clause, Pack
from domicile.proof import Verdict


class State(StrEnum):
    """Whether a target is satisfied (OSCAL 1.2.3, finding-target, status, state)."""

    SATISFIED = "satisfied"
    NOT_SATISFIED = "not-satisfied"


class Reason(StrEnum):
    """Why: it holds, something stands against it, or it is not known (OSCAL 1.2.3, status, reason). Worst last."""

    HOLDS = "pass"
    OTHER = "other"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """A clause of a pack, how it stands, why, and on which kinds of statement that rests."""

    pack: Pack
    clause: Clause
    reason: Reason
    because: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def state(self) -> State:
        """Satisfied when nothing falls short."""
        return State.SATISFIED if self.reason is Reason.HOLDS else State.NOT_SATISFIED

    @property
    def name(self) -> str:
        """The clause's name among all packs."""
        return f"{self.pack.id}_{self.clause.id}"


def supports(evidence: Evidence, holdings: Mapping[str, Holding], packs: Sequence[Pack]) -> tuple[Support, ...]:
    """Hold every clause of the packs against the evidence."""
    return tuple(_support(evidence, holdings, pack, clause) for pack in packs for clause in pack.clauses)


def reason_of(copy: CopyStanding) -> Reason:
    """How a copy stands: only `erased-verified` passes; what is still there fails; the rest is not known."""
    if copy.satisfied:
        return Reason.HOLDS
    still_there = copy.verdict in (Verdict.PRESENT, Verdict.HELD, Verdict.BLOCKED_UNTIL)
    return Reason.FAIL if still_there or (copy.verdict is not None and not copy.believed) else Reason.OTHER


def worst(reasons: Sequence[Reason]) -> Reason:
    """The worst of them; HOLDS of none."""
    return max(reasons, key=list(Reason).index, default=Reason.HOLDS)


def unfinished(evidence: Evidence) -> tuple[tuple[Reason, str], ...]:
    """What stands against every finding of this run: no certificate, or one that is not believed."""
    if not evidence.finished:
        return ((Reason.OTHER, "the run is not finished: there is no certificate"),)
    return tuple((Reason.FAIL, f"the certificate is not believed: {doubt}") for doubt in evidence.doubts)


def _support(evidence: Evidence, holdings: Mapping[str, Holding], pack: Pack, clause: Clause) -> Support:
    against = [*unfinished(evidence), *_lacking(holdings, clause), *_copies(evidence, clause)]
    kinds = [name for kind in clause.supported_by.statements for name in kind.split(" or ")]
    return Support(
        pack=pack,
        clause=clause,
        reason=worst([reason for reason, _ in against]),
        because=tuple(dict.fromkeys(text for _, text in against)),
        kinds=tuple(dict.fromkeys(name for name in kinds if holdings[name].statements)),
    )


def _lacking(holdings: Mapping[str, Holding], clause: Clause) -> Iterator[tuple[Reason, str]]:
    for kind in clause.supported_by.statements:
        asked = [holdings[name] for name in kind.split(" or ")]
        if not any(one.holds for one in asked):
            yield Reason.FAIL, "; ".join(f"{one.kind} does not hold: {one.says}" for one in asked)


def _copies(evidence: Evidence, clause: Clause) -> Iterator[tuple[Reason, str]]:
    """Copies that fall short; one with a verdict that the pack names, but not the best, is not known to be erased."""
    if not clause.supported_by.verdicts:
        return
    if not evidence.copies:
        yield Reason.OTHER, "no copy is listed, so none has a verdict"
    short = [copy for copy in evidence.copies if copy.verdict is not Verdict.ERASED_VERIFIED]
    counts = Counter((reason_of(copy), copy.verdict.value if copy.verdict else "not judged yet") for copy in short)
    for (reason, verdict), number in counts.items():
        named = verdict in clause.supported_by.verdicts
        note = ", which the pack names, but which no search can show" if named else ""
        yield reason, f"{number} of {len(evidence.copies)} copies: {verdict}{note}"
