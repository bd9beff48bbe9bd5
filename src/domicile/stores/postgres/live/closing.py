"""The end of a move under way, while homes live: one moment of each home, and a source that says the same of it.

What people at home change up to that moment is brought back first; the source refuses their writes, and the way back
stands still from then on. So all that is theirs is equal on both sides as of that moment, whatever home does later;
and home's key-log names every row that it changes later (docs/protocol.md, "The end").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from domicile.config.rules import Shared
from domicile.errors import NoClearance
from domicile.model import DatasetScope, Digest, Fate, Form, Home, Scope, Slice
from domicile.proof import Measure
from domicile.stores import Living
from domicile.stores.feed import Changefeed
from domicile.stores.postgres.closure.work import Work
from domicile.stores.postgres.copying import Meter, copy_out
from domicile.stores.postgres.erasing import Ours
from domicile.stores.postgres.feed.triggers import log_of
from domicile.stores.postgres.guard import without_private
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.live import back, carrying
from domicile.stores.postgres.live.carrying import keys_of
from domicile.stores.postgres.live.follower import KEYS_MAX, Follower
from domicile.stores.postgres.names import (
    column,
    columns,
    key_expressions,
    key_match,
    key_names,
    lines_match,
    source_of,
    staged,
)
from domicile.stores.postgres.paths import any_of, has_outsiders, leads_elsewhere, leads_to_mover
from domicile.stores.postgres.reading import PostgresSnapshot, slice_lines, slice_query
from domicile.stores.postgres.session import connect, faults, number, run

BEGIN: LiteralString = "BEGIN ISOLATION LEVEL REPEATABLE READ"
REST_TRIES_MAX = 20_000
REST_PAUSE_S = 0.001
_SEEN: LiteralString = """
SELECT pg_snapshot_xmin(pg_current_snapshot()) = pg_snapshot_xmax(pg_current_snapshot())
   AND age(pg_snapshot_xmax(pg_current_snapshot())::xid) = 0, pg_current_wal_insert_lsn()::text
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One moment of a home: its transaction, the exported name of its snapshot, and how slices are read in it."""

    connection: psycopg.Connection[Any]
    moment: str
    view: PostgresSnapshot
    place: str | None = None
    """Where in the WAL that moment is, if it was asked for: all that was committed before it is seen, nothing else."""


class LivedIn(PostgresSnapshot):
    """A home where others live as well: only rows that are movers' alone can be strays."""

    def holds_only(self, dataset: DatasetScope, home: Home, measures: Mapping[Slice, Measure]) -> bool:
        """Say nothing: rows of others lie between."""
        del dataset, home, measures
        return False

    def strays(self, dataset: DatasetScope, home: Home, *, limit: int) -> tuple[int, tuple[tuple[str, ...], ...]]:
        """Count rows that are movers' alone and that no line names, and name some."""
        if not dataset.decided:
            return 0, ()
        rows, keys = _stray_rows(self.scope, dataset, home), _key_texts(dataset)
        with faults(self.store, f"look for strays in {dataset.id}"):
            counted = number(self.connection, sql.SQL("SELECT count(*) FROM {}").format(rows))
            query = sql.SQL("SELECT {} FROM {} LIMIT {}").format(keys, rows, sql.Literal(limit if counted else 0))
            found = run(self.connection, query).fetchall()
        return counted, tuple(tuple(str(part) for part in row) for row in found)


def _stray_rows(scope: Scope, dataset: DatasetScope, home: Home) -> sql.Composable:
    """The FROM item and condition of rows `d` that are movers' alone and that no line names."""
    return sql.SQL(
        "{} AS d WHERE ({}) AND NOT ({}) AND NOT EXISTS (SELECT FROM {} AS m WHERE m.part = {} AND {})"
    ).format(
        source_of(dataset), _is_theirs(scope, dataset), has_outsiders(scope, dataset, "d"),
        staged("m", dataset.id), sql.Literal(home), key_match(dataset, "d", "m"),
    )  # fmt: skip


def _key_texts(dataset: DatasetScope) -> sql.Composable:
    return sql.SQL(", ").join(sql.SQL("{}::text").format(item) for item in key_expressions(dataset, "d"))


def return_kept(follower: Follower, held: Held, scope: Scope, dataset: DatasetScope, home: Home) -> int:
    """Bring back the rows of several people that this home alone has; return how many.

    One of them lived there, and another deleted theirs at the source, on the way: it is the former's all the same. All
    of them live there now, so that at the source nobody sees it again.
    """
    if dataset.sole or not dataset.moves or not dataset.key:
        return 0
    count, query = 0, sql.SQL("SELECT {} FROM {}").format(_key_texts(dataset), _stray_rows(scope, dataset, home))
    what = f"look for rows of {dataset.id} that it alone has"
    with faults(held.view.store, what), held.connection.cursor("kept") as cursor:
        cursor.execute(query)
        while keys := cursor.fetchmany(KEYS_MAX):
            count += follower.return_keys(
                home, held.connection, {dataset.id: {tuple(str(part) for part in key) for key in keys}}
            )
    return count


def _is_theirs(scope: Scope, dataset: DatasetScope) -> sql.Composable:
    first = [dataset.sharing(path) is Shared.FIRST for path in dataset.paths]
    asked = [path for number, path in enumerate(dataset.paths) if not (number and first[number])]
    return any_of(leads_to_mover(scope, path, "d") for path in asked)


@contextmanager
def moment_of(store: PostgresHome, scope: Scope, key: bytes, *, at_rest: bool = False) -> Iterator[tuple[Held, str]]:
    """Hold one moment of a home, in a transaction that is committed at the end; and the text of its snapshot.

    With `at_rest` a moment that is a place in the WAL, too, so that a restore can end there.
    """
    connection = connect(store.dsn, store=store.name)
    try:
        with faults(store.name, "hold a moment of it"):
            connection.execute(BEGIN)
            place = _rest(connection, store) if at_rest else None
            row = connection.execute("SELECT pg_current_snapshot()::text, pg_export_snapshot()").fetchone()
        snapshot, moment = (str(row[0]), str(row[1])) if row else ("", "")
        view = LivedIn(connection, scope, key, store.name)
        yield Held(connection=connection, moment=moment, view=view, place=place), snapshot
        with faults(store.name, "keep its manifest"):
            connection.execute("COMMIT")
    finally:
        connection.close()


def _rest(connection: psycopg.Connection[Any], store: PostgresHome) -> str:
    """Begin transactions until one sees a home at rest; return the place in its WAL.

    At rest: no transaction that has written is under way as the snapshot is taken (none in it, and no younger number
    given out: `age` counts from the next one), and the WAL ends at the same place just before and just after. A commit
    stands in the WAL before its transaction counts as ended, so those before the place are the ones that the snapshot
    sees. Nobody waits for it: others write as ever, and it is tried again.
    """
    with closing(connect(store.dsn, store=store.name)) as beside:
        for _ in range(REST_TRIES_MAX):
            before = beside.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
            row = connection.execute(_SEEN).fetchone()
            if row and before and row[0] and row[1] == before[0]:
                return str(row[1])
            connection.execute("ROLLBACK")
            beside.execute("SELECT pg_sleep(%s)", (REST_PAUSE_S,))
            connection.execute(BEGIN)
    raise NoClearance(
        f"store {store.name}: no moment came in which no transaction was writing, and a restore from its repository "
        "ends at such a one only. End what writes for long (pg_stat_activity, pg_prepared_xacts), or close in a "
        "quieter hour; the way back is open again"
    )


# -- what may be compared ------------------------------------------------------------------------------------------


def refine(work: Work, held: Mapping[Home, Held]) -> None:
    """Say of the closure's lines, before they are numbered, what of their rows may be compared while homes live."""
    for dataset in work.scope.datasets:
        if not dataset.decided:
            continue
        if dataset.moves and not dataset.sole and dataset.key:
            _tell_shared(work, dataset, held)
        if not dataset.moves and dataset.key:
            _spare_bare(work, dataset)
            _reform(work, dataset, Form.PRIVATE, sql.SQL("w.fate = {}").format(sql.Literal(Fate.BLANK.value)))
        _reform(work, dataset, Form.KEPT, sql.SQL("w.fate = {}").format(sql.Literal(Fate.KEEP.value)))


def _reform(work: Work, dataset: DatasetScope, form: Form, condition: sql.Composable) -> None:
    work.run(
        sql.SQL("UPDATE {} AS w SET form = {} WHERE w.round = 0 AND w.form <> {} AND {}").format(
            work.lines(dataset), sql.Literal(form.value), sql.Literal(Form.SKELETON.value), condition
        )
    )


def _spare_bare(work: Work, dataset: DatasetScope) -> None:
    """Of split rows that hold nothing private nothing goes: their people may have deleted them at home since."""
    work.run(
        sql.SQL("UPDATE {} AS w SET fate = {} FROM {} AS d WHERE w.round = 0 AND w.fate = {} AND {} AND ({})").format(
            work.lines(dataset), sql.Literal(Fate.KEEP.value), source_of(dataset), sql.Literal(Fate.BLANK.value),
            key_match(dataset, "d", "w"), without_private(dataset, "d"),
        )
    )  # fmt: skip


def _tell_shared(work: Work, dataset: DatasetScope, held: Mapping[Home, Held]) -> None:
    """Rows of people of several homes: compared by key, at the last of their homes that has them (docs/closure.md).

    What is to become of such a row at the source stays as the closure says: gone, or without its private columns.
    """
    names, lines = work.names(dataset), work.lines(dataset)
    several = sql.SQL(
        "(EXISTS (SELECT FROM {lines} AS o WHERE o.round = 0 AND o.part <> w.part AND {same})"
        " OR EXISTS (SELECT FROM {rows} AS d WHERE {match} AND ({elsewhere})))"
        " AND EXISTS (SELECT FROM {lines} AS o WHERE o.round = 0 AND o.fate <> {keep} AND {same})"
    ).format(
        lines=lines, same=lines_match(dataset, "o", "w"), keep=sql.Literal(Fate.KEEP.value), rows=source_of(dataset),
        match=key_match(dataset, "d", "w"),
        elsewhere=any_of(leads_elsewhere(work.scope, path, "d") for path in dataset.paths),
    )  # fmt: skip
    _reform(work, dataset, Form.SHARED, several)
    shared = sql.SQL("w.form = {}").format(sql.Literal(Form.SHARED.value))
    if not work.count(sql.SQL("SELECT count(*) FROM {} AS w WHERE {}").format(lines, shared)):
        return
    lacking = sql.Identifier("pg_temp", "domicile_lacking")
    work.run(
        sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT w.part, {} FROM {} AS w WHERE false").format(
            lacking, sql.SQL(", ").join(column("w", name) for name in key_names(dataset)), lines
        )
    )
    for home, moment in held.items():
        _note_lacking(work, dataset, home, moment, lacking)
    homes = sql.SQL("{}::text[]").format(sql.Literal(list(work.scope.homes)))
    bearer = sql.SQL(
        "(SELECT DISTINCT ON ({names}) part, {names}, leaving FROM (SELECT w.*, EXISTS (SELECT FROM {lacking} AS l"
        " WHERE l.part = w.part AND {same}) AS lacks, (SELECT max(o.fate) FROM {lines} AS o WHERE o.round = 0"
        " AND o.fate <> {keep} AND {other}) AS leaving FROM {lines} AS w WHERE {shared}) AS q"
        " ORDER BY {names}, lacks, array_position({homes}, part) DESC)"
    ).format(
        names=names, lacking=lacking, same=lines_match(dataset, "l", "w"), lines=lines, shared=shared, homes=homes,
        other=lines_match(dataset, "o", "w"), keep=sql.Literal(Fate.KEEP.value),
    )  # fmt: skip
    work.run(
        sql.SQL(
            "UPDATE {lines} AS w SET fate = CASE WHEN b.part = w.part THEN b.leaving ELSE {keep} END FROM {bearer} AS b"
            " WHERE {shared} AND {same}"
        ).format(
            lines=lines, bearer=bearer, shared=shared, same=lines_match(dataset, "b", "w"),
            keep=sql.Literal(Fate.KEEP.value),
        )
    )  # fmt: skip
    work.run(sql.SQL("DROP TABLE {}").format(lacking))


def _note_lacking(work: Work, dataset: DatasetScope, home: Home, held: Held, lacking: sql.Identifier) -> None:
    """Ask one home which of the shared rows it has no more."""
    back.make_keys(held.connection, work.scope)
    run(held.connection, sql.SQL("DELETE FROM {}").format(keys_of(dataset)))
    listed = sql.SQL(", ").join(column("w", name) for name in key_names(dataset))
    mine = sql.SQL("SELECT {} FROM {} AS w WHERE w.part = {} AND w.form = {}").format(
        listed, work.lines(dataset), sql.Literal(home), sql.Literal(Form.SHARED.value)
    )
    carrying.copy(work.connection, held.connection, mine, into=keys_of(dataset), names=columns(key_names(dataset)))
    gone = sql.SQL("SELECT {}, {} FROM {} AS x WHERE NOT EXISTS (SELECT FROM {} AS d WHERE {})").format(
        sql.Literal(home), sql.SQL(", ").join(column("x", name) for name in key_names(dataset)), keys_of(dataset),
        source_of(dataset), key_match(dataset, "d", "x"),
    )  # fmt: skip
    carrying.copy(held.connection, work.connection, gone, into=lacking, names=columns(("part", *key_names(dataset))))


# -- erasing while home lives --------------------------------------------------------------------------------------


def living(store: PostgresHome, scope: Scope, key: bytes, feed: Changefeed, piece: Slice) -> Living:
    """Make what asks of one slice whether home holds it, but for rows that home's key-log names since its moment."""
    dataset = scope.dataset(piece.dataset)

    def holds(source: psycopg.Connection[Any], ours: Ours) -> bool:
        connection = connect(store.dsn, store=store.name)
        try:
            with faults(store.name, f"read {piece.id} as it is now"):
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
            feed.read(str(row[0]) if row else "", keys_max=1)  # refuses where a key may be missing in the log
            with faults(store.name, f"read {piece.id} as it is now"):
                back.make_keys(connection, scope)
                _note_changed(connection, dataset, piece)
                meter = Meter(key)
                query = slice_query(connection, dataset, piece, at_home=True, without=keys_of(dataset))
                rows = copy_out(connection, query, meter, binary=dataset.binary)
                theirs: Digest = meter.measure(piece.id, rows).digest
                back.make_keys(source, scope)
                run(source, sql.SQL("DELETE FROM {}").format(keys_of(dataset)))
                keys = sql.SQL("SELECT {} FROM {} AS x").format(
                    sql.SQL(", ").join(column("x", name) for name in key_names(dataset)), keys_of(dataset)
                )
                carrying.copy(connection, source, keys, into=keys_of(dataset), names=columns(key_names(dataset)))
                return ours(keys_of(dataset)) == theirs
        finally:
            connection.close()

    return holds


def _note_changed(connection: psycopg.Connection[Any], dataset: DatasetScope, piece: Slice) -> None:
    """Put the keys of the slice that home's log names into the session's table of keys."""
    run(
        connection,
        sql.SQL("INSERT INTO {} SELECT DISTINCT {} FROM {} AS m JOIN {} AS k ON {} WHERE {}").format(
            keys_of(dataset), sql.SQL(", ").join(column("m", name) for name in key_names(dataset)),
            staged("m", dataset.id), log_of(dataset.id), lines_match(dataset, "m", "k"), slice_lines(piece),
        ),
    )  # fmt: skip
