"""Videos as people see them: the public row from the commons, and from home whether one likes or follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote

from shortvideo.service.places import Places
from shortvideo.service.web import Author, Person, Refused

PAGE: Final = 10
RANKED_FROM: Final = 40
"""A ranked page is the best of so many: far enough from the newest, near enough to be quick."""
FOLLOWING_WEIGHT: Final = 4.0
TASTE_WEIGHT: Final = 2.0
TASTE_LIKES_MAX: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the view app.feed."""

    id: int
    author_id: int
    username: str
    display_name: str
    caption: str | None
    tags: list[str]
    object_key: str
    thumb_key: str | None
    likes: int
    comments: int
    views: int
    published_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A video as a page or a program gets it."""

    id: int
    author: Author
    caption: str
    tags: list[str]
    likes: int
    comments: int
    views: int
    liked: bool
    following: bool
    video_url: str
    poster_url: str | None
    published_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """What home knows of a person's liking, for the ranked feed: a profile in the sense of the law."""

    following: frozenset[int] = frozenset()
    blocked: list[int] = field(default_factory=list)
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Private:
    following: list[int]
    blocked: list[int]
    tags: list[str]


def taste_of(places: Places, person: Person | None, *, profiled: bool) -> Taste:
    """Read whom the person blocks, and for a ranked feed also whom they follow and which tags they liked."""
    if person is None:
        return Taste()
    found = places.home.one(
        _Private,
        "SELECT coalesce(array(SELECT blocked_id FROM app.blocks WHERE blocker_id = %(me)s), '{}') AS blocked, "
        "array(SELECT followee_id FROM app.follows WHERE follower_id = %(me)s AND %(profiled)s) AS following, "
        "array(SELECT DISTINCT tag FROM (SELECT v.tags FROM app.likes l JOIN app.videos v ON v.id = l.video_id "
        "WHERE l.user_id = %(me)s AND %(profiled)s ORDER BY l.liked_at DESC LIMIT %(likes)s) AS liked, "
        "unnest(liked.tags) AS tag WHERE tag IS NOT NULL) AS tags",
        {"me": person.id, "profiled": profiled, "likes": TASTE_LIKES_MAX},
    )
    if found is None:
        return Taste()
    return Taste(following=frozenset(found.following), blocked=found.blocked, tags=frozenset(found.tags))


def ranked(rows: Sequence[Row], taste: Taste) -> list[Row]:
    """Return the best of some videos, the best first: liked by many, by followed people, of liked tags."""

    def score(row: Row) -> float:
        followed = FOLLOWING_WEIGHT * (row.author_id in taste.following)
        return math.log1p(row.likes) + followed + TASTE_WEIGHT * bool(taste.tags.intersection(row.tags))

    return sorted(rows, key=score, reverse=True)[:PAGE]


def cards(places: Places, person: Person | None, rows: Sequence[Row]) -> list[Video]:
    """Add to public rows what they are to the person who looks."""
    liked: set[int] = set()
    following: set[int] = set()
    if person is not None and rows:
        with places.home.session() as home:
            ids, authors = [row.id for row in rows], [row.author_id for row in rows]
            mine = "SELECT video_id FROM app.likes WHERE user_id = %s AND video_id = ANY(%s)"
            liked = set(home.column(mine, [person.id, ids]))
            theirs = "SELECT followee_id FROM app.follows WHERE follower_id = %s AND followee_id = ANY(%s)"
            following = set(home.column(theirs, [person.id, authors]))
    return [
        Video(
            id=row.id,
            author=Author(id=row.author_id, username=row.username, display_name=row.display_name),
            caption=row.caption or "",
            tags=row.tags,
            likes=row.likes,
            comments=row.comments,
            views=row.views,
            liked=row.id in liked,
            following=row.author_id in following,
            video_url=media(row.object_key),
            poster_url=media(row.thumb_key) if row.thumb_key else None,
            published_at=row.published_at,
        )
        for row in rows
    ]


def video_row(places: Places, video: int) -> Row:
    """Return one published video, or refuse."""
    row = places.commons.one(Row, "SELECT * FROM app.feed WHERE id = %s", [video])
    if row is None:
        raise Refused(404, "There is no such video.")
    return row


def media(key: str) -> str:
    """Return the address of a file of ours; it leads on to the object store."""
    return "/media/" + quote(key)
