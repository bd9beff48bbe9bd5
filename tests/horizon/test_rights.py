"""Without a right a copy is `unknown`, never a guess; the inventory leaves nothing out."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from domicile.catalogue import TableName
from domicile.proof import Verdict
from domicile.stores.postgres.horizon import CopyKind, Treatment, inventory, rights, treat
from domicile.stores.postgres.server import EmbeddedServer
from domicile.sweep import decide_all, sweep_server
from tests.horizon.conftest import PEOPLE
from tests.horizon.test_holders import ERASED, QUICK
from tests.servers import Databases


@pytest.fixture(params=[13, 15, 18])
def any_server(request: pytest.FixtureRequest) -> EmbeddedServer:
    server: EmbeddedServer = request.getfixturevalue("servers").of(request.param)
    return server


@pytest.fixture
def guest(any_server: EmbeddedServer, database: Databases) -> Iterator[psycopg.Connection]:
    """A role that may log in and nothing else, in a database with people."""
    dsn = database(any_server)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS guest")
        conn.execute("CREATE ROLE guest")
        conn.execute("CREATE SCHEMA app")
        conn.execute("CREATE TABLE app.people (id int PRIMARY KEY, email text)")
        conn.execute("CREATE MATERIALIZED VIEW app.mailing AS SELECT email FROM app.people")
        conn.execute("SET ROLE guest")
        yield conn
        conn.execute("RESET ROLE")
        conn.execute("DROP OWNED BY guest")
        conn.execute("DROP ROLE guest")


def test_p11_without_rights_nothing_is_called_erased(guest: psycopg.Connection) -> None:
    copies = inventory(guest, [PEOPLE])
    outcomes = treat(guest, copies, [PEOPLE], patience=QUICK)
    result = sweep_server(guest, ERASED, copies, [PEOPLE])
    verdicts = {said.copy: said for said in decide_all(copies, outcomes, result, rows_erased=True)}
    told = {"archive", "standbys", "subscribers", "subscriptions", "foreign-tables", "changefeed"}
    good = {copy for copy, said in verdicts.items() if said.verdict is Verdict.ERASED_VERIFIED}
    assert good <= told
    assert Verdict.UNKNOWN == verdicts["heap:app.people"].verdict
    assert Verdict.UNKNOWN == verdicts["wal"].verdict
    assert Verdict.UNKNOWN == verdicts["statistics"].verdict
    assert Verdict.ERASED_UNVERIFIED == verdicts["live-rows:app.people"].verdict
    assert all(said.why for said in verdicts.values())


def test_p11_an_owner_rewrites_but_proves_nothing(guest: psycopg.Connection) -> None:
    guest.execute("RESET ROLE")
    guest.execute("GRANT USAGE, CREATE ON SCHEMA app TO guest")
    guest.execute("ALTER TABLE app.people OWNER TO guest")
    guest.execute("ALTER MATERIALIZED VIEW app.mailing OWNER TO guest")
    guest.execute("SET ROLE guest")
    copies = inventory(guest, [PEOPLE])
    outcomes = {o.copy: o for o in treat(guest, copies, [PEOPLE], patience=QUICK)}
    result = sweep_server(guest, ERASED, copies, [PEOPLE])
    verdicts = {s.copy: s.verdict for s in decide_all(copies, tuple(outcomes.values()), result, rows_erased=True)}
    assert Treatment.DONE == outcomes["heap:app.people"].treatment  # it can't see who held old rows
    assert Treatment.NOT_PERMITTED == outcomes["statistics"].treatment
    assert Verdict.ERASED_UNVERIFIED == verdicts["heap:app.people"]
    assert Verdict.ERASED_UNVERIFIED == verdicts["materialised-view:app.mailing"]
    assert Verdict.ERASED_VERIFIED == verdicts["live-rows:app.people"]


def test_the_inventory_lists_every_kind_whatever_the_role_may(guest: psycopg.Connection) -> None:
    as_guest = inventory(guest, [PEOPLE])
    guest.execute("RESET ROLE")
    as_superuser = inventory(guest, [PEOPLE])
    guest.execute("SET ROLE guest")
    optional = {CopyKind.SLOT, CopyKind.TABLESPACE, CopyKind.DERIVED_TABLE, CopyKind.DIRECTORY}
    optional |= {CopyKind.ARCHIVED_WAL, CopyKind.DUMP, CopyKind.BASE_BACKUP, CopyKind.OTHER_FILES}  # of folders
    optional |= {CopyKind.ENCRYPTED_FILES, CopyKind.SNAPSHOT, CopyKind.PACKS}  # the latter two of repositories
    optional |= {  # of object stores
        CopyKind.OBJECTS, CopyKind.OBJECT_VERSIONS, CopyKind.LOCKED_VERSIONS, CopyKind.UPLOADS, CopyKind.NO_OBJECTS,
        CopyKind.OBJECT_REPLICAS, CopyKind.ACCESS_LOGS, CopyKind.OBJECT_LISTS, CopyKind.STORE_FILES,
    }  # fmt: skip
    assert {copy.id for copy in as_superuser} == {copy.id for copy in as_guest}
    assert set(CopyKind) - optional == {copy.kind for copy in as_guest}
    assert not any(
        copy.observable for copy in as_guest if copy.kind in {CopyKind.HEAP, CopyKind.WAL, CopyKind.STATISTICS}
    )
    assert all(copy.why and copy.method for copy in as_guest)


def test_doctor_is_told_each_right_and_its_grant(guest: psycopg.Connection) -> None:
    named = TableName(schema="app", name="people")
    lacking = {right.name: right for right in rights(guest, datasets=[named])}
    guest.execute("RESET ROLE")
    assert all(right.has for right in rights(guest, datasets=[named]))
    assert not any(right.has for right in lacking.values())
    for right in lacking.values():
        if "EXECUTE ON FUNCTION pg_stat_statements" not in right.grant_sql:
            for statement in right.grant_sql.partition(" -- ")[0].split(";"):
                guest.execute(statement)
    guest.execute("SET ROLE guest")


def test_slots_tablespaces_and_neighbours_are_copies_of_their_own(
    horizon_server: EmbeddedServer, dsn: str, conn: psycopg.Connection
) -> None:
    conn.execute("SELECT pg_create_logical_replication_slot('keeper', 'test_decoding')")
    conn.execute("CREATE PUBLICATION feed FOR TABLE app.people")
    conn.execute("CREATE EXTENSION file_fdw")
    conn.execute("CREATE SERVER outside FOREIGN DATA WRAPPER file_fdw")
    conn.execute("CREATE FOREIGN TABLE app.import (line text) SERVER outside OPTIONS (filename '/dev/null')")
    copies = {copy.id: copy for copy in inventory(conn, [PEOPLE])}
    outcomes = {o.copy: o for o in treat(conn, tuple(copies.values()), [PEOPLE], patience=QUICK)}
    conn.execute("SELECT pg_drop_replication_slot('keeper')")
    assert "logical, inactive" in copies["slot:keeper"].why
    assert Treatment.UNSEEN == outcomes["subscribers"].treatment
    assert Treatment.UNSEEN == outcomes["foreign-tables"].treatment
    assert Treatment.HELD == outcomes["wal"].treatment
