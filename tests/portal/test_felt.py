"""What people felt: a file from beside the engine, read strictly, shown as what it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from domicile.errors import BadFile
from domicile.portal.report import Extras, render
from domicile.record.felt import FELT_BYTES_MAX, PHASES_MAX, Felt, FeltPhase, FeltWaits, read_felt, write_felt
from domicile.record.workspace import Workspace
from tests.portal import made_runs as made
from tests.portal.test_report import read, text_of

FELT = Felt(
    measured_by="the demo's traffic, 60 requests a second by 200 simulated people",
    phases=(
        FeltPhase(
            name="before", seconds=10, requests=600, errors=0, p50_ms=7.31, p95_ms=22.4, p99_ms=61, writes_p50_ms=9.5
        ),
        FeltPhase(
            name="cut-over", seconds=75.2, requests=4500, errors=3, refused_for_a_moment=12, p50_ms=8, p95_ms=41,
            p99_ms=1502,
        ),
        FeltPhase(name="after", seconds=0, requests=0, errors=0, p50_ms=0, p95_ms=0, p99_ms=0),
    ),
    held=FeltWaits(requests=41, p50_ms=220, p99_ms=931, max_ms=1204),
)  # fmt: skip
ONE = FELT.phases[0].model_dump_json().encode()


def with_felt(felt: Felt) -> Extras:
    return dataclasses.replace(made.EXTRAS, felt=felt)


def part_of(text: str) -> str:
    return text.split("What people felt")[1].split(" Datasets ", maxsplit=1)[0]


def test_p6_each_phase_stands_there_with_its_latencies_and_errors() -> None:
    text = part_of(text_of(made.live_usual(), with_felt(FELT)))
    assert "before 600 7.3 ms 22 ms 61 ms 9.5 ms 0 0 10.0 s" in text
    assert "cut-over 4,500 8.0 ms 41 ms 1.5 s – 3 12 75.2 s" in text.replace("—", "–")
    assert "after 0 – – – – 0 0 0 ms" in text.replace("—", "–")
    assert "41 requests of people on their way were held" in text
    assert "half of them for at most 220 ms , 99 of 100 for at most 931 ms , none longer than 1.2 s" in text.replace(
        "ms,", "ms ,"
    )


def test_p11_it_is_not_called_the_engines_own() -> None:
    text = part_of(text_of(made.live_usual(), with_felt(FELT)))
    assert f"Measured from outside, by {FELT.measured_by}" in text
    assert "no statement of the log holds it, and no auditor can check it" in text


def test_without_the_file_nothing_is_shown() -> None:
    assert "What people felt" not in render(made.live_usual(), extras=made.EXTRAS)


def test_an_error_is_marked_and_none_is_not() -> None:
    assert 1 == render(made.live_usual(), extras=with_felt(FELT)).count('class="num warn" data-label="errors"')


def test_no_word_of_the_file_is_markup() -> None:
    evil = '<script src="//x.example/x.js"></script>&"'
    phase = FELT.phases[0].model_copy(update={"name": evil})
    page = render(made.live_usual(), extras=with_felt(Felt(measured_by=evil, phases=(phase,))))
    assert 1 == page.count("<script")
    assert 2 == read(page).text.count(evil)


# -- the file --------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "domicile.yaml")
    assert read_felt(workspace) is None
    write_felt(workspace, FELT)
    assert FELT == read_felt(workspace)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "Invalid JSON"),
        (b"{}", "measured_by: Field required"),
        (b'{"measured_by": "x", "phases": [], "more": 1}', "more: Extra inputs"),
        (b'{"measured_by": "", "phases": []}', "measured_by: String should have at least"),
        (b'{"measured_by": "x", "phases": [{}]}', "phases.0.name: Field required"),
        (
            b'{"measured_by": "x", "phases": [' + b",".join([ONE] * (PHASES_MAX + 1)) + b"]}",
            "phases: Tuple",
        ),
        (b'{"measured_by": "x", "phases": [], "held": {"requests": -1}}', "held.requests"),
        (b'{"measured_by": "x", "phases": [], "held": {"requests": 1, "p50_ms": NaN}}', "held.p50_ms"),
        (b" " * (FELT_BYTES_MAX + 1), "larger than"),
    ],
)
def test_another_shape_is_refused_with_a_remedy(tmp_path: Path, data: bytes, words: str) -> None:
    workspace = Workspace(tmp_path / "domicile.yaml")
    workspace.make()
    workspace.felt.write_bytes(data)
    with pytest.raises(BadFile, match="only the report shows it") as caught:
        read_felt(workspace)
    assert words in str(caught.value)


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_it_fits(browser: Browser, tmp_path: Path, width: int) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(made.live_usual(), extras=with_felt(FELT)), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert [path.as_uri()] == asked
    assert width >= page.evaluate("document.documentElement.scrollWidth")
    assert page.get_by_role("heading", name="What people felt").is_visible()
    page.close()
