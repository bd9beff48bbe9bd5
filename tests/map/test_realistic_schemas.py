"""What applications of well-known kinds look like: profiles and address books, histories, no keys, odd names."""

from __future__ import annotations

import pytest

from domicile import map as datamap
from domicile.config import load
from domicile.config.rules import Disposition
from domicile.errors import Unclassed
from domicile.map import Frame
from domicile.stores.postgres.server import EmbeddedServer
from tests.map.databases import Drafted, draft_of, public, run
from tests.servers import Databases

USERS = """
CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, name text);
INSERT INTO users SELECT n, 'u' || n || '@example.test', 'Name ' || n FROM generate_series(1, 40) n;
"""
CANADIANS = USERS + "ALTER TABLE users ADD country text DEFAULT 'CA';"
LANDS = "(ARRAY['Canada', 'Germany', 'France', 'Japan'])[n % 4 + 1]"


@pytest.fixture
def made(database: Databases, pg18: EmbeddedServer) -> _Maker:
    return _Maker(database, pg18)


class _Maker:
    def __init__(self, database: Databases, server: EmbeddedServer) -> None:
        self.database, self.server = database, server

    def __call__(self, script: str) -> Drafted:
        dsn = self.database(self.server)
        run(dsn, script)
        return draft_of(dsn)


def market(drafted: Drafted) -> tuple[list[str], str]:
    (rule,) = drafted.config.subject.market.pieces
    return [("<" if hop.from_ else "") + ",".join(hop.via) for hop in rule.path or ()], rule.field


def told_once(drafted: Drafted) -> bool:
    (piece,) = drafted.scope().kinds[0].market.evidence
    return not any(step.many for step in piece.steps)


def doubts(drafted: Drafted, about: str) -> list[str]:
    return [doubt for doubt in drafted.draft.unsure if doubt.startswith(about)]


# ------------------------------------------------------------------------------------------------ the market


def test_a_profile_below_the_subject_tells_the_market(made: _Maker) -> None:
    drafted = made(
        USERS
        + "CREATE TABLE profile (user_id bigint PRIMARY KEY REFERENCES users, country text);"
        + f"INSERT INTO profile SELECT n, {LANDS} FROM generate_series(1, 40) n;"
    )
    assert (["<user_id"], "country") == market(drafted)
    assert [] == doubts(drafted, "subject.market")
    assert told_once(drafted)


def test_an_address_book_tells_it_and_the_doubt_is_said(made: _Maker) -> None:
    drafted = made(
        USERS
        + "CREATE TABLE address (id int PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, country text,"
        + f" is_default boolean); INSERT INTO address SELECT n, n, {LANDS}, true FROM generate_series(1, 40) n;"
    )
    assert (["<user_id"], "country") == market(drafted)
    assert ["subject.market: a subject may have several rows there; name a `when`, or a `conflict`"] == doubts(
        drafted, "subject.market"
    )
    assert "    # when: is_default" in drafted.draft.text
    finished = load(drafted.draft.text.replace("    # when: is_default", "    when: is_default").encode())
    assert "is_default" == finished.subject.market.when
    assert not told_once(drafted)


def test_a_field_of_another_name_full_of_countries_tells_it_and_languages_do_not(made: _Maker) -> None:
    land = "CREATE TABLE land (id int PRIMARY KEY, bezeichnung text);"
    filled = land + "INSERT INTO land VALUES (1, 'Canada'), (2, 'Germany'), (3, 'France');"
    languages = land + "INSERT INTO land VALUES (1, 'fr'), (2, 'de'), (3, 'it');"
    people = USERS + "ALTER TABLE users ADD land_id int DEFAULT 1 REFERENCES land;"
    assert (["land_id"], "bezeichnung") == market(made(filled + people))
    assert "# market: {field: country}" in made(languages + people).draft.text


# ------------------------------------------------------------------------------------------------ the people


def test_people_are_found_by_what_they_hold_and_who_refers_to_them(made: _Maker) -> None:
    drafted = made(
        "CREATE TABLE thing (id int PRIMARY KEY, contact_point text, country text);"
        "INSERT INTO thing SELECT n, 't' || n || '@example.test', 'CA' FROM generate_series(1, 30) n;"
        + "".join(f"CREATE TABLE t{n} (id int PRIMARY KEY, thing_id int REFERENCES thing);" for n in range(5))
    )
    assert "app.public.thing" == drafted.config.subject.dataset


def test_who_made_the_rows_is_not_whom_they_are_about(made: _Maker) -> None:
    """In a business system every table has a `created_by`; the customers are the subjects all the same."""
    drafted = made(
        CANADIANS
        + "CREATE TABLE customer (id int PRIMARY KEY, email text, last_name text, country text);"
        + "".join(
            f"CREATE TABLE t{n} (id int PRIMARY KEY, customer_id int REFERENCES customer,"
            f" created_by bigint REFERENCES users, updated_by bigint REFERENCES users);"
            for n in range(4)
        )
    )
    assert "app.public.customer" == drafted.config.subject.dataset


def test_a_person_may_name_the_subject(database: Databases, pg18: EmbeddedServer) -> None:
    dsn = database(pg18)
    run(dsn, CANADIANS + "CREATE TABLE contact (id int PRIMARY KEY, first_name text, country text);")
    drafted = draft_of(dsn)
    assert "app.public.users" == drafted.config.subject.dataset
    frame = Frame(markets={"CA": "ca"}, subject=public("contact"))
    again = datamap.draft(drafted.catalogue, drafted.samples, frame=frame)
    assert "app.public.contact" == load(again.text.encode()).subject.dataset
    assert not any(doubt.startswith("subject.dataset") for doubt in again.unsure)


# ------------------------------------------------------------------------------------------------ the edges


def test_a_table_does_not_refer_to_another_by_its_own_key(made: _Maker) -> None:
    drafted = made(
        "CREATE TABLE patient (patient_id int PRIMARY KEY, email text, country text);"
        "CREATE TABLE patient_details (patient_id int PRIMARY KEY REFERENCES patient, phone text);"
        "CREATE TABLE allergy (patient_id int, substance text);"
        "INSERT INTO patient VALUES (1, 'a@example.test', 'CA');"
        "INSERT INTO patient_details VALUES (1, '+1 604 555 1');"
        "INSERT INTO allergy VALUES (1, 'nuts');"
    )
    assert {} == drafted.rule("patient").edges
    assert ["patient_id"] == drafted.path("allergy")
    assert "app.public.patient" == drafted.rule("allergy").paths[0].path[0].to


def test_a_history_belongs_to_whom_its_original_did(made: _Maker) -> None:
    drafted = made(
        CANADIANS
        + "CREATE TABLE users_aud (id bigint, rev int, email text, PRIMARY KEY (id, rev));"
        + "INSERT INTO users_aud SELECT id, 1, 'old' || email FROM users;"
    )
    assert ["id"] == drafted.path("users_aud")
    assert {} == drafted.rule("users_aud").edges  # a copy needs no original


def test_who_touched_a_row_last_does_not_own_it_and_a_long_name_may(made: _Maker) -> None:
    drafted = made(
        CANADIANS
        + "CREATE TABLE topic (id int PRIMARY KEY, user_id bigint, last_post_user_id bigint);"
        + "CREATE TABLE access_token (id int PRIMARY KEY, resource_owner_id bigint, token text);"
        + "INSERT INTO topic SELECT n, n, 41 - n FROM generate_series(1, 40) n;"
        + "INSERT INTO access_token SELECT n, n, md5('x' || n) FROM generate_series(1, 40) n;"
    )
    assert ["user_id"] == drafted.path("topic")
    assert ["resource_owner_id"] == drafted.path("access_token")


def test_files_follow_every_kind_of_row_they_hang_on(made: _Maker) -> None:
    drafted = made(
        CANADIANS
        + "CREATE TABLE post (id int PRIMARY KEY, user_id bigint REFERENCES users);"
        + "CREATE TABLE blob (id int PRIMARY KEY, filename text);"
        + "CREATE TABLE attachment (id int PRIMARY KEY, record_type text, record_id bigint,"
        + " blob_id int REFERENCES blob);"
        + "INSERT INTO post SELECT n, n FROM generate_series(1, 40) n;"
        + "INSERT INTO blob SELECT n, 'f' || n FROM generate_series(1, 40) n;"
        + "INSERT INTO attachment SELECT n, (ARRAY['User', 'Post'])[n % 2 + 1], n, n FROM generate_series(1, 40) n;"
    )
    assert {"<blob_id.record_id", "<blob_id.record_id.user_id"} == set(drafted.path("blob"))


def test_personal_data_without_a_way_is_left_open_and_staff_are_not(made: _Maker) -> None:
    drafted = made(
        CANADIANS
        + "CREATE TABLE practitioner (id int PRIMARY KEY, first_name text, email text);"
        + "CREATE TABLE invitee_list (id int PRIMARY KEY, mail text, practitioner_id int REFERENCES practitioner);"
    )
    assert Disposition.NONE is drafted.rule("practitioner").rows
    with pytest.raises(Unclassed, match=r"app\.public\.invitee_list"):
        drafted.scope()


def test_an_inheritance_parent_is_asked_for_its_own_rows_only(made: _Maker) -> None:
    drafted = made(
        CANADIANS
        + "CREATE TABLE event (id int, user_id bigint, at date);"
        + "CREATE TABLE event_2024 () INHERITS (event);"
        + "INSERT INTO event_2024 SELECT n, n, '2024-01-01' FROM generate_series(1, 40) n;"
    )
    assert ["user_id"] == drafted.path("event_2024")
    (parent,) = doubts(drafted, "datasets.app.public.event:")
    assert parent.endswith("told from its name alone")


def test_a_uuid_refers_to_where_it_is_found_whatever_it_is_called(made: _Maker) -> None:
    drafted = made(
        CANADIANS
        + "CREATE TABLE organisation (id uuid PRIMARY KEY, title text); CREATE TABLE plan (id uuid PRIMARY KEY);"
        + "CREATE TABLE event (id int PRIMARY KEY, user_id bigint, tenant_ref uuid, trace uuid);"
        + "INSERT INTO organisation SELECT md5('o' || n)::uuid, 'O' FROM generate_series(1, 9) n;"
        + "INSERT INTO plan SELECT md5('p' || n)::uuid FROM generate_series(1, 9) n;"
        + "INSERT INTO event SELECT n, n, md5('o' || (1 + n % 9))::uuid, md5('x' || n)::uuid"
        + " FROM generate_series(1, 40) n;"
    )
    rule = drafted.rule("event")
    assert {"tenant_ref": "app.public.organisation", "user_id": "app.public.users"} == {
        column: edge.to for column, edge in rule.edge_rules()
    }
