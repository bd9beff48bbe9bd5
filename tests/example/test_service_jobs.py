"""What crosses borders, without a web server: two homes and the commons, jobs that fail, come twice, come late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from domicile.directory.states import Served
from domicile.model import DatasetId
from domicile.stores.postgres import places
from domicile.stores.postgres.server import EmbeddedServer
from shortvideo.database import create, password_hash
from shortvideo.residence import Residence, main, receive
from shortvideo.service import accounts, nightly, post
from shortvideo.service.counting import at_once
from shortvideo.service.jobs import Count, Delivery, FanOut, Message, Nightly, Notification, Parcel, Published, enqueue
from shortvideo.service.places import Moving, Places, opened
from shortvideo.service.settings import from_environment
from shortvideo.worker import Worker
from tests.directory.town import serving, until
from tests.servers import Databases

SCHEMA = Path(__file__).resolve().parents[2] / "examples" / "shortvideo" / "schema.sql"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
EARLIER = datetime(2026, 10, 1, tzinfo=UTC)
SENDER, NEWCOMER, VIDEO = 5, 900, 3
PEOPLE = DatasetId("service.app.users")
DONE = "SELECT true FROM app.jobs WHERE id = %s AND done_at IS NOT NULL"
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
        commons.execute("INSERT INTO app.residences VALUES (900, 'us')")
    receive(sg_dsn, "us")
    served = Served(dsn=sg_dsn, store="service", location="sg", kind=PEOPLE, homes=("us",))
    with ExitStack() as stack:
        url = stack.enter_context(serving(served))
        places = [
            stack.enter_context(opened(from_environment({
                "SV_LOCATION": name, "SV_HOME_DSN": dsn, "SV_COMMONS_DSN": sg_dsn, "SV_S3_ENDPOINT": "http://127.0.0.1:1",
                "SV_S3_KEY": "", "SV_S3_SECRET": "", "SV_BUCKET": "b", "SV_COMMONS_BUCKET": "b", "SV_TOKEN": "t",
                "SV_STATE": str(tmp_path), "SV_DIRECTORY": url,
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


def test_a_home_is_opened_by_a_command(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SV_COMMONS_DSN", world.sg_dsn)
    assert {"sg", "us"} == world.sg.receiving()
    assert 0 == main(["open", "ca"])
    assert {"sg", "us", "ca"} == world.sg.receiving()
    assert 2 == main(["nonsense"])


# ---------------------------------------------------------------- while people move


def _place(world: World, state: str, *people: int, home: str = "us") -> None:
    """Write into the directory what the engine writes: these people's state."""
    with psycopg.connect(world.sg_dsn, autocommit=True) as connection:
        places.create(connection, store="service")
        connection.execute("UPDATE domicile_directory.clock SET version = version + 1")
        connection.cursor().executemany(
            "INSERT INTO domicile_directory.place SELECT %s, %s, %s, %s, CASE WHEN %s = 'home' THEN %s END, version "
            "FROM domicile_directory.clock ON CONFLICT (kind, key) DO UPDATE SET state = excluded.state, "
            "authority = CASE WHEN excluded.state = 'fenced' THEN place.authority ELSE excluded.authority END, "
            "version = excluded.version",
            [(PEOPLE, str(person), home, state, state, home) for person in people],
        )
    for place in (world.sg, world.us):
        for person in people:
            until(lambda place=place, person=person: _knows(place, person, state))  # type: ignore[misc]


def _knows(place: Places, person: int, state: str) -> bool:
    return place.residences.directory.locate(str(person)).state == state


def _copied(world: World, person: int) -> None:
    """A mover's row lies at home as well as at the source, as it does from the copy to the erasure."""
    with psycopg.connect(world.us_dsn) as home:
        home.execute(
            "INSERT INTO app.users (id, username, display_name, email, country) "
            "VALUES (%s, %s, 'M', %s, 'US') ON CONFLICT (id) DO UPDATE SET email = excluded.email",
            [person, f"mover{person}", f"m{person}@x.example"],
        )


def test_who_moves_lives_where_the_directory_says(world: World) -> None:
    for state, residence in (
        ("moving", Residence(location="sg")), ("fenced", Residence(location="sg", fenced=True)),
        ("home", Residence(location="us")), ("fenced", Residence(location="us", fenced=True)),
        ("moving", Residence(location="sg")),
    ):  # fmt: skip
        _place(world, state, SENDER)
        assert residence == world.sg.residences.locate(SENDER)
        assert {SENDER: residence, NEWCOMER: Residence(location="us"), 6: Residence(location="sg")} == (
            world.us.residences.locate_all([SENDER, NEWCOMER, 6])
        )


def test_a_home_receives_from_the_first_person_who_lives_there_on(world: World) -> None:
    world.sg.commons.run("UPDATE app.locations SET receives = false WHERE name = 'us'")
    for state in ("moving", "fenced"):
        _place(world, state, SENDER)
        assert not nightly.ready(world.us)
        assert "sg" == accounts.home_of(world.sg, "US")
    _place(world, "home", SENDER)
    assert nightly.ready(world.us)
    assert "us" == accounts.home_of(world.sg, "US")


def test_a_parcel_is_taken_where_its_recipient_lives_and_nowhere_else(world: World) -> None:
    mover = 6
    _copied(world, mover)
    for number, (state, taken) in enumerate((("moving", world.sg), ("fenced", None), ("home", world.us)), start=8001):
        _place(world, state, mover)
        for place in (world.sg, world.us):
            delivery = Delivery(id=number, parcel=_message(number, recipient=mover))
            if place is taken:
                post.receive(place, delivery)
            else:
                with pytest.raises(Moving):
                    post.receive(place, delivery)


def test_p1_each_message_is_written_by_the_directorys_word_of_its_recipient(world: World) -> None:
    """The guard at the source refuses it where they have gone home since; here it is only told what was gone by."""
    with psycopg.connect(world.sg_dsn) as commons:
        commons.execute("CREATE TABLE by (message bigint, version bigint)")
        commons.execute(
            "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO by VALUES (new.id,"
            " current_setting('domicile.as_of')::bigint); RETURN new; END $$;"
            "CREATE TRIGGER told BEFORE INSERT ON app.direct_messages FOR EACH ROW EXECUTE FUNCTION told()"
        )
    mover = 6
    _place(world, "moving", mover)
    post.receive(world.sg, Delivery(id=8001, parcel=_message(7001, recipient=mover)))
    with world.sg.home.transaction() as home:
        post.send(world.sg, home, _message(7002, recipient=mover))
    version = world.sg.residences.locate(mover).as_of
    assert version == world.sg.home.value("SELECT version FROM domicile_directory.clock")
    assert [7001, 7002] == world.sg.home.column("SELECT message FROM by WHERE version = %s ORDER BY 1", [version])


def test_p6_who_writes_to_somebody_who_moved_just_now_is_not_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is remembered the recipient is still here; the guard knows better, and so does the directory."""
    mover = 6
    _place(world, "home", mover)
    version = world.sg.home.value("SELECT version FROM domicile_directory.clock")
    with psycopg.connect(world.sg_dsn) as commons:
        commons.execute(
            "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF current_setting('domicile.as_of')::bigint < {version} THEN"
            " RAISE EXCEPTION 'domicile: ask it again' USING ERRCODE = 'DM001'; END IF; RETURN new; END $$;"
            "CREATE TRIGGER guard BEFORE INSERT ON app.direct_messages FOR EACH ROW EXECUTE FUNCTION guard()"
        )
    known = [Residence(location="sg", as_of=version - 1)]
    locate = world.sg.residences.locate
    monkeypatch.setattr(type(world.sg.residences), "locate", lambda _, person: known.pop() if known else locate(person))
    message = _message(7003, recipient=mover)
    post.write(world.sg, message, post.news_of(world.sg, recipient=mover, actor=SENDER, about="message"))
    assert 1 == world.sg.home.value("SELECT count(*) FROM app.direct_messages WHERE id = 7003")
    carried = "SELECT count(*) FROM app.jobs WHERE kind = 'deliver' AND payload -> 'parcel' ->> 'what' = 'message'"
    assert 1 == world.sg.home.value(carried)


def test_a_parcel_is_not_taken_for_delivered_because_its_job_lies_there(world: World) -> None:
    """Its sender has moved: the job lies undone at the source as well, where the recipient is."""
    world.sg.home.run(
        "INSERT INTO app.jobs (id, kind, payload, run_after) VALUES (8001, 'deliver', %s, now())",
        [f'{{"user_id": {SENDER}}}'],
    )
    for _ in range(2):
        post.receive(world.sg, Delivery(id=8001, parcel=_message(7001, recipient=6)))
    assert 1 == world.sg.home.value("SELECT count(*) FROM app.direct_messages WHERE id = 7001")


def test_of_a_video_everybody_is_told_once_while_they_move(world: World) -> None:
    """Their follows lie here and there; one is still moving, one is at home, one never moves."""
    moving, home, stayer = 6, 7, 8
    for person in (moving, home):
        _copied(world, person)
    for place in (world.sg, world.us):
        with place.home.transaction() as session:
            place.host(session, [SENDER])
            session.run("DELETE FROM app.follows WHERE followee_id = %s", [SENDER])
            for person in (moving, home) if place is world.us else (moving, home, stayer):
                session.run("INSERT INTO app.follows VALUES (%s, %s, %s)", [person, SENDER, EARLIER])
    _place(world, "moving", moving)
    _place(world, "home", home)
    news = Published(author_id=SENDER, video_id=VIDEO, created_at=NOW)
    told = "SELECT recipient_id FROM app.notifications WHERE kind = 'video' AND video_id = %s ORDER BY 1"
    for place, people in ((world.sg, [moving, stayer]), (world.us, [home])):
        before = place.home.column(told, [VIDEO])
        with place.home.transaction() as session:
            post.tell_followers(place, session, news)
        assert people == [person for person in place.home.column(told, [VIDEO]) if person not in before]
    _place(world, "fenced", moving)
    for place in (world.sg, world.us):
        with pytest.raises(Moving), place.home.transaction() as session:
            post.tell_followers(place, session, Published(author_id=SENDER, video_id=VIDEO + 1, created_at=NOW))


def test_a_job_is_done_where_its_person_lives_and_only_looked_at_elsewhere(world: World) -> None:
    """A like of somebody's that is not counted yet lies in both queues while they move."""
    likes = "SELECT like_count FROM app.videos WHERE id = %s"
    before = world.sg.commons.value(likes, [VIDEO])
    for number, (state, doing) in enumerate((("moving", "sg"), ("home", "us"), ("fenced", None)), start=9101):
        _place(world, state, SENDER)
        for place in (world.sg, world.us):
            place.home.run(
                "INSERT INTO app.jobs (id, kind, payload, run_after) VALUES (%s, 'count', %s, now())",
                [number, Count(user_id=SENDER, counter="likes", ids=[VIDEO], by=1).model_dump_json()],
            )
            while Worker(place, ["count"]).work_once() and not place.home.value(DONE, [number]):
                if place.settings.location != doing:
                    break
            assert (place.settings.location == doing) == bool(place.home.value(DONE, [number]))
            place.home.run("UPDATE app.jobs SET done_at = now() WHERE id = %s", [number])
    assert before + 2 == world.sg.commons.value(likes, [VIDEO])


def test_who_moves_logs_in_where_they_live(world: World) -> None:
    mover, kept = 6, password_hash("secret word", b"0123456789abcdef")
    _copied(world, mover)
    for place in (world.sg, world.us):
        place.home.run("UPDATE app.users SET password_hash = %s, email = 'm6@x.example', state = 'active' "
                       "WHERE id = %s", [kept, mover])  # fmt: skip
    who, visit = accounts.LogIn(email="m6@x.example", password="secret word"), accounts.Visit(address=None, agent=None)
    for state, here in (("moving", world.sg), ("home", world.us)):
        _place(world, state, mover)
        for place in (world.sg, world.us):
            entered = accounts.enter(place, who, visit)
            assert (place is here) == (entered is not None)
    _place(world, "fenced", mover)
    for place in (world.sg, world.us):
        with pytest.raises(Moving):
            accounts.enter(place, who, visit)
