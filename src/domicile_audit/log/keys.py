"""Ed25519 public keys as text (C2SP signed-note, "Verifier keys": NAME+ID+KEY), and what they signed.

That are DSSE envelopes with one signature, in one spelling (DSSE v1.0.2, envelope.md and protocol.md; RFC 8032).
"""

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domicile_audit.case import Refused, require
from domicile_audit.log.shape import TEXT, misfit, read_json, text

ED25519 = b"\x01"  # signed-note, "Signature types"
KEY_CHARS_MAX = 4_096  # a key of ML-DSA-44 has 1,775
ENVELOPE = {"payload": text(chars_max=1 << 28), "payloadType": TEXT, "signatures": [{"keyid": TEXT, "sig": TEXT}]}
_P = 2**255 - 19  # RFC 8032 section 5.1
_EIGHTH = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826  # y of a point of order 8
SMALL_ORDER = {0, 1, _EIGHTH, _P - _EIGHTH, _P - 1, _P, _P + 1}  # docs/formats.md, "Keys and signatures"


@dataclass(frozen=True, slots=True)
class Key:
    """A named public key; `key_id` is the first four bytes of the SHA-256 of name and key."""

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


def read_vkey(line: str, where: str = "this") -> Key:
    """Read a key; refuse unless it is in its one spelling and its id is that of name and key."""
    parts = line.split("+", 2)
    require(len(parts) == 3 and len(line) <= KEY_CHARS_MAX, f"{where} is not a key: not of the form NAME+ID+KEY")
    name = parts[0]
    require(name and name.isprintable() and " " not in name, f"{where} is not a key: a name with spaces, or none")
    raw = read_base64(parts[2], f"the key of {where}")
    require(raw[:1] == ED25519 and len(raw) == 33, f"{where} is not an Ed25519 key of type 1")
    refuse_small(raw[1:], where)
    key = Key(name, hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4], raw[1:])
    require(key.vkey == line, f"{where} is not a key: name, id and key do not belong together")
    return key


def refuse_small(public: bytes, where: str) -> None:
    """Refuse an Ed25519 key with which a signature can be made without a secret."""
    small = len(public) == 32 and int.from_bytes(public, "little") % 2**255 in SMALL_ORDER
    require(not small, f"{where} is a key of small order, with which anybody signs")


def read_base64(text: str, where: str = "this") -> bytes:
    """Decode base64; refuse any spelling but the one (RFC 4648 sections 3.5 and 4)."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refused(f"{where} is not base64") from error
    require(base64.b64encode(raw).decode() == text, f"{where} is base64 in another spelling")
    return raw


def open_envelope(data: bytes, payload_type: str, keys: dict[str, Key], where: str) -> tuple[bytes, str]:
    """The payload and keyid of an envelope that one of the keys signed."""
    envelope = read_json(data, where)
    require(misfit(envelope, ENVELOPE) is None, f"{where} is not a DSSE envelope")
    require(envelope["payloadType"] == payload_type, f"{where} has another payload type than {payload_type}")
    require(len(envelope["signatures"]) == 1, f"{where} does not have exactly one signature")
    keyid = envelope["signatures"][0]["keyid"]
    require(keyid in keys, f"{where} is signed by a key that has no place here: {keyid}")
    payload = read_base64(envelope["payload"], f"the payload of {where}")
    signature = read_base64(envelope["signatures"][0]["sig"], f"the signature of {where}")
    message = b"DSSEv1 %d %b %d %b" % (len(payload_type), payload_type.encode(), len(payload), payload)  # PAE
    require(keys[keyid].signed(message, signature), f"{where}: the signature of {keyid} is wrong")
    return payload, keyid
