"""How the report tells a live move: cohorts and waits, the lag, and nothing of what a rollback made void."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from domicile.cutover.cohorts import LagPoint
from domicile.evidence import predicates as p
from domicile.portal import checking, lag
from domicile.portal.report import render
from tests.portal import made_runs as made
from tests.portal.test_report import PLAIN, read, text_of, verdict_of

WITH_LAG = dataclasses.replace(made.EXTRAS, lag=made.LAG)


def part_of(text: str) -> str:
    """The section about cohorts."""
    return text.split("How people went home")[1].split(" Datasets ", maxsplit=1)[0]


# -- the section ---------------------------------------------------------------------------------------------------


def test_p6_cohorts_stand_there_with_people_way_time_wait_and_rows() -> None:
    text = part_of(text_of(made.live_usual()))
    for line in (
        "cohort 1 → home 2 au, 2 ca, 4 us 2026-11-22 09:00:02 UTC 112 ms 22 ms 56",
        "cohort 2 ← back to the source 12 au, 58 ca, 306 us 2026-11-22 09:00:09 UTC 618 ms 123 ms 2,632",
        "cohort 4 → home 100 au, 100 ca, 1,100 us 2026-11-22 09:00:22 UTC 1.9 s 380 ms 9,100",
    ):
        assert line in text


def test_p6_waits_are_summed_up_over_people_and_called_the_engines_own() -> None:
    """Of 3,160 ways home: 8 waited 112 ms, 376 each 388 and 431 ms, 1,100 waited 702 ms, 1,300 waited 1,904 ms."""
    text = text_of(made.live_usual())
    assert "half of them waited at most 702 ms, 99 of 100 at most 1.9 s, nobody longer than 1.9 s" in part_of(text)
    assert "measured by the engine's own clock" in part_of(text)
    assert "how long people waited: the waits are those of the engine's clock" in text.split("Where the data goes")[0]


def test_a_single_slow_person_is_the_longest_and_not_the_99th_of_a_hundred() -> None:
    cohorts = (
        made.cohort(1, p.Went.HOME, {"us": 1}, second=2, wait_ms=5_000),
        made.cohort(2, p.Went.HOME, {"us": 199}, second=3, wait_ms=300),
    )
    text = part_of(text_of([made.live_plan(), *cohorts]))
    assert "half of them waited at most 300 ms, 99 of 100 at most 300 ms, nobody longer than 5.0 s" in text


def test_nothing_of_it_is_shown_when_all_went_at_once() -> None:
    page = render(made.usual(), extras=WITH_LAG)
    assert "How people went home" not in page
    assert '<svg class="lag' not in page
    assert "cohort" not in read(page).text
    assert render(made.usual(), extras=made.EXTRAS) == page


def test_many_cohorts_are_folded_and_all_there() -> None:
    cohorts = [made.cohort(n, p.Went.HOME, {"us": n}, second=n, wait_ms=n) for n in range(1, 41)]
    page = render([made.live_plan(), *cohorts], extras=PLAIN)
    assert "<details><summary>20 more</summary>" in page
    assert [f"cohort {n} → home" in read(page).text for n in range(1, 41)] == [True] * 40


# -- the rest of the page ------------------------------------------------------------------------------------------


def test_a_live_run_ends_as_one_at_once_does() -> None:
    assert verdict_of(made.live_usual()) == verdict_of(made.usual()) == "? unknown"
    text = text_of(made.live_usual(), WITH_LAG)
    for line in (
        "2,784 people at home; 5 cohorts went home, 1 cohort came back to the source",
        "39 slices of 292,320 rows written down",
        "292,320 rows equal under the fence", "36 of 36 slices", "2 of 2 needed signatures",
    ):  # fmt: skip
        assert line in text
    assert "What is missing" not in text
    places = [text.index(f" {word} ") for word in ("Plan", "Transfer", "Cohorts", "Freeze", "Fence", "Verify", "Erase")]
    assert sorted(places) == places
    assert text.count(" Freeze ") == 1


@pytest.mark.parametrize("cohorts", [0, 1, 6])
def test_p11_a_live_run_on_its_way_is_present_and_equal_to_nothing(cohorts: int) -> None:
    """There are no slices to count yet, and none that could be called equal, erased or not there."""
    run = [made.live_plan(), *made.COHORTS[:cohorts]]
    assert verdict_of(run) == "✕ not finished: present"
    text = text_of(run)
    for line in (
        "rows not frozen yet",
        "which rows leave is written down when everybody is at home",
        "nothing is erased",
    ):
        assert line in text
    assert "✓ equal" not in text
    assert ("people at home so far" in text) == bool(cohorts)
    assert ("people are on their way, and nothing is frozen" in text) == bool(cohorts)


def test_p11_what_a_rollback_made_void_is_not_shown_as_equal() -> None:
    assert "292,320 rows equal under the fence" in text_of(made.live_until_equal())
    text = text_of(made.live_rolled_back())
    assert verdict_of(made.live_rolled_back()) == "✕ not finished: present"
    for line in (
        "source and home are not compared yet",
        "0 of 2 needed signatures",
        "✕ does not count",
        "2,776 people at",
    ):
        assert line in text
    assert "✓ equal" not in text
    assert "that 292,320 planned rows (39 slices) are at home: not read equal under a fence" in text


# -- the curve -----------------------------------------------------------------------------------------------------


def point(at_s: float, behind_s: float) -> LagPoint:
    return LagPoint(at_s=at_s, changes=1, behind_s=behind_s)


def test_one_point_is_no_curve() -> None:
    assert lag.curves([]) == lag.curves([point(1, 2)]) == ()


def test_the_curve_stays_in_its_plot_and_keeps_the_peak_of_many_points() -> None:
    points = [point(number / 10, 9.5 if number == 7_777 else 0.2) for number in range(20_000)]
    for curve in lag.curves(points):
        places = [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", curve.line)]
        assert len(places) <= curve.width
        assert all(curve.left <= x <= curve.right and curve.top <= y <= curve.bottom for x, y in places)
        highest = curve.bottom - (curve.bottom - curve.top) * 9.5 / 10
        assert min(y for _, y in places) == pytest.approx(highest, abs=0.1)
    assert lag.highest_s(points) == 9.5


@pytest.mark.parametrize(
    ("end_s", "highest_s", "across", "upward"),
    [
        (5, 0.0, ["0", "1 s", "2 s", "3 s", "4 s", "5 s"], ["0", "50 ms", "100 ms"]),
        (90, 0.3, ["0", "15 s", "30 s", "45 s", "60 s", "75 s", "90 s"], ["0", "250 ms", "500 ms"]),
        (3_600, 7.0, ["0", "10 min", "20 min", "30 min", "40 min", "50 min", "60 min"], ["0", "5.0 s", "10.0 s"]),
        (400_000, 200.0, ["0", "1 d", "2 d", "3 d", "4 d"], ["0", "100.0 s", "3 min 20 s"]),
    ],
)
def test_the_axes_have_round_marks(end_s: float, highest_s: float, across: list[str], upward: list[str]) -> None:
    wide = lag.curves([point(0, 0), point(end_s, highest_s)])[0]
    assert across == [tick.text for tick in wide.across]
    assert upward == [tick.text for tick in wide.upward]


def test_the_lag_is_labelled_as_the_engines_own_measurement() -> None:
    text = part_of(text_of(made.live_usual(), WITH_LAG))
    assert "At the worst it was 4.2 s behind. This is the engine's own measurement" in text
    assert "behind" not in part_of(text_of(made.live_usual()))


def test_the_section_needs_nothing_from_outside_and_no_script_of_its_own() -> None:
    reader = read(render(made.live_usual(), extras=WITH_LAG))
    assert not reader.tags & {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert [checking.script()] == reader.scripts
    assert not reader.attributes & {"src", "href", "onload", "onclick", "srcset"}


def test_names_of_homes_are_escaped() -> None:
    evil = "<script>alert(1)</script>"
    run = [made.live_plan(), made.cohort(1, p.Went.HOME, {evil: 3}, second=2, wait_ms=5)]
    page = read(render(run, extras=PLAIN))
    assert [checking.script()] == page.scripts
    assert evil in page.text


RUNS = {"usual": made.live_usual(), "on its way": made.live_usual()[:4], "rolled back": made.live_rolled_back()}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_cohorts_and_curve_fit_and_ask_nobody(
    browser: Browser, tmp_path: Path, name: str, width: int
) -> None:
    file = tmp_path / "report.html"
    file.write_text(render(RUNS[name], extras=WITH_LAG), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri(), wait_until="networkidle")
    assert asked == [file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [curve.is_visible() for curve in page.locator("svg.lag").all()] == [width == 1280, width == 390]
    place = page.locator("svg.lag >> visible=true").bounding_box()
    assert place
    assert place["x"] >= 0
    assert place["x"] + place["width"] <= width
    page.close()
