"""How the files of a server are reached, and whose bytes each file holds.

Locally when the data directory is on this machine (and it is the running server's own), else over SQL with
`pg_ls_dir`, `pg_stat_file` and `pg_read_binary_file` when the role may, else not at all, with the reason. The map
from path to copy follows `storage.sgml`: files that no row of `pg_class` owns are orphans.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import LiteralString, Protocol

import psycopg

from domicile.catalogue import TableName
from domicile.errors import NotPermitted, StoreFault
from domicile.stores.postgres.copies import CopyKind, copy_id
from domicile.stores.postgres.names import DIRECTORY
from domicile.stores.postgres.pages import Geometry

READ_BYTES = 4 * 1024 * 1024
FILES_MAX = 4_000_000
DIRECTORY_DEPTH_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ServerFile:
    """A file of the server: path below the data directory (or absolute, outside it) and size when it was listed."""

    path: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A file or directory that can't be read, and why; never its content."""

    path: str
    why: str


class Files(Protocol):
    """The files of one server, read-only."""

    how: str

    def walk(self) -> Iterator[ServerFile | Unread]:
        """List every regular file once, tablespaces and the log directory included."""
        ...

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        """Read up to `length` bytes; None when the file is gone; NotPermitted when it can't be read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The way to a server's files, or None and the reason."""

    files: Files | None
    why: str


class LocalFiles:
    """The data directory on this machine."""

    how = "local files"

    def __init__(self, root: Path, *, outside: Sequence[Path] = ()) -> None:
        self._root = root
        self._outside = tuple(outside)

    def walk(self) -> Iterator[ServerFile | Unread]:
        """List every regular file once; symbolic links are followed (tablespaces, a WAL directory elsewhere)."""
        seen: set[tuple[int, int]] = set()
        for top in (self._root, *self._outside):
            yield from self._walk(str(top), seen, DIRECTORY_DEPTH_MAX)

    def _walk(self, folder: str, seen: set[tuple[int, int]], depth: int) -> Iterator[ServerFile | Unread]:
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as fault:
            yield Unread(path=self._name(folder), why=type(fault).__name__)
            return
        for entry in entries:
            path = entry.path
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            except OSError as fault:
                yield Unread(path=self._name(path), why=type(fault).__name__)
                continue
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            if S_ISREG(status.st_mode):
                yield ServerFile(path=self._name(path), size=status.st_size)
            elif S_ISDIR(status.st_mode) and depth:
                yield from self._walk(path, seen, depth - 1)
            elif S_ISDIR(status.st_mode):
                yield Unread(path=self._name(path), why=f"deeper than {DIRECTORY_DEPTH_MAX} directories")

    def _name(self, path: str) -> str:
        return path.removeprefix(f"{self._root}/")

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        """Read up to `length` bytes at `offset`."""
        try:
            with (self._root / path).open("rb", buffering=0) as handle:
                return os.pread(handle.fileno(), length, offset)
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise NotPermitted(f"{path} can't be read: {type(fault).__name__}; run as a user who may") from None


class SqlFiles:
    """The data directory, read through the server's own file functions."""

    how = "files over SQL"

    def __init__(self, conn: psycopg.Connection, *, outside: Sequence[str] = ()) -> None:
        self._conn = conn
        self._outside = tuple(outside)

    def walk(self) -> Iterator[ServerFile | Unread]:
        """List every regular file once, directory by directory."""
        for top in (".", *self._outside):
            yield from self._walk(top, DIRECTORY_DEPTH_MAX)

    def _walk(self, folder: str, depth: int) -> Iterator[ServerFile | Unread]:
        try:
            rows = self._conn.execute(_LIST_SQL, {"folder": folder}).fetchall()
        except psycopg.errors.UndefinedFile:
            return
        except psycopg.Error as fault:
            yield Unread(path=folder, why=type(fault).__name__)
            return
        for name, size, is_folder in rows:
            path = name if folder == "." else f"{folder}/{name}"
            if size is None:
                continue
            if not is_folder:
                yield ServerFile(path=path, size=size)
            elif depth:
                yield from self._walk(path, depth - 1)
            else:
                yield Unread(path=path, why=f"deeper than {DIRECTORY_DEPTH_MAX} directories")

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        """Read up to `length` bytes at `offset`."""
        try:
            row = self._conn.execute(
                "SELECT pg_read_binary_file(%s, %s, %s, true)", (path, offset, length), binary=True
            ).fetchone()
        except psycopg.Error as fault:
            raise NotPermitted(f"{path} can't be read: {type(fault).__name__}; grant pg_read_server_files") from None
        return None if row is None or row[0] is None else bytes(row[0])


_LIST_SQL: LiteralString = """
SELECT entry.name, (entry.status).size, (entry.status).isdir
FROM (SELECT name, pg_stat_file(CASE %(folder)s WHEN '.' THEN name ELSE %(folder)s || '/' || name END, true) AS status
      FROM pg_ls_dir(%(folder)s, false, false) AS name ORDER BY name) AS entry
"""


def reach(conn: psycopg.Connection, *, sql_only: bool = False) -> Reach:
    """Find the way to the server's files: local, over SQL, or none and why."""
    try:
        root, log_folder, logs = _settings(conn)
    except psycopg.Error:
        return Reach(files=None, why="the role may not read data_directory; grant pg_read_all_settings")
    outside = [log_folder] if logs and log_folder.startswith("/") and not log_folder.startswith(f"{root}/") else []
    if not sql_only and _is_own_directory(conn, Path(root)):
        return Reach(files=LocalFiles(Path(root), outside=[Path(path) for path in outside]), why=LocalFiles.how)
    missing = missing_file_rights(conn)
    if missing:
        return Reach(files=None, why=f"files aren't on this machine and the role lacks {', '.join(missing)}")
    return Reach(files=SqlFiles(conn, outside=outside), why=SqlFiles.how)


def free_bytes(conn: psycopg.Connection) -> int | None:
    """Bytes that the server may still write where its data lies; None when that disk isn't this machine's."""
    try:
        root = Path(_settings(conn)[0])
    except psycopg.Error:
        return None
    if not _is_own_directory(conn, root):
        return None
    state = os.statvfs(root)
    return state.f_bavail * state.f_frsize


FILE_FUNCTIONS = (
    "pg_ls_dir(text,boolean,boolean)",
    "pg_stat_file(text,boolean)",
    "pg_read_binary_file(text,bigint,bigint,boolean)",
)


def missing_file_rights(conn: psycopg.Connection) -> tuple[str, ...]:
    """Name the file functions that the role may not execute."""
    return tuple(name for name in FILE_FUNCTIONS if not _may_execute(conn, name))


def _may_execute(conn: psycopg.Connection, function: str) -> bool:
    row = conn.execute("SELECT has_function_privilege(%s, 'EXECUTE')", (function,)).fetchone()
    return bool(row and row[0])


def _settings(conn: psycopg.Connection) -> tuple[str, str, bool]:
    row = conn.execute(
        "SELECT current_setting('data_directory'), current_setting('log_directory'),"
        " current_setting('logging_collector')::boolean"
    ).fetchone()
    if row is None:
        raise StoreFault("the server gave no data_directory; is it PostgreSQL 13 or newer?")
    return str(row[0]), str(row[1]), bool(row[2])


def _is_own_directory(conn: psycopg.Connection, root: Path) -> bool:
    """Whether `root` on this machine belongs to the connected server: same system, same start, same port."""
    try:
        control = (root / "global" / "pg_control").read_bytes()[:8]
        lines = (root / "postmaster.pid").read_text().splitlines()
        row = conn.execute(
            "SELECT (SELECT system_identifier::text FROM pg_control_system()),"
            " floor(extract(epoch FROM pg_postmaster_start_time()))::bigint::text, current_setting('port')"
        ).fetchone()
    except (OSError, UnicodeDecodeError, psycopg.Error):
        return False
    if row is None or len(lines) < 4:
        return False
    system, started, port = row
    near = abs(int(lines[2]) - int(started)) <= 2 if lines[2].isdigit() else False
    return str(int.from_bytes(control, "little")) == system and lines[3] == port and near


class Shape(StrEnum):
    """How the bytes of a file are laid out, as far as a search must know."""

    PAGES = "pages"
    TOAST_PAGES = "toast pages"
    UNKNOWN_PAGES = "unknown pages"
    WAL = "wal"
    TUPLES = "tuples"
    WORK = "work"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose bytes a file holds: the copy's id, its kind, and the layout."""

    copy: str
    kind: CopyKind
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A relation with files: whose it is and which copy it belongs to."""

    place: Place
    table: TableName


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The map from paths to copies at one moment: `by_path` is `pg_relation_filepath` → storage."""

    geometry: Geometry
    database: int
    log_folder: str
    by_path: dict[str, Storage] = field(repr=False)
    by_slot: frozenset[str] = frozenset()

    def place(self, path: str) -> Place:
        """Say whose bytes the file holds; a relation file that nobody owns is an orphan."""
        base = _FORK.sub("", path)
        storage = self.by_path.get(base)
        if storage is not None:
            return storage.place
        if relation := _RELATION.fullmatch(path):
            if int(relation["database"]) != self.database:
                return _whole(CopyKind.OTHER_DATABASES, Shape.UNKNOWN_PAGES)
            kind = CopyKind.TEMP_FILES if relation["temporary"] else CopyKind.ORPHANED_FILES
            return _whole(kind, Shape.UNKNOWN_PAGES)
        return self._other(path)

    def _other(self, path: str) -> Place:
        if self.log_folder and path.startswith(f"{self.log_folder}/"):
            return _whole(CopyKind.SERVER_LOG, Shape.PLAIN)
        if slot := _SLOT.match(path):
            name = slot["name"]
            shape = Shape.TUPLES if path.endswith(".spill") else Shape.PLAIN
            return Place(copy=copy_id(CopyKind.SLOT, name=name), kind=CopyKind.SLOT, shape=shape)
        for pattern, kind, shape in _PLACES:
            if pattern.search(path):
                return _whole(kind, shape)
        return _whole(CopyKind.SERVER_FILES, Shape.PLAIN)


def _whole(kind: CopyKind, shape: Shape) -> Place:
    return Place(copy=copy_id(kind), kind=kind, shape=shape)


_FORK = re.compile(r"(_(vm|fsm|init))?(\.\d+)?$")
_RELATION = re.compile(
    r"(?:base|pg_tblspc/\d+/[^/]+)/(?P<database>\d+)/(?P<temporary>t\d+_)?\d+(_(vm|fsm|init))?(\.\d+)?"
)
_SLOT = re.compile(r"pg_replslot/(?P<name>[^/]+)/")
_PLACES: tuple[tuple[re.Pattern[str], CopyKind, Shape], ...] = (
    (re.compile(r"^pg_wal/"), CopyKind.WAL, Shape.WAL),
    (re.compile(r"(^|/)pgsql_tmp/"), CopyKind.TEMP_FILES, Shape.WORK),
    (re.compile(r"^pg_twophase/"), CopyKind.PREPARED_TRANSACTIONS, Shape.PLAIN),
    (re.compile(r"^pg_notify/"), CopyKind.NOTIFY_QUEUE, Shape.PLAIN),
    (re.compile(r"pgss_query_texts\.stat$|pg_stat_statements\.stat$"), CopyKind.STATEMENT_TEXTS, Shape.PLAIN),
    (re.compile(r"^global/\d+"), CopyKind.CATALOGUE, Shape.PAGES),
)


def read_geometry(conn: psycopg.Connection) -> Geometry:
    """Read the sizes the cluster was made with."""
    row = conn.execute(
        "SELECT database_block_size, wal_block_size, bytes_per_wal_segment, max_toast_chunk_size"
        "  FROM pg_control_init()"
    ).fetchone()
    if row is None:
        raise StoreFault("pg_control_init() gave no row; is the server PostgreSQL 13 or newer?")
    return Geometry(block=row[0], wal_block=row[1], wal_segment=row[2], toast_chunk=row[3])


def read_layout(
    conn: psycopg.Connection, *, datasets: Sequence[TableName], derived: Sequence[TableName] = ()
) -> Layout:
    """Read who owns which file of the connected database, partitions folded into their dataset."""
    row = conn.execute(
        "SELECT (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),"
        " current_setting('log_directory', true), current_setting('logging_collector')::boolean,"
        " ARRAY(SELECT slot_name::text FROM pg_replication_slots)"
    ).fetchone()
    if row is None:
        raise StoreFault("the server doesn't know its own database; connect again")
    roots = read_roots(conn, datasets)
    views = {oid for oid, *_ in materialised_views(conn)}
    return Layout(
        geometry=read_geometry(conn),
        database=row[0],
        log_folder=row[1] if row[2] and row[1] else "",
        by_path=_read_storages(conn, roots, views, read_roots(conn, derived)),
        by_slot=frozenset(row[3]),
    )


def read_roots(conn: psycopg.Connection, datasets: Sequence[TableName]) -> dict[int, TableName]:
    """Map each dataset's table, and every partition and child below it, to the dataset; by oid."""
    roots: dict[int, TableName] = {}
    for dataset in datasets:
        for (oid,) in conn.execute(_TREE_SQL, {"schema": dataset.schema, "name": dataset.name}):
            roots.setdefault(oid, dataset)
    named = {(dataset.schema, dataset.name): dataset for dataset in datasets}
    for oid, schema, name in conn.execute(
        "SELECT c.oid::bigint, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p')"
    ):
        if (schema, name) in named:
            roots[oid] = named[schema, name]
    return roots


_TREE_SQL: LiteralString = """
WITH RECURSIVE tree(oid) AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND c.relname = %(name)s AND c.relkind IN ('r', 'p')
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid)
SELECT oid::bigint FROM tree
"""


def materialised_views(conn: psycopg.Connection) -> list[tuple[int, TableName, bool]]:
    """List the database's materialised views, those that read others after them: the order to refresh them in.

    Gives oid, name, and whether it holds rows. All of them, as what a view's *functions* read isn't in the catalogue.
    """
    rows = conn.execute(_VIEWS_SQL).fetchall()
    return [(oid, TableName(schema=schema, name=name), populated) for oid, schema, name, populated in rows]


_VIEWS_SQL: LiteralString = """
WITH RECURSIVE readers(oid, depth) AS (
    SELECT c.oid, 0 FROM pg_class c WHERE c.relkind = 'm'
    UNION
    SELECT r.ev_class, readers.depth + 1
      FROM readers
      JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = readers.oid
                      AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> readers.oid
     WHERE readers.depth < 64)
SELECT c.oid::bigint, n.nspname, c.relname, c.relispopulated
  FROM readers JOIN pg_class c ON c.oid = readers.oid AND c.relkind = 'm'
  JOIN pg_namespace n ON n.oid = c.relnamespace
 GROUP BY c.oid, n.nspname, c.relname, c.relispopulated
 ORDER BY max(readers.depth), n.nspname, c.relname
"""

_STORAGE_SQL: LiteralString = """
SELECT pg_relation_filepath(c.oid), c.relkind::text, owner.oid::bigint, owner.relkind::text,
       owner.relpersistence::text, n.nspname, owner.relname
  FROM pg_class c
  LEFT JOIN pg_index i ON i.indexrelid = c.oid
  JOIN pg_class direct ON direct.oid = coalesce(i.indrelid, c.oid)
  LEFT JOIN pg_class holder ON direct.relkind = 't' AND holder.reltoastrelid = direct.oid
  JOIN pg_class owner ON owner.oid = coalesce(holder.oid, direct.oid)
  JOIN pg_namespace n ON n.oid = owner.relnamespace
 WHERE c.relkind IN ('r', 'i', 't', 'm', 'S') AND pg_relation_filepath(c.oid) IS NOT NULL
"""


def _read_storages(
    conn: psycopg.Connection, roots: dict[int, TableName], views: set[int], derived: dict[int, TableName]
) -> dict[str, Storage]:
    storages: dict[str, Storage] = {}
    for path, relkind, owner, owner_kind, persistence, schema, name in conn.execute(_STORAGE_SQL):
        table = TableName(schema=schema, name=name)
        shape = Shape.TOAST_PAGES if relkind == "t" else Shape.PAGES
        kind, relation = _kind_of(table, relkind, owner, owner_kind, persistence, roots=roots, views=views)
        if owner in derived:
            kind, relation = CopyKind.DERIVED_TABLE, derived[owner]
        storages[path] = Storage(place=Place(copy=copy_id(kind, relation), kind=kind, shape=shape), table=table)
    return storages


def _kind_of(  # noqa: PLR0913 - one catalogue row, column by column
    table: TableName,
    relkind: str,
    owner: int,
    owner_kind: str,
    persistence: str,
    *,
    roots: dict[int, TableName],
    views: set[int],
) -> tuple[CopyKind, TableName | None]:
    if owner in roots:
        kinds = {"t": CopyKind.TOAST, "i": CopyKind.INDEX}
        return kinds.get(relkind, CopyKind.HEAP), roots[owner]
    if owner in views:
        return CopyKind.MATERIALISED_VIEW, table
    if table.schema in {"pg_catalog", "information_schema", "pg_toast"}:
        return _CATALOGUE_KINDS.get(table.name, CopyKind.CATALOGUE), None
    if persistence == "t":
        return CopyKind.TEMP_FILES, None
    if table.schema == "domicile":
        return CopyKind.STAGING, None
    if table.schema == DIRECTORY:
        return CopyKind.DIRECTORY, None
    if owner_kind != "m" and persistence == "u":
        return CopyKind.UNLOGGED_TABLES, None
    return CopyKind.UNMAPPED_TABLES, None


_CATALOGUE_KINDS = {
    "pg_statistic": CopyKind.STATISTICS,
    "pg_statistic_ext_data": CopyKind.STATISTICS,
    "pg_largeobject": CopyKind.LARGE_OBJECTS,
    "pg_largeobject_metadata": CopyKind.LARGE_OBJECTS,
}
