"""The feed of triggers: every change of a followed table writes the row's old and new key into `domicile.k_…`.

A line holds the key, the transaction, when it was written, and whether a public and whether a private column changed.
The trigger stands ALWAYS, so also for replicated writes, and last in name order. What the engine itself writes is not
written down: its transactions stand in `domicile.pass`, as for the guard. A TRUNCATE is written down, and ends the
feed: it tells no keys.

Works at the source and at a home. A line is read when the reader's snapshot shows its transaction, and deleted when
that snapshot shows it *and* its number was read; so one that commits late, with low numbers, stays (ADR 0022).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from domicile.errors import FeedBroken
from domicile.host import Host
from domicile.model import DatasetId, DatasetScope
from domicile.stores.feed import Batch, Key, Lag
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
    table_text,
)
from domicile.stores.postgres.names import (
    STAGING,
    columns,
    key_expressions,
    key_names,
    key_select,
    relation,
    source_of,
    staged,
    tag,
)
from domicile.stores.postgres.session import SETTINGS, Session, faults, number, run

LOG = "zzzz_domicile_log"
LOG_TRUNCATE = f"{LOG}_truncate"
LOGS = (LOG, LOG_TRUNCATE)
STATE = "triggers"
ROWS_MAX = 20_000_000
PLANS_AFTER = 2
PRINTED_BY = ("DateStyle", "IntervalStyle", "TimeZone", "extra_float_digits", "bytea_output", "lc_monetary")
"""Settings on which the text of a value hangs: of a row without key the log holds the hash of its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What one read shows of one dataset: keys, the greatest line number, how many lines, since when, and all of it."""

    keys: frozenset[Key]
    upto: int
    lines: int
    oldest: datetime | None
    complete: bool


class TriggerFeed:
    """`session` of the store, and the datasets that are followed; `rows_max` lines may wait."""

    def __init__(
        self, session: Session, datasets: Sequence[DatasetScope], *, host: Host | None = None, rows_max: int = ROWS_MAX
    ) -> None:
        self._session = session
        self._datasets = tuple(datasets)
        self._host = host or Host()
        self._rows_max = rows_max
        self._first = 0
        self._marks = Marks(self._datasets)

    def begin(self) -> None:
        """Make key-logs and triggers, table by table: each waits for that table's writers only."""
        patiently(self._session, self._host, "make the tables of the changefeed", make_tables)
        patiently(self._session, self._host, "make the functions of the changefeed", _begin_state)
        for dataset in self._datasets:

            def begin(connection: psycopg.Connection[Any], dataset: DatasetScope = dataset) -> None:
                _follow(connection, dataset)

            patiently(self._session, self._host, f"follow {dataset.id}", begin)

    def read(self, snapshot: str, *, keys_max: int) -> Batch:
        """Return the keys of the lines that the snapshot shows; see `Changefeed.read`."""
        connection, shown, left = self._session.connection, {}, keys_max
        connection.prepare_threshold = PLANS_AFTER
        with faults(self._session.store, "read the changefeed"), connection.transaction():
            self._refuse_broken(connection, snapshot)
            logged = _logged(connection, self._datasets)
            for dataset in self._in_turn():
                if dataset.id not in logged:
                    continue
                part = _read(connection, dataset, snapshot, lines_max=left)
                shown[dataset] = part
                left -= part.lines
        complete = all(part.complete for part in shown.values())
        if not complete:
            self._first += 1
        bounds = {tag(dataset.id): part.upto for dataset, part in shown.items() if part.lines}
        return Batch(
            position=json.dumps({"snapshot": snapshot, "upto": bounds}),
            keys={dataset.id: part.keys for dataset, part in shown.items() if part.keys},
            complete=complete,
            oldest=min((part.oldest for part in shown.values() if part.oldest), default=None),
            changes=sum(part.lines for part in shown.values()),
        )

    def confirm(self, batch: Batch) -> None:
        """Delete the lines that the batch showed."""
        position = json.loads(batch.position)
        connection = self._session.connection
        with faults(self._session.store, "confirm changes"), connection.transaction():
            for dataset in self._datasets:
                upto = position["upto"].get(tag(dataset.id))
                if upto is not None:
                    run(
                        connection,
                        sql.SQL("DELETE FROM {} AS k WHERE k.n <= {} AND {}").format(
                            log_of(dataset.id), sql.Literal(upto), _is_shown("k", position["snapshot"])
                        ),
                    )
            run(
                connection,
                sql.SQL("UPDATE {} SET at = clock_timestamp() WHERE name = {}").format(
                    state_table(), sql.Literal(STATE)
                ),
            )

    def lay_by(self) -> None:
        """Keys lie in key-logs already, and hold nothing of the server's log back."""

    def lag(self) -> Lag:
        """Say how many lines wait, and since when nobody confirmed any."""
        with faults(self._session.store, "ask how far the changefeed is"):
            seconds = run(
                self._session.connection,
                sql.SQL("SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM {} WHERE name = {}").format(
                    state_table(), sql.Literal(STATE)
                ),
            ).fetchone()
            return Lag(
                bytes=0, rows=_waiting(self._session.connection, self._datasets), seconds=seconds[0] if seconds else 0.0
            )

    def end(self) -> None:
        """Take triggers and key-logs away, also those of datasets that the file no longer names."""
        with faults(self._session.store, "look for the changefeed's triggers"):
            tables = tuple(logged_tables(self._session.connection))
        for table in tables:

            def take(connection: psycopg.Connection[Any], table: sql.Identifier = table) -> None:
                detach_triggers(connection, table)

            patiently(self._session, self._host, "take the changefeed's triggers away", take)
        patiently(self._session, self._host, "drop the key-logs", _drop_logs)

    def _in_turn(self) -> tuple[DatasetScope, ...]:
        """The datasets, another one first after each batch that was cut off: none waits for ever behind a busy one."""
        first = self._first % len(self._datasets) if self._datasets else 0
        return self._datasets[first:] + self._datasets[:first]

    def _refuse_broken(self, connection: psycopg.Connection[Any], snapshot: str) -> None:
        """Raise when changes may be missing, or too many wait."""
        store = self._session.store
        if not exists(connection, "feed_truncated"):
            raise FeedBroken(f"store {store}: its changefeed is gone; give the run up and begin again")
        refuse_truncated(connection, snapshot)
        with self._marks.unseen(connection) as unseen:
            fallen = None
            if unseen:
                refuse_changed_shapes(connection, self._datasets)
                fallen = _fallen(connection, self._datasets)
            if fallen is not None:
                raise FeedBroken(
                    f"{fallen}: a trigger of the changefeed is missing, switched off or changed, so changes may be "
                    "missing; give the run up and begin again"
                )
        waiting = _waiting(connection, self._datasets)
        if waiting > self._rows_max:
            raise FeedBroken(
                f"store {store}: {waiting} changes wait in the key-log, {self._rows_max} may; allow more while it "
                "catches up, or give the run up"
            )


def log_of(dataset: DatasetId) -> sql.Identifier:
    """Name a dataset's key-log: n, xid, at, public, private, and the key under the names of `names.key_names`."""
    return staged("k", dataset)


def logged_tables(connection: psycopg.Connection[Any]) -> Iterator[sql.Identifier]:
    """The tables on which a trigger of ours stands by itself, not as part of a partitioned table's."""
    for schema, name in run(
        connection,
        sql.SQL(
            "SELECT DISTINCT n.nspname, c.relname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE t.tgname = ANY({}) AND t.tgparentid = 0"
            " ORDER BY 1, 2"
        ).format(sql.Literal(list(LOGS))),
    ).fetchall():
        yield sql.Identifier(schema, name)


def detach_triggers(connection: psycopg.Connection[Any], table: sql.Identifier) -> None:
    """Take the changefeed's triggers away from one table, in the caller's transaction."""
    for name in LOGS:
        run(connection, sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(name), table))


def _drop_logs(connection: psycopg.Connection[Any]) -> None:
    found = connection.execute(
        "SELECT c.relname, 'TABLE' FROM pg_class AS c WHERE c.relnamespace = to_regnamespace(%(schema)s)"
        " AND c.relkind = 'r' AND c.relname ~ '^k_[0-9a-f]{16}$' UNION ALL"
        " SELECT p.proname || '()', 'FUNCTION' FROM pg_proc AS p WHERE p.pronamespace = to_regnamespace(%(schema)s)"
        " AND p.proname ~ '^log_([0-9a-f]{16}|truncate)$'",
        {"schema": STAGING},
    ).fetchall()
    for name, kind in found:
        place = sql.Identifier(STAGING, str(name).removesuffix("()"))
        call = sql.SQL("()") if kind == "FUNCTION" else sql.SQL("")
        run(connection, sql.SQL("DROP {} IF EXISTS {}{}").format(sql.SQL(kind), place, call))
    drop_tables(connection)


def _begin_state(connection: psycopg.Connection[Any]) -> None:
    body = "BEGIN INSERT INTO domicile.feed_truncated (dataset) VALUES (TG_ARGV[0]); RETURN NULL; END"
    _make_function(connection, sql.Identifier(STAGING, "log_truncate"), sql.SQL(body), printed=False)
    run(
        connection,
        sql.SQL("INSERT INTO {} (name, at) VALUES ({}, clock_timestamp()) ON CONFLICT DO NOTHING").format(
            state_table(), sql.Literal(STATE)
        ),
    )


def _follow(connection: psycopg.Connection[Any], dataset: DatasetScope) -> None:
    """Make one dataset's key-log, function and triggers, unless they stand. The lock waits for writers under way."""
    if exists(connection, f"k_{tag(dataset.id)}"):
        return
    run(connection, sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(source_of(dataset)))
    note_shape(connection, dataset)
    log = log_of(dataset.id)
    run(
        connection,
        sql.SQL("CREATE TABLE {} AS SELECT {} FROM {} AS d WHERE false").format(
            log, key_select(dataset, "d"), source_of(dataset)
        ),
    )
    run(
        connection,
        sql.SQL(
            "ALTER TABLE {} ADD n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
            " ADD xid xid8 NOT NULL DEFAULT pg_current_xact_id(),"
            " ADD at timestamptz NOT NULL DEFAULT clock_timestamp(),"
            " ADD public boolean NOT NULL, ADD private boolean NOT NULL"
        ).format(log),
    )
    run(connection, sql.SQL("REVOKE ALL ON {} FROM PUBLIC").format(log))
    _make_function(connection, _function(dataset), _body(dataset), printed=not dataset.key)
    _attach(connection, dataset)


def _make_function(
    connection: psycopg.Connection[Any], name: sql.Identifier, body: sql.Composable, *, printed: bool
) -> None:
    """Write a trigger function that runs with the rights of its maker; `printed` pins how values are printed."""
    pinned = sql.SQL("").join(
        sql.SQL(" SET {} = {}").format(sql.Identifier(one), sql.Literal(SETTINGS[one]))
        for one in (PRINTED_BY if printed else ())
    )
    run(
        connection,
        sql.SQL(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp{} AS {}"
        ).format(name, pinned, sql.Literal(body.as_string(connection))),
    )


def _body(dataset: DatasetScope) -> sql.Composable:
    return sql.SQL(
        "BEGIN"
        " IF current_setting('domicile.pass', true) = 'on' AND EXISTS (SELECT FROM {passes} AS p"
        " WHERE p.transaction = pg_current_xact_id()::text) THEN RETURN NULL; END IF;"
        " IF TG_OP = 'UPDATE' THEN"
        " IF {old_record} *<> {new_record} THEN"
        " INSERT INTO {log} ({names}) VALUES ({old}, {public}, {private}); END IF;"
        " INSERT INTO {log} ({names}) VALUES ({new}, {public}, {private});"
        " ELSIF TG_OP = 'INSERT' THEN INSERT INTO {log} ({names}) VALUES ({new}, true, true);"
        " ELSE INSERT INTO {log} ({names}) VALUES ({old}, true, true); END IF;"
        " RETURN NULL; END"
    ).format(
        passes=sql.Identifier(STAGING, "pass"),
        log=log_of(dataset.id),
        names=columns((*key_names(dataset), "public", "private")),
        old=_listed(key_expressions(dataset, "old")),
        new=_listed(key_expressions(dataset, "new")),
        old_record=_record(key_expressions(dataset, "old")),
        new_record=_record(key_expressions(dataset, "new")),
        public=_changed(dataset, private=False),
        private=_changed(dataset, private=True),
    )


def _changed(dataset: DatasetScope, *, private: bool) -> sql.Composable:
    """Whether an UPDATE changed a column of that class; of a row that is private as a whole all columns are.

    Compared as bytes: not every type has an equality.
    """
    names = [item.name for item in dataset.columns if (dataset.moves or item.name in dataset.private) is private]
    if not names:
        return sql.SQL("false")
    old, new = (_record([sql.Identifier(row, name) for name in names]) for row in ("old", "new"))
    return sql.SQL("{} *<> {}").format(old, new)


def _record(items: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL("ROW({})::record").format(_listed(items))


def _listed(items: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL(", ").join(items)


def _function(dataset: DatasetScope) -> sql.Identifier:
    return sql.Identifier(STAGING, f"log_{tag(dataset.id)}")


def _attach(connection: psycopg.Connection[Any], dataset: DatasetScope) -> None:
    """Put the triggers on the table and, as ENABLE ALWAYS does not reach them before 15, on all of its partitions."""
    run(
        connection,
        sql.SQL("CREATE TRIGGER {} AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
            sql.Identifier(LOG), relation(dataset.table), _function(dataset)
        ),
    )
    tree = run(
        connection,
        sql.SQL(
            "SELECT n.nspname, c.relname FROM (SELECT {table}::regclass AS relid UNION"
            " SELECT relid FROM pg_partition_tree({table}::regclass)) AS t JOIN pg_class AS c ON c.oid = t.relid"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        ).format(table=table_text(dataset)),
    ).fetchall()
    for schema, name in tree:
        table = sql.Identifier(schema, name)
        run(
            connection,
            sql.SQL("CREATE TRIGGER {} AFTER TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION {}({})").format(
                sql.Identifier(LOG_TRUNCATE), table, sql.Identifier(STAGING, "log_truncate"), sql.Literal(dataset.id)
            ),
        )
        for one in LOGS:
            run(connection, sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(table, sql.Identifier(one)))


def _fallen(connection: psycopg.Connection[Any], datasets: Sequence[DatasetScope]) -> DatasetId | None:
    """The first dataset of which not both triggers stand on every table, always, with the function that was written.

    One statement for all: it is asked before each reading, also under a fence.
    """
    if not datasets:
        return None
    each = sql.SQL(", ").join(
        sql.SQL("({}, {}, {}::regclass::oid, {})").format(
            sql.Literal(number),
            sql.Literal(dataset.id),
            table_text(dataset),
            sql.Literal(_written(connection, dataset)),
        )
        for number, dataset in enumerate(datasets)
    )
    found = run(
        connection,
        sql.SQL(
            "SELECT x.id FROM (VALUES {each}) AS x (place, id, relid, source) CROSS JOIN LATERAL"
            " (SELECT x.relid AS relid UNION SELECT y.relid FROM pg_partition_tree(x.relid) AS y) AS c"
            " WHERE (SELECT count(*) FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid"
            " WHERE t.tgrelid = c.relid AND t.tgenabled = 'A' AND (t.tgname = {cut} OR (t.tgname = {log}"
            " AND encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex') = x.source))) <> 2 ORDER BY x.place LIMIT 1"
        ).format(each=each, cut=sql.Literal(LOG_TRUNCATE), log=sql.Literal(LOG)),
    ).fetchone()
    return DatasetId(found[0]) if found else None


def _written(connection: psycopg.Connection[Any], dataset: DatasetScope) -> str:
    """The digest of the function's text."""
    return hashlib.sha256(_body(dataset).as_string(connection).encode()).hexdigest()


def _logged(connection: psycopg.Connection[Any], datasets: Sequence[DatasetScope]) -> set[DatasetId]:
    """The datasets whose key-logs hold anything at all."""
    if not datasets:
        return set()
    each = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})").format(sql.Literal(dataset.id), log_of(dataset.id))
        for dataset in datasets
    )
    return {DatasetId(name) for (name,) in run(connection, each)}


def _is_shown(alias: str, snapshot: str) -> sql.Composable:
    return sql.SQL("pg_visible_in_snapshot({}, {}::pg_snapshot)").format(
        sql.Identifier(alias, "xid"), sql.Literal(snapshot)
    )


def _read(connection: psycopg.Connection[Any], dataset: DatasetScope, snapshot: str, *, lines_max: int) -> _Shown:
    """Read the first lines that the snapshot shows, their keys each once."""
    names = key_names(dataset)
    texts = _listed([sql.SQL("{}::text").format(sql.Identifier("k", name)) for name in names])
    rows = run(
        connection,
        sql.SQL(
            "SELECT max(k.n), count(*), min(k.at), {texts} FROM (SELECT * FROM {log} AS l WHERE {shown}"
            " ORDER BY l.n LIMIT {limit}) AS k GROUP BY {texts}"
        ).format(texts=texts, log=log_of(dataset.id), shown=_is_shown("l", snapshot), limit=sql.Literal(lines_max)),
    ).fetchall()
    upto, lines = max((row[0] for row in rows), default=0), sum(row[1] for row in rows)
    complete = lines < lines_max or not number(
        connection,
        sql.SQL("SELECT count(*) FROM (SELECT FROM {} AS l WHERE l.n > {} AND {} LIMIT 1) AS q").format(
            log_of(dataset.id), sql.Literal(upto), _is_shown("l", snapshot)
        ),
    )
    return _Shown(
        keys=frozenset(tuple(row[3:]) for row in rows), upto=upto, lines=lines,
        oldest=min((row[2] for row in rows), default=None), complete=complete,
    )  # fmt: skip


def _waiting(connection: psycopg.Connection[Any], datasets: Sequence[DatasetScope]) -> int:
    """How many lines wait at most, from the ends of their numbers: counting them would read them all."""
    if not datasets:
        return 0
    each = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT max(n) - min(n) + 1 AS lines FROM {}").format(log_of(dataset.id)) for dataset in datasets
    )
    return number(connection, sql.SQL("SELECT coalesce(sum(lines), 0) FROM ({}) AS q").format(each))
