"""Our notes, tiles and proofs against the Go checksum database's libraries, and theirs against ours (P9)."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from domicile.errors import EvidenceFault
from domicile.evidence.keys import Signer, parse_skey, parse_vkey
from domicile.evidence.statement import parse_envelope
from domicile.evidence.tlog.checkpoint import open_checkpoint
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import is_consistent
from domicile.evidence.tlog.note import open_note, sign_note
from domicile.evidence.tlog.proof import Proof, check_proof, format_proof, parse_proof
from tests.independent.golang import Refused, Sumdb, build
from tests.vectors import make

GOOD = sorted((Path(make.__file__).parent / "good").glob("*.zip"))
ORIGIN = "log.example"
SIZES = (1, 2, 255, 256, 257, 700)
ENTRIES = [hashlib.sha256(b"entry %d" % number).hexdigest().encode() * (number % 5) for number in range(max(SIZES))]


@pytest.fixture(scope="module")
def sumdb() -> Sumdb:
    return build()


@pytest.fixture(scope="module")
def theirs(sumdb: Sumdb) -> tuple[Signer, str]:
    """A key that Go made, as our signer, and its secret line."""
    secret, public = sumdb("key", ORIGIN).decode().split()
    signer = parse_skey(secret)
    assert public == parse_vkey(public).vkey == signer.verifier.vkey
    return signer, secret


def written(folder: Path, size: int, signer: Signer) -> Log:
    log = Log.create(folder, signer)
    for start in range(0, size, 100):  # in several appends, so that partial tiles came and went
        log.append(ENTRIES[start : min(start + 100, size)])
    return log


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unpacked(bundle: Path, folder: Path) -> tuple[Path, str]:
    with zipfile.ZipFile(io.BytesIO(bundle.read_bytes())) as archive:
        archive.extractall(folder)
    return folder / "log", (folder / "keys" / "log.vkey").read_text().strip()


def test_a_note_of_either_is_one_of_the_other(sumdb: Sumdb, theirs: tuple[Signer, str]) -> None:
    signer, secret = theirs
    text = "log.example\n7\nünïcode\n\n— with a dash\n"
    made = sumdb("note", secret, given=text.encode())
    assert made == sign_note(text, [signer])
    assert text == open_note(made, signer.verifier)
    for place in range(0, len(made), 7):
        with pytest.raises(EvidenceFault):
            open_note(made[:place] + bytes([made[place] ^ 1]) + made[place + 1 :], signer.verifier)


@pytest.mark.parametrize("bundle", GOOD, ids=lambda path: path.stem)
def test_p9_go_checks_the_log_of_every_golden_bundle_and_an_entrys_proof(
    sumdb: Sumdb, bundle: Path, tmp_path: Path
) -> None:
    folder, vkey = unpacked(bundle, tmp_path)
    ours = Log.open(folder, parse_vkey(vkey))
    assert (
        f"{ours.origin} {ours.size} {base64.b64encode(ours.root).decode()}\n" == sumdb("check", folder, vkey).decode()
    )
    entry = tmp_path / "entry"
    entry.write_bytes(ours.entry(ours.size - 1))
    sumdb("proof", vkey, entry, given=ours.receipt(ours.size - 1))


@pytest.mark.parametrize("size", SIZES)
def test_p9_tiles_and_proofs_are_the_same_bytes(
    sumdb: Sumdb, theirs: tuple[Signer, str], size: int, tmp_path: Path
) -> None:
    signer, secret = theirs
    vkey = signer.verifier.vkey
    ours = written(tmp_path / "ours", size, signer)
    sumdb("check", tmp_path / "ours", vkey)
    given = b"".join(base64.b64encode(entry) + b"\n" for entry in ENTRIES[:size])
    sumdb("write", tmp_path / "theirs", secret, given=given)
    assert ours.files().items() <= files(tmp_path / "theirs").items()  # Go writes every partial tile
    read = Log.open(tmp_path / "theirs", signer.verifier)
    assert (ENTRIES[:size], ours.root) == (list(read.entries()), read.root)

    entry = tmp_path / "entry"
    for index in sorted({0, size // 2, size - 1}):
        proof = sumdb("prove", tmp_path / "ours", vkey, str(index))
        assert ours.receipt(index) == proof
        assert size == check_proof(parse_proof(proof), entry=ENTRIES[index], verifier=signer.verifier).size
        entry.write_bytes(ENTRIES[index])
        sumdb("proof", vkey, entry, given=proof)
        entry.write_bytes(ENTRIES[index] + b".")
        with pytest.raises(Refused):
            sumdb("proof", vkey, entry, given=proof)


@pytest.mark.parametrize(("old", "new"), [(1, 2), (2, 255), (255, 256), (256, 257), (3, 700), (512, 700), (699, 700)])
def test_p9_consistency_proofs_of_either_convince_the_other(
    sumdb: Sumdb, theirs: tuple[Signer, str], old: int, new: int, tmp_path: Path
) -> None:
    signer, _ = theirs
    log = written(tmp_path / "log", new, signer)
    told = sumdb("prove-tree", tmp_path / "log", signer.verifier.vkey, str(old)).decode().split()
    path = tuple(base64.b64decode(line) for line in told)
    assert log.consistency_proof(old) == path
    roots = {"old_root": log.root_at(old), "new_root": log.root}
    assert is_consistent(old=old, new=new, path=path, **roots)
    given = "".join(f"{line}\n" for line in told).encode()
    words = ["tree", str(old), base64.b64encode(roots["old_root"]).decode(), str(new)]
    sumdb(*words, base64.b64encode(roots["new_root"]).decode(), given=given)
    with pytest.raises(Refused):
        sumdb(*words, base64.b64encode(roots["old_root"]).decode(), given=given)


def test_p9_go_refuses_a_log_of_ours_in_which_one_byte_is_another(
    sumdb: Sumdb, theirs: tuple[Signer, str], tmp_path: Path
) -> None:
    signer, _ = theirs
    folder = tmp_path / "log"
    written(folder, 257, signer)
    for name, data in files(folder).items():
        (folder / name).write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])  # not in what base64 leaves unused
        with pytest.raises(Refused):
            sumdb("check", folder, signer.verifier.vkey)
        with pytest.raises(EvidenceFault):
            Log.open(folder, signer.verifier)
        (folder / name).write_bytes(data)
    sumdb("check", folder, signer.verifier.vkey)


def test_p9_a_log_that_changed_its_key_is_the_new_keys_alone(
    sumdb: Sumdb, theirs: tuple[Signer, str], tmp_path: Path
) -> None:
    signer, _ = theirs
    log = written(tmp_path / "log", 300, signer)
    following = Signer(name=ORIGIN, seed=hashlib.sha256(b"the next key").digest())
    log.hand_over([b"handed over"], following)
    sumdb("check", tmp_path / "log", following.verifier.vkey)
    assert 301 == open_checkpoint(log.checkpoint_bytes, following.verifier).size
    with pytest.raises(Refused):
        sumdb("check", tmp_path / "log", signer.verifier.vkey)


@pytest.mark.parametrize(
    "paper", sorted((Path(make.__file__).parent / "papers" / "good").glob("*")), ids=lambda p: p.stem
)
def test_p9_go_finds_every_statement_of_a_receipt_in_the_log_of_its_last_key(
    sumdb: Sumdb, paper: Path, tmp_path: Path
) -> None:
    """Also those by which the key changed hands; with a key that the log had before, Go refuses the head."""
    proof = parse_proof(paper.read_bytes())
    extra = json.loads(proof.extra or b"")
    path = [node.hex() for node in proof.path]
    placed = [*extra.get("keys", []), extra["certificate"], {**extra["receipts"], "index": proof.index, "path": path}]
    entry = tmp_path / "entry"
    for one in placed:
        entry.write_bytes(base64.b64decode(one["envelope"]))
        plain = Proof(index=one["index"], path=tuple(map(bytes.fromhex, one["path"])), checkpoint=proof.checkpoint)
        sumdb("proof", extra["log"], entry, given=format_proof(plain))
        for before in [line for line in named_keys(extra) if line != extra["log"]]:
            with pytest.raises(Refused):
                sumdb("proof", before, entry, given=format_proof(plain))


def named_keys(extra: dict[str, Any]) -> list[str]:
    """The log's keys that a receipt's changes name."""
    said = [json.loads(parse_envelope(base64.b64decode(one["envelope"])).payload) for one in extra.get("keys", [])]
    return [one["predicate"]["key"] for one in said if one["predicate"]["approver"] is None]
