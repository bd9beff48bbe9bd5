"""Pagila with archived log, dumps and base backups from before the move, and another tool to look for Canadians."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pytest

from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from tests.around.conftest import Archiving
from tests.databases import load_pagila
from tests.main.programme import Programme
from tests.servers import SCRATCH, Databases, create_database, own_server

CANADIANS: Final = """
    SELECT email FROM customer JOIN address USING (address_id) JOIN city USING (city_id) JOIN country USING (country_id)
    WHERE country = 'Canada'
"""
PLANTED: Final = "somebody-took-this-along.gz"
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Backed:
    """Pagila on a server of its own, and the folders beside it."""

    server: EmbeddedServer
    source: str
    archive: Path
    dumps: Path
    emails: Path
    """Canadians' addresses, one a line, as grep wants them."""

    def found_in(self, *folders: Path) -> set[str]:
        """The names of the files in which grep finds one of the addresses."""
        command = ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", f"--file={self.emails}"]
        done = subprocess.run([*command, *folders], capture_output=True, text=True, check=False)
        assert done.returncode in {0, 1}, done.stderr
        return {Path(line).name for line in done.stdout.splitlines()}

    def call(self, program: str, *options: str) -> bytes:
        """Run a program of PostgreSQL's against the source."""
        path = find_client(program, at_least_major=18)
        return subprocess.run([path, *options], check=True, capture_output=True).stdout


@pytest.fixture
def backed() -> Iterator[Backed]:
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-backed-", dir=SCRATCH))
    archive, dumps = folder / "archive", folder / "dumps"
    for path in (folder, archive, dumps):
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
    parameters = {
        "archive_mode": "on", "archive_command": f"cp %p {archive}/%f", "autovacuum": "off", "fsync": "off",
        "max_wal_size": "64MB", "min_wal_size": "48MB",
    }  # fmt: skip
    try:
        with own_server("backed", parameters=parameters) as server:
            source = create_database(server, "pagila")
            load_pagila(source)
            with psycopg.connect(source) as connection:
                emails = [row[0] for row in connection.execute(CANADIANS).fetchall()]
            assert 5 == len(emails)
            (folder / "emails.txt").write_text("\n".join(emails), encoding="utf-8")
            yield Backed(server=server, source=source, archive=archive, dumps=dumps, emails=folder / "emails.txt")
    finally:
        shutil.rmtree(folder)


def test_p3_pagila_leaves_nothing_in_what_was_backed_up_but_what_was_planted(
    backed: Backed, pg18: EmbeddedServer, database: Databases, tmp_path: Path
) -> None:
    for name, form in (("custom.dump", "custom"), ("dump.tar", "tar"), ("directory", "directory")):
        backed.call(
            "pg_dump", f"--dbname={backed.source}", f"--format={form}", "--compress=0", f"--file={backed.dumps / name}"
        )
    base = ("pg_basebackup", f"--dbname={backed.source}", "--checkpoint=fast", "--no-sync")
    backed.call(*base, f"--pgdata={backed.dumps / 'plain'}")
    backed.call(*base, f"--pgdata={backed.dumps / 'packed'}", "--format=tar", "--gzip")
    Archiving(server=backed.server, folder=backed.archive).settle()
    planted = backed.dumps / PLANTED
    planted.write_bytes(gzip.compress((backed.dumps / "custom.dump").read_bytes()))
    os.utime(planted, (time.time() + DAY_S,) * 2)  # whoever copied it didn't keep its date
    before = backed.found_in(backed.archive, backed.dumps, backed.server.data_directory)
    assert {"custom.dump", "dump.tar"} < before
    assert any(len(name) == 24 for name in before)  # segments of the log

    programme = Programme(folder=tmp_path, source=backed.source, homes={"ca": database(pg18)})
    programme.draft({"CA": "ca"})
    folders = {"wal": ("archive", backed.archive), "dumps": ("dumps", backed.dumps)}
    lines = (
        f"  {name}: {{kind: {kind}, location: source, of: app, path: {path}, removed_by: engine}}\n"
        for name, (kind, path) in folders.items()
    )
    programme.edit("home_of: app}\n", "home_of: app}\n" + "".join(lines))
    programme.move()
    programme.finish()

    assert set() == backed.found_in(backed.archive, backed.dumps, backed.server.data_directory)
    (baseline,) = backed.dumps.glob("domicile-after-erasure-*.dump")
    assert {PLANTED, baseline.name} == {path.name for path in backed.dumps.iterdir()}
    text = backed.call("pg_restore", "--file=-", str(baseline))
    assert [] == [line for line in backed.emails.read_bytes().splitlines() if line in text]
    around = {copy: verdict for copy, verdict in programme.verdicts().items() if copy.startswith(("wal/", "dumps/"))}
    assert "present" == around.pop(f"dumps/dump:{PLANTED}")
    assert {"erased-verified"} == set(around.values())
    assert 8 == len(around)  # two of the archive, three dumps, two base backups, and what else is there
    (told,) = (copy for copy in programme.status()["copies"] if copy["id"] == f"dumps/dump:{PLANTED}")
    assert f"first in {PLANTED}" in told["why"]
