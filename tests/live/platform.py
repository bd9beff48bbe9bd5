"""A platform in motion: people who write, wherever the directory leads them, and all that they were promised."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg

from domicile.model import Scope
from domicile.run import Run, Stage
from domicile.run.live import Live
from domicile.stores.postgres.live.standing import Standing
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.session import FENCED_STATE
from tests.attack.programme import Programme, make
from tests.servers import databases_of

PEOPLE: Final = 60
BREATH_S: Final = 0.02
LATE_S: Final = 0.5
"""How long some letters lie between the question to the directory and the writing."""
SCHEMA: Final = """
CREATE TABLE person (id bigint PRIMARY KEY, market text NOT NULL, handle text NOT NULL, email text, seen int);
INSERT INTO person SELECT i, CASE WHEN i % 5 < 2 THEN 'US' WHEN i % 5 = 2 THEN 'CA' ELSE 'SG' END, 'h' || i, 'e' || i, 0
    FROM generate_series(1, 60) AS i;
CREATE TABLE "Note" (id bigint PRIMARY KEY, person_id bigint NOT NULL REFERENCES person, body text);
INSERT INTO "Note" SELECT i * 1000, i, 'first' FROM person AS p(i);
CREATE TABLE letter (id bigint PRIMARY KEY, sender bigint NOT NULL REFERENCES person,
    recipient bigint NOT NULL REFERENCES person, body text, read int NOT NULL DEFAULT 0);
CREATE TABLE wallet (id bigint PRIMARY KEY, person_id bigint NOT NULL REFERENCES person);
INSERT INTO wallet SELECT i, i FROM person AS p(i);
CREATE TABLE payment (wallet_id bigint NOT NULL REFERENCES wallet, number int, amount int,
    PRIMARY KEY (wallet_id, number));
CREATE TABLE clip (id bigint PRIMARY KEY, person_id bigint NOT NULL REFERENCES person, title text, likes int, ip text);
INSERT INTO clip SELECT i, i, 't', 0, '10.0.0.1' FROM person AS p(i);
"""
RULES: Final = """
subject:
  dataset: app.public.person
  key: id
  market: {field: market}
datasets:
  app.public.person:
    rows: split
    fields: {id: public, market: {class: private, outside: none}, handle: public, email: private, seen: private}
  app.public.Note: {rows: move, path: person_id}
  app.public.letter: {rows: move, subjects: {by: [sender, recipient], shared: each}}
  app.public.wallet: {rows: move, path: person_id}
  app.public.payment: {rows: move, path: [wallet_id, person_id]}
  app.public.clip:
    rows: split
    path: person_id
    fields: {id: public, person_id: public, title: public, likes: public, ip: private}
directory: {purpose: requests find the home of who moved}
"""
CUTOVER: Final = "cutover: {pause: never, grow: [0.1, 0.3], wait_s_max: 20}\n"


@dataclass(slots=True, kw_only=True)
class World:
    """A platform in motion: databases, the programme, its run, and who routes by them."""

    dsns: dict[str, str]
    programme: Programme
    run: Run
    _own: threading.local = field(default_factory=threading.local)
    _lines: list[psycopg.Connection[Any]] = field(default_factory=list)

    def close(self) -> None:
        """Give back the sessions of all who asked."""
        while self._lines:
            self._lines.pop().close()

    @property
    def live(self) -> Live:
        """The move under way."""
        assert self.run.live is not None
        return self.run.live

    @property
    def scope(self) -> Scope:
        """What moves."""
        return self.run.source.scope

    @property
    def standing(self) -> Standing:
        """What stands in the stores."""
        return self.live.find(self.scope)

    def at(self, place: str, query: LiteralString) -> list[tuple[Any, ...]]:
        """Run a statement there as somebody of the platform does; its rows, if it has any."""
        with psycopg.connect(self.dsns[place], autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def authority(self, person: int) -> str | None:
        """Where the person's data is written now; None while they wait."""
        return next(iter(self.asked(person)[1]))

    def asked(self, *people: int) -> tuple[int, set[str | None]]:
        """The directory's version, and the places where these people's data is written as of it."""
        if not hasattr(self._own, "line"):
            self._own.line = psycopg.connect(self.dsns["source"], autocommit=True)
            self._lines.append(self._own.line)
        rows = self._own.line.execute(
            "SELECT c.version, p.state, p.authority FROM domicile_directory.clock AS c CROSS JOIN unnest(%s::text[])"
            " AS k (key) LEFT JOIN domicile_directory.place AS p USING (key)",
            [[str(person) for person in people]],
        ).fetchall()
        return int(rows[0][0]), {
            "source" if state in {None, "moving"} else None if state == "fenced" else str(authority)
            for _, state, authority in rows
        }


@contextmanager
def moving_world(
    pg18: EmbeddedServer, folder: Path, name: str, *, cutover: str = CUTOVER, rules: str = RULES
) -> Iterator[World]:
    """Make the platform and bring its movers' rows home; nobody is cut over yet."""
    with homes_of(pg18, name) as dsns, moving_in(dsns, folder, cutover=cutover, rules=rules) as world:
        yield world


@contextmanager
def homes_of(
    server: EmbeddedServer, name: str, places: tuple[str, ...] = ("source", "us", "ca")
) -> Iterator[dict[str, str]]:
    """The databases of a platform, by place; gone afterwards."""
    with databases_of(server, [f"{name}_{place}" for place in places]) as made:
        yield {place: made[f"{name}_{place}"] for place in places}


@contextmanager
def moving_in(
    dsns: dict[str, str], folder: Path, *, cutover: str = CUTOVER, rules: str = RULES, schema: str = SCHEMA
) -> Iterator[World]:
    """The same in databases that stay when the run has ended."""
    with psycopg.connect(dsns["source"]) as connection:
        connection.execute(schema.encode())
    homes = {place.upper(): dsn for place, dsn in dsns.items() if place != "source"}
    programme = make(folder, rules + cutover, source=dsns["source"], homes=homes)
    with programme.opened() as run:
        run.plan()
        run.apply(until=Stage.TRANSFER)
        world = World(dsns=dsns, programme=programme, run=run)
        try:
            yield world
        finally:
            world.close()


@dataclass(slots=True)
class Ledger:
    """What people were promised: each acknowledged write, and how often somebody who stays was refused."""

    notes: dict[int, tuple[int, str] | None] = field(default_factory=dict)
    payments: set[tuple[int, int]] = field(default_factory=set)
    letters: dict[int, tuple[int, int]] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(1, PEOPLE + 1), 0))
    likes: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(1, PEOPLE + 1), 0))
    refused_stayers: int = 0
    faults: list[str] = field(default_factory=list)


class Traffic:
    """Somebody who writes for their own people, one after the other, wherever the directory leads them."""

    def __init__(self, world: World, number: int, writers: int, seed: int) -> None:
        self.ledger = Ledger()
        self._world, self._number = world, number
        self._people = [person for person in range(1, PEOPLE + 1) if person % writers == number]
        self._dice = random.Random(seed + number)  # noqa: S311 - a test's own dice
        self._stop = threading.Event()
        self._ids = iter(range(1_000_000 * (number + 1), 1_000_000 * (number + 2)))
        self._lines: dict[str, psycopg.Connection[Any]] = {}
        self._thread = threading.Thread(target=self._run)
        self._stayers = {person for person in range(1, PEOPLE + 1) if person % 5 > 2} - {8, 9}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        if self._thread.is_alive():
            self.ledger.faults.append("somebody waits for ever")
            return
        for line in self._lines.values():
            line.close()

    def _run(self) -> None:
        acts = (
            self._note,
            self._note,
            self._change,
            self._remove,
            self._pay,
            self._see,
            self._see,
            self._like,
            self._write,
        )
        try:
            while not self._stop.wait(BREATH_S):
                self._dice.choice(acts)(self._dice.choice(self._people))
        except Exception as fault:  # noqa: BLE001 - told by the test
            self.ledger.faults.append(repr(fault))

    def _at(self, place: str) -> psycopg.Connection[Any]:
        if place not in self._lines:
            self._lines[place] = psycopg.connect(self._world.dsns[place], autocommit=True)
        return self._lines[place]

    def _do(self, person: int, query: LiteralString, values: list[object], *, place: str | None = None) -> int:
        """Write where the person's data is, again and again while they are on the move."""
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            where = place or self._world.authority(person)
            if where is None:
                continue
            try:
                return self._at(where).execute(query, values).rowcount
            except psycopg.Error as fault:
                if fault.sqlstate != FENCED_STATE:
                    raise
                if person in self._stayers and "letter" not in query:
                    self.ledger.refused_stayers += 1
        raise TimeoutError("nobody let this through")

    def _note(self, person: int) -> None:
        number = next(self._ids)
        self._do(person, 'INSERT INTO "Note" VALUES (%s, %s, %s)', [number, person, f"n{number}"])
        self.ledger.notes[number] = (person, f"n{number}")

    def _change(self, person: int) -> None:
        mine = [number for number, note in self.ledger.notes.items() if note and note[0] == person]
        if mine:
            number, body = self._dice.choice(mine), f"c{self._dice.randrange(10**9)}"
            assert 1 == self._do(person, 'UPDATE "Note" SET body = %s WHERE id = %s', [body, number]), (
                "a note is not there"
            )
            self.ledger.notes[number] = (person, body)

    def _remove(self, person: int) -> None:
        mine = [number for number, note in self.ledger.notes.items() if note and note[0] == person]
        if mine and not self._dice.randrange(3):
            number = self._dice.choice(mine)
            assert 1 == self._do(person, 'DELETE FROM "Note" WHERE id = %s', [number]), "a note is not there"
            self.ledger.notes[number] = None

    def _pay(self, person: int) -> None:
        number = next(self._ids)
        self._do(person, "INSERT INTO payment VALUES (%s, %s, 1)", [person, number])
        self.ledger.payments.add((person, number))

    def _see(self, person: int) -> None:
        assert 1 == self._do(person, "UPDATE person SET seen = seen + 1 WHERE id = %s", [person])
        self.ledger.seen[person] += 1

    def _like(self, person: int) -> None:
        self._do(person, "UPDATE clip SET likes = likes + 1 WHERE id = %s", [person], place="source")
        self.ledger.likes[person] += 1

    def _write(self, person: int) -> None:
        """A letter is written where its writer and its reader are by one word of the directory, soon or late."""
        other = self._dice.randrange(1, PEOPLE + 1)
        number = next(self._ids)
        give_up = time.monotonic() + 30
        while not self._wrote(number, person, other):
            if time.monotonic() > give_up:
                raise TimeoutError("nobody let this letter through")
        self.ledger.letters[number] = (person, other)

    def _wrote(self, number: int, person: int, other: int) -> bool:
        version, places = self._world.asked(person, other)
        if None in places:
            return False
        if not self._dice.randrange(4):
            time.sleep(self._dice.random() * LATE_S)
        query: LiteralString = "INSERT INTO letter VALUES (%s, %s, %s, 'l') ON CONFLICT DO NOTHING"
        bare: LiteralString = (
            "INSERT INTO person (id, market, handle) VALUES (%s, 'none', 'bare') ON CONFLICT DO NOTHING"
        )
        try:
            for where in map(str, places):
                with self._at(where).transaction():
                    self._at(where).execute("SELECT set_config('domicile.as_of', %s, true)", [str(version)])
                    for one in (person, other) if where != "source" else ():
                        self._at(where).execute(bare, [one])
                    self._at(where).execute(query, [number, person, other])
        except psycopg.Error as fault:
            if fault.sqlstate != FENCED_STATE:
                raise
            return False
        return True


def check(world: World, ledgers: list[Ledger], *, closed: bool = False) -> None:
    """Everything that was acknowledged is where its people are, once, and nothing that was taken away.

    After the close nobody but publications brings likes home, and there are none here.
    """
    assert [] == [fault for ledger in ledgers for fault in ledger.faults]
    places = {person: world.authority(person) for person in range(1, PEOPLE + 1)}
    rows: dict[str, dict[str, list[tuple[Any, ...]]]] = {}
    for place, dsn in world.dsns.items():
        with psycopg.connect(dsn) as connection:
            rows[place] = {
                "note": connection.execute('SELECT id, person_id, body FROM "Note" WHERE id >= 1000000').fetchall(),
                "payment": connection.execute("SELECT wallet_id, number FROM payment").fetchall(),
                "letter": connection.execute("SELECT id, sender, recipient FROM letter").fetchall(),
                "seen": connection.execute("SELECT id, seen FROM person").fetchall(),
                "likes": connection.execute("SELECT id, likes FROM clip").fetchall(),
            }
    for ledger in ledgers:
        for number, note in ledger.notes.items():
            found = {place: [row for row in tables["note"] if row[0] == number] for place, tables in rows.items()}
            if note is None:
                assert not any(found.values()), f"note {number} came back"
                continue
            assert [(number, *note)] == found[str(places[note[0]])]
        for payment in ledger.payments:
            assert payment in rows[str(places[payment[0]])]["payment"]
        for number, (sender, recipient) in ledger.letters.items():
            for person in (sender, recipient):
                assert 1 == rows[str(places[person])]["letter"].count((number, sender, recipient))
    for person, lives in places.items():
        place = str(lives)
        assert (person, sum(ledger.seen[person] for ledger in ledgers)) in rows[place]["seen"]
        likes = (person, sum(ledger.likes[person] for ledger in ledgers))
        assert likes in rows["source"]["likes"]
        assert closed or likes in rows[place]["likes"]
