"""What lies at the source of a demo that stays up, found by programs not ours: grep, pg_restore, pgBackRest, boto3."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import boto3  # type: ignore[import-untyped]
import psycopg

from domicile.stores.postgres.programs import find_client

HOMES: Final = ("US", "CA", "AU")
BUCKET: Final = "shortvideo-sg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Files that hold an address of who moved, or of who stays; versions of movers' objects; addresses looked for."""

    searched: int
    holding_movers: list[str]
    holding_stayers: list[str]
    versions: int


def look_outside(folder: Path) -> Outside:
    """Look through all that the service of this demo keeps at its source."""
    said = [line.removeprefix("export ").split("=", 1) for line in _lines(folder / "service" / "service.env")]
    known = {name: shlex.split(value)[0] for name, value in said}
    moved = set[tuple[str, str]]()
    for home in HOMES:
        with psycopg.connect(known[f"SERVICE_{home}_DSN"]) as line:
            moved.update(line.execute("SELECT id::text, email::text FROM app.users WHERE email IS NOT NULL").fetchall())
    with psycopg.connect(known["SERVICE_DSN"], autocommit=True) as line:
        line.execute("CHECKPOINT")
        stay = [row[0] for row in line.execute("SELECT email::text FROM app.users WHERE email IS NOT NULL").fetchall()]
        row = line.execute("SHOW data_directory").fetchone()
        assert row
    servers = Path(row[0]).parents[1]
    with (
        _restored(servers / "backups" / "dumps") as dumps,
        _restored_repository(servers / "backups" / "repository-sg") as (backup, unpacked),
    ):
        places = {
            "sg": servers / "sg" / "data", "standby": servers / "standby" / "data",
            "wal": servers / "backups" / "wal", "files": servers / "backups" / "dumps", "dumps": dumps,
            "backup": backup, "repository": unpacked,
        }  # fmt: skip
        mails = {mail for _, mail in moved}
        return Outside(
            searched=len(mails),
            holding_movers=[found for name, path in places.items() for found in _holding(name, path, mails)],
            holding_stayers=[found for name, path in places.items() for found in _holding(name, path, stay)],
            versions=_versions(known, {number for number, _ in moved}),
        )


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _holding(name: str, folder: Path, words: Collection[str]) -> list[str]:
    """Name the files that hold one of the words, byte by byte."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write("".join(word + "\n" for word in words))
        file.flush()
        found = subprocess.run(
            ["grep", "-rlaF", f"--file={file.name}", "."], cwd=folder, capture_output=True, text=True, check=False
        )
    assert found.returncode < 2, found.stderr
    return [f"{name}/{path.removeprefix('./')}" for path in found.stdout.splitlines()]


@contextmanager
def _restored(dumps: Path) -> Iterator[Path]:
    """What pg_restore makes of each dump."""
    with tempfile.TemporaryDirectory() as folder:
        for dump in dumps.glob("*.dump"):
            command = [str(find_client("pg_restore", at_least_major=18)), f"--file={folder}/{dump.stem}.sql", str(dump)]
            subprocess.run(command, check=True, capture_output=True)
        yield Path(folder)


@contextmanager
def _restored_repository(folder: Path) -> Iterator[tuple[Path, Path]]:
    """What `pgbackrest restore` makes of its newest backup, and all its files, unpacked; empty where there is none."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        backup, unpacked = Path(name) / "backup", Path(name) / "unpacked"
        backup.mkdir()
        unpacked.mkdir()
        if (folder / "repo").is_dir():
            owner = (folder / "repo").stat()
            Path(name).chmod(0o711)
            os.chown(backup, owner.st_uid, owner.st_gid)
            command = [
                "pgbackrest", f"--config={folder}/pgbackrest.conf", "--stanza=service", f"--pg1-path={backup}",
                "--type=none", "--archive-mode=off", "restore",
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True, cwd="/", user=owner.st_uid, group=owner.st_gid)
            for number, path in enumerate(path for path in (folder / "repo").rglob("*") if path.is_file()):
                (unpacked / f"{number}-{path.name}").write_bytes(_unpacked(path.read_bytes()))
        yield backup, unpacked


def _unpacked(data: bytes) -> bytes:
    """Every gzip stream of a file, one behind the other, as pgBackRest bundles them; a plain file as it is."""
    found = b""
    while data:
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            found += stream.decompress(data)
        except zlib.error:
            return found + data
        data = stream.unused_data
    return found


def _versions(known: dict[str, str], people: Collection[str]) -> int:
    """How many versions and markers the bucket lists under the keys of these people."""
    client = boto3.client(
        "s3", endpoint_url=known["SERVICE_S3_ENDPOINT"], aws_access_key_id=known["SERVICE_S3_KEY"],
        aws_secret_access_key=known["SERVICE_S3_SECRET"], region_name="us-east-1",
    )  # fmt: skip
    keys = [
        one["Key"]
        for page in client.get_paginator("list_object_versions").paginate(Bucket=BUCKET, Prefix="u/")
        for kind in ("Versions", "DeleteMarkers")
        for one in page.get(kind, ())
    ]
    return sum(key.split("/")[1] in people for key in keys)
