"""What the directory says of a person, and how it is spelt in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domicile.model import DatasetId, Home, State
from domicile.stores.postgres.places import Place

__all__ = ["Entry", "Served", "State", "entry_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is served: the source by DSN, store name and location, the kind of people, and the locations of homes."""

    dsn: str = field(repr=False)
    store: str
    location: str
    kind: DatasetId
    homes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One person: where they stand in the move, their home if they have one, and who is the authority for them now.

    `home` is a mover's home from the beginning of the move on, whether they live there already or not; `authority` is
    the location whose data counts now.
    """

    subject: str
    state: State
    home: Home | None
    authority: str

    def as_json(self, *, version: int) -> dict[str, Any]:
        """As the service says it."""
        return {
            "subject": self.subject, "state": self.state.value, "home": self.home, "authority": self.authority,
            "version": version,
        }  # fmt: skip


def entry_of(subject: str, found: Mapping[str, Place], *, source: str) -> Entry:
    """What is said of a person: who has no line is no mover, and the source is their authority."""
    place = found.get(subject)
    if place is None:
        return Entry(subject=subject, state=State.OUTSIDE, home=None, authority=source)
    return Entry(subject=subject, state=place.state, home=place.home, authority=place.authority or source)
