"""The raw pipe: `psql -c "COPY (…) TO STDOUT (FORMAT binary)" | psql -c "COPY … FROM STDIN (FORMAT binary)"`.

Once over the scoped rows as anybody would write it (a semi-join on the movers), once over exactly the engine's slice
queries, one pair of processes a slice. No digest, no mark, no check: what a pipe can do at best.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import psycopg
from psycopg import sql

from bench.apart import peak_rss_bytes
from bench.pairing import Sample
from bench.world import EVENTS, World, engine_of
from domicile.model import Slice
from domicile.stores.postgres.names import column_names, columns, relation, row_expressions
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.reading import stretch_of
from domicile.stores.postgres.schema import environment_of

MEMORY_LOOKED_AT_MS = 50
SCOPED = sql.SQL(
    "SELECT e.* FROM public.watch_event AS e"
    " WHERE e.person_id IN (SELECT p.id FROM public.person AS p WHERE p.country = 'US')"
)


CARRIED = (
    "domicile.low_0", "domicile.high_0", "max_parallel_workers_per_gather", "work_mem", "jit", "row_security"
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is copied, and the session's settings meanwhile."""

    text: sql.Composable
    options: str


def raw_pipe(world: World) -> Sample:
    """The whole scope through one pair of psql, with the servers' default settings."""
    return _timed(world, [Query(text=SCOPED, options="")])


def slice_pipe(world: World, slices: Sequence[Slice]) -> Sample:
    """The engine's slice queries, with the engine's settings, a pair of psql each."""
    return _timed(world, [slice_query(world, piece) for piece in slices])


def slice_query(world: World, piece: Slice) -> Query:
    """The engine's query of a slice, with the settings that its transaction stands under. (Not timed: 1 ms a slice.)"""
    dataset = world.scope.dataset(EVENTS)
    engine = engine_of(world.source_dsn, world.home_dsn, world.scope)
    try:
        with engine.source.snapshot() as view:
            stretch = stretch_of(view.connection, dataset, piece)
            settings = [(name, _setting(view.connection, name)) for name in CARRIED]
            text = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(
                row_expressions(dataset, "d", blanked=False), stretch.rows, stretch.order
            )
    finally:
        engine.close()
    return Query(text=text, options=" ".join(f"-c {name}={value}" for name, value in settings))


def _setting(connection: psycopg.Connection[Any], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else ""


def _timed(world: World, queries: Sequence[Query]) -> Sample:
    start, cpu, peak, rows = time.monotonic(), 0.0, 0, 0
    for query in queries:
        used, memory, count = _pipe(world, query)
        cpu, peak, rows = cpu + used, max(peak, memory), rows + count
    return Sample(seconds=time.monotonic() - start, client_cpu_s=cpu, peak_rss_bytes=peak, rows=rows)


def _pipe(world: World, query: Query) -> tuple[float, int, int]:
    """Pump one query; processor seconds, greatest memory of both together, rows."""
    dataset = world.scope.dataset(EVENTS)
    out = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query.text)
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        relation(dataset.table), columns(column_names(dataset))
    )
    reader = _psql(world.source_dsn, out, query.options, stdin=subprocess.DEVNULL)
    assert reader.stdout is not None
    writer = _psql(world.home_dsn, into, "", stdin=reader.stdout)
    reader.stdout.close()
    assert writer.stdout is not None
    used, memory = _waited((reader, writer))
    answer = writer.stdout.read().decode()
    writer.stdout.close()
    if not answer.startswith("COPY "):
        raise RuntimeError("the raw pipe failed; psql's message stands above")
    return used, memory, int(answer.removeprefix("COPY "))


def _psql(dsn: str, command: sql.Composable, options: str, *, stdin: IO[bytes] | int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [find_client("psql", at_least_major=15), "--no-psqlrc", f"--command={command.as_string(None)}"],
        env={**os.environ, **environment_of(dsn), "PGOPTIONS": options},
        stdin=stdin,
        stdout=subprocess.PIPE,
    )


def _waited(processes: Sequence[subprocess.Popen[bytes]]) -> tuple[float, int]:
    """Wait for all; their processor seconds, and the greatest sum of their memory that was seen."""
    used, peak, ends = 0.0, 0, select.poll()
    running = {os.pidfd_open(process.pid): process for process in processes}
    for handle in running:
        ends.register(handle, select.POLLIN)
    while running:
        peak = max(peak, sum(peak_rss_bytes(process.pid) for process in processes))
        for handle, _ in ends.poll(MEMORY_LOOKED_AT_MS):
            ends.unregister(handle)
            os.close(handle)
            process = running.pop(handle)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            used += usage.ru_utime + usage.ru_stime
    return used, peak
