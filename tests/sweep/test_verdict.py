"""The verdict of a copy: every rule with its twin; never better than what was seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import product

import pytest

from domicile.evidence.codec import from_json, to_json
from domicile.evidence.predicates import JudgedCopy
from domicile.proof import CopyVerdict, Verdict
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment
from domicile.sweep import CopySearch, Finding, Gap, SearchResult, TokenClass, TokenCounts, decide, decide_all, roll_up
from domicile.sweep.search import View
from domicile.sweep.verdict import MUST_BE_TREATED, Question

COPY = Copy(id="heap:app.t", kind=CopyKind.HEAP, relation=None, method="VACUUM FULL", observable=True, why="")
DONE = Outcome(copy=COPY.id, treatment=Treatment.PROVEN, why="new files")
CLEAN = CopySearch(copy=COPY.id, files=1, bytes=8192)
FOUND = replace(
    CLEAN, hits=2, distinct=1,
    findings=(Finding(copy=COPY.id, path="base/1/2", offset=0, view=View.RAW, token_class=TokenClass.EMAIL, count=2),),
)  # fmt: skip
GAPPED = replace(CLEAN, gaps=(Gap(copy=COPY.id, path="base/1/2", why="PermissionError"),))
ASKED = Question(tokens_searched=10, sampled=False, rows_erased=True)


def outcome(treatment: Treatment) -> Outcome:
    return replace(DONE, treatment=treatment)


@pytest.mark.parametrize(
    ("expected", "done", "search", "question"),
    [
        (Verdict.ERASED_VERIFIED, DONE, CLEAN, ASKED),
        (Verdict.ERASED_VERIFIED, outcome(Treatment.DONE), CLEAN, ASKED),
        (Verdict.ERASED_VERIFIED, outcome(Treatment.OBSERVED), CLEAN, ASKED),
        (Verdict.PRESENT, DONE, FOUND, ASKED),
        (Verdict.PRESENT, None, CLEAN, ASKED),
        (Verdict.PRESENT, outcome(Treatment.HELD), CLEAN, ASKED),
        (Verdict.PRESENT, outcome(Treatment.BLOCKED), CLEAN, ASKED),
        (Verdict.ERASED_UNVERIFIED, outcome(Treatment.GONE), CLEAN, ASKED),
        (Verdict.PRESENT, outcome(Treatment.GONE), FOUND, ASKED),
        (Verdict.UNKNOWN, outcome(Treatment.NOT_PERMITTED), CLEAN, ASKED),
        (Verdict.UNKNOWN, outcome(Treatment.UNSEEN), CLEAN, ASKED),
        (Verdict.ERASED_UNVERIFIED, DONE, None, ASKED),
        (Verdict.UNKNOWN, outcome(Treatment.OBSERVED), None, ASKED),
        (Verdict.ERASED_UNVERIFIED, DONE, GAPPED, ASKED),
        (Verdict.UNKNOWN, outcome(Treatment.OBSERVED), GAPPED, ASKED),
        (Verdict.ERASED_UNVERIFIED, DONE, CLEAN, replace(ASKED, tokens_searched=0)),
        (Verdict.ERASED_VERIFIED, DONE, CLEAN, replace(ASKED, tokens_searched=0, rows_erased=False)),
        (Verdict.ERASED_VERIFIED, DONE, CLEAN, replace(ASKED, sampled=True)),
        (Verdict.ERASED_UNVERIFIED, outcome(Treatment.DONE), CLEAN, replace(ASKED, sampled=True)),
        (Verdict.UNKNOWN, outcome(Treatment.OBSERVED), CLEAN, replace(ASKED, sampled=True)),
    ],
)
def test_p3_each_rule(expected: Verdict, done: Outcome | None, search: CopySearch | None, question: Question) -> None:
    assert expected == decide(COPY, done, search, question).verdict


@pytest.mark.parametrize("kind", list(CopyKind))
def test_p3_a_hit_is_present_whatever_was_done(kind: CopyKind) -> None:
    copy = replace(COPY, kind=kind)
    for treatment in Treatment:
        assert Verdict.PRESENT == decide(copy, outcome(treatment), FOUND, ASKED).verdict


def test_p11_what_may_not_go_before_a_day_is_blocked_until_then_whatever_it_holds() -> None:
    blocked = replace(outcome(Treatment.BLOCKED), until=date(2030, 2, 3))
    for search in (None, CLEAN, FOUND, GAPPED):
        said = decide(COPY, blocked, search, ASKED)
        assert (Verdict.BLOCKED_UNTIL, datetime(2030, 2, 3, tzinfo=UTC)) == (said.verdict, said.until)


def test_p11_only_a_full_clean_search_of_what_was_treated_verifies() -> None:
    verified = {Treatment.PROVEN, Treatment.DONE, Treatment.OBSERVED, Treatment.ABSENT}
    for treatment, search in product(Treatment, (None, CLEAN, FOUND, GAPPED)):
        verdict = decide(COPY, outcome(treatment), search, ASKED).verdict
        assert (verdict is Verdict.ERASED_VERIFIED) == (treatment in verified and search is CLEAN)


ELSEWHERE = replace(COPY, id="other-databases", kind=CopyKind.OTHER_DATABASES)


def found_elsewhere(token_class: TokenClass, path: str = "base/4711/2619") -> CopySearch:
    (finding,) = FOUND.findings
    return replace(FOUND, copy=ELSEWHERE.id, findings=(replace(finding, path=path, token_class=token_class),))


@pytest.mark.parametrize("token_class", list(TokenClass))
def test_p11_a_find_in_another_database_is_the_persons_only_if_nobody_else_bears_it(token_class: TokenClass) -> None:
    """Never erased; `present` where it can't be a stranger's; and the database is named."""
    asked = replace(ASKED, databases={4711: "newsletter", 1: "app"})
    for path in ("base/4711/2619", "pg_tblspc/9/PG_18_1/4711/2619.1"):
        said = decide(ELSEWHERE, outcome(Treatment.OBSERVED), found_elsewhere(token_class, path), asked)
        assert (Verdict.PRESENT if token_class.specific else Verdict.UNKNOWN) == said.verdict
        assert "newsletter" in said.why
        assert "app" not in said.why.split()


@pytest.mark.parametrize("kind", sorted(set(CopyKind) - {CopyKind.OTHER_DATABASES}))
def test_p11_a_name_alone_is_residue_where_rows_that_stay_were_asked(kind: CopyKind) -> None:
    search = replace(found_elsewhere(TokenClass.NAME), copy=COPY.id)
    assert Verdict.PRESENT == decide(replace(COPY, kind=kind), outcome(Treatment.DONE), search, ASKED).verdict


@pytest.mark.parametrize("kind", list(CopyKind))
def test_p11_an_untreated_copy_is_never_erased(kind: CopyKind) -> None:
    expected = Verdict.PRESENT if kind in MUST_BE_TREATED else Verdict.UNKNOWN
    assert expected == decide(replace(COPY, kind=kind), None, CLEAN, ASKED).verdict


@pytest.mark.parametrize(
    ("treatment", "expected"), [(Treatment.ABSENT, Verdict.ERASED_VERIFIED), (Treatment.UNSEEN, Verdict.UNKNOWN)]
)
def test_what_is_never_searched_exists_or_not(treatment: Treatment, expected: Verdict) -> None:
    copy = replace(COPY, kind=CopyKind.STANDBYS)
    assert expected == decide(copy, outcome(treatment), None, ASKED).verdict


def test_p11_a_copy_that_is_not_there_is_not_verified_by_a_search_for_nothing() -> None:
    """Where all values are too short to be looked for, the certificate would refuse such a verdict, and so the run."""
    copy = replace(COPY, kind=CopyKind.STANDBYS)
    nothing = replace(ASKED, tokens_searched=0, rows_erased=True)
    assert Verdict.UNKNOWN is decide(copy, outcome(Treatment.ABSENT), None, nothing).verdict
    assert Verdict.ERASED_VERIFIED is decide(copy, outcome(Treatment.ABSENT), None, ASKED).verdict


def test_a_copy_that_nobody_listed_is_never_left_out() -> None:
    counts = TokenCounts(searched=1, by_class=(), sampled=False, too_short=0, common=0)
    result = SearchResult(
        tokens=counts, how="test", copies=(CLEAN, replace(FOUND, copy="slot:new"), replace(CLEAN, copy="x"))
    )
    verdicts = {verdict.copy: verdict.verdict for verdict in decide_all((COPY,), (DONE,), result, rows_erased=True)}
    assert {COPY.id: Verdict.ERASED_VERIFIED, "slot:new": Verdict.PRESENT, "x": Verdict.UNKNOWN} == verdicts


def test_the_roll_up_is_the_worst() -> None:
    said = [CopyVerdict(copy=str(verdict), verdict=verdict, why="") for verdict in Verdict]
    assert Verdict.PRESENT == roll_up(said)
    assert Verdict.UNKNOWN == roll_up([entry for entry in said if entry.verdict is not Verdict.PRESENT])
    assert Verdict.ERASED_VERIFIED == roll_up(said[:1])
    assert Verdict.UNKNOWN == roll_up([])


@pytest.mark.parametrize("name", ["Screenshot 10.41\u202fAM.sql", "a\nb.dump", "x" * 70_000, "\udcff.dump", "a\x00b"])
def test_p11_a_file_of_any_name_can_be_told_of(name: str) -> None:
    """A name that no statement can hold would keep the certificate from ever being stated, when all is erased."""
    for search in (replace(GAPPED, gaps=(Gap(copy=COPY.id, path=name, why="can't be read"),)), _found_in(name)):
        told = decide(COPY, outcome(Treatment.OBSERVED), search, ASKED)
        judged = JudgedCopy(id="app/dumps", verdict=told.verdict, why=told.why, until=None)
        assert judged == from_json(to_json(judged), JudgedCopy)
        assert any(part in told.why for part in ("Screenshot 10.41", ".dump", "xxxx", "a\\x00b"))


def _found_in(path: str) -> CopySearch:
    (finding,) = FOUND.findings
    return replace(FOUND, findings=(replace(finding, path=path),))
