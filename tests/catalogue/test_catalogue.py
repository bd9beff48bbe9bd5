"""What a server says of itself, against what was written into it by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from domicile.catalogue import Catalogue, OnDelete, RelationKind, Table, TableName
from domicile.errors import StoreFault
from domicile.stores.postgres.catalogue import read_catalogue
from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import MAJORS, Databases, Servers

ODD = 'Odd "Names".x'


def name(text: str, schema: str = "shop") -> TableName:
    return TableName(schema=schema, name=text)


def read(dsn: str) -> Catalogue:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return read_catalogue(conn)


def fill(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute(sql.SQL((Path(__file__).parent / "databases.sql").read_text(encoding="utf-8")))


@pytest.fixture(params=MAJORS)
def catalogue(request: pytest.FixtureRequest, servers: Servers, database: Databases) -> Catalogue:
    dsn = database(servers.of(request.param))
    fill(dsn)
    found = read(dsn)
    assert request.param == found.version // 10000
    return found


def table_of(catalogue: Catalogue, wanted: TableName) -> Table:
    table = catalogue.table(wanted)
    assert table is not None
    return table


def test_every_kind_of_thing_is_read_on_every_major(catalogue: Catalogue) -> None:
    # one catalogue a major: reading is what takes time
    tables(catalogue)
    columns(catalogue)
    keys_and_edges(catalogue)
    partitions(catalogue)
    triggers_rules_and_views(catalogue)
    sequences_and_the_rest(catalogue)


def tables(catalogue: Catalogue) -> None:
    assert {
        name("base"), name("child"), name("derived"), name("event"), name("person"), name("scratch"), name("types"),
        name("camelCase.Ünï", ODD),
    } == {table.name for table in catalogue.tables}  # fmt: skip
    assert [name("base")] == [table.name for table in catalogue.tables if table.children == (name("derived"),)]
    assert (name("base"),) == table_of(catalogue, name("derived")).inherits
    assert table_of(catalogue, name("scratch")).unlogged
    assert not table_of(catalogue, name("base")).unlogged
    assert table_of(catalogue, name("person")).comment == "somebody"
    assert ["person"] == [table.name.name for table in catalogue.tables if table.row_security]


def columns(catalogue: Catalogue) -> None:
    types = {column.name: column for column in table_of(catalogue, name("types")).columns}
    portable = {"k1", "k2", "price", "short", "span", "n", "r", "rs", "j", "ia", "b", "ts", "v", "c", "tv", "mac", "iv"}
    assert portable == {column.name for column in types.values() if column.binary}
    assert ("shop.price", "bigint", True) == (types["price"].type, types["price"].base, types["price"].not_null)
    assert ("numeric(9,2)", "numeric", False) == (types["n"].type, types["n"].base, types["n"].not_null)
    assert {"short": 12, "v": 7, "c": 3, "b": 5} == {
        column.name: column.length_max for column in types.values() if column.length_max is not None
    }
    assert ("open", "it's, paid", "shut") == types["state"].labels
    assert {"short", "v", "c", "states"} >= {column.name for column in types.values() if column.collatable}
    person = {column.name: column for column in table_of(catalogue, name("person")).columns}
    assert person["id"].identity == "always"
    assert person["loud"].generated
    assert not person["nick"].generated
    assert "upper" in str(person["loud"].default)


def keys_and_edges(catalogue: Catalogue) -> None:
    person = table_of(catalogue, name("person"))
    assert (("id",), (("nick",),)) == (person.primary_key, person.unique_keys)
    types = table_of(catalogue, name("types"))
    # the primary key is deferrable, so it is no key to work with; the unique ones are
    assert (("k1", "k2"), ("k2", "k1")) == tuple(sorted({types.key, *types.unique_keys}))
    edges = {key.name: key for key in catalogue.foreign_keys}
    composite = edges["composite"]
    assert (("b", "a"), ("k2", "k1"), False) == (composite.columns, composite.parent_columns, composite.validated)
    cascade = edges["child_person_fkey"]
    assert (OnDelete.CASCADE, True, True) == (cascade.on_delete, cascade.deferrable, cascade.validated)
    assert (OnDelete.SET_NULL, name("person")) == (
        edges["person_boss_fkey"].on_delete,
        edges["person_boss_fkey"].parent,
    )


def partitions(catalogue: Catalogue) -> None:
    event = table_of(catalogue, name("event"))
    assert RelationKind.PARTITIONED is event.kind
    assert (name("event_a"), name("event_b"), name("event_old")) == event.leaves
    assert ("at",) == event.partition_key
    assert ("at", "id") == event.primary_key
    assert event.rows_estimate > 0
    assert event.bytes >= 2 * 8192
    folded = [key for key in catalogue.foreign_keys if key.child == name("event")]
    assert 1 == len(folded)
    assert (name("event_b"),) == folded[0].missing_on
    assert OnDelete.CASCADE is folded[0].on_delete  # the harshest of its leaves'


def triggers_rules_and_views(catalogue: Catalogue) -> None:
    event = {trigger.name: trigger for trigger in table_of(catalogue, name("event")).triggers}
    assert {"on_event", "on_leaf"} == set(event)
    on_event = event["on_event"]
    assert (("INSERT", "DELETE"), "AFTER", True, "shop.hook", "O") == (
        on_event.events, on_event.timing, on_event.per_row, on_event.function, on_event.enabled,
    )  # fmt: skip
    base = table_of(catalogue, name("base"))
    assert [("before_base", ("TRUNCATE",), False, "D")] == [
        (trigger.name, trigger.events, trigger.per_row, trigger.enabled) for trigger in base.triggers
    ]
    assert [("keep", "DELETE", True)] == [(rule.name, rule.event, rule.instead) for rule in base.rules]
    assert {
        "seen": (False, (name("event"), name("person"))),
        "leaf_only": (False, (name("event"),)),
        "twice": (True, (name("event"), name("person"))),
        "nothing": (False, ()),
    } == {view.name.name: (view.materialised, view.reads) for view in catalogue.views}


def sequences_and_the_rest(catalogue: Catalogue) -> None:
    found = {sequence.name.name: sequence for sequence in catalogue.sequences}
    assert (15, 5, 10, 90, True, None) == (
        found["free"].last_value, found["free"].increment, found["free"].minimum, found["free"].maximum,
        found["free"].cycles, found["free"].owner,
    )  # fmt: skip
    assert (name("person"), "id") == found["person_id_seq"].owner
    assert found["person_id_seq"].identity
    assert (name("child"), "id") == found["child_id_seq"].owner
    assert not found["child_id_seq"].identity
    assert (name("base"), "id") == found["drawn"].owner  # draws, though it does not own
    assert found["drawn"].last_value is None
    assert ("everything",) == catalogue.publications
    assert 2 == catalogue.large_objects
    assert "UTF8" == catalogue.encoding
    assert catalogue.system_id.isdigit()


def test_a_foreign_key_on_the_root_holds_on_every_leaf(database: Databases, pg18: EmbeddedServer) -> None:
    dsn = database(pg18)
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE p (id int PRIMARY KEY)")
        conn.execute("CREATE TABLE c (id int, p int REFERENCES p) PARTITION BY LIST (id)")
        conn.execute("CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1)")
        conn.execute("CREATE TABLE q (id int PRIMARY KEY) PARTITION BY LIST (id)")
        conn.execute("CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1)")
        conn.execute("CREATE TABLE r (q int REFERENCES q)")
    found = read(dsn).foreign_keys
    assert [("c", "p", ()), ("r", "q", ())] == [(key.child.name, key.parent.name, key.missing_on) for key in found]


def test_an_empty_database_is_an_empty_catalogue(database: Databases, pg18: EmbeddedServer) -> None:
    found = read(database(pg18))
    assert () == found.tables
    assert () == found.foreign_keys
    assert () == found.notes


def test_the_number_of_queries_does_not_depend_on_the_number_of_tables(
    database: Databases, pg18: EmbeddedServer
) -> None:
    dsn = database(pg18)
    few = queries_of(dsn)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format("
            "'CREATE TABLE t%s (id int PRIMARY KEY, up int REFERENCES t%s)', i, i); END LOOP; END $$"
        )
    assert 300 == len(read(dsn).foreign_keys)
    assert few == queries_of(dsn)


def queries_of(dsn: str) -> int:
    counted = 0

    class Counting(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal counted
            counted += 1
            return super().execute(*args, **kwargs)

    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.cursor_factory = Counting
        read_catalogue(conn)
    return counted


def test_what_a_role_cannot_see_becomes_a_note(database: Databases, pg18: EmbeddedServer) -> None:
    dsn = database(pg18)
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE hidden (id serial PRIMARY KEY)")
        conn.execute("CREATE TABLE shown (id int PRIMARY KEY)")
        conn.execute("CREATE TABLE filtered (id int PRIMARY KEY)")
        conn.execute("ALTER TABLE filtered ENABLE ROW LEVEL SECURITY")
        conn.execute("DROP ROLE IF EXISTS map_reader")
        conn.execute("CREATE ROLE map_reader")
        conn.execute("GRANT SELECT ON shown, filtered TO map_reader")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET ROLE map_reader")
        notes = read_catalogue(conn).notes
    assert any("may not read the rows of public.hidden;" in note for note in notes)
    assert any("row security hides rows of public.filtered " in note for note in notes)
    assert any("sequences public.hidden_id_seq;" in note for note in notes)
    assert not any("public.shown" in note for note in notes)
    assert () == read(dsn).notes  # the superuser sees it all


def test_reading_leaves_the_session_as_it_was(database: Databases, pg18: EmbeddedServer) -> None:
    dsn = database(pg18)
    with psycopg.connect(dsn) as conn:
        conn.execute("SET search_path = here, there")
        conn.commit()
        conn.execute("SET TRANSACTION READ ONLY")
        read_catalogue(conn)
        assert ("here, there",) == conn.execute("SHOW search_path").fetchone()
        assert ("on",) == conn.execute("SHOW transaction_read_only").fetchone()


def test_a_broken_connection_is_a_store_fault(database: Databases, pg18: EmbeddedServer) -> None:
    dsn = database(pg18)
    with psycopg.connect(dsn, autocommit=True) as conn, psycopg.connect(dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        with pytest.raises(StoreFault, match="domicile doctor"):
            read_catalogue(conn)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE shop.person ADD COLUMN shoe_size int",
        "CREATE TABLE shop.newcomer (id int)",
        "ALTER TABLE shop.base DROP CONSTRAINT base_pkey",
        "ALTER TYPE shop.state ADD VALUE 'lost'",
    ],
)
def test_p4_a_changed_shape_changes_the_digest_and_new_rows_do_not(
    change: str, database: Databases, pg18: EmbeddedServer
) -> None:
    dsn = database(pg18)
    fill(dsn)
    before = read(dsn).digest_text()
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO shop.base SELECT n FROM generate_series(1, 5000) n")
        conn.execute("VACUUM ANALYZE shop.base")
        assert before == read(dsn).digest_text()
        conn.execute(sql.SQL(change))
    assert before != read(dsn).digest_text()


def test_pagila_keeps_its_one_partition_without_keys(
    sample: Callable[[EmbeddedServer, str], str], distributed: EmbeddedServer
) -> None:
    found = read(sample(distributed, "pagila"))
    assert {("customer_id",), ("rental_id",), ("staff_id",)} == {
        key.columns for key in found.foreign_keys if key.missing_on == (name("payment_p2022_07", "public"),)
    }
    assert 15 == len(found.tables)
