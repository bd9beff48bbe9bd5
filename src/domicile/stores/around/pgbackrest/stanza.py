"""What pgBackRest says of a stanza, read strictly, and which of its backups are old. Pure.

`info --output=json` names each backup with the WAL segment in which it began; a backup that began before the boundary
is old, whatever the clocks said, and so is one that needs the files of an old one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

LABEL: Final = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?")
ARCHIVED: Final = re.compile(r"(?P<segment>[0-9A-F]{24})(?P<partial>\.partial)?(-[0-9a-f]{40})?(\.(gz|bz2|lz4|zst))?")
_OWN_LINK: Final = re.compile(rf"{LABEL.pattern}|(\.\./)+pg_tblspc/\d+")
_POSITION: Final = re.compile(r"(?P<high>[0-9A-Fa-f]{1,8})/(?P<low>[0-9A-Fa-f]{1,8})")
OK: Final = 0
NO_PATH: Final = 1
NO_BACKUPS: Final = 2
NO_DATA: Final = 3
"""Codes of a stanza's status; all others: it can't be read, or not by this configuration."""


class _Said(BaseModel):
    """A part of the answer; keys that later versions add are none of our business."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Archive(_Said):
    start: str | None
    stop: str | None


class _Places(_Said):
    start: str
    stop: str


class _Times(_Said):
    start: int
    stop: int


class _Sizes(_Said):
    size: int


class _Of(_Said):
    id: int


class _Backup(_Said):
    label: str
    type: str
    database: _Of
    archive: _Archive
    lsn: _Places | None = None
    timestamp: _Times
    info: _Sizes
    reference: tuple[str, ...] | None = None
    error: bool | None = None


class _Database(_Said):
    id: int
    system: int = Field(alias="system-id")


class _Status(_Said):
    code: int


class _Repository(_Said):
    key: int
    status: _Status


class _Held(_Said):
    held: bool


class _Locks(_Said):
    backup: _Held


class _StanzaStatus(_Status):
    lock: _Locks | None = None


class _Stanza(_Said):
    name: str
    backup: tuple[_Backup, ...]
    db: tuple[_Database, ...]
    repo: tuple[_Repository, ...]
    status: _StanzaStatus


_ANSWER: Final = TypeAdapter(tuple[_Stanza, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One backup: `first` is the WAL segment in which it began, `needs` the labels whose files it refers to.

    `cluster` is the stanza's own small number of the cluster that it is of; `whole_at` the place in the WAL (bytes from
    its beginning) from which on it is consistent, None where the repository doesn't say.
    """

    label: str
    kind: str
    cluster: int
    first: str | None
    began_at: datetime
    ended_at: datetime
    bytes: int
    needs: tuple[str, ...]
    damaged: bool
    whole_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stanza:
    """A stanza as one repository holds it; `systems` are the clusters that it was made for, in order, the last its own.

    Their keys are the stanza's own small numbers, their values the numbers that PostgreSQL gave the clusters.
    """

    name: str
    code: int
    repositories: tuple[int, ...]
    is_locked: bool
    systems: Mapping[int, int]
    backups: tuple[Backup, ...]

    def is_now_of(self, system: int) -> bool:
        """Whether it is filled by that cluster now."""
        return bool(self.systems) and self.systems[max(self.systems)] == system


def parse(answer: bytes) -> tuple[Stanza, ...]:
    """Read the answer of `info --output=json`; ValueError when it is none. Texts of messages in it are left out (P8).

    Messages quote what they couldn't read, in any bytes, also such as JSON doesn't allow.
    """
    try:
        said = _ANSWER.validate_python(json.loads(answer.decode(errors="replace"), strict=False))
    except (ValueError, RecursionError):
        raise ValueError("no answer of pgBackRest's info") from None
    return tuple(_stanza(one) for one in said)


def _stanza(said: _Stanza) -> Stanza:
    codes = [repository.status.code for repository in said.repo]
    return Stanza(
        name=said.name,
        code=codes[0] if len(codes) == 1 else said.status.code,
        repositories=tuple(repository.key for repository in said.repo),
        is_locked=bool(said.status.lock and said.status.lock.backup.held),
        systems={database.id: database.system for database in said.db},
        backups=tuple(_backup(one) for one in said.backup if LABEL.fullmatch(one.label)),
    )


def _backup(said: _Backup) -> Backup:
    return Backup(
        label=said.label, kind=said.type, cluster=said.database.id, first=said.archive.start,
        began_at=datetime.fromtimestamp(said.timestamp.start, UTC),
        ended_at=datetime.fromtimestamp(said.timestamp.stop, UTC),
        bytes=said.info.size, needs=said.reference or (), damaged=bool(said.error),
        whole_at=None if said.lsn is None else position(said.lsn.stop),
    )  # fmt: skip


def position(text: str) -> int | None:
    """A place in the WAL as bytes from its beginning, of PostgreSQL's `0/16B3748`; None when it is none."""
    found = _POSITION.fullmatch(text)
    return None if found is None else int(found["high"], 16) << 32 | int(found["low"], 16)


def newest_before(backups: Sequence[Backup], place: int) -> Backup | None:
    """The newest undamaged backup that is consistent at that place of the WAL; None: there is none."""
    found = [one for one in backups if not one.damaged and one.whole_at is not None and one.whole_at <= place]
    return max(found, key=lambda one: (one.whole_at or 0, one.label), default=None)


def is_before(segment: str, boundary: str) -> bool:
    """Whether a segment was begun before the boundary's: an earlier timeline, or an earlier place in it."""
    return segment[:8] < boundary[:8] or (segment[:8] == boundary[:8] and segment[8:24] < boundary[8:24])


def is_later_timeline(segment: str, boundary: str) -> bool:
    """Whether a segment is of a timeline that the source never was on."""
    return segment[:8] > boundary[:8]


def old_backups(backups: Sequence[Backup], boundary: str) -> tuple[Backup, ...]:
    """Those that began before the boundary, don't say when, or stand on one that did."""
    old = {one.label for one in backups if one.first is None or is_before(one.first, boundary)}
    return tuple(one for one in backups if one.label in old or old & {*one.needs, one.label.partition("_")[0]})


def baselines(backups: Sequence[Backup], boundary: str) -> tuple[Backup, ...]:
    """Full backups from after the boundary, undamaged, of the source's own timeline."""
    return tuple(
        one
        for one in backups
        if one.kind == "full" and one.first and not one.damaged
        and one.first[:8] == boundary[:8] and not is_before(one.first, boundary)
    )  # fmt: skip


class _Listed(_Said):
    type: str
    size: int = 0
    destination: Any = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One file of the repository, by its path there; `strange` says why its bytes can't be had, empty: they can."""

    path: str
    bytes: int
    strange: str = ""


def parse_listing(answer: bytes, *, folder: str) -> tuple[Stored, ...]:
    """Read the answer of `repo-ls --output=json --recurse FOLDER`; ValueError when it is none.

    Names of files are bytes of any kind, and stand there as they are.
    """
    try:
        tree = json.loads(answer.decode(errors="surrogateescape"), strict=False)
        said = {str(name): _Listed.model_validate(entry) for name, entry in tree.items()}
    except (AttributeError, ValueError, RecursionError):
        raise ValueError("no answer of pgBackRest's repo-ls") from None
    return tuple(
        Stored(path=f"{folder}/{name}" if folder else name, bytes=entry.size, strange=_strange(entry))
        for name, entry in sorted(said.items())
        if entry.type != "path" and not _is_own_link(entry)
    )


def _is_own_link(entry: _Listed) -> bool:
    """Whether it is a link as the tool makes them: `latest`, and those of tablespaces within a backup."""
    return entry.type == "link" and _OWN_LINK.fullmatch(str(entry.destination)) is not None


def _strange(entry: _Listed) -> str:
    if entry.type == "file":
        return ""
    return "a symbolic link to elsewhere" if entry.type == "link" else "no plain file"
