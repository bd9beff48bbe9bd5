"""What restic says of a repository, read strictly, and which of its snapshots are old and may go. Pure.

`snapshots --json` names each with the time at which it began, by the clock of its machine. A clock may be wrong, so
what stood when the server's treatment had ended is old by its name; the time decides only of what came later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter

from domicile.stores.around import Boundary

ID: Final = re.compile(r"[0-9a-f]{64}")
SHORT: Final = 8
_NOTHING_TO_PRUNE: Final = (
    re.compile(rb"^to repack: +0 blobs / 0 B$", re.MULTILINE),
    re.compile(rb"^total prune: +0 blobs / 0 B$", re.MULTILINE),
)


class _Said(BaseModel):
    """A part of an answer; keys that later versions add are none of our business."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Snapshot(_Said):
    model_config = ConfigDict(extra="allow", frozen=True)

    id: str
    time: AwareDatetime
    paths: tuple[str, ...] | None = None
    hostname: str = ""
    original: str | None = None


class _Pack(_Said):
    id: str


class _Index(_Said):
    packs: tuple[_Pack, ...] | None = None


class _Config(_Said):
    id: str


class _Size(_Said):
    total_size: int


_Answer = TypeVar("_Answer")
_SNAPSHOTS: Final = TypeAdapter(tuple[_Snapshot, ...] | None)
_INDEX: Final = TypeAdapter(_Index)
_CONFIG: Final = TypeAdapter(_Config)
_SIZE: Final = TypeAdapter(_Size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot: when it began, on which machine, of which paths; `original` is what it was before it got a tag.

    `said` is all that restic says of it, to be searched.
    """

    id: str
    began_at: datetime
    host: str
    paths: tuple[str, ...]
    original: str | None = None
    said: bytes = field(default=b"", repr=False)

    @property
    def short(self) -> str:
        """Its name as restic shows it."""
        return self.id[:SHORT]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Whose snapshots are the source's: those of its host names, of these paths; no paths: of any."""

    hosts: tuple[str, ...]
    paths: tuple[str, ...] = ()

    def owns(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot is of the machine, and can hold something of one of its paths."""
        return snapshot.host in self.hosts and bool(not self.paths or self.touched(snapshot))

    def touched(self, snapshot: Snapshot) -> tuple[str, ...]:
        """The paths of the rule that lie in a snapshot, or around one of its own."""
        return tuple(
            path for path in self.paths if any(_in(path, own) or _in(own, path) for own in snapshot.paths)
        )  # fmt: skip


def parse_snapshots(answer: bytes) -> tuple[Snapshot, ...]:
    """Read the answer of `snapshots --json`, the oldest first; ValueError when it is none. Names may be any bytes."""
    said = _read(_SNAPSHOTS, answer, "snapshots") or ()
    if not all(ID.fullmatch(one.id) for one in said):
        raise ValueError("no answer of restic's snapshots")
    found = (
        Snapshot(
            id=one.id, began_at=one.time.astimezone(UTC), host=one.hostname, paths=one.paths or (),
            original=one.original, said=_as_said(one),
        )
        for one in said
    )  # fmt: skip
    return tuple(sorted(found, key=lambda one: (one.began_at, one.id)))


def parse_index(answer: bytes) -> frozenset[str]:
    """The packs that an index file names."""
    return frozenset(pack.id for pack in _read(_INDEX, answer, "cat index").packs or ())


def parse_number(answer: bytes) -> str:
    """The repository's own number, from `cat config`."""
    return _read(_CONFIG, answer, "cat config").id


def parse_size(answer: bytes) -> int:
    """How many bytes a restore takes, from `stats --json`."""
    return _read(_SIZE, answer, "stats").total_size


def nothing_to_prune(answer: bytes) -> bool:
    """Whether `prune --dry-run` says that every byte in every indexed pack is still in use."""
    return all(line.search(answer) for line in _NOTHING_TO_PRUNE)


def is_old(snapshot: Snapshot, boundary: Boundary, noted: Sequence[str]) -> bool:
    """Whether it stood when the server's treatment had ended, began before, or is one of those with another tag."""
    stood = snapshot.id in noted or (snapshot.original is not None and snapshot.original in noted)
    return stood or snapshot.began_at < boundary.ended_at


def covering(old: Snapshot, young: Iterable[Snapshot]) -> Snapshot | None:
    """The last younger snapshot of the same machine that holds each path of an old one; None: it is the only backup."""
    return max(
        (
            one
            for one in young
            if one.host == old.host and all(any(_in(path, whole) for whole in one.paths) for path in old.paths)
        ),
        key=lambda one: (one.began_at, one.id), default=None,
    )  # fmt: skip


def _as_said(one: _Snapshot) -> bytes:
    words = json.dumps(one.model_dump(mode="json"), ensure_ascii=False)
    return words.encode(errors="surrogateescape")


def _in(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _read(kind: TypeAdapter[_Answer], answer: bytes, command: str) -> _Answer:
    try:
        return kind.validate_python(json.loads(answer.decode(errors="surrogateescape")))
    except (ValueError, RecursionError):
        raise ValueError(f"no answer of restic's {command}") from None
