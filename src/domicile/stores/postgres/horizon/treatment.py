"""What is done to each copy of a server's horizon after the rows were deleted, in the one order that works.

1. Nobody may hold old rows (else a rewrite keeps them): wait, bounded, then name who does.
2. Derived tables are emptied. Tables are rewritten, leaf by leaf, and analysed; then all materialised views, in
   the order of their reading.
3. Statistics, large objects and statement texts: only after 2, which writes into the statistics.
4. WAL comes last: all that 1 to 3 wrote, with the old pages in it, must be before the fence.

No verdict is made here, and nothing is deleted but what is computed from the data: every step may be repeated after a
crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import LiteralString

import psycopg
from psycopg import sql

from domicile.catalogue import TableName
from domicile.errors import StoreFault, Unreachable
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment
from domicile.stores.postgres.feed.remains import remains
from domicile.stores.postgres.feed.standing import PREFIX
from domicile.stores.postgres.files import materialised_views, read_geometry
from domicile.stores.postgres.horizon.holders import Holder, boundary, wait_for_holders
from domicile.stores.postgres.horizon.receivers import checkpoint
from domicile.stores.postgres.horizon.rewrite import (
    LockPatience,
    Rewrite,
    clear_statistics_of_empty,
    empty,
    identifier,
    leaves,
    parents,
    refresh,
    vacuum_full,
)
from domicile.stores.postgres.horizon.rights import (
    is_superuser,
    may_checkpoint,
    may_recycle_wal,
    sees_sessions,
    unowned,
)
from domicile.stores.postgres.horizon.wal import WalProof, recycle

Progress = Callable[[str], None]
OF_TABLES = frozenset({CopyKind.HEAP, CopyKind.TOAST, CopyKind.INDEX})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the treatment waits for others; every wait is bounded."""

    lock_timeout_ms: int = 2_000
    lock_tries_max: int = 30
    lock_pause_ms: int = 500
    holder_polls_max: int = 60
    holder_poll_ms: int = 500

    @property
    def lock(self) -> LockPatience:
        """The part that concerns locks."""
        return LockPatience(
            lock_timeout_ms=self.lock_timeout_ms, tries_max=self.lock_tries_max, pause_ms=self.lock_pause_ms
        )


def treat(
    conn: psycopg.Connection,
    copies: Sequence[Copy],
    relations: Sequence[TableName],
    *,
    progress: Progress = lambda _: None,
    patience: Patience | None = None,
) -> tuple[Outcome, ...]:
    """Empty the copies given, as far as this server's means and the role's rights go; one outcome for each.

    `relations` are the datasets whose rows were deleted or blanked. Raise Unreachable when the connection breaks:
    then call it again, it starts over.
    """
    treatment = OfServer(conn, relations, patience or Patience(), progress)
    try:
        return tuple(treatment.all(copies))
    except psycopg.Error as fault:
        if conn.broken:
            raise Unreachable(
                "the server broke off during the treatment; run the erase again, it starts over"
            ) from None
        raise StoreFault(
            f"the server refused a step of the treatment: {type(fault).__name__} ({fault.sqlstate}); see its log"
        ) from None


_TOASTED_CATALOGUES_SQL: LiteralString = """
SELECT c.relname FROM pg_class c
 WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
   AND c.reltoastrelid <> 0 AND pg_relation_size(c.reltoastrelid) > 0
   AND c.relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject')
 ORDER BY 1
"""


class OfServer:
    """The treatment of one server over one session; `standby` has one that leaves to the primary what is its own."""

    def __init__(
        self, conn: psycopg.Connection, relations: Sequence[TableName], patience: Patience, progress: Progress
    ) -> None:
        self._conn = conn
        self._relations = tuple(relations)
        self._patience = patience
        self._progress = progress
        self._emptied: Sequence[TableName] = ()
        self._sees_holders = sees_sessions(conn)

    def all(self, copies: Sequence[Copy]) -> Iterator[Outcome]:
        """One outcome for each copy, in the module's order."""
        kinds = {copy.kind for copy in copies}
        since = boundary(self._conn)
        held = self._wait(since, catalogue=False)
        self._emptied = [copy.relation for copy in copies if copy.kind is CopyKind.DERIVED_TABLE and copy.relation]
        yield from self._derived([copy for copy in copies if copy.kind is CopyKind.DERIVED_TABLE])
        yield from self._tables([copy for copy in copies if copy.kind in OF_TABLES], held)
        yield from self._views([copy for copy in copies if copy.kind is CopyKind.MATERIALISED_VIEW])
        if kinds & {CopyKind.STATISTICS, CopyKind.LARGE_OBJECTS}:
            held = self._wait(since, catalogue=True)
        yield from self._values(copies, held)
        proof = self._wal() if CopyKind.WAL in kinds else None
        for copy in copies:
            if copy.kind is CopyKind.WAL:
                yield self._wal_outcome(copy, proof)
            elif copy.kind not in TREATED:
                yield self._look(copy, since)
        if may_checkpoint(self._conn):
            checkpoint(self._conn)

    def _values(self, copies: Sequence[Copy], held: Sequence[Holder]) -> Iterator[Outcome]:
        for copy in copies:
            if copy.kind is CopyKind.STATISTICS:
                yield self._statistics(copy, held)
            elif copy.kind is CopyKind.LARGE_OBJECTS:
                yield self._large_objects(copy, held)
            elif copy.kind is CopyKind.STATEMENT_TEXTS:
                yield self._statement_texts(copy)
            elif copy.kind is CopyKind.CATALOGUE:
                yield self._catalogue_texts(copy)

    def _wait(self, since: str, *, catalogue: bool) -> tuple[Holder, ...]:
        held = wait_for_holders(
            self._conn,
            since=since,
            polls_max=self._patience.holder_polls_max,
            poll_ms=self._patience.holder_poll_ms,
            catalogue=catalogue,
        )
        for holder in held:
            self._progress(f"{holder.name} holds old rows; {holder.remedy}")
        return held

    def _tables(self, copies: Sequence[Copy], held: Sequence[Holder]) -> Iterator[Outcome]:
        for relation in dict.fromkeys(copy.relation for copy in copies if copy.relation):
            mine = [copy for copy in copies if copy.relation == relation]
            rewrites = [self._rewrite(leaf) for leaf in leaves(self._conn, relation)]
            for copy in mine:
                yield self._judged(copy, rewrites, held, missing=unowned(self._conn, [relation]))

    def _judged(
        self, copy: Copy, rewrites: Sequence[Rewrite], held: Sequence[Holder], *, missing: Sequence[TableName]
    ) -> Outcome:
        """Judge rewrites that keep what others may still see; whoever can't see the others proves nothing."""
        outcome = _of_rewrites(copy, rewrites, held, missing=missing)
        if outcome.treatment is not Treatment.PROVEN or self._sees_holders:
            return outcome
        why = f"{outcome.why}; whether a session held old rows isn't shown to the role"
        return replace(outcome, treatment=Treatment.DONE, why=why)

    def _rewrite(self, leaf: TableName) -> Rewrite:
        self._progress(f"rewriting {leaf}")
        return vacuum_full(self._conn, leaf, patience=self._patience.lock)

    def _derived(self, copies: Sequence[Copy]) -> Iterator[Outcome]:
        """Empty what is computed from the rows; a session that held old rows reads none of them in the new files."""
        for copy in copies:
            if copy.relation is None:
                raise RuntimeError("a derived table has a name")
            self._progress(f"emptying {copy.relation}")
            done = empty(self._conn, copy.relation, patience=self._patience.lock)
            if not done:
                yield _outcome(copy, Treatment.ABSENT, "dropped since the inventory")
            else:
                yield _of_rewrites(copy, done, (), missing=unowned(self._conn, [copy.relation]))

    def _views(self, copies: Sequence[Copy]) -> Iterator[Outcome]:
        by_name = {copy.relation: copy for copy in copies}
        for _, name, populated in materialised_views(self._conn):
            copy = by_name.pop(name, None)
            if copy is None:
                continue
            if not populated:
                yield _outcome(copy, Treatment.PROVEN, "not populated: it holds no rows")
                continue
            self._progress(f"refreshing {name}")
            done = refresh(self._conn, name, patience=self._patience.lock)
            yield _of_rewrites(copy, [done], (), missing=unowned(self._conn, [name]))
        for copy in by_name.values():
            yield _outcome(copy, Treatment.ABSENT, "dropped since the inventory")

    def _statistics(self, copy: Copy, held: Sequence[Holder]) -> Outcome:
        everything = [
            table for relation in (*self._relations, *self._emptied)
            for table in (*leaves(self._conn, relation), *parents(self._conn, relation))
        ]  # fmt: skip
        views = [name for _, name, populated in materialised_views(self._conn) if populated]
        missing = unowned(self._conn, [*everything, *views])
        if missing:
            return _outcome(
                copy, Treatment.NOT_PERMITTED, f"the role may not analyse {missing[0]}", "see `domicile doctor`"
            )
        for table in everything:
            self._conn.execute(_analyse(table))
        if is_superuser(self._conn):
            clear_statistics_of_empty(self._conn, [*everything, *views])
        rewrites = [self._catalogue("pg_statistic"), self._catalogue("pg_statistic_ext_data")]
        outcome = self._judged(copy, rewrites, held, missing=())
        if outcome.treatment is Treatment.PROVEN and not is_superuser(self._conn):
            return _outcome(copy, Treatment.DONE, "rewritten; statistics of tables that became empty need a superuser")
        return outcome

    def _large_objects(self, copy: Copy, held: Sequence[Holder]) -> Outcome:
        row = self._conn.execute("SELECT pg_relation_size('pg_catalog.pg_largeobject')").fetchone()
        if row and not row[0]:
            return _outcome(copy, Treatment.PROVEN, "the server holds no large objects")
        outcome = self._judged(copy, [self._catalogue("pg_largeobject")], held, missing=())
        left = self._conn.execute("SELECT count(*) FROM pg_catalog.pg_largeobject_metadata").fetchone()
        if outcome.treatment is Treatment.PROVEN and left and left[0]:
            why = f"{left[0]} large objects are kept, and no column says whose they are"
            return replace(outcome, treatment=Treatment.UNSEEN, why=why, remedy="look at them, or remove them")
        return outcome

    def _catalogue(self, name: str) -> Rewrite:
        self._progress(f"rewriting {name}")
        table = TableName(schema="pg_catalog", name=name)
        return vacuum_full(self._conn, table, patience=self._patience.lock, analyse=False)

    def _catalogue_texts(self, copy: Copy) -> Outcome:
        """Rewrite catalogues with out-of-line texts (functions, views): dead parts of those can't be searched."""
        if not is_superuser(self._conn):
            return _outcome(copy, Treatment.OBSERVED, "nothing to treat: the search decides")
        names = [str(name) for (name,) in self._conn.execute(_TOASTED_CATALOGUES_SQL).fetchall()]
        done = [self._catalogue(name) for name in names]
        rewritten = [item.table.name for item in done if item.rewritten]
        return _outcome(copy, Treatment.OBSERVED, f"rewritten: {', '.join(rewritten) or 'none'}; the search decides")

    def _statement_texts(self, copy: Copy) -> Outcome:
        row = self._conn.execute(
            "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
            " WHERE e.extname = 'pg_stat_statements'"
        ).fetchone()
        loaded = self._conn.execute(
            "SELECT setting LIKE '%pg_stat_statements%' FROM pg_settings WHERE name = 'shared_preload_libraries'"
        ).fetchone()
        if loaded is None:
            return _outcome(copy, Treatment.UNSEEN, "the role may not see shared_preload_libraries", "grant pg_monitor")
        if not loaded[0]:
            return _outcome(copy, Treatment.OBSERVED, "pg_stat_statements isn't loaded; files left of it are searched")
        try:
            self._reset(None if row is None else str(row[0]))
        except psycopg.Error as fault:
            if self._conn.broken:
                raise
            return _outcome(
                copy, Treatment.NOT_PERMITTED, f"it could not be reset: {type(fault).__name__} ({fault.sqlstate})",
                "CREATE EXTENSION pg_stat_statements; GRANT EXECUTE ON FUNCTION pg_stat_statements_reset",
            )  # fmt: skip
        return _outcome(copy, Treatment.DONE, "all statistics and texts were reset")

    def _reset(self, schema: str | None) -> None:
        """Reset all statement texts; where the function isn't in this database, make it for a moment.

        The reset acts on shared memory and is not undone by the rollback that takes the extension away again.
        """
        if schema is not None:
            self._conn.execute(_reset_statement(schema))
            return
        with self._conn.transaction(force_rollback=True):
            self._conn.execute("CREATE SCHEMA domicile_reset")
            self._conn.execute("CREATE EXTENSION pg_stat_statements SCHEMA domicile_reset")
            self._conn.execute(_reset_statement("domicile_reset"))

    def _wal(self) -> WalProof | tuple[str, ...]:
        missing = may_recycle_wal(self._conn)
        if missing:
            return missing
        try:
            size = read_geometry(self._conn).wal_segment
            return recycle(self._conn, segment_bytes=size, progress=self._progress)
        except psycopg.Error as fault:
            if self._conn.broken:
                raise
            return (f"refused with {type(fault).__name__} ({fault.sqlstate})",)

    def _wal_outcome(self, copy: Copy, proof: WalProof | tuple[str, ...] | None) -> Outcome:
        if proof is None or isinstance(proof, tuple):
            return _outcome(
                copy, Treatment.NOT_PERMITTED, f"the role lacks {', '.join(proof or ())}", "see `domicile doctor`"
            )
        if proof.holds:
            return _outcome(
                copy, Treatment.PROVEN,
                f"every segment is newer than the erase (fence at segment {proof.fence}, {proof.switches} switches)",
            )  # fmt: skip
        keepers = ", ".join(proof.kept_by) or "nothing that we can name"
        return _outcome(
            copy, Treatment.HELD, f"{len(proof.left)} segments from before the erase are kept by {keepers}",
            "let the holder go on or drop it, then run again",
        )  # fmt: skip

    def _look(self, copy: Copy, since: str) -> Outcome:
        """What needs no treatment: say whether it exists, and whether a search can decide."""
        if copy.kind is CopyKind.LIVE_ROWS:
            return _outcome(copy, Treatment.DONE, "the rows were deleted or blanked by the erase")
        if copy.kind is CopyKind.PREPARED_TRANSACTIONS:
            return self._prepared(copy, since)
        if copy.kind in _TOLD:
            return _outcome(copy, Treatment.ABSENT if copy.observable else Treatment.UNSEEN, copy.why, copy.method)
        if copy.kind is CopyKind.CHANGEFEED:
            return self._changefeed(copy)
        if copy.kind is CopyKind.SLOT:
            return self._slot(copy)
        if not copy.observable:
            return _outcome(copy, Treatment.UNSEEN, copy.why, copy.method)
        if copy.kind is CopyKind.DIRECTORY:
            return _outcome(
                copy, Treatment.OBSERVED, "it stays on purpose: keys and locations, and nothing private in it"
            )
        return _outcome(copy, Treatment.OBSERVED, "nothing to treat: the search decides")

    def _prepared(self, copy: Copy, since: str) -> Outcome:
        row = self._conn.execute(
            "SELECT count(*) FROM pg_prepared_xacts WHERE age(transaction) > age(%s::text::xid)", (since,)
        ).fetchone()
        if row and row[0]:
            return _outcome(
                copy, Treatment.HELD, f"{row[0]} prepared transactions from before the erase hold rows of their own",
                "COMMIT PREPARED or ROLLBACK PREPARED each",
            )  # fmt: skip
        return _outcome(copy, Treatment.OBSERVED, "no prepared transaction is older than the treatment")

    def _changefeed(self, copy: Copy) -> Outcome:
        """What the catalogue says of our own triggers, tables, publication and slot, now and not at the inventory."""
        standing = remains(self._conn)
        if standing:
            return _outcome(
                copy, Treatment.HELD, f"{len(standing)} parts of it stand, first {standing[0]}",
                "end the run; it takes them away",
            )  # fmt: skip
        return _outcome(copy, Treatment.ABSENT, "no trigger, key-log, queue, publication or slot of it stands")

    def _slot(self, copy: Copy) -> Outcome:
        name = copy.id.partition(":")[2]
        row = self._conn.execute(
            "SELECT slot_type, restart_lsn IS NOT NULL FROM pg_replication_slots WHERE slot_name = %s", (name,)
        ).fetchone()
        if row is None:
            return _outcome(copy, Treatment.OBSERVED, "dropped since the inventory")
        if name.startswith(PREFIX):
            return _outcome(
                copy, Treatment.HELD, "a changefeed's own slot was left, and holds the log back",
                f"end its run, or SELECT pg_drop_replication_slot('{name}')",
            )  # fmt: skip
        return _outcome(
            copy, Treatment.UNSEEN if not copy.observable else Treatment.OBSERVED,
            f"a {row[0]} slot; the WAL it holds counts with pg_wal, its consumer with subscribers or standbys",
        )  # fmt: skip


TREATED = OF_TABLES | {
    CopyKind.CATALOGUE, CopyKind.DERIVED_TABLE,
    CopyKind.MATERIALISED_VIEW, CopyKind.STATISTICS, CopyKind.LARGE_OBJECTS, CopyKind.STATEMENT_TEXTS, CopyKind.WAL,
}  # fmt: skip
_TOLD = frozenset(
    {
        CopyKind.ARCHIVE, CopyKind.STANDBYS, CopyKind.SUBSCRIBERS, CopyKind.SUBSCRIPTIONS, CopyKind.FOREIGN_TABLES,
        CopyKind.DUMPS_AND_BACKUPS, CopyKind.FREE_BLOCKS,
    }
)  # fmt: skip


def _analyse(table: TableName) -> sql.Composed:
    return sql.SQL("ANALYZE {}").format(identifier(table))


def _reset_statement(schema: str) -> sql.Composed:
    return sql.SQL("SELECT {}()").format(sql.Identifier(schema, "pg_stat_statements_reset"))


def _outcome(copy: Copy, treatment: Treatment, why: str, remedy: str | None = None) -> Outcome:
    return Outcome(copy=copy.id, treatment=treatment, why=why, remedy=remedy)


def _of_rewrites(
    copy: Copy, rewrites: Sequence[Rewrite], held: Sequence[Holder], *, missing: Sequence[TableName]
) -> Outcome:
    """Judge the rewrites of one copy, and say how long others queued for them, whatever came of it (P6)."""
    outcome = _of_files(copy, rewrites, held, missing=missing)
    return replace(outcome, lock_ms=sum(rewrite.lock_ms for rewrite in rewrites))


def _of_files(
    copy: Copy, rewrites: Sequence[Rewrite], held: Sequence[Holder], *, missing: Sequence[TableName]
) -> Outcome:
    """All done and nobody held old rows, or why not."""
    failed = [rewrite for rewrite in rewrites if not rewrite.rewritten]
    if failed and (missing or any(rewrite.refused for rewrite in failed)):
        return _outcome(
            copy, Treatment.NOT_PERMITTED, f"the role may not rewrite {failed[0].table}: {failed[0].why}",
            "see `domicile doctor`",
        )  # fmt: skip
    names = ", ".join(holder.name for holder in held[:5])
    if failed:
        also = f"; old row versions are kept for {names}" if held else ""
        return _outcome(copy, Treatment.HELD, f"{failed[0].table}: {failed[0].why}{also}", "run again when it is quiet")
    if held:
        return _outcome(copy, Treatment.HELD, f"old row versions are kept for {names}", held[0].remedy)
    return _outcome(copy, Treatment.PROVEN, f"{len(rewrites)} relations have new files")
