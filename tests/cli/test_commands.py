"""Every command explains itself with an example, is shown in a session, and speaks JSON where it says so."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest
import typer

from domicile.cli import ROOMS, program
from domicile.record.workspace import Workspace
from tests.cli.sessions import FOLDER
from tests.main.conftest import Begin
from tests.main.programme import Programme
from tests.servers import ROOT

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HOME": "/nonexistent"}
# Shown elsewhere: `demo` starts servers of its own and takes minutes.
WITHOUT_SESSION = {"demo"}


def commands() -> Iterator[tuple[tuple[str, ...], str, set[str]]]:
    """Words of each command, its help, its options."""
    yield from _walk(typer.main.get_command(program()), ())


def _walk(command: object, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, set[str]]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        options = {option for one in command.params for option in one.opts}  # type: ignore[attr-defined]
        yield words, command.help or "", options  # type: ignore[attr-defined]
        return
    for name, one in sorted(inner.items()):
        yield from _walk(one, (*words, name))


COMMANDS = tuple(commands())
each = pytest.mark.parametrize(
    ("words", "text", "options"), COMMANDS, ids=[" ".join(words) for words, _, _ in COMMANDS]
)


@pytest.mark.parametrize("room", ROOMS)
def test_a_command_loads_a_room_that_has_it(room: str) -> None:
    loaded = typer.main.get_command(program(ROOMS[room][0]))
    assert set(ROOMS[room]) == set(getattr(loaded, "commands", {loaded.name or room: loaded}))


def test_the_commands_are_those_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    known = {" ".join(words) for words, _, _ in COMMANDS}
    named = set(
        re.findall(r"`domicile ((?:keys |log |directory |publish |canary |export |subject |witness )?[a-z-]+)", readme)
    )
    assert set() == named - known
    assert len(known) >= 18


@each
def test_each_command_has_help_with_an_example_of_itself(words: tuple[str, ...], text: str, options: set[str]) -> None:
    assert len(text.split("Example:")) == 2
    assert f"domicile {' '.join(words)}" in text.split("Example:")[1]
    example = text.split("Example:")[1].partition("domicile-audit")[0]
    named = set(re.findall(r"(--[a-z-]+)", example))
    assert named <= options


@each
def test_each_command_is_shown_in_a_session(words: tuple[str, ...], text: str, options: set[str]) -> None:
    shown = "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.txt"))
    found = re.search(rf"^\$ domicile {' '.join(words)}\b", shown, re.MULTILINE)
    assert (found is None) == (" ".join(words) in WITHOUT_SESSION)


def test_help_of_all_is_printed_by_the_real_program() -> None:
    for words in ([], ["--help"], ["log", "--help"], ["keys", "--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "domicile.cli", *words], env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        assert "Usage:" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


JSON_COMMANDS = {
    "map": 0, "doctor": 0, "plan": 1, "apply": 14, "status": 0, "verify": 0, "approve --key operator.key": 0,
    "erase": 0, "transfer": 0, "cutover": 0, "sweep": 14, "certify": 14, "log list": 0, "report": 0,
    "keys new other": 0, "keys show other --key other.key": 0, "keys list": 0,
    "keys rotate --key other.key --new file:other.pub --why x": 1, "keys revoke other --key operator.key": 1,
    "abandon": 0, "init --dsn env:APP_DSN": 30,
    "explain customer 3": 0, "directory show 3": 1, "directory counts": 1,
    "publish plan": 1, "publish apply": 1, "publish check": 1, "publish drop": 1,
    "subject receipt 3": 14, "subject forget 3": 1,
    "rollback --cohort 1": 1, "follow --seconds 0": 1, "restore-guard": 1,
    "canary new other": 0, "canary seal other.canaries": 0, "canary open other.canaries": 1,
    "canary find other.canaries evidence": 30, "audit-key --to audit.key": 0, "audit-bundle --to so-far.zip": 0,
    "log fsck": 0, "log publish": 0, "witness new other.example": 0, "witness show": 30,
    "monitor other.place --trust other.trust --state other.state": 30,
    "export oscal": 1, "export csv --unfinished": 0, "export packs": 0,
}  # fmt: skip


def test_json_is_one_value_on_standard_output_whatever_happens(waiting: Programme) -> None:
    for text, code in JSON_COMMANDS.items():
        answer = waiting.cli(*text.split(), "--json", code=code)
        found = answer.json()
        if code:
            assert {"error", "message", "exit_code"} == set(found), text
            assert code == found["exit_code"]
    every = {" ".join(words) for words, _, options in COMMANDS if "--json" in options}
    assert every == {
        re.sub(r" (other\S*|evidence|customer 3)| (?<=show |rget |eipt )3", "", text.split(" -", maxsplit=1)[0])
        for text in JSON_COMMANDS
    }


def test_schema_is_a_json_schema_that_knows_every_key(waiting: Programme) -> None:
    schema = json.loads(waiting.cli("schema").out)
    assert {"version", "programme", "policy", "locations", "stores", "subject", "datasets"} <= set(schema["properties"])


def test_without_a_terminal_lines_are_plain(waiting: Programme) -> None:
    for words in (["status"], ["map"], ["verify"], ["erase"]):
        answer = waiting.process(*words)
        assert "\x1b" not in answer.out + answer.err
        assert max(map(len, answer.out.splitlines())) <= 200


def test_on_a_terminal_there_is_colour_and_progress(waiting: Programme) -> None:
    said = _on_a_terminal(waiting, "verify")
    assert "\x1b[" in said
    assert "all equal" in said


def test_no_color_is_respected_on_a_terminal(waiting: Programme) -> None:
    said = _on_a_terminal(waiting, "verify", NO_COLOR="1", TERM="dumb")
    assert "\x1b[32m" not in said
    assert "all equal" in said


def _on_a_terminal(programme: Programme, *words: str, **variables: str) -> str:
    """Run a command with a real pseudo-terminal as its output; return all it wrote."""
    ours, theirs = pty.openpty()
    environment = {**programme.environment, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm-256color", **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "domicile.cli", *words], cwd=programme.folder, env=environment, stdout=theirs,
        stderr=theirs, stdin=theirs,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while data := os.read(ours, 65536):
            said += data
    except OSError:  # the other end was closed: Linux says EIO
        pass
    finally:
        os.close(ours)
    assert 0 == process.wait()
    return said.decode()


def test_a_second_engine_is_kept_out(waiting: Programme) -> None:
    with Workspace(waiting.file).locked():
        assert "another domicile works" in waiting.cli("status", code=1).text
    waiting.cli("status")


@pytest.fixture
def heard() -> Iterator[None]:
    """Let children hear Ctrl-C, also where the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_interrupted_it_says_how_to_go_on(waiting: Programme) -> None:
    """Ctrl-C while it waits for a lock that somebody else holds on a table."""
    with psycopg.connect(waiting.source) as holder:
        holder.execute("LOCK TABLE invoice_line IN ACCESS EXCLUSIVE MODE")
        process = subprocess.Popen(
            [sys.executable, "-m", "domicile.cli", "verify"], cwd=waiting.folder,
            env={**waiting.environment, "PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        _await_waiter(holder)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (130, True) == (process.returncode, "run the same command again" in err), out + err
    assert "Traceback" not in err
    waiting.cli("verify")


def _await_waiter(holder: psycopg.Connection[tuple[int]]) -> None:
    query = b"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'invoice_line'::regclass"
    for _ in range(100_000):
        if holder.execute(query).fetchone() != (0,):
            return
    raise TimeoutError("nobody waits for the table")


def test_the_file_may_lie_elsewhere(programme: Begin, tmp_path: Path) -> None:
    begun = programme("chinook", {"CA": "ca"})
    (tmp_path / "other").mkdir()
    begun.file.rename(tmp_path / "other" / "it.yaml")
    begun.cli("map", "--file", "other/it.yaml")
    begun.cli("status", "-f", "other/it.yaml")
    assert (tmp_path / "other" / ".domicile").is_dir()
    assert not begun.made.exists()


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "domicile.cli", "--version"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (0, f"domicile {version('domicile')}\n") == (done.returncode, done.stdout)
