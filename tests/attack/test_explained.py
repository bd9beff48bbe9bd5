"""What `domicile explain` says of rows that stop the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from domicile.errors import Refused
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import run
from tests.attack.programme import PERSON, make
from tests.servers import Databases

SCHEMA: Final = """
CREATE TABLE person (id int PRIMARY KEY, market text);
INSERT INTO person VALUES (1, 'CA'), (2, 'US');
CREATE TABLE room (id int PRIMARY KEY, host_id int REFERENCES person, guest_id int REFERENCES person, note text);
INSERT INTO room VALUES (7, 1, 2, 'private');
"""
RULES: Final = (
    PERSON
    + """
datasets:
  app.public.person: {rows: move, fields: {id: public, market: public}}
  app.public.room:
    rows: split
    subjects: {by: [host_id, guest_id], shared: each}
    fields: {id: public, host_id: public, guest_id: public, note: private}
    edges: {host_id: {apart: skeleton}, guest_id: {apart: skeleton}}
"""
)


def test_p6_a_row_whole_at_two_homes_is_refused_and_has_one_line_for_every_home(
    pg18: EmbeddedServer, database: Databases, tmp_path: Path
) -> None:
    source = database(pg18)
    run(source, SCHEMA)
    programme = make(tmp_path, RULES, source=source, homes={home: database(pg18) for home in ("CA", "US")})
    with pytest.raises(Refused, match="belong whole to several homes"):
        programme.plan()
    answer = programme.command("explain", "room", "7", "--json")
    assert 0 == answer.returncode, answer.stderr
    lines = [(line["part"], line["form"]) for line in json.loads(answer.stdout)["lines"]]
    assert [("*", "skeleton"), ("ca", "whole"), ("us", "whole")] == sorted(lines)
