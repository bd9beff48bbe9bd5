"""The side that data leaves: a PostgreSQL database, by DSN."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from domicile.catalogue import Catalogue, Sequence
from domicile.errors import Refused, Unreachable, WorldChanged
from domicile.host import Host
from domicile.model import DatasetScope, Digest, Home, Manifest, Scope, Slice, SliceId, State
from domicile.proof import Erased, Fence
from domicile.stores import Living, Sink
from domicile.stores.postgres import erasing, fence, places, sequences, staging, tracing
from domicile.stores.postgres.catalogue import read_catalogue
from domicile.stores.postgres.closure import EVERYWHERE, Work
from domicile.stores.postgres.copying import copy_out
from domicile.stores.postgres.feed import remains
from domicile.stores.postgres.feed.triggers import detach_triggers, logged_tables
from domicile.stores.postgres.guard import Guarding, replace_guard
from domicile.stores.postgres.horizon.rewrite import empty
from domicile.stores.postgres.horizon.treatment import Patience
from domicile.stores.postgres.names import STAGING, columns, key_names, run_id, staged
from domicile.stores.postgres.reading import PostgresSnapshot, current_position, snapshot
from domicile.stores.postgres.session import Session, faults, run
from domicile.stores.traces import Trace

FENCE_TRIES_MAX = 30


class PostgresSource:
    """`dsn` of the source database; `key` the 32-byte digest key of the run; `name` the store's name in messages.

    `programme` is told to the operator of another one who finds the fence of this.
    """

    def __init__(self, dsn: str, *, key: bytes, name: str, host: Host | None = None, programme: str = "") -> None:
        self.dsn = dsn
        self.name = name
        self._programme = programme
        self._key = key
        self._host = host or Host()
        self._session = Session(dsn, store=name)
        self._scope: Scope | None = None

    # -- plumbing ------------------------------------------------------------------------------------------------

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The session's connection."""
        return self._session.connection

    def close(self) -> None:
        """Give the session back."""
        self._session.close()

    def bind(self, scope: Scope) -> None:
        """Name the scope in whose words slices are read."""
        self._scope = scope

    @property
    def scope(self) -> Scope:
        """The bound scope."""
        if self._scope is None:
            raise RuntimeError("no scope is bound to the source")
        return self._scope

    @property
    def version(self) -> int:
        """The server's major version."""
        return self.connection.info.server_version // 10_000

    # -- reading -------------------------------------------------------------------------------------------------

    def catalogue(self) -> Catalogue:
        """Say what the database holds, less the guard and the key-log that stand there for us."""
        with faults(self.name, "read the catalogue"):
            found = read_catalogue(self.connection)
        return replace(found, tables=tuple(fence.without_guard(table) for table in found.tables))

    @contextmanager
    def snapshot(self) -> Iterator[PostgresSnapshot]:
        """Open a view of this moment, in a session of its own."""
        with self._session.apart() as connection, snapshot(connection, self.scope, self._key, self.name) as view:
            yield view

    def survey(self, scope: Scope, *, beside: staging.Look | None = None) -> Manifest:
        """Count the closure; nothing stays behind. `beside` reads more by it, before it is gone."""
        self.refuse_taken_homes(scope)
        with faults(self.name, "survey the closure"):
            return staging.survey(self.connection, scope, digest_key=self._key, beside=beside)

    def trace(self, scope: Scope, dataset: DatasetScope, texts: tuple[str, ...], *, survey: bool) -> Trace | None:
        """Say all that is known of one row; a text that can't be such a key names no row."""
        self.fence_stands()  # refused when it is another run's
        frozen = self.frozen() is not None
        with (
            faults(self.name, f"trace a row of {dataset.id}"),
            tracing.traced_world(self.connection, scope, frozen=frozen, survey=survey) as schema,
        ):
            tracer = tracing.Tracer(
                connection=self.connection, scope=scope, schema=schema, digest_key=self._key,
                computed=frozen or survey, frozen=frozen,
            )  # fmt: skip
            return tracer.trace(dataset, texts)

    def find_key(self, dataset: DatasetScope, digest: str, *, rows_max: int) -> tuple[str, ...] | None:
        """Look for the key of that digest among the dataset's first rows in key order."""
        with faults(self.name, f"look for a key of {dataset.id}"):
            return tracing.find_key(self.connection, dataset, digest, key=self._key, rows_max=rows_max)

    def manifest_keys(self, dataset: DatasetScope, home: Home, sink: Sink) -> None:
        """Stream the lines that concern `home`: part, form, n, fate, owner, copies, key. They name no key twice."""
        query = sql.SQL(
            "SELECT part, form, n, fate, owner, copies, {} FROM {} WHERE part = {home}"
            " OR (part = {star} AND owner IS DISTINCT FROM {home})"
        ).format(
            columns(key_names(dataset)), staged("m", dataset.id), home=sql.Literal(home), star=sql.Literal(EVERYWHERE)
        )
        with faults(self.name, f"read the manifest of {dataset.id}"):
            copy_out(self.connection, query, sink, binary=False)

    # -- fence and freeze ----------------------------------------------------------------------------------------

    def stand_fence(self, scope: Scope, *, state: State = State.FENCED) -> Fence:
        """Install the guard with all movers in this state, or return the one that stands."""
        self.bind(scope)
        for _ in range(FENCE_TRIES_MAX):
            standing = self._standing()  # asked each time: the try before may have been committed and not heard of
            if standing is not None:
                return standing
            try:
                return self._install(scope, state)
            except Unreachable:
                self._host.pause(0.2)
        raise Unreachable(
            f"store {self.name}: no lock for the fence in {FENCE_TRIES_MAX} tries of {fence.LOCK_TIMEOUT_MS} ms; "
            "end the long transaction that holds it, then run again"
        )

    def _patiently(self, what: str, act: Callable[[psycopg.Connection[Any]], None]) -> None:
        """Do it in a transaction of its own that queues for its locks no longer than the fence does, again and again.

        Whoever comes after us waits behind us for as long, and no longer (P6).
        """
        for _ in range(FENCE_TRIES_MAX):
            try:
                with faults(self.name, what), self.connection.transaction():
                    fence.wait_briefly(self.connection)
                    act(self.connection)
            except Unreachable:
                self._host.pause(0.2)
            else:
                return
        raise Unreachable(
            f"store {self.name}: no lock in {FENCE_TRIES_MAX} tries of {fence.LOCK_TIMEOUT_MS} ms to {what}; end the "
            "long transaction that holds it, then run again"
        )

    def _standing(self) -> Fence | None:
        row = self._standing_line()
        if row is None:
            return None
        return Fence(position=row[0], fenced_at=row[1], wait_ms=row[2], subjects=self._subjects())

    def _standing_line(self) -> tuple[Any, ...] | None:
        """What the fence wrote of itself; unlike the people it holds, it can be read without a scope."""
        with faults(self.name, "look for a standing fence"):
            if not staging.exists(self.connection, "fence"):
                return None
            row: tuple[Any, ...] | None = run(
                self.connection,
                sql.SQL("SELECT position, fenced_at, wait_ms, run, to_jsonb(f) ->> 'programme' FROM {} AS f").format(
                    sql.Identifier(STAGING, "fence")
                ),
            ).fetchone()
        if row is None:
            return None
        if row[3] != run_id(self._key):
            whose = f"another run (programme {row[4]})" if row[4] else "another run"
            raise Refused(
                f"store {self.name}: {whose} holds its fence since {row[1].astimezone(UTC):%Y-%m-%d %H:%M} UTC, and a "
                "source is left by one at a time. Finish that one (`domicile apply`, up to its certificate) or, while "
                "nothing is erased, give it up (`domicile abandon`), in its own folder; then run this again"
            )
        return tuple(row)

    def standing_fence(self) -> Fence | None:
        """The fence of this run, if one stands."""
        return self._standing()

    def fence_stands(self) -> bool:
        """Whether this run's fence was stood and not taken away; Refused when it is another run's."""
        return self._standing_line() is not None

    def is_fenced(self) -> bool:
        """Whether the guard stands, on every table and as it was written."""
        if self._standing_line() is None:
            return False
        with faults(self.name, "look at the guards"):
            return not fence.open_guards(self.connection, fence.guarded(self.scope))

    def late_rows(self) -> int:
        """Rows that lead to movers and are not in the manifest: someone got past the fence."""
        with faults(self.name, "look for rows that came late"):
            return staging.late_rows(self.connection, self.scope)

    def _install(self, scope: Scope, state: State) -> Fence:
        connection = self.connection
        self.refuse_foreign_staging()
        self.refuse_taken_homes(scope)
        with faults(self.name, "install the fence"):
            connection.execute("BEGIN")
            try:
                fence.create_staging(connection, scope, STAGING, state=state)
                start = self._host.monotonic_s()
                fence.lock_for_guard(connection, scope)
                fence.late_movers(connection, scope, state=state)
                fence.install(connection, scope, Guarding(closed=state is State.FENCED))
                position, wait_ms = current_position(connection), round((self._host.monotonic_s() - start) * 1000)
                run(
                    connection,
                    sql.SQL("CREATE TABLE {} AS SELECT {}::text AS position, {}::timestamptz AS fenced_at,"
                            " {}::bigint AS wait_ms, {}::text AS run, {}::text AS programme").format(
                        sql.Identifier(STAGING, "fence"), sql.Literal(position), sql.Literal(self._host.now()),
                        sql.Literal(wait_ms), sql.Literal(run_id(self._key)), sql.Literal(self._programme),
                    ),
                )  # fmt: skip
                connection.execute("COMMIT")
            except BaseException:
                if not connection.closed:
                    connection.execute("ROLLBACK")
                raise
        standing = self._standing()
        if standing is None:
            raise RuntimeError("the fence was committed and is not there")
        return standing

    def refuse_foreign_staging(self) -> None:
        """Raise when a schema of our name is there that is not this run's staging: it is neither used nor dropped.

        Refused where it is another run's, WorldChanged where nobody says whose it is.
        """
        if self._standing_line() is not None:
            return
        with faults(self.name, "look for the staging of others"):
            row = self.connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", (STAGING,)).fetchone()
        if row and row[0]:
            raise WorldChanged(
                f"store {self.name}: schema {STAGING} exists and is not a run of ours; rename or drop it first"
            )

    def refuse_taken_homes(self, scope: Scope) -> None:
        """Raise Refused where the directory says, before any fence of ours, that people are at a home of ours.

        Their lines would be told to our home as its people's, and nobody could tell both programmes' people apart.
        """
        if self._standing_line() is not None:
            return
        with faults(self.name, "look for the homes of others in the directory"):
            taken = ", ".join(places.known_homes(self.connection, scope.homes))
        if taken:
            raise Refused(
                f"store {self.name}: its directory holds people of homes called {taken}, whom another programme or an "
                "earlier run took there. Give the location another name in this file (it may be the same store); or, "
                "where these people live there no more, delete their lines from domicile_directory.place first"
            )

    def _subjects(self) -> tuple[tuple[Home, int], ...]:
        counted = fence.movers_by_home(self.connection, self.scope, STAGING)
        return tuple((Home(home), count) for home, count in counted.items())

    def freeze(self, scope: Scope, *, refine: Callable[[Work], None] | None = None) -> Manifest:
        """Freeze the closure under the fence; see `staging.freeze`."""
        self.bind(scope)
        with faults(self.name, "freeze the closure"):
            return staging.freeze(
                self.connection,
                scope,
                digest_key=self._key,
                catalogue_sequences=sequences.within_columns(read_catalogue(self.connection)),
                refine=refine,
            )

    def unfreeze(self) -> None:
        """Take a freeze back, while homes live and nothing is erased."""
        with faults(self.name, "take the freeze back"):
            staging.unfreeze(self.connection, self.scope)

    def let_nobody_come(self) -> None:
        """From now on nobody becomes a mover: whoever would is to be written at home."""
        with faults(self.name, "close the guards"), self.connection.transaction():
            for dataset in fence.guarded(self.scope):
                replace_guard(self.connection, self.scope, dataset, Guarding(closed=True))
            fence.keep_sources(self.connection)

    def draft(self, scope: Scope) -> Manifest:
        """Compute the closure of this moment while people write, and keep it as a manifest for the copy."""
        self.bind(scope)
        with faults(self.name, "draft the closure"):
            return staging.draft(
                self.connection,
                scope,
                digest_key=self._key,
                catalogue_sequences=sequences.within_columns(read_catalogue(self.connection)),
            )

    def sequences(self) -> tuple[Sequence, ...]:
        """The sequences as they were at the freeze."""
        with faults(self.name, "read the frozen sequences"):
            return sequences.frozen(self.connection)

    def limit_sequences(self, *, shares: int) -> None:
        """Keep the source's sequences within their own share of the ranges."""
        for sequence in self.sequences():
            self._patiently(
                f"limit the sequence {sequence.name}",
                partial(sequences.limit_source, sequence=sequence, shares=shares),
            )

    def unlimit_sequences(self) -> None:
        """Give the source's sequences back what they had; for a run that is given up."""
        for sequence in self.sequences() if self.frozen() is not None else ():
            self._patiently(
                f"give the sequence {sequence.name} back what it had",
                partial(sequences.unlimit_source, sequence=sequence),
            )

    def frozen(self) -> Manifest | None:
        """The frozen manifest, when there is one."""
        with faults(self.name, "read the frozen closure"):
            return staging.frozen(self.connection)

    def position(self) -> str:
        """The place in the write-ahead log of now."""
        with faults(self.name, "read its position"):
            return current_position(self.connection)

    def release_fence(self) -> None:
        """Take the guard away, table by table; the staging stays."""
        for dataset in fence.guarded(self.scope):
            self._patiently(f"take the guard of {dataset.id} away", partial(fence.remove, dataset=dataset))

    # -- the directory -------------------------------------------------------------------------------------------

    def make_directory(self) -> None:
        """Make the directory's tables, unless they are here."""
        with faults(self.name, "make the directory"):
            places.create(self.connection, store=self.name)

    @contextmanager
    def transaction(self, what: str) -> Iterator[None]:
        """Let all that the block does in this session happen, or nothing."""
        with faults(self.name, what), self.connection.transaction():
            yield

    def record_places(self, scope: Scope, state: State) -> int:
        """Write into the directory, where one is kept, that all movers are in that state; return how many changed."""
        with faults(self.name, "write the directory"):
            return places.record_all(self.connection, scope, state=state)

    # -- erasing -------------------------------------------------------------------------------------------------

    def erase(
        self, piece: Slice, proven: Digest, read_home: Callable[[], Digest], *, living: Living | None = None
    ) -> Erased:
        """Erase one slice; see `erasing`."""
        with faults(self.name, f"erase {piece.id}"):
            return erasing.erase(
                self.connection, self.scope, piece, key=self._key, proven=proven, read_home=read_home, living=living
            )

    def empty_derived(self, scope: Scope) -> None:
        """Empty the derived tables before the rows go that theirs may refer to; once more when the horizon is treated.

        A job may fill them meanwhile: what it takes from rows that are still here is gone with the second time.
        """
        for item in scope.derived:
            if not item.view:
                with faults(self.name, f"empty {item.id}"):
                    done = empty(self.connection, item.table, patience=Patience().lock)
                for failed in (one for one in done if not one.rewritten):
                    raise Unreachable(f"{item.id}: {failed.table} can't be emptied: {failed.why}; run again")

    def rehearse(self, piece: Slice) -> None:
        """Blank the slice's rows in a transaction that is rolled back: a constraint that forbids it speaks now."""
        with faults(self.name, f"rehearse the blanking of {piece.id}"):
            erasing.rehearse(self.connection, self.scope, piece)

    def erased(self) -> Mapping[SliceId, Erased]:
        """The marks of what was erased; none when nothing is frozen."""
        with faults(self.name, "read the marks of the erasure"):
            return erasing.erased(self.connection) if staging.exists(self.connection, "erased") else {}

    def remaining(self) -> int:
        """Rows that should be gone and are still there, or that came past the fence while others went; by query."""
        with faults(self.name, "look for rows that should be gone"):
            return erasing.remaining(self.connection, self.scope) + staging.late_rows(self.connection, self.scope)

    def forget_movers(self) -> None:
        """Take the movers of a run that is given up out of the directory."""
        with faults(self.name, "take people out of the directory"):
            places.withdraw(self.connection, self.scope)

    def drop_staging(self) -> None:
        """Remove guard and changefeed, table by table, then the rest of them and the staging; the directory stays."""
        self.refuse_foreign_staging()
        self.release_fence()
        with faults(self.name, "look for the changefeed's triggers"):
            followed = tuple(logged_tables(self.connection))
        for table in followed:
            self._patiently("take the changefeed's triggers away", partial(detach_triggers, table=table))

        def drop(connection: psycopg.Connection[Any]) -> None:
            remains.detach(connection)
            run(connection, sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(STAGING)))

        self._patiently("take the staging away", drop)
