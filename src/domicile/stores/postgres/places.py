"""The directory's tables: whose home is where, kept in a schema of their own that outlives the move.

`place` has a line for each person who moves: the subject's key as text, their home, their state, and who is the
authority for them now (NULL: the source). Nothing else of the person is in it. `clock` has one line. Whoever writes
takes it first and holds it until the end of the transaction, so versions are committed in their order and none is
seen before a smaller one. A version is also never smaller than the time in microseconds, so that a directory made
anew goes on where the one before it ended.

The fence keeps the authority: who is being cut over is read where they lived until now, who is brought back as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domicile.errors import WorldChanged
from domicile.model import DatasetId, Home, Kind, Scope, State
from domicile.stores.postgres.fence import close_to_others
from domicile.stores.postgres.names import DIRECTORY, movers_of
from domicile.stores.postgres.session import run

CHANGED_MAX = 10_000
"""Changes that are told one by one; of more it is only told that there were many."""
PLACE, CLOCK = sql.Identifier(DIRECTORY, "place"), sql.Identifier(DIRECTORY, "clock")
TICK = sql.SQL("greatest(version + 1, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One person's line, by the key as text; `authority` is None where the source is."""

    key: str
    state: State
    home: Home | None = None
    authority: Home | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What changed up to `version`; with `reset` so much, or in such a way, that all that is known may be wrong."""

    version: int
    keys: tuple[str, ...] = ()
    reset: bool = False


def there(connection: psycopg.Connection[Any]) -> bool:
    """Whether this database holds a directory."""
    row = connection.execute("SELECT to_regclass('domicile_directory.clock') IS NOT NULL").fetchone()
    return bool(row and row[0])


def create(connection: psycopg.Connection[Any], *, store: str) -> None:
    """Make schema and tables, unless they are here; WorldChanged when a schema of that name is somebody else's."""
    if there(connection):
        return
    row = connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", (DIRECTORY,)).fetchone()
    if row and row[0]:
        raise WorldChanged(f"store {store}: schema {DIRECTORY} exists and is no directory of ours; rename or drop it")
    states = sql.SQL(", ").join(sql.Literal(state.value) for state in State)
    with connection.transaction():
        run(connection, sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(DIRECTORY)))
        run(connection, sql.SQL("REVOKE ALL ON SCHEMA {} FROM PUBLIC").format(sql.Identifier(DIRECTORY)))
        run(
            connection,
            sql.SQL(
                "CREATE TABLE {} (single boolean PRIMARY KEY DEFAULT true CHECK (single), version bigint NOT NULL,"
                " reset bigint NOT NULL)"
            ).format(CLOCK),
        )
        run(
            connection,
            sql.SQL(
                'CREATE TABLE {} (kind text NOT NULL, key text COLLATE "C" NOT NULL, home text NOT NULL,'
                " state text NOT NULL CHECK (state IN ({})), authority text, version bigint NOT NULL,"
                " PRIMARY KEY (kind, key))"
            ).format(PLACE, states),
        )
        run(connection, sql.SQL("CREATE INDEX place_version ON {} (version)").format(PLACE))
        run(connection, sql.SQL("CREATE INDEX place_state ON {} (state, home)").format(PLACE))
        run(connection, sql.SQL("INSERT INTO {} (version, reset) VALUES (0, 0)").format(CLOCK))
        run(connection, sql.SQL("UPDATE {} SET version = {tick}, reset = {tick}").format(CLOCK, tick=TICK))
        close_to_others(connection, DIRECTORY)


def record(
    connection: psycopg.Connection[Any], kind: Kind, *, where: sql.Composable, state: State | None = None
) -> int:
    """Write what became of people of that kind, in the caller's transaction; return how many lines changed.

    `where` picks lines `s` of the movers' table; their state is the table's, or the one given. Does nothing where no
    directory is kept.
    """
    if not there(connection):
        return 0
    state_of = sql.SQL("s.state") if state is None else sql.Literal(state.value)
    with connection.transaction():
        run(connection, sql.SQL("UPDATE {} SET version = {}").format(CLOCK, TICK))
        return run(
            connection,
            sql.SQL(
                "INSERT INTO {place} AS p (kind, key, home, state, authority, version)"
                " SELECT {kind}, s.key::text, s.home, {state}, CASE WHEN {state} = {at_home} THEN s.home END, c.version"
                " FROM {movers} AS s CROSS JOIN {clock} AS c WHERE {where}"
                " ON CONFLICT (kind, key) DO UPDATE SET home = excluded.home, state = excluded.state, authority ="
                " CASE WHEN excluded.state = {fenced} THEN p.authority ELSE excluded.authority END,"
                " version = excluded.version"
                " WHERE (p.home, p.state) IS DISTINCT FROM (excluded.home, excluded.state)"
            ).format(
                place=PLACE, clock=CLOCK, kind=sql.Literal(kind.dataset), state=state_of,
                at_home=sql.Literal(State.HOME.value), fenced=sql.Literal(State.FENCED.value),
                movers=movers_of(kind.dataset), where=where,
            ),
        ).rowcount  # fmt: skip


def record_all(connection: psycopg.Connection[Any], scope: Scope, *, state: State | None = None) -> int:
    """Write what became of all movers, as `record` does."""
    everybody = sql.SQL("true")
    return sum(record(connection, kind, where=everybody, state=state) for kind in scope.kinds)


def withdraw(connection: psycopg.Connection[Any], scope: Scope) -> int:
    """Forget the movers of a run that is given up: they live at the source, as if it had never been."""
    if not there(connection):
        return 0
    gone = 0
    with connection.transaction():
        run(connection, sql.SQL("UPDATE {} SET version = {tick}, reset = {tick}").format(CLOCK, tick=TICK))
        for kind in scope.kinds:
            gone += run(
                connection,
                sql.SQL("DELETE FROM {} AS p USING {} AS s WHERE p.kind = {} AND p.key = s.key::text").format(
                    PLACE, movers_of(kind.dataset), sql.Literal(kind.dataset)
                ),
            ).rowcount
    return gone


def copy_home(source: psycopg.Connection[Any], home: psycopg.Connection[Any], location: Home) -> None:
    """Make home's lines, of its own people, those of the source."""
    lines = sql.SQL("SELECT kind, key, home, state, authority, version FROM {} WHERE home = {}").format(
        PLACE, sql.Literal(location)
    )
    with home.transaction(), home.cursor() as writing, source.cursor() as reading:
        run(home, sql.SQL("UPDATE {} SET version = {tick}, reset = {tick}").format(CLOCK, tick=TICK))
        run(home, sql.SQL("DELETE FROM {}").format(PLACE))
        with (
            reading.copy(sql.SQL("COPY ({}) TO STDOUT").format(lines)) as out,
            writing.copy(
                sql.SQL("COPY {} (kind, key, home, state, authority, version) FROM STDIN").format(PLACE)
            ) as put,
        ):
            for block in out:
                put.write(block)


def copy_some(
    source: psycopg.Connection[Any],
    home: psycopg.Connection[Any],
    location: Home,
    kind: Kind,
    *,
    where: sql.Composable,
) -> None:
    """Bring home's lines of some of its people up to the source's; `where` picks lines `s` of the movers' table."""
    lines = sql.SQL(
        "SELECT p.key, p.home, p.state, p.authority FROM {} AS p JOIN {} AS s ON p.kind = {} AND p.key = s.key::text"
        " WHERE p.home = {} AND {}"
    ).format(PLACE, movers_of(kind.dataset), sql.Literal(kind.dataset), sql.Literal(location), where)
    arriving = sql.Identifier("pg_temp", "domicile_places")
    with home.transaction(), home.cursor() as writing:
        run(home, sql.SQL("UPDATE {} SET version = {}").format(CLOCK, TICK))
        run(
            home,
            sql.SQL(
                "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT key, home, state, authority FROM {} WHERE false"
            ).format(arriving, PLACE),
        )
        people = run(source, lines)
        with writing.copy(sql.SQL("COPY {} FROM STDIN").format(arriving)) as put:
            for line in people:
                put.write_row(line)
        run(
            home,
            sql.SQL(
                "INSERT INTO {} AS p (kind, key, home, state, authority, version)"
                " SELECT {}, a.key, a.home, a.state, a.authority, c.version FROM {} AS a CROSS JOIN {} AS c"
                " ON CONFLICT (kind, key) DO UPDATE SET home = excluded.home, state = excluded.state,"
                " authority = excluded.authority, version = excluded.version"
            ).format(PLACE, sql.Literal(kind.dataset), arriving, CLOCK),
        )
        run(home, sql.SQL("DROP TABLE {}").format(arriving))


# -- reading -----------------------------------------------------------------------------------------------------


def look_up(connection: psycopg.Connection[Any], kind: DatasetId, keys: Sequence[str]) -> tuple[int, dict[str, Place]]:
    """Return the version and the lines of these keys, all of one moment; who has no line is outside."""
    rows = connection.execute(
        "SELECT c.version, p.key, p.state, p.home, p.authority FROM domicile_directory.clock AS c"
        " LEFT JOIN domicile_directory.place AS p ON p.kind = %s AND p.key = ANY(%s)",
        (kind, list(keys)),
    ).fetchall()
    found = {
        key: Place(
            key=key, state=State(state), home=Home(home), authority=None if authority is None else Home(authority)
        )
        for _, key, state, home, authority in rows
        if key is not None
    }
    return int(rows[0][0]), found


def version(connection: psycopg.Connection[Any]) -> int:
    """Return the version up to which everything is committed; 0 where there is no directory yet."""
    if not there(connection):
        return 0
    row = connection.execute("SELECT version FROM domicile_directory.clock").fetchone()
    return int(row[0]) if row else 0


def changed(connection: psycopg.Connection[Any], kind: DatasetId, *, after: int) -> Changed:
    """Say whose state changed since version `after`."""
    row = connection.execute("SELECT version, reset FROM domicile_directory.clock").fetchone()
    now, reset = row or (0, 0)
    if not reset <= after <= now:
        return Changed(version=now, reset=True)
    keys = connection.execute(
        "SELECT key FROM domicile_directory.place WHERE kind = %s AND version > %s AND version <= %s LIMIT %s",
        (kind, after, now, CHANGED_MAX + 1),
    ).fetchall()
    if len(keys) > CHANGED_MAX:
        return Changed(version=now, reset=True)
    return Changed(version=now, keys=tuple(key for (key,) in keys))


def counts(connection: psycopg.Connection[Any]) -> dict[tuple[str, str, State], int]:
    """Count people by kind, home and state."""
    rows = connection.execute(
        "SELECT kind, home, state, count(*) FROM domicile_directory.place GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    ).fetchall()
    return {(kind, home, State(state)): int(count) for kind, home, state, count in rows}


def known_homes(connection: psycopg.Connection[Any], homes: Sequence[str]) -> tuple[str, ...]:
    """Those of the homes that a line here names; none where there is no directory."""
    if not there(connection):
        return ()
    rows = connection.execute(
        "SELECT DISTINCT home FROM domicile_directory.place WHERE home = ANY(%s) ORDER BY 1", (list(homes),)
    ).fetchall()
    return tuple(str(home) for (home,) in rows)


def lived_in(connection: psycopg.Connection[Any], homes: Sequence[str]) -> tuple[str, ...]:
    """Those of the homes in which somebody lives."""
    rows = connection.execute(
        "SELECT h.home FROM unnest(%s::text[]) AS h(home) WHERE EXISTS (SELECT FROM domicile_directory.place AS p"
        " WHERE p.state = 'home' AND p.home = h.home) ORDER BY 1",
        (list(homes),),
    ).fetchall()
    return tuple(str(home) for (home,) in rows)
