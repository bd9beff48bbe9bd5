"""What every store promises of digests, differences and repair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from domicile.events import silent
from domicile.model import Form, Home, Manifest, Slice
from domicile.proof import Measure
from domicile.stores import LEAF_ROWS
from domicile.verify import narrow, verify
from tests.stores import flow
from tests.stores.benches import Bench
from tests.stores.worlds import crowd, guild, shop, video

CA, US = Home("ca"), Home("us")
PERSON = "app.public.person"


class VerifyingSuite:
    """`make` builds a bench from a world; each store's test class gives its own."""

    # -- digests -------------------------------------------------------------------------------------------------

    def test_p1_one_changed_value_at_home_changes_the_digest_of_its_slice_only(
        self, make: Callable[..., Bench]
    ) -> None:
        bench = make(shop())
        manifest = flow.move(bench)
        bench.update("ca", "sales.item", {"order_id": 1, "line": 2}, {"note": " "})
        pairs = flow.verify(bench, manifest)
        assert [pair.slice.id for pair in pairs if not pair.equal] == [
            flow.slice_of(manifest, "app.sales.item", "ca").id
        ]

    @pytest.mark.parametrize("pair", [("", None), (None, ""), ("a", "b")], ids=repr)
    def test_p1_empty_is_not_null(self, make: Callable[..., Bench], pair: tuple[object, object]) -> None:
        left, right = pair
        bench = make(crowd(2).with_sheet("person", rows=((1, left, "CA"),)))
        manifest = flow.move(bench)
        assert all(pair.equal for pair in flow.verify(bench, manifest))
        bench.update("ca", "person", {"id": 1}, {"name": right})
        assert [pair.equal for pair in flow.verify(bench, manifest)] == [False]

    def test_p1_two_values_changed_over_two_rows_are_seen(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(4))
        manifest = flow.move(bench)
        bench.update("ca", "person", {"id": 1}, {"name": "p3"})
        bench.update("ca", "person", {"id": 3}, {"name": "p1"})
        assert [pair.equal for pair in flow.verify(bench, manifest)] == [False]

    def test_p1_a_missing_row_is_seen(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(4))
        manifest = flow.move(bench)
        bench.delete("ca", "person", {"id": 3})
        pairs = flow.verify(bench, manifest)
        assert [(pair.equal, pair.source.rows, pair.home.rows) for pair in pairs] == [(False, 2, 1)]

    def test_p1_a_lost_duplicate_is_seen(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        manifest = flow.move(bench)
        bench.insert("ca", "visit", {"person_id": 1, "page": "/"})
        assert [pair.slice.dataset for pair in flow.verify(bench, manifest) if not pair.equal] == ["app.public.visit"]

    def test_a_changed_skeleton_is_seen(self, make: Callable[..., Bench]) -> None:
        bench = make(video())
        manifest = flow.move(bench)
        bench.update("us", "clip", {"id": 3}, {"ip": "10.0.0.3"})
        assert [(pair.slice.dataset, pair.slice.form) for pair in flow.verify(bench, manifest) if not pair.equal] == [
            ("app.public.clip", Form.SKELETON)
        ]

    def test_slices_cover_every_row_once_and_stay_small(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(25), rows_max=4)
        manifest = flow.move(bench)
        pieces = [piece for piece in manifest.slices if piece.home == CA]
        assert [piece.rows for piece in pieces] == [4, 4, 4, 1]
        assert [(piece.after, piece.upto) for piece in pieces] == [(0, 4), (4, 8), (8, 12), (12, 13)]
        assert len({piece.id for piece in pieces}) == 4
        assert all(pair.equal for pair in flow.verify(bench, manifest))
        bench.update("ca", "person", {"id": 11}, {"name": "?"})  # the sixth Canadian
        assert [pair.equal for pair in flow.verify(bench, manifest)] == [True, False, True, True]

    def test_the_order_is_the_manifests_wherever_rows_lie(self, make: Callable[..., Bench]) -> None:
        forwards = crowd(20)
        backwards = forwards.with_sheet("person", rows=forwards.sheet("person").rows[::-1])
        digests = []
        for world in (forwards, backwards):
            bench = make(world)
            manifest = flow.move(bench)
            digests.append([pair.home.digest for pair in flow.verify(bench, manifest)])
        assert digests[0] == digests[1]

    def test_an_empty_slice_reads_as_no_rows(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(4))
        manifest = flow.move(bench)
        piece = flow.slice_of(manifest, PERSON, "ca")
        empty = Slice(
            id=piece.id, dataset=piece.dataset, home=CA, part=piece.part, form=piece.form,
            after=piece.upto, upto=piece.upto + 5, rows=0,
        )  # fmt: skip
        with bench.source.snapshot() as here, bench.homes[CA].snapshot() as there:
            source, home = (view.read(empty, _ignore, at_home=side) for view, side in ((here, False), (there, True)))
        assert (source.rows, home.rows, source.digest) == (0, 0, home.digest)

    # -- narrowing, strays, repair -------------------------------------------------------------------------------

    def test_leaves_narrow_a_difference_to_its_key(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(5_000))
        manifest = flow.move(bench)
        piece = flow.slice_of(manifest, PERSON, "ca")
        assert _narrowed(bench, piece) == {}
        bench.update("ca", "person", {"id": 3_001}, {"name": "?"})  # the 1,501st Canadian: the second leaf
        bench.delete("ca", "person", {"id": 4_999})  # the 2,500th: the third
        assert _narrowed(bench, piece) == {1: [("3001",)], 2: [("4999",)]}
        with bench.source.snapshot() as view:
            assert sorted(view.leaves(piece, at_home=False)) == [0, 1, 2]
            assert len(view.rows(piece, 0, at_home=False)) == LEAF_ROWS

    def test_leaves_agree_for_skeletons_and_rows_without_key(self, make: Callable[..., Bench]) -> None:
        for world in (shop(), video(), guild()):
            bench = make(world)
            manifest = flow.move(bench)
            assert [piece.id for piece in manifest.slices if _narrowed(bench, piece)] == []

    def test_strays_are_found_and_removed_and_nothing_else(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        manifest = flow.move(bench)
        bench.insert("ca", "person", {"id": 77, "name": "stray", "email": None, "address_id": None})
        bench.insert("ca", "visit", {"person_id": 77, "page": "stray"})
        before = bench.rows("ca", "sales.item")
        assert flow.strays(bench) == {(PERSON, "ca"): 1, ("app.public.visit", "ca"): 1}
        with bench.homes[CA].snapshot() as view:
            assert view.strays(bench.scope.dataset(bench.scope.subject), CA, limit=5) == (1, (("77",),))
            assert view.strays(bench.scope.dataset(bench.scope.subject), CA, limit=0) == (1, ())
        assert all(pair.equal for pair in flow.verify(bench, manifest))  # digests alone would not have seen them
        removed = [bench.homes[CA].remove_strays(dataset, CA) for dataset in bench.scope.datasets]
        assert sum(removed) == 2
        assert flow.strays(bench) == {}
        assert bench.rows("ca", "sales.item") == before

    def test_another_homes_row_is_a_stray(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(4))
        flow.move(bench)
        bench.insert("us", "person", {"id": 1, "name": "p1", "country": "CA"})
        assert flow.strays(bench) == {(PERSON, "us"): 1}

    def test_p1_a_missing_row_and_a_stray_do_not_make_up_for_each_other(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(8), rows_max=2)
        manifest = flow.move(bench)
        assert _verified(bench, manifest.slices) == ([], 0)
        bench.delete("ca", "person", {"id": 5})
        bench.insert("ca", "person", {"id": 4, "name": "p4", "country": "FR"})
        assert _verified(bench, manifest.slices) == ([("missing", "5"), ("stray", "4")], 1)

    def test_p1_in_a_table_without_key_neither(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        manifest = flow.move(bench)
        assert _verified(bench, manifest.slices) == ([], 0)
        bench.update("ca", "visit", {"page": "/a"}, {"page": "/b"})
        found, strays = _verified(bench, manifest.slices)
        assert (sorted(kind for kind, _ in found), strays) == (["missing", "stray"], 1)

    def test_a_stray_beside_a_missing_row_is_told_though_the_numbers_agree(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(8), rows_max=3)
        manifest = flow.move(bench)
        bench.delete("ca", "person", {"id": 3})
        bench.insert("ca", "person", {"id": 4, "name": "p4", "country": "FR"})
        assert _verified(bench, manifest.slices) == ([("missing", "3"), ("stray", "4")], 1)

    def test_strays_are_found_also_where_slices_are_left_out(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(8), rows_max=2)
        manifest = flow.move(bench)
        bench.insert("ca", "person", {"id": 4, "name": "p4", "country": "FR"})
        assert _verified(bench, manifest.slices[1:]) == ([("stray", "4")], 1)
        assert _verified(bench, ()) == ([("stray", "4")], 1)
        bench.delete("ca", "person", {"id": 4})
        assert _verified(bench, manifest.slices[1:]) == ([], 0)

    def test_hints_name_the_leaves_that_differ_and_wrong_ones_mislead_nobody(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(5_000))
        manifest = flow.move(bench)
        piece = flow.slice_of(manifest, PERSON, "ca")
        for number in (1, 1_999, 2_001, 4_999):
            bench.update("ca", "person", {"id": number}, {"name": "?"})
        with bench.source.snapshot() as here, bench.homes[CA].snapshot() as there:
            ours, theirs = here.measure(piece, _ignore, at_home=False), there.measure(piece, _ignore, at_home=True)
            assert ours.measure == here.read(piece, _ignore, at_home=False)
            assert [leaf for leaf in ours.leaves if ours.leaves[leaf] != theirs.leaves[leaf]] == [0, 1, 2]
            wrong = dict.fromkeys(ours.leaves, "the same")
            for hints in ((ours.leaves, theirs.leaves), (wrong, wrong), ({}, {})):
                keys = {difference.key[0] for difference in narrow(here, there, piece, hints=hints)}
                assert keys == {"1", "1999", "2001", "4999"}

    @pytest.mark.parametrize("table", ["person", "visit", "sales.item"])
    def test_a_slice_reloaded_is_equal_again(self, make: Callable[..., Bench], table: str) -> None:
        bench = make(shop())
        manifest = flow.move(bench)
        bench.update("ca", "person", {"id": 1}, {"name": "changed"})
        bench.update("ca", "visit", {"page": "/a"}, {"page": "/b"})
        bench.delete("ca", "sales.item", {"order_id": 5})
        piece = flow.slice_of(manifest, str(bench.world.id(table)), "ca")
        assert not _equal(bench, manifest, piece)
        with bench.source.snapshot() as view:
            bench.homes[CA].reload(piece, flow.feed(view, piece))
        bench.homes[CA].remove_strays(bench.scope.dataset(piece.dataset), CA)
        assert _equal(bench, manifest, piece)

    def test_p5_a_reload_that_breaks_off_leaves_the_slice_as_it_was(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        manifest = flow.move(bench)
        before = bench.rows("ca", "person")
        piece = flow.slice_of(manifest, PERSON, "ca")
        with bench.source.snapshot() as view, pytest.raises(_BrokeOffError):
            bench.homes[CA].reload(piece, lambda sink: _half(view.read(piece, sink, at_home=False)))
        assert bench.rows("ca", "person") == before
        assert piece.id in bench.homes[CA].loaded()

    def test_p5_a_reading_that_breaks_off_tells_why_and_the_next_one_is_whole(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(4_000))
        manifest = flow.move(bench)
        piece = flow.slice_of(manifest, PERSON, "ca")
        for store, at_home in ((bench.source, False), (bench.homes[CA], True)):
            with pytest.raises(_BrokeOffError), store.snapshot() as view:
                view.read(piece, _break_off, at_home=at_home)
            with store.snapshot() as view:
                assert view.read(piece, _ignore, at_home=at_home).rows == 2_000

    def test_a_snapshot_shows_one_moment(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(4))
        manifest = flow.move(bench)
        piece = flow.slice_of(manifest, PERSON, "ca")
        with bench.homes[CA].snapshot() as view:
            before = view.read(piece, _ignore, at_home=True)
            bench.update("ca", "person", {"id": 1}, {"name": "?"})
            assert view.read(piece, _ignore, at_home=True) == before
        assert flow.home_digest(bench.homes[CA], piece) != before.digest


class _BrokeOffError(Exception):
    """The feed's own fault."""


def _half(_: Measure) -> Measure:
    raise _BrokeOffError


def _break_off(_: bytes) -> None:
    raise _BrokeOffError


def _ignore(_: bytes) -> None:
    return None


def _verified(bench: Bench, slices: Sequence[Slice]) -> tuple[list[tuple[str, str]], int]:
    """What `verify` finds: differences as kind and first part of the key, and the number of strays."""
    equality = verify(
        bench.source, bench.homes, bench.scope, slices, fenced=True, now=datetime.now(UTC), listener=silent
    )
    differences = sorted((item.kind, item.key[0]) for item in equality.differences)
    return differences, sum(count for _, _, count in equality.strays)


def _equal(bench: Bench, manifest: Manifest, piece: Slice) -> bool:
    return next(pair.equal for pair in flow.verify(bench, manifest) if pair.slice == piece)


def _narrowed(bench: Bench, piece: Slice) -> dict[int, list[tuple[str, ...]]]:
    found = {}
    with bench.source.snapshot() as here, bench.homes[piece.home].snapshot() as there:
        left, right = here.leaves(piece, at_home=False), there.leaves(piece, at_home=True)
        for leaf in sorted({*left, *right}):
            if left.get(leaf) != right.get(leaf):
                source, home = here.rows(piece, leaf, at_home=False), there.rows(piece, leaf, at_home=True)
                found[leaf] = sorted(key for key in {*source, *home} if source.get(key) != home.get(key))
    return found
