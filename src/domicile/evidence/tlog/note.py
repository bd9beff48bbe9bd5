"""Signed notes, in one spelling: a text ending in a newline, an empty line, signatures (C2SP signed-note)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from domicile.errors import EvidenceFault
from domicile.evidence.keys import Signer, Verifier

NOTE_BYTES_MAX = 131_072  # 16 signatures of nearly 5 KB, as post-quantum ones are, fit (signed-note, "Format")
NOTE_SIGNATURES_MAX = 64
KEY_ID_BYTES = 4
_DASH = "\u2014 "


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line: a name, four bytes of key id, and the signature."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text and its signatures, not yet believed."""

    text: str
    signatures: tuple[NoteSignature, ...]


def sign_note(text: str, signers: Sequence[Signer]) -> bytes:
    """Write the note with one signature line for each signer, in their order."""
    signatures = tuple(
        NoteSignature(name=s.name, key_id=s.verifier.key_id, signature=s.sign(text.encode())) for s in signers
    )
    data = format_note(Note(text=text, signatures=signatures))
    if parse_note(data).text != text:
        raise EvidenceFault("note: this text can't be signed, it would read back as another")
    return data


def format_note(note: Note) -> bytes:
    """Write a note."""
    return (note.text + "\n").encode() + format_signatures(note.signatures)


def format_signatures(signatures: Sequence[NoteSignature]) -> bytes:
    """Write signature lines alone, as a witness answers."""
    return "".join(f"{_DASH}{s.name} {_encode(s.key_id + s.signature)}\n" for s in signatures).encode()


def parse_signatures(data: bytes) -> tuple[NoteSignature, ...]:
    """Read signature lines alone; `EvidenceFault` unless they are one or more, in their one spelling."""
    note = parse_note(b"\n\n" + data)
    if note.text != "\n":
        raise EvidenceFault("note: not signature lines alone; ask again")
    return note.signatures


def parse_note(data: bytes) -> Note:
    """Read a note without believing it; `EvidenceFault` unless writing it again gives the same bytes."""
    try:
        note = _read_note(data)
        same = format_note(note) == data
    except ValueError as error:
        raise EvidenceFault(f"note: not a signed note ({_reason(error)}); fetch it again") from error
    if not same:
        raise EvidenceFault("note: not in the one spelling of a signed note; fetch it again")
    return note


def open_note(data: bytes, verifier: Verifier) -> str:
    """Return the text if this key signed it; unknown keys are ignored (signed-note, "Signatures")."""
    note = parse_note(data)
    own = [s for s in note.signatures if (s.name, s.key_id) == (verifier.name, verifier.key_id)]
    if not own:
        raise EvidenceFault(f"note: not signed by {verifier.keyid}; ask for the note of that key")
    if not all(verifier.accepts(note.text.encode(), s.signature) for s in own):
        raise EvidenceFault(f"note: the signature of {verifier.keyid} is wrong; the text or the signature was altered")
    return note.text


def _read_note(data: bytes) -> Note:
    if len(data) > NOTE_BYTES_MAX:
        raise ValueError(f"longer than {NOTE_BYTES_MAX} bytes")
    whole = data.decode()
    if any(c < " " and c != "\n" for c in whole):
        raise ValueError("a control character")
    body, separator, tail = whole.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise ValueError("no empty line before signatures")
    lines = tail[:-1].split("\n")
    if len(lines) > NOTE_SIGNATURES_MAX:
        raise ValueError(f"more than {NOTE_SIGNATURES_MAX} signatures")
    return Note(text=body + "\n", signatures=tuple(_read_signature(line) for line in lines))


def _read_signature(line: str) -> NoteSignature:
    if not line.startswith(_DASH):
        raise ValueError("a signature line without its dash")
    name, _, blob = line.removeprefix(_DASH).partition(" ")
    if not name or "+" in name or any(c.isspace() for c in name):  # a name that we would not give is no fault of a note
        raise ValueError("a key name with spaces or plus signs, or none")
    raw = _decode(blob)
    if len(raw) <= KEY_ID_BYTES:
        raise ValueError("a signature too short")
    return NoteSignature(name=name, key_id=raw[:KEY_ID_BYTES], signature=raw[KEY_ID_BYTES:])


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise ValueError("not base64") from error


def _reason(error: Exception) -> str:
    return "not UTF-8" if isinstance(error, UnicodeError) else str(error)
