"""The fence: a guard in the source database that refuses writes to movers' rows, whoever writes (P6: others go on).

A row trigger on every dataset whose rows are owned asks, over the same paths as the closure, whether the old or the
new row leads to a mover; on the subject's own dataset also whether the new row would *become* one. It stands ALWAYS,
so also for replicated writes, and last in name order, so that it sees what other triggers made of the row. The engine
passes it by a line in `domicile.pass` for its own transaction, which only the owner of the schema can write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from psycopg import sql

from domicile.model import DatasetScope, Fate, Scope
from domicile.stores.postgres.closure.market import becomes_mover, movers_query
from domicile.stores.postgres.names import (
    STAGING,
    column,
    key_match,
    movers_of,
    relation,
    source_of,
    staged,
    tag,
)
from domicile.stores.postgres.paths import follow, leads_to_mover, same_person
from domicile.stores.postgres.readings import json_function, references, refers
from domicile.stores.postgres.session import FENCED_STATE, run

GUARD = "zzzz_domicile_guard"
GUARD_AFTER = f"{GUARD}_after"
GUARD_TRUNCATE = f"{GUARD}_truncate"
GUARDS = (GUARD, GUARD_AFTER, GUARD_TRUNCATE)
LOCK_TIMEOUT_MS = 2_000
MESSAGE = "domicile: this row belongs to a person who is being moved home; write there"


def create_staging(connection: psycopg.Connection[Any], scope: Scope, schema: str) -> None:
    """Make the schema, the secret of the tokens, and the (still open) list of movers."""
    name = sql.Identifier(schema)
    run(connection, sql.SQL("CREATE SCHEMA {}").format(name))
    run(connection, sql.SQL("REVOKE ALL ON SCHEMA {} FROM PUBLIC").format(name))
    run(connection, sql.SQL("CREATE TABLE {} (secret text NOT NULL)").format(sql.Identifier(schema, "token")))
    run(connection, json_function(schema))
    for kind in scope.kinds:
        movers = movers_of(kind.dataset, schema)
        run(connection, sql.SQL("CREATE TABLE {} AS {}").format(movers, movers_query(scope, kind, schema=schema)))
        run(connection, sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (key)").format(movers))
        run(connection, sql.SQL("ANALYZE {}").format(movers))


def late_movers(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Bring the list of movers up to this moment, once the tables are locked."""
    for kind in scope.kinds:
        movers, now = movers_of(kind.dataset), movers_query(scope, kind, schema=STAGING)
        run(
            connection,
            sql.SQL("INSERT INTO {} SELECT * FROM ({}) AS q ON CONFLICT (key) DO NOTHING").format(movers, now),
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


def guarded(scope: Scope) -> tuple[DatasetScope, ...]:
    """The datasets that need a guard: those whose rows, or fields in them, are somebody's."""
    return tuple(dataset for dataset in scope.datasets if dataset.owned)


def wait_briefly(connection: psycopg.Connection[Any]) -> None:
    """Let this transaction queue for a lock, and others behind it, no longer than the lock time-out."""
    run(connection, sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT_MS)))


def lock_for_guard(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Wait for the writers under way, in name order, and not longer than the lock time-out."""
    wait_briefly(connection)
    tables = sorted(guarded(scope), key=lambda dataset: dataset.table)
    names = sql.SQL(", ").join(source_of(dataset) for dataset in tables)
    run(connection, sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))


def install(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Make guard functions and triggers; the caller holds the locks in an open transaction."""
    run(
        connection,
        sql.SQL("CREATE TABLE {} (transaction text PRIMARY KEY)").format(sql.Identifier(STAGING, "pass")),
    )
    for dataset in guarded(scope):
        replace_guard(connection, scope, dataset, frozen=False)
        _attach(connection, dataset)
    keep_sources(connection)
    close_to_others(connection, STAGING)


def replace_guard(connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, *, frozen: bool) -> None:
    """Write the guard function of one dataset; `frozen` adds that nobody may hang a new row on a leaving one."""
    new = [leads_to_mover(scope, path, "new") for path in dataset.paths]
    new.extend(_makes_a_mover(scope, dataset))
    if frozen:
        new.extend(_hangs_on_leaving(scope, dataset))
    old = [leads_to_mover(scope, path, "old") for path in dataset.paths]
    body = sql.SQL(
        "BEGIN"
        " IF current_setting('domicile.pass', true) = 'on' AND EXISTS (SELECT FROM {passes} AS p"
        " WHERE p.transaction = pg_current_xact_id()::text) THEN"
        " IF TG_OP = 'DELETE' THEN RETURN old; END IF; RETURN new; END IF;"
        " IF TG_OP <> 'INSERT' THEN IF {old} THEN"
        " RAISE EXCEPTION USING ERRCODE = {state}, MESSAGE = {message}; END IF; END IF;"
        " IF TG_OP <> 'DELETE' THEN IF {new} THEN"
        " RAISE EXCEPTION USING ERRCODE = {state}, MESSAGE = {message}; END IF; END IF;"
        " IF TG_OP = 'DELETE' THEN RETURN old; END IF; RETURN new;"
        " END"
    ).format(
        passes=sql.Identifier(STAGING, "pass"), old=sql.SQL(" OR ").join(old), new=sql.SQL(" OR ").join(new),
        state=sql.Literal(FENCED_STATE), message=sql.Literal(MESSAGE),
    )  # fmt: skip
    run(
        connection,
        sql.SQL(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp SET row_security = off AS {}"
        ).format(_function(dataset), sql.Literal(body.as_string(connection))),
    )


def _makes_a_mover(scope: Scope, dataset: DatasetScope) -> Iterator[sql.Composable]:
    """Whether by the new row somebody would move: their own row, or one that tells their market.

    True once the row is in its table.
    """
    if scope.is_subject(dataset.id):
        row = sql.SQL("(SELECT (new).*)")
        yield becomes_mover(scope, scope.kind(dataset.id), row, schema=STAGING)
    for kind in scope.kinds:
        ways = [path for path in dataset.paths if path.steps and path.subject == kind.dataset]
        for path in ways if dataset.table in kind.market.tables else ():
            clauses, person = follow(scope, path.steps, "n")
            their_row = sql.SQL("(SELECT {}.*)").format(sql.Identifier(person))
            yield sql.SQL("EXISTS (SELECT FROM (SELECT (new).*) AS n{} WHERE {})").format(
                clauses, becomes_mover(scope, kind, their_row, schema=STAGING)
            )


def _hangs_on_leaving(scope: Scope, dataset: DatasetScope) -> Iterator[sql.Composable]:
    for edge in scope.edges:
        parent = scope.dataset(edge.parent)
        if edge.child != dataset.id or not parent.moves:
            continue
        items: sql.Composable = sql.SQL("")
        if edge.reading is not None:
            reads = references(edge.reading, "new", schema=STAGING)
            items = sql.SQL("({}) AS new_reads(x) CROSS JOIN ").format(reads)
        yield sql.SQL("EXISTS (SELECT FROM {}{} AS p JOIN {} AS m ON {} WHERE m.fate = {} AND {})").format(
            items,
            source_of(parent),
            staged("m", parent.id),
            key_match(parent, "p", "m"),
            sql.Literal(Fate.DELETE.value),
            refers(edge, "new", "p"),
        )


def _function(dataset: DatasetScope) -> sql.Identifier:
    return sql.Identifier(STAGING, f"guard_{tag(dataset.id)}")


def _attach(connection: psycopg.Connection[Any], dataset: DatasetScope) -> None:
    """Guard every table of the tree: before and after a row changes, and against TRUNCATE.

    After, because other triggers and computed columns have had their say only then.
    """
    table = relation(dataset.table)
    for name, moment in ((GUARD, "BEFORE INSERT OR UPDATE OR DELETE"), (GUARD_AFTER, "AFTER INSERT OR UPDATE")):
        run(
            connection,
            sql.SQL("CREATE TRIGGER {} {} ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
                sql.Identifier(name), sql.SQL(moment), table, _function(dataset)
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


def remove(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Take the guard's triggers away, on every table of each tree."""
    for dataset in guarded(scope):
        for tree in _tree(connection, dataset):
            run(
                connection,
                sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(GUARD_TRUNCATE), tree),
            )
        for name in (GUARD, GUARD_AFTER):
            run(
                connection,
                sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(name), relation(dataset.table)),
            )
