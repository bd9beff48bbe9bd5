"""Others' rows and links survive, whatever the schema does; and what was announced can be finished (P1, P5)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from domicile.errors import Collateral, DomicileError, NotEqual, Refused, Undecided, Waiting
from domicile.evidence.predicates import ErasurePredicate
from domicile.run import Stage
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import World, Worlds, run
from tests.attack.programme import PERSON, make
from tests.servers import Databases

PEOPLE: Final = """
CREATE TABLE person (id int PRIMARY KEY, market text, handle text UNIQUE NOT NULL, email text);
INSERT INTO person
    SELECT i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END, 'handle-' || i, 'person' || i || '@example.test'
    FROM generate_series(1, 20) AS i;
"""
NOTES: Final = """
CREATE TABLE note (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, body text);
INSERT INTO note SELECT i, 1 + i % 20, 'note ' || i FROM generate_series(1, 40) AS i;
"""
RULES: Final = (
    PERSON + "datasets:\n  app.public.person: {rows: move}\n  app.public.note: {rows: move, path: person_id}\n"
)
SPLIT: Final = (
    PERSON
    + """
datasets:
  app.public.person: {rows: split, fields: {id: public, market: public, handle: public, email: private}}
  app.public.note: {rows: move, path: person_id}
"""
)


def finishes_or_refuses_in_time(world: World) -> None:
    """A plan that can't be carried out is refused before anything is announced, and can then be given up."""
    try:
        world.programme.plan()
        try:
            world.programme.apply()
        except Waiting:
            world.programme.approve()
            world.programme.apply(yes=True)
    except DomicileError:
        with world.programme.opened() as opened:
            announced = opened.last(ErasurePredicate) if opened.ledger.size else None
            assert announced is None, "an erasure was announced that can't be carried out"
            opened.abandon()


# -- links that hang on something else than the primary key ----------------------------------------------------------


def test_p1_a_late_link_to_a_unique_key_is_refused_by_the_guard(world: Worlds) -> None:
    rules = RULES + "  app.public.mention: {rows: none, reason: no more than handles}\n"
    mention = "CREATE TABLE mention (id int PRIMARY KEY, handle text REFERENCES person (handle));"
    made = world(PEOPLE + NOTES + mention, rules)
    made.programme.clear()
    made.at_source("INSERT INTO mention VALUES (1, 'handle-2')")
    with pytest.raises(Collateral):
        made.programme.apply(yes=True)
    assert [(1,)] == made.at_source("SELECT count(*) FROM mention JOIN person USING (handle)")


# -- plans that can't be carried out ---------------------------------------------------------------------------------


def test_p5_a_cycle_over_a_blanked_reference_is_erased(world: Worlds) -> None:
    """person.pinned → note → person: the reference is blanked, so the note may go."""
    made = world(
        PEOPLE + NOTES + "ALTER TABLE person ADD pinned int REFERENCES note;"
        "UPDATE person SET pinned = (SELECT min(id) FROM note WHERE person_id = person.id);",
        SPLIT.replace("email: private}", "email: private, pinned: {class: private, outside: null}}"),
    )
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)
    assert [(0,)] == made.at_source("SELECT count(pinned) FROM person WHERE market = 'CA'")
    assert [(10,)] == made.at_source("SELECT count(pinned) FROM person JOIN note ON note.id = pinned")
    assert [(10,)] == made.at_home("SELECT count(*) FROM person JOIN note ON note.id = pinned")


def test_p5_a_stand_in_that_a_check_forbids_is_found_before_the_announcement(world: Worlds) -> None:
    made = world(
        PEOPLE + "CREATE TABLE note (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person,"
        " body text NOT NULL CHECK (body LIKE 'note %'));"
        "INSERT INTO note SELECT i, 1 + i % 20, 'note ' || i FROM generate_series(1, 40) AS i;"
        "CREATE TABLE answer (id int PRIMARY KEY, note_id int NOT NULL REFERENCES note, person_id int NOT NULL REFERENCES person);"  # noqa: E501
        "INSERT INTO answer SELECT i, 1 + i * 7 % 40, 1 + i % 20 FROM generate_series(1, 40) AS i;",
        PERSON
        + """
datasets:
  app.public.person: {rows: move, fields: {handle: {class: private, outside: token}}}
  app.public.note:
    rows: move
    path: person_id
    fields: {body: {class: private, outside: gone}}
    edges: {person_id: {apart: {home: whole, source: skeleton}}}
  app.public.answer:
    rows: move
    path: person_id
    edges: {note_id: {apart: {home: whole, source: skeleton}}}
""",
    )
    finishes_or_refuses_in_time(made)


ALWAYS: Final = """
CREATE TABLE past (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.past (body) VALUES (old.body); RETURN old; END $$;
CREATE TRIGGER keep AFTER DELETE ON note FOR EACH ROW EXECUTE FUNCTION keep();
"""


@pytest.mark.parametrize("mode", ["ALWAYS", "REPLICA"])
def test_p5_a_trigger_that_fires_in_any_mode_is_found_before_the_announcement(world: Worlds, mode: str) -> None:
    made = world(
        PEOPLE + NOTES + ALWAYS + f"ALTER TABLE note ENABLE {mode} TRIGGER keep;",
        RULES + "  app.public.past: {rows: none, reason: a log of deletions}\n",
    )
    with pytest.raises(Refused, match="keep fires"):
        made.programme.plan()
    assert [(0,)] == made.at_source("SELECT count(*) FROM past")


def test_p1_an_audit_trigger_does_not_copy_what_is_erased(world: Worlds) -> None:
    made = world(PEOPLE + NOTES + ALWAYS, RULES + "  app.public.past: {rows: none, reason: a log of deletions}\n")
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)
    assert [(20,)] == made.at_source("SELECT count(*) FROM note")
    assert [(0,)] == made.at_source("SELECT count(*) FROM past")


@pytest.mark.parametrize("mode", ["ALWAYS", "REPLICA"])
def test_p5_a_rule_that_fires_in_any_mode_is_found_before_the_announcement(world: Worlds, mode: str) -> None:
    made = world(
        PEOPLE
        + NOTES
        + f"CREATE RULE keep AS ON DELETE TO note DO INSTEAD NOTHING; ALTER TABLE note ENABLE {mode} RULE keep;",
        RULES,
    )
    with pytest.raises(Refused, match="keep fires"):
        made.programme.plan()


CHANGES: Final = {
    "a new partition": "CREATE TABLE event_9 PARTITION OF event FOR VALUES FROM (900) TO (1000)",
    "a new table": "CREATE TABLE fresh (id int PRIMARY KEY)",
    "a new view": "CREATE VIEW fresh AS SELECT 1 AS one",
}


@pytest.mark.parametrize("change", CHANGES)
def test_p5_a_change_of_the_world_after_the_first_erasure_leaves_a_way_on(world: Worlds, change: str) -> None:
    """`run domicile plan again` is no remedy where `plan` answers that a run is under way. What is?"""
    made = world(
        PEOPLE
        + NOTES
        + "CREATE TABLE event (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person) PARTITION BY RANGE (id);"
        "CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (0) TO (100);"
        "INSERT INTO event SELECT i, 1 + i % 20 FROM generate_series(1, 40) AS i;",
        RULES + "  app.public.event: {rows: move, path: person_id}\n",
    )
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)
    made.at_source(CHANGES[change])
    try:
        made.programme.apply(yes=True)
    except DomicileError as stopped:
        assert "domicile plan" not in str(stopped), "the remedy is refused itself: a run is under way"  # noqa: PT017


def test_p5_a_source_that_changed_under_the_clearance_is_proven_and_approved_anew(world: Worlds) -> None:
    made = world(PEOPLE + NOTES, RULES)
    made.programme.clear()
    made.at_source(
        "ALTER TABLE note DISABLE TRIGGER zzzz_domicile_guard; ALTER TABLE note DISABLE TRIGGER zzzz_domicile_guard_after;"  # noqa: E501
        "UPDATE note SET body = 'changed' WHERE person_id = 2;"
        "ALTER TABLE note ENABLE ALWAYS TRIGGER zzzz_domicile_guard; ALTER TABLE note ENABLE ALWAYS TRIGGER zzzz_domicile_guard_after"  # noqa: E501
    )
    with pytest.raises(NotEqual):
        made.programme.apply(yes=True, until=Stage.ERASE)
    repaired = made.programme.command("verify", "--repair")
    assert 0 == repaired.returncode, repaired.stderr
    with pytest.raises(Waiting):  # the old approvals were for another equality
        made.programme.apply(yes=True, until=Stage.ERASE)
    made.programme.approve()
    made.programme.apply(yes=True, until=Stage.ERASE)
    assert [("changed", 2)] == made.at_home("SELECT body, count(*) FROM note WHERE person_id = 2 GROUP BY 1")


def test_p5_a_late_row_on_a_leaving_one_can_be_resolved(world: Worlds) -> None:
    """The message tells what to do, and once it is done the run goes on."""
    rules = RULES + "  app.public.mention: {rows: none, reason: numbers}\n"
    made = world(PEOPLE + NOTES + "CREATE TABLE mention (id int PRIMARY KEY, note_id int REFERENCES note);", rules)
    made.programme.clear()
    made.at_source("INSERT INTO mention VALUES (1, 1)")
    with pytest.raises(Collateral) as found:
        made.programme.apply(yes=True)
    assert [(1,)] == made.at_source("SELECT count(*) FROM mention JOIN note ON note.id = note_id")
    with pytest.raises(Refused):
        made.programme.plan()
    assert "domicile plan" not in str(found.value), "the remedy is refused itself: a run is under way"
    made.at_source("DELETE FROM mention")
    made.programme.apply(yes=True)
    assert [(0,)] == made.at_source("SELECT count(*) FROM note WHERE person_id % 2 = 0")


def test_p5_an_event_trigger_that_writes_does_not_stop_the_run(world: Worlds) -> None:
    """Home's own sequences are altered after the schema came, event triggers with it: their rows are no strays."""
    made = world(
        PEOPLE
        + NOTES
        + "CREATE SEQUENCE ticket; CREATE TABLE change (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tag text);"
        "CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO public.change (tag) VALUES (tg_tag); END $$;"
        "CREATE EVENT TRIGGER told ON ddl_command_end EXECUTE FUNCTION told();",
        RULES + "  app.public.change: {rows: none, reason: a log of changes, home: all}\n",
    )
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)


def test_p5_a_sequence_that_turns_round_is_no_obstacle(world: Worlds) -> None:
    made = world(
        PEOPLE
        + NOTES
        + "CREATE SEQUENCE ticket MAXVALUE 20 CYCLE; SELECT nextval('ticket') FROM generate_series(1, 20);",
        RULES,
    )
    finishes_or_refuses_in_time(made)


def test_p5_functions_of_checks_and_indexes_see_the_paths_they_were_written_for(
    distributed: EmbeddedServer, database: Databases, tmp_path: Path
) -> None:
    """Written with unqualified names, as most are: they work in every session of the service."""
    source, home = database(distributed), database(distributed)
    run(
        source,
        PEOPLE + NOTES + "CREATE FUNCTION low(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)';"
        "CREATE FUNCTION norm(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN low(t); END';"
        "CREATE INDEX ON person (norm(email)); ALTER TABLE note ADD CHECK (norm(body) <> '');"
        "CREATE MATERIALIZED VIEW tidy AS SELECT norm(email) FROM person;",
    )
    rules = SPLIT + "  app.public.tidy: {rows: derived}\n"
    programme = make(tmp_path / "programme", rules, source=source, homes={"CA": home})
    programme.clear()
    programme.apply(yes=True)
    assert [(10,)] == run(source, "SELECT count(*) FROM person WHERE email IS NULL")


# -- what is not a column ---------------------------------------------------------------------------------------------


def test_p11_large_objects_are_not_called_erased(world: Worlds) -> None:
    """Refused where a mover's row really names one; never left behind unmoved under the word erased-verified."""
    made = world(
        PEOPLE + "CREATE TABLE note (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, file oid);"
        "INSERT INTO note SELECT i, 1 + i % 20, lo_from_bytea(0, convert_to('contents of ' || i, 'UTF8'))"
        " FROM generate_series(1, 40) AS i;",
        RULES,
    )
    with pytest.raises(Undecided, match="20 rows on their way home name large objects in file"):
        made.programme.plan()


def test_large_objects_of_those_who_stay_hold_nobody_back(world: Worlds) -> None:
    """So does a number in an oid column that names none."""
    made = world(
        PEOPLE + "CREATE TABLE note (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, file oid);"
        "INSERT INTO note SELECT i, 1 + i % 20, CASE WHEN i % 2 = 0 THEN lo_from_bytea(0, '\\x01') ELSE 7 END"
        " FROM generate_series(1, 40) AS i;",
        RULES,
    )
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)
    assert [(20, 20)] == made.at_source("SELECT count(*), sum(length(lo_get(file))) FROM note")
    assert [(20, 20)] == made.at_home("SELECT count(*), count(*) FILTER (WHERE file = 7) FROM note")


# -- references to what is not unique --------------------------------------------------------------------------------


def test_p1_a_row_of_two_people_by_one_value_is_nobodys_to_erase_alone(world: Worlds) -> None:
    """A `key:` that two rows share, one of a mover and one of a stayer: both own what refers to it."""
    schema = PEOPLE + (
        "CREATE TABLE household (person_id int PRIMARY KEY REFERENCES person, address text NOT NULL);"
        "INSERT INTO household SELECT i, 'street ' || (i - 1) / 2 FROM generate_series(1, 20) AS i;"
        "CREATE TABLE bill (id int PRIMARY KEY, address text NOT NULL);"
        "INSERT INTO bill SELECT i, 'street ' || i FROM generate_series(0, 9) AS i;"
    )
    rules = PERSON + (
        "datasets:\n  app.public.person: {rows: move}\n  app.public.household: {rows: move, path: person_id}\n"
        "  app.public.bill: {rows: move, HOW path:"
        " [{via: address, to: app.public.household, key: address}, person_id]}\n"
    )
    undecided = world(schema, rules.replace("HOW", ""))
    with pytest.raises(Undecided, match="shared"):
        undecided.programme.plan()
    decided = world(schema, rules.replace("HOW", "shared: each,"))
    decided.programme.clear()
    decided.programme.apply(yes=True, until=Stage.ERASE)
    assert [(10,)] == decided.at_source("SELECT count(*) FROM bill JOIN household USING (address)")
    assert [(10,)] == decided.at_source("SELECT count(*) FROM household")
    assert [(10,)] == decided.at_home("SELECT count(*) FROM bill")
