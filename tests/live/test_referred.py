"""Rows that others refer to while people go home: found by who is just writing there, kept where they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from domicile.errors import Waiting
from domicile.run import Run, Stage
from domicile.stores.postgres.live import comparing
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.programme import Programme, make
from tests.servers import databases_of

SCHEMA: Final = """
CREATE TABLE person (id bigint PRIMARY KEY, market text NOT NULL, handle text UNIQUE);
CREATE TABLE letter (id bigint PRIMARY KEY, sender bigint NOT NULL REFERENCES person,
    recipient bigint NOT NULL REFERENCES person, cites bigint REFERENCES letter, body text NOT NULL);
CREATE TABLE clip (id bigint PRIMARY KEY, person_id bigint NOT NULL REFERENCES person, title text);
CREATE TABLE seen (id bigint PRIMARY KEY, person_id bigint NOT NULL REFERENCES person,
    clip_id bigint NOT NULL REFERENCES clip);
INSERT INTO person SELECT i, (ARRAY['SG', 'US', 'CA'])[1 + i % 3], 'h' || i FROM generate_series(1, 9) AS i;
INSERT INTO clip SELECT id, id, 't' FROM person;
INSERT INTO seen VALUES (1, 1, 2), (2, 2, 1), (3, 4, 3);
INSERT INTO letter VALUES (1, 1, 2, NULL, 'of two movers'), (2, 3, 6, 1, 'of two who stay'), (3, 3, 1, 1, 'of one');
"""
RULES: Final = """
subject:
  dataset: app.public.person
  key: id
  market: {field: market}
datasets:
  app.public.person:
    rows: split
    fields: {id: public, market: {class: private, outside: none}, handle: public}
  app.public.letter:
    rows: move
    subjects: {by: [sender, recipient], shared: each}
    fields: {body: {class: private, outside: ""}}
    edges: {cites: {apart: skeleton}}
  app.public.clip: {rows: public, path: person_id, fields: {id: public, person_id: public, title: public}}
  app.public.seen: {rows: move, path: person_id}
cutover: {pause: never, grow: [1], wait_s_max: 20}
"""
BY_A_MOVER: Final = "INSERT INTO seen VALUES (9, 4, 3)"


@contextmanager
def moved(server: EmbeddedServer, folder: Path, name: str) -> Iterator[tuple[Programme, Run, dict[str, str]]]:
    """Everybody is at home, and the way back is open."""
    places = ("source", "us", "ca")
    with databases_of(server, [f"{name}_{place}" for place in places]) as made:
        dsns = {place: made[f"{name}_{place}"] for place in places}
        with psycopg.connect(dsns["source"]) as connection:
            connection.execute(SCHEMA)
        programme = make(folder, RULES, source=dsns["source"], homes={"US": dsns["us"], "CA": dsns["ca"]})
        with programme.opened() as run:
            run.plan()
            run.apply(until=Stage.CUTOVER)
            yield programme, run, dsns


@pytest.mark.timeout(120)
def test_p6_who_refers_to_a_public_row_that_is_just_brought_anew_does_not_fail(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the engine's writing of a stayer's clip and its commit somebody at home watches that clip."""
    with moved(pg18, tmp_path, "referred") as (_, run, dsns):
        live, scope = run.moving()
        standing = live.find(scope)
        with psycopg.connect(dsns["source"]) as platform:
            platform.execute("UPDATE clip SET title = 'another' WHERE id = 3")
        watched: list[str] = []
        read_back = comparing.read_back

        def watch(*arguments: Any, **named: Any) -> Any:
            if arguments[3] == "us":
                with psycopg.connect(dsns["us"], options="-c lock_timeout=5s") as home:
                    home.execute(BY_A_MOVER)
                watched.append("in the middle of a step")
            return read_back(*arguments, **named)

        monkeypatch.setattr(comparing, "read_back", watch)
        live.moving.step(live.moving.follower(standing))
        monkeypatch.undo()
        assert ["in the middle of a step"] == watched
        with psycopg.connect(dsns["us"]) as home:
            assert ("another",) == home.execute("SELECT title FROM clip WHERE id = 3").fetchone()


@pytest.mark.timeout(120)
def test_names_that_two_people_exchange_are_exchanged_at_home(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with moved(pg18, tmp_path, "exchanged") as (_, run, dsns):
        live, scope = run.moving()
        standing = live.find(scope)
        with psycopg.connect(dsns["source"]) as platform:  # of two who stay: bare rows at every home
            for handle, person in (("x", 3), ("h3", 6), ("h6", 3)):
                platform.execute("UPDATE person SET handle = %s WHERE id = %s", [handle, person])
        live.moving.step(live.moving.follower(standing))
        for place in ("us", "ca"):
            with psycopg.connect(dsns[place]) as home:
                found = home.execute("SELECT id, handle FROM person WHERE id IN (3, 6) ORDER BY id").fetchall()
            assert [(3, "h6"), (6, "h3")] == found


@pytest.mark.timeout(120)
def test_p1_a_letter_of_two_homes_that_a_stayer_cites_keeps_its_skeleton(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with moved(pg18, tmp_path, "cited") as (programme, run, dsns):
        with pytest.raises(Waiting, match="approvals"):
            run.apply(close=True)
        programme.approve_in(run)
        run.apply(close=True, yes=True)
        with psycopg.connect(dsns["source"]) as source:
            found = source.execute("SELECT id, cites, body FROM letter ORDER BY id").fetchall()
        assert [(1, None, ""), (2, 1, "of two who stay"), (3, 1, "of one")] == found
        for place in ("us", "ca"):
            with psycopg.connect(dsns[place]) as home:
                assert ("of two movers",) == home.execute("SELECT body FROM letter WHERE id = 1").fetchone()
