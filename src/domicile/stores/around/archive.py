"""A folder of archived WAL: segments by their names, packed or not, history and label files (`xlogarchive.c`).

A segment before the boundary can hold what was erased, so all of them go; of another timeline than the boundary's, an
earlier one is older as a whole, and a later one nobody can place: it stays and is held.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domicile.stores.around import BEGIN_SEGMENT, Announce, Boundary, Custody
from domicile.stores.around.folder import Folder, Thing
from domicile.stores.around.packed import BROKEN, read_unpacked
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment, copy_id
from domicile.stores.postgres.files import Files, LocalFiles, Place, ServerFile, Shape, Storage, Unread
from domicile.stores.postgres.pages import Geometry

SEGMENT: Final = re.compile(r"(?P<segment>[0-9A-F]{24})(\.partial)?(?P<packed>\.(gz|bz2|xz|lz4|zst))?")
SEGMENT_BYTES_MAX: Final = 1024 * 1024 * 1024
_SYSTEM_AT: Final = 24
_HEAD_BYTES: Final = 32
SEGMENTS: Final = copy_id(CopyKind.ARCHIVED_WAL)
OTHERS: Final = copy_id(CopyKind.OTHER_FILES)


class Archive:
    """The archive that a server's `archive_command` fills.

    `system` is the number of the server's cluster, which each segment bears in its head.
    """

    def __init__(self, name: str, path: Path, *, system: int, custody: Custody) -> None:
        self._folder = Folder(store=name, path=path)
        self._system = system
        self._custody = custody

    @property
    def name(self) -> str:
        """The store's name."""
        return self._folder.store

    def inventory(self) -> tuple[Copy, ...]:
        """List two copies: all segments, and all else."""
        segments, others = self._sorted()
        size = sum(thing.bytes for thing in segments)
        return (
            Copy(
                id=SEGMENTS, kind=CopyKind.ARCHIVED_WAL, relation=None, observable=True,
                method=self._custody.method("segments from before the end of the server's treatment"),
                why=f"{len(segments)} segments, {size} bytes",
            ),
            Copy(
                id=OTHERS, kind=CopyKind.OTHER_FILES, relation=None, observable=True,
                method="none: searched; files that are no WAL", why=f"{len(others)} other things",
            ),
        )  # fmt: skip

    def old(self, boundary: Boundary) -> tuple[str, ...]:
        """Name the segments before the boundary; none while they have to be kept."""
        return () if self._custody.blocked_until else self._before(boundary)

    def _before(self, boundary: Boundary) -> tuple[str, ...]:
        return tuple(thing.name for thing in self._sorted()[0] if _is_old(thing.name, boundary.segment))

    def treat(self, boundary: Boundary, *, announce: Announce) -> tuple[Outcome, ...]:
        """Remove the segments before the boundary, if that is ours to do."""
        old = self._before(boundary)
        looked = Outcome(copy=OTHERS, treatment=Treatment.OBSERVED, why="looked through")
        remove, blocked = self._custody.by_engine, self._custody.blocked_until
        if old and blocked:
            why = f"{len(old)} segments before {boundary.segment}, to be kept until {blocked}"
            return Outcome(copy=SEGMENTS, treatment=Treatment.BLOCKED, why=why, until=blocked), looked
        if not self._is_fed(boundary):
            return self._strange(boundary), looked
        foreign = [name for name in old if not self._is_own(name)]
        if foreign:
            return self._of_another(foreign), looked
        kept: dict[str, str] = {}
        if old and remove:
            announce(SEGMENTS, old)
            kept = {name: reason for name in old if (reason := self._folder.remove(name)) is not None}
            self._folder.sync()
            if not kept:
                announce(SEGMENTS, ())
        later = [thing.name for thing in self._sorted()[0] if thing.name[:8] > boundary.segment[:8]]
        return self._outcome(old, kept, later, boundary, remove=remove), looked

    def _is_fed(self, boundary: Boundary) -> bool:
        """Whether what the server says that it archived last is here.

        So no other server's archive is cleaned, and none that isn't mounted is taken for an empty one.
        """
        if boundary.archived is None:
            return True
        segments, others = self._sorted()
        among = segments if SEGMENT.fullmatch(boundary.archived) else (*segments, *others)
        return any(thing.name.startswith(boundary.archived[:24]) for thing in among)

    def _is_own(self, name: str) -> bool:
        """Whether a segment bears the cluster's number (`XLogLongPageHeaderData`: magic, info, …, xlp_sysid)."""
        try:
            head = read_unpacked(self._folder.path / name, _HEAD_BYTES)
        except BROKEN:
            return False
        return len(head) == _HEAD_BYTES and int.from_bytes(head[_SYSTEM_AT:], "little") == self._system

    def _of_another(self, names: list[str]) -> Outcome:
        return Outcome(
            copy=SEGMENTS, treatment=Treatment.HELD,
            why=f"{len(names)} old segments, first {names[0]}, don't bear the source's number: not its own, or broken",
            remedy="look whose they are, and remove or move them; then `domicile apply` again",
        )  # fmt: skip

    def _strange(self, boundary: Boundary) -> Outcome:
        """Where what it archived last was old, and was removed, only newer WAL shows that this is its archive."""
        gone = _is_old(boundary.archived or "", boundary.segment)
        removed = f"; or, where that one was removed, {BEGIN_SEGMENT}" if gone else ""
        return Outcome(
            copy=SEGMENTS, treatment=Treatment.HELD,
            why=f"the server archived {boundary.archived} last, and it isn't here: not its archive, not mounted,"
            " or it lags behind",
            remedy=f"mount or name the folder that archive_command fills{removed}, then `domicile apply` again",
        )  # fmt: skip

    def _outcome(
        self, old: tuple[str, ...], kept: Mapping[str, str], later: list[str], boundary: Boundary, *, remove: bool
    ) -> Outcome:
        clean = f"pg_archivecleanup {self._folder.path} {boundary.segment}, then `domicile apply` again"
        if old and not remove:
            return Outcome(
                copy=SEGMENTS, treatment=Treatment.HELD,
                why=f"{len(old)} segments before {boundary.segment} are still there", remedy=clean,
            )  # fmt: skip
        if kept:
            why = next(iter(kept.values()))
            return Outcome(
                copy=SEGMENTS, treatment=Treatment.HELD, why=f"{len(kept)} segments could not be removed: {why}",
                remedy=clean,
            )  # fmt: skip
        if boundary.awaited:
            return Outcome(
                copy=SEGMENTS, treatment=Treatment.HELD, why=boundary.waits_for,
                remedy=f"{BEGIN_SEGMENT}, then `domicile apply` again",
            )  # fmt: skip
        if later:
            return Outcome(
                copy=SEGMENTS, treatment=Treatment.HELD,
                why=f"{len(later)} segments are of a later timeline than the source's, first {later[0]}",
                remedy="find out which server wrote them; they are of no use to the source",
            )  # fmt: skip
        none = f"no segment before {boundary.segment} is left"
        if not old:
            return Outcome(copy=SEGMENTS, treatment=Treatment.GONE, why=none)
        return Outcome(copy=SEGMENTS, treatment=Treatment.DONE, why=f"{none}, {len(old)} were removed")

    def _sorted(self) -> tuple[list[Thing], list[Thing]]:
        segments: list[Thing] = []
        others: list[Thing] = []
        for thing in self._folder.things():
            is_segment = not thing.is_folder and SEGMENT.fullmatch(thing.name)
            (segments if is_segment else others).append(thing)
        return segments, others

    def files(self) -> Files:
        """The files, packed segments unpacked."""
        return _Unpacking(self._folder.path)

    def placing(self, geometry: Geometry) -> _Placing:
        """Segments are WAL, all else is plain."""
        return _Placing(geometry=geometry)


def _is_old(name: str, segment: str) -> bool:
    """Whether the segment was begun before the boundary's: an earlier timeline, or an earlier place in it."""
    return name[:8] < segment[:8] or (name[:8] == segment[:8] and name[8:24] < segment[8:24])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placing:
    geometry: Geometry

    @property
    def by_path(self) -> Mapping[str, Storage]:
        return {}

    def place(self, path: str) -> Place:
        if SEGMENT.fullmatch(path):
            return Place(copy=SEGMENTS, kind=CopyKind.ARCHIVED_WAL, shape=Shape.WAL)
        return Place(copy=OTHERS, kind=CopyKind.OTHER_FILES, shape=Shape.PLAIN)


class _Unpacking:
    """Local files, of which packed segments are read unpacked; one that can't be unpacked is unread.

    The sweep opens packed files itself, but each for itself: a value may begin in one segment and end in the next.
    """

    how = "local files, packed segments unpacked"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._plain = LocalFiles(root)
        self._unpacked: dict[str, bytes] = {}

    def walk(self) -> Iterator[ServerFile | Unread]:
        for entry in self._plain.walk():
            if isinstance(entry, Unread) or not _is_packed(entry.path):
                yield entry
                continue
            data = self._unpack(entry.path)
            if data is None:
                yield Unread(path=entry.path, why="a packed segment that can't be unpacked")
            else:
                yield ServerFile(path=entry.path, size=len(data))

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        if not _is_packed(path):
            return self._plain.read(path, offset, length)
        data = self._unpack(path)
        return None if data is None else data[offset : offset + length]

    def _unpack(self, path: str) -> bytes | None:
        """Unpack a segment and keep it, with the one before: the end of one is read with the start of the next."""
        if path in self._unpacked:
            return self._unpacked[path]
        try:
            data = read_unpacked(self._root / path, SEGMENT_BYTES_MAX + 1)
        except BROKEN:
            return None
        if len(data) > SEGMENT_BYTES_MAX:
            return None
        self._unpacked = {**dict(list(self._unpacked.items())[-1:]), path: data}
        return data


def _is_packed(path: str) -> bool:
    match = SEGMENT.fullmatch(path)
    return bool(match and match["packed"])
