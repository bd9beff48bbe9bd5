"""Runs that are told wrongly, checks 10 to 21; each is signed by the engine's own key from first to last."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from domicile.evidence import predicates as p
from domicile.evidence.bundle import pack
from domicile.evidence.statement import seal
from domicile.proof import Verdict
from tests.vectors import scenario as s
from tests.vectors.registry import defect, filed, gone, told
from tests.vectors.scenario import ENGINE, MONITOR, OPERATOR, STRANGER, Line, Script, good

replace = dataclasses.replace


# ------------------------------------------------------------------------------------------- 10 plan
def _plan(**values: object) -> Script:
    return good().set("plan", **values)


def _of(part: tuple[Any, ...], place: int, **values: object) -> tuple[Any, ...]:
    return (*part[:place], replace(part[place], **values), *part[place + 1 :])


_PLAN = s.plan()
told("plan-not-first", 10, "does not begin with a plan", lambda: good().moved("plan", before="cutover"))
told(
    "plan-twice",
    10,
    "more than one plan",
    lambda: good().before("cutover", Line("again", lambda _: replace(s.plan(), programme="another"))),
)
told("plan-of-another-file", 10, "about another plan than plan.json", lambda: _plan(plan="1" * 64))
told("statement-about-another-plan", 10, "about another plan", lambda: good().set("sweep", plan="1" * 64))
told("plan-with-a-slice-twice", 10, "twice", lambda: _plan(slices=(*_PLAN.slices, _PLAN.slices[0])))
told("plan-with-a-copy-twice", 10, "twice", lambda: _plan(copies=(*_PLAN.copies, _PLAN.copies[0])))
told("plan-without-copies", 10, "neither live rows nor objects", lambda: _plan(copies=()))
told("plan-home-nowhere", 10, "home that is no location", lambda: _plan(homes={"US": "us", "CA": "ca", "AU": "au"}))
told("plan-slice-goes-elsewhere", 10, "no home", lambda: _plan(slices=_of(_PLAN.slices, 0, home="sg")))
told("plan-copy-nowhere", 10, "at no location", lambda: _plan(copies=_of(_PLAN.copies, 0, location="moon")))
told(
    "plan-erases-more-than-there-is",
    10,
    "more rows than it has",
    lambda: _plan(slices=_of(_PLAN.slices, 0, erase=p.EraseCounts(delete=120, blank=1))),
)
told(
    "plan-without-approvals",
    10,
    "can't be met, or is none",
    lambda: _plan(approvals=replace(_PLAN.approvals, threshold=0)),
)
told("plan-threshold-too-high", 10, "can't be met", lambda: _plan(approvals=replace(_PLAN.approvals, threshold=3)))
told(
    "plan-of-other-approvers",
    10,
    "not those of the plan's approvers",
    lambda: _plan(approvals=replace(_PLAN.approvals, of=_of(_PLAN.approvals.of, 1, vkey=STRANGER.verifier.vkey))),
)


told(
    "plan-with-an-approver-name-twice",
    10,
    "twice",
    lambda: _plan(approvals=replace(_PLAN.approvals, of=_of(_PLAN.approvals.of, 1, name="operator"))),
)


def _part(name: str, **values: object) -> Script:
    """The good run with the first slice of one statement changed."""

    def bend(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.TransferPredicate | p.ErasurePredicate)
        return replace(made, slices=_of(made.slices, 0, **values))

    return good().bent(name, bend)


def _doubled(name: str) -> Script:
    """The good run with the slices of one statement told twice."""

    def bend(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.TransferPredicate | p.ErasurePredicate)
        return replace(made, slices=made.slices * 2)

    return good().bent(name, bend)


# ------------------------------------------------------------------------------------------- 11 transfers
_T = "transfer app.public.messages ca"
told("transfer-left-out", 11, "not transferred whole", lambda: good().without(_T))
told("transfer-after-the-equality", 11, "not transferred whole", lambda: good().moved(_T, before="clearance"))
told(
    "transfer-of-less-rows",
    11,
    "not transferred whole",
    lambda: _part(_T, rows=29),
)
told(
    "transfer-of-an-unplanned-slice",
    11,
    "not planned",
    lambda: _part(_T, id="messages/ca/2"),
)
told("transfer-of-another-dataset", 11, "another dataset or home", lambda: good().set(_T, dataset="app.public.users"))
told(
    "transfer-of-a-slice-twice",
    11,
    "twice",
    lambda: _doubled(_T),
)
told(
    "transfer-again-of-less-rows",
    11,
    "not transferred whole",
    lambda: good().after(_T, replace(_part(_T, rows=29).lines[good().place(_T)], name="again")),
)
told("transfer-to-another-home", 11, "another dataset or home", lambda: good().set(_T, home="us"))

# ------------------------------------------------------------------------------------------- 12 fence
told("fence-missing", 12, "not put up before it", lambda: good().without("cutover"))
told("fence-after-the-equality", 12, "not put up before it", lambda: good().swapped("cutover", "equality"))
told("fence-of-an-unplanned-home", 12, "unplanned home", lambda: good().set("cutover", subjects={"us": 40, "sg": 1}))

# ------------------------------------------------------------------------------------------- 13 equality
_EQ = s.equality(fenced=True).slices
told("equality-unfenced", 13, "not made under the fence", lambda: good().set("equality", fenced=False))
told(
    "equality-with-a-differing-digest",
    13,
    "not the same at home",
    lambda: good().set("equality", slices=_of(_EQ, 1, source="2" * 64)),
)
told(
    "equality-with-differing-rows",
    13,
    "other rows than planned",
    lambda: good().set("equality", slices=_of(_EQ, 1, rows=29)),
)
told("equality-without-a-slice", 13, "does not compare slice", lambda: good().set("equality", slices=_EQ[:-1]))
told("equality-with-a-slice-twice", 13, "twice", lambda: good().set("equality", slices=(*_EQ, _EQ[0])))
told(
    "equality-of-an-unplanned-slice",
    13,
    "not planned",
    lambda: good().set("equality", slices=(*_EQ, replace(_EQ[0], id="messages/us/2"))),
)
told("equality-with-differences", 13, "differences or strays", lambda: good().set("equality", differences=1))
told("equality-with-strays", 13, "differences or strays", lambda: good().set("equality", strays=1))

# ------------------------------------------------------------------------------------------- 14 approvals
_AO, _AM = "approval operator", "approval monitor"


def _cited(*names: str) -> Callable[[s.Play], p.Predicate]:
    return lambda play: s.clearance(play, names)


def _clears(script: Script, *names: str) -> Script:
    return script.signed("clearance", Line("clearance", _cited(*names)))


told("approval-missing", 14, "1 approvals, the plan wants 2", lambda: _clears(good().without(_AM), _AO))
told("approval-duplicated", 14, "twice", lambda: _clears(good(), _AO, _AO))
told(
    "approval-by-one-person-twice",
    14,
    "1 approvals, the plan wants 2",
    lambda: _clears(good().signed(_AM, Line(_AM, s.approval("operator", "once more"), OPERATOR)), _AO, _AM),
)
told(
    "approval-of-a-wrong-key",
    14,
    "another approver's key",
    lambda: good().signed(_AM, Line(_AM, s.approval("monitor", "monitor"), OPERATOR)),
)
told(
    "approval-by-somebody-unnamed",
    14,
    "the plan does not name",
    lambda: good().signed(_AM, Line(_AM, s.approval("minister", "monitor"), MONITOR)),
)
told(
    "approval-of-another-equality",
    14,
    "another equality",
    lambda: good().signed(_AM, Line(_AM, s.approval("monitor", "monitor", of="early equality"), MONITOR)),
)
told(
    "approval-of-nothing",
    14,
    "does not stand before it",
    lambda: good().set(_AM, equality="3" * 64),
)


def _late() -> Script:
    """The operator's approval comes after the clearance that cites it."""

    def clear(play: s.Play) -> p.Predicate:
        made = s.approval("operator", "operator")(play)
        assert isinstance(made, p.Predicate)
        return s.clearance({**play, _AO: seal(made, OPERATOR)})

    return good().signed("clearance", Line("clearance", clear)).swapped(_AO, "clearance").swapped(_AM, "clearance")


told("approval-after-the-clearance", 14, "does not stand before it", _late)


# ------------------------------------------------------------------------------------------- 15 clearance
def _restore(change: Callable[[dict[str, p.RestoredHome]], object]) -> Script:
    def bend(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.ClearancePredicate)
        homes = dict(made.restore.homes)
        change(homes)
        return replace(made, restore=replace(made.restore, homes=homes))

    return good().bent("clearance", bend)


told("clearance-without-a-restore", 15, "was not restored", lambda: _restore(lambda homes: homes.clear()))
told("clearance-with-one-home-unrestored", 15, "was not restored", lambda: _restore(lambda homes: homes.pop("ca")))
told(
    "restore-with-a-differing-digest",
    15,
    "differs from home",
    lambda: _restore(lambda homes: homes.update(ca=p.RestoredHome(slices=_of(homes["ca"].slices, 0, digest="4" * 64)))),
)
told(
    "restore-with-less-rows",
    15,
    "differs from home",
    lambda: _restore(lambda homes: homes.update(ca=p.RestoredHome(slices=_of(homes["ca"].slices, 0, rows=29)))),
)
told(
    "restore-at-another-home",
    15,
    "not its home",
    lambda: _restore(lambda homes: homes.update(us=homes["ca"], ca=homes["us"])),
)
told(
    "restore-of-a-slice-twice",
    15,
    "twice",
    lambda: _restore(lambda homes: homes.update(ca=p.RestoredHome(slices=homes["ca"].slices * 2))),
)
told(
    "restore-of-an-unplanned-slice",
    15,
    "not its home",
    lambda: _restore(
        lambda homes: homes.update(
            ca=p.RestoredHome(slices=(*homes["ca"].slices, replace(homes["ca"].slices[0], id="messages/ca/2")))
        )
    ),
)
told("clearance-of-nothing", 15, "clears nothing", lambda: good().set("clearance", slices=()))
told(
    "clearance-of-an-unplanned-slice",
    15,
    "not planned",
    lambda: good().set("clearance", slices=(*s.SLICES, "messages/us/2")),
)
told("clearance-of-a-slice-twice", 15, "twice", lambda: good().set("clearance", slices=(*s.SLICES, "users/us/1")))

# ------------------------------------------------------------------------------------------- 16 erasure
_FIRST = "intent app.public.messages us"
_I, _O, _U = "intent app.public.messages ca", "outcome app.public.messages ca", "app.public.users us"


told("erasure-without-a-clearance", 16, "does not stand before it", lambda: good().set(_O, clearance="5" * 64))


def _under(line: str, name: str) -> Script:
    """The good run in which an erasure names another statement as its clearance."""
    make = good().lines[good().place(line)].make
    return good().signed(line, Line(line, lambda play: make({**play, "clearance": play[name]})))


told("erasure-under-an-equality", 16, "does not stand before it", lambda: _under(_O, "equality"))


@defect("erasure-before-the-clearance", 16, "does not stand before it")
def _() -> bytes:
    clearance = good().play()["clearance"]

    def early(make: s.Maker) -> s.Maker:
        return lambda play: make({**play, "clearance": clearance})

    lines = {line.name: line for line in good().lines}
    moved = [replace(lines[name], make=early(lines[name].make)) for name in (_I, _O)]
    return s.bundle_of(good().without(_I, _O).before("clearance", *moved))


told(
    "erasure-announced-of-a-slice-twice",
    16,
    "twice",
    lambda: _doubled(_I),
)
told("erasure-not-announced", 16, "was not announced", lambda: good().without(_I))
told("erasure-announced-afterwards", 16, "was not announced", lambda: good().swapped(_I, _O))
told("erasure-of-more-than-announced", 16, "more was erased", lambda: _part(_I, deleted=27))
told("erasure-of-more-than-planned", 16, "more was erased than announced", lambda: _part(_O, deleted=29))
told("erasure-announced-of-more-than-planned", 16, "loses more rows than planned", lambda: _part(_I, blanked=1))
told("erasure-announced-of-more-deleted-than-planned", 16, "more rows than planned", lambda: _part(_I, deleted=29))
told("erasure-of-more-blanked-than-announced", 16, "more was erased", lambda: _part(f"intent {_U}", blanked=39))
told("erasure-of-other-content", 16, "not what was proven equal", lambda: _part(_O, digest="6" * 64))
told("erasure-of-an-unplanned-slice", 16, "not planned", lambda: _part(_O, id="messages/ca/2"))
told("erasure-with-collateral", 16, "outside the closure", lambda: good().set(_O, collateral=1))
told(
    "erasure-empties-what-is-not-derived",
    16,
    "no derived table",
    lambda: good().set(_I, emptied=("app/encrypted-files",)),
)
told(
    "erasure-empties-what-was-not-announced",
    16,
    "was not announced",
    lambda: good().set(_FIRST, emptied=()),
)
told("erasure-at-another-home", 16, "another dataset or home", lambda: good().set(_O, home="us"))
told(
    "erasure-of-an-uncleared-slice",
    16,
    "was not cleared",
    lambda: good().set("clearance", slices=("messages/us/1", "users/us/1")),
)
told(
    "erasure-in-two-parts",
    16,
    "erased twice",
    lambda: _part(_O, deleted=20).after(_O, replace(good().lines[good().place(_O)], name="the rest")),
)
told(
    "erasure-twice",
    16,
    "erased twice",
    lambda: good().after(
        _O,
        replace(_part(_O, deleted=1).lines[good().place(_O)], name="again"),
    ),
)

# ------------------------------------------------------------------------------------------- 17 sweeps
_SW = s.sweep().copies
told("sweep-of-an-unplanned-copy", 17, "not planned", lambda: good().set("sweep", copies=_of(_SW, 0, id="app/other")))
told("sweep-of-a-copy-twice", 17, "twice", lambda: good().set("sweep", copies=(*_SW, _SW[0])))
told(
    "sweep-with-more-residue-than-hits",
    17,
    "more residue than hits",
    lambda: good().set("sweep", copies=_of(_SW, 0, residue=1)),
)

# ------------------------------------------------------------------------------------------- 18 certificate
_CERTIFICATE = "certificate.dsse.json"


@defect("certificate-missing", 18, "no certificate")
def _() -> bytes:
    files = s.files_of(good().without("certificate"))
    files.pop(_CERTIFICATE)
    return pack(files, ENGINE)


told(
    "certificate-not-last",
    18,
    "not the last statement",
    lambda: good().after(
        "certificate",
        Line("later", lambda _: replace(s.sweep(), copies=_of(_SW, 0, hits=9, residue=9), swept_at=s.at(90))),
    ),
)
filed("certificate-file-missing", 18, "is missing", gone(_CERTIFICATE))
filed(
    "certificate-file-of-another",
    18,
    "not that of the log",
    lambda f: f.update({_CERTIFICATE: seal(replace(s.certificate(), issued_at=s.at(61)), ENGINE).envelope}),
)

# ------------------------------------------------------------------------------------------- 19 verdicts
_CE = s.certificate().copies


def _judged(copy: int = 0, **values: object) -> Script:
    return good().set("certificate", copies=_of(_CE, copy, **values))


def nothing_erased(script: Script, called: Verdict = Verdict.ERASED_UNVERIFIED) -> Script:
    """The run without its erasures, with counts to match; what was called verified is called so."""
    names = [name for name in script.names() if name.startswith(("intent", "outcome"))]
    counts = {
        dataset: {home: replace(c, deleted=0, blanked=0, kept=c.moved) for home, c in homes.items()}
        for dataset, homes in s.certificate().counts.items()
    }
    made = next(line.make({}) for line in script.lines if line.name == "certificate")
    assert isinstance(made, p.CertificatePredicate)
    copies = tuple(replace(c, verdict=called) if c.verdict is Verdict.ERASED_VERIFIED else c for c in made.copies)
    return script.without(*names).set("certificate", counts=counts, copies=copies, verdict=called)


told("certificate-better-than-its-verdicts", 19, "its worst copy is held", lambda: _judged(1, verdict=Verdict.HELD))
told(
    "certificate-worse-than-its-verdicts",
    19,
    "its worst copy is erased-verified",
    lambda: good().set("certificate", verdict=Verdict.HELD),
)
told("certificate-without-a-copy", 19, "and has no verdict", lambda: good().set("certificate", copies=_CE[:-1]))
told("certificate-with-a-copy-twice", 19, "there twice", lambda: good().set("certificate", copies=(*_CE, _CE[0])))
told(
    "certificate-of-an-unplanned-copy",
    19,
    "not planned",
    lambda: good().set("certificate", copies=(*_CE, replace(_CE[0], id="app/other"))),
)
told(
    "certificate-blocked-without-a-date", 19, "belongs to blocked-until", lambda: _judged(verdict=Verdict.BLOCKED_UNTIL)
)
told("certificate-dated-without-a-block", 19, "belongs to blocked-until", lambda: _judged(until=s.at(999)))
told("verified-without-a-sweep", 19, "not swept after the last erasure", lambda: good().without("sweep"))
told(
    "verified-without-a-sweep-of-that-copy",
    19,
    "not swept after the last erasure",
    lambda: good().set("sweep", copies=_SW[1:]),
)
told(
    "verified-by-a-sweep-before-the-erasure",
    19,
    "not swept after the last erasure",
    lambda: good().moved("sweep", before=_O),
)
told(
    "verified-by-a-sweep-for-nothing",
    19,
    "searched for nothing",
    lambda: good().set("sweep", tokens=p.SweptTokens(searched=0, not_searchable=9, canaries=0)),
)
told("verified-with-residue", 19, "holds residue", lambda: good().set("sweep", copies=_of(_SW, 0, hits=3, residue=2)))
told("nothing-erased-but-called-erased", 19, "and nothing was erased", lambda: nothing_erased(good()))
told(
    "rows-found-but-called-erased",
    19,
    "5 rows by query",
    lambda: good().set("sweep", rows=p.SweptRows(datasets=2, hits=5)),
)

# ------------------------------------------------------------------------------------------- 20 counts, 21 times
told(
    "certificate-with-other-counts",
    20,
    "not those of the statements",
    lambda: good().set(
        "certificate",
        counts={
            **s.certificate().counts,
            "app.public.users": {"us": p.Counts(moved=40, deleted=1, blanked=39, kept=0)},
        },
    ),
)
told("certificate-hiding-what-is-not-proven", 20, "leaves out", lambda: good().set("certificate", not_proven=()))
told("certificate-before-the-sweep", 21, "dated before", lambda: good().set("certificate", issued_at=s.at(49)))


def _restored_early() -> Script:
    def bend(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.ClearancePredicate)
        return replace(made, restore=replace(made.restore, done_at=s.at(9)))

    return good().bent("clearance", bend)


told("restore-before-the-fence", 21, "dated before", _restored_early)
