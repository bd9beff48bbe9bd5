"""A log and its witnesses: quorum, forks, rollbacks, a stolen key, and witnesses that answer badly or not at all."""

from __future__ import annotations

import shutil
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

from domicile.config.witnesses import WitnessRule
from domicile.errors import BadFile, EvidenceFault, NoQuorum, Unreachable
from domicile.evidence.cosigning.asking import Witnesses, witnesses_of
from domicile.evidence.keys import Signer
from domicile.evidence.tlog.cosignature import Cosigner, cosign, cosigned, cosigner_of
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.note import format_signatures, parse_note
from domicile.host import Host
from domicile.web import ask, require_url
from tests.cosigning.town import KEYS, LOG, NAMES, Patient, asked, grown, policy_of, witness

NOWHERE = "http://127.0.0.1:1"


def publish(log: Log, witnesses: Witnesses) -> tuple[str, ...]:
    found = witnesses.cosign(log)
    log.publish(found.signatures)
    return found.remarks


def signers(log: Log) -> set[str]:
    found = cosigned(parse_note(log.checkpoint_bytes), [cosigner_of(key) for key in KEYS.values()])
    return {one.name for one in found}


def test_a_quorum_is_enough_and_who_is_missing_is_told(tmp_path: Path) -> None:
    with witness("w1", tmp_path) as one, witness("w3", tmp_path) as three:
        witnesses = asked({"w1": one, "w2": NOWHERE, "w3": three}, "2")
        log = grown(tmp_path / "log", 5)
        for _ in range(3):
            (remark,) = publish(log, witnesses)
            assert "witness w2" in remark
            assert "no answer" in remark
            assert {"w1.example", "w3.example"} == signers(log)
            log.append([b"more", b"and more"])


def test_without_a_quorum_nothing_is_published_and_nothing_is_lost(tmp_path: Path) -> None:
    log = grown(tmp_path / "log", 5)
    with witness("w1", tmp_path) as one:
        publish(log, asked({"w1": one}, "1"))
        log.append([b"more"])
        before = (tmp_path / "log/checkpoint").read_bytes()
        with pytest.raises(NoQuorum, match=r"6 entries is cosigned by w1, and the quorum some wants more .*w2.*w3"):
            publish(log, asked({"w1": one, "w2": NOWHERE, "w3": NOWHERE}, "2"))
        assert before == (tmp_path / "log/checkpoint").read_bytes()
        assert (6, 5) == (log.size, log.published_size)
        with witness("w2", tmp_path) as two:
            again = Log.open(tmp_path / "log", LOG, cosigned=True)
            publish(again, asked({"w1": one, "w2": two, "w3": NOWHERE}, "2"))
            assert (6, {"w1.example", "w2.example"}) == (again.published_size, signers(again))


def test_a_witness_that_comes_back_while_it_is_waited_for_is_asked_again(tmp_path: Path) -> None:
    with ExitStack() as stack:
        urls = {"w1": NOWHERE}

        class Returning(Patient):
            def pause(self, seconds: float) -> None:
                super().pause(seconds)
                if witnesses.policy.witnesses["w1"].url == NOWHERE and self.monotonic_s() > 5:
                    urls["w1"] = stack.enter_context(witness("w1", tmp_path))
                    witnesses.policy = policy_of(urls, "1")

        witnesses = Witnesses(policy_of(urls, "1"), host=Returning(), wait_s_max=30)
        log = grown(tmp_path / "log", 2)
        assert () == publish(log, witnesses)
        assert log.is_published
        assert 5 < witnesses.host.monotonic_s() < 30


def test_p7_a_forked_log_is_cosigned_by_no_two_witnesses(tmp_path: Path) -> None:
    """Whoever holds the key shows one log to each of two witnesses; neither gets both, and each is told why."""
    with witness("w1", tmp_path) as one, witness("w2", tmp_path) as two:
        urls = {"w1": one, "w2": two}
        honest = grown(tmp_path / "log", 4)
        publish(honest, asked(urls, "all"))
        shutil.copytree(tmp_path / "log", tmp_path / "fork")
        forked = Log.open(tmp_path / "fork", LOG, cosigned=True)
        honest.append([b"everything is fine"])
        forked.append([b"nothing is fine"])
        publish(honest, asked({"w1": one}, "all"))
        publish(forked, asked({"w2": two}, "all"))
        told = ((honest, "witness w2 saw 5 entries that are not its beginning"), (forked, "w1 saw another head of 6"))
        for log, why in told:
            log.append([b"and on"])
            with pytest.raises(EvidenceFault, match=why):
                publish(log, asked(urls, "all"))
            assert not log.is_published
        third = grown(tmp_path / "third", 6, of="another")
        with pytest.raises(EvidenceFault, match=r"w1 saw another head of 6; witness w2 saw another head of 6"):
            publish(third, asked(urls, "all"))


def test_a_log_that_was_put_back_from_an_old_copy_is_told_by_its_witnesses(tmp_path: Path) -> None:
    """Folder and journal of the run are both of yesterday; the witness is not."""
    with witness("w1", tmp_path) as one:
        log = grown(tmp_path / "log", 4)
        publish(log, asked({"w1": one}, "all"))
        shutil.copytree(tmp_path / "log", tmp_path / "old")
        log.append([b"of today", b"of today, too"])
        publish(log, asked({"w1": one}, "all"))
        back = Log.open(tmp_path / "old", LOG, cosigned=True)
        back.append([b"otherwise"])
        with pytest.raises(EvidenceFault, match=r"saw 6 entries, and has 5 here.* put back from an old copy"):
            publish(back, asked({"w1": one}, "all"))


def test_a_witness_that_lies_or_stumbles_stops_no_quorum_of_others(tmp_path: Path) -> None:
    log = grown(tmp_path / "log", 4)
    text = parse_note(log.head_bytes).text
    foreign = format_signatures([cosign(text, Signer(name="x", seed=bytes(32)), time=1)])
    wrong = format_signatures([cosign(text.replace("4", "5"), KEYS["w2"], time=1)])
    answers = {
        (200, b""): "not a signed note", (200, b"<html>"): "not a signed note", (200, foreign): "without a cosignature",
        (200, wrong): "its cosignature is wrong", (200, b"x" * 70_000): "more than 65536 bytes",
        (409, b"9\n"): "saw 9 entries, and has 4 here", (409, b"0\n"): "another head of 0",
        (409, b"soon\n"): "answered 409", (422, b""): "not its beginning", (403, b""): "does not know the log's key",
        (404, b""): "does not know this log", (500, b""): "answered 500", (301, b""): "answered 301",
    }  # fmt: skip
    with witness("w1", tmp_path) as one, witness("w3", tmp_path) as three, _Answering() as liar:
        for (status, said), why in answers.items():
            liar.status, liar.body = status, said
            found = asked({"w1": one, "w2": liar.url, "w3": three}, "2").cosign(log)
            assert (2, 1) == (len(found.signatures), len(found.remarks)), why
            assert why in found.remarks[0]
            assert "witness w2" in found.remarks[0]


def test_cosignatures_are_put_in_the_policys_order_and_nothing_else_is(tmp_path: Path) -> None:
    log = grown(tmp_path / "log", 4)
    with ExitStack() as stack:
        urls = {name: stack.enter_context(witness(name, tmp_path)) for name in reversed(NAMES)}
        publish(log, asked(urls, "all"))
    names = [line.name for line in parse_note(log.checkpoint_bytes).signatures]
    assert [LOG.name, "w3.example", "w2.example", "w1.example"] == names


def test_a_policy_without_a_quorum_waits_for_nobody(tmp_path: Path) -> None:
    log = grown(tmp_path / "log", 4)
    with witness("w1", tmp_path) as one:
        publish(log, asked({"w1": one, "w2": NOWHERE}, "none", wait_s_max=60))
    assert {"w1.example"} == signers(log)
    log.append([b"more"])
    publish(log, asked({"w1": NOWHERE}, "none", wait_s_max=60))
    assert (set(), True) == (signers(log), log.is_published)


VKEY = cosigner_of(KEYS["w1"]).vkey
THREE = [f"witness {name} {cosigner_of(key).vkey} https://{name}.example" for name, key in KEYS.items()]
PQ = Cosigner(name="pq.example", public=bytes(1_312), algorithm=6).vkey


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([f"witness w1 {VKEY} https://w.example"], "has no `quorum` line"),
        ([f"witness w1 {VKEY}", "quorum w1"], "witness w1 has no URL"),
        ([f"witness w1 {VKEY} ftp://w.example", "quorum w1"], "not of the form https"),
        ([f"witness w1 {VKEY} https://me:secret@w.example", "quorum w1"], "not of the form https"),
        ([f"witness w1 {VKEY} https://w.example:http", "quorum w1"], "not of the form https"),
        ([f"log {LOG.verifier.vkey}", "quorum none"], "leave it out"),
        ([f"witness pq {PQ} https://w.example", "quorum pq"], "can't check"),
        (["quorum w1"], "witnesses.policy:1: "),
        ([f"witness w1 {LOG.verifier.vkey} https://w.example", "quorum w1"], "of no type that cosigns"),
        ([*THREE, "group some any w1 w2 w3", "quorum some"], "two sets of witnesses that share none .* quorum some"),
        (
            [*THREE, f"witness pq {PQ} https://w.example", "group g 2 w1 w2 w3 pq", "quorum g"],
            "let its group want `all`",
        ),
    ],
)
def test_lines_of_the_file_that_can_not_work_are_refused_at_once(lines: list[str], why: str) -> None:
    with pytest.raises(BadFile, match=why):
        witnesses_of(WitnessRule(policy=tuple(lines)), Host())


def test_a_witness_with_the_logs_own_key_is_refused() -> None:
    rule = WitnessRule(policy=(f"witness w1 {VKEY} https://w.example", "quorum w1"))
    assert witnesses_of(rule, Host(), own=LOG.verifier) is not None
    with pytest.raises(BadFile, match="has the engine's key"):
        witnesses_of(rule, Host(), own=KEYS["w1"].verifier)


def test_a_witness_of_another_algorithm_is_told_and_never_asked() -> None:
    rule = WitnessRule(policy=(*THREE[:2], f"witness pq {PQ} {NOWHERE}", "group g 2 w1 w2 pq", "quorum g"))
    assert witnesses_of(None, Host()) is None
    witnesses = witnesses_of(rule, Host())
    assert witnesses is not None
    assert not witnesses.policy.is_met_by(["w1"])


def test_p9_a_quorum_of_more_than_half_is_taken() -> None:
    assert witnesses_of(WitnessRule(policy=(*THREE, "group some 2 w1 w2 w3", "quorum some")), Host()) is not None
    assert witnesses_of(WitnessRule(policy=(*THREE, "quorum none")), Host()) is not None


# ----------------------------------------------------------------------------------------- HTTP
class _Answering:
    """A server that answers everybody the same; with `drip` it never comes to an end."""

    def __init__(self, *, drip: bool = False) -> None:
        self.status, self.body = 200, b""
        self.over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.do_GET()

            def do_GET(self) -> None:
                self.send_response(outer.status)
                self.send_header("content-length", str(len(outer.body) or (100 if drip else 0)))
                self.send_header("location", "http://127.0.0.1:1/")
                self.end_headers()
                self.wfile.write(outer.body)
                if drip:
                    self.wfile.flush()
                    outer.over.wait()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


def test_an_answer_that_never_ends_is_cut_off() -> None:
    with _Answering(drip=True) as slow, pytest.raises(Unreachable, match="no answer"):
        ask(slow.url, bytes_max=1_000, seconds_max=0.3)


def test_an_answer_at_the_limit_is_taken_and_one_over_it_is_not() -> None:
    with _Answering() as server:
        server.body = b"x" * 1_000
        assert server.body == ask(server.url, bytes_max=1_000).body
        with pytest.raises(Unreachable, match="more than 999 bytes"):
            ask(server.url, bytes_max=999)


def test_only_plain_urls_are_taken() -> None:
    assert "https://w.example/x" == require_url("https://w.example/x/", what="it")
    for bad in (
        "",
        "w.example",
        "file:///etc/passwd",
        "https://",
        "https://w/x?y",
        "https://w/#x",
        "https://w:0",
        "https://w\n",
    ):
        with pytest.raises(BadFile):
            require_url(bad, what="it")
