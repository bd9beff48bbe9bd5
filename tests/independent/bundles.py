"""Whole bundles of real runs, checked by what is not the auditor's program: Go, and the page's own script."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from playwright.sync_api import Browser

from tests.independent.golang import build


def go_checks(bundle: Path) -> int:
    """Have Go check the log of a bundle: note, tiles and root; return its size. Refused where it doesn't hold."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
        vkey = (Path(folder) / "keys" / "log.vkey").read_text(encoding="utf-8").strip()
        _, size, _ = build()("check", Path(folder) / "log", vkey).decode().split()
    return int(size)


def page_says(browser: Browser, report: Path) -> str:
    """What the report says of the bundle inside it."""
    page = browser.new_page()
    try:
        page.goto(report.as_uri())
        page.locator("#self:not([data-state=none])").wait_for(state="attached")
        return page.locator("#self-state").inner_text()
    finally:
        page.close()
