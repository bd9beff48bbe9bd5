"""What every changefeed promises, asked of both: no change is missed, none is shown early, only what was shown goes."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from uuid import uuid4

import pytest

from domicile.errors import FeedBroken, WorldChanged
from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import own_server
from tests.stores.feeds import EVENT, LIKES, LOG_LINE, NOTE, PERSON, Followed, followed

KINDS = ("trigger", "slot")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    parameters = {"wal_level": "logical", "fsync": "off", "max_prepared_transactions": "4"}
    with own_server("feed", parameters=parameters) as one:
        yield one


@pytest.fixture(params=KINDS)
def world(server: EmbeddedServer, request: pytest.FixtureRequest) -> Iterator[Followed]:
    with followed(server, f"t_{uuid4().hex[:12]}", kind=request.param) as one:
        one.feed.begin()
        assert one.take() == {}  # from now on it looks at tables and triggers only where the catalogue changed
        yield one


def test_inserts_updates_and_deletes_are_told_by_key(world: Followed) -> None:
    world.write("INSERT INTO person VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    assert world.take() == {PERSON: frozenset({("1",), ("2",), ("3",)})}
    world.write("UPDATE person SET nickname = 'x' WHERE id = 1")
    world.write("DELETE FROM person WHERE id = 2")
    assert world.take() == {PERSON: frozenset({("1",), ("2",)})}


def test_nothing_changed_says_nothing(world: Followed) -> None:
    batch = world.read()
    assert (batch.keys, batch.complete, batch.oldest, batch.changes) == ({}, True, None, 0)


def test_tables_that_are_not_followed_say_nothing(world: Followed) -> None:
    world.write("INSERT INTO other VALUES (1, 'a')")
    assert world.take() == {}


def test_a_changed_key_is_told_old_and_new(world: Followed) -> None:
    world.write("INSERT INTO likes VALUES (1, 7, '2020-01-01')")
    world.take()
    world.write("UPDATE likes SET video_id = 8")
    assert world.take() == {LIKES: frozenset({("1", "7"), ("1", "8")})}


def test_a_composite_key_stands_in_the_datasets_order(world: Followed) -> None:
    world.write("INSERT INTO likes VALUES (1, 7, '2020-01-01')")
    assert world.take() == {LIKES: frozenset({("1", "7")})}  # the table's own key begins with the video


def test_names_in_capitals_and_odd_keys_are_told(world: Followed) -> None:
    odd = "a'b\"c\\d\te\nf"
    world.writer.execute('INSERT INTO "Note" VALUES (%s, %s), (%s, %s)', (odd, "x", "", "y"))
    assert world.take() == {NOTE: frozenset({(odd,), ("",)})}


def test_a_row_that_moves_between_partitions_is_told_old_and_new(world: Followed) -> None:
    world.write("INSERT INTO event VALUES (1, '2020-01-05', 'a'), (2, '2020-02-05', 'b')")
    assert world.take() == {EVENT: frozenset({("1", "2020-01-05"), ("2", "2020-02-05")})}
    world.write("UPDATE event SET day = '2020-02-07' WHERE id = 1")
    assert world.take() == {EVENT: frozenset({("1", "2020-01-05"), ("1", "2020-02-07")})}
    world.write("DELETE FROM event_2 WHERE id = 2")
    assert world.take() == {EVENT: frozenset({("2", "2020-02-05")})}


def test_keys_are_printed_as_our_sessions_print(world: Followed) -> None:
    world.write("SET datestyle = 'German, DMY'; SET timezone = 'Asia/Tokyo'; SET extra_float_digits = -3")
    world.write("INSERT INTO event VALUES (1, '05.01.2020', 'a')")
    assert world.take() == {EVENT: frozenset({("1", "2020-01-05")})}


@pytest.mark.parametrize("world", ["trigger"], indirect=True)  # a slot refuses such tables: test_slot
def test_a_row_without_key_is_told_by_its_content_whatever_the_writers_settings(world: Followed) -> None:
    world.write("SET datestyle = 'German, DMY'; SET timezone = 'Asia/Tokyo'")
    world.write("INSERT INTO log_line VALUES ('2020-01-05 01:00+00', 1.50, 'a')")
    row = (
        world.another()
        .execute("SELECT '\\x' || encode(sha256(convert_to('(\"2020-01-05 01:00:00+00\",1.50,a)', 'UTF8')), 'hex')")
        .fetchone()
    )
    assert row is not None
    assert world.take() == {LOG_LINE: frozenset({(row[0],)})}
    world.write("UPDATE log_line SET body = 'b'")
    keys = world.take()[LOG_LINE]
    assert (2, True) == (len(keys), (row[0],) in keys)


def test_what_was_rolled_back_is_not_told(world: Followed) -> None:
    world.write(
        "BEGIN; INSERT INTO person VALUES (1); SAVEPOINT s; INSERT INTO person VALUES (2); ROLLBACK TO s;"
        " SAVEPOINT t; INSERT INTO person VALUES (3); RELEASE t; COMMIT"
    )
    world.write("BEGIN; INSERT INTO person VALUES (4); ROLLBACK")
    assert world.take() == {PERSON: frozenset({("1",), ("3",)})}


def test_a_prepared_transaction_is_told_when_it_is_committed(world: Followed) -> None:
    world.write("BEGIN; INSERT INTO person VALUES (1); PREPARE TRANSACTION 'two'")
    assert world.take() == {}
    world.write("COMMIT PREPARED 'two'")
    assert world.take() == {PERSON: frozenset({("1",)})}


def test_a_transaction_that_was_open_before_the_begin_is_not_missed(
    server: EmbeddedServer, request: pytest.FixtureRequest
) -> None:
    for kind in KINDS:
        with followed(server, f"t_{uuid4().hex[:12]}", kind=kind) as one:
            first = one.another()
            first.execute("BEGIN; INSERT INTO person VALUES (1)")
            beginning = Thread(target=one.feed.begin)
            beginning.start()
            beginning.join(0.3)
            first.execute("INSERT INTO likes VALUES (1, 1); COMMIT")
            beginning.join(30)
            assert not beginning.is_alive()
            one.write("INSERT INTO person VALUES (2)")
            told = one.take()
            seen = one.writer.execute("SELECT count(*) FROM person WHERE id = 1").fetchone()
            assert seen == (1,)  # committed before the begin returned: the copy's snapshot has it
            assert ("2",) in told[PERSON]


def test_a_session_with_an_old_snapshot_is_not_missed(server: EmbeddedServer) -> None:
    for kind in KINDS:
        with followed(server, f"t_{uuid4().hex[:12]}", kind=kind) as one:
            old = one.another()
            old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM person")
            one.feed.begin()
            old.execute("INSERT INTO person VALUES (1); COMMIT")
            assert one.take() == {PERSON: frozenset({("1",)})}


def test_what_the_snapshot_does_not_show_stays_and_what_lies_behind_it_is_told(world: Followed) -> None:
    late, early = world.another(), world.another()
    late.execute("BEGIN; INSERT INTO person VALUES (1)")
    early.execute("INSERT INTO person VALUES (2)")
    before = world.snapshot()
    late.execute("COMMIT")
    early.execute("INSERT INTO person VALUES (3)")
    batch = world.feed.read(before, keys_max=100)
    assert ({PERSON: frozenset({("2",)})}, True) == (batch.keys, batch.complete)
    world.feed.confirm(batch)
    told = world.take()
    assert {("1",), ("3",)} <= told[PERSON]
    assert world.take() == {}


def test_a_batch_that_nobody_confirmed_comes_again(world: Followed) -> None:
    world.write("INSERT INTO person VALUES (1)")
    first = world.read()
    world.write("INSERT INTO person VALUES (2)")
    assert {PERSON: frozenset({("1",), ("2",)})} == world.read().keys
    world.feed.confirm(first)
    assert {PERSON: frozenset({("2",)})} == world.read().keys
    world.feed.confirm(first)  # heard twice
    assert world.take() == {PERSON: frozenset({("2",)})}


def test_a_batch_is_cut_at_its_limit_and_the_rest_follows(world: Followed) -> None:
    world.write("INSERT INTO person SELECT generate_series(1, 25)")
    world.write("INSERT INTO likes SELECT n, n FROM generate_series(1, 25) AS n")
    told: set[tuple[str, tuple[str, ...]]] = set()
    for _ in range(20):
        batch = world.read(keys_max=10)
        keys = {(str(name), key) for name, found in batch.keys.items() for key in found}
        assert len(keys) <= 10
        told |= keys
        world.feed.confirm(batch)
        if batch.complete:
            break
    wanted = {(str(PERSON), (str(n),)) for n in range(1, 26)} | {(str(LIKES), (str(n), str(n))) for n in range(1, 26)}
    assert wanted == told
    assert world.take() == {}


def test_a_busy_dataset_does_not_keep_others_waiting(world: Followed) -> None:
    world.write("INSERT INTO likes VALUES (1, 1)")
    world.write("INSERT INTO person SELECT generate_series(1, 100)")
    told: set[str] = set()
    for _ in range(12):
        batch = world.read(keys_max=10)
        told |= set(batch.keys)
        world.feed.confirm(batch)
    assert {str(PERSON), str(LIKES)} == told


def test_a_batch_says_since_when_its_changes_wait(world: Followed) -> None:
    row = world.writer.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    world.write("INSERT INTO person VALUES (1)")
    world.write("UPDATE person SET email = 'x'")
    batch = world.read()
    assert batch.oldest is not None
    assert row[0] <= batch.oldest
    assert 2 == batch.changes


def test_a_truncate_is_refused(world: Followed) -> None:
    world.write("INSERT INTO person VALUES (1)")
    assert world.take()
    world.write("TRUNCATE person")
    with pytest.raises(WorldChanged, match=r"app\.public\.person: somebody truncated it"):
        world.read()


def test_a_truncated_partition_is_refused(world: Followed) -> None:
    world.write("TRUNCATE event_1")
    with pytest.raises(WorldChanged, match=r"app\.public\.event: "):
        world.read()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE likes ADD stars integer DEFAULT 3",
        "ALTER TABLE likes DROP at",
        "ALTER TABLE likes ALTER at TYPE timestamp",
        "ALTER TABLE likes RENAME TO liked",
        "DROP TABLE likes",
    ],
)
def test_a_changed_table_is_refused(world: Followed, change: str) -> None:
    world.write("INSERT INTO likes VALUES (1, 1)")
    world.write(change)
    with pytest.raises(WorldChanged, match=r"app\.public\.likes: "):
        world.read()


def test_a_table_that_is_not_followed_may_change(world: Followed) -> None:
    world.write("ALTER TABLE other ADD stars integer DEFAULT 3; TRUNCATE other")
    assert world.take() == {}


def test_an_attached_partition_is_refused(world: Followed) -> None:
    world.write(
        "CREATE TABLE event_3 (LIKE event INCLUDING ALL); INSERT INTO event_3 VALUES (1, '2020-03-03', 'x');"
        " ALTER TABLE event ATTACH PARTITION event_3 FOR VALUES FROM ('2020-03-01') TO ('2020-04-01')"
    )
    with pytest.raises(WorldChanged, match=r"app\.public\.event: "):
        world.read()


def test_a_partition_that_is_detached_is_refused(world: Followed) -> None:
    world.write("ALTER TABLE event DETACH PARTITION event_2")
    with pytest.raises(WorldChanged, match=r"app\.public\.event: "):
        world.read()


def test_what_the_engine_itself_writes_is_not_told(world: Followed) -> None:
    own = "BEGIN; INSERT INTO domicile.pass VALUES (pg_current_xact_id()::text); SET LOCAL domicile.pass = 'on'; "
    world.write(f"{own} INSERT INTO person VALUES (1); COMMIT")
    world.write("BEGIN; SET LOCAL domicile.pass = 'on'; INSERT INTO person VALUES (2); COMMIT")  # not the engine
    assert world.take() == {PERSON: frozenset({("2",)})}


def test_writes_of_a_replication_session_are_told(world: Followed) -> None:
    world.write("BEGIN; SET LOCAL session_replication_role = replica; INSERT INTO person VALUES (1); COMMIT")
    assert world.take() == {PERSON: frozenset({("1",)})}


def test_a_writer_without_rights_on_our_schema_is_told(world: Followed) -> None:
    role = f"app_{uuid4().hex[:8]}"
    world.write(f"CREATE ROLE {role}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    world.write(f"BEGIN; SET LOCAL ROLE {role}; INSERT INTO person VALUES (1); COMMIT")
    assert world.take() == {PERSON: frozenset({("1",)})}
    world.write(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_begun_feed_begins_again_and_forgets_nothing(world: Followed) -> None:
    world.write("INSERT INTO person VALUES (1)")
    world.feed.begin()
    assert world.take() == {PERSON: frozenset({("1",)})}


def test_an_ended_feed_leaves_nothing_and_the_platform_writes_on(world: Followed) -> None:
    world.write("INSERT INTO person VALUES (1)")
    world.feed.end()
    world.feed.end()
    world.write("UPDATE person SET id = 2; DELETE FROM person; TRUNCATE event")
    left = world.writer.execute(
        "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname ~ 'domicile') + (SELECT count(*) FROM pg_publication)"
        " + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())"
        " + (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('domicile') AND relname ~ '^(k_|feed)')"
    ).fetchone()
    assert left == (0,)
    with pytest.raises(FeedBroken, match="changefeed is gone"):
        world.read()


def test_the_lag_counts_from_the_last_confirm(world: Followed) -> None:
    world.write("INSERT INTO person SELECT generate_series(1, 500)")
    waiting = world.feed.lag()
    assert waiting.rows >= 500 or waiting.bytes > 0
    assert 0 <= waiting.seconds < 60
    world.take()
    assert 0 == world.feed.lag().rows
