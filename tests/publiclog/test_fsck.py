"""`log fsck`: a folder and a URL, each kind of damage found where it is, and all of them, not only the first."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from domicile.evidence.keys import Signer
from domicile.evidence.ledger import Ledger
from domicile.evidence.publiclog.fsck import check_log
from domicile.evidence.publiclog.place import Folder, Place, Web
from domicile.evidence.publiclog.serve import application
from domicile.evidence.statement import PAYLOAD_TYPE, parse_envelope, seal, sign_envelope
from domicile.evidence.tlog.cosignature import cosign, cosigner_of
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import hash_leaf
from domicile.evidence.tlog.note import parse_note
from domicile.evidence.tlog.policy import Policy, parse_policy
from domicile.evidence.tlog.tile import encode_entries
from tests.cosigning.town import KEYS, LOG, grown, listening
from tests.vectors import scenario as s

TRUST = f"log {LOG.verifier.vkey}\n"
WITNESSES = "".join(f"witness {name} {cosigner_of(key).vkey}\n" for name, key in KEYS.items())
ALONE = parse_policy(f"{TRUST}quorum none\n".encode())
TWO = parse_policy(f"{TRUST}{WITNESSES}group g 2 w1 w2 w3\nquorum g\n".encode())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "log"
    log = grown(folder, 600)
    text = parse_note(log.head_bytes).text
    log.publish([cosign(text, KEYS[name], time=1) for name in ("w1", "w2")])
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    shutil.copytree(whole, tmp_path / "log")
    return tmp_path / "log"


def faults(place: Place, policy: Policy = ALONE) -> dict[str, str]:
    return {fault.where: fault.what for fault in check_log(place, policy).faults}


def test_a_whole_log_has_no_fault_in_a_folder_and_over_http(whole: Path) -> None:
    found = check_log(Folder(whole), TWO)
    assert ((), ("w1", "w2"), 600, 8) == (found.faults, found.cosigned_by, found.head and found.head.size, found.files)
    with listening(application(whole)) as url:
        assert found.faults == check_log(Web(url), TWO).faults


def test_too_few_cosignatures_are_a_fault_and_the_rest_is_still_checked(folder: Path) -> None:
    three = parse_policy(f"{TRUST}{WITNESSES}group g all w1 w2 w3\nquorum g\n".encode())
    (folder / "tile/1/000.p/2").unlink()
    found = faults(Folder(folder), three)
    assert {"checkpoint", "tile/1/000.p/2"} == set(found)
    assert "cosigned by w1, w2, which is not the quorum g" in found["checkpoint"]


def _flip(path: Path, place: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _other(folder: Path) -> None:
    """The last bundle and its tile, of other entries that agree with one another."""
    entries = [b"other %d" % number for number in range(88)]
    (folder / "tile/entries/002.p/88").write_bytes(encode_entries(entries))
    (folder / "tile/0/002.p/88").write_bytes(b"".join(hash_leaf(entry) for entry in entries))


DAMAGES: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    "an entry altered": (
        lambda f: _flip(f / "tile/entries/000", 5), {"tile/0/000": "hashes of the entries", "tile/1/000.p/2": "hashes"},
    ),
    "a hash altered": (lambda f: _flip(f / "tile/0/001", 70), {"tile/0/001": "hashes of the entries"}),
    "an upper hash altered": (lambda f: _flip(f / "tile/1/000.p/2", 1), {"tile/1/000.p/2": "hashes of the entries"}),
    "a bundle missing": (lambda f: (f / "tile/entries/002.p/88").unlink(), {"tile/entries/002.p/88": "is missing"}),
    "a bundle cut": (lambda f: _cut(f / "tile/entries/000"), {"tile/entries/000": "cut or too long"}),
    "a tile cut": (lambda f: _cut(f / "tile/0/000"), {"tile/0/000": "does not hold 256 hashes"}),
    "two files": (
        lambda f: [_cut(f / "tile/0/000"), (f / "tile/0/002.p/88").unlink()],  # type: ignore[func-returns-value]
        {"tile/0/000": "does not hold", "tile/0/002.p/88": "is missing"},
    ),
    "a whole other log under the old head": (
        _other, {"checkpoint": "are not those of its root"},
    ),
    "no checkpoint": (lambda f: (f / "checkpoint").unlink(), {"checkpoint": "has no checkpoint"}),
    "a checkpoint altered": (lambda f: _flip(f / "checkpoint", 30), {"checkpoint": "was altered"}),
    "a checkpoint by another key": (
        lambda f: (f / "checkpoint").write_bytes(
            (f / "checkpoint").read_bytes().replace(LOG.name.encode(), b"x.example/y")
        ),
        {"checkpoint": "signed by no log of the policy"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_found_where_it_is(folder: Path, name: str) -> None:
    damage, expected = DAMAGES[name]
    damage(folder)
    found = faults(Folder(folder))
    assert set(expected) == set(found)
    for where, what in expected.items():
        assert what in found[where]
    if "checkpoint" not in name:
        with listening(application(folder)) as url:
            assert found == faults(Web(url))


def test_a_wrong_cosignature_is_a_fault(folder: Path) -> None:
    data = (folder / "checkpoint").read_bytes()
    stranger = Signer(name="w1.example", seed=KEYS["w1"].seed)
    text = parse_note(data).text.replace("600", "601")
    line = cosign(text, stranger, time=1)
    good = parse_note(data).signatures[1]
    assert good.name == line.name
    old = base64.b64encode(good.key_id + good.signature)
    new = base64.b64encode(line.key_id + line.signature)
    (folder / "checkpoint").write_bytes(data.replace(old, new))
    assert "the cosignature of w1.example" in faults(Folder(folder), TWO)["checkpoint"]
    assert {} == faults(Folder(folder), ALONE)


OURS = parse_policy(f"log {s.ENGINE.verifier.vkey}\nquorum none\n".encode())


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A log of three statements, of which the first and the last are too long for an entry."""
    folder = tmp_path / "evidence"
    ledger = Ledger.open(folder, s.ENGINE)
    many = tuple(f"open {number}" for number in range(5_000))
    ledger.record(replace(s.plan(), not_proven=many))
    ledger.record(s.cutover())
    ledger.record(replace(s.certificate(), not_proven=many))
    return folder


def test_predicates_beside_the_log_are_files_of_it(told: Path) -> None:
    found = check_log(Folder(told / "log"), OURS)
    assert ((), 5, 2) == (found.faults, found.files, len(list((told / "detached").iterdir())))
    with listening(application(told / "log")) as url:
        assert found.faults == check_log(Web(url), OURS).faults


LOSSES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "is missing; it lies in `detached`"),
    "altered": (lambda path: _flip(path, 9_000), "is not what the log names, by SHA-256 and length"),
    "cut": (_cut, "is not what the log names"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_p9_a_predicate_beside_the_log_is_missed_and_read(told: Path, name: str) -> None:
    lose, what = LOSSES[name]
    lost = min((told / "detached").iterdir())
    lose(lost)
    found = faults(Folder(told / "log"), OURS)
    assert {f"detached/{lost.name}"} == set(found)
    assert what in found[f"detached/{lost.name}"]
    with listening(application(told / "log")) as url:
        assert found == faults(Web(url), OURS)


def test_p9_without_its_predicates_no_log_is_whole(told: Path) -> None:
    lost = {f"detached/{path.name}" for path in (told / "detached").iterdir()}
    shutil.rmtree(told / "detached")
    assert (2, lost) == (len(lost), set(faults(Folder(told / "log"), OURS)))


def test_a_predicate_of_another_length_than_the_statement_says_is_not_what_it_names(tmp_path: Path) -> None:
    sealed = seal(replace(s.plan(), not_proven=tuple(f"open {number}" for number in range(5_000))), s.ENGINE)
    data = sealed.detached or b""
    sha256 = hashlib.sha256(data).hexdigest()
    payload = parse_envelope(sealed.envelope).payload
    wrong = payload.replace(b'"bytes":%d' % len(data), b'"bytes":%d' % (len(data) + 1))
    assert wrong != payload
    log = Log.create(tmp_path / "log", s.ENGINE)
    log.append([sealed.envelope, sealed.envelope, sign_envelope(wrong, payload_type=PAYLOAD_TYPE, signer=s.ENGINE)])
    (tmp_path / "detached").mkdir()
    (tmp_path / "detached" / f"{sha256}.json").write_bytes(data)
    found = check_log(Folder(tmp_path / "log"), OURS)
    assert ([f"detached/{sha256}.json"], 4) == ([fault.where for fault in found.faults], found.files)
