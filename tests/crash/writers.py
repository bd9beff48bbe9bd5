"""People of a platform who write between the engine's steps: what they were promised is kept, and looked up at the end.

One write after the other, by dice that know only a seed and how many were made: so a run repeats itself. Each is noted
before it is tried and after the answer, on the disk, so that it outlives the process in which it was made.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from domicile.stores.postgres.session import FENCED_STATE
from tests.crash.ground import SOURCE
from tests.live.platform import PEOPLE

LOCK_WAIT: Final = "5s"
FIRST_ID: Final = 1_000_000
HOMES: Final = ("us", "ca")
BARE: Final = "INSERT INTO person (id, market, handle) VALUES (%s, 'none', 'bare') ON CONFLICT DO NOTHING"
WRITES: Final = {
    "note": 'INSERT INTO "Note" VALUES (%(id)s, %(person)s, %(body)s)',
    "change": 'UPDATE "Note" SET body = %(body)s WHERE id = %(id)s',
    "remove": 'DELETE FROM "Note" WHERE id = %(id)s',
    "pay": "INSERT INTO payment VALUES (%(person)s, %(id)s, 1)",
    "see": "UPDATE person SET seen = seen + 1 WHERE id = %(person)s",
    "like": "UPDATE clip SET likes = likes + 1 WHERE id = %(person)s",
    "letter": "INSERT INTO letter VALUES (%(id)s, %(person)s, %(other)s, 'l') ON CONFLICT DO NOTHING",
}
ACTS: Final = ("note", "note", "note", "change", "change", "remove", "pay", "see", "see", "like", "letter")
STAYERS: Final = frozenset(person for person in range(1, PEOPLE + 1) if person % 5 > 2)
"""Those of the world's people who are in no home's market."""
MOVERS: Final = frozenset(range(1, PEOPLE + 1)) - STAYERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One write: what, for whom, and what became of it: done, refused, or unknown."""

    number: int
    act: str
    person: int
    other: int
    id: int
    body: str
    end: str = "unknown"


class Promises:
    """The list of them, in a file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "promises.jsonl"

    def all(self) -> list[Promise]:
        """Every write in its order."""
        found: dict[int, Promise] = {}
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                one = Promise(**json.loads(line))
                found[one.number] = one
        return list(found.values())

    def note(self, promise: Promise, end: str) -> None:
        """Keep what is about to be tried, or its end."""
        values = {name: getattr(promise, name) for name in Promise.__slots__} | {"end": end}
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(values) + "\n")


class Platform:
    """Writes for people where the directory says that they live."""

    def __init__(self, dsns: Mapping[str, str], folder: Path, *, seed: int) -> None:
        self._dsns, self._seed = dsns, seed
        self.promises = Promises(folder)

    def write(self, acts: int) -> None:
        """Make so many writes."""
        with self._lines() as lines:
            for _ in range(acts):
                self._act(lines)

    @contextmanager
    def _lines(self) -> Iterator[Mapping[str, psycopg.Connection[Any]]]:
        options = f"-c lock_timeout={LOCK_WAIT}"
        opened = {place: psycopg.connect(dsn, autocommit=True, options=options) for place, dsn in self._dsns.items()}
        try:
            yield opened
        finally:
            for line in opened.values():
                line.close()

    def _act(self, lines: Mapping[str, psycopg.Connection[Any]]) -> None:
        known = self.promises.all()
        dice = random.Random(self._seed * 1_000_003 + len(known))  # noqa: S311 - a test's own dice
        act, person, other = dice.choice(ACTS), dice.randrange(1, PEOPLE + 1), dice.randrange(1, PEOPLE + 1)
        number = len(known) + 1
        own = FIRST_ID + number
        if act in ("change", "remove"):
            notes = [(one, note) for one, note in standing(known).items() if note is not None]
            if not notes:
                return
            own, (person, _) = dice.choice(notes)
        promise = Promise(number=number, act=act, person=person, other=other, id=own, body=f"b{number}")
        places = self._places(lines[SOURCE], promise)
        if None in places:
            self.promises.note(promise, "refused")
            return
        self.promises.note(promise, "unknown")
        self.promises.note(promise, self._try(lines, promise, sorted({str(place) for place in places})))

    def _places(self, source: psycopg.Connection[Any], promise: Promise) -> list[str | None]:
        if promise.act == "like":
            return [SOURCE]
        people = (promise.person, promise.other) if promise.act == "letter" else (promise.person,)
        lives = authorities(source)
        return [lives[person] for person in people]

    def _try(self, lines: Mapping[str, psycopg.Connection[Any]], promise: Promise, places: list[str]) -> str:
        """Write at all places, or, when the first one refuses, nowhere."""
        values = {"id": promise.id, "person": promise.person, "other": promise.other, "body": promise.body}
        for place in places:
            try:
                with lines[place].transaction():
                    if promise.act == "letter" and place != SOURCE:
                        for one in (promise.person, promise.other):
                            lines[place].execute(BARE, [one])
                    done = lines[place].execute(WRITES[promise.act].encode(), values)
            except psycopg.Error as fault:
                if fault.sqlstate != FENCED_STATE:
                    raise
                if promise.person in STAYERS and promise.act != "letter":
                    raise AssertionError(f"somebody who stays was refused: {promise}") from fault
                return "unknown" if place != places[0] else "refused"
            assert done.rowcount or promise.act == "letter", f"at {place} there is no row for {promise}"
        return "done"


def home_of(person: int) -> str | None:
    """Where they are to live, said again by the hand that made the world; elsewhere they are but a skeleton."""
    return {0: "us", 1: "us", 2: "ca"}.get(person % 5)


def authorities(source: psycopg.Connection[Any]) -> dict[int, str | None]:
    """Person → where they are written now; None while they wait."""
    lives: dict[int, str | None] = dict.fromkeys(range(1, PEOPLE + 1), SOURCE)
    if source.execute("SELECT to_regclass('domicile_directory.place') IS NULL").fetchone() == (True,):
        return lives
    for key, state, where in source.execute("SELECT key, state, authority FROM domicile_directory.place"):
        lives[int(key)] = SOURCE if state == "moving" else None if state == "fenced" else str(where)
    return lives


def standing(promises: Iterable[Promise]) -> dict[int, tuple[int, str] | None]:
    """Note → whose and what, None when it was taken away; without those of which something is unknown."""
    notes: dict[int, tuple[int, str] | None] = {}
    unsure: set[int] = set()
    for one in promises:
        if one.act in ("note", "change", "remove"):
            if one.end == "unknown":
                unsure.add(one.id)
            elif one.end == "done":
                notes[one.id] = None if one.act == "remove" else (one.person, one.body)
    return {note: found for note, found in notes.items() if note not in unsure}


# -- what must be true -----------------------------------------------------------------------------------------------


def assert_one_authority(dsns: Mapping[str, str]) -> None:
    """Nobody can be written at two places at once, and who stays can be written at the source."""
    open_at: dict[int, list[str]] = {person: [] for person in range(1, PEOPLE + 1)}
    for place, dsn in dsns.items():
        with closing(psycopg.connect(dsn, options=f"-c lock_timeout={LOCK_WAIT}")) as line:
            if line.execute("SELECT to_regclass('public.person') IS NULL").fetchone() == (True,):
                continue
            expected = _guarded(line) if place == SOURCE else _listed(line)
            for person, places in open_at.items():
                if person in expected and place in (SOURCE, home_of(person)) and _is_open(line, person):
                    places.append(place)
    for person, places in open_at.items():
        assert len(places) <= 1, f"person {person} can be written at {places}"
        assert person not in STAYERS or places == [SOURCE], f"person {person}, who stays, can be written at {places}"


def _guarded(line: psycopg.Connection[Any]) -> set[int]:
    """Whom the source lets write or keeps from it: everybody, but for those whom no guard keeps any more."""
    query = "SELECT count(*) > 0 FROM pg_trigger WHERE tgname ~ 'domicile' AND tgrelid = 'public.person'::regclass"
    if line.execute(query.encode()).fetchone() == (True,):
        return set(range(1, PEOPLE + 1))
    return {person for person, place in authorities(line).items() if place == SOURCE}


def _listed(line: psycopg.Connection[Any]) -> set[int]:
    """The people whom a home knows: before it does it is being made, and nobody is sent there."""
    query = (
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('domicile') AND relname ~ '^s_[0-9a-f]+$'"
    )
    tables = [name for (name,) in line.execute(query.encode())]
    return {int(key) for name in tables for (key,) in line.execute(f"SELECT key FROM domicile.{name}".encode())}


def _is_open(line: psycopg.Connection[Any], person: int) -> bool:
    try:
        return line.execute("UPDATE person SET seen = coalesce(seen, 0) + 1 WHERE id = %s", [person]).rowcount > 0
    except psycopg.Error as fault:
        if fault.sqlstate != FENCED_STATE:
            raise
        return False
    finally:
        line.rollback()


def assert_kept(dsns: Mapping[str, str], promises: list[Promise]) -> None:
    """All that was promised is where its people are, once, and not at another home; nothing that was taken away."""
    with closing(psycopg.connect(dsns[SOURCE])) as line:
        lives = authorities(line)
    assert None not in lives.values(), "somebody waits for ever"
    held = {place: _held(dsn) for place, dsn in dsns.items()}
    _assert_notes(held, lives, promises)
    done = [one for one in promises if one.end == "done"]
    for one in done:
        if one.act == "pay":
            assert 1 == held[str(lives[one.person])]["payment"].count((one.person, one.id)), f"{one} is not kept"
        if one.act == "letter":
            for person in (one.person, one.other):
                found = held[str(lives[person])]["letter"].count((one.id, one.person, one.other))
                assert found == 1, f"{one} is there {found} times for {person}, who lives at {lives[person]}"
    for person, place in lives.items():
        for act, table, where in (("see", "seen", str(place)), ("like", "likes", SOURCE)):
            mine = [one.end for one in promises if one.act == act and one.person == person]
            sure, perhaps = mine.count("done"), mine.count("unknown")
            found = dict(held[where][table])[person]
            assert sure <= found <= sure + perhaps, f"{table} of {person}: {found} at {where}, promised {sure}"
    for home in HOMES:
        strangers = {person for person, place in lives.items() if place in HOMES and place != home}
        private = [row for row in held[home]["email"] if row[0] in strangers and row[1] is not None]
        assert [] == private, f"{home} holds private values of people of another home"


LEFT: Final = {
    "notes": 'SELECT id FROM "Note" WHERE person_id = ANY(%(movers)s)',
    "payments": "SELECT number FROM payment WHERE wallet_id = ANY(%(movers)s)",
    "letters": "SELECT id FROM letter WHERE sender = ANY(%(movers)s) AND recipient = ANY(%(movers)s)",
    "values": "SELECT id FROM person WHERE id = ANY(%(movers)s) AND (email IS NOT NULL OR seen IS NOT NULL)",
    "addresses": "SELECT id FROM clip WHERE person_id = ANY(%(movers)s) AND ip IS NOT NULL",
    "guards": "SELECT tgname FROM pg_trigger WHERE tgname ~ 'domicile'",
    "lists": "SELECT nspname FROM pg_namespace WHERE nspname = 'domicile'",
}


def assert_erased(dsns: Mapping[str, str]) -> None:
    """The source holds nothing private of who moved, and all of who stays; nothing of ours stands in anybody's way."""
    with closing(psycopg.connect(dsns[SOURCE])) as line:
        for what, query in LEFT.items():
            assert [] == line.execute(query.encode(), {"movers": list(MOVERS)}).fetchall(), f"{what} are left"
        stay = list(STAYERS)
        first = 'SELECT count(*) FROM "Note" WHERE id < %s AND person_id = ANY(%s)'
        assert (len(stay),) == line.execute(first.encode(), [FIRST_ID, stay]).fetchone()
        whole = "SELECT count(*) FROM person JOIN clip USING (id) WHERE id = ANY(%s) AND email ~ '@' AND ip <> ''"
        assert (len(stay),) == line.execute(whole.encode(), [stay]).fetchone()
    for home in HOMES:
        with closing(psycopg.connect(dsns[home])) as line:
            assert [] == line.execute(LEFT["guards"].encode()).fetchall(), f"guards are left at {home}"


def _assert_notes(
    held: Mapping[str, Mapping[str, list[tuple[Any, ...]]]], lives: Mapping[int, str | None], promises: list[Promise]
) -> None:
    for number, note in standing(promises).items():
        found = {
            place: rows
            for place, tables in held.items()
            if (rows := [row for row in tables["note"] if row[0] == number])
        }
        if note is None:
            assert not found, f"note {number} came back at {sorted(found)}"
            continue
        place = str(lives[note[0]])
        assert [(number, *note)] == found.get(place), f"note {number} of {note[0]} at {place}: {found}, promised {note}"
        assert not [home for home in HOMES if home in found and home != place], f"note {number} is at another home"


def _held(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    queries = {
        "note": f'SELECT id, person_id, body FROM "Note" WHERE id >= {FIRST_ID}',
        "payment": "SELECT wallet_id, number FROM payment",
        "letter": "SELECT id, sender, recipient FROM letter",
        "seen": "SELECT id, seen FROM person",
        "likes": "SELECT id, likes FROM clip",
        "email": "SELECT id, email FROM person",
    }
    with closing(psycopg.connect(dsn)) as line:
        return {name: line.execute(query.encode()).fetchall() for name, query in queries.items()}
