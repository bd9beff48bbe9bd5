"""Coming and going: signing up, logging in and out, deleting one's account."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final
from uuid import UUID, uuid4

import psycopg
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import AfterValidator, BaseModel, StringConstraints

from shortvideo.database import password_hash
from shortvideo.residence import SOURCE
from shortvideo.service.feed import now
from shortvideo.service.leaving import GONE, leave
from shortvideo.service.peers import NoAnswer
from shortvideo.service.places import Moving, Places
from shortvideo.service.store import Session
from shortvideo.service.web import (
    COOKIE,
    COUNTRY_COOKIE,
    SESSION_DAYS,
    Guest,
    HerePlaces,
    Me,
    Refused,
    address_of,
    answer,
    done,
    gone,
    session_of,
)

router = APIRouter()
AGE_MIN: Final = 13
TAKEN: Final = "This name or e-mail address is taken."


def _free(username: str) -> str:
    """Refuse names that nobody may have: of those who left, and of dots alone, which no address can hold."""
    if username.startswith(GONE) or not username.strip("."):
        raise ValueError("this name is kept")
    return username


class SignUp(BaseModel):
    """What a newcomer tells."""

    email: Annotated[
        str, StringConstraints(strip_whitespace=True, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=200)
    ]
    phone: Annotated[str, StringConstraints(strip_whitespace=True, max_length=40)] = ""
    password: Annotated[str, StringConstraints(min_length=8, max_length=200)]
    username: Annotated[
        str,
        StringConstraints(strip_whitespace=True, to_lower=True, pattern=r"^[a-zA-Z0-9_.]{2,30}$"),
        AfterValidator(_free),
    ]
    display_name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    birth_date: date


class LogIn(BaseModel):
    """Who it is, and that they are."""

    email: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
    password: Annotated[str, StringConstraints(max_length=200)]


class Visit(BaseModel):
    """From where somebody comes: the user agent and address that a session is kept with."""

    address: str | None
    agent: str | None


class Entered(BaseModel):
    """Somebody who is logged in now, and where."""

    id: int
    username: str
    location: str
    cookie: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    id: int
    username: str
    password_hash: str


@router.get("/signup")
def signup_page(request: Request, places: HerePlaces, person: Guest) -> Response:
    """Show the form."""
    if person is not None:
        return RedirectResponse("/", status_code=303)
    countries = places.commons.all(
        Country, "SELECT code::text AS code, name FROM app.countries WHERE code <> 'ZZ' ORDER BY name"
    )
    return answer(request, "signup.html", {"countries": countries})


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """A country to choose."""

    code: str
    name: str


@router.post("/signup")
def signup(request: Request, places: HerePlaces, newcomer: Annotated[SignUp, Form()]) -> Response:
    """Make an account, at the home of the newcomer's country from the first row on."""
    if _age(newcomer.birth_date, now().date()) < AGE_MIN:
        raise Refused(400, f"You have to be {AGE_MIN} years old.")
    home = home_of(places, newcomer.country)
    visit = Visit(address=address_of(request), agent=request.headers.get("user-agent"))
    entered = receive(places, newcomer, visit) if home == places.settings.location else _hand_on(
        places, home, newcomer, visit
    )  # fmt: skip
    data = {"id": entered.id, "username": entered.username, "location": entered.location}
    response = done(request, data, to="/", status=201)
    _set_cookies(response, entered, newcomer.country)
    return response


@router.get("/login")
def login_page(request: Request, person: Guest) -> Response:
    """Show the form."""
    if person is not None:
        return RedirectResponse("/", status_code=303)
    return answer(request, "login.html", {"failed": False})


@router.post("/login")
def login(request: Request, places: HerePlaces, who: Annotated[LogIn, Form()]) -> Response:
    """Log in here, or at the location that knows the person."""
    visit = Visit(address=address_of(request), agent=request.headers.get("user-agent"))
    entered = enter(places, who, visit) or _ask_peers(places, who, visit)
    if entered is None:
        raise Refused(403, "E-mail address and password don't belong together.")
    response = done(request, {"id": entered.id, "username": entered.username}, to="/")
    _set_cookies(response, entered, None)
    return response


@router.post("/logout")
def logout(request: Request, places: HerePlaces) -> Response:
    """End the session."""
    session = session_of(request.cookies.get(COOKIE))
    if session is not None:
        places.home.run("DELETE FROM app.sessions WHERE id = %s AND user_id = %s", [session[1], session[0]])
    response = gone(request, to="/login")
    response.delete_cookie(COOKIE)
    return response


@router.post("/account/delete")
def delete(request: Request, places: HerePlaces, me: Me, password: Annotated[str, Form(max_length=200)]) -> Response:
    """Delete the account."""
    kept = places.home.value("SELECT password_hash FROM app.users WHERE id = %s", [me.id])
    if not fits(password, kept):
        raise Refused(403, "This is not your password.")
    leave(places, me.id)
    response = gone(request, to="/login")
    response.delete_cookie(COOKIE)
    return response


def home_of(places: Places, country: str) -> str:
    """Return the location that receives newcomers of a country."""
    if not places.commons.value("SELECT true FROM app.countries WHERE code = %s AND code <> 'ZZ'", [country]):
        raise Refused(400, "We don't know this country.")
    found = places.commons.value("SELECT name FROM app.locations WHERE %s = ANY(countries)", [country])
    return str(found) if found in places.taking_newcomers() else SOURCE


def receive(places: Places, newcomer: SignUp, visit: Visit) -> Entered:
    """Make the account in this home: a bare public row in the commons, everything here."""
    number, session = places.tickets.next("users"), uuid4()
    kept = password_hash(newcomer.password, uuid4().bytes)
    try:
        with places.both() as (home, commons):
            if places.apart:
                commons.run(
                    "INSERT INTO app.users (id, username, display_name, country) VALUES (%s, %s, %s, 'ZZ')",
                    [number, newcomer.username, newcomer.display_name],
                )
                commons.run(
                    "INSERT INTO app.residences (user_id, location) VALUES (%s, %s)", [number, places.settings.location]
                )
            home.run(
                "INSERT INTO app.users (id, username, display_name, email, phone, birth_date, password_hash, country, "
                "signup_ip, last_seen) VALUES (%s, %s, %s, lower(%s), nullif(%s, ''), %s, %s, %s, %s, now())",
                [
                    number, newcomer.username, newcomer.display_name, newcomer.email, newcomer.phone,
                    newcomer.birth_date, kept, newcomer.country, visit.address,
                ],
            )  # fmt: skip
            _open(home, number, session, visit)
    except psycopg.errors.UniqueViolation:
        raise Refused(409, TAKEN) from None
    places.residences.forget(number)
    return Entered(
        id=number, username=newcomer.username, location=places.settings.location, cookie=f"{number}.{session}"
    )


def enter(places: Places, who: LogIn, visit: Visit) -> Entered | None:
    """Log in somebody who lives here; None for anybody else. Raise Moving where they are between two places.

    While people move, their accounts are here and there; only one of the two counts.
    """
    known = places.home.one(
        _Known,
        "SELECT id, username::text AS username, password_hash FROM app.users "
        "WHERE email = lower(%s) AND password_hash IS NOT NULL AND state = 'active'",
        [who.email],
    )
    if known is None or not fits(who.password, known.password_hash):
        return None
    residence = places.residences.locate(known.id)
    if residence.fenced:
        raise Moving
    if residence.location != places.settings.location:
        return None
    session = uuid4()
    with places.home.transaction() as home:
        _open(home, known.id, session, visit)
    return Entered(
        id=known.id, username=known.username, location=places.settings.location, cookie=f"{known.id}.{session}"
    )


def fits(password: str, kept: str | None) -> bool:
    """Whether the password is the one of which this is kept."""
    found = re.fullmatch(r"scrypt\$([0-9a-f]{32})\$[0-9a-f]{128}", kept or "")
    return found is not None and hmac.compare_digest(password_hash(password, bytes.fromhex(found[1])), kept or "")


def _open(home: Session, person: int, session: UUID, visit: Visit) -> None:
    home.run(
        "INSERT INTO app.sessions (id, user_id, ip, user_agent, valid) "
        "VALUES (%s, %s, coalesce(%s::inet, '0.0.0.0'), %s, tstzrange(now(), now() + %s * interval '1 day'))",
        [session, person, visit.address, visit.agent, SESSION_DAYS],
    )


def _hand_on(places: Places, home: str, newcomer: SignUp, visit: Visit) -> Entered:
    """Let the newcomer's own location make the account; nothing of it is kept here."""
    body = {"newcomer": newcomer.model_dump(mode="json"), "visit": visit.model_dump()}
    response = places.peers.post(home, "signup", body)
    if response.status_code == 409:
        raise Refused(409, TAKEN)
    if response.status_code == 400:
        raise Refused(400, "Please check what you wrote.")
    response.raise_for_status()
    return Entered.model_validate_json(response.content)


def _ask_peers(places: Places, who: LogIn, visit: Visit) -> Entered | None:
    """Ask the other locations; one that does not answer is passed over, unless no other knows the person."""
    silent = None
    for location in places.peers.names():
        try:
            response = places.peers.post(location, "login", {"who": who.model_dump(), "visit": visit.model_dump()})
        except NoAnswer as fault:
            silent = fault
            continue
        if response.status_code == 200:
            return Entered.model_validate_json(response.content)
    if silent is not None:
        raise silent
    return None


def _set_cookies(response: Response, entered: Entered, country: str | None) -> None:
    """Lax: other sites' forms come without it."""
    seconds = SESSION_DAYS * 86_400
    response.set_cookie(COOKIE, entered.cookie, max_age=seconds, httponly=True, samesite="lax")
    if country is not None:
        response.set_cookie(COUNTRY_COOKIE, country, max_age=seconds, httponly=True, samesite="lax")


def _age(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))
