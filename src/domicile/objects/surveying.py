"""What a plan says of an object store: counts by home, what nobody has ruled, what is locked, what lies elsewhere.

Counting and freezing read the same listing by the same rules; no count bears a key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path

from domicile.errors import Unclassed
from domicile.model import Finding, Home
from domicile.objects.belonging import UNDECIDED, Belongs
from domicile.objects.book import Entry
from domicile.objects.erasing import upload_digest
from domicile.objects.horizon import RULES, first_free_day, linked_files
from domicile.objects.listing import Listed, Sorting
from domicile.objects.moving import Ends
from domicile.objects.telling import KEYS_TOLD_MAX, tell_keys
from domicile.stores.objects import ObjectStore, Observed, RuleKind

MENDING = {
    Belongs.UNRULED: (
        "no rule is about them",
        '{pattern: "…", disposition: public} or {disposition: none, reason: "…"}',
    ),
    Belongs.CONTRADICTED: ("rules of different dispositions are about them", "make the rules' patterns narrower"),
    Belongs.OWNERLESS: ("their keys or labels name nobody who is there", "ownerless: stay"),
}
"""Why a person has to decide, and what to write."""


@dataclass(slots=True, kw_only=True)
class Share:
    """What goes to one home, or stays."""

    objects: int = 0
    versions: int = 0
    bytes: int = 0
    leaving: int = 0
    orphans: int = 0
    """Versions that stay as their keys or labels name nobody."""

    def add(self, one: Listed, *, leaves: bool) -> None:
        """Count one object."""
        self.objects += 1
        self.versions += len(one.history)
        self.bytes += sum(version.size for version in one.history)
        self.leaving += len(one.history) if leaves else 0
        self.orphans += len(one.history) if one.decision.orphan else 0


@dataclass(slots=True, kw_only=True)
class Surveyed:
    """What a listing came to."""

    store: str
    going: dict[Home, Share] = field(default_factory=dict)
    public: Share = field(default_factory=Share)
    staying: Share = field(default_factory=Share)
    undecided: Counter[Belongs] = field(default_factory=Counter)
    markers: int = 0
    uploads: int = 0
    uploads_going: int = 0
    unmet: int = 0
    elsewhere: int = 0
    locked: int = 0
    for_ever: int = 0
    until: datetime | None = None
    told: list[tuple[str, str]] = field(default_factory=list, repr=False)
    """What is wrong with an object and its key, for the operator's own file."""

    def shares(self, homes: int) -> tuple[Share, ...]:
        """All that has to pass: what goes to each home, and what is public once for each."""
        return (*self.going.values(), *[self.public] * homes)

    def count(self, one: Listed) -> None:
        """Count one object by what becomes of it."""
        decision = one.decision
        self.markers += sum(version.is_delete_marker for version in one.history)
        if decision.belongs in UNDECIDED:
            self.doubt(decision.belongs, one.history[0].key)
        elif decision.belongs is Belongs.PUBLIC:
            self.public.add(one, leaves=False)
        elif decision.belongs is Belongs.STAYS:
            self.staying.add(one, leaves=False)
        for home in decision.homes if decision.belongs is Belongs.MOVES else ():
            leaves = decision.leaves and home == decision.homes[-1]
            self.going.setdefault(home, Share()).add(one, leaves=leaves)

    def doubt(self, what: Belongs, key: str) -> None:
        """Count an object or upload that a person has to decide on."""
        self.undecided[what] += 1
        if len(self.told) < KEYS_TOLD_MAX:
            self.told.append((what.value, key))


def survey(store: ObjectStore, sorting: Sorting, *, may_lock: bool) -> Surveyed:
    """Count what a store lists, and look for locks on what would leave."""
    found = Surveyed(store=store.name)
    for one in sorting.objects(store):
        found.count(one)
        if may_lock and one.decision.leaves:
            _note_locks(store, one, found)
    for upload, decision in sorting.uploads(store):
        found.uploads += 1
        found.uploads_going += decision.leaves
        if decision.belongs in UNDECIDED:
            found.doubt(decision.belongs, upload.key)
    found.unmet = sorting.claims.unmet()
    return found


def _note_locks(store: ObjectStore, one: Listed, found: Surveyed) -> None:
    for version in one.history:
        head = None if version.is_delete_marker else store.head(version.key, version.version_id)
        if head is not None and head.legal_hold:
            found.for_ever += 1
        elif head is not None and head.locked_until is not None:
            found.locked += 1
            found.until = max(filter(None, (found.until, head.locked_until)))


def freeze(ends: Ends, sorting: Sorting) -> None:
    """List the objects that go home in the book; raise Unclassed, and list none, where one has no rule."""
    uploads = [upload for upload, decision in sorting.uploads(ends.source) if decision.leaves]
    ends.book.freeze(
        ends.name, _entries(ends.source, sorting), [upload_digest(one, ends.digest_key) for one in uploads],
        chain((ends.digest_of(one.key) for one in uploads), sorting.awaited()), gaps=linked_files(ends.source),
    )  # fmt: skip


def _entries(store: ObjectStore, sorting: Sorting) -> Iterator[Entry]:
    undecided = 0
    for one in sorting.objects(store):
        undecided += one.decision.belongs in UNDECIDED
        if one.decision.homes:
            yield Entry(
                key=one.key, public=one.decision.belongs is Belongs.PUBLIC, leaves=one.decision.leaves,
                versions=tuple(version.version_id for version in one.history), homes=one.decision.homes,
            )  # fmt: skip
    if undecided:
        raise Unclassed(
            f"store {store.name}: {undecided} objects came since the plan that no rule decides; the fence is taken "
            "away again. Run `domicile plan`, which says what to write"
        )


def refuse_undecided(found: Surveyed, path: Path) -> None:
    """Raise Unclassed while an object has no rule, or not one (P4); their keys are told in a private file."""
    told = tell_keys(path, found.told)
    lines = [
        f"- {count} objects or uploads: {why}; write into stores.{found.store}.objects: {remedy}"
        for what, (why, remedy) in MENDING.items()
        if (count := found.undecided[what])
    ]
    if lines and told:
        head = f"store {found.store}: objects need a rule that domicile.yaml does not give; their keys are in {path}:"
        raise Unclassed("\n".join((head, *lines)))


def findings(found: Surveyed) -> Iterator[Finding]:
    """What was counted, and the rule that decides it."""
    for home, share in found.going.items():
        shared = share.versions - share.leaving - share.orphans
        kept = f", {shared} versions stay as others have them too" * bool(shared)
        kept += f", {share.orphans} versions stay as they name nobody who is there" * bool(share.orphans)
        yield _finding(found, share.objects, f"{_told(share)} go to {home}{kept}", rule="disposition: move")
    if found.public.objects:
        yield _finding(found, found.public.objects, f"{_told(found.public)} stay, and go to each home",
                       rule="disposition: public")  # fmt: skip
    if found.staying.objects:
        yield _finding(found, found.staying.objects, f"{_told(found.staying)} stay: nobody's who moves", rule="none")
    for count, text in (
        (found.markers, "delete markers are among the versions"),
        (found.uploads, f"incomplete uploads, {found.uploads_going} of people who move: aborted, not moved"),
        (found.unmet, "objects are named by rows and not there"),
        (found.elsewhere, "values of rows name nothing in this store"),
    ):
        if count:
            yield _finding(found, count, f"{count} {text}", rule="counted")


def _finding(found: Surveyed, count: int, text: str, *, rule: str) -> Finding:
    return Finding(kind="objects", where=found.store, count=count, text=text, rule=rule)


def _told(share: Share) -> str:
    return f"{share.objects} objects ({share.versions} versions, {share.bytes} bytes)"


def outside(store: ObjectStore, found: Surveyed) -> Iterator[Finding]:
    """What stays unproven of the store, and what is blocked, since the first day."""
    if found.locked and found.until is not None:
        day = first_free_day(found.until)
        yield Finding(
            kind="blocked until", where=store.name, count=found.locked, rule="lock of the bucket",
            text=f"{found.locked} versions of people who move are locked: blocked until {day}",
        )  # fmt: skip
    if found.for_ever:
        yield Finding(
            kind="held", where=store.name, count=found.for_ever, remedy="have it lifted",
            text=f"{found.for_ever} versions of people who move are under a legal hold",
        )  # fmt: skip
    for rule in store.rules():
        if rule.observed is Observed.ABSENT or rule.kind is RuleKind.LOCK:
            continue
        targets = f" to {', '.join(rule.targets)}" if rule.targets else ""
        seen = "there is a rule" if rule.observed is Observed.PRESENT else "it can't be seen whether there is a rule"
        yield Finding(
            kind="unknown store" if rule.kind in RULES else "lifecycle", where=store.name, count=1,
            text=f"{rule.kind.value}{targets}: {seen}" + (f" ({rule.why})" if rule.why else ""),
            remedy="see to it by hand: what lies there stays `unknown`",
        )  # fmt: skip
    for gap in store.gaps():
        yield Finding(
            kind="no object", where=store.name, count=gap.count, text=f"{gap.count} {gap.kind.value}: not moved",
            remedy=gap.remedy,
        )  # fmt: skip
    yield Finding(
        kind="no fence", where=store.name, count=1, rule="said in the certificate",
        text="nobody is kept from writing objects while they move: what is written between the comparison and the "
        "removal is held where the store keeps versions, and may be lost where it keeps one",
    )  # fmt: skip
    yield Finding(
        kind="no restore", where=store.name, count=1, rule="said in the certificate",
        text="objects are read back at home; no restore of them from a backup of home's store is done",
    )  # fmt: skip
