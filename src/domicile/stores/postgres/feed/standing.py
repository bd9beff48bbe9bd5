"""Where a feed's slot stands, where it is to stand, and whether it can still be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from domicile.errors import FeedBroken
from domicile.stores.postgres.feed.followed import state_table
from domicile.stores.postgres.session import run

PREFIX: Final = "domicile_feed_"
PLUGIN: Final = "pgoutput"
MIB: Final = 1 << 20

SLOT = """
SELECT plugin, coalesce(wal_status, ''), pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')::bigint,
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
  FROM pg_replication_slots WHERE slot_name = %s AND database = current_database()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A slot as the server tells it: what is confirmed, as a place in the log, and the bytes of log it holds back."""

    name: str
    plugin: str
    status: str
    confirmed: int
    retained: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What was written down: where the slot is to stand, and what its publication was at the begin."""

    position: int
    facts: str | None


def slot_name(connection: psycopg.Connection[Any]) -> str:
    """The name of this database's slot: names of slots are the whole server's."""
    row = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    return f"{PREFIX}{row[0] if row else 0}"


def slot_of(connection: psycopg.Connection[Any]) -> Slot | None:
    """The slot, or None where there is none of that name in this database."""
    name = slot_name(connection)
    row = connection.execute(SLOT, (name,)).fetchone()
    if row is None:
        return None
    return Slot(name=name, plugin=row[0] or "", status=row[1], confirmed=row[2] or 0, retained=row[3])


def is_there(connection: psycopg.Connection[Any]) -> bool:
    """Whether this database has the slot."""
    return slot_of(connection) is not None


def noted(connection: psycopg.Connection[Any]) -> Noted | None:
    """What was written down, or None where no begin was finished."""
    row = run(
        connection,
        sql.SQL("SELECT pg_wal_lsn_diff(position, '0/0')::bigint, facts FROM {} WHERE name = 'slot'").format(
            state_table()
        ),
    ).fetchone()
    return Noted(position=row[0], facts=row[1]) if row else None


def refuse_broken(store: str, slot: Slot, begun: Noted, *, retained_mib_max: int | None) -> None:
    """Raise FeedBroken when the slot may have lost changes, is about to, or holds back more than it may."""
    again = "give the run up and begin again"
    if slot.plugin != PLUGIN or slot.confirmed > begun.position:
        raise FeedBroken(
            f"store {store}: somebody made the slot {slot.name} anew or moved it, so changes may be missing; {again}"
        )
    if slot.status == "lost":
        raise FeedBroken(
            f"store {store}: the server threw away log that the slot {slot.name} had not read; {again}, with a greater "
            "max_slot_wal_keep_size"
        )
    if slot.status == "unreserved":
        raise FeedBroken(
            f"store {store}: the server is about to throw away log that the slot {slot.name} has not read; raise "
            "max_slot_wal_keep_size now (ALTER SYSTEM SET …, SELECT pg_reload_conf()), then run again"
        )
    if retained_mib_max is not None and slot.retained > retained_mib_max * MIB:
        raise FeedBroken(
            f"store {store}: the slot {slot.name} holds back {slot.retained // MIB} MiB of log, {retained_mib_max} may."
            " Where the disk has room, allow more and run again: it catches up, unless a transaction that is open "
            "since long keeps the log. Where it has none, give the run up, or let go of the log at once: SELECT "
            f"pg_drop_replication_slot('{slot.name}')"
        )


def text_of(place: int) -> str:
    """A place in the log as the server writes it."""
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"
