"""Keys elsewhere: what signs by pure Ed25519, what is refused, and that every fault is one of ours."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.util.ec import encode_named_curve_parameters
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

from domicile.errors import BadFile, DomicileError, EvidenceFault, HostFault, NotPermitted, Unreachable
from domicile.evidence import signers
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.signers import MODULE_VARIABLE, Place, is_uri, open_place, read_place, write_place
from domicile.evidence.statement import seal, unseal
from domicile.evidence.tlog.note import open_note, sign_note
from domicile.host import Host
from domicile.record.workspace import Workspace
from tests.keys.benches import MODULE, PIN, TOKEN, session
from tests.vectors import scenario as s

ED25519 = "1.3.101.112"
HOST = Host(environment={MODULE_VARIABLE: MODULE, "PIN": PIN, "WRONG": "0000"})
SECRET = "env:PIN"


def make_key(number: int, *, curve: str = ED25519, kind: KeyType = KeyType.EC_EDWARDS) -> str:
    """Make a key in the token, as its maker's own tool would, and name it."""
    mechanism = Mechanism.EC_EDWARDS_KEY_PAIR_GEN if kind is KeyType.EC_EDWARDS else Mechanism.EC_KEY_PAIR_GEN
    with session(TOKEN) as opened:
        given = {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
        opened.create_domain_parameters(kind, given, local=True).generate_keypair(
            mechanism=mechanism, store=True, label=f"signing {number}", id=bytes([number])
        )
    return f"hsm:{number}?label={TOKEN}"


@dataclass(frozen=True)
class Folder:
    """Private keys in files, made by openssl."""

    path: Path

    def make(self, name: str, *options: str, mode: int = 0o600) -> str:
        file = self.path / f"{name}.pem"
        subprocess.run(
            ["openssl", "genpkey", *(options or ("-algorithm", "ed25519")), "-out", file],
            check=True, capture_output=True,
        )  # fmt: skip
        file.chmod(mode)
        return f"file2:{file}"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def opened(uri: str, *, secret: str | None = SECRET, verifier: Verifier | None = None, host: Host = HOST) -> Signer:
    return open_place(Place(uri=uri, secret=secret), name="monitor", host=host, base=Path(), verifier=verifier)


@pytest.fixture(params=["file2", "hsm"])
def make(request: pytest.FixtureRequest, folder: Folder) -> Callable[[], str]:
    """Make a key of either kind."""
    if request.param == "file2":
        return lambda: folder.make("one")
    request.getfixturevalue("tokens")
    return lambda: make_key(7)


def test_a_key_elsewhere_signs_notes_and_statements_like_one_of_ours(make: Callable[[], str]) -> None:
    signer = opened(make())
    Ed25519PublicKey.from_public_bytes(signer.verifier.public).verify(signer.sign(b"text"), b"text")
    text = "monitor\n1\nAA==\n"
    assert text == open_note(sign_note(text, [signer]), signer.verifier)
    assert s.cutover() == unseal(seal(s.cutover(), signer), signer.verifier)
    assert seal(s.cutover(), signer) == seal(s.cutover(), signer)  # the same bytes every time, as the ledger wants them
    with pytest.raises(BadFile, match="held elsewhere"):
        _ = signer.skey


def test_another_key_in_the_same_place_is_noticed(make: Callable[[], str]) -> None:
    uri = make()
    assert opened(uri).verifier == opened(uri, verifier=opened(uri).verifier).verifier
    with pytest.raises(NotPermitted, match="holds another key than monitor"):
        opened(uri, verifier=replace(s.MONITOR.verifier, name="monitor"))


@pytest.mark.parametrize("scheme", sorted({*SIGNER_FOR_URI_SCHEME, "sigstore", "pkcs12"} - {"file2", "hsm", "hv"}))
def test_what_does_not_sign_by_pure_ed25519_is_refused_and_says_why(scheme: str) -> None:
    with pytest.raises(BadFile, match=rf"key {scheme}:x: can't sign by pure Ed25519.+ \(.+\); take file2:, hsm:, hv:"):
        opened(f"{scheme}:x")


def test_a_service_whose_package_is_not_there_is_named() -> None:
    with pytest.raises(HostFault, match="hvac"):
        opened("hv:domicile-log/1")


def test_a_vault_that_does_not_answer_is_not_called_a_file() -> None:
    """As hvac's own errors are: a failed connection is an OSError, like a file that can't be read."""
    with pytest.raises(
        Unreachable, match=r"no Vault answers at VAULT_ADDR \(ConnectionError\); set that and VAULT_TOKEN"
    ):
        _fail("hv:domicile-log/1")
    with pytest.raises(BadFile, match="can't be read"):
        _fail("file2:engine.pem")


def _fail(uri: str) -> None:
    with signers._faults(uri):
        raise ConnectionError


@pytest.mark.parametrize(
    ("options", "mode", "reason"),
    [
        (("-algorithm", "rsa"), 0o600, "not an Ed25519 key"),
        (("-algorithm", "ed448"), 0o600, "not an Ed25519 key"),
        (("-algorithm", "ed25519", "-aes256", "-pass", "pass:x"), 0o600, "under a passphrase"),
        (("-algorithm", "ed25519"), 0o640, "others may read it"),
    ],
)
def test_files_that_are_no_key_for_their_owner_alone_are_refused(
    folder: Folder, options: tuple[str, ...], mode: int, reason: str
) -> None:
    with pytest.raises(BadFile, match=reason):
        opened(folder.make("one", *options, mode=mode))


def test_a_file_that_is_missing_or_no_pem_is_refused(folder: Folder) -> None:
    with pytest.raises(BadFile, match="No such file"):
        opened(f"file2:{folder.path / 'none.pem'}")
    uri = folder.make("one")
    (folder.path / "one.pem").write_text("PRIVATE")
    with pytest.raises(BadFile, match="not a private key in PEM"):
        opened(uri)


def test_tokens_refuse_with_words_and_never_with_the_pin(tokens: object) -> None:
    uri = make_key(7)
    make_key(8, curve="secp256r1", kind=KeyType.EC)
    cases: list[tuple[str, str | None, Host, type[DomicileError], str]] = [
        (uri, "env:WRONG", HOST, Unreachable, "its holder refused"),
        (uri, None, HOST, BadFile, "asks for a pin"),
        (uri, SECRET, Host(environment={"PIN": PIN}), BadFile, f"set {MODULE_VARIABLE}"),
        (uri.replace(TOKEN, "other"), SECRET, HOST, Unreachable, "0 tokens fit"),
        (f"hsm:9?label={TOKEN}", SECRET, HOST, BadFile, "0 Ed25519 keys"),
        (f"hsm:8?label={TOKEN}", SECRET, HOST, BadFile, "0 Ed25519 keys"),
        ("hsm:seven", SECRET, HOST, BadFile, "a number as ID"),
        ("hsm:" + "7" * 2000, SECRET, HOST, BadFile, "at most"),
    ]
    for place, secret, host, kind, reason in cases:
        with pytest.raises(kind, match=reason) as fault:
            opened(place, secret=secret, host=host)
        assert PIN not in str(fault.value)
    assert PIN not in repr(opened(uri))


def test_a_key_that_is_gone_from_its_token_signs_no_more(tokens: object) -> None:
    signer = opened(make_key(7))
    with session(TOKEN) as found:
        for item in list(found.get_objects({Attribute.ID: b"\x07"})):
            item.destroy()
    with pytest.raises(Unreachable, match="its holder refused"):
        signer.sign(b"text")


def test_a_signature_by_another_key_never_leaves(folder: Folder) -> None:
    """A service that was re-keyed behind our back would leave statements that nobody accepts."""

    class Changed:
        public = s.MONITOR.verifier.public
        sign = staticmethod(s.STRANGER.sign)

    with pytest.raises(EvidenceFault, match="another key or another way of signing"):
        Signer(name="monitor", held=Changed()).sign(b"text")


def test_the_engines_key_is_where_the_file_said_when_it_was_first_needed(folder: Folder, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "domicile.yaml")
    workspace.make()
    place = Place(uri=folder.make("one"))
    first = workspace.signer("homecoming", HOST, place)
    assert "domicile/homecoming" == first.name
    assert first.verifier == workspace.signer("homecoming", HOST, Place(uri=folder.make("two"))).verifier
    assert first.verifier == workspace.log_verifier()
    folder.make("one")
    with pytest.raises(NotPermitted, match="rotate to the new one"):
        workspace.signer("homecoming", HOST, place)


@given(
    uri=st.text(min_size=1, max_size=40), secret=st.none() | st.text(min_size=1, max_size=40).filter(lambda t: t != "-")
)
def test_where_a_key_lies_is_one_line_that_reads_back(uri: str, secret: str | None) -> None:
    place = Place(uri=uri, secret=secret)
    line = write_place(place, s.MONITOR.verifier)
    assert (1, line[-1:]) == (line.count("\n"), "\n")
    assert (place, s.MONITOR.verifier) == read_place(line)
    with pytest.raises(BadFile):
        read_place(line[:-1])
    assert read_place(s.MONITOR.skey) is None


def test_a_file_that_is_there_is_no_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [True, True, False, False] == [is_uri(text) for text in ("hsm:7", "awskms:x", "monitor.key", "./hsm:7")]
    Path("hsm:7").touch()
    assert not is_uri("hsm:7")
    assert [Path("hsm:7")] == list(Path().iterdir())
