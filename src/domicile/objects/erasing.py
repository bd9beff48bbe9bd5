"""Erases objects at the source: each is compared again at both ends, then every version of it goes, oldest first.

Nobody is fenced out of an object store, so what is done to each object is this, in this order (P1):

 1. the key is listed: exactly the versions that were compared, no more and no fewer; else it is held, untouched
 2. each home is read and holds what was compared; else it is held
 3. each version is read, the last of the two reads, and is the same; else it is held
 4. the book says that it is going
 5. each version is removed by its id, oldest first, so that what was hidden never becomes the latest; locked ones stay,
    and what hides them: the delete marker that is there, or a new one in the place of what was the latest
 6. the key is listed again: a younger version is held and told, never removed
 7. each home still has it: else all stops, for the two ends are one place, and so does each later run

What a lock kept goes the same way once its day is over, and after it the delete marker that hid it, where that is all
that is left of the object.

Killed anywhere, 1 to 3 are asked again of what is left, and home of all of it. What is written between 3 and 5
under the *same* version id (in stores without versions) is not seen: docs/stores.md says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from domicile.errors import Locked, StoreFault, WorldChanged
from domicile.events import Advanced, Listener
from domicile.model import Home
from domicile.objects.book import Entry, Standing
from domicile.objects.claims import key_digest
from domicile.objects.moving import Ends, object_digest, read_at_home, read_first, version_digest
from domicile.stores.objects import ObjectStore, ObjectVersion, Upload, Versioning
from domicile.stores.objects.copying import histories, measure_version


class Removing(Protocol):
    """Told how many uploads go, and again when they are gone."""

    def __call__(self, count: int, *, done: bool) -> None:
        """Say so."""
        ...


OPEN: Final = frozenset({Standing.THERE, Standing.GOING})
PASSES_MAX: Final = 5
"""A folder's listing may leave names out while others are removed from it; so it is listed until none is left to do."""


def erase_objects(ends: Ends, *, listener: Listener) -> None:
    """Erase every frozen object that leaves; how far each came stands in the book. Safe to repeat."""
    _refuse_lost_before(ends)
    for _ in range(PASSES_MAX):
        if not _pass(ends, listener=listener):
            break
    _close_vanished(ends)


def free_objects(ends: Ends, *, now: datetime) -> int:
    """Have the objects go on that a lock kept and lets go by now; return how many of their versions those are.

    They are compared again as 1 to 3 say, and then stand as going. What differs by now, also because somebody else took
    a version away, is held; what is locked still stays as it is.
    """
    listed, count = set(), 0
    for history in histories(ends.source):
        entry = ends.entry(history[0].key)
        if entry is not None and entry.standing is Standing.LOCKED:
            listed.add(entry.key)
            count += _free(ends, entry, history, now)
    for key, removed in ends.book.locked(ends.name):
        if key not in listed:
            ends.book.stands(ends.name, key, Standing.HELD, removed=removed)
    return count


def _free(ends: Ends, entry: Entry, history: Sequence[ObjectVersion], now: datetime) -> int:
    removed = dict(ends.book.locked(ends.name))[entry.key]
    mine = [version for version in history if version.version_id in entry.versions]
    free = [version for version in mine if not version.is_delete_marker and _is_free(ends.source, version, now)]
    was_taken = _missing(entry, history) != removed
    if not free and not was_taken:
        return 0
    going = replace(entry, standing=Standing.GOING)
    if was_taken or not _may_go(ends, going, history[0].key, history):
        ends.book.stands(ends.name, entry.key, Standing.HELD, removed=removed)
        return 0
    ends.book.stands(ends.name, entry.key, Standing.GOING, removed=removed)
    return len(free)


def _is_free(store: ObjectStore, version: ObjectVersion, now: datetime) -> bool:
    head = store.head(version.key, version.version_id)
    return head is not None and not head.legal_hold and (head.locked_until is None or head.locked_until <= now)


def _pass(ends: Ends, *, listener: Listener) -> int:
    """Erase what the store lists and the book has open; return how many objects that were."""
    worked = 0
    for history in histories(ends.source):
        entry = ends.entry(history[0].key)
        if entry is not None and entry.leaves and entry.standing in OPEN:
            removed = _erase(ends, entry, history[0].key)
            listener(Advanced(stage="erase", units=removed, text=ends.name))
            worked += 1
    return worked


def _erase(ends: Ends, entry: Entry, key: str) -> int:
    """Erase one object; return how many of its versions are gone by our hand, all in all."""
    history = ends.source.history(key)
    if not _may_go(ends, entry, key, history):
        removed = _missing(entry, history) if entry.standing is Standing.GOING else 0
        ends.book.stands(ends.name, entry.key, Standing.HELD, removed=removed)
        return removed
    ends.book.stands(ends.name, entry.key, Standing.GOING, removed=_missing(entry, history))
    locked = _remove(ends, entry, key, history)
    _refuse_lost(ends, entry, key)
    after = ends.source.history(key)
    removed = _missing(entry, after)
    if entry.standing is Standing.GOING and not locked and len(after) == 1 and _covers(entry, after):
        ends.source.remove(key, after[0].version_id)  # what hid locked versions hides nothing any more
        after = ends.source.history(key)
    if locked and _covers(entry, after):
        after = after[:-1]
    if any(version.version_id not in entry.versions for version in after):
        ends.book.stands(ends.name, entry.key, Standing.HELD, removed=removed)
    elif locked:
        day = None if None in locked else max(until for until in locked if until is not None)
        ends.book.stands(ends.name, entry.key, Standing.LOCKED, removed=removed, until=day)
    else:
        ends.book.stands(ends.name, entry.key, Standing.GONE, removed=removed)
    return removed


def _missing(entry: Entry, history: Sequence[ObjectVersion]) -> int:
    return len(entry.versions) - sum(version.version_id in entry.versions for version in history)


def _remove(ends: Ends, entry: Entry, key: str, history: Sequence[ObjectVersion]) -> list[datetime | None]:
    """Step 5; return until when those are locked that are."""
    locked: list[datetime | None] = []
    for version in history:
        if version.version_id not in entry.versions or (
            locked and version is history[-1] and _hides(ends, version, locked)
        ):
            continue
        try:
            ends.source.remove(key, version.version_id)
        except Locked as fault:
            locked.append(fault.until)
    return locked


def _hides(ends: Ends, latest: ObjectVersion, locked: list[datetime | None]) -> bool:
    """Whether the latest has to stay, as without it a locked older one would be served; else a marker is put."""
    if latest.is_delete_marker:
        return True
    head = ends.source.head(latest.key, latest.version_id)
    if head is not None and (head.legal_hold or head.locked_until is not None):
        locked.append(None if head.legal_hold else head.locked_until)
        return True
    if ends.source.versioning() is not Versioning.ON:
        return True
    ends.source.put_marker(latest.key)
    return False


def _covers(entry: Entry, history: Sequence[ObjectVersion]) -> bool:
    """Whether the latest is a delete marker that nobody froze: ours, or one as good."""
    return bool(history) and history[-1].is_delete_marker and history[-1].version_id not in entry.versions


def _may_go(ends: Ends, entry: Entry, key: str, history: Sequence[ObjectVersion]) -> bool:
    """Steps 1 to 3. Of an object that was going already, what is left of it may be less."""
    if entry.standing is Standing.GOING and _covers(entry, history):
        history = history[:-1]
    expected = dict(zip(entry.versions, entry.digests, strict=True))
    ids = tuple(version.version_id for version in history)
    if entry.standing is Standing.THERE and ids != entry.versions:
        return False
    if not set(ids) <= expected.keys():
        return False
    whole = object_digest(entry.digests, ends.digest_key)
    if any(read_at_home(ends, key, len(entry.versions), home) != whole for home in entry.homes):
        return False
    try:
        for version in history:
            measure = measure_version(ends.source, version, digest_key=ends.digest_key)
            if version_digest(measure, ends.digest_key) != expected[version.version_id]:
                return False
    except WorldChanged:
        return False
    return True


def _refuse_lost(ends: Ends, entry: Entry, key: str) -> None:
    """Step 7."""
    for home in entry.homes:
        if len(ends.homes[home].history(key)) < len(entry.versions):
            raise _lost(ends, home)


def _lost(ends: Ends, home: Home) -> StoreFault:
    return StoreFault(
        f"stores {ends.name} and {ends.homes[home].name}: an object that was removed at the source is gone at "
        "home as well; nothing more is removed, by this run or the next, until home holds it again. Look whether both "
        "are one place, and restore it from a backup"
    )


def _refuse_lost_before(ends: Ends) -> None:
    """Step 7 of objects that a run before left on their way: what isn't whole at either end stops every run.

    Their keys are read from the listings; as long as nothing is on its way, nothing is listed.
    """
    going = {key for key, _, standing in ends.book.unfinished(ends.name) if standing is Standing.GOING}
    if not going:
        return
    whole = set(_whole(ends, ends.source, going, None))
    for home, store in ends.homes.items():
        wanted = {key for key in going - whole if home in _known(ends, key).homes}
        if wanted - set(_whole(ends, store, wanted, home)):
            raise _lost(ends, home)


def _whole(ends: Ends, store: ObjectStore, keys: AbstractSet[bytes], home: Home | None) -> Iterator[bytes]:
    """Those of the objects that a store, a home's or the source, still holds as they were compared."""
    for history in histories(store) if keys else ():
        key = ends.digest_of(history[0].key)
        if key in keys:
            entry = _known(ends, key)
            if read_first(ends, store, history[0].key, len(entry.versions)) == object_digest(
                entry.digests, ends.digest_key
            ) and (home is not None or tuple(one.version_id for one in history) == entry.versions):
                yield key


def _known(ends: Ends, key: bytes) -> Entry:
    entry = ends.book.entry(ends.name, key)
    if entry is None:
        raise RuntimeError("the book lists an object and doesn't know it")
    return entry


def _close_vanished(ends: Ends) -> None:
    """Objects that were going and are listed no more went by our hand; others went by somebody else's, and are held."""
    _refuse_lost_before(ends)
    for key, versions, standing in ends.book.unfinished(ends.name):
        if standing is Standing.GOING:
            ends.book.stands(ends.name, key, Standing.GONE, removed=versions)
        else:
            ends.book.stands(ends.name, key, Standing.HELD, removed=0)


def erase_uploads(ends: Ends, removing: Removing, *, announced: int | None = None, listener: Listener) -> None:
    """Abort the incomplete uploads that were frozen; `removing` is told how many before, and when they are gone.

    How many a run before `announced`, and was killed, isn't told again; that they are gone is, if none is left too.
    Uploads that were begun since are somebody's who writes now: held and told, never aborted.
    """
    wanted = ends.book.uploads(ends.name)
    found = [one for one in ends.source.uploads() if upload_digest(one, ends.digest_key) in wanted]
    if not found and announced is None:
        return
    if announced is None:
        removing(len(found), done=False)
    for upload in found:
        ends.source.abort(upload)
        listener(Advanced(stage="erase", units=0, text=f"{ends.name}: an incomplete upload"))
    removing(len(found) if announced is None else announced, done=True)


def upload_digest(upload: Upload, digest_key: bytes) -> bytes:
    """What stands for an upload: by its key and id, and when it was begun, as a folder has one id for all."""
    return key_digest(f"{upload.id}\x00{upload.started_at.isoformat()}\x00{upload.key}", digest_key=digest_key)
