"""Coverage: keys planted in every kind of column are found and proposed; numbers that only collide are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from domicile import config
from domicile.catalogue import TableName
from domicile.catalogue.clues import Clue, Place, Target, TokenKind
from domicile.map.coverage import Hint, hint, propose
from domicile.stores.postgres.server import EmbeddedServer
from tests.main.programme import Programme
from tests.servers import Databases

PEOPLE = 300
FIRST = 1_000_003
SCHEMA = """
CREATE TABLE users (id bigint PRIMARY KEY, ref uuid UNIQUE NOT NULL, email text NOT NULL, country text NOT NULL);
INSERT INTO users SELECT 1000003 + 7 * n, md5('u' || n)::uuid, 'Person' || n || '@example.org',
  CASE WHEN n % 3 = 0 THEN 'CA' ELSE 'FR' END FROM generate_series(0, 299) AS n;
CREATE TABLE plain (id int PRIMARY KEY, user_id bigint NOT NULL);
INSERT INTO plain SELECT n, 1000003 + 7 * n FROM generate_series(0, 99) AS n;
CREATE TABLE event (id int PRIMARY KEY, payload jsonb, raw text, who text, watchers bigint[], note text, blob bytea,
  cache_key varchar(40));
INSERT INTO event SELECT n, jsonb_build_object('actor', jsonb_build_object('id', 1000003 + 7 * n), 'level', n),
  '{"items": [{"user": "' || (1000003 + 7 * n) || '"}]}', 'x', ARRAY[1000003 + 7 * n]::bigint[],
  'seen by ' || md5('u' || n)::uuid || ' today', decode(md5('u' || n), 'hex'), 'user:' || (1000003 + 7 * n)
  FROM generate_series(0, 99) AS n;
CREATE TABLE guest_order (id int PRIMARY KEY, contact text NOT NULL);
INSERT INTO guest_order SELECT n, 'person' || n || '@EXAMPLE.org' FROM generate_series(0, 49) AS n;
CREATE TABLE done (id int PRIMARY KEY, user_id bigint REFERENCES users);
INSERT INTO done VALUES (1, 1000003), (2, 1000004 + 6), (3, NULL), (4, 1000003 + 21);
"""
TWIN = """
CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL, country text NOT NULL);
INSERT INTO users SELECT n, 'person' || n || '@example.org', CASE WHEN n % 3 = 0 THEN 'CA' ELSE 'FR' END
  FROM generate_series(1, 300) AS n;
CREATE TABLE event (id int PRIMARY KEY, user_count int, payload jsonb, raw text, scores int[], key text, mail text);
INSERT INTO event SELECT n, n % 90 + 1, jsonb_build_object('level', n, 'user', jsonb_build_object('age', n % 80 + 1)),
  '{"page": ' || n || '}', ARRAY[n, n + 1], 'page:' || n, 'somebody' || n || '@example.net'
  FROM generate_series(1, 100) AS n;
"""
FILE = """
version: 1
programme: {{name: homecoming}}
policy:
  homes: {{CA: ca}}
  unknown_market: stay
  approvals: {{erase: {{threshold: 1, of: [operator]}}}}
locations: {{sg: {{country: SG, operator: O}}, ca: {{country: CA, operator: H}}}}
stores:
  app: {{kind: postgresql, location: sg, dsn: env:APP_DSN}}
  app-ca: {{kind: postgresql, location: ca, dsn: env:APP_DSN, home_of: app}}
subject: {{dataset: app.public.users, key: id, market: {{field: country}}}}
datasets:
  app.public.users: {{rows: move}}
{datasets}
"""


def covered(tmp_path: Path, dsn: str, datasets: str) -> Any:
    programme = Programme(folder=tmp_path, source=dsn, homes={})
    programme.file.write_text(FILE.format(datasets=datasets), encoding="utf-8")
    text = programme.cli("map", "--coverage").text
    answer = programme.cli("map", "--coverage", "--json")
    for value in ("Person1@", "person1@", str(FIRST), str(FIRST + 7)):
        assert value not in text + answer.out
    return answer.json()


@pytest.fixture
def planted(pg18: EmbeddedServer, database: Databases) -> str:
    return filled(database(pg18), SCHEMA)


def filled(dsn: str, script: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(script.encode())
    return dsn


NONE = "{rows: none, reason: not looked at}"


def test_keys_in_every_kind_of_column_are_found(planted: str, tmp_path: Path) -> None:
    datasets = "\n".join(
        [f"  app.public.{name}: {NONE}" for name in ("plain", "event", "guest_order")]
        + ["  app.public.done: {rows: move, path: user_id, ownerless: stay}"]
    )
    found = covered(tmp_path, planted, datasets)
    to = "{to: app.public.users"
    edges = {
        '"user_id": ' + to + "}", '"payload->actor->id": ' + to + "}", '"raw->items[]->user": ' + to + "}",
        '"watchers[]": ' + to + "}", '"cache_key ~ ^user:([0-9]+)$": ' + to + "}",
    }  # fmt: skip
    lines = [item["lines"] for item in found["proposed"]]
    # Watchers are nobody's word for a person: a number without a hint is not enough.
    assert edges - {'"watchers[]": ' + to + "}"} == {edge for edge in edges if any(edge in line for line in lines)}
    assert any('"note ~ ' in line and ", key: ref}" in line for line in lines)
    assert any(line.startswith("# app.public.event.blob") for line in lines)
    assert any('path: [{via: "contact", to: app.public.users, key: email, fold: true}]' in line for line in lines)
    assert 7 == len(lines)
    assert all(item["hits"] >= 3 for item in found["proposed"])
    done = next(item for item in found["datasets"] if item["dataset"] == "app.public.done")
    assert (4, 2, 1, 1) == tuple(done["reached"][name] for name in ("rows", "movers", "stayers", "nobody"))
    assert [["user_id", 2, 1]] == done["reached"]["paths"]
    assert [{"spelled": "user_id", "parent": "app.public.users", "kind": "declared", "followed": True}] == done["edges"]


def test_what_is_proposed_is_a_file_that_reaches_those_rows(planted: str, tmp_path: Path) -> None:
    datasets = "\n".join([f"  app.public.{name}: {NONE}" for name in ("plain", "guest_order", "done")])
    datasets += """
  app.public.event:
    rows: move
    path: "payload->actor->id"
    edges: {"payload->actor->id": {to: app.public.users}}
"""
    found = covered(tmp_path, planted, datasets)
    event = next(item for item in found["datasets"] if item["dataset"] == "app.public.event")
    assert (100, 34, 66, 0) == tuple(event["reached"][name] for name in ("rows", "movers", "stayers", "nobody"))
    assert not any("payload->actor" in item["lines"] for item in found["proposed"])


def test_numbers_that_collide_by_chance_propose_nothing(
    pg18: EmbeddedServer, database: Databases, tmp_path: Path
) -> None:
    found = covered(tmp_path, filled(database(pg18), TWIN), f"  app.public.event: {NONE}")
    assert [] == found["proposed"]


def test_a_table_that_the_file_does_not_know_is_listed_without_counts(planted: str, tmp_path: Path) -> None:
    found = covered(tmp_path, planted, f"  app.public.plain: {NONE}")
    event = next(item for item in found["datasets"] if item["dataset"] == "app.public.event")
    assert ("the file does not know it", None) == (event["why"], event["reached"])
    assert 8 == len(event["unclassed"])
    assert any('"payload->actor->id"' in item["lines"] for item in found["proposed"])


USERS = Target(
    table=TableName(schema="public", name="users"), column="id", type="bigint", kind=TokenKind.INTEGER, person=True,
    is_key=True,
)  # fmt: skip


def at(spelled: str) -> Place:
    return Place(
        table=TableName(schema="public", name="event"), column="x", spelled=spelled, kind=TokenKind.INTEGER, whole=True
    )


@pytest.mark.parametrize(
    ("spelled", "said"),
    [
        ("user_id", Hint.STRONG), ("userId", Hint.STRONG), ("payload->actor->id", Hint.STRONG),
        ("x ~ ^user:([0-9]+)$", Hint.STRONG), ("user_count", Hint.WEAK), ("payload->user->age", Hint.NONE),
        ("level", Hint.NONE), ("x ~ ^page:([0-9]+)$", Hint.NONE),
    ],
)  # fmt: skip
def test_what_a_name_says(spelled: str, said: Hint) -> None:
    assert said is hint(at(spelled), USERS)


@pytest.mark.parametrize(("hits", "chance", "proposed"), [(20, 0.1, 1), (20, 0.9, 0), (3, 0.1, 0), (15, 0.1, 0)])
def test_a_weak_hint_needs_hits_far_above_chance(hits: int, chance: float, proposed: int) -> None:
    file = config.load(FILE.format(datasets="").encode())
    clue = Clue(place=at("user_count"), target=USERS, sampled=20 if hits != 3 else 3, hits=hits, chance=chance)
    assert proposed == len(propose(file, [clue]))
    assert json.dumps([item.lines for item in propose(file, [clue])])
