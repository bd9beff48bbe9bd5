"""Files that end in the head of a log: proofs of an entry, of growth, and heads alone. For `paper.py` and `proof.py`.

GROWTH  `old N`, hashes, an empty line, the head                           C2SP tlog-witness "add-checkpoint"
PROOF   first line, extra data, index, path, an empty line, the head       C2SP tlog-proof "Format"
HEAD    origin, size, root; the log's signature, then those of witnesses   C2SP signed-note; tlog-checkpoint
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from domicile_audit.case import Refused, require
from domicile_audit.log.cosignature import Quorum, read_cosignatures
from domicile_audit.log.keys import Key, read_base64
from domicile_audit.papers.placed import PATH_MAX

FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
NO_NOTE: Final = "the checkpoint is not a note of three lines and signatures"
NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,12}")


@dataclass(frozen=True, slots=True)
class Proof:
    """The place of an entry, the path from it to the root, and the head's bytes; nobody signed `extra`."""

    index: int
    path: tuple[bytes, ...]
    note: bytes
    extra: str | None


@dataclass(frozen=True, slots=True)
class Growth:
    """How many entries there were, the path from their root to a later one, and the later head's bytes."""

    old: int
    path: tuple[bytes, ...]
    note: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """What a note says: origin, size and root; `text` are the bytes that are signed, the rest who is said to have."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signer: str = ""
    signature: bytes = b""
    others: bytes = b""

    @property
    def keyid(self) -> str:
        """Name and id of the key that is said to have signed."""
        return f"{self.signer}+{self.signature[:4].hex()}"

    def is_of(self, key: Key) -> bool:
        """Whether it bears the name of this key's log, and the key's id."""
        return self.origin == self.signer == key.name and self.signature[:4] == key.key_id

    def require_signed(self, key: Key, quorum: Quorum | None) -> Mapping[str, int]:
        """Refuse unless this key signed it, first, and the quorum cosigned; who did, and when."""
        require(self.is_of(key), "the checkpoint is one of another log")
        require(key.signed(self.text, self.signature[4:]), "the signature of the checkpoint is wrong")
        return read_cosignatures(self.text, self.others, key, quorum)[1]


def read_proof(data: bytes, bytes_max: int) -> Proof:
    """Read the file; refuse unless it is in its one spelling. Nothing of it is believed yet."""
    require(len(data) <= bytes_max, f"the file is longer than {bytes_max} bytes")
    head, gap, note = data.partition(b"\n\n")
    first, *lines = head.decode("ascii", errors="replace").split("\n")
    require(bool(gap) and lines and first == FIRST_LINE, "the file is no tlog-proof")
    extra = lines.pop(0).removeprefix("extra ") if lines[0].startswith("extra ") else None
    index = lines.pop(0).removeprefix("index ") if lines and lines[0].startswith("index ") else ""
    path = read_path(lines)
    require(NUMBER.fullmatch(index), "the file has no proper index and path")
    return Proof(int(index), path, note, extra)


def read_growth(data: bytes, bytes_max: int) -> Growth:
    """Read the file; refuse unless it is in its one spelling."""
    require(len(data) <= bytes_max, f"the file is longer than {bytes_max} bytes")
    head, gap, note = data.partition(b"\n\n")
    first, *lines = head.decode("ascii", errors="replace").split("\n")
    old = first.removeprefix("old ")
    require(bool(gap) and first != old and NUMBER.fullmatch(old), "the file does not begin with `old` and a size")
    return Growth(int(old), read_path(lines), note)


def read_path(lines: Sequence[str]) -> tuple[bytes, ...]:
    """The hashes of a proof, one on a line."""
    path = tuple(read_base64(line, "the path of the proof") for line in lines)
    fits = len(path) <= PATH_MAX and all(len(node) == 32 for node in path)
    require(fits, "the file has no proper index and path")
    return path


def read_head(note: bytes) -> Head:
    """Read a note; refuse unless it is three lines and signatures. Who signed is for `require_signed` to say."""
    try:
        text, _, tail = note.decode().rpartition("\n\n")
        first, _, others = tail.partition("\n")
        dash, name, blob = first.split(" ")
        head, signature = read_unsigned(f"{text}\n".encode()), read_base64(blob)
    except ValueError as error:
        raise Refused(NO_NOTE) from error
    require(dash == "\u2014" and tail.endswith("\n"), NO_NOTE)
    return replace(head, signer=name, signature=signature, others=others.encode())


def read_unsigned(text: bytes) -> Head:
    """Read the three lines of a head that nobody signed."""
    try:
        origin, size, root, end = text.decode().split("\n")
        hash_ = read_base64(root)
    except ValueError as error:
        raise Refused(NO_NOTE) from error
    require(not end and NUMBER.fullmatch(size) and len(hash_) == 32, NO_NOTE)
    return Head(origin, int(size), hash_, text)
