"""The page's checker on stories that hold, and on those that miss by one word: domicile-audit says the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page

from domicile.evidence import predicates as p
from domicile.evidence.bundle import trust_policy
from domicile.proof import Verdict
from domicile_audit.trust.asking import Asked
from domicile_audit.trust.claims import examine
from domicile_audit.trust.policy import read_policy
from tests.portal.pages import GOOD, VECTORS, asked, first_checker, opened, report_of
from tests.vectors import rotations as r
from tests.vectors import scenario as s
from tests.vectors.scenario import Line, Script

RIGHT = (VECTORS / "policies" / "right.txt").read_text()
LIVE, WAL, _, DERIVED = s.COPIES
USERS, MESSAGES = "app.public.users", "app.public.messages"
TWO: r.Keys = {"log": s.ENGINE, "approver-1": s.OPERATOR, "approver-2": s.MONITOR}
BACK, AGAIN = ("came back", MESSAGES, 3), ("erased again", MESSAGES, 3)
ANNOUNCED, DESTROYED, KEY_BACK = "key to be destroyed", "key destroyed", "key came back"


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page to ask."""
    opened_page = opened(browser, tmp_path_factory.mktemp("page") / "report.html", report_of(s.good(), GOOD))
    yield opened_page
    opened_page.close()


def line(made: p.Predicate, name: str) -> Line:
    return Line(name, lambda _: made)


def found(*told: tuple[str, str, int]) -> Script:
    """These findings stand before the last sweep."""
    made = [
        p.FindingPredicate(plan=s.PLAN, kind=kind, where=where, count=count, text="k") for kind, where, count in told
    ]
    return s.good().before("sweep", *(line(one, f"found {number}") for number, one in enumerate(made)))


def called(verdict: Verdict, *ids: str, script: Script) -> Script:
    """Copies with that verdict, which is the worst."""

    def bend(said: p.Predicate) -> p.Predicate:
        assert isinstance(said, p.CertificatePredicate)
        copies = tuple(replace(one, verdict=verdict if one.id in ids else one.verdict) for one in said.copies)
        return replace(said, copies=copies, verdict=verdict)

    return script.bent("certificate", bend)


def swept(*ids: str, hits: int = 0, residue: int = 0, datasets: int = 2, of: str = WAL) -> p.SweepPredicate:
    """A sweep of these copies that found so much in one of them."""
    copies = tuple(
        replace(one, hits=hits, residue=residue) if one.id == of else one
        for one in s.sweep().copies
        if one.id in (ids or s.COPIES)
    )
    return replace(s.sweep(), copies=copies, rows=p.SweptRows(datasets=datasets, hits=0))


def searched(sweep: p.SweepPredicate) -> Script:
    return s.good().signed("sweep", line(sweep, "sweep"))


def left_out(one: str) -> Script:
    """Residue in a copy, which the next sweep leaves out, and which is called unknown."""
    again = line(swept(*(id_ for id_ in s.COPIES if id_ != one)), "sweep 2")
    return called(Verdict.UNKNOWN, one, script=searched(swept(hits=2, residue=2, of=one)).after("sweep", again))


def planned(**changes: object) -> Script:
    """The good run with the first slice of its plan changed."""
    first, *others = s.plan().slices
    return s.good().set("plan", slices=(replace(first, **changes), *others))  # type: ignore[arg-type]


def users_kept() -> Script:
    """Nothing is to be erased of one dataset, and the sweep asks of the other one only."""
    none = p.EraseCounts(delete=0, blank=0)
    slices = tuple(replace(one, erase=none) if one.dataset == USERS else one for one in s.plan().slices)
    counts = s.certificate().counts | {USERS: {"us": p.Counts(moved=40, deleted=0, blanked=0, kept=40)}}  # type: ignore[operator]
    script = searched(swept(datasets=1)).set("plan", slices=slices).set("certificate", counts=counts)
    return script.without(r.INTENT, r.OUTCOME)


def cleared(*approvals: str, erased: bool = True) -> Script:
    """Monitor's key was lost before it approved; counsel approves, too."""
    counsel = Line("approval counsel", s.approval("counsel", "counsel"), r.COUNSEL)
    clearance = Line("clearance", lambda play: s.clearance(play, approvals))
    script = r.stolen().before("clearance", counsel).signed("clearance", clearance)
    if erased:
        return script
    counts = {
        dataset: {home: replace(one, deleted=0, blanked=0, kept=one.moved) for home, one in homes.items()}
        for dataset, homes in s.certificate().counts.items()
    }
    names = [name for name in script.names() if name.startswith(("intent", "outcome"))]
    return called(Verdict.PRESENT, *s.COPIES, script=script.without(*names, "sweep").set("certificate", counts=counts))


def both_kinds() -> Script:
    copy = p.PlannedCopy(id="app/o", store="app", location="sg", kind="objects", dataset="app", method="delete")
    return s.good().set("plan", copies=(*s.plan().copies, copy))


def announced(before: str, **changes: int) -> Script:
    """One more intent of the users' slice."""

    def make(play: s.Play) -> p.Predicate:
        made = s.good().lines[s.good().place(r.INTENT)].make(play)
        assert isinstance(made, p.ErasurePredicate)
        return replace(made, slices=tuple(replace(one, **changes) for one in made.slices))  # type: ignore[arg-type]

    return s.good().before(before, Line("one more intent", make))


KEYS_GONE = ((ANNOUNCED, WAL, 1), (DESTROYED, WAL, 1))
STORIES: dict[str, tuple[int, Script]] = {
    "a store of rows and objects": (10, both_kinds()),
    "a dataset of a store whose name begins alike": (10, planned(dataset="apps.public.messages")),
    "a dataset without its table": (10, planned(dataset="app")),
    "the same fence twice": (0, s.good().before("equality", line(s.cutover(), "fence 2"))),
    "another fence": (12, s.good().before("equality", line(replace(s.cutover(), fence="sign"), "fence 2"))),
    "an intent of nothing": (16, announced(r.INTENT, deleted=0, blanked=0)),
    "an intent twice": (0, announced(r.INTENT)),
    "an intent after its outcome": (16, announced("sweep")),
    "hits, and erased-verified": (19, searched(swept(hits=1))),
    "hits, and erased-unverified": (0, called(Verdict.ERASED_UNVERIFIED, WAL, script=searched(swept(hits=1)))),
    "too few datasets asked": (19, searched(swept(datasets=1))),
    "nothing erased of a dataset that is not asked": (0, users_kept()),
    "residue left out of a log": (0, left_out(WAL)),
    "residue left out of live rows": (19, left_out(LIVE)),
    "residue left out of a derived table": (19, left_out(DERIVED)),
    "a destroyed key": (0, called(Verdict.KEY_DESTROYED, WAL, script=found(*KEYS_GONE))),
    "a destroyed key of a derived table": (
        19,
        called(Verdict.KEY_DESTROYED, DERIVED, script=found((ANNOUNCED, DERIVED, 1), (DESTROYED, DERIVED, 1))),
    ),
    "a key that came back": (19, found((KEY_BACK, WAL, 1))),
    "a key that came back, and unverified": (
        19,
        called(Verdict.ERASED_UNVERIFIED, WAL, script=found((KEY_BACK, WAL, 1))),
    ),
    "a key that came back, and unknown": (0, called(Verdict.UNKNOWN, WAL, script=found((KEY_BACK, WAL, 1)))),
    "a key that came back, and held": (0, called(Verdict.HELD, WAL, script=found((KEY_BACK, WAL, 1)))),
    "a key that came back and went": (19, found((KEY_BACK, WAL, 1), *KEYS_GONE)),
    "a key that went and came back": (19, found(*KEYS_GONE, (KEY_BACK, WAL, 1))),
    "rows back": (19, found(BACK)),
    "rows back and gone": (0, found(BACK, AGAIN)),
    "rows back, and none left": (0, found(BACK, ("erased again", MESSAGES, 0))),
    "rows back, and fewer gone": (16, found(BACK, ("erased again", MESSAGES, 2))),
    "rows gone, then back": (16, found(AGAIN, BACK)),
    "rows back, gone and back": (19, found(BACK, AGAIN, BACK)),
    "rows of two back, of one gone": (19, found(BACK, ("came back", USERS, 2), ("erased again", USERS, 2))),
    "rows back, and live rows present": (0, called(Verdict.PRESENT, LIVE, script=found(BACK))),
    "rows back, and a log present": (19, called(Verdict.PRESENT, WAL, script=found(BACK))),
}
VOID: dict[str, tuple[int, Script]] = {
    "enough without the void one": (0, cleared("approval operator", r.APPROVED, "approval counsel")),
    "too few without the void one": (24, cleared("approval operator", r.APPROVED)),
    "too few, and nothing erased": (0, cleared("approval operator", r.APPROVED, erased=False)),
}


def test_p9_the_two_checkers_agree_on_stories_that_contradict_themselves_and_on_their_neighbours(page: Page) -> None:
    whole = {name: r.bundle(script, TWO, log=s.ENGINE) for name, (_, script) in STORIES.items()}
    whole |= {name: r.bundle(script, r.STOLEN, log=s.ENGINE) for name, (_, script) in VOID.items()}
    wanted = {name: (number == 0, number or 24) for name, (number, _) in (STORIES | VOID).items()}
    assert wanted == first_checker(whole)
    assert wanted == {name: answer[:2] for name, answer in asked(page, whole).items()}


def test_p9_the_two_checkers_count_statements_of_the_same_bytes_once(page: Page) -> None:
    """The sweep of the good run stands twice in its log."""
    again = replace(s.good().lines[s.good().place("sweep")], name="the same again")
    data = r.bundle(s.good().after("sweep", again), TWO, log=s.ENGINE)
    for least, accepted in ((1, True), (2, False)):
        policy = f"{RIGHT}require sweep/v1 {least}\n"
        first = examine(data, Asked(read_policy(policy.encode()), s.at(99)))
        assert (accepted, 24) == (first.accepted, len(first.checks)) == asked(page, {"it": data}, policy)["it"][:2]


def test_p2_the_two_checkers_agree_on_whose_approvals_clear_what_counts(page: Page) -> None:
    """Two clearances, the first of them erased under or not; who reads it trusts operator and counsel, not monitor."""
    of = tuple(p.ApproverKey(name=key.name, vkey=key.verifier.vkey) for key in (s.OPERATOR, r.COUNSEL))
    policy = trust_policy(s.ENGINE.verifier, p.ApprovalRule(threshold=2, of=of))
    good, stolen = ("approval operator", "approval counsel"), ("approval operator", "approval again")
    other = {by: Line("another one", lambda play, by=by: s.clearance(play, by)) for by in (good, stolen)}  # type: ignore[misc]
    scripts = {
        "one that counts for nothing": cleared(*good).before("clearance", other[stolen]),
        "the last one": cleared(*good).after("clearance", other[stolen]),
        "the erased one": cleared(*stolen).after("clearance", other[good]),
    }
    whole = {name: r.bundle(script, r.STOLEN, log=s.ENGINE) for name, script in scripts.items()}
    wanted = dict(zip(scripts, ((True, 24), (False, 14), (False, 14)), strict=True))
    assert wanted == first_checker(whole, read_policy(policy.encode()))
    assert wanted == {name: answer[:2] for name, answer in asked(page, whole, policy).items()}
    assert {True} == {answer[0] for answer in asked(page, whole).values()}
