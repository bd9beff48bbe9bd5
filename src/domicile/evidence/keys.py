"""Ed25519 keys: as lines of text and as files only their owner can read (C2SP signed-note, "Verifier keys").

Written as the note tools of Go write them: `NAME+ID+KEY` for a verifier (vkey),
`PRIVATE+KEY+NAME+ID+SEED` for a signer (skey). One spelling each.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domicile.errors import BadFile, EvidenceFault, HostFault
from domicile.host import write_new

SEED_BYTES = 32
KEY_NAME_CHARS_MAX = 255
KEY_TEXT_CHARS_MAX = 4_096
_ED25519 = b"\x01"  # signed-note, "Signature types"
_P = 2**255 - 19  # RFC 8032 section 5.1
_EIGHTH = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826  # y of a point of order 8
_SMALL_ORDER = frozenset({0, 1, _EIGHTH, _P - _EIGHTH, _P - 1, _P, _P + 1})  # docs/formats.md, "Keys and signatures"
_SECRET_PREFIX = "PRIVATE+KEY+"  # noqa: S105  (the prefix of the format, no secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A named Ed25519 public key."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        """Refuse a name or key that no note could carry."""
        require_key_name(self.name)
        if len(self.public) != SEED_BYTES:
            raise BadFile(f"key {self.name}: a public key has 32 bytes; take the key's line as it was given to you")
        if int.from_bytes(self.public, "little") % 2**255 in _SMALL_ORDER:
            raise BadFile(
                f"key {self.name}: is of small order, so anybody signs with it; make a key with `domicile keys new`"
            )

    @property
    def key_id(self) -> bytes:
        """The four bytes that go with the name in a signature line."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @property
    def keyid(self) -> str:
        """The name and id as one word, `NAME+ID`; the `keyid` of our DSSE signatures."""
        return f"{self.name}+{self.key_id.hex()}"

    @property
    def vkey(self) -> str:
        """The key as one line of text, without a newline."""
        return f"{self.keyid}+{_encode(_ED25519 + self.public)}"

    def accepts(self, message: bytes, signature: bytes) -> bool:
        """Say whether this key made the signature over these bytes (RFC 8032)."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Held(Protocol):
    """An Ed25519 private key that lies elsewhere (a token, a service, another file) and signs there."""

    @property
    def public(self) -> bytes:
        """The public half, 32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign the bytes as they are, by pure Ed25519 (RFC 8032, 5.1); one of our errors if that can't be done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A named Ed25519 private key: its seed, or where it is held. The seed never shows in a `repr`."""

    name: str
    seed: bytes = field(repr=False, default=b"")
    held: Held | None = None

    def __post_init__(self) -> None:
        """Refuse a name or seed that makes no key."""
        require_key_name(self.name)
        if self.held is None and len(self.seed) != SEED_BYTES:
            raise BadFile(f"key {self.name}: a seed has 32 bytes; make a key with `domicile keys new`")
        if self.held is not None and self.seed:
            raise RuntimeError("a key has a seed or is held elsewhere, not both")

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        if self.held is not None:
            return Verifier(name=self.name, public=self.held.public)
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return Verifier(name=self.name, public=public)

    @property
    def skey(self) -> str:
        """The secret as one line of text, without a newline; BadFile for one that is held elsewhere."""
        if self.held is not None:
            raise BadFile(
                f"key {self.name}: it is held elsewhere and can't be written to a file; name its place instead"
            )
        return f"{_SECRET_PREFIX}{self.verifier.keyid}+{_encode(_ED25519 + self.seed)}"

    def sign(self, message: bytes) -> bytes:
        """Sign the bytes as they are; 64 bytes, the same every time (RFC 8032).

        What a service gives back is checked before anybody sees it: one that signs with another key, or another way,
        would leave statements in the log that nobody accepts, for ever.
        """
        if self.held is None:
            return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)
        signature = self.held.sign(message)
        if not self.verifier.accepts(message, signature):
            raise EvidenceFault(
                f"key {self.name}: where it is held, another key or another way of signing is used; nothing was "
                "written. Name an Ed25519 key there, and its own public half"
            )
        return signature


def parse_vkey(line: str) -> Verifier:
    """Read a verifier's line; `BadFile` unless it is the one spelling of an Ed25519 key."""
    name, key_id, key = _split_key(line)
    verifier = Verifier(name=name, public=_decode_key(key, name))
    if verifier.vkey != line or verifier.key_id.hex() != key_id:
        raise BadFile(f"key {name}: id and key do not belong together; take the key's line as it was given to you")
    return verifier


def parse_skey(line: str) -> Signer:
    """Read a signer's line; `BadFile` unless it is the one spelling of an Ed25519 key."""
    if not line.startswith(_SECRET_PREFIX):
        raise BadFile("secret key: does not start with PRIVATE+KEY+; make one with `domicile keys new`")
    name, _, seed = _split_key(line.removeprefix(_SECRET_PREFIX))
    signer = Signer(name=name, seed=_decode_key(seed, name))
    if signer.skey != line:
        raise BadFile(f"secret key {name}: id and key do not belong together; restore the file from its safe copy")
    return signer


def save_signer(path: Path, signer: Signer) -> None:
    """Write the secret to a new file of mode 0600, whole or not at all; `BadFile` if there is one already."""
    try:
        write_new(path, f"{signer.skey}\n".encode(), mode=0o600)
    except FileExistsError as error:
        raise BadFile(f"key file {path}: exists already; choose another name") from error
    except OSError as error:
        raise HostFault(f"key file {path}: can't be made ({error.strerror}); check folder and rights") from error


def load_signer(path: Path) -> Signer:
    """Read a secret; `BadFile` if others than its owner may read the file, or it isn't a key."""
    line = _read_line(path)
    try:
        signer = parse_skey(line)
    except BadFile as error:
        raise BadFile(f"key file {path}: {error}") from None
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise BadFile(f"key file {path}: others may read it; run `chmod 600` on it, or make a new key")
    return signer


def save_verifier(path: Path, verifier: Verifier) -> None:
    """Write the public line to a file."""
    try:
        path.write_text(verifier.vkey + "\n", encoding="utf-8")
    except OSError as error:
        raise HostFault(f"key file {path}: can't be written ({error.strerror}); check folder and rights") from error


def load_verifier(path: Path) -> Verifier:
    """Read a public line; `BadFile` if it isn't a key."""
    return parse_vkey(_read_line(path))


def _read_line(path: Path) -> str:
    try:
        with path.open("rb") as source:
            data = source.read(KEY_TEXT_CHARS_MAX + 2)
        line = data.decode()
    except OSError as error:
        raise BadFile(f"key file {path}: can't be read ({error.strerror}); check path and rights") from error
    except UnicodeError as error:
        raise BadFile(f"key file {path}: not text; give the file of a key") from error
    if not line.endswith("\n") or "\n" in line[:-1]:
        raise BadFile(f"key file {path}: not one line; give the file of a key")
    return line[:-1]


def require_key_name(name: str) -> None:
    """Refuse a name that no key can have (signed-note, "Format")."""
    if not name or len(name) > KEY_NAME_CHARS_MAX:
        raise BadFile(f"key name: needs 1 to {KEY_NAME_CHARS_MAX} characters; choose another")
    if not name.isprintable() or any(c.isspace() or c == "+" for c in name):
        raise BadFile("key name: must hold no spaces, plus signs or control characters; choose another")


def _split_key(line: str) -> tuple[str, str, str]:
    parts = line.split("+", 2)
    if len(parts) != 3 or len(line) > KEY_TEXT_CHARS_MAX:
        raise BadFile("key: not of the form NAME+ID+KEY; take the key's line as it was given to you")
    return parts[0], parts[1], parts[2]


def _decode_key(text: str, name: str) -> bytes:
    try:
        raw = _decode(text)
    except ValueError as error:
        raise BadFile(f"key {name}: not base64; take the key's line as it was given to you") from error
    if raw[:1] != _ED25519 or len(raw) != 1 + SEED_BYTES:
        raise BadFile(f"key {name}: not an Ed25519 key of type 1; make one with `domicile keys new`")
    return raw[1:]


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise ValueError("not base64") from error
