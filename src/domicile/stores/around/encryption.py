"""The files of an encrypted folder: listed with their headers, and opened where a key that stays opens them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from domicile.errors import NotPermitted, StoreFault
from domicile.stores.around.enveloped import Envelope, NoEnvelope, plaintext, read_envelope
from domicile.stores.keyservices import KeyService
from domicile.stores.postgres.files import Files, LocalFiles, ServerFile, Unread

FILES_MAX: Final = 1_000_000
_TELLING: Final = re.compile(r"[A-Za-z0-9._+=/-]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file: its path below the folder, its last change, and its header, or why it has none."""

    name: str
    bytes: int
    changed_at: datetime
    envelope: Envelope | None
    fault: str = ""

    @property
    def told(self) -> str:
        """Its name, as evidence may hold it (P8)."""
        return self.name if _TELLING.fullmatch(self.name) else "a file whose name isn't told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """The folder."""

    store: str
    path: Path

    def look(self, name: str) -> Opened:
        """Look at one file; one that is gone, or can't be read, has a fault."""
        path = self.path / name
        found = Opened(name=name, bytes=0, changed_at=datetime.fromtimestamp(0, UTC), envelope=None)
        try:
            status = path.lstat()
            changed_at = datetime.fromtimestamp(status.st_mtime, UTC)
            found = Opened(name=name, bytes=status.st_size, changed_at=changed_at, envelope=None)
            if not stat.S_ISREG(status.st_mode):
                return _with(found, fault="is no plain file: what it leads to isn't looked at")
            with path.open("rb") as file:
                return _with(found, envelope=read_envelope(file))
        except NoEnvelope as fault:
            return _with(found, fault=str(fault))
        except OSError as fault:
            return _with(found, fault=f"can't be read ({fault.strerror})")

    def opening(self, service: KeyService, gone: Collection[str]) -> Files:
        """The files for a search: what a generation opens that isn't gone is read decrypted."""
        return _Opening(self, service, frozenset(gone))


def listed(files: Encryption) -> tuple[Opened, ...]:
    """List every file of a folder by name, at any depth; NotPermitted where it can't be."""
    names: list[str] = []
    try:
        for top, folders, below in os.walk(files.path, onerror=_raise):
            links = [name for name in folders if (Path(top) / name).is_symlink()]
            folders[:] = sorted(set(folders) - set(links))
            names += [str((Path(top) / name).relative_to(files.path)) for name in (*below, *links)]
            if len(names) > FILES_MAX:
                raise NotPermitted(f"store {files.store}: {files.path} holds more than {FILES_MAX} files; split it")
    except OSError as fault:
        raise NotPermitted(
            f"store {files.store}: {files.path} can't be listed ({fault.strerror}); check `path`, and that it is "
            "mounted on this machine"
        ) from None
    return tuple(files.look(name) for name in sorted(names))


def _raise(fault: OSError) -> None:
    raise fault


def _with(found: Opened, *, envelope: Envelope | None = None, fault: str = "") -> Opened:
    return Opened(
        name=found.name, bytes=found.bytes, changed_at=found.changed_at, envelope=envelope, fault=fault
    )  # fmt: skip


def content_key(service: KeyService, envelope: Envelope, generations: Collection[str]) -> bytes | None:
    """The content key of a file, by one of these generations; None when none opens it."""
    for recipient in envelope.recipients:
        if recipient.generation not in generations:
            continue
        key = service.unwrap(recipient.generation, recipient.wrapped, recipient.padding)
        if key is not None and len(key) == envelope.key_bytes:
            return key
    return None


@dataclass(slots=True)
class _Stream:
    """A decrypted file that is read on from where the last read ended, and from its start otherwise."""

    path: str
    blocks: Iterator[bytes]
    at: int = 0
    held: bytes = b""


@dataclass(slots=True)
class _Opening:
    """Local files, decrypted where they can be; nothing decrypted is written anywhere."""

    encryption: Encryption
    service: KeyService
    gone: frozenset[str]
    how: str = "local files, decrypted where the key stays"
    _keys: dict[str, tuple[Envelope, bytes]] = field(default_factory=dict, repr=False)
    _stream: _Stream | None = field(default=None, repr=False)

    def walk(self) -> Iterator[ServerFile | Unread]:
        for entry in LocalFiles(self.encryption.path).walk():
            opened = isinstance(entry, ServerFile) and self._open(entry.path)
            if not opened or isinstance(entry, Unread):
                yield entry
                continue
            try:
                yield ServerFile(path=entry.path, size=sum(map(len, self._blocks(entry.path))))
            except NoEnvelope as fault:
                yield Unread(path=entry.path, why=f"an encrypted file that {fault}")

    def _open(self, path: str) -> bool:
        envelope = self.encryption.look(path).envelope
        living = envelope.generations - self.gone if envelope else frozenset()
        if envelope is None or not living:
            return False
        try:
            key = content_key(self.service, envelope, living)
        except (NotPermitted, StoreFault):
            return False
        if key is None:
            return False
        self._keys[path] = (envelope, key)
        return True

    def _blocks(self, path: str) -> Iterator[bytes]:
        with (self.encryption.path / path).open("rb") as file:
            yield from plaintext(file, *self._keys[path])

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        if path not in self._keys:
            return LocalFiles(self.encryption.path).read(path, offset, length)
        try:
            return self._read(path, offset, length)
        except FileNotFoundError:
            return None
        except (OSError, NoEnvelope) as fault:
            raise NotPermitted(f"{path} can't be read: {type(fault).__name__}") from None

    def _read(self, path: str, offset: int, length: int) -> bytes:
        stream = self._stream
        if stream is None or stream.path != path or offset < stream.at:
            stream = self._stream = _Stream(path=path, blocks=self._blocks(path))
        while stream.at + len(stream.held) < offset + length:
            block = next(stream.blocks, None)
            if block is None:
                break
            skipped = min(max(offset - stream.at, 0), len(stream.held))
            stream.held = stream.held[skipped:] + block
            stream.at += skipped
        start = offset - stream.at
        return stream.held[start : start + length] if start < len(stream.held) else b""
