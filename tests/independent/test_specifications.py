"""The examples that stand in the specifications themselves are read, and written again byte for byte (P9).

Those of tlog-checkpoint, tlog-tiles, DSSE, RFC 6962 and of Go's note package stand beside the readers' own tests.
"""

from __future__ import annotations

import base64

import pytest

from domicile.errors import EvidenceFault
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.tlog.note import format_note, open_note, parse_note
from domicile.evidence.tlog.proof import format_proof, parse_proof

# C2SP signed-note, at its head.
NOTE = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "\u2014 quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQw"
    "aqP3ZekRwNtIc=\n"
).encode()
# C2SP tlog-proof, at its head, up to the checkpoint, whose signatures are shortened there.
PROOF = b"""\
c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

"""
# RFC 8032, 7.1, tests 1 and 2: seed, public key, message, signature.
ED25519 = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe"
            "24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302a"
            "eeb00d291612bb0c00"
        ),
    ),
)


def test_the_note_of_signed_note_is_read_and_written() -> None:
    note = parse_note(NOTE)
    assert NOTE == format_note(note)
    assert (4, "ed è subito sera.\n") == (note.text.count("\n"), note.text[-18:])
    [signature] = note.signatures
    assert ("quasimodo.example/salvatore", "367ba04b", 64) == (
        signature.name, signature.key_id.hex(), len(signature.signature),
    )  # fmt: skip
    with pytest.raises(EvidenceFault, match="not signed by"):
        open_note(NOTE, Signer(name=signature.name, seed=bytes(32)).verifier)


def test_the_proof_of_tlog_proof_is_read_and_written() -> None:
    proof = parse_proof(PROOF)
    assert PROOF == format_proof(proof)
    assert (73894, 5, b"") == (proof.index, len(proof.path), proof.checkpoint)
    assert base64.b64decode("gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=") == proof.path[0]
    assert (proof.extra or b"").startswith(b"age-v1.2.1-darwin-arm64.tar.gz")


@pytest.mark.parametrize(("seed", "public", "message", "signature"), ED25519)
def test_signatures_are_those_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    signer = Signer(name="rfc8032.example", seed=bytes.fromhex(seed))
    assert public == signer.verifier.public.hex()
    assert signature == signer.sign(bytes.fromhex(message)).hex()
    verifier = Verifier(name="rfc8032.example", public=bytes.fromhex(public))
    assert verifier.accepts(bytes.fromhex(message), bytes.fromhex(signature))
    assert not verifier.accepts(bytes.fromhex(message) + b".", bytes.fromhex(signature))
