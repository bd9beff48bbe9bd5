"""What the example service keeps beside its databases: with pgBackRest where the machine has it, and without."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from domicile import config
from domicile.cli.demo_backups import NO_PGBACKREST, REPOSITORY, around_lines, backed_words
from domicile.config.custody import CopiesRule, RepositoryRule
from domicile.stores.around.pgbackrest.stanza import parse
from domicile.stores.postgres.programs import embedded_binaries, reachable_binaries, server_user
from shortvideo import repositories
from shortvideo.repositories import Repository, find_pair
from shortvideo.stack import HERE, SOURCE_VARIABLE, Stack
from tests.servers import DISTRIBUTION_MAJOR, OF_DISTRIBUTION, SCRATCH

FEW = {"locations": ("sg", "us", "ca"), "users": 100, "clips": 2, "backups": True}


@pytest.fixture
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-backups-", dir=SCRATCH))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has all but pgBackRest."""
    for folder in [one for one in os.environ["PATH"].split(os.pathsep) if os.access(one, os.R_OK | os.X_OK)]:
        for program in Path(folder).glob("*"):
            link = tmp_path / program.name
            if program.name != "pgbackrest" and not link.is_symlink():
                link.symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path))


def _rules(folder: Path, stack: Stack) -> config.Config:
    """The example's file with the lines of these surroundings, read as the demo reads it."""
    text = (HERE / "domicile.yaml").read_text(encoding="utf-8").replace("AU: au, NZ: au", "AU: ca, NZ: ca")
    path = folder / "domicile.yaml"
    path.write_text(text.replace("stores:\n", f"stores:\n{around_lines(stack.backups)}", 1), encoding="utf-8")
    return config.read(path)[0]


def test_the_newest_server_that_pgbackrest_knows_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are asked: the embedded 18, which comes first here, is younger than this pgBackRest, and is passed over."""
    pair = find_pair()
    assert pair is not None
    assert DISTRIBUTION_MAJOR == pair.major
    assert pair.version.startswith("pgBackRest 2.")
    unknown = reachable_binaries(embedded_binaries(), server_user())
    asked = (unknown, *OF_DISTRIBUTION.values())
    monkeypatch.setattr(repositories, "distribution_servers", lambda: asked)
    assert pair == find_pair()
    monkeypatch.setattr(repositories, "distribution_servers", lambda: (unknown,))
    assert find_pair() is None


@pytest.mark.usefixtures("without")
def test_without_pgbackrest_the_embedded_server_stands_and_it_is_said(state: Path, tmp_path: Path) -> None:
    assert find_pair() is None
    with Stack.start(state, **FEW) as stack:  # type: ignore[arg-type]
        assert {18} == {server.major for server in stack.servers.values()}
        assert stack.backups is not None
        assert NO_PGBACKREST in backed_words(stack.backups)
        rules = _rules(tmp_path, stack)
        assert {"service-us", "service-ca"} == rules.backups.keys()
        assert {CopiesRule} == set(map(type, rules.backups.values()))
        assert {"service-wal", "service-dumps"} == rules.around.keys()
        assert {"base-backup", "nightly.dump"} == {path.name for path in stack.backups.dumps.iterdir()}
        assert stack.standby is not None


def test_with_pgbackrest_source_and_first_home_have_repositories_of_their_own(state: Path, tmp_path: Path) -> None:
    """Its log goes to both places, and taken up again, nothing is backed up twice."""
    with Stack.start(state, **FEW) as stack:  # type: ignore[arg-type]
        assert stack.backups is not None
        rules = _rules(tmp_path, stack)
        made = stack.backups.repositories
        for place, server in stack.servers.items():
            stack.backups.serve(place, server)
        stack.backups.back_up()
        stack.backups.nightly(stack.dsns["sg"], major=DISTRIBUTION_MAJOR)
        assert {"sg": ["full", "incr"], "us": ["full"]} == {place: _kinds(one) for place, one in made.items()}
        pushed = {path.name[:24] for path in (made["sg"].path / "archive").rglob("0*.gz")}
        assert pushed
        assert pushed <= {path.name for path in stack.backups.archive.iterdir()}
    assert {DISTRIBUTION_MAJOR} == {server.major for server in stack.servers.values()}
    assert isinstance(rules.around[REPOSITORY], RepositoryRule)
    kinds = {home: type(rule) for home, rule in rules.backups.items()}
    assert {"service-us": RepositoryRule, "service-ca": CopiesRule} == kinds
    assert not [one.sockets for one in made.values() if one.sockets.exists()]
    assert SOURCE_VARIABLE == rules.stores["service"].dsn.removeprefix("env:")  # type: ignore[union-attr]


def _kinds(made: Repository) -> list[str]:
    (stanza,) = parse(repositories.run(f"--config={made.config}", "--output=json", "info").stdout)
    return [one.kind for one in stanza.backups]
