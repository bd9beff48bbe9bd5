"""P3 on a real server: a value left behind on purpose in each place is found, and gone after the treatment."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from domicile.catalogue import TableName
from domicile.proof import Verdict
from domicile.stores.postgres.horizon import CopyKind, inventory
from domicile.stores.postgres.server import EmbeddedServer
from domicile.sweep import SearchResult, decide_all
from domicile.sweep.search import View
from tests.servers import DISTRIBUTION_MAJOR, Databases
from tests.sweep.plants import (
    CANARY,
    DATASETS,
    connected,
    copies_but,
    delete_rows,
    plant_schema,
    plants_elsewhere,
    sweep_for_canary,
    treat_quickly,
)

ELSEWHERE = {
    "unmapped-tables", "unlogged-tables", "staging", "catalogue", "notify-queue", "temp-files", "slot:feed",
    "prepared-transactions", "other-databases", "orphaned-files", "server-files", "server-log",
}  # fmt: skip
DERIVED = {
    "live-rows:app.plain", "heap:app.plain", "index:app.plain", "heap:app.packed", "index:app.packed",
    "toast:app.outside", "toast:app.straddling", "heap:app.parted", "materialised-view:app.mailing",
    "materialised-view:app.mailing_count", "large-objects", "statistics", "statement-texts", "wal",
}  # fmt: skip


@pytest.fixture
def dsn(planted_server: EmbeddedServer, database: Databases) -> Iterator[str]:
    """A fresh database; the log is emptied at the end, so that the next test starts clean."""
    yield database(planted_server)
    for log in (planted_server.data_directory / "log").iterdir():
        log.write_bytes(b"")


def hits(result: SearchResult) -> dict[str, int]:
    return {search.copy: search.hits for search in result.copies if search.hits}


def views(result: SearchResult, copy: str) -> set[View]:
    search = result.of(copy)
    return {finding.view for finding in search.findings} if search else set()


@pytest.mark.parametrize("lz4", [False, True], ids=["pglz", "lz4"])
def test_p3_finds_a_value_in_every_place(planted_server: EmbeddedServer, dsn: str, lz4: bool) -> None:
    lz4 = lz4 and planted_server.major == DISTRIBUTION_MAJOR  # the embedded server is built without lz4: pglz twice
    with connected(dsn) as conn:
        plant_schema(conn, lz4=lz4)
        with plants_elsewhere(planted_server, conn, dsn):
            result = sweep_for_canary(conn)
    assert set() == (DERIVED | ELSEWHERE) - set(hits(result))
    assert {View.UNPACKED} == views(result, "heap:app.packed")
    assert {View.UNPACKED} == views(result, "index:app.packed")
    assert {View.JOINED} == views(result, "toast:app.outside")
    assert {View.JOINED} == views(result, "toast:app.straddling")
    assert View.JOINED in views(result, "orphaned-files")


def test_p3_nothing_is_left_after_the_treatment(planted_server: EmbeddedServer, dsn: str) -> None:
    with connected(dsn) as conn:
        plant_schema(conn)
        with plants_elsewhere(planted_server, conn, dsn):
            pass
        delete_rows(conn)
    _tidy_as_an_operator_would(planted_server)
    with connected(dsn) as conn:
        copies = inventory(conn, DATASETS)
        outcomes = treat_quickly(conn, copies)
        result = sweep_for_canary(conn)
        verdicts = {verdict.copy: verdict for verdict in decide_all(copies, outcomes, result, rows_erased=True)}
    assert {} == hits(result)
    unknown = {name for name, verdict in verdicts.items() if verdict.verdict is not Verdict.ERASED_VERIFIED}
    assert {"dumps-and-backups", "free-blocks"} == unknown
    assert not any(CANARY.encode() in file for file in _every_file(planted_server))


@pytest.mark.parametrize(
    "skipped",
    [
        (CopyKind.HEAP, CopyKind.TOAST, CopyKind.INDEX),
        (CopyKind.MATERIALISED_VIEW,),
        (CopyKind.STATISTICS,),
        (CopyKind.STATEMENT_TEXTS,),
        (CopyKind.LARGE_OBJECTS,),
        (CopyKind.WAL,),
    ],
    ids=lambda kinds: kinds[0],
)
def test_p3_a_skipped_treatment_is_found(
    planted_server: EmbeddedServer, dsn: str, skipped: tuple[CopyKind, ...]
) -> None:
    with connected(dsn) as conn:
        plant_schema(conn)
        delete_rows(conn)
        copies = inventory(conn, DATASETS)
        outcomes = treat_quickly(conn, copies_but(conn, *skipped))
        result = sweep_for_canary(conn)
        verdicts = {verdict.copy: verdict for verdict in decide_all(copies, outcomes, result, rows_erased=True)}
    skipped_ids = {copy.id for copy in copies if copy.kind in skipped}
    assert skipped_ids & set(hits(result))
    assert {Verdict.PRESENT} == {verdicts[copy].verdict for copy in skipped_ids}
    assert "live-rows:app.plain" not in hits(result)


def test_p3_a_recycled_segment_keeps_old_bytes_until_it_is_treated(planted_server: EmbeddedServer, dsn: str) -> None:
    with connected(dsn) as conn:
        plant_schema(conn)
        conn.execute("SELECT pg_switch_wal()")
        conn.execute("CHECKPOINT")
        current = _one(conn, "SELECT pg_walfile_name(pg_current_wal_lsn())")
        before = sweep_for_canary(conn).of("wal")
        assert before is not None
        assert any(finding.path.rpartition("/")[2] > current for finding in before.findings)
        delete_rows(conn)
        treat_quickly(conn, inventory(conn, DATASETS))
        after = sweep_for_canary(conn).of("wal")
        assert after is not None
        assert 0 == after.hits


def test_p3_a_value_inside_a_packed_page_image_is_found(planted_server: EmbeddedServer, dsn: str) -> None:
    methods = ("pglz",) if planted_server.major == 18 else ("pglz", "lz4")
    with connected(dsn) as conn:
        for method in methods:
            assert {View.UNPACKED} == _page_image_views(conn, method)
        assert {View.RAW} == _page_image_views(conn, "off")


def _page_image_views(conn: psycopg.Connection, method: str) -> set[View]:
    """Empty the WAL, then touch another row of the canary's page: its image is all the WAL has of it."""
    conn.execute("DROP TABLE IF EXISTS image")
    conn.execute(f"SET wal_compression = {method}")
    conn.execute("CREATE TABLE image (id int PRIMARY KEY, note text)")
    conn.execute("INSERT INTO image SELECT g, repeat('canary-planted-|', g % 9) FROM generate_series(1, 40) g")
    conn.execute(f"INSERT INTO image VALUES (0, '{CANARY}')")
    conn.execute("INSERT INTO image VALUES (100, ''), (101, 'value-0123456789')")
    table = (TableName(schema="public", name="image"),)
    outcomes = {
        outcome.copy: outcome
        for outcome in treat_quickly(conn, tuple(c for c in inventory(conn, table) if c.kind is CopyKind.WAL))
    }
    assert "proven" == outcomes["wal"].treatment
    conn.execute("UPDATE image SET note = 'touched' WHERE id = 100")
    return views(sweep_for_canary(conn), "wal")


def test_p3_zstd_page_images_are_a_gap_not_a_clean_search(planted_server: EmbeddedServer, dsn: str) -> None:
    with connected(dsn) as conn:
        method = "zstd" if planted_server.major == DISTRIBUTION_MAJOR else "pglz"
        conn.execute("CREATE TABLE image (id int PRIMARY KEY, note text)")
        conn.execute("INSERT INTO image SELECT g, repeat('n', 50) FROM generate_series(1, 40) g")
        treat_quickly(conn, tuple(copy for copy in inventory(conn, ()) if copy.kind is CopyKind.WAL))
        conn.execute(f"SET wal_compression = {method}")
        conn.execute("UPDATE image SET note = 'touched' WHERE id = 1")
        search = sweep_for_canary(conn).of("wal")
    assert search is not None
    assert (method == "zstd") == any("zstd" in gap.why for gap in search.gaps)


def test_p3_sql_only_sees_what_local_files_show(planted_server: EmbeddedServer, dsn: str) -> None:
    with connected(dsn) as conn:
        plant_schema(conn)
        with plants_elsewhere(planted_server, conn, dsn):
            local = sweep_for_canary(conn)
            remote = sweep_for_canary(conn, sql_only=True)
    assert "files over SQL" == remote.how
    volatile = {"wal", "notify-queue", "slot:feed", "temp-files", "statistics", "statement-texts"}
    assert {name: count for name, count in hits(local).items() if name not in volatile} == {
        name: count for name, count in hits(remote).items() if name not in volatile
    }
    assert volatile & set(hits(local)) == volatile & set(hits(remote))


def test_p3_pages_of_an_unknown_kind_are_a_gap(planted_server: EmbeddedServer, dsn: str) -> None:
    with connected(dsn) as conn:
        conn.execute("CREATE TABLE sealed AS SELECT g FROM generate_series(1, 2000) g")
        conn.execute("CHECKPOINT")
        path = planted_server.data_directory / _one(conn, "SELECT pg_relation_filepath('sealed')")
        clean = sweep_for_canary(conn).of("unmapped-tables")
        path.write_bytes(bytes(byte ^ 0x5A for byte in path.read_bytes()))
        sealed = sweep_for_canary(conn).of("unmapped-tables")
        conn.execute("DROP TABLE sealed")
    assert clean is not None
    assert sealed is not None
    assert clean.complete
    assert ["a kind we don't know" in gap.why for gap in sealed.gaps] == [True]


def _tidy_as_an_operator_would(server: EmbeddedServer) -> None:
    """Delete the logs and empty the notification queue by a restart, as docs/horizon.md says."""
    server.stop()
    for log in (server.data_directory / "log").iterdir():
        log.unlink()
    server.restart()


def _every_file(server: EmbeddedServer) -> Iterator[bytes]:
    for path in server.data_directory.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


def _one(conn: psycopg.Connection, query: str) -> str:
    row = conn.execute(query).fetchone()
    assert row
    return str(row[0])
