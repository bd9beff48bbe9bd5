"""What a repository holds, as files to be searched: backups as they come out of a restore, WAL, and all else.

| in the repository | seen as |
|---|---|
| a backup that is listed | its restored data directory, `LABEL/restored/…`; files that no restore uses, as they are |
| a backup that can't be restored | a gap, and each of its files as it is, `LABEL/…` |
| archived WAL | `archive/ID/SEGMENT`, unpacked |
| manifests, histories, information files, and what nobody knows | `backup/…` and `archive/…`, as they are, decrypted |

One backup at a time lies in the scratch folder. Packed files that stay packed are opened by the search itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from domicile.errors import NotPermitted
from domicile.stores.around.packed import BROKEN, read_unpacked
from domicile.stores.around.pgbackrest.stanza import ARCHIVED, LABEL, Backup, Stored
from domicile.stores.around.pgbackrest.tool import Tool
from domicile.stores.around.scratch import Scratch
from domicile.stores.postgres.copies import CopyKind, copy_id
from domicile.stores.postgres.files import LocalFiles, Place, ServerFile, Shape, Storage, Unread
from domicile.stores.postgres.pages import Geometry

SEGMENTS: Final = copy_id(CopyKind.ARCHIVED_WAL)
OTHERS: Final = copy_id(CopyKind.OTHER_FILES)
SEGMENT_BYTES_MAX: Final = 1024 * 1024 * 1024
KEPT: Final = 2
"""Fetched files that are kept at a time: the end of a segment is read with the start of the next."""
_RESTORED: Final = re.compile(r"(?P<label>[^/]+)/restored/(?P<path>.+)")
_PACKED: Final = re.compile(r"\.(gz|bz2|lz4|zst)$")
_PAGES: Final = re.compile(r"(^|/)(base/\d+|global|pg_tblspc/\d+/[^/]+/\d+)/\d+(_(vm|fsm|init))?(\.\d+)?$")
_FORK: Final = re.compile(r"(_(vm|fsm|init))?(\.\d+)?$")
_WAL: Final = re.compile(r"archive/[^/]+/[0-9A-F]{24}[^/]*")
_RESTORED_WAL: Final = re.compile(r"(^|/)[0-9A-F]{24}(\.partial)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The files of one stanza: `backups` by label as they are listed, and all that lies in the repository."""

    stanza: str
    backups: tuple[Backup, ...]
    stored: tuple[Stored, ...]

    def labels(self) -> tuple[str, ...]:
        """The labels of all backups, listed or not, that some file lies under."""
        listed = {backup.label for backup in self.backups}
        return tuple(sorted(listed | {label for one in self.stored if (label := self.label_of(one.path))}))

    def unlisted(self) -> tuple[str, ...]:
        """Those that lie in the repository, and that its list doesn't name."""
        return tuple(label for label in self.labels() if label not in {backup.label for backup in self.backups})

    def label_of(self, path: str) -> str | None:
        """Say to which backup a file of the repository belongs."""
        parts = path.removeprefix(f"backup/{self.stanza}/").split("/", 1)
        inside = path.startswith(f"backup/{self.stanza}/") and len(parts) == 2
        return parts[0] if inside and LABEL.fullmatch(parts[0]) else None

    def segments(self) -> tuple[str, ...]:
        """Archived WAL: names of segments, sorted."""
        return tuple(sorted({match["segment"] for one in self.stored if (match := self._segment(one.path))}))

    def clusters(self) -> frozenset[int]:
        """The clusters that backups and WAL are of, by the stanza's small numbers (`archive/STANZA/15-NUMBER/…`)."""
        archives = (
            one.path.removeprefix(f"archive/{self.stanza}/").split("/", 1)[0] for one in self.stored
            if self._segment(one.path)
        )  # fmt: skip
        numbers = (name.rpartition("-")[2] for name in archives)
        return frozenset(
            {int(number) for number in numbers if number.isdigit()} | {own.cluster for own in self.backups}
        )

    def size(self, label: str | None) -> int:
        """Bytes in the repository of one backup, or of WAL."""
        return sum(
            one.bytes
            for one in self.stored
            if (self.label_of(one.path) == label if label else self._segment(one.path) is not None)
        )

    def _segment(self, path: str) -> re.Match[str] | None:
        if not path.startswith(f"archive/{self.stanza}/"):
            return None
        return ARCHIVED.fullmatch(path.rpartition("/")[2])

    def seen_as(self) -> dict[str, Stored]:
        """The path under which each file is shown to the search → the file."""
        shown: dict[str, Stored] = {}
        for one in self.stored:
            match, label = self._segment(one.path), self.label_of(one.path)
            name = one.path
            if match:
                archive = one.path.removeprefix(f"archive/{self.stanza}/").split("/", 1)[0]
                name = f"archive/{archive}/{match['segment']}{match['partial'] or ''}"
                if name in shown:  # the same segment twice, of two contents
                    name = f"archive/{archive}/{one.path.rpartition('/')[2]}"
            elif label:
                name = one.path.removeprefix(f"backup/{self.stanza}/")
            shown[name] = one
        return shown


@dataclass(slots=True)
class RepositoryFiles:
    """The files of a stanza, as the search wants them; `close` removes what was restored."""

    tool: Tool
    read_contents: Callable[[], Contents]
    scratch: Scratch
    now: Callable[[], datetime]
    store: str
    how: str = "restored and fetched by pgBackRest"
    restored_at: dict[str, datetime] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _shown: Mapping[str, Stored] = field(default_factory=dict)
    _fetched: dict[str, tuple[Path, bytes | None]] = field(default_factory=dict)
    _count: int = 0
    _open: str = ""

    def walk(self) -> Iterator[ServerFile | Unread]:
        """List every file that wasn't listed before, a restored backup's while it lies in the scratch folder."""
        contents = self.read_contents()
        self._shown = contents.seen_as()
        sizes = {backup.label: backup.bytes for backup in contents.backups}
        for label in contents.labels():
            if label not in self._seen:
                self._seen.add(label)
                own = [name for name in self._shown if name.startswith(f"{label}/")]
                yield from self._backup(label, sizes.get(label), own)
        for name in sorted(self._shown):
            if name not in self._seen and not LABEL.fullmatch(name.split("/", 1)[0]):
                self._seen.add(name)
                yield self._stored(name)

    def _backup(self, label: str, size: int | None, own: Sequence[str]) -> Iterator[ServerFile | Unread]:
        used: frozenset[str] = frozenset()
        if size is None:
            yield Unread(path=f"{label}/restored", why="the repository doesn't list this backup: it can't be restored")
        else:
            self.scratch.refuse_small(size, what=f"store {self.store}: {label}")
            folder, self._open = self.scratch.folder(label), label
            try:
                (folder / "data").mkdir(mode=0o700)
                self.scratch.give(folder / "data")
                code = self.tool.restore(label, folder, lock=self.scratch.lock)
                if code:
                    why = (
                        f"this backup can't be restored (pgBackRest's error {code}): damaged, no pass phrase, or no "
                        "way for its user to `scratch`"
                    )
                    yield Unread(path=f"{label}/restored", why=why)
                else:
                    self.restored_at[label] = self.now()
                    used = yield from self._restored(label, folder)
            finally:
                self._open = ""
                self.scratch.remove(label)
        for name in own:
            if not _is_used(name.removeprefix(f"{label}/"), used, bundles=bool(used)):
                yield self._stored(name)

    @staticmethod
    def _restored(label: str, folder: Path) -> Generator[ServerFile | Unread, None, frozenset[str]]:
        used = set()
        for entry in LocalFiles(folder / "data").walk():
            path = f"{label}/restored/{entry.path}"
            used.add(entry.path)
            if isinstance(entry, Unread):
                yield Unread(path=path, why=entry.why)
            else:
                yield ServerFile(path=path, size=entry.size)
        return frozenset(used)

    def _stored(self, name: str) -> ServerFile | Unread:
        stored = self._shown[name]
        if stored.strange:
            return Unread(path=name, why=stored.strange)
        found = self._fetch(name)
        if found is None:
            return Unread(path=name, why="pgBackRest doesn't give this file, or it can't be unpacked")
        path, unpacked = found
        return ServerFile(path=name, size=path.stat().st_size if unpacked is None else len(unpacked))

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        """Read up to `length` bytes; None of what is gone. A backup's files can be read while it is listed."""
        if match := _RESTORED.fullmatch(path):
            if match["label"] != self._open:
                raise NotPermitted(f"{path} can't be read: that backup isn't restored now")
            return LocalFiles(self.scratch.path / match["label"] / "data").read(match["path"], offset, length)
        found = self._fetch(path)
        if found is None:
            return None
        target, unpacked = found
        if unpacked is not None:
            return unpacked[offset : offset + length]
        return LocalFiles(target.parent).read(target.name, offset, length)

    def _fetch(self, name: str) -> tuple[Path, bytes | None] | None:
        """Have a file of the repository in the scratch folder, WAL unpacked in memory; None when it can't be had."""
        if name in self._fetched:
            return self._fetched[name]
        stored = self._shown.get(name)
        if stored is None:
            return None
        while len(self._fetched) >= KEPT:
            self._fetched.pop(next(iter(self._fetched)))[0].unlink(missing_ok=True)
        self.scratch.refuse_small(stored.bytes, what=f"store {self.store}: a file of the repository")
        self._count += 1
        target = self.scratch.path / f"fetched-{self._count}"
        if not self.tool.fetch(stored.path, target):
            target.unlink(missing_ok=True)
            return None
        unpacked: bytes | None = None
        if _WAL.fullmatch(name):
            try:
                unpacked = read_unpacked(target, SEGMENT_BYTES_MAX + 1)
            except BROKEN:
                unpacked = None  # as it is, then: the search opens it, or calls it a gap
            else:
                if len(unpacked) > SEGMENT_BYTES_MAX:
                    unpacked = None
        self._fetched[name] = (target, unpacked)
        return self._fetched[name]

    def close(self) -> None:
        """Remove all that was restored and fetched."""
        self._fetched.clear()
        self.scratch.close()


def _is_used(name: str, restored: frozenset[str], *, bundles: bool) -> bool:
    """Whether the restored files show a backup's file: it has the same name there, or is of a bundle."""
    if bundles and re.fullmatch(r"bundle/\d+", name):
        return True
    plain = _PACKED.sub("", name)
    return plain.startswith(("pg_data/", "pg_tblspc/")) and plain.removeprefix("pg_data/") in restored


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryPlacing:
    """Whose bytes each shown file holds; `copies` are the labels that have a copy of their own.

    `relations` is how the source's own files are laid out now: a file of the same number in a backup of the same
    cluster is laid out alike, and needn't be guessed.
    """

    geometry: Geometry
    copies: frozenset[str]
    relations: Mapping[str, Storage]

    @property
    def by_path(self) -> Mapping[str, Storage]:
        """No file has to be there."""
        return {}

    def place(self, path: str) -> Place:
        """Say which copy a file belongs to."""
        if _WAL.fullmatch(path):
            return Place(copy=SEGMENTS, kind=CopyKind.ARCHIVED_WAL, shape=Shape.WAL)
        label = path.split("/", 1)[0]
        copy = copy_id(CopyKind.BASE_BACKUP, name=label) if label in self.copies else OTHERS
        kind = CopyKind.BASE_BACKUP if label in self.copies else CopyKind.OTHER_FILES
        return Place(copy=copy, kind=kind, shape=self._shape(path))

    def _shape(self, path: str) -> Shape:
        if match := _RESTORED.fullmatch(path):
            known = self.relations.get(_FORK.sub("", match["path"]))
            if known is not None:
                return known.place.shape
            if _RESTORED_WAL.search(match["path"]):
                return Shape.WAL
        return Shape.UNKNOWN_PAGES if _PAGES.search(path) else Shape.PLAIN
