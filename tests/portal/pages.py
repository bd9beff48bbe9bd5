"""The report in a real browser, and what its checker answers, beside what domicile-audit does."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from domicile.evidence.statement import read_unverified
from domicile.portal.report import Extras, render
from domicile_audit.checklist import audit
from domicile_audit.trust.policy import Policy
from tests.vectors import make
from tests.vectors import scenario as s

VECTORS = Path(make.__file__).parent
GOOD = (VECTORS / "good" / "all-erased.zip").read_bytes()


def report_of(script: s.Script, bundle: bytes | None) -> str:
    """The page of a golden run, with a bundle inside it."""
    played = list(script.play().values())
    extras = Extras(engine="0.1.0", certificate=played[-1].sha256, bundle="bundle.zip", bundle_bytes=bundle)
    return render([read_unverified(sealed) for sealed in played], extras=extras)


def opened(browser: Browser, path: Path, text: str, *, width: int = 1280, before: str = "") -> Page:
    """Open a page; what a script said to the console, and what was asked of the network, is kept beside it."""
    path.write_text(text, encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900})
    if before:
        page.add_init_script(before)
    page.goto(path.as_uri())
    page.locator("#self:not([data-state=none])").wait_for(state="attached")
    return page


def line_of(page: Page) -> str:
    """What stands under the verdict; it says the same as the section below."""
    line, state = page.locator("#self-line").inner_text(), page.locator("#self-state").inner_text()
    assert line == state
    return line


def give(page: Page, path: Path | None = None, *, policy: str | None = None) -> str:
    """Give a bundle, or other keys, and wait for the answer."""
    page.evaluate("document.getElementById('self').dataset.state = 'none'")
    if policy is not None:
        page.evaluate("text => { document.getElementById('self-policy').value = text; }", policy)
        page.evaluate("document.getElementById('self-again').click()")
    if path is not None:
        page.set_input_files("#self-file", path)
    page.locator("#self:not([data-state=none])").wait_for(state="attached")
    return line_of(page)


def asked(
    page: Page, whole: Mapping[str, bytes], policy: str | None = None, *, at_ms: int = 0
) -> dict[str, tuple[bool, int, str | None]]:
    """The page's answers on bundles: accepted, how many checks it made, the reason. None may be `unchecked`."""
    answers: dict[str, Any] = page.evaluate(
        """async ([whole, policy, at]) => {
          const trusted = policy === null ? null : await readPolicy(policy), answers = {};
          for (const name of Object.keys(whole)) {
            answers[name] = await audit(readBase64(whole[name], name), trusted, at);
          }
          return answers;
        }""",
        [{name: base64.b64encode(data).decode() for name, data in whole.items()}, policy, at_ms],
    )
    assert [] == [(name, one["reason"]) for name, one in answers.items() if one["state"] not in ("accepted", "refused")]
    return {name: (one["state"] == "accepted", len(one["checks"]), one["reason"]) for name, one in answers.items()}


def first_checker(whole: Mapping[str, bytes], policy: Policy | None = None) -> dict[str, tuple[bool, int]]:
    """What domicile-audit answers on the same: accepted, and how many checks it made."""
    reports = {name: audit(data, policy) for name, data in whole.items()}
    return {name: (report.accepted, len(report.checks)) for name, report in reports.items()}
