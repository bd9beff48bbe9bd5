"""Does the jobs of one location: `python -m shortvideo.worker`, or a thread inside the instance.

A job is done in the transaction that marks it as done, so that a crash leaves it as it was. Where its effect lies in
another database, that one remembers the job's id, and doing it again changes nothing.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout

from domicile.directory.client import DirectoryUnknown
from shortvideo.media.process import measure, still
from shortvideo.residence import SOURCE
from shortvideo.service import nightly, post
from shortvideo.service.counting import count
from shortvideo.service.jobs import JOB, Count, Deliver, Delivery, FanOut, Nightly, Published, Thumbnail, enqueue
from shortvideo.service.peers import NoAnswer
from shortvideo.service.places import Moving, Places, opened
from shortvideo.service.settings import from_environment
from shortvideo.service.store import Session

IDLE_SECONDS: Final = 0.1
IDLE_SECONDS_MAX: Final = 0.5
"""Whoever has had nothing to do looks less often; the bell wakes them all the same."""
VIEWS_SECONDS: Final = 2.0
STOP_SECONDS: Final = 10.0
WAIT_SECONDS_MAX: Final = 10.0
ELSEWHERE_SECONDS: Final = 1.0
NOT_YET_MAX: Final = 20
"""What is not public after some minutes was never committed."""
QUICK: Final = ("fan-out", "deliver", "count")
SLOW: Final = ("thumbnail", "nightly")
"""A worker of their own: a message does not wait for a picture."""
log = logging.getLogger("shortvideo.worker")


class Absent(Exception):
    """The person whose job it is does not live here now."""


class NotYet(Exception):
    """What the job is about is not public yet: home commits before the commons do, and may crash in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A job as it lies in the queue."""

    id: int
    kind: str
    payload: dict[str, Any]
    attempts: int


class Worker:
    """Takes one job after the other."""

    def __init__(self, places: Places, kinds: Sequence[str] = QUICK + SLOW) -> None:
        self._places = places
        self._kinds = list(kinds)
        self._resting: dict[int, float] = {}
        """Jobs that can't be marked as failed, because their person is on the move: id → when to try again."""
        self._views_due = 0.0

    def run(self, stop: Event) -> None:
        """Work until told to stop; whatever fails is tried again."""
        idle = IDLE_SECONDS
        while not stop.is_set():
            try:
                self._note_views()
                if self.work_once():
                    idle = IDLE_SECONDS
                else:
                    idle = IDLE_SECONDS if self._places.bell.wait(idle) else min(2 * idle, IDLE_SECONDS_MAX)
                    self._places.bell.clear()
            except Exception as fault:  # noqa: BLE001 - a worker that has ended does nothing any more
                log.error("the queue can't be read: %s", type(fault).__name__)  # noqa: TRY400 - rows in the text
                stop.wait(IDLE_SECONDS)

    def work_once(self) -> bool:
        """Do one job that is due; say whether there was one."""
        now = time.monotonic()
        self._resting = {number: until for number, until in self._resting.items() if until > now}
        due = None
        try:
            with self._places.home.transaction() as home:
                due = home.one(
                    Due,
                    "SELECT id, kind, payload, attempts FROM app.jobs WHERE done_at IS NULL AND run_after <= now() "
                    "AND kind = ANY(%s) AND id <> ALL(%s) ORDER BY run_after, id LIMIT 1 FOR UPDATE SKIP LOCKED",
                    [self._kinds, list(self._resting)],
                )
                if due is None:
                    return False
                self._refuse_absent(due)
                self._do(home, due)
                home.run("UPDATE app.jobs SET done_at = now(), attempts = attempts + 1 WHERE id = %s", [due.id])
        except Exception as fault:  # one bad job must not stop the others
            if due is None:
                raise
            self._put_off(due, fault)
        return True

    def _refuse_absent(self, due: Due) -> None:
        """Raise Absent for the job of somebody who lives elsewhere: while people move, it lies here and there."""
        person = due.payload.get("user_id")
        if isinstance(person, int):
            found = self._places.residences.locate(person)
            if found.fenced or found.location != self._places.settings.location:
                raise Absent

    def _put_off(self, due: Due, fault: Exception) -> None:
        """Try again later, later each time. Only the fault's kind is kept: its text may hold what people wrote."""
        wait = min(WAIT_SECONDS_MAX, 0.5 * 2 ** min(due.attempts, 10))
        if isinstance(fault, Absent):  # nothing is written of it: here it is only looked at
            self._resting[due.id] = time.monotonic() + ELSEWHERE_SECONDS
            return
        if not isinstance(fault, NoAnswer | DirectoryUnknown | Moving | NotYet | psycopg.Error):
            log.error("job %s (%s) failed: %s", due.id, due.kind, type(fault).__name__)
        try:
            self._places.home.run(
                "UPDATE app.jobs SET attempts = attempts + 1, last_error = %s, "
                "run_after = now() + %s * interval '1 second', done_at = CASE WHEN %s THEN now() END WHERE id = %s",
                [type(fault).__name__, wait, isinstance(fault, NotYet) and due.attempts >= NOT_YET_MAX, due.id],
            )
        except psycopg.Error:
            self._resting[due.id] = time.monotonic() + wait

    def _do(self, home: Session, due: Due) -> None:
        job = JOB.validate_python({**due.payload, "kind": due.kind})
        match job:
            case Thumbnail():
                self._thumbnail(job)
            case FanOut():
                self._fan_out(home, due.id, job)
            case Deliver():
                self._deliver(home, due.id, job)
            case Count():
                count(self._places, home, due.id, job)
            case Nightly():
                nightly.run(self._places, home)
                nightly.again(self._places, home)

    def _thumbnail(self, job: Thumbnail) -> None:
        """The picture lies beside the video, under the same name."""
        key = self._places.commons.value("SELECT object_key FROM app.videos WHERE id = %s", [job.video_id])
        if key is None:
            raise NotYet
        with tempfile.TemporaryDirectory(prefix="shortvideo-poster-") as name:
            video, poster = Path(name) / "video.mp4", Path(name) / "poster.jpg"
            video.write_bytes(self._places.public_files.get(key))
            still(video, poster, at_s=min(1.0, measure(video)[0] / 2))
            picture = key.removesuffix(".mp4") + ".jpg"
            self._places.public_files.put(picture, poster, "image/jpeg")
        self._places.commons.run("UPDATE app.videos SET thumb_key = %s WHERE id = %s", [picture, job.video_id])

    def _fan_out(self, home: Session, number: int, job: FanOut) -> None:
        at = self._places.commons.value("SELECT published_at FROM app.videos WHERE id = %s", [job.video_id])
        if at is None:
            raise NotYet
        news = Published(author_id=job.user_id, video_id=job.video_id, created_at=at)
        # The source before the homes: whoever goes home in between is told there, and nobody is told nowhere.
        for location in sorted(self._places.receiving(), key=lambda name: (name != SOURCE, name)):
            if location == self._places.settings.location:
                post.tell_followers(self._places, home, news)
            elif location in self._places.peers.names():
                self._post(location, Delivery(id=number, parcel=news))

    def _deliver(self, home: Session, number: int, job: Deliver) -> None:
        """To where the recipient lives now: that may be here by now."""
        self._places.residences.forget(job.recipient_id)
        residence = self._places.residences.locate(job.recipient_id)
        if residence.fenced:
            raise Moving
        location = residence.location
        if location != self._places.settings.location:
            self._post(location, Delivery(id=number, parcel=job.parcel))
            return
        post.keep(self._places, home, job.parcel)

    def _post(self, location: str, delivery: Delivery) -> None:
        self._places.peers.post(location, "deliver", delivery.model_dump(mode="json")).raise_for_status()

    def _note_views(self) -> None:
        if time.monotonic() < self._views_due:
            return
        self._views_due = time.monotonic() + VIEWS_SECONDS
        times: dict[int, list[int]] = {}
        for video, views in self._places.seen.take().items():
            times.setdefault(views, []).append(video)
        with self._places.home.transaction() as home:
            for views, videos in times.items():
                enqueue(self._places, home, Count(user_id=None, counter="views", ids=videos, by=views))


@contextmanager
def working(places: Places) -> Iterator[None]:
    """Run workers in threads of this process, once somebody lives here."""
    stop = Event()
    threads = [Thread(target=_work, args=[places, kinds, stop], name=kinds[0], daemon=True) for kinds in (QUICK, SLOW)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        places.bell.set()
        for thread in threads:
            thread.join(timeout=STOP_SECONDS)


def _work(places: Places, kinds: Sequence[str], stop: Event) -> None:
    while not stop.is_set():
        try:
            if nightly.ready(places):
                break
        except (psycopg.Error, PoolTimeout, DirectoryUnknown):
            log.info("home is not there yet")
        stop.wait(IDLE_SECONDS)
    Worker(places, kinds).run(stop)


def main() -> int:
    """Work until the process is stopped."""
    logging.basicConfig(level=logging.INFO)
    with opened(from_environment()) as places, working(places):
        Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
