"""The sessions that the documents show are run, and say what they show."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from tests.cli.sessions import FOLDER, Session, Step, difference, read
from tests.databases import SAMPLES
from tests.main.programme import Programme
from tests.servers import HASTY, ROOT, Databases, create_database, own_server

NAMES = sorted(path.stem for path in FOLDER.glob("*.txt"))


@pytest.mark.parametrize("name", NAMES)
def test_the_session_says_what_the_document_shows(
    name: str, tmp_path: Path, database: Databases, pg18: EmbeddedServer
) -> None:
    session = read(FOLDER / f"{name}.txt")
    with own_server("session", parameters=HASTY) as server:
        source = create_database(server, "app")
        SAMPLES[session.sample](source)
        homes = {home: database(pg18) for home in session.homes}
        programme = Programme(folder=tmp_path, source=source, homes=homes)
        shell = _shell(programme, tmp_path.parent / f"{tmp_path.name}-bin")
        for step in session.steps:
            _check(session, step, shell(step.command))


def test_there_are_sessions_and_a_page_that_leads_to_each() -> None:
    assert len(NAMES) >= 4
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [] == [name for name in NAMES if f"({name}.txt)" not in page]


STEP = Step(line=1, command="x", said=("one …", "…", "last 3 things"), code=0)
SAID = {
    "one thing\nlast 3 things": None,
    "one thing\n\n  other\nmore\n  last   3 things\n": None,
    "two\nlast 3 things": "one …",
    "one thing\nlast 4 things": "last 3 things",
    "one thing": "last 3 things",
    "one thing\nlast 3 things\nand then": "(nothing more; but it said: and then)",
}


@pytest.mark.parametrize(("said", "missing"), SAID.items())
def test_a_line_that_was_not_said_is_found(said: str, missing: str | None) -> None:
    assert missing == difference(STEP, said)


def _check(session: Session, step: Step, answer: tuple[int, str]) -> None:
    code, said = answer
    place = f"docs/sessions/{session.name}.txt:{step.line}: $ {step.command}"
    missing = difference(step, said)
    assert missing is None, f"{place}\nwritten: {missing}\nsaid:\n{said}"
    assert step.code == code, f"{place}: ended with {code}\n{said}"
    assert "Traceback" not in said


def _shell(programme: Programme, folder: Path) -> Callable[[str], tuple[int, str]]:
    """A real shell in the programme's folder, in which `domicile`, `domicile-audit` and `psql` are programs."""
    folder.mkdir()
    for name, module in (("domicile", "domicile.cli"), ("domicile-audit", "domicile_audit")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    psql = find_client("psql", at_least_major=15).parent
    environment = {**programme.environment, "PYTHONPATH": str(ROOT / "src")}
    environment["PATH"] = f"{folder}:{psql}:{environment['PATH']}"

    def run(command: str) -> tuple[int, str]:
        if command.startswith("domicile ") and not set(command) & set("|&;<>$*"):
            return _here(programme, command.split()[1:])
        done = subprocess.run(
            ["/bin/bash", "-c", command], cwd=programme.folder, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout

    return run


def _here(programme: Programme, words: list[str]) -> tuple[int, str]:
    """The same command in this process: a start of Python costs two seconds."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = programme.call(*words)
    return code, said.getvalue()
