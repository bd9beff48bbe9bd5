"""The conformance suite over every object store."""

from __future__ import annotations

import pytest

from tests.stores.objects.benches import Bench
from tests.stores.objects.conformance import ObjectSuite


class TestMemory(ObjectSuite):
    @pytest.fixture
    def bench(self, memory_bench: Bench) -> Bench:
        return memory_bench


class TestFiles(ObjectSuite):
    @pytest.fixture
    def bench(self, file_bench: Bench) -> Bench:
        return file_bench


class TestS3(ObjectSuite):
    @pytest.fixture
    def bench(self, s3_bench: Bench) -> Bench:
        return s3_bench
