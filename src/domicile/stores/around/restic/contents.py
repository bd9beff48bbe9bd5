"""What a repository holds, as files to be searched: each snapshot as it comes out of a restore, and the raw files.

| in the repository | seen as |
|---|---|
| a snapshot | its restored files, `ID/restored/…`; `…//target` of a link and `…//attributes`, if it has any |
| what is said of it | `ID//said`: host name, user, paths, tags |
| packs that an index names, indexes, snapshots | nothing, as they are noise; a gap where one isn't what its name says |
| packs that no index names, and strange files among them | a gap, as nobody can say what they hold; and as they are |
| keys, `config`, locks, and what nobody knows | as they are |

One snapshot at a time lies in the scratch folder. Links are never followed: they lead to this machine's own files.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from domicile.errors import NotPermitted
from domicile.stores.around.restic.listing import Snapshot
from domicile.stores.around.restic.raw import RawFile, is_what_its_name_says, raw_files
from domicile.stores.around.restic.tool import Tool
from domicile.stores.around.scratch import Scratch
from domicile.stores.postgres.copies import CopyKind, copy_id
from domicile.stores.postgres.files import LocalFiles, Place, ServerFile, Shape, Storage, Unread
from domicile.stores.postgres.pages import Geometry

PACKS: Final = copy_id(CopyKind.PACKS)
OTHERS: Final = copy_id(CopyKind.OTHER_FILES)
DEPTH_MAX: Final = 256
_RESTORED: Final = re.compile(r"(?P<id>[0-9a-f]{64})/restored/(?P<path>.+)", re.DOTALL)
_CONTROL: Final = re.compile(r"(?P<cluster>(?:.*/)?)global/pg_control", re.DOTALL)
_RELATION: Final = re.compile(
    r"(?P<cluster>(?:.*/)?)(?P<file>(?:base/\d+|global|pg_tblspc/\d+/[^/]+/\d+)/\d+)(?:_(?:vm|fsm|init))?(?:\.\d+)?",
    re.DOTALL,
)
_IN_TABLESPACE: Final = re.compile(r"(?:.*/)?PG_\d+_\d+/\d+/\d+(?:_(?:vm|fsm|init))?(?:\.\d+)?", re.DOTALL)
_WAL: Final = re.compile(r"(?:.*/)?[0-9A-F]{24}(?:\.partial)?", re.DOTALL)
_IDENTIFIER_BYTES: Final = 8


@dataclass(slots=True)
class SnapshotFiles:
    """The files of a repository, as the search wants them; `close` removes what was restored.

    `clusters` gets the folders of restored clusters of the number `system`, the source's own, before their files are
    shown.
    """

    tool: Tool
    scratch: Scratch
    now: Callable[[], datetime]
    system: int
    clusters: set[str] = field(default_factory=set)
    how: str = "restored by restic"
    restored_at: dict[str, datetime] = field(default_factory=dict)
    _begun: bool = False
    _open: str = ""
    _seen: set[str] = field(default_factory=set)
    _said: dict[str, bytes] = field(default_factory=dict)

    def walk(self) -> Iterator[ServerFile | Unread]:
        """List every file that wasn't listed before, a restored snapshot's while it lies in the scratch folder."""
        if not self._begun:
            self._begun = True
            if not self.tool.is_whole():
                yield Unread(path="repository/data", why="restic's check finds the repository damaged")
        for snapshot in self.tool.snapshots():
            if snapshot.id not in self._seen:
                self._seen.add(snapshot.id)
                yield from self._snapshot(snapshot)
        yield from self._raw()

    def _snapshot(self, snapshot: Snapshot) -> Iterator[ServerFile | Unread]:
        yield self._shown(f"{snapshot.id}//said", snapshot.said)
        try:
            size = self.tool.size(snapshot.id)
        except NotPermitted:
            yield from self._unrestored(snapshot)
            return
        self.scratch.refuse_small(size, what=f"store {self.tool.store}: snapshot {snapshot.short}")
        folder, self._open = self.scratch.folder(snapshot.id), snapshot.id
        try:
            if self.tool.restore(snapshot.id, folder, lock=self.scratch.lock):
                self.restored_at[snapshot.id] = self.now()
            else:
                yield from self._unrestored(snapshot)
            self._find_clusters(folder, snapshot)
            yield from self._restored(str(folder), f"{snapshot.id}/restored", DEPTH_MAX, set())
        finally:
            self._open = ""
            self.scratch.remove(snapshot.id)
            self._said.clear()

    def _unrestored(self, snapshot: Snapshot) -> Iterator[Unread]:
        """A gap, unless somebody took the snapshot away meanwhile."""
        if any(one.id == snapshot.id for one in self.tool.snapshots()):
            yield Unread(path=f"{snapshot.id}/restored", why="not all of this snapshot can be restored: is it damaged?")

    def _find_clusters(self, folder: Path, snapshot: Snapshot) -> None:
        for top, _, names in os.walk(folder):
            if "pg_control" not in names:
                continue
            path = f"{snapshot.id}/restored/{os.path.relpath(top, folder)}/pg_control"
            match = _CONTROL.fullmatch(path)
            control = (LocalFiles(Path(top)).read("pg_control", 0, _IDENTIFIER_BYTES) or b"") if match else b""
            if match and int.from_bytes(control, "little") == self.system:
                self.clusters.add(match["cluster"])

    def _restored(
        self, folder: str, shown: str, depth: int, linked: set[tuple[int, int]]
    ) -> Iterator[ServerFile | Unread]:
        """Show what lies below a restored folder: files, names without bytes as empty ones, where links lead to."""
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as fault:
            yield Unread(path=shown, why=type(fault).__name__)
            return
        for entry in entries:
            path, status = f"{shown}/{entry.name}", entry.stat(follow_symlinks=False)
            yield from self._attributes(entry.path, path)
            if stat.S_ISLNK(status.st_mode):
                yield self._shown(f"{path}//target", os.fsencode(Path(entry.path).readlink()))
            elif stat.S_ISDIR(status.st_mode):
                yield ServerFile(path=path, size=0)
                if depth:
                    yield from self._restored(entry.path, path, depth - 1, linked)
                else:
                    yield Unread(path=path, why=f"deeper than {DEPTH_MAX} directories")
            elif stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) not in linked:
                if status.st_nlink > 1:  # the same bytes under another name are searched once
                    linked.add((status.st_dev, status.st_ino))
                yield ServerFile(path=path, size=status.st_size)
            else:
                yield ServerFile(path=path, size=0)

    def _attributes(self, file: str, path: str) -> Iterator[ServerFile]:
        """Show what hangs on a file as extended attributes."""
        try:
            names = os.listxattr(file, follow_symlinks=False)
            values = [os.getxattr(file, name, follow_symlinks=False) for name in names]
        except OSError:  # a file system without any: restic says so, and the restore isn't whole
            return
        if names:
            yield self._shown(
                f"{path}//attributes", b"\n".join(map(b"=".join, zip(map(os.fsencode, names), values, strict=True)))
            )

    def _shown(self, path: str, data: bytes) -> ServerFile:
        self._said[path] = data
        return ServerFile(path=path, size=len(data))

    # -- the raw files -------------------------------------------------------------------------------------------

    def _raw(self) -> Iterator[ServerFile | Unread]:
        fresh = [file for file in raw_files(self.tool.repository, store=self.tool.store) if file.path not in self._seen]
        indexed = self.tool.indexed() if any(file.in_data for file in fresh) else frozenset()
        for file in fresh:
            self._seen.add(file.path)
            yield from self._raw_file(file, indexed)

    def _raw_file(self, file: RawFile, indexed: frozenset[str]) -> Iterator[ServerFile | Unread]:
        path = f"repository/{file.path}"
        if file.strange:
            yield Unread(path=path, why=file.strange)
            return
        try:
            right = is_what_its_name_says(self.tool.repository, file)
        except OSError as fault:
            yield Unread(path=path, why=type(fault).__name__)
            return
        if not right:
            yield Unread(path=f"{path}//name", why="isn't what its name says: damaged, or still being written")
        elif file.in_data and file.pack not in indexed:
            yield Unread(path=f"{path}//index", why="no index names it, so nobody can say what it holds")
        elif file.is_noise:
            return
        yield ServerFile(path=path, size=file.bytes)

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        """Read up to `length` bytes; None of what is gone. A snapshot's files can be read while it is listed."""
        if path in self._said:
            return self._said[path][offset : offset + length]
        if match := _RESTORED.fullmatch(path):
            if match["id"] != self._open:
                raise NotPermitted(f"{path} can't be read: that snapshot isn't restored now")
            return LocalFiles(self.scratch.path / match["id"]).read(match["path"], offset, length)
        return LocalFiles(self.tool.repository).read(path.removeprefix("repository/"), offset, length)

    def close(self) -> None:
        """Remove all that was restored."""
        self._said.clear()
        self.scratch.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPlacing:
    """Whose bytes each shown file holds; `copy_of` names the copy of a snapshot.

    `relations` is how the source's own files are laid out now: a file of the same number in a snapshot of the same
    cluster (`clusters`) is laid out alike, and needn't be guessed.
    """

    geometry: Geometry
    copy_of: Callable[[str], str]
    relations: Mapping[str, Storage]
    clusters: set[str]

    @property
    def by_path(self) -> Mapping[str, Storage]:
        """No file has to be there."""
        return {}

    def place(self, path: str) -> Place:
        """Say which copy a file belongs to."""
        if path.startswith("repository/"):
            kind = CopyKind.PACKS if path.startswith("repository/data") else CopyKind.OTHER_FILES
            return Place(copy=copy_id(kind), kind=kind, shape=Shape.PLAIN)
        copy = self.copy_of(path.split("/", 1)[0])
        kind = CopyKind.OTHER_FILES if copy == OTHERS else CopyKind.SNAPSHOT
        return Place(copy=copy, kind=kind, shape=self._shape(path))

    def _shape(self, path: str) -> Shape:
        if match := _RELATION.fullmatch(path):
            known = self.relations.get(match["file"]) if match["cluster"] in self.clusters else None
            return known.place.shape if known is not None else Shape.UNKNOWN_PAGES
        if _IN_TABLESPACE.fullmatch(path):
            return Shape.UNKNOWN_PAGES
        return Shape.WAL if _WAL.fullmatch(path) else Shape.PLAIN
