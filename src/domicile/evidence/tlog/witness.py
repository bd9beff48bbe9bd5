"""What a log and a witness say to each other: `add-checkpoint` and its answers (C2SP tlog-witness); all of it pure.

POST PREFIX/add-checkpoint     old SIZE, the consistency proof, an empty line, the checkpoint
200  lines of cosignatures
400  no such request      404  an unknown log      403  not signed by its key, or by one that another took over from
409  the old size is not what the witness saw last (which the body tells), or the root of that size differs
422  the log doesn't continue what the witness saw
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from domicile.errors import EvidenceFault
from domicile.evidence.keys import Verifier
from domicile.evidence.tlog.checkpoint import SIZE_MAX, Checkpoint, open_checkpoint, parse_checkpoint
from domicile.evidence.tlog.merkle import HASH_BYTES, PROOF_HASHES_MAX, is_consistent
from domicile.evidence.tlog.note import NOTE_BYTES_MAX, NoteSignature, format_signatures, parse_note, parse_signatures

CALL: Final = "add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"
REQUEST_BYTES_MAX: Final = NOTE_BYTES_MAX + 64 * 46
ANSWER_BYTES_MAX: Final = 65_536
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


class Declined(EvidenceFault):
    """A witness does not cosign: the status of its answer, and the size it saw last where it tells that.

    `forked` where the log's own key may have signed two things that can't both be: the request is evidence of that.
    """

    def __init__(self, message: str, *, status: int, size: int | None = None, forked: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.size = size
        self.forked = forked


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """A request: the size that the witness saw last, the proof from there, and the new checkpoint's bytes."""

    old: int
    path: tuple[bytes, ...]
    checkpoint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a witness cosigned last of one log: size and root; `NOTHING` before that."""

    size: int
    root: bytes


NOTHING: Final = Seen(size=0, root=hashlib.sha256(b"").digest())


def format_request(request: AddCheckpoint) -> bytes:
    """Write a request's body."""
    lines = [f"old {request.old}", *(base64.b64encode(node).decode() for node in request.path), "", ""]
    return "\n".join(lines).encode() + request.checkpoint


def parse_request(data: bytes) -> AddCheckpoint:
    """Read a request's body; `Declined` (400) unless writing it again gives the same bytes."""
    head, separator, checkpoint = data.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
        path = tuple(base64.b64decode(line.encode(), validate=True) for line in lines)
    except (UnicodeError, binascii.Error) as error:
        raise Declined("add-checkpoint: not lines of base64 before an empty line", status=400) from error
    old = _OLD.fullmatch(first)
    fits = len(path) <= PROOF_HASHES_MAX and all(len(node) == HASH_BYTES for node in path)
    if old is None or int(old[1]) > SIZE_MAX or not separator or not fits or len(data) > REQUEST_BYTES_MAX:
        raise Declined("add-checkpoint: not `old SIZE`, at most 63 hashes, an empty line, a checkpoint", status=400)
    request = AddCheckpoint(old=int(old[1]), path=path, checkpoint=checkpoint)
    if format_request(request) != data:
        raise Declined("add-checkpoint: not in the one spelling of a request", status=400)
    return request


def identify(request: AddCheckpoint, logs: Mapping[str, Sequence[Verifier]]) -> Checkpoint:
    """The head that a key of one of these logs (by origin) signed; `Declined` with 400, 404 or 403."""
    try:
        claimed = parse_checkpoint(parse_note(request.checkpoint).text)
    except EvidenceFault as fault:
        raise Declined(f"add-checkpoint: {fault}", status=400) from fault
    if claimed.origin not in logs:
        raise Declined("add-checkpoint: of a log that this witness doesn't know", status=404)
    if not any(_signed(request.checkpoint, verifier) for verifier in logs[claimed.origin]):
        raise Declined("add-checkpoint: not signed by a key of this log", status=403)
    if request.old > claimed.size:
        raise Declined("add-checkpoint: the old size is above the checkpoint's", status=400)
    return claimed


def require_key_in_force(request: AddCheckpoint, last: bytes, keys: Sequence[Verifier]) -> None:
    """`Declined` (403) for a key that one of these followed: they stand in the order in which they took over the log.

    Once the head that was cosigned last (`last`) bears a later key, an earlier one signs no more (docs/keys.md).
    """
    if _turn(request.checkpoint, keys) < _turn(last, keys):
        raise Declined("add-checkpoint: signed by a key that the log had before; another took over", status=403)


def _turn(checkpoint: bytes, keys: Sequence[Verifier]) -> int:
    """The place of the last of these keys that signed; -1 for none."""
    return max((turn for turn, verifier in enumerate(keys) if _signed(checkpoint, verifier)), default=-1)


def _signed(checkpoint: bytes, verifier: Verifier) -> bool:
    try:
        open_checkpoint(checkpoint, verifier)
    except EvidenceFault:
        return False
    return True


def require_growth(request: AddCheckpoint, head: Checkpoint, seen: Seen) -> None:
    """`Declined` (409, 422) unless the head continues what was seen; decides alone what a witness cosigns."""
    if request.old != seen.size:
        raise Declined(f"the witness saw {seen.size} entries last, not {request.old}", status=409, size=seen.size)
    if head.size == seen.size and head.root != seen.root:
        raise Declined(f"another root of {seen.size} entries was cosigned", status=409, size=seen.size, forked=True)
    if not is_consistent(old=seen.size, old_root=seen.root, new=head.size, new_root=head.root, path=request.path):
        raise Declined(f"the log doesn't continue the {seen.size} entries that were cosigned", status=422, forked=True)


def format_size(size: int) -> bytes:
    """Write the body of a 409."""
    return f"{size}\n".encode()


def parse_size(data: bytes) -> int | None:
    """The size that a 409 tells, or None."""
    found = _SIZE.fullmatch(data)
    return int(found[1]) if found and int(found[1]) <= SIZE_MAX else None


def format_answer(signatures: Sequence[NoteSignature]) -> bytes:
    """Write the body of a 200."""
    return format_signatures(signatures)


def parse_answer(data: bytes) -> tuple[NoteSignature, ...]:
    """Read the body of a 200, not yet believed; `EvidenceFault` unless it is signature lines and nothing else."""
    return parse_signatures(data)
