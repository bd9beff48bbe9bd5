"""The shape of one dataset as the server has it now: its columns, and the keys that refer to it.

Asked again inside every erasure, under the locks that keep it from changing: a column that was added since the freeze
is not at home, and a reference that was added since is not among the edges (P1, P4).
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from domicile.errors import WorldChanged
from domicile.model import DatasetScope
from domicile.stores.postgres.names import STAGING, relation
from domicile.stores.postgres.session import run

REFERENCES = """
SELECT coalesce(
           string_agg(format('%s %s %s', c.conrelid::regclass, c.conkey::text, c.confdeltype), ',' ORDER BY c.oid), '')
  FROM pg_constraint AS c
 WHERE c.contype = 'f' AND c.conparentid = 0
   AND c.confrelid IN (SELECT {table}::regclass UNION SELECT relid FROM pg_partition_tree({table}::regclass))
"""
COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a
 WHERE a.attrelid = {table}::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
"""


def freeze_shapes(connection: psycopg.Connection[Any], datasets: tuple[DatasetScope, ...]) -> None:
    """Write down what refers to each dataset at the moment of the freeze."""
    shapes = sql.Identifier(STAGING, "shape")
    run(connection, sql.SQL("CREATE TABLE {} (dataset text PRIMARY KEY, refers text NOT NULL)").format(shapes))
    for dataset in datasets:
        refuse_changed_columns(connection, dataset)
        query = sql.SQL("INSERT INTO {} VALUES ({}, ({}))").format(
            shapes, sql.Literal(dataset.id), _about(REFERENCES, dataset)
        )
        run(connection, query)


def refuse_changed(connection: psycopg.Connection[Any], dataset: DatasetScope) -> None:
    """Raise WorldChanged when columns or references of the dataset are not those of the freeze."""
    refuse_changed_columns(connection, dataset)
    row = run(
        connection,
        sql.SQL("SELECT refers = ({}) FROM {} WHERE dataset = {}").format(
            _about(REFERENCES, dataset), sql.Identifier(STAGING, "shape"), sql.Literal(dataset.id)
        ),
    ).fetchone()
    if row is None or not row[0]:
        raise WorldChanged(
            f"{dataset.id}: what refers to it changed since the freeze; nothing was erased. Take the change back, then "
            "run `domicile apply` again"
        )


def refuse_changed_columns(connection: psycopg.Connection[Any], dataset: DatasetScope) -> None:
    """Raise WorldChanged when the table has other columns than the scope."""
    now = {(str(name), str(kind)) for name, kind in run(connection, _about(COLUMNS, dataset))}
    if now != {(column.name, column.type) for column in dataset.columns}:
        raise WorldChanged(
            f"{dataset.id}: its columns changed since the plan, so home does not hold all of it; nothing was erased. "
            "Take the change back, then run `domicile apply` again"
        )


def _about(query: str, dataset: DatasetScope) -> sql.Composable:
    name = sql.Literal(relation(dataset.table).as_string(None))
    return sql.SQL(query).format(table=name)
