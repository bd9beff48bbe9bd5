"""The page's own check: a second checker, in JavaScript, held against the first on golden and on bent bundles."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from domicile.evidence.predicates import CertificatePredicate
from domicile.evidence.statement import read_unverified
from domicile.portal import checking
from domicile.portal.report import render
from domicile_audit.checklist import CHECKS
from domicile_audit.trust.policy import read_policy
from tests.fuzz import bundles
from tests.portal import made_runs as made
from tests.portal.pages import GOOD, VECTORS, asked, first_checker, give, line_of, opened, report_of
from tests.vectors import scenario as s
from tests.vectors.registry import DEFECTS

BAD = VECTORS / "bad" / "erasure-before-the-clearance.zip"
RIGHT = (VECTORS / "policies" / "right.txt").read_text()
SEED = 20261130
BENT = 200
"""Bundles of each way of bending them."""
NO_ED25519 = """
const old = crypto.subtle.importKey;
SubtleCrypto.prototype.importKey = function (form, key, kind, ...rest) {
  const no = new DOMException("no", "NotSupportedError");
  return kind.name === "Ed25519" ? Promise.reject(no) : old.call(this, form, key, kind, ...rest);
};
"""
YES_TO_ALL = "SubtleCrypto.prototype.verify = () => Promise.resolve(true);"
NO_WEB_CRYPTO = "Object.defineProperty(Crypto.prototype, 'subtle', {get: () => undefined});"


@pytest.fixture(scope="module")
def good(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of the golden run with its own bundle inside."""
    page = opened(browser, tmp_path_factory.mktemp("page") / "report.html", report_of(s.good(), GOOD))
    yield page
    page.close()


# -- the two checkers agree ------------------------------------------------------------------------------------------


def test_p9_the_second_checker_accepts_the_good_bundles_and_refuses_each_bad_one_where_it_should(good: Page) -> None:
    whole = {f"{kind}/{path.stem}": path.read_bytes() for kind in ("good", "bad") for path in zips(kind)}
    answers = asked(good, whole)
    assert first_checker(whole) == {name: answer[:2] for name, answer in answers.items()}
    wanted = {f"bad/{name}": (False, defect.check) for name, defect in DEFECTS.items()}
    wanted |= {f"good/{path.stem}": (True, len(CHECKS)) for path in zips("good")}
    assert wanted == {name: answer[:2] for name, answer in answers.items()}
    reasons = [reason for _, _, reason in answers.values() if reason is not None]
    assert len(DEFECTS) == len(reasons)
    assert all(reasons)
    assert len(set(reasons)) > len(DEFECTS) / 2


def zips(kind: str) -> list[Path]:
    return sorted((VECTORS / kind).glob("*.zip"))


@pytest.mark.parametrize("way", bundles.WAYS, ids=lambda way: way.__name__)
def test_p9_the_two_checkers_agree_on_bent_bundles(good: Page, way: Any) -> None:
    """The bundles are those of the fuzzer; each is known by the seed in its name."""
    names = [f"{SEED} {way.__name__} {number}" for number in range(BENT)]
    whole = {name: way(Random(name)) for name in names}  # noqa: S311  (a seeded test)
    answers = {name: answer[:2] for name, answer in asked(good, whole).items()}
    assert first_checker(whole) == answers
    assert len({number for _, number in answers.values()}) >= {"bent_zip": 2, "resigned": 6, "retold": 10}[way.__name__]


def test_p2_the_second_checker_trusts_no_key_because_a_trusted_one_stands_behind_it(good: Page) -> None:
    whole = {path.stem: path.read_bytes() for path in sorted((VECTORS / "untrusted").glob("*.zip"))}
    answers = {name: answer[:2] for name, answer in asked(good, whole, RIGHT).items()}
    assert first_checker(whole, read_policy(RIGHT.encode())) == answers
    assert {False} == {accepted for accepted, _ in answers.values()}
    alone = asked(good, whole, next(line for line in RIGHT.splitlines() if line.startswith("log ")).split()[1])
    assert [name for name, answer in alone.items() if answer[0]] == ["approved-by-keys-that-hand-on-to-the-true-ones"]
    assert {answer[0] for answer in asked(good, whole).values()} == {True}


def test_p9_the_page_lists_the_checks_of_the_first_checker(good: Page) -> None:
    """A check that only domicile-audit makes has to be named in the page; today there is none."""
    titles = good.evaluate("CHECKS.map(({title}) => title)")
    assert [title for title, _, _ in CHECKS] == titles
    assert f"This page makes all {len(titles)} checks" in re.sub(r"\s+", " ", good.locator("body").inner_text())


# -- what the reader sees --------------------------------------------------------------------------------------------


def test_p9_the_page_checks_the_bundle_inside_it_and_asks_nobody(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(report_of(s.good(), GOOD), encoding="utf-8")
    page = browser.new_page()
    requests: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri(), wait_until="networkidle")
    page.locator("#self[data-state=accepted]").wait_for(state="attached")
    assert line_of(page).startswith("✓ Accepted: all 24 checks of the bundle inside this page hold")
    assert "Its certificate of 2026-11-22T11:00:00Z says erased-verified. Its keys are its own" in line_of(page)
    assert [file.as_uri()] == requests
    assert [] == said
    assert 24 == page.locator("#self-checks li").count()
    assert not page.locator("#self-warning").is_visible()
    page.close()


def test_p9_a_page_whose_bundle_was_altered_says_refused_at_its_top(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path / "report.html", report_of(s.good(), BAD.read_bytes()))
    assert line_of(page).startswith(
        "✗ Refused: the bundle inside this page does not hold, at check 16 of 24: statement"
    )
    assert "bad" in (page.locator("#self-line").get_attribute("class") or "")
    marks = page.locator("#self-checks").evaluate(
        "list => Array.from(list.children, item => item.textContent[0]).join('')"
    )
    assert "✓" * 15 + "✗" + "·" * 8 == marks
    assert "Do not rely on this page" in page.locator("#verdict").inner_text()
    give(page, VECTORS / "good" / "all-erased.zip")
    assert page.locator("#self-warning").is_visible()
    page.close()


def test_p11_a_good_bundle_of_another_run_is_not_that_of_the_page(browser: Browser, tmp_path: Path) -> None:
    other = (VECTORS / "good" / "copy-unknown.zip").read_bytes()
    page = opened(browser, tmp_path / "report.html", report_of(s.good(), other))
    assert line_of(page).startswith("✓ Accepted, but it is not the bundle of this page")
    assert "says unknown: not everything is proven erased." in line_of(page)
    page.close()


def test_a_reader_gives_a_bundle_and_keys(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path / "report.html", report_of(s.good(), GOOD))
    assert "the bundle that you gave (erasure-before-the-clearance.zip) does not hold, at check 16" in give(page, BAD)
    assert "all 24 checks of the bundle that you gave (all-erased.zip) hold" in give(
        page, VECTORS / "good" / "all-erased.zip"
    )
    assert "Its keys are those of your policy" in give(page, policy=RIGHT)
    assert "at check 16" in give(page, BAD)
    other = (VECTORS / "policies" / "another-log.txt").read_text()
    assert "at check 2 of 24: the log key" in give(page, VECTORS / "good" / "all-erased.zip", policy=other)
    assert "Its log's key is the one that you gave" in give(page, policy=s.ENGINE.verifier.vkey)
    assert "at check 2 of 24" in give(page, policy=s.STRANGER.verifier.vkey)
    page.close()


def test_p11_with_a_policy_that_cannot_be_read_nothing_is_accepted(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path / "report.html", report_of(s.good(), GOOD))
    for policy in (
        "believe me",
        "# nobody",
        "quorum none",
        RIGHT.replace("quorum none\n", ""),
        RIGHT.replace("approvals 2", "approvals 0"),
        RIGHT.replace("approvals 2", "approvals 3"),
        RIGHT.replace("approvals 2", "approvals 2\napprovals 1"),
        RIGHT + next(line for line in RIGHT.splitlines() if line.startswith("approver")),
        RIGHT + "witness w x",
        RIGHT.replace("quorum none", "quorum all"),
        "log x+00000000+AAAA",
        RIGHT + "approvals 1",
    ):
        assert "? Not checked: the trust policy can't be read." == give(page, policy=policy)
        assert (page.locator("#self-policy-state").text_content() or "").startswith("Not a trust policy: ")
    page.close()


def test_a_bundle_is_dropped_anywhere_on_the_page(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path / "report.html", report_of(s.good(), GOOD))
    page.evaluate(
        """([data]) => {
          document.getElementById('self').dataset.state = 'none';
          const files = new DataTransfer();
          files.items.add(new File([readBase64(data, "it")], 'x.zip'));
          document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true}));
        }""",
        [base64.b64encode(BAD.read_bytes()).decode()],
    )
    page.locator("#self[data-state=refused]").wait_for(state="attached")
    assert "at check 16" in line_of(page)
    page.close()


def test_the_bundle_inside_can_be_saved(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path / "report.html", report_of(s.good(), GOOD))
    with page.expect_download() as saved:
        page.locator("#self-save").click()
    assert GOOD == saved.value.path().read_bytes()
    page.close()


# -- never accepted where it could not be checked --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("browser_lacks", "reason"),
    [
        (NO_ED25519, "can't check Ed25519"),
        (YES_TO_ALL, "can't check Ed25519"),
        (NO_WEB_CRYPTO, "gives this page no Web Crypto"),
    ],
)
def test_p11_what_a_browser_cannot_check_is_never_accepted(
    browser: Browser, tmp_path: Path, browser_lacks: str, reason: str
) -> None:
    page = opened(browser, tmp_path / "report.html", report_of(s.good(), GOOD), before=browser_lacks)
    assert line_of(page).startswith("? Not checked: ")
    assert reason in line_of(page)
    assert "✓" not in (page.locator("#self-checks").text_content() or "")
    page.close()


def test_p11_without_a_script_the_page_says_that_nothing_was_checked(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(report_of(s.good(), GOOD), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert "Not checked: this browser ran no script of this page." in page.locator("#self-line").inner_text()
    assert not page.locator("#self-tools").is_visible()
    context.close()


def test_p11_a_run_without_certificate_and_a_bundle_too_large_are_not_checked(browser: Browser, tmp_path: Path) -> None:
    large = GOOD + bytes(checking.BUNDLE_BYTES_MAX)
    pages = {
        "this run has no certificate yet": render(
            made.until_erased(), extras=dataclasses.replace(made.EXTRAS, bundle_bytes=GOOD)
        ),
        "(8 MiB) is too large": report_of(s.good(), large),
        "no bundle is inside this page": report_of(s.good(), None),
    }
    for said, text in pages.items():
        assert 'self-bundle">' not in text
        file = tmp_path / "report.html"
        file.write_text(text, encoding="utf-8")
        page = browser.new_page()
        page.goto(file.as_uri())
        assert line_of(page).startswith("Not checked: ")
        assert said in line_of(page)
        assert "Refused" in give(page, BAD)
        page.close()


def test_a_bundle_at_the_limit_is_inside_the_page() -> None:
    assert checking.self_check(bytes(checking.BUNDLE_BYTES_MAX), certified=True).bundle
    assert checking.self_check(bytes(checking.BUNDLE_BYTES_MAX + 1), certified=True).bundle is None


# -- the page's script is the only one -------------------------------------------------------------------------------


def test_only_the_pages_own_script_runs(browser: Browser, tmp_path: Path) -> None:
    text = report_of(s.good(), GOOD).replace(
        "<main>", "<main><script>window.evil = 1</script><img src=x onerror='window.evil = 2'>"
    )
    page = opened(browser, tmp_path / "report.html", text)
    assert page.evaluate("window.evil === undefined")
    page.close()


def test_what_a_bundle_names_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    bent = s.good().bent("cutover", lambda made_: dataclasses.replace(made_, subjects={evil: 1}))  # type: ignore[call-arg]
    bent = bent.bent("equality", lambda made_: dataclasses.replace(made_, slices=made_.slices[:1] * 2))  # type: ignore[attr-defined, call-arg]
    named = s.good().bent(
        "sweep",
        lambda made_: dataclasses.replace(made_, copies=(dataclasses.replace(made_.copies[0], id=evil),) * 2),  # type: ignore[attr-defined, call-arg]
    )
    file = tmp_path / "evil.zip"
    page = opened(browser, tmp_path / "report.html", report_of(s.good(), GOOD))
    for script in (bent, named):
        file.write_bytes(s.bundle_of(script))
        give(page, file)
    assert evil in line_of(page)
    assert 0 == page.locator("#self img").count() + page.locator("header img").count()
    page.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_check_fits(browser: Browser, tmp_path: Path, width: int) -> None:
    for bundle in (GOOD, BAD.read_bytes()):
        page = opened(browser, tmp_path / "report.html", report_of(s.good(), bundle), width=width)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.close()


def test_the_certificate_that_the_page_tells_of_is_that_of_the_bundle() -> None:
    played = s.good().play()
    assert isinstance(read_unverified(played["certificate"]), CertificatePredicate)
    assert json.dumps(played["certificate"].sha256) in report_of(s.good(), GOOD)


def test_the_second_checker_is_short_enough_to_be_read() -> None:
    """Half an hour for a stranger, as far as a count can say."""
    lines = checking.script().splitlines()
    assert max(map(len, lines)) <= 120
    assert len(lines) <= 1_147
