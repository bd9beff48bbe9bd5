"""Runs of the engine and of reladiff, each in a process of its own (`apart`).

The clock starts when the process stands connected: a move takes hours, a start half a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import reladiff
from psycopg.conninfo import conninfo_to_dict

from bench.apart import Prepared, apart
from bench.pairing import Sample
from bench.world import EVENTS, HOME, World, engine_of
from domicile.events import silent
from domicile.model import Scope, Slice
from domicile.transfer import copy
from domicile.verify import verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a worker needs to know."""

    source_dsn: str
    home_dsn: str
    scope: Scope
    slices: tuple[Slice, ...]
    differences: int = 0


def task_of(world: World, slices: Sequence[Slice], *, differences: int = 0) -> Task:
    """Pack a task for a process."""
    return Task(
        source_dsn=world.source_dsn, home_dsn=world.home_dsn, scope=world.scope, slices=tuple(slices),
        differences=differences,
    )  # fmt: skip


def engine_copy(task: Task) -> Prepared:
    """The engine's transfer of the slices: what `transfer` does between `prepare` and `finish`."""
    engine = engine_of(task.source_dsn, task.home_dsn, task.scope)
    engine.home.loaded()

    def run() -> int:
        return sum(measure.rows for _, measure in copy(engine.source, engine.home, task.slices))

    return run


def engine_verify(task: Task) -> Prepared:
    """The engine's verify: both sides, every slice, strays, differences narrowed to their keys."""
    engine = engine_of(task.source_dsn, task.home_dsn, task.scope)
    engine.home.loaded()

    def run() -> int:
        equality = verify(
            engine.source, {HOME: engine.home}, task.scope, task.slices, fenced=True, now=datetime.now(UTC),
            listener=silent,
        )  # fmt: skip
        _refuse_other_count(len(equality.differences), task.differences)
        return sum(pair.source.rows for pair in equality.pairs)

    return run


def reladiff_view(task: Task) -> Prepared:
    """reladiff's hashdiff of a view of the scoped rows at the source against the table at home."""
    return _reladiff(task, "bench.scope")


def reladiff_table(task: Task) -> Prepared:
    """reladiff's hashdiff of a ready table of just the scoped rows at the source against the table at home."""
    return _reladiff(task, "bench.scoped")


def _reladiff(task: Task, scoped: str) -> Prepared:
    ours = _table(task, task.source_dsn, scoped)
    theirs = _table(task, task.home_dsn, "public.watch_event")

    def run() -> int:
        with reladiff.diff_tables(ours, theirs, algorithm=reladiff.Algorithm.HASHDIFF) as found:
            # A changed row is told twice: as it was and as it is.
            keys = {row[0] for _, row in found}
            counted = found.info_tree.info.rowcounts
        _refuse_other_count(len(keys), task.differences)
        return sum(piece.rows for piece in task.slices) if counted else 0

    return run


def _refuse_other_count(found: int, wanted: int) -> None:
    if found != wanted:
        raise RuntimeError(f"{found} differences were found where there are {wanted}")


def _table(task: Task, dsn: str, name: str) -> reladiff.TableSegment:
    columns = tuple(column.name for column in task.scope.dataset(EVENTS).columns if column.name != "id")
    return reladiff.connect_to_table(_uri(dsn), name, "id", extra_columns=columns).with_schema()


def _uri(dsn: str) -> str:
    part = conninfo_to_dict(dsn)
    return f"postgresql://{part['user']}:{part['password']}@{part['host']}:{part['port']}/{part['dbname']}"


def measured(prepare: Callable[[Task], Prepared], task: Task) -> Sample:
    """Run a task in a fresh process; raise RuntimeError when it fails."""
    return apart(prepare, task, imports=__name__)
