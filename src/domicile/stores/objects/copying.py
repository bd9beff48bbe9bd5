"""Brings the versions of one key home, in their order, and reads back what arrived.

No marks are left, in neither store: what is at home already is known by its content. The home's history of a key must
be a beginning of what is to be there; each version found is read on both sides and compared, each one missing is
written and read back. So a second run writes nothing, whoever wrote the first time, and readers of the platform see
the metadata that was there before and none of ours. The price is that a second run reads everything again; a caller
that has the measures in its journal leaves the key out.

What a copy does not carry: the date of modification (it is the copy's; only the order is kept), version ids, the
store's ETag, owner and access list, storage class, encryption by the store, locks and holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import blake3

from domicile.errors import NotEqual, StoreFault, WorldChanged
from domicile.model import Digest
from domicile.stores.objects import NULL_VERSION, Head, ObjectStore, ObjectVersion, Traits, Versioning

CONTENT_PURPOSE: Final = b"domicile object content v1\x00"
TRAITS_PURPOSE: Final = b"domicile object traits v1\x00"
MARKER_PURPOSE: Final = b"domicile object delete marker v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMeasure:
    """What a version is, without its key: bytes, and keyed BLAKE3 digests of content and traits."""

    is_delete_marker: bool
    bytes: int
    content: Digest
    traits: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """One version that is at home: what was read back there, and how many bytes had to be sent (0: it was there)."""

    measure: ObjectMeasure
    version_id: str
    was_there: bool
    bytes_sent: int


def histories(store: ObjectStore, prefix: str = "") -> Iterator[tuple[ObjectVersion, ...]]:
    """The listing by keys: all versions of one key at a time, oldest first."""
    for _, versions in groupby(store.versions(prefix), key=lambda version: version.key):
        yield tuple(versions)


def measure_version(store: ObjectStore, version: ObjectVersion, *, digest_key: bytes) -> ObjectMeasure:
    """Read a version and its traits as they are now; raise WorldChanged where it is not what was listed."""
    if version.is_delete_marker:
        return _marker(digest_key)
    head = _head(store, version)
    meter = _Meter(digest_key)
    for _ in meter.passing(store.read(version.key, version.version_id)):
        pass
    return _measured(store, version, head, meter, digest_key)


def copy_key(
    source: ObjectStore, home: ObjectStore, versions: Sequence[ObjectVersion], *, digest_key: bytes
) -> tuple[Copied, ...]:
    """Have these versions of one key at home, in this order, oldest first; return what is there, one for each.

    `versions` are all that are to be at home, as the source listed them. Versions that home has beyond them are the
    home's own life and stay. Safe to repeat.

    Raises NotEqual where home has another version in the place of one of them, or what was written reads back
    otherwise; WorldChanged where the source is not as it was listed; StoreFault where home keeps no versions and there
    are several, or doesn't list the key with what was written. What was written is removed again then.
    """
    if not versions:
        return ()
    key = versions[0].key
    if any(version.key != key for version in versions):
        raise RuntimeError("the versions of one key were wanted")
    _refuse_unkept(home, versions)
    before = home.history(key)
    copied = []
    for place, version in enumerate(versions):
        if place < len(before):
            copied.append(_compare(source, home, (version, before[place]), place=place, digest_key=digest_key))
        else:
            copied.append(_bring(source, home, version, place=place, digest_key=digest_key))
    _expect(home, key, copied)
    return tuple(copied)


def overwrite_key(source: ObjectStore, other: ObjectStore, version: ObjectVersion, *, digest_key: bytes) -> Copied:
    """Have this version in `other`, which keeps one only, in the place of what is there; read back as in `copy_key`.

    It is for the caller to know that what is there may go.
    """
    if version.is_delete_marker or other.versioning() is Versioning.ON:
        raise RuntimeError("an object, and a store that keeps one version, were wanted")
    copied = _bring(source, other, version, place=0, digest_key=digest_key)
    _expect(other, version.key, [copied])
    return copied


def traits_digest(traits: Traits, *, digest_key: bytes) -> Digest:
    """The keyed digest of traits: each field in its order, each text with its length before it."""
    meter = blake3.blake3(TRAITS_PURPOSE, key=digest_key)
    for text in (
        traits.content_type,
        traits.content_encoding,
        traits.content_language,
        traits.content_disposition,
        traits.cache_control,
        traits.expires,
        traits.redirect,
    ):
        meter.update(_spelt(text))
    for pairs in (traits.metadata, traits.tags):
        meter.update(b"%d;" % len(pairs))
        for name, value in pairs:
            meter.update(_spelt(name) + _spelt(value))
    return Digest(meter.hexdigest())


class _Meter:
    """Counts and hashes the blocks that pass."""

    def __init__(self, digest_key: bytes) -> None:
        self.bytes = 0
        self._hash = blake3.blake3(CONTENT_PURPOSE, key=digest_key)

    def passing(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self.bytes += len(block)
            self._hash.update(block)
            yield block

    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())


def _bring(source: ObjectStore, home: ObjectStore, version: ObjectVersion, *, place: int, digest_key: bytes) -> Copied:
    """Write one version, read it back, and compare; what is not equal is removed again."""
    if version.is_delete_marker:
        version_id = home.put_marker(version.key)
        return Copied(measure=_marker(digest_key), version_id=version_id, was_there=False, bytes_sent=0)
    head, meter = _head(source, version), _Meter(digest_key)
    blocks = meter.passing(source.read(version.key, version.version_id))
    written = home.put(version.key, blocks, head.traits, size=head.size)
    wanted = _measured(source, version, head, meter, digest_key)
    found = _read_back(home, version.key, written.version_id, digest_key=digest_key)
    if found != wanted:
        home.remove(version.key, written.version_id)
        raise NotEqual(
            f"store {home.name}: version {place + 1} of a key reads back other than it was sent "
            f"({_difference(wanted, found)}) and was removed; run again, and look at the store if it happens again"
        )
    return Copied(measure=found, version_id=written.version_id, was_there=False, bytes_sent=written.bytes_sent)


def _compare(
    source: ObjectStore, home: ObjectStore, pair: tuple[ObjectVersion, ObjectVersion], *, place: int, digest_key: bytes
) -> Copied:
    """Compare a version with the one in its place at home, cheap things first."""
    wanted_version, found_version = pair
    alike = (wanted_version.is_delete_marker, wanted_version.size) == (
        found_version.is_delete_marker,
        found_version.size,
    )
    wanted = measure_version(source, wanted_version, digest_key=digest_key) if alike else None
    if wanted is None or measure_version(home, found_version, digest_key=digest_key) != wanted:
        raise NotEqual(
            f"store {home.name}: a key has another version {place + 1} than store {source.name}; somebody else wrote "
            "it, or a copy was stopped in a store that keeps one version only: remove it at home and run again"
        )
    return Copied(measure=wanted, version_id=found_version.version_id, was_there=True, bytes_sent=0)


def _refuse_unkept(home: ObjectStore, versions: Sequence[ObjectVersion]) -> None:
    """A history needs a home that keeps histories."""
    if len(versions) == 1 and not versions[0].is_delete_marker:
        return
    kept = home.versioning()
    if kept is not Versioning.ON:
        raise StoreFault(
            f"store {home.name}: its versioning is {kept}, and {len(versions)} versions of a key are to come, delete "
            "markers among them; turn versioning on at home, or move the newest versions only"
        )


def _expect(home: ObjectStore, key: str, copied: Sequence[Copied]) -> None:
    """Look that home lists the key with these versions; take back what was written where it doesn't.

    Some stores keep a key under another name than it was given, where its versions lie among another key's.
    """
    listed = [version.version_id for version in home.history(key)]
    if listed[: len(copied)] == [one.version_id for one in copied]:
        return
    for one in copied:
        if not one.was_there:
            home.remove(key, one.version_id)
    raise StoreFault(
        f"store {home.name}: what was written is not listed under its own key, and was removed; the store spells some "
        "keys otherwise, or somebody else writes there: see docs/stores.md, rename the key or stop the writer"
    )


def _head(store: ObjectStore, version: ObjectVersion) -> Head:
    head = store.head(version.key, version.version_id)
    if head is None or head.size != version.size:
        raise _changed(store)
    return head


def _measured(
    store: ObjectStore, version: ObjectVersion, head: Head, meter: _Meter, digest_key: bytes
) -> ObjectMeasure:
    """What passed. Where a version can be overwritten, the store is asked once more whether it was."""
    if meter.bytes != head.size or (version.version_id == NULL_VERSION and _head(store, version) != head):
        raise _changed(store)
    return ObjectMeasure(
        is_delete_marker=False,
        bytes=meter.bytes,
        content=meter.digest(),
        traits=traits_digest(head.traits, digest_key=digest_key),
    )


def _read_back(home: ObjectStore, key: str, version_id: str, *, digest_key: bytes) -> ObjectMeasure | None:
    """Measure what was just written; None where it isn't there."""
    head, meter = home.head(key, version_id), _Meter(digest_key)
    if head is None:
        return None
    for _ in meter.passing(home.read(key, version_id)):
        pass
    return ObjectMeasure(
        is_delete_marker=False,
        bytes=meter.bytes,
        content=meter.digest(),
        traits=traits_digest(head.traits, digest_key=digest_key),
    )


def _marker(digest_key: bytes) -> ObjectMeasure:
    return ObjectMeasure(
        is_delete_marker=True,
        bytes=0,
        content=Digest(blake3.blake3(MARKER_PURPOSE, key=digest_key).hexdigest()),
        traits=traits_digest(Traits(), digest_key=digest_key),
    )


def _difference(wanted: ObjectMeasure, found: ObjectMeasure | None) -> str:
    if found is None:
        return "it isn't there"
    return "its content" if wanted.content != found.content else "its content type, metadata or tags"


def _changed(store: ObjectStore) -> WorldChanged:
    return WorldChanged(f"store {store.name}: an object is not what was listed; plan again, under a fence")


def _spelt(text: str | None) -> bytes:
    if text is None:
        return b"-;"
    raw = text.encode("utf-8", "surrogateescape")
    return b"%d;%b" % (len(raw), raw)
