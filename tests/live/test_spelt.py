"""P1: what a plain UPDATE does not reach comes home too: numbers that the database gives, and how a key is spelt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
import pytest

from domicile.run import Run, Stage
from domicile.run.live import cohort_of
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.programme import make
from tests.live.platform import homes_of

pytestmark = pytest.mark.timeout(120)
SCHEMA: Final = """
CREATE TABLE person (id bigint PRIMARY KEY, market text NOT NULL);
INSERT INTO person VALUES (1, 'US'), (2, 'CA'), (3, 'US'), (4, 'SG');
CREATE TABLE ticket (id numeric PRIMARY KEY, number bigint GENERATED ALWAYS AS IDENTITY,
    person_id bigint NOT NULL REFERENCES person, body text);
INSERT INTO ticket (id, person_id, body) SELECT i, i, 'first' FROM person AS p(i);
CREATE TABLE bill (id numeric PRIMARY KEY, person_id bigint NOT NULL REFERENCES person);
INSERT INTO bill SELECT i, i FROM person AS p(i);
CREATE TABLE clip (id bigint PRIMARY KEY, number bigint GENERATED ALWAYS AS IDENTITY,
    person_id bigint NOT NULL REFERENCES person, title text, ip text);
INSERT INTO clip (id, person_id, title, ip) SELECT i, i, 't', '10.0.0.1' FROM person AS p(i);
"""
RULES: Final = """
subject:
  dataset: app.public.person
  key: id
  market: {field: market}
datasets:
  app.public.person: {rows: split, fields: {id: public, market: {class: private, outside: none}}}
  app.public.ticket: {rows: move, path: person_id}
  app.public.bill: {rows: move, path: person_id}
  app.public.clip:
    rows: split
    path: person_id
    fields: {id: public, number: public, person_id: public, title: public, ip: private}
cutover: {pause: never, grow: [1], wait_s_max: 20}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbered:
    """A platform whose rows are numbered by the database; everybody's rows are at home, and nobody lives there."""

    dsns: dict[str, str]
    run: Run

    def do(self, place: str, query: LiteralString) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsns[place], autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def step(self) -> None:
        live, scope = self.run.moving()
        live.moving.step(live.moving.follower(live.find(scope)))

    def cut_over(self, person: int) -> None:
        live, scope = self.run.moving()
        live.cut_over(scope, cohort_of(f"key:{person}"))


@contextmanager
def _numbered(server: EmbeddedServer, folder: Path, name: str) -> Iterator[_Numbered]:
    with homes_of(server, name) as dsns:
        with psycopg.connect(dsns["source"]) as connection:
            connection.execute(SCHEMA)
        programme = make(folder, RULES, source=dsns["source"], homes={"US": dsns["us"], "CA": dsns["ca"]})
        with programme.opened() as run:
            run.plan()
            run.apply(until=Stage.TRANSFER)
            yield _Numbered(dsns=dsns, run=run)


def test_p1_rows_that_the_database_numbers_follow_the_source(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with _numbered(pg18, tmp_path, "numbered") as platform:
        platform.do("source", "UPDATE ticket SET body = 'second'")
        platform.do("source", "UPDATE clip SET title = 'second'")
        platform.step()
        tickets: LiteralString = "SELECT number, body FROM ticket WHERE id = 1"
        assert [(1, "second")] == platform.do("us", tickets)
        platform.do("source", "DELETE FROM ticket WHERE id = 1; INSERT INTO ticket VALUES (1, DEFAULT, 1, 'third')")
        platform.step()
        assert [(5, "third")] == platform.do("source", tickets)
        assert [(5, "third")] == platform.do("us", tickets)
        platform.cut_over(1)
        platform.do(
            "us", "UPDATE clip SET ip = '10.9.9.9' WHERE id = 1; UPDATE ticket SET body = 'fourth' WHERE id = 1"
        )
        platform.do("source", "UPDATE clip SET title = 'third'")
        platform.step()
        clips: LiteralString = "SELECT number, title, ip FROM clip WHERE id = 1"
        assert [(1, "third", "10.9.9.9")] == platform.do("us", clips)
        assert [(1, "third", "10.9.9.9")] == platform.do("source", clips)
        assert [(5, "fourth")] == platform.do("source", tickets)


def test_p1_a_key_comes_home_as_the_source_spells_it(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with _numbered(pg18, tmp_path, "spelt") as platform:
        spelling: LiteralString = "SELECT id::text FROM bill WHERE id = 1"
        platform.do("source", "UPDATE bill SET id = 1.00 WHERE id = 1")
        platform.step()
        assert [("1.00",)] == platform.do("us", spelling)
        platform.cut_over(1)
        platform.do("us", "UPDATE bill SET id = 1.000 WHERE id = 1")
        platform.step()
        assert [("1.000",)] == platform.do("source", spelling)
