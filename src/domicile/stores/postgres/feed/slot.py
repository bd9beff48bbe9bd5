"""The feed of a logical slot: the server's own log of changes, read over SQL through `pgoutput`.

A read peeks, and nothing is forgotten by it: `confirm` moves the slot on. Which keys a read may tell is decided by
transaction, against the reader's snapshot, and the slot moves only as far as all before was shown (ADR 0025):

1. everything that the snapshot shows stands in the log before the place where the log ended *after* it was taken; so a
   read sees to it that the log is on disk up to there, also for commits that did not wait for that, and reads it;
2. what fits into one batch is told from memory. A transaction that does not fit, or a crowd behind one that is not
   shown yet, goes to the queue on disk, and is told from there;
3. where the slot is to stand is written down before it is moved. A slot that stands further was moved, or made anew,
   by somebody else: then changes may be missing, and that is said. One that stands behind, after a crash, is moved on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import psycopg
from psycopg import sql

from domicile.errors import FeedBroken, Unreachable
from domicile.host import Host
from domicile.model import DatasetId, DatasetScope
from domicile.stores.feed import Batch, Key, Lag
from domicile.stores.postgres.feed import published, queue
from domicile.stores.postgres.feed.batching import Fate, Heap
from domicile.stores.postgres.feed.followed import (
    Marks,
    drop_tables,
    exists,
    make_tables,
    note_shape,
    patiently,
    refuse_changed_shapes,
    refuse_truncated,
    state_table,
    truncated,
)
from domicile.stores.postgres.feed.moments import Moment, moment
from domicile.stores.postgres.feed.standing import Slot, is_there, noted, refuse_broken, slot_name, slot_of, text_of
from domicile.stores.postgres.feed.stream import Stream
from domicile.stores.postgres.session import Session, faults, number, run

RETAINED_MIB_MAX: Final = 4_096
BEGIN_WAIT_MS_MAX: Final = 60_000
MESSAGES_PER_KEY: Final = 4
"""A transaction of one change is three messages; so a batch of small transactions still fills up."""
BEHIND_MESSAGES: Final = 500_000
"""How many a read takes after one that was cut off, through the queue: every peek decodes again from far back."""
QUEUE_LINES_MAX: Final = 100_000
"""So many lines lie in the queue before it is thinned out, while nobody reads."""
FETCH_ROWS, FETCH_WHOLE_ROWS = 5_000, 200
"""How many messages are in memory at a time: before 15 each holds a whole row."""
BUSY_TRIES_MAX, BUSY_PAUSE_S = 50, 0.2

T = TypeVar("T")


class SlotFeed:
    """`session` is the feed's own. At most `retained_mib_max` of the source's log may be held back for it."""

    def __init__(
        self,
        session: Session,
        datasets: Sequence[DatasetScope],
        *,
        host: Host | None = None,
        retained_mib_max: int = RETAINED_MIB_MAX,
    ) -> None:
        self._session = session
        self._datasets = tuple(datasets)
        self._keys = {dataset.id: dataset.key for dataset in self._datasets}
        self._host = host or Host()
        self._retained_mib_max = retained_mib_max
        self._behind = False
        self._lines_max = QUEUE_LINES_MAX
        self._marks = Marks(self._datasets)

    @property
    def _connection(self) -> psycopg.Connection[Any]:
        return self._session.connection

    def begin(self) -> None:
        """Make publication, then slot: a slot that is older than its publication can't be read."""
        patiently(self._session, self._host, "make the tables of the changefeed", make_tables)
        patiently(self._session, self._host, "make the queue of the changefeed", queue.make)
        with faults(self._session.store, "look at the changefeed"):
            begun = noted(self._connection) is not None
            if begun:
                self._slot()
                return
            published.refuse_unfit(published.parts_of(self._connection, self._datasets))
        self._drop_slot()
        patiently(self._session, self._host, "publish the followed tables", self._publish)
        with faults(self._session.store, "make the changefeed's slot"):
            self._make_slot()

    def read(self, snapshot: str, *, keys_max: int) -> Batch:
        """Return the keys of the transactions that the snapshot shows; see `Changefeed.read`."""
        seen = moment(snapshot)
        with faults(self._session.store, "read the changefeed"):
            slot = self._refuse_broken(snapshot)
            self._catch_up(slot)
            waiting = queue.read(self._connection, snapshot, lines_max=keys_max)
            if not waiting.complete or waiting.lines == keys_max:
                return _batch(seen, waiting, None)
            upto = self._on_disk()
            heap = self._calmly(lambda: self._peek(seen, upto, room=keys_max - waiting.lines, spill=not waiting.lines))
            if heap.fate is Fate.SPILLED:
                self._catch_up(self._slot())
                waiting = queue.read(self._connection, snapshot, lines_max=keys_max)
                refuse_truncated(self._connection, snapshot)
            return _batch(seen, waiting, heap)

    def confirm(self, batch: Batch) -> None:
        """Forget the queue's lines that the batch showed, and move the slot on as far as all was shown."""
        position = json.loads(batch.position)
        with faults(self._session.store, "confirm changes"):
            with self._connection.transaction():
                if position["upto"]:
                    queue.forget(self._connection, position["snapshot"], upto=position["upto"])
                self._note(position["lsn"] or 0)
            self._catch_up(self._slot())

    def lay_by(self) -> None:
        """Bring what the slot holds to the queue, and the slot up to where the log ends now."""
        with faults(self._session.store, "lay the changefeed by"):
            snapshot = self._snapshot()
            self._catch_up(self._refuse_broken(snapshot, limited=False))
            upto = self._on_disk()
            while not self._calmly(lambda: self._lay_by(moment(snapshot), upto)):
                self._catch_up(self._slot(limited=False))
            self._catch_up(self._slot(limited=False))
            refuse_truncated(self._connection, snapshot)
            lines = queue.thin_out(self._connection, snapshot, lines_max=self._lines_max)
            self._lines_max = max(QUEUE_LINES_MAX, 2 * lines)

    def lag(self) -> Lag:
        """Say how much of the log is held back, how many lines wait in the queue, and since when nobody confirmed."""
        with faults(self._session.store, "ask how far the changefeed is"):
            slot = slot_of(self._connection)
            seconds = run(
                self._connection,
                sql.SQL("SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM {} WHERE name = 'slot'").format(
                    state_table()
                ),
            ).fetchone()
            return Lag(
                bytes=slot.retained if slot else 0, rows=queue.waiting(self._connection),
                seconds=seconds[0] if seconds else 0.0,
            )  # fmt: skip

    def end(self) -> None:
        """Drop slot, publication and queue, whichever of them are there."""
        self._drop_slot()
        patiently(self._session, self._host, "drop the publication of the changefeed", published.unpublish)
        patiently(self._session, self._host, "drop the queue of the changefeed", drop_tables)

    # -- standing ------------------------------------------------------------------------------------------------

    def _publish(self, connection: psycopg.Connection[Any]) -> None:
        published.unpublish(connection)
        published.publish(connection, published.parts_of(connection, self._datasets))
        run(connection, sql.SQL("DELETE FROM domicile.feed_shape"))  # of a begin that was broken off
        for dataset in self._datasets:
            note_shape(connection, dataset)

    def _make_slot(self) -> None:
        """Make the slot, which waits for every transaction under way, and note where it stands."""
        connection = self._connection
        try:
            with connection.transaction():
                run(connection, sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(BEGIN_WAIT_MS_MAX)))
                connection.execute(
                    "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot_name(connection),)
                )
        except psycopg.errors.LockNotAvailable:
            raise Unreachable(
                f"store {self._session.store}: its slot waited {BEGIN_WAIT_MS_MAX // 1000} s for a transaction that is "
                "open since before; end that transaction, then run again"
            ) from None
        slot = self._found()
        connection.execute(
            sql.SQL(
                "INSERT INTO {} (name, position, facts, at) VALUES ('slot', %s::text::pg_lsn, %s, clock_timestamp())"
            ).format(state_table()),
            (text_of(slot.confirmed), published.facts(connection)),
        )

    def _drop_slot(self) -> None:
        def drop() -> None:
            if is_there(self._connection):
                self._connection.execute("SELECT pg_drop_replication_slot(%s)", (slot_name(self._connection),))

        with faults(self._session.store, "drop the changefeed's slot"):
            self._calmly(drop)

    def _found(self) -> Slot:
        slot = slot_of(self._connection)
        if slot is None:
            raise FeedBroken(
                f"store {self._session.store}: its changefeed's slot {slot_name(self._connection)} is gone: somebody "
                "dropped it, or another server took over; give the run up and begin again"
            )
        return slot

    def _slot(self, *, limited: bool = True) -> Slot:
        """The slot, if it can still be trusted, and, where that is `limited`, holds back no more than it may."""
        slot = self._found()
        begun = noted(self._connection)
        if begun is None:
            raise FeedBroken(f"store {self._session.store}: its changefeed is gone; give the run up and begin again")
        retained_mib_max = self._retained_mib_max if limited else None
        refuse_broken(self._session.store, slot, begun, retained_mib_max=retained_mib_max)
        if published.facts(self._connection) != begun.facts:
            raise FeedBroken(
                f"store {self._session.store}: somebody changed the publication {published.PUBLICATION}, so changes "
                "may be missing; give the run up and begin again"
            )
        return slot

    def _refuse_broken(self, snapshot: str, *, limited: bool = True) -> Slot:
        """Raise when changes may be missing, or the slot holds back too much; return the slot."""
        connection = self._connection
        if not exists(connection, "feed_queue") or noted(connection) is None:
            raise FeedBroken(f"store {self._session.store}: its changefeed is gone; give the run up and begin again")
        refuse_truncated(connection, snapshot)
        with self._marks.unseen(connection) as unseen:
            if unseen:
                refuse_changed_shapes(connection, self._datasets)
        published.refuse_other_identity(published.parts_of(connection, self._datasets))
        return self._slot(limited=limited)

    def _snapshot(self) -> str:
        row = self._connection.execute("SELECT pg_current_snapshot()::text").fetchone()
        assert row is not None
        return str(row[0])

    # -- reading -------------------------------------------------------------------------------------------------

    def _on_disk(self) -> int:
        """Where the log ends now, once it is on disk up to there: a slot tells nothing that isn't.

        A commit of our own brings it there. It doesn't wait for standbys.
        """
        connection = self._connection
        upto = number(connection, _place("pg_current_wal_insert_lsn()"))
        if number(connection, _place("pg_current_wal_flush_lsn()")) < upto:
            with connection.transaction():
                connection.execute("SET LOCAL synchronous_commit = local")
                connection.execute("SELECT pg_logical_emit_message(true, 'domicile', '')")
        if number(connection, _place("pg_current_wal_flush_lsn()")) < upto:
            raise FeedBroken(
                f"store {self._session.store}: its log does not reach the disk (is fsync or a commit held up?), so "
                "changes can't be read; run again"
            )
        return upto

    def _peek(self, seen: Moment, upto: int, *, room: int, spill: bool) -> Heap:
        """Read the slot: into memory as far as there is room, and else to the queue, where `spill` allows it."""
        connection, behind = self._connection, self._behind and spill
        messages_max = max(BEHIND_MESSAGES if behind else 0, MESSAGES_PER_KEY * room + 16)
        parts = published.parts_of(connection, self._datasets)
        stream = Stream(published.tables(connection, parts, self._keys), seen)
        heap = Heap(seen=seen, upto=upto, room=room, messages_max=messages_max)
        with connection.transaction():
            for messages in self._messages(upto, messages_max):
                for data in messages:
                    heap.take(stream.read(data))
                heap.messages += len(messages)
                if heap.fate is Fate.FULL:
                    if not spill or (not behind and heap.settle()):
                        self._behind = True
                        return heap
                    heap.spill()
                if heap.fate is Fate.SPILLED:
                    queue.put(connection, heap.drain())
            if not heap.settle() and heap.fate is Fate.FULL and spill:
                heap.spill()
                queue.put(connection, heap.drain())
            if heap.fate is Fate.SPILLED:
                self._note(heap.spilled_upto)
        self._behind = heap.fate is not Fate.COMPLETE
        return heap

    def _messages(self, upto: int, messages_max: int) -> Iterator[list[bytes]]:
        """The slot's messages in pieces; the server lays them down on its disk where they are many."""
        connection = self._connection
        connection.execute(
            sql.SQL(
                "DECLARE domicile_peek NO SCROLL CURSOR FOR SELECT data FROM pg_logical_slot_peek_binary_changes("
                "{}, {}::pg_lsn, {}, 'proto_version', '1', 'publication_names', {})"
            )
            .format(
                sql.Literal(slot_name(connection)), sql.Literal(text_of(upto)), sql.Literal(messages_max),
                sql.Literal(published.PUBLICATION),
            )
            .as_bytes(connection)
        )  # fmt: skip
        narrow = connection.info.server_version >= published.COLUMNS_SINCE
        fetch = sql.SQL("FETCH FORWARD {} FROM domicile_peek").format(
            sql.Literal(FETCH_ROWS if narrow else FETCH_WHOLE_ROWS)
        )
        with connection.cursor(binary=True) as cursor:
            while rows := cursor.execute(fetch).fetchall():
                yield [row[0] for row in rows]

    def _lay_by(self, seen: Moment, upto: int) -> bool:
        """Write a piece of what the slot holds down in the queue; say whether all of it is there."""
        connection = self._connection
        parts = published.parts_of(connection, self._datasets)
        stream = Stream(published.tables(connection, parts, self._keys), seen)
        heap = Heap(seen=seen, upto=upto, room=0, messages_max=BEHIND_MESSAGES)
        heap.spill()
        with connection.transaction():
            for messages in self._messages(upto, BEHIND_MESSAGES):
                for data in messages:
                    heap.take(stream.read(data))
                heap.messages += len(messages)
                queue.put(connection, heap.drain())
            is_all = heap.messages < BEHIND_MESSAGES
            self._note(upto if is_all else heap.spilled_upto)
        return is_all

    # -- moving on -----------------------------------------------------------------------------------------------

    def _note(self, place: int) -> None:
        """Write down where the slot is to stand; never back, and never where the log has not come."""
        if place > number(self._connection, _place("pg_current_wal_flush_lsn()")):
            raise FeedBroken(
                f"store {self._session.store}: what was read lies behind the end of its log: is it another server, or "
                "one restored? Give the run up and begin again"
            )
        self._connection.execute(
            sql.SQL(
                "UPDATE {} SET at = clock_timestamp(), position = greatest(position, %s::text::pg_lsn)"
                " WHERE name = 'slot'"
            ).format(state_table()),
            (text_of(place),),
        )

    def _catch_up(self, slot: Slot) -> None:
        """Move the slot to where it is to stand."""
        begun = noted(self._connection)
        if begun is not None and slot.confirmed < begun.position:
            self._calmly(
                lambda: self._connection.execute(
                    "SELECT pg_replication_slot_advance(%s, %s::text::pg_lsn)",
                    (slot_name(self._connection), text_of(begun.position)),
                )
            )

    def _calmly(self, act: Callable[[], T]) -> T:
        """Do it once nobody else has the slot: the server notices late that a reader was killed."""
        for _ in range(BUSY_TRIES_MAX):
            try:
                return act()
            except psycopg.errors.ObjectInUse:
                self._host.pause(BUSY_PAUSE_S)
        raise Unreachable(
            f"store {self._session.store}: another session reads the slot {slot_name(self._connection)}; end it "
            "(pg_replication_slots.active_pid), then run again"
        )


def _place(function: str) -> sql.Composable:
    """A place in the log as a number."""
    return sql.SQL("SELECT pg_wal_lsn_diff({}, '0/0')::bigint").format(sql.SQL(function))


def _batch(seen: Moment, waiting: queue.Queued, heap: Heap | None) -> Batch:
    """The queue's keys, and with them the slot's, where those were read."""
    keys: dict[DatasetId, set[Key]] = {name: set(found) for name, found in waiting.keys.items()}
    told = [] if heap is None or heap.fate is Fate.SPILLED else heap.shown()
    for one in told:
        if one.emptied is not None:
            raise truncated(one.emptied)
        for name, found in one.keys.items():
            keys.setdefault(name, set()).update(found)
    times = [one.at for one in told if one.keys] + ([waiting.oldest] if waiting.oldest else [])
    lsn = heap.confirmable if heap is not None and heap.fate is not Fate.SPILLED else None
    return Batch(
        position=json.dumps({"snapshot": seen.text, "upto": waiting.upto, "lsn": lsn}),
        keys={name: frozenset(found) for name, found in keys.items()},
        complete=heap is not None and heap.fate is Fate.COMPLETE,
        oldest=min(times, default=None),
        changes=waiting.lines + sum(one.changes for one in told),
    )
