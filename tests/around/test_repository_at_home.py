"""A home whose own backup is a pgBackRest repository: it is restored to the place that was compared, and read (P2)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from domicile.config import load
from domicile.errors import BadFile, NoClearance, StoreFault, Waiting
from domicile.evidence.predicates import ClearancePredicate
from domicile.run import Run, Stage
from domicile.stores.around.pgbackrest import at_home
from domicile.stores.around.pgbackrest.at_home import HomeRepository
from domicile.stores.around.pgbackrest.stanza import newest_before, position
from domicile.stores.around.pgbackrest.tool import Tool
from domicile.stores.postgres import restoring
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.live import closing
from domicile.stores.postgres.programs import server_user
from domicile.stores.postgres.server import EmbeddedServer
from tests.around.repository import STANZA, Backed, backed_server
from tests.around.test_stanza import backup
from tests.attack.conftest import World, run
from tests.attack.programme import make
from tests.attack.test_second_thoughts import RULES, SCHEMA
from tests.live.platform import CUTOVER, Traffic, moving_in
from tests.live.platform import RULES as LIVE_RULES
from tests.servers import ROOT, Databases, databases_of


@pytest.fixture(scope="module")
def backed() -> Iterator[Backed]:
    """The home's server, with its repository; the source lies on it, too."""
    with backed_server() as made:
        yield made


def line(backed: Backed, home: str, *, stanza: str = STANZA) -> str:
    """The home's repository, as `stores:` names it."""
    user = server_user()
    own = f", user: {user.name}" if user else ""
    return (
        f"  backups-{home}: {{kind: pgbackrest, location: {home}, of: app-{home}, stanza: {stanza}, "
        f"config: {backed.at.config}, scratch: {backed.at.scratch}{own}}}\n"
    )


@pytest.fixture
def world(backed: Backed, database: Databases, tmp_path: Path) -> World:
    source, home = database(backed.server), database(backed.server)
    run(source, SCHEMA)
    programme = make(tmp_path / "programme", line(backed, "ca") + RULES, source=source, homes={"CA": home})
    return World(source=source, home=home, programme=programme)


def clearance_of(run: Run) -> ClearancePredicate:
    (found,) = (one.predicate for one in run.ledger.statements() if isinstance(one.predicate, ClearancePredicate))
    return found


def repository_of(backed: Backed, dsn: str) -> HomeRepository:
    user = server_user()
    tool = Tool(store="home", stanza=STANZA, config=backed.at.config, user=user.name if user else None)
    return HomeRepository(store="home", dsn=dsn, tool=tool, scratch=backed.at.scratch)


def test_p2_without_a_backup_nothing_is_cleared_and_with_one_and_its_wal_it_is(backed: Backed, world: World) -> None:
    """The backup is of the home before anything came: what came is in the WAL after it. Then a segment is lost."""
    for one in backed.at.backups():
        shutil.rmtree(backed.at.repository / "backup" / STANZA / one.label)
    world.programme.plan()
    if not backed.at.backups():
        with pytest.raises(NoClearance, match=r"holds no whole backup from before .*--stanza=app backup"):
            world.programme.apply()
    full = backed.at.back_up("full")
    world.programme.apply(until=Stage.TRANSFER)
    world.at_home("UPDATE note SET body = body || ' and more'")
    world.at_home("UPDATE note SET body = left(body, -9)")
    world.at_home("SELECT pg_switch_wal()")
    _settle(backed)
    archived = sorted((backed.at.repository / "archive" / STANZA).rglob("0000000100000000*"))
    kept = archived[-1].rename(backed.at.folder / archived[-1].name)
    with pytest.raises(NoClearance, match="does not recover to where home was compared"):
        world.programme.apply()
    assert [(20,)] == world.at_source("SELECT count(*) FROM person")
    kept.rename(archived[-1])
    with pytest.raises(Waiting, match="approvals"):
        world.programme.apply()
    world.programme.approve()
    world.programme.apply(yes=True)
    with world.programme.opened() as opened:
        assert restoring.METHOD_OF_REPOSITORY == clearance_of(opened).restore.method
    assert full in {one.label for one in backed.at.backups()}  # the home's own backups stay
    assert [] == list(backed.at.scratch.iterdir())
    assert 0 == world.programme.audit().returncode


def _settle(backed: Backed) -> None:
    with psycopg.connect(backed.server.dsn(), autocommit=True) as connection:
        connection.execute("SELECT pg_logical_emit_message(false, 'settle', '')")
        row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert row
        for _ in range(600):
            if connection.execute("SELECT last_archived_wal >= %s FROM pg_stat_archiver", row).fetchone() == (True,):
                return
            connection.execute("SELECT pg_sleep(0.05)")
    raise AssertionError("the archiver stands still")


def test_p2_another_clusters_repository_is_no_backup_of_this_home(
    backed: Backed, pg18: EmbeddedServer, database: Databases
) -> None:
    if not backed.at.backups():
        backed.at.back_up("full")
    other = repository_of(backed, database(pg18))
    with pytest.raises(StoreFault, match="of a cluster with another number than the home's"), other.restored("0/1"):
        pass


def test_p2_a_role_that_may_not_end_a_segment_at_home_is_told_what_it_lacks(
    backed: Backed, database: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not backed.at.backups():
        backed.at.back_up("full")
    home = database(backed.server)
    run(home, "CREATE ROLE at_home LOGIN PASSWORD 'throw-away'")
    monkeypatch.setattr(at_home, "ARCHIVE_S_MAX", 0.0)
    try:
        ((place,),) = run(home, "SELECT pg_current_wal_insert_lsn()::text")
        repository = repository_of(backed, make_conninfo(home, user="at_home", password="throw-away"))
        lacks = r"GRANT EXECUTE ON FUNCTION pg_switch_wal\(\) to its role"
        with pytest.raises(NoClearance, match=lacks), repository.restored(place):
            pass
    finally:
        run(home, "DROP ROLE at_home")


@contextmanager
def writing(dsn: str, writers: int, *, pause_s: float) -> Iterator[None]:
    """People who write numbers at home, each in small transactions, until the block ends."""
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while not stop.is_set():
                connection.execute("INSERT INTO entry DEFAULT VALUES")
                stop.wait(pause_s)

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


SLOW = """
SELECT pg_snapshot_xmin(s) = pg_snapshot_xmax(s) AND age(pg_snapshot_xmax(s)::xid) = 0 AND pg_sleep(0.04) IS NOT NULL,
       pg_current_wal_insert_lsn()::text
  FROM pg_current_snapshot() AS s
"""
"""The same question, with time for others between the snapshot and the place."""


@pytest.mark.parametrize(("writers", "pause_s", "slowly"), [(4, 0.001, False), (1, 0.05, True)])
def test_p2_a_restore_ends_at_the_very_moment_that_is_held_while_others_write(
    backed: Backed, database: Databases, monkeypatch: pytest.MonkeyPatch, writers: int, pause_s: float, slowly: bool
) -> None:
    """Each commit is on the same side of both: the held snapshot, and the place in the WAL."""
    if slowly:
        monkeypatch.setattr(closing, "_SEEN", SLOW)
    dsn = database(backed.server)
    run(dsn, "CREATE TABLE entry (id bigserial PRIMARY KEY)")
    backed.at.back_up("incr")
    count = "SELECT count(*), sum(id), sum(id * id) FROM public.entry"
    home = PostgresHome(dsn, key=bytes(32), name="home")
    with writing(dsn, writers, pause_s=pause_s):
        for _ in range(2):
            with closing.moment_of(home, None, bytes(32), at_rest=True) as (held, _):  # type: ignore[arg-type]
                seen = held.connection.execute(count.encode()).fetchone()
                assert held.place is not None
                while seen == run(dsn, count)[0]:  # home lives on
                    continue
                with repository_of(backed, dsn).restored(held.place) as (there, _):
                    assert [seen] == run(there, count)


def test_p2_a_commit_that_is_in_the_wal_and_nobody_sees_yet_is_waited_for(
    backed: Backed, database: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held there by a standby that never comes: a restore to this place has the row, the snapshot hasn't."""
    dsn = database(backed.server)
    run(dsn, "CREATE TABLE entry (id bigserial PRIMARY KEY)")
    home = PostgresHome(dsn, key=bytes(32), name="home")
    monkeypatch.setattr(closing, "REST_TRIES_MAX", 20)
    run(dsn, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    run(dsn, "SELECT pg_reload_conf()")
    writer = threading.Thread(target=run, args=(dsn, "INSERT INTO entry DEFAULT VALUES"))
    try:
        writer.start()
        while run(dsn, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != [(1,)]:
            continue
        assert [(0,)] == run(dsn, "SELECT count(*) FROM entry")
        with (
            pytest.raises(NoClearance, match="no moment came in which no transaction was writing"),
            closing.moment_of(home, None, bytes(32), at_rest=True),  # type: ignore[arg-type]
        ):
            pass
    finally:
        run(dsn, "ALTER SYSTEM RESET synchronous_standby_names")
        run(dsn, "SELECT pg_reload_conf()")
        writer.join()
    assert [(1,)] == run(dsn, "SELECT count(*) FROM entry")


def test_a_home_that_never_rests_is_told_and_let_go(
    backed: Backed, database: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = database(backed.server)
    run(dsn, "CREATE TABLE entry (id bigserial PRIMARY KEY)")
    home = PostgresHome(dsn, key=bytes(32), name="home")
    monkeypatch.setattr(closing, "REST_TRIES_MAX", 20)
    with psycopg.connect(dsn) as writer:
        writer.execute("INSERT INTO entry DEFAULT VALUES")
        with (
            pytest.raises(NoClearance, match="no moment came in which no transaction was writing"),
            closing.moment_of(home, None, bytes(32), at_rest=True),  # type: ignore[arg-type]
        ):
            pass


def test_p2_a_home_that_lives_on_is_restored_to_the_moment_that_was_compared(backed: Backed, tmp_path: Path) -> None:
    """People write all the while; one home has the repository, the other one has none."""
    backed.at.back_up("incr")
    rules = line(backed, "us") + LIVE_RULES
    places = ("source", "us", "ca")
    with (
        databases_of(backed.server, [f"live_{place}" for place in places]) as made,
        moving_in({place: made[f"live_{place}"] for place in places}, tmp_path, cutover=CUTOVER, rules=rules) as world,
    ):
        world.run.apply(until=Stage.CUTOVER)
        traffic = Traffic(world, 0, 1, seed=7)
        traffic.start()
        try:
            with pytest.raises(Waiting, match="approvals"):
                world.run.apply(close=True, yes=True)
        finally:
            traffic.stop()
        world.programme.approve_in(world.run)
        world.run.apply(close=True, yes=True)
        assert [] == traffic.ledger.faults
        cleared = [
            one.predicate for one in world.run.ledger.statements() if isinstance(one.predicate, ClearancePredicate)
        ]
        assert restoring.METHOD_OF_REPOSITORY in cleared[-1].restore.method
        assert restoring.METHOD in cleared[-1].restore.method
    assert [] == list(backed.at.scratch.iterdir())
    assert 0 == world.programme.audit().returncode


KILLED = """
import sys
from pathlib import Path
from domicile.stores.around.pgbackrest.at_home import HomeRepository
from domicile.stores.around.pgbackrest.tool import Tool
dsn, stanza, config, user, scratch, place = sys.argv[1:]
tool = Tool(store="home", stanza=stanza, config=Path(config), user=user or None)
home = HomeRepository(store="home", dsn=dsn, tool=tool, scratch=Path(scratch))
with home.restored(place) as (there, _):
    print(there, flush=True)
    sys.stdin.read()
"""


def test_p5_a_restored_home_ends_with_an_engine_that_is_killed_and_its_files_with_the_next(
    backed: Backed, database: Databases
) -> None:
    if not backed.at.backups():
        backed.at.back_up("full")
    dsn = database(backed.server)
    place = str(run(dsn, "SELECT pg_current_wal_insert_lsn()::text")[0][0])
    user = server_user()
    words = [dsn, STANZA, str(backed.at.config), user.name if user else "", str(backed.at.scratch), place]
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    ) as engine:  # fmt: skip
        assert engine.stdout
        there = engine.stdout.readline().strip()
        assert [(1,)] == run(there, "SELECT 1")
        (left,) = backed.at.scratch.iterdir()
        assert 0o700 == left.stat().st_mode & 0o777
        engine.send_signal(signal.SIGKILL)
    for _ in range(600):
        if not _processes_in(left):
            break
        run(dsn, "SELECT pg_sleep(0.05)")
    assert [] == _processes_in(left)
    with repository_of(backed, dsn).restored(place):
        assert not left.exists()
    assert [] == list(backed.at.scratch.iterdir())


def _processes_in(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink().is_relative_to(folder):
                    found.append(entry.name)
            except OSError:  # ended meanwhile
                continue
    return found


GOING_DOWN = """
import socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print(flush=True)
for said in sys.argv[2:]:
    taken, _ = listening.accept()
    taken.recv(4096)
    fields = b"SFATAL\\0VFATAL\\0C57P03\\0M" + said.encode() + b"\\0\\0"
    taken.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
    taken.close()
"""
"""A server as PostgreSQL is one whose startup process has just ended: it says so to who comes then, and goes."""


@pytest.mark.parametrize(
    "said",
    [
        "the database system is in recovery mode",
        "the database system is shutting down",
        "terminating connection due to administrator command",
    ],
)
def test_p2_a_server_that_goes_down_because_its_wal_ends_has_not_recovered(tmp_path: Path, said: str) -> None:
    """Between the end of its recovery and its own there is a moment in which somebody may knock."""
    words = (str(tmp_path / ".s.PGSQL.5432"), "the database system is starting up", said)
    home = HomeRepository(store="home", dsn="", tool=Tool(store="home", stanza="", config=tmp_path), scratch=tmp_path)
    with subprocess.Popen([sys.executable, "-c", GOING_DOWN, *words], stdout=subprocess.PIPE) as server:
        assert server.stdout
        assert server.stdout.readline()
        with pytest.raises(NoClearance, match="does not recover to where home was compared"):
            home._await(server, make_conninfo(host=str(tmp_path), port=5432, user="somebody", dbname="app"))


def test_the_newest_backup_that_is_whole_at_a_place_is_taken() -> None:
    assert 0x1_0000_0A00 == position("1/A00")
    assert (None, None) == (position("1/x"), position("A00"))
    labels = ("20200101-000000F", "20200102-000000F", "20200103-000000F", "20200104-000000F")
    listed = tuple(
        backup(label, None, damaged=damaged, whole_at=at)
        for label, damaged, at in zip(labels, (False, False, True, False), (10, 20, 30, None), strict=True)
    )
    assert listed[1] == newest_before(listed, 40)
    assert listed[1] == newest_before(listed, 20)
    assert listed[0] == newest_before(listed, 19)
    assert newest_before(listed, 9) is None


TWO = """{kind: pgbackrest, location: ca, of: app-ca, stanza: a}
  dumps: {kind: dumps, location: ca, of: app-ca, path: /b}"""


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{kind: pgbackrest, location: here, of: app-ca, stanza: a}", "here is not ca, where app-ca is"),
        ("{kind: pgbackrest, location: ca, of: app-ca, stanza: a, removed_by: engine}", "are for what has to go"),
        ("{kind: pgbackrest, location: ca, of: app-ca, stanza: a, keep_until: 2030-01-01}", "are for what has to go"),
        ("{kind: pgbackrest, location: ca, of: other, stanza: a}", "neither app, which data leaves, nor a home of it"),
        (TWO, "app-ca has two stores of backups"),
    ],
)
def test_p4_a_repository_that_can_be_no_backup_of_a_home_is_refused_by_the_file(
    tmp_path: Path, rule: str, said: str
) -> None:
    programme = make(tmp_path, f"  backups: {rule}\n{RULES}", source="", homes={"CA": ""})
    with pytest.raises(BadFile) as refused:
        load((programme.folder / "domicile.yaml").read_bytes())
    assert said in str(refused.value)
