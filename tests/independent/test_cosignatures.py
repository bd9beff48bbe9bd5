"""Cosignatures, quorums and witnesses of ours against a program with Go's note package, and its own against us (P9)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from domicile.errors import EvidenceFault, Unreachable
from domicile.evidence.bundle import pack, trust_policy
from domicile.evidence.cosigning.asking import Witnesses
from domicile.evidence.keys import save_signer
from domicile.evidence.tlog.cosignature import cosign, cosigned, cosigner_of, parse_cosigner
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.note import format_signatures, parse_note
from domicile.evidence.tlog.policy import parse_policy
from domicile.web import ask
from domicile_audit.checklist import audit
from domicile_audit.trust.policy import read_policy
from tests.cosigning.town import KEYS, LOG, Patient, free_port, grown, policy_of
from tests.independent.golang import Refused, Sumdb, build
from tests.vectors import make
from tests.vectors import scenario as s
from tests.vectors.witnessed import CHECKPOINT, TIME, WITNESSES, unwitnessed

VECTORS = Path(make.__file__).parent
SEEDS = {name: name.encode().hex() * 16 for name in ("g1", "g2")}
"""Of the witnesses in Go."""
QUORUM = "the quorum is not met"
INVALID = "invalid signature"
REASONS = {
    "stolen-key": QUORUM,
    "stolen-key-with-cosignatures-of-the-true-log": INVALID,
    "stolen-key-with-witnesses-of-its-own": QUORUM,
    "cosigned-by-one": QUORUM,
    "cosigned-by-one-twice": QUORUM,
    "cosigned-beyond-all-time": INVALID,
    "cosigned-later-than-it-was": INVALID,
    "cosigned-by-the-log-and-an-approver": QUORUM,
}


@pytest.fixture(scope="module")
def go() -> Sumdb:
    return build()


def policy(name: str) -> Path:
    return VECTORS / "policies" / f"{name}.txt"


def checkpoint(bundle: Path) -> bytes:
    with zipfile.ZipFile(bundle) as archive:
        return archive.read(CHECKPOINT)


def test_p9_go_finds_the_quorum_of_the_cosigned_bundle_by_policies_that_it_meets(go: Sumdb) -> None:
    head = checkpoint(VECTORS / "good" / "cosigned.zip")
    for name in ("two-of-three", "ca-and-one-more"):
        assert f"ca {TIME}\nus {TIME + 60}\n" == go("quorum", policy(name), given=head).decode()
    for name in ("all-three", "one-witness"):
        with pytest.raises(Refused, match=QUORUM):
            go("quorum", policy(name), given=head)
    assert b"" == go("quorum", policy("right"), given=head), "whoever asks for no witness is told of none"
    with pytest.raises(Refused):
        go("quorum", policy("another-log"), given=head)


def test_every_unwitnessed_bundle_has_its_reason() -> None:
    assert REASONS.keys() == unwitnessed().keys()


@pytest.mark.parametrize("name", REASONS)
def test_p9_go_refuses_what_too_few_cosigned_or_wrongly(go: Sumdb, name: str) -> None:
    with pytest.raises(Refused, match=REASONS[name]):
        go("quorum", policy("two-of-three"), given=checkpoint(VECTORS / "unwitnessed" / f"{name}.zip"))


def test_p9_one_changed_byte_of_a_cosignature_is_refused_by_go_as_by_us(go: Sumdb) -> None:
    head = checkpoint(VECTORS / "good" / "cosigned.zip")
    start = head.index("— witness-us".encode())
    keys = [cosigner_of(key) for key in WITNESSES.values()]
    for place in range(start, len(head), 5):
        bent = head[:place] + bytes([head[place] ^ 1]) + head[place + 1 :]
        with pytest.raises(Refused):
            go("quorum", policy("two-of-three"), given=bent)
        with suppress(EvidenceFault):
            assert 2 > len(cosigned(parse_note(bent), keys)), place


def test_a_cosignature_of_either_is_the_same_bytes(go: Sumdb) -> None:
    text = parse_note(checkpoint(VECTORS / "good" / "cosigned.zip")).text
    for name, key in WITNESSES.items():
        for time in (0, 1, TIME, 2**63 - 1):
            made = go("cosign", key.name, key.seed.hex(), str(time), given=f"{text}\n".encode())
            assert made == format_signatures([cosign(text, key, time=time)])
        vkey = go("cosign", key.name, key.seed.hex(), "key").decode().strip()
        assert (vkey, cosigner_of(key)) == (cosigner_of(key).vkey, parse_cosigner(vkey)), name


def test_p9_our_checker_accepts_a_bundle_that_only_go_cosigned(go: Sumdb) -> None:
    files = s.files_of(s.good())
    head = files[CHECKPOINT]
    vkeys = {name: go("cosign", f"{name}.example", seed, "key").decode().strip() for name, seed in SEEDS.items()}
    lines = "".join(f"witness {name} {vkey}\n" for name, vkey in vkeys.items()) + "group all all g1 g2\nquorum all\n"
    trust = trust_policy(s.ENGINE.verifier, s.plan().approvals, parse_policy(lines.encode()))
    signed = [go("cosign", f"{name}.example", seed, str(TIME), given=head) for name, seed in SEEDS.items()]
    elsewhere = go("cosign", "g2.example", SEEDS["g2"], str(TIME), given=head.replace(b"\n18\n", b"\n17\n"))

    def passes(*more: bytes) -> tuple[bool, int]:
        report = audit(pack({**files, CHECKPOINT: head + b"".join(more)}, s.ENGINE), read_policy(trust.encode()))
        return report.accepted, report.checks[-1].number

    assert (True, 24) == passes(*signed)
    assert (True, 24) == passes(*reversed(signed))
    assert (False, 5) == passes(signed[0])
    assert (False, 5) == passes(signed[0], signed[0])
    assert (False, 5) == passes(signed[0], elsewhere)
    found = cosigned(parse_note(head + b"".join(signed)), [parse_cosigner(vkey) for vkey in vkeys.values()])
    assert dict.fromkeys(vkeys.values(), TIME) == {one.vkey: time for one, time in found.items()}


@contextmanager
def ours(folder: Path) -> Iterator[str]:
    """`domicile witness serve`, a process of its own."""
    save_signer(folder / "w1.key", KEYS["w1"])
    (folder / "trust.txt").write_text(f"log {LOG.verifier.vkey}\nquorum none\n")
    url = f"http://127.0.0.1:{(port := free_port())}"
    child = subprocess.Popen(
        [sys.executable, "-m", "domicile.cli", "witness", "serve", "--key", "w1.key", "--store", "w1.db", "--trust",
         "trust.txt", "--listen", f"127.0.0.1:{port}"],
        cwd=folder, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        pause = threading.Event()
        while not _answers(url):
            assert child.poll() is None, "the witness ended"
            pause.wait(0.01)
        yield url
    finally:
        child.terminate()
        child.wait()


def _answers(url: str) -> bool:
    try:
        ask(f"{url}/", bytes_max=9_000)
    except Unreachable:
        return False
    return True


def test_p9_go_asks_a_real_witness_of_ours_and_finds_its_cosignatures_right(go: Sumdb, tmp_path: Path) -> None:
    trust = tmp_path / "policy.txt"
    with ours(tmp_path) as url:
        lines = f"log {LOG.verifier.vkey}\napprover {s.OPERATOR.verifier.vkey}\napprovals 1\n"
        trust.write_text(lines + f"witness w1 {cosigner_of(KEYS['w1']).vkey} {url}\nquorum w1\n")
        log = grown(tmp_path / "log", 3)
        log.publish([])
        words = ("submit", tmp_path / "log", LOG.verifier.vkey, url)
        for old, more in ((0, 300), (3, 2), (303, 0)):
            status, _, line = go(*words, str(old)).decode().partition("\n")
            assert "200" == status, line
            head = log.head_bytes + line.encode()
            assert go("quorum", trust, given=head).startswith(b"w1 ")
            with pytest.raises(Refused, match=INVALID):
                go("quorum", trust, given=head.replace(log.head_bytes.split(b"\n")[2], b"A" * 43 + b"="))
            with pytest.raises(Refused, match=QUORUM):
                go("quorum", trust, given=log.head_bytes)
            if more:
                log.append([b"more"] * more)
                log.publish([])
        assert b"409\n305\n" == go(*words, "7")
        fork = grown(tmp_path / "fork", 305, of="another")
        fork.publish([])
        assert b"409\n305\n" == go("submit", tmp_path / "fork", LOG.verifier.vkey, url, "305")
        fork.append([b"more"])
        fork.publish([])
        assert go("submit", tmp_path / "fork", LOG.verifier.vkey, url, "305").startswith(b"422\n")


@contextmanager
def theirs(go: Sumdb, name: str) -> Iterator[tuple[str, str]]:
    """A witness in Go: its key, and where it is asked."""
    words: list[str | Path] = [go.program, "witness", f"{name}.example", SEEDS[name], LOG.verifier.vkey]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        vkey, url = child.stdout.readline().split()
        yield vkey, url
    finally:
        child.communicate()


def test_p9_our_log_is_cosigned_by_witnesses_in_go_and_a_fork_of_it_is_not(go: Sumdb, tmp_path: Path) -> None:
    with theirs(go, "g1") as (key, url), theirs(go, "g2") as (other, elsewhere):
        urls = {"g1": url, "g2": elsewhere}
        keys = {"g1": parse_cosigner(key), "g2": parse_cosigner(other)}
        witnesses, again = (Witnesses(policy_of(urls, "all", keys=keys), host=Patient(), wait_s_max=0) for _ in "12")
        log = grown(tmp_path / "log", 3)
        for more in (0, 300, 1, 0):
            log.append([b"more"] * more)
            found = witnesses.cosign(log)
            log.publish(found.signatures)
            assert () == found.remarks
            assert set(keys.values()) == cosigned(parse_note(log.checkpoint_bytes), keys.values()).keys()
        log.append([b"more"])
        log.publish(again.cosign(log).signatures)  # asked by one who knows nothing of what they saw, and is told
        assert log.size == Log.open(tmp_path / "log", LOG, cosigned=True).published_size
        fork = grown(tmp_path / "fork", log.size + 1, of="another")
        with pytest.raises(EvidenceFault, match="put back from an old copy"):
            again.cosign(fork)
