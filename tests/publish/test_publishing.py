"""What is public is seen at every location within seconds, what is private is nowhere else, and nothing goes round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import psycopg
import pytest

from domicile.errors import BadFile, Refused, StoreFault
from domicile.stores.postgres.publishing import make_publishing, unpublished
from tests.publish.places import PEER, PEER_PASSWORD, Pair, Places, eventually, fill_small, places

SECRETS = (b"zoe@private.example", b"+65-zoe", b"192.0.2.7", b"secret-agent", b"a secret note")


@pytest.fixture(scope="module")
def public(pair: Pair) -> Iterator[Places]:
    """The small world, published; tests use rows of their own."""
    with places(pair, fill=fill_small) as made:
        made.make()
        made.settle()
        yield made


@pytest.fixture
def fresh(pair: Pair) -> Iterator[Places]:
    """A small world of the test's own, not published yet."""
    with places(pair, fill=fill_small) as made:
        yield made


def everywhere(public: Places, query: str, wanted: list[tuple[object, ...]], *, but: str = "") -> None:
    for place in public.sessions:
        if place != but:
            eventually(lambda place=place: public.run(place, query), wanted)  # type: ignore[misc]


def versions(public: Places) -> dict[str, list[tuple[object, ...]]]:
    """Which transaction wrote each row of each database last: anything that is written again shows."""
    query = "SELECT id, xmin::text FROM post UNION ALL SELECT -id, xmin::text FROM person ORDER BY 1"
    return {place: public.run(place, query) for place in public.sessions}


def test_a_post_of_the_source_is_seen_at_the_homes_without_its_private_half(public: Places) -> None:
    public.run("sg", "INSERT INTO post (id, person_id, body, address) VALUES (100, 3, 'hello', '192.0.2.100')")
    everywhere(public, "SELECT body, letters, address FROM post WHERE id = 100", [("hello", 5, None)], but="sg")
    assert [(5, "192.0.2.100")] == public.run("sg", "SELECT letters, host(address) FROM post WHERE id = 100")


def test_a_post_of_a_home_is_seen_at_the_source_and_at_the_other_home(public: Places) -> None:
    public.run("us", "INSERT INTO post (id, person_id, body, address) VALUES (110, 1, 'howdy', '192.0.2.110')")
    everywhere(public, "SELECT body, address FROM post WHERE id = 110", [("howdy", None)], but="us")
    public.run("us", "UPDATE post SET body = 'howdy!', address = '192.0.2.111' WHERE id = 110")
    everywhere(public, "SELECT body, address FROM post WHERE id = 110", [("howdy!", None)], but="us")


def test_an_update_that_arrives_leaves_the_private_half_as_it_is(public: Places) -> None:
    public.run("sg", "UPDATE person SET name = 'Ada L.' WHERE id = 1")
    public.run("sg", "UPDATE post SET likes = 7 WHERE id = 1")
    eventually(
        lambda: public.run("us", "SELECT name, email, phone, country FROM person WHERE id = 1"),
        [("Ada L.", "ada@private.example", "+1-ada", "US")],
    )
    eventually(lambda: public.run("us", "SELECT likes, host(address) FROM post WHERE id = 1"), [(7, "10.0.0.1")])


def test_a_person_who_arrives_has_stand_ins_and_no_default_makes_up_a_value(public: Places) -> None:
    public.run("us", "INSERT INTO person VALUES (120, 'Ann', 'ann@private.example', '+1-ann', 'US')")
    public.run("us", "INSERT INTO person VALUES (121, 'Abe', 'abe@private.example', '+1-abe', 'US')")
    everywhere(
        public, "SELECT name, phone, country, seen FROM person WHERE id = 120", [("Ann", None, "ZZ", None)], but="us"
    )
    query = (
        "SELECT count(DISTINCT email), bool_and(email ~ '^x[0-9a-f]{32}@outside.invalid$') FROM person"
        " WHERE id IN (120, 121)"
    )
    everywhere(public, query, [(2, True)], but="us")


def test_a_partition_finds_its_place_and_its_stand_in(public: Places) -> None:
    public.run("sg", "INSERT INTO \"Odd View\" VALUES (1, '2019-05-05', 3, 'old', 'secret-1')")
    public.run("sg", "INSERT INTO \"Odd View\" VALUES (2, '2021-05-05', 3, 'new', 'secret-2')")
    query = 'SELECT tableoid::regclass::text, title, "Agent" FROM "Odd View" WHERE id IN (1, 2) ORDER BY id'
    everywhere(public, query, [("odd_old", "old", "none"), ("odd_new", "new", "none")], but="sg")


def test_deletions_cross_where_nothing_is_private_and_nowhere_else(public: Places) -> None:
    public.run("ca", "INSERT INTO tag VALUES ('dogs', 'Dogs')")
    everywhere(public, "SELECT label FROM tag WHERE name = 'dogs'", [("Dogs",)])
    public.run("ca", "INSERT INTO post (id, person_id, body) VALUES (130, 2, 'mine')")
    everywhere(public, "SELECT body FROM post WHERE id = 130", [("mine",)])
    public.run("sg", "DELETE FROM post WHERE id = 130")
    public.run("sg", "DELETE FROM tag WHERE name = 'dogs'")
    everywhere(public, "SELECT FROM tag WHERE name = 'dogs'", [])
    everywhere(public, "SELECT body FROM post WHERE id = 130", [("mine",)], but="sg")


def test_nothing_goes_round(public: Places) -> None:
    public.run("sg", "INSERT INTO post (id, person_id, body) VALUES (140, 3, 'one')")
    public.run("us", "INSERT INTO post (id, person_id, body) VALUES (141, 1, 'two')")
    everywhere(public, "SELECT count(*) FROM post WHERE id IN (140, 141)", [(2,)])
    public.quiet()
    before = versions(public)
    for _ in range(3):
        public.run("sg", "INSERT INTO note VALUES ((SELECT count(*) FROM note), 3, 'more WAL')")
        public.quiet()
    assert before == versions(public)


def test_what_goes_round_would_be_seen(fresh: Places) -> None:
    """The twin: with `origin = any` the same insert comes back, and is written again and again."""
    fresh.make()
    for crossing in fresh.decide().crossings:
        if "ca" not in (crossing.publisher, crossing.receiver):
            fresh.run(crossing.receiver, f"ALTER SUBSCRIPTION {crossing.name} SET (origin = any)")
    fresh.run("sg", "INSERT INTO post (id, person_id, body) VALUES (141, 3, 'one')")
    first = fresh.run("sg", "SELECT xmin::text FROM post WHERE id = 141")
    eventually(lambda: {first == fresh.run("sg", "SELECT xmin::text FROM post WHERE id = 141")}, {False})


def test_no_private_value_stands_in_the_stream(public: Places) -> None:
    """What a publication sends, read from a slot of the test's own, before any receiver."""
    public.quiet()
    public.run("sg", "SELECT pg_create_logical_replication_slot('watching', 'pgoutput')")
    try:
        public.run("sg", "INSERT INTO person VALUES (150, 'Zoe', 'zoe@private.example', '+65-zoe', 'SG')")
        public.run(
            "sg", "INSERT INTO post (id, person_id, body, address) VALUES (150, 150, 'seen by all', '192.0.2.7')"
        )
        public.run("sg", "UPDATE post SET body = 'and again', address = '192.0.2.7' WHERE id = 150")
        public.run("sg", "INSERT INTO \"Odd View\" VALUES (150, '2021-05-05', 3, 'seen', 'secret-agent')")
        public.run("sg", "INSERT INTO note VALUES (150, 3, 'a secret note')")
        stream = b"".join(
            bytes(data)
            for (data,) in public.run(
                "sg",
                "SELECT data FROM pg_logical_slot_peek_binary_changes('watching', NULL, NULL, 'proto_version', '1',"
                " 'publication_names', 'domicile_open,domicile_public')",
            )
        )
        kinds = {item.kind for item in public.check().remarks}
    finally:
        public.run("sg", "SELECT pg_drop_replication_slot('watching')")
    assert [True, True, True] == [text in stream for text in (b"Zoe", b"seen by all", b"and again")]
    assert [] == [secret for secret in SECRETS if secret in stream]
    assert kinds == {"foreign-slot"}  # our own watching was noticed


def test_a_role_that_replicates_sees_more_than_is_published_and_its_slot_is_noticed(public: Places) -> None:
    """Why `policy.public.trusted` is asked: a column list is no wall against who holds the role."""
    with psycopg.connect(public.dsns["us"], autocommit=True, user=PEER, password=PEER_PASSWORD) as peer:
        peer.execute("SELECT pg_create_logical_replication_slot('curious', 'test_decoding', true)")
        public.run("us", "INSERT INTO post (id, person_id, body, address) VALUES (155, 1, 'public', '192.0.2.155')")
        changes = peer.execute("SELECT data FROM pg_logical_slot_peek_changes('curious', NULL, NULL)").fetchall()
        assert any("192.0.2.155" in data for (data,) in changes)
        assert {("foreign-slot", "us")} == reds(public)
    eventually(lambda: reds(public), set())


def test_what_the_engine_writes_is_no_news(public: Places) -> None:
    public.quiet()
    with psycopg.connect(public.dsns["us"], autocommit=True) as engine, unpublished(engine):
        engine.execute("INSERT INTO post (id, person_id, body) VALUES (160, 1, 'moved')")
    public.run("us", "INSERT INTO post (id, person_id, body) VALUES (161, 1, 'written')")
    everywhere(public, "SELECT id FROM post WHERE id IN (160, 161)", [(161,)], but="us")


def test_a_row_that_is_there_already_is_no_conflict_and_keeps_its_private_half(public: Places) -> None:
    """As a move brings a row home in the moment in which it is published there."""
    with psycopg.connect(public.dsns["us"], autocommit=True) as engine, unpublished(engine):
        engine.execute("INSERT INTO post (id, person_id, body, address) VALUES (170, 1, 'early', '192.0.2.170')")
    public.run("sg", "INSERT INTO post (id, person_id, body) VALUES (170, 1, 'late')")
    eventually(
        lambda: public.run("us", "SELECT body, host(address) FROM post WHERE id = 170"), [("late", "192.0.2.170")]
    )
    assert [] == [item.kind for item in public.check().remarks]


def test_the_engines_own_replication_is_left_as_it_is(public: Places) -> None:
    with psycopg.connect(public.dsns["us"]) as engine:
        engine.execute("SET session_replication_role = replica")
        engine.execute("INSERT INTO person VALUES (180, 'Whole', 'whole@private.example', '+1-whole', 'US')")
        row = engine.execute("SELECT email, phone, country, seen IS NOT NULL FROM person WHERE id = 180").fetchone()
        engine.rollback()
    assert row == ("whole@private.example", "+1-whole", "US", True)


def test_making_it_again_makes_nothing(public: Places) -> None:
    assert public.make() == ()


# -- what a check finds ---------------------------------------------------------------------------------------------


def reds(public: Places) -> set[tuple[str, str]]:
    return {(item.kind, item.location) for item in public.check().remarks if item.red}


def test_a_publication_that_somebody_altered_is_red_and_mended(public: Places) -> None:
    public.run(
        "us",
        "ALTER PUBLICATION domicile_public"
        " SET TABLE ONLY post (id, person_id, body, address, likes), person (id, name)",
    )
    assert reds(public) == {("private-column", "us"), ("unpublished", "us")}
    public.make()
    public.settle()
    public.run("us", "ALTER PUBLICATION domicile_public SET (publish = 'insert, update, delete, truncate')")
    assert reds(public) == {("altered", "us")}
    public.make()
    public.settle()


def test_another_publication_is_red_only_if_it_carries_something_private(public: Places) -> None:
    public.run("us", "CREATE PUBLICATION theirs FOR TABLE tag, person (id, name)")
    assert reds(public) == set()
    public.run("us", "ALTER PUBLICATION theirs ADD TABLE note")
    try:
        assert reds(public) == {("foreign-publication", "us")}
    finally:
        public.run("us", "DROP PUBLICATION theirs")


def test_a_subscription_that_is_not_ours_and_brings_private_data_is_red(public: Places) -> None:
    public.run("sg", "CREATE PUBLICATION theirs FOR TABLE note")
    public.run(
        "ca",
        "CREATE SUBSCRIPTION egress CONNECTION '" + public.reached_by["sg"].replace("'", "''") + "' PUBLICATION theirs"
        " WITH (copy_data = false)",
    )
    try:
        expected = {("foreign-publication", "sg"), ("foreign-slot", "sg"), ("foreign-subscription", "ca")}
        assert reds(public) == expected
    finally:
        public.run("ca", "DROP SUBSCRIPTION egress")
        public.run("sg", "DROP PUBLICATION theirs")


def test_a_subscription_that_is_gone_or_off_or_goes_round_is_red(public: Places) -> None:
    crossing = next(item for item in public.decide().crossings if (item.publisher, item.receiver) == ("us", "sg"))
    public.run("sg", f"ALTER SUBSCRIPTION {crossing.name} DISABLE")
    assert reds(public) == {("disabled", "sg")}
    public.run("sg", f"ALTER SUBSCRIPTION {crossing.name} SET (origin = any)")
    assert reds(public) == {("disabled", "sg"), ("altered", "sg")}
    public.run("sg", f"ALTER SUBSCRIPTION {crossing.name} SET (slot_name = NONE)")
    public.run("sg", f"DROP SUBSCRIPTION {crossing.name}")
    assert reds(public) == {("subscription-missing", "sg")}
    assert public.make() == (f"subscription {crossing.name} at sg",)
    public.settle()


def test_a_slot_that_is_gone_is_red_and_not_passed_over(fresh: Places) -> None:
    fresh.make()
    crossing = next(item for item in fresh.decide().crossings if (item.publisher, item.receiver) == ("sg", "ca"))
    fresh.run("ca", f"ALTER SUBSCRIPTION {crossing.name} DISABLE")
    eventually(
        lambda: fresh.run("sg", "SELECT active FROM pg_replication_slots WHERE slot_name = %s", crossing.name),
        [(False,)],
    )
    fresh.run("sg", "SELECT pg_drop_replication_slot(%s)", crossing.name)
    fresh.run("sg", "INSERT INTO post (id, person_id, body) VALUES (210, 3, 'missed')")
    assert reds(fresh) == {("disabled", "ca"), ("slot-missing", "sg")}
    with pytest.raises(Refused, match=f"slot {crossing.name} is gone or lost its WAL, so changes were missed at ca"):
        fresh.make()
    fresh.drop()
    fresh.make(bring=True)
    eventually(lambda: fresh.run("ca", "SELECT body FROM post WHERE id = 210"), [("missed",)])


def test_a_password_is_refused_and_stands_in_no_message(fresh: Places) -> None:
    servers = fresh.servers()
    servers["us"] = replace(servers["us"], reached_by="host=127.0.0.1 user=peer password=hunter2")
    with pytest.raises(BadFile, match=r"policy\.public\.connections\.us: holds a password") as refused:
        make_publishing(fresh.decide(), servers)
    assert "hunter2" not in str(refused.value) + repr(servers["us"])
    assert [(0,)] == fresh.run("sg", "SELECT count(*) FROM pg_publication")


def test_a_server_that_does_not_reach_the_other_is_told_from_ours(fresh: Places) -> None:
    servers = fresh.servers()
    servers["us"] = replace(servers["us"], reached_by="host=127.0.0.1 port=1 user=peer dbname=none")
    with pytest.raises(StoreFault, match=r"store sg: its server does not reach us .*policy\.public\.connections\.us"):
        make_publishing(fresh.decide(), servers)


def test_a_trigger_that_is_off_is_red(public: Places) -> None:
    public.run("ca", "ALTER TABLE post DISABLE TRIGGER zzzz_domicile_arrival")
    assert reds(public) == {("arrivals", "ca")}
    public.make()
    assert reds(public) == set()


def test_what_can_not_be_written_is_tried_again_and_told(fresh: Places) -> None:
    fresh.make()
    fresh.settle()
    fresh.run("us", "ALTER TABLE post ADD CONSTRAINT short CHECK (length(body) < 20)")
    fresh.run("sg", "INSERT INTO post (id, person_id, body) VALUES (200, 3, 'longer than twenty letters')")
    eventually(lambda: {item.kind for item in fresh.check().remarks} & {"stopped"}, {"stopped"})
    assert [] == fresh.run("us", "SELECT FROM post WHERE id = 200")
    fresh.run("us", "ALTER TABLE post DROP CONSTRAINT short")
    eventually(lambda: fresh.run("us", "SELECT id FROM post WHERE id = 200"), [(200,)])
    eventually(lambda: [(item.kind, item.red) for item in fresh.check().remarks], [("errors", False)])


# -- bring, drop ----------------------------------------------------------------------------------------------------


def test_bring_brings_what_is_missing_and_touches_nothing_else(fresh: Places) -> None:
    fresh.run("sg", "INSERT INTO post (id, person_id, body, address) VALUES (300, 3, 'before', '192.0.2.3')")
    fresh.run("us", "UPDATE person SET name = 'Ada at home' WHERE id = 1")
    fresh.make(bring=True)
    fresh.settle()
    everywhere(fresh, "SELECT body, address FROM post WHERE id = 300", [("before", None)], but="sg")
    row = [("Ada at home", "ada@private.example")]
    assert row == fresh.run("us", "SELECT name, email FROM person WHERE id = 1")
    assert [("Ada",)] == fresh.run("sg", "SELECT name FROM person WHERE id = 1")


def test_drop_takes_all_away_and_leaves_the_rows(fresh: Places) -> None:
    fresh.make()
    fresh.run("sg", "INSERT INTO post (id, person_id, body) VALUES (400, 3, 'stays')")
    everywhere(fresh, "SELECT body FROM post WHERE id = 400", [("stays",)])
    assert len(fresh.drop()) == 6 + 6 + 2 * 3
    for place in fresh.sessions:
        left = (
            "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal)"
            " + (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'domicile%')"
            " + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())"
        )
        assert [(0,)] == fresh.run(place, left)
        assert [("stays",)] == fresh.run(place, "SELECT body FROM post WHERE id = 400")
    assert fresh.drop() == ()


def test_another_programmes_publishing_is_neither_altered_nor_dropped(fresh: Places) -> None:
    """Publications bear the same names in every programme: what one drops, the other's subscriptions read."""
    fresh.make()
    before = {place: fresh.run(place, "SELECT oid, pubname FROM pg_publication ORDER BY 1") for place in fresh.sessions}
    second = fresh.text.replace("programme: {name: ", "programme: {name: second-")
    for part in (
        "  us: {country: US, operator: Home Inc}\n",
        "  app-us: {kind: postgresql, location: us, dsn: env:US, home_of: app}\n",
        "US: us, ",
        " us: env:US_PEER,",
        " us,",
    ):
        assert part in second
        second = second.replace(part, "")
    for attempt in (partial(fresh.make, text=second), partial(fresh.drop, text=second)):
        with pytest.raises(Refused, match=r"slot domicile_ca_from_sg_\w+ \(and 3 more\) is of another programme's"):
            attempt()
    for place, found in before.items():
        assert found == fresh.run(place, "SELECT oid, pubname FROM pg_publication ORDER BY 1")
    fresh.run("sg", "INSERT INTO tag VALUES ('dogs', 'Dogs')")
    everywhere(fresh, "SELECT label FROM tag WHERE name = 'dogs'", [("Dogs",)])


def test_a_filter_on_the_key_keeps_other_rows_where_they_are(fresh: Places) -> None:
    text = fresh.text.replace("{replicate: true,", '{replicate: true, only: {app.public.post: "id >= 500"},')
    fresh.make(text=text)
    fresh.run("sg", "INSERT INTO post (id, person_id, body) VALUES (499, 3, 'kept'), (500, 3, 'seen')")
    everywhere(fresh, "SELECT id FROM post WHERE id IN (499, 500)", [(500,)], but="sg")
