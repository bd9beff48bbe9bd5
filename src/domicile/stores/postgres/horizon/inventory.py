"""The inventory: every copy of one server's horizon, each listed whether it can be observed or not (P3, P11).

Nothing is left out because a right is missing: such a copy is listed with `observable` False and the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

from domicile.catalogue import TableName
from domicile.stores.postgres.copies import Copy, CopyKind, copy_id
from domicile.stores.postgres.feed.remains import remains
from domicile.stores.postgres.files import Reach, materialised_views, reach
from domicile.stores.postgres.places import there

DATASET_KINDS = (
    (CopyKind.LIVE_ROWS, "delete or blank the rows of the closure"),
    (CopyKind.HEAP, "VACUUM FULL of each table and partition"),
    (CopyKind.TOAST, "VACUUM FULL of each table and partition"),
    (CopyKind.INDEX, "VACUUM FULL of each table and partition (it builds the indexes anew)"),
)
SERVER_KINDS = (
    (CopyKind.UNMAPPED_TABLES, "none: searched; tables that no dataset names"),
    (CopyKind.UNLOGGED_TABLES, "none: searched; unlogged tables that no dataset names"),
    (CopyKind.ORPHANED_FILES, "none: searched; relation files that pg_class doesn't know"),
    (CopyKind.TEMP_FILES, "none: searched; they end with their session"),
    (CopyKind.STAGING, "dropped with schema domicile; searched"),
    (CopyKind.CATALOGUE, "VACUUM FULL of catalogues with out-of-line texts; searched"),
    (CopyKind.NOTIFY_QUEUE, "none: searched; emptied by the listeners and by a restart"),
    (CopyKind.OTHER_DATABASES, "none: their files are searched; their rows aren't read"),
    (CopyKind.SERVER_FILES, "none: searched; every other file of the data directory"),
)


def inventory(
    conn: psycopg.Connection,
    datasets: Sequence[TableName],
    derived: Sequence[TableName] = (),
    *,
    directory: bool = False,
) -> tuple[Copy, ...]:
    """List every copy that the connected database's server holds of the datasets, or may hold, or feeds.

    `derived` are the tables that are computed from them; `directory` says that one will be kept here.
    """
    way = reach(conn)
    return (
        *_of_datasets(conn, datasets, way),
        *(_of_derived(table, way) for table in derived),
        *_of_server(way),
        *_of_directory(conn, way, kept=directory),
        *_of_values(conn, way),
        *_of_wal(conn, way),
        *_of_replication(conn, way),
        *_of_log(conn, way),
        *_of_elsewhere(conn, way),
    )


def _copy(kind: CopyKind, method: str, way: Reach, *, why: str = "", name: str | None = None) -> Copy:
    """A copy that is seen in files: observable when they can be read."""
    text = "; ".join(part for part in (why, way.why) if part)
    return Copy(
        id=copy_id(kind, name=name), kind=kind, relation=None, method=method,
        observable=way.files is not None, why=text,
    )  # fmt: skip


def _told(kind: CopyKind, method: str, *, observable: bool, why: str, name: str | None = None) -> Copy:
    """A copy that the server tells us of, or can't."""
    return Copy(id=copy_id(kind, name=name), kind=kind, relation=None, method=method, observable=observable, why=why)


def _of_datasets(conn: psycopg.Connection, datasets: Sequence[TableName], way: Reach) -> Iterator[Copy]:
    for dataset in datasets:
        for kind, method in DATASET_KINDS:
            live = kind is CopyKind.LIVE_ROWS
            yield Copy(
                id=copy_id(kind, dataset), kind=kind, relation=dataset, method=method,
                observable=live or way.files is not None, why="read as rows" if live else way.why,
            )  # fmt: skip
    for _, name, populated in materialised_views(conn):
        yield Copy(
            id=copy_id(CopyKind.MATERIALISED_VIEW, name), kind=CopyKind.MATERIALISED_VIEW, relation=name,
            method="REFRESH MATERIALIZED VIEW (it writes a new file), ANALYZE",
            observable=way.files is not None, why=way.why if populated else f"not populated; {way.why}",
        )  # fmt: skip


def _of_derived(table: TableName, way: Reach) -> Copy:
    """A table that is emptied: TRUNCATE gives it, its TOAST table and its indexes new files."""
    return Copy(
        id=copy_id(CopyKind.DERIVED_TABLE, table), kind=CopyKind.DERIVED_TABLE, relation=table,
        method="TRUNCATE (it begins new files); the application fills it again",
        observable=way.files is not None, why=way.why,
    )  # fmt: skip


def _of_server(way: Reach) -> Iterator[Copy]:
    for kind, method in SERVER_KINDS:
        yield _copy(kind, method, way)


def _of_directory(conn: psycopg.Connection, way: Reach, *, kept: bool) -> Iterator[Copy]:
    """The directory: the one copy that stays on purpose, also one that an earlier run left here."""
    if kept or there(conn):
        yield _copy(
            CopyKind.DIRECTORY, "kept on purpose: the key of each who moved and where their home is; searched for all "
            "else", way,
        )  # fmt: skip


def _of_values(conn: psycopg.Connection, way: Reach) -> Iterator[Copy]:
    yield _copy(
        CopyKind.STATISTICS, "ANALYZE, then VACUUM FULL of pg_statistic and pg_statistic_ext_data", way,
        why="most common values and histogram bounds are real values",
    )  # fmt: skip
    yield _copy(CopyKind.LARGE_OBJECTS, "VACUUM FULL pg_largeobject", way)
    yield _copy(
        CopyKind.STATEMENT_TEXTS, "pg_stat_statements_reset()", way,
        why=f"shared_preload_libraries: {_setting(conn, 'shared_preload_libraries') or 'none or hidden'}",
    )  # fmt: skip
    yield _copy(CopyKind.PREPARED_TRANSACTIONS, "commit or roll back each", way)


def _of_wal(conn: psycopg.Connection, way: Reach) -> Iterator[Copy]:
    settings = ", ".join(
        f"{name} {_setting(conn, name)}"
        for name in ("wal_level", "full_page_writes", "wal_compression", "wal_keep_size", "min_wal_size", "wal_recycle")
    )
    yield _copy(
        CopyKind.WAL, "wal_recycle off, switch and checkpoint until no older segment is left", way, why=settings
    )
    mode, command, library = (_setting(conn, name) for name in ("archive_mode", "archive_command", "archive_library"))
    counted = _scalar(conn, "SELECT archived_count FROM pg_stat_archiver")
    used = mode != "off" or bool(counted)
    yield _told(
        CopyKind.ARCHIVE, "expire the archive by its own tool", observable=not used,
        why=f"archive_mode {mode}, {'a library' if library else 'a command' if command else 'no command'} is set,"
        f" {counted} segments archived since the counters were reset",
    )  # fmt: skip


def _of_replication(conn: psycopg.Connection, way: Reach) -> Iterator[Copy]:
    slots = conn.execute(
        "SELECT slot_name, slot_type, active, coalesce(restart_lsn::text, 'none') FROM pg_replication_slots ORDER BY 1"
    ).fetchall()
    for name, kind, active, position in slots:
        yield _copy(
            CopyKind.SLOT, "let the consumer catch up, or drop it; its spill files are searched", way,
            why=f"{kind}, {'active' if active else 'inactive'}, holds WAL from {position}", name=name,
        )  # fmt: skip
    standing = remains(conn)
    yield _told(
        CopyKind.CHANGEFEED, "ended with the run: its triggers, key-logs, queue, publication and slot are dropped",
        observable=True, why=f"stands: {', '.join(standing[:5])}" if standing else "none of it stands",
    )  # fmt: skip
    standbys = [name for (name,) in conn.execute("SELECT DISTINCT application_name FROM pg_stat_replication")]
    physical = [name for name, kind, *_ in slots if kind == "physical"]
    named = _setting(conn, "synchronous_standby_names")
    there = bool(standbys or physical or named)
    yield _told(
        CopyKind.STANDBYS, "treat and sweep each standby as a server of its own", observable=not there,
        why=f"{len(standbys)} attached, {len(physical)} physical slots, synchronous_standby_names"
        f" {'set' if named else 'empty'}; one detached long ago counts as a base backup",
    )  # fmt: skip
    publications = _scalar(conn, "SELECT count(*) FROM pg_publication") or 0
    logical = sum(1 for _, kind, *_ in slots if kind == "logical")
    yield _told(
        CopyKind.SUBSCRIBERS, "treat each consumer of the change stream as a store of its own",
        observable=not (publications or logical), why=f"{publications} publications, {logical} logical slots",
    )  # fmt: skip
    subscriptions = _scalar(conn, "SELECT count(*) FROM pg_stat_subscription") or 0
    yield _told(
        CopyKind.SUBSCRIPTIONS, "treat the publisher as a store of its own", observable=not subscriptions,
        why=f"{subscriptions} subscriptions feed this server",
    )  # fmt: skip


def _of_log(conn: psycopg.Connection, way: Reach) -> Iterator[Copy]:
    collector, destination, folder, statements, duration = (
        _setting(conn, name)
        for name in (
            "logging_collector",
            "log_destination",
            "log_directory",
            "log_statement",
            "log_min_duration_statement",
        )
    )
    why = f"log_destination {destination}, log_statement {statements}, log_min_duration_statement {duration}"
    if collector != "on" or folder is None or {"syslog", "eventlog"} & set((destination or "").split(",")):
        yield _told(
            CopyKind.SERVER_LOG, "delete or redact where it is kept", observable=False,
            why=f"{why}; not (only) written to a directory of the server, so it is kept where we can't look",
        )  # fmt: skip
        return
    yield _copy(CopyKind.SERVER_LOG, "rotate and delete; searched", way, why=f"{why}, in {folder}")


def _of_elsewhere(conn: psycopg.Connection, way: Reach) -> Iterator[Copy]:
    for (name,) in conn.execute(
        "SELECT spcname FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1"
    ):
        yield _copy(
            CopyKind.TABLESPACE, "its files belong to the copies above; this one says whether they were reached", way,
            name=name,
        )  # fmt: skip
    foreign = _scalar(conn, "SELECT count(*) FROM pg_foreign_table") or 0
    yield _told(
        CopyKind.FOREIGN_TABLES, "treat the server behind each as a store of its own", observable=not foreign,
        why=f"{foreign} foreign tables",
    )  # fmt: skip
    yield _told(
        CopyKind.DUMPS_AND_BACKUPS, "expire each by its own tool", observable=False,
        why="dumps, base backups, snapshots and detached standbys leave no trace in the server",
    )  # fmt: skip
    yield _told(
        CopyKind.FREE_BLOCKS, "encryption from the first day; overwriting the device", observable=False,
        why="blocks of unlinked files, and the server's memory, lie below the file interface",
    )  # fmt: skip


def _setting(conn: psycopg.Connection, name: str) -> str | None:
    """Read a setting; None when the version doesn't have it or the role may not see it."""
    row = conn.execute("SELECT setting FROM pg_settings WHERE name = %s", (name,)).fetchone()
    return None if row is None else str(row[0])


def _scalar(conn: psycopg.Connection, query: LiteralString) -> int | None:
    row = conn.execute(sql.SQL(query)).fetchone()
    return None if row is None or row[0] is None else int(row[0])
