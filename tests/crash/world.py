"""A small world with every fate in it, and its end state by SQL written by hand: what each side must hold, row by row.

Two homes, CA and US, and people in SG who stay. Messages are shared (`each`), so some stay for the one who stays and
keep a skeleton of the other; posts and a keyless log with duplicates leave; profiles are split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg

from tests.attack.programme import PERSON

SCHEMA: Final = """
CREATE TABLE country (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO country VALUES ('CA', 'Canada'), ('US', 'United States'), ('SG', 'Singapore'), ('NO', 'Norway');
CREATE TABLE person (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, market text NOT NULL REFERENCES country,
    name text NOT NULL, email text UNIQUE, joined timestamptz NOT NULL);
INSERT INTO person (market, name, email, joined)
    SELECT (ARRAY['CA', 'US', 'SG'])[1 + i % 3], 'Name ' || md5('name' || i), 'person' || i || '@example.test',
           timestamptz '2020-01-01 00:00+00' + i * interval '1 hour'
    FROM generate_series(1, 120) AS i;
CREATE TABLE profile (person_id int PRIMARY KEY, nick text NOT NULL, bio text);
INSERT INTO profile SELECT id, 'nick' || id, 'biography ' || md5('life' || id) FROM person;
CREATE TABLE post (id int PRIMARY KEY, author_id int NOT NULL REFERENCES person ON DELETE CASCADE, body text);
INSERT INTO post SELECT i, 1 + i % 120, 'a post ' || md5('post' || i) || repeat(' word', i % 9)
    FROM generate_series(1, 260) AS i;
CREATE TABLE message (
    id int PRIMARY KEY, sender_id int NOT NULL REFERENCES person, recipient_id int NOT NULL REFERENCES person,
    body text);
INSERT INTO message
    SELECT i, 1 + i % 120, 1 + (i * 7 + i / 3 * (i % 2)) % 60, 'letter ' || md5('letter' || i)
    FROM generate_series(1, 200) AS i;
CREATE TABLE visit (person_id int NOT NULL REFERENCES person, page text);
INSERT INTO visit SELECT 1 + i % 120, 'page ' || i % 5 FROM generate_series(1, 500) i;
"""

RULES: Final = (
    PERSON
    + """
datasets:
  app.public.country: {rows: none, reason: names of countries}
  app.public.person:
    rows: move
    fields: {id: public, market: public, joined: public, email: private, name: {class: private, outside: somebody}}
  app.public.profile:
    rows: split
    path: [{via: person_id, to: app.public.person}]
    fields: {person_id: public, nick: public, bio: private}
  app.public.post: {rows: move, path: author_id}
  app.public.message:
    rows: move
    subjects: {by: [sender_id, recipient_id], shared: each}
    edges: {sender_id: {apart: skeleton}, recipient_id: {apart: skeleton}}
  app.public.visit: {rows: move, path: person_id}
"""
)

TABLES: Final = ("country", "person", "profile", "post", "message", "visit")

# Who is who, said again in plain SQL: nothing of this comes from the engine.
_PEOPLE: Final = """
WITH mover AS (SELECT id, market FROM person WHERE market IN ('CA', 'US')),
stayer AS (SELECT id FROM person WHERE market NOT IN ('CA', 'US')),
kept AS (SELECT * FROM message WHERE sender_id IN (SELECT id FROM stayer) OR recipient_id IN (SELECT id FROM stayer)),
there AS (SELECT * FROM message WHERE EXISTS (
    SELECT FROM mover WHERE mover.id IN (sender_id, recipient_id) AND market = '{home}'))
"""
AT_SOURCE: Final = {
    "country": "SELECT * FROM country",
    "person": """
        SELECT * FROM person WHERE market NOT IN ('CA', 'US')
        UNION ALL SELECT id, market, 'somebody', NULL, joined FROM person
        WHERE market IN ('CA', 'US') AND id IN (SELECT sender_id FROM kept UNION SELECT recipient_id FROM kept)""",
    "profile": """
        SELECT person_id, nick, CASE WHEN person_id IN (SELECT id FROM stayer) THEN bio END AS bio FROM profile""",
    "post": "SELECT * FROM post WHERE author_id IN (SELECT id FROM stayer)",
    "message": "SELECT * FROM kept",
    "visit": "SELECT * FROM visit WHERE person_id IN (SELECT id FROM stayer)",
}
AT_HOME: Final = {
    "country": """
        SELECT * FROM country WHERE code = '{home}' OR code IN (
            SELECT market FROM person
            WHERE id IN (SELECT sender_id FROM there UNION SELECT recipient_id FROM there))""",
    "person": """
        SELECT * FROM person WHERE market = '{home}'
        UNION ALL SELECT id, market, 'somebody', NULL, joined FROM person
        WHERE market <> '{home}' AND id IN (SELECT sender_id FROM there UNION SELECT recipient_id FROM there)""",
    "profile": """
        SELECT person_id, nick,
            CASE WHEN person_id IN (SELECT id FROM mover WHERE market = '{home}') THEN bio END AS bio
        FROM profile""",
    "post": "SELECT * FROM post WHERE author_id IN (SELECT id FROM mover WHERE market = '{home}')",
    "message": "SELECT * FROM there",
    "visit": "SELECT * FROM visit WHERE person_id IN (SELECT id FROM mover WHERE market = '{home}')",
}

Rows = dict[str, tuple[str, ...]]
"""Table → its rows as text, sorted: small enough to be compared whole, so that a difference shows itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What each side must hold when all is done."""

    source: Rows
    homes: dict[str, Rows]


def expected_end(dsn: str) -> End:
    """Ask the untouched source, before anything moves."""
    with psycopg.connect(dsn) as connection:
        homes = {
            home: {table: _rows(connection, query, home) for table, query in AT_HOME.items()} for home in ("CA", "US")
        }
        return End(source={table: _rows(connection, query) for table, query in AT_SOURCE.items()}, homes=homes)


def held(dsn: str) -> Rows:
    """What a database holds now."""
    with psycopg.connect(dsn) as connection:
        return {table: _rows(connection, f"SELECT * FROM {table}") for table in TABLES}


def _rows(connection: psycopg.Connection[Any], query: str, home: str = "CA") -> tuple[str, ...]:
    connection.execute("SET TIME ZONE 'UTC'")
    whole = f"{_PEOPLE} SELECT r::text FROM ({query}) AS r".replace("{home}", home)
    return tuple(sorted(text for (text,) in connection.execute(whole.encode())))
