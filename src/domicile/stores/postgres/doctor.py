"""What the roles may do and what can be seen: asked of the servers, never assumed. `docs/privileges.md` is the prose.

`holds` is True, False (a run would stop there), or None: it can't be seen, and the run goes on; where it is about the
horizon, some copy's verdict will be `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from domicile.catalogue import Catalogue, RelationKind
from domicile.config import Config
from domicile.config.rules import Disposition, HomeRows
from domicile.errors import DomicileError, Refused
from domicile.host import Host
from domicile.model import DatasetId, DatasetScope
from domicile.stores.postgres import horizon
from domicile.stores.postgres.catalogue import read_catalogue
from domicile.stores.postgres.erasing import COUNTED
from domicile.stores.postgres.feed.choosing import choose
from domicile.stores.postgres.files import free_bytes
from domicile.stores.postgres.home import refuse_unless_empty
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.session import connect, faults

VERSION_MIN = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing asked, what came of it, what fails without it, and how to mend it."""

    store: str
    what: str
    holds: bool | None
    needed_for: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a home must have room and programs for: bytes of its rows by the plan (None without), and extensions."""

    bytes: int | None = None
    extensions: tuple[str, ...] = ()


def examine(config: Config, host: Host, base: Path, planned: Mapping[str, int]) -> Iterator[Check]:
    """Ask the source, then every home; `planned` are the bytes that the plan brings to a location."""
    extensions: list[str] = []
    yield from _asked(config, config.source, host, base, lambda found: _source(found, config, extensions))
    for location, name in config.home_stores.items():
        wanted = Wanted(bytes=planned.get(location), extensions=tuple(extensions))
        yield from _asked(config, name, host, base, partial(_home, name=name, wanted=wanted))


def _asked(
    config: Config, name: str, host: Host, base: Path, ask: Callable[[psycopg.Connection[Any]], Iterator[Check]]
) -> Iterator[Check]:
    """Open a session and ask; a store that can't be reached is a check that doesn't hold."""
    try:
        connection = connect(host.secret(config.databases[name].dsn, base=base), store=name)
    except DomicileError as fault:
        yield Check(store=name, what="connection", holds=False, needed_for="everything", remedy=str(fault))
        return
    try:
        with faults(name, "ask for its rights"):
            yield from ask(connection)
    finally:
        connection.close()


def _source(connection: psycopg.Connection[Any], config: Config, extensions: list[str]) -> Iterator[Check]:
    name = config.source
    yield from _server(connection, name)
    yield from _other_run(connection, config)
    yield from _source_rights(connection, name)
    catalogue = read_catalogue(connection)
    extensions.extend(catalogue.extensions)
    largest = max((table.bytes for table in catalogue.tables), default=0)
    yield _room(connection, name, largest, "the largest table, rewritten beside itself, and its WAL")
    yield _changefeed(connection, config, catalogue)
    for right in horizon.rights(connection, datasets=[table.name for table in catalogue.tables]):
        yield Check(
            store=name, what=right.name, holds=right.has or None, needed_for=right.needed_for,
            remedy="" if right.has else right.grant_sql,
        )  # fmt: skip
    for note in catalogue.notes:
        yield Check(store=name, what=note, holds=None, needed_for="a complete map")


def _other_run(connection: psycopg.Connection[Any], config: Config) -> Iterator[Check]:
    """Say that another programme's run stands here: a source is left by one at a time."""
    row = connection.execute("SELECT to_regclass('domicile.fence') IS NOT NULL").fetchone()
    if not (row and row[0]):
        return
    lines = connection.execute("SELECT coalesce(to_jsonb(f) ->> 'programme', '') FROM domicile.fence AS f").fetchall()
    for (programme,) in lines:
        if programme != config.programme.name:
            yield Check(
                store=config.source, what=f"the run of another programme stands here ({programme or 'unnamed'})",
                holds=False, needed_for="planning and moving, one programme at a time",
                remedy="finish that one, up to its certificate, or give it up (`domicile abandon`), in its own folder",
            )  # fmt: skip


def _changefeed(connection: psycopg.Connection[Any], config: Config, catalogue: Catalogue) -> Check:
    """Say which feed would follow the tables of the file, and why; that both work makes it no condition."""
    tables = {f"{config.source}.{table.name}": table for table in catalogue.tables}
    wanted = [
        DatasetScope(
            id=DatasetId(dataset), table=tables[dataset].name, key=tables[dataset].key, columns=(),
            partitioned=tables[dataset].kind is RelationKind.PARTITIONED, rows=rule.rows, home_rows=HomeRows.ALL,
        )
        for dataset, rule in config.datasets.items()
        if dataset in tables and rule.rows not in {Disposition.NONE, Disposition.DERIVED}
    ]  # fmt: skip
    choice = choose(connection, wanted)
    return Check(
        store=config.source, what=f"a changefeed by {choice.kind}", holds=True,
        needed_for=f"following what people write; {choice.why}",
    )  # fmt: skip


def _home(connection: psycopg.Connection[Any], name: str, wanted: Wanted) -> Iterator[Check]:
    yield from _server(connection, name)
    yield _empty(connection, name)
    yield _one(
        connection, name, "may create schemas here",
        "SELECT has_database_privilege(current_database(), 'CREATE')", "the tables at home",
        "GRANT CREATE ON DATABASE … TO …, or make the role its owner",
    )  # fmt: skip
    yield _one(
        connection, name, "may create databases",
        "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user",
        "the proven restore, without which nothing is cleared", "ALTER ROLE … CREATEDB",
    )  # fmt: skip
    yield _replication_role(connection, name, "repairs at home")
    yield from _extensions(connection, name, wanted.extensions)
    yield _room(connection, name, 2 * (wanted.bytes or 0), "the rows, and once more for the restore")


def _empty(connection: psycopg.Connection[Any], name: str) -> Check:
    try:
        refuse_unless_empty(connection, store=name, own_mark=None)
    except Refused as refusal:
        return Check(store=name, what="is empty", holds=False, needed_for="coming home", remedy=str(refusal))
    return Check(store=name, what="is empty, or holds what a run brought", holds=True, needed_for="coming home")


def _extensions(connection: psycopg.Connection[Any], name: str, extensions: tuple[str, ...]) -> Iterator[Check]:
    there = {str(row[0]) for row in connection.execute("SELECT name FROM pg_available_extensions")}
    for extension in extensions:
        if extension.split()[0] not in there:
            yield Check(
                store=name, what=f"extension {extension}", holds=False, needed_for="the source's schema",
                remedy=f"install the package of {extension} on the home's server",
            )  # fmt: skip


def _room(connection: psycopg.Connection[Any], name: str, wanted: int, needed_for: str) -> Check:
    """Compare what is free with what is wanted, where the disk can be seen."""
    free = free_bytes(connection)
    if free is None:
        return Check(
            store=name, what="free space", holds=None, needed_for=f"{needed_for}: about {wanted / 1e6:,.0f} MB",
            remedy="its disk isn't on this machine: look there",
        )  # fmt: skip
    holds = free >= wanted
    return Check(
        store=name, what=f"{free / 1e6:,.0f} MB free", holds=holds,
        needed_for=f"{needed_for}: about {wanted / 1e6:,.0f} MB", remedy="" if holds else "make room there",
    )  # fmt: skip


def _server(connection: psycopg.Connection[Any], name: str) -> Iterator[Check]:
    major = connection.info.server_version // 10_000
    yield Check(
        store=name, what=f"PostgreSQL {major}", holds=major >= VERSION_MIN, needed_for="everything",
        remedy="" if major >= VERSION_MIN else f"version {VERSION_MIN} or newer",
    )  # fmt: skip
    yield _one(
        connection, name, "takes writes", "SELECT NOT pg_is_in_recovery()", "everything",
        "this is a standby: name the primary in its dsn",
    )  # fmt: skip
    for program in ("pg_dump", "pg_restore", "psql"):
        try:
            path = find_client(program, at_least_major=major)
        except DomicileError as fault:
            yield Check(store=name, what=program, holds=False, needed_for="schema and restore", remedy=str(fault))
        else:
            yield Check(store=name, what=f"{program} ({path.parent})", holds=True, needed_for="schema and restore")


def _source_rights(connection: psycopg.Connection[Any], name: str) -> Iterator[Check]:
    yield _one(
        connection, name, "may create a schema", "SELECT has_database_privilege(current_database(), 'CREATE')",
        "manifest and fence", "GRANT CREATE ON DATABASE … TO …",
    )  # fmt: skip
    yield _one(
        connection, name, "reads, deletes and guards every table",
        "SELECT coalesce(bool_and(has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'DELETE')"
        " AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'TRIGGER')"
        " AND pg_has_role(c.relowner, 'USAGE')), true) FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
        " AND n.nspname NOT LIKE 'pg\\_%'"
        " AND n.nspname NOT IN ('information_schema', 'domicile', 'domicile_directory')",
        "copy, fence (ENABLE ALWAYS TRIGGER asks for ownership) and erase",
        "make the role a member of the tables' owner",
    )  # fmt: skip
    yield _replication_role(connection, name, "erasing without firing triggers and cascades")
    yield _counting(connection, name)
    yield _one(
        connection, name, "is not subject to row security",
        "SELECT rolbypassrls OR rolsuper OR NOT EXISTS (SELECT FROM pg_class WHERE relrowsecurity)"
        " FROM pg_roles WHERE rolname = current_user",
        "reading all rows (with a policy in force every read fails, on purpose)", "ALTER ROLE … BYPASSRLS",
    )  # fmt: skip


def _replication_role(connection: psycopg.Connection[Any], name: str, needed_for: str) -> Check:
    holds = True
    try:
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        holds = False
    return Check(
        store=name, what="may set session_replication_role", holds=holds, needed_for=needed_for,
        remedy="" if holds else "GRANT SET ON PARAMETER session_replication_role TO … (15+), else a superuser",
    )  # fmt: skip


def _counting(connection: psycopg.Connection[Any], name: str) -> Check:
    holds = True
    try:
        with connection.transaction():
            connection.execute(COUNTED)
    except psycopg.errors.InsufficientPrivilege:
        holds = False
    return Check(
        store=name, what="counts the rows that are touched (track_counts)", holds=holds,
        needed_for="erasing no row beside those that were cleared",
        remedy="" if holds else "turn track_counts on, or GRANT SET ON PARAMETER track_counts TO … (15+)",
    )  # fmt: skip


def _one(  # noqa: PLR0913, PLR0917 - a line of the table
    connection: psycopg.Connection[Any], name: str, what: str, query: str, needed_for: str, remedy: str
) -> Check:
    row = connection.execute(query.encode()).fetchone()
    holds = bool(row and row[0])
    return Check(store=name, what=what, holds=holds, needed_for=needed_for, remedy="" if holds else remedy)
