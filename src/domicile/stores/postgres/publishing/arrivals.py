"""What a row meets that arrives by a subscription of ours: a trigger on each published table.

It fires for replicated writes only, and lets pass all that no worker of our subscriptions writes: the engine's own
sessions replicate, too. A row that arrives

- gets the policy's stand-in in every column that stayed back, so that no default makes up a private value, and NOT
  NULL holds;
- is an update of its public columns where a row of that key is there already: the move brings rows, too, and then the
  private half at the receiver must stay as it is. While a table is brought for the first time (`--bring`), the row
  that is there wins.

An UPDATE that arrives needs no trigger: PostgreSQL sets the columns of the list and leaves the others.

The functions stand in a schema of their own, `domicile_public`: they outlive a run's staging. They belong to the role
that made them (a superuser) and run as that.
"""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg
from psycopg import sql

from domicile.catalogue import PLAIN, TableName
from domicile.model import Blank, Outside
from domicile.publish import Arrivals, Published
from domicile.stores.postgres.comparing import compare_each
from domicile.stores.postgres.names import column, columns, relation, tag
from domicile.stores.postgres.session import run

SCHEMA = "domicile_public"
ARRIVAL = "zzzz_domicile_arrival"
"""Before the fence's guard in name order: the guard sees the row as it will be."""
TOKEN_CHARACTERS_MAX = 32

STATES = """
SELECT n.nspname, c.relname,
       bool_and(t.tgenabled = 'R'), bool_and(p.oid::regprocedure::text = '"' || {schema} || '"."' || {function} || '"()'
           OR p.oid::regprocedure::text = {schema} || '.' || {function} || '()'),
       bool_and(encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex') = {source}), count(t.oid) = count(*)
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_trigger AS t ON t.tgrelid = c.oid AND t.tgname = {trigger}
  LEFT JOIN pg_proc AS p ON p.oid = t.tgfoid
 WHERE c.oid IN (SELECT to_regclass({table}) UNION SELECT relid FROM pg_partition_tree(to_regclass({table})))
 GROUP BY 1, 2
"""


def make_arrivals(connection: psycopg.Connection[Any], table: Published) -> None:
    """Write the function, and its trigger where it is missing; the caller has a transaction with a lock time-out."""
    body = _body(table).as_string(connection)
    run(
        connection,
        sql.SQL(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp SET row_security = off AS {}"
        ).format(_function(table), sql.Literal(body)),
    )
    run(connection, sql.SQL("REVOKE ALL ON FUNCTION {}() FROM PUBLIC").format(_function(table)))
    if state_of(connection, table) is Arrivals.STANDS:
        return
    drop_trigger(connection, table.table)
    name = sql.Identifier(ARRIVAL)
    run(
        connection,
        sql.SQL("CREATE TRIGGER {} BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
            name, relation(table.table), _function(table)
        ),
    )
    run(connection, sql.SQL("ALTER TABLE {} ENABLE REPLICA TRIGGER {}").format(relation(table.table), name))


def make_schema(connection: psycopg.Connection[Any]) -> None:
    """Make the schema of the functions, open to nobody else."""
    run(connection, sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
    run(connection, sql.SQL("REVOKE ALL ON SCHEMA {} FROM PUBLIC").format(sql.Identifier(SCHEMA)))


def drop_arrivals(connection: psycopg.Connection[Any]) -> None:
    """Take all our triggers and functions away, also of tables that are published no longer."""
    rows = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE t.tgname = %s AND t.tgparentid = 0 ORDER BY 1, 2",
        (ARRIVAL,),
    ).fetchall()
    for schema, name in rows:
        drop_trigger(connection, TableName(schema=schema, name=name))
    run(connection, sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(SCHEMA)))


def drop_trigger(connection: psycopg.Connection[Any], table: TableName) -> None:
    """Take our trigger off one table."""
    run(connection, sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(ARRIVAL), relation(table)))


def state_of(connection: psycopg.Connection[Any], table: Published) -> Arrivals:
    """Say whether our trigger stands on the table and all its partitions, as we wrote it."""
    source = hashlib.sha256(_body(table).as_string(connection).encode()).hexdigest()
    rows = run(
        connection,
        sql.SQL(STATES).format(
            schema=sql.Literal(SCHEMA), function=sql.Literal(f"arrive_{tag(table.dataset)}"),
            source=sql.Literal(source), trigger=sql.Literal(ARRIVAL),
            table=sql.Literal(relation(table.table).as_string(None)),
        ),
    ).fetchall()  # fmt: skip
    if not rows or not all(there for *_, there in rows):
        return Arrivals.MISSING
    return Arrivals.STANDS if all(all(row[2:]) for row in rows) else Arrivals.OTHER


def _function(table: Published) -> sql.Identifier:
    return sql.Identifier(SCHEMA, f"arrive_{tag(table.dataset)}")


def _body(table: Published) -> sql.Composable:
    """The text of the function.

    The worker is known by its process number among those of our subscriptions; `relid` is set while it brings a table.
    """
    return sql.SQL(
        "DECLARE bringing boolean; BEGIN"
        " SELECT w.relid IS NOT NULL INTO bringing FROM pg_stat_get_subscription(NULL) AS w"
        " JOIN pg_subscription AS s ON s.oid = w.subid"
        " WHERE w.pid = pg_backend_pid() AND starts_with(s.subname, 'domicile_');"
        " IF NOT FOUND THEN RETURN new; END IF;"
        "{stand_ins}"
        " IF EXISTS (SELECT FROM {table} AS x WHERE {same}) THEN"
        "{update} RETURN NULL; END IF;"
        " RETURN new; END"
    ).format(
        stand_ins=sql.SQL("").join(_assign(table, blank) for blank in table.stand_ins),
        table=only(table), same=_same(table), update=_update(table),
    )  # fmt: skip


def _same(table: Published) -> sql.Composable:
    return compare_each(
        tuple(table.shapes[name].equality or PLAIN for name in table.identity),
        [column("x", name) for name in table.identity],
        [column("new", name) for name in table.identity],
    )


def only(table: Published) -> sql.Composable:
    """Name exactly this table's rows: a partition tree whole, an inheritance parent without its children."""
    return sql.SQL("" if table.partitioned else "ONLY ") + relation(table.table)


def _update(table: Published) -> sql.Composable:
    rest = tuple(name for name in table.columns if name not in table.identity)
    if not rest:
        return sql.SQL("")
    return sql.SQL(
        " IF NOT bringing THEN UPDATE {table} AS x SET ({rest}) = ROW({values}) WHERE {same}; END IF;"
    ).format(
        table=only(table), rest=columns(rest), same=_same(table),
        values=sql.SQL(", ").join(sql.SQL("new.{}").format(sql.Identifier(name)) for name in rest),
    )  # fmt: skip


def _assign(table: Published, blank: Blank) -> sql.Composable:
    kind = sql.SQL(table.shapes[blank.column].type)  # format_type() text from the catalogue
    return sql.SQL(" new.{} := {};").format(sql.Identifier(blank.column), _value(table, blank, kind))


def _value(table: Published, blank: Blank, kind: sql.Composable) -> sql.Composable:
    """The stand-in: a token is chance, as nobody has to make the same one again for a row that was born elsewhere."""
    if blank.outside is Outside.NULL:
        return sql.SQL("NULL")
    if blank.outside is Outside.LITERAL:
        return sql.SQL("{}::{}").format(sql.Literal(blank.literal), kind)
    length = table.shapes[blank.column].length_max or 1000
    suffix = blank.literal or ""
    digits = min(TOKEN_CHARACTERS_MAX, length - len(suffix) - 1)
    if digits < 1:
        suffix, digits = "", max(length - 1, 0)
    return sql.SQL("('x' || left(replace(gen_random_uuid()::text, '-', ''), {}) || {})::{}").format(
        sql.Literal(digits), sql.Literal(suffix), kind
    )
