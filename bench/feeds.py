"""`python -m bench.feeds`: what a changefeed costs those who write at the source: none, triggers, a slot.

Two sessions write small transactions, made in the server so that no client slows them down: one row more, another one
changed, COMMIT. Their commits don't wait for the disk: that wait would hide what a feed costs. Meanwhile the feed is
read and confirmed once a second, as a move does; the rows behind its keys aren't read, as that is the same for both.
Begin and end of a feed aren't timed.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psycopg

from bench.machine import facts
from bench.pairing import Sample, interleave, speed
from bench.results import Figure, Part, Results, tell, write
from bench.world import execute, servers
from domicile.catalogue import Table
from domicile.config.rules import Disposition, HomeRows
from domicile.model import DatasetId, DatasetScope
from domicile.stores.feed import Changefeed, FeedKind
from domicile.stores.postgres.catalogue import read_catalogue
from domicile.stores.postgres.feed.choosing import make_feed
from domicile.stores.postgres.session import Session, connect

RESULTS = Path(__file__).resolve().parent / "results"
NONE, TRIGGERS, SLOT = "no feed", "triggers, read once a second", "slot, read once a second"
KEYS_MAX, PAUSE_S = 20_000, 1.0
TABLE = """
ALTER DATABASE app SET synchronous_commit = off;
CREATE TABLE note (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, person bigint NOT NULL, body text, at timestamptz
);
CREATE INDEX ON note (person);
INSERT INTO note (person, body, at) SELECT n % 1000, repeat('x', 200), now() FROM generate_series(1, 100000) AS n;
"""
WRITE = """
DO $$ DECLARE chosen bigint; BEGIN
  FOR i IN 1..{transactions} LOOP
    INSERT INTO public.note (person, body, at) VALUES (i % 1000, repeat('y', 200), clock_timestamp());
    chosen := 1 + (random() * 99999)::int;
    UPDATE public.note SET body = repeat('z', 200) WHERE id = chosen;
    COMMIT;
  END LOOP;
END $$
"""


class Bench:
    """One database, a number of writers, and the transactions that each of them makes."""

    def __init__(self, dsn: str, *, writers: int, transactions: int) -> None:
        self.dsn = dsn
        self.writers = writers
        self.transactions = transactions
        with connect(dsn, store="app") as connection:
            (table,) = read_catalogue(connection).tables
        self.dataset = _dataset(table)

    def alone(self) -> Sample:
        """Nobody follows."""
        return self._timed()

    def followed(self, kind: FeedKind) -> Sample:
        """A feed stands, and is read."""
        session = Session(self.dsn, store="app")
        feed = make_feed(kind, session, [self.dataset])
        feed.begin()
        try:
            with _reading(feed, self.dsn):
                return self._timed()
        finally:
            feed.end()
            session.close()

    def begin_again(self) -> None:
        """Take the new rows away, and let no run pay for another."""
        execute(self.dsn, "DELETE FROM note WHERE id > 100000")
        execute(self.dsn, "VACUUM FULL note")
        execute(self.dsn, "CHECKPOINT")

    def _timed(self) -> Sample:
        threads = [Thread(target=self._write) for _ in range(self.writers)]
        start, before = time.monotonic(), time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Sample(
            seconds=time.monotonic() - start, client_cpu_s=time.process_time() - before,
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            rows=2 * self.writers * self.transactions,
        )  # fmt: skip

    def _write(self) -> None:
        execute(self.dsn, WRITE.format(transactions=self.transactions))


def _dataset(table: Table) -> DatasetScope:
    return DatasetScope(
        id=DatasetId(f"app.{table.name}"), table=table.name, partitioned=False, rows=Disposition.MOVE,
        home_rows=HomeRows.ALL, columns=table.columns, key=table.key,
    )  # fmt: skip


@contextmanager
def _reading(feed: Changefeed, dsn: str) -> Iterator[None]:
    """Read and confirm once a second until the block ends."""
    stop = Event()
    broken: list[Exception] = []

    def read() -> None:
        try:
            with psycopg.connect(dsn, autocommit=True) as connection:
                while not stop.wait(PAUSE_S):
                    _take(feed, connection, stop)
        except Exception as fault:  # noqa: BLE001 - raised by the thread that waits
            broken.append(fault)

    reader = Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        stop.set()
        reader.join()
    if broken:
        raise broken[0]


def _take(feed: Changefeed, connection: psycopg.Connection, stop: Event) -> None:
    """Bring the feed up to date, as far as one snapshot shows; what is left when the writers are through, is left."""
    row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
    complete = row is None
    while row is not None and not complete and not stop.is_set():
        batch = feed.read(str(row[0]), keys_max=KEYS_MAX)
        feed.confirm(batch)
        complete = batch.complete


def compare(bench: Bench, *, rounds: int) -> Part:
    """Run all three, interleaved."""
    contenders: dict[str, Callable[[], Sample]] = {
        NONE: bench.alone,
        TRIGGERS: lambda: bench.followed(FeedKind.TRIGGER),
        SLOT: lambda: bench.followed(FeedKind.SLOT),
    }
    done = interleave(contenders, rounds=rounds, before=bench.begin_again, tell=tell)
    figures = [Figure(name=f"{name} / {NONE}", ratio=speed(done, name, against=NONE)) for name in (TRIGGERS, SLOT)]
    figures.append(Figure(name=f"{SLOT} / {TRIGGERS}", ratio=speed(done, SLOT, against=TRIGGERS)))
    return Part(title="Write throughput of the source under a changefeed", rounds=done, figures=tuple(figures))


def main() -> None:
    """Make the table, measure, write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.feeds", description=main.__doc__)
    parser.add_argument("--transactions", type=int, default=20_000, help="of each writer")
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the results")
    given = parser.parse_args()
    with servers("source", major=18) as (server,):
        dsn = server.dsn("app")
        execute(dsn, TABLE)
        bench = Bench(dsn, writers=given.writers, transactions=given.transactions)
        part = compare(bench, rounds=given.rounds)
        results = Results(
            machine=facts(dsn), sizes={"writers": given.writers, "transactions of each": given.transactions},
            once_s={}, parts=(part,), memory={},
        )  # fmt: skip
    for path in write(results, given.results, "feeds-postgresql-18"):
        print(path)
    for figure in part.figures:
        print(f"{figure.name} {figure.ratio}")


if __name__ == "__main__":
    main()
