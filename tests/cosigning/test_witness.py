"""A witness over HTTP, as C2SP tlog-witness wants it; what it forgets it would cosign twice, so it forgets nothing."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from domicile.errors import HostFault
from domicile.evidence.cosigning import serving
from domicile.evidence.cosigning.serving import WitnessService, log_id
from domicile.evidence.cosigning.store import WitnessStore
from domicile.evidence.keys import Signer, save_signer
from domicile.evidence.tlog.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from domicile.evidence.tlog.cosignature import cosigned, cosigner_of
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from domicile.evidence.tlog.note import parse_note
from domicile.evidence.tlog.witness import AddCheckpoint, Declined, format_request, parse_answer, require_growth
from domicile.host import Host
from domicile.web import Answer, ask
from tests.cosigning.town import KEYS, LOG, answering, free_port, listening, witness
from tests.powerloss import Disk

LEAVES = [hash_leaf(b"%d" % number) for number in range(30)]
FORK = [*LEAVES[:3], hash_leaf(b"another"), *LEAVES[4:]]
SIZE = "text/x.tlog.size"


def head(size: int, leaves: list[bytes] = LEAVES, signer: Signer = LOG) -> bytes:
    return sign_checkpoint(Checkpoint(origin=signer.name, size=size, root=Tree(leaves[:size]).root()), signer)


def body(old: int, new: int, leaves: list[bytes] = LEAVES, *, signer: Signer = LOG) -> bytes:
    path = Tree(leaves[:new]).consistency(min(old, new))
    return format_request(AddCheckpoint(old=old, path=path, checkpoint=head(new, leaves, signer)))


def post(url: str, data: bytes) -> Answer:
    return ask(f"{url}/add-checkpoint", body=data, bytes_max=70_000)


def last(url: str, signer: Signer = LOG) -> Answer:
    return ask(f"{url}/logs/{log_id(signer.name)}/checkpoint", bytes_max=70_000)


def test_a_log_that_grows_is_cosigned_with_the_witnesses_key(tmp_path: Path) -> None:
    with witness("w1", tmp_path) as url:
        for old, new in ((0, 0), (0, 3), (3, 3), (3, 9), (9, 30)):
            answer = post(url, body(old, new))
            assert 200 == answer.status, answer
            (line,) = parse_answer(answer.body)
            text = parse_note(head(new)).text
            time = cosigner_of(KEYS["w1"]).time_of(text, line.signature)
            assert time is not None
            assert abs(time - Host().now().timestamp()) < 3_600
        shown = parse_note(last(url).body)
        assert [cosigner_of(KEYS["w1"])] == list(cosigned(shown, [cosigner_of(KEYS["w1"])]))
        assert 30 == open_checkpoint(last(url).body, LOG.verifier).size


def test_rollbacks_and_forks_are_refused_and_change_nothing(tmp_path: Path) -> None:
    stranger = Signer(name=LOG.name, seed=bytes(32))
    other = Signer(name="log.example/other", seed=bytes(range(3, 35)))
    with witness("w1", tmp_path) as url:
        post(url, body(0, 9))
        before = last(url).body.split(b"\n\n")[0]
        for data, status, kind, said in (
            (body(0, 5), 409, SIZE, b"9\n"),
            (body(5, 9), 409, SIZE, b"9\n"),
            (body(0, 20), 409, SIZE, b"9\n"),
            (body(9, 9, FORK), 409, SIZE, b"9\n"),
            (body(9, 20, FORK), 422, None, None),
            (body(10, 9), 400, None, None),
            (b"hello", 400, None, None),
            (body(9, 20, signer=stranger), 403, None, None),
            (body(9, 20, signer=other), 404, None, None),
            (b"x" * 600_000, 413, None, None),
        ):
            answer = post(url, data)
            assert status == answer.status, (data[:40], answer)
            assert said is None or (kind, said) == (answer.kind, answer.body)
            assert before == last(url).body.split(b"\n\n")[0]
        assert 404 == last(url, other).status
        assert 405 == ask(f"{url}/add-checkpoint", bytes_max=9_000).status
        assert [404, 404] == [ask(f"{url}{path}", bytes_max=9_000).status for path in ("/", "/logs")]
        assert 200 == post(url, body(9, 20)).status


NEXT = Signer(name=LOG.name, seed=bytes(range(7, 39)))


def test_p9_a_witness_goes_on_over_a_change_of_the_logs_key_and_never_back(tmp_path: Path) -> None:
    """It sees no statement, so its operator names the next key, below the first; what is not named is refused."""
    with witness("w1", tmp_path) as url:
        assert 200 == post(url, body(0, 9)).status
        assert 403 == post(url, body(9, 12, signer=NEXT)).status
    with witness("w1", tmp_path, logs=(LOG.verifier, NEXT.verifier)) as url:
        assert [200, 200] == [post(url, body(9, 9)).status, post(url, body(9, 12)).status]
        assert 422 == post(url, body(12, 20, FORK, signer=NEXT)).status
        assert [200, 200] == [post(url, body(12, 14, signer=NEXT)).status, post(url, body(14, 15, signer=NEXT)).status]
        for data in (body(15, 20), body(15, 15), body(15, 20, signer=Signer(name=LOG.name, seed=bytes(32)))):
            assert 403 == post(url, data).status
        assert 15 == open_checkpoint(last(url).body, NEXT.verifier).size
    with witness("w1", tmp_path, logs=(NEXT.verifier,)) as url:
        assert [403, 200] == [post(url, body(15, 20)).status, post(url, body(15, 20, signer=NEXT)).status]


def test_several_logs_are_known_apart(tmp_path: Path) -> None:
    other = Signer(name="log.example/other", seed=bytes(range(3, 35)))
    with witness("w1", tmp_path, logs=(LOG.verifier, other.verifier)) as url:
        assert [200, 200] == [post(url, body(0, 9)).status, post(url, body(0, 5, FORK, signer=other)).status]
        assert [200, 200] == [post(url, body(9, 10)).status, post(url, body(5, 6, FORK, signer=other)).status]
        assert [409, 409] == [post(url, body(5, 6, FORK)).status, post(url, body(9, 11, signer=other)).status]


def test_the_head_is_durable_before_the_cosignature_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off in between, the witness knows the head that nobody got a cosignature for, and never the reverse.

    By a kill, and by a loss of power at any moment: when the cosignature is made, the head is on the disk.
    """
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")

    class Killed(BaseException):
        pass

    def killed(text: str, *_: object, **__: object) -> None:
        disk.promise(parse_checkpoint(text).size)
        raise Killed

    monkeypatch.setattr(serving, "cosign", killed)
    with disk.watched():
        store = WitnessStore(disk.root / "w.db")
        service = WitnessService(KEYS["w1"], [LOG.verifier], store, host=Host())
        for old, new in ((0, 3), (3, 9), (9, 30)):
            with pytest.raises(Killed):
                service.add_checkpoint(body(old, new))
        assert [30] == _sizes(disk.root)
        store.close()
    for number, left in enumerate(disk.remains):
        seen = max(_sizes(left.lay(tmp_path / f"left-{number}")), default=0)
        assert (left.promised or 0) <= seen, left.moment


def _sizes(folder: Path) -> list[int]:
    """What a witness that is opened there saw last."""
    with closing(WitnessStore(folder / "w.db")) as store:
        return [kept.size for kept in store.all()]


def test_a_store_that_can_not_keep_a_head_gives_no_cosignature(tmp_path: Path) -> None:
    store = WitnessStore(tmp_path / "w.db")
    service = WitnessService(KEYS["w1"], [LOG.verifier], store, host=Host())
    service.add_checkpoint(body(0, 3))
    store._database.execute("PRAGMA query_only = ON")
    with pytest.raises(HostFault):
        service.add_checkpoint(body(3, 9))
    with listening(serving.application(service)) as url:
        assert 500 == post(url, body(3, 9)).status
        store._database.execute("PRAGMA query_only = OFF")
        assert 200 == post(url, body(3, 9)).status
    store.close()


def test_many_who_ask_at_once_never_roll_it_back(tmp_path: Path) -> None:
    """The race of the spec: of all who continue from one size one is first, and all others conflict."""
    store = WitnessStore(tmp_path / "w.db")
    other = WitnessStore(tmp_path / "w.db")  # as another process would have it
    services = [WitnessService(KEYS["w1"], [LOG.verifier], one, host=Host()) for one in (store, other)]
    services[0].add_checkpoint(body(0, 3))
    answers: list[int] = []
    barrier = threading.Barrier(8)

    def submit(new: int) -> None:
        barrier.wait()
        try:
            services[new % 2].add_checkpoint(body(3, new))
            answers.append(new)
        except Declined as declined:
            answers.append(-declined.status)

    threads = [threading.Thread(target=submit, args=(new,)) for new in range(4, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    *refused, won = sorted(answers)
    assert [-409] * 7 == refused
    assert [won] == [kept.size for kept in store.all()]
    store.close()
    other.close()


def test_nobody_else_writes_between_the_look_and_the_new_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The atomicity that the spec asks for, also against another process with the same file."""
    store = WitnessStore(tmp_path / "w.db")
    service = WitnessService(KEYS["w1"], [LOG.verifier], store, host=Host())
    other = sqlite3.connect(tmp_path / "w.db", timeout=0, isolation_level=None)
    locked: list[str] = []

    def deciding(*args: Any) -> None:
        with pytest.raises(sqlite3.OperationalError, match="locked") as refusal:
            other.execute("BEGIN IMMEDIATE")
        locked.append(str(refusal.value))
        require_growth(*args)

    monkeypatch.setattr("domicile.evidence.cosigning.store.require_growth", deciding)
    service.add_checkpoint(body(0, 9))
    assert 1 == len(locked)
    other.execute("BEGIN IMMEDIATE")
    other.close()
    store.close()


def test_killed_with_kill_9_the_program_still_refuses_what_it_refused(tmp_path: Path) -> None:
    save_signer(tmp_path / "w1.key", KEYS["w1"])
    (tmp_path / "trust.txt").write_text(f"log {LOG.verifier.vkey}\nquorum none\n")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    for asked, wanted in (([body(0, 9)], [200]), ([body(0, 5), body(9, 9, FORK), body(9, 20)], [409, 409, 200])):
        child = subprocess.Popen(
            [sys.executable, "-m", "domicile.cli", "witness", "serve", "--key", "w1.key", "--store", "w1.db", "--trust",
             "trust.txt", "--listen", f"127.0.0.1:{port}"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        try:
            answering(url)
            assert wanted == [post(url, data).status for data in asked]
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
    store = WitnessStore(tmp_path / "w1.db")
    assert [20] == [kept.size for kept in store.all()]
    store.close()
