"""A streaming standby is treated after the source and swept like it; one that lags or is unnamed is told of."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from domicile.evidence.predicates import CertificatePredicate
from domicile.run import Stage
from domicile.stores.postgres.horizon import receivers
from domicile.stores.postgres.horizon import standby as treating
from domicile.stores.postgres.horizon.treatment import Patience
from domicile.stores.postgres.programs import find_client, server_user
from domicile.stores.postgres.server import EmbeddedServer, ServerSettings
from tests.around.conftest import MOVER
from tests.attack.conftest import World, run
from tests.attack.programme import make
from tests.attack.test_second_thoughts import RULES, SCHEMA
from tests.servers import PASSWORD, SCRATCH, Databases, own_server

SMALL = {
    "autovacuum": "off", "fsync": "off", "max_wal_size": "64MB", "min_wal_size": "32MB", "shared_buffers": "16MB",
    "hot_standby": "on",
}  # fmt: skip
LOGGING = {"logging_collector": "on", "log_directory": "log", "log_statement": "all"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A primary and its standby."""

    primary: EmbeddedServer
    standby: EmbeddedServer

    def settle(self) -> None:
        """Wait until the standby has replayed all."""
        with (
            psycopg.connect(self.primary.dsn(), autocommit=True) as at,
            psycopg.connect(self.standby.dsn(), autocommit=True) as there,
        ):
            row = at.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
            assert row
            for _ in range(600):
                done = there.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [row[0]]).fetchone()
                if done and done[0]:
                    return
                there.execute("SELECT pg_sleep(0.05)")
        raise AssertionError("the standby doesn't catch up")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """PostgreSQL 18, streaming."""
    with own_server("primary", parameters=SMALL) as primary:
        folder = Path(tempfile.mkdtemp(prefix="domicile-test-standby-", dir=SCRATCH))
        folder.chmod(0o711)
        program = find_client("pg_basebackup", at_least_major=18)
        subprocess.run(
            [program, f"--dbname={primary.dsn()}", f"--pgdata={folder / 'data'}", "--checkpoint=fast", "--no-sync",
             "--write-recovery-conf", "--wal-method=stream"],
            check=True, capture_output=True,
        )  # fmt: skip
        user = server_user()
        if user is not None:
            subprocess.run(["chown", "-R", f"{user.uid}:{user.gid}", folder / "data"], check=True)
        standby = EmbeddedServer.start(
            folder, name="standby", password=PASSWORD, settings=ServerSettings(parameters={**SMALL, **LOGGING})
        )
        try:
            yield Pair(primary=primary, standby=standby)
        finally:
            standby.kill()
            subprocess.run(["rm", "-rf", folder], check=True)


Made = Callable[..., World]


@pytest.fixture
def made(pair: Pair, pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Made:
    """Make a world whose source has a standby; `named` says whether the file names it."""

    def of(*, named: bool = True) -> World:
        source, home = database(pair.primary), database(pg18)
        run(source, SCHEMA)
        pair.settle()
        line = (
            "  app-standby: {kind: postgresql, location: here, dsn: env:STANDBY_DSN, standby_of: app,"
            " server_log: {removed_by: engine}}\n"
        )
        programme = make(tmp_path / "programme", (line if named else "") + RULES, source=source, homes={"CA": home})
        dsn = pair.standby.dsn(str(conninfo_to_dict(source)["dbname"]))
        programme.environment = {**programme.environment, "STANDBY_DSN": dsn}
        return World(source=source, home=home, programme=programme)

    return of


def verdicts(world: World, store: str) -> dict[str, tuple[str, str]]:
    with world.programme.opened() as opened:
        found = opened.last(CertificatePredicate)
    assert found
    assert isinstance(found.predicate, CertificatePredicate)
    return {
        copy.id.removeprefix(f"{store}/"): (copy.verdict.value, copy.why)
        for copy in found.predicate.copies
        if copy.id.startswith(f"{store}/")
    }


def _bytes_in(server: EmbeddedServer) -> list[str]:
    """Files of the server that hold a mover's address, by grep."""
    done = subprocess.run(
        ["grep", "-rlaF", MOVER.decode(), str(server.data_directory)], capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines()


def _await_log(world: World, pair: Pair) -> None:
    """Its collector writes the line down when it comes to it."""
    for _ in range(200):
        if any("/log/" in name for name in _bytes_in(pair.standby)):
            return
        run(world.programme.environment["STANDBY_DSN"], "SELECT pg_sleep(0.05)")
    raise AssertionError("the log does not hold the statement")


def test_p3_nothing_is_left_on_a_standby_that_the_file_names(made: Made, pair: Pair) -> None:
    world = made()
    run(world.programme.environment["STANDBY_DSN"], f"SELECT '{MOVER.decode()}'")
    _await_log(world, pair)
    world.programme.finish()
    assert [] == _bytes_in(pair.primary)
    assert [] == _bytes_in(pair.standby)
    told = verdicts(world, "app-standby")
    for copy in (
        "live-rows:public.person",
        "heap:public.note",
        "index:public.person",
        "wal",
        "statistics",
        "server-log",
    ):
        assert "erased-verified" == told[copy][0], told[copy]
    assert "erased-verified" == verdicts(world, "app")["standbys"][0]
    assert 0 == world.programme.audit().returncode


def test_p3_what_lies_on_the_standby_alone_is_found_there(made: Made, pair: Pair) -> None:
    world = made()
    planted = pair.standby.data_directory / "forgotten.txt"
    planted.write_bytes(b"to " + MOVER)
    planted.chmod(0o644)
    try:
        world.programme.finish()
    finally:
        planted.unlink()
    assert "present" == verdicts(world, "app-standby")["server-files"][0]
    assert "erased-verified" == verdicts(world, "app")["server-files"][0]


def test_p11_a_standby_that_lags_is_held_and_says_so(made: Made, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    world = made()
    monkeypatch.setattr(treating, "Patience", lambda: Patience(holder_polls_max=2, holder_poll_ms=50))
    world.programme.clear()
    with psycopg.connect(pair.standby.dsn(), autocommit=True) as standby:
        standby.execute("SELECT pg_wal_replay_pause()")
        try:
            world.programme.apply(yes=True)
        finally:
            standby.execute("SELECT pg_wal_replay_resume()")
    verdict, why = verdicts(world, "app-standby")["heap:public.note"]
    assert "present" == verdict
    assert MOVER.decode() not in why
    pair.settle()


def test_p6_a_standby_without_a_slot_is_not_cut_off_from_what_it_lacks(
    made: Made, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its receiver stands still: no segment that it lacks goes, and who keeps them is said; afterwards it goes on."""
    world = made()
    monkeypatch.setattr(receivers, "POLLS_MAX", 2)
    monkeypatch.setattr(treating, "Patience", lambda: Patience(holder_polls_max=2, holder_poll_ms=50))
    world.programme.clear()
    world.programme.apply(until=Stage.ERASE, yes=True)
    with psycopg.connect(pair.standby.dsn(), autocommit=True) as standby:
        row = standby.execute("SELECT pid FROM pg_stat_wal_receiver").fetchone()
    assert row
    os.kill(row[0], signal.SIGSTOP)
    try:
        world.programme.apply(yes=True)
        verdict, why = verdicts(world, "app")["wal"]
        assert "present" == verdict
        assert "receiver" in why
        assert _bytes_in(pair.primary)
    finally:
        os.kill(row[0], signal.SIGCONT)
    pair.settle()
    monkeypatch.undo()
    world.programme.apply(yes=True)  # a certificate that names what was held isn't the end
    assert "erased-verified" == verdicts(world, "app")["wal"][0]
    assert [] == _bytes_in(pair.primary)
    assert [] == _bytes_in(pair.standby)
    assert 0 == world.programme.audit().returncode


def test_p11_a_standby_that_nobody_named_is_an_unknown_store(made: Made) -> None:
    world = made(named=False)
    shown = world.programme.command("plan")
    assert "unknown store" in shown.stdout
    assert "app/standbys" in shown.stdout
    world.programme.clear_again()
    world.programme.apply(yes=True)
    assert "unknown" == verdicts(world, "app")["standbys"][0]
