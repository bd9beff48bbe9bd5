"""Signed notes and keys against vectors of Go's note package, `openssl`, and one flipped byte."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from domicile.errors import BadFile, DomicileError, EvidenceFault
from domicile.evidence.keys import (
    Signer,
    Verifier,
    load_signer,
    load_verifier,
    parse_skey,
    parse_vkey,
    save_signer,
    save_verifier,
)
from domicile.evidence.tlog.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from domicile.evidence.tlog.note import Note, NoteSignature, format_note, open_note, parse_note, sign_note

# The example in the documentation of golang.org/x/mod/sumdb/note.
SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
NOTE = f"{TEXT}\n\u2014 PeterNeumann {SIGNATURE}\n".encode()
OTHER = Signer(name="other.example", seed=bytes(32))


def test_a_key_and_a_note_are_those_of_gos_note_package() -> None:
    assert parse_skey(SKEY).verifier.vkey == VKEY
    assert sign_note(TEXT, [parse_skey(SKEY)]) == NOTE
    assert open_note(NOTE, parse_vkey(VKEY)) == TEXT


def test_the_key_of_the_go_checksum_database_is_read() -> None:
    assert parse_vkey("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8").name == "sum.golang.org"


def test_openssl_accepts_the_signature_and_refuses_another_text(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("key.pem", "text", "other", "sig")}
    public = Ed25519PublicKey.from_public_bytes(parse_vkey(VKEY).public)
    files["key.pem"].write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    files["text"].write_text(TEXT)
    files["other"].write_text(TEXT.replace("your", "my"))
    files["sig"].write_bytes(parse_note(NOTE).signatures[0].signature)

    def verify(text: str) -> int:
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(files["key.pem"])]
        command += ["-in", str(files[text]), "-sigfile", str(files["sig"])]
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode

    assert [0, 1] == [verify("text"), verify("other")]


def test_as_many_signatures_as_the_spec_wants_are_read_however_long_and_oddly_named() -> None:
    """signed-note: at least 16, of nearly 5 KB each; and what another may be called is not ours to say."""
    odd = [
        NoteSignature(name=f"a\u00ad{number}" + "n" * 300, key_id=bytes(4), signature=bytes(4_990))
        for number in range(15)
    ]
    note = parse_note(NOTE)
    whole = format_note(Note(text=TEXT, signatures=(*odd, *note.signatures)))
    assert open_note(whole, parse_vkey(VKEY)) == TEXT
    for name in ("a b", "a+b", "a\u00a0b", "a\u2003b", ""):
        with pytest.raises(EvidenceFault):
            parse_note(whole.replace(odd[0].name.encode(), name.encode()))


def test_unknown_signatures_are_ignored_and_wrong_ones_are_not() -> None:
    both = sign_note(TEXT, [OTHER, parse_skey(SKEY)])
    assert open_note(both, parse_vkey(VKEY)) == TEXT
    with pytest.raises(EvidenceFault, match="not signed by"):
        open_note(sign_note(TEXT, [OTHER]), parse_vkey(VKEY))
    wrong = NOTE.replace(b"your", b"our ")
    with pytest.raises(EvidenceFault, match="is wrong"):
        open_note(wrong, parse_vkey(VKEY))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        TEXT.encode(),
        NOTE[:-1],
        NOTE + b"\n",
        NOTE.replace(b"\n", b"\r\n"),
        NOTE.replace(b"JnAM=", b"JnAM"),
        NOTE.replace(b"JnAM=", b"JnAN="),  # the same bytes, but not their one base64
        NOTE.replace("\u2014 ".encode(), b"- "),
        NOTE.replace(b"PeterNeumann x08", b"Peter+Neumann x08"),
        NOTE.replace(b"If", b"\xff\xfe"),
        NOTE + NOTE[len(TEXT) + 1 :] * 64,
        b"x" * 300_000,
    ],
)
def test_what_is_not_a_note_in_its_one_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceFault):
        parse_note(data)


@given(st.integers(0, len(NOTE) - 1), st.integers(0, 7))
def test_one_flipped_bit_of_a_note_gives_only_our_error(place: int, bit: int) -> None:
    bent = NOTE[:place] + bytes([NOTE[place] ^ (1 << bit)]) + NOTE[place + 1 :]
    with pytest.raises(EvidenceFault):
        open_note(bent, parse_vkey(VKEY))


@given(st.text(st.characters(exclude_categories=["C"]), max_size=80), st.binary(min_size=32, max_size=32))
def test_what_is_signed_is_read_back(text: str, seed: bytes) -> None:
    signer = Signer(name="k.example", seed=seed)
    note = sign_note(text + "\n", [signer])
    assert open_note(note, signer.verifier) == text + "\n"
    assert format_note(parse_note(note)) == note


def test_a_text_that_would_read_back_as_another_is_not_signed() -> None:
    with pytest.raises(EvidenceFault):
        sign_note("no newline at the end", [OTHER])
    assert isinstance(parse_note(sign_note("two\n\nparts\n", [OTHER])), Note)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "a",
        "a+b",
        "a+b+c",
        VKEY + "\n",
        VKEY.replace("c74f", "c74e"),
        VKEY.replace("ARpc", "BRpc"),
        "Peter Neumann" + VKEY[12:],
        VKEY[12:],
        VKEY + "=",
        "x" * 2_000,
        SKEY,
    ],
)
def test_what_is_not_a_public_key_is_refused(line: str) -> None:
    with pytest.raises(BadFile):
        parse_vkey(line)


@given(st.integers(0, len(SKEY) - 1), st.integers(0, 6))
def test_one_flipped_bit_of_a_key_gives_only_our_error(place: int, bit: int) -> None:
    for line, read in ((SKEY, parse_skey), (VKEY, parse_vkey)):
        at = place % len(line)
        bent = line[:at] + chr(ord(line[at]) ^ (1 << bit)) + line[at + 1 :]
        with pytest.raises(BadFile):
            read(bent)


def test_a_secret_never_shows() -> None:
    assert "seed" not in repr(parse_skey(SKEY))
    assert SKEY[-20:] not in repr(parse_skey(SKEY))


def test_key_files_are_for_their_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    path, public = tmp_path / "engine.key", tmp_path / "engine.vkey"
    save_signer(path, OTHER)
    save_verifier(public, OTHER.verifier)
    assert 0o600 == path.stat().st_mode & 0o777
    assert OTHER == load_signer(path)
    assert OTHER.verifier == load_verifier(public)
    with pytest.raises(BadFile, match="exists already"):
        save_signer(path, OTHER)
    path.chmod(0o640)
    with pytest.raises(BadFile, match="others may read it"):
        load_signer(path)


@pytest.mark.parametrize("data", [b"", b"\n", b"\xff\n", b"two\nlines\n", b"no newline", b"x" * 9_999])
def test_a_key_file_that_is_none_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(data)
    path.chmod(0o600)
    for load in (load_signer, load_verifier):
        with pytest.raises(BadFile):
            load(path)
    with pytest.raises(BadFile):
        load_signer(tmp_path / "none")


# ----------------------------------------------------------------------------------------- checkpoints
HEAD = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"  # tlog-checkpoint


def test_the_example_of_the_specification_is_read_and_written() -> None:
    head = parse_checkpoint(HEAD)
    assert (
        "example.com/behind-the-sofa",
        20852163,
        "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62",
    ) == (
        head.origin,
        head.size,
        head.root.hex(),
    )
    assert head.text == HEAD


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEAD[:-1],
        HEAD + "\n",
        HEAD + "extension\n\n",
        HEAD.replace("20852163", "020852163"),
        HEAD.replace("20852163", "-1"),
        HEAD.replace("20852163", "9" * 19),
        HEAD.replace("20852163", "2085216\u0663"),
        HEAD.replace("q2I=", "q2J="),
        HEAD.replace("q2I=", "q2I"),
        HEAD.replace("CsUY", ""),
        "\n" + HEAD.split("\n", 1)[1],
    ],
)
def test_a_head_in_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(EvidenceFault):
        parse_checkpoint(text)


def test_extension_lines_are_read_and_kept() -> None:
    """tlog-checkpoint, "Note text": opaque and optional; a witness cosigns them with the rest."""
    longer = parse_checkpoint(HEAD + "one\ntwo words\n")
    assert (("one", "two words"), HEAD + "one\ntwo words\n") == (longer.extensions, longer.text)
    assert parse_checkpoint(HEAD.replace("20852163", str(2**63 - 1))).size == 2**63 - 1


def test_a_head_of_another_log_is_refused() -> None:
    head = Checkpoint(origin=OTHER.name, size=0, root=bytes(32))
    signed = sign_checkpoint(head, OTHER)
    assert open_checkpoint(signed, OTHER.verifier) == head
    with pytest.raises(EvidenceFault):
        sign_checkpoint(head, parse_skey(SKEY))
    with pytest.raises(EvidenceFault, match="another log"):
        open_checkpoint(sign_note(head.text.replace("other", "third"), [OTHER]), OTHER.verifier)
    with pytest.raises(DomicileError):
        Verifier(name="a b", public=bytes(32))
