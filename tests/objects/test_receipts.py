"""Objects in people's receipts: how many versions of theirs went home, counted as by hand, whatever rule leads there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from domicile.errors import Waiting
from domicile_audit.paper import check
from domicile_audit.receipt import as_text
from tests.attack.conftest import run
from tests.objects.conftest import Folders, Made
from tests.servers import ROOT


def receipts(made: Folders, *keys: str) -> dict[str, Path]:
    found = {}
    with made.programme.opened() as opened:
        for key in keys:
            found[key] = made.programme.folder / f"{key}.tlog-proof"
            found[key].write_bytes(opened.receipt(key))
    return found


def media(path: Path) -> dict[str, int] | None:
    """What a receipt says of the store, by the person's own program, which must accept it."""
    done = subprocess.run(
        [sys.executable, "-m", "domicile_audit", "receipt", str(path), "--json"],
        env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout + done.stderr
    said: Any = json.loads(done.stdout)
    assert said["objects"].get("media") == said["person"]["rows"].get("media")
    found: dict[str, int] | None = said["objects"].get("media")
    return found


def test_p9_each_counts_the_objects_that_rows_and_keys_lead_to(folders: Made) -> None:
    """2 and 4 share one that both have a row of; 6 shares one with somebody who stays; 4's letter was deleted."""
    made = folders()
    run(
        made.source,
        "INSERT INTO video (person_id, address) VALUES (2, 'https://cdn.example.org/videos/of-4.mp4'),"
        " (1, 'https://cdn.example.org/videos/of-6.mp4'), (2, 'https://cdn.example.org/videos/of-2.mp4'),"
        " (2, 'https://cdn.example.org/videos/none.mp4'), (4, 'elsewhere')",
    )
    (made.media / "u/4/letter.txt").unlink()
    made.programme.plan()
    made.programme.clear_again()
    made.programme.apply(yes=True)
    assert {"ca": (5, 4, 1)} == made.counts()
    found = receipts(made, "2", "4", "6")
    assert {"moved": 3, "deleted": 3, "blanked": 0} == media(found["2"])
    assert {"moved": 1, "deleted": 1, "blanked": 0} == media(found["4"])
    assert {"moved": 2, "deleted": 1, "blanked": 0} == media(found["6"])
    text = as_text(check(found["6"].read_bytes()))
    assert "media                  2          1          1" in text
    assert "Places of media outside:" in text
