"""The two checkers, which share neither code nor language, agree on stories told at random."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from playwright.sync_api import Browser

from tests.portal.pages import GOOD, asked, first_checker, opened, report_of
from tests.portal.retelling import retold
from tests.vectors import scenario as s

FIRST = int(os.environ.get("STORIES_FROM", "0"))
STORIES = int(os.environ.get("STORIES", "200"))


def test_p9_the_two_checkers_agree_on_stories_told_at_random(browser: Browser, tmp_path: Path) -> None:
    """`STORIES_FROM=1000 STORIES=9000` tries others: each seed is one story."""
    bundles: dict[str, bytes] = {}
    for seed in range(FIRST, FIRST + STORIES):
        try:
            bundles[f"story {seed}"] = s.bundle_of(retold(seed))
        except KeyError:  # it names a statement that it has left out
            continue
    page = opened(browser, tmp_path / "report.html", report_of(s.good(), GOOD))
    first = first_checker(bundles)
    second = {name: answer[:2] for name, answer in asked(page, bundles).items()}
    assert {} == {name: (first[name], second[name]) for name in bundles if first[name] != second[name]}
    answers = Counter(first.values())
    assert {(True, 24), (False, 16), (False, 19)} <= answers.keys()
    page.close()
