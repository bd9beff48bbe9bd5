"""Two servers for all tests of publishing that one process runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.publish.places import Pair, two_servers


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """PostgreSQL 18 for the source, 16 for the homes."""
    with two_servers() as servers:
        yield servers
