"""Bringing messages and notifications to people: here or, by a job, where they live."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import psycopg

from shortvideo.service.jobs import (
    About,
    Deliver,
    Delivery,
    Message,
    Notification,
    Parcel,
    Published,
    enqueue,
    remembered,
)
from shortvideo.service.places import Moving, Places
from shortvideo.service.store import Session

REFUSED_STATE: Final = "DM001"
"""Domicile's guard: somebody of the row is moving, or has moved."""


class Blocked(Exception):
    """The recipient does not want to hear from the sender."""


def notify(places: Places, home: Session, notification: Notification) -> None:
    """Bring a notification to its recipient; nobody is told of what they did themselves.

    Always by a job, also within one place: whoever comments goes on while the other person is on the move.
    """
    if notification.recipient_id != notification.actor_id:
        _send(places, home, notification.actor_id, notification)


def send(places: Places, home: Session, message: Message) -> None:
    """Keep the sender's copy, and bring the recipient theirs; between two people of one place it is one row.

    Raise Blocked where home knows that the recipient does not want it; another home drops it on arrival. Raise Moving
    where the recipient has left and nobody has said yet where to.
    """
    here = places.is_here(home, message.recipient_id)
    if here and not lives_here(home, message.recipient_id):
        raise Moving
    if here and not may_reach(home, message.sender_id, message.recipient_id):
        raise Blocked
    _keep_message(places, home, message)
    if not here:
        _send(places, home, message.sender_id, message)


def write(places: Places, message: Message, news: Notification) -> None:
    """Send a message and tell its recipient; once more where they have moved since the directory was asked."""
    for last in (False, True):
        try:
            with places.home.transaction() as home:
                send(places, home, message)
                notify(places, home, news)
        except psycopg.Error as fault:
            if last or fault.sqlstate != REFUSED_STATE:
                raise
            places.residences.forget(message.recipient_id)
        else:
            return


def receive(places: Places, delivery: Delivery) -> None:
    """Take what another instance brings; the same id twice is taken once.

    Raise Moving where the recipient's home is not here, or not here any more: the sender tries again and asks
    anew where they live.
    """
    parcel = delivery.parcel
    if places.settings.location not in places.receiving():
        raise Moving
    with places.home.transaction() as home:
        if not home.run(
            "INSERT INTO app.jobs (id, kind, payload, run_after, done_at) "
            "VALUES (%s, 'deliver', '{}', now(), now()) ON CONFLICT (id) DO NOTHING",
            [remembered(delivery.id)],
        ):
            return
        keep(places, home, parcel)


def keep(places: Places, home: Session, parcel: Parcel) -> None:
    """Keep what came for somebody of this home; raise Moving where they are not here."""
    if isinstance(parcel, Published):
        tell_followers(places, home, parcel)
        return
    places.must_be_here(home, parcel.recipient_id)
    if not lives_here(home, parcel.recipient_id):
        raise Moving
    if isinstance(parcel, Notification):
        _keep_notification(places, home, parcel)
    elif may_reach(home, parcel.sender_id, parcel.recipient_id):
        _keep_message(places, home, parcel)


def tell_followers(places: Places, home: Session, news: Published) -> None:
    """Notify those who live here and followed the author when the video came, each once.

    Their follows may lie at two places while they move: who lives elsewhere is told there.
    """
    followers = home.column(
        "SELECT follower_id FROM app.follows f WHERE followee_id = %s AND followed_at <= %s AND NOT EXISTS (SELECT "
        "FROM app.notifications n WHERE n.recipient_id = f.follower_id AND n.kind = 'video' AND n.video_id = %s)",
        [news.author_id, news.created_at, news.video_id],
    )
    followers = places.who_is_here(followers)
    if not followers:
        return
    places.host(home, [news.author_id])
    places.host_video(home, news.video_id)
    ids = [places.tickets.next("notifications") for _ in followers]
    home.run(
        "INSERT INTO app.notifications (id, recipient_id, actor_id, kind, video_id, created_at) "
        "SELECT n, recipient, %s, 'video', %s, %s FROM unnest(%s::bigint[], %s::bigint[]) AS t (n, recipient)",
        [news.author_id, news.video_id, news.created_at, ids, followers],
    )


def lives_here(home: Session, person: int) -> bool:
    """Whether home holds the person's private row, not a bare one: what is known of where they live may be old."""
    return bool(
        home.value(
            "SELECT email IS NOT NULL OR password_hash IS NOT NULL OR state = 'closing' FROM app.users WHERE id = %s",
            [person],
        )
    )


def may_reach(home: Session, sender: int, recipient: int) -> bool:
    """Whether the recipient lets the sender write; blocks are the blocker's private data, so only their home knows."""
    query = "SELECT true FROM app.blocks WHERE blocker_id = %s AND blocked_id = %s"
    return not home.value(query, [recipient, sender])


def _send(places: Places, home: Session, sender: int, parcel: Message | Notification) -> None:
    enqueue(places, home, Deliver(user_id=sender, recipient_id=parcel.recipient_id, parcel=parcel))


def _keep_message(places: Places, home: Session, message: Message) -> None:
    places.host(home, [message.sender_id, message.recipient_id])
    home.run(
        "INSERT INTO app.direct_messages (id, sender_id, recipient_id, body, sent_at) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT (id) DO NOTHING",
        [message.id, message.sender_id, message.recipient_id, message.body, message.sent_at],
    )


def _keep_notification(places: Places, home: Session, notification: Notification) -> None:
    if not may_reach(home, notification.actor_id, notification.recipient_id):
        return
    places.host(home, [notification.actor_id])
    if notification.video_id is not None:
        places.host_video(home, notification.video_id)
    home.run(
        "INSERT INTO app.notifications (id, recipient_id, actor_id, kind, video_id, created_at) "
        "VALUES (%s, %s, %s, %s::app.notification_kind, %s, %s) ON CONFLICT (id) DO NOTHING",
        [
            notification.id, notification.recipient_id, notification.actor_id, notification.about,
            notification.video_id, notification.created_at,
        ],
    )  # fmt: skip


def news_of(places: Places, *, recipient: int, actor: int, about: About, video: int | None = None) -> Notification:
    """Make a notification with an id of its own, as of now."""
    return Notification(
        id=places.tickets.next("notifications"),
        recipient_id=recipient,
        actor_id=actor,
        about=about,
        video_id=video,
        created_at=datetime.now(UTC),
    )
