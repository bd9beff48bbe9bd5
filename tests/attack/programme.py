"""A programme on a test's own databases: a `domicile.yaml`, approvers with keys, and the steps that a person takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from domicile import config
from domicile.approving import approve
from domicile.errors import Waiting
from domicile.evidence.bundle import trust_policy
from domicile.evidence.keys import Signer, load_signer, save_signer
from domicile.evidence.predicates import EqualityPredicate
from domicile.host import Host
from domicile.record.workspace import Workspace
from domicile.run import Run, Stage
from tests.servers import ROOT

APPROVERS: Final = ("operator", "monitor")
PERSON: Final = """
subject:
  dataset: app.public.person
  key: id
  market: {field: market}
"""
"""The subject of most schemas here: `person (id, market)`."""


@dataclass(slots=True, kw_only=True)
class Programme:
    """A folder with a programme in it; `environment` holds the connection strings it refers to."""

    folder: Path
    environment: Mapping[str, str] = field(repr=False)

    @property
    def workspace(self) -> Workspace:
        """The folder as the engine sees it."""
        return Workspace(self.folder / "domicile.yaml")

    @contextmanager
    def opened(self) -> Iterator[Run]:
        """The programme, opened as a command opens it."""
        parsed, data = config.read(self.folder / "domicile.yaml")
        host = Host(environment=self.environment)
        with Run.opened(self.workspace, parsed, data, host=host) as run:
            yield run

    def plan(self) -> None:
        with self.opened() as run:
            run.plan()

    def apply(self, *, until: Stage = Stage.CERTIFY, yes: bool = False) -> None:
        with self.opened() as run:
            run.apply(until=until, yes=yes)

    def approve(self) -> None:
        with self.opened() as run:
            self.approve_in(run)

    def approve_in(self, run: Run) -> None:
        """The same where the programme is open already."""
        for name in APPROVERS:
            approve(run, self.folder / f"{name}.key", name)

    def clear(self) -> None:
        """Everything up to the moment before the first row is erased."""
        self.plan()
        self.clear_again()

    def clear_again(self) -> None:
        """The same with the plan that is there."""
        try:
            self.apply()
        except Waiting:
            self.approve()
            return
        raise AssertionError("the engine did not wait for approvals")

    def finish(self) -> None:
        """All of it."""
        self.clear()
        self.apply(yes=True)

    def audit(self) -> subprocess.CompletedProcess[str]:
        """Run the auditor's program with the keys as they were handed over before."""
        with self.opened() as run:
            trust = trust_policy(run.signer.verifier, run.ledger.plan().approvals)
        policy = self.folder / "trust.txt"
        policy.write_text(trust, encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-m", "domicile_audit", str(self.workspace.bundle), "--trust", str(policy)],
            env=self._variables(), capture_output=True, text=True, check=False,
        )  # fmt: skip

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the command line, as a person does."""
        return subprocess.run(
            [sys.executable, "-m", "domicile.cli", *words], cwd=self.folder, env=self._variables(),
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def start(
        self, *words: str, entry: tuple[str, ...] = ("-m", "domicile.cli"), **variables: str
    ) -> subprocess.Popen[str]:
        """Begin a command and give its process; `variables` are added to its environment."""
        return subprocess.Popen(
            [sys.executable, *entry, *words], cwd=self.folder, env={**self._variables(), **variables}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _variables(self) -> dict[str, str]:
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        return {**os.environ, **self.environment, "PYTHONPATH": paths}


def make(folder: Path, rules: str, *, source: str, homes: Mapping[str, str], unknown: str = "stay") -> Programme:
    """Write `domicile.yaml` and keys; `homes` is market → DSN, `rules` the YAML from `subject:` on."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in APPROVERS:
        if not (folder / f"{name}.key").exists():
            save_signer(folder / f"{name}.key", Signer(name=name, seed=os.urandom(32)))
    (folder / "domicile.yaml").write_text(_head(folder, homes, unknown) + rules, encoding="utf-8")
    environment = {"APP_DSN": source, **{f"HOME_{market}": dsn for market, dsn in homes.items()}}
    return Programme(folder=folder, environment=environment)


def allow_one(programme: Programme) -> None:
    """Have one approval be enough; before the plan."""
    file = programme.folder / "domicile.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("threshold: 2", "threshold: 1"), encoding="utf-8")


def call_lost(programme: Programme, name: str) -> None:
    """That approver says that the key was lost, and what it signed since the comparison void."""
    with programme.opened() as run:
        compared = run.last(EqualityPredicate)
    assert compared is not None
    said = programme.command(
        "keys", "revoke", "--key", f"{name}.key", "--why", "stolen", "--stands", str(compared.index + 1)
    )
    assert 0 == said.returncode, said.stderr


def _head(folder: Path, homes: Mapping[str, str], unknown: str) -> str:
    keys = "\n".join(f'    {name}: "{load_signer(folder / f"{name}.key").verifier.vkey}"' for name in APPROVERS)
    lines = [
        "version: 1",
        "programme: {name: attack}",
        "policy:",
        f"  homes: {{{', '.join(f'{market}: {market.lower()}' for market in homes)}}}",
        f"  unknown_market: {unknown}",
        "  approvals: {erase: {threshold: 2, of: [operator, monitor]}}",
        "  keys:",
        keys,
        "locations:",
        "  here: {country: SG, operator: Origin Ltd}",
        *(f"  {market.lower()}: {{country: {market}, operator: Home Inc}}" for market in homes),
        "stores:",
        "  app: {kind: postgresql, location: here, dsn: env:APP_DSN}",
        *(
            f"  app-{market.lower()}: {{kind: postgresql, location: {market.lower()}, dsn: env:HOME_{market},"
            " home_of: app}"
            for market in homes
        ),
    ]
    return "\n".join(lines) + "\n"
