"""Ed25519 public keys as text (C2SP signed-note, "Verifier keys": NAME+ID+KEY) and their signatures (RFC 8032)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domicile_audit.points import has_small_order

ED25519 = b"\x01"  # signed-note, "Signature types"
KEY_CHARS_MAX = 1_024


@dataclass(frozen=True, slots=True)
class Key:
    """A named public key."""

    name: str
    key_id: bytes
    public: bytes

    @property
    def keyid(self) -> str:
        """Name and id, the `keyid` of DSSE signatures."""
        return f"{self.name}+{self.key_id.hex()}"

    @property
    def vkey(self) -> str:
        """The line of text."""
        return f"{self.keyid}+{base64.b64encode(ED25519 + self.public).decode()}"

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Say whether this key signed the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def read_vkey(line: str) -> Key:
    """Read a key; ValueError unless it is in its one spelling and its id is that of name and key."""
    parts = line.split("+", 2)
    if len(parts) != 3 or len(line) > KEY_CHARS_MAX:
        raise ValueError("not of the form NAME+ID+KEY")
    name = parts[0]
    if not name or not name.isprintable() or any(c.isspace() for c in name):
        raise ValueError("a name with spaces, or none")
    raw = read_base64(parts[2])
    if raw[:1] != ED25519 or len(raw) != 33:
        raise ValueError("not an Ed25519 key of type 1")
    if has_small_order(raw[1:]):
        raise ValueError("a key of small order, with which anybody signs")
    key_id = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    key = Key(name, key_id, raw[1:])
    if key.vkey != line:
        raise ValueError("name, id and key do not belong together")
    return key


def read_base64(text: str) -> bytes:
    """Decode base64 in its one spelling (RFC 4648 sections 3.5 and 4); ValueError for any other."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise ValueError("not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise ValueError("base64 in another spelling")
    return raw
