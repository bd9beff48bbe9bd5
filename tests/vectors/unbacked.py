"""Verdicts that nothing in the log backs: a search for nothing, objects that are back, an erasure that never was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from domicile.evidence import predicates as p
from domicile.proof import Verdict
from tests.vectors import objects, receipts
from tests.vectors import scenario as s
from tests.vectors.bad_stories import nothing_erased
from tests.vectors.belied import KEY_BACK
from tests.vectors.pieces import (
    FIRST_INTENT,
    FIRST_OUTCOME,
    FOUND,
    KEY_TOLD,
    OTHERS,
    UNVERIFIED,
    certified,
    differing,
    done_at,
    equal_again,
    finding,
    found_first,
    nothing,
    stated,
    swept,
    under,
)
from tests.vectors.registry import told
from tests.vectors.scenario import Line, Script, good

OBJECTS: Final = "media/objects"
ALL: Final = dict.fromkeys((*s.COPIES, OBJECTS, "media/locked-versions"), UNVERIFIED)


# ------------------------------------------------------------------------------------------- residue, and then
def _for_nothing(*copies: str) -> p.SweepPredicate:
    """A search of these copies for no values."""
    return replace(swept(*copies, minute=51), tokens=p.SweptTokens(searched=0, not_searchable=0, canaries=0))


def _then(made: p.SweepPredicate, verdicts: Mapping[str, Verdict]) -> Script:
    return certified(found_first(stated("sweep 2", made)), verdicts)


for _name, _script in {
    "residue-and-then-a-search-for-nothing": lambda: _then(_for_nothing(), dict.fromkeys(s.COPIES, UNVERIFIED)),
    "residue-and-then-a-search-that-read-nothing": lambda: _then(
        swept(size=0, minute=51), dict.fromkeys(s.COPIES, UNVERIFIED)
    ),
    "residue-left-out-by-a-search-for-nothing": lambda: _then(
        _for_nothing(*OTHERS), {FOUND: Verdict.UNKNOWN} | dict.fromkeys(OTHERS, UNVERIFIED)
    ),
}.items():
    told(_name, 19, "and holds residue", _script)


# ------------------------------------------------------------------------------------------- what is back
def _back(*, verdict: Verdict, searched: bool = True, store: str = "media") -> Script:
    """Objects came back after all was searched; nothing is called verified, and their copy is called so."""
    script = objects.lock_is_over().after("sweep", stated("back", finding("objects came back", store)))
    if not searched:
        script = script.bent("sweep", lambda made: replace(made, copies=swept().copies))  # type: ignore[call-arg]
    return certified(script, {OBJECTS: verdict, **{name: kind for name, kind in ALL.items() if name != OBJECTS}})


told("objects-back-and-called-erased", 19, "and objects came back since", lambda: _back(verdict=UNVERIFIED))
told(
    "objects-back-and-never-searched",
    19,
    "and objects came back since",
    lambda: _back(verdict=UNVERIFIED, searched=False),
)
told("objects-back-in-a-store-of-no-plan", 17, "is not planned", lambda: _back(verdict=UNVERIFIED, store="attic"))


told("residue-in-a-search-for-nothing", 19, "and holds residue", lambda: certified(
    good().signed("sweep", stated("sweep", replace(_for_nothing(), copies=swept(residue=500).copies))),
    dict.fromkeys(s.COPIES, UNVERIFIED),
))  # fmt: skip
told("key-came-back-and-is-announced-again", 19, "and its key came back", lambda: (
    good().before("sweep", *KEY_TOLD, KEY_BACK, replace(KEY_TOLD[0], name="again"))
))  # fmt: skip


def objects_back_and_unknown() -> Script:
    """Objects came back after the search, and nobody says that they are gone."""
    return _back(verdict=Verdict.UNKNOWN)


def objects_back_and_searched_since() -> Script:
    return objects.lock_is_over().before("sweep", stated("back", finding("objects came back", "media")))


# ------------------------------------------------------------------------------------------- what never was
def _never_erased() -> Script:
    """Nothing was erased; the live rows are there, and all else is called erased."""
    others = {name: UNVERIFIED for name in s.COPIES if name != "app/live"}
    return certified(nothing_erased(good()).without("sweep"), {"app/live": Verdict.PRESENT, **others})


told("called-erased-where-nothing-was", 19, "and nothing was erased", _never_erased)


def _announced_only() -> Script:
    """A derived table was to be emptied, and nothing else was done; what can't be read as rows is called verified."""
    outcomes = [name for name in good().names() if name.startswith("outcome")]
    counts = {
        dataset: {home: replace(c, deleted=0, blanked=0, kept=c.moved) for home, c in homes.items()}
        for dataset, homes in s.certificate().counts.items()
    }
    script = good().without(*outcomes).set("certificate", counts=counts)
    return certified(script, {"app/live": Verdict.PRESENT})


told("announced-and-called-verified", 19, "was not swept after the last erasure", _announced_only)
told("announced-and-called-erased", 19, "and nothing was erased", lambda: certified(
    _announced_only(), {"app/live": Verdict.PRESENT} | {name: UNVERIFIED for name in s.COPIES if name != "app/live"}
))  # fmt: skip
told("announced-and-called-key-destroyed", 19, "no rows were erased", lambda: certified(
    _announced_only().before("sweep", *KEY_TOLD),
    {"app/live": Verdict.PRESENT} | {name: UNVERIFIED for name in s.COPIES if name not in {"app/live", s.KEYED}}
    | {s.KEYED: Verdict.KEY_DESTROYED},
))  # fmt: skip
told("equal-in-the-same-bytes-after-an-outcome", 16, "which comes later", lambda: good().after(
    FIRST_OUTCOME, Line("equality again", lambda play: play["equality"])
))  # fmt: skip
told("equal-in-the-same-bytes-after-another", 16, "which comes later", lambda: good().after(
    "clearance", stated("differing", differing()), Line("equality again", lambda play: play["equality"])
))  # fmt: skip
told("equal-twice-in-the-same-bytes", 16, "which comes later", lambda: good().after(
    "clearance", Line("equality again", lambda play: play["equality"])
))  # fmt: skip


# ------------------------------------------------------------------------------------------- what is emptied whole
def _derived(**changes: str | None) -> Script:
    """The plan says something else of its derived table."""
    copies = s.plan().copies
    return good().set(
        "plan",
        copies=tuple(replace(one, **changes) if one.kind == "derived-table" else one for one in copies),  # type: ignore[arg-type]
    )


told("derived-table-of-no-name", 10, "does not say which", lambda: _derived(dataset=None))
told("derived-table-at-home", 10, "and at a home", lambda: _derived(location="us"))
told("derived-table-of-people", 10, "is of a derived table", lambda: _derived(dataset="app.public.users"))


def _emptied_only() -> Script:
    """No slice loses anything; a derived table is emptied, and all is called verified."""
    plan, table = s.plan(), ("app/derived-table:public.totals",)
    slices = tuple(replace(one, erase=p.EraseCounts(delete=0, blank=0)) for one in plan.slices)
    counts = {
        dataset: {home: replace(c, deleted=0, blanked=0, kept=c.moved) for home, c in homes.items()}
        for dataset, homes in s.certificate().counts.items()
    }
    script = good().set("plan", slices=slices).set("certificate", counts=counts)
    script = script.without(*(name for name in script.names() if name.startswith(("intent", "outcome"))))
    lines = [
        Line(f"emptied {phase.value}", lambda play, phase=phase: replace(  # type: ignore[misc]
            nothing(play), phase=phase, dataset="app.public.totals", home="us", emptied=table
        ))
        for phase in p.Phase
    ]  # fmt: skip
    return script.before("sweep", *lines)


told("called-erased-where-only-a-table-was-emptied", 19, "was not swept after the last erasure", _emptied_only)
told("erasure-at-no-home", 16, "is of a place that is no home", lambda: good().before(
    "sweep", Line("emptied again", lambda play: replace(nothing(play), emptied=("app/derived-table:public.totals",)))
))  # fmt: skip


def _one_name() -> Script:
    """A slice is announced, and a derived table emptied that bears its id; only the slice was announced."""
    table, id_ = "app/derived-table:public.totals", "messages/us/1"

    def named(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.PlanPredicate | p.SweepPredicate | p.CertificatePredicate)
        copies = tuple(replace(one, id=id_) if one.id == table else one for one in made.copies)
        return replace(made, copies=copies)  # type: ignore[arg-type]

    script = good().bent("plan", named).bent("sweep", named).bent("certificate", named)
    return script.set(FIRST_INTENT, emptied=()).set(FIRST_OUTCOME, emptied=(id_,))


told("emptied-under-the-name-of-a-slice", 16, "its emptying was not announced", _one_name)


# ------------------------------------------------------------------------------------------- whose rows are left
def _by_table(*, left: str) -> Script:
    """Live rows are copies of their datasets; the messages of ca are still there, and the copy of `left` says so."""
    live = next(copy for copy in s.plan().copies if copy.kind == "live-rows")
    names = {f"app/live:{name}": f"app.public.{name}" for name in ("users", "messages")}
    others = tuple(copy for copy in s.plan().copies if copy.id != live.id)
    copies = (*(replace(live, id=id_, dataset=dataset) for id_, dataset in names.items()), *others)
    found = next(copy for copy in s.sweep().copies if copy.id == live.id)
    swept_ = (*(replace(found, id=id_) for id_ in names), *(c for c in s.sweep().copies if c.id != live.id))
    verdict = next(copy for copy in s.certificate().copies if copy.id == live.id)
    judged = (
        replace(verdict, id=f"app/live:{left}", verdict=Verdict.PRESENT),
        *(replace(verdict, id=id_) for id_ in names if not id_.endswith(left)),
        *(copy for copy in s.certificate().copies if copy.id != live.id),
    )
    counts = dict(s.certificate().counts)
    counts["app.public.messages"] = {
        **counts["app.public.messages"], "ca": p.Counts(moved=30, deleted=0, blanked=0, kept=30)
    }  # fmt: skip
    return (
        good()
        .without("outcome app.public.messages ca")
        .set("plan", copies=copies)
        .set("sweep", copies=swept_)
        .set("certificate", copies=judged, counts=counts, verdict=Verdict.PRESENT)
    )


told("rows-left-and-another-tables-copy-present", 19, "no copy of app.public.messages says so", lambda: (
    _by_table(left="users")
))  # fmt: skip


def rows_left_and_said_by_their_table() -> Script:
    return _by_table(left="messages")


# ------------------------------------------------------------------------------------------- and once more
told("erased-again-what-never-was", 16, "were never erased before", lambda: good().before(
    "sweep", stated("again", finding("erased again", "app.public.videos"))
))  # fmt: skip
told("erased-again-before-it-was-erased", 16, "were never erased before", lambda: good().before(
    "approval operator", stated("again", finding("erased again"))
))  # fmt: skip
told("rows-found-in-no-dataset", 17, "asked of no dataset", lambda: certified(
    found_first(stated("sweep 2", swept(minute=51, datasets=0))).set("sweep", rows=p.SweptRows(datasets=0, hits=50)),
    dict.fromkeys(s.COPIES, UNVERIFIED),
))  # fmt: skip
told("residue-and-then-a-search-for-nothing-that-found-some", 19, "and holds residue", lambda: _then(
    replace(_for_nothing(), copies=tuple(
        replace(one, bytes=0, hits=int(one.id == "app/statistics"), residue=int(one.id == "app/statistics"))
        for one in _for_nothing().copies
    )),
    {"app/statistics": Verdict.HELD} | {name: UNVERIFIED for name in s.COPIES if name != "app/statistics"},
))  # fmt: skip
told("receipts-of-one-root-twice", 23, "stands there twice", lambda: (
    receipts.in_parts().bent("receipts 0 2", lambda made: replace(made, root=_root_of_the_first()))  # type: ignore[call-arg]
))  # fmt: skip
told("receipts-on-a-comparison-that-is-old", 23, "comes later", lambda: _stopped(
    receipts.at_once().after("clearance", stated("differs", differing()))
))  # fmt: skip


def _root_of_the_first() -> str:
    made = receipts.in_parts().lines[receipts.in_parts().place("receipts 0 1")].make(receipts.in_parts().play())
    assert isinstance(made, p.ReceiptsPredicate)
    return made.root


def _stopped(script: Script) -> Script:
    """A run that stopped before its erasure, when home and source differed again."""
    names = [name for name in script.names() if name.startswith(("intent", "outcome"))]
    counts = {
        dataset: {home: p.Counts(moved=0, deleted=0, blanked=0, kept=0) for home in homes}
        for dataset, homes in s.certificate().counts.items()
    }
    script = script.without(*names, "sweep").set("certificate", counts=counts)
    return certified(script, dict.fromkeys(s.COPIES, Verdict.PRESENT))


def _emptied_under_another() -> Script:
    """A table was to be emptied under a clearance that is old by now, and is emptied under the next one."""
    emptied = ("app/derived-table:public.totals",)
    return under("clearance 2", good().set(FIRST_INTENT, emptied=())).after(
        "clearance",
        Line("announced first", s.erasure(p.Phase.INTENT, "app.public.messages", "us", emptied)),
        stated("equality 2", equal_again()),
        Line("approval operator 2", s.approval("operator", "operator", of="equality 2"), s.OPERATOR),
        Line("approval monitor 2", s.approval("monitor", "monitor", of="equality 2"), s.MONITOR),
        Line("clearance 2", _cleared_again),
    )


def _cleared_again(play: s.Play) -> p.ClearancePredicate:
    again = {**play, "equality": play["equality 2"]}
    return done_at(s.clearance(again, ("approval operator 2", "approval monitor 2")), 33)


told("emptied-under-another-clearance", 16, "its emptying was not announced", _emptied_under_another)


def receipts_and_cleared_anew() -> Script:
    """After the receipts it was cleared once more, on the same restore; what is erased is erased under that."""
    again = ("approval monitor", "approval operator")
    script = receipts.at_once().before(FIRST_INTENT, Line("clearance 2", lambda play: s.clearance(play, again)))
    return under("clearance 2", script)
