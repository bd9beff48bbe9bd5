"""What every object store promises. `bench` makes stores; each kind's test class gives its own.

A store that lacks something says so (`versioning()` is `NONE`, a refusal), and is held to that.
"""

from __future__ import annotations

import random
import traceback
from datetime import UTC, datetime, timedelta

import pytest

from domicile.errors import DomicileError, Locked, NotEqual, StoreFault, WorldChanged
from domicile.stores.objects import (
    BLOCK_BYTES,
    KEY_BYTES_MAX,
    NULL_VERSION,
    Observed,
    Removal,
    RuleKind,
    Traits,
    Upload,
    Versioning,
)
from domicile.stores.objects.parts import PART_BYTES
from tests.stores.objects.benches import SECRET_KEY, TRAITS, Bench, Broken, blocks_of, put, read

KEYS = [
    "plain.txt",
    "with space",
    " around ",
    "a+b",
    "100%",
    "%2F%20+",
    "emoji 😀 é \u0065\u0301",
    "quotes \"'<&>",
    "x/y/z",
    "x/y.z/~!@#$^*()=[]{}|;:,?`",
    "long/" + ("é" * 60 + "/") * 8 + "x" * 27,  # 1,000 bytes
    "é" * 127,
]
AWKWARD = ["folder/", "back\\slash", "é" * 500, "a/../b", "..", "a//b", "/a", "", "\ud800"]
LARGE = random.Random(1).randbytes(PART_BYTES * 2 + 5)  # noqa: S311 - a seed


class ObjectSuite:
    """Listing, reading, writing, removing."""

    # -- nothing there ---------------------------------------------------------------------------------------------

    def test_nothing_is_there_before_anything_was_put(self, bench: Bench) -> None:
        store = bench.store()
        assert [] == [*store.versions(), *store.uploads(), *store.gaps(), *store.history("a")]
        assert store.head("a", NULL_VERSION) is None
        assert store.remove("a", NULL_VERSION) is Removal.WAS_GONE
        with pytest.raises(WorldChanged):
            read(store, "a", NULL_VERSION)

    def test_a_place_that_is_not_there_is_told_and_not_made(self, bench: Bench) -> None:
        for attempt in (
            lambda store: store.versioning(),
            lambda store: list(store.versions()),
            lambda store: list(store.uploads()),
            lambda store: put(store, "a", b"x"),
            lambda store: store.remove("a", NULL_VERSION),
        ):
            with pytest.raises(StoreFault):
                attempt(bench.missing())
        with pytest.raises(StoreFault):
            bench.missing().rules()

    # -- keys ------------------------------------------------------------------------------------------------------

    def test_keys_are_what_they_were_given_as(self, bench: Bench) -> None:
        store = bench.store()
        for number, key in enumerate(KEYS):
            put(store, key, b"%d" % number)
        listed = {version.key: version for version in store.versions()}
        assert sorted(KEYS) == sorted(listed)
        for number, key in enumerate(KEYS):
            assert (listed[key],) == store.history(key)
            assert b"%d" % number == read(store, key, listed[key].version_id)
        for key in KEYS:
            assert store.remove(key, listed[key].version_id) is Removal.REMOVED
        assert [] == list(store.versions())

    @pytest.mark.parametrize("key", AWKWARD, ids=range(len(AWKWARD)))
    def test_a_key_that_a_store_cannot_hold_is_refused_or_told_under_its_name(self, bench: Bench, key: str) -> None:
        store = bench.store()
        try:
            version_id = put(store, key, b"")
        except StoreFault:
            assert [] == list(store.versions())
            return
        listed = [version.key for version in store.versions()]
        if listed == [key]:
            assert store.remove(key, version_id) is Removal.REMOVED
            assert [] == list(store.versions())
        else:
            assert () == store.history(key)  # so that `copy_key` notices; see there

    def test_a_key_that_is_too_long_is_refused(self, bench: Bench) -> None:
        store = bench.store()
        with pytest.raises(StoreFault):
            put(store, "a/" * (KEY_BYTES_MAX // 2) + "b", b"x")
        assert [] == list(store.versions())

    def test_a_prefix_narrows_by_characters_not_by_folders(self, bench: Bench) -> None:
        store = bench.store()
        for key in ("ab/c", "ab/d/e", "abc", "b", "x/ab"):
            put(store, key, b"")
        assert ["ab/c", "ab/d/e", "abc"] == sorted(version.key for version in store.versions("ab"))
        assert ["ab/d/e"] == [version.key for version in store.versions("ab/d")]
        assert [] == list(store.versions("ab/c/"))
        assert [] == list(store.history("ab"))

    # -- content ---------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, PART_BYTES, PART_BYTES + 1])
    def test_content_of_any_size_is_what_was_put(self, bench: Bench, size: int) -> None:
        store, data = bench.store(), LARGE[:size]
        written = store.put("a", blocks_of(data), Traits(), size=size)
        assert (size, size) == (written.bytes, written.bytes_sent)
        (version,) = store.versions()
        head = store.head("a", written.version_id)
        assert head is not None
        assert (size, size) == (version.size, head.size)
        assert data == read(store, "a", written.version_id) == bench.raw(store, "a", written.version_id)
        assert max(map(len, store.read("a", written.version_id)), default=0) <= BLOCK_BYTES
        assert [] == list(store.uploads())

    def test_reading_begins_anywhere(self, bench: Bench) -> None:
        store = bench.store()
        version = put(store, "a", LARGE[: BLOCK_BYTES + 10])
        assert LARGE[BLOCK_BYTES - 1 : BLOCK_BYTES + 10] == read(store, "a", version, offset=BLOCK_BYTES - 1)
        assert b"" == read(store, "a", version, offset=BLOCK_BYTES + 10)

    @pytest.mark.parametrize("announced", [3, 5, PART_BYTES + 1])
    def test_other_than_the_announced_bytes_make_no_object(self, bench: Bench, announced: int) -> None:
        store = bench.store()
        with pytest.raises(NotEqual):
            store.put("a", blocks_of(b"1234"), Traits(), size=announced)
        assert [] == list(store.versions())

    def test_an_object_that_is_too_large_is_refused_before_a_byte_is_asked_for(self, bench: Bench) -> None:
        if bench.store().versioning() is Versioning.NONE:
            return  # a folder has no limit of ours
        with pytest.raises(StoreFault, match="larger"):
            bench.store().put("a", blocks_of(b"", break_at=0), Traits(), size=1 << 60)

    # -- versions --------------------------------------------------------------------------------------------------

    def test_versions_come_oldest_first_and_the_latest_says_so(self, bench: Bench) -> None:
        store = bench.store()
        put(store, "a-longer", b"")
        written = [put(store, "a", b"%d" % number) for number in range(20)]
        found = store.history("a")
        assert found == tuple(version for version in store.versions() if version.key == "a")
        if store.versioning() is Versioning.NONE:
            assert [(NULL_VERSION, True)] == [(version.version_id, version.is_latest) for version in found]
            assert b"19" == read(store, "a", NULL_VERSION)
            return
        assert written == [version.version_id for version in found]
        assert [False] * 19 + [True] == [version.is_latest for version in found]
        assert [b"%d" % number for number in range(20)] == [read(store, "a", version) for version in written]
        times = [version.modified_at for version in found]
        assert times == sorted(times)
        assert {UTC} == {moment.tzinfo for moment in times}

    def test_delete_markers_stand_where_they_were_put(self, bench: Bench) -> None:
        store = bench.store()
        put(store, "a", b"1")
        if store.versioning() is Versioning.NONE:
            with pytest.raises(StoreFault):
                store.put_marker("a")
            assert b"1" == read(store, "a", NULL_VERSION)
            return
        marker = store.put_marker("a")
        last = put(store, "a", b"2")
        other = store.put_marker("never there")
        found = store.history("a")
        assert [False, True, False] == [version.is_delete_marker for version in found]
        assert [(marker, 0, False), (last, 1, True)] == [
            (version.version_id, version.size, version.is_latest) for version in found[1:]
        ]
        assert store.head("a", marker) is None
        with pytest.raises(WorldChanged):
            read(store, "a", marker)
        assert store.remove("a", marker) is Removal.REMOVED
        assert store.remove("a", marker) is Removal.WAS_GONE
        assert store.remove("never there", other) is Removal.REMOVED
        assert 2 == len(list(store.versions()))

    def test_without_versions_nothing_is_hidden(self, bench: Bench) -> None:
        store = bench.store(versioned=False)
        assert store.versioning() in {Versioning.OFF, Versioning.NONE}
        assert [NULL_VERSION] * 2 == [put(store, "a", b"1"), put(store, "a", b"22")]
        with pytest.raises(StoreFault):
            store.put_marker("a")
        assert [("a", 2)] == [(version.key, version.size) for version in store.versions()]
        assert store.remove("a", NULL_VERSION) is Removal.REMOVED
        assert [] == list(store.versions())

    def test_removal_of_every_version_leaves_nothing_to_list_or_read(self, bench: Bench) -> None:
        store = bench.store()
        for number in range(3):
            put(store, "a/b/c", b"%d" % number)
        put(store, "a/kept", b"kept")
        versions = store.history("a/b/c")
        for version in versions:
            assert store.remove(version.key, version.version_id) is Removal.REMOVED
            assert store.remove(version.key, version.version_id) is Removal.WAS_GONE
        for version in versions:
            assert store.head(version.key, version.version_id) is None
            with pytest.raises(WorldChanged):
                read(store, version.key, version.version_id)
        assert ["a/kept"] == [version.key for version in bench.again(store).versions()]

    def test_a_locked_version_says_until_when_and_stays(self, bench: Bench) -> None:
        lockable = bench.lockable()
        if lockable is None:
            rules = {rule.kind: rule.observed for rule in bench.store().rules()}
            assert rules[RuleKind.LOCK] is Observed.ABSENT
            return
        store, lock = lockable
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=400)
        first, second = put(store, SECRET_KEY, b"1"), put(store, SECRET_KEY, b"2")
        lock(SECRET_KEY, first, until=until)
        lock(SECRET_KEY, second, until=None, legal_hold=True)
        for version_id, expected in ((first, until), (second, None)):
            with pytest.raises(Locked) as refusal:
                store.remove(SECRET_KEY, version_id)
            assert expected == refusal.value.until
            assert SECRET_KEY not in str(refusal.value)
            head = store.head(SECRET_KEY, version_id)
            assert head is not None
            assert (expected, version_id == second) == (head.locked_until, head.legal_hold)
        assert [False, False] == [version.is_delete_marker for version in store.history(SECRET_KEY)]

    # -- traits ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [0, 5, PART_BYTES + 1])
    def test_traits_are_kept_to_the_byte_or_refused(self, bench: Bench, size: int) -> None:
        store = bench.store()
        if not bench.keeps_traits:
            with pytest.raises(StoreFault):
                put(store, "a", LARGE[:size], TRAITS)
            assert [] == list(store.versions())
            return
        version_id = put(store, "a", LARGE[:size], TRAITS)
        head = store.head("a", version_id)
        assert head is not None
        assert head.traits == TRAITS

    def test_no_traits_are_none(self, bench: Bench) -> None:
        store = bench.store()
        head = store.head("a.css", put(store, "a.css", b"body {}"))
        assert head is not None
        assert (Traits(), None, False) == (head.traits, head.locked_until, head.legal_hold)

    # -- parts -----------------------------------------------------------------------------------------------------

    def test_a_broken_upload_is_listed_and_can_be_aborted(self, bench: Bench) -> None:
        store = bench.store()
        _break(store, SECRET_KEY, 2 * PART_BYTES + 1)
        assert [] == list(store.versions())
        (upload,) = bench.again(store).uploads()
        assert SECRET_KEY == upload.key
        assert 2 * PART_BYTES <= sum(upload.parts) <= 2 * PART_BYTES + 1
        assert upload.started_at.tzinfo == UTC
        assert SECRET_KEY not in repr(upload)
        assert store.abort(upload) is Removal.REMOVED
        assert store.abort(upload) is Removal.WAS_GONE
        assert [] == list(bench.again(store).uploads())

    def test_a_broken_upload_goes_on_where_it_broke(self, bench: Bench) -> None:
        store = bench.store()
        _break(store, "a", 2 * PART_BYTES + 1)
        written = bench.again(store).put("a", blocks_of(LARGE), Traits(), size=len(LARGE))
        assert len(LARGE) == written.bytes
        assert written.bytes_sent <= len(LARGE) - 2 * PART_BYTES
        assert LARGE == bench.raw(store, "a", written.version_id)
        assert ([], 1) == (list(store.uploads()), len(list(store.versions())))

    def test_parts_of_other_content_are_sent_again(self, bench: Bench) -> None:
        store, other = bench.store(), LARGE[:PART_BYTES] + bytes(len(LARGE) - PART_BYTES)
        _break(store, "a", 2 * PART_BYTES + 1)
        written = store.put("a", blocks_of(other), Traits(), size=len(other))
        assert len(LARGE) - PART_BYTES == written.bytes_sent
        assert other == bench.raw(store, "a", written.version_id)
        assert [] == list(store.uploads())

    def test_an_upload_of_another_key_is_left_alone(self, bench: Bench) -> None:
        store = bench.store()
        _break(store, "a", PART_BYTES + 1)
        _break(store, "a/longer" if store.versioning() is not Versioning.NONE else "a-longer", PART_BYTES + 1)
        assert len(LARGE) - PART_BYTES >= store.put("a", blocks_of(LARGE), Traits(), size=len(LARGE)).bytes_sent
        assert ["a", "longer"] == [
            part for upload in store.uploads() for part in upload.key.replace("-", "/").split("/")
        ]

    # -- what is told ----------------------------------------------------------------------------------------------

    def test_every_rule_is_told_or_said_to_be_unseen(self, bench: Bench) -> None:
        rules = bench.store().rules()
        assert list(RuleKind) == [rule.kind for rule in rules]
        assert all(rule.why for rule in rules if rule.observed is Observed.UNSEEN)

    def test_nothing_that_can_tell_of_people_is_shown(self, bench: Bench) -> None:
        store = bench.store()
        version_id = put(store, SECRET_KEY, b"x")
        shown = [repr(store), *map(repr, store.versions()), repr(store.head(SECRET_KEY, version_id)), repr(TRAITS)]
        missing = Upload(key=SECRET_KEY, id="0" * 32, started_at=datetime.now(UTC), parts=())
        for attempt in (
            lambda: read(store, SECRET_KEY, "0" * 32),
            lambda: store.put(SECRET_KEY, blocks_of(b"x"), Traits(), size=2),
            lambda: store.put(SECRET_KEY, blocks_of(b"x"), Traits(metadata=(("owner", "größe"),)), size=1),
            lambda: put(store, SECRET_KEY + "/below it", b"x"),
            lambda: put(store, SECRET_KEY + "/" * 2000, b"x"),
            lambda: store.put_marker(SECRET_KEY) if store.versioning() is Versioning.NONE else None,
            lambda: store.abort(missing),
        ):
            try:
                attempt()
            except DomicileError as fault:
                shown += traceback.format_exception_only(fault)
                shown += [
                    repr(below) for below in (fault.__cause__, fault.__context__) if not fault.__suppress_context__
                ]
        assert len(shown) > 5
        assert [] == [text for text in shown if "anna" in text or "größe" in text or "naked" in text]


def _break(store: object, key: str, at: int) -> None:
    with pytest.raises(Broken):
        store.put(key, blocks_of(LARGE, break_at=at), Traits(), size=len(LARGE))  # type: ignore[attr-defined]
