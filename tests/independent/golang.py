"""The program of the Go files here, built once by Debian's Go: the checksum database's own note and tlog libraries."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers import ROOT

SOURCES: Final = sorted(Path(__file__).parent.glob("*.go"))
CACHE: Final = ROOT / ".cache" / "go"
LIBRARIES: Final = "/usr/share/gocode"
"""Where Debian puts golang-golang-x-mod-dev."""
SECONDS_MAX: Final = 300


class Refused(Exception):
    """The program said no; its words are the reason."""


@dataclass(frozen=True)
class Sumdb:
    """The built program."""

    program: Path

    def __call__(self, *words: str | Path, given: bytes = b"") -> bytes:
        """Run one of its commands; Refused when it ends with another code than 0."""
        done = subprocess.run(
            [self.program, *map(str, words)], input=given, capture_output=True, check=False, timeout=SECONDS_MAX
        )
        if done.returncode:
            raise Refused(done.stderr.decode(errors="replace").strip())
        return done.stdout


def build() -> Sumdb:
    """Build it, unless that was done: the name holds the digest of the sources."""
    CACHE.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()
    program = CACHE / f"sumdb-{digest[:16]}"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            fresh = program.with_suffix(".new")
            subprocess.run(
                ["go", "build", "-o", fresh, *SOURCES],
                env={
                    "PATH": os.environ["PATH"], "HOME": str(CACHE), "GO111MODULE": "off", "GOPATH": LIBRARIES,
                    "GOCACHE": str(CACHE / "build"),  # no -trimpath: it would compile all of Go's own packages anew
                },
                check=True, timeout=SECONDS_MAX,
            )  # fmt: skip
            fresh.replace(program)
    return Sumdb(program)
