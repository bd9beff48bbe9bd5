"""Cosignatures: a witness's word that it saw a log grow, as a line of its checkpoint (C2SP tlog-cosignature).

Only `cosignature/v1` (Ed25519, type 0x04) is made and believed. A key of type 0x06 (ML-DSA-44) is read, so that it has
a place in a policy, and a line signed by it is ignored: it never counts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from domicile.errors import BadFile, EvidenceFault
from domicile.evidence.keys import Signer, Verifier, require_key_name
from domicile.evidence.tlog.note import Note, NoteSignature

ED25519: Final = 0x04
ML_DSA_44: Final = 0x06
TIME_MAX: Final = 2**63 - 1
_PUBLIC_BYTES: Final = {ED25519: 32, ML_DSA_44: 1_312}
_VKEY_CHARS_MAX: Final = 4_096
_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigner:
    """A witness's public key: name, signature type, and the key's own bytes."""

    name: str
    public: bytes
    algorithm: int = ED25519

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before its signatures (tlog-cosignature, "Format")."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public).digest()[:4]

    @property
    def keyid(self) -> str:
        """The name and id as one word, `NAME+ID`."""
        return f"{self.name}+{self.key_id.hex()}"

    @property
    def vkey(self) -> str:
        """The key as one line of text, without a newline."""
        return f"{self.keyid}+{base64.b64encode(bytes([self.algorithm]) + self.public).decode()}"

    def time_of(self, text: str, signature: bytes) -> int | None:
        """When this key cosigned the checkpoint's text, in seconds since 1970 by its own clock; None if it didn't."""
        if self.algorithm != ED25519 or len(signature) != _TIME_BYTES + _SIGNATURE_BYTES:
            return None
        time = int.from_bytes(signature[:_TIME_BYTES], "big")
        signed = Verifier(name=self.name, public=self.public).accepts(_message(text, time), signature[_TIME_BYTES:])
        return time if signed and time <= TIME_MAX else None


def cosigner_of(signer: Signer) -> Cosigner:
    """The public half of a witness's key."""
    return Cosigner(name=signer.name, public=signer.verifier.public)


def cosign(text: str, signer: Signer, *, time: int) -> NoteSignature:
    """Cosign a checkpoint's text as seen at that time (tlog-cosignature, "Ed25519 signed message")."""
    if not 0 <= time <= TIME_MAX:
        raise EvidenceFault(f"cosignature: no time has {time} seconds; set this machine's clock")
    signature = time.to_bytes(_TIME_BYTES, "big") + signer.sign(_message(text, time))
    return NoteSignature(name=signer.name, key_id=cosigner_of(signer).key_id, signature=signature)


def cosigned(note: Note, cosigners: Iterable[Cosigner]) -> dict[Cosigner, int]:
    """Who of these cosigned the note, and when last; `EvidenceFault` if one of their lines is wrong.

    Lines of unknown keys, and of keys whose algorithm is not known here, are ignored (signed-note, "Signatures").
    """
    found: dict[Cosigner, int] = {}
    for cosigner in cosigners:
        if cosigner.algorithm != ED25519:
            continue
        for line in note.signatures:
            if (line.name, line.key_id) != (cosigner.name, cosigner.key_id):
                continue
            time = cosigner.time_of(note.text, line.signature)
            if time is None:
                raise EvidenceFault(f"checkpoint: the cosignature of {cosigner.keyid} is wrong; one was altered")
            found[cosigner] = max(time, found.get(cosigner, 0))
    return found


def parse_cosigner(line: str) -> Cosigner:
    """Read a witness's line; `BadFile` unless it is the one spelling of a key that can cosign."""
    parts = line.split("+", 2)
    if len(parts) != 3 or len(line) > _VKEY_CHARS_MAX:
        raise BadFile("witness key: not of the form NAME+ID+KEY; take the line that `domicile witness new` printed")
    name = parts[0]
    require_key_name(name)
    try:
        raw = base64.b64decode(parts[2].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise BadFile(f"witness key {name}: not base64; take the line as it was given to you") from error
    if not raw or len(raw) != 1 + _PUBLIC_BYTES.get(raw[0], -1):
        raise BadFile(f"witness key {name}: of no type that cosigns (4 or 6); `domicile witness new` makes one")
    cosigner = Cosigner(name=name, public=raw[1:], algorithm=raw[0])
    if cosigner.vkey != line:
        raise BadFile(f"witness key {name}: id and key do not belong together; take the line as it was given to you")
    return cosigner


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
