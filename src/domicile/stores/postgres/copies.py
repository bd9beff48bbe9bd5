"""The nouns of a store's horizon: kinds of copies, what was done to each, and which rights that took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from domicile.catalogue import TableName


class CopyKind(StrEnum):
    """Every place of a PostgreSQL server, fed by it, or of an object store, where bytes of a row or object can lie."""

    LIVE_ROWS = "live-rows"
    HEAP = "heap"
    TOAST = "toast"
    INDEX = "index"
    UNMAPPED_TABLES = "unmapped-tables"
    UNLOGGED_TABLES = "unlogged-tables"
    MATERIALISED_VIEW = "materialised-view"
    DERIVED_TABLE = "derived-table"
    LARGE_OBJECTS = "large-objects"
    STATISTICS = "statistics"
    CATALOGUE = "catalogue"
    STAGING = "staging"
    DIRECTORY = "directory"
    ORPHANED_FILES = "orphaned-files"
    TEMP_FILES = "temp-files"
    WAL = "wal"
    SLOT = "slot"
    CHANGEFEED = "changefeed"
    SUBSCRIBERS = "subscribers"
    STANDBYS = "standbys"
    ARCHIVE = "archive"
    PREPARED_TRANSACTIONS = "prepared-transactions"
    NOTIFY_QUEUE = "notify-queue"
    STATEMENT_TEXTS = "statement-texts"
    SERVER_LOG = "server-log"
    OTHER_DATABASES = "other-databases"
    TABLESPACE = "tablespace"
    FOREIGN_TABLES = "foreign-tables"
    SUBSCRIPTIONS = "subscriptions"
    SERVER_FILES = "server-files"
    ARCHIVED_WAL = "archived-wal"
    DUMP = "dump"
    BASE_BACKUP = "base-backup"
    ENCRYPTED_FILES = "encrypted-files"
    SNAPSHOT = "snapshot"
    PACKS = "packs"
    OTHER_FILES = "other-files"
    DUMPS_AND_BACKUPS = "dumps-and-backups"
    FREE_BLOCKS = "free-blocks"
    OBJECTS = "objects"
    OBJECT_VERSIONS = "object-versions"
    LOCKED_VERSIONS = "locked-versions"
    UPLOADS = "incomplete-uploads"
    NO_OBJECTS = "no-objects"
    OBJECT_REPLICAS = "object-replicas"
    ACCESS_LOGS = "access-logs"
    OBJECT_LISTS = "object-inventories"
    STORE_FILES = "store-files"


class Looked(StrEnum):
    """How a copy is searched."""

    ROWS = "rows"
    FILES = "files"
    ROWS_AND_FILES = "rows and files"
    OBJECTS = "names and bytes of objects"
    NEVER = "never"


LOOKED: dict[CopyKind, Looked] = {
    CopyKind.LIVE_ROWS: Looked.ROWS,
    CopyKind.UNMAPPED_TABLES: Looked.ROWS_AND_FILES,
    CopyKind.UNLOGGED_TABLES: Looked.ROWS_AND_FILES,
    CopyKind.MATERIALISED_VIEW: Looked.ROWS_AND_FILES,
    CopyKind.DERIVED_TABLE: Looked.ROWS_AND_FILES,
    CopyKind.LARGE_OBJECTS: Looked.ROWS_AND_FILES,
    CopyKind.DIRECTORY: Looked.ROWS_AND_FILES,
    CopyKind.CHANGEFEED: Looked.NEVER,
    CopyKind.SUBSCRIBERS: Looked.NEVER,
    CopyKind.STANDBYS: Looked.NEVER,
    CopyKind.ARCHIVE: Looked.NEVER,
    CopyKind.FOREIGN_TABLES: Looked.NEVER,
    CopyKind.SUBSCRIPTIONS: Looked.NEVER,
    CopyKind.DUMPS_AND_BACKUPS: Looked.NEVER,
    CopyKind.FREE_BLOCKS: Looked.NEVER,
    CopyKind.OBJECTS: Looked.OBJECTS,
    CopyKind.OBJECT_VERSIONS: Looked.OBJECTS,
    CopyKind.LOCKED_VERSIONS: Looked.OBJECTS,
    CopyKind.UPLOADS: Looked.OBJECTS,
    CopyKind.NO_OBJECTS: Looked.NEVER,
    CopyKind.OBJECT_REPLICAS: Looked.NEVER,
    CopyKind.ACCESS_LOGS: Looked.NEVER,
    CopyKind.OBJECT_LISTS: Looked.NEVER,
}  # every other kind: files


class Treatment(StrEnum):
    """What became of a copy in `treat`."""

    PROVEN = "proven"  # treated, and the server's own structure shows that nothing from before is left
    DONE = "done"  # treated; only the search can tell whether it worked
    OBSERVED = "observed"  # nothing to treat; the search alone decides
    KEY_DESTROYED = "key destroyed"  # every copy of the key was destroyed and looked for; the bytes lie there as noise
    ABSENT = "absent"  # the server says there is no such copy
    GONE = "gone"  # no longer there, by somebody else's hand: moved away or removed, nobody here can tell
    BLOCKED = "blocked"  # may not go before `until`
    HELD = "held"  # something keeps the old bytes; `why` names it
    NOT_PERMITTED = "not permitted"  # the role may not
    UNSEEN = "unseen"  # can't be observed from this server


def looked(kind: CopyKind) -> Looked:
    """Say how copies of that kind are searched."""
    return LOOKED.get(kind, Looked.FILES)


def copy_id(kind: CopyKind, relation: TableName | None = None, *, name: str | None = None) -> str:
    """Name a copy, the same on every run: kind, and relation or the server object's name where there are several."""
    if relation is not None:
        return f"{kind}:{relation}"
    return f"{kind}:{name}" if name is not None else str(kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One place where in-scope bytes lie or could lie; `method` is what empties it, `why` what we know of it."""

    id: str
    kind: CopyKind
    relation: TableName | None
    method: str
    observable: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What `treat` did to one copy; `lock_ms` is how long others could not use it, `until` a day for `blocked`."""

    copy: str
    treatment: Treatment
    why: str
    remedy: str | None = None
    lock_ms: float | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A right of the connected role, what fails without it, and the statement that grants it."""

    name: str
    has: bool
    needed_for: str
    grant_sql: str
