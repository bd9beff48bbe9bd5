"""Keys in Vault: what is refused there, also in the middle of a run, with words that say what to do."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domicile.errors import BadFile, DomicileError, NotPermitted, Unreachable
from domicile.evidence.keys import Signer
from domicile.evidence.signers import Place, open_place
from domicile.host import Host
from tests.cosigning.town import free_port
from tests.keys.vault import Vault

Patch = pytest.MonkeyPatch
TOKEN = re.compile(r"\bs\.[A-Za-z0-9]{20,}")


def opened(uri: str) -> Signer:
    return open_place(Place(uri=uri), name="monitor", host=Host(), base=Path())


def accepts(signer: Signer) -> None:
    Ed25519PublicKey.from_public_bytes(signer.verifier.public).verify(signer.sign(b"text"), b"text")


def refused(call: Callable[[], object], kind: type[DomicileError], *words: str) -> str:
    """The one error, of that kind and with these words, and nothing of the token; the command that it gives, if any."""
    with pytest.raises(DomicileError) as fault:
        call()
    told = str(fault.value)
    assert (kind, []) == (type(fault.value), [word for word in words if word not in told]), told
    assert not TOKEN.search("".join(traceback.format_exception(fault.value)))
    return told.split("`")[1] if "`" in told else ""


# -- when a key is opened -------------------------------------------------------------------------------------------


def test_what_vault_has_and_is_no_ed25519_key_is_refused_by_its_type(vault: Vault) -> None:
    for kind in ("rsa-2048", "ecdsa-p256", "aes256-gcm96", "hmac"):
        options = {"key_size": 32} if kind == "hmac" else {}
        vault.client.adapter.post(f"/v1/transit/keys/{kind}", json={"type": kind, **options})
        remedy = refused(partial(opened, f"hv:{kind}/1"), BadFile, f"is of type {kind}, and notes and envelopes want")
        vault.run(remedy.replace("NAME", f"not-{kind}"))
        accepts(opened(f"hv:not-{kind}/1"))
    refused(lambda: opened(vault.make("derived", derived=True)), BadFile, "is of type ed25519, derived, and")


@pytest.mark.parametrize(
    "text",
    [
        "hv:", "hv:log", "hv:log/", "hv:/1", "hv:log/0", "hv:log/01", "hv:log/newest", "hv:log/-1", "hv:log/1/2",
        "hv:log/1?x=y", "hv:log/1#x", "hv:../sys/1", "hv:..%2Fsys/1", "hv:../1", "hv:log /1", "hv:log/1 ", "hv:lög/1",
        "hv:log/١", "hv:log/1١", "hv://log/1", "hv:log/9999999999",
    ],
)  # fmt: skip
def test_a_name_that_is_not_key_and_version_asks_vault_for_nothing(text: str, monkeypatch: Patch) -> None:
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{free_port()}")  # would be Unreachable
    refused(lambda: opened(text), BadFile, f"key {text}: not hv:KEY/VERSION, like hv:domicile-log/1")


def test_a_vault_that_does_not_answer_is_not_called_a_file(monkeypatch: Patch) -> None:
    door = f"127.0.0.1:{free_port()}"
    for address in (f"http://{door}", door, "http://", "nonsense"):
        monkeypatch.setenv("VAULT_ADDR", address)
        refused(lambda: opened("hv:log/1"), Unreachable, "key hv:log/1: no Vault answers at VAULT_ADDR (", "; set that")


def test_a_vault_that_is_asked_in_another_protocol_is_named(vault: Vault, monkeypatch: Patch) -> None:
    monkeypatch.setenv("VAULT_ADDR", vault.address.replace("http:", "https:"))
    refused(lambda: opened(vault.make("log")), Unreachable, "no Vault answers at VAULT_ADDR (SSLError)")


ANSWER = (
    b'{"data": {"type": "ed25519", "derived": false, "latest_version": 1, "min_encryption_version": 0, '
    b'"min_decryption_version": 1, "keys": {"1": {"public_key": "PUBLIC"}}}}'
)


@pytest.fixture
def stranger(monkeypatch: Patch) -> Iterator[Callable[[bytes], None]]:
    """A server that is no Vault: it gives everybody the same answer."""
    said = [b""]

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(said[0])))
            self.end_headers()
            self.wfile.write(said[0])

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
        yield lambda answer: said.__setitem__(0, answer)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>", b"{}", b"[]", b"null", b'{"data": []}', b'{"data": {"type": "ed25519"}}',
        ANSWER.replace(b"PUBLIC", b"!"), ANSWER.replace(b"PUBLIC", b"AAAA"), ANSWER.replace(b'"PUBLIC"', b"7"),
        ANSWER.replace(b'"1"', b'"2"'),
    ],
)  # fmt: skip
def test_what_answers_and_is_no_vault_is_called_that(stranger: Callable[[bytes], None], answer: bytes) -> None:
    stranger(answer)
    refused(lambda: opened("hv:log/1"), Unreachable, "what answers at VAULT_ADDR is no Vault (", "; set that to where")


def test_a_token_that_is_wrong_missing_or_too_narrow_is_told_what_it_has_to_permit(
    vault: Vault, tmp_path: Path, monkeypatch: Patch
) -> None:
    uri = vault.make("log")
    words = "Vault does not permit it (Forbidden); set VAULT_TOKEN to a token that may read transit/keys/log and update"
    monkeypatch.setenv("HOME", str(tmp_path))
    for token in ("wrong", "", vault.token(("transit/sign/log", "update")), vault.token(("transit/keys/on", "read"))):
        monkeypatch.setenv("VAULT_TOKEN", token)
        refused(lambda: opened(uri), NotPermitted, words)
    monkeypatch.setenv("VAULT_TOKEN", vault.token(("transit/keys/log", "read")))
    signer = opened(uri)
    refused(lambda: signer.sign(b"text"), NotPermitted, words)
    monkeypatch.setenv("VAULT_TOKEN", vault.token(("transit/keys/log", "read"), ("transit/sign/log", "update")))
    accepts(opened(uri))


def test_a_key_or_an_engine_that_is_not_there_is_no_vault_that_does_not_answer(vault: Vault) -> None:
    remedy = refused(lambda: opened("hv:log/1"), BadFile, "Vault has no such key (InvalidPath); ")
    uri = vault.make("log")
    vault.run(remedy)
    vault.client.sys.disable_secrets_engine("transit")
    refused(lambda: opened(uri), BadFile, "see that VAULT_ADDR is right and the engine is at transit/")


# -- versions -------------------------------------------------------------------------------------------------------


def test_each_version_signs_with_its_own_key_also_when_there_are_newer_ones(vault: Vault) -> None:
    """A key that is rotated in Vault, by a person or by itself, has to sign the change to the next one."""
    first = opened(vault.make("log"))
    uris = [vault.rotate("log") for _ in range(10)]
    assert ["hv:log/2", "hv:log/11"] == [uris[0], uris[-1]]
    every = [first, opened("hv:log/1"), *map(opened, uris)]
    for signer in every:
        accepts(signer)
    assert 11 == len({signer.verifier for signer in every})
    assert first.verifier == every[1].verifier
    refused(lambda: opened("hv:log/12"), BadFile, "has no such version; name one up to 11, the newest")


def test_a_version_that_vault_lets_sign_no_more_is_told_how_it_may(vault: Vault) -> None:
    signer = opened(vault.make("log"))
    vault.rotate("log")
    vault.lets_sign_from("log", 2)
    words = "Vault lets no version before 2 sign"
    refused(lambda: opened("hv:log/1"), NotPermitted, words)
    refused(lambda: signer.sign(b"text"), NotPermitted, words)
    accepts(opened("hv:log/2"))
    vault.transit.update_key_configuration("log", min_decryption_version=2)  # hides it, too
    refused(lambda: opened("hv:log/1"), NotPermitted, words)
    vault.run(refused(lambda: signer.sign(b"text"), NotPermitted, words))
    accepts(signer)
    vault.transit.update_key_configuration("log", min_decryption_version=2, min_encryption_version=0)
    vault.run(refused(lambda: opened("hv:log/1"), NotPermitted, words))
    accepts(signer)


# -- in the middle --------------------------------------------------------------------------------------------------


def test_a_vault_that_is_sealed_in_the_middle_goes_on_when_it_is_unsealed(vault: Vault) -> None:
    signer = opened(vault.make("log"))
    vault.seal()
    for call in (lambda: signer.sign(b"text"), lambda: opened("hv:log/1")):
        refused(call, Unreachable, "Vault is sealed (VaultDown); unseal it, and run the same command again")
    vault.unseal()
    accepts(signer)


def test_a_vault_that_is_stopped_in_the_middle_is_named(vault: Vault) -> None:
    signer = opened(vault.make("log"))
    accepts(signer)
    vault.stop()
    for call in (lambda: signer.sign(b"text"), lambda: opened("hv:log/1")):
        refused(call, Unreachable, "key hv:log/1: no Vault answers at VAULT_ADDR (ConnectionError)")


def test_a_key_that_is_deleted_in_the_middle_is_named_and_may_be_restored_where_that_can_be(vault: Vault) -> None:
    signer = opened(vault.make("log"))
    vault.delete_for_now("log")
    words = "is deleted there, though not for good"
    refused(lambda: signer.sign(b"text"), NotPermitted, words)
    vault.run(refused(lambda: opened("hv:log/1"), NotPermitted, words))
    accepts(signer)
    vault.delete("log")
    for call in (lambda: signer.sign(b"text"), lambda: opened("hv:log/1")):
        refused(call, BadFile, "key hv:log/1: Vault has no such key (InvalidPath)")


def test_a_token_that_ends_in_the_middle_is_named(vault: Vault, monkeypatch: Patch) -> None:
    token = vault.token(("transit/keys/log", "read"), ("transit/sign/log", "update"))
    monkeypatch.setenv("VAULT_TOKEN", token)
    signer = opened(vault.make("log"))
    accepts(signer)
    vault.client.auth.token.revoke(token)
    refused(lambda: signer.sign(b"text"), NotPermitted, "Vault does not permit it (Forbidden); set VAULT_TOKEN")


def test_nothing_of_the_token_is_shown(vault: Vault) -> None:
    signer = opened(vault.make("log"))
    assert vault.client.token not in repr(signer)
    assert TOKEN.search(f"token {vault.client.token}")  # what `refused` looks for
