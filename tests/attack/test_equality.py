"""What is equal is what the database calls equal: the closure asks the operators of its keys, not `=` by name (P1)."""

from __future__ import annotations

from typing import Final

import pytest
from psycopg import DatabaseError

from domicile.errors import BadFile, Refused, Waiting
from domicile.run import Stage
from tests.attack.conftest import Worlds
from tests.attack.programme import PERSON
from tests.attack.test_collateral import NOTES, PEOPLE, RULES

OWN: Final = """
CREATE SCHEMA "Ext Schema";
CREATE EXTENSION citext SCHEMA "Ext Schema";
CREATE EXTENSION ltree;
CREATE DOMAIN handle AS "Ext Schema".citext;
CREATE COLLATION lax (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE person (id "Ext Schema".citext PRIMARY KEY, market "Ext Schema".citext, place ltree UNIQUE NOT NULL,
    name text COLLATE lax UNIQUE NOT NULL, code char(6) UNIQUE NOT NULL, amount numeric UNIQUE NOT NULL,
    angle float8 UNIQUE NOT NULL, word text COLLATE "POSIX" UNIQUE NOT NULL);
INSERT INTO person SELECT 'p' || i, CASE WHEN i % 4 = 0 THEN 'ca' WHEN i % 4 = 2 THEN 'CA' ELSE 'sg' END,
    ('top.' || i)::ltree, 'Név ' || i, 'c' || i, i, i - 2, 'w' || i FROM generate_series(1, 20) AS i;
CREATE TABLE c1 (id int PRIMARY KEY, ref "Ext Schema".citext REFERENCES person);
INSERT INTO c1 SELECT i, CASE WHEN i % 3 = 0 THEN 'P' ELSE 'p' END || 1 + i % 20 FROM generate_series(1, 40) AS i;
CREATE TABLE c2 (ref handle PRIMARY KEY REFERENCES person);
INSERT INTO c2 SELECT upper('p' || i) FROM generate_series(1, 20) AS i;
CREATE TABLE c3 (place ltree REFERENCES person (place), n int, PRIMARY KEY (place, n));
INSERT INTO c3 SELECT ('top.' || 1 + i % 20)::ltree, i FROM generate_series(1, 40) AS i;
CREATE TABLE c4 (name text COLLATE lax PRIMARY KEY REFERENCES person (name));
INSERT INTO c4 SELECT upper('név ' || i) FROM generate_series(1, 20) AS i;
CREATE TABLE c5 (id int PRIMARY KEY, code text REFERENCES person (code));
INSERT INTO c5 SELECT i, 'c' || 1 + i % 20 || repeat(' ', i % 9) FROM generate_series(1, 40) AS i;
CREATE TABLE c6 (amount numeric PRIMARY KEY REFERENCES person (amount));
INSERT INTO c6 SELECT (i || '.' || repeat('0', 1 + i % 7))::numeric FROM generate_series(1, 20) AS i;
CREATE TABLE c7 (angle float8 PRIMARY KEY REFERENCES person (angle));
INSERT INTO c7 SELECT -((2 - i)::float8) FROM generate_series(1, 20) AS i;
CREATE TABLE c8 (id int PRIMARY KEY, word text COLLATE "C" REFERENCES person (word));
INSERT INTO c8 SELECT i, 'w' || 1 + i % 20 FROM generate_series(1, 40) AS i;
CREATE TABLE deep (id "Ext Schema".citext PRIMARY KEY, parent "Ext Schema".citext REFERENCES c2);
INSERT INTO deep SELECT 'Deep' || i, 'p' || 1 + i % 20 FROM generate_series(1, 40) AS i;
CREATE TABLE loose (id int PRIMARY KEY, who text, kind "Ext Schema".citext);
INSERT INTO loose SELECT i, upper('p' || 1 + i % 20), CASE WHEN i % 2 = 0 THEN 'Person' ELSE 'person' END
    FROM generate_series(1, 40) AS i;
"""
OWN_RULES: Final = (
    PERSON.replace("market}", "market, values: {CA: CA}}")
    + """
datasets:
  app.public.person: {rows: move}
  app.public.c1: {rows: move, ownerless: stay, path: ref}
  app.public.c2: {rows: move, path: ref}
  app.public.c3: {rows: move, path: place}
  app.public.c4: {rows: move, path: name}
  app.public.c5: {rows: move, ownerless: stay, path: code}
  app.public.c6: {rows: move, path: amount}
  app.public.c7: {rows: move, path: angle}
  app.public.c8: {rows: move, ownerless: stay, path: word}
  app.public.deep: {rows: move, ownerless: stay, path: [parent, ref]}
  app.public.loose:
    rows: move
    ownerless: stay
    unenforced: follow
    path: [{via: who, to: app.public.person, key: id, when: "lower(kind) = 'person'"}]
    edges: {who: {to: app.public.person}}
"""
)
FOUND: Final = {
    "person": 10,
    "c1": 20,
    "c2": 10,
    "c3": 20,
    "c4": 10,
    "c5": 20,
    "c6": 10,
    "c7": 10,
    "c8": 20,
    "deep": 20,
    "loose": 20,
}
"""Rows of movers; as many are stayers'."""


def test_p1_rows_are_found_by_the_equality_of_their_own_types(icu: Worlds) -> None:
    """citext in a schema nobody looks in, a domain over it, ltree, a lax collation, blanks, zeros, two collations."""
    made = icu(OWN, OWN_RULES.replace("lower(kind) = 'person'", "kind::text ilike 'person'"))
    made.programme.plan()
    made.programme.apply(until=Stage.TRANSFER)
    with pytest.raises(DatabaseError, match="being moved"):
        made.at_source("UPDATE c1 SET ref = 'P2' WHERE id = (SELECT min(id) FROM c1 WHERE ref = 'p3')")
    with pytest.raises(DatabaseError, match="being moved"):
        made.at_source("UPDATE person SET market = 'cA' WHERE id = 'p3'")
    with pytest.raises(Waiting):
        made.programme.apply()
    made.programme.approve()
    made.programme.apply(yes=True, until=Stage.ERASE)
    for side in (made.at_source, made.at_home):
        assert {name: side(f"SELECT count(*) FROM {name}") for name in FOUND} == {
            name: [(count,)] for name, count in FOUND.items()
        }
        dangling = (
            'SELECT count(*) FROM c1 LEFT JOIN person ON ref OPERATOR("Ext Schema".=) person.id WHERE person.id IS NULL'
        )
        assert [(0,)] == side(dangling)
    assert [("P10",), ("P12",)] == made.at_home("SELECT ref FROM c2 ORDER BY ref::text LIMIT 2")


def test_a_condition_says_which_equality_it_means(icu: Worlds) -> None:
    made = icu(OWN, OWN_RULES.replace("lower(kind) = 'person'", "kind = 'person'"))
    with pytest.raises(BadFile, match="kind::text"):
        made.programme.plan()


def test_a_unique_index_that_tells_more_apart_is_no_key(icu: Worlds) -> None:
    """`A` and `a` are two rows to it and one to the column: grouped by that key, one of them would be lost."""
    made = icu(
        "CREATE EXTENSION citext; CREATE COLLATION lax (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"  # noqa: E501
        + PEOPLE
        + "CREATE TABLE note (id citext NOT NULL, person_id int NOT NULL REFERENCES person, body text);"
        "CREATE UNIQUE INDEX ON note ((id) text_ops);"
        "CREATE TABLE tag (id text COLLATE lax NOT NULL, person_id int NOT NULL REFERENCES person);"
        'CREATE UNIQUE INDEX ON tag (id COLLATE "C");'
        "INSERT INTO note SELECT CASE WHEN i % 2 = 0 THEN 'A' ELSE 'a' END || i / 2, 2, 'x' FROM generate_series(0, 9) AS i;"  # noqa: E501
        "INSERT INTO tag SELECT CASE WHEN i % 2 = 0 THEN 'A' ELSE 'a' END || i / 2, 2 FROM generate_series(0, 9) AS i;",
        RULES + "  app.public.tag: {rows: move, path: person_id}\n",
    )
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)
    counts = "SELECT (SELECT count(*) FROM note), (SELECT count(*) FROM tag)"
    assert ([(0, 0)], [(10, 10)]) == (made.at_source(counts), made.at_home(counts))


@pytest.mark.parametrize(
    ("kind", "said"), [("json", "has no equality"), ("uuid", "no equality in common"), ("varchar", "")]
)
def test_a_reference_that_cannot_be_asked_is_refused(icu: Worlds, kind: str, said: str) -> None:
    made = icu(
        "CREATE EXTENSION citext; CREATE TABLE person (id citext PRIMARY KEY, market text);"
        "INSERT INTO person VALUES ('a', 'CA'), ('b', 'SG');"
        f"CREATE TABLE note (id int PRIMARY KEY, who {kind});",
        PERSON + "datasets:\n  app.public.person: {rows: move}\n"
        "  app.public.note: {rows: move, path: who, edges: {who: {to: app.public.person}}}\n",
    )
    if said:
        with pytest.raises(Refused, match=said):
            made.programme.plan()
    else:
        made.programme.plan()


def test_two_collations_of_one_reference_are_no_conflict(world: Worlds) -> None:
    made = world(
        PEOPLE.replace("handle text", 'handle text COLLATE "POSIX"')
        + NOTES
        + 'CREATE TABLE mention (id int PRIMARY KEY, handle text COLLATE "C" REFERENCES person (handle));'
        "INSERT INTO mention SELECT i, 'handle-' || 1 + i % 20 FROM generate_series(1, 40) AS i;",
        RULES + "  app.public.mention: {rows: move, ownerless: stay, path: handle}\n",
    )
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)
    for side in (made.at_source, made.at_home):
        assert [(20,)] == side('SELECT count(*) FROM mention JOIN person ON person.handle = mention.handle COLLATE "C"')
