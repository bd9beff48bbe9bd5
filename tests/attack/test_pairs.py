"""Polymorphic pairs as edges: each target under its own condition, in every stage (P1, P3)."""

from __future__ import annotations

from typing import Final

import psycopg
import pytest

from domicile.errors import BadFile, DomicileError, Undecided
from tests.attack.conftest import Worlds
from tests.attack.programme import PERSON

# Posts and pictures of the same numbers. Even people move; everybody remarks on number n and n + 1 of either.
SCHEMA: Final = """
CREATE TABLE person (id int PRIMARY KEY, market text);
INSERT INTO person SELECT i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END FROM generate_series(1, 6) AS i;
CREATE TABLE post (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, body text);
CREATE TABLE picture (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, body text);
INSERT INTO post SELECT i, i, 'post ' || i FROM generate_series(1, 6) AS i;
INSERT INTO picture SELECT i, i, 'picture ' || i FROM generate_series(1, 6) AS i;
CREATE TABLE remark (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, target_type text, target_id int);
INSERT INTO remark VALUES (1, 1, 'post', 2), (2, 3, NULL, 4), (3, 3, 'picture', 1), (4, 5, 'picture', 6),
    (5, 2, 'post', 3), (6, 2, 'picture', 2), (7, 4, 'post', 4);
"""
HEAD: Final = (
    PERSON
    + """
datasets:
  app.public.person: {rows: move}
  app.public.post: {rows: move, path: person_id, fields: {body: {class: private, outside: gone}}}
  app.public.picture: {rows: move, path: person_id, fields: {body: {class: private, outside: gone}}}
  app.public.remark:
    rows: move
    path: person_id
"""
)
EDGES: Final = """
    edges:
      "target_id when target_type = 'post'": {to: app.public.post, apart: skeleton}
      "target_id when target_type = 'picture'": {to: app.public.picture, apart: skeleton}
"""


def rules(edges: str) -> str:
    kept = "edges: {person_id: {apart: skeleton}}"
    head = HEAD.replace("outside: gone}}}", "outside: gone}}, " + kept + "}")
    return head + edges


def test_p1_p3_each_target_follows_its_own_condition(world: Worlds) -> None:
    made = world(SCHEMA, rules(EDGES))
    made.programme.finish()
    # Somebody who stays remarks on post 2 and picture 6, so their skeletons stay; picture 2, post 6 and 4 go.
    assert [(1, "post 1"), (2, "gone"), (3, "post 3"), (5, "post 5")] == made.at_source(
        "SELECT id, body FROM post ORDER BY id"
    )
    assert [(1, "picture 1"), (3, "picture 3"), (5, "picture 5"), (6, "gone")] == made.at_source(
        "SELECT id, body FROM picture ORDER BY id"
    )
    # Person 2, who moves, remarks on post 3 of somebody who stays: home gets its skeleton, and no picture 3.
    assert [(2, "post 2"), (3, "gone"), (4, "post 4"), (6, "post 6")] == made.at_home(
        "SELECT id, body FROM post ORDER BY id"
    )
    assert [(2,), (4,), (6,)] == made.at_home("SELECT id FROM picture ORDER BY id")
    assert [(1,), (2,), (3,), (4,)] == made.at_source("SELECT id FROM remark ORDER BY id")


def test_without_a_rule_each_target_is_asked_for_by_itself(world: Worlds) -> None:
    edges = EDGES.replace("picture, apart: skeleton", "picture")
    made = world(SCHEMA, rules(edges))
    with pytest.raises(Undecided, match=r"edges.target_id when target_type = 'picture': 1 rows of app.public.picture"):
        made.programme.plan()


def test_p1_the_fence_asks_the_condition(world: Worlds) -> None:
    """Post 4 and picture 4 of a mover leave; nobody who stays may begin to refer to them, by their own type only."""
    made = world(SCHEMA, rules(EDGES))
    made.programme.clear()
    made.at_source("INSERT INTO remark VALUES (10, 1, 'video', 4), (11, 1, NULL, 4)")
    for number, kind in ((12, "post"), (13, "picture")):
        with pytest.raises(psycopg.Error):
            made.at_source(f"INSERT INTO remark VALUES ({number}, 1, '{kind}', 4)")
    made.programme.apply(yes=True)
    assert [(10,), (11,)] == made.at_source("SELECT id FROM remark WHERE target_id = 4 AND id > 9 ORDER BY id")


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ('"target_id when target_kind = 1": {to: app.public.post}', "target_kind"),
        ("\"target_id when now() > '2020-01-01'\": {to: app.public.post}", "may not hold"),
        ("\"target_id when target_type = 'post'\": {apart: skeleton}", "name its parent"),
        ('"target_type[] when target_id = 1": {to: app.public.post}', "plain columns"),
    ],
)
def test_p4_a_condition_that_is_none_is_refused(world: Worlds, edges: str, words: str) -> None:
    made = world(SCHEMA, rules(f"    edges: {{{edges}}}\n"))
    with pytest.raises((BadFile, DomicileError), match=words):
        made.programme.plan()
