"""A witness whose key lies in a token: it cosigns for many at once, and a token that is gone is no answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from domicile.errors import Unreachable
from domicile.evidence.cosigning.serving import WitnessService, application
from domicile.evidence.cosigning.store import WitnessStore
from domicile.evidence.keys import Signer
from domicile.evidence.signers import MODULE_VARIABLE, open_key
from domicile.evidence.tlog.cosignature import cosigner_of, parse_cosigner
from domicile.evidence.tlog.note import parse_note
from domicile.evidence.tlog.witness import parse_answer
from domicile.host import Host
from tests.cosigning.test_witness import body, head, last, post
from tests.cosigning.town import KEYS, LOG, answering, free_port, listening, witness
from tests.keys.benches import MODULE, PIN
from tests.keys.test_moved import TOLD
from tests.keys.test_signers import Folder, make_key
from tests.main.programme import Programme

NAME = "witness.example/w1"


@pytest.fixture
def desk(tokens: object, token_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programme:
    """A folder whose commands reach the token; there is no programme in it."""
    (tmp_path / "trust.txt").write_text(f"log {LOG.verifier.vkey}\nquorum none\n")
    told = {TOLD: str(token_place / "softhsm2.conf"), MODULE_VARIABLE: MODULE, "PIN": PIN}
    monkeypatch.setenv(TOLD, told[TOLD])
    return Programme(folder=tmp_path, source="", homes={}, holders=told)


@contextmanager
def served(desk: Programme, *words: str) -> Iterator[str]:
    """`domicile witness serve` with these words, in a process of its own."""
    port = free_port()
    child = subprocess.Popen(
        [sys.executable, "-m", "domicile.cli", "witness", "serve", "--trust", "trust.txt", "--store", "w.db",
         "--listen", f"127.0.0.1:{port}", *words],
        cwd=desk.folder, env={**os.environ, **desk.environment, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        answering(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


def test_p9_a_key_in_a_token_cosigns_for_many_at_once(desk: Programme) -> None:
    key = make_key(9)
    made = desk.cli("witness", "new", NAME, "--key", key, "--secret", "env:PIN", "--json").json()
    assert key == made["secret"]
    assert NAME in desk.cli("witness", "new", NAME, "--key", key, "--secret", "env:PIN").out
    own = parse_cosigner(made["vkey"])
    with served(desk, "--key", key, "--secret", "env:PIN", "--vkey", made["vkey"]) as url:
        assert 200 == post(url, body(0, 9)).status
        with ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(lambda _: post(url, body(9, 9)), range(60)))
        assert {200} == {answer.status for answer in answers}
        for answer in answers:
            (line,) = parse_answer(answer.body)
            assert own.time_of(parse_note(head(9)).text, line.signature) is not None
        assert own.key_id in {line.key_id for line in parse_note(last(url).body).signatures}
    assert all(PIN not in text for text in desk.shown)


def test_p9_a_witness_that_changes_its_key_keeps_what_it_saw(tmp_path: Path) -> None:
    """As docs/keys.md has it: another key, the same store; so the new key never cosigns what the old one refused."""
    with witness("w1", tmp_path) as url:
        assert 200 == post(url, body(0, 9)).status
    uri = Folder(tmp_path).make("next")
    following = open_key(uri, secret=None, host=Host(), name="w1.example/2")
    store = WitnessStore(tmp_path / "w1.db")
    with listening(application(WitnessService(following, [LOG.verifier], store, host=Host()))) as url:
        assert 409 == post(url, body(0, 5)).status
        (line,) = parse_answer(post(url, body(9, 9)).body)
        assert cosigner_of(following).time_of(parse_note(head(9)).text, line.signature) is not None
    store.close()


def test_a_key_that_is_not_that_of_its_line_cosigns_nothing(desk: Programme) -> None:
    """Somebody has the port already, so that who would serve ends, too, and otherwise."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        refused(desk, f"127.0.0.1:{door.getsockname()[1]}")


def refused(desk: Programme, listen: str) -> None:
    key = make_key(9)
    serve = ("witness", "serve", "--trust", "trust.txt", "--listen", listen, "--key")
    assert "wants its --vkey" in desk.cli(*serve, key, "--secret", "env:PIN", code=2).text
    other = cosigner_of(KEYS["w1"]).vkey
    for place in (key, "w.key"):
        desk.cli("witness", "new", NAME, "--key", place, "--secret", "env:PIN")
        told = desk.cli(*serve, place, "--secret", "env:PIN", "--vkey", other, code=30).text
        assert "another key than w1.example+" in told
    assert "asks for a pin" in desk.cli("witness", "new", NAME, "--key", key, code=30).text
    log = LOG.verifier.vkey
    assert "no type that cosigns" in desk.cli(*serve, "w.key", "--vkey", log, code=30).text


def test_p7_a_token_that_is_gone_is_no_answer_and_the_head_is_cosigned_later(tmp_path: Path) -> None:
    class Loose:
        there = False
        public = KEYS["w1"].verifier.public

        def sign(self, message: bytes) -> bytes:
            if not self.there:
                raise Unreachable("key hsm:9: its holder refused; check it")
            return KEYS["w1"].sign(message)

    loose, store = Loose(), WitnessStore(tmp_path / "w.db")
    service = WitnessService(Signer(name="w1.example", held=loose), [LOG.verifier], store, host=Host())
    with listening(application(service)) as url:
        for answer in (post(url, body(0, 9)), post(url, body(9, 9)), last(url)):
            assert (500, b"the witness can't keep what it sees, or can't sign; try later\n") == (
                answer.status,
                answer.body,
            )
        loose.there = True
        assert [409, 200] == [post(url, body(0, 5)).status, post(url, body(9, 9)).status]
    store.close()
