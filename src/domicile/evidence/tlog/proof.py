"""Receipts: one entry's place in the log as a file checkable offline, `.tlog-proof` (C2SP tlog-proof)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from domicile.errors import EvidenceFault
from domicile.evidence.keys import Verifier
from domicile.evidence.tlog.checkpoint import Checkpoint, open_checkpoint
from domicile.evidence.tlog.merkle import HASH_BYTES, PROOF_HASHES_MAX, hash_leaf, root_from_inclusion
from domicile.evidence.tlog.note import NOTE_BYTES_MAX

EXTRA_BYTES_MAX = 65_536
PROOF_BYTES_MAX = 2 * EXTRA_BYTES_MAX + NOTE_BYTES_MAX
_FIRST_LINE = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A place, the path to the root, and the checkpoint's bytes; `extra` is never authenticated."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None


def format_proof(proof: Proof) -> bytes:
    """Write the proof's file."""
    lines = [_FIRST_LINE]
    if proof.extra is not None:
        lines.append(f"extra {_encode(proof.extra)}")
    lines.append(f"index {proof.index}")
    lines.extend(_encode(node) for node in proof.path)
    return "\n".join([*lines, "", ""]).encode() + proof.checkpoint


def parse_proof(data: bytes) -> Proof:
    """Read a proof without believing it; `EvidenceFault` unless writing it again gives the same bytes."""
    if len(data) > PROOF_BYTES_MAX:
        raise EvidenceFault(f"proof: longer than {PROOF_BYTES_MAX} bytes; ask for it again")
    head, separator, checkpoint = data.partition(b"\n\n")
    try:
        proof = _read_head(head.decode("ascii").split("\n"), checkpoint)
    except (UnicodeError, ValueError) as error:
        raise EvidenceFault("proof: not a tlog-proof; ask for it again") from error
    if not separator or format_proof(proof) != data:
        raise EvidenceFault("proof: not in the one spelling of a tlog-proof; ask for it again")
    return proof


def check_proof(proof: Proof, *, entry: bytes, verifier: Verifier) -> Checkpoint:
    """Return the checkpoint if it is this log's and holds the entry at the index; else `EvidenceFault`."""
    checkpoint = open_checkpoint(proof.checkpoint, verifier)
    root = root_from_inclusion(hash_leaf(entry), index=proof.index, size=checkpoint.size, path=proof.path)
    if root != checkpoint.root:
        raise EvidenceFault("proof: the entry is not in the log at this index; ask for its proof again")
    return checkpoint


def _read_head(lines: list[str], checkpoint: bytes) -> Proof:
    if lines.pop(0) != _FIRST_LINE or not lines:
        raise ValueError("first line")
    extra = _decode(lines.pop(0).removeprefix("extra ")) if lines[0].startswith("extra ") else None
    index = _INDEX.fullmatch(lines.pop(0) if lines else "")
    path = tuple(_decode(line) for line in lines)
    if index is None or len(path) > PROOF_HASHES_MAX or any(len(node) != HASH_BYTES for node in path):
        raise ValueError("index or path")
    if extra is not None and len(extra) > EXTRA_BYTES_MAX:
        raise ValueError("extra")
    return Proof(index=int(index[1]), path=path, checkpoint=checkpoint, extra=extra)


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
