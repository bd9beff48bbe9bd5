"""Follows the source: one step reads what the feed shows in one snapshot, settles it, and brings it home.

    snapshot at the source → feed's keys that it shows → settle → every home, each in one transaction → confirm

A step that was not cut off leaves every home equal to the source as of its snapshot. Killed anywhere, the next step
reads the same keys again: what was not confirmed is shown once more, and what was brought is brought anew (P5).
But not what was brought back: people at the source may have changed it since, so it is noted there as it is brought.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from domicile.errors import InTheWay
from domicile.model import DatasetScope, Home, Scope
from domicile.stores.feed import Batch, Changefeed
from domicile.stores.postgres.fence import admit
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.live import back, carrying, comparing, delta, forth, outgoing
from domicile.stores.postgres.live.carrying import How
from domicile.stores.postgres.live.comparing import Unlike
from domicile.stores.postgres.live.delta import Delta, Settled
from domicile.stores.postgres.names import movers_of
from domicile.stores.postgres.session import connect, faults, faults_but_unique, run, with_application_path
from domicile.stores.postgres.source import PostgresSource

Maker = Callable[[psycopg.Connection[Any], Scope], None]
KEYS_MAX = 20_000
KEYS_GROWTH = 8
LOCK_S_MIN, LOCK_S_MAX = 0.05, 0.9
LOCKS_S = (0.3, 0.3, 0.6, 0.6, 1.2, 2.4, 4.8, 9.6, 19.2, 38.4)
"""How long a step waits for a lock, from one try to the next."""
RACES_MAX = 5
"""How often the platform may write at just that moment a row that is brought back."""
PLANS_KEYS_MAX = 2_000
PLANS_AFTER = 2
PLANS_MAX = 2_000
"""Statements whose plans a session keeps: those of one step, over a hundred tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """What one step did. `complete`: homes are as the source was at its snapshot; `unlike`: what was read otherwise.

    `astray` are people who are fenced and belong to another market by now.
    """

    changes: int
    keys: int
    rows: int
    gone: int
    people: int
    complete: bool
    oldest: datetime | None
    unlike: tuple[Unlike, ...] = ()
    astray: int = 0


@dataclass(slots=True, kw_only=True)
class Follower:
    """The source, its feed, the homes and theirs. `lived_in` are the homes where people live already."""

    source: PostgresSource
    homes: Mapping[Home, PostgresHome]
    feed: Changefeed
    feeds_back: Mapping[Home, Changefeed]
    scope: Scope
    _reader: psycopg.Connection[Any] | None = field(default=None, init=False)
    _returner: psycopg.Connection[Any] | None = field(default=None, init=False)
    _writers: dict[Home, psycopg.Connection[Any]] = field(default_factory=dict, init=False)
    _lock_s_max: float | None = field(default=None, init=False)
    _leaving: tuple[int, tuple[Home, ...]] | None = field(default=None, init=False)
    """The cohort that is just brought back, and its homes."""
    _owed: back.Keys = field(default_factory=dict, init=False)
    """Rows of several people that were brought back, or left alone, and did not go forth yet. Forgotten by a kill: a
    cohort is compared before its fence, and from then on only what is brought back since can be missing."""

    def _patiently(self, act: Callable[[], Stepped]) -> Stepped:
        """Do it again, and wait longer, while others' locks are in the way: never so that one of them is broken off.

        Of sessions that wait for each other the server ends the one that has waited for `deadlock_timeout`, a second;
        ours has given up by then. Where somebody is fenced there is no second try.
        """
        if self._lock_s_max is not None:
            return act()
        for lock_s_max in LOCKS_S:
            try:
                self._lock_s_max = lock_s_max
                return act()
            except InTheWay:
                if lock_s_max == LOCKS_S[-1]:
                    raise
            finally:
                self._lock_s_max = None
        raise RuntimeError("no try was made")

    @contextmanager
    def in_haste(self, seconds: float) -> Iterator[None]:
        """Wait for no lock of others longer than that where rows are written: somebody is fenced meanwhile."""
        self._lock_s_max = min(max(seconds, LOCK_S_MIN), LOCK_S_MAX)
        try:
            yield
        finally:
            self._lock_s_max = None

    def close(self) -> None:
        """Give the sessions back."""
        for connection in (self._reader, self._returner, *self._writers.values()):
            if connection is not None:
                connection.close()
        self._reader, self._returner, self._writers = None, None, {}

    @property
    def reader(self) -> psycopg.Connection[Any]:
        """The source's session in which steps forth read, with its temporary tables."""
        if self._reader is None or self._reader.closed:
            session = connect(self.source.dsn, store=self.source.name)
            self._reader = self._made(self.source.name, session, delta.make_tables, outgoing.make_loads)
        return self._reader

    @property
    def returner(self) -> psycopg.Connection[Any]:
        """The source's session in which steps back write."""
        if self._returner is None or self._returner.closed:
            session = _silent(self.source.dsn, self.source.name)
            self._returner = self._made(self.source.name, session, carrying.make_arrivals)
        return self._returner

    def writer(self, home: Home) -> psycopg.Connection[Any]:
        """A home's session of the steps."""
        found = self._writers.get(home)
        if found is None or found.closed:
            store = self.homes[home]
            session = _silent(store.dsn, store.name)
            found = self._writers[home] = self._made(store.name, session, carrying.make_arrivals, back.make_keys)
        return found

    def _made(self, store: str, connection: psycopg.Connection[Any], *makers: Maker) -> psycopg.Connection[Any]:
        """Make the session's temporary tables."""
        with faults(store, "make the tables of the steps"):
            with connection.transaction():
                for make in makers:
                    make(connection, self.scope)
            carrying.prime(connection)
            connection.execute("SET random_page_cost = 1.1")  # a step reads what was written just now
        return connection

    def _keep_plans(self, batch: Batch) -> None:
        """Keep plans while steps are small: they are planned for few keys, and planning is most of such a step."""
        small = sum(map(len, batch.keys.values())) <= PLANS_KEYS_MAX
        for connection in (self._reader, self._returner, *self._writers.values()):
            if connection is not None:
                connection.prepare_threshold = PLANS_AFTER if small else None
                connection.prepared_max = PLANS_MAX

    # -- forth ---------------------------------------------------------------------------------------------------

    def step(self, *, cohort: int | None = None, repair: bool = False) -> Stepped:
        """Bring home what changed; with `cohort`, compare all rows of its people once home is complete.

        `repair` brings the cohort's rows once more where they differ, but for those that home changed meanwhile.
        """
        self._confirm_brought()
        return self._patiently(partial(self._step_of_any_size, cohort, repair=repair))

    def _step_of_any_size(self, cohort: int | None, *, repair: bool) -> Stepped:
        keys_max = KEYS_MAX
        while True:
            try:
                return self._step(keys_max, cohort=cohort, repair=repair)
            except psycopg.errors.UniqueViolation as fault:  # two rows changed a unique value, and one was cut off
                keys_max *= KEYS_GROWTH
                if keys_max > KEYS_MAX * KEYS_GROWTH**4:
                    with faults(self.source.name, "bring changes home"):
                        raise fault from None

    def _step(self, keys_max: int, *, cohort: int | None, repair: bool) -> Stepped:
        connection = self.reader
        with self._moment(connection, self.source.name, "read its changes") as snapshot:
            batch = self.feed.read(snapshot, keys_max=keys_max)
            self._keep_plans(batch)
            settled = self._settle(connection, batch, cohort if repair and batch.complete else None)
            done = self._bring(settled, batch) if settled is not None else _nothing(batch)
            if self._owed:
                done = self._bring_owed(connection, done, batch)
            if cohort is not None and batch.complete:
                done = self._compare_cohort(connection, done, cohort, repair=repair)
        self.feed.confirm(batch)
        return done

    @contextmanager
    def _moment(self, connection: psycopg.Connection[Any], store: str, what: str) -> Iterator[str]:
        """One moment of a store, in which all of a step is read; gives its snapshot."""
        with faults(store, what):
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
        try:
            yield str(row[0]) if row else ""
            with faults(store, what):
                carrying.clear(connection)
                connection.execute("COMMIT")
                carrying.shrink(connection)
        except BaseException:
            _undo(connection)
            raise

    def _settle(self, connection: psycopg.Connection[Any], batch: Batch, cohort: int | None) -> Settled | None:
        if not batch.keys and cohort is None:
            return None
        with faults(self.source.name, "settle its changes"):
            return delta.settle(connection, self.scope, batch.keys, cohort=cohort)

    def _bring_owed(self, connection: psycopg.Connection[Any], done: Stepped, batch: Batch) -> Stepped:
        """Bring what came back of several homes' people to those who are still on the way: no feed tells of it.

        In place of nothing that is somebody's who lives there: that is newer.
        """
        with faults(self.source.name, "settle what came back"):
            outgoing.unpack(connection, self.scope)
            settled = delta.settle_more(connection, self.scope, self._owed)
        more = self._bring(settled, batch, whole=How.PUT)
        self._owed = {}
        return replace(done, rows=done.rows + more.rows, gone=done.gone + more.gone, people=done.people + more.people)

    def _bring(self, settled: Settled, batch: Batch, *, whole: How = How.REPLACE) -> Stepped:
        """Write what was settled at every home, and read back what replaces what is there."""
        rows = gone = 0
        unlike: list[Unlike] = []
        with faults(self.source.name, "read what changed"):
            loads, theirs = outgoing.pack(settled, whole=whole), comparing.sums(settled)
        for home, store in self.homes.items():
            connection = self.writer(home)
            with faults_but_unique(store.name, "bring changes home"), self._writing(connection):
                if settled.people:
                    self._tell_people(settled.work, connection, home, leavers=False)
                brought = forth.bring(settled, loads[home], connection, home, lived_in=self.is_lived_in(home))
                if settled.people:
                    self._tell_people(settled.work, connection, home, leavers=True)
                if whole is How.REPLACE:
                    unlike.extend(comparing.read_back(settled, theirs, connection, home))
            rows, gone = rows + brought.rows, gone + brought.gone
        return Stepped(
            changes=batch.changes, keys=settled.keys, rows=rows, gone=gone, people=settled.people,
            complete=batch.complete, oldest=batch.oldest, unlike=tuple(unlike), astray=settled.astray,
        )  # fmt: skip

    @contextmanager
    def _writing(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        """A transaction that the guards let pass."""
        connection.execute("BEGIN")
        try:
            admit(connection)
            with_application_path(connection)
            if self._lock_s_max is not None:
                waited = sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(round(self._lock_s_max * 1000)))
                run(connection, waited)
            yield
            carrying.clear(connection)
            connection.execute("COMMIT")
            carrying.shrink(connection)
        except BaseException:
            _undo(connection)
            raise

    def _tell_people(self, work: Delta, target: psycopg.Connection[Any], home: Home, *, leavers: bool) -> None:
        """Bring home's list of its people up to what was settled: who comes before their rows do, who leaves after."""
        for kind in self.scope.kinds:
            which = sql.SQL("was = {0} AND home IS DISTINCT FROM {0}" if leavers else "home = {0}")
            changed = work.run(
                sql.SQL("SELECT key::text FROM {} WHERE {}").format(
                    work.changed_people(kind.dataset), which.format(sql.Literal(home))
                )
            ).fetchall()
            types = {item.name: item.type for item in self.scope.dataset(kind.dataset).columns}
            typed = sql.SQL("%s::" + types[kind.key].replace("%", "%%"))  # format_type() text from the catalogue
            movers = movers_of(kind.dataset)
            for (key,) in changed:
                target.execute(sql.SQL("DELETE FROM {} WHERE key = {}").format(movers, typed), (key,))
                if not leavers:
                    put = sql.SQL("INSERT INTO {} (key, home, state) VALUES ({}, %s, 'moving')").format(movers, typed)
                    target.execute(put, (key, home))

    def _compare_cohort(
        self, connection: psycopg.Connection[Any], done: Stepped, cohort: int, *, repair: bool
    ) -> Stepped:
        with faults(self.source.name, "read a cohort's rows"):
            settled = delta.settle_cohort(connection, self.scope, cohort)
            theirs, loads = comparing.sums(settled), dict[Home, tuple[outgoing.Load, ...]]()
        unlike: list[Unlike] = []
        for home, store in self.homes.items():
            target = self.writer(home)
            with faults(store.name, "compare a cohort's rows"), self._writing(target):
                found = comparing.read_back(settled, theirs, target, home, noted=False)
                if found and repair:
                    if not loads:
                        outgoing.unpack(connection, self.scope)
                        loads = outgoing.pack(settled)
                    lived_in = self.is_lived_in(home)
                    forth.bring(settled, loads[home], target, home, lived_in=lived_in, again=True)
                unlike.extend(found)
        return replace(done, unlike=(*done.unlike, *unlike))

    # -- back ----------------------------------------------------------------------------------------------------

    def step_back(self, home: Home, *, closing: bool = False) -> Stepped:
        """Bring to the source what people at this home changed; `closing`: nothing waits for a public half any more."""
        self._confirm_brought()
        return self._patiently(partial(self._step_back, home, closing=closing))

    def _step_back(self, home: Home, *, closing: bool) -> Stepped:
        target = self.writer(home)
        with self._moment(target, self.homes[home].name, "read its changes") as snapshot:
            batch = self.feeds_back[home].read(snapshot, keys_max=KEYS_MAX)
            self._keep_plans(batch)
            done = self._return(home, target, batch, closing=closing)
        self._confirm_back(home, batch)
        return done

    def return_until(self, home: Home, target: psycopg.Connection[Any], snapshot: str) -> int:
        """Bring back all that people at this home changed up to the caller's snapshot; return how many keys it was.

        Nothing waits for a public half any more: what lacks one comes whole.
        """
        self._confirm_brought()
        keys = 0
        while True:
            batch = self.feeds_back[home].read(snapshot, keys_max=KEYS_MAX)
            keys += self._return(home, target, batch, closing=True).keys
            self._confirm_back(home, batch)
            if batch.complete:
                return keys

    def _confirm_brought(self) -> None:
        """Have homes forget what a run before brought back and could not confirm: the source may have gone on since."""
        if not self.feeds_back:
            return
        with faults(self.source.name, "look what was brought back"):
            found = back.brought(self.source.connection)
        for home, position in found.items():
            noted = Batch(position=position, keys={}, complete=True, oldest=None, changes=0)
            self.feeds_back[home].confirm(noted)
            self._forget_brought(home)

    def _confirm_back(self, home: Home, batch: Batch) -> None:
        self.feeds_back[home].confirm(batch)
        if batch.keys:
            self._forget_brought(home)

    def _forget_brought(self, home: Home) -> None:
        with faults(self.source.name, "forget what was brought back"):
            back.forget_brought(self.source.connection, home)

    @contextmanager
    def bringing_back(self, cohort: int, homes: tuple[Home, ...]) -> Iterator[None]:
        """What is brought back in the block is a cohort's that goes back: what one deleted another may still have.

        Then it comes as it is at the home of that one, of these homes; it goes where none of them has it. So what is
        at the source hangs on nothing that was brought there before.
        """
        self._leaving = cohort, homes
        try:
            yield
        finally:
            self._leaving = None

    def return_shared(self, home: Home, cohort: int) -> int:
        """Bring back what a cohort's people at this home have together with people of elsewhere; return how many keys.

        Home's log was brought back before, and what it says later is brought under the fence: this is all else. Keys
        of both sides, as a row that is gone at home may have come again at the source.
        """
        self._confirm_brought()
        count = 0
        for store, goes in ((self.source, True), (self.homes[home], False)):
            with connect(store.dsn, store=store.name) as reader, faults(store.name, "look for what is shared"):
                for keys in back.keys_of_cohort(
                    reader, self.scope, cohort, home, at_once=KEYS_MAX, children_first=goes
                ):
                    self._patiently(partial(self._return_some, home, keys))
                    count += sum(map(len, keys.values()))
        return count

    def return_keys(self, home: Home, target: psycopg.Connection[Any], keys: back.Keys) -> int:
        """Bring back these rows of people of one home, in a transaction of the caller's there; return how many."""
        with faults(self.source.name, "take back what home alone has"):
            return self._brought(home, target, keys, closing=True).rows

    def _return_some(self, home: Home, keys: back.Keys) -> Stepped:
        target = self.writer(home)
        with (
            self._moment(target, self.homes[home].name, "read what is shared"),
            faults(self.source.name, "take back what is shared"),
        ):
            done = self._brought(home, target, keys, shared=True)
        return Stepped(changes=0, keys=0, rows=done.rows, gone=done.gone, people=0, complete=True, oldest=None)

    def _brought(  # noqa: PLR0913 - what, from where, and how
        self, home: Home, target: psycopg.Connection[Any], keys: back.Keys, *, closing: bool = False,
        shared: bool = False, position: str | None = None,
    ) -> back.Returned:  # fmt: skip
        """Bring keys back in one transaction at the source, which notes the position if there is one.

        Once more where the platform wrote the same row, its other end, at just that moment: then it is there.
        """
        source, tries = self.returner, RACES_MAX
        while True:
            tries -= 1
            try:
                with self._writing(source):
                    done = back.bring_back(
                        target, source, self.scope, dict(keys), of=home, closing=closing, ask=self._asking(home),
                        shared=shared,
                    )  # fmt: skip
                    if position is not None:
                        back.note_brought(source, home, position)
            except psycopg.errors.UniqueViolation:
                if not tries:
                    raise
                continue
            for name, owed in done.owed.items():
                self._owed.setdefault(name, set()).update(owed)
            return done

    def _asking(self, home: Home) -> back.Ask | None:
        """What asks the other homes of a cohort that goes back for what is gone at one; within a transaction there."""
        if self._leaving is None:
            return None
        cohort, homes = self._leaving

        def ask(dataset: DatasetScope) -> int:
            rows = 0
            for other in homes:
                store = self.homes[other].name
                if other != home:
                    with self._moment(self.writer(other), store, "read what others have"), faults(store, "read it"):
                        rows += back.carry_kept(self.writer(other), self.returner, self.scope, dataset, cohort)
            return rows

        return ask

    def _return(self, home: Home, target: psycopg.Connection[Any], batch: Batch, *, closing: bool) -> Stepped:
        keys: back.Keys = {name: set(found) for name, found in batch.keys.items()}
        with faults(self.source.name, "take changes back"):
            for name, found in back.waiting(self.returner, self.scope, home).items():
                keys.setdefault(name, set()).update(found)
            if not keys:
                return _nothing(batch)
            position = batch.position if batch.keys else None
            returned = self._brought(home, target, keys, closing=closing, position=position)
        return Stepped(
            changes=batch.changes, keys=sum(map(len, keys.values())), rows=returned.rows, gone=returned.gone,
            people=0, complete=batch.complete, oldest=batch.oldest,
        )  # fmt: skip

    # -- people --------------------------------------------------------------------------------------------------

    def is_lived_in(self, home: Home) -> bool:
        """Whether somebody lives at this home already."""
        each = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT FROM {} WHERE state <> 'moving' AND home = {}").format(
                movers_of(kind.dataset), sql.Literal(home)
            )
            for kind in self.scope.kinds
        )
        with faults(self.homes[home].name, "look who lives there"):
            found = run(self.writer(home), sql.SQL("SELECT EXISTS ({})").format(each)).fetchone()
        return bool(found and found[0])


def _silent(dsn: str, store: str) -> psycopg.Connection[Any]:
    """Open a session in which triggers, rules and foreign keys are silent.

    For good: whenever that changes, the server forgets the session's plans.
    """
    connection = connect(dsn, store=store)
    with faults(store, "silence its triggers"):
        connection.execute("SET session_replication_role = replica")
    return connection


def _undo(connection: psycopg.Connection[Any]) -> None:
    if not connection.closed:
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()


def _nothing(batch: Batch) -> Stepped:
    return Stepped(changes=0, keys=0, rows=0, gone=0, people=0, complete=batch.complete, oldest=batch.oldest)
