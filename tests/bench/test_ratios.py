"""The harness of `make bench` computes its ratios right; nothing here is timed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.pairing import Round, Sample, interleave, order_of, ratio_of, speed, typical
from bench.results import Figure, Part, Results, write


def sample(seconds: float, rows: int = 10) -> Sample:
    return Sample(seconds=seconds, client_cpu_s=seconds / 2, peak_rss_bytes=int(seconds * (1 << 20)), rows=rows)


def three_rounds() -> tuple[Round, ...]:
    return tuple({"ours": sample(ours), "theirs": sample(theirs)} for ours, theirs in ((2, 4), (1, 1), (4, 5)))


def test_speed_is_the_median_of_the_rounds_and_not_the_quotient_of_the_medians() -> None:
    ratio = speed(three_rounds(), "ours", against="theirs")
    assert (2.0, 1.0, 1.25) == ratio.rounds
    assert (1.25, 1.0, 2.0) == (ratio.median, ratio.least, ratio.greatest)
    assert 2.0 == typical(three_rounds(), "theirs").seconds / typical(three_rounds(), "ours").seconds


def test_the_slower_one_is_below_one() -> None:
    assert 0.8 == speed(three_rounds(), "theirs", against="ours").median


def test_runs_over_other_rows_are_not_compared() -> None:
    rounds = ({"ours": sample(1, rows=9), "theirs": sample(1)},)
    with pytest.raises(ValueError, match="different numbers of rows"):
        speed(rounds, "ours", against="theirs")


def test_a_ratio_of_no_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a round"):
        ratio_of([])


def test_rounds_go_forwards_and_backwards_and_each_run_starts_afresh() -> None:
    ran: list[str] = []

    def runner(name: str) -> Callable[[], Sample]:
        def run() -> Sample:
            ran.append(name)
            return sample(1)

        return run

    contenders = {name: runner(name) for name in ("a", "b")}
    rounds = interleave(contenders, rounds=3, before=lambda: ran.append("-"), tell=lambda _name, _sample: None)
    assert "-a-b-b-a-a-b" == "".join(ran)
    assert 3 == len(rounds)
    assert ("b", "a") == order_of(("a", "b"), 5)


@pytest.mark.parametrize(("target", "verdict"), [(1.25, "reached"), (1.26, "missed"), (None, "")])
def test_a_target_is_reached_or_missed_by_the_median(target: float | None, verdict: str) -> None:
    figure = Figure(name="ours / theirs", ratio=speed(three_rounds(), "ours", against="theirs"), target=target)
    assert verdict == figure.verdict


def test_the_page_and_the_data_say_the_same(tmp_path: Path) -> None:
    figure = Figure(name="ours / theirs", ratio=speed(three_rounds(), "ours", against="theirs"), target=1.3)
    results = Results(
        machine={"cores": 2}, sizes={"events": 1000}, once_s={"the fence": 0.5},
        parts=(Part(title="Copy", rounds=three_rounds(), figures=(figure,)),), memory={"one slice": sample(3)},
    )  # fmt: skip
    data, page = write(results, tmp_path / "results", "made")
    assert 1.25 == json.loads(data.read_text())["parts"][0]["figures"][0]["ratio"]["median"]
    text = page.read_text()
    assert "| ours / theirs | 1.25 (1.00 to 2.00) | ≥ 1.3 | missed |" in text
    assert "| theirs | 4.00 | 2.00 | 5 |" in text
    assert "| one slice | 10 | 3 |" in text
