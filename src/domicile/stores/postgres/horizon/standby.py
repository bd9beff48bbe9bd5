"""A standby of the source, treated after it: what the primary rewrote is replayed, its own WAL is made to go.

A standby can't be written to, so nothing is rewritten here. What is its own are the WAL files that it received, its
statement texts, its log and whatever lies in its directory. `wal_recycle` is turned off for the time and given back; if
that is broken off, it stays off, which costs a standby little and tells nobody anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import LiteralString

import psycopg

from domicile.errors import StoreFault, Unreachable
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment
from domicile.stores.postgres.files import read_geometry
from domicile.stores.postgres.horizon.receivers import checkpoint
from domicile.stores.postgres.horizon.treatment import TREATED, OfServer, Patience, Progress
from domicile.stores.postgres.horizon.wal import WalState, left_from_before, position_number, reload_until

ROUNDS_MAX = 40
POLL_S = 0.25
_HELD = frozenset({Treatment.HELD, Treatment.NOT_PERMITTED, Treatment.UNSEEN})
_STATE_SQL: LiteralString = """
SELECT pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system()), pg_last_wal_replay_lsn()::text
"""
_PLACE_SQL: LiteralString = """
SELECT coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text,
       (SELECT timeline_id FROM pg_control_checkpoint())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtPrimary:
    """What the primary says: its number, the WAL position at the end of its treatment, and what was done there."""

    system: int
    position: str
    outcomes: Mapping[str, Outcome]


def treat_standby(  # noqa: PLR0913 - both servers, what, and how patiently
    conn: psycopg.Connection,
    primary: psycopg.Connection,
    copies: Sequence[Copy],
    done: AtPrimary,
    *,
    progress: Progress = lambda _: None,
    patience: Patience | None = None,
) -> tuple[Outcome, ...]:
    """Say of each copy of the standby what was done to it, at the primary or here. Safe to repeat.

    The primary is asked for checkpoints meanwhile. Raise Unreachable when a connection breaks.
    """
    try:
        return tuple(_Standby(conn, primary, done, patience or Patience(), progress).all(copies))
    except psycopg.Error as fault:
        if conn.broken or primary.broken:
            raise Unreachable("a server broke off while its standby was treated; run again, it starts over") from None
        raise StoreFault(
            f"the standby refused a step of the treatment: {type(fault).__name__} ({fault.sqlstate}); see its log"
        ) from None


class _Standby(OfServer):
    def __init__(
        self, conn: psycopg.Connection, primary: psycopg.Connection, done: AtPrimary, patience: Patience,
        progress: Progress,
    ) -> None:  # fmt: skip
        super().__init__(conn, (), patience, progress)
        self._primary = primary
        self._done = done

    def all(self, copies: Sequence[Copy]) -> Iterator[Outcome]:
        """One outcome for each copy."""
        lacking = self._lacking()
        for copy in copies:
            if lacking is not None:
                yield replace(lacking, copy=copy.id)
            elif copy.kind is CopyKind.WAL:
                yield self._own_wal(copy)
            elif copy.kind is CopyKind.STATEMENT_TEXTS:
                yield self._statement_texts(copy)
            elif copy.kind in TREATED or copy.kind is CopyKind.PREPARED_TRANSACTIONS:
                yield self._replayed(copy)
            else:
                yield self._look(copy, "0")

    def _lacking(self) -> Outcome | None:
        """Why nothing can be said of this server; None when it replayed all that the primary's treatment wrote."""
        row = self._conn.execute(_STATE_SQL).fetchone()
        in_recovery, system, _ = row or (False, 0, None)
        if not in_recovery:
            return Outcome(
                copy="", treatment=Treatment.HELD, why="it is no standby any more: a server of its own with all rows",
                remedy="a run of its own there, or remove it",
            )  # fmt: skip
        if system != self._done.system:
            return Outcome(
                copy="", treatment=Treatment.UNSEEN, why="it is a standby of another server than the source",
                remedy="give the standby's own connection string",
            )  # fmt: skip
        position = self._catch_up(self._done.position)
        if position is not None:
            return Outcome(
                copy="", treatment=Treatment.HELD,
                why=f"it has replayed up to {position}, the source's treatment ended at {self._done.position}",
                remedy="let it catch up, then run again",
            )  # fmt: skip
        return None

    def _catch_up(self, position: str) -> str | None:
        """Wait until that is replayed; else return how far it is."""
        replayed = None
        for _ in range(self._patience.holder_polls_max):
            row = self._conn.execute(_STATE_SQL).fetchone()
            replayed = row[2] if row else None
            if replayed is not None and position_number(replayed) >= position_number(position):
                return None
            self._conn.execute("SELECT pg_sleep(%s)", (self._patience.holder_poll_ms / 1000,))
        return replayed or "nothing"

    def _replayed(self, copy: Copy) -> Outcome:
        """What was done at the primary was done here, too, as far as it was done."""
        there = self._done.outcomes.get(copy.id)
        if there is None:
            return Outcome(copy=copy.id, treatment=Treatment.HELD, why="the source has no such copy that was treated")
        if there.treatment in _HELD:
            return replace(there, why=f"at the source: {there.why}", lock_ms=None)
        treatment = Treatment.OBSERVED if there.treatment is Treatment.OBSERVED else Treatment.DONE
        return Outcome(copy=copy.id, treatment=treatment, why=f"replayed: {there.why}")

    def _own_wal(self, copy: Copy) -> Outcome:
        size = read_geometry(self._conn).wal_segment
        fence = position_number(self._done.position) // size
        row = self._conn.execute("SELECT current_setting('wal_recycle')").fetchone()
        was_on = bool(row and row[0] == "on")
        try:
            if was_on:
                self._conn.execute("ALTER SYSTEM SET wal_recycle = off")
                reload_until(self._conn, "off")
            left = self._remove_old(fence, size)
        except psycopg.errors.InsufficientPrivilege:
            return Outcome(
                copy=copy.id, treatment=Treatment.NOT_PERMITTED,
                why="the role may not change wal_recycle, begin a segment at the source, or checkpoint",
                remedy="see `domicile doctor`",
            )  # fmt: skip
        finally:
            if was_on and not self._conn.broken:
                self._conn.execute("ALTER SYSTEM RESET wal_recycle")
                self._conn.execute("SELECT pg_reload_conf()")
        if left:
            return Outcome(
                copy=copy.id, treatment=Treatment.HELD,
                why=f"{len(left)} segments from before the source's treatment are left",
                remedy="look for slots, wal_keep_size or a failing archiver of the standby, then run again",
            )  # fmt: skip
        return Outcome(copy=copy.id, treatment=Treatment.DONE, why=f"no segment before number {fence} is left")

    def _remove_old(self, fence: int, size: int) -> tuple[str, ...]:
        """Have restartpoints remove old segments, each after a checkpoint of the primary's was replayed."""
        initial = self._state(size).names
        left: tuple[str, ...] = ("?",)
        for _ in range(ROUNDS_MAX):
            self._primary.execute("SELECT pg_logical_emit_message(false, 'domicile', '')")
            self._primary.execute("SELECT pg_switch_wal()")
            checkpoint(self._primary)
            row = self._primary.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
            self._catch_up(row[0] if row else self._done.position)
            self._conn.execute("CHECKPOINT")
            left = left_from_before(initial, self._state(size), fence=fence, segment_bytes=size)
            if not left:
                return ()
            self._progress(f"pg_wal of the standby: {len(left)} segments from before are left")
            self._conn.execute("SELECT pg_sleep(%s)", (POLL_S,))
        return left

    def _state(self, size: int) -> WalState:
        names = frozenset(name for (name,) in self._conn.execute("SELECT name FROM pg_ls_waldir()"))
        row = self._conn.execute(_PLACE_SQL).fetchone()
        position, timeline = row or ("0/0", 1)
        return WalState(current=position_number(position) // size, timeline=timeline, names=names)
