"""Drawn versions of objects, read at their home and looked for at the source, and held against the log's digests.

Of each place all keys are listed, and those that were drawn are known by the keyed digests of their keys: nothing of
home is sent to the source. How digests are made stands in docs/formats-spot-check.md, "Digests of objects".
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import blake3

from domicile_audit.spot.listed import Thing
from domicile_audit.spot.places import PLAIN, Gone, Place, Traits, Version, open_place
from domicile_audit.spot.sample import CHANGED, DIFFERS, GONE, KEPT, LEFT, SAME, STAYS, UNSEEN, Kept, Looked

KEY_PURPOSE: Final = b"domicile object key v1\x00"
VERSION_PURPOSE: Final = b"domicile object version v1\x00"
CONTENT_PURPOSE: Final = b"domicile object content v1\x00"
TRAITS_PURPOSE: Final = b"domicile object traits v1\x00"
MARKER_PURPOSE: Final = b"domicile object delete marker v1\x00"
Things = Mapping[str, Mapping[bytes, list[Thing]]]
Histories = Mapping[bytes, tuple[Version, ...]]


@dataclass(frozen=True, slots=True)
class Places:
    """Where objects are: at home by store and home, at the source by store (none where it is not looked at)."""

    homes: Mapping[tuple[str, str], Place]
    sources: Mapping[str, Place]
    lived_in: bool


def open_places(given: Mapping[str, str], wanted: Iterable[tuple[str, str]], *, lived_in: bool) -> Places:
    """Open what of these stores and homes was told: all homes, and all stores at the source or none."""
    homes = {(store, home): f"{store}@{home}" for store, home in sorted(wanted)}
    missing = [name for name in homes.values() if name not in given]
    if missing:
        raise ValueError(f"objects of {', '.join(missing)} are drawn; give --objects {missing[0]}=PLACE")
    stores = sorted({store for store, _ in homes})
    absent = [store for store in stores if store not in given]
    if absent and len(absent) < len(stores):
        raise ValueError(f"--objects tells where some stores are at the source, and not {', '.join(absent)}")
    return Places(
        {which: open_place(name, given[name]) for which, name in homes.items()},
        {} if absent else {store: open_place(store, given[store]) for store in stores},
        lived_in,
    )


def look(places: Places, key: bytes, logged: Mapping[str, Kept], things: Things) -> Iterator[Looked]:
    """Each drawn version, at its home and at the source."""
    for slice_id, drawn in things.items():
        if not drawn:
            continue
        kept = logged[slice_id]
        home, source = places.homes[kept.store, kept.home], places.sources.get(kept.store)
        there = _listed(home, key, drawn)
        here = {} if source is None else _listed(source, key, drawn)
        for name, thing in ((name, thing) for name, some in drawn.items() for thing in some):
            seen, told = _at_home(home, key, thing, there.get(name, ()), lived_in=places.lived_in)
            outside, why = UNSEEN, ""
            if source is not None:
                outside, why = _at_source(source, key, kept, thing, here.get(name, ()))
            yield Looked(thing.id, 1, seen, outside, "; ".join(filter(None, (told, why))))


def _listed(place: Place, key: bytes, wanted: Iterable[bytes]) -> Histories:
    """The versions of the wanted keys, by the keys' digests; the whole place is listed."""
    wanted, found = frozenset(wanted), dict[bytes, tuple[Version, ...]]()
    for history in place.histories():
        name = digest_of_key(history[0].key, key)
        if name in wanted:
            found[name] = history
    return found


def _at_home(
    home: Place, key: bytes, thing: Thing, history: tuple[Version, ...], *, lived_in: bool
) -> tuple[str, str]:  # fmt: skip
    other = CHANGED if lived_in else DIFFERS
    if len(history) <= thing.place:
        return other, f"{len(history)} versions of the object at home, and this is number {thing.place + 1}"
    same = _digest(home, key, history[thing.place]) == thing.digest
    return (SAME, "read at home, equal to the log") if same else (other, "read at home, not equal to the log")


def _at_source(
    source: Place, key: bytes, kept: Kept, thing: Thing, history: tuple[Version, ...]
) -> tuple[str, str]:  # fmt: skip
    if kept.erased is None:
        same = len(history) > thing.place and _digest(source, key, history[thing.place]) == thing.digest
        return (SAME if same else DIFFERS), f"{len(history)} versions of the object at the source, not erased yet"
    if not thing.leaves:
        return STAYS, "stays at the source by a rule"
    if not history:
        return GONE, "no version of the object at the source"
    whole = kept.erased == kept.leaving
    why = "" if whole else f", of which the log keeps {kept.leaving - kept.erased} versions in all"
    return (LEFT if whole else KEPT), f"{len(history)} versions of the object stand at the source{why}"


def digest_of_key(name: str, key: bytes) -> bytes:
    """What stands for an object's key."""
    return blake3.blake3(KEY_PURPOSE + name.encode("utf-8", "surrogateescape"), key=key).digest()


def _digest(place: Place, key: bytes, version: Version) -> str | None:
    """The digest of a version as it is now; None where it is gone."""
    if version.is_marker:
        marker = blake3.blake3(MARKER_PURPOSE, key=key).hexdigest()
        return _of_version(key, b"marker", 0, marker, PLAIN)
    with suppress(Gone), place.opened(version) as (traits, blocks):
        size, content = 0, blake3.blake3(CONTENT_PURPOSE, key=key)
        for block in blocks:
            size += len(block)
            content.update(block)
        return _of_version(key, b"object", size, content.hexdigest(), traits)
    return None


def _of_version(key: bytes, kind: bytes, size: int, content: str, traits: Traits) -> str:
    parts = b"\x00".join((kind, b"%d" % size, content.encode(), _of_traits(key, traits).encode()))
    return blake3.blake3(VERSION_PURPOSE + parts, key=key).hexdigest()


def _of_traits(key: bytes, traits: Traits) -> str:
    headers, *pairs = traits
    hashed = blake3.blake3(TRAITS_PURPOSE, key=key)
    for header in headers:
        hashed.update(b"-;" if header is None else _spelt(header))
    for some in pairs:
        hashed.update(b"%d;" % len(some))
        for name, value in some:
            hashed.update(_spelt(name) + _spelt(value))
    return hashed.hexdigest()


def _spelt(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return b"%d;%b" % (len(data), data)
