"""The tree against the recursive definitions of RFC 6962, written out here, and against its known roots."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domicile.errors import EvidenceFault
from domicile.evidence.tlog.merkle import Tree, hash_leaf, is_consistent, root_from_inclusion
from domicile.evidence.tlog.tile import Tile, decode_entries, encode_entries, tiles_of
from domicile_audit.log.tree import merkle_root

# The eight leaves and roots of the reference implementation of Certificate Transparency.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def mth(entries: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m: int, entries: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1."""
    if len(entries) == 1:
        return []
    k = 1
    while k * 2 < len(entries):
        k *= 2
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def proof(m: int, entries: list[bytes], *, whole: bool = True) -> list[bytes]:
    """RFC 6962 section 2.1.2."""
    if m == len(entries):
        return [] if whole else [mth(entries)]
    k = 1
    while k * 2 < len(entries):
        k *= 2
    if m <= k:
        return [*proof(m, entries[:k], whole=whole), mth(entries[k:])]
    return [*proof(m - k, entries[k:], whole=False), mth(entries[:k])]


def numbered(count: int) -> list[bytes]:
    return [str(n).encode() for n in range(count)]


def tree_of(entries: list[bytes]) -> Tree:
    return Tree(hash_leaf(entry) for entry in entries)


def test_the_roots_are_those_of_certificate_transparency() -> None:
    assert ROOTS == [tree_of(LEAVES[: n + 1]).root().hex() for n in range(8)]
    assert tree_of([]).root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_roots_and_proofs_are_those_of_the_definitions_for_every_size() -> None:
    for size in range(1, 40):
        entries = numbered(size)
        tree = tree_of(numbered(45))
        assert mth(entries) == tree.root(size) == merkle_root([hash_leaf(e) for e in entries])
        assert [path(m, entries) for m in range(size)] == [list(tree.inclusion(m, size)) for m in range(size)]
        assert [proof(m, entries) for m in range(1, size)] == [list(tree.consistency(m, size)) for m in range(1, size)]


@given(st.integers(1, 700), st.data())
def test_a_proof_holds_for_its_leaf_and_for_no_other(size: int, data: st.DataObject) -> None:
    tree = tree_of(numbered(size))
    index = data.draw(st.integers(0, size - 1))
    found = tree.inclusion(index)
    leaf = hash_leaf(str(index).encode())
    assert tree.root() == root_from_inclusion(leaf, index=index, size=size, path=found)
    assert tree.root() != root_from_inclusion(hash_leaf(b"other"), index=index, size=size, path=found)
    for wrong in (found[:-1], (*found, bytes(32))):
        if wrong != found:
            with pytest.raises(EvidenceFault):
                root_from_inclusion(leaf, index=index, size=size, path=wrong)


@given(st.integers(1, 300), st.integers(0, 300), st.data())
def test_a_longer_log_is_consistent_and_a_rewritten_one_is_not(old: int, more: int, data: st.DataObject) -> None:
    entries = numbered(old + more)
    tree = tree_of(entries)
    found = tree.consistency(old)
    assert is_consistent(old=old, old_root=tree.root(old), new=tree.size, new_root=tree.root(), path=found)
    entries[data.draw(st.integers(0, old - 1))] = b"rewritten"
    other = tree_of(entries)
    assert not is_consistent(
        old=old, old_root=tree.root(old), new=tree.size, new_root=other.root(), path=other.consistency(old)
    )
    assert not is_consistent(
        old=old, old_root=tree.root(old), new=tree.size, new_root=tree.root(), path=(*found, bytes(32))
    )
    if found:
        assert not is_consistent(old=old, old_root=tree.root(old), new=tree.size, new_root=tree.root(), path=found[1:])


@given(st.integers(0, 600), st.integers(0, 600))
def test_what_is_forgotten_leaves_the_tree_as_it_was(kept: int, more: int) -> None:
    tree = tree_of(numbered(kept + more))
    tree.drop_after(kept)
    assert tree.root() == tree_of(numbered(kept)).root()
    tree.append(hash_leaf(b"next"))
    assert tree.root() == tree_of([*numbered(kept), b"next"]).root()


def test_asking_beyond_the_tree_is_refused() -> None:
    tree = tree_of(numbered(3))
    for ask in (
        lambda: tree.root(4),
        lambda: tree.inclusion(3),
        lambda: tree.inclusion(-1),
        lambda: tree.consistency(2, 4),
    ):
        with pytest.raises(EvidenceFault):
            ask()


# ----------------------------------------------------------------------------------------- tiles
def test_a_tree_of_70000_has_the_tiles_of_the_specification() -> None:
    tiles = tiles_of(70_000)
    widths = {level: [t.width for t in tiles if t.level == level] for level in (None, 0, 1, 2)}
    assert {None: [256] * 273 + [112], 0: [256] * 273 + [112], 1: [256, 17], 2: [1]} == widths
    assert len(tiles) == sum(len(found) for found in widths.values())


def test_a_tree_of_256_has_a_full_tile_and_one_above_of_width_one() -> None:
    assert ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"] == [tile.path for tile in tiles_of(256)]


def test_paths_are_those_of_the_specification() -> None:
    assert "tile/0/x001/x234/067" == Tile(level=0, index=1_234_067, width=256).path
    assert "tile/entries/x001/000.p/5" == Tile(level=None, index=1_000, width=5).path


@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_the_new_tiles_are_those_that_the_old_tree_did_not_have(one: int, two: int) -> None:
    old, new = sorted((one, two))
    assert set(tiles_of(new)) - set(tiles_of(old)) == set(tiles_of(new, since=old))


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_entries_are_read_back_and_a_cut_bundle_is_refused(entries: list[bytes]) -> None:
    data = encode_entries(entries)
    assert tuple(entries) == decode_entries(data, width=len(entries))
    for bad, width in ((data + b"\0", len(entries)), (data, len(entries) + 1), (data[:-1], len(entries))):
        if bad or width:
            with pytest.raises(EvidenceFault):
                decode_entries(bad, width=width)


def test_an_entry_at_the_limit_and_one_over_it() -> None:
    assert len(encode_entries([bytes(65_535)])) == 65_537
    with pytest.raises(EvidenceFault, match="longer than 65535"):
        encode_entries([bytes(65_536)])
