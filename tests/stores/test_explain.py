"""One row explained: what follows from its trace is what the closure of all rows holds of it, in both stores."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from psycopg import sql

from domicile.config.places import Places
from domicile.explain import Explanation, explain
from domicile.model import Home, Scope
from domicile.stores.memory.rows import key_text
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.source import PostgresSource
from domicile.stores.postgres.tracing import Tracer, traced_world
from domicile.stores.traces import NeedTrace, RowKey, Told, Trace, told_once
from tests.servers import create_database
from tests.stores import flow
from tests.stores.benches import DIGEST_KEY, SOURCE, MemoryBench, make_tables
from tests.stores.random_worlds import DECIDED, worlds
from tests.stores.world import World

QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
by_rows = settings(max_examples=200, deadline=None, print_blob=True, suppress_health_check=QUIET)
by_sql = settings(max_examples=20, deadline=None, print_blob=True, suppress_health_check=QUIET)
NOWHERE = Places(b"{}\n", origin="domicile.yaml")


@pytest.fixture(scope="module")
def source_dsn(pg18: EmbeddedServer) -> str:
    return create_database(pg18, "explained_worlds")


def traces(bench: MemoryBench, *, survey: bool = True) -> list[Trace]:
    """Every row of the world, each key once."""
    found = []
    for dataset in bench.scope.datasets:
        for texts in dict.fromkeys(key_text(dataset, row) for row in bench.databases[SOURCE].tables[dataset.table]):
            trace = bench.source.trace(bench.scope, dataset, texts, survey=survey)
            assert trace is not None
            found.append(trace)
    return found


def explained(scope: Scope, found: list[Trace]) -> list[Explanation]:
    return [explain(scope, trace, NOWHERE) for trace in found]


@by_rows
@given(world=worlds())
def test_the_verdict_on_every_row_is_what_the_closure_holds_of_it(world: World) -> None:
    bench = MemoryBench(world)
    for explanation in explained(bench.scope, traces(bench)):
        assert explanation.found is not None
        assert Counter(explanation.found) == Counter(explanation.lines)
        assert explanation.agrees


@by_rows
@given(world=worlds(DECIDED))
def test_during_a_run_the_frozen_manifest_is_explained(world: World) -> None:
    bench = MemoryBench(world)
    if bench.source.survey(bench.scope).undecided():
        return
    flow.freeze(bench)
    for explanation in explained(bench.scope, traces(bench, survey=False)):
        assert explanation.frozen
        assert explanation.agrees


@by_rows
@given(world=worlds())
def test_without_a_survey_owners_are_the_same_and_needs_stay_unknown(world: World) -> None:
    bench = MemoryBench(world)
    for whole, quick in zip(
        explained(bench.scope, traces(bench)), explained(bench.scope, traces(bench, survey=False)), strict=True
    ):
        assert quick.found is None
        assert not quick.computed
        assert whole.ways == quick.ways
        assert {line.part for line in whole.lines if line.owned} == {line.part for line in quick.lines if line.owned}


@pytest.mark.timeout(900)
@by_sql
@given(world=worlds())
def test_sql_traces_every_row_as_rows_do(world: World, source_dsn: str) -> None:
    bench = MemoryBench(world)
    with psycopg.connect(source_dsn, autocommit=True) as connection:
        for schema in ("public", "domicile"):
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
        make_tables(connection, world)
    source = PostgresSource(source_dsn, key=DIGEST_KEY, name="app")
    try:
        scope = world.scope(source.catalogue())
        for survey in (True, False):
            expected = {
                (t.dataset, t.key.texts): t for t in traces(bench, survey=survey) if scope.dataset(t.dataset).key
            }
            with traced_world(source.connection, scope, frozen=False, survey=survey) as schema:
                tracer = Tracer(
                    connection=source.connection, scope=scope, schema=schema, digest_key=DIGEST_KEY, computed=survey,
                    frozen=False,
                )  # fmt: skip
                for (name, texts), trace in expected.items():
                    found = tracer.trace(scope.dataset(name), texts)
                    assert found is not None
                    assert comparable(scope, trace) == comparable(scope, found)
    finally:
        source.close()


def comparable(scope: Scope, trace: Trace) -> Trace:
    """The trace with lines in one order, and without keys of rows that have none: stores name those differently."""
    lines = tuple(sorted(trace.lines, key=repr)) if trace.lines is not None else None
    needs = tuple(_named(scope, need) for need in trace.needs) if trace.needs is not None else None
    return replace(trace, lines=lines, needs=needs)


def _named(scope: Scope, need: NeedTrace) -> NeedTrace:
    if scope.dataset(scope.edges[need.edge].child).key:
        return need
    return replace(need, first=(RowKey(digest="", texts=()),) * len(need.first))


def test_evidence_is_told_once_however_many_references_lead_to_it() -> None:
    early, late = (
        Told(piece=0, market="CA", home=Home("ca"), newest=newest, dated=dated)
        for newest, dated in ((False, "2020-01-01"), (True, "2020-06-01"))
    )
    assert (early, late) == told_once([late, early, late])
