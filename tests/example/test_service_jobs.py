"""What crosses borders, without a web server: two homes and the commons, jobs that fail, come twice, come late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from domicile.stores.postgres.server import EmbeddedServer
from shortvideo.database import create
from shortvideo.residence import main, receive, sync
from shortvideo.service import nightly, post
from shortvideo.service.counting import at_once
from shortvideo.service.jobs import Count, Delivery, FanOut, Message, Nightly, Notification, Parcel, Published, enqueue
from shortvideo.service.places import Moving, Places, opened
from shortvideo.service.settings import from_environment
from shortvideo.worker import Worker
from tests.servers import Databases

SCHEMA = Path(__file__).resolve().parents[2] / "examples" / "shortvideo" / "schema.sql"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
EARLIER = datetime(2026, 10, 1, tzinfo=UTC)
SENDER, NEWCOMER, VIDEO = 5, 900, 3
FENCE = """
    CREATE FUNCTION fence() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'domicile: moving' USING ERRCODE = 'DM001'; END $$;
    CREATE TRIGGER fence BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION fence()
"""


@dataclass(frozen=True, slots=True)
class World:
    """The source with its people, and a home with one newcomer, to whom nobody at the source is known."""

    sg: Places
    us: Places
    sg_dsn: str
    us_dsn: str


@pytest.fixture
def world(pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Iterator[World]:
    sg_dsn, us_dsn = database(pg18), database(pg18)
    create(sg_dsn, users=150, passwords=0)
    with psycopg.connect(us_dsn) as home:
        home.execute(SCHEMA.read_bytes())
        home.execute("INSERT INTO app.countries VALUES ('US', 'US', ''), ('ZZ', 'Elsewhere', '')")
        home.execute(
            "INSERT INTO app.users (id, username, display_name, email, country) "
            "VALUES (900, 'new', 'N', 'n@x.example', 'US')"
        )
    with psycopg.connect(sg_dsn) as commons:
        commons.execute("INSERT INTO app.users (id, username, display_name, country) VALUES (900, 'new', 'N', 'ZZ')")
    sync(sg_dsn, {"us": us_dsn})
    with ExitStack() as stack:
        places = [
            stack.enter_context(opened(from_environment({
                "SV_LOCATION": name, "SV_HOME_DSN": dsn, "SV_COMMONS_DSN": sg_dsn, "SV_S3_ENDPOINT": "http://127.0.0.1:1",
                "SV_S3_KEY": "", "SV_S3_SECRET": "", "SV_BUCKET": "b", "SV_COMMONS_BUCKET": "b", "SV_TOKEN": "t",
                "SV_STATE": str(tmp_path),
            })))
            for name, dsn in (("sg", sg_dsn), ("us", us_dsn))
        ]  # fmt: skip
        yield World(places[0], places[1], sg_dsn, us_dsn)


def _message(number: int, *, recipient: int = NEWCOMER) -> Message:
    return Message(id=number, sender_id=SENDER, recipient_id=recipient, body="hello", sent_at=NOW)


def _like(number: int, *, actor: int = SENDER) -> Notification:
    return Notification(
        id=number, recipient_id=NEWCOMER, actor_id=actor, about="like", video_id=VIDEO, created_at=NOW
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parcel", "table"),
    [
        (_message(7001), "app.direct_messages"),
        (_like(7001), "app.notifications"),
    ],
)
def test_what_is_delivered_twice_is_there_once(world: World, parcel: Parcel, table: str) -> None:
    for _ in range(2):
        post.receive(world.us, Delivery(id=8001, parcel=parcel))
    assert 1 == world.us.home.value(f"SELECT count(*) FROM {table}")


def test_a_home_hosts_what_foreign_keys_ask_for_and_not_a_word_more(world: World) -> None:
    post.receive(world.us, Delivery(id=8001, parcel=_like(7001)))
    author = world.sg.commons.value("SELECT author_id FROM app.videos WHERE id = %s", [VIDEO])
    rows = world.us.home.column(
        "SELECT id || display_name || coalesce(email, '') || country FROM app.users ORDER BY id"
    )
    assert sorted([f"{SENDER}ZZ", f"{author}ZZ", "900Nn@x.exampleUS"]) == sorted(rows)
    assert None is world.us.home.value("SELECT caption FROM app.videos WHERE id = %s", [VIDEO])


def test_who_is_blocked_is_not_heard_also_from_afar(world: World) -> None:
    with world.us.home.transaction() as home:
        world.us.host(home, [SENDER])
        home.run("INSERT INTO app.blocks VALUES (%s, %s, now())", [NEWCOMER, SENDER])
    post.receive(world.us, Delivery(id=8001, parcel=_message(7001)))
    post.receive(world.us, Delivery(id=8002, parcel=_like(7002)))
    assert 0 == world.us.home.value("SELECT count(*) FROM app.direct_messages")
    assert 0 == world.us.home.value("SELECT count(*) FROM app.notifications")


def test_nothing_is_taken_for_somebody_who_is_not_here(world: World) -> None:
    with pytest.raises(Moving):
        post.receive(world.us, Delivery(id=8001, parcel=_message(7001, recipient=6)))
    assert 0 == world.us.home.value("SELECT count(*) FROM app.jobs")


def test_a_home_that_is_being_filled_is_not_written_to(world: World) -> None:
    world.sg.commons.run("UPDATE app.locations SET receives = false WHERE name = 'us'")
    news = Published(author_id=SENDER, video_id=VIDEO, created_at=NOW)
    with pytest.raises(Moving):
        post.receive(world.us, Delivery(id=8001, parcel=news))
    assert not nightly.ready(world.us)
    assert 0 == world.us.home.value("SELECT count(*) FROM app.jobs")
    receive(world.sg_dsn, "us")
    assert nightly.ready(world.us)


def test_followers_are_told_once_each_and_not_of_what_was_before(world: World) -> None:
    with world.us.home.transaction() as home:
        world.us.host(home, [SENDER])
        home.run("INSERT INTO app.follows VALUES (%s, %s, %s)", [NEWCOMER, SENDER, NOW])
    post.receive(world.us, Delivery(id=8000, parcel=Published(author_id=SENDER, video_id=4, created_at=EARLIER)))
    news = Published(author_id=SENDER, video_id=VIDEO, created_at=NOW)
    for number in (8001, 8001, 8002):
        post.receive(world.us, Delivery(id=number, parcel=news))
    assert [f"video {VIDEO}"] == world.us.home.column("SELECT kind::text || ' ' || video_id FROM app.notifications")


def _views(world: World) -> int:
    return int(world.sg.commons.value("SELECT view_count FROM app.videos WHERE id = %s", [VIDEO]))


@pytest.mark.parametrize("place", ["sg", "us"])
def test_a_count_that_is_done_twice_counts_once(world: World, place: str) -> None:
    places: Places = getattr(world, place)
    before, job = _views(world), Count(user_id=None, counter="views", ids=[VIDEO], by=2)
    with places.home.transaction() as home:
        number = enqueue(places, home, job)
    at_once(places, number, job)
    at_once(places, number, job)
    places.home.run("UPDATE app.jobs SET done_at = NULL WHERE id = %s", [number]) if place == "us" else None
    while Worker(places).work_once():
        pass
    assert before + 2 == _views(world)


def test_a_count_whose_owner_is_on_the_move_is_done_later(world: World) -> None:
    before, job = _views(world), Count(user_id=None, counter="views", ids=[VIDEO], by=1)
    with psycopg.connect(world.sg_dsn) as commons:
        commons.execute(FENCE.format(table="app.videos").encode())
    with world.us.home.transaction() as home:
        number = enqueue(world.us, home, job)
    at_once(world.us, number, job)
    Worker(world.us).work_once()
    assert before == _views(world)
    failed = world.us.home.value("SELECT last_error || attempts FROM app.jobs WHERE id = %s", [number])
    assert failed.endswith("1")
    assert "domicile" not in failed
    with psycopg.connect(world.sg_dsn) as commons:
        commons.execute("DROP FUNCTION fence CASCADE")
    world.us.home.run("UPDATE app.jobs SET run_after = now()")
    Worker(world.us).work_once()
    assert before + 1 == _views(world)


def test_a_job_that_cannot_even_be_marked_rests_and_the_others_go_on(world: World) -> None:
    job = Count(user_id=None, counter="views", ids=[VIDEO], by=1)
    with world.us.home.transaction() as home:
        enqueue(world.us, home, job)
    with psycopg.connect(world.us_dsn) as home_:
        home_.execute(FENCE.format(table="app.jobs").encode())
    worker = Worker(world.us)
    assert [True, False] == [worker.work_once(), worker.work_once()]


def test_what_is_not_public_yet_waits_and_what_never_was_is_given_up(world: World) -> None:
    with world.us.home.transaction() as home:
        number = enqueue(world.us, home, FanOut(user_id=NEWCOMER, video_id=10**9))
    for _ in range(2):
        assert Worker(world.us).work_once()
        assert None is world.us.home.value("SELECT done_at FROM app.jobs WHERE id = %s", [number])
        world.us.home.run("UPDATE app.jobs SET run_after = now()")
    world.us.home.run("UPDATE app.jobs SET attempts = 20")
    assert [True, False] == [Worker(world.us).work_once() for _ in range(2)]


@pytest.mark.parametrize("place", ["sg", "us"])
def test_the_night_fills_the_summary_and_asks_for_the_next(world: World, place: str) -> None:
    places: Places = getattr(world, place)
    places.home.run("TRUNCATE app.daily_activity")
    with places.home.transaction() as home:
        enqueue(places, home, Nightly())
    while Worker(places).work_once():
        pass
    watched = places.home.value(
        "SELECT sum((payload ->> 'ms')::bigint) FROM app.watch_events w JOIN app.users u ON u.id = w.user_id "
        "WHERE u.email IS NOT NULL OR u.password_hash IS NOT NULL"
    )
    assert watched == places.home.value("SELECT sum(watched_ms) FROM app.daily_activity")
    assert 1 == places.home.value("SELECT count(*) FROM app.jobs WHERE kind = 'nightly' AND done_at IS NULL")
    assert 6 == places.home.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'app.watch_events'::regclass")


def test_ids_come_from_one_office(world: World) -> None:
    drawn = [places.tickets.next("comments") for places in (world.sg, world.us) for _ in range(40)]
    assert len(set(drawn)) == 80
    assert min(drawn) > world.sg.commons.value("SELECT max(id) FROM app.comments")


def test_a_move_is_told_to_the_router(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SV_COMMONS_DSN", world.sg_dsn)
    monkeypatch.setenv("SV_HOME_DSNS", f'{{"us": "{world.us_dsn}"}}')
    assert 0 == main(["sync"])
    assert "us: 1 people live there\n" == capsys.readouterr().out
    assert "us" == world.sg.residences.of(NEWCOMER)
    assert 2 == main(["nonsense"])
