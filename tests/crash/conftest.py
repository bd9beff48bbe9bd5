"""Servers of our own, to be killed; worlds on them; and what must be true when a run is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from domicile.evidence.predicates import ErasurePredicate, Phase
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.programme import Programme, make
from tests.crash.world import RULES, SCHEMA, End, expected_end, held
from tests.servers import create_database, own_server


@dataclass(slots=True, kw_only=True)
class CrashWorld:
    """A source and two homes on servers that may be killed, and the end state that is due."""

    source_server: EmbeddedServer
    home_server: EmbeddedServer
    source: str
    homes: dict[str, str]
    programme: Programme
    end: End

    def assert_done(self) -> None:
        """The end state is that of an undisturbed run, nothing of ours is left, and the auditor says so too."""
        for home, rows in self.end.homes.items():
            assert rows == held(self.homes[home])
        assert self.end.source == held(self.source)
        self.assert_left_clean()
        self.assert_log_in_order()
        audited = self.programme.audit()
        assert audited.returncode == 0, audited.stdout + audited.stderr

    def assert_nothing_lost(self) -> None:
        """At any moment: what an erasure took from the source is at home, whole, and others' rows are there."""
        source = held(self.source)
        homes = {home: held(dsn) for home, dsn in self.homes.items() if _has_tables(dsn)}
        for table, rows in self.end.source.items():
            if table in ("post", "message", "visit"):
                assert not set(rows) - set(source[table]), f"rows that stay are gone from {table}"
                for home, due in self.end.homes.items():
                    there = set(source[table]) | set(homes.get(home, {}).get(table, ()))
                    assert not set(due[table]) - there, f"rows of {table} are neither at {home} nor at the source"

    def assert_left_clean(self) -> None:
        """No schema, trigger, setting or database of ours remains."""
        with psycopg.connect(self.source) as connection:
            assert [] == connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ 'domicile'").fetchall()
            assert [] == connection.execute("SELECT tgname FROM pg_trigger WHERE tgname ~ 'domicile'").fetchall()
            assert [] == connection.execute("SELECT proname FROM pg_proc WHERE proname ~ 'domicile|guard_'").fetchall()
            assert (
                []
                == connection.execute(
                    "SELECT setconfig FROM pg_db_role_setting WHERE setconfig::text ~ 'domicile'"
                ).fetchall()
            )
            assert ("on",) == connection.execute("SHOW wal_recycle").fetchone()
            assert (
                []
                == connection.execute("SELECT sourcefile FROM pg_file_settings WHERE name = 'wal_recycle'").fetchall()
            )
            assert [] == connection.execute("SELECT gid FROM pg_prepared_xacts").fetchall()
        with psycopg.connect(self.home_server.dsn()) as connection:
            assert [] == connection.execute("SELECT datname FROM pg_database WHERE datname ~ 'restore'").fetchall()

    def assert_log_in_order(self) -> None:
        """P7: an intent stands before its outcome, once each."""
        with self.programme.opened() as run:
            kinds = [recorded.predicate.KIND for recorded in run.ledger.statements()]
            erasures = [
                (one.predicate.dataset, one.predicate.home, one.predicate.phase)
                for one in run.ledger.statements()
                if isinstance(one.predicate, ErasurePredicate)
            ]
        assert "certificate/v1" == kinds[-1]
        assert 1 == kinds.count("clearance/v1") == kinds.count("certificate/v1") == kinds.count("plan/v1")
        for dataset, home, phase in erasures:
            assert 1 == erasures.count((dataset, home, phase))
            assert (dataset, home, Phase.INTENT) in erasures
            assert erasures.index((dataset, home, Phase.INTENT)) <= erasures.index((dataset, home, phase))


@pytest.fixture(scope="session")
def crash_servers() -> Iterator[tuple[EmbeddedServer, EmbeddedServer]]:
    """A source's server and a home's, durable as servers are by default."""
    with own_server("crash-source") as source, own_server("crash-home") as home:
        yield source, home


@pytest.fixture
def crash_world(crash_servers: tuple[EmbeddedServer, EmbeddedServer], tmp_path: Path) -> Iterator[CrashWorld]:
    """A fresh world with a programme in it."""
    source_server, home_server = crash_servers
    for server in crash_servers:
        if not server.is_running():
            server.restart()
    mark = uuid4().hex[:8]
    source = create_database(source_server, f"source_{mark}")
    homes = {home: create_database(home_server, f"home_{home.lower()}_{mark}") for home in ("CA", "US")}
    with psycopg.connect(source) as connection:
        connection.execute(SCHEMA.encode())
    yield CrashWorld(
        source_server=source_server, home_server=home_server, source=source, homes=homes,
        programme=make(tmp_path / "programme", RULES, source=source, homes=homes), end=expected_end(source),
    )  # fmt: skip
    for server, name in ((source_server, "source"), (home_server, "home")):
        if not server.is_running():
            server.restart()
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            for (database,) in admin.execute(
                "SELECT datname FROM pg_database WHERE datname ~ %s", (f"^{name}_",)
            ).fetchall():
                admin.execute(f'DROP DATABASE "{database}" WITH (FORCE)'.encode())


def _has_tables(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) >= 6 FROM pg_tables WHERE schemaname = 'public'").fetchone()
    return bool(row and row[0])
