"""One suite for all key services, and what is each one's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pkcs11 import Attribute, KeyType
from pkcs11.util.ec import encode_named_curve_parameters

from domicile.errors import DomicileError, NotPermitted, Unreachable
from domicile.stores.keyservices import Padding, generation_of
from domicile.stores.keyservices import files as files_module
from domicile.stores.keyservices.files import FileKeys
from tests.keys.benches import REPLICA, TOKEN, Bench, Files, Tokens, session, write

SHA1 = hashes.SHA1()  # noqa: S303 - what openssl writes unless it is told otherwise
PADDINGS = {
    Padding.PKCS1: padding.PKCS1v15(),
    Padding.OAEP_SHA1: padding.OAEP(mgf=padding.MGF1(SHA1), algorithm=SHA1, label=None),
}


# -- all of them -----------------------------------------------------------------------------------------------------


def test_generations_of_a_key_are_named_by_their_public_halves(bench: Bench) -> None:
    made = sorted(generation_of(bench.make("backups-us")) for _ in range(2))
    bench.make("backups-ca")
    assert tuple(made) == bench.service.generations("backups-us")
    assert () == bench.service.generations("backups")
    assert () == bench.service.generations("BACKUPS-US")


def test_a_key_that_was_made_there_and_never_left_has_no_doubt(bench: Bench) -> None:
    name = generation_of(bench.make("backups-us", bits=3072))
    (copy,) = bench.service.copies([name])
    assert (name, 3072, ()) == (copy.generation, copy.bits, copy.doubts)


def test_p11_without_the_operators_word_nobody_knows_what_a_medium_or_a_program_keeps(bench: Bench) -> None:
    name = generation_of(bench.make("backups-us"))
    (copy,) = bench.unforgetting().copies([name])
    assert ["`forgets: true`" in doubt for doubt in copy.doubts] == [True]
    assert bench.service.words[-1] not in bench.unforgetting().words


def test_p11_one_that_may_be_copied_is_doubted(bench: Bench) -> None:
    name = generation_of(bench.make_exportable("backups-us"))
    (copy,) = bench.service.copies([name])
    assert copy.doubts


def test_copies_are_found_in_all_places_and_under_any_name(bench: Bench) -> None:
    name = generation_of(bench.put_twice("backups-us"))
    bench.make("backups-us")
    copies = bench.service.copies([name])
    assert [name, name] == [copy.generation for copy in copies]
    assert 2 == len({copy.place for copy in copies})


@pytest.mark.parametrize("way", Padding)
def test_a_generation_opens_what_was_wrapped_for_it_and_nothing_else(bench: Bench, way: Padding) -> None:
    public, other = bench.make("backups-us"), bench.make("backups-us")
    secret = bytes(range(32))
    wrapped = public.encrypt(secret, PADDINGS[way])
    assert secret == bench.service.unwrap(generation_of(public), wrapped, way)
    assert secret != bench.service.unwrap(generation_of(other), wrapped, way)
    damaged = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    assert secret != bench.service.unwrap(generation_of(public), damaged, way)
    assert bench.service.unwrap(generation_of(public), wrapped[:5], way) is None
    assert bench.service.unwrap("0" * 40, wrapped, way) is None


def test_p3_destroying_takes_every_copy_and_nothing_else_and_may_be_repeated(bench: Bench) -> None:
    twice, once, stays = bench.put_twice("backups-us"), bench.make("backups-us"), bench.make("backups-us")
    gone = [generation_of(twice), generation_of(once)]
    for _ in range(2):
        assert () == bench.service.destroy(gone)
        assert () == bench.service.copies(gone)
    assert (generation_of(stays),) == bench.service.generations("backups-us")
    wrapped = once.encrypt(bytes(32), PADDINGS[Padding.PKCS1])
    assert bench.service.unwrap(gone[1], wrapped, Padding.PKCS1) is None


def test_p11_a_place_that_does_not_answer_is_no_absence(bench: Bench) -> None:
    name = generation_of(bench.make("backups-us"))
    bench.lose_a_place()
    for ask in (bench.service.copies, bench.service.destroy):
        with pytest.raises((NotPermitted, Unreachable)) as refused:
            ask([name])
        assert bench.service.name in str(refused.value)


# -- files -----------------------------------------------------------------------------------------------------------


def test_p5_a_file_that_was_overwritten_when_the_run_ended_is_taken_away_by_the_next(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, path = generation_of(files.make("backups-us")), files.root / TOKEN / "backups-us" / "1.pem"
    size = path.stat().st_size

    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", end)
    with pytest.raises(KeyboardInterrupt):
        files.service.destroy([name])
    monkeypatch.undo()
    assert bytes(size) == path.read_bytes()
    assert () == files.service.generations("backups-us")
    assert () == files.service.destroy([name])
    assert not path.exists()


def test_p3_the_bytes_are_overwritten_where_they_lie(files: Files) -> None:
    name = generation_of(files.make("backups-us"))
    with (files.root / TOKEN / "backups-us" / "1.pem").open("rb") as held:
        files.service.destroy([name])
        assert not any(held.read())


DOUBTS: dict[str, Callable[[Path], object]] = {
    "a hard link": lambda path: os.link(path, path.parents[2] / "elsewhere"),
    "a symbolic link": lambda path: path.symlink_to(path.rename(path.parents[2] / "elsewhere")),
    "read by others (mode 0640)": lambda path: path.chmod(0o640),
    "another key": lambda path: write(path, _read(path), rsa.generate_private_key(65537, 2048)),
}


def _read(path: Path) -> rsa.RSAPrivateKey:
    key = files_module._load(path.read_bytes(), pem=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


@pytest.mark.parametrize("doubt", DOUBTS)
def test_p11_what_may_stay_beside_a_file_is_doubted(files: Files, doubt: str) -> None:
    name = generation_of(files.make("backups-us"))
    DOUBTS[doubt](files.root / TOKEN / "backups-us" / "1.pem")
    (copy,) = files.service.copies([name])
    assert 1 == len(copy.doubts)


AWAY: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "a folder elsewhere": (lambda link, vault: link.symlink_to(vault), "leads to another folder"),
    "a file elsewhere that isn't there now": (lambda link, vault: link.symlink_to(vault / "gone"), "leads nowhere"),
}


@pytest.mark.parametrize("away", AWAY)
def test_p11_behind_a_link_that_is_not_followed_a_copy_may_lie(files: Files, away: str) -> None:
    """The key isn't destroyed, and not said to be gone, as long as nobody can look there."""
    name = generation_of(files.put_twice("backups-us"))
    vault = files.root / "vault"
    (files.root / REPLICA / "something-else").rename(vault)
    make, word = AWAY[away]
    make(files.root / REPLICA / "backups-us", vault)
    for ask in (files.service.copies, files.service.destroy):
        with pytest.raises(NotPermitted, match=rf"backups-us is a symbolic link that {word}.*remove the link"):
            ask([name])
    assert (files.root / TOKEN / "backups-us" / "1.pem").stat().st_size
    (files.root / REPLICA / "backups-us").unlink()
    named = FileKeys("desk", files.root / TOKEN, copies=[files.root / REPLICA, vault], forgets=True)
    assert 2 == len(named.copies([name]))


def test_p11_a_bundle_is_not_destroyed_for_the_sake_of_one_key_in_it(files: Files) -> None:
    secrets = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
    write(files.root / REPLICA / "bundle.pem", *secrets)
    name = generation_of(secrets[0].public_key())
    assert [name] == [copy.generation for copy in files.service.destroy([name])]
    assert (files.root / REPLICA / "bundle.pem").read_bytes().count(b"BEGIN PRIVATE KEY") == 2


def test_p11_a_key_under_a_passphrase_may_be_a_copy(files: Files) -> None:
    name = generation_of(files.make("backups-us"))
    write(files.root / REPLICA / "x.pem", rsa.generate_private_key(65537, 2048), passphrase=b"secret")
    with pytest.raises(NotPermitted, match=r"x\.pem is a key under a passphrase"):
        files.service.copies([name])


def test_p11_on_a_file_system_that_copies_on_write_nothing_is_destroyed(
    files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = generation_of(files.make("backups-us"))
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr(files_module, "MOUNTS", mounts)
    for system, options, word in (
        ("btrfs", "rw", "btrfs"), ("overlay", "rw", "overlay"), ("ext4", "rw,data=journal", "data=journal"),
    ):  # fmt: skip
        mounts.write_text(
            "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
            f"2 1 8:2 / {files.root} rw shared:1 - {system} /dev/sdb {options}\n"
            f"3 1 8:3 / {files.root}-of-another rw - tmpfs none rw\n"
        )
        (copy,) = files.service.copies([name])
        assert [word in doubt for doubt in copy.doubts] == [True]


def test_p11_what_is_no_key_in_a_keys_folder_is_refused(files: Files) -> None:
    files.make("backups-us")
    files.place("backups-us").write_text("not a key")
    with pytest.raises(NotPermitted, match="isn't one RSA key in PEM"):
        files.service.generations("backups-us")
    with pytest.raises(NotPermitted, match="can't be looked through"):
        FileKeys("desk", files.root / "nowhere", copies=[], forgets=True).generations("backups-us")


def test_p8_a_path_that_may_tell_of_a_person_is_not_told(files: Files) -> None:
    secret = rsa.generate_private_key(65537, 2048)
    write(files.root / REPLICA / "person-2@example.org.pem", secret)
    (copy,) = files.service.copies([generation_of(secret.public_key())])
    assert f"a file in {files.root / REPLICA}" == copy.place


def test_p8_no_error_of_a_service_holds_a_secret(files: Files) -> None:
    path = files.place("backups-us")
    write(path, rsa.generate_private_key(65537, 2048))
    body = path.read_bytes()
    path.write_bytes(body.replace(b"A", b"!", 1))
    with pytest.raises(DomicileError) as refused:
        files.service.generations("backups-us")
    assert not any(line in str(refused.value).encode() for line in body.splitlines() if len(line) > 30)


# -- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "doubt"),
    [
        ({"EXTRACTABLE": True}, "can be taken out"),
        ({"SENSITIVE": False}, "could once be read in plain"),
    ],
)
def test_p11_what_a_token_says_of_a_key_is_heard(tokens: Tokens, attributes: dict[str, bool], doubt: str) -> None:
    name = generation_of(tokens.make("backups-us", **attributes))
    (copy,) = tokens.service.copies([name])
    assert any(doubt in found for found in copy.doubts)


def test_p11_a_key_that_came_from_elsewhere_is_doubted_though_it_can_not_leave(tokens: Tokens) -> None:
    name = generation_of(tokens.put_twice("backups-us"))
    doubts = {doubt for copy in tokens.service.copies([name]) for doubt in copy.doubts}
    assert any("came from elsewhere" in doubt for doubt in doubts)
    assert any("could once be taken out" in doubt for doubt in doubts)
    assert not any("can be taken out" in doubt for doubt in doubts)


def test_p8_a_wrong_pin_is_told_without_the_pin(tokens: Tokens) -> None:
    tokens.make("backups-us")
    with pytest.raises(Unreachable, match="PinIncorrect") as refused:
        tokens.opened(forgets=True, pin="97531").generations("backups-us")
    assert "97531" not in str(refused.value)


def test_p11_another_kind_of_key_under_the_label_is_refused(tokens: Tokens) -> None:
    with session(TOKEN) as opened:
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        opened.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(store=True, label="backups-us")
    with pytest.raises(NotPermitted, match="is no RSA key"):
        tokens.service.generations("backups-us")
