"""The conformance suite over every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from domicile.model import SLICE_ROWS_MAX
from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import Databases
from tests.stores.benches import Bench, MemoryBench, PostgresBench, patch_rows_max
from tests.stores.conformance.erasing import ErasingSuite
from tests.stores.conformance.fencing import EveryRow, FencingSuite
from tests.stores.conformance.moving import MovingSuite
from tests.stores.conformance.verifying import VerifyingSuite
from tests.stores.world import World

Make = Callable[..., Bench]


@pytest.fixture
def make_memory() -> Make:
    return MemoryBench


@pytest.fixture
def make_postgres(pg18: EmbeddedServer, database: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made: list[PostgresBench] = []

    def make(world: World, *, rows_max: int = SLICE_ROWS_MAX) -> Bench:
        patch_rows_max(rows_max, monkeypatch)
        made.append(PostgresBench(world, lambda: database(pg18)))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


class _OnMemory:
    @pytest.fixture
    def make(self, make_memory: Make) -> Make:
        return make_memory


class _OnPostgres:
    @pytest.fixture
    def make(self, make_postgres: Make) -> Make:
        return make_postgres


class TestMovingOnMemory(_OnMemory, MovingSuite):
    pass


class TestMovingOnPostgres(_OnPostgres, MovingSuite):
    pass


class TestVerifyingOnMemory(_OnMemory, VerifyingSuite):
    pass


class TestVerifyingOnPostgres(_OnPostgres, VerifyingSuite):
    pass


class TestFencingOnMemory(_OnMemory, FencingSuite):
    pass


class TestFencingOnPostgres(_OnPostgres, FencingSuite):
    pass


class TestEveryRowOnMemory(_OnMemory, EveryRow):
    pass


class TestEveryRowOnPostgres(_OnPostgres, EveryRow):
    pass


class TestErasingOnMemory(_OnMemory, ErasingSuite):
    pass


class TestErasingOnPostgres(_OnPostgres, ErasingSuite):
    pass
