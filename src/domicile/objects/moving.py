"""Brings objects home and compares both ends. What came home is known from the book; the rest is read again.

A digest of a version is keyed BLAKE3 over what it is (marker or not, content, traits), that of an object over its
versions in their order, that of a slice over the objects in the order of their keys' digests, each with that digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import blake3

from domicile.errors import Locked, Refused, WorldChanged
from domicile.events import Advanced, Listener
from domicile.model import DatasetId, Digest, Form, Home, Slice, SliceId
from domicile.objects.book import Book, Entry, Sum
from domicile.objects.claims import key_digest
from domicile.proof import Measure, Pair
from domicile.stores.objects import ObjectStore, ObjectVersion, Traits
from domicile.stores.objects.copying import ObjectMeasure, copy_key, histories, measure_version

VERSION_PURPOSE: Final = b"domicile object version v1\x00"
OBJECT_PURPOSE: Final = b"domicile object v1\x00"
SLICE_PURPOSE: Final = b"domicile objects of a slice v1\x00"
PROBE: Final = "domicile-probe-"
NOT_THERE: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """One store that data leaves and those of its homes; `prefixes` stand before the keys of each in its bucket."""

    source: ObjectStore
    homes: Mapping[Home, ObjectStore]
    prefixes: Mapping[str, str]
    book: Book
    is_bucket: bool
    may_lock: bool
    digest_key: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """The source store's name."""
        return self.source.name

    def digest_of(self, key: str) -> bytes:
        """What stands for a key."""
        return key_digest(key, digest_key=self.digest_key)

    def entry(self, key: str) -> Entry | None:
        """What was frozen of a key."""
        return self.book.entry(self.name, self.digest_of(key))


def refuse_same(ends: Ends, nonce: str) -> None:
    """Raise Refused where a home is the source itself: a probe that is put there shows here. Nothing else is written.

    What is erased at the source would be erased at home, and no comparison could tell.
    """
    for home, store in ends.homes.items():
        key = PROBE + nonce
        try:
            store.put(key, (), Traits(), size=0)
            whole, own = ends.prefixes[store.name] + key, ends.prefixes[ends.name]
            seen = {key, whole, whole.removeprefix(own)}
            if any(ends.source.history(one) for one in seen):
                raise Refused(
                    f"stores {ends.name} and {store.name} (home {home}) are the same place: what is written at home "
                    "shows at the source; give home a bucket or folder of its own"
                )
        finally:
            _remove_probes(store)


def _remove_probes(store: ObjectStore) -> None:
    """Also those of runs that were killed here. A home that locks whatever comes keeps an empty one until its day."""
    for probe in list(store.versions(PROBE)):
        if not probe.size:
            with suppress(Locked):
                store.remove(probe.key, probe.version_id)


def copy_home(ends: Ends, *, listener: Listener) -> None:
    """Bring every frozen object to each of its homes, unless the book says that it is there."""
    for history in histories(ends.source):
        entry = ends.entry(history[0].key)
        missing = ends.book.missing(ends.name, entry.key) if entry is not None else ()
        if entry is None or not missing:
            continue
        versions = frozen_ones(history, entry)
        if versions is None:
            continue  # it stays missing, and is told below
        for home in missing:
            _copy(ends, entry, versions, home, listener=listener)
    gone = ends.book.not_copied(ends.name, public=False)
    if gone:
        raise WorldChanged(
            f"store {ends.name}: {gone} objects are not as they were when they were frozen; somebody writes there. "
            "While nothing is erased, `domicile abandon` the run, stop the writer, and plan anew"
        )


def _copy(
    ends: Ends, entry: Entry, versions: Sequence[ObjectVersion], home: Home, *, listener: Listener
) -> None:  # fmt: skip
    try:
        copied = copy_key(ends.source, ends.homes[home], versions, digest_key=ends.digest_key)
    except WorldChanged:
        if not entry.public:
            raise
        return  # people who stay go on writing what is public; how many are missing is told
    measures = [one.measure for one in copied]
    size = sum(one.bytes for one in measures)
    brought = object_digest([version_digest(one, ends.digest_key) for one in measures], ends.digest_key)
    ends.book.copied(ends.name, entry.key, home, brought=brought, size=size)
    listener(Advanced(stage="objects", units=len(copied), bytes=size, text=f"{ends.name} to {home}"))


def frozen_ones(history: Sequence[ObjectVersion], entry: Entry) -> tuple[ObjectVersion, ...] | None:
    """The versions of a listing that were frozen, in order; None where one is gone. Younger ones are left out."""
    wanted = set(entry.versions)
    found = tuple(version for version in history if version.version_id in wanted)
    return found if tuple(version.version_id for version in found) == entry.versions else None


def compare_ends(
    ends: Ends, *, pinned: bool = False, listener: Listener, unlike: Callable[[str], None] | None = None
) -> None:
    """Read every frozen object at both ends, and note in the book what each is.

    While an equality may clear, the digests by which is erased are `pinned`: they stay those that it names. `unlike` is
    told the key of each private object that differs.
    """
    ends.book.begin_comparing(ends.name)
    for history in histories(ends.source):
        entry = ends.entry(history[0].key)
        versions = frozen_ones(history, entry) if entry is not None else None
        if entry is None or versions is None:
            continue
        try:
            measures = [measure_version(ends.source, one, digest_key=ends.digest_key) for one in versions]
        except WorldChanged:
            if not entry.public:
                raise
            continue
        digests = [version_digest(one, ends.digest_key) for one in measures]
        here = object_digest(digests, ends.digest_key)
        there = {home: read_at_home(ends, history[0].key, len(versions), home) for home in entry.homes}
        if unlike is not None and not entry.public and set(there.values()) != {here}:
            unlike(history[0].key)
        noted = None if pinned else digests
        ends.book.compared(ends.name, entry.key, noted, {home: (here, one) for home, one in there.items()})
        listener(
            Advanced(
                stage="verify", units=len(versions), bytes=sum(one.bytes for one in measures) * (1 + len(there)),
                text=ends.name,
            )
        )  # fmt: skip
    lost = ends.book.not_compared(ends.name)
    if lost:
        raise WorldChanged(
            f"store {ends.name}: {lost} objects that were frozen are gone, or have lost versions; somebody removes "
            "there. While nothing is erased, `domicile abandon` the run, stop the writer, and plan anew"
        )


def read_at_home(ends: Ends, key: str, count: int, home: Home) -> str:
    """The digest of the first `count` versions of a key at home; `NOT_THERE` where there are fewer.

    Versions beyond them are home's own life.
    """
    return read_first(ends, ends.homes[home], key, count)


def read_first(ends: Ends, store: ObjectStore, key: str, count: int) -> str:
    """The same of any store."""
    history = store.history(key)[:count]
    if len(history) < count:
        return NOT_THERE
    try:
        measures = [measure_version(store, one, digest_key=ends.digest_key) for one in history]
    except WorldChanged:
        return NOT_THERE
    return object_digest([version_digest(one, ends.digest_key) for one in measures], ends.digest_key)


def pairs_of(ends: Ends) -> tuple[Pair, ...]:
    """What both ends are, slice by slice, from the book."""
    found = []
    for piece in slices_of(ends):
        source, arrived = _meter(ends.digest_key), _meter(ends.digest_key)
        for key, here, there in ends.book.ends(ends.name, piece.home, public=piece.form is Form.SKELETON):
            source.update(key + _bytes(here))
            arrived.update(key + _bytes(there))
        found.append(
            Pair(slice=piece, source=_measure(piece, source, ends), home=_measure(piece, arrived, ends))
        )  # fmt: skip
    return tuple(found)


def erasable_of(ends: Ends) -> tuple[tuple[SliceId, Digest], ...]:
    """The digest of each slice that leaves, made anew of those by which its objects are erased."""
    found = []
    for piece in slices_of(ends):
        if not piece.leaves:
            continue
        meter = _meter(ends.digest_key)
        for key, digests in ends.book.erasable(ends.name, piece.home):
            meter.update(key + _bytes(object_digest(digests, ends.digest_key)))
        found.append((piece.id, Digest(meter.hexdigest())))
    return tuple(found)


def brought_of(ends: Ends) -> tuple[Measure, ...]:
    """What came home, slice by slice, from the book."""
    found = []
    for piece in slices_of(ends):
        meter = _meter(ends.digest_key)
        for key, digest in ends.book.brought(ends.name, piece.home, public=piece.form is Form.SKELETON):
            meter.update(key + _bytes(digest))
        found.append(_measure(piece, meter, ends))
    return tuple(found)


def slices_of(ends: Ends) -> tuple[Slice, ...]:
    """The frozen objects as slices: one a home, and one for what is public, which is nobody's secret."""
    return tuple(
        _slice(ends.name, home, one, public=public)
        for public in (False, True)
        for home, one in ends.book.sums(ends.name, public=public).items()
        if one.objects
    )


def _slice(store: str, home: Home, one: Sum, *, public: bool) -> Slice:
    return Slice(
        id=SliceId(f"{store}/{home}/{'public' if public else 'objects'}"), dataset=DatasetId(store), home=home,
        part=str(home), form=Form.SKELETON if public else Form.OBJECTS, after=0, upto=one.objects, rows=one.versions,
        delete=one.leaving,
    )  # fmt: skip


def version_digest(measure: ObjectMeasure, digest_key: bytes) -> str:
    """The digest of one version."""
    kind = b"marker" if measure.is_delete_marker else b"object"
    parts = b"\x00".join((kind, b"%d" % measure.bytes, measure.content.encode(), measure.traits.encode()))
    return blake3.blake3(VERSION_PURPOSE + parts, key=digest_key).hexdigest()


def object_digest(versions: Iterable[str], digest_key: bytes) -> str:
    """The digest of an object: of its versions in their order."""
    return blake3.blake3(OBJECT_PURPOSE + b"\x00".join(map(str.encode, versions)), key=digest_key).hexdigest()


def _meter(digest_key: bytes) -> blake3.blake3:
    return blake3.blake3(SLICE_PURPOSE, key=digest_key)


def _bytes(digest: str) -> bytes:
    return b"-" if digest == NOT_THERE else b"+" + bytes.fromhex(digest)


def _measure(piece: Slice, meter: blake3.blake3, ends: Ends) -> Measure:
    size = ends.book.sums(ends.name, public=piece.form is Form.SKELETON)[piece.home].bytes
    return Measure(slice=piece.id, rows=piece.rows, bytes=size, digest=Digest(meter.hexdigest()))
