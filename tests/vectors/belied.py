"""Certificates that their own log belies, each by one condition; and true runs that look as if theirs did.

Something else is called present, or asked, or told beside: it excuses nothing. What is erased again, cleared again or
approved by enough others is erased.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from domicile.evidence import predicates as p
from domicile.evidence import told as telling
from domicile.proof import Verdict
from tests.vectors import live, objects
from tests.vectors import rotations as r
from tests.vectors import scenario as s
from tests.vectors.pieces import (
    FIRST_INTENT,
    FOUND,
    KEY_TOLD,
    UNVERIFIED,
    certified,
    finding,
    stated,
    swept,
    under,
)
from tests.vectors.registry import told
from tests.vectors.scenario import Line, Script, good

LIVE: Final = "app/live"
ASIDE: Final = "app/statistics"
DERIVED: Final = "app/derived-table:public.totals"
OBJECTS: Final = "media/objects"
USERS: Final = "app.public.users"
MESSAGES: Final = "app.public.messages"
KEY_BACK: Final = stated("key came back", s.key_told(p.KeyPhase.CAME_BACK))


# ------------------------------------------------------------------------------------------- 10 whose data it is
def _copies(script: Script, change: Callable[[p.PlannedCopy], p.PlannedCopy]) -> Script:
    def bend(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.PlanPredicate)
        return replace(made, copies=tuple(change(copy) for copy in made.copies))

    return script.bent("plan", bend)


def _slices(script: Script, change: Callable[[p.PlannedSlice], p.PlannedSlice]) -> Script:
    def bend(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.PlanPredicate)
        return replace(made, slices=tuple(change(part) for part in made.slices))

    return script.bent("plan", bend)


def _named(script: Script, old: str, new: str, *lines: str) -> Script:
    """The same with another name of a dataset: in the plan, in the certificate and in these lines."""
    script = _slices(script, lambda part: replace(part, dataset=new) if part.dataset == old else part)
    for name in lines:
        script = script.set(name, dataset=new)

    def bend(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.CertificatePredicate)
        return replace(made, counts={new if one == old else one: count for one, count in made.counts.items()})

    return script.bent("certificate", bend)


def _of_objects(copy: p.PlannedCopy) -> p.PlannedCopy:
    """The live rows are of another store; of the slices' store there are objects."""
    copy = replace(copy, store="other") if copy.id == LIVE else copy
    return replace(copy, kind="objects", dataset=copy.store) if copy.id == FOUND else copy


def _store_of_both() -> Script:
    script = _copies(
        objects.objects(), lambda copy: replace(copy, store="app", dataset="app") if copy.store == "media" else copy
    )
    return _named(script, "media", "app", "transfer media", objects.INTENT, objects.OUTCOME)


_NOT_LISTED: Final = "is of rows or objects that are no copy of the plan"
told("erased-of-a-store-that-is-not-listed", 10, _NOT_LISTED, lambda: (
    _copies(good(), lambda copy: replace(copy, store="other"))
))  # fmt: skip
told("frozen-of-a-store-that-is-not-listed", 10, _NOT_LISTED, lambda: (
    _copies(live.live(), lambda copy: replace(copy, store="other"))
))  # fmt: skip
told("erased-of-a-table-that-is-not-listed", 10, _NOT_LISTED, lambda: (
    _copies(good(), lambda copy: replace(copy, dataset=MESSAGES) if copy.id == LIVE else copy)
))  # fmt: skip
told("frozen-of-a-table-that-is-not-listed", 10, _NOT_LISTED, lambda: (
    _copies(live.live(), lambda copy: replace(copy, dataset=USERS) if copy.id == LIVE else copy)
))  # fmt: skip
told("rows-of-a-store-of-objects", 10, _NOT_LISTED, lambda: _copies(good(), _of_objects))
told("objects-of-a-store-of-rows", 10, _NOT_LISTED, lambda: (
    _named(good(), USERS, "app", f"transfer {USERS} us", f"intent {USERS} us", f"outcome {USERS} us")
))  # fmt: skip
told("store-of-rows-and-of-objects", 10, "holds rows, and objects too", _store_of_both)
told("store-with-a-dot", 10, "a dot in its name", lambda: good().set(
    "plan", copies=tuple(replace(one, store="app.eu") for one in s.plan().copies),
))  # fmt: skip


# ------------------------------------------------------------------------------------------- 12 another fence
told("fence-of-another-time", 12, "another fence", lambda: good().after(
    "cutover", stated("cutover 2", replace(s.cutover(), fenced_at=s.at(11)))
))  # fmt: skip


# ------------------------------------------------------------------------------------------- 16 what is announced
def _nothing_of(script: Script, kept: Mapping[str, int], *lines: str) -> Script:
    """The same where a plan erases nothing of slices with so many rows, and where these lines tell of nothing, too."""
    none = p.EraseCounts(delete=0, blank=0)
    script = _slices(script, lambda part: replace(part, erase=none) if part.id in kept else part)
    for name in lines:

        def bend(made: p.Predicate) -> p.Predicate:
            assert isinstance(made, p.ErasurePredicate)
            return replace(made, slices=tuple(replace(one, deleted=0, blanked=0) for one in made.slices))

        script = script.bent(name, bend)
    counts = {dataset: dict(homes) for dataset, homes in s.certificate().counts.items()}
    for id_, rows in kept.items():
        dataset, home, *_ = s.SLICES[id_]
        counts[dataset][home] = p.Counts(moved=rows, deleted=0, blanked=0, kept=rows)
    return script.set("certificate", counts=counts)


told("announced-of-no-rows", 16, "nothing of it goes", lambda: (
    _nothing_of(good(), {"messages/ca/1": 30}, f"intent {MESSAGES} ca", f"outcome {MESSAGES} ca")
))  # fmt: skip
told("announced-again-after-it-was-told", 16, "is announced again", lambda: good().before(
    "sweep", Line("again", s.erasure(p.Phase.INTENT, MESSAGES, "us"))
))  # fmt: skip


# ------------------------------------------------------------------------------------------- 19 what excuses nothing
def _aside(script: Script) -> Script:
    """Another copy is called present, and the live rows are not."""
    return certified(script, {ASIDE: Verdict.PRESENT})


def _not_told() -> Script:
    counts = {**s.certificate().counts, USERS: {"us": p.Counts(moved=40, deleted=0, blanked=0, kept=40)}}
    return _aside(good().without(f"outcome {USERS} us").set("certificate", counts=counts))


def _on_its_way() -> Script:
    """A cohort went home, and nothing was ever frozen."""
    run = live.live()
    script = Script((*run.lines[: run.place("1 home") + 1], run.lines[-1])).set("certificate", counts={})
    return certified(script, {ASIDE: Verdict.PRESENT, **{one: Verdict.UNKNOWN for one in s.COPIES if one != ASIDE}})


def _before_the_sweep(*findings: p.FindingPredicate) -> Script:
    return good().before("sweep", *(stated(f"told {number}", one) for number, one in enumerate(findings)))


def _of_another_store(script: Script) -> Script:
    """The same with live rows of another store in the plan, which are called present."""
    other = replace(s.plan().copies[0], id="other/live", store="other")
    judged = p.JudgedCopy(id=other.id, verdict=Verdict.PRESENT, why="they stay", until=None)
    script = script.set("plan", copies=(*s.plan().copies, other))
    copies = (*s.certificate().copies, judged)
    return script.set("certificate", copies=copies, verdict=Verdict.PRESENT)


_BUT: Final = "but no copy of live rows is called present"
told("rows-left-and-another-copy-present", 19, "as planned, but no copy of app.public.", _not_told)
told("rows-found-and-another-copy-present", 19, f"50 rows by query, {_BUT}", lambda: (
    _aside(good().set("sweep", rows=p.SweptRows(datasets=2, hits=50)))
))  # fmt: skip
told("rows-back-and-another-copy-present", 19, "came back, but no copy of app.public.", lambda: (
    _aside(_before_the_sweep(finding("came back")))
))  # fmt: skip
told("rows-back-and-objects-present", 19, "came back, but no copy of app.public.", lambda: certified(
    objects.lock_is_over().before("sweep", stated("back", finding("came back"))), {OBJECTS: Verdict.PRESENT}
))  # fmt: skip
told("rows-found-by-a-narrower-sweep-since", 19, f"found 7 rows by query, {_BUT}", lambda: (
    certified(
        good().after("sweep", stated("sweep 2", swept(datasets=1, hits=7, minute=51))),
        dict.fromkeys(s.COPIES, UNVERIFIED),
    )
))  # fmt: skip
told("rows-left-and-another-store-present", 19, "as planned, but no copy of app.public.", lambda: (
    _of_another_store(good().without("intent app.public.users us", "outcome app.public.users us"))
))  # fmt: skip
told("rows-back-and-another-store-present", 19, "came back, but no copy of app.public.", lambda: (
    _of_another_store(_before_the_sweep(finding("came back")))
))  # fmt: skip
told("nothing-frozen-and-another-copy-present", 19, f"nothing was frozen after it, {_BUT}", _on_its_way)
for _name, _findings in {
    "rows-of-two-back-and-of-one-erased-again": (
        finding("came back"), finding("came back", USERS), finding("erased again"),
    ),
    "rows-back-after-they-were-erased-again": (
        finding("came back"), finding("erased again"), finding("came back", count=9),
    ),
}.items():  # fmt: skip
    told(_name, 19, "came back, but no copy of app.public.", lambda findings=_findings: _before_the_sweep(*findings))  # type: ignore[misc]
for _name, _told in {
    "rows-back-and-fewer-erased-again": (finding("came back", count=30), finding("erased again", count=1)),
    "rows-back-and-more-erased-again": (finding("came back", count=3), finding("erased again", count=5)),
    "rows-back-twice-and-the-first-erased-again": (
        finding("came back", count=3), finding("came back", count=5), finding("erased again", count=3),
    ),
    "rows-erased-again-before-they-were-back": (finding("erased again"), finding("came back")),
    "rows-erased-again-that-never-came-back": (finding("erased again", count=1_000_000_000),),
    "rows-erased-again-twice": (finding("came back"), finding("erased again"), finding("erased again", count=3)),
}.items():  # fmt: skip
    told(_name, 16, "are erased again than came back", lambda findings=_told: _before_the_sweep(*findings))  # type: ignore[misc]
told("rows-back-before-they-went", 16, "were never erased before", lambda: (
    good().before("approval operator", stated("back", finding("came back")))
    .before("sweep", stated("again", finding("erased again")))
))  # fmt: skip
told("rows-back-and-then-objects", 19, "came back, but no copy of app.public.", lambda: objects.lock_is_over().before(
    "sweep", stated("back", finding("came back")), stated("objects back", finding("objects came back", "media"))
))  # fmt: skip


# ------------------------------------------------------------------------------------------- 19 what was searched
def _hits(*found: str) -> Script:
    copies = tuple(replace(one, hits=500 if one.id in found else 0) for one in s.sweep().copies)
    return good().set("sweep", copies=copies)


for _count in (0, 1):
    told(
        f"sweep-that-asked-of-{_count}-datasets-of-2",
        19,
        "asked of fewer datasets",
        lambda count=_count: good().set("sweep", rows=p.SweptRows(datasets=count, hits=0)),  # type: ignore[misc]
    )
told("hits-of-no-residue-and-verified", 19, "found something in it", lambda: _hits(FOUND))


# ------------------------------------------------------------------------------------------- 19 keys, and what is used
def _key(copy: str) -> list[Line]:
    standing = [telling.KeyStanding(generations=("a1" * 20,), phase=phase) for phase in s.KEY_PHASES]
    return [stated(one.phase.value, telling.key_finding(s.PLAN, copy, "backups of hsm", one)) for one in standing]


def _residue(script: Script, copy: str, verdict: Verdict, *later: Line) -> Script:
    """A search finds residue in a copy, and the next one leaves it out."""
    named = "sweep"
    made = script.lines[script.place(named)].make

    def look(minute: int, *, found: bool) -> s.Maker:
        def swept(play: s.Play) -> p.Predicate:
            said = made(play)
            assert isinstance(said, p.SweepPredicate)
            found_in = tuple(replace(one, hits=9, residue=9) if one.id == copy else one for one in said.copies)
            left = tuple(one for one in said.copies if one.id != copy)
            return replace(said, copies=found_in if found else left, swept_at=s.at(minute))

        return swept

    script = script.signed(named, Line(named, look(50, found=True)))
    script = script.after(named, *later, Line("sweep 2", look(51, found=False)))
    return certified(script, {copy: verdict})


_IN_USE: Final[Mapping[str, tuple[str, Callable[[], Script]]]] = {
    "live-rows": (LIVE, good),
    "objects": (OBJECTS, objects.lock_is_over),
    "derived-table": (DERIVED, good),
}
for _kind, (_copy, _run) in _IN_USE.items():
    told(
        f"key-of-{_kind}-destroyed",
        19,
        "it has no key of its own",
        lambda copy=_copy, run=_run: certified(  # type: ignore[misc]
            run().before("sweep", *_key(copy)), {copy: Verdict.KEY_DESTROYED}
        ),
    )
    told(
        f"residue-of-{_kind}-left-out-and-unknown",
        19,
        "and holds residue",
        lambda copy=_copy, run=_run: _residue(run(), copy, Verdict.UNKNOWN),  # type: ignore[misc]
    )
told("residue-of-live-rows-left-out-and-key-destroyed", 19, "it has no key of its own", lambda: (
    _residue(good(), LIVE, Verdict.KEY_DESTROYED, *_key(LIVE))
))  # fmt: skip
told("key-came-back-and-verified", 19, "and its key came back", lambda: good().before("sweep", *KEY_TOLD, KEY_BACK))
told("key-came-back-and-unverified", 19, "and its key came back", lambda: (
    certified(good().before("sweep", *KEY_TOLD, KEY_BACK), {FOUND: UNVERIFIED})
))  # fmt: skip
told("key-came-back-after-the-sweep", 19, "and its key came back", lambda: good().after("sweep", KEY_BACK))
told("key-came-back-and-then-a-note", 19, "and its key came back", lambda: (
    good().before("sweep", KEY_BACK, stated("note", finding("note", FOUND)))
))  # fmt: skip
told("key-came-back-before-the-last-erasure", 19, "and its key came back", lambda: (
    good().before(f"intent {USERS} us", *KEY_TOLD, KEY_BACK)
))  # fmt: skip
told("key-back-of-no-copy", 17, "is not planned", lambda: (
    good().before("sweep", stated("key back", finding("key came back", "wal")))
))  # fmt: skip
told("objects-back-in-a-copy", 17, "is not planned", lambda: (
    objects.lock_is_over().before("sweep", stated("back", finding("objects came back", OBJECTS)))
))  # fmt: skip


# ------------------------------------------------------------------------------------------- as it may well be
def came_back_and_went_again() -> Script:
    """Rows came back and went again, all of them; a look after that found none; twice it was broken off."""
    return _before_the_sweep(
        finding("came back", count=30), finding("erased again", count=30), finding("erased again", count=0),
        finding("came back", count=30), finding("came back", USERS, count=2), finding("erased again", count=0),
        finding("came back", count=4), finding("came back", count=7), finding("erased again", count=7),
        finding("erased again", USERS, count=2), finding("came back", count=5), finding("erased again", count=0),
    )  # fmt: skip


def keys_came_back() -> Script:
    """Of one copy whose key came back somebody says that it is held, of another one nobody knows."""
    back = telling.KeyStanding(generations=("a1" * 20,), phase=p.KeyPhase.CAME_BACK)
    other = stated("another key came back", telling.key_finding(s.PLAN, ASIDE, "another hsm", back))
    script = good().before("sweep", *KEY_TOLD, KEY_BACK, other)
    return certified(script, {ASIDE: Verdict.UNKNOWN, FOUND: Verdict.HELD})


def key_came_back_and_is_held() -> Script:
    """The key of a copy came back, and the certificate calls the copy held."""
    return certified(good().before("sweep", *KEY_TOLD, KEY_BACK), {FOUND: Verdict.HELD})


def dataset_that_stays() -> Script:
    """Of one of the two datasets nothing is erased, and the sweep asks of the other one only."""
    script = good().without(f"intent {USERS} us", f"outcome {USERS} us")
    return _nothing_of(script, {"users/us/1": 40}).set("sweep", rows=p.SweptRows(datasets=1, hits=0))


def fence_stated_twice() -> Script:
    """The same fence, and the same that is about to go, told again by a run that was started again."""
    again = Line("announced again", s.erasure(p.Phase.INTENT, USERS, "us"))
    return good().after("cutover", stated("cutover again", s.cutover())).after(f"intent {USERS} us", again)


def good_scripts() -> dict[str, Script]:
    """Runs that are accepted."""
    return {
        "came-back-and-went-again": came_back_and_went_again(),
        "keys-came-back": keys_came_back(),
        "key-came-back-and-is-held": key_came_back_and_is_held(),
        "dataset-that-stays": dataset_that_stays(),
        "fence-stated-twice": fence_stated_twice(),
    }


# ------------------------------------------------------------------------------------------- 24 a key that was lost
BY_COUNSEL: Final = Line("approval counsel", s.approval("counsel", "counsel"), r.COUNSEL)


def _lost_since(*approvals: str, before: str) -> Script:
    """Monitor's key is called lost from its approval on; the clearance, long before that, rests on these."""
    script = _approved_by(*approvals)
    lines = r.votes("monitor", s.MONITOR, r.MONITOR_2, s.OPERATOR, r.COUNSEL, stands=script.place(r.APPROVED))
    return script.before(before, *lines)


def _approved_by(*approvals: str) -> Script:
    script = good().set("plan", approvals=r.THREE).after(r.APPROVED, BY_COUNSEL)
    return script.signed("clearance", Line("clearance", lambda play: s.clearance(play, approvals)))


ALL: Final = ("approval operator", r.APPROVED, "approval counsel")


def enough_others(before: str = FIRST_INTENT) -> Script:
    """A key is called lost between clearance and erasure; of the three approvals two stand, and two are needed."""
    return _lost_since(*ALL, before=before)


def given_up() -> Script:
    """Monitor gives its own key up after the erasure, from before its approval on; the two others stand."""
    script = _approved_by(*ALL)
    lost = r.change("monitor", s.MONITOR, None, what="revoked", stands=script.place(r.APPROVED))
    return script.before("sweep", Line("give up", lost, s.MONITOR))


def cleared_anew() -> Script:
    """A clearance became void before a row went; who had lost a key approves again, and all is cleared anew."""
    script = _lost_since("approval operator", r.APPROVED, before=FIRST_INTENT)
    script = script.before(
        FIRST_INTENT,
        Line("approval again", s.approval("monitor", "monitor"), r.MONITOR_2),
        Line("clearance 2", lambda play: s.clearance(play, ("approval operator", "approval again"))),
    )
    return under("clearance 2", script)


def keys_lost() -> dict[str, tuple[Script, r.Keys]]:
    """Runs that are accepted, in which a key was lost; with the keys of all."""
    kept = {name: key for name, key in r.STOLEN.items() if key is not r.MONITOR_2}
    return {
        "enough-others-approved": (enough_others(), r.STOLEN),
        "enough-others-approved-what-is-erased": (enough_others("sweep"), r.STOLEN),
        "given-up-and-enough-others-approved": (given_up(), kept),
        "cleared-anew-after-a-key-was-lost": (cleared_anew(), r.STOLEN),
    }


def good_bundles() -> dict[str, bytes]:
    """Their bundles."""
    return {name: r.bundle(script, keys, log=s.ENGINE) for name, (script, keys) in keys_lost().items()}


r.cheat("too-few-others-approved-what-is-erased", "has 1 approvals, the plan wants 2", lambda: (
    _lost_since("approval operator", r.APPROVED, before="sweep")
), r.STOLEN)  # fmt: skip
