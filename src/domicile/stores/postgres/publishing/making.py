"""Makes publications, slots and subscriptions as decided, and takes them away; each step is safe to repeat.

Order of making, everywhere before the next: (1) schema and triggers for what arrives, (2) publications, (3) slots,
(4) subscriptions. A slot made after its publication never reads WAL in which the publication did not exist yet; a row
never arrives before its trigger stands. Slots are made by us and not by CREATE SUBSCRIPTION, so that a subscription can
stand and fall in a transaction, and two databases of one server can read each other.

A subscription's connection string stands in `pg_subscription`, where superusers and dumps of the database read it: one
with a password is refused. `passfile=` and `service=` name files of the *receiving* server's operating system user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from domicile.errors import BadFile, Refused, StoreFault, Undecided, Unreachable
from domicile.publish import KEPT, MISSED, OPEN, Crossing, Published, Publishing
from domicile.stores.postgres.fence import wait_briefly
from domicile.stores.postgres.names import columns
from domicile.stores.postgres.publishing.arrivals import drop_arrivals, make_arrivals, make_schema, only
from domicile.stores.postgres.publishing.looking import note_made
from domicile.stores.postgres.publishing.origins import drop_origins
from domicile.stores.postgres.session import faults, run

PLUGIN = "pgoutput"
RELEASE_ROUNDS_MAX = 500
RELEASE_ROUND_S = 0.02
ACTIONS = {OPEN: "insert, update, delete", KEPT: "insert, update"}
LISTED_MAX = 50
SUBSCRIBED: Final = "SELECT FROM pg_subscription WHERE subname = %s"
PUBLISHES: Final = "SELECT FROM pg_publication WHERE pubname = %s"
NOT_OURS: Final = """
SELECT 'slot ' || slot_name FROM pg_replication_slots
 WHERE database = current_database() AND starts_with(slot_name, 'domicile_')
   AND NOT starts_with(slot_name, 'domicile_feed_') AND slot_name <> ALL(%(ours)s)
UNION ALL
SELECT 'subscription ' || subname FROM pg_subscription
 WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND starts_with(subname, 'domicile_') AND subname <> ALL(%(ours)s)
 ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One location's database: our session, its store's name in messages, and how other servers reach it."""

    connection: psycopg.Connection[Any]
    store: str
    reached_by: str | None = field(default=None, repr=False)


def make_publishing(publishing: Publishing, servers: Mapping[str, Server], *, bring: bool = False) -> tuple[str, ...]:
    """Make all that is missing and mend what was altered; return what was newly made, in words.

    `bring` lets a new subscription bring the rows that its receiver has not; rows that it has stay as they are.
    Raises Undecided while a finding stands against it, BadFile for a connection string that holds a password.
    """
    _refuse_undecided(publishing)
    for location in publishing.locations:
        _refuse_password(location, servers[location])
    _refuse_others(publishing, servers)
    for crossing in publishing.crossings:
        _refuse_missed(crossing, servers)
    made: list[str] = []
    for location in publishing.locations:
        server = servers[location]
        with faults(server.store, "prepare for what arrives"), _transaction(server):
            make_schema(server.connection)
            for table in publishing.tables:
                make_arrivals(server.connection, table)
    for location in publishing.locations:
        made += _publish(publishing, location, servers[location])
    for crossing in publishing.crossings:
        made += _make_slot(crossing, servers[crossing.publisher])
    for crossing in publishing.crossings:
        made += _subscribe(publishing, crossing, servers, bring=bring)
    return tuple(made)


def _refuse_undecided(publishing: Publishing) -> None:
    open_ones = publishing.undecided()
    if open_ones:
        lines = "\n".join(f"{found.where}: {found.text}; {found.remedy}" for found in open_ones[:LISTED_MAX])
        more = f"\n… and {len(open_ones) - LISTED_MAX} more" if len(open_ones) > LISTED_MAX else ""
        raise Undecided(f"{len(open_ones)} things stand against publishing, nothing was made:\n{lines}{more}")


def _refuse_others(publishing: Publishing, servers: Mapping[str, Server]) -> None:
    """Refuse where another file publishes at a location of ours: both would read and drop the same publications."""
    ours = [crossing.name for crossing in publishing.crossings]
    for location in publishing.locations:
        server = servers[location]
        with faults(server.store, "look for the publishing of others"):
            found = [str(name) for (name,) in server.connection.execute(NOT_OURS, {"ours": ours}).fetchall()]
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise Refused(
                f"store {server.store}: {found[0]}{more} is of another programme's publishing, or of a home that the "
                "file no longer names; it reads the publications that this one makes and drops. Publish from one file "
                "that names all homes, and drop the other from its own file, or that slot or subscription by hand"
            )


def _refuse_password(location: str, server: Server) -> None:
    place = f"policy.public.connections.{location}"
    if server.reached_by is None:
        raise BadFile(f"{place}: nothing says how the other locations' servers reach this one")
    try:
        given = conninfo_to_dict(server.reached_by)
    except psycopg.Error:
        raise BadFile(f"{place}: it is no connection string; write host=… dbname=… user=… passfile=…") from None
    if "password" in given or "sslpassword" in given:
        raise BadFile(f"{place}: holds a password, which would lie in pg_subscription; use `passfile=` or `service=`")


def _refuse_missed(crossing: Crossing, servers: Mapping[str, Server]) -> None:
    """Refuse to go on as if nothing were: a new slot under an old subscription hides what was missed between them."""
    receiver, publisher = servers[crossing.receiver], servers[crossing.publisher]
    with faults(publisher.store, f"look at slot {crossing.name}"):
        slot = _is_there(
            publisher.connection,
            "SELECT FROM pg_replication_slots WHERE slot_name = %s AND wal_status IS DISTINCT FROM 'lost'",
            crossing.name,
        )
    with faults(receiver.store, f"look at subscription {crossing.name}"):
        reads = _is_there(receiver.connection, SUBSCRIBED, crossing.name)
    if reads and not slot:
        raise Refused(
            f"store {publisher.store}: slot {crossing.name} is gone or lost its WAL, so changes were missed at "
            f"{crossing.receiver}; {MISSED}"
        )


@contextmanager
def _transaction(server: Server) -> Iterator[None]:
    with server.connection.transaction():
        wait_briefly(server.connection)
        yield


def _is_there(connection: psycopg.Connection[Any], query: LiteralString, name: str) -> bool:
    return connection.execute(query, (name,)).fetchone() is not None


# -- the publisher's side ---------------------------------------------------------------------------------------------


def _publish(publishing: Publishing, location: str, server: Server) -> Iterator[str]:
    for name in (OPEN, KEPT):
        tables = publishing.of(deletes=name == OPEN)
        with faults(server.store, f"make publication {name}"), _transaction(server):
            there = _is_there(server.connection, PUBLISHES, name)
            if tables and not there:
                run(server.connection, sql.SQL("CREATE PUBLICATION {}").format(sql.Identifier(name)))
                yield f"publication {name} at {location}"
            if tables:
                _set_publication(server.connection, name, tables)
            elif there:
                run(server.connection, sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(name)))


def _set_publication(connection: psycopg.Connection[Any], name: str, tables: tuple[Published, ...]) -> None:
    run(
        connection,
        sql.SQL("ALTER PUBLICATION {} SET (publish = {}, publish_via_partition_root = true)").format(
            sql.Identifier(name), sql.Literal(ACTIONS[name])
        ),
    )
    run(
        connection,
        sql.SQL("ALTER PUBLICATION {} SET TABLE {}").format(
            sql.Identifier(name), sql.SQL(", ").join(_published(table) for table in tables)
        ),
    )
    note_made(connection, name)


def _published(table: Published) -> sql.Composable:
    """The table with its column list and its filter, which was parsed before."""
    where = sql.SQL(" WHERE ({})").format(sql.SQL(table.where)) if table.where else sql.SQL("")
    return only(table) + sql.SQL(" ({})").format(columns(table.columns)) + where


def _make_slot(crossing: Crossing, server: Server) -> Iterator[str]:
    with faults(server.store, f"make slot {crossing.name}"):
        row = server.connection.execute(
            "SELECT plugin, database = current_database() FROM pg_replication_slots WHERE slot_name = %s",
            (crossing.name,),
        ).fetchone()
        if row is None:
            server.connection.execute("SELECT pg_create_logical_replication_slot(%s, %s)", (crossing.name, PLUGIN))
            yield f"slot {crossing.name} at {crossing.publisher}"
        elif row != (PLUGIN, True):
            raise Refused(f"store {server.store}: slot {crossing.name} is another database's or plugin's; drop it")


# -- the receiver's side ----------------------------------------------------------------------------------------------


def _subscribe(
    publishing: Publishing, crossing: Crossing, servers: Mapping[str, Server], *, bring: bool
) -> Iterator[str]:
    server, publisher = servers[crossing.receiver], servers[crossing.publisher]
    names = [name for name in (OPEN, KEPT) if publishing.of(deletes=name == OPEN)]
    with faults(server.store, f"make subscription {crossing.name}"), _reaching(crossing, server):
        if not _is_there(server.connection, SUBSCRIBED, crossing.name):
            run(server.connection, _create(crossing, publisher, names, bring=bring))
            yield f"subscription {crossing.name} at {crossing.receiver}"
        else:
            for statement in _mend(crossing, publisher, names):
                run(server.connection, statement)


def _create(crossing: Crossing, publisher: Server, names: list[str], *, bring: bool) -> sql.Composable:
    """A subscription that retries after an error: while somebody is being cut over, the guard refuses for seconds."""
    return sql.SQL(
        "CREATE SUBSCRIPTION {name} CONNECTION {reach} PUBLICATION {publications} WITH (create_slot = false,"
        " slot_name = {name}, copy_data = {bring}, origin = none, binary = false, disable_on_error = false,"
        " password_required = false, run_as_owner = false)"
    ).format(
        name=sql.Identifier(crossing.name), reach=sql.Literal(publisher.reached_by), bring=sql.Literal(bring),
        publications=sql.SQL(", ").join(map(sql.Identifier, names)),
    )  # fmt: skip


def _mend(crossing: Crossing, publisher: Server, names: list[str]) -> Iterator[sql.Composable]:
    alter = sql.SQL("ALTER SUBSCRIPTION {} ").format(sql.Identifier(crossing.name))
    yield alter + sql.SQL("CONNECTION {}").format(sql.Literal(publisher.reached_by))
    yield alter + sql.SQL("SET (origin = none)")
    yield alter + sql.SQL("SET PUBLICATION {} WITH (refresh = false)").format(
        sql.SQL(", ").join(map(sql.Identifier, names))
    )
    yield alter + sql.SQL("ENABLE")
    yield alter + sql.SQL("REFRESH PUBLICATION WITH (copy_data = false)")


@contextmanager
def _reaching(crossing: Crossing, server: Server) -> Iterator[None]:
    """What failed may be the way between the two servers, which is not the way from us to them."""
    try:
        yield
    except (psycopg.errors.ConnectionFailure, psycopg.errors.SqlclientUnableToEstablishSqlconnection) as fault:
        if server.connection.closed:
            raise
        raise StoreFault(
            f"store {server.store}: its server does not reach {crossing.publisher} [SQLSTATE {fault.sqlstate}]; check "
            f"policy.public.connections.{crossing.publisher}, the passfile on that server, and pg_hba.conf at "
            f"{crossing.publisher}"
        ) from None


# -- taking away ------------------------------------------------------------------------------------------------------


def drop_publishing(
    publishing: Publishing, servers: Mapping[str, Server], *, pause: Callable[[float], None]
) -> tuple[str, ...]:
    """Take away all that `make_publishing` made; the rows that arrived stay. Return what was there, in words.

    Raises Refused where another file publishes at the same locations: its subscriptions read the same publications.
    """
    _refuse_others(publishing, servers)
    gone: list[str] = []
    for crossing in publishing.crossings:
        gone += _unsubscribe(crossing, servers[crossing.receiver])
    for crossing in publishing.crossings:
        gone += _drop_slot(crossing, servers[crossing.publisher], pause)
    for location in publishing.locations:
        server = servers[location]
        with faults(server.store, "take publications away"), _transaction(server):
            for name in (OPEN, KEPT):
                if _is_there(server.connection, PUBLISHES, name):
                    run(server.connection, sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(name)))
                    gone.append(f"publication {name} at {location}")
            drop_arrivals(server.connection)
        with faults(server.store, "take origins away"):
            drop_origins(server.connection)
    return tuple(gone)


def _unsubscribe(crossing: Crossing, server: Server) -> Iterator[str]:
    """Without asking the publisher: its slot is dropped by us, and it may be out of reach from there."""
    with faults(server.store, f"take subscription {crossing.name} away"):
        if _is_there(server.connection, SUBSCRIBED, crossing.name):
            name = sql.Identifier(crossing.name)
            run(server.connection, sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(name))
            run(server.connection, sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(name))
            run(server.connection, sql.SQL("DROP SUBSCRIPTION {}").format(name))
            yield f"subscription {crossing.name} at {crossing.receiver}"


def _drop_slot(crossing: Crossing, server: Server, pause: Callable[[float], None]) -> Iterator[str]:
    with faults(server.store, f"drop slot {crossing.name}"):
        for _ in range(RELEASE_ROUNDS_MAX):
            row = server.connection.execute(
                "SELECT active FROM pg_replication_slots WHERE slot_name = %s AND database = current_database()",
                (crossing.name,),
            ).fetchone()
            if row is None:
                return
            if not row[0]:
                server.connection.execute("SELECT pg_drop_replication_slot(%s)", (crossing.name,))
                yield f"slot {crossing.name} at {crossing.publisher}"
                return
            pause(RELEASE_ROUND_S)
    raise Unreachable(f"store {server.store}: slot {crossing.name} is still being read; run again")
