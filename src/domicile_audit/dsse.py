"""DSSE envelopes with one Ed25519 signature, in one spelling (DSSE v1.0.2, envelope.md and protocol.md)."""

from __future__ import annotations

from collections.abc import Mapping

from domicile_audit.case import Refused, require
from domicile_audit.keys import Key, read_base64
from domicile_audit.shape import TEXT, Text, misfit, read_json

ENVELOPE = {"payload": Text(chars_max=1 << 28), "payloadType": TEXT, "signatures": [{"keyid": TEXT, "sig": TEXT}]}


def open_envelope(data: bytes, payload_type: str, keys: Mapping[str, Key], where: str) -> tuple[bytes, str]:
    """The payload and keyid of an envelope that one of the keys signed."""
    envelope = read_json(data, where)
    require(misfit(envelope, ENVELOPE) is None, f"{where} is not a DSSE envelope")
    require(envelope["payloadType"] == payload_type, f"{where} has another payload type than {payload_type}")
    require(len(envelope["signatures"]) == 1, f"{where} does not have exactly one signature")
    keyid = envelope["signatures"][0]["keyid"]
    require(keyid in keys, f"{where} is signed by a key that has no place here: {keyid}")
    try:
        payload = read_base64(envelope["payload"])
        signature = read_base64(envelope["signatures"][0]["sig"])
    except ValueError as error:
        raise Refused(f"{where} holds {error}") from error
    require(keys[keyid].signed(_pae(payload_type, payload), signature), f"{where}: the signature of {keyid} is wrong")
    return payload, keyid


def _pae(payload_type: str, payload: bytes) -> bytes:
    """protocol.md, "Signature Definition": PAE(type, body)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
