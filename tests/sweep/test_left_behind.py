"""Files that somebody left in a server's data directory, packed: opened, found, or a gap (P3, P11)."""

from __future__ import annotations

import gzip
import io
import shutil
import sqlite3
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from domicile.catalogue import TableName
from domicile.proof import Verdict
from domicile.stores.postgres.horizon import inventory, treat
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from domicile.sweep import CopySearch, decide_all, sweep_server
from domicile.sweep.search import TOKEN_IN_NAME, View
from tests.servers import own_server
from tests.sweep.plants import CANARY, LONG, QUICK, tokens

BOX = TableName(schema="public", name="box")
OTHER = CANARY[::-1]


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedServer]:
    """A server whose files nobody else writes."""
    with own_server("left", parameters={"autovacuum": "off", "fsync": "off"}) as server:
        yield server


@pytest.fixture
def conn(own: EmbeddedServer) -> Iterator[psycopg.Connection]:
    """A server that held the canary, and was treated."""
    with psycopg.connect(own.dsn(), autocommit=True) as conn:
        _hold(conn, None)
        treat(conn, inventory(conn, [BOX]), [BOX], patience=QUICK)
        yield conn


@pytest.fixture
def left(own: EmbeddedServer) -> Iterator[Path]:
    """A folder in the data directory."""
    folder = own.data_directory / "left"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def _hold(conn: psycopg.Connection, value: str | None) -> None:
    """Put a value into a table; None: empty it."""
    conn.execute("DROP TABLE IF EXISTS box")
    conn.execute("CREATE TABLE box (id serial PRIMARY KEY, what text)")
    if value:
        conn.execute(f"INSERT INTO box (what) SELECT '{value}' FROM generate_series(1, 200)".encode())


def _swept(conn: psycopg.Connection) -> tuple[CopySearch, Verdict]:
    """What the sweep says of the server's other files."""
    copies = inventory(conn, [BOX])
    outcomes = treat(conn, copies, [BOX], patience=QUICK)
    result = sweep_server(conn, tokens(), copies, [BOX])
    verdicts = {said.copy: said.verdict for said in decide_all(copies, outcomes, result, rows_erased=True)}
    search = result.of("server-files")
    assert search
    return search, verdicts["server-files"]


def _gzip(folder: Path, value: str) -> None:
    (folder / "export.csv.gz").write_bytes(gzip.compress(f"1,{value}\n".encode() * 200))


def _zip(folder: Path, value: str) -> None:
    with zipfile.ZipFile(folder / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("people.json", f'["{value}"]' * 200)


def _sqlite(folder: Path, value: str) -> None:
    with sqlite3.connect(folder / "cache.db") as cache:
        cache.execute("PRAGMA journal_mode = WAL")
        cache.execute("CREATE TABLE seen (who)")
        cache.execute("INSERT INTO seen VALUES (?)", ("x" * 4060 + value + "y" * 9000,))
    cache.close()


def _zstd(folder: Path, value: str) -> None:
    done = subprocess.run(["zstd", "-c"], input=f"1,{value}\n".encode() * 200, capture_output=True, check=True)
    (folder / "export.csv.zst").write_bytes(done.stdout)


LEFT: dict[str, Callable[[Path, str], None]] = {"gzip": _gzip, "zip": _zip, "sqlite": _sqlite, "zstd": _zstd}


@pytest.mark.parametrize("kind", LEFT)
def test_p3_a_packed_file_left_in_the_data_directory_is_found(conn: psycopg.Connection, left: Path, kind: str) -> None:
    LEFT[kind](left, CANARY)
    search, verdict = _swept(conn)
    assert Verdict.PRESENT == verdict
    assert View.PACKED in {finding.view for finding in search.findings}
    assert {"left"} == {finding.path.partition("/")[0] for finding in search.findings}
    for file in left.iterdir():
        file.unlink()
    LEFT[kind](left, OTHER)
    search, verdict = _swept(conn)
    assert (0, ()) == (search.hits, search.gaps)
    assert Verdict.ERASED_VERIFIED == verdict


def test_p3_p11_a_dump_left_in_the_data_directory_is_opened(
    own: EmbeddedServer, conn: psycopg.Connection, left: Path
) -> None:
    """pg_dump packs what it writes; a dump that is cut off is a gap."""
    program = find_client("pg_dump", at_least_major=18)
    dump = left / "app.dump"
    for value, expected in ((CANARY, Verdict.PRESENT), (OTHER, Verdict.ERASED_VERIFIED)):
        _hold(conn, value)
        subprocess.run([str(program), "--format=custom", f"--file={dump}", own.dsn()], check=True)
        _hold(conn, None)
        search, verdict = _swept(conn)
        assert expected == verdict
        assert () == search.gaps
    dump.write_bytes(dump.read_bytes()[:-60])
    search, verdict = _swept(conn)
    assert Verdict.UNKNOWN == verdict
    assert ["left/app.dump"] == [gap.path for gap in search.gaps]


def test_p3_a_packed_base_backup_left_in_the_data_directory_is_carved(
    own: EmbeddedServer, conn: psycopg.Connection, left: Path
) -> None:
    """The values in it are packed by the server before the backup is: pages, TOAST and WAL in a tar in gzip."""
    conn.execute("DROP TABLE box")
    conn.execute("CREATE TABLE box (id serial PRIMARY KEY, what text)")
    conn.execute(f"INSERT INTO box (what) VALUES ({LONG})".encode())
    conn.execute("CHECKPOINT")
    row = conn.execute(
        "SELECT pg_relation_filepath(reltoastrelid), pg_walfile_name(pg_current_wal_lsn())"
        "  FROM pg_class WHERE oid = 'box'::regclass"
    ).fetchone()
    assert row
    for name, path in (("base.tar.gz", row[0]), ("pg_wal.tar.gz", f"pg_wal/{row[1]}")):
        with tarfile.open(left / name, "w:gz", compresslevel=1) as archive:
            archive.add(own.data_directory / path, arcname=path)
    shutil.copy(own.data_directory / "pg_wal" / row[1], left / "archived")
    _hold(conn, None)
    search, verdict = _swept(conn)
    assert Verdict.PRESENT == verdict
    found = {finding.path: set[View]() for finding in search.findings}
    for finding in search.findings:
        found[finding.path].add(finding.view)
    assert View.JOINED in found["left/base.tar.gz"]
    assert View.JOINED in found["left/pg_wal.tar.gz"]
    assert View.JOINED in found["left/archived"]


def test_p3_p8_the_name_of_a_file_is_searched_and_not_told(conn: psycopg.Connection, left: Path) -> None:
    (left / f"{CANARY}.txt").write_bytes(b"")
    broken = io.BytesIO(gzip.compress(b"nothing" * 100))
    (left / f"{CANARY}.gz").write_bytes(broken.getvalue()[:-9])
    search, verdict = _swept(conn)
    assert Verdict.PRESENT == verdict
    assert {View.NAME} == {finding.view for finding in search.findings}
    assert {f"left/{TOKEN_IN_NAME}"} == {finding.path for finding in search.findings} | {
        gap.path for gap in search.gaps
    }
    assert CANARY not in repr(search)
