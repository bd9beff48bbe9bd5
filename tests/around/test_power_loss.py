"""A dump of what is left, and a backup of a home, when the power goes: on return they are there, whole (P1, P2)."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from domicile.stores.postgres import restoring
from domicile.stores.postgres.server import EmbeddedServer
from tests.around.test_baselines import EDGE, NOW, _of
from tests.powerloss import Disk
from tests.servers import Databases

pytestmark = pytest.mark.crash


def test_p1_p2_dumps_that_others_are_removed_for_are_there_when_the_power_goes(
    pg18: EmbeddedServer, database: Databases, tmp_path: Path
) -> None:
    dsn = database(pg18)
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")
    dumps, _ = _of(disk.root, dsn)
    with disk.watched():
        baseline = dumps.make_baseline(EDGE, now=NOW)
        disk.promise((baseline,))
        with psycopg.connect(dsn) as holder:
            holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            ((moment,),) = holder.execute("SELECT pg_export_snapshot()").fetchall()
            restoring.back_up(dsn, disk.root / "home.dump", moment=moment, store="app-us")
        disk.promise((baseline, "home.dump"))
    wholes = {name: (disk.root / name).read_bytes() for name in (baseline, "home.dump")}
    assert all(whole.startswith(b"PGDMP") for whole in wholes.values())
    for number, left in enumerate(one for one in disk.remains if one.promised):
        place = left.lay(tmp_path / f"left-{number}")
        assert all(wholes[name] == (place / name).read_bytes() for name in left.promised), left.moment
        assert {wholes["home.dump"]} >= {path.read_bytes() for path in place.glob("home.dump")}, left.moment
