"""What is done every night at each home: the summary of the day, next month's partition, the materialised views."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, LiteralString

from psycopg import sql

from shortvideo.service.places import Places
from shortvideo.service.store import Session

DONE_KEPT_DAYS: Final = 7
# From the last day that is there on, so that the first night after a move fills the whole table again.
SUMMARY: Final[LiteralString] = """
INSERT INTO app.daily_activity (day, user_id, watched_ms, likes, comments, messages)
SELECT day, user_id, sum(watched_ms), sum(likes), sum(comments), sum(messages)
FROM (SELECT watched_at AS at, user_id, (payload ->> 'ms')::bigint AS watched_ms, 0 AS likes, 0 AS comments,
             0 AS messages
      FROM app.watch_events
      UNION ALL SELECT liked_at, user_id, 0, 1, 0, 0 FROM app.likes
      UNION ALL SELECT written_at, author_id, 0, 0, 1, 0 FROM app.comments
      UNION ALL SELECT sent_at, sender_id, 0, 0, 0, 1 FROM app.direct_messages) AS deed
JOIN app.users u ON u.id = user_id AND (u.email IS NOT NULL OR u.password_hash IS NOT NULL),
LATERAL (SELECT (at AT TIME ZONE 'UTC')::date AS day) AS d
WHERE at >= (SELECT coalesce(max(day)::timestamp AT TIME ZONE 'UTC', '-infinity') FROM app.daily_activity)
GROUP BY day, user_id
ON CONFLICT (day, user_id) DO UPDATE SET watched_ms = excluded.watched_ms, likes = excluded.likes,
    comments = excluded.comments, messages = excluded.messages
"""


def ready(places: Places) -> bool:
    """See to it that one nightly job waits; False while nobody lives here yet, and there may be no tables."""
    if places.settings.location not in places.receiving():
        return False
    with places.home.transaction() as home:
        home.run("SELECT pg_advisory_xact_lock(hashtext('nightly'))")  # workers begin at the same time
        if not home.value("SELECT true FROM app.jobs WHERE kind = 'nightly' AND done_at IS NULL LIMIT 1"):
            again(places, home)
    return True


def again(places: Places, home: Session) -> None:
    """Put the next night's job into the queue."""
    tomorrow = datetime.now(UTC).replace(hour=0, minute=10, second=0, microsecond=0) + timedelta(days=1)
    home.run(
        "INSERT INTO app.jobs (id, kind, payload, run_after) VALUES (%s, 'nightly', '{}', %s)",
        [places.tickets.next("jobs"), tomorrow],
    )


def run(_: Places, home: Session) -> None:
    """Do it all in home's database."""
    home.run(SUMMARY)
    home.run(
        "DELETE FROM app.jobs WHERE done_at < now() - %s * interval '1 day' AND kind <> 'deliver'", [DONE_KEPT_DAYS]
    )
    _partition(home, datetime.now(UTC))
    home.run("REFRESH MATERIALIZED VIEW app.video_stats")
    home.run("REFRESH MATERIALIZED VIEW billing.creator_contacts")


def _partition(home: Session, now: datetime) -> None:
    """Make the next month's partition, while the default one holds nothing of that month."""
    first = (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
    after = (first + timedelta(days=32)).replace(day=1)
    name = sql.Identifier("app", f"watch_events_{first:%Y_%m}")
    home.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF app.watch_events FOR VALUES FROM ({}) TO ({})").format(
            name, sql.Literal(first.isoformat()), sql.Literal(after.isoformat())
        )
    )
