"""The end of an account: what is private goes, files too; what was public stays without a name, or is taken down."""

from __future__ import annotations

from typing import Final, LiteralString

from shortvideo.service.jobs import Count, enqueue
from shortvideo.service.places import Places
from shortvideo.service.store import Session

GONE: Final = "gone."
"""So begin the names of those who left; were somebody to take one, its owner could not leave any more."""
# In this order: who is referred to goes after who refers. The audit log comes last, because a trigger writes into it.
PRIVATE: Final[tuple[LiteralString, ...]] = (
    "DELETE FROM app.sessions WHERE user_id = %(me)s",
    "DELETE FROM app.devices WHERE user_id = %(me)s",
    "DELETE FROM app.follows WHERE follower_id = %(me)s OR followee_id = %(me)s",
    "DELETE FROM app.blocks WHERE blocker_id = %(me)s OR blocked_id = %(me)s",
    "DELETE FROM app.likes WHERE user_id = %(me)s",
    "DELETE FROM app.drafts WHERE author_id = %(me)s",
    "DELETE FROM app.watch_events WHERE user_id = %(me)s",
    "DELETE FROM app.notifications WHERE recipient_id = %(me)s",
    "UPDATE app.notifications SET actor_id = NULL WHERE actor_id = %(me)s",
    "DELETE FROM app.direct_messages WHERE sender_id = %(me)s AND recipient_id = %(me)s",
    "UPDATE app.direct_messages SET body = '', attachments = NULL WHERE sender_id = %(me)s",
    "UPDATE app.reports SET reporter_id = NULL WHERE reporter_id = %(me)s",
    "DELETE FROM app.appeals WHERE user_id = %(me)s",
    "DELETE FROM billing.payouts WHERE user_id = %(me)s",
    "DELETE FROM billing.payout_accounts WHERE user_id = %(me)s",
    "DELETE FROM app.daily_activity WHERE user_id = %(me)s",
    "DELETE FROM app.jobs WHERE done_at IS NOT NULL AND payload -> 'user_id' = to_jsonb(%(me)s::bigint)",
)
PUBLIC: Final[tuple[LiteralString, ...]] = (
    """UPDATE app.videos SET deleted_at = coalesce(deleted_at, now()), upload_ip = NULL, geo = NULL, transcript = NULL
    WHERE author_id = %(me)s""",
    "UPDATE app.comments SET author_id = NULL, client_ip = NULL WHERE author_id = %(me)s",
    """UPDATE app.users SET username = 'gone.' || id, display_name = '', bio = NULL, avatar_url = NULL,
    state = 'closing', deleted_at = now(), email = NULL, phone = NULL, birth_date = NULL, password_hash = NULL,
    country = 'ZZ', signup_ip = NULL, last_seen = NULL, settings = '{}' WHERE id = %(me)s""",
    "DELETE FROM app.audit_log WHERE account_id = %(me)s",
)


def leave(places: Places, person: int) -> None:
    """Delete the account. Files go last: without rows nobody finds them, and a crash leaves them to be found again."""
    with places.both() as (home, commons):
        _uncount(places, home, person)
        for statement in (*PRIVATE, *PUBLIC):
            home.run(statement, {"me": person})
        if places.apart:
            for statement in PUBLIC:
                commons.run(statement, {"me": person})
    for key in list(places.private_files.keys(f"u/{person}/")):
        places.private_files.delete(key)


def _uncount(places: Places, home: Session, person: int) -> None:
    """Take the person's likes and follows out of the public counters."""
    followed = home.column("SELECT followee_id FROM app.follows WHERE follower_id = %s", [person])
    if followed:
        enqueue(places, home, Count(user_id=None, counter="followers", ids=followed, by=-1))
    liked = home.column("SELECT video_id FROM app.likes WHERE user_id = %s", [person]) if places.apart else []
    if liked:
        enqueue(places, home, Count(user_id=None, counter="likes", ids=liked, by=-1))
