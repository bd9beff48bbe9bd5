"""References that no name tells: `init` finds them in the values, and drafts pairs with an edge for each kind."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from domicile.config import Config, load
from domicile.stores.postgres.server import EmbeddedServer
from tests.main.programme import Programme
from tests.map.test_coverage import SCHEMA, TWIN, filled
from tests.servers import Databases

WITHIN = """
CREATE TABLE video (id int PRIMARY KEY, user_id bigint NOT NULL REFERENCES users);
INSERT INTO video SELECT n, 1000003 + 7 * (n % 300) FROM generate_series(1, 100) AS n;
CREATE TABLE comment (id int PRIMARY KEY, commentable_type text NOT NULL, commentable_id int NOT NULL,
  user_id bigint NOT NULL REFERENCES users, mentioned_users bigint[]);
INSERT INTO comment SELECT n, CASE WHEN n % 2 = 0 THEN 'Video' ELSE 'Plain' END, n, 1000003 + 7 * (n % 300),
  ARRAY[1000003 + 7 * ((n + 5) % 300)] FROM generate_series(1, 99) AS n;
"""


class Drafting:
    def __init__(self, folder: Path, dsn: str) -> None:
        self.programme = Programme(folder=folder, source=dsn, homes={})

    def __call__(self, script: str) -> Config:
        filled(self.programme.source, script)
        self.told = self.programme.cli("init", "--dsn", "env:APP_DSN", "--market", "CA=ca", "--json").text
        return load(self.programme.file.read_bytes())


@pytest.fixture
def drafting(pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Drafting:
    return Drafting(tmp_path, database(pg18))


def paths(config: Config, name: str) -> set[str]:
    return {",".join(hop.via) for way in config.datasets[f"app.public.{name}"].paths for hop in way.path}


def test_references_within_columns_are_drafted_as_edges_and_paths(drafting: Drafting) -> None:
    config = drafting(SCHEMA)
    uuid = "note ~ ([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"
    within = {"payload->actor->id", "raw->items[]->user", "cache_key ~ ^user:([0-9]+)$", uuid}
    assert within == set(config.datasets["app.public.event"].edges) == paths(config, "event")
    assert ("ref",) == config.datasets["app.public.event"].edges[uuid][0].key
    assert "public.event.blob holds keys of public.users" in drafting.told


def test_guests_are_drafted_by_their_address(drafting: Drafting) -> None:
    (way,) = drafting(SCHEMA).datasets["app.public.guest_order"].paths
    (hop,) = way.path
    assert (("contact",), ("email",), True) == (hop.via, hop.key, hop.fold)


def test_what_a_row_mentions_is_no_owner_where_a_key_names_one(drafting: Drafting) -> None:
    config = drafting(SCHEMA + WITHIN)
    assert {"user_id", "commentable_id"} == paths(config, "comment")
    assert "mentioned_users[]" in config.datasets["app.public.comment"].edges
    assert "mentioned_users[] holds keys of users: 99 of 99 sampled values: add it to `subjects`" in drafting.told


def test_each_kind_of_a_pair_is_drafted_as_an_edge(drafting: Drafting) -> None:
    rule = drafting(SCHEMA + WITHIN).datasets["app.public.comment"]
    assert {
        "commentable_id when \"commentable_type\" = 'Plain'": "app.public.plain",
        "commentable_id when \"commentable_type\" = 'Video'": "app.public.video",
    } == {key: edge.to for key, edge in rule.edge_rules() if " when " in key}


def test_lists_of_numbers_are_found_by_a_plural_or_a_role(drafting: Drafting) -> None:
    config = drafting(
        SCHEMA
        + """
        CREATE TABLE team (id int PRIMARY KEY, title text, user_ids bigint[]);
        INSERT INTO team SELECT n, 't', ARRAY[1000003 + 7 * n]::bigint[] FROM generate_series(0, 99) AS n;
        CREATE TABLE talk (id int PRIMARY KEY, participants jsonb);
        INSERT INTO talk SELECT n, jsonb_build_array(1000003 + 7 * n) FROM generate_series(0, 99) AS n;
        """
    )
    assert ({"user_ids[]"}, {"participants[]"}) == (paths(config, "team"), paths(config, "talk"))


def test_numbers_that_collide_by_chance_are_not_drafted(drafting: Drafting) -> None:
    edges = drafting(TWIN).datasets
    assert not any(rule.edges or rule.paths for name, rule in edges.items() if name != "app.public.users")


def test_a_draft_of_them_is_a_map_that_counts(drafting: Drafting) -> None:
    drafting(SCHEMA + WITHIN)
    answer = drafting.programme.cli("map", "--coverage", "--json").json()
    reached = {item["dataset"]: item["reached"] for item in answer["datasets"]}
    by_hand = {
        "event": "(t.payload #>> '{actor,id}')::bigint = u.id",
        "guest_order": "lower(t.contact) = lower(u.email)",
        "comment": "t.user_id = u.id",
        "video": "t.user_id = u.id",
    }
    with psycopg.connect(drafting.programme.source) as connection:
        for table, theirs in by_hand.items():
            query = (
                f"SELECT count(*) FROM {table} t WHERE EXISTS (SELECT FROM users u WHERE u.country = 'CA' AND {theirs})"
            )
            (expected,) = connection.execute(query.encode()).fetchone() or (None,)
            assert expected == reached[f"app.public.{table}"]["movers"]
