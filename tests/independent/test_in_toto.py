"""Our statements against in-toto's own library and securesystemslib's envelopes, and theirs against ours (P9)."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.json_format import MessageToDict, ParseDict
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Key, SSlibKey

from domicile.errors import EvidenceFault
from domicile.evidence import predicates as p
from domicile.evidence.keys import Signer, parse_vkey
from domicile.evidence.statement import PAYLOAD_TYPE, Sealed, seal, unseal
from domicile.evidence.tlog.log import Log
from domicile_audit.log.keys import open_envelope, read_vkey
from tests.vectors import make
from tests.vectors import scenario as s

GOOD = Path(make.__file__).parent / "good"


def their_key(vkey: str) -> SSlibKey:
    verifier = parse_vkey(vkey)
    return SSlibKey(verifier.keyid, "ed25519", "ed25519", {"public": verifier.public.hex()})


def their_statement(payload: bytes) -> Statement:
    """Read strictly by their schema: an unknown key is an error there."""
    return Statement.copy_from_pb(ParseDict(json.loads(payload), StatementMessage()))


def bundles(folder: Path) -> Iterator[tuple[str, list[Key], list[bytes]]]:
    """Name, keys and log entries of each golden bundle."""
    for path in sorted(GOOD.glob("*.zip")):
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            archive.extractall(folder / path.stem)
        lines = {file.name: file.read_text().strip() for file in (folder / path.stem / "keys").iterdir()}
        log = Log.open(folder / path.stem / "log", parse_vkey(lines["log.vkey"]))
        yield path.stem, [their_key(line) for line in lines.values()], list(log.entries())


def test_p9_each_statement_of_the_golden_bundles_is_verified_and_validated_by_others(tmp_path: Path) -> None:
    kinds = set()
    for name, keys, entries in bundles(tmp_path):
        for entry in entries:
            envelope = Envelope.from_dict(json.loads(entry))
            assert 1 == len(envelope.verify(keys, 1)), name
            statement = their_statement(envelope.payload)
            statement.validate()
            kinds.add(statement.pb.predicate_type.removeprefix("urn:domicile:"))
            altered = Envelope.from_dict(json.loads(entry))
            altered.payload = altered.payload.replace(b'"plan":"', b'"plan":"0', 1) + b" "
            with pytest.raises(VerificationError):
                altered.verify(keys, 1)
    assert set(p.KINDS) == kinds


def test_p9_a_statement_that_others_made_and_signed_is_one_of_ours() -> None:
    """Their message, filled by their library, signed by their signer, spelt as the bundle wants it."""
    made = Statement([], "urn:domicile:cutover/v1", json.loads(json.dumps(_predicate(s.cutover()))))
    made.pb.subject.add(name="plan.json", digest={"sha256": s.PLAN})
    made.validate()
    payload = _spelt(_whole(MessageToDict(made.pb)))
    envelope = signed(payload)
    assert seal(s.cutover(), s.ENGINE).envelope == envelope
    assert s.cutover() == unseal(Sealed(envelope=envelope, detached=None), s.ENGINE.verifier)
    key = read_vkey(s.ENGINE.verifier.vkey)
    assert (payload, key.keyid) == open_envelope(envelope, PAYLOAD_TYPE, {key.keyid: key}, "entry")
    with pytest.raises(EvidenceFault):
        unseal(Sealed(envelope=signed(payload, signer=s.STRANGER), detached=None), s.ENGINE.verifier)


def signed(payload: bytes, *, signer: Signer = s.ENGINE) -> bytes:
    """Sign by securesystemslib, under our name for the key."""
    private = Ed25519PrivateKey.from_private_bytes(signer.seed)
    public = SSlibKey.from_crypto(private.public_key(), s.ENGINE.verifier.keyid)
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(private, public))
    return _spelt(envelope.to_dict())


def _predicate(predicate: p.Predicate) -> Any:
    from domicile.evidence.codec import encode  # noqa: PLC0415

    return json.loads(encode(predicate))


def _whole(value: Any) -> Any:
    """Their messages know numbers as floats only; JSON writes 40.0 where we write 40."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _spelt(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
