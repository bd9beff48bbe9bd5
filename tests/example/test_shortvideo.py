"""The reference service's database: the same world for the same numbers, every key met, canaries only where private."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from domicile.config import load
from domicile.errors import Unclassed
from domicile.model import Manifest
from domicile.plan.resolve import resolve
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.source import PostgresSource
from shortvideo.database import create
from shortvideo.traffic.people import with_sessions
from tests.servers import Databases, Servers

HERE = Path(__file__).resolve().parents[2] / "examples" / "shortvideo"
USERS = 400
CANARIES = tuple(f"qz{number:02}canary" for number in range(80))
TABLES = """
    SELECT format('%%I.%%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('app', 'billing') AND c.relkind = ANY (%s) AND NOT c.relispartition ORDER BY 1
"""


@pytest.fixture(scope="module")
def world(pg18: EmbeddedServer) -> Iterator[str]:
    """A small world, read by many tests, changed by none."""
    databases = Databases()
    dsn = databases(pg18)
    create(dsn, users=USERS, canaries=CANARIES, passwords=0)
    yield dsn
    databases.drop()


def test_about_fifty_rows_for_each_person(world: str) -> None:
    with psycopg.connect(world) as connection:
        counts = {name: _count(connection, name) for name in _tables(connection, "rp")}
    people = USERS + len(CANARIES)
    assert people == counts["app.users"]
    assert people * 25 == counts["app.watch_events"]
    assert counts["app.appeals"] == 0
    assert 49 < sum(counts.values()) / people < 54


def test_every_foreign_key_is_met(world: str) -> None:
    """Loading switches the checks off; adding each key again checks them all."""
    with psycopg.connect(world) as connection:
        keys = connection.execute(
            "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype = 'f' AND conparentid = 0"
        ).fetchall()
        assert (HERE / "schema.sql").read_text(encoding="utf-8").count(" REFERENCES ") == len(keys)
        for number, (table, definition) in enumerate(keys):
            connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT again_{number} {definition}")
        connection.rollback()


def test_a_key_that_is_not_met_would_be_seen(pg18: EmbeddedServer, database: Databases) -> None:
    dsn = database(pg18)
    create(dsn, users=100)
    with psycopg.connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("INSERT INTO app.likes VALUES (7, 1000000000, now())")
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute(
                "ALTER TABLE app.likes ADD CONSTRAINT again FOREIGN KEY (video_id) REFERENCES app.videos"
            )


def test_the_same_numbers_make_the_same_world_on_another_major(
    world: str, servers: Servers, database: Databases
) -> None:
    again = database(servers.of(13))
    create(again, users=USERS, canaries=CANARIES, passwords=0)
    assert _digests(world) == _digests(again)


def test_another_seed_makes_another_world(world: str, pg18: EmbeddedServer, database: Databases) -> None:
    other = database(pg18)
    create(other, users=USERS, seed=2, canaries=CANARIES, passwords=0)
    ours, theirs = _digests(world), _digests(other)
    same = {name for name in ours if ours[name] == theirs[name]}
    assert same == {"app.countries", "app.locations", "app.appeals", "app.residences"}


def test_psql_makes_what_python_makes(world: str, pg18: EmbeddedServer, database: Databases) -> None:
    dsn = database(pg18)
    options = f"-c shortvideo.users={USERS} -c shortvideo.canaries={','.join(CANARIES)}"
    for script in ("schema.sql", "seed.sql"):
        subprocess.run(
            [find_client("psql", at_least_major=15), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", script],
            cwd=HERE,
            env={"PGOPTIONS": options},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    assert _digests(world) == _digests(dsn)


def test_twenty_canaries_live_in_each_market(world: str) -> None:
    with psycopg.connect(world) as connection:
        rows = connection.execute(
            "SELECT country, count(*) FROM app.users WHERE email LIKE 'qz%%canary@%%' GROUP BY 1"
        ).fetchall()
    assert dict(rows) == {"US": 20, "CA": 20, "AU": 20, "NZ": 20}


PRIVATE_PLACES = {
    "app.audit_log", "app.devices", "app.direct_messages", "app.drafts", "app.sessions", "app.users",
    "app.watch_events", "billing.creator_contacts", "billing.payout_accounts",
}  # fmt: skip


def test_traffic_leaves_canaries_where_they_were_planted(world: str) -> None:
    """One that moved to a country which is not to go home would rightly be found outside."""
    people = {person.id for person in with_sessions([world], 10_000)}
    query = (
        "SELECT u.id, u.email ~ 'canary' FROM app.users u JOIN app.sessions s ON s.user_id = u.id AND upper_inf(valid)"
    )
    with psycopg.connect(world) as connection:
        planted = {user for user, is_planted in connection.execute(query) if is_planted}
    assert planted
    assert people
    assert not planted & people


def test_canaries_stand_where_private_data_stands_and_nowhere_else(world: str) -> None:
    with psycopg.connect(world) as connection:
        found = {
            name
            for name in _tables(connection, "rpm")
            if _one(connection, f"SELECT count(*) FROM {name} AS r WHERE r::text ~ 'qz[0-9]{{2}}canary'")
        }
        public = _one(
            connection,
            "SELECT count(*) FROM app.users WHERE concat(username, display_name, avatar_url, bio) ~ 'canary'",
        )
        shared = _one(
            connection,
            "SELECT count(*) FROM app.direct_messages WHERE body ~ 'canary' AND sender_id <> recipient_id",
        )
    assert found == PRIVATE_PLACES
    assert (0, 0) == (public, shared)


def test_a_long_script_is_packed_and_another_is_not(world: str) -> None:
    """Both kinds with a canary inside: a sweep has to find either."""
    with psycopg.connect(world) as connection:
        packed, long = connection.execute(
            "SELECT count(*) FILTER (WHERE pg_column_size(script) < length(script) / 4), "
            "count(*) FILTER (WHERE pg_column_size(script) > 8000) FROM app.drafts WHERE script ~ 'canary'"
        ).fetchone() or (0, 0)
    assert (40, 40) == (packed, long)


def test_the_traps_are_set(world: str) -> None:
    traps = {
        "a message between a US and an SG user": "app.direct_messages m JOIN app.users a ON a.id = sender_id "
        "JOIN app.users b ON b.id = recipient_id WHERE (a.country, b.country) = ('US', 'SG')",
        "a comment of SG under a video of US": "app.comments c JOIN app.users a ON a.id = c.author_id "
        "JOIN app.videos v ON target_type = 'video' AND v.id = target_id JOIN app.users b ON b.id = v.author_id "
        "WHERE (a.country, b.country) = ('SG', 'US')",
        "a reply under a comment of another market": "app.comments c JOIN app.users a ON a.id = c.author_id "
        "JOIN app.comments p ON p.id = c.parent_id JOIN app.users b ON b.id = p.author_id "
        "WHERE a.country <> b.country",
        "a like of a mover on a stayer's video": "app.likes l JOIN app.users a ON a.id = user_id "
        "JOIN app.videos v ON v.id = video_id JOIN app.users b ON b.id = author_id "
        "WHERE (a.country, b.country) = ('CA', 'JP')",
        "a comment on a profile": "app.comments c JOIN app.users u ON target_type = 'user' AND u.id = target_id",
        "a number that is a video's and a person's": "app.comments c JOIN app.users u ON u.id = target_id "
        "JOIN app.videos v ON v.id = target_id",
        "a mover in an array of a stayer's video": "app.videos v JOIN app.users a ON a.id = author_id "
        "JOIN app.users b ON b.id = ANY(mentioned_ids) WHERE (a.country, b.country) = ('IN', 'US')",
        "a person in a queue": "app.jobs j JOIN app.users u ON u.id = (payload ->> 'user_id')::bigint",
        "a summary of a mover's day": "app.daily_activity d JOIN app.users u ON u.id = user_id WHERE country = 'US'",
        "a person in the name of a file": "app.drafts WHERE object_key LIKE 'u/' || author_id || '/%'",
        "a path that breaks off": "app.watch_events WHERE user_id IS NULL",
        "a reference to nothing": "app.reports WHERE target_id > 10^12",
        "NaN": "app.watch_events WHERE speed = 'NaN'",
        "infinity": "billing.payouts WHERE paid_at = 'infinity'",
        "an empty range": "app.sessions WHERE isempty(valid)",
        "a row that stands twice": "(SELECT a::text FROM app.audit_log a GROUP BY 1 HAVING count(*) > 1) AS twice",
        "empty beside NULL": "app.users a, app.users b WHERE a.bio = '' AND b.bio IS NULL",
    }
    with psycopg.connect(world) as connection:
        missing = {trap for trap, where in traps.items() if not _one(connection, f"SELECT count(*) FROM {where}")}
    assert missing == set()


def test_the_service_works_on_it(pg18: EmbeddedServer, database: Databases) -> None:
    """Keys that are handed out next are free, and the triggers are awake again."""
    dsn = database(pg18)
    create(dsn, users=100)
    with psycopg.connect(dsn) as connection:
        user = _one(connection, "INSERT INTO app.users (username, display_name) VALUES ('new_one', 'N') RETURNING id")
        assert user == 101
        video = _one(
            connection,
            "INSERT INTO app.videos (author_id, object_key, duration_s, published_at, updated_at) "
            "VALUES (101, 'k', 1, now(), now()) RETURNING id",
        )
        connection.execute("INSERT INTO app.likes VALUES (5, %s, now())", [video])
        assert _one(connection, f"SELECT like_count FROM app.videos WHERE id = {video}") == 1
        connection.execute("UPDATE app.users SET phone = NULL WHERE id = 101")
        assert _one(connection, "SELECT count(*) FROM app.audit_log WHERE account_id = 101") == 1


def test_the_file_decides_every_row(world: str) -> None:
    manifest = _survey(world, (HERE / "domicile.yaml").read_bytes())
    assert manifest.undecided() == ()
    assert {"shared", "ownerless", "apart-home", "apart-source", "unenforced", "dangling"} <= {
        finding.kind for finding in manifest.findings
    }


def test_without_its_rule_a_trap_is_left_undecided(world: str) -> None:
    text = (HERE / "domicile.yaml").read_text(encoding="utf-8").replace("forwardedFromId: {apart: skeleton}", "")
    kinds = {finding.kind for finding in _survey(world, text.encode()).undecided()}
    assert kinds == {"apart-home", "apart-source"}


def test_a_column_that_the_file_does_not_know_is_refused(pg18: EmbeddedServer, database: Databases) -> None:
    dsn = database(pg18)
    create(dsn, users=100)
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE app.users ADD nickname text")
    with pytest.raises(Unclassed, match="nickname"):
        _survey(dsn, (HERE / "domicile.yaml").read_bytes())


@pytest.mark.parametrize("word", ["", "a b", "a,b", "x'y", "ümlaut"])
def test_a_canary_that_is_no_plain_word_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="letters and digits"):
        create("host=nowhere.invalid", canaries=[word])


def test_a_service_without_people_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        create("host=nowhere.invalid", users=99)


def _survey(dsn: str, file: bytes) -> Manifest:
    source = PostgresSource(dsn, key=b"k" * 32, name="service")
    try:
        return source.survey(resolve(load(file), source.catalogue()))
    finally:
        source.close()


def _tables(connection: psycopg.Connection, kinds: str) -> list[str]:
    return [name for (name,) in connection.execute(TABLES, [list(kinds)])]


def _one(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _count(connection: psycopg.Connection, name: str) -> int:
    return _one(connection, f"SELECT count(*) FROM {name}")


def _digests(dsn: str) -> dict[str, str]:
    """Digest each table's text, rows sorted: another way than the product's."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET timezone = 'UTC'")
        return {
            name: str(
                (connection.execute(
                    f"SELECT md5(string_agg(md5(r::text), '' ORDER BY md5(r::text))) FROM {name} AS r"
                ).fetchone() or [""])[0]
            )
            for name in _tables(connection, "rp")
        }  # fmt: skip
