"""Why a row is, or is not, in scope (docs/explain.md): rules and what a store traced → the row's fate, with reasons.

Pure. It decides anew, from the people that the row's paths reach and from the rows that need it, what the closure
decides for all rows at once; a property test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from domicile.config.places import Places
from domicile.config.rules import Apart, Decide, HomeRows, Shared
from domicile.model import DatasetScope, Edge, Fate, Form, Home, MarketRule, Path, Scope, Step
from domicile.stores.traces import HopTrace, NeedTrace, PathTrace, PersonTrace, RowKey, RowLine, Told, Trace

EVERY_HOME = "*"
NOT_WRITTEN = "not written: refuse"


class Answer(StrEnum):
    """What the evidence tells of a person."""

    TOLD = "told"
    UNKNOWN = "unknown"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One piece of evidence about one person: what each of its rows tells, and whether that decides."""

    name: str
    place: str
    told: tuple[Told, ...]
    decides: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person whom a path reaches, their home, and how that was decided."""

    trace: PersonTrace
    answer: Answer
    pieces: tuple[Piece, ...]
    decide: Decide
    as_of: date | None
    place: str
    told_home: Home | None
    """What the evidence tells now; under a fence the home that the fence holds counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One hop as the file spells it, where, and what was found over it."""

    spelled: str
    table: str
    place: str
    trace: HopTrace

    @property
    def broken(self) -> str | None:
        """Why no row leads on, in the words of the text; None while one does."""
        if self.trace.found:
            return None
        reasons = (
            ("null", self.trace.null), ("no such row", self.trace.nothing),
            ("`when` not true", self.trace.when), ("text is no JSON", self.trace.unreadable),
        )  # fmt: skip
        return ", ".join(words for words, count in reasons if count) or "no rows to begin from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One path of the row: hops, people, and whether it counts under the rule for shared rows."""

    text: str
    place: str
    hops: tuple[Hop, ...]
    people: tuple[Person, ...]
    destinations: tuple[tuple[Home | None, int], ...]
    shared: Shared | None
    shared_place: str | None
    counts: bool

    @property
    def broken(self) -> str | None:
        """Where and why the path breaks off, or None when it reaches somebody."""
        for number, hop in enumerate(self.hops, start=1):
            if hop.broken is not None:
                return f"path {self.text} breaks off at hop {number} ({hop.broken})"
        return None


class Because(StrEnum):
    """Why a row goes somewhere, or what the source does with it."""

    OWNER = "its owner's home"
    EVERYWHERE = "every home gets the rows of this dataset"
    SUPPORTING = "supporting: rows there refer to it"
    NOBODY = "it is nobody's"
    STAYERS = "only people who stay own it"
    ELSEWHERE = "only people who live at homes of other programmes own it"
    UNDECIDING = "holds nothing private"
    ALSO_STAYERS = "a person who stays owns it, too"
    MOVERS = "nobody who stays owns or needs it"
    NEEDED = "rows that stay refer to it"
    OTHERS = "not a mover's"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """An edge over which rows that lie somewhere refer to this one, its rule, and where that is written."""

    edge: str
    child: str
    children: int
    first: tuple[RowKey, ...]
    rule: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goes:
    """To which home (None: every one), in which form, and why."""

    home: Home | None
    form: Form
    because: Because
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays:
    """What becomes of the row at the source, and why; `refused` needs stop the plan."""

    fate: Fate
    because: Because
    needs: tuple[Need, ...] = ()
    refused: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one row is, or is not, in scope. `lines` are what the rules make of it, `found` what the closure holds."""

    dataset: str
    key: RowKey
    rows: str
    place: str
    present: bool
    frozen: bool
    computed: bool
    ways: tuple[Way, ...]
    goes: tuple[Goes, ...]
    refused: tuple[Need, ...]
    """Edges whose rule refuses to send the row to a home where it is needed."""
    stays: Stays
    lines: tuple[RowLine, ...]
    found: tuple[RowLine, ...] | None

    @property
    def agrees(self) -> bool:
        """Whether the rules, applied now, make of the row what the closure holds of it."""
        return self.found is None or sorted(map(repr, self.lines)) == sorted(map(repr, self.found))

    @property
    def in_scope(self) -> bool:
        """Whether the row is somebody's who moves."""
        return any(going.because is Because.OWNER for going in self.goes)


def explain(scope: Scope, trace: Trace, places: Places) -> Explanation:
    """Say what becomes of the row, and why."""
    dataset = scope.dataset(trace.dataset)
    ways = tuple(_ways(scope, dataset, trace, places))
    if not trace.present:
        return _erased(dataset, trace, places)
    owners, kept = owners_of(scope, dataset, ways)
    needs = trace.needs or ()
    stays = _stays(scope, dataset, (owners, kept), needs, places, ways)
    goes = tuple(_goes(scope, dataset, owners, needs, places))
    return Explanation(
        dataset=str(dataset.id), key=trace.key, rows=dataset.rows.value, place=places.near("datasets", dataset.id),
        present=True, frozen=trace.frozen, computed=trace.needs is not None, ways=ways, goes=goes,
        refused=tuple(_refused_at_home(scope, dataset, goes, needs, places)), stays=stays,
        lines=tuple(_lines(owners, goes, stays.fate)), found=trace.lines,
    )  # fmt: skip


def _erased(dataset: DatasetScope, trace: Trace, places: Places) -> Explanation:
    """A row that only the frozen manifest knows: its lines say what was decided, and nothing can be followed."""
    lines = trace.lines or ()
    goes = tuple(
        Goes(
            home=None if line.part == EVERY_HOME else Home(line.part), form=line.form,
            because=Because.OWNER if line.owned else Because.SUPPORTING if line.part != EVERY_HOME
            else Because.EVERYWHERE,
        )
        for line in lines
    )  # fmt: skip
    fate = next((line.fate for line in lines if line.fate is not Fate.KEEP), Fate.KEEP)
    return Explanation(
        dataset=str(dataset.id), key=trace.key, rows=dataset.rows.value, place=places.near("datasets", dataset.id),
        present=False, frozen=trace.frozen, computed=True, ways=(), goes=goes, refused=(),
        stays=Stays(fate=fate, because=Because.MOVERS if fate is not Fate.KEEP else Because.OTHERS),
        lines=lines, found=lines,
    )  # fmt: skip


# -- people ------------------------------------------------------------------------------------------------------


def settle(rule: MarketRule, told: tuple[Told, ...]) -> tuple[Answer, tuple[bool, ...], Home | None]:
    """What the evidence tells, which of it decides, and the home that follows (docs/closure.md, section 1)."""
    homes = dict(rule.homes)
    if not told:
        return Answer.UNKNOWN, (), _home(homes, rule.unknown)
    first = min(item.piece for item in told)
    decides = tuple(
        {Decide.FIRST: item.piece == first, Decide.LATEST: item.newest, Decide.AGREE: True}[rule.decide]
        for item in told
    )
    counted = {item.home for item, counts in zip(told, decides, strict=True) if counts}
    if len(counted) > 1:
        return Answer.CONFLICT, decides, _home(homes, rule.conflict)
    return Answer.TOLD, decides, counted.pop()


def _home(homes: dict[str, str], market: str | None) -> Home | None:
    return Home(homes[market]) if market in homes else None


def _person(scope: Scope, trace: PersonTrace, places: Places) -> Person:
    kind = scope.kind(trace.kind)
    rule = kind.market
    answer, decides, home = settle(rule, trace.told)
    number = scope.kinds.index(kind)
    where = ("subject", "market") if not number else ("other_subjects", str(number - 1), "market")
    pieces = tuple(
        Piece(
            name=piece.name, place=places.near(*where, "evidence", str(place)),
            told=tuple(item for item in trace.told if item.piece == place),
            decides=tuple(counts for item, counts in zip(trace.told, decides, strict=True) if item.piece == place),
        )
        for place, piece in enumerate(rule.evidence)
    )  # fmt: skip
    told_by = {
        Answer.TOLD: places.near(*where, "decide"), Answer.UNKNOWN: places.near("policy", "unknown_market"),
        Answer.CONFLICT: places.near(*where, "conflict"),
    }  # fmt: skip
    return Person(
        trace=trace, answer=answer, pieces=pieces, decide=rule.decide, as_of=rule.as_of, place=told_by[answer],
        told_home=home,
    )  # fmt: skip


# -- paths and owners --------------------------------------------------------------------------------------------


def _ways(scope: Scope, dataset: DatasetScope, trace: Trace, places: Places) -> Iterator[Way]:
    reached = False
    for number, (path, found) in enumerate(zip(dataset.paths, trace.paths, strict=False)):
        rule = dataset.sharing(path)
        yield _way(scope, dataset, (number, path, found), places, counts=not (rule is Shared.FIRST and reached))
        reached = reached or bool(found.people or found.destinations)


def _way(
    scope: Scope, dataset: DatasetScope, item: tuple[int, Path, PathTrace], places: Places, *, counts: bool
) -> Way:
    number, path, found = item
    where = ("datasets", str(dataset.id))
    by = (*where, "subjects", "by", str(number))
    starts = next((keys for keys in ((*by, "path"), by, (*where, "path")) if places.of(*keys)), where)
    shared = next(
        (place for keys in ((*by, "shared"), (*where, "subjects", "shared"), (*where, "shared"))
         if (place := places.of(*keys))), None,
    )  # fmt: skip
    hops = tuple(
        Hop(spelled=_spelled(step), table=str(step.table), place=places.near(*starts, str(place)), trace=hop)
        for place, (step, hop) in enumerate(zip(path.steps, found.hops, strict=True))
    )
    return Way(
        text=path.text, place=places.near(*starts), hops=hops,
        people=tuple(_person(scope, person, places) for person in found.people), destinations=found.destinations,
        shared=dataset.sharing(path), shared_place=shared, counts=counts,
    )  # fmt: skip


def _spelled(step: Step) -> str:
    if step.to_reading is not None:
        text = f"from {step.table}.{step.to_reading.spelled}"
    elif step.reading is not None:
        text = step.reading.spelled
    else:
        text = f"from {step.table}.{','.join(step.to_columns)}" if step.down else ",".join(step.columns)
    return f"{text} when {step.when}" if step.when else text


def owners_of(scope: Scope, dataset: DatasetScope, ways: tuple[Way, ...]) -> tuple[tuple[Home, ...], bool]:
    """The homes that own the row, and whether a person who stays keeps it (docs/closure.md, section 2)."""
    if not dataset.decided:
        return (), False
    counted = [way for way in ways if way.counts]
    homes = {home for way in counted for home, _ in way.destinations if home is not None}
    stays = any(
        home is None and way.shared is not Shared.ANY for way in counted for home, _ in way.destinations
    )  # fmt: skip
    owners = tuple(home for home in scope.homes if home in homes)
    return owners, bool(owners) and stays


# -- where it goes, and what stays -------------------------------------------------------------------------------


def _is_everywhere(dataset: DatasetScope) -> bool:
    return not dataset.moves and dataset.home_rows is HomeRows.ALL


def _goes(
    scope: Scope, dataset: DatasetScope, owners: tuple[Home, ...], needs: tuple[NeedTrace, ...], places: Places
) -> Iterator[Goes]:
    if _is_everywhere(dataset):
        yield Goes(home=None, form=Form.SKELETON, because=Because.EVERYWHERE)
    for home in scope.homes:
        if home in owners:
            yield Goes(home=home, form=Form.WHOLE, because=Because.OWNER)
            continue
        mine = [need for need in needs if need.home == home and _form(dataset, scope.edges[need.edge]) is not None]
        if mine and not _is_everywhere(dataset):
            forms = {_form(dataset, scope.edges[need.edge]) for need in mine}
            yield Goes(
                home=home, form=Form.WHOLE if Form.WHOLE in forms else Form.SKELETON, because=Because.SUPPORTING,
                needs=tuple(_need(scope, dataset, need, places) for need in mine),
            )  # fmt: skip


def _form(parent: DatasetScope, edge: Edge) -> Form | None:
    """In which form a parent that is not everywhere follows its child home (docs/closure.md, section 3)."""
    if not parent.moves:
        return Form.SKELETON if parent.home_rows is HomeRows.NEEDED else None
    return {Apart.SKELETON: Form.SKELETON, Apart.WHOLE: Form.WHOLE, Apart.REFUSE: None}[edge.apart_home]


def _refused_at_home(
    scope: Scope, dataset: DatasetScope, goes: tuple[Goes, ...], needs: tuple[NeedTrace, ...], places: Places
) -> Iterator[Need]:
    there = {going.home for going in goes}
    if None in there:
        return
    for need in needs:
        if need.home is not None and need.home not in there:
            yield _need(scope, dataset, need, places)


def _need(scope: Scope, dataset: DatasetScope, need: NeedTrace, places: Places) -> Need:
    edge = scope.edges[need.edge]
    side = "source" if need.home is None else "home"
    rule = edge.apart_source if need.home is None else edge.apart_home
    where = ("datasets", str(edge.child), "edges", edge.spelled, "apart")
    place = places.of(*where, side) or places.of(*where) or NOT_WRITTEN
    text = f"apart.{side}: {rule.value}"
    if need.home is not None and not dataset.moves:
        text = f"home: {dataset.home_rows.value}"
        place = places.of("datasets", str(dataset.id), "home") or places.near("datasets", str(dataset.id))
    return Need(
        edge=edge.spelled, child=str(edge.child), children=need.children, first=need.first, rule=text, place=place
    )


def _stays(  # noqa: PLR0913, PLR0917 - the row, its owners, who needs it, and where rules stand
    scope: Scope, dataset: DatasetScope, owned: tuple[tuple[Home, ...], bool], needs: tuple[NeedTrace, ...],
    places: Places, ways: tuple[Way, ...],
) -> Stays:  # fmt: skip
    owners, kept = owned
    if not owners:
        return Stays(fate=Fate.KEEP, because=_unowned(dataset, ways))
    if kept:
        return Stays(fate=Fate.KEEP, because=Because.ALSO_STAYERS)
    if not dataset.moves:
        return Stays(fate=Fate.BLANK, because=Because.MOVERS)
    here = [need for need in needs if need.home is None]
    spared = [need for need in here if scope.edges[need.edge].apart_source is not Apart.REFUSE]
    asked = tuple(_need(scope, dataset, need, places) for need in spared)
    refused = tuple(_need(scope, dataset, need, places) for need in here if need not in spared)
    if not spared:
        return Stays(fate=Fate.DELETE, because=Because.MOVERS, refused=refused)
    whole = any(scope.edges[need.edge].apart_source is Apart.WHOLE for need in spared) or not dataset.blanks
    return Stays(fate=Fate.KEEP if whole else Fate.BLANK, because=Because.NEEDED, needs=asked)


def _unowned(dataset: DatasetScope, ways: tuple[Way, ...]) -> Because:
    if not dataset.decided:
        return Because.UNDECIDING
    if any(way.destinations for way in ways):
        return Because.STAYERS
    return Because.ELSEWHERE if any(way.people for way in ways) else Because.NOBODY


def _lines(owners: tuple[Home, ...], goes: tuple[Goes, ...], fate: Fate) -> Iterator[RowLine]:
    """The lines of the manifest that follow (docs/closure.md, section 5)."""
    for going in goes:
        owned = going.because is Because.OWNER
        yield RowLine(
            part=EVERY_HOME if going.home is None else str(going.home), form=going.form,
            fate=fate if owned and going.home == owners[-1] else Fate.KEEP, owned=owned,
        )  # fmt: skip


def verdict(found: Explanation) -> str:
    """The row's fate in one sentence."""
    whole = [str(going.home) for going in found.goes if going.because is Because.OWNER]
    if whole:
        fate = {Fate.DELETE: "deleted", Fate.BLANK: "blanked", Fate.KEEP: "kept"}[found.stays.fate]
        return f"in scope: goes whole to {', '.join(whole)}, {fate} at the source ({found.stays.because.value})"
    if found.stays.because is Because.NOBODY:
        breaks = "; ".join(way.broken or f"path {way.text} leads to nobody" for way in found.ways)
        return f"in nobody's scope, because {breaks}"
    if found.stays.because is Because.STAYERS:
        return "not in scope: it belongs to people who stay"
    if found.stays.because is not Because.UNDECIDING:
        return "not a mover's: the source keeps it"
    home = "; others at home need it" if any(going.needs for going in found.goes) else ""
    return f"not in scope: no path decides rows of this dataset{home}"
