"""A real restic with a repository of its own, and what it backs up."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from tests.around.repository import quick_folder

PASSWORD: Final = "word-of-mouth"
HOST: Final = "db-1"
PLANTED: Final = b"a-value-that-is-told-from-all-others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A repository, a folder that is backed up into it, and room to restore."""

    folder: Path

    @property
    def repository(self) -> Path:
        return self.folder / "repo"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    def restic(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run restic by hand."""
        return subprocess.run(
            ["restic", "--no-cache", *words], env=self.environment(), check=True, capture_output=True, cwd="/"
        )

    def environment(self) -> dict[str, str]:
        return {**os.environ, "RESTIC_REPOSITORY": str(self.repository), "RESTIC_PASSWORD": PASSWORD}

    def back_up(self, *words: str, host: str = HOST, of: Path | None = None) -> str:
        """Take a snapshot of the folder as it is now; its name."""
        told = self.restic("backup", "--json", f"--host={host}", *words, str(of or self.data)).stdout
        return self.full(str(json.loads(told.splitlines()[-1])["snapshot_id"]))

    def full(self, short: str) -> str:
        """The whole name of a snapshot."""
        (found,) = (name for name in self.snapshots() if name.startswith(short))
        return found

    def snapshots(self) -> list[str]:
        """What restic lists, the oldest first."""
        return [str(one["id"]) for one in json.loads(self.restic("snapshots", "--json", "--no-lock").stdout) or ()]

    def packs(self) -> list[Path]:
        """The files in which everything lies."""
        return sorted(path for path in (self.repository / "data").rglob("*") if path.is_file())

    def keep(self, name: str) -> Path:
        """Copy the repository as it is, to be put back later."""
        return Path(shutil.copytree(self.repository, self.folder / name))

    def put_back(self, kept: Path) -> None:
        """Lay what was kept over what is there."""
        shutil.copytree(kept, self.repository, dirs_exist_ok=True)


@contextmanager
def machine() -> Iterator[Machine]:
    """Make an empty repository; all is gone afterwards."""
    made = Machine(folder=quick_folder("domicile-test-restic-"))
    try:
        made.data.mkdir()
        made.scratch.mkdir()
        made.restic("init")
        _ease(made.repository)
        yield made
    finally:
        shutil.rmtree(made.folder)


def _ease(repository: Path) -> None:
    """Write the repository's key file anew with the cheapest scrypt there is: each command costs half a second else.

    Format: restic's design, "Keys, Encryption and MAC": AES-256-CTR, then Poly1305-AES.
    """
    (path,) = (repository / "keys").iterdir()
    key = json.loads(path.read_bytes())
    sealed = base64.b64decode(key["data"])
    nonce, text = sealed[:16], sealed[16:-16]
    plain = _counter(_derived(key)[:32], nonce, text)
    key |= {"N": 2, "r": 1, "p": 1}
    derived = _derived(key)
    text = _counter(derived[:32], nonce, plain)
    key["data"] = base64.b64encode(nonce + text + _tag(derived[32:], nonce, text)).decode()
    data = json.dumps(key).encode()
    path.unlink()
    (path.parent / hashlib.sha256(data).hexdigest()).write_bytes(data)


def _derived(key: dict[str, Any]) -> bytes:
    salt = base64.b64decode(key["salt"])
    return hashlib.scrypt(
        PASSWORD.encode(), salt=salt, n=key["N"], r=key["r"], p=key["p"], dklen=64, maxmem=1024 * 1024 * 1024
    )


def _counter(key: bytes, nonce: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor().update(data)


def _tag(key: bytes, nonce: bytes, data: bytes) -> bytes:
    once = Cipher(algorithms.AES(key[:16]), modes.ECB()).encryptor().update(nonce)  # noqa: S305 - Poly1305-AES has it so
    return Poly1305.generate_tag(key[16:] + once, data)
