"""Folders of copies of a database, of which the database itself knows nothing: its archived WAL, its dumps.

The server names no file that was copied away from it; a folder that the file names is looked through instead. Each
thing in it is a copy, or belongs to the one copy of what nobody knows there. What was made before the erasure holds
what was erased, whatever its name and its date of change say: a thing is `old` unless it is known to be younger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Protocol

from domicile.stores.postgres.copies import Copy, Outcome
from domicile.stores.postgres.files import Files, Place, Storage
from domicile.stores.postgres.pages import Geometry


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """From when on a copy of the source holds nothing of what was erased.

    `erased_at` is when the last row had gone, `segment` the first WAL segment that was begun when the server's own
    horizon had been treated, or will be: older WAL can hold images of pages with dead rows. `awaited` says that the
    server has not begun it yet, so that older WAL is still to be archived. `archived` is what it archived last, by its
    own word. `treated_at` is our clock when the treatment had ended, and `noted` what stood then in each store that a
    date alone doesn't decide: all of that is older, whatever clock dated it.
    """

    erased_at: datetime
    segment: str
    awaited: bool = False
    archived: str | None = None
    treated_at: datetime | None = None
    noted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def waits_for(self) -> str:
        """Why nothing is called clean of old WAL while the segment is awaited, in words."""
        return f"segment {self.segment} isn't begun: what the server writes before it, it archives here later"

    @property
    def ended_at(self) -> datetime:
        """When the server's treatment had ended; where that wasn't noted, when the last row had gone."""
        return self.treated_at or self.erased_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Custody:
    """What the file says of a folder's old things: whether the engine removes them, and a day before which none may."""

    by_engine: bool
    blocked_until: date | None = None

    def method(self, what: str, before: str = "") -> str:
        """Say in a plan what becomes of them; `before` is what the engine does first."""
        until = f"not before {self.blocked_until}, " if self.blocked_until else ""
        if self.by_engine:
            return f"{until}{what} removed{before}; what is left is searched"
        return f"{until}the operator removes {what}, and `apply` waits for it; what is left is searched"


BEGIN_SEGMENT: Final = "let it begin: `GRANT EXECUTE ON FUNCTION pg_switch_wal() TO` the engine's role at the source"
"""What ends the wait for a segment."""

Announce = Callable[[str, Sequence[str]], None]
"""Told of a copy and the things in it that are about to go, and again (without things) when all are gone (P7)."""


class Around(Protocol):
    """One folder. Faults of the file system are NotPermitted, and name the path."""

    @property
    def name(self) -> str:
        """The store's name in `domicile.yaml`."""
        ...

    def inventory(self) -> tuple[Copy, ...]:
        """List the copies: those that are known for what they are, and one for all else, also of what comes later."""
        ...

    def old(self, boundary: Boundary) -> tuple[str, ...]:
        """Name the things that were, or may have been, made before the boundary and are to go."""
        ...

    def treat(self, boundary: Boundary, *, announce: Announce) -> tuple[Outcome, ...]:
        """Remove what is old, if that is ours to do; one outcome a copy, what is left of it said. Safe to repeat."""
        ...

    def files(self) -> Files:
        """The files, to be searched."""
        ...

    def placing(self, geometry: Geometry) -> Placing:
        """Say whose bytes each file holds, of a cluster of that geometry."""
        ...


class Restored(Protocol):
    """Files that had to be restored to be searched: when each thing was, by its name."""

    @property
    def restored_at(self) -> Mapping[str, datetime]:
        """The name of a backup or snapshot → when it was restored."""
        ...


class Placing(Protocol):
    """The map from a path to its copy, as a search wants it."""

    @property
    def geometry(self) -> Geometry:
        """The sizes the cluster was made with."""
        ...

    @property
    def by_path(self) -> Mapping[str, Storage]:
        """Files that have to be there."""
        ...

    def place(self, path: str) -> Place:
        """Say whose bytes a file holds, and how they are laid out."""
        ...
