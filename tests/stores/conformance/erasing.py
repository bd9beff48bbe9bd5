"""What every store promises of erasure: nothing without proof, nothing twice, nothing of anybody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from domicile.catalogue import OnDelete
from domicile.config.rules import Apart, Disposition, HomeRows, Shared
from domicile.errors import Collateral, NoClearance, NotEqual, Undecided
from domicile.model import Digest, Fate, Form, Home, Manifest, Slice
from tests.stores import flow
from tests.stores.benches import SOURCE, Bench
from tests.stores.world import Sheet, World, null, path, refer, up
from tests.stores.worlds import crowd, nobody, shop, video

CA, US = Home("ca"), Home("us")
PERSON = "app.public.person"
WRONG = Digest("0" * 64)


def badges(on_delete: OnDelete, key: str = "id") -> World:
    """Badges of nobody's that refer to people: the database would cascade, set null or refuse."""
    badge = Sheet(
        name="badge",
        columns={"id": "integer", "person": "integer" if key == "id" else "text"},
        references=(refer("person", "person", parent_columns=(key,), on_delete=on_delete),),
        disposition=Disposition.NONE,
        home_rows=HomeRows.NOTHING,
    )
    (person,) = crowd(4).sheets
    return World(sheets=(replace(person, unique=(("name",),)), badge))


def _split_shared() -> World:
    room = Sheet(
        name="room",
        columns={"id": "integer", "a": "integer", "b": "integer", "note": "text"},
        disposition=Disposition.SPLIT,
        paths=(path(up("a", "person")), path(up("b", "person"))),
        shared=Shared.EACH,
        blanks=(null("note"),),
        rows=((1, 1, 2, "ca and us"), (2, 1, 1, "ca"), (3, 1, 3, "ca and fr")),
    )
    return World(sheets=(*video().sheets, room))


def _cycle() -> World:
    """An album's cover is a photo, a photo is in an album; a note of nobody's keeps the album's skeleton."""
    owner = path(up("owner_id", "person"))
    album = Sheet(
        name="album",
        columns={"id": "integer", "owner_id": "integer", "cover_id": "integer"},
        references=(refer("owner_id", "person", source=Apart.SKELETON), refer("cover_id", "photo")),
        paths=(owner,),
        blanks=(null("cover_id"),),
        rows=((1, 1, 1),),
    )
    photo = Sheet(
        name="photo",
        columns={"id": "integer", "owner_id": "integer", "album_id": "integer"},
        references=(
            refer("owner_id", "person", source=Apart.SKELETON),
            refer("album_id", "album", source=Apart.SKELETON),
        ),
        paths=(owner,),
        rows=((1, 1, None),),
    )
    remark = Sheet(
        name="remark",
        columns={"id": "integer", "album_id": "integer"},
        references=(refer("album_id", "album", source=Apart.SKELETON),),
        disposition=Disposition.NONE,
        home_rows=HomeRows.NOTHING,
        rows=((1, 1),),
    )
    (person,) = crowd(2).sheets
    return World(sheets=(person, album, photo, remark))


def _references(world: World, sheet: str, column: str, **changes: Apart) -> World:
    edges = tuple(
        replace(edge, **changes) if edge.columns == (column,) else edge  # type: ignore[arg-type]
        for edge in world.sheet(sheet).references
    )
    return world.with_sheet(sheet, references=edges)


# kind, where, count, the world that lacks the rule; the same worlds with their rules are decided
UNDECIDED: list[tuple[str, str, int, World]] = [
    ("unknown-market", PERSON, 1, replace(shop(), unknown="in-scope")),
    ("ownerless", "app.public.address", 2, shop().with_sheet("address", ownerless_stay=False)),
    ("ownerless", "app.public.visit", 2, shop().with_sheet("visit", ownerless_stay=False)),
    ("shared", "app.public.letter", 2, video().with_sheet("letter", shared=None)),
    ("split-shared", "app.public.room", 1, _split_shared()),
    (
        "apart-home",
        f"datasets.{PERSON}.edges.address_id",
        3,
        _references(shop(), "person", "address_id", home=Apart.REFUSE),
    ),
    (
        "apart-home",
        "datasets.app.public.remark.edges.parent_id",
        2,
        _references(shop(), "remark", "parent_id", home=Apart.REFUSE),
    ),
    (
        "apart-home",
        "datasets.app.sales.item.edges.product_id",
        4,
        shop().with_sheet("product", home_rows=HomeRows.NOTHING),
    ),
    (
        "apart-source",
        "datasets.app.public.staff.edges.address_id",
        1,
        _references(shop().with_sheet("staff", rows=((1, "boss", 4),)), "staff", "address_id", source=Apart.REFUSE),
    ),
    (
        "apart-source",
        "datasets.app.public.remark.edges.parent_id",
        1,
        _references(shop(), "remark", "parent_id", source=Apart.REFUSE),
    ),
    ("unenforced", "datasets.app.public.visit.edges.person_id", 5, shop().with_sheet("visit", unenforced_follow=False)),
]


class ErasingSuite:
    """`make` builds a bench from a world."""

    # -- what is not decided -------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("kind", "where", "count", "world"), UNDECIDED, ids=[f"{case[0]} {case[1]}" for case in UNDECIDED]
    )
    def test_what_has_no_rule_is_counted_and_refused(
        self, make: Callable[..., Bench], kind: str, where: str, count: int, world: World
    ) -> None:
        bench = make(world)
        found = [(item.kind, item.where, item.count) for item in bench.source.survey(bench.scope).undecided()]
        assert (kind, where, count) in found
        bench.source.stand_fence(bench.scope)
        with pytest.raises(Undecided) as refusal:
            bench.source.freeze(bench.scope)
        assert where in str(refusal.value)
        with pytest.raises(Undecided):
            bench.source.freeze(bench.scope)

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_refused_edge_whose_parent_another_rule_provides_is_decided(
        self, make: Callable[..., Bench], order: int
    ) -> None:
        world = _references(shop(), "staff", "address_id", source=Apart.REFUSE)  # person 1's skeleton keeps address 1
        home = shop().with_sheet("staff", home_rows=HomeRows.ALL, rows=((1, "boss", 1), (2, "clerk", 3)))
        for case, where in (
            (world, "datasets.app.public.staff.edges.address_id"),
            (
                _references(
                    _references(home, "staff", "address_id", home=Apart.SKELETON),
                    "person",
                    "address_id",
                    home=Apart.REFUSE,
                ),
                f"datasets.{PERSON}.edges.address_id",
            ),
        ):
            bench = make(case)
            scope = replace(bench.scope, edges=bench.scope.edges[::order])
            undecided = {item.where for item in bench.source.survey(scope).undecided()}
            assert where not in undecided

    def test_what_has_a_rule_is_counted_and_printed(self, make: Callable[..., Bench]) -> None:
        found: dict[tuple[str, str], int] = {}
        for world in (shop(), video()):
            manifest = flow.freeze(make(world))
            assert manifest.undecided() == ()
            for item in manifest.findings:
                assert item.rule
                found[item.kind, item.where] = found.get((item.kind, item.where), 0) + item.count
        expected = {
            ("unknown-market", PERSON): 1,
            ("ownerless", "app.public.address"): 2,
            ("ownerless", "app.public.visit"): 2,
            ("unenforced", "datasets.app.public.visit.edges.person_id"): 5,
            ("dangling", "datasets.app.public.visit.edges.person_id"): 1,
            ("shared", "app.public.letter"): 2,
            ("ownerless", "app.public.letter"): 1,
            ("kept", "app.public.letter"): 1,
        }
        assert {place: found.get(place) for place in expected} == expected

    # -- the whole of it -----------------------------------------------------------------------------------------

    def test_p1_p3_what_stays_at_the_source(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        flow.erase(bench, flow.move(bench))
        assert bench.rows(SOURCE, "person") == [
            (1, "-", None, 1), (2, "-", None, 2), (3, "three", "3@x.test", 3), (5, "five", "", None),
        ]  # fmt: skip
        assert bench.rows(SOURCE, "address") == [
            (1, None, 1), (2, None, 2), (3, "3 Rue", 3), (5, None, 4), (6, "6 Nobody", 1),
        ]  # fmt: skip
        assert bench.rows(SOURCE, "sales.Order x") == [(4, 3, "4"), (6, 5, "6")]
        assert bench.rows(SOURCE, "sales.item") == [(4, 1, 1, "fr")]
        assert bench.rows(SOURCE, "remark") == [
            (1, 3, None, "fr starts"), (2, 1, 1, None), (3, 2, 2, None), (4, 3, 3, "fr answers us"),
        ]  # fmt: skip
        assert bench.rows(SOURCE, "visit") == sorted([(3, "/"), (3, "/"), (None, "/bot"), (99, "/gone")], key=repr)
        assert len(bench.rows(SOURCE, "staff")) == 2
        assert len(bench.rows(SOURCE, "city")) == 5

    def test_p1_p3_skeletons_stay_where_rows_are_split_and_letters_with_who_stays(
        self, make: Callable[..., Bench]
    ) -> None:
        bench = make(video())
        flow.erase(bench, flow.move(bench))
        people = {row[0]: row for row in bench.rows(SOURCE, "person")}
        skeletons = {row[0]: row for row in bench.rows("us", "person")}
        assert people[3] == (3, "@three", "3@x.test", "+33", "FR")
        assert people[1] == skeletons[1]
        assert people[4] == skeletons[4]
        assert bench.rows(SOURCE, "letter") == [(3, 2, 3, "us to fr"), (4, 3, 3, "fr to fr"), (6, None, None, "? to ?")]
        assert [row[0] for row in bench.rows("ca", "letter")] == [1, 2, 5]
        assert [row[0] for row in bench.rows("us", "letter")] == [2, 3]
        assert bench.rows(SOURCE, "clip") == [
            (1, 1, "cat", "0.0.0.x"), (2, 2, "dog", "0.0.0.x"), (3, 3, "eel", "10.0.0.3"), (4, None, "?", "10.0.0.4"),
        ]  # fmt: skip
        assert [row[0] for row in bench.rows(SOURCE, "report")] == [4, 5, 6, 7, 8]

    @pytest.mark.parametrize("world", [shop(), video(), nobody(), crowd(9)], ids=["shop", "video", "nobody", "crowd"])
    def test_p5_a_second_run_of_a_finished_move_changes_nothing(self, make: Callable[..., Bench], world: World) -> None:
        bench = make(world, rows_max=4)
        manifest = flow.move(bench)
        erased = flow.erase(bench, manifest)
        before = _everything(bench, world)
        bench.reopen()
        again = [flow.erase_one(bench, piece, WRONG) for piece in flow.erasable(bench, manifest)]
        assert again == erased
        assert {done.slice: done for done in erased} == dict(bench.source.erased())
        assert _everything(bench, world) == before

    def test_the_marks_say_what_was_done(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        manifest = flow.move(bench)
        assert bench.source.erased() == {}
        flow.erase(bench, manifest)
        assert {(name, done.deleted, done.blanked) for name, done in bench.source.erased().items()} == {
            (piece.id, piece.delete, piece.blank) for piece in flow.erasable(bench, manifest)
        }

    # -- refusals ------------------------------------------------------------------------------------------------

    def test_p1_a_wrong_proof_erases_nothing(self, make: Callable[..., Bench]) -> None:
        bench, manifest, piece, _ = _proven(make)
        _refused(bench, manifest, lambda: bench.source.erase(piece, WRONG, lambda: WRONG))

    def test_p1_home_changed_since_erases_nothing(self, make: Callable[..., Bench]) -> None:
        bench, manifest, piece, proven = _proven(make)
        bench.update("ca", "person", {"id": 4}, {"name": "x"})
        _refused(bench, manifest, lambda: flow.erase_one(bench, piece, proven))

    def test_p1_home_lost_a_row_since_erases_nothing(self, make: Callable[..., Bench]) -> None:
        bench, manifest, _, _ = _proven(make)
        piece = flow.slice_of(manifest, "app.sales.item", "ca")
        proven = flow.home_digest(bench.homes[CA], piece)
        bench.delete("ca", "sales.item", {"order_id": 5})
        _refused(bench, manifest, lambda: flow.erase_one(bench, piece, proven))

    def test_p1_the_source_changed_since_erases_nothing(self, make: Callable[..., Bench]) -> None:
        bench, manifest, piece, proven = _proven(make)
        bench.tamper("person", {"id": 4}, {"name": "x"})
        _refused(bench, manifest, lambda: flow.erase_one(bench, piece, proven))

    def test_p1_a_row_kept_by_the_source_counts_too(self, make: Callable[..., Bench]) -> None:
        bench, manifest, piece, proven = _proven(make)
        bench.tamper("person", {"id": 1}, {"name": "x"})  # its fate is blank
        _refused(bench, manifest, lambda: flow.erase_one(bench, piece, proven))

    def test_p2_an_opened_fence_erases_nothing(self, make: Callable[..., Bench]) -> None:
        bench, manifest, piece, proven = _proven(make)
        bench.source.release_fence()
        _refused(bench, manifest, lambda: flow.erase_one(bench, piece, proven), NoClearance)

    def test_p1_the_same_slice_with_its_proof_is_erased(self, make: Callable[..., Bench]) -> None:
        bench, manifest, _, _ = _proven(make)
        children = [piece for piece in flow.erasable(bench, manifest) if piece.dataset == "app.sales.item"]
        done = [flow.erase_one(bench, piece, flow.home_digest(bench.homes[piece.home], piece)) for piece in children]
        assert sum(item.deleted for item in done) == 5
        assert bench.rows(SOURCE, "sales.item") == [(4, 1, 1, "fr")]

    def test_p5_an_unreachable_home_erases_nothing(self, make: Callable[..., Bench]) -> None:
        bench, _, piece, proven = _proven(make)
        before = bench.rows(SOURCE, "person")
        with pytest.raises(_AwayError):
            bench.source.erase(piece, proven, _away)
        assert bench.rows(SOURCE, "person") == before
        assert bench.source.erased() == {}
        assert flow.erase(bench, bench.source.freeze(bench.scope))

    # -- collateral ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("key", ["id", "name"])
    @pytest.mark.parametrize(
        "on_delete", [OnDelete.NO_ACTION, OnDelete.RESTRICT, OnDelete.CASCADE, OnDelete.SET_NULL, OnDelete.SET_DEFAULT]
    )
    def test_p1_no_row_of_others_is_cascaded_blanked_or_orphaned(
        self, make: Callable[..., Bench], on_delete: OnDelete, key: str
    ) -> None:
        bench = make(badges(on_delete, key))
        manifest = flow.move(bench)
        bench.insert(SOURCE, "badge", {"id": 1, "person": 3 if key == "id" else "p3"})  # it came after the freeze
        people = bench.rows(SOURCE, "person")
        with pytest.raises(Collateral):
            flow.erase(bench, manifest)
        assert bench.rows(SOURCE, "badge") == [(1, 3 if key == "id" else "p3")]
        assert bench.rows(SOURCE, "person") == people
        assert bench.source.erased() == {}

    def test_p1_a_badge_of_a_stayer_is_no_collateral(self, make: Callable[..., Bench]) -> None:
        bench = make(badges(OnDelete.CASCADE))
        manifest = flow.move(bench)
        bench.insert(SOURCE, "badge", {"id": 1, "person": 2})
        flow.erase(bench, manifest)
        assert [row[0] for row in bench.rows(SOURCE, "person")] == [2, 4]

    def test_p1_a_badge_known_at_the_freeze_is_a_finding(self, make: Callable[..., Bench]) -> None:
        bench = make(badges(OnDelete.CASCADE).with_sheet("badge", rows=((1, 3),)))
        bench.source.stand_fence(bench.scope)
        with pytest.raises(Undecided):
            bench.source.freeze(bench.scope)

    # -- shared rows ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("shared", "at_ca", "at_us", "at_source"),
        [
            (Shared.EACH, [1, 2, 5], [2, 3], [3, 4, 6]),
            (Shared.FIRST, [1, 2, 5], [3], [4, 6]),
            (Shared.ANY, [1, 2, 5], [2, 3], [4, 6]),
        ],
        ids=["each", "first", "any"],
    )
    def test_shared_rows_go_where_the_rule_says(
        self, make: Callable[..., Bench], shared: Shared, at_ca: list[int], at_us: list[int], at_source: list[int]
    ) -> None:
        world = video().with_sheet("letter", shared=shared)
        world = replace(world, sheets=tuple(sheet for sheet in world.sheets if sheet.name != "attachment"))
        bench = make(world)
        manifest = flow.move(bench)
        flow.erase(bench, manifest)
        assert [row[0] for row in bench.rows("ca", "letter")] == at_ca
        assert [row[0] for row in bench.rows("us", "letter")] == at_us
        assert [row[0] for row in bench.rows(SOURCE, "letter")] == at_source

    def test_a_supporting_row_that_goes_whole_is_not_in_a_slice_that_is_erased(
        self, make: Callable[..., Bench]
    ) -> None:
        world = _references(shop(), "remark", "parent_id", home=Apart.WHOLE, source=Apart.SKELETON)
        bench = make(world)
        flow.erase(bench, flow.move(bench))
        assert (2, 1, 1, "ca answers fr") in bench.rows("us", "remark")  # under remark 3, as a whole
        assert (2, 1, 1, None) in bench.rows(SOURCE, "remark")

    def test_a_reference_that_a_skeleton_loses_holds_no_row_back_also_in_a_cycle(
        self, make: Callable[..., Bench]
    ) -> None:
        bench = make(_cycle().with_sheet("person", blanks=(null("name"),)))
        flow.erase(bench, flow.move(bench))
        assert bench.rows(SOURCE, "album") == [(1, 1, None)]
        assert bench.rows(SOURCE, "photo") == []
        assert bench.rows("ca", "album") == [(1, 1, 1)]
        assert bench.rows("ca", "photo") == [(1, 1, None)]

    def test_a_skeleton_without_stand_ins_is_the_row_and_stays_as_it_is(self, make: Callable[..., Bench]) -> None:
        bench = make(_cycle())
        manifest = flow.move(bench)
        assert [(piece.delete, piece.blank) for piece in manifest.slices if piece.dataset == PERSON] == [(0, 0)]
        flow.erase(bench, manifest)
        assert bench.rows(SOURCE, "person") == [(1, "p1", "CA"), (2, "p2", "FR")]

    # -- afterwards ----------------------------------------------------------------------------------------------

    def test_p3_dropping_the_staging_leaves_nothing_of_ours(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        shape = bench.source.catalogue().digest_text()
        manifest = flow.move(bench)
        flow.erase(bench, manifest)
        bench.source.drop_staging()
        assert bench.source.catalogue().digest_text() == shape
        assert bench.source.erased() == {}
        assert bench.update(SOURCE, "person", {"id": 3}, {"name": "x"}) == 1
        bench.insert(SOURCE, "person", {"id": 60, "name": "new", "email": None, "address_id": 1})
        bench.source.drop_staging()

    def test_p3_nothing_is_found_by_a_new_freeze(self, make: Callable[..., Bench]) -> None:
        bench = make(crowd(9))
        flow.erase(bench, flow.move(bench))
        bench.source.drop_staging()
        manifest = flow.freeze(bench)
        assert dict(manifest.subjects) == {CA: 0, US: 0}
        assert [piece for piece in manifest.slices if piece.rows] == []

    def test_a_slice_of_skeletons_takes_nothing_from_the_source(self, make: Callable[..., Bench]) -> None:
        bench = make(video())
        manifest = flow.freeze(bench)
        assert all(not piece.delete and not piece.blank for piece in manifest.slices if piece.form is Form.SKELETON)
        assert {Fate.DELETE, Fate.BLANK} == {
            fate
            for piece in manifest.slices
            for fate, count in ((Fate.DELETE, piece.delete), (Fate.BLANK, piece.blank))
            if count
        }


class _AwayError(Exception):
    """A home that can't be asked."""


def _away() -> Digest:
    raise _AwayError


def _proven(make: Callable[..., Bench]) -> tuple[Bench, Manifest, Slice, Digest]:
    bench = make(shop())
    manifest = flow.move(bench)
    piece = flow.slice_of(manifest, PERSON, "ca")
    return bench, manifest, piece, flow.home_digest(bench.homes[CA], piece)


def _refused(bench: Bench, manifest: Manifest, erase: Callable[[], object], why: type[Exception] = NotEqual) -> None:
    before = _everything(bench, bench.world)
    with pytest.raises(why):
        erase()
    assert _everything(bench, bench.world) == before
    assert bench.source.erased() == {}
    assert manifest.slices


def _everything(bench: Bench, world: World) -> dict[tuple[str, str], list[tuple[object, ...]]]:
    return {
        (place, sheet.name): bench.rows(place, sheet.name) for place in (SOURCE, "ca", "us") for sheet in world.sheets
    }
