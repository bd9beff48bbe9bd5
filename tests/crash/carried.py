"""The move of everybody at once with objects in folders, as a scenario: what the disk does to them is an effect, too.

The folders lie in the programme's own, so that they are kept and put back with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from tests.attack.programme import make
from tests.crash.ground import SOURCE, Ground, Place
from tests.crash.whole import HOMES, Whole
from tests.crash.world import RULES, SCHEMA, End, expected_end

PEOPLE: Final = 12
"""People with a letter, a film (of two sizes) and a face; the person n is of the market below at n % 3."""
MARKETS: Final = ("CA", "US", "SG")
FILM: Final = "CREATE TABLE film (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, key text);"
DATASET: Final = "  app.public.film: {rows: move, path: person_id}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried(Whole):
    """The same people, with objects."""

    name: str = "objects"

    def make(self, ground: Ground) -> End:
        """The crash world's tables, one for films, and the folders."""
        place = ground.place
        films = ", ".join(f"({number}, {number}, 'films/{number}.mp4')" for number in _people())
        with psycopg.connect(place.direct[SOURCE]) as connection:
            connection.execute(SCHEMA.encode())
            connection.execute(f"{FILM} INSERT INTO film VALUES {films}".encode())
        make(
            place.folder, _stores(place) + RULES + DATASET, source=place.engine[SOURCE],
            homes={home: place.engine[home] for home in HOMES},
        )  # fmt: skip
        for folder in ("media", *(f"media-{home}" for home in HOMES)):
            (place.folder / folder).mkdir()
        for key, data in _objects().items():
            path = place.folder / "media" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return expected_end(place.direct[SOURCE])

    def check_meanwhile(self, ground: Ground, start: End, *, dice: int) -> None:
        """P1: each object is at the source, or at the home of its person; those of others are where they were."""
        Whole.check_meanwhile(self, ground, start, dice=dice)
        folder = ground.place.folder
        source = _held(folder / "media")
        for key, data in _objects().items():
            homes = [home for home in HOMES if key in _keys_of(home)]
            found = [source, *(_held(folder / f"media-{home}") for home in homes)]
            assert _digest(data) in [one.get(key) for one in found], f"{key} is lost"

    def check_end(self, ground: Ground, start: End) -> None:
        """Movers' objects are at home, byte for byte, and nowhere else; what all see is everywhere."""
        Whole.check_end(self, ground, start)
        folder, objects = ground.place.folder, _objects()
        faces = {key for key in objects if key.startswith("faces/")}
        gone = set[str]()
        for home in HOMES:
            mine = _keys_of(home)
            gone |= mine
            assert {key: _digest(objects[key]) for key in mine | faces} == _held(folder / f"media-{home}")
        assert {key: _digest(data) for key, data in objects.items() if key not in gone} == _held(folder / "media")


def _people() -> range:
    return range(1, PEOPLE + 1)


def _objects() -> dict[str, bytes]:
    """Every object by its key: a film of one block or of more than two, a letter, a face that all see."""
    found: dict[str, bytes] = {}
    for number in _people():
        found[f"films/{number}.mp4"] = b"film of %d " % number * (250_000 if number % 4 == 0 else 10)
        found[f"u/{number}/letter.txt"] = b"a letter of person%d@example.test" % number
        found[f"faces/{number}.jpg"] = b"a face, %d" % number
    return found


def _keys_of(home: str) -> set[str]:
    """The private objects of a market's people."""
    mine = [number for number in _people() if MARKETS[number % 3] == home]
    return {key for number in mine for key in (f"films/{number}.mp4", f"u/{number}/letter.txt")}


def _stores(place: Place) -> str:
    return (
        f"  media:\n    kind: files\n    location: here\n    path: {place.folder / 'media'}\n    objects:\n"
        "      - {of: app.public.film, column: key, disposition: move}\n"
        '      - {pattern: "u/{subject}/*", disposition: move}\n'
        '      - {pattern: "faces/*", disposition: public}\n'
    ) + "".join(
        f"  media-{home.lower()}: {{kind: files, location: {home.lower()}, path: {place.folder / f'media-{home}'},"
        " home_of: media}\n"
        for home in HOMES
    )


def _held(folder: Path) -> dict[str, str]:
    """Key → SHA-256 of every whole file below a folder."""
    return {key: _digest((folder / key).read_bytes()) for key in _files(folder)}


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and ".domicile-parts" not in path.parts:
            yield str(path.relative_to(folder))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
