"""Brings back to the source what people wrote to their objects at home, before they live at the source again.

Nothing of the source is lost: where it keeps versions, home's younger ones, delete markers among them, are put behind
them. Where it keeps one, home's newest takes the place of what was brought home, and of nothing else. What people
removed at home, and can't be hidden at the source by a marker, stays there and is told.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from domicile.errors import NotEqual
from domicile.model import Home
from domicile.objects.ahead import line_of
from domicile.objects.carried import Carried, Line, listing_of
from domicile.objects.moving import Ends, version_digest
from domicile.stores.objects import ObjectStore, ObjectVersion, Versioning
from domicile.stores.objects.copying import copy_key, measure_version, overwrite_key

Both = tuple[tuple[ObjectVersion, ...], tuple[ObjectVersion, ...]]
"""A key's versions at home and at the source."""


class Returned(StrEnum):
    """What became of an object at the source."""

    THERE = "there"
    BROUGHT = "brought"
    REMOVED_AT_HOME = "removed at home"
    DIFFERS = "differs"


def bring_back(ends: Ends, carried: Carried, key: str, home: Home, *, public: bool) -> Returned:
    """Have an object at the source as home has it."""
    there, here = ends.homes[home].history(key), ends.source.history(key)
    line = carried.line(ends.name, home, ends.digest_of(key))
    if not there:
        return Returned.REMOVED_AT_HOME if here else Returned.THERE
    is_known = line is not None and not line.stale and line.listing == listing_of(here)
    if line is not None and is_known and line.there == listing_of(there):
        return Returned.THERE
    if ends.source.versioning() is Versioning.ON:
        return _behind(ends, carried, there, home, public=public)
    return _in_its_place(ends, carried, (there, here), home, public=public)


def _behind(
    ends: Ends, carried: Carried, there: tuple[ObjectVersion, ...], home: Home, *, public: bool
) -> Returned:  # fmt: skip
    """Put home's younger versions behind those of the source."""
    key = there[0].key
    try:
        copied = copy_key(ends.homes[home], ends.source, there, digest_key=ends.digest_key)
    except NotEqual:
        return Returned.DIFFERS
    line = line_of(ends.source.history(key)[: len(copied)], there, copied, ends.digest_key)
    carried.note(ends.name, home, ends.digest_of(key), line, public=public)
    return Returned.BROUGHT


def _in_its_place(ends: Ends, carried: Carried, both: Both, home: Home, *, public: bool) -> Returned:
    """Have home's newest at a source that keeps one version; home brings it anew when its person goes there again."""
    there, here = both
    newest, key = there[-1], ends.digest_of(there[-1].key)
    line = carried.line(ends.name, home, key) or Line()
    if newest.is_delete_marker:
        return Returned.REMOVED_AT_HOME if here else Returned.THERE
    digests = tuple(_digest(ends, ends.homes[home], one) for one in there)
    now = tuple(_digest(ends, ends.source, one) for one in here)
    if now[1:] or (now and now[0] not in {digests[-1], line.awaited, *line.digests[-1:]}):
        return Returned.DIFFERS
    carried.note(ends.name, home, key, replace(line, awaited=digests[-1]), public=public)
    if now != digests[-1:]:
        overwrite_key(ends.homes[home], ends.source, newest, digest_key=ends.digest_key)
    ours = Line(there=listing_of(there), digests=digests, stale=True, awaited=digests[-1])
    carried.note(ends.name, home, key, ours, public=public)
    return Returned.BROUGHT


def _digest(ends: Ends, store: ObjectStore, version: ObjectVersion) -> str:
    return version_digest(measure_version(store, version, digest_key=ends.digest_key), ends.digest_key)
