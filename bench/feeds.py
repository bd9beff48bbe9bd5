"""`python -m bench.feeds`: what a changefeed costs those who write at the source: none, triggers, a slot.

Two sessions write small transactions, made in the server so that no client slows them down: one row more, another one
changed, COMMIT. Their commits don't wait for the disk: that wait would hide what a feed costs. Meanwhile the feed is
read and confirmed once a second, as a move does; the rows behind its keys aren't read, as that is the same for both.
Begin and end of a feed aren't timed.

Who writes and who reads the feed are in a process of their own for each run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread

import psycopg

from bench.apart import apart
from bench.machine import facts
from bench.pairing import Sample, interleave, speed
from bench.results import Figure, Part, Results, tell, write
from bench.world import execute, servers
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """One contender: the database, a number of writers, the transactions that each makes, and the feed that stands."""

    dsn: str
    writers: int
    transactions: int
    feed: FeedKind | None = None


class Bench:
    """One database, and what is written into it."""

    def __init__(self, writing: Writing) -> None:
        self.writing = writing

    def alone(self) -> Sample:
        """Nobody follows."""
        return apart(_prepare, self.writing, imports=__name__)

    def followed(self, kind: FeedKind) -> Sample:
        """A feed stands, and is read."""
        session = Session(self.writing.dsn, store="app")
        feed = make_feed(kind, session, [_dataset(self.writing.dsn)])
        feed.begin()
        try:
            return apart(_prepare, replace(self.writing, feed=kind), imports=__name__)
        finally:
            feed.end()
            session.close()

    def begin_again(self) -> None:
        """Take the new rows away, and let no run pay for another."""
        execute(self.writing.dsn, "DELETE FROM note WHERE id > 100000")
        execute(self.writing.dsn, "VACUUM FULL note")
        execute(self.writing.dsn, "CHECKPOINT")


def _prepare(writing: Writing) -> Callable[[], int]:
    """Write with all writers at once; whoever reads the feed goes on until this process ends."""
    feed = None
    if writing.feed is not None:
        feed = make_feed(writing.feed, Session(writing.dsn, store="app"), [_dataset(writing.dsn)])
    broken: list[Exception] = []

    def read(feed: Changefeed) -> None:
        try:
            with psycopg.connect(writing.dsn, autocommit=True) as connection:
                while True:
                    time.sleep(PAUSE_S)
                    _take(feed, connection)
        except Exception as fault:  # noqa: BLE001 - raised by the thread that waits
            broken.append(fault)

    def run() -> int:
        if feed is not None:
            Thread(target=read, args=[feed], daemon=True).start()
        writers = [Thread(target=_write, args=[writing]) for _ in range(writing.writers)]
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        if broken:
            raise broken[0]
        return 2 * writing.writers * writing.transactions

    return run


def _write(writing: Writing) -> None:
    execute(writing.dsn, WRITE.format(transactions=writing.transactions))


def _dataset(dsn: str) -> DatasetScope:
    with connect(dsn, store="app") as connection:
        (table,) = read_catalogue(connection).tables
    return DatasetScope(
        id=DatasetId(f"app.{table.name}"), table=table.name, partitioned=False, rows=Disposition.MOVE,
        home_rows=HomeRows.ALL, columns=table.columns, key=table.key,
    )  # fmt: skip


def _take(feed: Changefeed, connection: psycopg.Connection) -> None:
    """Bring the feed up to date, as far as one snapshot shows."""
    row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
    complete = row is None
    while row is not None and not complete:
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
        bench = Bench(Writing(dsn=dsn, writers=given.writers, transactions=given.transactions))
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
