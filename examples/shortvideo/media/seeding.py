"""Puts clips under the videos of a seeded database, so that each of them plays.

A seed of six thousand people has thousands of videos and a few dozen clips: many rows share an object, as they
would not in a service that grew. An upload has an object of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final

import psycopg

from shortvideo.media.process import measure
from shortvideo.media.store import Bucket

PUTS_AT_ONCE: Final = 8
DRAFTS_OF: Final = 50
"""People up to this id: those who can log in. A draft has a key of its own, and thousands would be 100 kB each."""
DRAFTS_MIN: Final = 30
"""Drafts up to this id have a file as well, whoever's they are."""
VIDEO: Final = "video/mp4"
POSTER: Final = "image/jpeg"


def fill(dsn: str, bucket: Bucket, clips: Sequence[Path]) -> None:
    """Give every video of the database at `dsn` one of the clips, the same for the same id; the role is a superuser.

    The first people's drafts get one, too. To be called once, before anybody uploads: it knows no seeded video from
    an uploaded one.
    """
    keys = [_key(clip) for clip in clips]
    with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
        list(pool.map(lambda clip, key: _put(bucket, clip, key), clips, keys))
        sizes = list(pool.map(measure, clips))
    columns = (
        [f"{key}.mp4" for key in keys],
        [f"{key}.jpg" for key in keys],
        [duration_s for duration_s, _, _ in sizes],
        [width / height for _, width, height in sizes],
    )
    with psycopg.connect(dsn) as connection:
        # Triggers rest: nobody edited these videos, so their `updated_at` stays.
        connection.execute("SET session_replication_role = replica")
        connection.execute(_POINT, (*columns, len(clips)))
        drafts = connection.execute(_DRAFTS, [DRAFTS_OF, DRAFTS_MIN]).fetchall()
    with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
        list(pool.map(lambda draft: bucket.put(draft[1], clips[draft[0] % len(clips)], VIDEO), drafts))


def hold(dsn: str, bucket: Bucket, *, countries: Sequence[str], until: datetime) -> None:
    """Lock the draft of one person of these countries, as a platform must that a court told to keep it."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(_HELD, [DRAFTS_OF, DRAFTS_MIN, list(countries)]).fetchone()
    if found is not None:
        bucket.lock(found[0], until)


_HELD: Final = """
    SELECT d.object_key FROM app.drafts AS d JOIN app.users AS u ON u.id = d.author_id
    WHERE (d.author_id <= %s OR d.id <= %s) AND u.country = ANY(%s) ORDER BY d.id LIMIT 1
"""

_POINT: Final = """
    UPDATE app.videos v
    SET object_key = c.video, thumb_key = c.poster, duration_s = c.duration, "aspectRatio" = c.ratio
    FROM unnest(%s::text[], %s::text[], %s::numeric[], %s::real[])
        WITH ORDINALITY AS c (video, poster, duration, ratio, place),
        (SELECT %s::bigint) AS clips (number)
    WHERE c.place = 1 + v.id %% clips.number
"""

_DRAFTS: Final = "SELECT id, object_key FROM app.drafts WHERE author_id <= %s OR id <= %s"


def _key(clip: Path) -> str:
    """Return the key without its ending: of the content, so that it tells nothing of whose the video is."""
    with clip.open("rb") as file:
        return f"public/{hashlib.file_digest(file, 'sha256').hexdigest()[:32]}"


def _put(bucket: Bucket, clip: Path, key: str) -> None:
    bucket.put(f"{key}.mp4", clip, VIDEO)
    bucket.put(f"{key}.jpg", clip.with_suffix(".jpg"), POSTER)
