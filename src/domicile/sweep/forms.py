"""How a token is spelt as patterns of its own: what no decoding of the searched bytes (`decoded`) gives.

A pattern costs its own bytes and about 30, for up to 16,000,000 tokens. So what
can be undone in the bytes that are searched (UTF-16, base64, hexadecimal, escapes) is undone there, for all classes
of tokens at once, and only what can't be undone is a pattern: encodings and binary forms. Hashes: `digests`.

| form                                              | of which tokens                                          |
|---------------------------------------------------|----------------------------------------------------------|
| as it is, lower case, quotes doubled as in SQL    | all                                                      |
| the encodings of the server's databases, UTF-16   | all with other letters than ASCII's                      |
| a plus sign for each blank, as forms of HTML send | names, addresses, canaries                               |
| 16 bytes of a UUID, `inet` as on disk             | all that look like one                                   |
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import StrEnum

_WIDE = ("utf-16-le", "utf-16-be")
_INTERNET = re.compile(r"[0-9a-fA-F.:]{7,45}")
_UUID_BYTES = 36
_UUID = re.compile(rb"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


class TokenClass(StrEnum):
    """What kind of value a token is; the first four are specific: found outside home, they are residue."""

    CANARY = "canary"
    EMAIL = "email"
    PHONE = "phone"
    IDENTIFIER = "identifier"
    NAME = "name"
    ADDRESS = "address"
    TEXT = "text"

    @property
    def specific(self) -> bool:
        """Whether one hit outside home is residue, whoever else might bear the value."""
        return self in _SPECIFIC


_SPECIFIC = frozenset({TokenClass.CANARY, TokenClass.EMAIL, TokenClass.PHONE, TokenClass.IDENTIFIER})
_SENT_IN_FORMS = frozenset({TokenClass.CANARY, TokenClass.NAME, TokenClass.ADDRESS})


def forms(text: bytes, token_class: TokenClass, *, encodings: Sequence[str] = ()) -> tuple[bytes, ...]:
    """Spell a token in every form that is a pattern of its own, in UTF-8 and in `encodings` (of Python)."""
    found = {text: None}
    try:
        plain = text.decode()
    except UnicodeDecodeError:
        return (text,)
    for form in _spelt(plain, token_class):
        found[form.encode()] = None
        if not form.isascii():
            found |= dict.fromkeys(_encoded(form, (*encodings, *_WIDE)))
    if len(text) == _UUID_BYTES and _UUID.fullmatch(text):
        found[uuid.UUID(plain).bytes] = None
    found |= dict.fromkeys(_internet_forms(plain))
    return tuple(found)


def _spelt(plain: str, token_class: TokenClass) -> Iterator[str]:
    yield plain
    yield plain.lower()
    yield plain.replace("'", "''")
    if token_class in _SENT_IN_FORMS:
        yield plain.replace(" ", "+")


def _encoded(form: str, encodings: Sequence[str]) -> Iterator[bytes]:
    for encoding in encodings:
        with suppress(UnicodeEncodeError):  # an encoding that lacks a letter can't hold the value
            yield form.encode(encoding)


def _internet_forms(plain: str) -> Iterator[bytes]:
    """An address of one host as `inet` lies on disk: short varlena header, family, bits, bytes (`inet_struct`)."""
    if _INTERNET.fullmatch(plain):
        with suppress(ValueError):
            address = ipaddress.ip_address(plain)
            body = bytes([2 if address.version == 4 else 3, address.max_prefixlen]) + address.packed
            yield bytes([(len(body) + 1) << 1 | 1]) + body
