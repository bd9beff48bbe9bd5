"""Servers to plant values on: durable, with every place of the horizon switched on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import own_server
from tests.sweep.plants import parameters_of
from tests.translated import translate_loops


@pytest.fixture(scope="package", params=[18, 15])
def planted_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """The embedded PostgreSQL 18 and Debian's 15 (which has lz4)."""
    with own_server(f"plants{request.param}", major=request.param, parameters=parameters_of(request.param)) as server:
        yield server


@pytest.fixture(scope="package", autouse=True)
def _translated() -> None:
    translate_loops()
