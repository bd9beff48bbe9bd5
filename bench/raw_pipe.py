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
from typing import IO

from psycopg import sql

from bench.pairing import Sample
from bench.workers import peak_rss_bytes
from bench.world import EVENTS, World
from domicile.model import Slice
from domicile.stores.postgres.names import column_names, columns, relation, row_expressions
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.reading import slice_rows
from domicile.stores.postgres.schema import environment_of
from domicile.stores.postgres.session import SETTINGS

MEMORY_LOOKED_AT_MS = 50
SCOPED = sql.SQL(
    "SELECT e.* FROM public.watch_event AS e"
    " WHERE e.person_id IN (SELECT p.id FROM public.person AS p WHERE p.country = 'US')"
)


def raw_pipe(world: World) -> Sample:
    """The whole scope through one pair of psql, with the servers' default settings."""
    return _timed(world, [SCOPED], options="")


def slice_pipe(world: World, slices: Sequence[Slice]) -> Sample:
    """The engine's slice queries, with the engine's settings, a pair of psql each."""
    dataset = world.scope.dataset(EVENTS)
    queries = [
        sql.SQL("SELECT {} FROM {} ORDER BY m.n").format(
            row_expressions(dataset, "d", blanked=False), slice_rows(dataset, piece)
        )
        for piece in slices
    ]
    kept = ("work_mem", "jit", "row_security")
    return _timed(world, queries, options=" ".join(f"-c {name}={SETTINGS[name]}" for name in kept))


def _timed(world: World, queries: Sequence[sql.Composable], *, options: str) -> Sample:
    start, cpu, peak, rows = time.monotonic(), 0.0, 0, 0
    for query in queries:
        used, memory, count = _pipe(world, query, options)
        cpu, peak, rows = cpu + used, max(peak, memory), rows + count
    return Sample(seconds=time.monotonic() - start, client_cpu_s=cpu, peak_rss_bytes=peak, rows=rows)


def _pipe(world: World, query: sql.Composable, options: str) -> tuple[float, int, int]:
    """Pump one query; processor seconds, greatest memory of both together, rows."""
    dataset = world.scope.dataset(EVENTS)
    out = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query)
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        relation(dataset.table), columns(column_names(dataset))
    )
    reader = _psql(world.source_dsn, out, options, stdin=subprocess.DEVNULL)
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
