"""P1, P5: servers that forget their last commits, and connections that fall silent."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from domicile.run import Stage
from tests.attack.programme import make
from tests.crash.conftest import CrashWorld
from tests.crash.world import RULES, SCHEMA, expected_end
from tests.servers import create_database, own_server

pytestmark = pytest.mark.crash
FORGETFUL = {"synchronous_commit": "off", "wal_writer_delay": "10s", "autovacuum": "off"}


def test_p1_p5_a_server_that_may_forget_commits_forgets_none_of_ours(tmp_path: Path) -> None:
    """`synchronous_commit = off` is common; an erasure that was logged as done survives a crash right after it."""
    with own_server("lax-source", parameters=FORGETFUL) as there, own_server("lax-home", parameters=FORGETFUL) as here:
        source = create_database(there, "source")
        homes = {home: create_database(here, f"home_{home.lower()}") for home in ("CA", "US")}
        with psycopg.connect(source) as connection:
            connection.execute(SCHEMA.encode())
            connection.execute("SET LOCAL synchronous_commit = on")
        world = CrashWorld(
            source_server=there, home_server=here, source=source, homes=homes,
            programme=make(tmp_path / "programme", RULES, source=source, homes=homes), end=expected_end(source),
        )  # fmt: skip
        world.programme.clear()
        world.programme.apply(yes=True, until=Stage.ERASE)
        for server in (there, here):
            server.kill()
        for server in (there, here):
            server.restart()
        world.assert_nothing_lost()
        world.programme.apply(yes=True)
        world.assert_done()
