"""Who the simulated people are: seeded ones with a session, found in the databases, and those who sign up meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import psycopg
from psycopg.rows import class_row

from shortvideo.oracle.ledger import Entry, Kind
from shortvideo.traffic.figures import State

PUBLIC_KEPT_MAX: Final = 400
# The same number of people from each country, so that small markets are busy, too. The session's uuid is the cookie.
# A canary stays where it was planted: if one moved to a country that stays, it would rightly be found outside.
WITH_SESSION: Final = """
    SELECT id, username, country, session
    FROM (
        SELECT u.id, u.username::text AS username, u.country::text AS country, s.id::text AS session,
               row_number() OVER (PARTITION BY u.country ORDER BY md5(u.id::text)) AS place
        FROM app.users u
        JOIN LATERAL (
            SELECT id FROM app.sessions WHERE user_id = u.id AND upper_inf(valid) AND NOT isempty(valid) LIMIT 1
        ) AS s ON true
        WHERE u.state = 'active' AND u.country IS NOT NULL AND u.country <> 'ZZ'
              AND (u.email LIKE '%%@canary.example') IS NOT TRUE
    ) AS chosen
    ORDER BY place, country LIMIT %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A person with a valid session, as the database has them."""

    id: int
    username: str
    country: str
    session: str


@dataclass(slots=True, kw_only=True)
class Person:
    """Somebody who uses the service, and what they remember of it."""

    id: int
    username: str
    country: str
    cookie: str  # empty: not logged in
    email: str = ""
    password: str = ""
    location: str = ""  # where the last answer came from
    first_location: str = ""
    waits_until: float = 0.0  # Retry-After; 0: no
    busy: bool = False
    gone: bool = False
    likes: dict[int, bool] = field(default_factory=dict)
    follows: dict[str, bool] = field(default_factory=dict)
    videos: list[int] = field(default_factory=list)
    drafts: list[int] = field(default_factory=list)
    comments: list[int] = field(default_factory=list)

    @property
    def cookies(self) -> dict[str, str]:
        """What their browser sends."""
        return {"sv": self.cookie, "sv_country": self.country} if self.cookie else {"sv_country": self.country}

    @property
    def state(self) -> State:
        """Where they are in the move."""
        if self.waits_until:
            return State.MOVING
        return State.STAYS if self.location == self.first_location else State.HOME

    def seen_at(self, location: str) -> None:
        """Remember where an answer came from."""
        if location != "-":
            self.location = location
            self.first_location = self.first_location or location


@dataclass(slots=True)
class Crowd:
    """All people, and what everybody has seen in public: videos, and one cursor of the feed."""

    people: list[Person]
    chance: Random
    videos: deque[tuple[int, str, str]] = field(default_factory=lambda: deque(maxlen=PUBLIC_KEPT_MAX))
    known: set[int] = field(default_factory=set)
    cursor: str = ""
    clips: tuple[bytes, ...] = ()
    run: str = ""  # a word that no other run has
    written: int = 0
    newcomers: list[Person] = field(default_factory=list)
    before: Sequence[Entry] = ()
    """What the oracle has to know of the time before."""

    def welcome(self, person: Person) -> None:
        """Take in somebody who has signed up."""
        self.people.append(person)
        self.newcomers.append(person)

    def take_newcomers(self) -> list[Person]:
        """Return who has come since the last call."""
        taken, self.newcomers = self.newcomers, []
        return taken

    def somebody_else(self, person: Person) -> Person:
        """Return another one who is there."""
        while True:
            other = self.chance.choice(self.people)
            if other.id != person.id and not other.gone:
                return other

    def saw(self, video: int, author: str, poster: str) -> None:
        """Remember a public video."""
        if video in self.known:
            return
        if len(self.videos) == PUBLIC_KEPT_MAX:
            self.known.discard(self.videos[0][0])
        self.known.add(video)
        self.videos.append((video, author, poster))

    def forget(self, video: int) -> None:
        """Forget a video that is no longer there."""
        if video in self.known:
            self.known.discard(video)
            self.videos = deque((item for item in self.videos if item[0] != video), maxlen=PUBLIC_KEPT_MAX)

    def nonce(self) -> str:
        """Return a word that stands in one text only, also as a part of a longer one."""
        self.written += 1
        return f"{self.run}x{self.written:06x}"


def blocked_before(dsns: Sequence[str], people: Sequence[Person]) -> list[Entry]:
    """Return who blocks one of these people, as lines of the ledger: what those write to them is dropped on arrival."""
    names = {person.id: person.username for person in people}
    found = set[tuple[int, int]]()
    for dsn in dsns:
        with psycopg.connect(dsn) as connection:
            rows = connection.execute(
                "SELECT blocker_id, blocked_id FROM app.blocks WHERE blocked_id = ANY(%s)", [list(names)]
            )
            found.update((int(blocker), int(blocked)) for blocker, blocked in rows)
    return [
        Entry(kind=Kind.BLOCK, person=blocker, what={"username": names[blocked], "on": True})
        for blocker, blocked in sorted(found)
    ]


def with_sessions(dsns: Sequence[str], count: int) -> list[Person]:
    """Return up to `count` people of every country who have a valid session in one of the databases."""
    found: dict[int, Person] = {}
    for dsn in dsns:
        with psycopg.connect(dsn) as connection, connection.cursor(row_factory=class_row(Found)) as cursor:
            for row in cursor.execute(WITH_SESSION, [count]):
                found.setdefault(
                    row.id,
                    Person(id=row.id, username=row.username, country=row.country, cookie=f"{row.id}.{row.session}"),
                )
    return list(found.values())[:count]
