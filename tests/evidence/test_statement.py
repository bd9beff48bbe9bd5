"""Statements against the tools of others: securesystemslib's DSSE, the in-toto attestation library, openssl."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from domicile.errors import EvidenceFault
from domicile.evidence.statement import (
    DETACHED_OVER_BYTES,
    ENVELOPE_BYTES_MAX,
    PAYLOAD_TYPE,
    Sealed,
    detached_name,
    open_envelope,
    parse_envelope,
    pre_authentication,
    read_unverified,
    seal,
    sign_envelope,
    unseal,
)
from tests.vectors import scenario as s

SEALED = seal(s.cutover(), s.ENGINE)


def their_key() -> SSlibKey:
    verifier = s.ENGINE.verifier
    return SSlibKey(verifier.keyid, "ed25519", "ed25519", {"public": verifier.public.hex()})


def test_securesystemslib_verifies_our_envelope_and_refuses_an_altered_one() -> None:
    envelope = Envelope.from_dict(json.loads(SEALED.envelope))
    assert {s.ENGINE.verifier.keyid} == set(envelope.verify([their_key()], 1))
    altered = Envelope.from_dict(json.loads(SEALED.envelope))
    altered.payload = altered.payload.replace(b"fence", b"fense")
    with pytest.raises(VerificationError):
        altered.verify([their_key()], 1)


@given(st.text(max_size=20), st.binary(max_size=50))
def test_what_is_signed_is_what_securesystemslib_signs(kind: str, payload: bytes) -> None:
    assert pre_authentication(kind, payload) == Envelope(payload, kind, {}).pae()


def test_the_example_of_the_dsse_protocol() -> None:
    assert pre_authentication("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_openssl_verifies_our_signature(tmp_path: Path) -> None:
    envelope = json.loads(SEALED.envelope)
    payload = base64.b64decode(envelope["payload"])
    message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    public = Ed25519PublicKey.from_public_bytes(s.ENGINE.verifier.public)
    (tmp_path / "key").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    codes = []
    for data in (message, message + b" "):
        (tmp_path / "message").write_bytes(data)
        command = "openssl pkeyutl -verify -rawin -pubin -inkey key -in message -sigfile sig"
        codes.append(
            subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False, timeout=30).returncode
        )
    assert [0, 1] == codes


def test_a_statement_is_an_in_toto_statement_of_version_1() -> None:
    payload = json.loads(parse_envelope(SEALED.envelope).payload)
    assert {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "plan.json", "digest": {"sha256": s.PLAN}}],
        "predicateType": "urn:domicile:cutover/v1",
        "predicate": {
            "plan": s.PLAN,
            "position": "0/16B3748",
            "fenced_at": "2026-11-22T10:10:00Z",
            "subjects": {"us": 40, "ca": 10},
            "fence": "guard in the database",
        },
    } == payload


def test_each_statement_is_about_what_it_judges() -> None:
    play = s.good().play()
    subjects = {name: json.loads(parse_envelope(x.envelope).payload)["subject"] for name, x in play.items()}
    equality, clearance = play["equality"].sha256, play["clearance"].sha256
    assert (
        subjects["approval operator"] == subjects["clearance"] == [{"name": "equality", "digest": {"sha256": equality}}]
    )
    assert subjects["outcome app.public.users us"] == [{"name": "clearance", "digest": {"sha256": clearance}}]
    assert subjects["plan"] == subjects["certificate"] == [{"name": "plan.json", "digest": {"sha256": s.PLAN}}]


def test_the_same_statement_has_the_same_bytes_and_comes_back() -> None:
    assert seal(s.cutover(), s.ENGINE) == SEALED
    for sealed in s.good().play().values():
        predicate = read_unverified(sealed)
        assert seal(predicate, s.ENGINE).detached is None
    assert s.cutover() == unseal(SEALED, s.ENGINE.verifier)


def test_another_key_or_payload_type_is_refused() -> None:
    with pytest.raises(EvidenceFault, match="not signed by"):
        unseal(SEALED, s.STRANGER.verifier)
    same_name = replace(s.STRANGER, name=s.ENGINE.name)
    with pytest.raises(EvidenceFault, match="not signed by"):
        unseal(SEALED, same_name.verifier)
    with pytest.raises(EvidenceFault, match="another payload type"):
        open_envelope(SEALED.envelope, payload_type="text/plain", verifier=s.ENGINE.verifier)
    forged = SEALED.envelope.replace(s.ENGINE.verifier.keyid.encode(), same_name.verifier.keyid.encode())
    with pytest.raises(EvidenceFault, match="is wrong"):
        unseal(Sealed(envelope=forged, detached=None), same_name.verifier)


def test_a_flipped_bit_anywhere_gives_only_our_error() -> None:
    for place in range(len(SEALED.envelope)):
        data = SEALED.envelope
        bent = data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]
        with pytest.raises(EvidenceFault):
            unseal(Sealed(envelope=bent, detached=None), s.ENGINE.verifier)


@given(st.binary(max_size=200))
def test_any_bytes_give_only_our_error(data: bytes) -> None:
    for read in (read_unverified, lambda x: detached_name(x.envelope)):
        with pytest.raises(EvidenceFault):
            read(Sealed(envelope=data, detached=None))


def test_a_payload_that_is_no_statement_of_ours_is_refused() -> None:
    good = json.loads(parse_envelope(SEALED.envelope).payload)
    changes: list[dict[str, Any]] = [
        {"predicateType": "urn:domicile:pardon/v1"},
        {"predicateType": "urn:other:cutover/v1"},
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"subject": []},
        {"more": 1},
        {"predicate": None},
        {"predicate": {"detached": {"sha256": "0" * 64, "bytes": 40_000}}},
    ]
    for change in changes:
        with pytest.raises(EvidenceFault):
            read_unverified(s.raw({**good, **change}))


def large(lines: int) -> Sealed:
    return seal(replace(s.certificate(), not_proven=tuple("x" * 1_000 + str(n) for n in range(lines))), s.ENGINE)


def test_a_predicate_over_the_limit_is_detached_and_comes_back() -> None:
    for lines in (1, 31, 32, 33, 2_000):
        sealed = large(lines)
        size = len(json.dumps(json.loads(sealed.detached or b"0"), separators=(",", ":")))
        assert (sealed.detached is not None) == (lines > 31)
        assert sealed.detached is None or size > DETACHED_OVER_BYTES
        assert len(sealed.envelope) <= ENVELOPE_BYTES_MAX
        assert (detached_name(sealed.envelope) is not None) == (sealed.detached is not None)
        assert len(unseal(sealed, s.ENGINE.verifier).not_proven) == lines  # type: ignore[attr-defined]


def test_a_detached_predicate_that_is_missing_or_another_is_refused() -> None:
    sealed, other = large(100), large(101)
    for detached in (None, other.detached, (sealed.detached or b"") + b" ", b"{}"):
        with pytest.raises(EvidenceFault):
            unseal(Sealed(envelope=sealed.envelope, detached=detached), s.ENGINE.verifier)


def test_an_envelope_is_signed_for_its_type_only() -> None:
    payload = parse_envelope(SEALED.envelope).payload
    manifest = sign_envelope(payload, payload_type="application/vnd.domicile.manifest+json", signer=s.ENGINE)
    bent = manifest.replace(b"application/vnd.domicile.manifest+json", PAYLOAD_TYPE.encode())
    with pytest.raises(EvidenceFault, match="is wrong"):
        open_envelope(bent, payload_type=PAYLOAD_TYPE, verifier=s.ENGINE.verifier)
