"""Hostile input: whatever a reader is given, nothing but its refusal comes out. A longer form is `make fuzz`."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domicile.errors import DomicileError, EvidenceFault, HostFault
from domicile.evidence.bundle import trust_policy
from domicile.evidence.codec import dump_json
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.tile import encode_entries
from domicile_audit.checklist import audit
from domicile_audit.papers.paper import check
from tests.fuzz import bundles, corpus
from tests.fuzz.mutating import bend_bytes
from tests.fuzz.targets import TARGETS, give, try_once
from tests.vectors import scenario as s

SEED = 20261130
ROUNDS = 40
"""Inputs for each reader."""


@pytest.mark.parametrize("name", TARGETS)
def test_p9_nothing_but_refusals_comes_out_of_bent_input(name: str) -> None:
    for number in range(ROUNDS):
        try_once(name, f"{SEED} {number}")


@given(data=st.binary(max_size=300))
@settings(max_examples=25, deadline=None)
def test_p9_nothing_but_refusals_comes_out_of_any_bytes(data: bytes) -> None:
    for name in TARGETS:
        give(name, data)


@given(text=st.text(max_size=200))
@settings(max_examples=25, deadline=None)
def test_p9_nothing_but_refusals_comes_out_of_any_text(text: str) -> None:
    for name in ("policy", "vkey", "skey", "note", "proof", "predicate", "envelope"):
        give(name, text.encode("utf-8", "surrogatepass"))


WHOLE: dict[str, bytes] = {
    "bundle of a stranger": bundles.good_bundles()[0],
    "policy": trust_policy(s.ENGINE.verifier, s.plan().approvals).encode(),
    "vkey of the checker": s.ENGINE.verifier.vkey.encode(),
    "vkey": s.ENGINE.verifier.vkey.encode(),
    "skey": s.STRANGER.skey.encode(),
    "note": corpus.small_log()["checkpoint"],
    "checkpoint": corpus.small_log()["checkpoint"],
    "checkpoint's text": corpus.small_log()["checkpoint"].rpartition(b"\n\n")[0] + b"\n",
    "proof": corpus.receipt(),
    "entries": encode_entries([b"one", b"", b"three"]),
    "envelope": corpus.played()["sweep"].envelope,
    "statement": corpus.played()["sweep"].envelope,
    "statement's bytes": corpus.played()["sweep"].envelope,
    "detached name": corpus.played()["sweep"].envelope,
    "log": dump_json({name: data.hex() for name, data in corpus.small_log().items()}),
    "ledger": dump_json({name: data.hex() for name, data in corpus.small_log().items()}),
    "receipt of a person": corpus.person(),
}
WHOLE |= {
    name: next(iter(TARGETS[name].seeds()))
    for name in (
        "policy of witnesses", "key of a witness", "request to a witness", "answer of a witness", "audit key",
        "report of a spot check", "log checked whole", "log that is followed", "state of a monitor",
    )
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_whole_is_read(name: str) -> None:
    """The readers are not deaf: none of this is refused."""
    TARGETS[name].read(WHOLE[name])


def test_no_golden_bundle_is_a_finding() -> None:
    """Fuzzing begins with all of them, the bad ones, too; each is refused, or known as one that may be accepted."""
    for bundle in corpus.golden_bundles():
        give("bundle of a stranger", bundle)


def test_the_receipt_that_is_bent_is_accepted_whole() -> None:
    assert check(corpus.person()).accepted


def test_the_bent_bundles_reach_most_checks_and_some_are_accepted() -> None:
    reached = set()
    for number in range(500):
        way = (bundles.retold, bundles.retold, bundles.retold, bundles.resigned, bundles.bent_zip)[number % 5]
        report = audit(way(Random(f"{SEED} reach {number}")))  # noqa: S311  (a seeded test)
        reached.add(0 if report.accepted else report.checks[-1].number)
    assert 0 in reached
    assert len(reached) >= 20  # of 25; the root alone can hardly be hit by chance


def test_bending_is_repeated_by_its_seed() -> None:
    one, two = (bend_bytes(bytes(100), Random(7)) for _ in range(2))  # noqa: S311  (a seeded test)
    assert one == two
    assert bundles.retold(Random(7)) == bundles.retold(Random(7))  # noqa: S311  (a seeded test)


@pytest.mark.parametrize("kind", ["folder", "itself", "nowhere"])
def test_a_log_whose_file_is_something_else_is_refused(tmp_path: Path, kind: str) -> None:
    log = Log.create(tmp_path / "log", s.ENGINE)
    log.append([b"one", b"two"])
    tile = tmp_path / "log" / "tile" / "0" / "000.p" / "2"
    tile.unlink()
    if kind == "folder":
        tile.mkdir()
    else:
        tile.symlink_to(tile if kind == "itself" else tmp_path / "nowhere")
    with pytest.raises((EvidenceFault, HostFault)):
        Log.open(tmp_path / "log", s.ENGINE.verifier)


def test_a_refusal_is_of_the_one_tree() -> None:
    assert all(issubclass(one, DomicileError | ValueError) for target in TARGETS.values() for one in target.refusals)
