"""The horizon of an object store: its copies, what the store says of them now, and the search of what stays.

Every object of the bucket that is left is read, whoever's it is: names and bytes, and what is packed in them. A place
is told as letters made of the key's keyed digest, never as the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from domicile import sweep
from domicile.errors import DomicileError, Unreachable
from domicile.events import Advanced, Listener
from domicile.objects.book import Standing
from domicile.objects.erasing import upload_digest
from domicile.objects.moving import Ends
from domicile.objects.telling import KEYS_TOLD_MAX
from domicile.stores.objects import GapKind, ObjectStore, ObjectVersion, Observed, RuleKind, Versioning
from domicile.stores.objects.copying import histories
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment, copy_id
from domicile.sweep.containers import search_stream
from domicile.sweep.search import Spot, Tally, View
from domicile.sweep.seen import Seen

UPLOADS: Final = copy_id(CopyKind.UPLOADS)
LOCKED: Final = copy_id(CopyKind.LOCKED_VERSIONS)
LETTERS: Final = str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst")
"""In a place stand neither words nor numbers of several digits: nothing that is looked for can be found in it."""
PLACE_CHARS: Final = 16
RULES: Final = {
    RuleKind.REPLICATION: (CopyKind.OBJECT_REPLICAS, "replicas of the objects"),
    RuleKind.LOGGING: (CopyKind.ACCESS_LOGS, "access logs, which carry keys"),
    RuleKind.INVENTORY: (CopyKind.OBJECT_LISTS, "inventories, which carry keys"),
}
IsLate = Callable[[str, Sequence[ObjectVersion]], bool]
"""Whether an object that nobody froze is a mover's, as far as its key, and what goes along with its versions, tell."""


@dataclass(slots=True, kw_only=True)
class Left:
    """What a listing shows that should not be there: `first` is the place of the first of a kind of copy."""

    objects: int = 0
    versions: int = 0
    locked: int = 0
    hiding: int = 0
    """Delete markers that keep locked versions from being served."""
    uploads: int = 0
    late: int = 0
    until: datetime | None = None
    for_ever: bool = False
    first: dict[CopyKind, str] = field(default_factory=dict)
    named: list[tuple[str, str]] = field(default_factory=list, repr=False)
    """Places and keys, for the operator's own file."""

    def note(self, kind: CopyKind, where: str, key: str) -> None:
        """Remember a place and its key, and the first of a kind."""
        self.first.setdefault(kind, where)
        if len(self.named) < KEYS_TOLD_MAX:
            self.named.append((where, key))


def place_of(key: bytes, number: int | None = None) -> str:
    """How a place is told: by the keyed digest of the key, in letters, and which of its versions from the oldest on."""
    told = key.hex()[:PLACE_CHARS].translate(LETTERS)
    return told if number is None else f"{told}:{number}"


def copies_of(store: ObjectStore, *, bucket: bool) -> tuple[Copy, ...]:
    """List the copies of a store; a `bucket` has files of its own behind its protocol."""
    kept = store.versioning() is not Versioning.NONE
    rules = {rule.kind: rule.observed for rule in store.rules()}
    erased = "each compared again at both ends, then removed by its version id; what stays is listed and searched"
    found = [_copy(CopyKind.OBJECTS, erased)]
    if kept:
        found.append(_copy(CopyKind.OBJECT_VERSIONS, f"older versions and delete markers: {erased}"))
    if rules[RuleKind.LOCK] is not Observed.ABSENT:
        found.append(
            _copy(
                CopyKind.LOCKED_VERSIONS,
                "kept by the store until their day; then `apply --yes` removes them; nobody bypasses a lock",
            )
        )
    found.append(_copy(CopyKind.UPLOADS, "those that were frozen are aborted; younger ones are told"))
    found.append(_copy(CopyKind.NO_OBJECTS, "links, special files, names that are no keys: counted, left alone"))
    found.extend(_copy(kind, f"told by the store: {text}") for kind, text in RULES.values())
    if bucket:
        found.append(_copy(CopyKind.STORE_FILES, "behind the protocol: the store's operator has them compacted"))
    return tuple(found)


def _copy(kind: CopyKind, method: str) -> Copy:
    return Copy(id=copy_id(kind), kind=kind, relation=None, method=method, observable=True, why="")


def look(ends: Ends, is_late: IsLate) -> Left:
    """List the store again: what that was to go is there still, and what of movers came since it was frozen."""
    left = Left()
    for history in histories(ends.source):
        _look_at(ends, history, is_late, left)
    frozen = ends.book.uploads(ends.name)
    for upload in ends.source.uploads():
        entry = ends.entry(upload.key)
        is_frozen = upload_digest(upload, ends.digest_key) in frozen
        if is_frozen or (entry and entry.leaves) or _came_late(ends, upload.key, (), is_late):
            left.uploads += 1
            left.note(CopyKind.UPLOADS, place_of(upload_digest(upload, ends.digest_key)), upload.key)
    return left


def _look_at(ends: Ends, history: Sequence[ObjectVersion], is_late: IsLate, left: Left) -> None:
    entry = ends.entry(history[0].key)
    if entry is not None and not entry.leaves:
        return
    if entry is None:
        if not _came_late(ends, history[0].key, history, is_late):
            return
        left.late += 1
    for number, (version, kind) in enumerate(zip(history, kinds_of(ends, history), strict=True), start=1):
        where = place_of(_key(ends, version), number)
        left.note(kind, where, version.key)
        if kind is CopyKind.LOCKED_VERSIONS and version.is_delete_marker:
            left.hiding += 1
        elif kind is CopyKind.LOCKED_VERSIONS:
            left.locked += 1
            head = ends.source.head(version.key, version.version_id)
            if head is None or head.legal_hold or head.locked_until is None:
                left.for_ever = True
            else:
                left.until = max(filter(None, (left.until, head.locked_until)))
        elif kind is CopyKind.OBJECTS:
            left.objects += 1
        else:
            left.versions += 1


def _came_late(ends: Ends, key: str, history: Sequence[ObjectVersion], is_late: IsLate) -> bool:
    """Whether what nobody froze is a mover's: a row or an upload of theirs named its key, or it tells itself."""
    return ends.book.awaits(ends.name, ends.digest_of(key)) or is_late(key, history)


def kinds_of(ends: Ends, history: Sequence[ObjectVersion]) -> tuple[CopyKind, ...]:
    """Of which copy each version is; a delete marker that hides locked ones goes with them."""
    kinds = tuple(_kind_of(ends, version) for version in history)
    if history and history[-1].is_delete_marker and CopyKind.LOCKED_VERSIONS in kinds:
        return (*kinds[:-1], CopyKind.LOCKED_VERSIONS)
    return kinds


def _kind_of(ends: Ends, version: ObjectVersion) -> CopyKind:
    if ends.may_lock and not version.is_delete_marker and is_locked(ends.source, version):
        return CopyKind.LOCKED_VERSIONS
    is_current = version.is_latest and not version.is_delete_marker
    return CopyKind.OBJECTS if is_current else CopyKind.OBJECT_VERSIONS


def is_locked(store: ObjectStore, version: ObjectVersion) -> bool:
    """Whether the store says that a version is kept; one whose day is over may still bear that day."""
    head = store.head(version.key, version.version_id)
    return head is not None and (head.legal_hold or head.locked_until is not None)


def outcomes_of(ends: Ends, left: Left, copies: Sequence[Copy], now: datetime) -> tuple[Outcome, ...]:
    """What became of each copy."""
    kinds = {copy.kind for copy in copies}
    found = [_of_versions(ends, left, CopyKind.OBJECTS, left.objects), _of_uploads(left), _of_gaps(ends)]
    if CopyKind.OBJECT_VERSIONS in kinds:
        found.append(_of_versions(ends, left, CopyKind.OBJECT_VERSIONS, left.versions))
    if CopyKind.LOCKED_VERSIONS in kinds:
        found.append(_of_locked(left, now))
    if CopyKind.STORE_FILES in kinds:
        why = "what was removed may lie in the store's own files until they are compacted"
        found.append(Outcome(copy=copy_id(CopyKind.STORE_FILES), treatment=Treatment.DONE, why=why))
    return (*found, *_of_rules(ends.source))


def _of_versions(ends: Ends, left: Left, kind: CopyKind, count: int) -> Outcome:
    held = ends.book.standings(ends.name).get(Standing.HELD, 0)
    if count or (held and kind is CopyKind.OBJECTS):
        where = f", first {left.first[kind]}" if kind in left.first else ""
        return Outcome(
            copy=copy_id(kind), treatment=Treatment.HELD,
            why=f"{count} of people who moved are there{where}; {held} objects were other than what was compared, or "
            f"taken away by others, and {left.late} came since they were frozen",
            remedy="stop who writes there, bring home by hand what is younger, and remove it",
        )  # fmt: skip
    return Outcome(copy=copy_id(kind), treatment=Treatment.DONE, why="removed one by one; listed again, none is there")


def _of_locked(left: Left, now: datetime) -> Outcome:
    name = copy_id(CopyKind.LOCKED_VERSIONS)
    if not left.locked:
        return Outcome(copy=name, treatment=Treatment.DONE, why="listed again: none is locked")
    hidden = f", hidden as before by {left.hiding} delete markers that stay with them" if left.hiding else ""
    what = f"{left.locked} versions of people who moved are kept by the store{hidden}"
    if left.for_ever or left.until is None:
        return Outcome(
            copy=name, treatment=Treatment.HELD, why=f"{what}, some by a legal hold", remedy="have it lifted"
        )
    if left.until <= now:
        return Outcome(
            copy=name,
            treatment=Treatment.HELD,
            why=f"{what}, and their day is over",
            remedy="`domicile apply --yes` removes them",
        )
    return Outcome(
        copy=name, treatment=Treatment.BLOCKED, until=first_free_day(left.until),
        why=f"{what} by a lock", remedy="when that day has come, `domicile apply --yes` removes them",
    )  # fmt: skip


def first_free_day(moment: datetime) -> date:
    """The first day on which nothing is locked any more, from its first hour on."""
    is_midnight = moment.time() == moment.time().min
    return moment.date() if is_midnight else moment.date() + timedelta(days=1)


def _of_uploads(left: Left) -> Outcome:
    name = copy_id(CopyKind.UPLOADS)
    if left.uploads:
        return Outcome(
            copy=name, treatment=Treatment.HELD, why=f"{left.uploads} of people who moved are there, begun since",
            remedy="stop who writes there, and abort them",
        )  # fmt: skip
    return Outcome(copy=name, treatment=Treatment.DONE, why="aborted; listed again, none of people who moved is there")


def _of_gaps(ends: Ends) -> Outcome:
    name, gaps = copy_id(CopyKind.NO_OBJECTS), ends.source.gaps()
    linked = ends.book.gaps(ends.name)
    if linked:
        return Outcome(
            copy=name, treatment=Treatment.UNSEEN,
            why=f"{linked} files had a second name when they were frozen: their bytes stay under it",
            remedy="look for the other names",
        )  # fmt: skip
    if gaps:
        told = ", ".join(f"{gap.count} {gap.kind.value}" for gap in gaps)
        return Outcome(copy=name, treatment=Treatment.UNSEEN, why=f"not looked into: {told}", remedy=gaps[0].remedy)
    return Outcome(copy=name, treatment=Treatment.ABSENT, why="the listing has nothing but objects")


def linked_files(store: ObjectStore) -> int:
    """How many files have another name as well."""
    return sum(gap.count for gap in store.gaps() if gap.kind is GapKind.HARD_LINK)


def _of_rules(store: ObjectStore) -> Iterator[Outcome]:
    for rule in store.rules():
        if rule.kind not in RULES:
            continue
        kind, what = RULES[rule.kind]
        if rule.observed is Observed.ABSENT:
            yield Outcome(copy=copy_id(kind), treatment=Treatment.ABSENT, why=f"the store says that it makes no {what}")
            continue
        targets = f" to {', '.join(rule.targets)}" if rule.targets else ""
        said = f"it makes {what}{targets}" if rule.observed is Observed.PRESENT else f"whether it makes {what}, unseen"
        yield Outcome(
            copy=copy_id(kind), treatment=Treatment.UNSEEN, why=f"{said}: {rule.why}" if rule.why else said,
            remedy="look there by hand",
        )  # fmt: skip


def search(
    ends: Ends, tokens: sweep.Tokens, is_late: IsLate, *, now: datetime, listener: Listener
) -> tuple[Seen, list[tuple[str, str]]]:
    """Search all that the store lists for the tokens, and judge its copies; also places and keys of what was found."""
    copies = copies_of(ends.source, bucket=ends.is_bucket)
    tally, told = Tally(tokens.matcher()), list[tuple[str, str]]()
    for history in histories(ends.source):
        for number, (version, kind) in enumerate(zip(history, kinds_of(ends, history), strict=True), start=1):
            spot = Spot(copy_id(kind), place_of(_key(ends, version), number))
            if _search_version(ends, tally, version, spot) and len(told) < KEYS_TOLD_MAX:
                told.append((place_of(_key(ends, version), number), version.key))
        listener(Advanced(stage="sweep", units=0, text=f"{ends.name}: an object"))
    for upload in ends.source.uploads():
        spot = Spot(copy_id(CopyKind.UPLOADS), place_of(upload_digest(upload, ends.digest_key)))
        tally.search(_name(upload.key), spot, offset=0, view=View.NAME)
        tally.gap(spot.copy, spot.path, "parts of an upload that isn't complete can't be read")
    searched = [copy_id(kind) for kind in (CopyKind.OBJECTS, CopyKind.OBJECT_VERSIONS, CopyKind.LOCKED_VERSIONS)]
    listed = {copy.id for copy in copies}
    ids = [name for name in (*searched, copy_id(CopyKind.UPLOADS)) if name in listed]
    result = sweep.SearchResult(tokens=tokens.counts, how="object by object", copies=tally.result(ids))
    left = look(ends, is_late)
    outcomes = outcomes_of(ends, left, copies, now)
    seen = Seen(
        copies=copies, outcomes=outcomes, result=result,
        verdicts=sweep.decide_all(copies, outcomes, result, rows_erased=True),
    )  # fmt: skip
    return seen, [*told, *left.named]


def _search_version(ends: Ends, tally: Tally, version: ObjectVersion, spot: Spot) -> bool:
    """Search one version; return whether something was found in it, or couldn't be seen."""
    before = tally.standing(spot.copy).found
    tally.search(_name(version.key), spot, offset=0, view=View.NAME)
    tally.add(spot.copy, files=1)
    if not version.is_delete_marker:
        _search_content(ends, tally, version, spot)
    return tally.standing(spot.copy).found > before


def _search_content(ends: Ends, tally: Tally, version: ObjectVersion, spot: Spot) -> None:
    """Search what the version holds, and what goes along with it."""
    try:
        head = ends.source.head(version.key, version.version_id)
        for name, value in (head.traits.metadata + head.traits.tags) if head is not None else ():
            tally.search(_name(f"{name}={value}"), spot, offset=0, view=View.NAME)
        search_stream(ends.source.read(version.key, version.version_id), spot, tally)
    except Unreachable:
        raise
    except DomicileError as fault:
        tally.gap(spot.copy, spot.path, f"can't be read: {type(fault).__name__}")


def _key(ends: Ends, version: ObjectVersion) -> bytes:
    return ends.digest_of(version.key)


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
