"""What people look at."""

from __future__ import annotations

from collections.abc import Sequence

from shortvideo.oracle.ledger import Entry
from shortvideo.traffic.acts import Act, get, person_path
from shortvideo.traffic.people import Crowd, Person
from shortvideo.traffic.wire import Answer

VANISHED = frozenset({404})  # its owner took it away meanwhile
TAGS = ("dance", "fyp")


def feed(person: Person, crowd: Crowd) -> Act:
    """Open the feed, or scroll on."""
    query = {"before": crowd.cursor} if crowd.cursor and crowd.chance.random() < 0.5 else {}
    if crowd.chance.random() < 0.3:
        query = {"mode": "latest"}

    def settle(answer: Answer) -> Sequence[Entry]:
        page = answer.json()
        for video in page["videos"]:
            crowd.saw(video["id"], video["author"]["username"], video["poster_url"] or "")
        if "mode" not in query:  # a cursor of one order means nothing in the other
            crowd.cursor = str(page["next"] or "")
        return ()

    return Act(name="feed", person=person, request=get(person, "/", **query), settle=settle)


def video(person: Person, crowd: Crowd) -> Act | None:
    """Open one video."""
    if not crowd.videos:
        return None
    return Act(
        name="video", person=person, request=get(person, f"/videos/{_any(crowd)[0]}"), refusals=VANISHED
    )  # fmt: skip


def poster(person: Person, crowd: Crowd) -> Act | None:
    """Ask where a picture lies."""
    if not crowd.videos or not (path := _any(crowd)[2]).startswith("/"):
        return None
    return Act(name="poster", person=person, request=get(person, path), refusals=VANISHED)


def comments(person: Person, crowd: Crowd) -> Act | None:
    """Read what is said about a video."""
    if not crowd.videos:
        return None
    return Act(
        name="comments", person=person, request=get(person, f"/videos/{_any(crowd)[0]}/comments"), refusals=VANISHED
    )  # fmt: skip


def profile(person: Person, crowd: Crowd) -> Act:
    """Look at somebody."""
    path = person_path(crowd.somebody_else(person).username)
    return Act(name="profile", person=person, request=get(person, path), refusals=VANISHED)


def wall(person: Person, crowd: Crowd) -> Act:
    """Read what is said about somebody."""
    path = person_path(crowd.somebody_else(person).username, "/comments")
    return Act(name="wall", person=person, request=get(person, path), refusals=VANISHED)


def inbox(person: Person, _: Crowd) -> Act:
    """See with whom one has talked."""
    return Act(name="inbox", person=person, request=get(person, "/messages"))


def conversation(person: Person, crowd: Crowd) -> Act:
    """Read a conversation."""
    path = f"/messages/{crowd.somebody_else(person).username}"
    return Act(name="conversation", person=person, request=get(person, path), refusals=VANISHED)


def notifications(person: Person, _: Crowd) -> Act:
    """See what happened."""
    return Act(name="notifications", person=person, request=get(person, "/notifications"))


def search(person: Person, crowd: Crowd) -> Act:
    """Look for a tag or for people."""
    if crowd.chance.random() < 0.5:
        return Act(name="search tag", person=person, request=get(person, "/search", tag=crowd.chance.choice(TAGS)))
    word = crowd.somebody_else(person).username[:5]
    return Act(name="search people", person=person, request=get(person, "/search", q=word))


def drafts(person: Person, _: Crowd) -> Act:
    """See one's drafts."""
    return Act(name="drafts", person=person, request=get(person, "/drafts"))


def settings(person: Person, _: Crowd) -> Act:
    """See one's settings."""
    return Act(name="settings", person=person, request=get(person, "/settings"))


def my_data(person: Person, _: Crowd) -> Act:
    """See what the service holds."""
    return Act(name="my data", person=person, request=get(person, "/settings/data"))


def payouts(person: Person, _: Crowd) -> Act:
    """See what one has earned."""
    return Act(name="payouts", person=person, request=get(person, "/payouts"))


def _any(crowd: Crowd) -> tuple[int, str, str]:
    return crowd.chance.choice(crowd.videos)
