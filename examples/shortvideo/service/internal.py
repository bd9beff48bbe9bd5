"""What the other instances ask for: they show the token that all share; the router leads nobody here."""

from __future__ import annotations

import hmac

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel

from shortvideo.service import post
from shortvideo.service.accounts import Entered, LogIn, SignUp, Visit, enter, receive
from shortvideo.service.jobs import Delivery
from shortvideo.service.peers import TOKEN_HEADER
from shortvideo.service.web import HerePlaces, Refused


def trusted(request: Request) -> None:
    """Refuse who does not know the token."""
    shown = request.headers.get(TOKEN_HEADER, "")
    if not hmac.compare_digest(shown.encode(), request.app.state.places.settings.token.encode()):
        raise Refused(404, "There is no such page.")


router = APIRouter(prefix="/internal", dependencies=[Depends(trusted)])


class HandedOn(BaseModel):
    """A newcomer whose home is here."""

    newcomer: SignUp
    visit: Visit


class Asked(BaseModel):
    """Somebody who wants to log in, and whom another location does not know."""

    who: LogIn
    visit: Visit


@router.post("/deliver")
def deliver(places: HerePlaces, delivery: Delivery) -> Response:
    """Take a message or a notification; the same id twice is taken once."""
    post.receive(places, delivery)
    return Response(status_code=204)


@router.post("/signup")
def signup(places: HerePlaces, asked: HandedOn) -> Entered:
    """Make an account for somebody whose home is here."""
    return receive(places, asked.newcomer, asked.visit)


@router.post("/login")
def login(places: HerePlaces, asked: Asked) -> Entered:
    """Log in somebody who lives here."""
    entered = enter(places, asked.who, asked.visit)
    if entered is None:
        raise Refused(404, "There is nobody of this name.")
    return entered
