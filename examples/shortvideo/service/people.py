"""Profiles, and what people do with one another: follow, block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from shortvideo.service import post
from shortvideo.service.counting import at_once
from shortvideo.service.jobs import Count, enqueue
from shortvideo.service.places import Places
from shortvideo.service.store import Session
from shortvideo.service.videos import Row, cards
from shortvideo.service.web import Guest, HerePlaces, Me, Refused, answer, as_json, done

router = APIRouter(prefix="/people")
PROFILE_VIDEOS_MAX = 30
Username = Annotated[str, Path(max_length=40)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What everybody sees of a person."""

    id: int
    username: str
    display_name: str
    bio: str | None
    followers: int


def profile_of(places: Places, username: str, *, or_gone: bool = False) -> Profile:
    """Return a person by name, also one who has left where that is asked for; or refuse."""
    found = places.commons.one(
        Profile,
        "SELECT id, username::text AS username, display_name, bio, follower_count AS followers "
        "FROM app.users WHERE lower(username::text) = lower(%s) AND (deleted_at IS NULL OR %s)",
        [username, or_gone],
    )
    if found is None:
        raise Refused(404, "There is nobody of this name.")
    return found


@router.get("/{username}")
def profile(request: Request, places: HerePlaces, person: Guest, username: Username) -> Response:
    """Show a person and their videos."""
    found = profile_of(places, username)
    rows = places.commons.all(
        Row,
        "SELECT * FROM app.feed WHERE author_id = %s ORDER BY published_at DESC LIMIT %s",
        [found.id, PROFILE_VIDEOS_MAX],
    )
    following = blocked = False
    if person is not None:
        ties = places.home.column(
            "SELECT 'follows' FROM app.follows WHERE follower_id = %(me)s AND followee_id = %(them)s "
            "UNION ALL SELECT 'blocks' FROM app.blocks WHERE blocker_id = %(me)s AND blocked_id = %(them)s",
            {"me": person.id, "them": found.id},
        )
        following, blocked = "follows" in ties, "blocks" in ties
    data = {
        "id": found.id,
        "username": found.username,
        "display_name": found.display_name,
        "bio": found.bio or "",
        "followers": found.followers,
        "following": following,
        "blocked": blocked,
        "videos": cards(places, person, rows),
    }
    return answer(request, "profile.html", data)


@router.post("/{username}/follow")
def follow(request: Request, places: HerePlaces, me: Me, username: Username) -> Response:
    """Follow a person; twice is once."""
    them = profile_of(places, username)
    if them.id == me.id:
        raise Refused(400, "Nobody can follow themselves.")
    news = post.news_of(places, recipient=them.id, actor=me.id, about="follow")
    with places.home.transaction() as home:
        places.host(home, [them.id])
        added = home.run(
            "INSERT INTO app.follows (follower_id, followee_id, followed_at) VALUES (%s, %s, now()) "
            "ON CONFLICT DO NOTHING",
            [me.id, them.id],
        )
        if added:
            post.notify(places, home, news)
        job = Count(user_id=me.id, counter="followers", ids=[them.id], by=1) if added else None
        number = enqueue(places, home, job) if job else 0
    if job:
        at_once(places, number, job)
    return _followed(request, places, them, following=True)


@router.delete("/{username}/follow")
def unfollow(request: Request, places: HerePlaces, me: Me, username: Username) -> Response:
    """Follow no longer."""
    them = profile_of(places, username)
    with places.home.transaction() as home:
        job = _unfollow(places, home, me.id, them.id)
    if job:
        at_once(places, *job)
    return _followed(request, places, them, following=False)


@router.post("/{username}/block")
def block(request: Request, places: HerePlaces, me: Me, username: Username) -> Response:
    """See and hear nothing of a person any more."""
    them = profile_of(places, username)
    if them.id == me.id:
        raise Refused(400, "Nobody can block themselves.")
    with places.home.transaction() as home:
        places.host(home, [them.id])
        home.run("INSERT INTO app.blocks VALUES (%s, %s, now()) ON CONFLICT DO NOTHING", [me.id, them.id])
        _unfollow(places, home, me.id, them.id)
    return done(request, {"blocked": True}, to=f"/people/{them.username}")


@router.delete("/{username}/block")
def unblock(request: Request, places: HerePlaces, me: Me, username: Username) -> Response:
    """Lift a block."""
    them = profile_of(places, username)
    places.home.run("DELETE FROM app.blocks WHERE blocker_id = %s AND blocked_id = %s", [me.id, them.id])
    return done(request, {"blocked": False}, to=f"/people/{them.username}")


def _unfollow(places: Places, home: Session, me: int, them: int) -> tuple[int, Count] | None:
    if not home.run("DELETE FROM app.follows WHERE follower_id = %s AND followee_id = %s", [me, them]):
        return None
    job = Count(user_id=me, counter="followers", ids=[them], by=-1)
    return enqueue(places, home, job), job


def _followed(request: Request, places: Places, them: Profile, *, following: bool) -> Response:
    followers = places.commons.value("SELECT follower_count FROM app.users WHERE id = %s", [them.id])
    data = {"following": following, "followers": followers}
    if "hx-request" in request.headers:
        return answer(request, "follow_part.html", {**data, "username": them.username})
    return as_json(data)
