"""DSSE envelopes with one Ed25519 signature, in one spelling (DSSE v1.0.2, envelope.md and protocol.md)."""

from domicile_audit.case import require
from domicile_audit.keys import Key, read_base64
from domicile_audit.shape import TEXT, misfit, read_json, text

ENVELOPE = {"payload": text(chars_max=1 << 28), "payloadType": TEXT, "signatures": [{"keyid": TEXT, "sig": TEXT}]}


def open_envelope(data: bytes, payload_type: str, keys: dict[str, Key], where: str) -> tuple[bytes, str]:
    """The payload and keyid of an envelope that one of the keys signed."""
    envelope = read_json(data, where)
    require(misfit(envelope, ENVELOPE) is None, f"{where} is not a DSSE envelope")
    require(envelope["payloadType"] == payload_type, f"{where} has another payload type than {payload_type}")
    require(len(envelope["signatures"]) == 1, f"{where} does not have exactly one signature")
    keyid = envelope["signatures"][0]["keyid"]
    require(keyid in keys, f"{where} is signed by a key that has no place here: {keyid}")
    payload = read_base64(envelope["payload"], f"the payload of {where}")
    signature = read_base64(envelope["signatures"][0]["sig"], f"the signature of {where}")
    message = b"DSSEv1 %d %b %d %b" % (len(payload_type), payload_type.encode(), len(payload), payload)  # PAE
    require(keys[keyid].signed(message, signature), f"{where}: the signature of {keyid} is wrong")
    return payload, keyid
