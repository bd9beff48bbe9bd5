"""Keys elsewhere: what signs by pure Ed25519, what is refused, and that every fault is one of ours."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.util.ec import encode_named_curve_parameters
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

from domicile.errors import BadFile, DomicileError, EvidenceFault, HostFault, NotPermitted, Unreachable
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.signers import MODULE_VARIABLE, Place, is_uri, open_place, read_place, write_place
from domicile.evidence.statement import seal, unseal
from domicile.evidence.tlog.note import open_note, sign_note
from domicile.host import Host
from domicile.record.workspace import Workspace
from tests.keys.benches import MODULE, PIN, TOKEN, session
from tests.keys.vault import Vault
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


def forget_key(number: int) -> None:
    """Destroy both halves."""
    with session(TOKEN) as opened:
        for item in list(opened.get_objects({Attribute.ID: bytes([number])})):
            item.destroy()


class Holder(Protocol):
    """A kind of place for one key; what becomes of the key there is up to its owner."""

    @property
    def keeps_asking(self) -> bool:
        """Whether each signature is asked of the place, and not only the first opening."""
        ...

    def make(self) -> str:
        """Make a key; its URI. Made again, another key lies in the same place."""
        ...

    def lose(self) -> None:
        """Have the key gone."""
        ...


@dataclass(frozen=True)
class Folder:
    """Private keys in files, made by openssl."""

    path: Path
    keeps_asking: bool = False

    def make(self, name: str = "one", *options: str, mode: int = 0o600) -> str:
        file = self.path / f"{name}.pem"
        subprocess.run(
            ["openssl", "genpkey", *(options or ("-algorithm", "ed25519")), "-out", file],
            check=True, capture_output=True,
        )  # fmt: skip
        file.chmod(mode)
        return f"file2:{file}"

    def lose(self) -> None:
        (self.path / "one.pem").unlink()


@dataclass(frozen=True)
class Token:
    """The key of one number in SoftHSM."""

    keeps_asking: bool = True

    def make(self) -> str:
        forget_key(7)
        return make_key(7)

    def lose(self) -> None:
        forget_key(7)


@dataclass(frozen=True)
class Transit:
    """The key of one name in Vault's transit engine."""

    vault: Vault
    made: list[str]
    keeps_asking: bool = True

    def make(self) -> str:
        if self.made:
            self.lose()
        self.made.append(self.vault.make("one"))
        return self.made[-1]

    def lose(self) -> None:
        self.vault.delete("one")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def opened(uri: str, *, secret: str | None = SECRET, verifier: Verifier | None = None, host: Host = HOST) -> Signer:
    return open_place(Place(uri=uri, secret=secret), name="monitor", host=host, base=Path(), verifier=verifier)


@pytest.fixture(params=["file2", "hsm", "hv"])
def holder(request: pytest.FixtureRequest, folder: Folder) -> Holder:
    """Each kind of place."""
    if request.param == "file2":
        return folder
    if request.param == "hsm":
        request.getfixturevalue("tokens")
        return Token()
    return Transit(request.getfixturevalue("vault"), made=[])


def test_a_key_elsewhere_signs_notes_and_statements_like_one_of_ours(holder: Holder) -> None:
    signer = opened(holder.make())
    Ed25519PublicKey.from_public_bytes(signer.verifier.public).verify(signer.sign(b"text"), b"text")
    text = "monitor\n1\nAA==\n"
    assert text == open_note(sign_note(text, [signer]), signer.verifier)
    assert s.cutover() == unseal(seal(s.cutover(), signer), signer.verifier)
    assert seal(s.cutover(), signer) == seal(s.cutover(), signer)  # the same bytes every time, as the ledger wants them
    with pytest.raises(BadFile, match="held elsewhere"):
        _ = signer.skey


def test_another_key_in_the_same_place_is_noticed(holder: Holder) -> None:
    uri = holder.make()
    signer = opened(uri)
    assert signer.verifier == opened(uri, verifier=signer.verifier).verifier
    assert uri == holder.make()
    assert signer.verifier != opened(uri).verifier
    with pytest.raises(NotPermitted, match="holds another key than monitor"):
        opened(uri, verifier=signer.verifier)
    if holder.keeps_asking:
        with pytest.raises(EvidenceFault, match="another key or another way of signing"):
            signer.sign(b"text")


def test_a_key_that_is_gone_from_its_place_signs_no_more(holder: Holder) -> None:
    uri = holder.make()
    signer = opened(uri)
    holder.lose()
    if holder.keeps_asking:
        with pytest.raises((BadFile, Unreachable), match=re.escape(f"key {uri}: ")):
            signer.sign(b"text")
    with pytest.raises((BadFile, Unreachable), match=re.escape(uri.removeprefix("file2:"))):
        opened(uri)


def test_the_engines_key_is_where_the_file_said_when_it_was_first_needed(
    holder: Holder, folder: Folder, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "domicile.yaml")
    workspace.make()
    place = Place(uri=holder.make(), secret=SECRET)
    first = workspace.signer("homecoming", HOST, place)
    assert "domicile/homecoming" == first.name
    assert first.verifier == workspace.signer("homecoming", HOST, Place(uri=folder.make("two"))).verifier
    assert first.verifier == workspace.log_verifier()
    holder.make()
    with pytest.raises(NotPermitted, match="rotate to the new one"):
        workspace.signer("homecoming", HOST, place)


@pytest.mark.parametrize("scheme", sorted({*SIGNER_FOR_URI_SCHEME, "sigstore", "pkcs12"} - {"file2", "hsm", "hv"}))
def test_what_does_not_sign_by_pure_ed25519_is_refused_and_says_why(scheme: str) -> None:
    with pytest.raises(BadFile, match=rf"key {scheme}:x: can't sign by pure Ed25519.+ \(.+\); take file2:, hsm:, hv:"):
        opened(f"{scheme}:x")


@pytest.mark.parametrize(("uri", "package"), [("hsm:7", "pkcs11"), ("hv:log/1", "hvac")])
def test_a_holder_whose_package_is_not_there_is_named(uri: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(HostFault, match=r"'domicile\[pkcs11\]' for tokens, 'domicile\[vault\]' for Vault"):
        opened(uri)


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


def test_a_signature_by_another_key_never_leaves(folder: Folder) -> None:
    """A service that was re-keyed behind our back would leave statements that nobody accepts."""

    class Changed:
        public = s.MONITOR.verifier.public
        sign = staticmethod(s.STRANGER.sign)

    with pytest.raises(EvidenceFault, match="another key or another way of signing"):
        Signer(name="monitor", held=Changed()).sign(b"text")


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
