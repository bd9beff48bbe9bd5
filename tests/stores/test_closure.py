"""The closure of any small world: the same by rows and by SQL, and what must be true of every one that is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from psycopg import sql

from domicile.config.rules import Shared
from domicile.errors import Undecided
from domicile.model import DatasetScope, Finding, Manifest, Scope
from domicile.stores.memory.values import decode
from domicile.stores.postgres.names import key_names, staged
from domicile.stores.postgres.server import EmbeddedServer
from domicile.stores.postgres.source import PostgresSource
from tests.servers import create_database
from tests.stores import flow, invariants
from tests.stores.benches import DIGEST_KEY, SOURCE, MemoryBench, PostgresBench, Row, make_tables
from tests.stores.random_worlds import DECIDED, Taste, worlds
from tests.stores.world import Sheet, World, null, path, refer

QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
by_rows = settings(max_examples=300, deadline=None, print_blob=True, suppress_health_check=QUIET)
by_sql = settings(max_examples=40, deadline=None, print_blob=True, suppress_health_check=QUIET)
whole_flow = settings(max_examples=5, deadline=None, print_blob=True, suppress_health_check=QUIET)


@pytest.fixture(scope="module")
def source_dsn(pg18: EmbeddedServer) -> str:
    return create_database(pg18, "closure_worlds")


@pytest.fixture(scope="module")
def empty_database(pg18: EmbeddedServer) -> Iterator[Callable[[], str]]:
    """Make numbered databases; all of one world are dropped before the next."""
    made: list[str] = []

    def drop() -> None:
        with psycopg.connect(pg18.dsn(), autocommit=True) as admin:
            for name in made:
                admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        made.clear()

    def make() -> str:
        if len(made) == 3:
            drop()
        made.append(f"closure_flow_{len(made)}")
        return create_database(pg18, made[-1])

    yield make
    drop()


@pytest.mark.timeout(900)
@by_sql
@given(world=worlds())
def test_sql_finds_the_same_closure_as_rows(world: World, source_dsn: str) -> None:
    memory = MemoryBench(world)
    with psycopg.connect(source_dsn, autocommit=True) as connection:
        for schema in ("public", "domicile"):
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
        make_tables(connection, world)
    source = PostgresSource(source_dsn, key=DIGEST_KEY, name="app")
    try:
        scope = world.scope(source.catalogue())
        expected, found = memory.source.survey(memory.scope), source.survey(scope)
        assert _findings(expected) == _findings(found)
        assert _digests(memory.scope, expected) == _digests(scope, found)
        if expected.undecided():
            return
        assert dict(expected.subjects) == dict(found.subjects)
        expected = flow.freeze(memory)
        source.stand_fence(scope)
        found = source.freeze(scope)
        assert _memory_lines(memory) == _postgres_lines(scope, source_dsn)
        assert _sums(expected) == _sums(found)
        assert _tallies(expected) == _tallies(found)
    finally:
        source.close()


@by_rows
@given(world=worlds(DECIDED))
def test_p1_p3_p6_any_decided_move_keeps_every_promise(world: World) -> None:
    bench = MemoryBench(world, rows_max=2)
    before = invariants.observe(bench, world)
    _move(bench)
    after, homes = invariants.observe(bench, world), invariants.observe_homes(bench, world)
    assert invariants.broken(invariants.Move(world=world, before=before, after=after, homes=homes)) == []


@by_rows
@given(world=worlds(replace(DECIDED, shared=(Shared.EACH,), blanked_edges=False, told_elsewhere=False)))
def test_p5_a_new_run_over_what_stayed_finds_nothing_to_delete(world: World) -> None:
    bench = MemoryBench(world)
    _move(bench)
    bench.source.drop_staging()
    again = bench.source.survey(bench.scope)
    assert sum(piece.delete for piece in again.slices) == 0


@by_rows
@given(world=worlds(Taste()))
def test_an_undecided_closure_is_never_frozen(world: World) -> None:
    bench = MemoryBench(world)
    undecided = bench.source.survey(bench.scope).undecided()
    bench.source.stand_fence(bench.scope)
    if undecided:
        with pytest.raises(Undecided):
            bench.source.freeze(bench.scope)
    else:
        assert bench.source.freeze(bench.scope).undecided() == ()


@pytest.mark.timeout(900)
@whole_flow
@given(world=worlds(replace(DECIDED, tokens=False)))
def test_p1_p3_p6_a_move_between_servers_ends_as_in_memory(world: World, empty_database: Callable[[], str]) -> None:
    memory = MemoryBench(world)
    before = invariants.observe(memory, world)
    _move(memory)
    real = PostgresBench(world, empty_database)
    try:
        flow.erase(real, flow.move(real))
        after, homes = invariants.observe(real, world), invariants.observe_homes(real, world)
    finally:
        real.close()
    assert after == invariants.observe(memory, world)
    assert homes == invariants.observe_homes(memory, world)
    assert invariants.broken(invariants.Move(world=world, before=before, after=after, homes=homes)) == []


@pytest.mark.parametrize("hurt", ["", "lost", "dangling", "leaked", "touched"])
def test_the_invariants_see_what_they_are_for(hurt: str) -> None:
    note_of = {"id": "integer", "country": "text", "note": "text", "friend": "integer"}
    person = Sheet(name="person", columns=note_of, references=(refer("friend", "person"),), paths=(path(),))
    rows: list[Row] = [(1, "CA", "a", None), (2, "US", "b", None), (3, "FR", "c", None), (4, "CA", "d", 1)]
    world = World(sheets=(replace(person, blanks=(null("note"),)),))
    after, ca, us = rows[2:3], [rows[0], rows[3]], rows[1:2]
    if hurt == "lost":
        us = []
    if hurt == "dangling":
        after, ca = [rows[0], rows[2]], [rows[3]]
    if hurt == "leaked":
        us = [*us, rows[2]]
    if hurt == "touched":
        after, us = [], [*us, rows[2]]
    homes = {"ca": {"person": ca}, "us": {"person": us}}
    move = invariants.Move(world=world, before={"person": rows}, after={"person": after}, homes=homes)
    found = {text.split()[0].rstrip(":") for text in invariants.broken(move)}
    assert found == {"": set(), "touched": {"touched", "leaked"}}.get(hurt, {hurt})


def _move(bench: MemoryBench) -> None:
    """The whole flow of a decided world; worlds that are not (a row of two homes in a split dataset) are left out."""
    assume(not bench.source.survey(bench.scope).undecided())
    flow.erase(bench, flow.move(bench))
    assert flow.strays(bench) == {}


def _findings(manifest: Manifest) -> list[tuple[str, str, int, bool]]:
    return sorted(
        (item.kind, item.where, item.count, item.remedy is None) for item in manifest.findings if not _only_told(item)
    )


def _digests(scope: Scope, manifest: Manifest) -> list[tuple[object, ...]]:
    """The rows that findings name, by digest; those without a key are named otherwise in each store."""
    keyed = {str(dataset.id) for dataset in scope.datasets if dataset.key}
    return sorted(
        (item.kind, item.where, item.dataset, tuple(sorted(item.keys)))
        for item in manifest.findings
        if item.dataset in keyed and not _only_told(item)
    )


def _only_told(item: Finding) -> bool:
    """How often a rule on an edge was used is told in counts that need not agree; what it did stands in the lines."""
    return item.kind.startswith("apart-") and item.remedy is None


def _memory_lines(bench: MemoryBench) -> Counter[tuple[object, ...]]:
    side = bench.databases[SOURCE].source_side
    assert side is not None
    return Counter(
        (
            str(line.dataset),
            _key(bench.scope.dataset(line.dataset), line.key),
            line.part,
            line.form.value,
            line.fate.value,
            line.copies,
        )
        for line in side.lines
    )


def _key(dataset: DatasetScope, key: bytes) -> tuple[str, ...]:
    values = decode(key)
    assert isinstance(values, list)
    return tuple(map(str, values)) if dataset.key else ()


def _postgres_lines(scope: Scope, dsn: str) -> Counter[tuple[object, ...]]:
    lines: Counter[tuple[object, ...]] = Counter()
    with psycopg.connect(dsn) as connection:
        for dataset in scope.datasets:
            names = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in key_names(dataset))
            query = sql.SQL("SELECT part, form, fate, copies, {} FROM {}").format(names, staged("m", dataset.id))
            for part, form, fate, copies, *key in connection.execute(query):
                lines[str(dataset.id), tuple(key) if dataset.key else (), part, form, fate, copies] += 1
    return lines


def _sums(manifest: Manifest) -> Counter[tuple[str, ...]]:
    sums: Counter[tuple[str, ...]] = Counter()
    for piece in manifest.slices:
        place = (str(piece.dataset), str(piece.home), piece.part, str(piece.form))
        sums[(*place, "rows")] += piece.rows
        sums[(*place, "delete")] += piece.delete
        sums[(*place, "blank")] += piece.blank
    return +sums


def _tallies(manifest: Manifest) -> set[tuple[object, ...]]:
    return {
        (tally.dataset, tally.home, tally.whole, tally.delete, tally.blank, tally.kept)
        for tally in manifest.tallies
        if tally.whole
    }
