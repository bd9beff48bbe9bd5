"""Statements: a predicate about a subject, signed; in-toto Statement v1 in a DSSE v1.0.2 envelope, Ed25519.

An envelope has to fit into a log entry (65,535 bytes). A predicate over `DETACHED_OVER_BYTES` is
therefore *detached*: the statement holds its SHA-256 and length, the bytes lie beside the log under that hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from domicile.errors import BadFile, EvidenceFault
from domicile.evidence.codec import (
    COUNT_MAX,
    JSON_BYTES_MAX,
    Hex,
    Json,
    decode,
    dump_json,
    encode,
    from_json,
    load_json,
)
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.predicates import KINDS, ApprovalPredicate, ClearancePredicate, ErasurePredicate, Predicate

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
PREDICATE_PREFIX: Final = "urn:domicile:"
DETACHED_OVER_BYTES: Final = 32_768
ENVELOPE_BYTES_MAX: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A signed statement: the envelope's bytes, and those of its predicate if that is detached."""

    envelope: bytes
    detached: bytes | None

    @property
    def sha256(self) -> str:
        """How other statements name this one: the SHA-256 of the envelope's bytes."""
        return hashlib.sha256(self.envelope).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A DSSE envelope with its one signature, not yet believed."""

    payload_type: str
    payload: bytes
    keyid: str
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    keyid: str
    sig: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """How a statement names the predicate that it leaves outside: its SHA-256, and how many bytes it has."""

    sha256: Hex
    bytes: int


def seal(predicate: Predicate, signer: Signer) -> Sealed:
    """State and sign; the same predicate and key give the same bytes every time."""
    body = encode(predicate)
    detached = body if len(body) > DETACHED_OVER_BYTES else None
    inner: Json = load_json(body)
    if detached is not None:
        inner = {"detached": {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}}
    payload = dump_json(_statement(predicate, inner))
    return Sealed(envelope=sign_envelope(payload, payload_type=PAYLOAD_TYPE, signer=signer), detached=detached)


def unseal(sealed: Sealed, verifier: Verifier) -> Predicate:
    """Return the predicate that this key signed; `EvidenceFault` for anything else."""
    predicate = read_unverified(sealed)
    open_envelope(sealed.envelope, payload_type=PAYLOAD_TYPE, verifier=verifier)
    return predicate


def read_unverified(sealed: Sealed) -> Predicate:
    """Return the predicate without believing it, to find out whose key should have signed it."""
    try:
        return _read(sealed)
    except BadFile as error:
        raise EvidenceFault(f"statement: {error}") from error


def detached_name(envelope: bytes) -> str | None:
    """The SHA-256 of the predicate that the statement left outside, or None if it holds it."""
    outside = detached_of(envelope)
    return None if outside is None else outside.sha256


def detached_of(envelope: bytes) -> Detached | None:
    """The predicate that the statement left outside, or None if it holds it; `EvidenceFault` for no statement."""
    try:
        payload = load_json(parse_envelope(envelope).payload)
        inner = payload.get("predicate") if isinstance(payload, dict) else None
        if isinstance(inner, dict) and inner.keys() == {"detached"}:
            return from_json(inner["detached"], Detached)
    except BadFile as error:
        raise EvidenceFault(f"statement: {error}") from error
    return None


def sign_envelope(payload: bytes, *, payload_type: str, signer: Signer) -> bytes:
    """Write a DSSE envelope with one signature."""
    signature = signer.sign(pre_authentication(payload_type, payload))
    keyid = signer.verifier.keyid
    return _format(Envelope(payload_type=payload_type, payload=payload, keyid=keyid, signature=signature))


def open_envelope(data: bytes, *, payload_type: str, verifier: Verifier) -> bytes:
    """Return the payload that this key signed; `EvidenceFault` for anything else."""
    envelope = parse_envelope(data)
    if envelope.payload_type != payload_type:
        raise EvidenceFault("statement: the envelope is of another payload type; fetch the right one")
    if envelope.keyid != verifier.keyid:
        raise EvidenceFault(f"statement: not signed by {verifier.keyid}; ask for the one of that key")
    if not verifier.accepts(pre_authentication(payload_type, envelope.payload), envelope.signature):
        raise EvidenceFault(f"statement: the signature of {verifier.keyid} is wrong; it was altered")
    return envelope.payload


def parse_envelope(data: bytes) -> Envelope:
    """Read an envelope without believing it; `EvidenceFault` unless writing it again gives the same bytes."""
    try:
        outer = load_json(data, bytes_max=2 * JSON_BYTES_MAX)
        envelope = _envelope(outer)
    except (BadFile, ValueError) as error:
        raise EvidenceFault("statement: not a DSSE envelope with one signature; fetch it again") from error
    if _format(envelope) != data:
        raise EvidenceFault("statement: its envelope is not in its one spelling; fetch it again")
    return envelope


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed (DSSE protocol, "PAE")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _statement(predicate: Predicate, inner: Json) -> Json:
    name, digest = _subject(predicate)
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}}],
        "predicateType": PREDICATE_PREFIX + predicate.KIND,
        "predicate": inner,
    }


def _subject(predicate: Predicate) -> tuple[str, str]:
    """What the statement is about: an equality, a clearance, or the plan."""
    if isinstance(predicate, ApprovalPredicate | ClearancePredicate):
        return "equality", predicate.equality
    if isinstance(predicate, ErasurePredicate):
        return "clearance", predicate.clearance
    return "plan.json", predicate.plan


def _read(sealed: Sealed) -> Predicate:
    if len(sealed.envelope) > ENVELOPE_BYTES_MAX:
        raise BadFile(f"longer than {ENVELOPE_BYTES_MAX} bytes; fetch it again")
    payload = load_json(parse_envelope(sealed.envelope).payload)
    kind = payload.get("predicateType") if isinstance(payload, dict) else None
    found = KINDS.get(kind.removeprefix(PREDICATE_PREFIX)) if isinstance(kind, str) else None
    if not isinstance(payload, dict) or found is None:
        raise BadFile("of no type that this version knows; read it with the version that wrote it")
    inner = payload.get("predicate")
    predicate = from_json(inner, found) if sealed.detached is None else decode(sealed.detached, found)
    reference = _reference(sealed.detached) if sealed.detached is not None else inner
    if inner != reference or payload != _statement(predicate, inner):
        raise BadFile("not in the form of our statements; fetch it again")
    return predicate


def _reference(detached: bytes) -> Json:
    if not DETACHED_OVER_BYTES < len(detached) <= min(JSON_BYTES_MAX, COUNT_MAX):
        raise BadFile("its detached predicate has a wrong length; fetch it again")
    return {"detached": {"sha256": hashlib.sha256(detached).hexdigest(), "bytes": len(detached)}}


def _format(envelope: Envelope) -> bytes:
    return dump_json(
        {
            "payload": base64.b64encode(envelope.payload).decode(),
            "payloadType": envelope.payload_type,
            "signatures": [{"keyid": envelope.keyid, "sig": base64.b64encode(envelope.signature).decode()}],
        }
    )


def _envelope(outer: Json) -> Envelope:
    if not isinstance(outer, dict) or outer.keys() != {"payload", "payloadType", "signatures"}:
        raise ValueError("keys")
    signatures = outer["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise ValueError("signatures")
    one = from_json(signatures[0], _Signature)
    return Envelope(
        payload_type=_text(outer["payloadType"]),
        payload=_decode(_text(outer["payload"])),
        keyid=one.keyid,
        signature=_decode(one.sig),
    )


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("not a text")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError) as error:
        raise ValueError("not base64") from error
