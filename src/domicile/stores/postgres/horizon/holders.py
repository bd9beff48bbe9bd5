"""Who keeps dead rows or old WAL alive: sessions, prepared transactions, slots, standbys, settings.

A rewrite keeps every dead row that somebody may still see, so it comes too early while such a holder is there. A
holder is named by what an operator can act on (process, slot, prepared transaction), never by its query text or by
who it is (P8). A plain vacuum under way sees no rows that would have to be kept for it; one that analyses does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

import psycopg

_HOLDERS_SQL: LiteralString = """
SELECT 'session', format('process %%s (%%s, %%s)', pid, backend_type, coalesce(state, 'no state')),
       format('SELECT pg_terminate_backend(%%s)', pid)
  FROM pg_stat_activity
 WHERE pid <> pg_backend_pid() AND backend_type <> 'walsender'
   AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
   AND greatest(CASE WHEN datname = current_database() OR datname IS NULL THEN age(backend_xmin) END,
                age(backend_xid)) > age(%(boundary)s::text::xid)
UNION ALL
SELECT 'prepared transaction', format('prepared transaction number %%s of database %%s', transaction, database),
       'COMMIT PREPARED or ROLLBACK PREPARED it'
  FROM pg_prepared_xacts WHERE age(transaction) > age(%(boundary)s::text::xid)
UNION ALL
SELECT 'slot', format('replication slot %%s', slot_name), 'let its consumer catch up, or drop the slot'
  FROM pg_replication_slots
 WHERE greatest(age(xmin), age(catalog_xmin)) > age(%(boundary)s::text::xid)
UNION ALL
SELECT 'standby', format('standby %%s (hot_standby_feedback)', application_name),
       'wait for its long queries, or end them'
  FROM pg_stat_replication WHERE age(backend_xmin) > age(%(boundary)s::text::xid)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One thing that keeps old row versions: what it is, and what ends it."""

    kind: str
    name: str
    remedy: str


def boundary(conn: psycopg.Connection) -> str:
    """Take a transaction number that is younger than everything committed so far."""
    row = conn.execute("SELECT (pg_current_xact_id()::text::bigint & 4294967295)::text").fetchone()
    return str(row[0]) if row else "0"


def holders(conn: psycopg.Connection, *, since: str) -> tuple[Holder, ...]:
    """Name everything that may still see rows deleted before the transaction number `since`."""
    rows = conn.execute(_HOLDERS_SQL, {"boundary": since}).fetchall()
    return tuple(Holder(kind=kind, name=name, remedy=remedy) for kind, name, remedy in rows)


def wait_for_holders(
    conn: psycopg.Connection, *, since: str, polls_max: int, poll_ms: int, catalogue: bool = True
) -> tuple[Holder, ...]:
    """Wait, bounded, until nobody holds rows from before `since`; return who still does.

    `catalogue` False leaves out logical slots, which hold back system catalogues only.
    """
    for _ in range(polls_max):
        left = _relevant(holders(conn, since=since), conn, catalogue=catalogue)
        if not left:
            return ()
        conn.execute("SELECT pg_sleep(%s)", (poll_ms / 1000,))
    return _relevant(holders(conn, since=since), conn, catalogue=catalogue)


def _relevant(found: tuple[Holder, ...], conn: psycopg.Connection, *, catalogue: bool) -> tuple[Holder, ...]:
    if catalogue or not any(holder.kind == "slot" for holder in found):
        return found
    rows = conn.execute("SELECT slot_name FROM pg_replication_slots WHERE xmin IS NULL").fetchall()
    logical = {f"replication slot {name}" for (name,) in rows}
    return tuple(holder for holder in found if holder.name not in logical)
