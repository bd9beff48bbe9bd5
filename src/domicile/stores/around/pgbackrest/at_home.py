"""A home's own pgBackRest repository, the backup that a clearance asks for: really restored, and read (P2, ADR 0043).

The newest backup is restored with the WAL after it, up to the place at which home was compared, and a server of its
own is started on it: without a network, in a private folder, and gone afterwards. What runs is pgBackRest as the home
has it, and a PostgreSQL of the home's major.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, LiteralString

import psycopg
from psycopg.conninfo import make_conninfo

from domicile.errors import NoClearance, StoreFault
from domicile.stores.around.pgbackrest.stanza import Backup, newest_before, position
from domicile.stores.around.pgbackrest.tool import WORK_SECONDS_MAX, Tool
from domicile.stores.around.scratch import Scratch, clear_leftovers
from domicile.stores.postgres.programs import SCRATCH, find_server
from domicile.stores.postgres.session import connect, faults

ARCHIVE_S_MAX: Final = 300.0
"""So long the home's archiver may take for one segment."""
POLL_S: Final = 0.1
STOP_S_MAX: Final = 60
PORT: Final = 5432
"""Names the socket; nobody listens on a network."""
SOCKETS: Final = SCRATCH
"""Where the socket is: `scratch` may be longer than its name may be (107 bytes, unix(7))."""
ON_ITS_WAY: Final = ("the database system is", "terminating connection")
"""What a server says that takes nobody in yet, or goes down (57P03, 57P01): `starting up`, `in recovery mode`, ...

A server that ends because its WAL does says the latter for a moment, and is gone.
"""
_OF_HOME: LiteralString = """
SELECT (SELECT system_identifier FROM pg_control_system()), current_setting('server_version_num')::int / 10000,
       current_setting('max_prepared_transactions'), has_function_privilege('pg_switch_wal()', 'EXECUTE'),
       current_database(), session_user
"""
_WRITE: LiteralString = "SELECT pg_logical_emit_message(false, 'domicile', '')"
_SEGMENT: LiteralString = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"
_SWITCHED: LiteralString = "SELECT pg_walfile_name(pg_switch_wal())"
_ARCHIVED: LiteralString = """
SELECT coalesce(last_archived_wal ~ '^[0-9A-F]{24}' AND left(last_archived_wal, 24) >= %s, false) FROM pg_stat_archiver
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cluster:
    """What a server that takes the home's WAL has to be: its number, its major, what it must have room for."""

    system: int
    major: int
    prepared: str
    may_switch: bool
    database: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeRepository:
    """The stanza of the home `store`; `scratch` is where it is restored."""

    store: str
    dsn: str = field(repr=False)
    tool: Tool
    scratch: Path

    @contextmanager
    def restored(self, place: str) -> Iterator[tuple[str, Backup]]:
        """Give the DSN of the home's database as of a place in its WAL, restored, and the backup that it came from.

        Raise NoClearance where no backup is whole at that place, or the repository doesn't lead to it.
        """
        for folder in {self.scratch, SOCKETS}:
            clear_leftovers(folder, owner=self.tool.owner())
        cluster = self._cluster()
        backup = self._newest(cluster, place)
        self._archive(cluster)
        owner = self.tool.owner()
        with closing(Scratch(self.scratch, owner=owner)) as scratch, closing(Scratch(SOCKETS, owner=owner)) as socket:
            scratch.refuse_small(backup.bytes, what=f"store {self.store}: its backup {backup.label}")
            code = self.tool.restore(backup.label, scratch.folder("home"), lock=scratch.lock, until=place)
            if code:
                raise NoClearance(
                    f"store {self.store}: its newest backup {backup.label} can't be restored (pgBackRest's error "
                    f"{code}, --config={self.tool.config} --stanza={self.tool.stanza}); take a new one, then run "
                    "`domicile apply` again"
                )
            with self._served(cluster, scratch, socket.path) as dsn:
                yield dsn, backup

    def _cluster(self) -> _Cluster:
        with closing(connect(self.dsn, store=self.store)) as connection, faults(self.store, "read its settings"):
            row = connection.execute(_OF_HOME).fetchone()
        if row is None:
            raise StoreFault(f"store {self.store}: it doesn't say its number; connect again")
        return _Cluster(
            system=int(row[0]), major=int(row[1]), prepared=str(row[2]), may_switch=bool(row[3]), database=str(row[4]),
            role=str(row[5]),
        )  # fmt: skip

    def _newest(self, cluster: _Cluster, place: str) -> Backup:
        stanza = self.tool.read()
        if not stanza.is_now_of(cluster.system):
            raise StoreFault(
                f"store {self.store}: stanza {stanza.name} is of a cluster with another number than the home's; name "
                "the home's own stanza"
            )
        backup = newest_before(stanza.backups, position(place) or 0)
        if backup is None:
            raise NoClearance(
                f"store {self.store}: stanza {stanza.name} holds no whole backup from before {place}; take one "
                f"(`pgbackrest --config={self.tool.config} --stanza={stanza.name} backup`), then run `domicile apply` "
                "again"
            )
        return backup

    def _archive(self, cluster: _Cluster) -> None:
        """Wait until all WAL that is written by now lies in the repository; the home is told to begin a new segment."""
        with closing(connect(self.dsn, store=self.store)) as connection, faults(self.store, "have its WAL archived"):
            # A record behind the place: recovery stops before it, and would else end without having found the place.
            connection.execute(_WRITE)
            row = connection.execute(_SWITCHED if cluster.may_switch else _SEGMENT).fetchone()
            deadline = time.monotonic() + ARCHIVE_S_MAX
            while row and connection.execute(_ARCHIVED, (row[0],)).fetchone() != (True,):
                if time.monotonic() > deadline:
                    unended = (
                        "" if cluster.may_switch
                        else "GRANT EXECUTE ON FUNCTION pg_switch_wal() to its role, which may not end the segment, or "
                    )  # fmt: skip
                    raise NoClearance(
                        f"store {self.store}: its WAL does not come into the repository (segment {row[0]}); {unended}"
                        "look at archive_mode, archive_command and pg_stat_archiver, then run `domicile apply` again"
                    )
                connection.execute("SELECT pg_sleep(%s)", (POLL_S,))

    @contextmanager
    def _served(self, cluster: _Cluster, scratch: Scratch, socket: Path) -> Iterator[str]:
        """Start a server on what was restored, wait until it has recovered, and stop it at the end."""
        access = scratch.path / "pg_hba.conf"
        access.write_text("local all all trust\n", encoding="ascii")
        scratch.give(access)
        settings = _settings(cluster, socket, access, self.tool.restore_command(scratch.path / "home"))
        command: list[str | Path] = [
            find_server(cluster.major) / "postgres", "-D", scratch.path / "home" / "data",
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ]  # fmt: skip
        server = self.tool.start(command, lock=scratch.lock)
        try:
            dsn = make_conninfo(host=str(socket), port=PORT, user=cluster.role, dbname=cluster.database)
            self._await(server, dsn)
            yield dsn
        finally:
            _stop(server)

    def _await(self, server: subprocess.Popen[bytes], dsn: str) -> None:
        deadline = time.monotonic() + WORK_SECONDS_MAX
        while server.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(dsn).close()
            except psycopg.OperationalError as fault:
                if "FATAL" in str(fault) and not any(words in str(fault) for words in ON_ITS_WAY):
                    return  # it has recovered and refuses us: whoever connects says why
            else:
                return
            with suppress(subprocess.TimeoutExpired):
                server.wait(POLL_S)
        raise NoClearance(
            f"store {self.store}: a server on what was restored does not recover to where home was compared: WAL is "
            "missing in the repository or damaged, or the programs here are others than the home's. Take a new backup, "
            "then run `domicile apply` again"
        )


def _settings(cluster: _Cluster, socket: Path, access: Path, restore_command: str) -> dict[str, str]:
    """What the scratch server is told, over all that the home's own files say: no network, no programs, no writing."""
    return {
        "config_file": "/dev/null", "hba_file": str(access), "ident_file": "/dev/null", "external_pid_file": "",
        "listen_addresses": "", "unix_socket_directories": str(socket), "unix_socket_permissions": "0700",
        "port": str(PORT), "ssl": "off", "cluster_name": "domicile-restored",
        "restore_command": restore_command, "recovery_end_command": "", "archive_cleanup_command": "",
        "archive_mode": "off", "primary_conninfo": "", "synchronous_standby_names": "", "hot_standby": "off",
        "wal_level": "replica", "max_wal_senders": "0", "max_prepared_transactions": cluster.prepared,
        "shared_preload_libraries": "", "session_preload_libraries": "", "local_preload_libraries": "",
        "shared_buffers": "128MB", "huge_pages": "off", "max_connections": "20", "autovacuum": "off", "fsync": "off",
        "full_page_writes": "off", "logging_collector": "off", "log_destination": "stderr", "lc_messages": "C",
    }  # fmt: skip


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End it; nothing of it is kept."""
    server.send_signal(signal.SIGQUIT)
    try:
        server.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
