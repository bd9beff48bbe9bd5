"""Which data lies where: private data at `home`, public data in the `commons`, and no other module decides it.

At the source the two are one database, and every function here then does nothing twice. Elsewhere home holds the
whole rows of those who live there; of everybody else only what foreign keys ask for, as bare rows.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Final, LiteralString

from domicile.directory.client import Directory
from shortvideo.media.store import Bucket
from shortvideo.residence import MOVES, NEWCOMERS, UNDER_WAY, Residence, Residences
from shortvideo.service.peers import Peers
from shortvideo.service.settings import Settings
from shortvideo.service.store import Database, Session

TICKETS_AT_ONCE: Final = 32
SEQUENCES: Final[dict[str, LiteralString]] = {
    "users": "app.users_id_seq",
    "videos": "app.videos_id_seq",
    "drafts": "app.drafts_id_seq",
    "comments": "app.comments_id_seq",
    "watch_events": "app.watch_event_id",
    "direct_messages": "app.direct_messages_id_seq",
    "notifications": "app.notifications_id_seq",
    "reports": "app.reports_id_seq",
    "jobs": "app.jobs_id_seq",
}


class Moving(Exception):
    """Somebody's private data is on its way to another place; try again in a moment."""


class Tickets:
    """Ids from one office, the commons, so that no two locations give the same; drawn some at a time."""

    def __init__(self, commons: Database) -> None:
        self._commons = commons
        self._drawn: dict[str, deque[int]] = {table: deque() for table in SEQUENCES}
        self._lock = Lock()

    def next(self, table: str) -> int:
        """Return an id for a new row of `table`."""
        with self._lock:
            drawn = self._drawn[table]
            if not drawn:
                query: LiteralString = "SELECT nextval(%s::regclass) FROM generate_series(1, %s)"
                drawn.extend(self._commons.column(query, [SEQUENCES[table], TICKETS_AT_ONCE]))
            return drawn.popleft()


class Seen:
    """Counts who watched what, in memory: written once in a while. A view that a crash forgets is nobody's loss."""

    def __init__(self) -> None:
        self._views: Counter[int] = Counter()
        self._lock = Lock()

    def add(self, video: int) -> None:
        """One more view."""
        with self._lock:
            self._views[video] += 1

    def take(self) -> Counter[int]:
        """Return the views since the last time."""
        with self._lock:
            taken, self._views = self._views, Counter()
        return taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The two databases and the two buckets of an instance."""

    settings: Settings
    home: Database
    commons: Database
    private_files: Bucket
    public_files: Bucket
    residences: Residences
    tickets: Tickets
    peers: Peers
    apart: bool = False
    """Whether home is another database than the commons."""
    bell: Event = field(default_factory=Event)
    """Wakes the worker of this process: there is a new job."""
    seen: Seen = field(default_factory=Seen)

    def is_here(self, home: Session, person: int) -> bool:
        """Whether the person's private data in this home is the one that counts.

        The answer is written down in `home`'s transaction: where it has become wrong, a row of theirs is refused.
        """
        return self._locate(home, person).location == self.settings.location

    def must_be_here(self, home: Session, person: int) -> None:
        """Raise Moving where the person lives elsewhere, or is between two places; else as `is_here`."""
        found = self._locate(home, person)
        if found.fenced or found.location != self.settings.location:
            raise Moving

    def _locate(self, home: Session, person: int) -> Residence:
        """Ask, and tell the transaction by which version of the directory it writes: rows of two people need that."""
        found = self.residences.locate(person)
        home.run("SELECT set_config('domicile.as_of', %s, true)", [str(found.as_of)])
        return found

    def who_is_here(self, people: Iterable[int]) -> list[int]:
        """Return those who live here now, asked anew; raise Moving while one of them is between two places."""
        found = self.residences.locate_all(people)
        if any(one.fenced for one in found.values()):
            raise Moving
        return [person for person, one in found.items() if one.location == self.settings.location]

    def receiving(self) -> set[str]:
        """Return the locations where people live: those opened to newcomers, and homes of which the directory says so.

        A home that is being filled by a move must not be written to before.
        """
        opened = self.commons.column("SELECT name FROM app.locations WHERE receives")
        return {*opened, *self.residences.directory.homes()}

    def taking_newcomers(self) -> set[str]:
        """Return the locations where newcomers of their countries live from the first row on; not while people move."""
        if self.commons.value(MOVES) and self.commons.value(UNDER_WAY):
            return set(self.commons.column("SELECT name FROM app.locations WHERE receives"))
        return self.receiving()

    def host(self, home: Session, people: Iterable[int]) -> None:
        """Put bare rows of people into home, so that its foreign keys are met; names stay in the commons."""
        if self.apart:
            home.run(
                "INSERT INTO app.users (id, username, display_name, country) SELECT n, 'id.' || n, '', 'ZZ' "
                "FROM unnest(%s::bigint[]) AS n ON CONFLICT (id) DO NOTHING",
                [sorted(set(people))],
            )

    def host_video(self, home: Session, video: int) -> None:
        """Put the public row of a video into home, unless it is there."""
        if not self.apart or home.value("SELECT true FROM app.videos WHERE id = %s", [video]):
            return
        found = self.commons.one(
            BareVideo,
            "SELECT id, author_id, tags, object_key, duration_s::text AS duration_s, "
            "published_at::text AS published_at FROM app.videos WHERE id = %s",
            [video],
        )
        if found is None:
            return
        self.host(home, [found.author_id])
        home.run(
            "INSERT INTO app.videos (id, author_id, tags, object_key, duration_s, published_at, updated_at) "
            "OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s, %s::numeric, %s::timestamptz, now()) "
            "ON CONFLICT DO NOTHING",
            [found.id, found.author_id, found.tags, found.object_key, found.duration_s, found.published_at],
        )

    def host_comment(self, home: Session, comment: int | None) -> None:
        """Put the public row of a comment into home, unless it is there."""
        if not self.apart or comment is None or home.value("SELECT true FROM app.comments WHERE id = %s", [comment]):
            return
        found = self.commons.one(
            BareComment,
            "SELECT id, target_type, target_id, written_at::text AS written_at FROM app.comments WHERE id = %s",
            [comment],
        )
        if found is not None:
            home.run(
                "INSERT INTO app.comments (id, target_type, target_id, body, written_at) "
                "VALUES (%s, %s, %s, '', %s::timestamptz) ON CONFLICT DO NOTHING",
                [found.id, found.target_type, found.target_id, found.written_at],
            )

    @contextmanager
    def both(self) -> Iterator[tuple[Session, Session]]:
        """Give (home, commons) in one transaction each, or twice the same where they are one database.

        The commons commit last: what was published has its private half at home, and a crash between the two leaves
        half a row at home that nobody sees.
        """
        with ExitStack() as stack:
            commons = stack.enter_context(self.commons.transaction())
            home = stack.enter_context(self.home.transaction()) if self.apart else commons
            yield home, commons


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody who signed up at a home."""

    user_id: int
    location: str


@dataclass(frozen=True, slots=True)
class BareVideo:
    """What a foreign key, and the taste of who liked it, need of a video."""

    id: int
    author_id: int
    tags: list[str]
    object_key: str
    duration_s: str
    published_at: str


@dataclass(frozen=True, slots=True)
class BareComment:
    """What a reply needs of the comment it answers."""

    id: int
    target_type: str
    target_id: int
    written_at: str


@contextmanager
def opened(settings: Settings) -> Iterator[Places]:
    """Connect to both databases and both buckets."""
    with ExitStack() as stack:
        commons = stack.enter_context(Database(settings.commons_dsn, name=f"{settings.location}-commons"))
        home = commons
        if not settings.is_commons:
            home = stack.enter_context(Database(settings.home_dsn, name=settings.location))

        def bucket(name: str) -> Bucket:
            return Bucket(
                endpoint=settings.s3_endpoint, name=name, key=settings.s3_key, secret=settings.s3_secret
            )  # fmt: skip

        def newcomers(people: Sequence[int]) -> Mapping[int, str]:
            found = commons.all(Newcomer, NEWCOMERS, [list(people)]) if people else []
            return {one.user_id: one.location for one in found}

        directory = stack.enter_context(Directory(settings.directory))
        directory.watch()
        yield Places(
            settings=settings,
            home=home,
            commons=commons,
            private_files=bucket(settings.bucket),
            public_files=bucket(settings.commons_bucket),
            residences=Residences(directory, newcomers),
            tickets=Tickets(commons),
            peers=stack.enter_context(Peers(settings)),
            apart=not settings.is_commons,
        )
