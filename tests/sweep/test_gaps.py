"""Values and files that a plain search passes by: found, or said not to be looked for (P3, P11)."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from domicile.catalogue import TableName
from domicile.proof import Verdict
from domicile.stores.postgres.horizon import Outcome, inventory, treat
from domicile.stores.postgres.server import EmbeddedServer
from domicile.sweep import TokenClass, Tokens, decide_all, sweep_server
from tests.servers import own_server
from tests.sweep.plants import CANARY, LONG, QUICK, tokens

BOX = TableName(schema="public", name="box")


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedServer]:
    """A server whose files nobody else writes."""
    with own_server("gaps", parameters={"autovacuum": "off", "fsync": "off"}) as server:
        yield server


@pytest.fixture
def conn(own: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(own.dsn(), autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS box")
        yield conn
        conn.execute("DROP TABLE IF EXISTS box")


def _found(conn: psycopg.Connection, looked_for: Tokens, copy: str) -> int:
    search = sweep_server(conn, looked_for, inventory(conn, [BOX]), [BOX]).of(copy)
    assert search
    return search.hits


@pytest.mark.parametrize(
    ("kind", "value"),
    [("inet", "203.0.113.77"), ("inet", "2001:db8::77:1"), ("uuid", "5b1d2f6e-1c3a-4a77-9e0f-77c1d2e3f4a5")],
)
def test_p3_values_that_lie_in_binary_are_found(conn: psycopg.Connection, kind: str, value: str) -> None:
    conn.execute(f"CREATE TABLE box (id serial PRIMARY KEY, what {kind})".encode())
    conn.execute(f"INSERT INTO box (what) VALUES ('{value}')".encode())
    conn.execute("CREATE INDEX ON box (what)")
    conn.execute("DELETE FROM box")
    looked_for = Tokens({value.encode(): TokenClass.IDENTIFIER})
    assert _found(conn, looked_for, "heap:public.box")
    assert _found(conn, looked_for, "index:public.box")
    treat(conn, inventory(conn, [BOX]), [BOX], patience=QUICK)
    assert not _found(conn, looked_for, "heap:public.box")


@pytest.mark.parametrize(
    ("encoding", "value"), [("LATIN1", "José Müller-Öztürk"), ("WIN1251", "Анна Каренина"), ("EUC_JP", "夏目漱石先生")]
)
def test_p3_values_in_another_encoding_are_found(
    own: EmbeddedServer, conn: psycopg.Connection, encoding: str, value: str
) -> None:
    """Also those of another database of the server."""
    conn.execute(f"CREATE DATABASE other TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'".encode())
    try:
        with psycopg.connect(own.dsn("other"), autocommit=True, client_encoding="utf8") as other:
            other.execute("CREATE TABLE box (id serial PRIMARY KEY, what text)")
            other.execute(sql.SQL("INSERT INTO box (what) VALUES ({})").format(sql.Literal(value)))
            other.execute("DELETE FROM box")
            looked_for = Tokens({value.encode(): TokenClass.NAME})
            assert _found(other, looked_for, "heap:public.box")
        conn.execute("CREATE TABLE box (id serial PRIMARY KEY, what text)")
        assert _found(conn, looked_for, "other-databases")
    finally:
        conn.execute("DROP DATABASE other WITH (FORCE)")


def _as_folder(files: Path, place: Path) -> None:
    shutil.copytree(files, place / "old_base")


def _as_tar(files: Path, place: Path) -> None:
    with tarfile.open(place / "old_base.tar", "w") as archive:
        archive.add(files, arcname="base/5")


@pytest.mark.parametrize("kept", [_as_folder, _as_tar])
def test_p3_a_base_backup_left_in_the_data_directory_is_unpacked(
    own: EmbeddedServer, conn: psycopg.Connection, tmp_path: Path, kept: Callable[[Path, Path], None]
) -> None:
    conn.execute("CREATE TABLE box (id serial PRIMARY KEY, what text)")
    conn.execute(f"INSERT INTO box (what) VALUES ({LONG})".encode())
    conn.execute("CHECKPOINT")
    row = conn.execute(
        "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'box'::regclass"
    ).fetchone()
    assert row
    files = tmp_path / "files"
    files.mkdir()
    shutil.copy(own.data_directory / row[0], files)
    place = own.data_directory / "left"
    place.mkdir()
    try:
        kept(files, place)
        conn.execute("DROP TABLE box")
        conn.execute("CREATE TABLE box (id serial PRIMARY KEY, what text)")
        assert _found(conn, tokens(), "server-files")
    finally:
        shutil.rmtree(place)


def test_p11_large_objects_that_stay_are_not_called_erased(conn: psycopg.Connection) -> None:
    """A picture holds none of the values that are looked for; whose it is, no column says."""
    conn.execute("CREATE TABLE box (id serial PRIMARY KEY, what text)")
    row = conn.execute("SELECT lo_from_bytea(0, 'a picture of somebody')").fetchone()
    assert row
    assert Verdict.UNKNOWN == _verdicts(conn)["large-objects"]
    conn.execute("SELECT lo_unlink(%s)", row)
    assert Verdict.ERASED_VERIFIED == _verdicts(conn)["large-objects"]


def _verdicts(conn: psycopg.Connection) -> dict[str, Verdict]:
    copies = inventory(conn, [BOX])
    outcomes: tuple[Outcome, ...] = treat(conn, copies, [BOX], patience=QUICK)
    result = sweep_server(conn, tokens(), copies, [BOX])
    return {said.copy: said.verdict for said in decide_all(copies, outcomes, result, rows_erased=True)}


def test_p3_a_packed_value_counts_in_each_database_that_is_a_copy_of_another(
    conn: psycopg.Connection, own: EmbeddedServer
) -> None:
    """Their pages are the same but for the position of the last change; clean ones among them are unpacked once."""
    try:
        conn.execute("CREATE DATABASE first")
        with psycopg.connect(own.dsn("first"), autocommit=True) as first:
            first.execute("CREATE TABLE note (what text); ALTER TABLE note ALTER what SET STORAGE MAIN")
            first.execute("INSERT INTO note SELECT repeat(md5(g::text), 100) FROM generate_series(1, 50) g")
            first.execute("INSERT INTO note VALUES (repeat(%s, 100))", [CANARY])
        once = _found(conn, tokens(CANARY), "other-databases")
        conn.execute("CREATE DATABASE twin TEMPLATE first")
        conn.execute("CREATE DATABASE third TEMPLATE first")
        with psycopg.connect(own.dsn("third"), autocommit=True) as third:
            third.execute("INSERT INTO note VALUES (repeat(%s, 100))", [CANARY])
        assert once
        assert 4 * once == _found(conn, tokens(CANARY), "other-databases")
    finally:
        for name in ("third", "twin", "first"):
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.parametrize(("kind", "is_seen"), [("TEMP TABLE", True), ("TABLE", False)])
def test_p11_only_a_temporary_relation_may_be_without_its_file(
    conn: psycopg.Connection, own: EmbeddedServer, kind: str, is_seen: bool
) -> None:
    """A crash leaves it in the catalogue, and removes its file; so does a session that ends during the search."""
    conn.execute(f"CREATE {kind} gone (what text)".encode())
    row = conn.execute("SELECT pg_relation_filepath('gone')").fetchone()
    assert row
    path, away = own.data_directory / row[0], own.directory / "away"
    path.rename(away)
    try:
        result = sweep_server(conn, tokens(), inventory(conn, [BOX]), [BOX])
    finally:
        away.rename(path)
        conn.execute("DROP TABLE gone")
    said = [gap.path for search in result.copies for gap in search.gaps]
    assert is_seen is (row[0] not in said), said
