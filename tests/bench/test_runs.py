"""The measurements of evidence run at all, in small: what they call may change under them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT


@pytest.mark.parametrize(
    ("module", "small", "page"),
    [
        ("bench.receipts", ["--people", "500", "--rounds", "1"], "receipts-postgresql-18.md"),
        ("bench.evidence", ["--entries", "300", "--statements", "40", "--rounds", "1"], "evidence.md"),
        ("bench.feeds", ["--transactions", "500", "--rounds", "1"], "feeds-postgresql-18.md"),
    ],
)
def test_a_measurement_writes_its_page(tmp_path: Path, module: str, small: list[str], page: str) -> None:
    command = [sys.executable, "-m", module, *small, "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert 0 == done.returncode, done.stderr[-1000:]
    assert "| ratio |" in (tmp_path / page).read_text(encoding="utf-8")
