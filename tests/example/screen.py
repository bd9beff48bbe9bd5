"""Somebody at a screen while they are taken home: what a real browser shows before, meanwhile and after.

The browser has a thread of its own: the engine's journal belongs to the thread that moves people.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import TimeoutError as NotShown

from tests.conftest import CHROMIUM, QUIET

WAIT_S_MAX = 60
WAIT_MS = 20_000
AGAIN_MS = 8_000
TRIES_MAX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the pages show: drafts, the person's own lines of one talk, how much is kept where, a like, and the feed."""

    drafts: tuple[str, ...]
    lines: tuple[str, ...]
    kept: dict[str, tuple[str, str]]
    liked: bool
    clips: int
    location: str


@dataclass(slots=True, kw_only=True)
class Screen:
    """`said` are the lines that the page showed as sent while the person was taken home."""

    url: str
    cookie: str
    partner: str
    video: int
    before: Sight | None = None
    after: Sight | None = None
    said: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _ready: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the person write lines for as long as the block runs."""
        thread = threading.Thread(target=self._run, name="screen", daemon=True)
        thread.start()
        try:
            assert self._ready.wait(WAIT_S_MAX), self.faults
            yield
        finally:
            self._over.set()
            thread.join(WAIT_S_MAX)
        assert not thread.is_alive()

    def _run(self) -> None:
        try:
            with sync_playwright() as playwright:
                chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
                context = chromium.new_context(viewport={"width": 420, "height": 860}, locale="en-US")
                context.add_cookies([{"name": "sv", "value": self.cookie, "url": self.url}])
                page = context.new_page()
                page.set_default_timeout(WAIT_MS)
                page.on("pageerror", lambda error: self.faults.append(str(error)))
                self.before = self._look(page)
                self._talk(page)
                self.after = self._look(page)
                chromium.close()
        except Exception as fault:  # noqa: BLE001 - told by the test
            self.faults.append(f"{type(fault).__name__}: {fault}")
            self._ready.set()

    def _talk(self, page: Page) -> None:
        """Write one line after the other, each when the page has shown the one before."""
        page.goto(f"{self.url}/messages/{self.partner}")
        while not self._over.is_set() or not self.said:
            words = f"line {len(self.said) + 1}"
            page.locator("#body").fill(words)
            self._send(page, words)
            self.said.append(words)
            self._ready.set()

    def _send(self, page: Page, words: str) -> None:
        """Press Enter until the line is shown: who is asked to come again finds their words still in the field."""
        for _ in range(TRIES_MAX):
            page.locator("#body").press("Enter")
            try:
                page.locator("#lines .mine", has_text=words).first.wait_for(timeout=AGAIN_MS)
            except NotShown:
                if page.locator("#body").input_value() != words:
                    raise
            else:
                return
        raise AssertionError(f"{words} was refused {TRIES_MAX} times")

    def _look(self, page: Page) -> Sight:
        page.goto(f"{self.url}/drafts")
        drafts = tuple(page.locator(".card p:not(.muted)").all_inner_texts())
        page.goto(f"{self.url}/messages/{self.partner}")
        lines = tuple(page.locator("#lines .mine p").all_inner_texts())
        page.goto(f"{self.url}/settings/data")
        rows = [row.locator("td").all_inner_texts() for row in page.locator("tbody tr").all()]
        location = page.locator(".home strong").inner_text()
        page.goto(f"{self.url}/videos/{self.video}")
        liked = page.locator("[data-act=like]").first.get_attribute("aria-pressed") == "true"
        page.goto(f"{self.url}/?mode=latest")
        page.wait_for_function("() => document.querySelector('.clip video').readyState > 1")
        return Sight(
            drafts=drafts, lines=lines, kept={what: (count, where) for what, count, where in rows}, liked=liked,
            clips=page.locator(".clip[data-video]").count(), location=location,
        )  # fmt: skip
