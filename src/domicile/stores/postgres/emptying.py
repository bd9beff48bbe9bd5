"""Empty a derived table before the rows go that its rows may refer to (ADR 0019).

Its triggers stay silent, as those of the erasure do (ADR 0006): an archive of what is truncated would be one more copy.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from domicile.catalogue import TableName
from domicile.stores.postgres.horizon.rewrite import identifier, leaves
from domicile.stores.postgres.session import number, run


def empty(connection: psycopg.Connection[Any], *, table: TableName) -> None:
    """TRUNCATE the table, or every partition of it, in the caller's transaction; one without rows is left alone."""
    connection.execute("SET LOCAL session_replication_role = replica")
    for leaf in leaves(connection, table):
        some = sql.SQL("SELECT count(*) FROM (SELECT FROM ONLY {} LIMIT 1) AS x").format(identifier(leaf))
        if number(connection, some):
            run(connection, sql.SQL("TRUNCATE ONLY {}").format(identifier(leaf)))
