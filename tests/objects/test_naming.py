"""Which rows name objects, and whose they are: asked of a real database, compared with what was counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import psycopg

from domicile.model import Home
from domicile.plan.resolve import resolve
from domicile.stores.postgres.naming import Named, people, rows_naming
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import run as execute
from tests.attack.programme import PERSON, make
from tests.servers import Databases

CA: Final = Home("ca")
SCHEMA: Final = """
CREATE TABLE person (id int PRIMARY KEY, market text NOT NULL);
INSERT INTO person VALUES (1, 'SG'), (2, 'CA'), (3, 'SG'), (4, 'CA');
CREATE TABLE talk (id int PRIMARY KEY, a int REFERENCES person, b int REFERENCES person, "file %s" text);
INSERT INTO talk VALUES (1, 2, 4, 'both move'), (2, 2, 1, 'one stays'), (3, 1, 3, 'both stay'), (4, 2, NULL, NULL);
CREATE TABLE profile (person_id int PRIMARY KEY REFERENCES person, nick text, picture text);
INSERT INTO profile VALUES (1, 'one', 'of one'), (2, 'two', 'of two');
CREATE TABLE poster (id int PRIMARY KEY, file text);
INSERT INTO poster VALUES (1, 'of nobody');
"""
RULES: Final = (
    PERSON
    + """
datasets:
  app.public.person: {rows: move}
  app.public.talk: {rows: move, subjects: {by: [a, b], shared: each}}
  app.public.profile:
    rows: split
    path: person_id
    fields: {person_id: public, nick: public, picture: private}
  app.public.poster: {rows: public, fields: {id: public, file: public}}
"""
)


def test_rows_of_who_moves_of_both_and_of_who_stays(pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> None:
    source = database(pg18)
    execute(source, SCHEMA)
    programme = make(tmp_path / "programme", RULES, source=source, homes={"CA": source})
    found: dict[str, set[Named]] = {}
    lived: dict[str, Home | None] = {}

    with programme.opened() as run:
        scope = resolve(run.config, run.source.catalogue())

        def look(connection: psycopg.Connection[Any], schema: str) -> None:
            for name, column in (("talk", "file %s"), ("profile", "picture"), ("poster", "file")):
                dataset = next(one for one in scope.datasets if one.table.name == name)
                found[name] = set(rows_naming(connection, dataset, column, schema))
            lived.update(people(connection, scope, schema))

        run.source.survey(scope, beside=look)
    assert {
        Named(value="both move", home=CA, stays=False),
        Named(value="one stays", home=CA, stays=True),
        Named(value="both stay", home=None, stays=True),
    } == found["talk"]
    assert {
        Named(value="of one", home=None, stays=True),
        Named(value="of two", home=CA, stays=False),
    } == found["profile"]
    assert {Named(value="of nobody", home=None, stays=True)} == found["poster"]
    assert {"1": None, "2": CA, "3": None, "4": CA} == lived
