"""Where a person's private data lies: asked for every request, so remembered for a second.

    python -m shortvideo.residence sync     # after a move: look who lives where, and send them there
    python -m shortvideo.residence open us  # from now on newcomers of its countries are received there

Both read SV_COMMONS_DSN; `sync` also SV_HOME_DSNS, a JSON object of location → connection string.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final

import psycopg

SOURCE: Final = "sg"
KEPT_SECONDS: Final = 1.0
KEPT_PEOPLE_MAX: Final = 100_000


class Residences:
    """Answers from memory what it asked less than a second ago; a move is seen everywhere after that second."""

    def __init__(self, look_up: Callable[[int], str | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up
        self._clock = clock
        self._known: dict[int, tuple[float, str]] = {}

    def known(self, person: int) -> str | None:
        """Return what is remembered, without asking."""
        until, location = self._known.get(person, (0.0, ""))
        return location if self._clock() < until else None

    def of(self, person: int) -> str:
        """Return the location where this person's private data lies."""
        location = self.known(person)
        if location is None:
            location = self._look_up(person) or SOURCE
            if len(self._known) >= KEPT_PEOPLE_MAX:
                self._known.clear()
            self._known[person] = (self._clock() + KEPT_SECONDS, location)
        return location

    def forget(self, person: int) -> None:
        """Ask again next time."""
        self._known.pop(person, None)


def sync(commons_dsn: str, home_dsns: Mapping[str, str]) -> dict[str, int]:
    """Set the residence of everybody whose private row lies in a home; return how many live in each.

    The homes receive newcomers from then on. Safe to repeat.
    """
    counts = {}
    with psycopg.connect(commons_dsn) as commons:
        for location, dsn in home_dsns.items():
            if location == SOURCE:
                continue
            people = _residents(dsn)
            commons.cursor().executemany(
                "INSERT INTO app.residences (user_id, location) VALUES (%s, %s) "
                "ON CONFLICT (user_id) DO UPDATE SET location = excluded.location",
                [(person, location) for person in people],
            )
            if people:
                commons.execute("UPDATE app.locations SET receives = true WHERE name = %s", [location])
            counts[location] = len(people)
    return counts


def receive(commons_dsn: str, location: str) -> None:
    """Let newcomers of the location's countries have their home there."""
    with psycopg.connect(commons_dsn) as commons:
        commons.execute("UPDATE app.locations SET receives = true WHERE name = %s", [location])


def _residents(dsn: str) -> list[int]:
    """Whose private row is here; a home that was not made yet has nobody."""
    with psycopg.connect(dsn) as home:
        there = home.execute("SELECT to_regclass('app.users') IS NOT NULL").fetchone()
        if there is None or not there[0]:
            return []
        rows = home.execute("SELECT id FROM app.users WHERE email IS NOT NULL OR password_hash IS NOT NULL").fetchall()
    return [number for (number,) in rows]


def main(arguments: list[str]) -> int:
    """Run one of the commands; return its exit code."""
    match arguments:
        case ["sync"]:
            counts = sync(os.environ["SV_COMMONS_DSN"], json.loads(os.environ["SV_HOME_DSNS"]))
            sys.stdout.write("".join(f"{location}: {count} people live there\n" for location, count in counts.items()))
        case ["open", location]:
            receive(os.environ["SV_COMMONS_DSN"], location)
        case _:
            sys.stderr.write(__doc__ or "")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
