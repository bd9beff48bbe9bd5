"""Logs that contradict their own certificate, signed by the log's key, and that the checks don't refuse yet.

They are told on the page (docs/threat-model.md, "What a false log may still tell"). Whoever has the checks refuse one
moves it to the defects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from domicile.evidence import predicates as p
from domicile.proof import Verdict
from tests.vectors import scenario as s
from tests.vectors.scenario import Line, Script, good

FOUND: Final = "app/wal"
UNVERIFIED: Final = Verdict.ERASED_UNVERIFIED


def _certified(script: Script, verdicts: Mapping[str, Verdict], until: datetime | None = None) -> Script:
    """The same with other verdicts of some copies; they are the worst, too."""

    def bend(said: p.Predicate) -> p.Predicate:
        assert isinstance(said, p.CertificatePredicate)
        copies = tuple(
            replace(copy, verdict=verdicts.get(copy.id, copy.verdict), until=until if copy.id in verdicts else None)
            for copy in said.copies
        )
        return replace(said, copies=copies, verdict=next(iter(verdicts.values())))

    return script.bent("certificate", bend)


def _differing() -> p.EqualityPredicate:
    said = s.equality(fenced=True)
    slices = tuple(replace(one, home=s.digest(f"lost {one.id}"), rows=1) for one in said.slices)
    return replace(said, differences=70, strays=3, slices=slices)


def _half() -> p.TransferPredicate:
    said = s.transfer("app.public.messages", "us")
    return replace(said, slices=tuple(replace(one, rows=1, digest=s.digest("other")) for one in said.slices))


def _swept(residue: int, *copies: str, minute: int = 50) -> p.SweepPredicate:
    said = s.sweep()
    found = tuple(
        replace(one, hits=residue if one.id == FOUND else 0, residue=residue if one.id == FOUND else 0)
        for one in said.copies
        if one.id in copies
    )
    return replace(said, copies=found, rows=replace(said.rows, hits=residue), swept_at=s.at(minute))


def _nothing(play: s.Play) -> p.ErasurePredicate:
    return p.ErasurePredicate(
        plan=s.PLAN, phase=p.Phase.INTENT, clearance=play["clearance"].sha256, dataset="nothing", home="nowhere",
        slices=(), collateral=0, emptied=(),
    )  # fmt: skip


def _unread() -> p.SweepPredicate:
    said = s.sweep()
    return replace(
        said, copies=tuple(replace(one, bytes=0) for one in said.copies), tokens=replace(said.tokens, canaries=0)
    )


def _residue_left_out() -> Script:
    others = [copy for copy in s.COPIES if copy != FOUND]
    first = good().signed("sweep", Line("sweep", lambda _: _swept(500, *s.COPIES)))
    return _certified(
        first.after("sweep", Line("sweep 2", lambda _: _swept(0, *others, minute=51))), {FOUND: UNVERIFIED}
    )


def _residue_before_nothing() -> Script:
    first = good().signed("sweep", Line("sweep", lambda _: _swept(500, *s.COPIES)))
    return _certified(first.after("sweep", Line("empty", _nothing)), dict.fromkeys(s.COPIES, UNVERIFIED))


CONTRADICTIONS: Final[Mapping[str, Callable[[], Script]]] = {
    "differences found after the clearance": lambda: good().after("clearance", Line("late", lambda _: _differing())),
    "all rows at the source after the sweep": lambda: good().after(
        "sweep", Line("late", lambda _: replace(s.equality(fenced=True), position="0/17"))
    ),
    "half transferred after the clearance": lambda: good().after("clearance", Line("late", lambda _: _half())),
    "residue in a copy that the next sweep leaves out": _residue_left_out,
    "residue before an erasure of nothing": _residue_before_nothing,
    "a sweep that read nothing": lambda: good().signed("sweep", Line("sweep", lambda _: _unread())),
    "a fence on nobody": lambda: good().set("cutover", subjects={}),
    "blocked until a day that is over": lambda: _certified(
        good(), {FOUND: Verdict.BLOCKED_UNTIL}, datetime(2001, 1, 1, tzinfo=UTC)
    ),
}
