"""A programme driven through the command line, as a person would: draft, the few edits, plan, apply, approve, erase.

`Programme.cli` runs the real entry point in this process (a start of Python costs two seconds), `Programme.process`
in a process of its own. Everything that was ever shown is kept, so that a test can search it.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from domicile.cli import main
from tests.servers import ROOT

APPROVERS: Final = ("operator", "monitor")
OWN_VARIABLES: Final = ("PATH", "LANG", "HOME", "TMPDIR")
PROCESS_SECONDS_MAX: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All of it, in one line, so that a line break is no difference."""
        return " ".join((self.out + " " + self.err).split())

    def json(self) -> Any:
        """The one JSON value on standard output; anything else there is a fault."""
        return json.loads(self.out)


@dataclass(slots=True, kw_only=True)
class Programme:
    """One folder with a domicile.yaml, and the databases that it is about."""

    folder: Path
    source: str
    homes: dict[str, str]
    shown: list[str] = field(default_factory=list)
    holders: Mapping[str, str] = field(default_factory=dict)
    """What the environment says of where keys lie, if not in files."""

    @property
    def file(self) -> Path:
        """The programme's file."""
        return self.folder / "domicile.yaml"

    @property
    def made(self) -> Path:
        """The folder that the engine makes."""
        return self.folder / ".domicile"

    @property
    def environment(self) -> dict[str, str]:
        """What the file's references point to; nothing of the user's own libpq settings."""
        kept = {name: os.environ[name] for name in OWN_VARIABLES if name in os.environ}
        homes = {f"APP_{name.upper()}_DSN": dsn for name, dsn in self.homes.items()}
        return {**kept, "APP_DSN": self.source, **homes, **self.holders}

    def cli(self, *words: str, code: int = 0) -> Answer:
        """Run `domicile WORDS` here; the exit code must be `code`."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            ended = self.call(*words)
        return self._answered(words, Answer(code=ended, out=out.getvalue(), err=err.getvalue()), code)

    def call(self, *words: str) -> int:
        """Run `domicile WORDS` here, to wherever standard output leads; return the exit code."""
        with _standing(self.folder, self.environment, ("domicile", *words)):
            return _exit_code()

    def process(self, *words: str, code: int = 0) -> Answer:
        """Run `domicile WORDS` in a process of its own; the exit code must be `code`."""
        return self._program("domicile.cli", words, code)

    def audit(self, *words: str, code: int = 0) -> Answer:
        """Run `domicile-audit` on the bundle, a process of its own; with the run's own policy unless words name one."""
        if "--trust" not in words:
            policy = self.folder / "own-policy.txt"
            policy.write_text(self.cli("log", "policy").out, encoding="utf-8")
            words = (*words, "--trust", str(policy))
        return self._program("domicile_audit", (str(self.made / "bundle.zip"), *words), code)

    def _program(self, module: str, words: Sequence[str], code: int) -> Answer:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", module, *words],
            cwd=self.folder, env={**self.environment, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True,
            check=False, timeout=PROCESS_SECONDS_MAX,
        )  # fmt: skip
        return self._answered(words, Answer(code=done.returncode, out=done.stdout, err=done.stderr), code)

    def _answered(self, words: Sequence[str], answer: Answer, code: int) -> Answer:
        self.shown += [answer.out, answer.err]
        assert answer.code == code, f"domicile {' '.join(words)}: {answer.code}, not {code}\n{answer.out}{answer.err}"
        assert "Traceback" not in answer.out + answer.err
        return answer

    # -- the steps of a person -----------------------------------------------------------------------------------

    def draft(self, markets: Mapping[str, str], *, sources: Sequence[str] = ()) -> Answer:
        """`domicile init`, and what a person must add: a key of each approver."""
        words = [word for market, home in markets.items() for word in ("--market", f"{market}={home}")]
        words += [word for source in sources for word in ("--from", source)]
        answer = self.cli("init", "--dsn", "env:APP_DSN", *words)
        keys = [(name, self.cli("keys", "new", name, "--json").json()["vkey"]) for name in APPROVERS]
        lines = "".join(f'    {name}: "{line}"\n' for name, line in keys)
        self.edit("\nlocations:\n", f"  keys:\n{lines}\nlocations:\n")
        return answer

    def edit(self, old: str, new: str) -> None:
        """Change one place of the file."""
        text = self.file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the draft"
        self.file.write_text(text.replace(old, new), encoding="utf-8")

    def approve(self) -> None:
        """Both approvers sign."""
        for name in APPROVERS:
            self.cli("approve", "--key", f"{name}.key", "--role", name)

    def move(self) -> None:
        """From the plan to the point where it waits for approvals."""
        self.cli("plan")
        self.cli("apply", code=14)

    def finish(self) -> Answer:
        """Approve, erase, sweep, certify."""
        self.approve()
        return self.cli("apply", "--yes")

    # -- what can be asked afterwards ----------------------------------------------------------------------------

    def status(self) -> Any:
        """`domicile status` as values."""
        return self.cli("status", "--json").json()

    def verdicts(self) -> dict[str, str]:
        """Copy → verdict."""
        return {copy["id"]: copy["verdict"] for copy in self.status()["copies"]}

    def statements(self) -> list[str]:
        """Kinds of the statements in the log, in order."""
        return [one["kind"] for one in self.cli("log", "list", "--json").json()]


def ask(dsn: str, query: str) -> list[tuple[Any, ...]]:
    """Rows of a hand-written query."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def value(dsn: str, query: str) -> Any:
    """The one value of a hand-written query."""
    ((found,),) = ask(dsn, query)
    return found


def run(dsn: str, script: str) -> None:
    """Run statements and commit."""
    with psycopg.connect(dsn) as connection:
        connection.execute(script.encode())


def _exit_code() -> int:
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@contextmanager
def _standing(folder: Path, environment: Mapping[str, str], words: Sequence[str]) -> Iterator[None]:
    """Be in a folder, with an environment and a command line, as a process of its own would."""
    before, kept, argv = Path.cwd(), dict(os.environ), sys.argv
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = list(words)
        yield
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(kept)
        os.chdir(before)
