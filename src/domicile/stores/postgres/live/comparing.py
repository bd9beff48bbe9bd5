"""Reading back: the rows that were settled, at the source in the snapshot in which they were settled, and at home.

Counts and two 64-bit sums of hashed rows a dataset, in the databases: a hint that is quick enough for a fence. What an
erasure rests on is the equality by keyed digests, later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domicile.model import DatasetId, DatasetScope, Form, Home
from domicile.stores.postgres.live import back, carrying
from domicile.stores.postgres.live.carrying import keys_of
from domicile.stores.postgres.live.delta import Settled
from domicile.stores.postgres.names import (
    column,
    columns,
    key_match,
    key_names,
    row_expressions,
    source_of,
)
from domicile.stores.postgres.session import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """A dataset of which source and home differ: rows there and here, and how many keys."""

    dataset: DatasetId
    home: Home
    source_rows: int
    home_rows: int


def read_back(settled: Settled, target: psycopg.Connection[Any], home: Home) -> tuple[Unlike, ...]:
    """Compare the whole rows that were settled for this home with what lies there now; both callers hold snapshots."""
    back.make_keys(target, settled.work.scope)
    return tuple(_unlike(settled, target, home))


def _unlike(settled: Settled, target: psycopg.Connection[Any], home: Home) -> Iterator[Unlike]:
    for dataset in settled.keyed:
        if not dataset.decided:
            continue
        lines = sql.SQL("(SELECT DISTINCT * FROM {} WHERE part = {} AND form = {} AND round = 0)").format(
            settled.work.lines(dataset), sql.Literal(home), sql.Literal(Form.WHOLE.value)
        )
        theirs = _summed(settled.work.connection, dataset, lines)
        run(target, sql.SQL("DELETE FROM {}").format(keys_of(dataset)))
        names = sql.SQL(", ").join(column("w", name) for name in key_names(dataset))
        keys = sql.SQL("SELECT {} FROM {} AS w").format(names, lines)
        carrying.copy(settled.work.connection, target, keys, into=keys_of(dataset), names=columns(key_names(dataset)))
        ours = _summed(target, dataset, keys_of(dataset))
        if theirs != ours:
            yield Unlike(dataset=dataset.id, home=home, source_rows=theirs[0], home_rows=ours[0])


def _summed(connection: psycopg.Connection[Any], dataset: DatasetScope, lines: sql.Composable) -> tuple[int, str, str]:
    """Rows that the lines name, and the sums of their hashes under two seeds."""
    row = sql.SQL('ROW({})::text COLLATE "C"').format(row_expressions(dataset, "d", blanked=False))
    found = run(
        connection,
        sql.SQL(
            "SELECT count(*), coalesce(sum(hashtextextended({row}, 1)), 0)::text,"
            " coalesce(sum(hashtextextended({row}, 2)), 0)::text FROM {source} AS d JOIN {lines} AS w ON {match}"
        ).format(row=row, source=source_of(dataset), lines=lines, match=key_match(dataset, "d", "w")),
    ).fetchone()
    return (int(found[0]), str(found[1]), str(found[2])) if found else (0, "", "")
