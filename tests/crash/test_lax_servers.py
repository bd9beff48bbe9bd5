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


NO_UNLOGGED = """
CREATE FUNCTION beware() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_event_trigger_ddl_commands() AS d JOIN pg_class AS c ON c.oid = d.objid
        WHERE d.classid = 'pg_class'::regclass AND c.relpersistence = 'u')
    THEN RAISE EXCEPTION 'an unlogged table'; END IF;
END $$;
CREATE EVENT TRIGGER beware ON ddl_command_end EXECUTE FUNCTION beware();
ALTER EVENT TRIGGER beware ENABLE ALWAYS
"""


def test_p5_no_stage_makes_an_unlogged_table(crash_world: CrashWorld) -> None:
    """A server that crashes after it dropped one may refuse to start: its log has the making and not the end."""
    with psycopg.connect(crash_world.source) as connection:
        connection.execute(NO_UNLOGGED.encode())
        with pytest.raises(psycopg.errors.RaiseException, match="an unlogged table"), connection.transaction():
            connection.execute("CREATE UNLOGGED TABLE odd ()")
    crash_world.programme.clear()
    crash_world.programme.apply(yes=True)
    crash_world.assert_done()
