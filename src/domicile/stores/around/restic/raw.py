"""The files of a repository as they lie there: which of them nobody refers to, and which aren't what their name says.

Everything but `config` is named after the SHA-256 of its bytes (restic's design, "Repository layout"), so a flipped bit
shows without the password. Names of packs lie in `data/`, in a folder of their first two digits.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domicile.errors import NotPermitted

FILES_MAX: Final = 50_000_000
HASHED_BYTES: Final = 1024 * 1024
_NAMED: Final = re.compile(r"(?:data/[0-9a-f]{2}|index|keys|locks|snapshots)/(?P<digest>[0-9a-f]{64})")
_PACK: Final = re.compile(r"data/(?P<folder>[0-9a-f]{2})/(?P<name>(?P=folder)[0-9a-f]{62})")
_NOISE: Final = re.compile(r"(?:data/[0-9a-f]{2}|index|snapshots)/[0-9a-f]{64}")
"""Encrypted from the first byte to the last; `config`, keys and locks aren't, or not wholly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """One file of the repository, by its path there; `strange` says why its bytes can't be had, empty: they can."""

    path: str
    bytes: int
    links: int = 1
    strange: str = ""

    @property
    def pack(self) -> str | None:
        """Its name as a pack, if it has one."""
        match = _PACK.fullmatch(self.path)
        return match["name"] if match and not self.strange else None

    @property
    def in_data(self) -> bool:
        """Whether it lies where packs lie."""
        return self.path.startswith("data/")

    @property
    def is_noise(self) -> bool:
        """Whether it is encrypted as a whole, if it is what its name says."""
        return not self.strange and _NOISE.fullmatch(self.path) is not None


def raw_files(repository: Path, *, store: str) -> Iterator[RawFile]:
    """List every file of a repository, by name; links aren't followed. NotPermitted where a folder can't be listed."""
    try:
        yield from _below(str(repository), "")
    except OSError as fault:
        raise NotPermitted(
            f"store {store}: {repository} can't be listed ({fault.strerror}); check `repository`, and run as a user "
            "who may read it"
        ) from None


def _below(folder: str, prefix: str) -> Iterator[RawFile]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = f"{prefix}{entry.name}"
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _below(entry.path, f"{path}/")
        elif stat.S_ISREG(status.st_mode):
            yield RawFile(path=path, bytes=status.st_size, links=status.st_nlink)
        else:
            strange = "a symbolic link to elsewhere" if stat.S_ISLNK(status.st_mode) else "no plain file"
            yield RawFile(path=path, bytes=0, strange=strange)


def is_what_its_name_says(repository: Path, file: RawFile) -> bool:
    """Whether a file's bytes have the digest that is its name; True of one that has no such name, or went away."""
    match = _NAMED.fullmatch(file.path)
    if match is None:
        return True
    found = hashlib.sha256()
    try:
        with (repository / file.path).open("rb") as handle:
            while block := handle.read(HASHED_BYTES):
                found.update(block)
    except FileNotFoundError:
        return True
    return found.hexdigest() == match["digest"]
