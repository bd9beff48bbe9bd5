"""Five minutes in a browser, for a person of each location: headless Chromium on the pages that people get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from shortvideo.stack import Stack
from tests.example.contract.visitor import COUNTRIES, Visitor, newcomer

HOMES = {"sg": "Singapore", "us": "United States", "au": "Australia"}
WAIT_MS = 15_000
expect.set_options(timeout=WAIT_MS)


@pytest.fixture
def faults() -> list[str]:
    """What the browser complained of."""
    return []


@pytest.fixture
def page(browser: Browser, faults: list[str]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 420, "height": 860}, locale="en-US")
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("response", lambda got: faults.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    yield page
    context.close()


def come(page: Page, stack: Stack, country: str) -> str:
    """Sign up as people do; return the username."""
    form = newcomer(country)
    page.goto(f"{stack.url}/signup")
    page.get_by_label("Country").select_option(country)
    for label, name in (
        ("Your name", "display_name"), ("User name", "username"), ("E-mail address", "email"),
        ("Date of birth", "birth_date"), ("Password", "password"),
    ):  # fmt: skip
        page.get_by_label(label, exact=True).fill(form[name])
    page.get_by_role("button", name="Sign up").click()
    page.wait_for_url(f"{stack.url}/")
    return form["username"]


def test_somebody_comes_watches_likes_and_says_something(
    stack: Stack, page: Page, location: str, faults: list[str]
) -> None:
    name = come(page, stack, COUNTRIES[location])
    first = page.locator(".clip[data-video]").first
    page.wait_for_function("() => document.querySelector('.clip video').currentTime > 0.2")
    like = first.get_by_role("button", name="Like", exact=True)
    expect(like).to_have_attribute("aria-pressed", "false")
    with page.expect_response(lambda got: got.url.endswith("/like")) as liked:
        page.keyboard.press("l")
    assert 200 == liked.value.status
    expect(like).to_have_attribute("aria-pressed", "true")
    first.get_by_role("button", name="Comments").click()
    words = f"Ünï <b>from a browser</b> {name}"
    page.get_by_label("Write a comment").fill(words)
    page.get_by_label("Write a comment").press("Enter")
    expect(page.locator(".comment", has_text=words)).to_have_count(1)
    page.keyboard.press("Escape")
    with page.expect_response(lambda got: got.url.endswith("/watch")) as watched:
        page.keyboard.press("ArrowDown")
    assert 204 == watched.value.status
    page.goto(f"{stack.url}/settings/data")
    expect(page.locator(".home strong")).to_have_text(HOMES[location])
    assert [] == faults


def test_a_message_is_written_and_read(stack: Stack, page: Page, me: Visitor, them: Visitor, faults: list[str]) -> None:
    enter(page, stack, me)
    page.goto(f"{stack.url}/people/{them.username}")
    page.get_by_role("link", name="Message", exact=True).click()
    page.get_by_label("Write a message").fill("Hello from a browser")
    page.get_by_label("Write a message").press("Enter")
    expect(page.locator("#lines .mine")).to_contain_text(["Hello from a browser"])
    them.tell(f"/messages/{me.username}", body="Hello back")
    expect(page.locator("#lines .theirs p")).to_have_text(["Hello back"])  # comes by itself
    assert [] == faults


def test_a_video_is_uploaded_and_plays(
    stack: Stack, page: Page, me: Visitor, clip: bytes, tmp_path: Path, faults: list[str]
) -> None:
    enter(page, stack, me)
    file = tmp_path / "holiday.mp4"
    file.write_bytes(clip)
    page.goto(f"{stack.url}/upload")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_label("Caption").fill("Uploaded in a browser")
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(f"{stack.url}/people/{me.username}")
    page.get_by_role("link", name="Uploaded in a browser").click()
    page.wait_for_function("() => document.querySelector('.clip video')?.currentTime > 0.2")
    assert [] == faults


def test_the_language_is_a_persons_own(stack: Stack, page: Page, me: Visitor, faults: list[str]) -> None:
    enter(page, stack, me)
    page.goto(f"{stack.url}/settings")
    page.get_by_label("Language").select_option("fr")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    page.goto(f"{stack.url}/messages")
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    assert [] == faults


def test_out_by_the_button(stack: Stack, page: Page, me: Visitor, faults: list[str]) -> None:
    enter(page, stack, me)
    page.goto(f"{stack.url}/settings")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{stack.url}/login")
    page.goto(f"{stack.url}/settings")
    assert page.url == f"{stack.url}/login"
    assert [] == faults


def enter(page: Page, stack: Stack, who: Visitor) -> None:
    """Log in as people do."""
    page.goto(f"{stack.url}/login")
    page.get_by_label("E-mail address").fill(who.email)
    page.get_by_label("Password").fill(who.password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{stack.url}/")
