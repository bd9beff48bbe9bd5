"""`domicile demo`, the first thing that a stranger runs: it ends as it says, down to the verdict of each copy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

UNKNOWN = {"service/server-log", "service/dumps-and-backups", "service/free-blocks"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the screen of a demo with fewer people."""
    folder = tmp_path_factory.mktemp("demo") / "of-a-stranger"
    command = [sys.executable, "-m", "domicile.cli", "demo", "--users", "1500", "--folder", str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=280, env={**os.environ, "COLUMNS": "200"}
    )
    assert 0 == done.returncode, done.stdout[-2000:] + done.stderr[-2000:]
    return folder, done.stdout


@pytest.mark.slow
def test_every_copy_but_those_that_nobody_can_look_at_is_erased_and_verified(shown: tuple[Path, str]) -> None:
    _, screen = shown
    found = re.search(r"erased-verified: (\d+) of (\d+) copies", screen)
    assert found is not None
    assert int(found[2]) - len(UNKNOWN) == int(found[1])
    assert set(re.findall(r"^ (service/\S+) +\? unknown ", screen, re.MULTILINE)) == UNKNOWN


@pytest.mark.slow
def test_the_auditor_accepts_the_bundle_and_refuses_one_flipped_byte(shown: tuple[Path, str]) -> None:
    _, screen = shown
    accepted, refused = screen.index("ACCEPTED"), screen.index("REFUSED at check")
    assert accepted < refused


@pytest.mark.slow
def test_the_report_stands_where_the_screen_says_and_no_server_is_left(shown: tuple[Path, str]) -> None:
    folder, screen = shown
    assert str(folder / ".domicile" / "report.html") in screen
    assert (folder / ".domicile" / "report.html").stat().st_size > 10_000
    assert not (folder / "servers").exists()
