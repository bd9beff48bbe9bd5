"""Old WAL: the proof reads the directory, a holder is named, the setting comes back after a crash."""

from __future__ import annotations

import psycopg
import pytest

from domicile.stores.postgres.horizon import CopyKind, Outcome, Treatment, inventory, restore_settings, treat
from domicile.stores.postgres.horizon.wal import (
    WalState,
    _turn_recycling_off,
    following,
    left_from_before,
    segment_number,
)
from tests.horizon.conftest import PEOPLE
from tests.horizon.test_holders import QUICK

MIB = 1024 * 1024
SEGMENT = 16 * MIB


@pytest.mark.parametrize(
    ("name", "size", "number"),
    [
        ("000000010000000000000001", 16 * MIB, 1),
        ("0000000100000001000000FF", 16 * MIB, 511),
        ("000000020000000200000003", 1024 * MIB, 11),
        ("000000010000000000000001.partial", 16 * MIB, 1),
        ("00000002.history", 16 * MIB, None),
        ("000000010000000000000001.00000028.backup", 16 * MIB, None),
    ],
)
def test_segment_numbers(name: str, size: int, number: int | None) -> None:
    assert number == segment_number(name, segment_bytes=size)


@pytest.mark.parametrize(
    ("name", "size", "after"),
    [
        ("000000010000000000000001", 16 * MIB, "000000010000000000000002"),
        ("0000000A00000001000000FF", 16 * MIB, "0000000A0000000200000000"),
        ("000000020000000200000003", 1024 * MIB, "000000020000000300000000"),
        ("000000010000000000000FFF", MIB, "000000010000000100000000"),
    ],
)
def test_the_segment_after_one(name: str, size: int, after: str) -> None:
    """As xlog_internal.h has it: a log of 4 GiB has as many segments as fit, and then comes the next log."""
    assert after == following(name, segment_bytes=size)


def segment(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{0:08X}{number:08X}"


@pytest.mark.parametrize(
    ("initial", "now", "current", "left"),
    [
        ({segment(4)}, {segment(5), segment(6)}, 6, ()),  # all newer than the fence at 5
        ({segment(4)}, {segment(4), segment(5)}, 5, (segment(4),)),  # an old one
        ({segment(5), segment(9)}, {segment(5), segment(9)}, 6, (segment(9),)),  # recycled, not yet written over
        ({segment(5), segment(9)}, {segment(5), segment(9)}, 10, ()),  # written over
        ({segment(9)}, {segment(9)}, 9, (segment(9),)),  # being written over: its end is old
        ({segment(7, 1)}, {segment(7, 1)}, 10, (segment(7, 1),)),  # of another timeline: nobody writes it over
        (set(), {segment(11)}, 10, ()),  # made after the fence
        ({"xlogtemp.77"}, {"xlogtemp.77"}, 10, ("xlogtemp.77",)),
        ({segment(7) + ".partial"}, {segment(7) + ".partial"}, 10, (segment(7) + ".partial",)),
        ({"00000002.history"}, {"00000002.history"}, 10, ()),
    ],
)
def test_p3_the_proof(initial: set[str], now: set[str], current: int, left: tuple[str, ...]) -> None:
    timeline = 2 if left == (segment(7, 1),) else 1
    state = WalState(current=current, timeline=timeline, names=frozenset(now))
    assert left == left_from_before(frozenset(initial), state, fence=5, segment_bytes=SEGMENT)


def treat_wal(conn: psycopg.Connection) -> Outcome:
    wal = tuple(copy for copy in inventory(conn, [PEOPLE]) if copy.kind is CopyKind.WAL)
    return treat(conn, wal, [PEOPLE], patience=QUICK)[0]


@pytest.mark.parametrize("kind", ["physical", "logical"])
def test_p3_a_slot_that_holds_wal_is_named(conn: psycopg.Connection, kind: str) -> None:
    conn.execute(
        "SELECT pg_create_physical_replication_slot('keeper', true)"
        if kind == "physical"
        else "SELECT pg_create_logical_replication_slot('keeper', 'test_decoding')"
    )
    held = treat_wal(conn)
    conn.execute("SELECT pg_drop_replication_slot('keeper')")
    freed = treat_wal(conn)
    assert (Treatment.HELD, True) == (held.treatment, "replication slot keeper" in held.why)
    assert Treatment.PROVEN == freed.treatment


def test_p3_wal_keep_size_is_named(conn: psycopg.Connection) -> None:
    conn.execute("ALTER SYSTEM SET wal_keep_size = '4GB'")
    conn.execute("SELECT pg_reload_conf(), pg_sleep(0.1)")
    held = treat_wal(conn)
    conn.execute("ALTER SYSTEM RESET wal_keep_size")
    conn.execute("SELECT pg_reload_conf(), pg_sleep(0.1)")
    assert (Treatment.HELD, True) == (held.treatment, "wal_keep_size 4GB" in held.why)
    assert Treatment.PROVEN == treat_wal(conn).treatment


@pytest.mark.parametrize("before", ["on", "off", None])
def test_p5_the_former_setting_comes_back_also_after_a_crash(conn: psycopg.Connection, before: str | None) -> None:
    conn.execute("ALTER SYSTEM RESET wal_recycle")
    if before:
        conn.execute(f"ALTER SYSTEM SET wal_recycle = {before}")
    treat_wal(conn)
    assert before == setting(conn)
    _turn_recycling_off(conn)  # and here the process dies
    assert "off" == setting(conn)
    treat_wal(conn)
    assert before == setting(conn)
    _turn_recycling_off(conn)
    _turn_recycling_off(conn)  # twice
    assert restore_settings(conn)
    assert not restore_settings(conn)
    assert before == setting(conn)
    conn.execute("ALTER SYSTEM RESET wal_recycle")


def setting(conn: psycopg.Connection) -> str | None:
    """What postgresql.auto.conf says."""
    row = conn.execute(
        "SELECT setting FROM pg_file_settings WHERE name = 'wal_recycle' AND sourcefile LIKE '%auto.conf'"
    ).fetchone()
    return row[0] if row else None
