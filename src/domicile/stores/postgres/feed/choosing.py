"""Which of the two feeds, and why: a slot where everything allows it, else triggers, which work everywhere.

One that was begun stays what it is. Before 15 a publication can't be told which columns to send: a slot would then send
whole rows, also those of people who stay where they are. So there the triggers are chosen; who wants a slot can ask
for it by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import psycopg

from domicile.host import Host
from domicile.model import DatasetScope
from domicile.stores.feed import Changefeed, FeedKind
from domicile.stores.postgres.feed.followed import exists
from domicile.stores.postgres.feed.published import COLUMNS_SINCE, Keyed, parts_of
from domicile.stores.postgres.feed.slot import RETAINED_MIB_MAX, SlotFeed
from domicile.stores.postgres.feed.triggers import TriggerFeed
from domicile.stores.postgres.session import Session, faults

AUTO: Final = "auto"
REPLICATION_ROLES: Final = ("rds_replication", "cloudsqlreplication")
"""Roles that stand for the attribute REPLICATION where a provider does not give that away."""

MAY_REPLICATE = """
SELECT rolsuper OR rolreplication
       OR EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = ANY(%s) AND pg_has_role(current_user, r.oid, 'USAGE'))
  FROM pg_roles WHERE rolname = current_user
"""
SLOT_FREE = "SELECT current_setting('max_replication_slots')::int > (SELECT count(*) FROM pg_replication_slots)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A kind of feed, and why it is that one, in a sentence that needs no full stop."""

    kind: FeedKind
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.why}"


def choose(connection: psycopg.Connection[Any], datasets: Sequence[Keyed]) -> Choice:
    """Say which feed follows these datasets; ask, change nothing."""
    begun = _begun(connection)
    if begun is not None:
        return Choice(kind=begun, why="it was begun here and goes on")
    reason = next(_against_slot(connection, datasets), None)
    if reason is not None:
        return Choice(kind=FeedKind.TRIGGER, why=reason)
    return Choice(kind=FeedKind.SLOT, why="wal_level is logical, the role may, and every followed table has its key")


def make_feed(
    kind: FeedKind | Literal["auto"],
    session: Session,
    datasets: Sequence[DatasetScope],
    *,
    host: Host | None = None,
    retained_mib_max: int = RETAINED_MIB_MAX,
) -> Changefeed:
    """Make a feed of that kind, or of the one that `choose` says. It has not begun."""
    if kind == AUTO:
        with faults(session.store, "ask which changefeed it allows"):
            kind = choose(session.connection, datasets).kind
    if FeedKind(kind) is FeedKind.SLOT:
        return SlotFeed(session, datasets, host=host, retained_mib_max=retained_mib_max)
    return TriggerFeed(session, datasets, host=host)


def _begun(connection: psycopg.Connection[Any]) -> FeedKind | None:
    """The kind of feed that stands here."""
    if not exists(connection, "feed_state"):
        return None
    names = {str(row[0]) for row in connection.execute("SELECT name FROM domicile.feed_state")}
    if "slot" in names:
        return FeedKind.SLOT
    return FeedKind.TRIGGER if "triggers" in names else None


def _against_slot(connection: psycopg.Connection[Any], datasets: Sequence[Keyed]) -> Iterator[str]:
    """Why it can't be a slot, what most needs saying first."""
    asks: tuple[Callable[[], str | None], ...] = (
        lambda: _level(connection),
        lambda: _version(connection),
        lambda: None if _yes(connection, MAY_REPLICATE, list(REPLICATION_ROLES)) else "the role may not replicate",
        lambda: _encoding(connection),
        lambda: next((part.unfit for part in parts_of(connection, datasets) if part.unfit), None),
        lambda: None if _yes(connection, SLOT_FREE) else "no replication slot is free (max_replication_slots)",
    )
    for ask in asks:
        reason = ask()
        if reason is not None:
            yield reason


def _level(connection: psycopg.Connection[Any]) -> str | None:
    level = str(_one(connection, "SELECT current_setting('wal_level')"))
    return None if level == "logical" else f"wal_level is {level}, a slot needs logical"


def _version(connection: psycopg.Connection[Any]) -> str | None:
    if connection.info.server_version >= COLUMNS_SINCE:
        return None
    return "before PostgreSQL 15 a slot sends whole rows, also of people who stay"


def _encoding(connection: psycopg.Connection[Any]) -> str | None:
    if _one(connection, "SELECT current_setting('server_encoding')") != "SQL_ASCII":
        return None
    return "the database's encoding is SQL_ASCII, so a slot's texts may be in any"


def _yes(connection: psycopg.Connection[Any], query: str, *values: object) -> bool:
    return bool(_one(connection, query, *values))


def _one(connection: psycopg.Connection[Any], query: str, *values: object) -> object:
    row = connection.execute(query.encode(), values or None).fetchone()
    return row[0] if row else None
