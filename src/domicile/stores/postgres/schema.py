"""The home's schema, made by the real pg_dump: pre-data before the rows, post-data after them.

The archive's table of contents is filtered, so that neither our staging nor our triggers come along; the SQL
runs in one transaction together with its mark, so a section is there as a whole or not at all. Owners and grants stay
behind: roles of the source mean nothing at home (ADR 0004).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from domicile.errors import HostFault, StoreFault
from domicile.stores.postgres.feed.triggers import LOG
from domicile.stores.postgres.fence import GUARD
from domicile.stores.postgres.names import DIRECTORY, STAGING
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.publishing.arrivals import ARRIVAL, SCHEMA

TIMEOUT_S_MAX = 3_600
STDERR_CHARS_MAX = 400
HEADER_LINES_MAX = 24
EMPTY_PATH = "SELECT pg_catalog.set_config('search_path', '', false);"
SESSION_LINES = ("SET transaction_timeout", "\\restrict ", "\\unrestrict ", EMPTY_PATH)


class Part(StrEnum):
    """What of the section is wanted: foreign keys apart, as they hold only once all rows are of one moment."""

    ALL = "all"
    WITHOUT_FOREIGN_KEYS = "without foreign keys"
    FOREIGN_KEYS = "foreign keys"


def dump_section(dsn: str, *, server_major: int, section: str, store: str, part: Part = Part.ALL) -> str:
    """Return the SQL of `pre-data` or `post-data` of the source, or a part of it, without our own objects.

    Raises HostFault when no pg_dump of that major or newer is here, StoreFault when it fails.
    """
    with tempfile.TemporaryDirectory(prefix="domicile-schema-") as folder:
        archive = Path(folder) / "schema.dump"
        _run(
            "pg_dump", server_major, dsn, store,
            ["--format=custom", "--schema-only", "--no-owner", "--no-acl", "--no-publications", "--no-subscriptions",
             "--no-security-labels", "--no-tablespaces", f"--exclude-schema={STAGING}", f"--exclude-schema={DIRECTORY}",
             f"--exclude-schema={SCHEMA}", f"--file={archive}"],
        )  # fmt: skip
        listing = _run("pg_restore", server_major, None, store, ["--list", str(archive)])
        chosen = Path(folder) / "contents"
        chosen.write_text(
            "\n".join(line for line in listing.split("\n") if not _ours(line) and _is_of(line, part)), encoding="utf-8"
        )
        script = _run(
            "pg_restore", server_major, None, store,
            [f"--section={section}", f"--use-list={chosen}", "--no-owner", "--no-acl", "--file=-", str(archive)],
        )  # fmt: skip
    return _without_session_lines(script)


def _without_session_lines(script: str) -> str:
    """Drop what only psql or newer servers know, in header and last lines alone: function bodies may hold anything."""
    lines = script.split("\n")
    kept = [
        line
        for number, line in enumerate(lines)
        if not (
            line.startswith(SESSION_LINES) and (number < HEADER_LINES_MAX or number > len(lines) - HEADER_LINES_MAX)
        )
    ]
    return "\n".join(kept)


def _is_of(line: str, part: Part) -> bool:
    """Whether a line of the table of contents (`12; 2606 16385 FK CONSTRAINT schema name owner`) is of the part."""
    if part is Part.ALL or not line or line.startswith(";"):
        return True
    kind = line.split(";", 1)[-1].split(maxsplit=2)[2:]
    return (bool(kind) and kind[0].startswith("FK CONSTRAINT ")) == (part is Part.FOREIGN_KEYS)


def _ours(line: str) -> bool:
    words = line.split()
    return "TRIGGER" in words and any(word.startswith((GUARD, LOG, ARRIVAL)) for word in words)


def environment_of(dsn: str) -> Mapping[str, str]:
    """Connection parameters as libpq's environment, so that no password stands in a process list."""
    names = {
        "host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
        "dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT",
        "sslkey": "PGSSLKEY", "service": "PGSERVICE", "passfile": "PGPASSFILE", "options": "PGOPTIONS",
    }  # fmt: skip
    given = conninfo_to_dict(dsn)
    return {variable: str(given[name]) for name, variable in names.items() if given.get(name) is not None}


def _run(program: str, major: int, dsn: str | None, store: str, arguments: list[str]) -> str:
    path = find_client(program, at_least_major=major)
    variables = {**os.environ, **(environment_of(dsn) if dsn else {}), "PGCLIENTENCODING": "UTF8"}  # noqa: TID251
    try:
        done = subprocess.run(
            [str(path), *arguments], env=variables, capture_output=True, timeout=TIMEOUT_S_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise HostFault(f"{program} of store {store} took longer than {TIMEOUT_S_MAX} s; look at locks there") from None
    except OSError as fault:
        raise HostFault(f"{path} can't be run: {fault.strerror}") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()[-STDERR_CHARS_MAX:]
        raise StoreFault(f"store {store}: {program} failed: {words}; the role needs SELECT on all tables it dumps")
    return done.stdout.decode()
