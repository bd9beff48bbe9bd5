"""Programmes on real servers, and the known databases moved once for all tests that only look at the result."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from domicile.stores.postgres.server import EmbeddedServer
from tests.databases import SAMPLES, sample_template
from tests.main.programme import Programme
from tests.servers import DISTRIBUTION_MAJOR, HASTY, Databases, Servers, create_database, own_server

MARKETS: Mapping[str, str] = {"Canada": "CA", "Germany": "DE"}
MAJORS: Mapping[tuple[str, str], int] = {
    ("pagila", "Canada"): 18, ("pagila", "Germany"): 15, ("chinook", "Canada"): 18, ("chinook", "Germany"): 13,
    ("chinook_identity", "Canada"): 15, ("chinook_identity", "Germany"): 16, ("northwind", "Canada"): 17,
    ("northwind", "Germany"): 14,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A known database after the whole flow, and a copy of it that nobody touched."""

    programme: Programme
    original: str

    @property
    def source(self) -> str:
        return self.programme.source

    @property
    def home(self) -> str:
        (dsn,) = self.programme.homes.values()
        return dsn


@dataclass(slots=True)
class Moves:
    """Moves each database once. Each source gets a server that holds nothing else, so that the sweep may find nothing:
    names of people and towns in another database are found there, too.
    """

    servers: Servers
    folders: Callable[[str], Path]
    stack: ExitStack = field(default_factory=ExitStack)
    sources: dict[tuple[str, str], EmbeddedServer] = field(default_factory=dict)
    done: dict[tuple[str, str], Moved] = field(default_factory=dict)

    def __call__(self, sample: str, country: str) -> Moved:
        if (sample, country) not in self.done:
            self.done[sample, country] = self._move(sample, country)
        return self.done[sample, country]

    def _move(self, sample: str, country: str) -> Moved:
        major = MAJORS[sample, country]
        server = self.stack.enter_context(own_server(f"{sample}{major}", major=major, parameters=HASTY))
        self.sources[sample, country] = server
        source = create_database(server, sample)
        SAMPLES[sample](source)
        homes = self.servers.of(18 if major in (16, 17, 18) else max(15, DISTRIBUTION_MAJOR))
        market = MARKETS[country]
        programme = Programme(
            folder=self.folders(f"{sample}-{market}"),
            source=source,
            homes={market.lower(): create_database(homes, f"{sample}_{market.lower()}_home")},
        )
        programme.draft({market: market.lower()})
        programme.move()
        programme.finish()
        pristine = self.servers.of(18)
        return Moved(programme=programme, original=pristine.dsn(sample_template(pristine, sample)))


@pytest.fixture(scope="session")
def moved(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moves]:
    """`moved("pagila", "Canada")`: moved when first asked for; look, don't write."""
    moves = Moves(servers=servers, folders=tmp_path_factory.mktemp)
    with moves.stack:
        yield moves


@dataclass(slots=True)
class Kept:
    """Chinook's Canadians, moved and compared, waiting for approvals; wound back to there for each test."""

    server: EmbeddedServer
    folder: Path
    names: tuple[str, str] = field(default_factory=lambda: (f"kept_{uuid4().hex[:12]}", f"kept_{uuid4().hex[:12]}"))
    programme: Programme | None = None

    def rewound(self, folder: Path) -> Programme:
        """The programme as it was when it began to wait."""
        if self.programme is None:
            self.programme = self._reach()
        for name in self.names:
            _copy_database(self.server, name, f"{name}_copy")
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return replace(self.programme, folder=folder, shown=list(self.programme.shown))

    def _reach(self) -> Programme:
        source = create_database(self.server, self.names[0], sample_template(self.server, "chinook"))
        home = create_database(self.server, self.names[1])
        programme = Programme(folder=self.folder, source=source, homes={"ca": home})
        programme.draft({"CA": "ca"})
        programme.move()
        for name in self.names:
            _copy_database(self.server, f"{name}_copy", name)
        return programme


def _copy_database(server: EmbeddedServer, name: str, template: str) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    create_database(server, name, template)


@pytest.fixture(scope="session")
def kept(pg18: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """What `waiting` winds back to."""
    return Kept(server=pg18, folder=tmp_path_factory.mktemp("kept"))


@pytest.fixture
def waiting(kept: Kept, tmp_path: Path) -> Programme:
    """Chinook, CA → ca, moved and compared and waiting for approvals: change it as you like."""
    return kept.rewound(tmp_path)


Begin = Callable[..., Programme]


@pytest.fixture
def programme(
    servers: Servers, sample: Callable[[EmbeddedServer, str], str], database: Databases, tmp_path: Path
) -> Begin:
    """`programme("chinook", {"CA": "ca"})`: a drafted programme on fresh copies, for a test of its own."""

    def begin(name: str, markets: Mapping[str, str], *, major: int = 18) -> Programme:
        server = servers.of(major)
        homes = {home: database(server) for home in dict.fromkeys(markets.values())}
        begun = Programme(folder=tmp_path, source=sample(server, name), homes=homes)
        begun.draft(markets)
        return begun

    return begin
