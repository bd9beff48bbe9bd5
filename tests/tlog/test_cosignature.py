"""Cosignatures against the bytes that the spec describes, written out here and checked by `openssl`."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from domicile.errors import BadFile, EvidenceFault
from domicile.evidence.keys import Signer, parse_vkey
from domicile.evidence.tlog.cosignature import Cosigner, cosign, cosigned, cosigner_of, parse_cosigner
from domicile.evidence.tlog.note import (
    Note,
    NoteSignature,
    format_note,
    format_signatures,
    parse_note,
    parse_signatures,
    sign_note,
)
from domicile_audit.log.cosignature import read_cosigner

LOG = Signer(name="example.com/behind-the-sofa", seed=bytes(range(32)))
WITNESS = Signer(name="witness.example.com/w1", seed=bytes(range(1, 33)))
OTHER = Signer(name="witness.example.com/w2", seed=bytes(range(2, 34)))
TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
TIME = 1679315147
MESSAGE = b"cosignature/v1\ntime 1679315147\n" + TEXT.encode()
ML_DSA = Cosigner(name="witness.example.com/pq", public=bytes(1_312), algorithm=6)


def noted(*lines: NoteSignature) -> Note:
    return Note(text=TEXT, signatures=(*parse_note(sign_note(TEXT, [LOG])).signatures, *lines))


def test_a_cosignature_is_the_one_that_the_spec_describes(tmp_path: Path) -> None:
    """Key id, time and signed message, computed by hand; the signature accepted by openssl, for this message only."""
    line = cosign(TEXT, WITNESS, time=TIME)
    public = WITNESS.verifier.public
    assert hashlib.sha256(b"witness.example.com/w1\n\x04" + public).digest()[:4] == line.key_id
    assert TIME.to_bytes(8, "big") == line.signature[:8]
    pem = Ed25519PublicKey.from_public_bytes(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, data in {"key": pem, "sig": line.signature[8:], "good": MESSAGE, "bad": MESSAGE[:-1]}.items():
        (tmp_path / name).write_bytes(data)

    def verify(message: str) -> int:
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key", "-in", message]
        return subprocess.run(
            [*command, "-sigfile", "sig"], cwd=tmp_path, capture_output=True, check=False, timeout=30
        ).returncode

    assert [0, 1] == [verify("good"), verify("bad")]


def test_the_line_of_a_witness_is_not_that_of_a_log_with_the_same_key() -> None:
    cosigner = cosigner_of(WITNESS)
    assert cosigner.key_id != WITNESS.verifier.key_id
    assert base64.b64decode(cosigner.vkey.split("+", 2)[2])[0] == 4
    with pytest.raises(BadFile):
        parse_vkey(cosigner.vkey)
    with pytest.raises(BadFile, match="of no type that cosigns"):
        parse_cosigner(WITNESS.verifier.vkey)
    with pytest.raises(ValueError, match="of a type that cosigns"):
        read_cosigner(WITNESS.verifier.vkey)


@pytest.mark.parametrize("key", [cosigner_of(WITNESS), ML_DSA])
def test_both_programs_read_a_witness_key_in_its_one_spelling(key: Cosigner) -> None:
    assert key == parse_cosigner(key.vkey)
    assert (key.name, key.key_id, key.algorithm, key.public) == (
        (other := read_cosigner(key.vkey)).name, other.key_id, other.algorithm, other.public
    )  # fmt: skip
    for place in (0, len(key.name) + 2, len(key.vkey) - 1):
        bent = key.vkey[:place] + ("b" if key.vkey[place] != "b" else "c") + key.vkey[place + 1 :]
        with pytest.raises(BadFile):
            parse_cosigner(bent)
        with pytest.raises(ValueError):
            read_cosigner(bent)


def test_who_cosigned_is_told_and_unknown_lines_are_ignored() -> None:
    lines = (cosign(TEXT, WITNESS, time=TIME), cosign(TEXT, OTHER, time=TIME + 1))
    known = cosigner_of(WITNESS)
    assert {known: TIME} == cosigned(noted(*lines), [known])
    assert {} == cosigned(noted(), [known])
    other_name = NoteSignature(name="x", key_id=known.key_id, signature=bytes(72))
    other_id = NoteSignature(name=known.name, key_id=bytes(4), signature=bytes(72))
    assert {known: TIME} == cosigned(noted(other_name, other_id, *lines), [known])
    later = (*lines, cosign(TEXT, WITNESS, time=TIME + 9), cosign(TEXT, WITNESS, time=TIME + 5))
    assert {known: TIME + 9} == cosigned(noted(*later), [known])


def test_a_line_by_an_algorithm_that_is_not_known_never_counts() -> None:
    """The ML-DSA-44 type: whatever stands there, it is neither believed nor a reason to refuse the note."""
    line = NoteSignature(name=ML_DSA.name, key_id=ML_DSA.key_id, signature=bytes(8 + 2_420))
    assert {} == cosigned(noted(line), [ML_DSA])
    assert ML_DSA.time_of(TEXT, line.signature) is None
    short = Cosigner(name=ML_DSA.name, public=WITNESS.verifier.public, algorithm=6)
    assert short.time_of(TEXT, cosign(TEXT, WITNESS, time=1).signature) is None


@given(st.integers(0, 71), st.integers(0, 7))
def test_one_flipped_bit_of_a_cosignature_refuses_the_note(place: int, bit: int) -> None:
    line = cosign(TEXT, WITNESS, time=TIME)
    bent = bytearray(line.signature)
    bent[place] ^= 1 << bit
    wrong = NoteSignature(name=line.name, key_id=line.key_id, signature=bytes(bent))
    with pytest.raises(EvidenceFault, match="is wrong"):
        cosigned(noted(line, wrong), [cosigner_of(WITNESS)])


def test_a_cosignature_of_another_head_or_of_a_time_beyond_the_limit_is_none() -> None:
    witness = cosigner_of(WITNESS)
    assert witness.time_of(TEXT.replace("20852163", "20852164"), cosign(TEXT, WITNESS, time=TIME).signature) is None
    far = 2**63
    signed = WITNESS.sign(f"cosignature/v1\ntime {far}\n{TEXT}".encode())
    assert witness.time_of(TEXT, far.to_bytes(8, "big") + signed) is None
    with pytest.raises(EvidenceFault):
        cosign(TEXT, WITNESS, time=far)
    assert witness.time_of(TEXT, cosign(TEXT, WITNESS, time=far - 1).signature) == far - 1


def test_extension_lines_are_cosigned_as_well() -> None:
    longer = TEXT + "an extension\n"
    assert cosigner_of(WITNESS).time_of(longer, cosign(longer, WITNESS, time=1).signature) == 1
    assert cosigner_of(WITNESS).time_of(TEXT, cosign(longer, WITNESS, time=1).signature) is None


def test_signature_lines_alone_are_read_and_nothing_else_is() -> None:
    lines = (cosign(TEXT, WITNESS, time=1), cosign(TEXT, OTHER, time=2))
    data = format_signatures(lines)
    assert lines == parse_signatures(data)
    assert format_note(noted(*lines)) == sign_note(TEXT, [LOG]) + data
    for bad in (b"", b"\n", data[:-1], b"x\n" + data, b"x\n\n" + data, data + b"\n", TEXT.encode() + b"\n" + data):
        with pytest.raises(EvidenceFault):
            parse_signatures(bad)
