"""The dump that has to stand before old ones go is one of the same database, whoever else keeps dumps in the folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from domicile.stores.around import Boundary, Custody
from domicile.stores.around.dumps import Database, Dumps
from domicile.stores.around.recognising import origin_of
from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import Databases

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
