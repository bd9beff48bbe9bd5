"""What is fuzzed: each reader of bytes that come from outside, how its input is bent, and what may come out of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from domicile import predicates as p
from domicile.bundle import trust_policy
from domicile.codec import Json, decode, dump_json, encode, load_json
from domicile.errors import DomicileError
from domicile.keys import parse_skey, parse_vkey
from domicile.ledger import Ledger
from domicile.statement import PAYLOAD_TYPE, Sealed, detached_name, open_envelope, parse_envelope, read_unverified
from domicile.tlog.checkpoint import open_checkpoint, parse_checkpoint
from domicile.tlog.cosignature import cosigned, cosigner_of, parse_cosigner
from domicile.tlog.log import Log
from domicile.tlog.merkle import Tree, hash_leaf, is_consistent, root_from_inclusion
from domicile.tlog.note import parse_note
from domicile.tlog.policy import format_policy, only_policy_lines, parse_policy
from domicile.tlog.proof import check_proof, format_proof, parse_proof
from domicile.tlog.tile import decode_entries, encode_entries
from domicile.tlog.witness import (
    AddCheckpoint,
    Seen,
    format_request,
    identify,
    parse_answer,
    parse_request,
    require_growth,
)
from domicile_audit import receipt as persons
from domicile_audit.__main__ import as_json, as_text
from domicile_audit.asking import Asked
from domicile_audit.checklist import audit
from domicile_audit.claims import examine
from domicile_audit.keys import read_vkey
from domicile_audit.opening import read_opening
from domicile_audit.paper import check
from domicile_audit.policy import read_policy
from domicile_audit.report import Report
from domicile_audit.sample import read_sample
from tests.fuzz import bundles, corpus, shaping
from tests.fuzz.mutating import bend_bytes, bend_json
from tests.vectors import make, witnessed
from tests.vectors import scenario as s


@dataclass(frozen=True)
class Target:
    """A reader: what it is given, and the errors that are its way to say no.

    `make` makes an input from a seed. `seeds` and `bend` are for fuzzing by coverage: whole ones and bad ones, and how
    one that was kept is changed. `share` is its part of the time: most readers have shown all their code in a second.
    """

    make: Callable[[Random], bytes]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = ()
    seeds: Callable[[], Iterable[bytes]] = tuple
    bend: shaping.Bend = shaping.bend_any
    share: int = 1


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
    if report.accepted != all(check.passed for check in report.checks):
        raise AssertionError("the report contradicts itself")
    _print(report)


def _print(report: Report) -> None:
    if report.accepted != (report.reason is None):
        raise AssertionError("the report contradicts itself")
    as_text(report).encode()
    as_json(report).encode()


def _audit_of_a_stranger(data: bytes) -> None:
    """Whoever has no key can't make another bundle that is accepted."""
    _audit(data)
    if audit(data).accepted and data not in corpus.accepted_bundles():
        raise AssertionError("accepted, although nobody signed this")


@cache
def _asked() -> tuple[Asked, ...]:
    """Auditors who ask for all that can be asked for, and one of them for witnesses, too."""
    more = "fresh 30\nrequire sweep/v1\ntolerate blocked-until pg_wal\ntolerate held\n"
    policies = (trust_policy(s.ENGINE.verifier, s.plan().approvals), witnessed.policies()["two-of-three"])
    return tuple(Asked(read_policy((one + more).encode()), datetime(2026, 12, 1, tzinfo=UTC)) for one in policies)


def _examine(data: bytes) -> None:
    for asked in _asked():
        _print(examine(data, asked))


def _person(data: bytes) -> None:
    """A receipt has no part that a stranger could change: whatever is accepted says the same as before."""
    answer = check(data)
    persons.as_text(answer).encode(errors="replace")
    persons.as_json(answer).encode(errors="replace")
    if answer.accepted:
        whole = check(corpus.person()).paper
        said = [(one.person, one.receipts, one.certificate) for one in (answer.paper, whole)]
        if said[0] != said[1]:
            raise AssertionError("a receipt was accepted that says something else")


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


@cache
def _request() -> bytes:
    """A log's request to a witness that saw half of it."""
    tree = _tree()
    old = tree.size // 2
    return format_request(AddCheckpoint(old=old, path=tree.consistency(old), checkpoint=small_log()["checkpoint"]))


@cache
def _tree() -> Tree:
    return Tree(hash_leaf(sealed.envelope) for sealed in played().values())


def _add(data: bytes) -> None:
    """What a witness does with a request before it signs."""
    request = parse_request(data)
    if format_request(request) != data:
        raise AssertionError("a request was read in another spelling")
    head = identify(request, {s.ENGINE.name: [s.ENGINE.verifier]})
    size = _tree().size // 2
    require_growth(request, head, Seen(size=size, root=_tree().root(size)))


@cache
def _cosigned() -> bytes:
    files = witnessed.cosigned(s.files_of(s.good()), witnessed.WITNESSES)
    return files["log/checkpoint"]


@cache
def _answer() -> bytes:
    """What a witness says to a request it likes."""
    return b"\n".join(_cosigned().split(b"\n")[-4:])


def _count(data: bytes) -> None:
    """The quorum as a log counts it before it publishes."""
    cosigners = [cosigner_of(key) for key in witnessed.WITNESSES.values()]
    found = cosigned(parse_note(data), cosigners)
    if any(not 0 <= time < 2**63 for time in found.values()):
        raise AssertionError("cosigned at no time")


def _policy(data: bytes) -> None:
    """Read, and written again, it is the same policy."""
    policy = parse_policy(only_policy_lines(data))
    if parse_policy(format_policy(policy)) != policy:
        raise AssertionError("a policy was written otherwise than it was read")


def _golden_policies() -> list[bytes]:
    return [path.read_bytes() for path in sorted((make.FOLDER / "policies").glob("*.txt"))]


@cache
def _opening() -> bytes:
    table: Json = {
        "schema": "public", "table": "note", "only": True, "binary": True, "columns": ["id", "body"], "key": ["id"],
        "private": {"body": None},
    }  # fmt: skip
    stretch: Json = {"dataset": "app.public.note", "part": "ca", "form": "whole", "after": 0, "upto": 812}
    return dump_json({
        "format": "urn:domicile:audit-key/v1", "plan": s.PLAN, "key": s.digest("key"),
        "datasets": {"app.public.note": table}, "slices": {"app.public.note/ca/whole/0": stretch},
    })  # fmt: skip


@cache
def _sample() -> bytes:
    looked: Json = {
        "id": "app.public.note/ca/whole/0",
        "rows": 3,
        "home": "same",
        "source": "gone",
        "why": "as the log says",
    }
    return dump_json({
        "format": "urn:domicile:spot-check/v1", "root": s.digest("root"), "seed": "drand 1", "slices": [looked],
    })  # fmt: skip


def _bent_document(seed: Callable[[], bytes]) -> Callable[[Random], bytes]:
    """A document bent as bytes or as JSON."""
    return lambda chance: shaping.bend_document(seed(), chance, lambda data: bend_bytes(data, chance))


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
VKEY: Final = _bent(s.ENGINE.verifier.vkey.encode)
NOTE: Final = _bent(lambda: small_log()["checkpoint"])


def _notes() -> list[bytes]:
    return [*corpus.files_named("log/checkpoint"), _cosigned()]


def _keys() -> list[bytes]:
    return [data.removesuffix(b"\n") for data in corpus.files_named("keys/")]


def _cosigners() -> list[bytes]:
    return [cosigner_of(key).vkey.encode() for key in witnessed.WITNESSES.values()]


def _two_numbers() -> list[bytes]:
    return [_numbers(Random(seed)) for seed in range(20)]  # noqa: S311  (seeded)


def _logs() -> list[bytes]:
    folder = dump_json({name: data.hex() for name, data in small_log().items()})
    return [folder, dump_json({"checkpoint": small_log()["checkpoint"].hex()})]


TARGETS: Final[dict[str, Target]] = {
    "bundle of a stranger": Target(
        bundles.bent_zip, _audit_of_a_stranger, (), corpus.golden_bundles, shaping.bend_zip, 8
    ),
    "bundle signed again": Target(bundles.resigned, _audit, (), corpus.golden_bundles, shaping.bend_bundle, 8),
    "bundle told otherwise": Target(bundles.retold, _audit, (), bundles.good_bundles, shaping.bend_bundle, 8),
    "bundle under a policy": Target(bundles.retold, _examine, (), corpus.golden_bundles, shaping.bend_bundle, 8),
    "policy": Target(_policies, read_policy, (ValueError,), _golden_policies, shaping.bend_lines),
    "policy of witnesses": Target(
        _bent(lambda: _golden_policies()[-1]), _policy, NO, _golden_policies, shaping.bend_lines
    ),
    "vkey of the checker": Target(VKEY, _text(read_vkey), (ValueError,), _keys),
    "vkey": Target(VKEY, _text(parse_vkey), NO, _keys),
    "skey": Target(_bent(s.STRANGER.skey.encode), _text(parse_skey), NO, lambda: [s.STRANGER.skey.encode()]),
    "key of a witness": Target(VKEY, _text(parse_cosigner), NO, _cosigners),
    "note": Target(NOTE, parse_note, NO, _notes, shaping.bend_note),
    "checkpoint": Target(
        NOTE, lambda data: open_checkpoint(data, s.ENGINE.verifier), NO, _notes, shaping.bend_note
    ),
    "checkpoint's text": Target(
        NOTE, _text(parse_checkpoint), NO,
        lambda: [note.rpartition(b"\n\n")[0] + b"\n" for note in _notes()], shaping.bend_lines,
    ),
    "checkpoint with cosignatures": Target(_bent(_cosigned), _count, NO, _notes, shaping.bend_note),
    "request to a witness": Target(_bent(_request), _add, NO, lambda: [_request()], shaping.bend_note),
    "answer of a witness": Target(_bent(_answer), parse_answer, NO, lambda: [_answer()], shaping.bend_lines),
    "proof": Target(_bent(receipt), _proof, NO, lambda: [receipt(), corpus.person()], shaping.bend_note),
    "receipt of a person": Target(
        _bent(corpus.person), _person, (), lambda: [corpus.person()], shaping.bend_receipt, 3
    ),
    "path of a proof": Target(_numbers, _paths, NO, _two_numbers),
    "entries": Target(
        _bent(lambda: encode_entries([b"one", b"", b"three"])), lambda data: decode_entries(data, width=3), NO,
        lambda: [encode_entries([b"one", b"", b"three"]), *corpus.files_named("log/tile/entries/")],
    ),
    "envelope": Target(
        _envelopes, lambda data: open_envelope(data, payload_type=PAYLOAD_TYPE, verifier=s.ENGINE.verifier), NO,
        corpus.envelopes, shaping.bend_envelope,
    ),
    "statement": Target(_payloads, _unseal, NO, corpus.envelopes, shaping.bend_envelope, 3),
    "statement's bytes": Target(_envelopes, _unseal, NO, corpus.envelopes, shaping.bend_document),
    "detached predicate": Target(_predicates, _unseal_detached, NO, corpus.predicates, shaping.bend_document, 3),
    "detached name": Target(_payloads, detached_name, NO, corpus.envelopes, shaping.bend_envelope),
    "predicate": Target(_predicates, _decode_all, NO, corpus.predicates, shaping.bend_document, 3),
    "audit key": Target(
        _bent_document(_opening), read_opening, (ValueError, RecursionError), lambda: [_opening()],
        shaping.bend_document,
    ),
    "report of a spot check": Target(
        _bent_document(_sample), read_sample, (ValueError, RecursionError), lambda: [_sample()], shaping.bend_document
    ),
    "log": Target(_folders, _open_log, NO, _logs, shaping.bend_folder, 3),
    "ledger": Target(_folders, _open_ledger, NO, _logs, shaping.bend_folder, 3),
}  # fmt: skip
FOLDERS: Final = frozenset({"log", "ledger"})
"""Those that are given a folder, as one text."""


def seconds_of(name: str, names: Sequence[str], seconds: float) -> float:
    """How much of the time one of these readers has."""
    return seconds * TARGETS[name].share / sum(TARGETS[one].share for one in names)


def warm() -> None:
    """Make what readers are held against, so that no input is charged with it."""
    for made in (played, small_log, receipt, corpus.person, _asked, _request, _tree, _cosigned, shaping.signers):
        made()
    corpus.accepted_bundles()
