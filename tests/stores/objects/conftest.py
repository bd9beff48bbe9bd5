"""One real S3 server for all of these tests, and a bench for each kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.objects.benches import Bench, FileBench, MemoryBench, S3Bench
from tests.stores.objects.weed import Weed, running


@pytest.fixture(scope="session")
def weed() -> Iterator[Weed]:
    """SeaweedFS on loopback, killed at the end."""
    with running() as server:
        yield server


@pytest.fixture
def memory_bench() -> Bench:
    return MemoryBench()


@pytest.fixture
def file_bench(tmp_path: Path) -> Bench:
    return FileBench(tmp_path)


@pytest.fixture
def s3_bench(weed: Weed) -> Bench:
    return S3Bench(weed)
