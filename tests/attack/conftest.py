"""A source with a schema of the test's own, an empty home, and the programme between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.programme import Programme, make
from tests.servers import Databases


@dataclass(slots=True, kw_only=True)
class World:
    """One source and one home."""

    source: str
    home: str
    programme: Programme

    def at_source(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement or several at the source, committed."""
        return run(self.source, statement)

    def at_home(self, statement: str) -> list[tuple[Any, ...]]:
        """The same at home."""
        return run(self.home, statement)


Worlds = Callable[[str, str], World]


def run(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    """Run SQL as it is in a session of its own; the rows of its last statement, if it has any."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def world(pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Worlds:
    """Make a world from a schema in SQL and the rules in YAML (from `subject:` on)."""

    def of(schema: str, rules: str) -> World:
        source, home = database(pg18), database(pg18)
        run(source, schema)
        folder = tmp_path / f"programme-{len(list(tmp_path.iterdir()))}"
        return World(source=source, home=home, programme=make(folder, rules, source=source, homes={"CA": home}))

    return of


@pytest.fixture
def icu(distributed: EmbeddedServer, database: Databases, tmp_path: Path) -> Worlds:
    """Worlds on a server with ICU and contributed extensions."""

    def of(schema: str, rules: str) -> World:
        source, home = database(distributed), database(distributed)
        run(source, schema)
        programme = make(tmp_path / f"p{len(list(tmp_path.iterdir()))}", rules, source=source, homes={"CA": home})
        return World(source=source, home=home, programme=programme)

    return of
