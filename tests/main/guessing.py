"""What somebody could guess without a key: each value as it is spelt, and each digest of it that needs no secret.

Whoever holds a bundle can hash every e-mail address of the world in some hours. So no form of a value may stand in it
that is made of the value and of things everybody knows alone: the spelling, the hash, the dataset's name, and the
prefixes that the source tree sets before what it hashes, which are read out of it (`prefixes`), so that a new one is
covered. Digests are found by their first or last 64 bits in hexadecimal, in base64, in base32 and as bytes.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

import domicile

CUT_BYTES: Final = 8
"""The shortest cut that is looked for: 16 hexadecimal digits. Longer ones begin or end with it."""
ENCODED_BYTES_MIN: Final = 8
"""Shorter values, encoded, stand by chance in keys and signatures; spelt they are looked for, and their digests are."""
SPELT_BYTES_MIN: Final = 5
DEPTH_MAX: Final = 3
BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{10,}={0,2}")
HEX: Final = re.compile(rb"[0-9A-Fa-f]{16,}")
BASE32: Final = re.compile(rb"[A-Za-z2-7]{12,}")
KEYS: Final = re.compile(rb"[A-Za-z0-9+/]{43,}={0,2}")
PLAIN: Final = ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s", "sha3_256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One private value of somebody, and the dataset that it stands in."""

    dataset: str
    text: str


def prefixes(folder: Path = Path(domicile.__file__).parents[1]) -> frozenset[bytes]:
    """What the source tree sets before what it hashes: constants that are named for it, or begin with our name."""
    found = {b"\x00", b"\x01"}  # RFC 6962's, which have no name
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes | str) and _is_domain(node.value):
                found.add(_bytes(node.value))
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
                names = node.targets if isinstance(node, ast.Assign) else [node.target]
                named = any("PURPOSE" in one.id or "PREFIX" in one.id for one in names if isinstance(one, ast.Name))
                if named and isinstance(node.value.value, bytes):
                    found.add(node.value.value)
    return frozenset(found)


def _is_domain(constant: bytes | str) -> bool:
    text = constant if isinstance(constant, str) else constant.decode("latin-1")
    return text.startswith("domicile ") and (isinstance(constant, bytes) or "\x00" in text)


def _bytes(constant: bytes | str) -> bytes:
    return constant if isinstance(constant, bytes) else constant.encode()


def spellings(text: str) -> frozenset[bytes]:
    """A value as somebody would write it."""
    stripped = text.strip()
    local = stripped.partition("@")[0]
    cases = (text, stripped, stripped.lower(), stripped.upper(), stripped.casefold(), stripped.replace(" ", ""))
    return frozenset(one.encode() for one in (*cases, *((local,) if "@" in stripped else ())) if one)


def _framed(text: bytes) -> Iterator[bytes]:
    """A part of what is hashed, as one would set it off from the next."""
    yield text
    yield b"%d:%b" % (len(text), text)
    yield len(text).to_bytes(4, "big") + text
    yield len(text).to_bytes(8, "big") + text
    yield text + b"\x00"
    yield b'"%b"' % text


def _messages(value: Value) -> frozenset[bytes]:
    """What is hashed of a value, without a prefix: alone, and behind the name of its dataset."""
    dataset, found = value.dataset.encode(), set()
    for spelt in spellings(value.text):
        alone = list(_framed(spelt))
        found.update(alone)
        found.update(before + after for before, after in zip(_framed(dataset), alone, strict=True))
        found.update(len(dataset).to_bytes(4, "big") + dataset + after for after in alone[:1])
        found.update(dataset + mark + spelt for mark in (b"", b"\x00", b".", b":", b"/", b"=", b"\n"))
    return frozenset(found)


def digests(value: Value, before: Iterable[bytes]) -> Iterator[bytes]:
    """Every digest of a value that needs no key."""
    for message in _messages(value):
        for name in PLAIN:
            yield hashlib.new(name, message, usedforsecurity=False).digest()
        yield hashlib.blake2b(message, digest_size=16).digest()
        yield blake3(message).digest()
        for prefix in before:
            yield blake3(prefix + message).digest()
            yield hashlib.sha256(prefix + message).digest()


class Guesses:
    """All that could be guessed of some values; `within` says what of it stands in some files."""

    def __init__(self, values: Iterable[Value]) -> None:
        chosen, before = frozenset(values), prefixes()
        found = {digest for value in chosen for digest in digests(value, before)}
        self.count = len(found)
        self._bytes = {cut for one in found for cut in (one[:CUT_BYTES], one[-CUT_BYTES:])}
        self._hex = {cut.hex().encode() for cut in self._bytes}
        self._base64 = {base64.b64encode(one)[:10] for one in found}  # 60 bits; the 11th sign holds the next byte's
        self._base32 = {base64.b32encode(one)[:12] for one in found}
        self._spelt = {spelt for value in chosen for spelt in spellings(value.text) if len(spelt) >= _least(spelt)}
        self._encoded = [
            (f"{how} of {spelt.decode()}", form)
            for spelt in self._spelt if len(spelt) >= ENCODED_BYTES_MIN for how, form in _encoded(spelt)
        ]  # fmt: skip

    def within(self, files: Iterable[tuple[str, bytes]]) -> set[tuple[str, str]]:
        """Of these files, and of what base64 in them hides: which hold what that could be guessed."""
        return {(name, what) for name, data in files for what in self._in(data, DEPTH_MAX)}

    def _in(self, data: bytes, depth: int) -> Iterator[str]:
        without_keys = KEYS.sub(b" ", data)
        for spelt in self._spelt:
            if spelt in (data if len(spelt) > ENCODED_BYTES_MIN else without_keys):
                yield f"spelt {spelt.decode()}"
        yield from (what for what, form in self._encoded if form in data)
        if self._stands(data):
            yield "a digest"
        hidden = b"\n".join(_decoded(data)) if depth else b""
        if hidden:
            yield from self._in(hidden, depth - 1)

    def _stands(self, data: bytes) -> bool:
        return (
            any(data[at : at + CUT_BYTES] in self._bytes for at in range(len(data) - CUT_BYTES + 1))
            or any(cut in self._hex for cut in _windows(HEX, data, 2 * CUT_BYTES, bytes.lower))
            or any(cut in self._base64 for cut in _windows(BASE64, data, 10, _standard))
            or any(cut in self._base32 for cut in _windows(BASE32, data, 12, bytes.upper))
        )


def _least(spelt: bytes) -> int:
    """From how many bytes on a spelling is evidence: five digits stand in every time and digest."""
    return ENCODED_BYTES_MIN + 1 if spelt.replace(b".", b"").isdigit() else SPELT_BYTES_MIN


def _encoded(spelt: bytes) -> Iterator[tuple[str, bytes]]:
    yield "hex", spelt.hex().encode()
    yield "HEX", spelt.hex().upper().encode()
    yield "base32", base64.b32encode(spelt).rstrip(b"=")[: len(spelt) * 8 // 5]
    for shift in range(3):  # wherever in a longer text it stands
        whole = base64.b64encode(bytes(shift) + spelt)
        yield "base64", whole[(shift * 8 + 5) // 6 : (shift + len(spelt)) * 8 // 6]


def _decoded(data: bytes) -> Iterator[bytes]:
    for match in BASE64.finditer(data):
        text = _standard(match[0].rstrip(b"="))
        yield base64.b64decode(text[: len(text) // 4 * 4])


def _standard(text: bytes) -> bytes:
    return text.translate(bytes.maketrans(b"-_", b"+/"))


def _windows(runs: re.Pattern[bytes], data: bytes, width: int, spell: Callable[[bytes], bytes]) -> Iterator[bytes]:
    for match in runs.finditer(data):
        run = spell(match[0])
        for at in range(len(run) - width + 1):
            yield run[at : at + width]


def files_of(bundle: Path) -> dict[str, bytes]:
    """All files of a bundle."""
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
