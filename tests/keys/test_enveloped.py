"""Envelopes that the real openssl wrote are read and opened; whatever else there is, is said to be none."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from domicile.stores.around.enveloped import NoEnvelope, content, plaintext, read_envelope
from domicile.stores.keyservices import generation_of
from tests.keys.benches import Files, encrypt, write

SECRET = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
FORMS = ("in parts", "in one piece", "in parts, OAEP", "in one piece, OAEP")


def _encrypted(target: Path, plain: bytes, form: str) -> Path:
    return encrypt(
        plain, target, SECRET.public_key(), options=("-stream",) if "parts" in form else (), oaep="OAEP" in form
    )


def _open(path: Path, files: Files) -> bytes:
    with path.open("rb") as file:
        envelope = read_envelope(file)
        (recipient,) = envelope.recipients
        key = files.service.unwrap(recipient.generation, recipient.wrapped, recipient.padding)
        assert key
        assert len(key) == envelope.key_bytes
        return b"".join(plaintext(file, envelope, key))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 4095, 3_000_000])
def test_what_openssl_encrypted_is_opened(tmp_path: Path, files: Files, form: str, size: int) -> None:
    write(files.place("k"), SECRET)
    plain = (b"dear diary " * (size // 11 + 1))[:size]
    path = _encrypted(tmp_path / "x.cms", plain, form)
    with path.open("rb") as file:
        envelope = read_envelope(file)
        assert frozenset({generation_of(SECRET.public_key())}) == envelope.generations
        assert not envelope.strange
        assert sum(map(len, content(file, envelope))) >= size
    assert plain == _open(path, files)


def test_p11_every_key_that_opens_a_file_is_seen(tmp_path: Path) -> None:
    both = encrypt(b"x" * 99, tmp_path / "both.cms", SECRET.public_key(), OTHER.public_key())
    with both.open("rb") as file:
        envelope = read_envelope(file)
    assert {generation_of(SECRET.public_key()), generation_of(OTHER.public_key())} == envelope.generations
    named = encrypt(b"x" * 99, tmp_path / "named.cms", SECRET.public_key(), by_name=True)
    with named.open("rb") as file:
        envelope = read_envelope(file)
    assert envelope.strange
    assert not envelope.generations


def test_p11_a_password_beside_the_key_is_seen(tmp_path: Path) -> None:
    target = tmp_path / "x.cms"
    encrypt(b"x" * 99, target, SECRET.public_key(), options=("-stream", "-pwri_password", "guess"))
    with target.open("rb") as file:
        envelope = read_envelope(file)
    assert envelope.strange


def _longer_outside(data: bytes) -> bytes:
    """What it stands in says that it is longer than it is; where that says nothing, its end is another."""
    if data[1] != 0x82:
        return data[:-2] + b"\0\1"
    return data[:3] + bytes([data[3] + 1]) + data[4:]


def _odd(data: bytes) -> bytes:
    """One byte of content more than whole blocks, with all lengths to match; in parts: an empty part more."""
    if data[1] != 0x82:
        return data[:-10] + b"\x04\x01x" + data[-10:]
    at = data.index(bytes.fromhex("060960864801650304012a")) + 11 + 2 + 16
    found = bytearray(data + b"x")
    for place in (2, 17, 21, data.rindex(b"\x30\x82", 0, at) + 2, at + 2):
        length = int.from_bytes(found[place : place + 2], "big") + 1
        found[place : place + 2] = length.to_bytes(2, "big")
    return bytes(found)


DEFECTS: dict[str, Callable[[bytes], bytes]] = {
    "a length that is too long": _longer_outside,
    "a byte too many in it": _odd,
    "something behind it": lambda data: data + b"COPY public.person FROM stdin;",
    "a byte behind it": lambda data: data + b"\0",
    "cut off": lambda data: data[:-1],
    "cut off in the middle": lambda data: data[: len(data) // 2],
    "nothing": lambda _: b"",
    "a dump": lambda data: b"PGDMP" + data,
}


@pytest.mark.parametrize("form", ["in parts", "in one piece"])
@pytest.mark.parametrize("defect", DEFECTS)
def test_p11_a_file_is_an_envelope_from_end_to_end_or_none(tmp_path: Path, form: str, defect: str) -> None:
    path = _encrypted(tmp_path / "x.cms", b"letter " * 5000, form)
    path.write_bytes(DEFECTS[defect](path.read_bytes()))
    with path.open("rb") as file, pytest.raises(NoEnvelope):
        for _ in content(file, read_envelope(file)):
            pass


@pytest.mark.parametrize("form", ["in parts", "in one piece"])
def test_one_flipped_byte_gives_only_our_error(tmp_path: Path, form: str) -> None:
    data = _encrypted(tmp_path / "x.cms", b"letter " * 20, form).read_bytes()
    target = tmp_path / "flipped.cms"
    refused = 0
    for at in range(len(data)):
        target.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        with target.open("rb") as file:
            try:
                for _ in plaintext(file, read_envelope(file), bytes(32)):
                    pass
            except NoEnvelope:
                refused += 1
    assert refused > 100


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for start in (b"", bytes.fromhex("308006092a864886f70d010703a0803080020102")):
        with pytest.raises(NoEnvelope):
            read_envelope(io.BytesIO(start + data))
