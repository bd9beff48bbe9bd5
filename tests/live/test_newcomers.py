"""People who begin at a home while others still move: the source knows their public half at most."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
import pytest

from domicile.run.live import cohort_of
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import RULES, World, moving_world

TOKENS: Final = RULES.replace("email: private", "email: {class: private, outside: token}")
BEGUN: Final = 9001


def _run(world: World, place: str, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(world.dsns[place], autocommit=True) as connection:
        cursor = connection.execute(query, values)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("rules", [RULES, TOKENS], ids=["blanked", "token"])
def test_p1_a_step_leaves_alone_who_began_at_home(pg18: EmbeddedServer, tmp_path: Path, rules: str) -> None:
    name = f"newcomers_{'t' if rules is TOKENS else 'b'}"
    with moving_world(pg18, tmp_path, name, rules=rules) as world:
        live = world.live
        live.cut_over(world.scope, cohort_of("key:1,6"))
        _run(world, "us", "INSERT INTO person VALUES (%s, 'US', 'new', 'new@home.example', 1)", BEGUN)
        _run(world, "us", "INSERT INTO clip VALUES (%s, %s, 'mine', 0, '10.9.9.9')", BEGUN, BEGUN)
        _run(world, "source", "INSERT INTO person (id, market, handle) VALUES (%s, 'none', 'new')", BEGUN)
        _run(world, "source", "INSERT INTO clip VALUES (%s, %s, 'mine', 0, NULL)", BEGUN, BEGUN)
        live.moving.step(live.moving.follower(world.standing))
        _run(world, "source", "UPDATE person SET handle = 'newer' WHERE id = %s", BEGUN)
        _run(world, "source", "UPDATE clip SET likes = 5 WHERE id = %s", BEGUN)
        live.moving.step(live.moving.follower(world.standing))
        whole = "SELECT market, handle, email, seen FROM person WHERE id = %s"
        assert [("US", "newer", "new@home.example", 1)] == _run(world, "us", whole, BEGUN)
        assert [(5, "10.9.9.9")] == _run(world, "us", "SELECT likes, ip FROM clip WHERE id = %s", BEGUN)
        (bare,) = _run(world, "ca", whole, BEGUN)
        assert ("none", "newer") == bare[:2]
        assert "new@home.example" not in bare


def test_p6_who_is_at_home_writes_to_people_known_by_their_public_half(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with moving_world(pg18, tmp_path, "tokens", rules=TOKENS) as world:
        world.live.cut_over(world.scope, cohort_of("key:1"))
        token = "x" + "0" * 32
        bare = "INSERT INTO person VALUES (%s, 'none', 'h', %s, NULL) ON CONFLICT DO NOTHING"
        for person in (2, 6):  # of another home, and of this one, but not at home yet
            _run(world, "us", bare, person, token)
        _run(world, "us", "INSERT INTO letter VALUES (1, 1, 6, 'l')")
        with pytest.raises(psycopg.Error, match="being moved home"):
            _run(world, "us", "INSERT INTO person VALUES (11, 'US', 'h', 'real@home.example', NULL)")


def test_p1_who_leaves_the_market_leaves_nothing_private_at_home(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with moving_world(pg18, tmp_path, "leavers") as world:
        world.live.cut_over(world.scope, cohort_of("key:1"))
        _run(world, "source", "UPDATE person SET market = 'SG' WHERE id = 6")
        world.live.moving.step(world.live.moving.follower(world.standing))
        assert [("none", None, None)] == _run(world, "us", "SELECT market, email, seen FROM person WHERE id = 6")
        assert [] == _run(world, "us", 'SELECT id FROM "Note" WHERE person_id = 6')
        assert [(None,)] == _run(world, "us", "SELECT ip FROM clip WHERE id = 6")


def test_p1_what_a_home_removes_of_another_homes_person_means_nothing_at_the_source(
    pg18: EmbeddedServer, tmp_path: Path
) -> None:
    """A home holds public halves of other homes' people; that one is gone there says nothing of the person."""
    with moving_world(pg18, tmp_path, "others") as world:
        live = world.live
        live.cut_over(world.scope, cohort_of("key:1,2"))
        theirs = "SELECT title, ip FROM clip WHERE id = 2"
        _run(world, "us", "DELETE FROM clip WHERE id = 2")
        follower = live.moving.follower(world.standing)
        for home in follower.homes:
            follower.step_back(home)
        assert [("t", "10.0.0.1")] == _run(world, "source", theirs)
        assert [("t", "10.0.0.1")] == _run(world, "ca", theirs)


COUNTING: Final = """
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE clip SET likes = likes + 1 WHERE id = new.id - 5000 AND new.body = 'liked';
    UPDATE clip SET ip = 'seen' WHERE id = new.id - 5000 AND new.body = 'looked';
    RETURN NULL;
END $$;
CREATE TRIGGER counted AFTER INSERT ON "Note" FOR EACH ROW EXECUTE FUNCTION counted();
"""


def test_p6_who_is_at_home_may_do_what_counts_at_people_who_are_not_home_yet(
    pg18: EmbeddedServer, tmp_path: Path
) -> None:
    """The platform's trigger leaves out what it would write there: the row is the source's, and home's is its copy."""
    liked, looked = (f"INSERT INTO \"Note\" VALUES (5006, 1, '{word}')" for word in ("liked", "looked"))
    with moving_world(pg18, tmp_path, "counting") as world:
        world.live.cut_over(world.scope, cohort_of("key:1"))
        with psycopg.connect(world.dsns["us"], autocommit=True) as line:
            line.execute(COUNTING)
            with pytest.raises(psycopg.Error, match="being moved home"):  # what is private is not left out
                line.execute(looked)
            with pytest.raises(psycopg.Error, match="being moved home"):  # nor what somebody means to write
                line.execute("UPDATE clip SET likes = 9 WHERE id = 6")
            line.execute(liked)
        assert [(0, "10.0.0.1")] == _run(world, "us", "SELECT likes, ip FROM clip WHERE id = 6")
        _run(world, "us", 'DELETE FROM "Note" WHERE id = 5006')
        world.live.cut_over(world.scope, cohort_of("key:6"))
        with psycopg.connect(world.dsns["us"], autocommit=True) as line:
            line.execute(liked)
        assert [(1,)] == _run(world, "us", "SELECT likes FROM clip WHERE id = 6")
