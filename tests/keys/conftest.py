"""Both key services, and a Vault, each fresh for a test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.keys.benches import MEMORY, Bench, Files, Tokens, token_folder
from tests.keys.vault import Vault, running


@pytest.fixture(scope="session")
def token_place() -> Iterator[Path]:
    """SoftHSM's folder: its library reads where that is once a process."""
    yield from token_folder()


@pytest.fixture
def tokens(token_place: Path) -> Iterator[Tokens]:
    """Empty tokens."""
    bench = Tokens(token_place)
    yield bench
    bench.empty()


@pytest.fixture
def files() -> Iterator[Files]:
    """Empty folders, in memory."""
    root = Path(tempfile.mkdtemp(prefix="domicile-test-keys-", dir=MEMORY))
    yield Files(root)
    shutil.rmtree(root)


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """A server with an empty transit engine, of which this process is told."""
    with running() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(params=["files", "tokens"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """Either service."""
    made: Bench = request.getfixturevalue(request.param)
    return made
