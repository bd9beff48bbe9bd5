"""What every page needs: who asks, in which language, and the answer as a page, a fragment or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shortvideo.service.i18n import LANGUAGES, ago, translator
from shortvideo.service.places import Moving, Places

HERE: Final = Path(__file__).resolve().parent
COOKIE: Final = "sv"
LANGUAGE_COOKIE: Final = "sv_language"
COUNTRY_COOKIE: Final = "sv_country"
SESSION_DAYS: Final = 30


class Refused(Exception):
    """The request can't be answered as asked: a status from 400 to 499, and a sentence for people."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who is logged in."""

    id: int
    username: str
    display_name: str
    language: str | None
    ranking: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """What everybody may know of a person, as it stands beside videos and comments."""

    id: int
    username: str
    display_name: str


async def places_of(request: Request) -> Places:
    """Return the instance's databases and buckets. Async, as all that doesn't wait: it takes no thread."""
    places: Places = request.app.state.places
    return places


def session_of(cookie: str | None) -> tuple[int, UUID] | None:
    """Read a cookie `<user id>.<session>`; None when it is nothing of the kind."""
    person, _, session = (cookie or "").partition(".")
    try:
        return int(person), UUID(session)
    except ValueError:
        return None


def guest(request: Request, places: Annotated[Places, Depends(places_of)]) -> Person | None:
    """Return who asks, by the cookie; only home knows sessions. Raise Moving where it may know them in a moment."""
    session = session_of(request.cookies.get(COOKIE))
    if session is None:
        return None
    person = places.home.one(
        Person,
        "SELECT u.id, u.username::text AS username, u.display_name, u.settings ->> 'language' AS language, "
        "coalesce(u.settings ->> 'ranking', 'ranked') AS ranking "
        "FROM app.sessions s JOIN app.users u ON u.id = s.user_id "
        "WHERE s.id = %s AND u.id = %s AND s.valid @> now() AND u.state = 'active'",
        [session[1], session[0]],
    )
    if person is None and places.residences.is_fenced(session[0]):
        raise Moving
    request.state.person = person
    return person


async def somebody(person: Annotated[Person | None, Depends(guest)]) -> Person:
    """Return who asks, or refuse."""
    if person is None:
        raise Refused(401, "Please log in first.")
    return person


HerePlaces = Annotated[Places, Depends(places_of)]
Guest = Annotated[Person | None, Depends(guest)]
Me = Annotated[Person, Depends(somebody)]


def wants_json(request: Request) -> bool:
    """Whether a program asks."""
    return "application/json" in request.headers.get("accept", "")


def address_of(request: Request) -> str | None:
    """Return from where the request came; the router says it, and overwrites what others claim."""
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
    return forwarded or (request.client.host if request.client else None)


def language_of(request: Request) -> str:
    """Return the language: the person's own, the cookie's, the browser's, else English."""
    person: Person | None = getattr(request.state, "person", None)
    wished = [person.language if person else None, request.cookies.get(LANGUAGE_COOKIE)]
    wished += [part.split(";")[0].strip()[:2] for part in request.headers.get("accept-language", "").split(",")]
    return next((language for language in wished if language in LANGUAGES), LANGUAGES[0])


def answer(request: Request, template: str, data: Mapping[str, Any], *, status: int = 200) -> Response:
    """Answer with `data`: as JSON, or shown by the template (without the frame, where htmx asks for a part)."""
    if wants_json(request):
        return as_json(data, status=status)
    return HTMLResponse(render(request, template, data), status_code=status, headers={"vary": "accept, hx-request"})


def done(request: Request, data: Mapping[str, Any], *, to: str, status: int = 200) -> Response:
    """Answer a form: JSON for programs, for people the page where they go on."""
    if wants_json(request):
        return as_json(data, status=status)
    if "hx-request" in request.headers:
        return Response(status_code=200, headers={"hx-redirect": to})
    return RedirectResponse(to, status_code=303)


def notice(request: Request, sentence: str) -> Response:
    """Say something in passing: a line over the page, which stays as it is."""
    said = json.dumps({"notice": translator(language_of(request))(sentence)})
    return Response(status_code=204, headers={"hx-trigger": said})


def gone(request: Request, *, to: str) -> Response:
    """Answer after something was taken away: 204 for programs."""
    if wants_json(request):
        return Response(status_code=204)
    return done(request, {}, to=to)


def as_json(data: Mapping[str, Any], *, status: int = 200) -> Response:
    """Write values as JSON: times in ISO 8601, dataclasses as objects."""
    return Response(json.dumps(data, default=plain, ensure_ascii=False), status, media_type="application/json")


def render(request: Request, template: str, data: Mapping[str, Any]) -> str:
    """Return the page or fragment."""
    language = language_of(request)
    around = {
        "_": translator(language),
        "language": language,
        "me": getattr(request.state, "person", None),
        "frame": "part.html" if "hx-request" in request.headers else "frame.html",
        "path": request.url.path,
    }
    return TEMPLATES.get_template(template).render({**around, **data})


def refusal(request: Request, status: int, sentence: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Say no: {"error": …} for programs, a page for people; who isn't logged in is led there."""
    if wants_json(request):
        return JSONResponse({"error": sentence}, status, headers=dict(headers or {}))
    if status == 401:
        if "hx-request" in request.headers:
            return Response(status_code=200, headers={"hx-redirect": "/login"})
        return RedirectResponse("/login", status_code=303)
    if "hx-request" in request.headers:
        return HTMLResponse(render(request, "notice.html", {"sentence": sentence}), status, headers=dict(headers or {}))
    page = render(request, "refusal.html", {"status": status, "sentence": sentence})
    return HTMLResponse(page, status, headers=dict(headers or {}))


def plain(value: object) -> Any:  # noqa: ANN401 - json's hook
    """Return what stands in JSON for a value that JSON does not know."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _short(number: int) -> str:
    """Write 12345 as 12.3k."""
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + sign
    return str(number)


TEMPLATES: Final = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
TEMPLATES.filters["short"] = _short
TEMPLATES.filters["ago"] = ago
