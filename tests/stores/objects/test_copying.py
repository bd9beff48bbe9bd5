"""Bringing the versions of a key home: byte-exact, in order, once, whatever breaks and whatever a store gets wrong."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from domicile.errors import NotEqual, StoreFault, Unreachable, WorldChanged
from domicile.stores.memory import CrashHere, Faults
from domicile.stores.objects import BLOCK_BYTES, ObjectStore, ObjectVersion, Traits, Versioning
from domicile.stores.objects.copying import ObjectMeasure, copy_key, histories, measure_version, traits_digest
from domicile.stores.objects.files import FileObjects
from domicile.stores.objects.memory import Flaws, MemoryBucket, MemoryObjects
from domicile.stores.objects.parts import PART_BYTES
from tests.stores.objects.benches import DIGEST_KEY, NOON, TRAITS, Bench, FileBench, MemoryBench, blocks_of, put, read

LARGE = bytes(range(256)) * (3 * PART_BYTES // 256) + b"end"


def _memory(bucket: MemoryBucket, faults: Faults | None = None, name: str = "home") -> MemoryObjects:
    return MemoryObjects(bucket, name=name, now=lambda: NOON, faults=faults)


def _copy(source: ObjectStore, home: ObjectStore, key: str) -> list[tuple[bool, int]]:
    copied = copy_key(source, home, source.history(key), digest_key=DIGEST_KEY)
    return [(one.was_there, one.bytes_sent) for one in copied]


def _life(store: ObjectStore, key: str) -> list[tuple[bool, bytes, Traits | None]]:
    """The versions of a key, read through the protocol, each as marker, content and traits."""
    life: list[tuple[bool, bytes, Traits | None]] = []
    for version in store.history(key):
        head = store.head(key, version.version_id)
        content = b"" if version.is_delete_marker else read(store, key, version.version_id)
        life.append((version.is_delete_marker, content, None if head is None else head.traits))
    return life


@pytest.fixture
def benches(memory_bench: Bench, file_bench: Bench, s3_bench: Bench) -> dict[str, Bench]:
    return {"memory": memory_bench, "files": file_bench, "s3": s3_bench}


@pytest.mark.parametrize("to", ["memory", "files", "s3"])
@pytest.mark.parametrize("of", ["memory", "files", "s3"])
class TestEveryWay:
    def test_a_copy_is_byte_exact_and_a_second_one_does_nothing(
        self, benches: dict[str, Bench], of: str, to: str
    ) -> None:
        source, home = benches[of].store(), benches[to].store()
        traits = TRAITS if benches[of].keeps_traits and benches[to].keeps_traits else Traits()
        large = LARGE[: PART_BYTES + 9] if of in {"memory", to} else b"larger"
        for key, data in (("empty", b""), ("a b+%/é😀", b"small"), ("large", large)):
            put(source, key, data, traits)
            assert [(False, len(data))] == _copy(source, home, key)
            listed = list(home.versions())
            assert [(True, 0)] == _copy(benches[of].again(source), benches[to].again(home), key)
            assert listed == list(home.versions())
            (version,) = home.history(key)
            assert data == benches[to].raw(home, key, version.version_id)
            assert [(False, data, traits)] == _life(home, key)

    def test_a_history_goes_home_in_its_order_with_its_markers(
        self, benches: dict[str, Bench], of: str, to: str
    ) -> None:
        source, home = benches[of].store(), benches[to].store()
        put(source, "k", b"0", Traits(content_type="a/0") if benches[of].keeps_traits else Traits())
        if source.versioning() is not Versioning.NONE:
            source.put_marker("k")
            put(source, "k", b"2", TRAITS)
            put(source, "k", b"2", TRAITS)  # the same twice is two versions
            source.put_marker("k")
            source.put_marker("k")
        ((*versions,),) = histories(source)
        if home.versioning() is Versioning.NONE and len(versions) > 1:
            with pytest.raises(StoreFault, match="its versioning is none"):
                _copy(source, home, "k")
            assert [] == list(home.versions())
            return
        if not benches[to].keeps_traits and benches[of].keeps_traits:
            with pytest.raises(StoreFault, match="no content types"):
                _copy(source, home, "k")
            return
        assert [False] * len(versions) == [was_there for was_there, _ in _copy(source, home, "k")]
        assert _life(source, "k") == _life(home, "k")
        assert [True] * len(versions) == [was_there for was_there, _ in _copy(source, home, "k")]
        assert _life(source, "k") == _life(home, "k")


def test_a_copy_goes_on_where_home_is_and_leaves_the_homes_own_life() -> None:
    source, home = MemoryBench().store(), MemoryBench().store()
    for number in range(3):
        put(source, "k", b"%d" % number)
    versions = source.history("k")
    assert 1 == len(copy_key(source, home, versions[:1], digest_key=DIGEST_KEY))
    assert [(True, 0), (False, 1), (False, 1)] == _copy(source, home, "k")
    put(home, "k", b"written at home")
    assert [(True, 0)] * 3 == _copy(source, home, "k")
    assert [b"0", b"1", b"2", b"written at home"] == [content for _, content, _ in _life(home, "k")]
    assert () == copy_key(source, home, (), digest_key=DIGEST_KEY)


@pytest.mark.parametrize(
    ("there", "traits"),
    [(b"other", Traits()), (b"equal but longer", Traits()), (b"equal", Traits(content_type="a/b")), (None, Traits())],
    ids=["content", "size", "traits", "marker"],
)
def test_something_else_at_home_is_refused_and_left(there: bytes | None, traits: Traits) -> None:
    source, home = MemoryBench().store(), MemoryBench().store()
    put(source, "k", b"equal")
    if there is None:
        home.put_marker("k")
    else:
        put(home, "k", there, traits)
    before = _life(home, "k")
    with pytest.raises(NotEqual, match="another version 1"):
        _copy(source, home, "k")
    assert before == _life(home, "k")


@pytest.mark.parametrize(
    ("flaws", "said"),
    [
        (Flaws(flips=True), "its content"),
        (Flaws(drops_metadata=True), "its content type, metadata or tags"),
    ],
    ids=["flips", "drops metadata"],
)
def test_p1_what_reads_back_otherwise_is_removed_again(flaws: Flaws, said: str) -> None:
    source, bucket = MemoryBench().store(), MemoryBucket(flaws=flaws)
    put(source, "k", b"content", TRAITS)
    with pytest.raises(NotEqual, match=said):
        _copy(source, _memory(bucket), "k")
    assert {} == bucket.held
    bucket.flaws = Flaws()
    assert [(False, 7)] == _copy(source, _memory(bucket), "k")


def test_a_key_that_is_kept_under_another_name_is_noticed_and_taken_back() -> None:
    source, home = MemoryBench().store(), _memory(MemoryBucket(flaws=Flaws(folds_slashes=True)))
    put(source, "a/b", b"the other one")
    put(source, "a//b", b"content")
    assert [(False, 13)] == _copy(source, home, "a/b")
    with pytest.raises(StoreFault, match="not listed under its own key"):
        _copy(source, home, "a//b")
    assert [b"the other one"] == [content for _, content, _ in _life(home, "a/b")]


def test_a_removal_that_is_confirmed_and_not_done_is_told() -> None:
    home = _memory(MemoryBucket(flaws=Flaws(keeps_removed=True)))
    version_id = put(home, "k", b"content")
    with pytest.raises(StoreFault, match="still there"):
        home.remove("k", version_id)


@pytest.mark.parametrize("versioned", [True, False])
def test_an_object_that_is_no_longer_what_was_listed_is_refused(versioned: bool) -> None:
    source, home = MemoryBench().store(versioned=versioned), MemoryBench().store()
    put(source, "k", b"first")
    listed = source.history("k")
    if versioned:
        source.remove("k", listed[0].version_id)
    else:
        put(source, "k", b"longer than it was")
    with pytest.raises(WorldChanged):
        copy_key(source, home, listed, digest_key=DIGEST_KEY)
    assert [] == list(home.versions())


class _Overwritten(FileObjects):
    """A folder where a file is replaced in the middle of its being read."""

    def read(self, key: str, version_id: str, *, offset: int = 0) -> Iterator[bytes]:
        blocks = super().read(key, version_id, offset=offset)
        yield next(blocks)
        put(self, key, bytes(len(LARGE)))
        yield from blocks


def test_an_object_that_is_replaced_while_it_is_read_is_refused(tmp_path: Path) -> None:
    source, home = _Overwritten(tmp_path, name="source"), MemoryBench().store()
    put(source, "k", LARGE)
    with pytest.raises(WorldChanged):
        _copy(source, home, "k")


def test_a_store_that_is_away_for_a_moment_is_no_end() -> None:
    source, bucket = MemoryBench().store(), MemoryBucket()
    put(source, "k", b"content")
    faults = Faults(unreachable=1)
    with pytest.raises(Unreachable):
        _copy(source, _memory(bucket, faults), "k")
    assert [(False, 7)] == _copy(source, _memory(bucket, faults), "k")


def test_p5_a_crash_at_any_effect_loses_and_doubles_nothing() -> None:
    """Copy a history with a large version; die in place of each effect in turn, and run again."""
    source, large = MemoryBench().store(), LARGE[-PART_BYTES - 9 :]
    put(source, "k", b"0", TRAITS)
    put(source, "k", large, TRAITS)
    source.put_marker("k")
    wanted = _life(source, "k")
    for crash_after in count():
        bucket, faults = MemoryBucket(), Faults(crash_after=crash_after)
        try:
            _copy(source, _memory(bucket, faults), "k")
        except CrashHere:
            again = _copy(source, _memory(bucket), "k")
            there = sum({"put": 1, "part 0": PART_BYTES, "part 1": 9}.get(effect, 0) for effect in faults.effects[:4])
            assert 1 + len(large) - there == sum(size for _, size in again)
            assert wanted == _life(_memory(bucket), "k")
            assert {} == bucket.pending
        else:
            assert 6 == crash_after  # put, begin, two parts, put, marker
            assert wanted == _life(_memory(bucket), "k")
            return


def test_measures_are_keyed_and_tell_apart_what_differs() -> None:
    store = MemoryBench().store()
    variants = [
        (b"content", Traits()),
        (b"contenu", Traits()),
        (b"content", Traits(content_type="a/b")),
        (b"content", Traits(content_encoding="a/b")),
        (b"content", Traits(metadata=(("a", "bc"),))),
        (b"content", Traits(metadata=(("ab", "c"),))),
        (b"content", Traits(tags=(("ab", "c"),))),
        (b"content", Traits(metadata=(("a", "b"), ("c", "d")))),
        (b"", Traits()),
    ]
    for data, traits in variants:
        put(store, "k", data, traits)
    store.put_marker("k")
    versions = store.history("k")
    under, other = (
        {measure_version(store, one, digest_key=key) for one in versions} for key in (DIGEST_KEY, bytes(32))
    )
    assert len(versions) == len(under) == len(other)
    assert under.isdisjoint(other)
    again = put(store, "k", b"content", TRAITS)
    assert traits_digest(TRAITS, digest_key=DIGEST_KEY) == _last(store, again).traits


def _last(store: ObjectStore, version_id: str) -> ObjectMeasure:
    (version,) = [version for version in store.history("k") if version.version_id == version_id]
    return measure_version(store, version, digest_key=DIGEST_KEY)


def test_a_listing_that_is_not_true_is_refused() -> None:
    store = MemoryBench().store()
    put(store, "k", b"content")
    (listed,) = store.history("k")
    changes: list[Callable[[ObjectVersion], ObjectVersion]] = [
        lambda version: replace(version, size=6),
        lambda version: replace(version, version_id="0"),
    ]
    for change in changes:
        with pytest.raises(WorldChanged):
            measure_version(store, change(listed), digest_key=DIGEST_KEY)


def test_memory_does_not_grow_with_the_object(tmp_path: Path) -> None:
    source, home = FileBench(tmp_path).store(), FileBench(tmp_path).store()
    written = source.put("k", blocks_of(LARGE), Traits(), size=len(LARGE))
    assert len(LARGE) == written.bytes
    tracemalloc.start()
    try:
        _copy(source, home, "k")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(LARGE) > 24 * BLOCK_BYTES
    assert peak < 4 * BLOCK_BYTES
