"""The feed, one video, and what people do with a video: watch, like."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from shortvideo.service import post
from shortvideo.service.counting import at_once
from shortvideo.service.jobs import Count, enqueue
from shortvideo.service.places import Places
from shortvideo.service.store import Session
from shortvideo.service.videos import PAGE, RANKED_FROM, Row, cards, ranked, taste_of, video_row
from shortvideo.service.web import Guest, HerePlaces, Me, Person, Refused, answer, as_json, plain, wants_json

router = APIRouter()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(9999, 1, 1, tzinfo=UTC)


@router.get("/")
def feed(
    request: Request,
    places: HerePlaces,
    person: Guest,
    mode: Literal["ranked", "latest"] | None = None,
    before: Annotated[str, Query(max_length=60)] = "",
) -> Response:
    """Show some videos: ranked for the person, or simply the latest, for which nobody is profiled."""
    chosen = mode or (person.ranking if person else "latest")
    taste = taste_of(places, person, profiled=chosen == "ranked")
    at, number = _read_cursor(before)
    size = RANKED_FROM if chosen == "ranked" else PAGE
    rows = places.commons.all(
        Row,
        "SELECT * FROM app.feed WHERE (published_at, id) < (%s, %s) AND author_id <> ALL(%s) "
        "ORDER BY published_at DESC, id DESC LIMIT %s",
        [at, number, taste.blocked, size],
    )
    following = _cursor(rows[-1]) if len(rows) == size else None
    shown = ranked(rows, taste) if chosen == "ranked" else rows
    data = {"mode": chosen, "videos": cards(places, person, shown), "next": following}
    return answer(request, "feed_part.html" if before and "hx-request" in request.headers else "feed.html", data)


@router.get("/videos/{video}")
def one(request: Request, places: HerePlaces, person: Guest, video: int) -> Response:
    """Show one video."""
    (card,) = cards(places, person, [video_row(places, video)])
    if wants_json(request):
        return as_json(plain(card))
    return answer(request, "video.html", {"video": card})


class Watched(BaseModel):
    """How long, and how fast."""

    ms: Annotated[int, Field(ge=0, le=86_400_000)]
    speed: Annotated[float, Field(gt=0, le=16)] = 1.0


@router.post("/videos/{video}/watch")
def watch(places: HerePlaces, person: Guest, video: int, watched: Annotated[Watched, Form()]) -> Response:
    """Keep at home what was watched; the public count follows."""
    number = places.tickets.next("watch_events")
    row = video_row(places, video)
    with places.home.transaction() as home:
        places.host_video(home, row.id)
        home.run(
            "INSERT INTO app.watch_events (id, user_id, video_id, watched_at, speed, payload) "
            "VALUES (%s, %s, %s, now(), %s, jsonb_build_object('ms', %s::int, 'from', 'feed'))",
            [number, person.id if person else None, row.id, watched.speed, watched.ms],
        )
    places.seen.add(row.id)
    return Response(status_code=204)


@router.post("/videos/{video}/like")
def like(places: HerePlaces, me: Me, video: int) -> Response:
    """Like a video; twice is once."""
    row = video_row(places, video)
    news = post.news_of(places, recipient=row.author_id, actor=me.id, about="like", video=row.id)
    with places.home.transaction() as home:
        places.host_video(home, row.id)
        added = home.run(
            "INSERT INTO app.likes (user_id, video_id, liked_at) VALUES (%s, %s, now()) ON CONFLICT DO NOTHING",
            [me.id, row.id],
        )
        if added:
            post.notify(places, home, news)
        job = _count(places, home, me, row, by=1) if added else None
    return _liked(places, row, job, liked=True)


@router.delete("/videos/{video}/like")
def unlike(places: HerePlaces, me: Me, video: int) -> Response:
    """Take a like back."""
    row = video_row(places, video)
    with places.home.transaction() as home:
        taken = home.run("DELETE FROM app.likes WHERE user_id = %s AND video_id = %s", [me.id, row.id])
        job = _count(places, home, me, row, by=-1) if taken else None
    return _liked(places, row, job, liked=False)


def _count(places: Places, home: Session, me: Person, row: Row, *, by: int) -> tuple[int, Count] | None:
    """Count a like in the commons; where home is the same database, a trigger does it."""
    if not places.apart:
        return None
    job = Count(user_id=me.id, counter="likes", ids=[row.id], by=by)
    return enqueue(places, home, job), job


def _liked(places: Places, row: Row, job: tuple[int, Count] | None, *, liked: bool) -> Response:
    if job is not None:
        at_once(places, *job)
    likes = places.commons.value("SELECT like_count FROM app.videos WHERE id = %s", [row.id])
    return as_json({"liked": liked, "likes": likes})


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def _cursor(row: Row) -> str:
    """Write where a page ended: microseconds of its last video, and its id."""
    return f"{(row.published_at - EPOCH) // timedelta(microseconds=1)}-{row.id}"


def _read_cursor(text: str) -> tuple[datetime, int]:
    if not text:
        return END, 0
    try:
        micros, number = text.rsplit("-", 1)
        return EPOCH + timedelta(microseconds=int(micros)), int(number)
    except (ValueError, OverflowError):
        raise Refused(400, "This page of the feed does not exist.") from None
