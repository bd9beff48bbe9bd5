"""The plan names what the schema would do by itself when rows go; nothing of it happens (P1)."""

from __future__ import annotations

import json
from typing import Final

from domicile.run import Stage
from tests.attack.conftest import Worlds
from tests.attack.programme import PERSON

SCHEMA: Final = """
CREATE TABLE person (id int PRIMARY KEY, market text, email text, friend int DEFAULT 1);
INSERT INTO person SELECT i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END, 'p' || i || '@example.test', i
    FROM generate_series(1, 10) AS i;
CREATE TABLE note (id int PRIMARY KEY, person_id int REFERENCES person ON DELETE CASCADE, body text);
INSERT INTO note SELECT i, 1 + i % 10, 'note ' || i FROM generate_series(1, 20) AS i;
CREATE TABLE likes (
    id int PRIMARY KEY, person_id int REFERENCES person, note_id int REFERENCES note ON DELETE SET NULL);
INSERT INTO likes SELECT i, 1 + i % 10, i FROM generate_series(1, 20) AS i;
ALTER TABLE person ADD FOREIGN KEY (friend) REFERENCES person ON DELETE SET DEFAULT;
CREATE TABLE past (body text);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.past VALUES (old.body); RETURN old; END $$;
CREATE TRIGGER keep AFTER DELETE OR UPDATE ON note FOR EACH ROW EXECUTE FUNCTION keep();
CREATE TRIGGER idle AFTER DELETE ON note FOR EACH ROW EXECUTE FUNCTION keep();
ALTER TABLE note DISABLE TRIGGER idle;
CREATE RULE tell AS ON DELETE TO likes DO ALSO INSERT INTO past VALUES ('a like went');
ALTER TABLE likes ENABLE ROW LEVEL SECURITY;
"""
RULES: Final = (
    PERSON
    + """
datasets:
  app.public.person: {rows: move}
  app.public.note: {rows: move, path: person_id}
  app.public.likes: {rows: move, path: person_id}
  app.public.past: {rows: none, reason: a log}
"""
)


def test_p1_what_would_act_by_itself_is_listed_and_stays_silent(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    plan = made.programme.command("plan", "--json")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    told = {(item["dataset"], item["would"], item["name"]) for item in json.loads(plan.stdout)["silenced"]}
    assert {
        ("app.public.person", "cascade", "note_person_id_fkey"),
        ("app.public.person", "set default", "person_friend_fkey"),
        ("app.public.note", "set null", "likes_note_id_fkey"),
        ("app.public.note", "trigger", "keep"),
        ("app.public.likes", "rule", "tell"),
        ("app.public.likes", "row security", "likes"),
    } == told
    made.programme.clear_again()
    made.programme.apply(yes=True, until=Stage.ERASE)
    assert [(0,)] == made.at_source("SELECT count(*) FROM past")
    assert [(5, 10, 10)] == made.at_source(
        "SELECT (SELECT count(*) FROM person), (SELECT count(*) FROM note), (SELECT count(*) FROM likes)"
    )


def test_a_schema_that_does_nothing_by_itself_has_none(world: Worlds) -> None:
    plain = "CREATE TABLE person (id int PRIMARY KEY, market text); INSERT INTO person VALUES (1, 'CA'), (2, 'SG');"
    made = world(plain, PERSON + "datasets:\n  app.public.person: {rows: move}\n")
    assert [] == json.loads(made.programme.command("plan", "--json").stdout)["silenced"]
    assert "kept silent" not in made.programme.command("plan").stdout
