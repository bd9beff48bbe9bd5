"""One town for a module, wound back for each test; its service, and a client."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from domicile.directory.client import Directory
from domicile.stores.postgres.server import EmbeddedServer
from tests.directory.town import Town, serving
from tests.servers import create_database


@pytest.fixture(scope="module")
def place_name(pg18: EmbeddedServer) -> str:
    """The DSN of an empty database for the module."""
    return create_database(pg18, f"town_{uuid4().hex[:12]}")


@pytest.fixture
def town(place_name: str) -> Town:
    """People about to move."""
    town = Town(dsn=place_name)
    town.begin()
    return town


@pytest.fixture
def url(town: Town) -> Iterator[str]:
    """Where the town's directory answers."""
    with serving(town.served()) as url:
        yield url


@pytest.fixture
def directory(url: str) -> Iterator[Directory]:
    """A client that watches."""
    with Directory(url) as directory:
        directory.watch()
        yield directory
