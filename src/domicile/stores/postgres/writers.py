"""Waiting for writers who may have passed the guard before the newest states were seen.

A writer holds ROW EXCLUSIVE on its table from before its guard speaks until its transaction is over. So whoever has
passed under older states holds such a lock at the moment after the states' commit, and whoever gets one later meets
the newer states. Prepared transactions hold theirs without a session, and wait for somebody to finish them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from domicile.errors import Unreachable
from domicile.host import Host
from domicile.model import Scope
from domicile.stores.postgres.fence import guarded
from domicile.stores.postgres.names import relation
from domicile.stores.postgres.session import run

LOOK_EVERY_S = 0.005
NAMED_MAX = 10
PREPARED_KEEP_THEIR_NAME = 140_000
"""Before PostgreSQL 14 a transaction gets another virtual id by being prepared: then all prepared ones are awaited."""


def await_writers(connection: psycopg.Connection[Any], scope: Scope, *, host: Host, deadline: float) -> int:
    """Wait until all who hold a writing lock on a guarded table now are through; return the milliseconds.

    `deadline` is on the clock of `host.monotonic_s`. Raises Unreachable when it passes: nothing was changed, and it
    may be tried again.
    """
    start = host.monotonic_s()
    awaited = _writing(connection, scope)
    renamed = connection.info.server_version < PREPARED_KEEP_THEIR_NAME
    while awaited:
        if host.monotonic_s() >= deadline:
            raise Unreachable(
                f"{len(awaited)} transactions that may have written before the fence are still open "
                f"({_named(awaited.values())}); end them, or wait for them, then run again"
            )
        host.pause(LOOK_EVERY_S)
        now = _writing(connection, scope)
        awaited = {name: pid for name, pid in now.items() if name in awaited or (renamed and pid is None)}
    return round((host.monotonic_s() - start) * 1000)


def _writing(connection: psycopg.Connection[Any], scope: Scope) -> dict[str, int | None]:
    """The transactions of others that write in guarded tables, each with the pid of its session, if it has one."""
    tables = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {0}::regclass::oid AS relid UNION ALL SELECT relid::oid FROM pg_partition_tree({0}::regclass)")
        .format(sql.Literal(relation(dataset.table).as_string(connection)))
        for dataset in guarded(scope)
    )  # fmt: skip
    rows = run(
        connection,
        sql.SQL(
            "SELECT DISTINCT l.virtualtransaction, l.pid FROM pg_locks AS l JOIN ({}) AS t ON t.relid = l.relation"
            " WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'RowExclusiveLock'"
            " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND l.pid IS DISTINCT FROM pg_backend_pid()"
        ).format(tables),
    )
    return {str(name): None if pid is None else int(pid) for name, pid in rows}


def _named(pids: Iterable[int | None]) -> str:
    found = sorted({"prepared" if pid is None else f"pid {pid}" for pid in pids})
    return ", ".join(found[:NAMED_MAX]) + ("…" if len(found) > NAMED_MAX else "")
