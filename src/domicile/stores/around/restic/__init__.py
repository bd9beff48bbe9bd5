"""A restic repository around the source: old snapshots forgotten and pruned by the tool itself, the others searched.

A snapshot is old by its name, if it stood when the server's treatment had ended, else by its time. It goes only if it
is of the source's machine, and a younger one, read through from end to end, holds all its paths. Forgetting takes
nothing from the disk: what was forgotten is called gone when no pack holds a byte that no snapshot refers to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from domicile.errors import NotPermitted, StoreFault
from domicile.stores.around import Announce, Boundary, Custody, Restored
from domicile.stores.around.restic.contents import OTHERS, PACKS, SnapshotFiles, SnapshotPlacing
from domicile.stores.around.restic.listing import SHORT, Machine, Snapshot, covering, is_old
from domicile.stores.around.restic.raw import raw_files
from domicile.stores.around.restic.tool import PRUNE, Busy, Tool
from domicile.stores.around.scratch import Scratch, clear_leftovers
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment, copy_id
from domicile.stores.postgres.files import Storage
from domicile.stores.postgres.pages import Geometry

NAMES_SHOWN: Final = 8
AGAIN: Final = "then `domicile apply` again"
_PREFIX: Final = f"{CopyKind.SNAPSHOT}:"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packs:
    """Files among the packs that no index names, those with a second name, and whether all bytes are in use."""

    unindexed: int
    linked: int
    is_pruned: bool

    @property
    def left(self) -> str | None:
        """Say what may still hold bytes of snapshots that are no longer listed; None when nothing does."""
        if self.unindexed:
            return f"{self.unindexed} files among the packs that no index names"
        return None if self.is_pruned else "bytes in the packs that no snapshot refers to"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What is there: the copies of all snapshots, the old ones by copy, all others, and what the packs are like."""

    copies: frozenset[str]
    old: Mapping[str, tuple[Snapshot, ...]]
    young: tuple[Snapshot, ...]
    packs: _Packs

    def left_of(self, copy: str, *, forgotten: Sequence[str]) -> str | None:
        """Say what of a copy is from before, or may be; None when nothing is."""
        if copy == PACKS and self.old:
            return f"what {sum(map(len, self.old.values()))} old snapshots refer to"
        if copy == PACKS:
            return self.packs.left
        if copy in forgotten:
            return f"no longer listed, but there are {self.packs.left}"
        return f"{len(self.old[copy])} made before the end of the server's treatment" if copy in self.old else None


class Snapshots:
    """One repository, as backups of the source's machine, which runs the cluster `system`.

    `planned` are the copies of the plan, none before it.
    """

    def __init__(  # noqa: PLR0913 - what, whose, and how far to go
        self,
        name: str,
        tool: Tool,
        *,
        machine: Machine,
        system: int,
        custody: Custody,
        scratch: Path,
        now: Callable[[], datetime],
        planned: Sequence[str] = (),
    ) -> None:
        self._name = name
        self._tool = tool
        self._machine = machine
        self._system = system
        self._custody = custody
        self._scratch = scratch
        self._now = now
        self._planned = frozenset(planned)
        self._clusters: set[str] = set()

    @property
    def name(self) -> str:
        """The store's name."""
        return self._name

    # -- what there is -------------------------------------------------------------------------------------------

    def inventory(self) -> tuple[Copy, ...]:
        """List each snapshot, the packs, and one copy for all else and what comes after the plan."""
        try:
            snapshots = self._tool.snapshots()
        except NotPermitted as fault:
            if not self._planned:
                raise
            return tuple(self._unread_copy(copy, str(fault)) for copy in sorted(self._planned))
        own = (self._snapshot_copy(one) for one in snapshots if self._has_copy(one.id))
        return (
            *sorted(own, key=lambda copy: copy.id),
            Copy(
                id=PACKS, kind=CopyKind.PACKS, relation=None, observable=True,
                method=self._custody.method("what no snapshot refers to", " by restic's prune"),
                why="the files in which restic keeps what its snapshots refer to, packed and encrypted",
            ),
            Copy(
                id=OTHERS, kind=CopyKind.OTHER_FILES, relation=None, observable=True,
                method="none: keys, locks and what nobody knows are searched; of snapshots after the plan: "
                + self._method("old ones"),
                why=f"{len(snapshots)} snapshots in the repository, all in all",
            ),
        )  # fmt: skip

    def refuse_foreign(self) -> None:
        """Raise StoreFault where no snapshot is of the source's machine, or HostFault where it isn't ours to write."""
        if self._custody.by_engine:
            self._tool.refuse_other_owner()
        snapshots = self._tool.snapshots()
        if snapshots and not any(map(self._machine.owns, snapshots)):
            hosts = len({one.host for one in snapshots})
            raise StoreFault(
                f"store {self._name}: none of the {len(snapshots)} snapshots, of {hosts} machines, is of "
                f"{', '.join(self._machine.hosts)} and the paths of the file; check `hosts` and `paths` against "
                "`restic snapshots`"
            )

    def note(self) -> tuple[str, ...]:
        """What stands now: the repository's own number, then its snapshots; nothing where it can't be read."""
        try:
            return self._tool.number(), *(one.id for one in self._tool.snapshots())
        except (NotPermitted, Busy):
            return ()

    def _has_copy(self, snapshot: str) -> bool:
        """Whether a snapshot has a copy of its own: what came after the plan is of the one of all else."""
        return not self._planned or copy_id(CopyKind.SNAPSHOT, name=snapshot[:SHORT]) in self._planned

    def _copy_of(self, snapshot: str) -> str:
        return copy_id(CopyKind.SNAPSHOT, name=snapshot[:SHORT]) if self._has_copy(snapshot) else OTHERS

    def _method(self, what: str) -> str:
        return self._custody.method(what, " by restic's forget and prune once a younger one holds the same paths")

    def _snapshot_copy(self, one: Snapshot) -> Copy:
        if not self._machine.owns(one):
            method = "none: it isn't of the source's machine and paths; it is searched"
        else:
            touched = ", ".join(self._machine.touched(one))
            method = self._method("made before the end of the server's treatment") + (f"; of {touched}" * bool(touched))
        return Copy(
            id=copy_id(CopyKind.SNAPSHOT, name=one.short), kind=CopyKind.SNAPSHOT, relation=None, observable=True,
            method=f"begun {one.began_at:%Y-%m-%d %H:%M} UTC; {method}", why=f"{len(one.paths)} paths",
        )  # fmt: skip

    @staticmethod
    def _unread_copy(copy: str, why: str) -> Copy:
        return Copy(id=copy, kind=CopyKind(copy.partition(":")[0]), relation=None, observable=False, method="", why=why)

    # -- what is to go -------------------------------------------------------------------------------------------

    def old(self, boundary: Boundary) -> tuple[str, ...]:
        """Name the machine's snapshots from before the boundary; none while they have to be kept."""
        if self._custody.blocked_until:
            return ()
        return tuple(one.id for one in self._old(self._tool.snapshots(), boundary))

    def _old(self, snapshots: Iterable[Snapshot], boundary: Boundary) -> tuple[Snapshot, ...]:
        noted = boundary.noted.get(self._name, ())
        return tuple(one for one in snapshots if self._machine.owns(one) and is_old(one, boundary, noted))

    def _by_copy(self, snapshots: Iterable[Snapshot]) -> dict[str, tuple[Snapshot, ...]]:
        found: dict[str, tuple[Snapshot, ...]] = {}
        for one in snapshots:
            copy = self._copy_of(one.id)
            found[copy] = (*found.get(copy, ()), one)
        return found

    # -- treating it ---------------------------------------------------------------------------------------------

    def treat(self, boundary: Boundary, *, announce: Announce) -> tuple[Outcome, ...]:
        """Have restic forget and prune what is old, if that is ours to do; one outcome a copy. Safe to repeat."""
        clear_leftovers(self._scratch, owner=self._tool.owner())
        try:
            return self._treat(boundary, announce=announce)
        except Busy as fault:
            return self._all(Treatment.HELD, str(fault), f"wait for its end, {AGAIN}")
        except NotPermitted as fault:
            return self._all(Treatment.NOT_PERMITTED, str(fault), f"see that it can be read from here, {AGAIN}")

    def _treat(self, boundary: Boundary, *, announce: Announce) -> tuple[Outcome, ...]:
        ours = self._custody.by_engine and not self._custody.blocked_until
        noted, number = boundary.noted.get(self._name, ()), self._tool.number()
        if ours:
            self._tool.refuse_other_owner()
            self._tool.unlock()
        if noted and noted[0] != number:
            why = "another repository lies there than at the end of the server's treatment"
            return self._all(Treatment.HELD, why, f"mount the one that lay there, {AGAIN}")
        before = self._look(boundary)
        if not ours:
            return self._said(before, before, named={})
        if before.packs.linked:
            why = f"{before.packs.linked} files of packs have another hard link, which would keep their bytes"
            return self._all(Treatment.HELD, why, f"remove the other names, {AGAIN}")
        return self._remove(before, boundary, announce=announce)

    def _look(self, boundary: Boundary) -> _Looked:
        """Look at snapshots and packs while nobody writes; Busy where somebody does."""
        is_pruned = self._tool.is_pruned()
        snapshots, indexed = self._tool.snapshots(), self._tool.indexed()
        files = [file for file in raw_files(self._tool.repository, store=self._name) if file.in_data]
        packs = _Packs(
            unindexed=sum(file.pack not in indexed for file in files), linked=sum(file.links > 1 for file in files),
            is_pruned=is_pruned,
        )  # fmt: skip
        old = self._old(snapshots, boundary)
        return _Looked(
            copies=frozenset(self._copy_of(one.id) for one in snapshots), old=self._by_copy(old),
            young=tuple(one for one in snapshots if one not in old), packs=packs,
        )  # fmt: skip

    def _remove(self, before: _Looked, boundary: Boundary, *, announce: Announce) -> tuple[Outcome, ...]:
        """Forget what a younger snapshot covers, prune, and look: said before, and again when packs show it (P7)."""
        going = self._covered(before)
        named = {copy: tuple(one.id for one in some) for copy, some in self._by_copy(going).items()}
        for copy in self._forgotten(before):  # by a run that was killed, or by somebody who never pruned
            named[copy] = (copy.removeprefix(_PREFIX),)
        if not going and not before.packs.left:
            return self._said(before, before, named={})
        named[PACKS] = tuple(name for names in named.values() for name in names) or (PACKS,)
        for copy, things in sorted(named.items()):
            announce(copy, things)
        self._tool.forget([one.id for one in going])
        self._tool.prune()
        after = self._look(boundary)
        outcomes = self._said(before, after, named=named)
        for item in outcomes:
            if item.copy in named and item.treatment is Treatment.DONE:
                announce(item.copy, ())
        return outcomes

    def _covered(self, looked: _Looked) -> list[Snapshot]:
        """The old snapshots that may go: of each a younger one holds all paths, and was just read from end to end."""
        covers = {one: covering(one, looked.young) for some in looked.old.values() for one in some}
        whole = {one for one in {*covers.values()} if one is not None and self._tool.read_through(one.id)}
        return [one for one, cover in covers.items() if cover in whole]

    def _forgotten(self, looked: _Looked) -> tuple[str, ...]:
        """Snapshots of the plan that are no longer listed, while bytes of theirs may lie in the packs."""
        gone = self._planned - looked.copies if looked.packs.left else frozenset()
        return tuple(sorted(copy for copy in gone if copy.startswith(_PREFIX)))

    # -- what is said of it --------------------------------------------------------------------------------------

    def _said(self, before: _Looked, after: _Looked, *, named: Mapping[str, Sequence[str]]) -> tuple[Outcome, ...]:
        """One outcome a copy: what the repository shows `after`, not what the tool returned."""
        copies = [*sorted({*before.copies, *self._forgotten(before)} - {OTHERS}), PACKS, OTHERS]
        return tuple(self._outcome(copy, after, named) for copy in copies)

    def _outcome(self, copy: str, after: _Looked, named: Mapping[str, Sequence[str]]) -> Outcome:
        until, left = self._custody.blocked_until, after.left_of(copy, forgotten=self._forgotten(after))
        if left is not None and until:
            why = f"{left}, to be kept until {until}"
            return Outcome(copy=copy, treatment=Treatment.BLOCKED, why=why, until=until)
        if left is not None:
            return self._held(copy, after, left, tried=copy in named)
        if copy in named:
            why = "what was made before the end of the server's treatment was forgotten and pruned by restic"
            return Outcome(copy=copy, treatment=Treatment.DONE, why=why)
        if copy == PACKS:
            treatment = Treatment.DONE if self._custody.by_engine else Treatment.GONE
            why = "an index names each pack, and no byte in one is without a snapshot that refers to it"
            return Outcome(copy=copy, treatment=treatment, why=why)
        why = "nothing in it is of the source's machine and from before the end of the server's treatment"
        return Outcome(copy=copy, treatment=Treatment.OBSERVED, why=why)

    def _held(self, copy: str, after: _Looked, left: str, *, tried: bool) -> Outcome:
        own, names = f"restic --repo={self._tool.repository}", [one.short for one in after.old.get(copy, ())]
        prune = f"`{own} {' '.join(PRUNE)}`"
        remedy = f"`{own} forget {' '.join(names[:NAMES_SHOWN])}`, {prune}, {AGAIN}" if names else f"{prune}, {AGAIN}"
        why = f"{left}, still there" + (" after restic's forget and prune" if tried else "")
        if tried and after.packs.unindexed:  # what restic doesn't take for its own, it doesn't remove
            remedy = f"see what they are (`{own} check`) and remove them, {AGAIN}"
        if names and self._custody.by_engine and not tried:
            why = f"{left}, and no younger snapshot that can be read from end to end holds all its paths"
            remedy = f"have one made on its machine, {AGAIN}; or {remedy}"
        return Outcome(copy=copy, treatment=Treatment.HELD, why=why, remedy=remedy)

    def _all(self, treatment: Treatment, why: str, remedy: str) -> tuple[Outcome, ...]:
        """The same of each copy: nobody knows anything, or may do anything."""
        copies = sorted(self._planned) or [PACKS, OTHERS]
        return tuple(Outcome(copy=copy, treatment=treatment, why=why, remedy=remedy) for copy in copies)

    # -- searching it --------------------------------------------------------------------------------------------

    def files(self) -> SnapshotFiles:
        """The files; whoever asks closes them."""
        owner = self._tool.owner()
        clear_leftovers(self._scratch, owner=owner)
        return SnapshotFiles(
            tool=self._tool, scratch=Scratch(self._scratch, owner=owner), now=self._now, system=self._system,
            clusters=self._clusters,
        )  # fmt: skip

    def placing(self, geometry: Geometry, relations: Mapping[str, Storage] | None = None) -> SnapshotPlacing:
        """Say which copy each file belongs to; `relations` is the source's own layout, as far as it is known."""
        return SnapshotPlacing(
            geometry=geometry, copy_of=self._copy_of, relations=relations or {}, clusters=self._clusters
        )

    def how(self, files: Restored) -> dict[str, str]:
        """Say of each copy how its bytes were had: what was restored, when, and by which version."""
        version = self._tool.version()
        found: dict[str, str] = {}
        for snapshot, moment in files.restored_at.items():
            copy = self._copy_of(snapshot)
            words = f"{snapshot[:SHORT]} restored by {version} at {moment:%Y-%m-%d %H:%M:%S} UTC"
            found[copy] = f"{found[copy]}, {words}" if copy in found else words
        return found
