"""People who live at the home of another programme: nobody's movers here, and the source keeps nothing for them.

One source may be left by several programmes, one after the other, each for its own market. What stays here of a person
whom another one took home (a bare row, a letter that somebody else keeps) looks like a stayer's. The directory at the
source knows better: whoever it calls `home`, at a location that is none of ours, lives there. They are listed once,
beside the movers, so that closure, guard and feed say the same for as long as the run lasts.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from domicile.model import Kind, Scope, State
from domicile.stores.postgres.names import DIRECTORY, STAGING, elsewhere_of, source_of
from domicile.stores.postgres.session import run


def list_people(connection: psycopg.Connection[Any], scope: Scope, schema: str) -> None:
    """List them by the directory, in the caller's transaction; where there is none, nobody."""
    row = connection.execute("SELECT to_regclass('domicile_directory.place') IS NOT NULL").fetchone()
    is_kept = bool(row and row[0])
    for kind in scope.kinds:
        _make(connection, scope, kind, schema, _people(scope, kind) if is_kept else sql.SQL("false"))


def list_nobody(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """The same at a home: it knows its own people alone."""
    for kind in scope.kinds:
        _make(connection, scope, kind, STAGING, sql.SQL("false"))


def _people(scope: Scope, kind: Kind) -> sql.Composable:
    """The condition that the directory calls person `d` at home, and not at one of ours.

    A kind is asked for without the name of its store: another programme's file may call it otherwise.
    """
    return sql.SQL(
        "EXISTS (SELECT FROM {place} AS p WHERE substr(p.kind, strpos(p.kind, '.') + 1) = {kind}"
        " AND p.state = {at_home} AND p.key = d.{key}::text AND p.home <> ALL({homes}))"
    ).format(
        place=sql.Identifier(DIRECTORY, "place"), kind=sql.Literal(kind.dataset.partition(".")[2]),
        at_home=sql.Literal(State.HOME.value), key=sql.Identifier(kind.key), homes=sql.Literal(list(scope.homes)),
    )  # fmt: skip


def _make(
    connection: psycopg.Connection[Any], scope: Scope, kind: Kind, schema: str, condition: sql.Composable
) -> None:  # fmt: skip
    table = elsewhere_of(kind.dataset, schema)
    run(
        connection,
        sql.SQL("CREATE TABLE {} AS SELECT DISTINCT d.{} AS key FROM {} AS d WHERE {}").format(
            table, sql.Identifier(kind.key), source_of(scope.dataset(kind.dataset)), condition
        ),
    )
    run(connection, sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (key)").format(table))
    run(connection, sql.SQL("ANALYZE {}").format(table))
