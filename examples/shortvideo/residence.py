"""Where a person's private data lies: Domicile's directory says it of all who move, the commons of newcomers.

    python -m shortvideo.residence open us  # from now on newcomers of its countries are received there

reads SV_COMMONS_DSN. After a move nothing has to be done: the directory says it, and a home in which somebody lives
receives newcomers.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg

from domicile.directory.client import Directory

SOURCE: Final = "sg"
KEPT_SECONDS: Final = 1.0
KEPT_PEOPLE_MAX: Final = 100_000
MOVING: Final = "Your data is moving home. Try again in a moment."
NEWCOMERS: Final = "SELECT user_id, location FROM app.residences WHERE user_id = ANY(%s)"
"""Who signed up at a home never moved, so no directory knows them."""
MOVES: Final = "SELECT to_regclass('domicile_directory.place') IS NOT NULL"
UNDER_WAY: Final = "SELECT EXISTS (SELECT FROM domicile_directory.place WHERE state IN ('moving', 'fenced'))"
"""While people are on their way, newcomers of their countries come to the source and go home with the others: of who
begins at a home the engine knows nothing, and what it brings there would take the place of their rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residence:
    """The location whose data counts for a person; while `fenced` it can be read, and nobody writes anywhere."""

    location: str
    fenced: bool = False
    as_of: int = field(default=0, compare=False)
    """The directory's version when it said so: what is written by it, is refused if it has become wrong since."""


class Residences:
    """Asks the directory, and `newcomers` for those who are none of its. Raises DirectoryUnknown: it never guesses.

    An answer is remembered for at most a second, and dropped the moment the person is fenced.
    """

    def __init__(
        self,
        directory: Directory,
        newcomers: Callable[[Sequence[int]], Mapping[int, str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory
        self._newcomers = newcomers
        self._clock = clock
        self._known: dict[int, tuple[float, str]] = {}

    def known(self, person: int) -> Residence | None:
        """Return what is remembered, without asking."""
        found = self.directory.known(str(person))
        if found is None:
            return None
        if found.state != "outside":
            return Residence(location=found.authority, fenced=found.fenced, as_of=found.version)
        until, location = self._known.get(person, (0.0, ""))
        return Residence(location=location, as_of=found.version) if self._clock() < until else None

    def locate(self, person: int) -> Residence:
        """Say where the person lives."""
        known = self.known(person)
        if known is not None:
            return known
        found = self.directory.locate(str(person))
        if found.state != "outside":
            return Residence(location=found.authority, fenced=found.fenced, as_of=found.version)
        location = self._newcomers([person]).get(person, found.authority)
        if len(self._known) >= KEPT_PEOPLE_MAX:
            self._known.clear()
        self._known[person] = (self._clock() + KEPT_SECONDS, location)
        return Residence(location=location, as_of=found.version)

    def locate_all(self, people: Iterable[int]) -> dict[int, Residence]:
        """Say where each of them lives now; nothing remembered counts."""
        found = {int(key): one for key, one in self.directory.locate_all(map(str, people)).items()}
        newcomers = self._newcomers([person for person, one in found.items() if one.state == "outside"])
        return {
            person: Residence(location=newcomers.get(person, one.authority), fenced=one.fenced, as_of=one.version)
            for person, one in found.items()
        }

    def of(self, person: int) -> str:
        """Return the location whose data counts for the person."""
        return self.locate(person).location

    def is_fenced(self, person: int) -> bool:
        """Whether the person is between two places now."""
        return self.directory.locate(str(person)).fenced

    def forget(self, person: int) -> None:
        """Ask again next time."""
        self.directory.forget(str(person))
        self._known.pop(person, None)


def receive(commons_dsn: str, location: str) -> None:
    """Let newcomers of the location's countries have their home there."""
    with psycopg.connect(commons_dsn) as commons:
        commons.execute("UPDATE app.locations SET receives = true WHERE name = %s", [location])


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    match arguments:
        case ["open", location]:
            receive(os.environ["SV_COMMONS_DSN"], location)
        case _:
            sys.stderr.write(__doc__ or "")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
