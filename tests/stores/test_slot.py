"""What only a slot feed meets: a log that is not on disk yet, transactions of any size, others' hands on its slot."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest

from domicile.errors import FeedBroken, Refused, Unreachable, WorldChanged
from domicile.host import Host
from domicile.stores.feed import Batch, FeedKind, Key
from domicile.stores.postgres.feed import slot
from domicile.stores.postgres.feed.choosing import choose
from domicile.stores.postgres.feed.slot import SlotFeed
from domicile.stores.postgres.feed.standing import Noted, Slot, refuse_broken
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.session import connect
from tests.servers import own_server
from tests.stores.feeds import LIKES, NOTE, PERSON, Followed, datasets, followed

PARAMETERS = {
    "wal_level": "logical", "fsync": "off", "max_prepared_transactions": "4", "wal_writer_delay": "10s",
    "autovacuum": "off",
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with own_server("slot", parameters=PARAMETERS) as one:
        yield one


@pytest.fixture
def world(server: EmbeddedServer) -> Iterator[Followed]:
    with followed(server, f"t_{uuid4().hex[:12]}", kind="slot") as one:
        one.feed.begin()
        yield one


def again(world: Followed, *, retained_mib_max: int = 100) -> SlotFeed:
    """The feed of another process, over the same session."""
    return SlotFeed(world.session, world.datasets, retained_mib_max=retained_mib_max)


def slot_of(world: Followed) -> str:
    row = world.writer.execute(
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
    ).fetchone()
    assert row is not None
    return str(row[0])


def queued(world: Followed) -> int:
    row = world.writer.execute("SELECT count(*) FROM domicile.feed_queue").fetchone()
    assert row is not None
    return int(row[0])


def drain(world: Followed, *, keys_max: int) -> tuple[list[Batch], set[Key]]:
    """Read and confirm until a batch is complete; return the batches, and the persons in them."""
    batches: list[Batch] = []
    while not batches or not batches[-1].complete:
        assert len(batches) < 200
        batches.append(world.read(keys_max=keys_max))
        assert sum(map(len, batches[-1].keys.values())) <= keys_max
        world.feed.confirm(batches[-1])
    return batches, {key for batch in batches for key in batch.keys.get(PERSON, ())}


def test_a_commit_that_did_not_wait_for_the_disk_is_told(world: Followed) -> None:
    world.write("SET synchronous_commit = off")
    for n in range(20):
        world.write(f"INSERT INTO person VALUES ({n})")
        assert {PERSON: frozenset({(str(n),)})} == world.take()


def test_a_transaction_that_lies_across_reads_is_told_when_it_is_shown(world: Followed) -> None:
    long = world.another()
    long.execute("BEGIN; INSERT INTO person VALUES (1); SAVEPOINT s; INSERT INTO person VALUES (2)")
    for n in range(3, 6):
        world.write(f"INSERT INTO person VALUES ({n})")
        assert {PERSON: frozenset({(str(n),)})} == world.take()
    before = world.snapshot()
    long.execute("INSERT INTO person VALUES (9); COMMIT")
    batch = world.feed.read(before, keys_max=10)
    assert ({}, True) == (batch.keys, batch.complete)
    world.feed.confirm(batch)
    assert {PERSON: frozenset({("1",), ("2",), ("9",)})} == world.take()
    assert {} == world.take()


def test_a_transaction_larger_than_a_batch_goes_through_the_queue_in_little_memory(
    world: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot, "FETCH_ROWS", 500)
    world.write("INSERT INTO person SELECT generate_series(1, 20000)")
    tracemalloc.start()
    try:
        first = world.read(keys_max=1_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (1_000, False, 20_000) == (len(first.keys[PERSON]), first.complete, queued(world))
    assert peak < 1_500_000  # all keys at once take three times as much
    batches, told = drain(world, keys_max=10_000)
    assert {(str(n),) for n in range(1, 20_001)} == told
    assert (3, 0, 0) == (len(batches), queued(world), world.feed.lag().rows)


def test_small_transactions_are_cut_without_the_queue(world: Followed) -> None:
    for n in range(30):
        world.write(f"INSERT INTO person VALUES ({n})")
    first = world.read(keys_max=10)
    assert (10, False, 0) == (len(first.keys[PERSON]), first.complete, queued(world))
    _, told = drain(world, keys_max=10)
    assert {(str(n),) for n in range(30)} == told
    assert {} == world.take()


def test_a_crowd_behind_a_transaction_that_is_not_shown_is_told(world: Followed) -> None:
    late = world.another()
    late.execute("BEGIN; INSERT INTO person VALUES (0)")
    early = [world.another() for _ in range(3)]
    for n, one in enumerate(early):
        one.execute(f"BEGIN; INSERT INTO person SELECT generate_series({10 * n + 1}, {10 * n + 10})".encode())
    world.snapshot()
    late.execute("COMMIT")  # stands first in the log
    for one in early:
        one.execute("COMMIT")
    shown = world.snapshot()
    row = world.writer.execute("SELECT max(xmin::text::int) FROM person WHERE id = 0").fetchone()
    assert row is not None
    least, following, _ = shown.split(":")
    hidden = f"{min(int(least), row[0])}:{following}:{row[0]}"  # as while its commit waits for a standby
    told: set[Key] = set()
    for _ in range(12):
        batch = world.feed.read(hidden, keys_max=10)
        told |= batch.keys.get(PERSON, frozenset())
        world.feed.confirm(batch)
    assert {(str(n),) for n in range(1, 31)} == told
    assert {PERSON: frozenset({("0",)})} == world.take()


def test_a_key_that_lies_outside_its_row_is_told(world: Followed) -> None:
    world.write('ALTER TABLE "Note" ALTER "Id" SET STORAGE EXTERNAL')
    long = "".join(chr(33 + n * 7919 % 89) for n in range(2_600))
    world.writer.execute('INSERT INTO "Note" VALUES (%s, %s)', (long, "x"))
    assert {NOTE: frozenset({(long,)})} == world.take()
    world.write('UPDATE "Note" SET "Body" = repeat(\'y\', 9000)')
    assert {NOTE: frozenset({(long,)})} == world.take()
    world.write('DELETE FROM "Note"')
    assert {NOTE: frozenset({(long,)})} == world.take()


def test_a_large_truncation_is_refused_too(world: Followed) -> None:
    world.write("BEGIN; INSERT INTO likes SELECT n, n FROM generate_series(1, 100) AS n; TRUNCATE person; COMMIT")
    with pytest.raises(WorldChanged, match="somebody truncated it"):
        world.read(keys_max=10)
    with pytest.raises(WorldChanged, match="somebody truncated it"):
        world.read(keys_max=10)


def test_a_slot_that_somebody_dropped_is_noticed(world: Followed) -> None:
    name = slot_of(world)
    world.writer.execute("SELECT pg_drop_replication_slot(%s)", (name,))
    for act in (world.read, again(world).begin):
        with pytest.raises(FeedBroken, match=f"{name} is gone"):
            act()


def test_a_slot_that_somebody_made_anew_is_noticed(world: Followed) -> None:
    name = slot_of(world)
    world.writer.execute("SELECT pg_drop_replication_slot(%s)", (name,))
    world.write("INSERT INTO person VALUES (1)")
    world.writer.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
    for act in (world.read, again(world).begin):
        with pytest.raises(FeedBroken, match=r"made the slot .* anew or moved it"):
            act()


def test_a_slot_that_somebody_read_is_noticed(world: Followed) -> None:
    world.write("INSERT INTO person VALUES (1)")
    world.writer.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", (slot_of(world),))
    with pytest.raises(FeedBroken, match="moved it"):
        world.read()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER PUBLICATION domicile_feed DROP TABLE likes; ALTER PUBLICATION domicile_feed ADD TABLE likes",
        "ALTER PUBLICATION domicile_feed SET (publish = 'insert')",
        "DROP PUBLICATION domicile_feed",
    ],
)
def test_a_publication_that_somebody_changed_is_noticed(world: Followed, change: str) -> None:
    for statement in change.split(";"):
        world.write(statement)
    with pytest.raises(FeedBroken, match="somebody changed the publication"):
        world.read()


def test_another_replica_identity_is_noticed(world: Followed) -> None:
    world.write("ALTER TABLE likes REPLICA IDENTITY FULL")
    with pytest.raises(
        WorldChanged, match=r"app\.public\.likes: the replica identity of public\.likes is the whole row"
    ):
        world.read()
    world.write("ALTER TABLE likes REPLICA IDENTITY DEFAULT; INSERT INTO likes VALUES (1, 2)")
    assert {LIKES: frozenset({("1", "2")})} == world.take()


def test_a_change_of_a_keys_type_is_refused_by_the_server(world: Followed) -> None:
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="used by a publication"):
        world.write("ALTER TABLE likes ALTER video_id TYPE bigint")


def test_a_slot_that_holds_back_too_much_is_refused_until_more_is_allowed(world: Followed) -> None:
    world.write("INSERT INTO person VALUES (1, repeat('x', 3000000))")
    world.write("INSERT INTO other SELECT n, repeat('x', 100) FROM generate_series(1, 20000) AS n")
    assert world.feed.lag().bytes > 1 << 20
    strict = again(world, retained_mib_max=1)
    with pytest.raises(
        FeedBroken, match=r"holds back \d+ MiB of log, 1 may\. .*pg_drop_replication_slot\('domicile_feed_"
    ):
        strict.read(world.snapshot(), keys_max=10)
    assert {PERSON: frozenset({("1",)})} == world.take()


def test_what_nobody_reads_is_laid_by_and_holds_no_log_back(world: Followed) -> None:
    strict = again(world, retained_mib_max=1)
    open_since = world.another()
    open_since.execute("BEGIN; INSERT INTO person VALUES (0)")
    for n in range(1, 4):
        world.write(f"INSERT INTO person VALUES ({n})")
        world.write("UPDATE person SET email = 'x' WHERE id = 1")
        world.write(
            "INSERT INTO other SELECT n, repeat('x', 100) FROM generate_series(1, 10000) AS n; DELETE FROM other"
        )
    assert strict.lag().bytes > 1 << 20
    strict.lay_by()
    open_since.execute("COMMIT")
    world.write("CHECKPOINT")  # tells slots who is running, which lets them go of older log
    strict.lay_by()
    assert strict.lag().bytes < 1 << 20
    assert 7 == queued(world)
    world.write("INSERT INTO person VALUES (9)")
    assert {PERSON: frozenset((str(n),) for n in (0, 1, 2, 3, 9))} == world.take()
    assert {} == world.take()


def test_what_is_laid_by_in_pieces_is_told_whole(world: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "BEHIND_MESSAGES", 20)
    for n in range(30):
        world.write(f"INSERT INTO person VALUES ({n})")
    world.feed.lay_by()
    assert 30 == queued(world)
    assert {(str(n),) for n in range(30)} == drain(world, keys_max=7)[1]


def test_a_key_that_changes_often_is_laid_by_about_once(world: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "QUEUE_LINES_MAX", 10)
    feed = again(world)
    world.write("INSERT INTO person VALUES (1), (2)")
    for _ in range(30):
        world.write("UPDATE person SET email = concat(email, 'x') WHERE id = 1")
    feed.lay_by()
    assert 2 == queued(world)
    assert {PERSON: frozenset({("1",), ("2",)})} == world.take()


def test_a_table_truncated_while_nobody_reads_is_told(world: Followed) -> None:
    world.write("TRUNCATE likes")
    with pytest.raises(WorldChanged, match="truncated"):
        world.feed.lay_by()
    with pytest.raises(WorldChanged, match="truncated"):
        world.read()


@pytest.mark.parametrize(
    ("otherwise", "says"),
    [
        ({"status": "lost"}, "threw away log"),
        ({"status": "unreserved"}, "about to throw away log.*max_slot_wal_keep_size now"),
        ({"plugin": "test_decoding"}, "anew"),
        ({"confirmed": 11}, "anew or moved it"),
        ({"retained": (5 << 20) + 1}, None),
        ({"retained": 6 << 20}, "6 MiB of log, 5 may"),
    ],
)
def test_what_makes_a_slot_unfit(otherwise: dict[str, object], says: str | None) -> None:
    good = Slot(name="s", plugin="pgoutput", status="reserved", confirmed=10, retained=0)
    refuse_broken("app", good, Noted(position=10, facts=None), retained_mib_max=5)
    one = replace(good, **otherwise)  # type: ignore[arg-type]
    if says is None:
        one = replace(one, retained=5 << 20)
        refuse_broken("app", one, Noted(position=10, facts=None), retained_mib_max=5)
        return
    with pytest.raises(FeedBroken, match=says):
        refuse_broken("app", one, Noted(position=10, facts=None), retained_mib_max=5)


def test_the_slot_moves_on_while_nothing_followed_changes(world: Followed) -> None:
    for _ in range(3):
        world.write(
            "INSERT INTO other SELECT n, repeat('x', 1000) FROM generate_series(1, 3000) AS n; DELETE FROM other"
        )
        world.write("CHECKPOINT")  # tells slots who is running, which lets them go of older log
        assert {} == world.take()
    assert world.feed.lag().bytes < 6_000_000  # about two rounds of it


def test_a_slot_that_fell_back_in_a_crash_is_moved_on(server: EmbeddedServer) -> None:
    name = f"t_{uuid4().hex[:12]}"
    with followed(server, name, kind="slot") as world:
        world.feed.begin()
        world.write("INSERT INTO person VALUES (1)")
        world.write("CHECKPOINT")
        world.take()
        world.write("INSERT INTO person VALUES (2)")
        server.kill()
        server.restart()
        world.writer.close()
        world.writer = psycopg.connect(world.dsn, autocommit=True)
        with pytest.raises(Unreachable):
            world.read()
        assert {PERSON: frozenset({("2",)})} == world.take()


def test_what_was_noted_and_not_done_is_done(world: Followed) -> None:
    world.write("INSERT INTO person VALUES (1)")
    world.write("UPDATE domicile.feed_state SET position = pg_current_wal_lsn()")  # killed before it moved the slot
    world.write("INSERT INTO person VALUES (2)")
    assert {PERSON: frozenset({("2",)})} == world.take()


def test_a_batch_of_another_server_is_not_confirmed(world: Followed) -> None:
    batch = world.read()
    strange = replace(batch, position=batch.position.replace('"lsn": ', '"lsn": 9'))
    with pytest.raises(FeedBroken, match="behind the end of its log"):
        world.feed.confirm(strange)
    world.write("INSERT INTO person VALUES (1)")
    assert {PERSON: frozenset({("1",)})} == world.take()


def test_a_slot_in_anothers_hands_is_waited_for_and_named(world: Followed) -> None:
    class Busy(SlotFeed):
        tries = 0

        def _peek(self, *_: object, **__: object) -> object:  # type: ignore[override]
            Busy.tries += 1
            raise psycopg.errors.ObjectInUse("replication slot is active")

    class Hasty(Host):
        def pause(self, seconds: float) -> None:
            pass

    feed = Busy(world.session, world.datasets, host=Hasty())
    with pytest.raises(Unreachable, match="another session reads the slot"):
        feed.read(world.snapshot(), keys_max=10)
    assert Busy.tries > 10


def test_a_table_without_key_is_refused_at_the_begin(server: EmbeddedServer) -> None:
    with followed(server, f"t_{uuid4().hex[:12]}", kind="slot") as one:
        with connect(one.dsn, store="app") as connection:
            every = datasets(connection, kind="trigger")
        with pytest.raises(Refused, match=r"app\.public\.log_line: no slot can follow it: public\.log_line has no key"):
            SlotFeed(one.session, every).begin()
        one.feed.begin()  # and nothing stands in the way of one that can
        one.write("INSERT INTO person VALUES (1)")
        assert {PERSON: frozenset({("1",)})} == one.take()


def test_a_begin_that_was_broken_off_is_begun_anew(server: EmbeddedServer) -> None:
    with followed(server, f"t_{uuid4().hex[:12]}", kind="slot") as one:
        one.feed.begin()
        one.write("DELETE FROM domicile.feed_state")  # killed before it was noted
        one.write("DROP PUBLICATION domicile_feed")
        one.feed.begin()
        one.write("INSERT INTO person VALUES (1)")
        assert {PERSON: frozenset({("1",)})} == one.take()


@pytest.mark.parametrize(
    "missing",
    ["SELECT pg_drop_replication_slot('{slot}')", "DROP PUBLICATION domicile_feed", "DROP SCHEMA domicile CASCADE"],
)
def test_what_is_left_of_a_feed_goes_at_its_end(world: Followed, missing: str) -> None:
    world.write(missing.format(slot=slot_of(world)))
    world.feed.end()
    left = world.writer.execute(
        "SELECT (SELECT count(*) FROM pg_publication)"
        " + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())"
    ).fetchone()
    assert (0,) == left


def test_only_keys_leave_the_server(world: Followed) -> None:
    rows = world.writer.execute(
        "SELECT tablename, attnames::text[] FROM pg_publication_tables WHERE schemaname = 'public'"
    ).fetchall()
    assert {
        "Note": {"Id"}, "event_1": {"id", "day"}, "event_2": {"id", "day"}, "likes": {"person_id", "video_id"},
        "person": {"id"},
    } == {name: set(columns) for name, columns in rows}  # fmt: skip


def test_a_database_in_another_encoding_tells_the_same_keys(server: EmbeddedServer) -> None:
    with followed(server, f"t_{uuid4().hex[:12]}", kind="slot", encoding="LATIN1") as one:
        one.feed.begin()
        one.writer.execute('INSERT INTO "Note" VALUES (%s, %s)', ("é", "à"))
        assert {NOTE: frozenset({("é",)})} == one.take()


@pytest.mark.parametrize("major", [13, 15, 17])
def test_older_servers_tell_the_same(major: int) -> None:
    with (
        own_server("slot", major=major, parameters={"wal_level": "logical", "fsync": "off"}) as old,
        followed(old, "t_old", kind="slot") as world,
    ):
        with connect(world.dsn, store="app") as connection:
            choice = choose(connection, world.datasets)
        assert (FeedKind.TRIGGER if major < 15 else FeedKind.SLOT) == choice.kind
        assert ("before PostgreSQL 15" in choice.why) == (major < 15)
        world.feed.begin()
        world.write("INSERT INTO person VALUES (1, 'a'), (2, 'b'); INSERT INTO likes VALUES (1, 7)")
        world.write("INSERT INTO other VALUES (1, 'a')")
        assert {PERSON: frozenset({("1",), ("2",)}), LIKES: frozenset({("1", "7")})} == world.take()
        world.write("UPDATE likes SET video_id = 8")
        world.write("UPDATE person SET email = 'x' WHERE id = 1")
        assert {PERSON: frozenset({("1",)}), LIKES: frozenset({("1", "7"), ("1", "8")})} == world.take()
        world.write("INSERT INTO person SELECT generate_series(10, 60)")
        _, told = drain(world, keys_max=10)
        assert {(str(n),) for n in range(10, 61)} == told
        world.write("TRUNCATE event_2")
        with pytest.raises(WorldChanged, match="somebody truncated it"):
            world.read()
