"""Brings objects home while people write, again and again, and takes back what no longer goes there.

One object at one home, by what `carried` knows of it:

| at the source                 | at home, while nobody has taken it there    | once somebody at home has it    |
|-------------------------------|---------------------------------------------|---------------------------------|
| as when it was brought        | nothing; a `whole` look asks home for it    | nothing                         |
| younger versions behind it    | those are brought                           | those, where home wrote none    |
| replaced, versions removed    | ours is taken back, all is brought anew     | differs                         |
| gone                          | ours is taken back                          | nothing: home is the authority  |

Ours is taken back only where it reads back as what was brought; anything else at home is left, and differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from domicile.errors import Locked, NotEqual, Unreachable, WorldChanged
from domicile.model import Home
from domicile.objects.carried import Carried, Line, listing_of
from domicile.objects.moving import Ends, version_digest
from domicile.stores.objects import ObjectStore, ObjectVersion
from domicile.stores.objects.copying import Copied, copy_key, measure_version, traits_digest

CHANGES_MAX: Final = 5
"""How often an object is read anew that changed while it was read."""


class Came(StrEnum):
    """What became of an object at one home."""

    THERE = "there"
    BROUGHT = "brought"
    TAKEN_BACK = "taken back"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """One key, as the source lists it now (nothing: it is gone there), and a home where it belongs."""

    key: str
    history: tuple[ObjectVersion, ...]
    home: Home
    public: bool = False


def bring(ends: Ends, carried: Carried, going: Going, *, whole: bool) -> Came:
    """Have an object at home as the source has it. Looked at `whole`: also whether home still has what was brought.

    Raises Unreachable where it changes faster than it is read.
    """
    history = going.history
    for _ in range(CHANGES_MAX):
        try:
            return _bring(ends, carried, going, history, whole=whole)
        except WorldChanged:
            history = ends.source.history(going.key)
    raise Unreachable(f"store {ends.name}: an object changes faster than it is read; run again")


def _bring(
    ends: Ends, carried: Carried, going: Going, history: Sequence[ObjectVersion], *, whole: bool
) -> Came:  # fmt: skip
    key = ends.digest_of(going.key)
    line = carried.line(ends.name, going.home, key)
    if carried.is_settled(ends.name, going.home, key):
        is_known = not history or (line is not None and line.listing == listing_of(history))
        return Came.THERE if is_known else _copied(ends, carried, going, history, begun=False)
    if line is None:
        return _copied(ends, carried, going, history, begun=True) if history else Came.THERE
    if not history:
        return _taken_back(ends, carried, going, line)
    if line.is_continued_by(listing_of(history)) and not (whole and _is_otherwise(ends, history, line)):
        is_same = len(line.listing) == len(history)
        if is_same and (not whole or listing_of(ends.homes[going.home].history(going.key)) == line.there):
            return Came.THERE
        if is_same and ends.homes[going.home].history(going.key):
            return Came.DIFFERS
    elif not take_back(ends, carried, going, line):
        return Came.DIFFERS
    return _copied(ends, carried, going, history, begun=True)


def _copied(ends: Ends, carried: Carried, going: Going, history: Sequence[ObjectVersion], *, begun: bool) -> Came:
    """Copy, and note what came; NotEqual is told as a value."""
    home, key = ends.homes[going.home], ends.digest_of(going.key)
    if begun and not home.history(going.key):
        carried.note(ends.name, going.home, key, Line(listing=listing_of(history)), public=going.public)
    try:
        copied = copy_key(ends.source, home, history, digest_key=ends.digest_key)
    except NotEqual:
        return Came.DIFFERS
    there = home.history(going.key)
    carried.note(ends.name, going.home, key, line_of(history, there, copied, ends.digest_key), public=going.public)
    return Came.BROUGHT


def line_of(
    history: Sequence[ObjectVersion], there: Sequence[ObjectVersion], copied: Sequence[Copied], digest_key: bytes
) -> Line:
    """What is known of an object that has just been read at both ends, of which home lists what is `there`."""
    return Line(
        listing=listing_of(history),
        there=listing_of(there[: len(copied)]),
        digests=tuple(version_digest(one.measure, digest_key) for one in copied),
        traits=tuple(one.measure.traits for one in copied),
        bytes=sum(one.measure.bytes for one in copied),
    )


def _is_otherwise(ends: Ends, history: Sequence[ObjectVersion], line: Line) -> bool:
    """Whether what goes along with a version at the source is not what it was: it can change with nothing else."""
    return any(
        _traits(ends, version) != digest for version, digest in zip(history, line.traits, strict=False)
    )  # fmt: skip


def _traits(ends: Ends, version: ObjectVersion) -> str | None:
    """The digest of what goes along with a version now."""
    head = None if version.is_delete_marker else ends.source.head(version.key, version.version_id)
    if head is None:
        return measure_version(ends.source, version, digest_key=ends.digest_key).traits
    return traits_digest(head.traits, digest_key=ends.digest_key)


# -- taking back -----------------------------------------------------------------------------------------------------


def _taken_back(ends: Ends, carried: Carried, going: Going, line: Line) -> Came:
    if not take_back(ends, carried, going, line):
        return Came.DIFFERS
    carried.drop(ends.name, going.home, ends.digest_of(going.key))
    return Came.TAKEN_BACK


def take_back(ends: Ends, carried: Carried, going: Going, line: Line) -> bool:
    """Remove at home what was brought there, newest first, if it reads back as such; False, and nothing, otherwise.

    Noted before as begun, so that a run that is killed here goes on. Of what was begun only sizes are known: nothing
    was under the key before, and nobody lives at home yet who would write there.
    """
    store, key = ends.homes[going.home], going.key
    there = store.history(key)
    if there and not (_may_be_ours(there, line) if line.is_begun else _is_ours(ends, store, there, line)):
        return False
    begun = Line(listing=line.listing if line.is_begun else line.there)
    carried.note(ends.name, going.home, ends.digest_of(key), begun, public=going.public)
    for version in reversed(there):
        try:
            store.remove(key, version.version_id)
        except Locked:
            return False
    return True


def _may_be_ours(there: Sequence[ObjectVersion], line: Line) -> bool:
    """Whether what home lists is the beginning of what was begun, as far as sizes tell."""
    begun = [(size, is_marker) for _, size, _, _, is_marker in line.listing]
    return [(one.size, one.is_delete_marker) for one in there] == begun[: len(there)]


def _is_ours(ends: Ends, store: ObjectStore, there: Sequence[ObjectVersion], line: Line) -> bool:
    if listing_of(there) != line.there:
        return False
    with suppress(WorldChanged):
        return all(
            version_digest(measure_version(store, one, digest_key=ends.digest_key), ends.digest_key) == digest
            for one, digest in zip(there, line.digests, strict=True)
        )
    return False


def strays(ends: Ends, home: Home, keys: frozenset[bytes]) -> Iterator[Going]:
    """Those of the objects of these digests that home lists, as gone from the source."""
    seen = ""
    for version in ends.homes[home].versions() if keys else ():
        if version.key != seen and ends.digest_of(version.key) in keys:
            yield Going(key=version.key, history=(), home=home)
        seen = version.key
