"""What people write. Every text ends in a word that stands nowhere else, so that a doubled one is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shortvideo.oracle.ledger import Entry, Kind
from shortvideo.traffic.acts import Act, delete, doubtful, entry, person_path, post, upload
from shortvideo.traffic.people import Crowd, Person
from shortvideo.traffic.wire import Answer

VANISHED: Final = frozenset({403, 404})  # its owner took it away, or has blocked the person
GONE_ALREADY: Final = frozenset({404})
PHRASES: Final = (
    "so good 😂", "サウンド最高 🎶", "ما أجمل هذا", "ça déchire 🔥", "कमाल कर दिया", "demais!", "part two, please",
    "the cat stole the show 🐈", "tutorial when?", "I'm crying & laughing <3",
)  # fmt: skip
KEPT_MAX: Final = 20


def text(crowd: Crowd) -> str:
    """Return something to say."""
    return f"{crowd.chance.choice(PHRASES)} {crowd.nonce()}"


def watch(person: Person, crowd: Crowd) -> Act | None:
    """Watch a video."""
    if not crowd.videos:
        return None
    video, ms = crowd.chance.choice(crowd.videos)[0], crowd.chance.randrange(500, 30_000)
    return Act(
        name="watch",
        person=person,
        request=post(person, f"/videos/{video}/watch", ms=str(ms), speed="1"),
        settle=lambda _: [entry(person, Kind.WATCH, video=video)],
        doubt=doubtful(person, Kind.WATCH, video=video),
        refusals=VANISHED,
    )


def like(person: Person, crowd: Crowd) -> Act | None:
    """Like a video, or no longer."""
    if not crowd.videos:
        return None
    video = crowd.chance.choice(crowd.videos)[0]
    on = not person.likes.get(video, False)

    def settle(_: Answer) -> Sequence[Entry]:
        person.likes[video] = on
        return [entry(person, Kind.LIKE, video=video, on=on)]

    path = f"/videos/{video}/like"
    return Act(
        name="like" if on else "unlike",
        person=person,
        request=post(person, path) if on else delete(person, path),
        settle=settle,
        doubt=doubtful(person, Kind.LIKE, video=video, on=on),
        refusals=VANISHED,
    )


def follow(person: Person, crowd: Crowd) -> Act:
    """Follow somebody, or no longer."""
    other = crowd.somebody_else(person)
    on = not person.follows.get(other.username, False)

    def settle(_: Answer) -> Sequence[Entry]:
        person.follows[other.username] = on
        return [entry(person, Kind.FOLLOW, username=other.username, on=on)]

    path = person_path(other.username, "/follow")
    return Act(
        name="follow" if on else "unfollow",
        person=person,
        request=post(person, path) if on else delete(person, path),
        settle=settle,
        doubt=doubtful(person, Kind.FOLLOW, username=other.username, on=on),
        refusals=VANISHED,
    )


def block(person: Person, crowd: Crowd) -> Act:
    """Want to hear nothing more of somebody."""
    other = crowd.somebody_else(person)
    return Act(
        name="block",
        person=person,
        request=post(person, person_path(other.username, "/block")),
        settle=lambda _: [entry(person, Kind.BLOCK, username=other.username, on=True)],
        doubt=doubtful(person, Kind.BLOCK, username=other.username, on=True),
        refusals=VANISHED,
    )


def comment(person: Person, crowd: Crowd) -> Act | None:
    """Say something about a video, in public."""
    if not crowd.videos:
        return None
    video = crowd.chance.choice(crowd.videos)[0]
    return _comment(person, f"/videos/{video}/comments", {"target_type": "video", "target": str(video)}, text(crowd))


def wall_comment(person: Person, crowd: Crowd) -> Act:
    """Say something about somebody, in public."""
    other = crowd.somebody_else(person).username
    return _comment(person, person_path(other, "/comments"), {"target_type": "user", "target": other}, text(crowd))


def _comment(person: Person, path: str, target: dict[str, str], body: str) -> Act:
    def settle(answer: Answer) -> Sequence[Entry]:
        number = int(answer.json()["id"])
        person.comments = [*person.comments, number][-KEPT_MAX:]
        return [entry(person, Kind.COMMENT, id=number, body=body, **target)]

    return Act(
        name="comment" if target["target_type"] == "video" else "wall comment",
        person=person,
        request=post(person, path, body=body),
        settle=settle,
        doubt=doubtful(person, Kind.COMMENT, body=body, **target),
        refusals=VANISHED,
    )


def delete_comment(person: Person, _: Crowd) -> Act | None:
    """Take back what one said."""
    if not person.comments:
        return None
    number = person.comments.pop()
    return Act(
        name="delete comment",
        person=person,
        request=delete(person, f"/comments/{number}"),
        settle=lambda _: [entry(person, Kind.COMMENT_DELETED, id=number)],
        doubt=doubtful(person, Kind.COMMENT_DELETED, id=number),
        refusals=GONE_ALREADY,
    )


def message(person: Person, crowd: Crowd) -> Act:
    """Write to somebody, half of the time across a border when anybody is there."""
    other = crowd.somebody_else(person)
    if other.country == person.country and crowd.chance.random() < 0.5:
        other = crowd.somebody_else(person)
    body = text(crowd)
    return Act(
        name="message" if other.country == person.country else "message abroad",
        person=person,
        request=post(person, f"/messages/{other.username}", body=body),
        settle=lambda answer: [
            entry(person, Kind.MESSAGE, id=int(answer.json()["id"]), to=other.username, to_id=other.id, body=body)
        ],
        doubt=doubtful(person, Kind.MESSAGE, to=other.username, to_id=other.id, body=body),
        refusals=VANISHED,
    )


def publish(person: Person, crowd: Crowd) -> Act | None:
    """Upload a video for everybody."""
    return _upload(person, crowd, Kind.VIDEO) if crowd.clips else None


def draft(person: Person, crowd: Crowd) -> Act | None:
    """Upload a video for oneself."""
    return _upload(person, crowd, Kind.DRAFT) if crowd.clips else None


def _upload(person: Person, crowd: Crowd, kind: Kind) -> Act:
    caption = text(crowd)
    published = kind is Kind.VIDEO

    def settle(answer: Answer) -> Sequence[Entry]:
        number = int(answer.json()["id" if published else "draft_id"])
        (person.videos if published else person.drafts).append(number)
        return [entry(person, kind, id=number, caption=caption)]

    # A draft's tags would become words of its caption, and the oracle looks for the caption as it is.
    fields = {"caption": caption, "tags": "fyp" if published else "", "publish": "true" if published else "false"}
    return Act(
        name="upload" if published else "upload draft",
        person=person,
        request=upload(person, crowd.chance.choice(crowd.clips), fields),
        settle=settle,
        doubt=doubtful(person, kind, caption=caption),
    )


def publish_draft(person: Person, _: Crowd) -> Act | None:
    """Show everybody what was a draft."""
    if not person.drafts:
        return None
    number = person.drafts.pop()

    def settle(answer: Answer) -> Sequence[Entry]:
        video = int(answer.json()["id"])
        person.videos.append(video)
        return [entry(person, Kind.DRAFT_PUBLISHED, draft=number, id=video)]

    return Act(
        name="publish draft",
        person=person,
        request=post(person, f"/drafts/{number}/publish"),
        settle=settle,
        doubt=doubtful(person, Kind.DRAFT_PUBLISHED, draft=number),
    )


def delete_draft(person: Person, _: Crowd) -> Act | None:
    """Throw a draft away."""
    if not person.drafts:
        return None
    number = person.drafts.pop()
    return Act(
        name="delete draft",
        person=person,
        request=delete(person, f"/drafts/{number}"),
        settle=lambda _: [entry(person, Kind.DRAFT_DELETED, id=number)],
        doubt=doubtful(person, Kind.DRAFT_DELETED, id=number),
    )


def delete_video(person: Person, crowd: Crowd) -> Act | None:
    """Take a video away."""
    if not person.videos:
        return None
    number = person.videos.pop()

    def settle(_: Answer) -> Sequence[Entry]:
        crowd.forget(number)
        return [entry(person, Kind.VIDEO_DELETED, id=number)]

    return Act(
        name="delete video",
        person=person,
        request=delete(person, f"/videos/{number}"),
        settle=settle,
        doubt=doubtful(person, Kind.VIDEO_DELETED, id=number),
    )


def report(person: Person, crowd: Crowd) -> Act | None:
    """Tell the house about a video."""
    if not crowd.videos:
        return None
    fields = {"target_type": "video", "target_id": str(crowd.chance.choice(crowd.videos)[0])}
    return Act(
        name="report",
        person=person,
        request=post(person, "/reports", **fields, reason="spam", details=crowd.nonce()),
        settle=lambda answer: [entry(person, Kind.REPORT, id=int(answer.json()["id"]))],
        doubt=doubtful(person, Kind.REPORT),
        refusals=GONE_ALREADY,
    )
