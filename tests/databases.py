"""Databases that nobody here wrote, loaded by the real psql: Pagila, Chinook (both variants), Northwind.

`tests/data/*/README.md` says where each is from and how it is loaded; `tests/data/ANSWERS.md` has the counts.
Loading takes a second, copying a loaded database 0.1 s: `sample` loads once a session and server.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import create_database

DATA: Final = Path(__file__).resolve().parent / "data"
OWN_DATABASE_LINES: Final = re.compile(r"^(DROP DATABASE|CREATE DATABASE|\\c ).*$", re.MULTILINE)


def load_pagila(dsn: str) -> None:
    """Load Pagila: 15 tables, 49,636 rows. The server needs a role `postgres`; our servers have it."""
    _psql(dsn, (DATA / "pagila" / "pagila-schema.sql").read_text(encoding="utf-8"))
    _psql(dsn, (DATA / "pagila" / "pagila-data.sql").read_text(encoding="utf-8"))


def load_chinook(dsn: str, *, identity: bool) -> None:
    """Load Chinook: 11 tables, 15,607 rows; `identity` chooses the variant whose keys the server makes."""
    variant = "Chinook_PostgreSql_AutoIncrementPKs.sql" if identity else "Chinook_PostgreSql.sql"
    script = (DATA / "chinook" / variant).read_text(encoding="utf-8")
    _psql(dsn, OWN_DATABASE_LINES.sub("", script))


def load_northwind(dsn: str) -> None:
    """Load Northwind: 14 tables, 3,362 rows."""
    _psql(dsn, (DATA / "northwind" / "northwind.sql").read_text(encoding="utf-8"))


SAMPLES: Final[dict[str, Callable[[str], None]]] = {
    "pagila": load_pagila,
    "chinook": lambda dsn: load_chinook(dsn, identity=False),
    "chinook_identity": lambda dsn: load_chinook(dsn, identity=True),
    "northwind": load_northwind,
}

_loaded: set[tuple[str, int, str]] = set()


def sample_template(server: EmbeddedServer, name: str) -> str:
    """Return the name of a database on `server` that holds the sample, to be copied, never written."""
    template = f"sample_{name}"
    if (server.name, server.port, name) not in _loaded:
        SAMPLES[name](create_database(server, template))
        _loaded.add((server.name, server.port, name))
    return template


def _psql(dsn: str, script: str) -> None:
    # No user's psqlrc; the newest client, because the wheel's always is there.
    program = find_client("psql", at_least_major=15)
    done = subprocess.run(
        [program, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", f"--dbname={dsn}"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"psql: {done.stderr[-500:]}")
