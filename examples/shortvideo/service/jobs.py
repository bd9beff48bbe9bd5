"""What is done later, by a worker: the jobs' kinds and payloads, and putting them into the queue of home.

Every payload names the person whose job it is: the queue is private data, and a move takes it home.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field, TypeAdapter

from shortvideo.service.places import Places
from shortvideo.service.store import Session

About: TypeAlias = Literal["like", "comment", "follow", "message"]


class Thumbnail(BaseModel):
    """Make the picture of a new video."""

    kind: Literal["thumbnail"] = "thumbnail"
    user_id: int
    video_id: int


class FanOut(BaseModel):
    """Tell the author's followers, wherever they live, of a new video."""

    kind: Literal["fan-out"] = "fan-out"
    user_id: int
    video_id: int


class Count(BaseModel):
    """Change a public counter: the private row that is counted lies elsewhere, or its owner must not wait."""

    kind: Literal["count"] = "count"
    user_id: int | None
    counter: Literal["likes", "comments", "views", "followers"]
    ids: list[int]
    by: int


class Message(BaseModel):
    """A message on its way to another place."""

    what: Literal["message"] = "message"
    id: int
    sender_id: int
    recipient_id: int
    body: str
    sent_at: datetime


class Notification(BaseModel):
    """A notification, here or on its way to another place."""

    what: Literal["notification"] = "notification"
    id: int
    recipient_id: int
    actor_id: int
    about: About
    video_id: int | None
    created_at: datetime


class Published(BaseModel):
    """A new video, told to another place for the followers who live there."""

    what: Literal["published"] = "published"
    author_id: int
    video_id: int
    created_at: datetime


Parcel: TypeAlias = Annotated[Message | Notification | Published, Field(discriminator="what")]


class Deliver(BaseModel):
    """Carry something to a person who lives elsewhere."""

    kind: Literal["deliver"] = "deliver"
    user_id: int
    recipient_id: int
    parcel: Parcel


class Delivery(BaseModel):
    """What one instance posts to another; the same id twice is one delivery."""

    id: int
    parcel: Parcel


class Nightly(BaseModel):
    """Summaries, partitions, materialised views."""

    kind: Literal["nightly"] = "nightly"


Job: TypeAlias = Annotated[Thumbnail | FanOut | Count | Deliver | Nightly, Field(discriminator="kind")]
JOB: TypeAdapter[Job] = TypeAdapter(Job)


def enqueue(places: Places, home: Session, job: Job) -> int:
    """Put a job into the queue, in the transaction of what it follows from; return its id."""
    number = places.tickets.next("jobs")
    home.run(
        "INSERT INTO app.jobs (id, kind, payload, run_after) VALUES (%s, %s, %s::jsonb, now())",
        [number, job.kind, job.model_dump_json(exclude={"kind"})],
    )
    places.bell.set()
    return number


def remembered(number: int) -> int:
    """Return the id under which a database remembers that another's job was done.

    Not the job's own: while its person moves, the job lies in both databases, and lying there it is not done.
    """
    return -number
