"""What may cross is decided from the file; what can't be said safely is refused, each with a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import psycopg
import pytest

from domicile import config
from domicile.errors import BadFile, Refused
from domicile.plan.resolve import resolve
from domicile.publish import Publishing, Sight, decide
from domicile.stores.postgres.catalogue import read_catalogue
from domicile.stores.postgres.publishing import sight
from domicile.stores.postgres.server import EmbeddedServer
from tests.publish.places import FILE, TABLES
from tests.servers import Databases

LOCATIONS = ("sg", "us", "ca")
Change = Callable[[Sight], Sight]


@pytest.fixture(scope="module")
def connection(pg18: EmbeddedServer) -> Iterator[psycopg.Connection]:
    """The small world's tables, in a transaction that is never committed."""
    databases = Databases()
    with psycopg.connect(databases(pg18)) as made:
        made.execute(TABLES.encode())
        made.commit()
        made.execute("SET search_path = public")
        made.commit()
        yield made
    databases.drop()


def decided(
    connection: psycopg.Connection,
    *,
    text: str = FILE,
    ddl: str = "",
    at_us: str = "",
    change: Change = lambda one: one,
) -> Publishing:
    """What is decided when all are changed by `ddl`, us by `at_us`, too, and what is seen of us by `change`."""
    try:
        connection.execute(ddl.encode())
        parsed = config.load(text.encode())
        scope = resolve(parsed, read_catalogue(connection))
        sights: Mapping[str, Sight] = {name: sight(connection, scope) for name in LOCATIONS}
        connection.execute(at_us.encode())
        return decide(scope, parsed, {**sights, "us": change(sight(connection, scope))})
    finally:
        connection.rollback()


def against(publishing: Publishing) -> set[tuple[str, str]]:
    return {(found.kind, found.where) for found in publishing.undecided()}


def test_only_what_the_file_calls_public_crosses(connection: psycopg.Connection) -> None:
    publishing = decided(connection)
    assert set() == against(publishing)
    crossing = {table.table.name: (table.columns, table.kept_back, table.deletes) for table in publishing.tables}
    assert crossing == {
        "person": (("id", "name"), ("email", "phone", "country", "seen"), False),
        "post": (("id", "person_id", "body", "likes"), ("address",), False),
        "tag": (("name", "label"), (), True),
        "Odd View": (("id", "day", "person_id", "title"), ("Agent",), False),
    }
    assert {(item.publisher, item.receiver) for item in publishing.crossings} == {
        (one, other) for one in LOCATIONS for other in LOCATIONS if one != other
    }
    assert len({item.name for item in publishing.crossings}) == 6
    assert {"deletes"} == {found.kind for found in publishing.findings}


def test_an_excepted_column_and_one_that_is_private_by_name_stay_back(connection: psycopg.Connection) -> None:
    text = FILE.replace("body: public", "body: {class: excepted, exception: court}").replace(
        "  approvals:",
        "  exceptions: [{id: court, purpose: p, recipient: r, approvers: [a], until: 2099-01-01}]\n  approvals:",
    )
    post = next(table for table in decided(connection, text=text).tables if table.table.name == "post")
    assert post.columns == ("id", "person_id", "likes")
    assert post.kept_back == ("body", "address")


def at(location: str) -> str:
    return f"locations.{location}"


POST, PERSON, TAG, VIEW = (f"datasets.app.public.{name}" for name in ("post", "person", "tag", '"Odd View"'))
BY_TABLE = {
    "no key": ("ALTER TABLE tag DROP CONSTRAINT tag_pkey", "", {("no-identity", TAG)}),
    "the whole row": ("ALTER TABLE post REPLICA IDENTITY FULL", "", {("identity-full", POST)}),
    "nothing": ("ALTER TABLE post REPLICA IDENTITY NOTHING", "", {("no-identity", POST)}),
    "a private key": (
        "ALTER TABLE person REPLICA IDENTITY USING INDEX person_email_key", "", {("identity-private", PERSON)}
    ),
    "a partition of its own mind": (
        "ALTER TABLE odd_new REPLICA IDENTITY FULL", "", {("identity-leaves", VIEW)}
    ),
    "another key elsewhere": (
        "CREATE UNIQUE INDEX by_label ON tag (label); ALTER TABLE tag ALTER label SET NOT NULL",
        "ALTER TABLE tag REPLICA IDENTITY USING INDEX by_label", {("identity-differs", TAG)},
    ),
    "no stand-in at home": ("", "ALTER TABLE post ALTER address SET NOT NULL", {("no-stand-in", POST)}),
    "no table at home": ("", "DROP TABLE tag", {("receiver-lacks", TAG)}),
    "no column at home": ("", "ALTER TABLE tag DROP label", {("receiver-lacks", TAG)}),
    "another type at home": ("", "ALTER TABLE tag ALTER label TYPE varchar(9)", {("types-differ", TAG)}),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_TABLE)
def test_a_table_that_can_not_be_published_safely_is_refused(connection: psycopg.Connection, name: str) -> None:
    ddl, at_us, expected = BY_TABLE[name]
    assert expected == against(decided(connection, ddl=ddl, at_us=at_us))


def test_a_unique_key_without_nulls_names_rows_where_a_person_says_so(connection: psycopg.Connection) -> None:
    ddl = (
        "ALTER TABLE tag DROP CONSTRAINT tag_pkey; CREATE UNIQUE INDEX by_name ON tag (name);"
        " ALTER TABLE tag REPLICA IDENTITY USING INDEX by_name"
    )
    assert set() == against(decided(connection, ddl=ddl))


BY_FILE = {
    "a private way to its person": (
        "fields: {id: public, person_id: public, body", "fields: {id: public, person_id: private, body",
        {("path-private", POST), ("no-stand-in", POST)},
    ),
    "operators that differ": (
        "trusted: [sg, us, ca], ", "",
        {("replication-role", at("sg")), ("replication-role", at("us")), ("replication-role", at("ca"))},
    ),
    "no way to a location": (", ca: env:CA_PEER", "", {("connection", at("ca"))}),
    "a filter over no key": (
        "{replicate: true,", '{replicate: true, only: {app.public.post: "likes > 3"},',
        {("filter", "policy.public.only.app.public.post")},
    ),
    "a filter over the key": ("{replicate: true,", '{replicate: true, only: {app.public.post: "id > 3"},', set()),
    "one operator everywhere": ("Origin Ltd", "Home Inc", set()),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_FILE)
def test_what_the_file_does_not_decide_is_asked(connection: psycopg.Connection, name: str) -> None:
    old, new, expected = BY_FILE[name]
    assert FILE.count(old) == 1
    assert expected == against(decided(connection, text=FILE.replace(old, new)))


def test_operators_that_trust_each_other_by_name_are_not_asked_again(connection: psycopg.Connection) -> None:
    text = FILE.replace("trusted: [sg, us, ca]", "trusted: [sg]")
    assert {("replication-role", at("us")), ("replication-role", at("ca"))} == against(decided(connection, text=text))


@pytest.mark.parametrize("rule", ["home: nothing", "home: needed"])
def test_what_does_not_go_to_every_home_is_left_out_and_told(connection: psycopg.Connection, rule: str) -> None:
    publishing = decided(connection, text=FILE.replace("rows: public, fields", f"rows: public, {rule}, fields"))
    assert "tag" not in {table.table.name for table in publishing.tables}
    assert [TAG] == [found.where for found in publishing.findings if found.kind == "left-out"]
    assert set() == against(publishing)


BY_SERVER: dict[str, Change] = {
    "version": lambda seen: replace(seen, version=150_012),
    "wal-level": lambda seen: replace(seen, logical=False),
    "role": lambda seen: replace(seen, superuser=False),
    "slots": lambda seen: replace(seen, slots_free=1),
    "workers": lambda seen: replace(seen, workers=1),
}


@pytest.mark.parametrize("kind", BY_SERVER)
def test_a_server_that_can_not_is_refused(connection: psycopg.Connection, kind: str) -> None:
    assert {(kind, at("us"))} == against(decided(connection, change=BY_SERVER[kind]))


def test_a_real_postgresql_15_is_told_what_it_lacks(
    connection: psycopg.Connection, distributed: EmbeddedServer, database: Databases
) -> None:
    with psycopg.connect(database(distributed)) as old:
        old.execute(TABLES.encode())
        parsed = config.load(FILE.encode())
        scope = resolve(parsed, read_catalogue(connection))
        seen = sight(old, scope)
    publishing = decided(connection, change=lambda _: seen)
    assert {("version", at("us"))} == against(publishing)
    (found,) = publishing.undecided()
    assert found.remedy is not None
    assert "column lists need 15, `origin = none` against loops needs 16" in found.remedy


def test_a_file_that_does_not_ask_for_it_publishes_nothing(connection: psycopg.Connection) -> None:
    for text in (FILE.replace("replicate: true", "replicate: false"), FILE.replace("  public: {r", "  #: {r")):
        with pytest.raises(Refused, match=r"policy\.public: the file does not say"):
            decided(connection, text=text)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "{replicate: true,",
            '{replicate: true, only: {app.public.note: "id > 3"},',
            "note: the dataset is not published",
        ),
        ("{replicate: true,", '{replicate: true, only: {app.public.gone: "id > 3"},', "gone is not in `datasets`"),
        (
            "{replicate: true,",
            '{replicate: true, only: {app.public.post: "pg_sleep(1) IS NULL"},',
            "compare the row's own",
        ),
        ("trusted: [sg, us, ca]", "trusted: [mars]", "trusted: mars is not in `locations`"),
        ("ca: env:CA_PEER}", "mars: env:CA_PEER}", "connections: mars is not in `locations`"),
    ],
)
def test_a_file_that_names_what_is_not_there_is_refused(
    connection: psycopg.Connection, old: str, new: str, words: str
) -> None:
    with pytest.raises(BadFile, match=words):
        decided(connection, text=FILE.replace(old, new))
