"""Which feed a store gets, and the sentence that says why."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from domicile.stores.feed import FeedKind
from domicile.stores.postgres.feed.choosing import choose, make_feed
from domicile.stores.postgres.feed.slot import SlotFeed
from domicile.stores.postgres.feed.triggers import TriggerFeed
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.session import Session, connect
from tests.servers import own_server
from tests.stores.feeds import Followed, followed

PARAMETERS = {"wal_level": "logical", "fsync": "off", "max_replication_slots": "2"}


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with own_server("choosing", parameters=PARAMETERS) as one:
        yield one


@pytest.fixture
def world(server: EmbeddedServer) -> Iterator[Followed]:
    with followed(server, f"t_{uuid4().hex[:12]}", kind="slot") as one:
        yield one


def chosen(world: Followed, dsn: str | None = None) -> tuple[str, str]:
    with connect(dsn or world.dsn, store="app") as connection:
        choice = choose(connection, world.datasets)
    assert str(choice) == f"{choice.kind}: {choice.why}"
    return str(choice.kind), choice.why


def test_a_slot_where_all_allows_it(world: Followed) -> None:
    kind, why = chosen(world)
    assert ("slot", True) == (kind, "wal_level is logical" in why)
    assert isinstance(make_feed("auto", world.session, world.datasets), SlotFeed)
    assert isinstance(make_feed(FeedKind.TRIGGER, world.session, world.datasets), TriggerFeed)


def test_triggers_where_the_log_says_too_little() -> None:
    with (
        own_server("replica", parameters={"wal_level": "replica", "fsync": "off"}) as quiet,
        followed(quiet, "t_quiet", kind="slot") as world,
    ):
        assert ("trigger", "wal_level is replica, a slot needs logical") == chosen(world)
        assert isinstance(make_feed("auto", world.session, world.datasets), TriggerFeed)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("ALTER TABLE likes DROP CONSTRAINT likes_pkey", "the replica identity of public.likes is not its key"),
        ("ALTER TABLE likes REPLICA IDENTITY NOTHING", "the replica identity of public.likes is not its key"),
        ("ALTER TABLE event_2 REPLICA IDENTITY FULL", "the replica identity of public.event_2 is the whole row"),
        ("ALTER TABLE person SET UNLOGGED", "public.person is not logged"),
        (
            "ALTER TABLE person DROP CONSTRAINT person_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
            "the replica identity of public.person is not its key",
        ),
        (
            "ALTER TABLE likes DROP CONSTRAINT likes_pkey, ADD UNIQUE (person_id, video_id)",
            "the replica identity of public.likes is not its key",
        ),
    ],
)
def test_triggers_where_a_table_is_not_told_by_its_key(world: Followed, change: str, why: str) -> None:
    world.write(change)
    assert ("trigger", why) == chosen(world)


def test_a_unique_index_is_a_key_where_it_is_the_identity(world: Followed) -> None:
    world.write(
        "ALTER TABLE likes DROP CONSTRAINT likes_pkey, ALTER person_id SET NOT NULL, ALTER video_id SET NOT NULL"
    )
    world.write("CREATE UNIQUE INDEX named ON likes (video_id, person_id) INCLUDE (at)")
    world.write("ALTER TABLE likes REPLICA IDENTITY USING INDEX named")
    assert "slot" == chosen(world)[0]
    world.feed.begin()
    world.write("INSERT INTO likes VALUES (1, 2); UPDATE likes SET video_id = 3")
    assert [frozenset({("1", "2"), ("1", "3")})] == list(world.take().values())


def test_triggers_where_the_role_may_not(world: Followed) -> None:
    name = f"weak_{uuid4().hex[:12]}"
    world.write(f"CREATE ROLE {name} LOGIN PASSWORD 'throw-away'")
    dsn = make_conninfo(world.dsn, user=name)
    assert ("trigger", "the role may not replicate") == chosen(world, dsn)
    world.write(f"ALTER ROLE {name} REPLICATION")
    kind, why = chosen(world, dsn)
    assert ("trigger", True) == (kind, why.startswith("the role does not own public."))
    world.write(f"DROP ROLE {name}")


def test_a_role_that_is_no_superuser_follows_by_a_slot(world: Followed) -> None:
    name = f"own_{uuid4().hex[:12]}"
    world.write(f"CREATE ROLE {name} LOGIN REPLICATION PASSWORD 'throw-away'")
    world.write(f"GRANT CREATE ON DATABASE {world.writer.info.dbname} TO {name}")
    for table in ("person", "likes", '"Note"', "event", "event_1", "event_2"):
        world.write(f"ALTER TABLE {table} OWNER TO {name}")
    session = Session(make_conninfo(world.dsn, user=name), store="app")
    feed = make_feed("auto", session, world.datasets)
    assert isinstance(feed, SlotFeed)
    feed.begin()
    world.write("INSERT INTO person VALUES (1)")
    batch = feed.read(world.snapshot(), keys_max=10)
    assert [frozenset({("1",)})] == list(batch.keys.values())
    feed.confirm(batch)
    feed.end()
    session.close()
    world.write(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def test_triggers_where_no_slot_is_free(world: Followed) -> None:
    names = [f"s_{uuid4().hex[:12]}" for _ in range(2)]
    for name in names:
        world.writer.execute("SELECT pg_create_physical_replication_slot(%s)", (name,))
    try:
        assert ("trigger", "no replication slot is free (max_replication_slots)") == chosen(world)
    finally:
        for name in names:
            world.writer.execute("SELECT pg_drop_replication_slot(%s)", (name,))


def test_triggers_where_texts_are_in_any_encoding(server: EmbeddedServer) -> None:
    with followed(server, f"t_{uuid4().hex[:12]}", kind="slot", encoding="SQL_ASCII") as world:
        assert ("trigger", True) == (chosen(world)[0], "SQL_ASCII" in chosen(world)[1])


@pytest.mark.parametrize("kind", ["slot", "trigger"])
def test_what_was_begun_goes_on(server: EmbeddedServer, kind: str) -> None:
    with followed(server, f"t_{uuid4().hex[:12]}", kind=kind) as world:
        world.feed.begin()
        assert (kind, "it was begun here and goes on") == chosen(world)
        again = make_feed("auto", world.session, world.datasets)
        again.begin()
        world.write("INSERT INTO person VALUES (1)")
        assert again.read(world.snapshot(), keys_max=10).keys
        again.end()
        assert "it was begun" not in chosen(world)[1]


def test_a_table_that_is_gone_has_no_say(world: Followed) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        assert "slot" == choose(connection, ()).kind
