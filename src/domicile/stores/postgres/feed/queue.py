"""Keys on disk: what a slot told and one batch could not hold, in `domicile.feed_queue` at the source.

One transaction may change more rows than memory holds, and the slot gives a transaction whole or not at all. So its
keys are written down beside the slot, in pieces, and given out by and by, as from a key-log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import sql

from domicile.model import DatasetId
from domicile.stores.feed import Key
from domicile.stores.postgres.feed.followed import truncated_table
from domicile.stores.postgres.feed.stream import Line
from domicile.stores.postgres.names import STAGING
from domicile.stores.postgres.session import number, run

QUEUE: Final = sql.Identifier(STAGING, "feed_queue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """The first lines that a snapshot shows: their keys, the greatest number, and whether these are all."""

    keys: dict[DatasetId, set[Key]]
    upto: int
    lines: int
    oldest: datetime | None
    complete: bool


def make(connection: psycopg.Connection[Any]) -> None:
    """Make the queue, unless it is there."""
    run(
        connection,
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, xid xid8 NOT NULL,"
            " at timestamptz NOT NULL, dataset text NOT NULL, key text[] NOT NULL)"
        ).format(QUEUE),
    )
    run(connection, sql.SQL("REVOKE ALL ON {} FROM PUBLIC").format(QUEUE))


def put(connection: psycopg.Connection[Any], lines: Iterable[Line]) -> None:
    """Write lines down, in the caller's transaction."""
    emptied: list[Line] = []
    copy = sql.SQL("COPY {} (xid, at, dataset, key) FROM STDIN").format(QUEUE)
    with connection.cursor() as cursor, cursor.copy(copy) as stream:
        for line in lines:
            if line.key is None:
                emptied.append(line)
            else:
                stream.write_row((str(line.xid), line.at, line.dataset, list(line.key)))
    for line in emptied:
        connection.execute(
            sql.SQL("INSERT INTO {} (dataset, xid, at) VALUES (%s, %s::text::xid8, %s)").format(truncated_table()),
            (line.dataset, str(line.xid), line.at),
        )


def read(connection: psycopg.Connection[Any], snapshot: str, *, lines_max: int) -> Queued:
    """Read the first lines that the snapshot shows."""
    rows = run(
        connection,
        sql.SQL("SELECT n, at, dataset, key FROM {} WHERE {} ORDER BY n LIMIT {}").format(
            QUEUE, _is_shown(snapshot), sql.Literal(lines_max + 1)
        ),
    ).fetchall()
    keys: dict[DatasetId, set[Key]] = {}
    for _, _, dataset, key in rows[:lines_max]:
        keys.setdefault(DatasetId(dataset), set()).add(tuple(key))
    return Queued(
        keys=keys, upto=max((row[0] for row in rows[:lines_max]), default=0), lines=len(rows[:lines_max]),
        oldest=min((row[1] for row in rows[:lines_max]), default=None), complete=len(rows) <= lines_max,
    )  # fmt: skip


def forget(connection: psycopg.Connection[Any], snapshot: str, *, upto: int) -> None:
    """Delete the lines that a batch showed."""
    run(
        connection, sql.SQL("DELETE FROM {} WHERE n <= {} AND {}").format(QUEUE, sql.Literal(upto), _is_shown(snapshot))
    )


def thin_out(connection: psycopg.Connection[Any], snapshot: str, *, lines_max: int) -> int:
    """Leave of each key its last line, of those that the snapshot shows; return how many lines there are.

    Nothing is done up to `lines_max` of them. A later snapshot shows that line as well, and its row is read anew then.
    """
    lines = number(connection, sql.SQL("SELECT count(*) FROM {}").format(QUEUE))
    if lines <= lines_max:
        return lines
    gone = run(
        connection,
        sql.SQL(
            "DELETE FROM {queue} q USING (SELECT n, lead(n) OVER (PARTITION BY dataset, key ORDER BY n) AS later"
            " FROM {queue} WHERE {shown}) AS older WHERE q.n = older.n AND older.later IS NOT NULL"
        ).format(queue=QUEUE, shown=_is_shown(snapshot)),
    )
    return lines - gone.rowcount


def waiting(connection: psycopg.Connection[Any]) -> int:
    """How many lines wait at most, from the ends of their numbers."""
    return number(connection, sql.SQL("SELECT coalesce(max(n) - min(n) + 1, 0) FROM {}").format(QUEUE))


def _is_shown(snapshot: str) -> sql.Composable:
    return sql.SQL("pg_visible_in_snapshot(xid, {}::pg_snapshot)").format(sql.Literal(snapshot))
