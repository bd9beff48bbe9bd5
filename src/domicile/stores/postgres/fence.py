"""The fence: guards that refuse writes to rows of people who are being moved, whoever writes (P6: others go on).

A row trigger on every dataset whose rows are owned asks, over the same paths as the closure, whether the old or the
new row leads to a person over whose rows nobody has a say here (`guard`). It stands ALWAYS, so also for replicated
writes, and last in name order, so that it sees what other triggers made of the row. The engine passes it by a line in
`domicile.pass` for its own transaction, which only the owner of the schema can write.

The states stand beside the people, in `s_…`: changing them is one UPDATE, and takes no lock on any table of the
application. A writer who looked at them before may not be through yet: `await_writers` waits for those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql

from domicile.catalogue import Table
from domicile.model import DatasetId, DatasetScope, Kind, Scope, Side, State
from domicile.stores.postgres import elsewhere
from domicile.stores.postgres.closure.market import movers_query
from domicile.stores.postgres.guard import MESSAGE, Guarding, function_of, replace_guard
from domicile.stores.postgres.names import STAGING, column, movers_of, relation, source_of
from domicile.stores.postgres.paths import same_person
from domicile.stores.postgres.readings import json_function
from domicile.stores.postgres.session import FENCED_STATE, number, run

OURS = "zzzz_domicile_"
GUARD = f"{OURS}guard"
GUARD_AFTER = f"{GUARD}_after"
GUARD_TRUNCATE = f"{GUARD}_truncate"
GUARDS = (GUARD, GUARD_AFTER, GUARD_TRUNCATE)
LOCK_TIMEOUT_MS = 2_000
BEFORE_DEADLOCK = 0.7
COMES_FROM = {
    State.MOVING: (State.FENCED,),  # a cut-over that was given up, or the way back
    State.FENCED: (State.MOVING, State.HOME),
    State.HOME: (State.FENCED,),
}


def create_staging(
    connection: psycopg.Connection[Any], scope: Scope, schema: str, *, state: State = State.FENCED
) -> None:
    """Make the schema, the secret of the tokens, and the (still open) list of movers, all in this state."""
    name = sql.Identifier(schema)
    run(connection, sql.SQL("CREATE SCHEMA {}").format(name))
    run(connection, sql.SQL("REVOKE ALL ON SCHEMA {} FROM PUBLIC").format(name))
    run(connection, sql.SQL("CREATE TABLE {} (secret text NOT NULL)").format(sql.Identifier(schema, "token")))
    run(connection, json_function(schema))
    elsewhere.list_people(connection, scope, schema)
    for kind in scope.kinds:
        movers = movers_of(kind.dataset, schema)
        lines = sql.SQL("SELECT q.key, q.home, {}::text AS state, NULL::integer AS cohort FROM ({}) AS q").format(
            sql.Literal(state.value), movers_query(scope, kind, schema=schema)
        )
        _make_movers(connection, movers, lines)
        run(connection, sql.SQL("ANALYZE {}").format(movers))


def _make_movers(connection: psycopg.Connection[Any], movers: sql.Identifier, lines: sql.Composable) -> None:
    run(connection, sql.SQL("CREATE TABLE {} AS {}").format(movers, lines))
    run(connection, sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (key), ALTER state SET NOT NULL").format(movers))


def late_movers(connection: psycopg.Connection[Any], scope: Scope, *, state: State = State.FENCED) -> None:
    """Bring the list of movers up to this moment, once the tables are locked."""
    for kind in scope.kinds:
        movers, now = movers_of(kind.dataset), movers_query(scope, kind, schema=STAGING)
        run(
            connection,
            sql.SQL(
                "INSERT INTO {} (key, home, state) SELECT q.key, q.home, {} FROM ({}) AS q ON CONFLICT (key) DO NOTHING"
            ).format(movers, sql.Literal(state.value), now),
        )
        run(
            connection,
            sql.SQL("DELETE FROM {} AS s WHERE NOT EXISTS (SELECT FROM ({}) AS q WHERE {})").format(
                movers, now, same_person(scope, kind.dataset, column("q", "key"), column("s", "key"))
            ),
        )


def movers_by_home(connection: psycopg.Connection[Any], scope: Scope, schema: str) -> dict[str, int]:
    """How many people, of all kinds, go to each home."""
    each = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT home FROM {}").format(movers_of(kind.dataset, schema)) for kind in scope.kinds
    )
    rows = run(connection, sql.SQL("SELECT home, count(*) FROM ({}) AS m GROUP BY 1 ORDER BY 1").format(each))
    return {str(home): int(count) for home, count in rows}


def set_state(
    connection: psycopg.Connection[Any], scope: Scope, who: int | Mapping[DatasetId, Sequence[str]], state: State
) -> int:
    """Bring a cohort, or people of each kind by their keys' texts, to this state, in the caller's transaction.

    Returns how many were in another state. One who may not come there from theirs is our bug, and so is a key that is
    no mover's. Keys travel as parameters, so that no statement's text holds one (P8).
    """
    changed = 0
    for kind in scope.kinds:
        if isinstance(who, Mapping) and kind.dataset not in who:
            continue
        movers = movers_of(kind.dataset)
        chosen, asked = _chosen(scope, kind, who)
        changed += connection.execute(
            sql.SQL("UPDATE {} AS s SET state = {} WHERE {} AND s.state = ANY({})").format(
                movers, sql.Literal(state.value), chosen, sql.Literal([one.value for one in COMES_FROM[state]])
            ),
            [asked],
        ).rowcount
        there = connection.execute(
            sql.SQL("SELECT count(*), count(*) FILTER (WHERE s.state = {}) FROM {} AS s WHERE {}").format(
                sql.Literal(state.value), movers, chosen
            ),
            [asked],
        ).fetchone()
        found, arrived = there or (0, 0)
        if found != arrived or (isinstance(asked, list) and found != len(set(asked))):
            raise RuntimeError(f"{kind.dataset}: {arrived} of {found} people came to the state {state.value}")
    return changed


def _chosen(
    scope: Scope, kind: Kind, who: int | Mapping[DatasetId, Sequence[str]]
) -> tuple[sql.Composable, int | list[str]]:
    """The condition on line `s`, with one parameter, and that parameter."""
    if not isinstance(who, Mapping):
        return sql.SQL("s.cohort = %s"), who
    types = {item.name: item.type for item in scope.dataset(kind.dataset).columns}
    key = types[kind.key].replace("%", "%%")  # format_type() text from the catalogue, in a query with parameters
    condition = sql.SQL("s.key IN (SELECT u.x::{} FROM unnest(%s::text[]) AS u(x))").format(sql.SQL(key))
    return condition, list(who[kind.dataset])


def count_states(connection: psycopg.Connection[Any], scope: Scope) -> dict[State, int]:
    """How many people, of all kinds, are in each state."""
    each = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT state FROM {}").format(movers_of(kind.dataset)) for kind in scope.kinds
    )
    rows = run(connection, sql.SQL("SELECT state, count(*) FROM ({}) AS m GROUP BY 1").format(each))
    return {State(state): int(count) for state, count in rows}


def guarded(scope: Scope) -> tuple[DatasetScope, ...]:
    """The datasets that need a guard: those whose rows, or fields in them, are somebody's."""
    return tuple(dataset for dataset in scope.datasets if dataset.owned)


def wait_briefly(connection: psycopg.Connection[Any]) -> None:
    """Let this transaction queue for a lock, and others behind it, no longer than the lock time-out."""
    run(connection, sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT_MS)))


def lock_for_guard(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Wait for the writers under way, in name order, and not longer than the lock time-out.

    All of it takes less time than the server waits before it looks for a deadlock: somebody who waits for us, and for
    whom we wait, would be the one whom it breaks off.
    """
    wait_briefly(connection)
    tables = sorted(guarded(scope), key=lambda dataset: dataset.table)
    names = sql.SQL(", ").join(source_of(dataset) for dataset in tables)
    deadlock_ms = number(connection, sql.SQL("SELECT setting FROM pg_settings WHERE name = 'deadlock_timeout'"))
    patience_ms = max(1, min(LOCK_TIMEOUT_MS, round(deadlock_ms * BEFORE_DEADLOCK)))
    run(connection, sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(patience_ms)))
    try:
        run(connection, sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))
    except psycopg.errors.QueryCanceled:
        raise psycopg.errors.LockNotAvailable(f"no lock on all tables within {patience_ms} ms") from None
    run(connection, sql.SQL("SET LOCAL statement_timeout = 0"))


def install(
    connection: psycopg.Connection[Any],
    scope: Scope,
    guarding: Guarding = Guarding(),  # noqa: B008 - a frozen value
) -> None:
    """Make guard functions and triggers; the caller holds the locks in an open transaction."""
    run(
        connection,
        sql.SQL("CREATE TABLE {} (transaction text PRIMARY KEY)").format(sql.Identifier(STAGING, "pass")),
    )
    _tell_of_comers(connection, scope)
    for dataset in guarded(scope):
        replace_guard(connection, scope, dataset, guarding)
        _attach(connection, dataset)
    keep_sources(connection)
    close_to_others(connection, STAGING)


def install_at_home(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Make the guard of a home, and its empty lists of people, unless they stand; the caller fills the lists.

    From then on nobody but the engine writes rows of people who are listed and not `home`.
    """
    with connection.transaction():
        there = connection.execute("SELECT to_regclass('domicile.guard') IS NOT NULL").fetchone()
        if there and there[0]:
            return
        connection.execute("CREATE SCHEMA IF NOT EXISTS domicile")
        connection.execute("REVOKE ALL ON SCHEMA domicile FROM PUBLIC")
        run(connection, json_function(STAGING))
        elsewhere.list_nobody(connection, scope)
        for kind in scope.kinds:
            people = scope.dataset(kind.dataset)
            none = sql.SQL(
                "SELECT d.{} AS key, ''::text AS home, ''::text AS state, NULL::integer AS cohort FROM {} AS d"
                " WHERE false"
            ).format(sql.Identifier(kind.key), source_of(people))
            _make_movers(connection, movers_of(kind.dataset), none)
        lock_for_guard(connection, scope)
        install(connection, scope, Guarding(side=Side.HOME, closed=False))


def _tell_of_comers(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Change the one line of `domicile.newest` whenever people are added: who can't see them must not write on."""
    newest, function = sql.Identifier(STAGING, "newest"), sql.Identifier(STAGING, "people_came")
    run(connection, sql.SQL("CREATE TABLE {} AS SELECT 0::bigint AS number").format(newest))
    body = sql.SQL("BEGIN UPDATE {} SET number = number + 1; RETURN NULL; END").format(newest)
    run(
        connection,
        sql.SQL(
            "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS {}"
        ).format(function, sql.Literal(body.as_string(connection))),
    )
    for kind in scope.kinds:
        run(
            connection,
            sql.SQL("CREATE TRIGGER people_came AFTER INSERT ON {0} FOR EACH STATEMENT EXECUTE FUNCTION {1}()").format(
                movers_of(kind.dataset), function
            ),
        )


def _attach(connection: psycopg.Connection[Any], dataset: DatasetScope) -> None:
    """Guard every table of the tree: before and after a row changes, and against TRUNCATE.

    After, because other triggers and computed columns have had their say only then.
    """
    table = relation(dataset.table)
    for name, moment in ((GUARD, "BEFORE INSERT OR UPDATE OR DELETE"), (GUARD_AFTER, "AFTER INSERT OR UPDATE")):
        run(
            connection,
            sql.SQL("CREATE TRIGGER {} {} ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
                sql.Identifier(name), sql.SQL(moment), table, function_of(dataset)
            ),
        )
    refusal = _refusal(connection)
    for tree in _tree(connection, dataset):
        run(
            connection,
            sql.SQL("CREATE TRIGGER {} BEFORE TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION {}()").format(
                sql.Identifier(GUARD_TRUNCATE), tree, refusal
            ),
        )
        for name in GUARDS:
            run(connection, sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(tree, sql.Identifier(name)))


def open_guards(connection: psycopg.Connection[Any], datasets: Iterable[DatasetScope]) -> list[str]:
    """Name the tables on which a guard is missing, switched off or another than was written."""
    found: list[str] = []
    for dataset in datasets:
        rows = run(
            connection,
            sql.SQL(
                "SELECT c.oid::regclass::text FROM pg_class AS c WHERE c.oid IN (SELECT {table}::regclass UNION"
                " SELECT relid FROM pg_partition_tree({table}::regclass)) AND (SELECT count(*) FROM pg_trigger AS t"
                " JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN {kept} AS k ON k.function = p.oid::regprocedure::text"
                " AND k.source = sha256(convert_to(p.prosrc, 'UTF8'))"
                " WHERE t.tgrelid = c.oid AND t.tgname = ANY({names})"
                " AND t.tgenabled = 'A') <> {count}"
            ).format(
                table=sql.Literal(relation(dataset.table).as_string(connection)),
                kept=sql.Identifier(STAGING, "guard"),
                names=sql.Literal(list(GUARDS)),
                count=sql.Literal(len(GUARDS)),
            ),
        )
        found.extend(str(name) for (name,) in rows)
    return found


def keep_sources(connection: psycopg.Connection[Any]) -> None:
    """Write down what the guard functions say, so that a changed one is noticed."""
    kept = sql.Identifier(STAGING, "guard")
    run(connection, sql.SQL("DROP TABLE IF EXISTS {}").format(kept))
    run(
        connection,
        sql.SQL(
            "CREATE TABLE {} AS SELECT p.oid::regprocedure::text AS function,"
            " sha256(convert_to(p.prosrc, 'UTF8')) AS source FROM pg_proc AS p WHERE p.pronamespace = {}::regnamespace"
        ).format(kept, sql.Literal(STAGING)),
    )


def close_to_others(connection: psycopg.Connection[Any], schema: str) -> None:
    """Take back what default privileges gave to others on our schema and tables."""
    grantees = run(
        connection,
        sql.SQL(
            "SELECT DISTINCT a.grantee, r.rolname FROM (SELECT c.relacl AS acl, c.relowner AS owner FROM pg_class AS c"
            " WHERE c.relnamespace = {name}::regnamespace UNION ALL SELECT n.nspacl, n.nspowner FROM pg_namespace AS n"
            " WHERE n.oid = {name}::regnamespace) AS o, aclexplode(o.acl) AS a"
            " LEFT JOIN pg_roles AS r ON r.oid = a.grantee WHERE a.grantee <> o.owner"
        ).format(name=sql.Literal(schema)),
    ).fetchall()
    for oid, role in grantees:
        who = sql.SQL("PUBLIC") if not oid else sql.Identifier(str(role))
        place = sql.Identifier(schema)
        run(connection, sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}").format(place, who))
        run(connection, sql.SQL("REVOKE ALL ON SCHEMA {} FROM {}").format(place, who))


def without_guard(table: Table) -> Table:
    """The table as the application made it, without our triggers."""
    return replace(table, triggers=tuple(item for item in table.triggers if not item.name.startswith(OURS)))


def _refusal(connection: psycopg.Connection[Any]) -> sql.Identifier:
    name = sql.Identifier(STAGING, "guard_truncate")
    body = sql.SQL("BEGIN RAISE EXCEPTION USING ERRCODE = {}, MESSAGE = {}; END").format(
        sql.Literal(FENCED_STATE), sql.Literal(MESSAGE)
    )
    run(
        connection,
        sql.SQL("CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS {}").format(
            name, sql.Literal(body.as_string(connection))
        ),
    )
    return name


def _tree(connection: psycopg.Connection[Any], dataset: DatasetScope) -> tuple[sql.Identifier, ...]:
    """The table, and all partitions below it: before PostgreSQL 15 ENABLE ALWAYS does not reach them by itself."""
    if not dataset.partitioned:
        return (relation(dataset.table),)
    rows = run(
        connection,
        sql.SQL(
            "SELECT n.nspname, c.relname FROM pg_partition_tree({}::regclass) AS t"
            " JOIN pg_class AS c ON c.oid = t.relid"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace ORDER BY t.level, 1, 2"
        ).format(sql.Literal(relation(dataset.table).as_string(connection))),
    )
    return tuple(sql.Identifier(schema, name) for schema, name in rows.fetchall())


def admit(connection: psycopg.Connection[Any]) -> None:
    """Let this transaction pass the guard."""
    run(
        connection,
        sql.SQL("INSERT INTO {} VALUES (pg_current_xact_id()::text)").format(sql.Identifier(STAGING, "pass")),
    )
    connection.execute("SET LOCAL domicile.pass = 'on'")


def remove(connection: psycopg.Connection[Any], dataset: DatasetScope) -> None:
    """Take the guard's triggers away from one dataset, on every table of its tree.

    One at a time, each in a transaction of its own: who holds several tables' locks while people write in several
    tables, too, and wait for them, never gets all.
    """
    for tree in _tree(connection, dataset):
        run(connection, sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(GUARD_TRUNCATE), tree))
    for name in (GUARD, GUARD_AFTER):
        run(
            connection,
            sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(name), relation(dataset.table)),
        )
