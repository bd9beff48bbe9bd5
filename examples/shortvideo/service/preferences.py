"""Settings, the language, and "my data": what is held about a person, and where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final, Literal, LiteralString

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response
from pydantic import BaseModel, StringConstraints

from shortvideo.service.accounts import home_of
from shortvideo.service.settings import SOURCE
from shortvideo.service.web import LANGUAGE_COOKIE, Guest, HerePlaces, Me, Refused, answer, done, language_of

router = APIRouter()
YEAR_SECONDS: Final = 365 * 86_400
PRIVATE_ROWS: Final[dict[str, LiteralString]] = {
    "account": "SELECT count(*) FROM app.users WHERE id = %s",
    "devices": "SELECT count(*) FROM app.devices WHERE user_id = %s",
    "sessions": "SELECT count(*) FROM app.sessions WHERE user_id = %s",
    "people you follow": "SELECT count(*) FROM app.follows WHERE follower_id = %s",
    "people you block": "SELECT count(*) FROM app.blocks WHERE blocker_id = %s",
    "likes": "SELECT count(*) FROM app.likes WHERE user_id = %s",
    "drafts": "SELECT count(*) FROM app.drafts WHERE author_id = %s",
    "videos watched": "SELECT count(*) FROM app.watch_events WHERE user_id = %s",
    "messages": "SELECT count(*) FROM app.direct_messages WHERE %s IN (sender_id, recipient_id)",
    "notifications": "SELECT count(*) FROM app.notifications WHERE recipient_id = %s",
    "reports": "SELECT count(*) FROM app.reports WHERE reporter_id = %s",
    "days of activity": "SELECT count(*) FROM app.daily_activity WHERE user_id = %s",
    "payout account": "SELECT count(*) FROM billing.payout_accounts WHERE user_id = %s",
    "payouts": "SELECT count(*) FROM billing.payouts WHERE user_id = %s",
    "changes of the account": "SELECT count(*) FROM app.audit_log WHERE account_id = %s",
}
PUBLIC_ROWS: Final[dict[str, LiteralString]] = {
    "profile": "SELECT count(*) FROM app.users WHERE id = %s",
    "published videos": "SELECT count(*) FROM app.videos WHERE author_id = %s AND deleted_at IS NULL",
    "comments": "SELECT count(*) FROM app.comments WHERE author_id = %s AND deleted_at IS NULL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What the settings page shows."""

    email: str | None
    phone: str | None
    country: str | None
    language: str
    ranking: str
    birth_date: date | None
    display_name: str
    bio: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Rows of one kind."""

    what: str
    rows: int
    location: str
    private: bool


class Changes(BaseModel):
    """What of the settings changes; what is not there stays."""

    display_name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)] | None = None
    bio: Annotated[str, StringConstraints(strip_whitespace=True, max_length=300)] | None = None
    language: Literal["en", "fr"] | None = None
    ranking: Literal["ranked", "latest"] | None = None
    country: Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")] | None = None


async def emptied(request: Request) -> bool:
    """Whether the form says that the bio shall be empty: for FastAPI an empty field of a form is none."""
    return (await request.form()).get("bio") == ""


@router.get("/settings")
def settings(request: Request, places: HerePlaces, me: Me) -> Response:
    """Show them."""
    # Who never chose a language sees the one that the page is in; saving must not change it.
    return answer(request, "settings.html", {**_settings(places, me.id), "language": language_of(request)})


@router.post("/settings")
def change(
    request: Request,
    places: HerePlaces,
    me: Me,
    changes: Annotated[Changes, Form()],
    bio_emptied: Annotated[bool, Depends(emptied)],
) -> Response:
    """Change them: the name and the bio where everybody sees them, the rest at home."""
    if changes.country is not None and home_of(places, changes.country) != places.settings.location:
        raise Refused(409, "Your data would have to move to another country first; write to us.")
    values = {"me": me.id, **changes.model_dump()}
    if bio_emptied:
        values["bio"] = ""
    public: LiteralString = (
        "UPDATE app.users SET display_name = coalesce(%(display_name)s, display_name), bio = coalesce(%(bio)s, bio) "
        "WHERE id = %(me)s"
    )
    with places.both() as (home, commons):
        home.run(public, values)
        if places.apart:
            commons.run(public, values)
        home.run(
            "UPDATE app.users SET country = coalesce(%(country)s, country), settings = settings || "
            "jsonb_strip_nulls(jsonb_build_object('language', %(language)s::text, 'ranking', %(ranking)s::text)) "
            "WHERE id = %(me)s",
            values,
        )
    response = done(request, _settings(places, me.id), to="/settings")
    if changes.language is not None:
        response.set_cookie(LANGUAGE_COOKIE, changes.language, max_age=YEAR_SECONDS, samesite="lax")
    return response


@router.post("/language")
def language(
    request: Request, places: HerePlaces, person: Guest, language: Annotated[Literal["en", "fr"], Form()]
) -> Response:
    """Choose a language; without an account only the browser knows it."""
    if person is not None:
        places.home.run(
            "UPDATE app.users SET settings = settings || jsonb_build_object('language', %s::text) WHERE id = %s",
            [language, person.id],
        )
    response = done(request, {"language": language}, to="/")
    response.set_cookie(LANGUAGE_COOKIE, language, max_age=YEAR_SECONDS, samesite="lax")
    return response


@router.get("/settings/data")
def my_data(request: Request, places: HerePlaces, me: Me) -> Response:
    """Show what is held about the person, table by table, and where it lies."""
    here = places.settings.location
    with places.home.session() as home:
        holdings = [
            Holding(what=what, rows=home.value(query, [me.id]), location=here, private=True)
            for what, query in PRIVATE_ROWS.items()
        ]
    with places.commons.session() as commons:
        holdings += [
            Holding(what=what, rows=commons.value(query, [me.id]), location=SOURCE, private=False)
            for what, query in PUBLIC_ROWS.items()
        ]
    return answer(request, "data.html", {"location": here, "holdings": holdings})


def _settings(places: HerePlaces, person: int) -> dict[str, object]:
    found = places.home.one(
        Preferences,
        "SELECT email, phone, country::text AS country, coalesce(settings ->> 'language', 'en') AS language, "
        "coalesce(settings ->> 'ranking', 'ranked') AS ranking, birth_date, display_name, coalesce(bio, '') AS bio "
        "FROM app.users WHERE id = %s",
        [person],
    )
    if found is None:
        raise Refused(401, "Please log in first.")
    return {name: getattr(found, name) for name in Preferences.__dataclass_fields__}
