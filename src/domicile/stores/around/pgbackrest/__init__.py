"""A pgBackRest repository around the source: its backups and archived WAL, expired by the tool itself, and searched.

pgBackRest never expires its last full backup, so a new one is taken first, verified, and only then the old ones go.
What is ours is known by the number of the cluster; what is old by the WAL segment in which it began, never by a date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from domicile.errors import NotPermitted, StoreFault
from domicile.stores.around import BEGIN_SEGMENT, Announce, Boundary, Custody, Restored
from domicile.stores.around.pgbackrest.contents import (
    OTHERS,
    SEGMENTS,
    Contents,
    RepositoryFiles,
    RepositoryPlacing,
)
from domicile.stores.around.pgbackrest.stanza import (
    Backup,
    Stanza,
    baselines,
    is_before,
    is_later_timeline,
    old_backups,
)
from domicile.stores.around.pgbackrest.tool import Tool
from domicile.stores.around.scratch import Scratch, clear_leftovers
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment, copy_id
from domicile.stores.postgres.files import Storage
from domicile.stores.postgres.pages import Geometry

READ_AGAIN = "see that the stanza can be read from here, then `domicile apply` again"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Old:
    """What is to go: labels by the copy that they are of, WAL segments, and backups that no list names."""

    labels: Mapping[str, tuple[str, ...]]
    segments: tuple[str, ...]
    unlisted: Mapping[str, tuple[str, ...]]

    def __bool__(self) -> bool:
        return bool(self.labels or self.segments or self.unlisted)

    def said_of(self, copy: str, boundary: Boundary) -> str | None:
        """Say what of a copy is old; None when nothing is."""
        if copy == SEGMENTS:
            return f"{len(self.segments)} segments before {boundary.segment}" if self.segments else None
        parts = [
            f"{len(names)} {what}"
            for names, what in (
                (self.labels.get(copy, ()), "made before the end of the server's treatment"),
                (self.unlisted.get(copy, ()), "lie there without being listed"),
            )
            if names
        ]
        return " and ".join(parts) or None


class Repository:
    """One stanza of one repository, of the cluster `system`.

    `planned` are the copies of the plan, none before it; `stanzas` are those that stores of the file are.
    """

    def __init__(  # noqa: PLR0913 - what, whose, and how far to go
        self,
        name: str,
        tool: Tool,
        *,
        system: int,
        custody: Custody,
        scratch: Path,
        now: Callable[[], datetime],
        planned: Sequence[str] = (),
        stanzas: Sequence[str] = (),
    ) -> None:
        self._name = name
        self._tool = tool
        self._system = system
        self._custody = custody
        self._scratch = scratch
        self._now = now
        self._planned = frozenset(planned)
        self._stanzas = frozenset({*stanzas, tool.stanza})
        self._verified: str | None = None

    @property
    def name(self) -> str:
        """The store's name."""
        return self._name

    # -- what there is -------------------------------------------------------------------------------------------

    def inventory(self) -> tuple[Copy, ...]:
        """List each backup, the archived WAL, and one copy for all else and what comes after the plan."""
        try:
            contents = self._contents(self._tool.read())
        except NotPermitted as fault:
            if not self._planned:
                raise
            return tuple(self._unread_copy(copy, str(fault)) for copy in sorted(self._planned))
        copies = [self._backup_copy(backup, contents) for backup in contents.backups if self._has_copy(backup.label)]
        copies += [self._unlisted_copy(label, contents) for label in contents.unlisted() if self._has_copy(label)]
        segments = contents.segments()
        span = f", {segments[0]} to {segments[-1]}" if segments else ""
        others = len(contents.stored)
        return (
            *sorted(copies, key=lambda copy: copy.id),
            Copy(
                id=SEGMENTS, kind=CopyKind.ARCHIVED_WAL, relation=None, observable=True,
                method=self._method("segments from before the end of the server's treatment"),
                why=f"{len(segments)} segments{span}, {contents.size(None)} bytes",
            ),
            Copy(
                id=OTHERS, kind=CopyKind.OTHER_FILES, relation=None, observable=True,
                method="none: manifests and histories (names, sizes) are searched; of backups after the plan: "
                + self._method("old ones"),
                why=f"{others} files in the repository, all in all",
            ),
        )  # fmt: skip

    def refuse_foreign(self) -> None:
        """Raise StoreFault where the stanza isn't the source's, or not the only one that is: no plan, then."""
        if self._custody.by_engine:
            self._tool.refuse_root()
        stanza = self._tool.read()
        if stanza.is_locked:
            raise StoreFault(
                f"store {self._name}: a backup or expiry of stanza {stanza.name} is running; plan when it has ended"
            )
        if not stanza.is_now_of(self._system):
            raise StoreFault(
                f"store {self._name}: stanza {stanza.name} is of a cluster with another number than the source's; "
                "name the source's own stanza"
            )
        if beside := self._beside():
            raise StoreFault(f"store {self._name}: {beside.why}; {beside.remedy}")

    def _beside(self) -> Outcome | None:
        """Say which other stanzas of the repository are the source's, too, and no store; None: none."""
        others = [one for one in self._tool.stanzas() if one.name not in self._stanzas]
        ours = [one.name for one in others if self._system in one.systems.values()]
        if ours:
            why = f"stanza {ours[0]} of the same repository is of the source's cluster, too"
            return self._held(OTHERS, why, "name it as a store of its own, or remove it")
        return None

    def _has_copy(self, label: str) -> bool:
        """Whether a backup has a copy of its own: what came after the plan is of the one of all else."""
        return not self._planned or copy_id(CopyKind.BASE_BACKUP, name=label) in self._planned

    def _copy_of(self, label: str) -> str:
        return copy_id(CopyKind.BASE_BACKUP, name=label) if self._has_copy(label) else OTHERS

    def _method(self, what: str) -> str:
        return self._custody.method(what, " by pgBackRest once a new full backup stands")

    def _backup_copy(self, backup: Backup, contents: Contents) -> Copy:
        return Copy(
            id=copy_id(CopyKind.BASE_BACKUP, name=backup.label), kind=CopyKind.BASE_BACKUP, relation=None,
            observable=True, method=self._method("backups of before the end of the server's treatment"),
            why=f"{backup.kind}, {backup.began_at:%Y-%m-%d %H:%M} to {backup.ended_at:%Y-%m-%d %H:%M} UTC, "
            f"{backup.bytes} bytes, {contents.size(backup.label)} in the repository",
        )  # fmt: skip

    def _unlisted_copy(self, label: str, contents: Contents) -> Copy:
        return Copy(
            id=copy_id(CopyKind.BASE_BACKUP, name=label), kind=CopyKind.BASE_BACKUP, relation=None, observable=True,
            method=self._method("backups of before the end of the server's treatment"),
            why=f"lies in the repository and isn't in its list, {contents.size(label)} bytes",
        )  # fmt: skip

    @staticmethod
    def _unread_copy(copy: str, why: str) -> Copy:
        kind = CopyKind(copy.partition(":")[0])
        return Copy(id=copy, kind=kind, relation=None, observable=False, method="", why=why)

    def _contents(self, stanza: Stanza) -> Contents:
        stored = (
            *self._tool.listing(f"archive/{stanza.name}"), *self._tool.listing(f"backup/{stanza.name}"),
        )  # fmt: skip
        return Contents(stanza=stanza.name, backups=stanza.backups, stored=stored)

    # -- what is to go -------------------------------------------------------------------------------------------

    def old(self, boundary: Boundary) -> tuple[str, ...]:
        """Name the backups and segments from before the boundary; none while they have to be kept."""
        if self._custody.blocked_until:
            return ()
        found = self._old(self._contents(self._tool.read()), boundary)
        return (*(name for names in (*found.labels.values(), *found.unlisted.values()) for name in names),
                *found.segments)  # fmt: skip

    def _old(self, contents: Contents, boundary: Boundary) -> _Old:
        return _Old(
            labels=self._by_copy(backup.label for backup in old_backups(contents.backups, boundary.segment)),
            segments=tuple(name for name in contents.segments() if is_before(name, boundary.segment)),
            unlisted=self._by_copy(contents.unlisted()),
        )

    def _by_copy(self, labels: Iterable[str]) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for label in labels:
            copy = self._copy_of(label)
            found[copy] = (*found.get(copy, ()), label)
        return found

    def has_to_remove(self, boundary: Boundary) -> bool:
        """Whether something is to go by our hand, so that a new full backup has to stand first."""
        if self._custody.blocked_until or not self._custody.by_engine:
            return False
        try:
            stanza = self._tool.read()
            contents = self._contents(stanza)
        except NotPermitted:
            return False  # `treat` says why
        strange = self._strange(stanza, contents, boundary)
        return strange is None and bool(self._old(contents, boundary))

    def _strange(self, stanza: Stanza, contents: Contents, boundary: Boundary) -> str | None:
        """Say why nobody here can call what lies in the stanza the source's own, or older than the boundary."""
        foreign = {number for number, system in stanza.systems.items() if system != self._system}
        if not stanza.is_now_of(self._system) or foreign & contents.clusters():
            return "the stanza holds backups or WAL of a cluster with another number than the source's"
        firsts = [backup.first for backup in stanza.backups if backup.first]
        later = [name for name in (*firsts, *contents.segments()) if is_later_timeline(name, boundary.segment)]
        if later:
            return f"{len(later)} backups or segments are of a later timeline than the source's, first {later[0]}"
        return None

    # -- treating it ---------------------------------------------------------------------------------------------

    def make_baseline(self, boundary: Boundary) -> str:
        """Have a full backup from after the boundary that pgBackRest has verified; return its label.

        One that stands already is taken. Raise StoreFault when there is none, and then nothing older may go.
        """
        self._tool.refuse_root()
        stanza = self._tool.read()
        if self._contents(stanza).unlisted():
            self._tool.adopt(stanza.repositories[0])
            stanza = self._tool.read()
        if not baselines(stanza.backups, boundary.segment):
            self._tool.back_up()
            stanza = self._tool.read()
        found = baselines(stanza.backups, boundary.segment)
        if not found:
            raise StoreFault(
                f"store {self._name}: pgBackRest took a backup, and its list has none from after the erasure that is "
                "undamaged; no older one is expired"
            )
        label = found[-1].label
        if not self._tool.verify(label):
            raise StoreFault(
                f"store {self._name}: `pgbackrest verify` doesn't call the new backup {label} valid, so no older one "
                "is expired; expire that one by hand, then `domicile apply` again"
            )
        self._verified = label
        return label

    def treat(self, boundary: Boundary, *, announce: Announce) -> tuple[Outcome, ...]:
        """Have pgBackRest expire what is old, if that is ours to do; the caller saw to a new full backup."""
        clear_leftovers(self._scratch, owner=self._tool.owner())
        try:
            stanza = self._tool.read()
            contents = self._contents(stanza)
        except NotPermitted as fault:
            return self._unread(str(fault))
        copies = [copy.id for copy in self.inventory()]
        found = self._old(contents, boundary)
        strange = self._strange(stanza, contents, boundary)
        if strange is not None:
            apart = "find out whose they are, and expire or move them; then `domicile apply` again"
            return tuple(self._held(copy, strange, apart) for copy in copies)
        if found and self._custody.by_engine and not self._custody.blocked_until:
            self._expire(found, stanza, boundary, announce=announce)
            left = self._old(self._contents(self._tool.read()), boundary)
            outcomes = [self._after(copy, found, left, boundary) for copy in copies]
        else:
            outcomes = [self._before(copy, found, boundary) for copy in copies]
        beside = self._beside()
        return tuple(
            beside if beside and item.copy == OTHERS and item.treatment is not Treatment.HELD else item
            for item in outcomes
        )

    def _expire(self, found: _Old, stanza: Stanza, boundary: Boundary, *, announce: Announce) -> None:
        """Expire the old backups, and the WAL with them: said before, and again when the repository shows it (P7)."""
        self._tool.refuse_root()
        if self._verified not in {one.label for one in baselines(stanza.backups, boundary.segment)}:
            raise StoreFault(
                f"store {self._name}: no new full backup stands that was verified just now, so no older one is expired;"
                " run `domicile apply` again"
            )
        stay = {one.label for one in stanza.backups} - {name for names in found.labels.values() for name in names}
        repository, fulls = stanza.repositories[0], sum(label.endswith("F") for label in stay)
        named = {**found.labels, **({SEGMENTS: found.segments} if found.segments else {})}
        for copy, things in named.items():
            announce(copy, things)
        try:
            # A full backup takes along what stands on it, so the list is read again each time.
            tried: set[str] = set()
            while old := [
                one.label for one in old_backups(self._tool.read().backups, boundary.segment) if one.label not in tried
            ]:
                tried.add(old[0])
                self._tool.expire(old[0], repository, fulls=fulls)
            if self._old(self._contents(self._tool.read()), boundary).segments:
                self._tool.expire(None, repository, fulls=fulls)
        except StoreFault:
            self._tell_gone(named, boundary, announce)
            raise
        self._tell_gone(named, boundary, announce)

    def _tell_gone(self, named: Iterable[str], boundary: Boundary, announce: Announce) -> None:
        """Tell of the copies of which nothing old is left, as the repository shows it."""
        left = self._old(self._contents(self._tool.read()), boundary)
        for copy in named:
            if left.said_of(copy, boundary) is None:
                announce(copy, ())

    def _before(self, copy: str, found: _Old, boundary: Boundary) -> Outcome:
        """What is to be said of a copy of which nothing is removed here."""
        made, until = found.said_of(copy, boundary), self._custody.blocked_until
        if made is None:
            return self._none_left(copy, boundary)
        if until:
            why = f"{made}, to be kept until {until}"
            return Outcome(copy=copy, treatment=Treatment.BLOCKED, why=why, until=until)
        return self._held(copy, f"{made}, still there", self._by_hand(copy, found))

    def _after(self, copy: str, found: _Old, left: _Old, boundary: Boundary) -> Outcome:
        """What is to be said of a copy after the expiry: what the repository shows, not what the tool returned."""
        still, made = left.said_of(copy, boundary), found.said_of(copy, boundary)
        if still is not None:
            why = f"{still}, still there after pgBackRest's expire"
            return self._held(copy, why, self._by_hand(copy, left))
        if made is None or (copy == SEGMENTS and boundary.awaited):
            return self._none_left(copy, boundary)
        return Outcome(copy=copy, treatment=Treatment.DONE, why=f"{made}, expired by pgBackRest")

    def _none_left(self, copy: str, boundary: Boundary) -> Outcome:
        """Of a copy that holds nothing old now. Whether we expired it, only the log tells; nobody else's word does."""
        if copy == SEGMENTS and boundary.awaited:
            return self._held(copy, boundary.waits_for, f"{BEGIN_SEGMENT}, then `domicile apply` again")
        if copy == SEGMENTS:
            why = f"no segment before {boundary.segment} is left"
            return Outcome(copy=copy, treatment=Treatment.GONE, why=why)
        return Outcome(copy=copy, treatment=Treatment.OBSERVED, why="nothing in it is from before the erasure")

    def _by_hand(self, copy: str, found: _Old) -> str:
        """The commands by which a person does what the engine doesn't."""
        own = f"pgbackrest --config={self._tool.config} --stanza={self._tool.stanza}"
        if unlisted := found.unlisted.get(copy):
            return (
                f"`{own} expire` lists {unlisted[0]} again, to be expired by --set; if not, remove its folder from the "
                "repository; then `domicile apply` again"
            )
        sets = [f"`{own} expire --set={label}`" for label in sorted(found.labels.get(copy, ()))[:1]]
        wal = f"`{own} expire --repo1-retention-full=1 --repo1-retention-archive=1`" if copy == SEGMENTS else ""
        return f"`{own} backup --type=full`, then {wal or ''.join(sets)}, then `domicile apply` again"

    @staticmethod
    def _held(copy: str, why: str, remedy: str) -> Outcome:
        return Outcome(copy=copy, treatment=Treatment.HELD, why=why, remedy=remedy)

    def _unread(self, why: str) -> tuple[Outcome, ...]:
        """Of a repository that can't be read, nobody knows anything."""
        copies = sorted(self._planned) or [SEGMENTS, OTHERS]
        return tuple(
            Outcome(copy=copy, treatment=Treatment.NOT_PERMITTED, why=why, remedy=READ_AGAIN) for copy in copies
        )

    # -- searching it --------------------------------------------------------------------------------------------

    def files(self) -> RepositoryFiles:
        """The files; whoever asks closes them."""
        clear_leftovers(self._scratch, owner=self._tool.owner())
        return RepositoryFiles(
            tool=self._tool, read_contents=lambda: self._contents(self._tool.read()), now=self._now, store=self._name,
            scratch=Scratch(self._scratch, owner=self._tool.owner()),
        )  # fmt: skip

    def placing(self, geometry: Geometry, relations: Mapping[str, Storage] | None = None) -> RepositoryPlacing:
        """Say which copy each file belongs to; `relations` is the source's own layout, as far as it is known."""
        labels = self._contents(self._tool.read()).labels()
        return RepositoryPlacing(
            geometry=geometry, copies=frozenset(filter(self._has_copy, labels)), relations=relations or {}
        )

    def how(self, files: Restored) -> dict[str, str]:
        """Say of each copy how its bytes were had: what was restored, when, and by which version."""
        version = self._tool.version()
        found = {SEGMENTS: f"fetched by {version}"}
        for label, moment in sorted(files.restored_at.items()):
            copy = self._copy_of(label)
            words = f"{label} restored by {version} at {moment:%Y-%m-%d %H:%M:%S} UTC"
            found[copy] = f"{found[copy]}, {words}" if copy in found else words
        return found
