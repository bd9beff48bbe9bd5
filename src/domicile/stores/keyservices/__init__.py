"""Key services: where the keys lie under which copies are encrypted, and what it takes to say that one is gone.

A key has a name and one or more generations, as keys are rotated. A generation is an RSA key, known by the SHA-1 of its
public half (RFC 5280, 4.2.1.2 (1)): files name it so, and it tells nothing of the secret. What a service can't see is
a doubt of the copy that it has: a generation that somebody may have copied elsewhere can't be shown to be gone (P11).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

BITS_MIN: Final = 2048
"""RSA keys below are no longer held to keep anybody out (NIST SP 800-131A)."""
GENERATIONS_MAX: Final = 64
"""Generations of one key: their names stand in one statement of the log."""
ROUNDS_MAX: Final = 3
"""How often a service looks for copies and destroys them before it says that some stay."""


class Padding(StrEnum):
    """How a content key was wrapped (RFC 8017): both can be asked of every service."""

    PKCS1 = "rsaEncryption"
    OAEP_SHA1 = "rsaesOaep"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCopy:
    """One copy of one generation: where it lies, since when at the latest (None: nobody says), and what is doubtful.

    Each doubt says why there may be, or may stay, another copy that the service can't see; none is left out.
    """

    generation: str
    place: str
    bits: int
    held_since: datetime | None
    doubts: tuple[str, ...] = ()


class KeyService(Protocol):
    """One service, with all places in which the file says that its keys lie.

    A place that can't be looked through is NotPermitted, never an absence. No error, and no value but a content key
    that was asked for, holds anything of a secret.
    """

    @property
    def name(self) -> str:
        """The service's name in `domicile.yaml`."""
        ...

    @property
    def words(self) -> tuple[str, ...]:
        """What is the operator's word only, as parts of a sentence."""
        ...

    def generations(self, key: str) -> tuple[str, ...]:
        """Name the generations that the service holds under a key's name, sorted; none when there is no such key.

        Something under that name that is no RSA key is NotPermitted: what it opens, nobody could say.
        """
        ...

    def copies(self, generations: Collection[str]) -> tuple[KeyCopy, ...]:
        """List every copy of these generations in all places, under whatever names; none shows that they are absent."""
        ...

    def unwrap(self, generation: str, wrapped: bytes, padding: Padding) -> bytes | None:
        """Open a wrapped content key; None when this generation doesn't open it."""
        ...

    def destroy(self, generations: Collection[str]) -> tuple[KeyCopy, ...]:
        """Destroy every copy of these generations, look again, and return what is still there: none, if all went well.

        Idempotent: it may have been broken off anywhere, and those that are gone are gone. Nothing else is touched.
        """
        ...


def generation_of(key: RSAPublicKey) -> str:
    """Name a generation by its public half: SHA-1 of the DER of RSAPublicKey (RFC 5280, 4.2.1.2 (1)), in hex."""
    return hashlib.sha1(key.public_bytes(Encoding.DER, PublicFormat.PKCS1), usedforsecurity=False).hexdigest()
