"""The report says no more than the statements, escapes what it is given, and asks nobody for anything."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from domicile.errors import EvidenceFault
from domicile.evidence import predicates as p
from domicile.model import Finding
from domicile.portal import checking
from domicile.portal.report import Extras, StageTime, render
from domicile.proof import Verdict
from tests.portal import made_runs as made

PLAIN = Extras(engine="0.1.0")


class _Reader(HTMLParser):
    """The text of a page, its tags, attributes and scripts, by Python's own parser; links into the page don't count."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.scripts: list[str] = []
        self._hidden = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, value in attrs if name != "href" or not (value or "").startswith("#"))
        self._hidden = tag if tag in ("style", "script") else ""
        self.scripts += [""] if tag == "script" else []

    def handle_endtag(self, tag: str) -> None:
        self._hidden = "" if tag == self._hidden else self._hidden

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)
        if self._hidden == "script":
            self.scripts[-1] += data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def text_of(statements: Sequence[p.Predicate], extras: Extras = PLAIN) -> str:
    return read(render(statements, extras=extras)).text


def verdict_of(statements: Sequence[p.Predicate]) -> str:
    """The big word over the page."""
    found = re.search(r'<p class="word">(.*?)</p>', render(statements, extras=PLAIN), re.DOTALL)
    assert found
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", "", found[1])).strip()


# -- the verdict ---------------------------------------------------------------------------------------------------


def test_a_perfect_run_is_erased_verified() -> None:
    assert verdict_of(made.perfect()) == "✓ erased-verified"
    assert "Every listed copy outside home is erased or was never there" in text_of(made.perfect())


def test_p11_a_copy_that_was_not_seen_makes_the_whole_unknown() -> None:
    assert verdict_of(made.usual()) == "? unknown"
    text = text_of(made.usual())
    assert "4 of 64 listed copies outside home could not be looked at in full" in text
    assert "Every listed copy outside home is erased" not in text


def test_p11_residue_is_present_in_words_and_sign() -> None:
    assert verdict_of(made.worst()) == "✕ present"
    assert "Private data is still present outside home: in 2 of 64 listed copies." in text_of(made.worst())
    assert "✕ 1 match" in text_of(made.worst())


def test_p11_a_certificate_better_than_its_copies_is_not_believed() -> None:
    run = made.finished(Verdict.ERASED_VERIFIED, {"wal": Verdict.UNKNOWN})
    assert verdict_of(run) == "? unknown"
    assert "Do not rely on it" in text_of(run)


def test_p11_a_verified_copy_that_was_not_searched_is_not_believed() -> None:
    run = made.finished(Verdict.ERASED_VERIFIED, {})
    assert verdict_of(run) == "? unknown"
    assert "server-log was not swept since the erasure" in text_of(run)


def test_p11_a_copy_with_residue_that_is_called_erased_is_not_believed() -> None:
    run = [*made.until_erased(), made.sweep(residue="wal"), made.usual()[-1]]
    said = "copy wal is called erased-verified, by the log it is present: an earlier search found something in it"
    assert said in text_of(run)
    assert "does not follow from the statements" in text_of(run)


def test_p11_a_copy_that_is_called_too_good_is_named_although_the_whole_is_no_better() -> None:
    verdicts = dict.fromkeys(made.UNSEEN, Verdict.UNKNOWN) | {"server-log": Verdict.PRESENT}
    run = made.finished(Verdict.PRESENT, verdicts, residue="wal")
    assert "copy wal is called erased-verified, by the log it is present" in text_of(run)
    assert "does not follow from the statements" in text_of(run)


def test_p11_a_certificate_that_is_not_the_last_word_is_not_believed() -> None:
    run = [*made.perfect(), made.erasures(p.Phase.INTENT)[0]]
    assert verdict_of(run) == "? unknown"
    assert "statements came after the certificate" in text_of(run)


def test_p11_counts_that_are_not_those_of_the_statements_are_not_believed() -> None:
    run = made.perfect()
    last = run[-1]
    assert isinstance(last, p.CertificatePredicate)
    counts = {name: dict(homes) for name, homes in last.counts.items()}
    counts["app.public.likes"]["us"] = p.Counts(moved=1, deleted=1, blanked=0, kept=0)
    run[-1] = dataclasses.replace(last, counts=counts)
    assert "counts are not those of the statements" in text_of(run)


def test_p11_what_the_plan_calls_not_proven_cannot_be_dropped() -> None:
    run = made.perfect()
    last = run[-1]
    assert isinstance(last, p.CertificatePredicate)
    run[-1] = dataclasses.replace(last, not_proven=last.not_proven[1:])
    assert "leaves out 1 line of what the plan calls not proven" in text_of(run)


def test_p11_a_long_list_of_what_is_not_proven_is_folded_and_all_there() -> None:
    names = ", ".join(f"app.table_{number}.value" for number in range(60))
    run = made.perfect()
    last = run[-1]
    assert isinstance(last, p.CertificatePredicate)
    run[-1] = dataclasses.replace(last, not_proven=(*last.not_proven, f"values were not looked for: {names}"))
    page = render(run, extras=PLAIN)
    assert "<details><summary>values were not looked for</summary>" in page
    assert names in read(page).text


def test_a_statement_of_another_plan_is_noticed() -> None:
    run = made.perfect()
    run[1] = dataclasses.replace(run[1], plan=made.digest("another"))
    assert "not all statements are about the same plan" in text_of(run)


# -- unfinished runs ------------------------------------------------------------------------------------------------


def test_p11_a_plan_alone_is_present_and_says_what_is_missing() -> None:
    run = [made.plan()]
    assert verdict_of(run) == "✕ not finished: present"
    text = text_of(run)
    assert "What is missing" in text
    for line in ("writes at the source are not refused yet", "0 of 2 needed signatures", "no certificate yet"):
        assert line in text


def test_a_transfer_under_way_counts_what_is_there() -> None:
    run = [made.plan(), made.cutover(), *made.transfers()[:2]]
    # users of us and ca: 2,310 + 260 rows, two of 39 slices
    assert "2,570 rows (300.7 kB) copied home, 2 of 39 slices" in text_of(run)
    assert "that 292,320 planned rows (39 slices) are at home: not read equal under a fence" in text_of(run)


def test_an_equality_outside_a_fence_proves_nothing() -> None:
    run = [made.plan(), *made.transfers(), made.equality(fenced=False)]
    text = text_of(run)
    assert "not under the fence, so it can't permit an erasure" in text
    assert "that 292,320 planned rows" in text


def test_a_difference_is_named_by_dataset() -> None:
    run = [made.plan(), made.cutover(), *made.transfers(), made.equality(wrong=["app.public.likes/ca/whole/0"])]
    assert "✕ 1 of 3 slices differ" in text_of(run)
    assert "✕" not in text_of([*run[:-1], made.equality()]).split("Datasets")[1].split("Copies outside home")[0]


def test_an_announced_erasure_without_an_outcome_is_under_way() -> None:
    run = [entry for entry in made.until_erased() if not _is_outcome(entry)]
    assert verdict_of(run) == "✕ not finished: present"
    assert "announced, and not reported as done" in text_of(run)


def test_an_erasure_cut_off_in_the_middle_is_present() -> None:
    assert verdict_of(made.until_erased()[:-1]) == "✕ not finished: present"
    assert "some private data is erased at the source, the rest is still there" in text_of(made.until_erased()[:-1])


def test_an_erased_run_without_certificate_is_unknown() -> None:
    assert verdict_of(made.until_erased()) == "? not finished: unknown"
    assert "no search since the last erasure" in text_of(made.until_erased())


def test_a_sweep_before_the_last_erasure_does_not_count() -> None:
    run = made.until_erased()
    run.insert(-1, made.sweep())
    assert "no search since the last erasure" in text_of(run)


def test_a_log_without_a_plan_is_refused() -> None:
    with pytest.raises(EvidenceFault, match="does not begin with a plan"):
        render([made.cutover()], extras=PLAIN)
    with pytest.raises(EvidenceFault, match="does not begin with a plan"):
        render([], extras=PLAIN)


def _is_outcome(entry: p.Predicate) -> bool:
    return isinstance(entry, p.ErasurePredicate) and entry.phase is p.Phase.OUTCOME


# -- numbers, approvals, decisions ----------------------------------------------------------------------------------


def test_rows_of_every_dataset_add_up() -> None:
    people = 2_310 + 260 + 214
    rows = people * (1 + 2 + 5 + 3 + 1 + 21 + 9 + 6 + 8 + 40 + 7 + 1 + 1)
    text = text_of(made.usual())
    assert f"{rows:,} rows equal under the fence" in text
    assert f"{rows - 5 * people:,} rows deleted, {4 * people:,} rows blanked" in text


def test_an_approval_of_another_comparison_does_not_count() -> None:
    run = [made.plan(), made.cutover(), made.equality(), made.approval("operator", of=made.digest("old"))]
    text = text_of([*run, made.approval("monitor")])
    assert "1 of 2 needed signatures" in text
    assert "✕ does not count" in text
    assert "✕ does not count" not in text_of(made.usual())


def test_a_stranger_s_approval_does_not_count() -> None:
    run = [made.plan(), made.cutover(), made.equality(), made.approval("operator"), made.approval("stranger")]
    assert "1 of 2 needed signatures" in text_of(run)


def test_findings_come_with_the_rule_that_decided_them() -> None:
    text = text_of(made.usual(), made.EXTRAS)
    assert "datasets.app.public.direct_messages.subjects.shared: each" in text
    assert "1,204" in text
    assert "undecided" not in text


def test_a_finding_without_a_rule_is_not_proven() -> None:
    finding = Finding(kind="shared", where="app.public.likes", count=7, text="7 rows lead apart", remedy="shared: ?")
    text = text_of(made.usual(), dataclasses.replace(PLAIN, findings=(finding,)))
    assert "undecided: 7 rows lead apart (app.public.likes)" in text
    assert "✕ undecided" in text


def test_findings_of_the_log_are_shown_once() -> None:
    stated = p.FindingPredicate(plan=made.PLAN, kind="kept", where="app.public.users", count=3, text="3 rows stay")
    run = made.usual()
    run.insert(1, stated)
    known = Finding(kind="kept", where="app.public.users", count=3, text="3 rows stay", rule="apart: whole")
    assert text_of(run).count("3 rows stay") == 1
    assert text_of(run, dataclasses.replace(PLAIN, findings=(known,))).count("3 rows stay") == 1


def test_times_rates_waits_and_digests_are_there() -> None:
    text = text_of(made.usual(), made.EXTRAS)
    for line in (
        "2026-11-22 09:01:00 UTC", "29,829 rows/s, 3.5 MB/s", "13,530 rows/s", "2 min 10 s", "Others waited 38 ms",
        "at most 412 ms",
        "domicile-audit homecoming-bundle.zip", made.PLAN, made.digest("certificate"), made.digest(made.CHECKPOINT),
    ):  # fmt: skip
        assert line in text


def test_p11_a_copy_that_is_not_there_is_not_called_searched() -> None:
    run = made.perfect()
    swept = run[-2]
    assert isinstance(swept, p.SweepPredicate)
    copies = [
        dataclasses.replace(one, method="absent: archive_mode off", bytes=0) if one.id == "archive" else one
        for one in swept.copies
    ]
    run[-2] = dataclasses.replace(swept, copies=tuple(copies))
    assert "60 of 60 copies outside home erased and searched, or not there (1)" in text_of(run)
    assert "not there (1)" not in text_of(made.perfect())


def test_a_step_that_no_statement_speaks_of_stands_in_its_place() -> None:
    text = text_of(made.usual(), made.EXTRAS)
    places = [text.index(word) for word in (" Fence ", " Freeze ", " Transfer ", " Erase ", " Horizon ", " Sweep ")]
    assert sorted(places) == places
    assert " Freeze " not in text_of(made.usual())


def test_a_stage_without_time_and_of_no_known_name_is_shown() -> None:
    extras = dataclasses.replace(PLAIN, stages=(StageTime(stage="rehearsal", seconds=0.0, rows=5),))
    assert "Rehearsal" in text_of(made.usual(), extras)


# -- the page itself ------------------------------------------------------------------------------------------------


def test_names_are_escaped() -> None:
    run = made.perfect()
    evil = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>"
    first = run[0]
    assert isinstance(first, p.PlanPredicate)
    places = dict(first.locations) | {"sg": p.Place(country="SG", operator=evil)}
    slices = tuple(dataclasses.replace(one, dataset=evil) for one in first.slices)
    run[0] = dataclasses.replace(first, programme=evil, slices=slices, locations=places)
    page = read(render(run, extras=dataclasses.replace(PLAIN, checkpoint=evil, bundle=evil)))
    assert [checking.script()] == page.scripts
    assert "img" not in page.tags
    assert "onerror" not in page.attributes
    assert evil in page.text


def test_the_page_needs_nothing_from_outside() -> None:
    page = render(made.usual(), extras=made.EXTRAS)
    reader = read(page)
    assert not reader.tags & {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert [checking.script()] == reader.scripts
    assert not reader.attributes & {"src", "href", "onload", "onclick", "srcset"}
    assert "url(" not in page.replace("url(#tip-wide)", "").replace("url(#tip-narrow)", "")
    assert "default-src 'none'; script-src 'sha256-" in unescape(page)


def opened(browser: Browser, path: Path, statements: Sequence[p.Predicate], *, width: int) -> tuple[Page, list[str]]:
    """Open the page from a file; return it and every request it made."""
    path.write_text(render(statements, extras=made.EXTRAS), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri(), wait_until="networkidle")
    return page, asked


RUNS = {"usual": made.usual(), "worst": made.worst(), "unfinished": made.until_erased()}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_it_fits_and_asks_nobody(browser: Browser, tmp_path: Path, name: str, width: int) -> None:
    file = tmp_path / "report.html"
    page, asked = opened(browser, file, RUNS[name], width=width)
    assert asked == [file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".verdict .word").inner_text() == verdict_of(RUNS[name])
    assert [drawing.is_visible() for drawing in page.locator("svg.map").all()] == [width == 1280, width == 390]
    page.close()


def test_in_a_browser_a_long_name_without_blanks_does_not_widen_the_page(browser: Browser, tmp_path: Path) -> None:
    run = made.perfect()
    first = run[0]
    assert isinstance(first, p.PlanPredicate)
    slices = tuple(dataclasses.replace(one, dataset=f"app.public.{'x' * 180}") for one in first.slices)
    run[0] = dataclasses.replace(first, slices=slices)
    page, _ = opened(browser, tmp_path / "report.html", run, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_in_a_browser_what_is_not_proven_stands_before_the_figures(browser: Browser, tmp_path: Path) -> None:
    page, _ = opened(browser, tmp_path / "report.html", made.usual(), width=1280)
    tops = [page.locator(part).bounding_box() for part in ("#not-proven", "#map", "#copies")]
    assert all(tops)
    assert sorted(tops, key=lambda box: box["y"] if box else 0) == tops
    page.close()
