"""The engine's own writes are nobody's news: an origin marks them, and `origin = none` leaves them out.

What the engine brings home, brings back, blanks or repairs is no change of a person's row but the move itself. Were it
published, each side would get back from the other what it had itself before, and an older value could follow a newer.

A session works under one origin at a time, and an origin in one session: so there are some, and the first free is
taken. Needs a superuser, or EXECUTE on pg_replication_origin_*.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from domicile.errors import Unreachable

PREFIX = "domicile_engine_"
ORIGINS_MAX = 8


@contextmanager
def unpublished(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Let no subscription of ours get what the session writes in the block; begin it outside of a transaction.

    Raises Unreachable (run again) when as many sessions as there are origins do the same at this moment.
    """
    _take(connection)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_catalog.pg_replication_origin_session_reset()")


def _take(connection: psycopg.Connection[Any]) -> None:
    for number in range(1, ORIGINS_MAX + 1):
        name = f"{PREFIX}{number}"
        with suppress(psycopg.errors.UniqueViolation):  # another session made it a moment ago
            connection.execute(
                "SELECT pg_catalog.pg_replication_origin_create(%s)"
                " WHERE pg_catalog.pg_replication_origin_oid(%s) IS NULL",
                (name, name),
            )
        try:
            connection.execute("SELECT pg_catalog.pg_replication_origin_session_setup(%s)", (name,))
        except psycopg.errors.ObjectInUse:
            continue
        return
    raise Unreachable(f"{ORIGINS_MAX} sessions write for the engine already; wait for one to end, then run again")


def drop_origins(connection: psycopg.Connection[Any]) -> None:
    """Remove the origins that no session uses."""
    rows = connection.execute(
        "SELECT roname FROM pg_catalog.pg_replication_origin WHERE starts_with(roname, %s)", (PREFIX,)
    ).fetchall()
    for (name,) in rows:
        try:
            connection.execute("SELECT pg_catalog.pg_replication_origin_drop(%s)", (name,))
        except psycopg.errors.ObjectInUse:
            continue
