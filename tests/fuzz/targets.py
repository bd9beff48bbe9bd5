"""What is fuzzed: each reader of bytes that come from outside, how its input is bent, and what may come out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from domicile.errors import DomicileError
from domicile.evidence.bundle import trust_policy
from domicile.evidence.codec import dump_json, load_json
from domicile.evidence.keys import parse_skey, parse_vkey
from domicile.evidence.statement import PAYLOAD_TYPE, detached_name, open_envelope, parse_envelope
from domicile.evidence.tlog.checkpoint import open_checkpoint, parse_checkpoint
from domicile.evidence.tlog.cosignature import parse_cosigner
from domicile.evidence.tlog.note import parse_note
from domicile.evidence.tlog.tile import decode_entries, encode_entries
from domicile.evidence.tlog.witness import parse_answer
from domicile_audit.log.keys import read_vkey
from domicile_audit.trust.policy import read_policy
from tests.fuzz import bundles, corpus, reading, shaping
from tests.fuzz.mutating import bend_bytes, bend_json
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


def _bent(*seeds: Callable[[], bytes]) -> Callable[[Random], bytes]:
    return lambda chance: bend_bytes(chance.choice(seeds)(), chance)


def _envelopes(chance: Random) -> bytes:
    data = chance.choice(list(corpus.played().values())).envelope
    if chance.random() < 0.5:
        return bend_bytes(data, chance)
    body = bend_json(load_json(data), chance)
    return bundles.dump(body)


def _payloads(chance: Random) -> bytes:
    """Signed statements whose payload is bent, in its one spelling or not."""
    return bundles.bent_envelope(chance.choice(list(corpus.played().values())), s.ENGINE, chance)


def _predicates(chance: Random) -> bytes:
    whole = load_json(parse_envelope(chance.choice(list(corpus.played().values())).envelope).payload)
    assert isinstance(whole, dict)
    if chance.random() < 0.3:
        return bend_bytes(dump_json(whole["predicate"]), chance)
    return bundles.dump(bend_json(whole["predicate"], chance))


def _numbers(chance: Random) -> bytes:
    big = (0, 1, 2, 3, 255, 256, 2**40, 2**62, -1, -(2**63))
    numbers = b"".join(chance.choice(big).to_bytes(8, "big", signed=True) for _ in range(2))
    return numbers + chance.randbytes(32 * chance.choice((0, 1, 2, 8, 64, 65, 200)))


def _some_numbers() -> list[bytes]:
    return [_numbers(Random(seed)) for seed in range(20)]  # noqa: S311  (seeded)


def _folders(chance: Random) -> bytes:
    """A log's folder as one text: path, length and bytes of each file."""
    files = dict(corpus.small_log())
    for _ in range(chance.choice((1, 1, 2))):
        name = chance.choice(sorted(files))
        if chance.random() < 0.1:
            del files[name]
        else:
            files[name] = bend_bytes(files[name], chance)
        if not files:
            break
    return dump_json({name: data.hex() for name, data in files.items()})


def _followed(chance: Random) -> bytes:
    """Half of the time told otherwise, and signed again."""
    if chance.random() < 0.5:
        return _folders(chance)
    return shaping.bend_folder(chance.choice(corpus.followed()), chance, lambda data: bend_bytes(data, chance))


def _documents(seed: Callable[[], bytes]) -> Callable[[Random], bytes]:
    """A document bent as bytes or as JSON."""
    return lambda chance: shaping.bend_document(seed(), chance, lambda data: bend_bytes(data, chance))


def _policies(chance: Random) -> bytes:
    return bend_bytes(trust_policy(s.ENGINE.verifier, s.plan().approvals).encode(), chance)


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


NO: Final = (DomicileError,)
KEY: Final = s.ENGINE.verifier
VKEY: Final = _bent(KEY.vkey.encode)
NOTE: Final = _bent(lambda: corpus.small_log()["checkpoint"])
ENTRIES: Final = encode_entries([b"one", b"", b"three"])


TARGETS: Final[dict[str, Target]] = {
    "bundle of a stranger": Target(
        bundles.bent_zip, reading.audit_of_a_stranger, (), corpus.golden_bundles, shaping.bend_zip, share=8
    ),
    "bundle signed again": Target(
        bundles.resigned, reading.audit_any, (), corpus.golden_bundles, shaping.bend_bundle, share=8
    ),
    "bundle told otherwise": Target(
        bundles.retold, reading.audit_any, (), bundles.good_bundles, shaping.bend_bundle, share=8
    ),
    "bundle under a policy": Target(
        bundles.retold, reading.examine_any, (), corpus.golden_bundles, shaping.bend_bundle, share=8
    ),
    "policy": Target(_policies, read_policy, (ValueError,), corpus.golden_policies, shaping.bend_lines),
    "policy of witnesses": Target(
        _bent(lambda: corpus.golden_policies()[-1]), reading.read_and_write_policy, NO, corpus.golden_policies,
        shaping.bend_lines,
    ),
    "vkey of the checker": Target(VKEY, _text(read_vkey), (ValueError,), corpus.keys),
    "vkey": Target(VKEY, _text(parse_vkey), NO, corpus.keys),
    "skey": Target(_bent(s.STRANGER.skey.encode), _text(parse_skey), NO, lambda: [s.STRANGER.skey.encode()]),
    "key of a witness": Target(VKEY, _text(parse_cosigner), NO, corpus.cosigners),
    "note": Target(NOTE, parse_note, NO, corpus.notes, shaping.bend_note),
    "checkpoint": Target(NOTE, lambda data: open_checkpoint(data, KEY), NO, corpus.notes, shaping.bend_note),
    "checkpoint's text": Target(
        NOTE, _text(parse_checkpoint), NO, lambda: [one.rpartition(b"\n\n")[0] + b"\n" for one in corpus.notes()],
        shaping.bend_lines,
    ),
    "checkpoint with cosignatures": Target(
        _bent(corpus.cosigned_note), reading.count_cosignatures, NO, corpus.notes, shaping.bend_note
    ),
    "request to a witness": Target(
        _bent(corpus.request), reading.answer_request, NO, lambda: [corpus.request()], shaping.bend_headed
    ),
    "answer of a witness": Target(
        _bent(corpus.answer), parse_answer, NO, lambda: [corpus.answer()], shaping.bend_lines
    ),
    "proof": Target(
        _bent(corpus.receipt), reading.open_proof, NO, lambda: [corpus.receipt(), corpus.person()], shaping.bend_headed
    ),
    "receipt of a person": Target(
        _bent(corpus.person), reading.open_receipt, (), lambda: [corpus.person()], shaping.bend_receipt, share=3
    ),
    "proof for the checker": Target(
        _bent(corpus.receipt), reading.prove_entry, (), lambda: [corpus.receipt(), corpus.person()],
        shaping.bend_headed,
    ),
    "proof of growth": Target(
        _bent(corpus.request), reading.prove_growth, (), lambda: [corpus.request()], shaping.bend_headed
    ),
    "path of a proof": Target(_numbers, reading.climb, NO, _some_numbers),
    "entries": Target(
        _bent(lambda: ENTRIES), lambda data: decode_entries(data, width=3), NO,
        lambda: [ENTRIES, *corpus.files_named("log/tile/entries/")],
    ),
    "envelope": Target(
        _envelopes, lambda data: open_envelope(data, payload_type=PAYLOAD_TYPE, verifier=KEY), NO, corpus.envelopes,
        shaping.bend_envelope,
    ),
    "statement": Target(_payloads, reading.unseal, NO, corpus.envelopes, shaping.bend_envelope, share=3),
    "statement's bytes": Target(_envelopes, reading.unseal, NO, corpus.envelopes, shaping.bend_document),
    "detached predicate": Target(
        _predicates, reading.unseal_detached, NO, corpus.predicates, shaping.bend_document, share=3
    ),
    "detached name": Target(_payloads, detached_name, NO, corpus.envelopes, shaping.bend_envelope),
    "predicate": Target(_predicates, reading.decode_all, NO, corpus.predicates, shaping.bend_document, share=3),
    "audit key": Target(
        _documents(corpus.opening), reading.open_audit_key, (ValueError,), lambda: [corpus.opening()],
        shaping.bend_document,
    ),
    "report of a spot check": Target(
        _documents(corpus.sample), reading.report_of_a_spot_check, (ValueError,), lambda: [corpus.sample()],
        shaping.bend_document,
    ),
    "log": Target(_folders, reading.open_log, NO, corpus.logs, shaping.bend_folder, share=3),
    "ledger": Target(_folders, reading.open_ledger, NO, corpus.logs, shaping.bend_folder, share=3),
    "log checked whole": Target(_folders, reading.check_log_whole, NO, corpus.logs, shaping.bend_folder),
    "log that is followed": Target(_followed, reading.follow_log, NO, corpus.followed, shaping.bend_folder, share=3),
    "state of a monitor": Target(
        _documents(corpus.state), reading.follow_from_state, NO, lambda: [corpus.state()], shaping.bend_document
    ),
}  # fmt: skip


def seconds_of(name: str, names: Sequence[str], seconds: float) -> float:
    """How much of the time one of these readers has."""
    return seconds * TARGETS[name].share / sum(TARGETS[one].share for one in names)


def warm() -> None:
    """Make what readers are held against, so that no input is charged with it."""
    for made in (corpus.accepted_bundles, corpus.person, corpus.detached, corpus.small_tree, shaping.signers):
        made()
    reading.asked()
