"""Databases that are unlike the samples: odd names, pairs, cycles, nobody, too many candidates, telling content."""

from __future__ import annotations

import pytest
from psycopg.conninfo import make_conninfo

from domicile.catalogue import Catalogue, Column, RelationKind, Table, TableName
from domicile.catalogue.samples import Samples
from domicile.config import load
from domicile.config.rules import Apart, Disposition, FieldClass, HomeRows, Shared
from domicile.errors import BadFile, Unclassed
from domicile.map import Frame, draft
from domicile.model import DatasetId
from domicile.stores.postgres.server import EmbeddedServer
from tests.map.databases import Drafted, draft_of, run
from tests.servers import Databases

PEOPLE = """
CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, full_name text, country text);
INSERT INTO users SELECT n, 'u' || n || '@example.com', 'Name ' || n, (ARRAY['CA','DE'])[n % 2 + 1]
FROM generate_series(1, 40) n;
"""


@pytest.fixture
def made(database: Databases, pg18: EmbeddedServer) -> _Maker:
    return _Maker(database=database, server=pg18)


class _Maker:
    def __init__(self, *, database: Databases, server: EmbeddedServer) -> None:
        self.database, self.server = database, server

    def __call__(self, script: str) -> Drafted:
        dsn = self.database(self.server)
        run(dsn, script)
        return draft_of(dsn)


# ------------------------------------------------------------------------------------------------ names


def test_quoted_and_camel_case_names_survive_the_file(made: _Maker) -> None:
    drafted = made(
        """
        CREATE SCHEMA "My App";
        CREATE TABLE "My App"."AppUsers" ("userId" int PRIMARY KEY, "eMail" text, "Country Code" text, "a.b" text);
        CREATE TABLE "My App"."Order.Lines" ("Order #" int PRIMARY KEY, "userId" int REFERENCES "My App"."AppUsers",
            "say ""hi"": [x]" text NOT NULL, "größe" int, "true" boolean, "1" int);
        INSERT INTO "My App"."AppUsers" VALUES (1, 'a@example.com', 'CA', 'x');
        """
    )
    assert 'app."My App".AppUsers' == drafted.config.subject.dataset
    assert "Country Code" == drafted.config.subject.market.field
    lines = drafted.config.datasets['app."My App"."Order.Lines"']
    assert {"Order #", "userId", 'say "hi": [x]', "größe", "true", "1"} == set(lines.fields)
    assert [[("userId",)]] == [[hop.via for hop in way.path] for way in lines.paths]
    assert 2 == len(drafted.scope().datasets)


HOSTILE = [
    "a\nb: c", "# x", "- y", "null", "~", "é\u0085\u2028", "\U0001f600", "'", '"', "\\", "{a: b}", "&x", "*x", "%", "@",
    "NO", "1e3", "a: b", " lead", "tail ", "\ufeffx", "\x7f",
]  # fmt: skip


def test_any_name_can_be_written_and_read_again() -> None:
    columns = tuple(
        Column(name=name, position=number, type="text", base="text", category="S", not_null=False, binary=True)
        for number, name in enumerate(("email", "country", *HOSTILE), 1)
    )
    key = Column(name="id", position=99, type="integer", base="integer", category="N", not_null=True, binary=True)
    tables = tuple(
        Table(
            name=TableName(schema="public", name=name), kind=RelationKind.TABLE, columns=(*columns, key),
            primary_key=("id",),
        )
        for name in ("users", *HOSTILE)
    )  # fmt: skip
    catalogue = Catalogue(version=180000, database="x\n# y", system_id="1", encoding="UTF8", tables=tables)
    made = draft(catalogue, Samples(), frame=Frame(markets={"NO": "no", "CA": "ca"}))
    text, config = made.text, load(made.text.encode())
    assert {"email", "country", "id", *HOSTILE} == set(config.datasets[config.subject.dataset].fields)
    assert {"NO": "no", "CA": "ca"} == config.policy.homes
    assert all(line.isprintable() for line in text.splitlines())
    known = {f"app.{table.name}" for table in tables}
    assert set(config.datasets) <= known


# ------------------------------------------------------------------------------------------------ nobody, and too many


def test_no_tables_at_all_is_a_draft_without_a_subject(made: _Maker) -> None:
    drafted = made("SELECT 1")
    assert any(doubt.startswith("subject:") for doubt in drafted.draft.unsure)
    with pytest.raises(BadFile, match="subject"):
        load(drafted.draft.text.encode())


def test_no_person_table_is_said_and_nothing_is_guessed(made: _Maker) -> None:
    drafted = made("CREATE TABLE machine (id int PRIMARY KEY, model text); CREATE TABLE part (id int PRIMARY KEY)")
    assert "# subject:" in drafted.draft.text
    with pytest.raises(BadFile, match="subject"):
        load(drafted.draft.text.encode())


def test_staff_alone_are_no_subjects(made: _Maker) -> None:
    drafted = made(
        "CREATE TABLE employees (id int PRIMARY KEY, email text, first_name text, phone text, birth_date date)"
    )
    assert () == drafted.draft.proposal.people


def test_two_candidates_are_both_shown_and_the_choice_is_marked(made: _Maker) -> None:
    drafted = made(
        """
        CREATE TABLE customers (id int PRIMARY KEY, email text, phone text, country text);
        CREATE TABLE members (id int PRIMARY KEY, email text, phone text, birth_date date, country text);
        """
    )
    assert "app.public.members" == drafted.config.subject.dataset
    assert "# also like people: public.customers" in drafted.draft.text
    assert any("public.customers looks nearly as much" in doubt for doubt in drafted.draft.unsure)
    # personal data that leads to nobody: left open, so the plan refuses and names it
    assert "app.public.customers" not in drafted.config.datasets
    with pytest.raises(Unclassed, match=r"app\.public\.customers"):
        drafted.scope()


def test_one_clear_candidate_is_not_marked(made: _Maker) -> None:
    drafted = made(PEOPLE)
    assert not any(doubt.startswith("subject") for doubt in drafted.draft.unsure)
    assert "codes: each names its market" in drafted.draft.text


def test_without_markets_the_file_waits_for_them(database: Databases, pg18: EmbeddedServer) -> None:
    dsn = database(pg18)
    run(dsn, PEOPLE)
    drafted = draft_of(dsn, {})
    assert any(doubt.startswith("policy.homes") for doubt in drafted.draft.unsure)
    with pytest.raises(BadFile, match=r"policy\.homes"):
        load(drafted.draft.text.encode())


def test_a_market_that_no_subject_is_in_is_pointed_out(database: Databases, pg18: EmbeddedServer) -> None:
    dsn = database(pg18)
    run(dsn, PEOPLE)
    assert any("policy.homes.NZ" in doubt for doubt in draft_of(dsn, {"NZ": "nz"}).draft.unsure)
    assert not any("policy.homes.CA" in doubt for doubt in draft_of(dsn, {"CA": "ca"}).draft.unsure)


def test_unknown_country_names_are_left_as_questions(made: _Maker) -> None:
    drafted = made(
        """
        CREATE TABLE users (id int PRIMARY KEY, email text, country text);
        INSERT INTO users VALUES (1, 'a@example.com', 'Canada'), (2, 'b@example.com', 'Atlantis'),
            (3, 'c@example.com', 'can'), (4, 'd@example.com', 'NO');
        """
    )
    assert {"Canada": "CA", "can": "CA", "NO": "NO"} == drafted.config.subject.market.values
    assert "Atlantis: ?" in drafted.draft.text


# ------------------------------------------------------------------------------------------------ ways


def test_composite_keys_are_one_hop(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TABLE orders (region text, number int, user_id bigint NOT NULL REFERENCES users,
            PRIMARY KEY (region, number));
        CREATE TABLE lines (id int PRIMARY KEY, region text NOT NULL, number int NOT NULL,
            FOREIGN KEY (region, number) REFERENCES orders);
        """
    )
    assert ["region,number.user_id"] == drafted.path("lines")
    assert drafted.scope().datasets


def test_a_polymorphic_pair_is_a_way_for_each_kind(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TABLE photos (id int PRIMARY KEY, user_id bigint NOT NULL REFERENCES users);
        CREATE TABLE notes (id int PRIMARY KEY, "notableType" text, "notableId" bigint, body text);
        INSERT INTO photos SELECT n, n FROM generate_series(1, 9) n;
        INSERT INTO notes VALUES (1, 'User', 1, 'x'), (2, 'App::Photo', 1, 'x'), (3, 'Nothing', 1, 'x');
        """
    )
    hops = [way.path[0] for way in drafted.rule("notes").paths]
    assert [
        ("app.public.users", "\"notableType\" = 'User'"),
        ("app.public.photos", "\"notableType\" = 'App::Photo'"),
    ] == [(hop.to, hop.when) for hop in hops]
    assert any("polymorphic" in doubt for doubt in drafted.draft.unsure)
    assert drafted.scope().datasets


def test_edges_nobody_declared_are_suggested_by_name_and_values(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TABLE visits (id int PRIMARY KEY, user_id bigint NOT NULL, minutes int);
        CREATE TABLE badges (id int PRIMARY KEY, user_id bigint NOT NULL);
        CREATE TABLE letters (id int PRIMARY KEY, author_id bigint, words int);
        INSERT INTO visits SELECT n, n, n FROM generate_series(1, 30) n;
        INSERT INTO badges SELECT n, 1000 + n FROM generate_series(1, 30) n;
        INSERT INTO letters SELECT n, n FROM generate_series(1, 30) n;
        """
    )
    assert ["user_id"] == drafted.path("visits")
    assert ("app.public.users", "follow") == (
        drafted.rule("visits").edges["user_id"][0].to,
        drafted.rule("visits").unenforced,
    )
    assert ["author_id"] == drafted.path("letters")
    assert "app.public.badges" not in drafted.config.datasets  # none of the values is a user's: left open
    assert any("datasets.app.public.letters: author_id" in doubt for doubt in drafted.draft.unsure)
    with pytest.raises(Unclassed, match=r"app\.public\.badges"):
        drafted.scope()


def test_two_people_in_a_row_share_it(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TABLE messages (id int PRIMARY KEY, body text NOT NULL, sent_at timestamptz NOT NULL,
            recipient_id bigint NOT NULL REFERENCES users, sender_id bigint NOT NULL REFERENCES users,
            reply_to int REFERENCES messages);
        """
    )
    assert ["sender_id", "recipient_id"] == drafted.path("messages")
    assert Shared.EACH is drafted.rule("messages").sharing
    edges = list(drafted.rule("messages").edge_rules())
    assert {"sender_id", "recipient_id", "reply_to"} == {columns for columns, _ in edges}
    assert {(Apart.SKELETON, Apart.SKELETON)} == {(edge.apart.home, edge.apart.source) for _, edge in edges}
    assert "1970-01-01 00:00:00+00" == drafted.rule("messages").fields["sent_at"].outside
    assert drafted.scope().datasets


def test_a_nullable_owner_does_not_fall_to_the_next_person(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TABLE clips (id int PRIMARY KEY, owner_id bigint NOT NULL REFERENCES users);
        CREATE TABLE views (id int PRIMARY KEY, user_id bigint REFERENCES users, clip_id int NOT NULL REFERENCES clips);
        INSERT INTO clips VALUES (1, 1);
        INSERT INTO views VALUES (1, NULL, 1), (2, 2, 1);
        """
    )
    assert ["user_id"] == drafted.path("views")
    assert "# also leads to a subject: [clip_id, owner_id]" in drafted.draft.text
    assert any("1 of 2 sampled rows have no user_id: add `ownerless: stay`" in doubt for doubt in drafted.draft.unsure)


def test_a_row_is_also_theirs_whose_row_it_hangs_on_where_others_only_have_a_part_in_it(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TABLE topics (id int PRIMARY KEY, user_id bigint NOT NULL REFERENCES users);
        CREATE TABLE answers (id int PRIMARY KEY, topic_id int NOT NULL REFERENCES topics,
            reviewer_id bigint REFERENCES users);
        CREATE TABLE a_marks (id int PRIMARY KEY, answer_id int NOT NULL REFERENCES answers,
            assignee_id bigint REFERENCES users);
        INSERT INTO topics VALUES (1, 1);
        INSERT INTO answers VALUES (1, 1, NULL), (2, 1, 2);
        """
    )
    assert ["topic_id.user_id", "reviewer_id"] == drafted.path("answers")
    assert ["answer_id.topic_id.user_id", "assignee_id"] == drafted.path("a_marks")
    assert Shared.EACH is drafted.rule("answers").sharing
    assert not any("ownerless" in doubt for doubt in drafted.draft.unsure)


def test_cycles_end(made: _Maker) -> None:
    drafted = made(
        """
        CREATE TABLE users (id int PRIMARY KEY, email text, country text, main_team int,
            invited_by int REFERENCES users);
        CREATE TABLE teams (id int PRIMARY KEY, owner_id int NOT NULL REFERENCES users, parent_id int REFERENCES teams);
        ALTER TABLE users ADD FOREIGN KEY (main_team) REFERENCES teams;
        CREATE TABLE x (id int PRIMARY KEY, y_id int, team_id int REFERENCES teams);
        CREATE TABLE y (id int PRIMARY KEY, x_id int REFERENCES x);
        ALTER TABLE x ADD FOREIGN KEY (y_id) REFERENCES y;
        """
    )
    assert ["owner_id"] == drafted.path("teams")
    assert ["team_id.owner_id"] == drafted.path("x")
    assert ["x_id.team_id.owner_id"] == drafted.path("y")
    assert {"invited_by", "main_team"} <= set(drafted.rule("users").edges)
    assert drafted.scope().datasets


def test_a_profile_of_ones_own_is_private_and_a_shared_lookup_is_not(made: _Maker) -> None:
    drafted = made(
        """
        CREATE TABLE contacts (id int PRIMARY KEY, phone text);
        CREATE TABLE carriers (id int PRIMARY KEY, phone text);
        CREATE TABLE users (id int PRIMARY KEY, email text, country text, contact_id int REFERENCES contacts,
            carrier int REFERENCES carriers);
        INSERT INTO contacts SELECT n, '+1 555 01' || n FROM generate_series(10, 60) n;
        INSERT INTO carriers VALUES (1, '+1 555 0100'), (2, '+1 555 0101');
        INSERT INTO users SELECT n, n || '@example.com', 'CA', n, n % 2 + 1 FROM generate_series(10, 60) n;
        """
    )
    assert (Disposition.MOVE, ["<contact_id"]) == (drafted.rule("contacts").rows, drafted.path("contacts"))
    assert (Disposition.NONE, HomeRows.NEEDED) == (drafted.rule("carriers").rows, drafted.rule("carriers").home)


def test_who_touched_a_row_does_not_own_it(made: _Maker) -> None:
    drafted = made(PEOPLE + "CREATE TABLE tariffs (id int PRIMARY KEY, price int, updated_by bigint REFERENCES users)")
    assert Disposition.PUBLIC is drafted.rule("tariffs").rows
    assert (Apart.SKELETON, Apart.SKELETON) == (
        drafted.rule("tariffs").edges["updated_by"][0].apart.home,
        drafted.rule("tariffs").edges["updated_by"][0].apart.source,
    )
    assert any("updated_by says who touched a row" in doubt for doubt in drafted.draft.unsure)


# ------------------------------------------------------------------------------------------------ content


def test_content_tells_what_names_do_not(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TABLE stuff (id int PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, c1 text, c2 text, c3 text,
            c4 text, c5 text, c6 inet);
        INSERT INTO stuff SELECT n, n, 'p' || n || '@example.org', '192.0.2.' || n, '+44 20 7946 0' || 100 + n,
            'DE89370400440532013000', 'word ' || n, '192.0.2.1' FROM generate_series(1, 20) n;
        """
    )
    categories = {name: rule.category for name, rule in drafted.rule("stuff").fields.items() if name.startswith("c")}
    assert {
        "c1": "user.contact.email", "c2": "user.device.ip_address", "c3": "user.contact.phone_number",
        "c4": "user.financial.bank_account", "c5": None, "c6": "user.device.ip_address",
    } == categories  # fmt: skip


def test_p4_what_cannot_be_told_has_no_class_and_the_plan_refuses(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TABLE kinds (id int PRIMARY KEY, label text, picture bytea, extra jsonb, tips jsonb);
        CREATE TABLE visits (id int PRIMARY KEY, user_id bigint REFERENCES users, kind_id int REFERENCES kinds);
        INSERT INTO kinds VALUES (1, 'x', NULL, '{"owner_email": "a", "colour": "b"}', '{"colour": "b"}');
        """
    )
    fields = drafted.rule("kinds").fields
    assert {"id", "label", "picture", "tips"} == set(fields)  # extra is left open
    assert "# extra: ?" in drafted.draft.text
    with pytest.raises(Unclassed, match=r"kinds\.fields:\n    extra: \?"):
        drafted.scope()


def test_p4_a_lonely_log_is_left_open_and_a_lonely_lookup_is_not(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TABLE access_log (at timestamptz, line text, client inet);
        CREATE TABLE colours (id int PRIMARY KEY, name text);
        """
    )
    assert Disposition.PUBLIC is drafted.rule("colours").rows
    assert "# app.public.access_log: {rows: ?}" in drafted.draft.text
    with pytest.raises(Unclassed, match=r"app\.public\.access_log"):
        drafted.scope()


def test_stand_ins_fit_their_types(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TYPE mood AS ENUM ('calm', 'glad');
        CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 1 AND 100);
        CREATE TABLE trips (id int PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, code varchar(3) NOT NULL,
            start date NOT NULL, open boolean NOT NULL, price numeric(5,2) NOT NULL, mood mood NOT NULL,
            share percent NOT NULL, own percent NOT NULL DEFAULT 50, tags text[] NOT NULL, at int4range NOT NULL);
        CREATE TABLE legs (id int PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, trip_id int REFERENCES trips);
        """
    )
    outside = {name: rule.outside for name, rule in drafted.rule("trips").fields.items()}
    assert {
        "id": None, "user_id": None, "code": "token", "start": "1970-01-01", "open": False, "price": 0, "mood": "calm",
        "share": None, "own": 50, "tags": "{}", "at": "empty",
    } == outside  # fmt: skip
    with pytest.raises(Unclassed, match="share"):
        drafted.scope()
    fields = {name: rule.cls for name, rule in drafted.rule("trips").fields.items()}
    assert {FieldClass.PRIVATE} == set(fields.values())


def test_a_table_that_cannot_be_read_is_classed_by_name_and_noted(database: Databases, pg18: EmbeddedServer) -> None:
    dsn = database(pg18)
    run(
        dsn,
        PEOPLE
        + """
        CREATE FUNCTION boom(bigint) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'secret value %', $1; END $$;
        CREATE TABLE notes (id int PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, email text);
        CREATE TABLE more (id int PRIMARY KEY, user_id bigint REFERENCES users);
        ALTER TABLE notes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE POLICY p ON notes USING (boom(user_id) IS NULL);
        INSERT INTO more VALUES (1, 1);
        """,
    )
    run(dsn, "DROP ROLE IF EXISTS plain_reader; CREATE ROLE plain_reader; GRANT SELECT ON users, notes TO plain_reader")
    run(dsn, "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY; INSERT INTO notes VALUES (1, 1, 'x@example.com')")
    drafted = draft_of(make_conninfo(dsn, options="-c role=plain_reader"))
    assert any("public.notes could not be sampled (P0001)" in note for note in drafted.samples.notes)
    assert any("public.more could not be sampled (42501)" in note for note in drafted.samples.notes)
    assert "secret value" not in drafted.draft.text
    assert "user.contact.email" == drafted.rule("notes").fields["email"].category


def test_columns_that_refer_to_two_tables_have_a_rule_for_each(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TABLE profile (user_id bigint PRIMARY KEY REFERENCES users, bio text);
        INSERT INTO profile SELECT id, 'x' FROM users;
        CREATE TABLE post (id int PRIMARY KEY, author_id bigint NOT NULL REFERENCES users,
            user_id bigint REFERENCES users REFERENCES profile);
        """
    )
    parents = {edge.to: edge.apart.home for columns, edge in drafted.rule("post").edge_rules() if columns == "user_id"}
    assert {"app.public.profile": Apart.SKELETON, "app.public.users": Apart.SKELETON} == parents
    edges = [(edge.parent, edge.enforced) for edge in drafted.scope().edges if edge.columns == ("user_id",)]
    assert ("app.public.profile", True) in edges
    assert ("app.public.users", True) in edges


def test_a_pair_that_holds_its_numbers_as_text_is_a_way_that_the_plan_can_ask(made: _Maker) -> None:
    drafted = made(
        PEOPLE
        + """
        CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL REFERENCES users);
        INSERT INTO orders SELECT n, n FROM generate_series(1, 40) n;
        CREATE TABLE versions (id bigint PRIMARY KEY, item_type text NOT NULL, item_id text NOT NULL, body text);
        INSERT INTO versions SELECT n, 'Order', n::text, 'x' FROM generate_series(1, 40) n;
        """
    )
    assert ["item_id ~ ^(.+)$.user_id"] == drafted.path("versions")
    assert {} == drafted.rule("versions").edges
    (path,) = drafted.scope().dataset(DatasetId("app.public.versions")).paths
    assert (True, "\"item_type\" = 'Order'") == (path.steps[0].reading is not None, path.steps[0].when)


def test_kinds_that_no_table_is_called_after_are_asked_for(made: _Maker) -> None:
    attachment = """
        CREATE TABLE company (id bigint PRIMARY KEY, title text);
        INSERT INTO company VALUES (1, 'C');
        CREATE TABLE attachment (id bigint PRIMARY KEY, owner_type text NOT NULL, owner_id bigint NOT NULL, size int);
        INSERT INTO attachment SELECT n, {kinds}, 1, 1 FROM generate_series(1, 20) n;
    """
    whole = made(PEOPLE + attachment.format(kinds="'Company'"))
    assert Disposition.PUBLIC is whole.rule("attachment").rows
    asked = made(PEOPLE + attachment.format(kinds="CASE WHEN n < 15 THEN 'Holder' ELSE 'Company' END"))
    assert "app.public.attachment" not in asked.config.datasets
    assert any("kinds of its pair that match no table: 1" in doubt for doubt in asked.draft.unsure)
