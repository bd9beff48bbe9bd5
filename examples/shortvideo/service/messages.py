"""Messages between two people, and what a person is notified of: private on both sides, each at its home."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from pydantic import BaseModel, StringConstraints

from shortvideo.service import post
from shortvideo.service.feed import now
from shortvideo.service.jobs import Message
from shortvideo.service.people import Username, profile_of
from shortvideo.service.places import Places
from shortvideo.service.web import Author, HerePlaces, Me, Refused, answer, as_json, done, wants_json

router = APIRouter()
SHOWN_MAX = 200
TALKS_MAX = 100
NOTIFICATIONS_MAX = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One message."""

    id: int
    sender: str
    body: str
    sent_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A person one writes with, and the last message."""

    person: Author
    last: Line
    unread: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One notification."""

    id: int
    kind: str
    actor: Author | None
    video_id: int | None
    created_at: datetime
    read: bool


class Written(BaseModel):
    """A new message."""

    body: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    id: int
    other: int
    sender_id: int
    body: str
    sent_at: datetime
    unread: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    id: int
    kind: str
    actor_id: int | None
    video_id: int | None
    created_at: datetime
    read: bool


@router.get("/messages")
def talks(request: Request, places: HerePlaces, me: Me) -> Response:
    """Show with whom one writes."""
    rows = places.home.all(
        _Line,
        "SELECT * FROM (SELECT DISTINCT ON (other) id, other, sender_id, body, sent_at, "
        "recipient_id = %(me)s AND read_at IS NULL AS unread FROM ("
        "SELECT *, recipient_id AS other FROM app.direct_messages WHERE sender_id = %(me)s UNION ALL "
        "SELECT *, sender_id FROM app.direct_messages WHERE recipient_id = %(me)s AND sender_id <> recipient_id"
        ") AS mine ORDER BY other, sent_at DESC, id DESC) AS last ORDER BY sent_at DESC LIMIT %(most)s",
        {"me": me.id, "most": TALKS_MAX},
    )
    names = names_of(places, [row.other for row in rows])
    people = [
        Talk(
            person=names[row.other],
            last=_line(row, me.username if row.sender_id == me.id else names[row.other].username),
            unread=row.unread,
        )
        for row in rows
        if row.other in names
    ]
    return answer(request, "messages.html", {"people": people})


@router.get("/messages/{username}")
def talk(request: Request, places: HerePlaces, me: Me, username: Username) -> Response:
    """Show what was written with one person, who may have left since; it counts as read."""
    them = profile_of(places, username, or_gone=True)
    data = {**_talk(places, me.id, me.username, them.id, them.username), "them": them}
    return answer(request, "talk.html", data)


@router.post("/messages/{username}")
def write(
    request: Request, places: HerePlaces, me: Me, username: Username, written: Annotated[Written, Form()]
) -> Response:
    """Write to a person."""
    them = profile_of(places, username)
    at = now()
    message = Message(
        id=places.tickets.next("direct_messages"), sender_id=me.id, recipient_id=them.id, body=written.body, sent_at=at
    )
    news = post.news_of(places, recipient=them.id, actor=me.id, about="message")
    try:
        post.write(places, message, news)
    except post.Blocked:
        raise Refused(403, "This person doesn't take messages from you.") from None
    if "hx-request" in request.headers and not wants_json(request):
        data = {**_talk(places, me.id, me.username, them.id, them.username), "them": them}
        return answer(request, "lines_part.html", data)
    return done(request, {"id": message.id}, to=f"/messages/{them.username}", status=201)


@router.get("/notifications")
def notifications(request: Request, places: HerePlaces, me: Me) -> Response:
    """Show what happened."""
    rows = places.home.all(
        _News,
        "SELECT id, kind::text AS kind, actor_id, video_id, created_at, read_at IS NOT NULL AS read "
        "FROM app.notifications WHERE recipient_id = %s ORDER BY created_at DESC, id DESC LIMIT %s",
        [me.id, NOTIFICATIONS_MAX],
    )
    names = names_of(places, [row.actor_id for row in rows if row.actor_id is not None])
    shown = [
        News(
            id=row.id, kind=row.kind, actor=names.get(row.actor_id or 0), video_id=row.video_id,
            created_at=row.created_at, read=row.read,
        )
        for row in rows
    ]  # fmt: skip
    return answer(request, "notifications.html", {"notifications": shown})


@router.get("/unread")
def unread(places: HerePlaces, me: Me) -> Response:
    """Count what is new, for the numbers in the bar."""
    with places.home.session() as home:
        messages = home.value(
            "SELECT count(DISTINCT sender_id) FROM app.direct_messages WHERE recipient_id = %s AND read_at IS NULL "
            "AND sender_id <> recipient_id",
            [me.id],
        )
        news = home.value("SELECT count(*) FROM app.notifications WHERE recipient_id = %s AND read_at IS NULL", [me.id])
    return as_json({"messages": messages, "notifications": news})


@router.post("/notifications/read")
def read_all(request: Request, places: HerePlaces, me: Me) -> Response:
    """Mark all as read."""
    count = places.home.run(
        "UPDATE app.notifications SET read_at = now() WHERE recipient_id = %s AND read_at IS NULL", [me.id]
    )
    return done(request, {"read": count}, to="/notifications")


def names_of(places: Places, people: Iterable[int]) -> dict[int, Author]:
    """Return what everybody knows of these people; the commons know it best."""
    rows = places.commons.all(
        Author,
        "SELECT id, username::text AS username, display_name FROM app.users WHERE id = ANY(%s)",
        [sorted(set(people))],
    )
    return {row.id: row for row in rows}


def _talk(places: Places, me: int, my_name: str, them: int, their_name: str) -> dict[str, list[Line]]:
    rows = places.home.all(
        _Line,
        "SELECT id, %(them)s AS other, sender_id, body, sent_at, recipient_id = %(me)s AND read_at IS NULL AS unread "
        "FROM app.direct_messages WHERE (sender_id = %(me)s AND recipient_id = %(them)s) "
        "OR (sender_id = %(them)s AND recipient_id = %(me)s) ORDER BY sent_at DESC, id DESC LIMIT %(most)s",
        {"me": me, "them": them, "most": SHOWN_MAX},
    )
    unread = [row.id for row in rows if row.unread]
    if unread:
        with places.home.transaction() as home:
            if places.is_here(home, me):
                home.run("UPDATE app.direct_messages SET read_at = now() WHERE id = ANY(%s)", [unread])
    return {"messages": [_line(row, my_name if row.sender_id == me else their_name) for row in reversed(rows)]}


def _line(row: _Line, sender: str) -> Line:
    return Line(id=row.id, sender=sender, body=row.body, sent_at=row.sent_at)
