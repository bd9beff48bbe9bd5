"""The side that data comes home to: an empty PostgreSQL database that the engine fills.

Slices land on tables without indexes, constraints and triggers (pre-data); these come after the last slice
(post-data), so nothing fires and every constraint is checked by the server itself when it is made. A slice and its
mark are one transaction: after a crash both are there, or neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from domicile.catalogue import Catalogue
from domicile.errors import HostFault, NotEqual, Refused
from domicile.model import DatasetScope, Digest, Home, Scope, Slice, SliceId
from domicile.proof import Measure
from domicile.stores import Sink, SourceStore
from domicile.stores.postgres import places, restoring, sequences
from domicile.stores.postgres.catalogue import read_catalogue
from domicile.stores.postgres.copying import CopyIn, Meter
from domicile.stores.postgres.fence import without_guard
from domicile.stores.postgres.names import (
    column_names,
    columns,
    key_names,
    key_select,
    relation,
    run_id,
    source_of,
    staged,
)
from domicile.stores.postgres.reading import PostgresSnapshot, slice_rows, snapshot, stray_rows
from domicile.stores.postgres.schema import Part, dump_section
from domicile.stores.postgres.session import Session, application_path, connect, faults, run, with_application_path
from domicile.stores.postgres.source import PostgresSource

Filled = TypeVar("Filled")
PRE_DATA, INDEXED, POST_DATA, FINISHED = "pre-data", "indexed", "post-data", "finished"
TABLES_NAMED_MAX = 3


def marked(connection: psycopg.Connection[Any], name: str) -> bool:
    """Whether a home bears this mark."""
    there = connection.execute("SELECT to_regclass('domicile.mark') IS NOT NULL").fetchone()
    if not there or not there[0]:
        return False
    return connection.execute("SELECT FROM domicile.mark WHERE name = %s", (name,)).fetchone() is not None


def refuse_unless_empty(connection: psycopg.Connection[Any], *, store: str, own_mark: str | None) -> None:
    """Raise Refused when the database holds tables that this run did not make; any run's will do without `own_mark`."""
    if marked(connection, PRE_DATA):
        if own_mark is not None and not marked(connection, own_mark):
            raise Refused(
                f"store {store}: holds what another run brought there, whose rows and marks are not this "
                "one's; empty it"
            )
        return
    tables = [str(table.name) for table in read_catalogue(connection).tables]
    if tables:
        more = "…" if len(tables) > TABLES_NAMED_MAX else ""
        raise Refused(
            f"store {store}: a home starts as an empty database, this one holds {len(tables)} tables "
            f"({', '.join(tables[:TABLES_NAMED_MAX])}{more}); create an empty one, or empty this one"
        )


def write_manifest(
    connection: psycopg.Connection[Any], dataset: DatasetScope, home: Home, source: PostgresSource
) -> None:
    """Make and fill this home's lines of the manifest and their mark, in the caller's transaction."""
    table = staged("m", dataset.id)
    run(
        connection,
        sql.SQL(
            "CREATE TABLE {} AS SELECT ''::text AS part, ''::text AS form, 0::bigint AS n, ''::text AS fate,"
            " ''::text AS owner, 0::bigint AS copies, {} FROM {} AS d WHERE false"
        ).format(table, key_select(dataset, "d"), source_of(dataset)),
    )
    names = columns(("part", "form", "n", "fate", "owner", "copies", *key_names(dataset)))
    writer = CopyIn(connection, table, names, binary=False)
    try:
        source.manifest_keys(dataset, home, writer)
    except BaseException:
        writer.abort()
        raise
    writer.end()
    run(connection, sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (part, form, n)").format(table))
    run(
        connection,
        sql.SQL("CREATE UNIQUE INDEX ON {} ({}) INCLUDE (n, part, form)").format(table, columns(key_names(dataset))),
    )
    run(connection, sql.SQL("ANALYZE {}").format(table))
    connection.execute("INSERT INTO domicile.mark VALUES (%s) ON CONFLICT DO NOTHING", (_manifest_mark(dataset),))


def _take_lines(connection: psycopg.Connection[Any], scope: Scope, home: Home, source: PostgresSource | None) -> None:
    """Write the manifest of a source that froze after the moment that was restored; else it came along."""
    if source is not None:
        for dataset in scope.datasets:
            write_manifest(connection, dataset, home, source)


def _manifest_mark(dataset: DatasetScope) -> str:
    return f"manifest/{dataset.id}"


class PostgresHome:
    """`dsn` of the home database; `key` the digest key of the run; `name` the store's name in messages."""

    def __init__(self, dsn: str, *, key: bytes, name: str) -> None:
        self.dsn = dsn
        self.name = name
        self._key = key
        self._session = Session(dsn, store=name)
        self._scope: Scope | None = None
        self._source: PostgresSource | None = None

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The session's connection."""
        return self._session.connection

    def close(self) -> None:
        """Give the session back."""
        self._session.close()

    def reach(self) -> None:
        """Open the session, or raise Unreachable: asked before a fence makes people wait."""
        self._session.reach()

    def bind(self, scope: Scope) -> None:
        """Name the scope in whose words slices are read and written."""
        self._scope = scope

    @property
    def scope(self) -> Scope:
        """The bound scope."""
        if self._scope is None:
            raise RuntimeError("no scope is bound to the home")
        return self._scope

    def catalogue(self) -> Catalogue:
        """Say what the database holds, less the guard that stands there for us."""
        with faults(self.name, "read the catalogue"):
            found = read_catalogue(self.connection)
        return replace(found, tables=tuple(without_guard(table) for table in found.tables))

    @contextmanager
    def snapshot(self) -> Iterator[PostgresSnapshot]:
        """Open a view of this moment, in a session of its own."""
        with self._session.apart() as connection, snapshot(connection, self.scope, self._key, self.name) as view:
            yield view

    def take_places(self, source: PostgresSource, location: Home) -> None:
        """Make this home's directory: the lines of its own people as they stand at the source."""
        with faults(self.name, "write the directory"):
            places.create(self.connection, store=self.name)
            places.copy_home(source.connection, self.connection, location)

    # -- the tables ----------------------------------------------------------------------------------------------

    def refuse_unless_empty(self) -> None:
        """Raise Refused when the database holds tables that this run did not make."""
        with faults(self.name, "look whether it is empty"):
            refuse_unless_empty(self.connection, store=self.name, own_mark=self._own_mark)

    def prepare(self, scope: Scope, home: Home, source: SourceStore) -> None:
        """Make the tables by the source's own pg_dump, then this home's copy of the manifest."""
        if not isinstance(source, PostgresSource):
            raise TypeError("a PostgreSQL home takes its schema from a PostgreSQL source")
        self.bind(scope)
        self._source = source
        self.refuse_unless_empty()
        if not self._marked(PRE_DATA):
            script = dump_section(source.dsn, server_major=source.version, section=PRE_DATA, store=source.name)
            self._run_section(PRE_DATA, script)
        for dataset in scope.datasets:
            self._copy_manifest(dataset, home, source)

    def _make_marks(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("CREATE SCHEMA IF NOT EXISTS domicile")
        connection.execute("REVOKE ALL ON SCHEMA domicile FROM PUBLIC")
        connection.execute("CREATE TABLE IF NOT EXISTS domicile.mark (name text PRIMARY KEY)")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS domicile.loaded"
            " (slice text PRIMARY KEY, rows bigint NOT NULL, bytes bigint NOT NULL, digest text NOT NULL)"
        )

    @property
    def _own_mark(self) -> str:
        return f"run/{run_id(self._key)}"

    def _marked(self, name: str) -> bool:
        with faults(self.name, "read its marks"):
            return marked(self.connection, name)

    def _run_section(self, section: str, script: str) -> None:
        """Run the SQL of a section and its mark in one transaction, in a session that is thrown away."""
        with self._session.apart() as connection, faults(self.name, f"make the {section} part of the schema"):
            connection.execute("BEGIN")
            self._make_marks(connection)
            with_application_path(connection)
            connection.execute(script.encode())
            connection.execute("INSERT INTO domicile.mark VALUES (%s)", (section,))
            connection.execute("INSERT INTO domicile.mark VALUES (%s) ON CONFLICT DO NOTHING", (self._own_mark,))
            connection.execute("COMMIT")

    def _copy_manifest(self, dataset: DatasetScope, home: Home, source: PostgresSource) -> None:
        if self._marked(_manifest_mark(dataset)):
            return
        with faults(self.name, f"write the manifest of {dataset.id}"):
            self.connection.execute("BEGIN")
            try:
                write_manifest(self.connection, dataset, home, source)
                self.connection.execute("COMMIT")
            except BaseException:
                self._session.roll_back()
                raise
            run(self.connection, sql.SQL("VACUUM (ANALYZE) {}").format(staged("m", dataset.id)))

    def forget_manifest(self, scope: Scope) -> None:
        """Drop home's copy of the manifest: another comes."""
        with faults(self.name, "drop its copy of the manifest"), self.connection.transaction():
            for dataset in scope.datasets:
                run(self.connection, sql.SQL("DROP TABLE IF EXISTS {}").format(staged("m", dataset.id)))
            self.connection.execute("DELETE FROM domicile.mark WHERE name LIKE 'manifest/%'")

    def take_manifest(
        self, scope: Scope, home: Home, source: PostgresSource, *, within: psycopg.Connection[Any] | None = None
    ) -> None:
        """Make home's copy of the manifest, where it has none; or `within` a transaction, where none is for sure."""
        for dataset in scope.datasets:
            if within is None:
                self._copy_manifest(dataset, home, source)
                continue
            with faults(self.name, f"write the manifest of {dataset.id}"):
                write_manifest(within, dataset, home, source)

    # -- the rows ------------------------------------------------------------------------------------------------

    def load(self, piece: Slice, feed: Callable[[Sink], Measure]) -> Measure:
        """Write one slice and its mark."""
        done = self._loaded(piece.id)
        if done is not None:
            return done
        with faults(self.name, f"write {piece.id}"):
            self.connection.execute("BEGIN")
            try:
                measure = self._write(piece, feed)
                self.connection.execute("COMMIT")
            except BaseException:
                self._session.roll_back()
                raise
        return measure

    def reload(self, piece: Slice, feed: Callable[[Sink], Measure]) -> Measure:
        """Replace one slice, triggers and rules silent."""
        dataset = self.scope.dataset(piece.dataset)
        with faults(self.name, f"repair {piece.id}"):
            self.connection.execute("BEGIN")
            try:
                self.connection.execute("SET LOCAL session_replication_role = replica")
                run(
                    self.connection,
                    sql.SQL("DELETE FROM {} AS x USING (SELECT d.ctid AS place, d.tableoid AS leaf FROM {}) AS y"
                            " WHERE x.ctid = y.place AND x.tableoid = y.leaf").format(
                        source_of(dataset), slice_rows(dataset, piece)
                    ),
                )  # fmt: skip
                self.connection.execute("DELETE FROM domicile.loaded WHERE slice = %s", (piece.id,))
                measure = self._write(piece, feed)
                self.connection.execute("COMMIT")
            except BaseException:
                self._session.roll_back()
                raise
        return measure

    def _write(self, piece: Slice, feed: Callable[[Sink], Measure]) -> Measure:
        dataset = self.scope.dataset(piece.dataset)
        with_application_path(self.connection)
        writer = CopyIn(self.connection, relation(dataset.table), columns(column_names(dataset)), binary=dataset.binary)
        meter = Meter(self._key, writer)
        measure = self._fill(writer, lambda _: feed(meter))
        rows = writer.end()
        written = meter.measure(piece.id, rows)
        if written != measure:
            raise NotEqual(f"{piece.id}: {measure.rows} rows were read and {rows} written; rolled back, run again")
        self.connection.execute(
            "INSERT INTO domicile.loaded VALUES (%s, %s, %s, %s)", (piece.id, rows, written.bytes, written.digest)
        )
        return written

    def _fill(self, writer: CopyIn, feed: Callable[[Sink], Filled]) -> Filled:
        try:
            return feed(writer)
        except BaseException:
            writer.abort()
            raise

    def _loaded(self, piece: SliceId) -> Measure | None:
        """The mark of one slice: asked before each, when there may be thousands."""
        with faults(self.name, "read its marks"):
            row = self.connection.execute(
                "SELECT rows, bytes, digest FROM domicile.loaded WHERE slice = %s", (piece,)
            ).fetchone()
        return Measure(slice=piece, rows=row[0], bytes=row[1], digest=Digest(row[2])) if row else None

    def loaded(self) -> Mapping[SliceId, Measure]:
        """The marks of the slices that are here."""
        if not self._marked(PRE_DATA):
            return {}
        with faults(self.name, "read its marks"):
            rows = self.connection.execute("SELECT slice, rows, bytes, digest FROM domicile.loaded")
            return {
                SliceId(name): Measure(slice=SliceId(name), rows=count, bytes=size, digest=Digest(digest))
                for name, count, size, digest in rows
            }

    def remove_strays(self, dataset: DatasetScope, home: Home) -> int:
        """Delete rows that no manifest line sends here."""
        with faults(self.name, f"remove strays of {dataset.id}"), self.connection.transaction():
            self.connection.execute("SET LOCAL session_replication_role = replica")
            return run(
                self.connection,
                sql.SQL("DELETE FROM {} AS x USING (SELECT d.ctid AS place, d.tableoid AS leaf FROM {}) AS y"
                        " WHERE x.ctid = y.place AND x.tableoid = y.leaf").format(
                    source_of(dataset), stray_rows(dataset, home)
                ),
            ).rowcount  # fmt: skip

    # -- the rest of the schema ----------------------------------------------------------------------------------

    def finish(self, scope: Scope, home: Home, *, share: int, shares: int) -> None:  # noqa: ARG002 - the protocol names the home
        """Post-data, views, sequences, statistics; each safe to repeat."""
        self.bind(scope)
        if self._marked(FINISHED):
            return
        if self._source is None:
            raise RuntimeError("prepare comes before finish")
        with faults(self.name, "give sequences their range"):
            sequences.give_home(self.connection, self._source.sequences(), share=share, shares=shares)
        if not self._marked(POST_DATA):
            self._run_post_data(POST_DATA, Part.FOREIGN_KEYS if self._marked(INDEXED) else Part.ALL)
        with faults(self.name, "fill views and statistics"):
            self._refresh_views()
            with application_path(self.connection):  # statistics of expression indexes call the application's functions
                self.connection.execute("ANALYZE")
            self.connection.execute("INSERT INTO domicile.mark VALUES (%s)", (FINISHED,))

    def index(self, scope: Scope) -> None:
        """Make the post-data part but for foreign keys; these hold once all rows are of one moment, so at `finish`."""
        self.bind(scope)
        if not self._marked(INDEXED) and not self._marked(POST_DATA):
            self._run_post_data(INDEXED, Part.WITHOUT_FOREIGN_KEYS)
            with faults(self.name, "gather statistics"), application_path(self.connection):
                self.connection.execute("ANALYZE")

    def _run_post_data(self, mark: str, part: Part) -> None:
        if self._source is None:
            raise RuntimeError("prepare comes before index and finish")
        source = self._source
        script = dump_section(
            source.dsn, server_major=source.version, section="post-data", store=source.name, part=part
        )
        self._run_section(mark, script)

    def finished(self) -> bool:
        """Whether `finish` was completed."""
        return self._marked(FINISHED)

    def _refresh_views(self) -> None:
        """Fill materialised views, those that read others after them."""
        waiting = [view.name for view in self.catalogue().views if view.materialised]
        while waiting:
            later = []
            for name in waiting:
                try:
                    with self.connection.transaction():
                        with_application_path(self.connection)
                        run(self.connection, sql.SQL("REFRESH MATERIALIZED VIEW {}").format(relation(name)))
                except psycopg.errors.ObjectNotInPrerequisiteState:
                    later.append(name)
            if len(later) == len(waiting):
                raise HostFault(f"store {self.name}: materialised views {', '.join(map(str, later))} can't be filled")
            waiting = later

    def prove_restore(  # noqa: PLR0913 - what is read, and of which dump
        self,
        scope: Scope,
        home: Home,
        slices: tuple[Slice, ...],
        *,
        moment: str | None = None,
        source: PostgresSource | None = None,
        backup: Path | None = None,
    ) -> Iterator[Measure]:
        """Dump this home (or take `backup`), restore it beside the home, read the slices there, drop it again.

        `moment` is an exported snapshot of this home that is to be dumped; the manifest is the source's then.
        """
        self.bind(scope)

        def take_lines(connection: psycopg.Connection[Any]) -> None:
            _take_lines(connection, scope, home, source)

        yield from restoring.prove(
            self.dsn, scope, slices, key=self._key, store=self.name, moment=moment, backup=backup, prepare=take_lines
        )

    def place(self) -> str:
        """Where its WAL ends now, as PostgreSQL writes it."""
        with faults(self.name, "read the WAL position"):
            row = self.connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        return str(row[0]) if row else ""

    def read_restored(
        self, dsn: str, scope: Scope, home: Home, slices: tuple[Slice, ...], *, source: PostgresSource | None
    ) -> Iterator[Measure]:
        """Read the slices from a server on which this home's own backup was restored; `source` as above."""
        self.bind(scope)
        with closing(connect(dsn, store=self.name)) as connection:
            with faults(self.name, restoring.READY):
                _take_lines(connection, scope, home, source)
            yield from restoring.read(connection, scope, slices, key=self._key, store=self.name)
