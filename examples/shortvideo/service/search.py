"""Search, and reports of what should not be there."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, StringConstraints

from shortvideo.service.videos import Row, cards, taste_of
from shortvideo.service.web import Author, Guest, HerePlaces, Me, answer, done, notice

router = APIRouter()
FOUND_MAX: Final = 30
Words = Annotated[str, Query(max_length=80)]


class Report(BaseModel):
    """What is wrong with what."""

    target_type: Literal["video", "comment", "user"]
    target_id: Annotated[int, Field(gt=0)]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
    details: Annotated[str, StringConstraints(max_length=2000)] = ""


@router.get("/search")
def search(request: Request, places: HerePlaces, person: Guest, tag: Words = "", q: Words = "") -> Response:
    """Find videos by tag, and people by the beginning of a name."""
    tag, q = tag.strip().lstrip("#").lower(), q.strip().lstrip("@")
    if q.startswith("#") and not tag:  # as it is written in the field of the page
        tag, q = q.lstrip("#").strip().lower(), ""
    videos: list[Row] = []
    people: list[Author] = []
    if tag:
        blocked = taste_of(places, person, profiled=False).blocked
        videos = places.commons.all(
            Row,
            "SELECT f.* FROM app.videos v JOIN app.feed f USING (id) WHERE v.tags @> ARRAY[%s] "
            "AND v.author_id <> ALL(%s) ORDER BY f.published_at DESC LIMIT %s",
            [tag, blocked, FOUND_MAX],
        )
    if q:
        beginning = q.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        people = places.commons.all(
            Author,
            "SELECT id, username::text AS username, display_name FROM app.users WHERE deleted_at IS NULL "
            "AND (lower(username::text) LIKE %(words)s OR lower(display_name) LIKE %(words)s) "
            "ORDER BY follower_count DESC, id LIMIT %(most)s",
            {"words": beginning, "most": FOUND_MAX},
        )
    data = {"tag": tag, "q": q, "videos": cards(places, person, videos), "people": people}
    return answer(request, "search.html", data)


@router.post("/reports")
def report(request: Request, places: HerePlaces, me: Me, said: Annotated[Report, Form()]) -> Response:
    """Report a video, a comment or a person; who reported what is private."""
    number = places.tickets.next("reports")
    places.home.run(
        "INSERT INTO app.reports (id, reporter_id, target_type, target_id, reason, details, reported_at) "
        "VALUES (%s, %s, %s, %s, %s, nullif(%s, ''), now())",
        [number, me.id, said.target_type, said.target_id, said.reason, said.details],
    )
    if "hx-request" in request.headers:
        return notice(request, "Thank you. We will look at it.")
    return done(request, {"id": number}, to="/", status=201)
