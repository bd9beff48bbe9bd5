"""A real S3 server for the tests: SeaweedFS on loopback, one a session, in a folder that is gone afterwards.

Beside S3 it shows what S3 hides: the filer's own address, which knows nothing of S3, the volume files on the disk,
and the shell that compacts them.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import boto3  # type: ignore[import-untyped]
import httpx
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from tests.servers import SCRATCH

LOOPBACK: Final = "127.0.0.1"
PORTS: Final = (10_000, 32_000)  # below those that Linux gives to connections going out
START_SECONDS_MAX: Final = 60
START_TRIES_MAX: Final = 3
SHELL_SECONDS_MAX: Final = 60
POLL_SECONDS: Final = 0.05
SERVICES: Final = ("master", "volume", "filer", "s3")
PROBE: Final = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A key pair, and what its owner may do."""

    key_id: str
    secret: str = field(repr=False)
    actions: tuple[str, ...]


OWNER: Final = Identity(
    key_id="owner-key", secret="owner-secret", actions=("Admin", "Read", "Write", "List", "Tagging")
)
READER: Final = Identity(key_id="reader-key", secret="reader-secret", actions=("Read", "List"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Weed:
    """A running server."""

    folder: Path
    ports: tuple[int, ...]

    @property
    def endpoint(self) -> str:
        """Where it speaks S3."""
        return f"http://{LOOPBACK}:{self._port('s3')}"

    @property
    def filer(self) -> str:
        """Where it speaks plain HTTP: `/buckets/BUCKET/KEY`."""
        return f"http://{LOOPBACK}:{self._port('filer')}"

    def client(self) -> Any:
        """A client of the tests' own: its owner's."""
        return _client(self.endpoint)

    def bucket(self, name: str) -> None:
        """Have a bucket: `plain`, `versioned`, or `locked`, which may lock objects."""
        client = self.client()
        with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=name == "locked")
            if name == "versioned":
                client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def compact(self) -> None:
        """Have the volume files written anew without what was deleted: no S3 request does that."""
        self._shell("lock", "volume.vacuum -garbageThreshold=0", "unlock")

    def _shell(self, *lines: str) -> str:
        """Run lines in the server's own shell; what it said."""
        answer = subprocess.run(
            [
                _program(),
                "shell",
                f"-master={LOOPBACK}:{self._port('master')}.{self._grpc('master')}",
                f"-filer={LOOPBACK}:{self._port('filer')}.{self._grpc('filer')}",
            ],
            input="\n".join([*lines, "exit", ""]),
            capture_output=True,
            text=True,
            check=True,
            timeout=SHELL_SECONDS_MAX,
            cwd=self.folder,
        )
        return answer.stdout + answer.stderr

    def on_disk(self, needle: bytes) -> int:
        """Count how often these bytes lie in the volume files."""
        return sum(path.read_bytes().count(needle) for path in (self.folder / "data").rglob("*.dat"))

    def _port(self, service: str) -> int:
        return self.ports[SERVICES.index(service)]

    def _grpc(self, service: str) -> int:
        return self.ports[len(SERVICES) + SERVICES.index(service)]

    def answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until it takes an object, which is later than it takes requests; False when it ended."""
        client, deadline = self.client(), time.monotonic() + START_SECONDS_MAX
        while process.poll() is None:
            with suppress(BotoCoreError, ClientError, httpx.TransportError):
                client.create_bucket(Bucket=PROBE)
                client.put_object(Bucket=PROBE, Key=PROBE, Body=b"")
                httpx.get(self.filer)
                return True
            if time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS took no object in {START_SECONDS_MAX} s; see {self.folder / 'weed.log'}")
            time.sleep(POLL_SECONDS)
        return False


@cache
def _client(endpoint: str) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=OWNER.key_id,
        aws_secret_access_key=OWNER.secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 2}),
    )


@contextmanager
def running() -> Iterator[Weed]:
    """Run a server until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-weed-", dir=SCRATCH))
    try:
        (folder / "data").mkdir()
        (folder / "s3.json").write_text(json.dumps({"identities": [_entry(OWNER), _entry(READER)]}), encoding="utf-8")
        with _started(folder) as weed:
            yield weed
    finally:
        shutil.rmtree(folder)


@contextmanager
def _started(folder: Path) -> Iterator[Weed]:
    for _ in range(START_TRIES_MAX):
        weed = Weed(folder=folder, ports=tuple(free_ports(2 * len(SERVICES))))
        with (folder / "weed.log").open("ab") as log:
            process = subprocess.Popen(_command(weed), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
        try:
            if weed.answers(process):
                yield weed
                return
        finally:
            process.kill()  # asked to stop, it waits half a minute for its own parts
            process.wait()
    raise RuntimeError(f"SeaweedFS ended {START_TRIES_MAX} times as it started; see {folder / 'weed.log'}")


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on now, each another."""
    found: list[int] = []
    while len(found) < count:
        port = PORTS[0] + secrets.randbelow(PORTS[1] - PORTS[0])
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            if port not in found:
                found.append(port)
    return found


def _entry(identity: Identity) -> dict[str, object]:
    pair = {"accessKey": identity.key_id, "secretKey": identity.secret}
    return {"name": identity.key_id, "credentials": [pair], "actions": list(identity.actions)}


def _command(weed: Weed) -> list[str]:
    pairs = zip(SERVICES, weed.ports[: len(SERVICES)], weed.ports[len(SERVICES) :], strict=True)
    listening = [
        option for name, port, grpc in pairs for option in (f"-{name}.port={port}", f"-{name}.port.grpc={grpc}")
    ]
    return [
        _program(),
        "-logtostderr=true",
        "server",
        f"-dir={weed.folder / 'data'}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-filer",
        "-s3",
        *listening,
        f"-s3.config={weed.folder / 's3.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.peers=none",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=100",
    ]


def _program() -> str:
    """Return the path of `weed`, which the wheel puts beside the interpreter."""
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise FileNotFoundError("no weed program here; run `make test`, which installs it")
    return found
