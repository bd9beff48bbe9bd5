"""Runs `domicile init --from` as a person does: in the application's folder, against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from domicile.catalogue import Catalogue
from domicile.config import Config, load
from domicile.config.rules import DatasetRule
from domicile.model import Scope
from domicile.plan.resolve import resolve
from domicile.stores.postgres.catalogue import read_catalogue
from tests.servers import ROOT

APPLICATIONS = ROOT / "tests" / "data" / "applications"


@dataclass(frozen=True, slots=True, kw_only=True)
class Initiated:
    """What the program said, and the draft that it wrote."""

    code: int
    said: str
    text: str
    dsn: str

    @property
    def config(self) -> Config:
        return load(self.text.encode())

    @property
    def catalogue(self) -> Catalogue:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            return read_catalogue(conn)

    def scope(self) -> Scope:
        return resolve(self.config, self.catalogue)

    def rule(self, name: str) -> DatasetRule:
        return self.config.datasets[f"app.{name}"]

    def hops(self, name: str) -> list[list[tuple[str, str | None, str | None]]]:
        """The paths of a dataset, hop by hop: column or reference, parent, condition."""
        return [[(",".join(hop.via), hop.to, hop.when) for hop in way.path] for way in self.rule(name).paths]


def load_script(dsn: str, name: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute(sql.SQL((APPLICATIONS / name).read_text(encoding="utf-8")))


def init(dsn: str, folder: Path, *sources: str, where: Path = APPLICATIONS, more: tuple[str, ...] = ()) -> Initiated:
    """Draft `folder/domicile.yaml` with `--from` each source, in the folder `where`."""
    file = folder / "domicile.yaml"
    command = [sys.executable, "-m", "domicile.cli", "init", "--dsn", "env:APP_DSN", "--market", "CA=ca"]
    command += [part for source in sources for part in ("--from", source)]
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HOME": "/nonexistent", "APP_DSN": dsn,
        "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200",
    }  # fmt: skip
    done = subprocess.run(
        [*command, "--file", str(file), *more], cwd=where, env=environment, capture_output=True, text=True, check=False
    )
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return Initiated(code=done.returncode, said=done.stdout + done.stderr, text=text, dsn=dsn)
