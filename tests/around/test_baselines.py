"""The dump that has to stand before old ones go is one of the same database, whoever else keeps dumps in the folder."""

from __future__ import annotations

import secrets
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from domicile.stores.around import Boundary, Custody
from domicile.stores.around.dumps import Database, Dumps
from domicile.stores.around.recognising import Origin, origin_of
from domicile.stores.postgres.copies import Treatment
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import run
from tests.servers import Databases, create_database, drop_database

ERASED_AT = datetime(2026, 1, 1, tzinfo=UTC)
NOW = ERASED_AT + timedelta(hours=1)
EDGE = Boundary(erased_at=ERASED_AT, segment="000000010000000000000009")


def _of(path: Path, dsn: str, *, system: int = 1) -> tuple[Dumps, str]:
    name = str(conninfo_to_dict(dsn)["dbname"])
    database = Database(dsn=dsn, major=18, name=name, system=system)
    return Dumps("dumps", path, database=database, custody=Custody(by_engine=True)), name


def test_p1_a_dump_of_another_database_in_the_folder_is_no_baseline(
    pg18: EmbeddedServer, database: Databases, tmp_path: Path
) -> None:
    app, app_name = _of(tmp_path, database(pg18))
    crm, crm_name = _of(tmp_path, database(pg18))
    first, second = app.make_baseline(EDGE, now=NOW), crm.make_baseline(EDGE, now=NOW)
    origins = [origin_of(tmp_path / name, major=18).database for name in (first, second)]
    assert [app_name, crm_name] == origins
    later = NOW + timedelta(days=1)
    assert (first, second) == (app.make_baseline(EDGE, now=later), crm.make_baseline(EDGE, now=later))


def test_p1_a_baseline_is_known_by_what_it_holds_and_not_by_its_name(
    pg18: EmbeddedServer, database: Databases, tmp_path: Path
) -> None:
    app, app_name = _of(tmp_path, database(pg18))
    crm, _ = _of(tmp_path, database(pg18))
    name = app.make_baseline(EDGE, now=NOW)
    (tmp_path / crm.make_baseline(EDGE, now=NOW)).replace(tmp_path / name)
    made = app.make_baseline(EDGE, now=NOW + timedelta(seconds=1))
    assert made != name
    assert app_name == origin_of(tmp_path / made, major=18).database


@pytest.mark.parametrize("system", [1, 2])
def test_p1_a_database_of_the_same_name_in_another_cluster_needs_its_own(
    pg18: EmbeddedServer, database: Databases, tmp_path: Path, system: int
) -> None:
    dsn = database(pg18)
    (here, _), (there, _) = _of(tmp_path, dsn), _of(tmp_path, dsn, system=system)
    assert (here.make_baseline(EDGE, now=NOW) == there.make_baseline(EDGE, now=NOW)) is (system == 1)


def test_p1_a_dump_of_a_database_of_the_same_name_elsewhere_is_left(pg18: EmbeddedServer, tmp_path: Path) -> None:
    """What its tables' numbers say is another's is not removed; what says neither the one nor the other is held."""
    name, tomorrow = f"twin_{secrets.token_hex(4)}", datetime.now(UTC) + timedelta(days=1)
    dsn, schema = create_database(pg18, name), 'CREATE TABLE person (id int); CREATE TABLE "Order Line" (id int)'
    try:
        run(dsn, schema)
        _dump(dsn, tmp_path / "1.dump")
        drop_database(pg18, name)
        create_database(pg18, name)
        run(dsn, schema)
        _dump(dsn, tmp_path / "2.dump")
        tables = {
            f"{place} {table}": oid
            for place, table, oid in run(
                dsn, "SELECT 'public', relname, oid::bigint FROM pg_class WHERE relname IN ('person', 'Order Line')"
            )
        }
        _dump(dsn, tmp_path / "half.dump", "--table=person")
        run(dsn, "CREATE TABLE later (id int)")
        _dump(dsn, tmp_path / "strange.dump", "--table=later")
    finally:
        drop_database(pg18, name)
    database = Database(dsn=dsn, major=18, name=name, system=1, tables=tables)
    folder = Dumps("dumps", tmp_path, database=database, custody=Custody(by_engine=True))
    edge = Boundary(erased_at=tomorrow, segment=EDGE.segment)
    assert ("2.dump", "half.dump", "strange.dump") == folder.old(edge)
    outcomes = {item.copy: item for item in folder.treat(edge, announce=lambda *_: None)}
    assert {"1.dump", "strange.dump"} == {path.name for path in tmp_path.iterdir()}
    assert Treatment.OBSERVED is outcomes["dump:1.dump"].treatment
    assert "of the same name elsewhere" in outcomes["dump:1.dump"].why
    assert Treatment.HELD is outcomes["dump:strange.dump"].treatment
    assert Treatment.DONE is outcomes["dump:2.dump"].treatment is outcomes["dump:half.dump"].treatment


@pytest.mark.parametrize(
    ("there", "verdict"),
    [
        ({}, True),
        ({"public a": 1, "public b": 2}, True),
        ({"public a": 1, "public b": 2, "public c": 9}, True),  # one was made anew
        ({"public a": 1, "public b": 9}, None),
        ({"public a": 8, "public b": 9}, False),
        ({"public x": 1}, None),
    ],
)
def test_p11_most_of_the_tables_must_have_the_same_number(there: dict[str, int], verdict: bool | None) -> None:
    assert verdict is Origin(database="app", tables=there).is_of({"public a": 1, "public b": 2, "public c": 3})


@pytest.mark.parametrize(
    ("manifest", "system"),
    [(b'{"System-Identifier": 7}', 7), (b'{"System-Identifier": "7"}', None), (b"[" * 100_000, None), (b"[]", None)],
)
def test_p11_a_base_backup_is_of_the_cluster_that_its_manifest_names_if_it_can_be_read(
    tmp_path: Path, manifest: bytes, system: int | None
) -> None:
    (tmp_path / "backup_manifest").write_bytes(manifest)
    assert Origin(system=system) == origin_of(tmp_path, major=18)


def _dump(dsn: str, path: Path, *options: str) -> None:
    program = find_client("pg_dump", at_least_major=18)
    subprocess.run(
        [program, f"--dbname={dsn}", "--format=custom", f"--file={path}", *options], check=True, capture_output=True
    )
