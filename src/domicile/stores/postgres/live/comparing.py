"""Reading back: the rows that were settled, at the source in the snapshot in which they were settled, and at home.

Counts and two 64-bit sums of hashed rows a dataset, in the databases: a hint that is quick enough for a fence. What an
erasure rests on is the equality by keyed digests, later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domicile.model import DatasetId, DatasetScope, Form, Home
from domicile.stores.postgres.live import back, carrying
from domicile.stores.postgres.live.carrying import How, keys_of
from domicile.stores.postgres.live.delta import Settled
from domicile.stores.postgres.names import (
    column,
    columns,
    key_match,
    key_names,
    key_select,
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


Sums = dict[tuple[DatasetId, str], tuple[int, str, str]]
"""By dataset and home: rows, and the sums of their hashes under two seeds."""


def sums(settled: Settled) -> Sums:
    """Sum up the whole rows that were settled for each home, at the source, in the caller's snapshot."""
    found: Sums = {}
    for dataset in settled.keyed:
        if dataset.decided:
            query = _query(dataset, _whole(settled, dataset), part=sql.SQL("w.part"))
            for part, *one in run(settled.work.connection, query):
                found[dataset.id, str(part)] = _plain(one)
    return found


def note(target: psycopg.Connection[Any], dataset: DatasetScope) -> None:
    """Note the keys of the whole rows that arrived, to be read back once all is written."""
    run(
        target,
        sql.SQL("INSERT INTO {} SELECT DISTINCT {} FROM {} AS b").format(
            keys_of(dataset), key_select(dataset, "b"), carrying.arrived(dataset, How.REPLACE)
        ),
    )


def read_back(
    settled: Settled, theirs: Sums, target: psycopg.Connection[Any], home: Home, *, noted: bool = True
) -> tuple[Unlike, ...]:
    """Compare what was settled for this home with what lies there now; unless `noted`, its keys are copied first."""
    back.make_keys(target, settled.work.scope)
    return tuple(_unlike(settled, theirs, target, home, noted=noted))


def _unlike(
    settled: Settled, theirs: Sums, target: psycopg.Connection[Any], home: Home, *, noted: bool
) -> Iterator[Unlike]:
    for dataset in settled.keyed:
        expected = theirs.get((dataset.id, home))
        if expected is None:  # lines are made of rows that are there: none of them is this home's
            continue
        if not noted:
            names = sql.SQL(", ").join(column("w", name) for name in key_names(dataset))
            keys = sql.SQL("SELECT {} FROM {} AS w WHERE w.part = {}").format(
                names, _whole(settled, dataset), sql.Literal(home)
            )
            run(target, sql.SQL("DELETE FROM {}").format(keys_of(dataset)))
            carrying.copy(
                settled.work.connection, target, keys, into=keys_of(dataset), names=columns(key_names(dataset))
            )
        query = _query(dataset, keys_of(dataset), part=sql.Literal(home))
        ours = next((_plain(one) for _, *one in run(target, query)), (0, "", ""))
        if expected != ours:
            yield Unlike(dataset=dataset.id, home=home, source_rows=expected[0], home_rows=ours[0])


def _whole(settled: Settled, dataset: DatasetScope) -> sql.Composable:
    return sql.SQL("(SELECT DISTINCT * FROM {} WHERE form = {} AND round = 0)").format(
        settled.work.lines(dataset), sql.Literal(Form.WHOLE.value)
    )


def _query(dataset: DatasetScope, lines: sql.Composable, *, part: sql.Composable) -> sql.Composable:
    """SELECT of part, count and sums of the rows that the lines name."""
    row = sql.SQL('ROW({})::text COLLATE "C"').format(row_expressions(dataset, "d", blanked=False))
    return sql.SQL(
        "SELECT {part} AS part, count(*), sum(hashtextextended({row}, 1))::text,"
        " sum(hashtextextended({row}, 2))::text FROM {source} AS d JOIN {lines} AS w ON {match} GROUP BY 1"
    ).format(part=part, row=row, source=source_of(dataset), lines=lines, match=key_match(dataset, "d", "w"))


def _plain(one: Sequence[Any]) -> tuple[int, str, str]:
    return int(one[0]), str(one[1]), str(one[2])
