"""P5 on the reference store: the whole flow, killed at each numbered effect and gone on with, ends the same."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from domicile.errors import NotEqual, Unreachable
from domicile.model import Digest, Home, SliceId
from domicile.stores.memory import CrashHere, Faults
from tests.stores import flow, invariants
from tests.stores.benches import SOURCE, MemoryBench
from tests.stores.world import World
from tests.stores.worlds import shop, video

CA = Home("ca")
State = tuple[dict[str, list[tuple[object, ...]]], invariants.Places]


@dataclass(slots=True)
class Journal:
    """What outlives a crash besides the stores: the proof, and that all is over."""

    proven: dict[SliceId, Digest] = field(default_factory=dict)
    over: bool = False


def run(bench: MemoryBench, journal: Journal) -> None:
    """The flow from wherever it stopped; every step looks first at what is there."""
    if journal.over:
        return
    manifest = flow.freeze(bench)
    for home, store in bench.homes.items():
        store.prepare(bench.scope, home, bench.source)
    if not journal.proven:
        flow.load(bench, manifest)
        flow.finish(bench)
        pairs = flow.verify(bench, manifest)
        assert all(pair.equal for pair in pairs)
        journal.proven = {pair.slice.id: pair.home.digest for pair in pairs}
    for piece in flow.erasable(bench, manifest):
        flow.erase_one(bench, piece, journal.proven[piece.id])
    journal.over = True
    bench.source.drop_staging()


def state(bench: MemoryBench, world: World) -> State:
    return invariants.observe(bench, world), invariants.observe_homes(bench, world)


def finished(world: World) -> tuple[State, int, list[str]]:
    bench = MemoryBench(world, rows_max=2)
    run(bench, Journal())
    return state(bench, world), len(bench.faults.effects), bench.faults.effects


@pytest.mark.parametrize("world", [shop(), video()], ids=["shop", "video"])
def test_p5_a_crash_at_each_effect_and_a_resumption_end_the_same(world: World) -> None:
    end, count, _ = finished(world)
    start = {sheet.name: sorted(sheet.rows, key=repr) for sheet in world.sheets}
    assert count > 20
    for k in range(count):
        bench, journal = MemoryBench(world, rows_max=2, faults=Faults(crash_after=k)), Journal()
        with pytest.raises(CrashHere):
            run(bench, journal)
        assert len(bench.faults.effects) == k
        assert nothing_lost(bench, world, start)
        bench.faults.crash_after = None
        bench.reopen()
        run(bench, journal)
        if bench.databases[SOURCE].source_side is not None:  # it died between the last mark and dropping the staging
            bench.source.drop_staging()
        assert state(bench, world) == end, f"killed before effect {k}"


def test_p5_a_crash_at_each_effect_again_and_again_ends_the_same() -> None:
    world = shop()
    end, count, effects = finished(world)
    bench, journal = MemoryBench(world, rows_max=2, faults=Faults(crash_after=0)), Journal()
    crashes = 0
    while not journal.over:
        try:
            run(bench, journal)
        except CrashHere:
            crashes += 1
            bench.faults.crash_after = len(bench.faults.effects) + 1
            bench.reopen()
    bench.faults.crash_after = None
    bench.source.drop_staging()
    assert (state(bench, world), bench.faults.effects) == (end, effects)
    assert crashes >= count - 1


def test_p5_no_effect_is_made_twice() -> None:
    _, _, effects = finished(shop())
    assert len(set(effects)) == len(effects)


def test_p5_a_torn_load_leaves_nothing_and_is_repeated() -> None:
    bench = MemoryBench(shop())
    manifest = flow.freeze(bench)
    bench.faults.tear_load = flow.slice_of(manifest, "app.public.person", "ca").id
    with pytest.raises(Unreachable):
        flow.load(bench, manifest)
    assert bench.rows("ca", "person") == []
    flow.load(bench, manifest)
    assert len(bench.rows("ca", "person")) == 4


def test_p1_a_digest_that_lies_stops_the_erasure() -> None:
    bench = MemoryBench(shop())
    manifest = flow.move(bench)
    piece = flow.slice_of(manifest, "app.sales.item", "ca")
    proven = flow.home_digest(bench.homes[CA], piece)
    bench.faults.flip_digest = frozenset({piece.id})
    assert (
        not all(pair.equal for pair in flow.verify(bench, manifest))
        or flow.home_digest(bench.homes[CA], piece) != proven
    )
    before = bench.rows(SOURCE, "sales.item")
    with pytest.raises(NotEqual):
        flow.erase_one(bench, piece, proven)
    assert bench.rows(SOURCE, "sales.item") == before
    bench.faults.flip_digest = frozenset()
    assert flow.erase_one(bench, piece, proven).deleted == 4


def test_an_unreachable_store_may_be_asked_again() -> None:
    bench = MemoryBench(shop(), faults=Faults(unreachable=1))
    with pytest.raises(Unreachable):
        bench.source.stand_fence(bench.scope)
    assert bench.databases[SOURCE].guard is None
    bench.source.stand_fence(bench.scope)
    assert bench.source.freeze(bench.scope).undecided() == ()


def nothing_lost(bench: MemoryBench, world: World, start: dict[str, list[tuple[object, ...]]]) -> bool:
    """P1 at any moment: every row is whole at the source or at a home."""
    source, homes = state(bench, world)
    return all(
        row in source[name] or any(row in tables[name] for tables in homes.values())
        for name, rows in start.items()
        for row in rows
    )
