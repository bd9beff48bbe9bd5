"""What is fuzzed: each reader of bytes that come from outside, how its input is bent, and what may come out of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from domicile.errors import DomicileError
from domicile.evidence import predicates as p
from domicile.evidence.bundle import trust_policy
from domicile.evidence.codec import decode, dump_json, encode, load_json
from domicile.evidence.keys import parse_skey, parse_vkey
from domicile.evidence.ledger import Ledger
from domicile.evidence.statement import (
    PAYLOAD_TYPE,
    Sealed,
    detached_name,
    open_envelope,
    parse_envelope,
    read_unverified,
)
from domicile.evidence.tlog.checkpoint import open_checkpoint, parse_checkpoint
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import is_consistent, root_from_inclusion
from domicile.evidence.tlog.note import parse_note
from domicile.evidence.tlog.proof import check_proof, format_proof, parse_proof
from domicile.evidence.tlog.tile import decode_entries, encode_entries
from domicile_audit.__main__ import as_json, as_text
from domicile_audit.checklist import audit
from domicile_audit.keys import read_vkey
from domicile_audit.policy import read_policy
from tests.fuzz import bundles
from tests.fuzz.mutating import bend_bytes, bend_json
from tests.vectors import scenario as s


@dataclass(frozen=True)
class Target:
    """A reader: what it is given, and the errors that are its way to say no."""

    make: Callable[[Random], bytes]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = ()


def try_once(name: str, seed: object) -> bytes:
    """Give a target one input, made from the seed; return the input, or raise what must never come out."""
    data = TARGETS[name].make(Random(f"{seed} {name}"))  # noqa: S311  (a seeded test)
    give(name, data)
    return data


def give(name: str, data: bytes) -> None:
    """Give a target an input."""
    target = TARGETS[name]
    try:
        target.read(data)
    except target.refusals as refusal:
        if not str(refusal):
            raise AssertionError(f"{name}: refused without a reason") from refusal


@cache
def played() -> dict[str, Sealed]:
    return bundles.good_plays()[0]


@cache
def small_log() -> dict[str, bytes]:
    """The files of a small log, below its folder."""
    files = bundles.log_files([sealed.envelope for sealed in played().values()], s.ENGINE)
    return {path.removeprefix("log/"): data for path, data in files.items()}


@cache
def receipt() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        log = Log.create(Path(folder) / "log", s.ENGINE)
        log.append([sealed.envelope for sealed in played().values()])
        return log.receipt(5)


def _bent(*seeds: Callable[[], bytes]) -> Callable[[Random], bytes]:
    return lambda chance: bend_bytes(chance.choice(seeds)(), chance)


def _audit(data: bytes) -> None:
    """Whatever it is, it gets a report that can be printed; and one accepted by a first checker says what of."""
    report = audit(data)
    if report.accepted != (report.reason is None) or report.accepted != all(check.passed for check in report.checks):
        raise AssertionError("the report contradicts itself")
    as_text(report).encode()
    as_json(report).encode()


def _audit_of_a_stranger(data: bytes) -> None:
    """Whoever has no key can't make another bundle that is accepted."""
    _audit(data)
    if audit(data).accepted and data not in bundles.good_bundles():
        raise AssertionError("accepted, although nobody signed this")


def _envelopes(chance: Random) -> bytes:
    data = chance.choice(list(played().values())).envelope
    if chance.random() < 0.5:
        return bend_bytes(data, chance)
    body = bend_json(load_json(data), chance)
    return bundles.dump(body)


def _payloads(chance: Random) -> bytes:
    """Signed statements whose payload is bent, in its one spelling or not."""
    return bundles.bent_envelope(chance.choice(list(played().values())), s.ENGINE, chance)


def _predicates(chance: Random) -> bytes:
    whole = load_json(parse_envelope(chance.choice(list(played().values())).envelope).payload)
    assert isinstance(whole, dict)
    if chance.random() < 0.3:
        return bend_bytes(dump_json(whole["predicate"]), chance)
    return bundles.dump(bend_json(whole["predicate"], chance))


def _decode_all(data: bytes) -> None:
    for kind in p.KINDS.values():
        try:
            found = decode(data, kind)
        except DomicileError:
            continue
        if encode(found) != data:
            raise AssertionError(f"{kind.KIND}: another spelling was read")


def _unseal(data: bytes) -> None:
    read_unverified(Sealed(envelope=data, detached=None))


def _unseal_detached(data: bytes) -> None:
    large = max(played().values(), key=lambda sealed: len(sealed.envelope))
    read_unverified(Sealed(envelope=large.envelope, detached=data))


def _proof(data: bytes) -> None:
    proof = parse_proof(data)
    if format_proof(proof) != data:
        raise AssertionError("a proof was read in another spelling")
    entry = list(played().values())[5].envelope
    check_proof(proof, entry=entry, verifier=s.ENGINE.verifier)


def _paths(data: bytes) -> None:
    """Numbers and hashes of a proof as an attacker likes them."""
    numbers = [int.from_bytes(data[place : place + 8], "big", signed=True) for place in (0, 8)]
    path = [data[place : place + 32] for place in range(16, len(data), 32)]
    is_consistent(old=numbers[0], old_root=data[:32], new=numbers[1], new_root=data[-32:], path=path)
    root_from_inclusion(data[:32], index=numbers[0], size=numbers[1], path=path)


def _numbers(chance: Random) -> bytes:
    big = (0, 1, 2, 3, 255, 256, 2**40, 2**62, -1, -(2**63))
    numbers = b"".join(chance.choice(big).to_bytes(8, "big", signed=True) for _ in range(2))
    return numbers + chance.randbytes(32 * chance.choice((0, 1, 2, 8, 64, 65, 200)))


def _folders(chance: Random) -> bytes:
    """A log's folder as one text: path, length and bytes of each file."""
    files = dict(small_log())
    for _ in range(chance.choice((1, 1, 2))):
        name = chance.choice(sorted(files))
        if chance.random() < 0.1:
            del files[name]
        else:
            files[name] = bend_bytes(files[name], chance)
        if not files:
            break
    return dump_json({name: data.hex() for name, data in files.items()})


def _open_log(data: bytes) -> None:
    _open(data, lambda folder: Log.open(folder, s.ENGINE.verifier))


def _open(data: bytes, opening: Callable[[Path], object]) -> None:
    """Whatever the folder holds, it opens as a log that the key signed, or says why not."""
    with tempfile.TemporaryDirectory() as folder:
        files = load_json(data)
        assert isinstance(files, dict)
        for name, text in files.items():
            path = Path(folder) / "log" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes.fromhex(str(text)))
        opening(Path(folder) / "log")


def _open_ledger(data: bytes) -> None:
    _open(data, lambda folder: list(Ledger.open(folder.parent, s.ENGINE.verifier).statements()))


def _policies(chance: Random) -> bytes:
    return bend_bytes(trust_policy(s.ENGINE.verifier, s.plan().approvals).encode(), chance)


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


NO: Final = (DomicileError,)
TARGETS: Final[dict[str, Target]] = {
    "bundle of a stranger": Target(bundles.bent_zip, _audit_of_a_stranger),
    "bundle signed again": Target(bundles.resigned, _audit),
    "bundle told otherwise": Target(bundles.retold, _audit),
    "policy": Target(_policies, read_policy, (ValueError,)),
    "vkey of the checker": Target(_bent(s.ENGINE.verifier.vkey.encode), _text(read_vkey), (ValueError,)),
    "vkey": Target(_bent(s.ENGINE.verifier.vkey.encode), _text(parse_vkey), NO),
    "skey": Target(_bent(s.STRANGER.skey.encode), _text(parse_skey), NO),
    "note": Target(_bent(lambda: small_log()["checkpoint"]), parse_note, NO),
    "checkpoint": Target(
        _bent(lambda: small_log()["checkpoint"]), lambda data: open_checkpoint(data, s.ENGINE.verifier), NO
    ),
    "checkpoint's text": Target(_bent(lambda: small_log()["checkpoint"]), _text(parse_checkpoint), NO),
    "proof": Target(_bent(receipt), _proof, NO),
    "path of a proof": Target(_numbers, _paths, NO),
    "entries": Target(
        _bent(lambda: encode_entries([b"one", b"", b"three"])), lambda data: decode_entries(data, width=3), NO
    ),
    "envelope": Target(
        _envelopes, lambda data: open_envelope(data, payload_type=PAYLOAD_TYPE, verifier=s.ENGINE.verifier), NO
    ),
    "statement": Target(_payloads, _unseal, NO),
    "statement's bytes": Target(_envelopes, _unseal, NO),
    "detached predicate": Target(_predicates, _unseal_detached, NO),
    "detached name": Target(_payloads, detached_name, NO),
    "predicate": Target(_predicates, _decode_all, NO),
    "log": Target(_folders, _open_log, NO),
    "ledger": Target(_folders, _open_ledger, NO),
}
