"""Public counters: each change is a job first, and is then made at once where nothing is in the way.

Counters stand in the commons, also for what is counted at a home. The commons remember the job's id, so that a job that
is done twice is counted once.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, LiteralString

import psycopg

from shortvideo.service.jobs import Count, remembered
from shortvideo.service.places import Places
from shortvideo.service.store import Session

COUNTERS: Final[dict[str, LiteralString]] = {
    "likes": "UPDATE app.videos SET like_count = greatest(0, like_count + %s) WHERE id = ANY(%s)",
    "comments": "UPDATE app.videos SET comment_count = greatest(0, comment_count + %s) WHERE id = ANY(%s)",
    "views": "UPDATE app.videos SET view_count = greatest(0, view_count + %s) WHERE id = ANY(%s)",
    "followers": "UPDATE app.users SET follower_count = greatest(0, follower_count + %s) WHERE id = ANY(%s)",
}


def count(places: Places, home: Session, number: int, job: Count) -> None:
    """Do a job that the caller marks as done in its transaction at home."""
    if not places.apart:
        _change(home, job)
        return
    with places.commons.transaction() as commons:
        if commons.run(
            "INSERT INTO app.jobs (id, kind, payload, run_after, done_at) VALUES (%s, 'count', '{}', now(), now()) "
            "ON CONFLICT (id) DO NOTHING",
            [remembered(number)],
        ):
            _change(commons, job)


def at_once(places: Places, number: int, job: Count) -> None:
    """Do a job that was just enqueued. Where the counter's owner is on the move, a worker does it later."""
    with suppress(psycopg.Error), places.home.transaction() as home:
        if home.run("UPDATE app.jobs SET done_at = now(), attempts = 1 WHERE id = %s AND done_at IS NULL", [number]):
            count(places, home, number, job)


def _change(commons: Session, job: Count) -> None:
    commons.run(COUNTERS[job.counter], [job.by, job.ids])
