"""What a log and a witness say: requests in one spelling, and the decision what to cosign; answers of others read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domicile.errors import EvidenceFault
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.tlog.checkpoint import Checkpoint, sign_checkpoint
from domicile.evidence.tlog.merkle import Edge, Tree, hash_leaf
from domicile.evidence.tlog.witness import (
    NOTHING,
    AddCheckpoint,
    Declined,
    Seen,
    format_request,
    identify,
    parse_answer,
    parse_request,
    parse_size,
    require_growth,
)

LOG = Signer(name="log.example/one", seed=bytes(range(32)))
STRANGER = Signer(name="log.example/one", seed=bytes(32))
LEAVES = [hash_leaf(str(number).encode()) for number in range(40)]
FORK = [*LEAVES[:3], hash_leaf(b"another"), *LEAVES[4:]]

# A request of litewitness's own tests (FiloSottile/torchwood, cmd/litewitness/testdata).
SIGSUM = "sigsum.org/v1/tree/985ea163f5af026723561354f51f2ebcdcf2af809ce254ccfb64aa9aadd80f90"
SIGSUM_KEY = bytes.fromhex("52c05edad1bf5feffa81354faae59a655d9a9a1a793ed2f62c39c26c0be2aecd")
FOREIGN = (
    f"old 0\n\n{SIGSUM}\n1\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— {SIGSUM} 7BKT0gOfNZ1J0So9unY3BZtm2YkPIoNY"
    "M/dce0Z2avJDs8dxN6ts9bOSwwrVrbjm6P9K3ZxpK6jJngOG6YvGGzV/lwo=\n"
).encode()


def head(size: int, leaves: list[bytes] = LEAVES, signer: Signer = LOG) -> bytes:
    return sign_checkpoint(Checkpoint(origin=signer.name, size=size, root=Tree(leaves[:size]).root()), signer)


def request(old: int, new: int, leaves: list[bytes] = LEAVES) -> AddCheckpoint:
    return AddCheckpoint(old=old, path=Tree(leaves[:new]).consistency(old), checkpoint=head(new, leaves))


def answered(asked: AddCheckpoint, seen: Seen, logs: dict[str, list[Verifier]] | None = None) -> int:
    """The status of a witness's answer."""
    try:
        require_growth(asked, identify(asked, logs if logs is not None else {LOG.name: [LOG.verifier]}), seen)
    except Declined as declined:
        return declined.status
    return 200


def seen(size: int, leaves: list[bytes] = LEAVES) -> Seen:
    return Seen(size=size, root=Tree(leaves[:size]).root())


def test_a_request_that_another_program_wrote_is_read_and_cosigned() -> None:
    asked = parse_request(FOREIGN)
    assert FOREIGN == format_request(asked)
    logs = {SIGSUM: [Verifier(name=SIGSUM, public=SIGSUM_KEY)]}
    assert 200 == answered(asked, NOTHING, logs)
    assert 403 == answered(asked, NOTHING, {SIGSUM: [Verifier(name=SIGSUM, public=LOG.verifier.public)]})


@given(st.integers(0, 40), st.integers(0, 40))
def test_growth_is_cosigned_and_a_fork_or_a_rollback_is_not(one: int, two: int) -> None:
    old, new = sorted((one, two))
    assert 200 == answered(request(old, new), seen(old))
    assert 409 == answered(request(old, new), seen(old + 1))
    if old:
        assert 409 == answered(AddCheckpoint(old=0, path=(), checkpoint=head(new)), seen(old))
    if new > 3:
        forked = request(old, new, FORK)
        expected = 200 if old <= 3 else 409 if old == new else 422
        assert expected == answered(forked, seen(old))


def test_statuses_are_those_of_the_specification() -> None:
    good = request(3, 9)
    assert 200 == answered(good, seen(3))
    assert 404 == answered(good, seen(3), {})
    assert 404 == answered(good, seen(3), {"log.example/other": [LOG.verifier]})
    assert 403 == answered(good, seen(3), {LOG.name: [STRANGER.verifier]})
    assert 200 == answered(good, seen(3), {LOG.name: [STRANGER.verifier, LOG.verifier]})
    assert 400 == answered(AddCheckpoint(old=10, path=(), checkpoint=head(9)), seen(10))
    assert 400 == answered(AddCheckpoint(old=3, path=good.path, checkpoint=b"no note\n"), seen(3))
    assert 409 == answered(good, seen(4))
    assert 409 == answered(request(9, 9, FORK), seen(9))
    assert 422 == answered(AddCheckpoint(old=3, path=good.path[:-1], checkpoint=good.checkpoint), seen(3))
    assert 422 == answered(AddCheckpoint(old=3, path=(), checkpoint=good.checkpoint), seen(3))
    assert 422 == answered(AddCheckpoint(old=9, path=(bytes(32),), checkpoint=head(9)), seen(9))
    assert 422 == answered(AddCheckpoint(old=0, path=(bytes(32),), checkpoint=head(9)), NOTHING)
    empty = sign_checkpoint(Checkpoint(origin=LOG.name, size=0, root=bytes(32)), LOG)
    assert 409 == answered(AddCheckpoint(old=0, path=(), checkpoint=empty), NOTHING)


def test_a_refusal_tells_the_size_only_where_the_spec_wants_it() -> None:
    with pytest.raises(Declined) as conflict:
        require_growth(request(3, 9), Checkpoint(origin=LOG.name, size=9, root=bytes(32)), seen(4))
    with pytest.raises(Declined) as broken:
        require_growth(request(3, 9, FORK), Checkpoint(origin=LOG.name, size=9, root=bytes(32)), seen(3))
    assert (4, None) == (conflict.value.size, broken.value.size)
    assert (4, None, None, None) == (
        parse_size(b"4\n"),
        parse_size(b"4"),
        parse_size(b"04\n"),
        parse_size(b"9" * 19 + b"\n"),
    )


GOOD = format_request(request(3, 9))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"old 3\n", GOOD.replace(b"old 3", b"old 03"), GOOD.replace(b"old 3", b"old -1"),
        GOOD.replace(b"old 3\n", b""), GOOD.replace(b"old 3\n", b"old 3\n\n"), GOOD.replace(b"\n\nlog", b"\nlog"),
        GOOD.replace(b"old 3", b"old " + b"9" * 19), GOOD.replace(b"old 3\n", b"old 3\nAAAA\n"),
        GOOD.replace(b"old 3\n", b"old 3\n" + b"A" * 43 + b"=\n" * 1 + (b"A" * 43 + b"=\n") * 63),
        GOOD.replace(b"old", b"\xc3\xa9ld"), GOOD + b"x" * 400_000,
    ],
)  # fmt: skip
def test_what_is_no_request_is_told_so(data: bytes) -> None:
    with pytest.raises(Declined) as declined:
        identify(parse_request(data), {LOG.name: [LOG.verifier]})
    assert declined.value.status == 400


def test_as_many_hashes_as_the_spec_allows_are_read() -> None:
    many = AddCheckpoint(old=1, path=(bytes(32),) * 63, checkpoint=head(2))
    assert many == parse_request(format_request(many))
    with pytest.raises(Declined):
        parse_request(format_request(AddCheckpoint(old=1, path=(bytes(32),) * 64, checkpoint=head(2))))


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 7))
def test_one_flipped_bit_of_a_request_is_never_cosigned(place: int, bit: int) -> None:
    bent = GOOD[:place] + bytes([GOOD[place] ^ (1 << bit)]) + GOOD[place + 1 :]
    with pytest.raises(Declined):
        require_growth(asked := parse_request(bent), identify(asked, {LOG.name: [LOG.verifier]}), seen(3))


def test_an_answer_is_signature_lines() -> None:
    with pytest.raises(EvidenceFault):
        parse_answer(b"<html>\n")


@given(st.integers(0, 300), st.integers(0, 40))
def test_the_edge_of_a_tree_grows_to_the_root_of_the_tree(size: int, more: int) -> None:
    leaves = [hash_leaf(str(number).encode()) for number in range(size + more)]
    edge = Edge()
    for leaf in leaves[:size]:
        edge.append(leaf)
    kept = Edge(edge.size, edge.nodes)
    for leaf in leaves[size:]:
        kept.append(leaf)
    assert Tree(leaves).root() == kept.root()
    with pytest.raises(EvidenceFault):
        Edge(size + 1, edge.nodes[:-1] if (size + 1).bit_count() != len(edge.nodes) - 1 else ())
