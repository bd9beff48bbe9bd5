"""How old WAL is made to go, and the proof that it is gone: no segment file from before the fence is left.

The server recycles segments by renaming them, old bytes and all, to names of the future. So `wal_recycle` is turned
off for the time; every file there at the fence must then be either gone (checkpoints remove the old ones) or written
over in full (the insert position has passed it: a switch fills the rest of its segment with zeros). Nothing is
believed of return codes: the proof is the directory, read again.

The former value of `wal_recycle` is kept in the server itself (a setting of the database) before it is changed, so
that a crash at any point leaves enough to restore it; doing it again does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from domicile.stores.postgres.horizon.receivers import checkpoint
from domicile.stores.postgres.horizon.rights import may_recycle_wal

MARKER = "domicile.wal_recycle_before"
SWITCHES_MAX = 4096
IDLE_CHECKPOINTS_MAX = 8
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?")
_LEFTOVER = re.compile(r"xlogtemp\.\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class WalState:
    """The WAL directory at one moment, numbers of segments counted from the start of the history."""

    current: int
    timeline: int
    names: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WalProof:
    """Whether every segment is newer than the fence; else which are left and what keeps them."""

    fence: int
    left: tuple[str, ...]
    kept_by: tuple[str, ...]
    switches: int

    @property
    def holds(self) -> bool:
        """Whether no byte from before the fence is left in a segment."""
        return not self.left


def segment_number(name: str, *, segment_bytes: int) -> int | None:
    """Return the number in a segment file's name, or None when it isn't one."""
    match = _SEGMENT.fullmatch(name)
    return int(match[2], 16) * (0x100000000 // segment_bytes) + int(match[3], 16) if match else None


def following(name: str, *, segment_bytes: int) -> str:
    """Name the segment after one of that name (`XLogFileName`); the timeline stays."""
    number, in_a_log = segment_number(name, segment_bytes=segment_bytes), 0x100000000 // segment_bytes
    if number is None:
        raise RuntimeError(f"{name} names no segment")
    return f"{name[:8]}{(number + 1) // in_a_log:08X}{(number + 1) % in_a_log:08X}"


def position_number(position: str) -> int:
    """Return a WAL position ('16/B374D848') as a number of bytes."""
    high, low = position.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def left_from_before(initial: frozenset[str], now: WalState, *, fence: int, segment_bytes: int) -> tuple[str, ...]:
    """Name the files of now that still hold bytes from before segment `fence`; pure.

    `initial` are the names that were there at the fence. A file is clean when it was created after the fence, or
    when its segment lies between the fence and the insert position, on this timeline: then it was written over.
    """
    left = []
    for name in sorted(now.names):
        number = segment_number(name, segment_bytes=segment_bytes)
        if number is None:
            if _LEFTOVER.fullmatch(name) and name in initial:
                left.append(name)
            continue
        own = int(name[:8], 16) == now.timeline and len(name) == 24
        written_over = own and fence <= number < now.current
        if number < fence or (name in initial and not written_over):
            left.append(name)
    return tuple(left)


def read_state(conn: psycopg.Connection, *, segment_bytes: int) -> WalState:
    """Read the WAL directory, the insert position's segment and the timeline."""
    names = frozenset(name for (name,) in conn.execute("SELECT name FROM pg_ls_waldir()"))
    row = conn.execute(
        "SELECT pg_current_wal_insert_lsn()::text, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
    ).fetchone()
    position, timeline = row or ("0/0", "00000001")
    return WalState(current=position_number(position) // segment_bytes, timeline=int(timeline, 16), names=names)


def recycle(conn: psycopg.Connection, *, segment_bytes: int, progress: Callable[[str], None]) -> WalProof:
    """Have the server remove or write over every segment of now; restore `wal_recycle` in any case."""
    _turn_recycling_off(conn)
    try:
        return _recycle(conn, segment_bytes=segment_bytes, progress=progress)
    finally:
        if not conn.broken:
            restore_settings(conn)


def _recycle(conn: psycopg.Connection, *, segment_bytes: int, progress: Callable[[str], None]) -> WalProof:
    fence = _switch(conn, segment_bytes=segment_bytes)
    lacking = checkpoint(conn)
    state = read_state(conn, segment_bytes=segment_bytes)
    initial = state.names
    left = left_from_before(initial, state, fence=fence, segment_bytes=segment_bytes)
    switches = idle = 0
    while left and not lacking and switches < SWITCHES_MAX and idle < IDLE_CHECKPOINTS_MAX:
        newest = max(segment_number(name, segment_bytes=segment_bytes) or 0 for name in left)
        _switch(conn, segment_bytes=segment_bytes)
        switches += 1
        if newest <= state.current:
            lacking = checkpoint(conn)
            idle += 1
            conn.execute("SELECT pg_sleep(%s)", (0.05 * (idle - 1),))  # archiver and summariser get time to catch up
        state = read_state(conn, segment_bytes=segment_bytes)
        left = left_from_before(initial, state, fence=fence, segment_bytes=segment_bytes)
        progress(f"pg_wal: {len(left)} segments from before the erase are left")
    kept_by = (*lacking, *wal_holders(conn, fence=fence, segment_bytes=segment_bytes)) if left else ()
    return WalProof(fence=fence, left=left, kept_by=kept_by, switches=switches)


def _switch(conn: psycopg.Connection, *, segment_bytes: int) -> int:
    """Start a new segment; return its number. A message is written first: an empty segment isn't switched."""
    conn.execute("SELECT pg_logical_emit_message(false, 'domicile', '')")
    row = conn.execute("SELECT pg_switch_wal()::text").fetchone()
    end = position_number(row[0]) if row else 0
    return -(-end // segment_bytes)


def wal_holders(conn: psycopg.Connection, *, fence: int, segment_bytes: int) -> tuple[str, ...]:
    """Name what keeps segments from before the fence: slots, settings, a failing archiver."""
    found = [
        f"replication slot {name}"
        for name, position in conn.execute(
            "SELECT slot_name, restart_lsn::text FROM pg_replication_slots WHERE restart_lsn IS NOT NULL ORDER BY 1"
        )
        if position_number(position) // segment_bytes < fence
    ]
    row = conn.execute(
        "SELECT current_setting('wal_keep_size'), setting <> '0' FROM pg_settings WHERE name = 'wal_keep_size'"
    ).fetchone()
    if row and row[1]:
        found.append(f"wal_keep_size {row[0]}")
    archiver = conn.execute(
        "SELECT current_setting('archive_mode') <> 'off', coalesce(last_failed_time > coalesce(last_archived_time,"
        " '-infinity'), false) FROM pg_stat_archiver"
    ).fetchone()
    if archiver and archiver[0]:
        found.append("an archiver that fails" if archiver[1] else "an archiver that hasn't caught up")
    return tuple(found)


def _turn_recycling_off(conn: psycopg.Connection) -> None:
    """Remember the former value once, then turn recycling off for new segments."""
    if _marker(conn) is None:
        row = conn.execute(
            "SELECT setting FROM pg_file_settings WHERE name = 'wal_recycle'"
            " AND sourcefile LIKE '%postgresql.auto.conf'"
            " ORDER BY seqno DESC LIMIT 1"
        ).fetchone() if _may_see_files(conn) else None  # fmt: skip
        _set_marker(conn, row[0] if row else "unset")
    conn.execute("ALTER SYSTEM SET wal_recycle = off")
    reload_until(conn, "off")


def restore_settings(conn: psycopg.Connection) -> bool:
    """Give `wal_recycle` its former value back when a treatment, also one that crashed, changed it; say if it had."""
    before = _marker(conn)
    if before is None:
        return False
    if before == "unset":
        conn.execute("ALTER SYSTEM RESET wal_recycle")
    else:
        conn.execute(sql.SQL("ALTER SYSTEM SET wal_recycle = {}").format(sql.Literal(before)))
    conn.execute("SELECT pg_reload_conf()")
    conn.execute(sql.SQL("ALTER DATABASE {} RESET domicile.wal_recycle_before").format(_database(conn)))
    return True


def _may_see_files(conn: psycopg.Connection) -> bool:
    row = conn.execute(
        "SELECT has_table_privilege('pg_file_settings', 'SELECT')"
        " AND has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')"
    ).fetchone()
    return bool(row and row[0])


def _marker(conn: psycopg.Connection) -> str | None:
    row = conn.execute(
        "SELECT split_part(entry, '=', 2) FROM pg_db_role_setting s, unnest(s.setconfig) AS entry"
        " WHERE s.setrole = 0 AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND split_part(entry, '=', 1) = %s",
        (MARKER,),
    ).fetchone()
    return None if row is None else str(row[0])


def _set_marker(conn: psycopg.Connection, value: str) -> None:
    conn.execute(
        sql.SQL("ALTER DATABASE {} SET domicile.wal_recycle_before = {}").format(_database(conn), sql.Literal(value))
    )


def _database(conn: psycopg.Connection) -> sql.Identifier:
    row = conn.execute("SELECT current_database()").fetchone()
    return sql.Identifier(str(row[0]) if row else conn.info.dbname)


def reload_until(conn: psycopg.Connection, wanted: str) -> None:
    """Have the server read its settings again, and wait (bounded) until `wal_recycle` is as wanted."""
    conn.execute("SELECT pg_reload_conf()")
    for _ in range(100):
        row = conn.execute("SELECT current_setting('wal_recycle')").fetchone()
        if row and row[0] == wanted:
            return
        conn.execute("SELECT pg_sleep(0.02)")


__all__ = ["WalProof", "WalState", "may_recycle_wal", "recycle", "reload_until", "restore_settings"]
