"""Nothing may grow with the size of a table except the time: the memory of copying and verifying does not."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import psycopg

from domicile.events import silent
from domicile.model import Home, Manifest, Scope
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.source import PostgresSource
from domicile.transfer import transfer
from domicile.verify import verify
from tests.servers import Databases
from tests.stores import flow
from tests.stores.benches import DIGEST_KEY, SOURCE, PostgresBench
from tests.stores.worlds import crowd

US, CA = Home("us"), Home("ca")
ROW_CHARACTERS = 1_024
FEW, MANY = 5_000, 50_000
SLACK_BYTES = 12 << 20  # blocks under way, and what an allocator keeps; the rows of MANY take four times as much
SECONDS_MAX = 240


def test_nothing_grows_with_the_table_but_the_time(pg18: EmbeddedServer, database: Databases) -> None:
    few, many = (_peak_bytes(PostgresBench(crowd(2), lambda: database(pg18)), people) for people in (FEW, MANY))
    assert (MANY - FEW) * ROW_CHARACTERS > 3 * SLACK_BYTES  # held in memory, the difference would show
    assert many < few + SLACK_BYTES


def _peak_bytes(bench: PostgresBench, people: int) -> int:
    """Move so many more Canadians in a process of its own; its memory at the highest."""
    with psycopg.connect(bench.dsns[SOURCE]) as connection:
        connection.execute(
            "INSERT INTO person SELECT n, repeat(md5(n::text), %s), 'CA' FROM generate_series(10, 9 + %s) AS n",
            [ROW_CHARACTERS // 32, people],
        )
    manifest = flow.freeze(bench)
    bench.close()
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_move, args=(bench.dsns, bench.scope, manifest, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.poll(SECONDS_MAX)
        rows, peak = ours.recv()
    finally:
        process.terminate()
        process.join()
    assert people + 1 == rows
    return int(peak)


def _move(dsns: dict[str, str], scope: Scope, manifest: Manifest, answers: Connection) -> None:
    source = PostgresSource(dsns[SOURCE], key=DIGEST_KEY, name="app")
    home = PostgresHome(dsns[CA], key=DIGEST_KEY, name="app-ca")
    for store in (source, home):
        store.bind(scope)
    slices = [piece for piece in manifest.slices if piece.home == CA]
    transfer(source, home, scope, CA, slices, share=1, shares=3, listener=silent)
    equality = verify(source, {CA: home}, scope, slices, fenced=True, now=datetime.now(UTC), listener=silent)
    assert equality.clears
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    answers.send((sum(pair.home.rows for pair in equality.pairs), peak))
