"""Who receives a server's WAL without a slot: a checkpoint that comes too early would take from them what they lack.

A checkpoint asked for removes every segment before it. A standby that streams without a slot and lags behind then
finds "requested WAL segment has already been removed" and has to be built anew; so one is asked for only when all of
them have what is written. Receivers with a slot are safe: the server keeps WAL for them.
"""

from __future__ import annotations

from typing import Final, LiteralString

import psycopg

POLLS_MAX: Final = 600
POLL_S: Final = 0.05
_WRITTEN_SQL: LiteralString = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END::text
"""
_LACKING_SQL: LiteralString = """
SELECT DISTINCT coalesce(nullif(r.application_name, ''), r.pid::text)
  FROM pg_stat_replication r
 WHERE r.state IN ('streaming', 'catchup')
   AND coalesce(r.flush_lsn, r.write_lsn, r.sent_lsn) < %s::pg_lsn
   AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid)
 ORDER BY 1
"""


def checkpoint(conn: psycopg.Connection) -> tuple[str, ...]:
    """Have the server make a checkpoint once everybody has what is written now; else make none and name who lacks it.

    The wait is bounded. What the role may not see of others, it doesn't wait for.
    """
    row = conn.execute(_WRITTEN_SQL).fetchone()
    position = row[0] if row else "0/0"
    for _ in range(POLLS_MAX):
        lacking = _lacking(conn, position)
        if not lacking:
            break
        conn.execute("SELECT pg_sleep(%s)", (POLL_S,))
    else:
        lacking = _lacking(conn, position)
    if not lacking:
        conn.execute("CHECKPOINT")
    return lacking


def _lacking(conn: psycopg.Connection, position: str) -> tuple[str, ...]:
    return tuple(f"receiver {name}" for (name,) in conn.execute(_LACKING_SQL, (position,)))
