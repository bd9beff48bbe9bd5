"""A server of our own: starts anywhere it may, says why where it may not, survives what servers meet."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from domicile.errors import HostFault, NotPermitted
from domicile.stores.postgres import server as server_module
from domicile.stores.postgres.programs import embedded_binaries, find_client, major_of, reachable_folder
from domicile.stores.postgres.server import EmbeddedServer, ServerSettings, free_port
from tests.servers import DISTRIBUTION_MAJOR, MAJORS, OF_DISTRIBUTION, PASSWORD, Servers, binaries_of, own_server


@pytest.fixture(scope="module")
def durable() -> Iterator[EmbeddedServer]:
    """One server for the tests that kill it; each leaves it running."""
    with own_server("durable") as server:
        yield server


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user can reach, whoever runs the tests."""
    made = reachable_folder(Path("/var/tmp") / f"domicile-test-folder-{os.getpid()}")
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("major", MAJORS)
def test_every_major_answers_on_loopback_with_a_password(servers: Servers, major: int) -> None:
    server = servers.of(major)
    with psycopg.connect(server.dsn()) as connection:
        found = {name: _show(connection, name) for name in (
            "listen_addresses", "unix_socket_directories", "server_encoding", "wal_level", "password_encryption",
            "cluster_name", "data_directory", "TimeZone",
        )}  # fmt: skip
        assert major == connection.info.server_version // 10_000
        assert ("äö",) == connection.execute("SELECT lower('ÄÖ')").fetchone()
        rules = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
    assert found == {
        "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "server_encoding": "UTF8",
        "wal_level": "logical", "password_encryption": "scram-sha-256", "cluster_name": f"pg{major}",
        "data_directory": str(server.data_directory), "TimeZone": "UTC",
    }  # fmt: skip
    assert rules == [("scram-sha-256",)]
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(server.dsn(), password="another")


@pytest.mark.parametrize("major", [DISTRIBUTION_MAJOR, 18])
def test_statements_are_counted_where_the_module_is_there(servers: Servers, major: int) -> None:
    with psycopg.connect(servers.of(major).dsn()) as connection:
        assert _show(connection, "shared_preload_libraries") == "pg_stat_statements"


@pytest.mark.crash
def test_what_was_committed_outlives_a_kill(durable: EmbeddedServer) -> None:
    with psycopg.connect(durable.dsn()) as connection:
        connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    port = durable.port
    durable.kill()
    assert not durable.is_running()
    assert _pids(durable) == []
    durable.restart()
    assert port == durable.port
    with psycopg.connect(durable.dsn()) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)
        connection.execute("DROP TABLE kept")
    assert "automatic recovery" in _last_start(durable)


def test_a_stop_is_orderly(durable: EmbeddedServer) -> None:
    durable.stop()
    durable.stop()  # of a stopped server: nothing
    assert _pids(durable) == []
    durable.restart()
    assert "automatic recovery" not in _last_start(durable)


def test_a_running_server_is_taken_over(durable: EmbeddedServer) -> None:
    before = _pids(durable)
    again = EmbeddedServer.start(durable.directory, name="durable", password=PASSWORD)
    assert (durable.port, True) == (again.port, set(before) & set(_pids(again)) != set())
    again.stop()
    assert not durable.is_running()
    durable.restart()


def test_another_password_is_refused(durable: EmbeddedServer) -> None:
    with pytest.raises(NotPermitted, match="refuses the password"):
        EmbeddedServer.start(durable.directory, name="durable", password="another")
    assert durable.is_running()


@pytest.mark.crash
def test_a_lock_with_the_number_of_somebody_else_is_cleared(durable: EmbeddedServer) -> None:
    durable.kill()
    lock = durable.data_directory / "postmaster.pid"
    lines = lock.read_text().splitlines()
    with subprocess.Popen(["sleep", "600"]) as other:
        lock.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        durable.restart()
        assert durable.is_running()
        assert other.poll() is None  # nobody ended the process whose number stood there
        other.kill()


@pytest.mark.crash
def test_children_without_their_parent_are_ended_first(durable: EmbeddedServer) -> None:
    parent = int((durable.data_directory / "postmaster.pid").read_text().splitlines()[0])
    children = set(_pids(durable)) - {parent}
    for child in children:  # held, so that they cannot notice and leave by themselves
        os.kill(child, signal.SIGSTOP)
    os.kill(parent, signal.SIGKILL)
    fresh = EmbeddedServer.start(durable.directory, name="durable", password=PASSWORD)
    assert children & set(_pids(fresh)) == set()
    fresh.stop()
    durable.restart()


def test_a_taken_port_is_named(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(HostFault, match=f"port {port} is taken"):
            EmbeddedServer.start(folder, name="x", password="p", settings=ServerSettings(port=port))


def test_another_server_of_the_same_password_on_the_port_is_not_taken_for_ours(
    durable: EmbeddedServer, folder: Path
) -> None:
    with pytest.raises(HostFault, match=f"port {durable.port} is taken"):
        EmbeddedServer.start(folder, name="x", password=PASSWORD, settings=ServerSettings(port=durable.port))


def test_a_port_that_was_taken_meanwhile_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ports = iter([other.getsockname()[1], free := free_port()])
        monkeypatch.setattr(server_module, "free_port", lambda: next(ports))
        server = EmbeddedServer.start(folder, name="x", password="p")
    assert free == server.port
    server.kill()


def test_a_cluster_that_was_half_made_is_made_again(folder: Path) -> None:
    (folder / "data.new" / "base").mkdir(parents=True)
    server = EmbeddedServer.start(folder, name="x", password="p")
    assert server.is_running()
    assert sorted(path.name for path in folder.iterdir()) == ["data", "server.log"]
    server.kill()


def test_names_and_passwords_are_quoted(folder: Path) -> None:
    server = EmbeddedServer.start(folder, name="o'brien \\ co", password="it's \\ 'ü' =")
    with psycopg.connect(server.dsn()) as connection:
        assert _show(connection, "cluster_name") == "o'brien \\ co"
    assert "it's" not in repr(server)
    server.kill()


def test_no_path_is_too_long_for_a_socket(folder: Path) -> None:
    deep = folder / ("d" * 120)
    deep.mkdir()
    deep.chmod(0o711)
    server = EmbeddedServer.start(deep, name="deep", password="p")
    assert len(str(server.data_directory)) > 107
    server.kill()


def test_a_full_disk_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        total: int = 10**9
        used: int = 10**9
        free: int = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())
    with pytest.raises(HostFault, match="1000 bytes free"):
        EmbeddedServer.start(folder, name="x", password="p")


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    wrong = ServerSettings(parameters={"shared_buffers": "many"})
    with pytest.raises(HostFault, match="shared_buffers"):
        EmbeddedServer.start(folder, name="x", password="p", settings=wrong)


def test_a_folder_that_the_server_cannot_reach_is_refused_and_another_offered(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    inner = closed / "server"
    inner.mkdir()
    closed.chmod(0)
    try:
        with pytest.raises(HostFault):
            EmbeddedServer.start(inner, name="x", password="p")
        if os.geteuid() == 0:
            offered = reachable_folder(inner)
            assert offered.parent == Path("/var/tmp")
            assert closed.stat().st_mode & 0o777 == 0  # and no folder was opened for it
            offered.rmdir()
    finally:
        closed.chmod(0o700)


def test_programs_that_the_server_cannot_reach_are_copied(folder: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    binaries = binaries_of(17)
    assert binaries is not None
    shutil.copytree(binaries.parent, closed / "17", symlinks=True)
    closed.chmod(0o700)
    settings = ServerSettings(binaries=closed / "17" / "bin")
    server = EmbeddedServer.start(folder, name="x", password="p", settings=settings)
    assert (17, True) == (server.major, server.is_running())
    server.kill()
    if server.binaries != settings.binaries:
        copy = server.binaries.parents[2]
        assert (Path("/var/tmp"), 0) == (copy.parent, copy.stat().st_mode & 0o022)
        copy.chmod(0o777)
        with pytest.raises(HostFault, match="not ours"):
            EmbeddedServer.start(folder, name="x", password="p", settings=settings)
        shutil.rmtree(copy)


def test_a_folder_without_a_server_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(HostFault, match="holds no postgres"):
        EmbeddedServer.start(folder, name="x", password="p", settings=ServerSettings(binaries=tmp_path))
    with pytest.raises(HostFault):
        major_of(tmp_path)


@pytest.mark.parametrize("program", ["psql", "pg_dump", "pg_restore"])
def test_the_nearest_client_that_is_new_enough_is_found(program: str) -> None:
    nearest = min(major for major in OF_DISTRIBUTION if major >= 13)
    assert OF_DISTRIBUTION[nearest] / program == find_client(program, at_least_major=13)
    assert embedded_binaries() / program == find_client(program, at_least_major=18)


def test_a_client_that_nobody_has_is_named() -> None:
    with pytest.raises(HostFault, match="no pg_dump of PostgreSQL 99 or newer"):
        find_client("pg_dump", at_least_major=99)
    with pytest.raises(HostFault, match="no nonsense"):
        find_client("nonsense", at_least_major=13)


def _show(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def _pids(server: EmbeddedServer) -> list[int]:
    """Find the server's processes another way than the code: by their command lines and their parent."""
    parents: dict[int, int] = {}
    roots = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if stat[0] != "Z":
                parents[int(entry.name)] = int(stat[1])
                if str(server.data_directory).encode() in command:
                    roots.append(int(entry.name))
    return [pid for pid, parent in parents.items() if pid in roots or parent in roots]


def _last_start(server: EmbeddedServer) -> str:
    return server.log_path.read_text(errors="replace").rpartition("starting PostgreSQL")[2]
