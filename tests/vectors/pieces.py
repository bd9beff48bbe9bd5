"""What several false stories, and some true ones, are made of: searches, findings, and certificates that say more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from domicile.evidence import predicates as p
from domicile.proof import Verdict
from tests.vectors import scenario as s
from tests.vectors.scenario import Line, Script, good

FOUND: Final = "app/encrypted-files"
OTHERS: Final = tuple(copy for copy in s.COPIES if copy != FOUND)
UNVERIFIED: Final = Verdict.ERASED_UNVERIFIED
FIRST_INTENT: Final = "intent app.public.messages us"
FIRST_OUTCOME: Final = "outcome app.public.messages us"


def certified(script: Script, verdicts: Mapping[str, Verdict], until: datetime | None = None) -> Script:
    """The same with other verdicts of some copies; they are the worst, too."""

    def bend(said: p.Predicate) -> p.Predicate:
        assert isinstance(said, p.CertificatePredicate)
        copies = tuple(
            replace(copy, verdict=verdicts.get(copy.id, copy.verdict), until=until if copy.id in verdicts else None)
            for copy in said.copies
        )
        return replace(said, copies=copies, verdict=next(iter(verdicts.values())))

    return script.bent("certificate", bend)


def stated(name: str, made: p.Predicate) -> Line:
    return Line(name, lambda _: made)


def equal_again(**changes: object) -> p.EqualityPredicate:
    return replace(s.equality(fenced=True), position="0/17", **changes)  # type: ignore[arg-type]


def differing() -> p.EqualityPredicate:
    slices = tuple(replace(one, home=s.digest(f"lost {one.id}")) for one in s.equality(fenced=True).slices)
    return replace(equal_again(differences=70, strays=3), slices=slices, position="0/16B3900")


def transfer_of(rows: int) -> p.TransferPredicate:
    said = s.transfer("app.public.messages", "us")
    return replace(said, slices=tuple(replace(one, rows=rows, digest=s.digest("other")) for one in said.slices))


def swept(
    *copies: str, residue: int = 0, hits: int = 0, datasets: int = 2, size: int = 1_000_000, minute: int = 50
) -> p.SweepPredicate:
    """A search of these copies, with so much found in one of them."""
    said = s.sweep()
    found = tuple(
        replace(
            one, bytes=size, hits=residue if one.id == FOUND else 0, residue=residue if one.id == FOUND else 0
        )
        for one in said.copies
        if one.id in (copies or s.COPIES)
    )  # fmt: skip
    return replace(said, copies=found, rows=p.SweptRows(datasets=datasets, hits=hits), swept_at=s.at(minute))


def found_first(*later: Line, hits: int = 0) -> Script:
    """A search found something, and then these are stated."""
    first = good().signed("sweep", stated("sweep", swept(residue=500, hits=hits)))
    return first.after("sweep", *later)


def left_out(verdict: Verdict) -> Script:
    return certified(found_first(stated("sweep 2", swept(*OTHERS, minute=51))), {FOUND: verdict})


def finding(kind: str, where: str = "app.public.messages", count: int = 3) -> p.FindingPredicate:
    return p.FindingPredicate(plan=s.PLAN, kind=kind, where=where, count=count, text=f"{kind} {count}")


def nothing(play: s.Play) -> p.ErasurePredicate:
    return p.ErasurePredicate(
        plan=s.PLAN, phase=p.Phase.INTENT, clearance=play["clearance"].sha256, dataset="nothing", home="nowhere",
        slices=(), collateral=0, emptied=(),
    )  # fmt: skip


def keyed(*lines: Line) -> Script:
    """A copy of which nobody can read any more what a search had found, or that is called so."""
    return certified(good().before("sweep", *lines), {FOUND: Verdict.KEY_DESTROYED})


def done_at(said: p.ClearancePredicate, minute: int) -> p.ClearancePredicate:
    return replace(said, restore=replace(said.restore, done_at=s.at(minute)))


def under(clearance: str, script: Script) -> Script:
    """The same with all erasures under that clearance."""
    return Script(
        tuple(
            Line(line.name, lambda play, line=line: line.make({**play, "clearance": play[clearance]}))  # type: ignore[misc]
            if line.name.startswith(("intent", "outcome"))
            else line
            for line in script.lines
        )
    )


KEY_TOLD: Final = tuple(stated(phase.value, s.key_told(phase)) for phase in s.KEY_PHASES)
