"""Canaries: words that nobody can guess, planted by hand before a move and looked for after the erasure.

An operator's stand in a file that the sweep reads. An auditor's are sealed: the log holds a hash of them and of a salt
before anything may be erased, and they are told only afterwards, so that nobody could spare them. Pure, but for the
files of the auditor.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domicile.errors import BadFile, HostFault
from domicile.host import Host, write_new

WORDS_MAX: Final = 10_000
WORD: Final = re.compile(r"[a-z0-9]{16,64}")
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
FILE_BYTES_MAX: Final = 1024 * 1024
SALT_BYTES: Final = 32
_ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 signs, none like another
_WORD_SIGNS: Final = 24  # 120 bits
_PURPOSE: Final = b"domicile canaries v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """One person's words, and the salt that hides them behind the seal; told to nobody before the erasure."""

    by: str
    salt: bytes
    words: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Canaries(by={self.by!r}, {len(self.words)} words)"

    @property
    def seal(self) -> Seal:
        """What may be known of them before."""
        digest = hashlib.sha256(_PURPOSE)
        for part in (self.by.encode(), self.salt, *(word.encode() for word in sorted(self.words))):
            digest.update(len(part).to_bytes(4, "big") + part)
        return Seal(by=self.by, count=len(self.words), sha256=digest.hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Whose canaries, how many, and the SHA-256 that binds them."""

    by: str
    count: int
    sha256: str


def invent(by: str, count: int, host: Host) -> Canaries:
    """Make words that nobody can guess. Raise BadFile for a name or a number that can't be."""
    if not NAME.fullmatch(by):
        raise BadFile(f"{by!r}: a name is letters, digits, - and _, and begins with a letter")
    if not 1 <= count <= WORDS_MAX:
        raise BadFile(f"{count} canaries: 1 to {WORDS_MAX} can be made")
    words = tuple("".join(_ALPHABET[byte & 31] for byte in host.entropy(_WORD_SIGNS)) for _ in range(count))
    return Canaries(by=by, salt=host.entropy(SALT_BYTES), words=words)


def save(path: Path, canaries: Canaries) -> None:
    """Write the file that is kept secret until the erasure is done (0600); HostFault when one is there."""
    body = {"by": canaries.by, "salt": canaries.salt.hex(), "words": list(canaries.words)}
    _write(path, json.dumps(body, indent=1).encode() + b"\n", mode=0o600)


def load(path: Path) -> Canaries:
    """Read such a file; BadFile for anything else."""
    read = _read(path, _SecretFile, f"{path}: no file of `domicile canary new`; give the one that its maker kept")
    if len(set(read.words)) != len(read.words):
        raise BadFile(f"{path}: a word stands in it twice; give the file as it was made")
    return Canaries(by=read.by, salt=bytes.fromhex(read.salt), words=read.words)


def save_seal(path: Path, seal: Seal) -> None:
    """Write what may be handed over before the erasure."""
    body = {"by": seal.by, "count": seal.count, "sha256": seal.sha256}
    _write(path, json.dumps(body, indent=1).encode() + b"\n", mode=0o644)


def load_seal(path: Path) -> Seal:
    """Read a seal; BadFile for anything else, above all for the secret file itself."""
    read = _read(path, _SealFile, f"{path}: no seal; `domicile canary seal` makes one of the secret file")
    return Seal(by=read.by, count=read.count, sha256=read.sha256)


def opens(canaries: Canaries, seals: Sequence[Seal]) -> Seal | None:
    """The seal that these canaries open, or None."""
    return next((seal for seal in seals if seal == canaries.seal), None)


Shape = TypeVar("Shape", bound=BaseModel)


class _SecretFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    by: Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
    salt: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{2 * SALT_BYTES}}}$")]
    words: Annotated[
        tuple[Annotated[str, Field(pattern=rf"^{WORD.pattern}$")], ...], Field(min_length=1, max_length=WORDS_MAX)
    ]


class _SealFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    by: Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
    count: Annotated[int, Field(ge=1, le=WORDS_MAX, strict=True)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _read(path: Path, shape: type[Shape], refusal: str) -> Shape:
    try:
        with path.open("rb") as handle:
            data = handle.read(FILE_BYTES_MAX + 1)
    except OSError as fault:
        raise BadFile(f"{path} can't be read ({fault.strerror}); check path and rights") from None
    if len(data) > FILE_BYTES_MAX:
        raise BadFile(refusal)
    try:
        return shape.model_validate_json(data)
    except ValidationError:
        raise BadFile(refusal) from None


def _write(path: Path, data: bytes, *, mode: int) -> None:
    try:
        write_new(path, data, mode=mode)
    except FileExistsError:
        raise HostFault(f"{path} is there already; nothing was overwritten") from None
    except OSError as fault:
        raise HostFault(f"{path} can't be written ({fault.strerror}); check rights and space") from None
