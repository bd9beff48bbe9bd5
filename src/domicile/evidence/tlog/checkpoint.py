"""Checkpoints: the signed head of a log, three lines or more in a note (C2SP tlog-checkpoint)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from domicile.errors import EvidenceFault
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.tlog.merkle import HASH_BYTES
from domicile.evidence.tlog.note import open_note, sign_note

SIZE_MAX = 2**63 - 1
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Which log, how many entries, which root; extension lines, of which ours has none, are kept and mean nothing."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The note's text (tlog-checkpoint, "Note text")."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """Write the checkpoint as a note; the signer's name is the origin."""
    if signer.name != checkpoint.origin:
        raise EvidenceFault(f"log {checkpoint.origin}: the key is named {signer.name}; use the key of this log")
    return sign_note(checkpoint.text, [signer])


def open_checkpoint(data: bytes, verifier: Verifier) -> Checkpoint:
    """Read a checkpoint that this log's key signed; `EvidenceFault` for any other."""
    checkpoint = parse_checkpoint(open_note(data, verifier))
    if checkpoint.origin != verifier.name:
        raise EvidenceFault(f"log {verifier.name}: this is the checkpoint of another log; fetch the right one")
    return checkpoint


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint; `EvidenceFault` unless it is in its one spelling."""
    lines = text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]) or not _SIZE.fullmatch(lines[1]):
        raise EvidenceFault("checkpoint: not full lines of origin, size and root; fetch it again")
    try:
        root = base64.b64decode(lines[2].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise EvidenceFault("checkpoint: its root is not base64; fetch it again") from error
    checkpoint = Checkpoint(origin=lines[0], size=int(lines[1]), root=root, extensions=tuple(lines[3:-1]))
    if len(root) != HASH_BYTES or checkpoint.size > SIZE_MAX or checkpoint.text != text:
        raise EvidenceFault("checkpoint: not in its one spelling; fetch it again")
    return checkpoint
