"""Servers to plant values on: durable, with every place of the horizon switched on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import DISTRIBUTION_MAJOR, own_server
from tests.sweep.plants import parameters_of
from tests.translated import translate_loops


@pytest.fixture(scope="package", params=[18, DISTRIBUTION_MAJOR])
def planted_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """The embedded PostgreSQL 18 and the distribution's server (which has lz4)."""
    with own_server(f"plants{request.param}", major=request.param, parameters=parameters_of(request.param)) as server:
        yield server


@pytest.fixture(scope="package", autouse=True)
def _translated() -> None:
    translate_loops()
