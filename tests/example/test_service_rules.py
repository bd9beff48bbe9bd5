"""What the service decides without a server: order of the feed, answers, residences, passwords, words, colours."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from shortvideo.database import password_hash
from shortvideo.service.accounts import fits
from shortvideo.service.comments import Comment, threads
from shortvideo.service.feed import _cursor, _read_cursor
from shortvideo.service.guard import Guard
from shortvideo.service.i18n import FRENCH, ago
from shortvideo.service.preferences import PRIVATE_ROWS, PUBLIC_ROWS
from shortvideo.service.videos import PAGE, Row, Taste, ranked
from shortvideo.service.web import Refused, session_of

SERVICE = Path(__file__).resolve().parents[2] / "examples" / "shortvideo" / "service"
NOON = datetime(2020, 6, 1, 12, tzinfo=UTC)
NUMBERS = count(1)


def _row(*, author: int = 1, likes: int = 0, tags: tuple[str, ...] = ()) -> Row:
    return Row(
        id=next(NUMBERS), author_id=author, username="a", display_name="A", caption=None, tags=list(tags),
        object_key="k", thumb_key=None, likes=likes, comments=0, views=0, published_at=NOON,
    )  # fmt: skip


# ---------------------------------------------------------------- the feed


def test_whom_one_follows_comes_before_what_one_likes_and_that_before_the_rest() -> None:
    followed, liked, plain = _row(author=7), _row(tags=("cats",)), _row()
    taste = Taste(following=frozenset({7}), tags=frozenset({"cats"}))
    assert [followed, liked, plain] == ranked([plain, liked, followed], taste)


def test_without_a_taste_only_what_others_like_counts() -> None:
    followed, popular = _row(author=7), _row(likes=5)
    assert [popular, followed] == ranked([followed, popular], Taste())


def test_a_ranked_page_is_the_best_of_many() -> None:
    rows = [_row(likes=number) for number in range(40)]
    assert list(reversed(rows))[:PAGE] == ranked(rows, Taste())


def test_a_cursor_says_where_a_page_ended_to_the_microsecond() -> None:
    at = NOON + timedelta(microseconds=123_457)
    row = _row()
    there = Row(**{**{name: getattr(row, name) for name in Row.__dataclass_fields__}, "published_at": at})
    assert (at, row.id) == _read_cursor(_cursor(there))


@pytest.mark.parametrize("text", ["x", "1", "1-x", "-", "9" * 40 + "-1"])
def test_a_cursor_that_nobody_gave_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        _read_cursor(text)


# ---------------------------------------------------------------- comments


def _said(number: int, parent: int | None = None) -> Comment:
    return Comment(id=number, author=None, body="", parent_id=parent, written_at=NOON)


def test_answers_stand_under_what_they_answer_the_oldest_first() -> None:
    newest_first = [_said(5), _said(4, 1), _said(3, 1), _said(1)]
    assert [(5, []), (1, [3, 4])] == [(said.id, [a.id for a in answers]) for said, answers in threads(newest_first)]


def test_an_answer_to_nothing_stands_for_itself() -> None:
    assert [(9, [])] == [(said.id, answers) for said, answers in threads([_said(9, 2)])]


# ---------------------------------------------------------------- who and where


def test_a_cookie_is_a_person_and_a_session_or_nothing() -> None:
    session = "00000000-0000-0000-0000-000000000001"
    assert session_of(f"12.{session}") is not None
    for cookie in (None, "", "12", "12.", f".{session}", f"x.{session}", f"12.{session}x"):
        assert session_of(cookie) is None


def test_a_password_fits_itself_only() -> None:
    kept = password_hash("right", b"s" * 16)
    assert fits("right", kept)
    for password, other in (("wrong", kept), ("right", None), ("right", ""), ("", "scrypt$ab$cd")):
        assert not fits(password, other)


# ---------------------------------------------------------------- forms of other sites, and the log


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[ASGIApp]:
    def fine(_: Request) -> PlainTextResponse:
        return PlainTextResponse("fine")

    app = Starlette(routes=[Route("/", fine, methods=["GET", "POST"])])
    yield Guard(app, log=tmp_path / "logs" / "xx.log")
    for handler in logging.getLogger("shortvideo.requests.xx").handlers:
        handler.close()


def _status(app: ASGIApp, method: str, path: str = "/", **headers: str) -> int:
    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return (await client.request(method, path, headers=named)).status_code

    return asyncio.run(ask())


def test_a_form_of_ones_own_is_taken(guarded: ASGIApp) -> None:
    assert 200 == _status(guarded, "POST", origin="http://here")
    assert 200 == _status(guarded, "POST")


@pytest.mark.parametrize("origin", ["http://evil.example", "http://here.evil.example", "null"])
def test_a_form_of_another_site_is_refused(guarded: ASGIApp, origin: str) -> None:
    assert 403 == _status(guarded, "POST", origin=origin)
    assert 200 == _status(guarded, "GET", origin=origin)


def test_every_request_is_a_line_of_json(guarded: ASGIApp, tmp_path: Path) -> None:
    _status(guarded, "GET", "/?secret=1", x_forwarded_for="198.51.100.7")
    line = json.loads((tmp_path / "logs" / "xx.log").read_text(encoding="utf-8"))
    assert ("198.51.100.7", None, "GET", "/", 200) == tuple(
        line[name] for name in ("address", "user", "method", "path", "status")
    )


# ---------------------------------------------------------------- words and colours


def _english() -> set[str]:
    """Every text that a page may show: of the templates, of refusals, of the table of holdings."""
    templates = "".join(path.read_text(encoding="utf-8") for path in (SERVICE / "templates").glob("*.html"))
    code = "".join(path.read_text(encoding="utf-8") for path in SERVICE.glob("*.py"))
    words = set(re.findall(r'\b_\("([^"]+)"\)', templates))
    words |= set(re.findall(r'(?:Refused\(\d+, |notice\(request, |refusal\(request, \d+, )"([^"]+)"', code))
    return words | set(PRIVATE_ROWS) | set(PUBLIC_ROWS)


def test_there_is_french_for_every_text() -> None:
    words = _english()
    assert 150 < len(words)
    assert set() == words - set(FRENCH)


@pytest.mark.parametrize(
    ("age", "english", "french"),
    [(timedelta(0), "now", "à l’instant"), (timedelta(minutes=5), "5 min", "5 min"), (timedelta(days=3), "3 d", "3 j")],
)
def test_a_time_is_told_shortly(age: timedelta, english: str, french: str) -> None:
    at = datetime.now(UTC) - age
    assert (english, french) == (ago(at, "en"), ago(at, "fr"))


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("text", "ground", "ratio"),
    [
        ("text", "ground", 4.5), ("text", "surface", 4.5), ("text", "raised", 4.5), ("muted", "ground", 4.5),
        ("muted", "surface", 4.5), ("muted", "raised", 4.5), ("on-accent", "accent", 4.5), ("accent", "ground", 3),
        ("focus", "ground", 3), ("focus", "surface", 3),
    ],
)  # fmt: skip
def test_colours_are_told_apart(text: str, ground: str, ratio: float) -> None:
    sheet = (SERVICE / "static" / "style.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", sheet))
    light, dark = sorted((_luminance(colours[text]), _luminance(colours[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= ratio
