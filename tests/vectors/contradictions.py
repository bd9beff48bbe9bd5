"""Logs that contradict themselves or their certificate, all of it signed by the log's key; and one that looks like it.

Each tells something after, or beside, what the certificate rests on, and is silent about it at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from domicile.evidence import predicates as p
from domicile.proof import Verdict
from tests.vectors import live, objects, receipts
from tests.vectors import scenario as s
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
    keyed,
    left_out,
    nothing,
    stated,
    swept,
    transfer_of,
    under,
)
from tests.vectors.registry import told
from tests.vectors.scenario import MONITOR, OPERATOR, Line, Script, good


# ------------------------------------------------------------------------------------------- 10 where it is
def _at(kinds: Mapping[str, str], location: str) -> Script:
    copies = tuple(replace(one, kind=kinds.get(one.kind, one.kind), location=location) for one in s.plan().copies)
    return good().set("plan", copies=copies)


told("plan-source-at-home", 10, "and at a home", lambda: _at({}, "us"))
told("plan-without-a-source", 10, "neither live rows nor objects", lambda: _at({"live-rows": "heap"}, "us"))


# ------------------------------------------------------------------------------------------- 12 who is fenced
def _nobody_went() -> Script:
    run = live.live()
    place = run.place("freeze")
    return Script((run.lines[0], *run.lines[place:])).set("cutover", subjects={})


told("fence-on-nobody", 12, "fences nobody of ca", lambda: good().set("cutover", subjects={}))
told("fence-on-nobody-of-one-home", 12, "nobody of ca", lambda: good().set("cutover", subjects={"us": 40, "ca": 0}))
told("nobody-ever-went", 12, "fences nobody of ca", _nobody_went)
told(
    "all-went-back-and-are-erased",
    12,
    "fences nobody of ca",
    lambda: (
        live.live()
        .before(
            "freeze",
            live.cohort(3, live.SOURCE, {"us": 39, "ca": 9}, minute=9, wait_ms=1),
            live.cohort(4, live.SOURCE, {"us": 1, "ca": 1}, minute=9, wait_ms=1),
        )
        .set("cutover", subjects={})
    ),
)


# ------------------------------------------------------------------------------------------- 14 what was approved
def _seen(**values: object) -> Script:
    return good().set("approval monitor", **values)


told("approval-of-a-log-before-the-equality", 14, "a log that ends elsewhere", lambda: _seen(stands=6))
told("approval-of-a-log-to-come", 14, "a log that ends elsewhere", lambda: _seen(stands=9))
told(
    "approval-of-another-log", 14, "is of another log", lambda: _seen(root=s.digest("another plan, the same equality"))
)


# ------------------------------------------------------------------------------------------- 15 what was restored
def _second_clearance(play: s.Play) -> p.ClearancePredicate:
    """Another clearance, of one slice elsewhere, tells that the backup of this one is broken."""
    said = s.clearance(play)
    broken = replace(s.restored("us").slices[0], rows=3, digest=s.digest("broken backup"))
    us = p.RestoredHome(slices=(broken, *s.restored("us").slices[1:]))
    return replace(
        said, slices=("messages/ca/1",), restore=replace(said.restore, homes={**said.restore.homes, "us": us})
    )


def _objects_restored() -> Script:
    rotten = p.RestoredSlice(id=objects.ID, rows=1, digest=s.digest("rotten"))
    us = p.RestoredHome(slices=(*s.restored("us").slices, rotten))
    homes = {"us": us, "ca": s.restored("ca")}
    return objects.objects().set("clearance", restore=p.RestoreReport(done_at=s.at(30), method="copied", homes=homes))


told(
    "restore-that-failed-where-nothing-was-cleared",
    15,
    "differs from home",
    lambda: good().after("clearance", Line("clearance 2", _second_clearance)),
)
told("objects-restored-with-another-digest", 15, "differs from home", _objects_restored)


# ------------------------------------------------------------------------------------------- 16 what it rests on
def _after(name: str, made: p.Predicate) -> Callable[[], Script]:
    return lambda: good().after(name, stated("late", made))


for _name, _place, _made in (
    ("differences-after-the-clearance", "clearance", differing()),
    ("differences-before-the-approvals", "equality", differing()),
    ("differences-between-intent-and-outcome", FIRST_INTENT, differing()),
    ("equal-once-more-after-the-erasure", "sweep", equal_again()),
    ("compared-without-a-fence-after-the-erasure", "sweep", equal_again(fenced=False)),
    ("half-transferred-after-the-clearance", "clearance", transfer_of(1)),
    ("transferred-after-the-erasure", "sweep", transfer_of(120)),
):
    told(_name, 16, "which comes later", _after(_place, _made))
_FENCE_LATE: Final = replace(s.cutover(), fenced_at=s.at(40))
told(
    "fence-after-the-erasure",
    16,
    "which comes later",
    lambda: live.live().after(FIRST_OUTCOME, stated("f", _FENCE_LATE)),
)
told("two-fences-of-a-move-at-once", 12, "another fence", lambda: good().before(
    "equality", stated("fence 2", replace(s.cutover(), fenced_at=s.at(11), subjects={"us": 1, "ca": 1}))
))  # fmt: skip
told("erasure-of-nothing", 16, "erases nothing", lambda: good().before("sweep", Line("empty", nothing)))
told(
    "residue-before-an-erasure-of-nothing",
    16,
    "erases nothing",
    lambda: certified(found_first(Line("empty", nothing)), dict.fromkeys(s.COPIES, UNVERIFIED)),
)


def _blanked(later: int) -> Script:
    """Objects of which some were blanked, and a later outcome tells of so many."""

    def bend_plan(said: p.Predicate) -> p.Predicate:
        assert isinstance(said, p.PlanPredicate)
        return replace(
            said, slices=(*said.slices[:-1], replace(said.slices[-1], erase=p.EraseCounts(delete=5, blank=4)))
        )

    def bend(deleted: int, blanked: int) -> Callable[[p.Predicate], p.Predicate]:
        def bent(said: p.Predicate) -> p.Predicate:
            assert isinstance(said, p.ErasurePredicate)
            return replace(said, slices=tuple(replace(one, deleted=deleted, blanked=blanked) for one in said.slices))

        return bent

    script = objects.lock_is_over(5).bent("plan", bend_plan).bent(objects.INTENT, bend(5, 4))
    script = script.bent(objects.OUTCOME, bend(4, 4)).bent("objects later", bend(5, later))
    counts = {
        **objects.certified().counts,
        "media": {"us": p.Counts(moved=9, deleted=5, blanked=later, kept=4 - later)},
    }
    return script.set("certificate", counts=counts)


told("objects-no-longer-blanked", 16, "erased twice", lambda: _blanked(0))


# ------------------------------------------------------------------------------------------- 19 what was found
told("residue-left-out-by-the-next-sweep", 19, "and holds residue", lambda: left_out(UNVERIFIED))
told(
    "residue-called-unknown-at-once",
    19,
    "and holds residue",
    lambda: certified(found_first(), {FOUND: Verdict.UNKNOWN}),
)
told("residue-read-with-a-destroyed-key", 19, "its key's destruction", lambda: (
    keyed(*KEY_TOLD, stated("sweep 1", swept(residue=500))).signed("sweep", stated("sweep", swept(*OTHERS)))
))  # fmt: skip
told(
    "rows-found-and-then-fewer-asked-for",
    19,
    "50 rows by query",
    lambda: certified(
        found_first(stated("sweep 2", swept(datasets=1, minute=51)), hits=50), dict.fromkeys(s.COPIES, UNVERIFIED)
    ),
)
told("sweep-that-read-nothing", 19, "read nothing", lambda: good().signed("sweep", stated("sweep", swept(size=0))))
told(
    "blocked-until-a-day-that-is-over",
    19,
    "is over",
    lambda: certified(good(), {FOUND: Verdict.BLOCKED_UNTIL}, datetime(2001, 1, 1, tzinfo=UTC)),
)
told(
    "blocked-until-the-very-moment",
    19,
    "is over",
    lambda: certified(good(), {FOUND: Verdict.BLOCKED_UNTIL}, s.certificate().issued_at),
)
told("nothing-planned-and-called-erased", 19, "was not swept after", lambda: (
    good()
    .without(*(name for name in good().names() if name not in {"plan", "cutover", "sweep", "certificate"}))
    .set("plan", slices=())
    .set("certificate", counts={})
))  # fmt: skip
told(
    "swept-before-came-back",
    19,
    "was not swept after",
    lambda: good().after("sweep", stated("back", finding("came back"))),
)
told("swept-before-erased-again", 19, "was not swept after", lambda: (
    good().before("sweep", stated("back", finding("came back"))).after("sweep", stated("gone", finding("erased again")))
))  # fmt: skip
told("swept-before-objects-came-back", 19, "was not swept after", lambda: (
    objects.lock_is_over().after("sweep", stated("back", finding("objects came back", "media")))
))  # fmt: skip
told("rows-came-back-and-stayed", 19, "came back, but", lambda: good().before(
    "sweep",
    stated("back", finding("came back")),
    stated("elsewhere", finding("erased again", where="app.public.users", count=0)),
))  # fmt: skip


def _only_emptied(phase: p.Phase) -> Line:
    """A derived table is emptied, in the name of a dataset of which nothing goes."""
    table = ("app/derived-table:public.totals",)
    return Line(
        f"emptied {phase.value}",
        lambda play: replace(nothing(play), phase=phase, dataset="app.public.videos", home="us", emptied=table),
    )


told("erased-again-what-was-only-emptied", 16, "were never erased before", lambda: good().before(
    "sweep", *map(_only_emptied, p.Phase), stated("again", finding("erased again", "app.public.videos"))
))  # fmt: skip


# ------------------------------------------------------------------------------------------- 20, 23
def _uncleared(rows: int) -> Script:
    """A run that stopped before the approvals, whose last comparison is of other rows than planned."""
    after = [name for name in good().names() if name.startswith(("approval", "intent", "outcome"))]
    slices = (replace(s.equality(fenced=True).slices[0], rows=rows), *s.equality(fenced=True).slices[1:])
    counts = {
        dataset: {home: replace(c, deleted=0, blanked=0, kept=c.moved) for home, c in homes.items()}
        for dataset, homes in s.certificate().counts.items()
    }
    counts["app.public.messages"]["us"] = p.Counts(moved=rows, deleted=0, blanked=0, kept=rows)
    copies = tuple(replace(c, verdict=Verdict.PRESENT) for c in s.certificate().copies)
    script = good().without(*after, "clearance", "sweep").set("equality", slices=slices)
    return script.set("certificate", copies=copies, counts=counts, verdict=Verdict.PRESENT)


def _counted_before_it_differed() -> Script:
    return _uncleared(120).after("equality", stated("differs", differing()))


told("certificate-counting-more-than-planned", 20, "not those of the statements", lambda: _uncleared(10**9))
told("certificate-counting-what-differed-later", 20, "not those of the statements", _counted_before_it_differed)


def _receipts_of_others() -> Script:
    """Receipts of everybody rest on a clearance of one slice; all is erased under another one."""
    script = (
        receipts.at_once()
        .bent("clearance", lambda said: replace(said, slices=("messages/ca/1",)))  # type: ignore[call-arg]
        .before(FIRST_INTENT, Line("clearance 2", lambda play: done_at(s.clearance(play), 33)))
    )
    return under("clearance 2", script)


told("receipts-on-a-clearance-of-others", 23, "a clearance that leaves out something of us", _receipts_of_others)


# ------------------------------------------------------------------------------------------- one condition alone
told("fence-of-an-unplanned-home-beside", 12, "unplanned home", lambda: good().set(
    "cutover", subjects={"us": 40, "ca": 10, "sg": 1}
))  # fmt: skip
told("cohort-of-nobody-at-an-unplanned-home", 22, "no home", lambda: live.live().set(
    "3 home", subjects={"us": 39, "ca": 9, "moon": 0}
))  # fmt: skip
told("receipts-of-parts-in-disorder", 23, "which follows", lambda: (
    receipts.in_parts().set("receipts 0 1", part=2).set("receipts 0 2", part=1)
))  # fmt: skip


def _up_to_the_equality(play: s.Play) -> s.Seen:
    return s.seen({name: sealed for name, sealed in play.items() if not name.startswith(("equality", "approval"))})


def _stands_before_the_equality() -> Script:
    """The root is that of the statements before the equality, and so right; but nobody saw the equality in it."""
    line = good().lines[good().place("approval monitor")]

    def make(play: s.Play) -> p.Predicate:
        made = line.make(play)
        assert isinstance(made, p.ApprovalPredicate)
        return replace(made, **_up_to_the_equality(play))

    return good().signed("approval monitor", replace(line, make=make))


told("approval-of-all-but-the-equality", 14, "a log that ends elsewhere", _stands_before_the_equality)
told("verified-and-left-out-by-the-last-sweep", 19, "was not swept after", lambda: good().after(
    "sweep", stated("sweep 2", swept(*OTHERS, minute=51))
))  # fmt: skip


def _blanked_only() -> Script:
    """The receipts' clearance leaves out a slice whose rows are only blanked; another one has it."""
    script = (
        receipts.at_once()
        .bent("clearance", lambda said: replace(said, slices=("messages/us/1", "messages/ca/1")))  # type: ignore[call-arg]
        .before(FIRST_INTENT, Line("clearance 2", lambda play: done_at(s.clearance(play), 33)))
    )
    return under("clearance 2", script)


told("receipts-without-what-is-blanked", 23, "leaves out something of us", _blanked_only)
told("objects-of-a-home", 10, "and at a home", lambda: objects.objects().bent("plan", _objects_at_home))


def _objects_at_home(said: p.Predicate) -> p.Predicate:
    assert isinstance(said, p.PlanPredicate)
    copies = tuple(replace(one, location="us") if one.kind == "objects" else one for one in said.copies)
    return replace(said, copies=copies)


# ------------------------------------------------------------------------------------------- as it may well be
def odd_and_true() -> Script:
    """A backup at home, a home of nobody, a copy without a byte, an erasure that only empties, an equality at last."""
    plan, empty = s.plan(), p.PlannedSlice(
        id="users/au/1", dataset="app.public.users", home="au", rows=0, erase=p.EraseCounts(delete=0, blank=0)
    )  # fmt: skip
    place = p.Place(country="AU", operator="Home Pty")
    copies = tuple(replace(one, location="us") if one.id == FOUND else one for one in plan.copies)
    compared = p.ComparedSlice(id=empty.id, rows=0, source=s.digest("none"), home=s.digest("none"))
    equal = replace(s.equality(fenced=True), slices=(*s.equality(fenced=True).slices, compared))
    counts = {**s.certificate().counts}
    counts["app.public.users"] = {**counts["app.public.users"], "au": p.Counts(moved=0, deleted=0, blanked=0, kept=0)}
    swept = tuple(replace(one, bytes=0) if one.id == FOUND else one for one in s.sweep().copies)
    moved = p.TransferPredicate(
        plan=s.PLAN, home="au", dataset="app.public.users",
        slices=(p.MovedSlice(id=empty.id, rows=0, bytes=0, digest=s.digest("nothing")),),
    )  # fmt: skip
    only = Line(
        "only emptied",
        lambda play: replace(
            nothing(play), dataset="app.public.messages", home="us", emptied=("app/derived-table:public.totals",)
        ),
    )
    return (
        good()
        .set(
            "plan", homes={**plan.homes, "AU": "au"}, locations={**plan.locations, "au": place}, copies=copies,
            slices=(*plan.slices, empty),
        )
        .before("cutover", stated("transfer of nothing", moved))
        .signed("equality", stated("equality", equal))
        .before("equality", stated("differs first", differing()))
        .before(FIRST_INTENT, only)
        .set("sweep", copies=swept)
        .set("certificate", counts=counts)
    )  # fmt: skip


def receipts_of_one_home() -> Script:
    """The receipts of one home rest on a clearance that leaves out a slice of another."""
    script = (
        receipts.in_parts()
        .signed("clearance", Line("clearance", lambda play: replace(s.clearance(play), slices=("messages/ca/1",))))
        .before(FIRST_INTENT, Line("clearance 2", lambda play: done_at(s.clearance(play), 33)))
    )
    lines = list(under("clearance 2", script).lines)
    first = next(line for line in lines if line.name == "receipts 0 1")
    made = first.make
    place = [line.name for line in lines]
    lines[place.index("receipts 0 1")] = replace(
        first, make=lambda play: made({**play, "clearance": play["clearance 2"]})
    )
    lines.insert(place.index("receipts 0 1"), lines.pop(place.index("clearance 2")))
    return Script(tuple(lines)).set("receipts 0 1", counted_at=s.at(34)).set("receipts 0 2", counted_at=s.at(34))


def receipts_and_a_slice_that_stays() -> Script:
    """Receipts rest on a clearance that doesn't name a slice of which nothing leaves."""
    stays, ours = "messages/ca/1", s.certificate().counts
    slices = tuple(
        replace(one, erase=p.EraseCounts(delete=0, blank=0)) if one.id == stays else one for one in s.plan().slices
    )
    kept = {**ours["app.public.messages"], "ca": p.Counts(moved=30, deleted=0, blanked=0, kept=30)}
    return (
        receipts.at_once()
        .without("intent app.public.messages ca", "outcome app.public.messages ca")
        .set("plan", slices=slices)
        .set("clearance", slices=tuple(one for one in s.SLICES if one != stays))
        .set("certificate", counts={**ours, "app.public.messages": kept})
    )


def compared_again() -> Script:
    """What may be told twice: home was written to before the first row went, so it is compared and approved anew.

    A search finds something, and the next one doesn't; erased rows come back with a restore, and are erased again.
    """
    first = good().lines[good().place(FIRST_INTENT)]
    again = (
        Line("first intent", first.make),
        stated("differs", differing()),
        stated("equality 2", equal_again()),
        Line("approval operator 2", s.approval("operator", "operator", of="equality 2"), OPERATOR),
        Line("approval monitor 2", s.approval("monitor", "monitor", of="equality 2"), MONITOR),
        Line("clearance 2", _clearance_2),
    )
    return under("clearance 2", good().before(FIRST_INTENT, *again)).before(
        "sweep",
        stated("sweep 1", swept(residue=500, hits=50, minute=45)),
        stated("back", finding("came back")),
        stated("again", finding("erased again")),
    )


def _clearance_2(play: s.Play) -> p.ClearancePredicate:
    said = s.clearance(play, ("approval operator 2", "approval monitor 2"))
    return replace(done_at(said, 31), equality=play["equality 2"].sha256)


def left_out_and_unknown() -> Script:
    """What was found in a copy, which was never looked at again: nobody knows."""
    return left_out(Verdict.UNKNOWN)


def key_destroyed_since() -> Script:
    """A search could still read what it found; then the key was destroyed."""
    return keyed(stated("sweep 1", swept(residue=500, minute=45)), *KEY_TOLD).signed(
        "sweep", stated("sweep", swept(*OTHERS))
    )


def key_destroyed_and_not_read_since() -> Script:
    """The last search found something; then the key was destroyed."""
    return keyed(stated("sweep 1", swept(residue=500)), *KEY_TOLD).without("sweep")
