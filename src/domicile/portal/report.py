"""One self-contained page on a run: what a board member reads and an engineer checks. Nothing from outside.

It is made from the statements of the log and shows nothing better than they allow (`portal.facts`). Its one script
(`portal.checking`) checks the bundle that lies inside the page, or another that the reader gives, and says what such a
check is worth. Statements hold no personal data (P8), so neither does the page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from domicile.certify import WORST_LAST
from domicile.cutover.cohorts import LagPoint
from domicile.evidence.predicates import JudgedCopy, PlannedCopy, Predicate, SweptCopy
from domicile.model import Finding
from domicile.portal import lag, schematic, words
from domicile.portal.checking import self_check
from domicile.portal.facts import Facts, Rows, gather
from domicile.portal.flow import State, Step, steps
from domicile.proof import Verdict
from domicile.record.felt import Felt

ALWAYS: Final = (
    "that the signers told the truth about their stores, and that their clocks were right",
    "that the list of copies is complete: a copy that nobody listed has no verdict",
    "that no other version of this log was shown to others: no witness has cosigned it",
    "who holds the keys: neither this page nor domicile-audit knows, unless you give keys that you got elsewhere",
)
BETWEEN: Final = (
    Step(
        stage="freeze", title="Freeze", state=State.DONE,
        text="the keys of all rows that move were written down under the fence",
    ),
    Step(
        stage="horizon", title="Horizon", state=State.DONE,
        text="files were rewritten, statistics cleared, old write-ahead log made to go",
    ),
)  # fmt: skip
"""Steps that no statement speaks of: shown in their place when a time was measured."""
PLACES: Final = {"fence": BETWEEN[0], "erase": BETWEEN[1]}
COHORTS_SHOWN: Final = 20
"""So many lines of the table of cohorts are open; the others are folded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """How long a stage took and what passed through it.

    `stage` is a name of the run's: plan, fence, transfer, verify, restore, erase, sweep, certify stand beside their
    step of the flow, all others (freeze, horizon, map, …) in lines of their own. Without `rows` and `bytes`
    the rate of erase and sweep is that of what the statements count; a transfer also carries rows that they don't.
    """

    stage: str
    seconds: float
    rows: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockTime:
    """How long the horizon's treatment kept others from one copy."""

    copy: str
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What a reader wants to know and no statement says.

    `lag` is shown when people went home in cohorts; `felt` is what somebody beside the engine measured. `checkpoint`
    is the log's signed head as text, `certificate` the SHA-256 of the certificate's envelope, `bundle` the file name of
    the bundle, `bundle_bytes` the bundle itself, which goes into the page as data if it is short enough.
    """

    engine: str
    stages: tuple[StageTime, ...] = ()
    fence_wait_ms: int | None = None
    findings: tuple[Finding, ...] = ()
    locks: tuple[LockTime, ...] = ()
    lag: tuple[LagPoint, ...] = ()
    felt: Felt | None = None
    checkpoint: str | None = None
    certificate: str | None = None
    bundle: str | None = None
    bundle_bytes: bytes | None = field(default=None, repr=False)
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One big number."""

    number: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLine:
    """A step with its time; `rate` is empty where nothing was measured."""

    step: Step
    took: str
    rate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyGroup:
    """Copies of one kind, method, reason and date, under one verdict; `searched` says what was read of them."""

    kind: str
    location: str
    method: str
    why: str
    until: datetime | None
    ids: tuple[str, ...]
    searched: str
    residue: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictGroup:
    """All copies of one verdict, or (None) those that nobody judged yet."""

    verdict: Verdict | None
    copies: int
    groups: tuple[CopyGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A finding and the rule that decided it."""

    kind: str
    where: str
    count: int
    text: str
    rule: str | None
    decided: bool

    @property
    def place(self) -> str:
        """Where the rule stands, unless the rule says so itself."""
        return "" if self.rule and self.where in self.rule else self.where


def render(statements: Sequence[Predicate], *, extras: Extras) -> str:
    """Return the page for all predicates of a log, in order, of a finished run or not.

    Raises EvidenceFault when they don't begin with a plan.
    """
    facts = gather(statements)
    flow = tuple(_flow(facts, extras))
    return _template().render(
        facts=facts,
        plan=facts.plan,
        extras=extras,
        judgement=facts.judgement,
        tone=_tone(facts),
        headline=headline(facts),
        tiles=tuple(_tiles(facts)),
        missing=tuple(line.step for line in flow if line.step.state is not State.DONE),
        not_proven=tuple(_not_proven(facts, extras)),
        always=ALWAYS,
        pictures=(("wide", schematic.wide(facts)), ("narrow", schematic.narrow(facts))),
        flow=flow,
        felt=extras.felt,
        lag_curves=lag.curves(extras.lag),
        lag_highest=lag.highest_s(extras.lag),
        COHORTS_SHOWN=COHORTS_SHOWN,
        other_times=tuple(_other_times(flow, extras)),
        datasets=tuple(_datasets(facts)),
        homes=tuple((home, facts.of_home(home)) for home in dict.fromkeys(facts.plan.homes.values())),
        verdict_groups=tuple(_verdict_groups(facts)),
        verdict_words=words.VERDICTS,
        decisions=tuple(_decisions(facts, extras)),
        checkpoint_sha256=hashlib.sha256(extras.checkpoint.encode()).hexdigest() if extras.checkpoint else None,
        self_check=self_check(extras.bundle_bytes, certified=facts.certificate is not None),
        words=words,
    )


def headline(facts: Facts) -> str:
    """Say the verdict of the whole in one plain sentence."""
    judgement = facts.judgement
    if judgement.doubts:
        return "The certificate does not follow from the statements in the log. Do not rely on it."
    if judgement.certified:
        return words.VERDICTS[judgement.verdict].headline.format(some=_how_many(facts, judgement.verdict))
    if judgement.verdict is Verdict.PRESENT:
        if facts.total.deleted + facts.total.blanked:
            return "This run is not finished: some private data is erased at the source, the rest is still there."
        return "This run is not finished: the private data is still at the source."
    return "This run is not finished: the rows are erased at the source, but nobody has judged the copies yet."


def _how_many(facts: Facts, verdict: Verdict) -> str:
    copies = facts.certificate.copies if facts.certificate else ()
    return f"{sum(1 for copy in copies if copy.verdict is verdict):,} of {len(copies):,} listed copies"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("domicile.portal", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2")


def _tone(facts: Facts) -> str:
    if facts.judgement.doubts:
        return "bad"
    return words.VERDICTS[facts.judgement.verdict].tone


def _tiles(facts: Facts) -> Iterator[Tile]:
    total, sweep = facts.total, facts.sweep
    if facts.people is not None:
        text = "people whose private data moves" if facts.cutover else "people at home so far"
        yield Tile(number=words.count(sum(facts.people.values())), text=text)
    yield Tile(number=words.count(total.moved), text="rows at home, read equal to the source under a fence")
    yield Tile(number=words.count(total.deleted), text="rows deleted at the source")
    yield Tile(number=words.count(total.blanked), text="rows at the source with private fields blanked")
    copies = facts.certificate.copies if facts.certificate else ()
    best = sum(1 for copy in copies if copy.verdict is Verdict.ERASED_VERIFIED)
    if not facts.judgement.doubts:
        absent = sum(1 for one in sweep.copies if _absent(one)) if sweep else 0
        text = f"copies outside home erased and searched{f', or not there ({absent:,})' if absent else ''}"
        yield Tile(number=f"{best:,} of {len(facts.plan.copies):,}", text=text)
    if sweep is not None:
        residue = sum(one.residue for one in sweep.copies)
        yield Tile(number=words.count(residue + sweep.rows.hits), text="private values found where they must not be")


def _not_proven(facts: Facts, extras: Extras) -> Iterator[str]:
    yield from (f"undecided: {item.text} ({item.where})" for item in _decisions(facts, extras) if not item.decided)
    total = facts.total
    if total.slices_equal < total.slices:
        yield (
            f"that {words.some(total.planned - total.moved, 'planned row')} "
            f"({words.some(total.slices - total.slices_equal, 'slice')}) are at home: not read equal under a fence"
        )
    if facts.cohorts and not facts.frozen:
        yield "that home holds what the source does: people are on their way, and nothing is frozen and compared yet"
    for group in _verdict_groups(facts):
        if group.verdict not in (Verdict.ERASED_VERIFIED, Verdict.KEY_DESTROYED):
            yield _open_copies(group)
    if facts.cohorts:
        yield "how long people waited: the waits are those of the engine's clock"
    if facts.certificate is None and facts.sweep is not None and facts.sweep.tokens.not_searchable:
        yield f"that {words.some(facts.sweep.tokens.not_searchable, 'value')} are gone: not searchable as bytes"
    yield from facts.certificate.not_proven if facts.certificate else facts.plan.not_proven


def _open_copies(group: VerdictGroup) -> str:
    kinds = list(dict.fromkeys(one.kind for one in group.groups))
    shown = ", ".join(kinds[:8]) + (f" and {len(kinds) - 8:,} more kinds" if len(kinds) > 8 else "")
    number = words.some(group.copies, "copy", "copies")
    if group.verdict is None:
        return f"{number} outside home: not judged yet ({shown})"
    return f"{number} {group.verdict.value}: {words.VERDICTS[group.verdict].meaning} ({shown})"


def _flow(facts: Facts, extras: Extras) -> Iterator[FlowLine]:
    times = {time.stage: _counted(facts, time) for time in extras.stages}
    flow = tuple(steps(facts))
    stated = {step.stage for step in flow}
    for step in flow:
        yield _timed(step, times.get(step.stage))
        after = PLACES.get(step.stage)
        if after is not None and after.stage in times.keys() - stated:
            yield _timed(after, times[after.stage])


def _timed(step: Step, time: StageTime | None) -> FlowLine:
    return FlowLine(step=step, took=words.seconds(time.seconds if time else None), rate=_rate(time))


def _counted(facts: Facts, time: StageTime) -> StageTime:
    total = facts.total
    if time.rows is not None or time.bytes is not None:
        return time
    if time.stage == "erase":
        return replace(time, rows=total.deleted + total.blanked)
    if time.stage == "sweep" and facts.sweep is not None:
        return replace(time, bytes=sum(one.bytes for one in facts.sweep.copies))
    return time


def _rate(time: StageTime | None) -> str:
    if time is None or time.seconds <= 0:
        return ""
    parts = []
    if time.rows:
        parts.append(f"{time.rows / time.seconds:,.0f} rows/s")
    if time.bytes:
        parts.append(f"{words.size(round(time.bytes / time.seconds))}/s")
    return ", ".join(parts)


def _other_times(flow: Sequence[FlowLine], extras: Extras) -> Iterator[tuple[str, str, str]]:
    known = {line.step.stage for line in flow}
    for time in extras.stages:
        if time.stage not in known:
            yield time.stage.capitalize(), words.seconds(time.seconds), _rate(time)


def _datasets(facts: Facts) -> Iterator[tuple[str, Rows, tuple[tuple[str, Rows], ...]]]:
    for dataset in dict.fromkeys(name for name, _ in facts.rows):
        homes = tuple((home, rows) for (name, home), rows in facts.rows.items() if name == dataset)
        yield dataset, facts.of_dataset(dataset), homes


def _verdict_groups(facts: Facts) -> Iterator[VerdictGroup]:
    judged = {copy.id: copy for copy in facts.certificate.copies} if facts.certificate else {}
    swept = {one.id: one for one in facts.sweep.copies} if facts.sweep else {}
    for verdict in (None, *reversed(WORST_LAST)):
        mine = [copy for copy in facts.plan.copies if _verdict(judged.get(copy.id)) is verdict]
        if mine:
            yield VerdictGroup(verdict=verdict, copies=len(mine), groups=tuple(_copy_groups(mine, judged, swept)))


def _verdict(judged: JudgedCopy | None) -> Verdict | None:
    return judged.verdict if judged else None


def _copy_groups(
    copies: Sequence[PlannedCopy], judged: dict[str, JudgedCopy], swept: dict[str, SweptCopy]
) -> Iterator[CopyGroup]:
    """Put copies that differ in nothing but their name into one line: sixty tables need no sixty lines."""
    alike: dict[tuple[str, str, str, str, datetime | None], list[str]] = {}
    for copy in copies:
        mine = judged.get(copy.id)
        place = (copy.kind, copy.location, copy.method, mine.why if mine else "", mine.until if mine else None)
        alike.setdefault(place, []).append(copy.id)
    for (kind, location, method, why, until), ids in alike.items():
        read = [swept[name] for name in ids if name in swept]
        yield CopyGroup(
            kind=kind, location=location, method=method, why=why, until=until, ids=tuple(ids),
            searched=_searched(read), residue=sum(one.residue for one in read),
        )  # fmt: skip


def _searched(read: Sequence[SweptCopy]) -> str:
    if not read:
        return words.NOTHING
    return "not there" if all(_absent(one) for one in read) else words.size(sum(one.bytes for one in read))


def _absent(swept: SweptCopy) -> bool:
    """Whether the server says that there is no such copy, so that nothing could be read."""
    return not swept.bytes and swept.method.startswith("absent")


def _decisions(facts: Facts, extras: Extras) -> Iterator[Decision]:
    known = set()
    for finding in extras.findings:
        known.add((finding.kind, finding.where, finding.count))
        yield Decision(
            kind=finding.kind, where=finding.where, count=finding.count, text=finding.text, rule=finding.rule,
            decided=finding.remedy is None,
        )  # fmt: skip
    for stated in facts.findings:
        if (stated.kind, stated.where, stated.count) not in known:
            yield Decision(
                kind=stated.kind, where=stated.where, count=stated.count, text=stated.text, rule=None, decided=True
            )
