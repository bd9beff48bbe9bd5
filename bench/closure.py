"""`python -m bench.closure`: the closure of four markets of the short-video service against one reading of its tables.

The rival is the least that anybody could pay who looks at every row: each table read once, whole, by the server alone
(`COPY … TO '/dev/null'`). The engine's run is the survey that `plan` makes, and the freeze, which writes the manifest.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from bench.apart import Prepared
from bench.machine import facts
from bench.pairing import Sample, interleave, ratio_of
from bench.results import Figure, Part, Results, tell, write
from bench.workers import Task, measured
from bench.world import KEY, execute, servers
from domicile.config import load
from domicile.model import Scope
from domicile.plan.resolve import resolve
from domicile.stores.postgres.names import relation
from domicile.stores.postgres.session import number
from domicile.stores.postgres.source import PostgresSource
from shortvideo.database import create

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
SERVICE = ROOT / "examples" / "shortvideo"
READ, SURVEY, FREEZE = "each table read once", "survey (plan)", "freeze"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The source database, and the scope of its domicile.yaml."""

    dsn: str
    scope: Scope
    rows: int
    bytes: int


def read_all(task: Task) -> Prepared:
    """Every table of the scope once, whole, in the server."""

    def run() -> int:
        with psycopg.connect(task.source_dsn, autocommit=True) as connection:
            return sum(
                connection.execute(
                    sql.SQL("COPY (SELECT * FROM {}) TO '/dev/null' (FORMAT binary)").format(relation(dataset.table))
                ).rowcount
                for dataset in task.scope.datasets
            )

    return run


def survey(task: Task) -> Prepared:
    """Count the closure and roll it back."""
    source = _source(task)

    def run() -> int:
        source.survey(task.scope)
        return 0

    return run


def freeze(task: Task) -> Prepared:
    """Stand the fence and write the manifest."""
    source = _source(task)

    def run() -> int:
        source.stand_fence(task.scope)
        return sum(piece.rows for piece in source.freeze(task.scope).slices)

    return run


def _source(task: Task) -> PostgresSource:
    source = PostgresSource(task.source_dsn, key=KEY, name="app")
    source.bind(task.scope)
    return source


@contextmanager
def made_service(users: int) -> Iterator[Service]:
    """Start a server, fill it with the service of so many people; all is gone afterwards."""
    with servers("source", major=18) as (server,):
        dsn = server.dsn("app")
        create(dsn, users=users)
        execute(dsn, "VACUUM (FREEZE, ANALYZE)")
        source = PostgresSource(dsn, key=KEY, name="app")
        catalogue = source.catalogue()
        source.close()
        scope = resolve(load((SERVICE / "domicile.yaml").read_bytes()), catalogue)
        tables = [dataset.table for dataset in scope.datasets]
        with psycopg.connect(dsn) as connection:
            rows = sum(number(connection, sql.SQL("SELECT count(*) FROM {}").format(relation(name))) for name in tables)
        yield Service(dsn=dsn, scope=scope, rows=rows, bytes=sum(dataset.bytes for dataset in scope.datasets))


def compare(service: Service, *, rounds: int) -> Part:
    """Run all three, interleaved; the ratio is time against one reading, so less is better."""
    task = Task(source_dsn=service.dsn, home_dsn="", scope=service.scope, slices=())
    contenders: dict[str, Callable[[], Sample]] = {
        READ: lambda: measured(read_all, task),
        SURVEY: lambda: measured(survey, task),
        FREEZE: lambda: measured(freeze, task),
    }
    done = interleave(contenders, rounds=rounds, before=lambda: _begin_again(service), tell=tell)
    figures = tuple(
        Figure(
            name=f"time of {name} / {READ}",
            ratio=ratio_of([samples[name].seconds / samples[READ].seconds for samples in done]),
        )
        for name in (SURVEY, FREEZE)
    )
    return Part(title="Closure of four markets", rounds=done, figures=figures)


def _begin_again(service: Service) -> None:
    source = PostgresSource(service.dsn, key=KEY, name="app")
    source.bind(service.scope)
    source.drop_staging()
    source.close()
    execute(service.dsn, "CHECKPOINT")


def main() -> None:
    """Make the service, measure, write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.closure", description=main.__doc__)
    parser.add_argument("--users", type=int, default=200_000, help="people of the service; about 50 rows each")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the results")
    given = parser.parse_args()
    print(f"making the service of {given.users:,} people", flush=True)
    with made_service(given.users) as service:
        part = compare(service, rounds=given.rounds)
        results = Results(
            machine=facts(service.dsn),
            sizes={
                "people": given.users, "tables": len(service.scope.datasets), "rows": service.rows,
                "MiB": service.bytes >> 20,
            },
            once_s={}, parts=(part,), memory={},
        )  # fmt: skip
    for path in write(results, given.results, "closure-postgresql-18"):
        print(path)
    for figure in part.figures:
        print(f"{figure.name} {figure.ratio}")


if __name__ == "__main__":
    main()
