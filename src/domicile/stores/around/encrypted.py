"""A folder of copies that are encrypted under one key, and are made noise by destroying it (ADR 0032).

Nothing in the folder is removed. Its files from before the end of the erasure are one copy, `encrypted-files`, all else
is another; `conditions` says what has to hold before the key goes. What was announced in the log is finished, also when
a run was broken off: then the files' headers still tell which generations they were encrypted under.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domicile.errors import HostFault, NotPermitted, StoreFault
from domicile.evidence.predicates import KeyPhase
from domicile.evidence.told import KeyStanding
from domicile.stores.around import BEGIN_SEGMENT, Announce, Boundary, Custody
from domicile.stores.around.conditions import SEGMENT, Examination, Ground, Key, examine, is_old
from domicile.stores.around.encryption import Encryption, Opened, listed
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment, copy_id
from domicile.stores.postgres.files import Files, Place, Shape, Storage
from domicile.stores.postgres.pages import Geometry

ENCRYPTED: Final = copy_id(CopyKind.ENCRYPTED_FILES)
OTHERS: Final = copy_id(CopyKind.OTHER_FILES)
AnnounceKey = Callable[[tuple[str, ...], KeyPhase], None]
"""Told of the generations that are about to be destroyed, that are, or that came back (P7)."""


class Encrypted:
    """A folder whose files are encrypted under `key`; `standing` is what the log tells of that key's destruction."""

    def __init__(  # noqa: PLR0913 - a folder, its key, and what is known of both
        self, name: str, path: Path, *, key: Key, custody: Custody, ground: Ground, standing: KeyStanding | None
    ) -> None:
        self._name = name
        self._files = Encryption(store=name, path=path)
        self._key = key
        self._custody = custody
        self._ground = ground
        self._standing = standing

    @property
    def name(self) -> str:
        """The store's name."""
        return self._name

    def inventory(self) -> tuple[Copy, ...]:
        """List two copies: what is encrypted, and all else."""
        files = listed(self._files)
        encrypted = sum(file.envelope is not None for file in files)
        until = f"not before {self._custody.blocked_until}, " if self._custody.blocked_until else ""
        method = (
            f"{until}key {self._key.name} of {self._key.service.name} destroyed, in all its copies, if the files were "
            f"always encrypted under it (since {self._key.since}) and nothing that stays is; what is left is searched"
        )
        return (
            Copy(
                id=ENCRYPTED, kind=CopyKind.ENCRYPTED_FILES, relation=None, observable=True, method=method,
                why=f"{encrypted} encrypted files",
            ),
            Copy(
                id=OTHERS, kind=CopyKind.OTHER_FILES, relation=None, observable=True,
                method="none: searched; what isn't encrypted, and what comes later",
                why=f"{len(files) - encrypted} other files",
            ),
        )  # fmt: skip

    def examine(self, boundary: Boundary | None) -> Examination:
        """Look whether the key may go; without a boundary as if all of the folder were from before it."""
        return examine(self._files, self._key, self._ground, boundary)

    def old(self, boundary: Boundary) -> tuple[str, ...]:
        """Name the encrypted files from before the boundary."""
        if self._custody.blocked_until:
            return ()
        files = listed(self._files)
        return tuple(file.name for file in files if file.envelope and is_old(file, boundary, self._ground))

    def treat(self, boundary: Boundary, *, announce: Announce) -> tuple[Outcome, ...]:
        """Say what stands in the way, or what would be destroyed; nothing is."""
        del announce
        return self.destroy(boundary, allowed=False, announce=_never)

    def destroy(self, boundary: Boundary, *, allowed: bool, announce: AnnounceKey) -> tuple[Outcome, ...]:
        """Destroy the key if all holds and it is `allowed`, or go on with what the log tells; safe to repeat."""
        looked = Outcome(copy=OTHERS, treatment=Treatment.OBSERVED, why="looked through")
        try:
            outcome = self._destroy(boundary, allowed=allowed, announce=announce)
        except (NotPermitted, StoreFault, HostFault) as fault:
            treatment = Treatment.UNSEEN if self._standing else Treatment.HELD
            why = f"key {self._key.name} isn't known to be gone: {fault}"
            outcome = Outcome(copy=ENCRYPTED, treatment=treatment, why=why, remedy="then `domicile apply` again")
        return outcome, looked

    def _destroy(self, boundary: Boundary, *, allowed: bool, announce: AnnounceKey) -> Outcome:
        standing, key = self._standing, self._key
        if standing is None:
            found = self._considered(boundary, allowed=allowed)
            if isinstance(found, Outcome):
                return found
            announce(found.generations, KeyPhase.INTENT)
            return self._finish(found.generations, announce=announce)
        if standing.phase is KeyPhase.INTENT:
            if not self._ground.rows_erased:
                return self._for_nothing()
            in_use = [file.name for file in self._younger(boundary, standing.generations)]
            if in_use and key.copies(standing.generations):
                return self._held(f"{len(in_use)} files made since the erasure are encrypted under it", "remove them")
            return self._finish(standing.generations, announce=announce)
        back = key.copies(standing.generations)
        if back and standing.phase is KeyPhase.OUTCOME:
            announce(standing.generations, KeyPhase.CAME_BACK)
        if back:
            return self._held(
                f"a copy of it came back after it was destroyed ({back[0]}), so there was another one",
                "find out where it came from, and who else has one",
            )
        if standing.phase is KeyPhase.CAME_BACK:
            why = f"a copy of key {key.name} came back once and is gone again: where another one lies, nobody can see"
            return Outcome(copy=ENCRYPTED, treatment=Treatment.UNSEEN, why=why)
        return self._destroyed(standing.generations) if self._ground.rows_erased else self._for_nothing()

    def _considered(self, boundary: Boundary, *, allowed: bool) -> Examination | Outcome:
        """What is to be destroyed, or why not."""
        blocked = self._custody.blocked_until
        if blocked:
            why = f"to be kept until {blocked}, so key {self._key.name} stands"
            return Outcome(copy=ENCRYPTED, treatment=Treatment.BLOCKED, why=why, until=blocked)
        if boundary.awaited and self._ground.database is None:
            return self._held(boundary.waits_for, BEGIN_SEGMENT)
        found = self.examine(boundary)
        if not found.old and not found.reasons:
            why = "no encrypted file from before the end of the erasure is there"
            return Outcome(copy=ENCRYPTED, treatment=Treatment.GONE, why=why)
        if not self._ground.rows_erased:
            return self._for_nothing()
        if found.reasons:
            more = f" (and {len(found.reasons) - 1} more reasons)" if len(found.reasons) > 1 else ""
            return self._held(f"{found.reasons[0]}{more}", "mend that, or remove the files")
        if not allowed:
            return self._held(
                f"{found.told} would become unreadable; dry run", "`domicile apply --yes` to destroy the key"
            )
        return found

    def _held(self, why: str, remedy: str) -> Outcome:
        return Outcome(
            copy=ENCRYPTED, treatment=Treatment.HELD, why=f"key {self._key.name} isn't destroyed: {why}",
            remedy=f"{remedy}; then `domicile apply` again",
        )  # fmt: skip

    def _for_nothing(self) -> Outcome:
        why = f"no rows were erased, so the destruction of key {self._key.name} would count for nothing"
        return Outcome(
            copy=ENCRYPTED, treatment=Treatment.HELD, why=why, remedy="remove the files; then `domicile apply` again"
        )  # fmt: skip

    def _younger(self, boundary: Boundary, generations: tuple[str, ...]) -> Iterator[Opened]:
        for file in listed(self._files):
            used = file.envelope.generations & set(generations) if file.envelope else set()
            if used and not is_old(file, boundary, self._ground):
                yield file

    def _finish(self, generations: tuple[str, ...], *, announce: AnnounceKey) -> Outcome:
        """Destroy it in its own service, and look through all of the file before that is stated."""
        self._key.service.destroy(generations)
        if left := self._key.copies(generations):
            more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
            return self._held(f"a copy of it is still there ({left[0]}){more}", "destroy it by hand")
        announce(generations, KeyPhase.OUTCOME)
        return self._destroyed(generations)

    def _destroyed(self, generations: tuple[str, ...]) -> Outcome:
        words = "; by the operator's word " + " and ".join((f"all was encrypted since {self._key.since}",
                                                           *self._key.service.words))  # fmt: skip
        count = f"{len(generations)} generation{'s' if len(generations) > 1 else ''}"
        services = ", ".join(service.name for service in (self._key.service, *self._key.others))
        why = f"{count} of key {self._key.name} destroyed, and no copy found in {services}{words}"
        return Outcome(copy=ENCRYPTED, treatment=Treatment.KEY_DESTROYED, why=why)

    def files(self) -> Files:
        """The files as they are; those that a generation opens which stays, opened."""
        gone = set(self._standing.generations) if self._standing else set()
        return self._files.opening(self._key.service, gone)

    def placing(self, geometry: Geometry) -> _Placing:
        """Files that only destroyed generations open, or all encrypted ones before that, are one copy."""
        gone = frozenset(self._standing.generations) if self._standing else None
        return _Placing(geometry=geometry, files=self._files, gone=gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placing:
    geometry: Geometry
    files: Encryption
    gone: frozenset[str] | None

    @property
    def by_path(self) -> Mapping[str, Storage]:
        return {}

    def place(self, path: str) -> Place:
        envelope = self.files.look(path).envelope
        if envelope and not envelope.strange and (self.gone is None or envelope.generations <= self.gone):
            return Place(copy=ENCRYPTED, kind=CopyKind.ENCRYPTED_FILES, shape=Shape.PLAIN)
        shape = Shape.WAL if envelope and SEGMENT.match(path.rpartition("/")[2]) else Shape.PLAIN
        return Place(copy=OTHERS, kind=CopyKind.OTHER_FILES, shape=shape)


def _never(generations: tuple[str, ...], phase: KeyPhase) -> None:
    raise RuntimeError(f"a dry run announced {phase} of {len(generations)} generations")
