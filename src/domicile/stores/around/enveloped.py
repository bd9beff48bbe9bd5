"""Files encrypted as CMS EnvelopedData (RFC 5652, section 6), as `openssl cms -encrypt -keyid` writes them.

    openssl cms -encrypt -binary -stream -aes256 -keyid -outform DER -in F -out F.cms -recip backups.crt

The header names every key that opens the file, each by its public half; the content key is wrapped for each of them.
Both lengths of BER are read: definite ones, and the indefinite ones of `-stream`. A file is an envelope from its first
to its last byte, or it is none: nothing may stand beside the encrypted content.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from domicile.stores.keyservices import Padding

HEADER_BYTES_MAX: Final = 16 * 1024
BLOCK_BYTES: Final = 1024 * 1024
_ENVELOPED: Final = bytes.fromhex("06092a864886f70d010703")
_DATA: Final = bytes.fromhex("06092a864886f70d010701")
_PADDINGS: Final = {
    bytes.fromhex("06092a864886f70d010101"): Padding.PKCS1,
    bytes.fromhex("06092a864886f70d010107"): Padding.OAEP_SHA1,
}
_EMPTY: Final = {Padding.PKCS1: bytes.fromhex("0500"), Padding.OAEP_SHA1: bytes.fromhex("3000")}
_CIPHERS: Final = {
    bytes.fromhex("060960864801650304012a"): 32,
    bytes.fromhex("0609608648016503040116"): 24,
    bytes.fromhex("0609608648016503040102"): 16,
}
"""AES in CBC, and the bytes of its keys (RFC 3565)."""
_SEQUENCE, _SET, _INTEGER, _OCTETS, _IN_ORDER, _OCTETS_IN_PARTS, _CONTENT, _CONTENT_IN_PARTS = (
    0x30, 0x31, 0x02, 0x04, 0xA0, 0x24, 0x80, 0xA0,
)  # fmt: skip
_BLOCK: Final = 16


class NoEnvelope(ValueError):
    """A file isn't such an envelope, or isn't one from end to end; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One key that opens a file, by its public half, and the content key as it is wrapped for it."""

    generation: str
    padding: Padding
    wrapped: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A file's header: who opens it, and where its content is. `outer` are the ends of what it stands in, None: open.

    `strange` says that it names a key in a way that nobody here can follow, so that its keys aren't all known.
    """

    recipients: tuple[Recipient, ...]
    strange: bool
    key_bytes: int
    iv: bytes
    content_at: int
    content_bytes: int | None
    outer: tuple[int | None, ...]

    @property
    def generations(self) -> frozenset[str]:
        """The generations that open it, as far as they are known."""
        return frozenset(recipient.generation for recipient in self.recipients)


def read_envelope(file: BinaryIO) -> Envelope:
    """Read a file's header; raise NoEnvelope when it is none. OSErrors pass."""
    file.seek(0)
    parser = _Parser(file.read(HEADER_BYTES_MAX))
    outer = [parser.enter(_SEQUENCE)]
    parser.expect(_ENVELOPED, "isn't encrypted as CMS EnvelopedData")
    outer += [parser.enter(_IN_ORDER), parser.enter(_SEQUENCE)]
    parser.skip(_INTEGER)
    recipients, strange = _recipients(_Parser(parser.whole(_SET)))
    outer.append(parser.enter(_SEQUENCE))
    parser.expect(_DATA, "holds something else than data")
    algorithm = _Parser(parser.whole(_SEQUENCE))
    key_bytes = next((size for name, size in _CIPHERS.items() if algorithm.takes(name)), None)
    if key_bytes is None:
        raise NoEnvelope("isn't encrypted with AES in CBC")
    iv = algorithm.whole(_OCTETS)
    if len(iv) != _BLOCK:
        raise NoEnvelope("has no proper header")
    length, content_at = parser.content()
    return Envelope(
        recipients=recipients, strange=strange, key_bytes=key_bytes, iv=iv, content_at=content_at,
        content_bytes=length, outer=tuple(outer),
    )  # fmt: skip


def _recipients(parser: _Parser) -> tuple[tuple[Recipient, ...], bool]:
    found, strange = [], False
    while parser.rest:
        tag, body = parser.any()
        recipient = _recipient(_Parser(body)) if tag == _SEQUENCE else None
        if recipient is None:
            strange = True
        else:
            found.append(recipient)
    return tuple(found), strange


def _recipient(parser: _Parser) -> Recipient | None:
    """Read a KeyTransRecipientInfo with a key identifier (6.2.1); None for any other."""
    parser.skip(_INTEGER)
    tag, name = parser.any()
    if tag != _CONTENT:
        return None
    algorithm = _Parser(parser.whole(_SEQUENCE))
    padding = next((padding for oid, padding in _PADDINGS.items() if algorithm.takes(oid)), None)
    if padding is None or algorithm.rest not in (b"", _EMPTY[padding]):
        return None
    return Recipient(generation=name.hex(), padding=padding, wrapped=parser.whole(_OCTETS))


def content(file: BinaryIO, envelope: Envelope) -> Iterator[bytes]:
    """Read the encrypted content in blocks; raise NoEnvelope when it is cut off, or something else stands behind it."""
    file.seek(envelope.content_at)
    size = 0
    for block in _parts(file, envelope.content_bytes):
        size += len(block)
        yield block
    if not size or size % _BLOCK:
        raise NoEnvelope("is cut off")
    end = os.fstat(file.fileno()).st_size
    for inner in reversed(envelope.outer):
        if inner is None and file.read(2) != b"\0\0":
            raise NoEnvelope("has something beside its encrypted content, or is cut off")
        if inner is not None and inner != file.tell():
            raise NoEnvelope("has something beside its encrypted content, or is cut off")
    if file.tell() != end:
        raise NoEnvelope("has something behind its encrypted content")


def _parts(file: BinaryIO, length: int | None) -> Iterator[bytes]:
    """The octets of a string: in one piece, or in parts up to the end of contents (X.690, 8.7)."""
    if length is not None:
        yield from _exactly(file, length)
        return
    gathered = bytearray()
    while (head := file.read(2)) != b"\0\0":
        if len(head) < 2 or head[0] != _OCTETS:
            raise NoEnvelope("is cut off, or has something between the parts of its content")
        size = head[1]
        if size >= 0x80:
            more = file.read(size & 0x7F)
            if not 1 <= len(more) <= 4 or len(more) != size & 0x7F:
                raise NoEnvelope("is cut off")
            size = int.from_bytes(more, "big")
        for block in _exactly(file, size):
            gathered += block
        if len(gathered) >= BLOCK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def _exactly(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0:
        block = file.read(min(length, BLOCK_BYTES))
        if not block:
            raise NoEnvelope("is cut off")
        length -= len(block)
        yield block


def plaintext(file: BinaryIO, envelope: Envelope, key: bytes) -> Iterator[bytes]:
    """Decrypt the content block by block; raise NoEnvelope when its padding isn't one (RFC 5652, 6.3)."""
    decryptor = Cipher(algorithms.AES(key), modes.CBC(envelope.iv)).decryptor()
    held = b""
    for block in content(file, envelope):
        clear = held + decryptor.update(block)
        held = clear[-_BLOCK:]
        yield clear[:-_BLOCK]
    pad = held[-1] if held else 0
    if not 1 <= pad <= _BLOCK or held[-pad:] != bytes([pad]) * pad:
        raise NoEnvelope("isn't opened by its key")
    yield held[:-pad]


class _Parser:
    """A header in memory, read from its start."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> bytes:
        """What isn't read yet."""
        return self._data[self._at :]

    def takes(self, literal: bytes) -> bool:
        """Read these bytes, if they come next."""
        if not self._data.startswith(literal, self._at):
            return False
        self._at += len(literal)
        return True

    def expect(self, literal: bytes, why: str) -> None:
        """Read these bytes."""
        if not self.takes(literal):
            raise NoEnvelope(why)

    def enter(self, tag: int) -> int | None:
        """Read a head of this tag; return where its content ends, None when that is open."""
        if self._data[self._at : self._at + 1] != bytes([tag]):
            raise NoEnvelope("isn't encrypted as CMS EnvelopedData")
        _, length = self._head()
        return None if length is None else self._at + length

    def whole(self, tag: int) -> bytes:
        """Read an element of this tag whose length is given."""
        found, body = self.any()
        if found != tag:
            raise NoEnvelope("has no proper header")
        return body

    def skip(self, tag: int) -> None:
        """Read past an element of this tag."""
        self.whole(tag)

    def any(self) -> tuple[int, bytes]:
        """Read an element whose length is given."""
        tag, length = self._head()
        if length is None or self._at + length > len(self._data):
            raise NoEnvelope("has no proper header, or one that is too long")
        self._at += length
        return tag, self._data[self._at - length : self._at]

    def content(self) -> tuple[int | None, int]:
        """Read the head of the content: its length, None when it comes in parts, and where it begins."""
        tag, length = self._head()
        if tag == _CONTENT and length is not None:
            return length, self._at
        if tag == _CONTENT_IN_PARTS and length is None:
            return None, self._at
        raise NoEnvelope("has no content of its own")

    def _head(self) -> tuple[int, int | None]:
        head = self._data[self._at : self._at + 2]
        if len(head) < 2:
            raise NoEnvelope("isn't encrypted as CMS EnvelopedData")
        self._at += 2
        if head[1] < 0x80:
            return head[0], head[1]
        if head[1] == 0x80:
            return head[0], None
        size = head[1] & 0x7F
        more = self._data[self._at : self._at + size]
        if size > 8 or len(more) < size:
            raise NoEnvelope("has no proper header")
        self._at += size
        return head[0], int.from_bytes(more, "big")
