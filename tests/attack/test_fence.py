"""Ways around the guard: whoever writes, however it is spelt, a mover's rows stay as they were frozen (P1)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psycopg
import pytest

from domicile import erase
from domicile.errors import DomicileError, Refused
from domicile.model import Digest, Slice
from domicile.run import Stage
from domicile.stores import HomeStore
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import World, Worlds, run
from tests.attack.programme import PERSON, make
from tests.servers import Databases

FENCED: Final = "DM001"
SCHEMA: Final = """
CREATE TABLE person (
    id int PRIMARY KEY, doc jsonb NOT NULL, handle text UNIQUE NOT NULL,
    market text GENERATED ALWAYS AS (doc ->> 'm') STORED, friend int REFERENCES person ON DELETE SET NULL);
INSERT INTO person (id, doc, handle)
    SELECT i, jsonb_build_object('m', CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END), 'handle-' || i
    FROM generate_series(1, 20) AS i;
CREATE TABLE note (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person ON DELETE CASCADE, body text);
INSERT INTO note SELECT i, 1 + i % 20, 'note ' || i FROM generate_series(1, 40) AS i;
CREATE TABLE doc (
    id int PRIMARY KEY, doc jsonb,
    person_id int GENERATED ALWAYS AS ((doc ->> 'person')::int) STORED REFERENCES person);
INSERT INTO doc SELECT i, jsonb_build_object('person', 1 + i % 20) FROM generate_series(1, 40) AS i;
CREATE TABLE event (id int, person_id int NOT NULL REFERENCES person, what text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE event_low PARTITION OF event FOR VALUES FROM (0) TO (20);
CREATE TABLE event_high PARTITION OF event FOR VALUES FROM (20) TO (1000) PARTITION BY LIST (id);
CREATE TABLE event_high_rest PARTITION OF event_high DEFAULT;
INSERT INTO event SELECT i, 1 + i % 20, 'event ' || i FROM generate_series(1, 40) AS i;
CREATE FUNCTION hand_over() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF new.body LIKE 'for %' THEN new.person_id := substr(new.body, 5)::int; END IF; RETURN new; END $$;
CREATE TRIGGER "~last of all" BEFORE INSERT OR UPDATE ON note FOR EACH ROW EXECUTE FUNCTION hand_over();
CREATE FUNCTION elsewhere() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.note VALUES (9000 + new.id, new.id, 'by a trigger'); RETURN new; END $$;
CREATE TABLE outbox (id int PRIMARY KEY);
CREATE TRIGGER elsewhere AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION elsewhere();
CREATE VIEW note_view AS SELECT * FROM note;
CREATE RULE to_note AS ON INSERT TO outbox WHERE new.id < 0 DO INSTEAD INSERT INTO note VALUES (8000, -new.id, 'rule');
CREATE TABLE tag (note_id int REFERENCES note ON UPDATE CASCADE ON DELETE CASCADE, word text);
"""  # noqa: E501
RULES: Final = (
    PERSON
    + """
datasets:
  app.public.person:
    rows: split
    fields: {id: public, doc: public, handle: public, market: public, friend: public}
  app.public.note: {rows: move, path: person_id}
  app.public.doc: {rows: move, path: person_id, ownerless: stay}
  app.public.event: {rows: move, path: person_id}
  app.public.outbox: {rows: none, reason: a queue of numbers}
  app.public.tag: {rows: none, reason: words}
"""
)
# Person 2 moves, person 1 stays; notes 1 and 21 are person 2's.
REFUSED: Final = {
    "plain": "INSERT INTO note VALUES (100, 2, 'x')",
    "an update of a mover's row": "UPDATE note SET body = 'x' WHERE person_id = 2",
    "a delete of a mover's row": "DELETE FROM note WHERE person_id = 2",
    "taking a row from a mover": "UPDATE note SET person_id = 1 WHERE id = 1",
    "giving a row to a mover": "UPDATE note SET person_id = 2 WHERE id = 2",
    "as a replica": "SET session_replication_role = replica; INSERT INTO note VALUES (100, 2, 'x')",
    "as a replica, deleting": "SET session_replication_role = replica; DELETE FROM event WHERE person_id = 2",
    "copy": "COPY note FROM PROGRAM 'printf \"100\\t2\\tx\\n\"'",
    "copy to a leaf": "COPY event_high_rest FROM PROGRAM 'printf \"100\\t2\\tx\\n\"'",
    "a leaf": "INSERT INTO event_high_rest VALUES (100, 2, 'x')",
    "a leaf as a replica": "SET session_replication_role = replica; UPDATE event_low SET what = 'x' WHERE person_id = 2",  # noqa: E501
    "between partitions": "UPDATE event SET id = 500 WHERE id = 1",
    "truncate": "TRUNCATE event",
    "truncate a leaf": "TRUNCATE event_low",
    "truncate a branch": "TRUNCATE event_high",
    "truncate as a replica": "SET session_replication_role = replica; TRUNCATE doc",
    "truncate by cascade": "TRUNCATE note CASCADE",
    "on conflict": "INSERT INTO note VALUES (1, 1, 'x') ON CONFLICT (id) DO UPDATE SET body = 'x'",
    "on conflict to a mover": "INSERT INTO note VALUES (2, 1, 'x') ON CONFLICT (id) DO UPDATE SET person_id = 2",
    "merge": "MERGE INTO note USING (VALUES (1)) AS v(id) ON note.id = v.id WHEN MATCHED THEN UPDATE SET body = 'x'",
    "merge, deleting": "MERGE INTO note USING (VALUES (1)) AS v(id) ON note.id = v.id WHEN MATCHED THEN DELETE",
    "a view": "UPDATE note_view SET body = 'x' WHERE id = 1",
    "a trigger's own insert": "INSERT INTO outbox VALUES (2)",
    "a rule": "INSERT INTO outbox VALUES (-2)",
    "a cascade": "DELETE FROM person WHERE id = 2",
    "a data-modifying query": "WITH gone AS (DELETE FROM note WHERE id = 1 RETURNING *) SELECT * FROM gone",
    "a stayer becomes a mover": 'UPDATE person SET doc = \'{"m": "CA"}\' WHERE id = 1',
    "a mover becomes a stayer": 'UPDATE person SET doc = \'{"m": "SG"}\' WHERE id = 2',
    "a new mover": "INSERT INTO person (id, doc, handle) VALUES (100, '{\"m\": \"CA\"}', 'new')",
    "a path over a generated column": "INSERT INTO doc VALUES (100, '{\"person\": 2}')",
    "a path over a generated column, updated": "UPDATE doc SET doc = '{\"person\": 2}' WHERE id = 2",
    "a later trigger": "INSERT INTO note VALUES (100, 1, 'for 2')",
    "a later trigger, updating": "UPDATE note SET body = 'for 2' WHERE id = 2",
    "the pass, without being on the list": "SET domicile.pass = 'on'; INSERT INTO note VALUES (100, 2, 'x')",
}
PASSED: Final = {
    "a stayer's insert": "INSERT INTO note VALUES (100, 1, 'x')",
    "a stayer's update": "UPDATE note SET body = 'x' WHERE person_id = 1",
    "a stayer's delete": "DELETE FROM note WHERE person_id = 1",
    "a stayer to a stayer": "UPDATE note SET person_id = 3 WHERE person_id = 1",
    "a stayer's leaf": "INSERT INTO event_high_rest VALUES (100, 1, 'x')",
    "a stayer's partition": "UPDATE event SET id = 500 WHERE id = 2",
    "a stayer's truncate": "TRUNCATE outbox",
    "a new stayer": "INSERT INTO person (id, doc, handle) VALUES (100, '{\"m\": \"SG\"}', 'new')",
    "a stayer's generated path": "INSERT INTO doc VALUES (100, '{\"person\": 1}')",
}


@pytest.fixture(scope="module")
def cleared(pg18: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world just before its erasure; each attempt is rolled back."""
    databases = Databases()
    source, home = databases(pg18), databases(pg18)
    run(source, SCHEMA)
    folder: Path = tmp_path_factory.mktemp("fence")
    world = World(source=source, home=home, programme=make(folder, RULES, source=source, homes={"CA": home}))
    world.programme.clear()
    yield world
    databases.drop()


def _attempt(world: World, statement: str) -> None:
    with psycopg.connect(world.source) as connection:
        try:
            connection.execute(statement.encode())
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        finally:
            connection.rollback()


@pytest.mark.parametrize("name", REFUSED)
def test_p1_no_way_around_the_guard(cleared: World, name: str) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        _attempt(cleared, REFUSED[name])
    assert FENCED == refusal.value.sqlstate


@pytest.mark.parametrize("name", PASSED)
def test_p6_others_write_on(cleared: World, name: str) -> None:
    _attempt(cleared, PASSED[name])


def test_p1_an_ordinary_role_gets_no_pass_by_default_privileges(world: Worlds) -> None:
    """Rights that a database gives away by default would hand out the pass, and the secret of the tokens (P8)."""
    made = world(SCHEMA, RULES)
    made.at_source("CREATE ROLE everyone")
    try:
        for kind in ("TABLES", "SCHEMAS", "FUNCTIONS"):
            made.at_source(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO everyone")
        made.programme.clear()
        with psycopg.connect(made.source) as connection:
            for privilege, function in (("USAGE", "schema"), ("CREATE", "schema")):
                row = connection.execute(f"SELECT has_{function}_privilege('everyone', 'domicile', '{privilege}')")
                assert (False,) == row.fetchone()
            tables = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'domicile'::regnamespace AND relkind = 'r'"
                " AND has_table_privilege('everyone', oid, 'SELECT, INSERT')"
            ).fetchall()
            assert [] == tables
    finally:
        made.at_source("DROP OWNED BY everyone; DROP ROLE everyone")


@pytest.mark.parametrize(
    "harm",
    [
        "ALTER TABLE note DISABLE TRIGGER USER; INSERT INTO note VALUES (100, 2, 'late'); ALTER TABLE note ENABLE TRIGGER USER",  # noqa: E501
        (
            "DROP TRIGGER zzzz_domicile_guard ON note; DROP TRIGGER zzzz_domicile_guard_after ON note;"
            " INSERT INTO note VALUES (100, 2, 'late')"
        ),
        "ALTER TABLE event_low DISABLE TRIGGER zzzz_domicile_guard",
        "CREATE OR REPLACE FUNCTION domicile.guard_truncate() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",  # noqa: E501
    ],
)
def test_p2_a_fence_that_was_opened_meanwhile_clears_nothing(world: Worlds, harm: str) -> None:
    """Loading tools switch triggers off and on as the tables' owner; an equality read since is not under a fence."""
    made = world(SCHEMA, RULES)
    made.programme.clear()
    made.at_source(harm)
    before = made.at_source("SELECT * FROM note ORDER BY id")
    with pytest.raises(DomicileError):
        made.programme.apply(yes=True)
    assert before == made.at_source("SELECT * FROM note ORDER BY id")


def test_p3_a_movers_row_that_came_late_is_found_before_the_certificate(world: Worlds) -> None:
    """Whatever let it in: a row that leads to a mover and is in no manifest is no `erased-verified`."""
    made = world(SCHEMA, RULES)
    made.programme.clear()
    made.at_source(
        "ALTER TABLE note DISABLE TRIGGER zzzz_domicile_guard;"
        "ALTER TABLE note DISABLE TRIGGER zzzz_domicile_guard_after;"
        "INSERT INTO note VALUES (100, 2, 'a secret that came late');"
        "ALTER TABLE note ENABLE ALWAYS TRIGGER zzzz_domicile_guard;"
        "ALTER TABLE note ENABLE ALWAYS TRIGGER zzzz_domicile_guard_after"
    )
    with pytest.raises(DomicileError):
        made.programme.apply(yes=True)


def test_p5_another_folder_does_not_take_over_a_run(world: Worlds, tmp_path: Path) -> None:
    """Two engines with journals of their own over one source: the second must not go on with the first's staging."""
    made = world(SCHEMA, RULES)
    other = make(tmp_path / "other", RULES, source=made.source, homes={"CA": made.home})
    made.programme.plan()
    other.plan()
    made.programme.apply(until=Stage.TRANSFER)
    with pytest.raises(Refused):
        other.apply(until=Stage.TRANSFER)
    with other.opened() as run_of_other, pytest.raises(Refused):
        run_of_other.abandon()
    assert made.at_source("SELECT to_regclass('domicile.frozen') IS NOT NULL") == [(True,)]


def test_p1_nobody_refers_anew_to_rows_that_are_about_to_go(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    """A foreign key made between the look at the references and the delete would be left with an orphan."""
    made = world(
        SCHEMA + "CREATE TABLE extra (note_id int); INSERT INTO extra SELECT id FROM note",
        RULES + "  app.public.extra: {rows: none, reason: numbers}\n",
    )
    made.programme.clear()
    refused: list[str | None] = []
    read = erase._reader

    def reader(store: HomeStore, piece: Slice) -> Callable[[], Digest]:
        def and_refer() -> Digest:
            try:
                made.at_source(
                    "SET lock_timeout = '300ms'; ALTER TABLE extra ADD FOREIGN KEY (note_id) REFERENCES note NOT VALID"
                )
            except psycopg.errors.LockNotAvailable as fault:
                refused.append(fault.sqlstate)
            return read(store, piece)()

        return and_refer if piece.dataset == "app.public.note" else read(store, piece)

    monkeypatch.setattr(erase, "_reader", reader)
    made.programme.apply(until=Stage.ERASE, yes=True)
    assert refused
    assert [(0,)] == made.at_source("SELECT count(*) FROM pg_constraint WHERE conrelid = 'extra'::regclass")


def test_p6_nobody_is_broken_off_as_a_deadlock_by_the_begin_of_the_fence(world: Worlds) -> None:
    """Locks are taken by name: doc, event, note, person. Who holds the last waits for the first, as we do for them."""
    place = world(SCHEMA, RULES)

    def write() -> None:
        with psycopg.connect(place.source) as other, psycopg.connect(place.source) as writer:
            other.execute("UPDATE event SET what = 'x' WHERE id = 20")
            writer.execute("UPDATE person SET handle = 'x' WHERE id = 1")
            held.set()
            _until_somebody_waits(place.source, "LOCK TABLE%")
            with ThreadPoolExecutor() as second:
                written = second.submit(writer.execute, "UPDATE doc SET doc = doc WHERE id = 20")  # waits for us
                _until_somebody_waits(place.source, "UPDATE doc%")
                time.sleep(0.5)
                other.commit()  # we go on, and would wait for who waits for us
                written.result()

    held = threading.Event()
    with place.programme.opened() as opened, ThreadPoolExecutor() as pool:
        opened.plan()
        written = pool.submit(write)
        assert held.wait(20)
        opened.apply(until=Stage.TRANSFER)
        written.result()
        assert opened.source.fence_stands()


def _until_somebody_waits(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as watch:
        for _ in range(1_000):
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
            if watch.execute(query, [statement]).fetchone() != (0,):
                return
            time.sleep(0.005)
    raise AssertionError(f"nobody waits in {statement}")
