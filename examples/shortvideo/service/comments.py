"""Comments under videos and on profiles: said in public, so kept in the commons; from where they came, at home."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, LiteralString

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from pydantic import BaseModel, StringConstraints

from shortvideo.service import post
from shortvideo.service.counting import at_once
from shortvideo.service.jobs import Count, enqueue
from shortvideo.service.people import Username, profile_of
from shortvideo.service.places import Places
from shortvideo.service.videos import video_row
from shortvideo.service.web import (
    Author,
    Guest,
    HerePlaces,
    Me,
    Person,
    Refused,
    address_of,
    answer,
    as_json,
    done,
    gone,
    wants_json,
)

router = APIRouter()
SHOWN_MAX: Final = 200
INSERT: Final[LiteralString] = (
    "INSERT INTO app.comments (id, target_type, target_id, author_id, parent_id, body, client_ip, written_at) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, now())"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is commented: a video, or a person's profile."""

    kind: Literal["video", "user"]
    id: int
    owner: int
    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """One comment; who left the service said it without a name."""

    id: int
    author: Author | None
    body: str
    parent_id: int | None
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    id: int
    author_id: int | None
    username: str | None
    display_name: str | None
    body: str
    parent_id: int | None
    written_at: datetime


class Said(BaseModel):
    """A new comment."""

    body: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    parent_id: int | None = None


@router.get("/videos/{video}/comments")
def under_video(request: Request, places: HerePlaces, person: Guest, video: int) -> Response:
    """Show the comments of a video."""
    return _show(request, places, person, _video(places, video))


@router.post("/videos/{video}/comments")
def say_under_video(
    request: Request, places: HerePlaces, me: Me, video: int, said: Annotated[Said, Form()]
) -> Response:
    """Comment a video."""
    return _say(request, places, me, _video(places, video), said)


@router.get("/people/{username}/comments")
def on_profile(request: Request, places: HerePlaces, person: Guest, username: Username) -> Response:
    """Show the comments on a profile."""
    return _show(request, places, person, _profile(places, username))


@router.post("/people/{username}/comments")
def say_on_profile(
    request: Request, places: HerePlaces, me: Me, username: Username, said: Annotated[Said, Form()]
) -> Response:
    """Comment a profile."""
    return _say(request, places, me, _profile(places, username), said)


@router.delete("/comments/{comment}")
def unsay(request: Request, places: HerePlaces, me: Me, comment: int) -> Response:
    """Take a comment of one's own back; answers to it stay."""
    with places.both() as (home, commons):
        found = commons.one(
            _Where,
            "UPDATE app.comments SET deleted_at = now() WHERE id = %s AND author_id = %s AND deleted_at IS NULL "
            "RETURNING target_type, target_id",
            [comment, me.id],
        )
        if found is None:
            raise Refused(404, "You wrote no such comment.")
        if places.apart:
            home.run("UPDATE app.comments SET deleted_at = now() WHERE id = %s", [comment])
        if found.target_type == "video":
            enqueue(places, home, Count(user_id=me.id, counter="comments", ids=[found.target_id], by=-1))
    if "hx-request" in request.headers and not wants_json(request):
        return Response(status_code=200)
    return gone(request, to=f"/videos/{found.target_id}" if found.target_type == "video" else "/")


@dataclass(frozen=True, slots=True)
class _Where:
    target_type: str
    target_id: int


def _video(places: Places, video: int) -> Target:
    row = video_row(places, video)
    return Target(kind="video", id=row.id, owner=row.author_id, page=f"/videos/{row.id}")


def _profile(places: Places, username: str) -> Target:
    found = profile_of(places, username)
    return Target(kind="user", id=found.id, owner=found.id, page=f"/people/{found.username}")


def _show(request: Request, places: Places, person: Person | None, target: Target) -> Response:
    blocked: list[int] = []
    if person is not None:
        blocked = places.home.column("SELECT blocked_id FROM app.blocks WHERE blocker_id = %s", [person.id])
    rows = places.commons.all(
        _Row,
        "SELECT id, author_id, username::text AS username, display_name, body, parent_id, written_at "
        "FROM app.public_comments WHERE target_type = %s AND target_id = %s "
        "AND (author_id IS NULL OR author_id <> ALL(%s)) ORDER BY written_at DESC, id DESC LIMIT %s",
        [target.kind, target.id, blocked, SHOWN_MAX],
    )
    said = [_comment(row) for row in rows]
    if wants_json(request):
        return as_json({"comments": said})
    return answer(request, "comments.html", {"threads": threads(said), "page": target.page})


def threads(said: list[Comment]) -> list[tuple[Comment, list[Comment]]]:
    """Put answers, the oldest first, under what they answer; one whose comment is gone stands for itself."""
    first = {comment.id: comment for comment in said if comment.parent_id is None}
    answers: dict[int, list[Comment]] = {}
    for comment in reversed(said):
        if comment.parent_id in first:
            answers.setdefault(comment.parent_id, []).append(comment)
    return [
        (comment, answers.get(comment.id, [])) for comment in said if comment.parent_id not in first
    ]  # fmt: skip


def _comment(row: _Row) -> Comment:
    author = None
    if row.author_id is not None:
        author = Author(id=row.author_id, username=row.username or "", display_name=row.display_name or "")
    return Comment(
        id=row.id, author=author, body=row.body, parent_id=row.parent_id, written_at=row.written_at
    )  # fmt: skip


def _say(request: Request, places: Places, me: Person, target: Target, said: Said) -> Response:
    number = places.tickets.next("comments")
    news = post.news_of(
        places, recipient=target.owner, actor=me.id, about="comment",
        video=target.id if target.kind == "video" else None,
    )  # fmt: skip
    parent = _parent(places, target, said.parent_id)
    row = [number, target.kind, target.id, me.id, parent, said.body]
    with places.both() as (home, commons):
        if places.apart:
            commons.run(INSERT, [*row, None])
            places.host_comment(home, parent)
        home.run(INSERT, [*row, address_of(request)])
        job = Count(user_id=me.id, counter="comments", ids=[target.id], by=1) if target.kind == "video" else None
        counting = enqueue(places, home, job) if job else 0
        post.notify(places, home, news)
    if job:
        at_once(places, counting, job)
    if "hx-request" in request.headers and not wants_json(request):
        return _show(request, places, me, target)
    return done(request, {"id": number}, to=target.page, status=201)


def _parent(places: Places, target: Target, parent: int | None) -> int | None:
    """Return the comment to hang the answer under: answers to answers stand under the first."""
    if parent is None:
        return None
    found = places.commons.value(
        "SELECT coalesce(parent_id, id) FROM app.comments WHERE id = %s AND target_type = %s AND target_id = %s",
        [parent, target.kind, target.id],
    )
    if found is None:
        raise Refused(404, "The comment that you answer is not there.")
    return int(found)
