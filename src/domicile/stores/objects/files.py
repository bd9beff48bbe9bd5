"""A folder as an object store: exports, uploads that a service keeps on disk. The key is the path below the folder.

Nothing is followed: every name is opened below a handle of its folder and refused where it is a link, so that no
link, planted at whatever moment, leads a removal out of the root. What is no plain file is counted as a gap.

A file is written under its own name in a folder `PARTS_FOLDER` beside it, synced, and renamed over its place. What a
killed `put` leaves there is an upload; the next `put` of the key compares it with the blocks and goes on behind it.
There are no versions, and no traits: `put` refuses an object that has any, because nobody would read them again.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from domicile.errors import NotEqual, StoreFault, WorldChanged
from domicile.stores.objects import (
    BLOCK_BYTES,
    KEY_BYTES_MAX,
    NULL_VERSION,
    Gap,
    GapKind,
    Head,
    ObjectVersion,
    Observed,
    Removal,
    Rule,
    RuleKind,
    Traits,
    Upload,
    Versioning,
    Written,
)
from domicile.stores.objects.folders import PARTS_FOLDER, Folder, faults

FOLDERS_DEEP_MAX: Final = 100
"""Each level holds one open handle."""
FILE_MODE: Final = 0o600
"""What comes home is for the engine's own user; a service that shall read it is given the right by its operator."""

REMEDIES: Final = {
    GapKind.SYMLINK: "find them with `find ROOT -type l`; move what they point at as a store of its own",
    GapKind.SPECIAL_FILE: "find them with `find ROOT ! -type f ! -type d ! -type l`; they hold no bytes of their own",
    GapKind.HARD_LINK: "find them with `find ROOT -type f -links +1`; their other names keep the bytes",
    GapKind.NAME: "rename files and folders whose names are no UTF-8, or longer than a key may be",
    GapKind.DEPTH: f"move folders that lie deeper than {FOLDERS_DEEP_MAX} as stores of their own",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A plain file below the root, or (`gap`) something that is none."""

    key: str
    info: os.stat_result | None = None
    gap: GapKind | None = None
    upload: bool = False


class FileObjects:
    """The protocol over one folder."""

    def __init__(self, root: Path, *, name: str) -> None:
        self._root = root
        self._name = name
        self._synced: set[int] = set()

    def __repr__(self) -> str:
        return f"FileObjects(name={self._name!r})"

    @property
    def name(self) -> str:
        """The store's name."""
        return self._name

    def versioning(self) -> Versioning:
        """A folder keeps no versions."""
        with self._open_root():
            return Versioning.NONE

    def rules(self) -> tuple[Rule, ...]:
        """A folder has no rules; what snapshots or mirrors it from outside can't be seen from here."""
        with self._open_root():
            seen = {RuleKind.LOCK: Observed.ABSENT, RuleKind.LIFECYCLE: Observed.ABSENT}
            why = "file systems, snapshots and mirrors tell nothing of this"
            return tuple(
                Rule(kind=kind, observed=seen.get(kind, Observed.UNSEEN), why="" if kind in seen else why)
                for kind in RuleKind
            )

    def versions(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """List the plain files."""
        for found in self._walk(prefix):
            if found.info is not None and not found.upload and found.key.startswith(prefix):
                yield _listed(found.key, found.info)

    def history(self, key: str) -> tuple[ObjectVersion, ...]:
        """The file of that key, if there is one."""
        info = self._look(key)
        return () if info is None else (_listed(key, info),)

    def uploads(self) -> Iterator[Upload]:
        """List what killed writers of ours left; `started_at` is when it was last written to."""
        for found in self._walk(""):
            if found.info is not None and found.upload:
                yield Upload(
                    key=found.key,
                    id=PARTS_FOLDER,
                    started_at=_modified(found.info),
                    parts=(found.info.st_size,),
                )

    def gaps(self) -> tuple[Gap, ...]:
        """Count links, special files, files with several names, and names that can't be keys."""
        counted: Counter[GapKind] = Counter()
        for found in self._walk(""):
            if found.gap is not None:
                counted[found.gap] += 1
            elif found.info is not None and found.info.st_nlink > 1:
                counted[GapKind.HARD_LINK] += 1
        return tuple(Gap(kind=kind, count=counted[kind], remedy=REMEDIES[kind]) for kind in GapKind if counted[kind])

    def head(self, key: str, version_id: str) -> Head | None:
        """Size and state of the file."""
        info = self._look(key) if version_id == NULL_VERSION else None
        if info is None:
            return None
        return Head(
            traits=Traits(), size=info.st_size, etag=_state(info), checksum=None, locked_until=None, legal_hold=False
        )

    def read(self, key: str, version_id: str, *, offset: int = 0) -> Iterator[bytes]:
        """Stream the file."""
        parts = _parts_of(key)
        if parts is None or version_id != NULL_VERSION:
            raise self._gone()
        with self._open_root() as root, root.below(parts[:-1]) as folder:
            handle = None if folder is None else folder.open_file(parts[-1])
            if handle is None:
                raise self._gone()
            with os.fdopen(handle, "rb", buffering=0) as file:
                before = _state(os.fstat(handle))
                file.seek(offset)
                while block := file.read(BLOCK_BYTES):
                    yield block
                if _state(os.fstat(handle)) != before:
                    raise WorldChanged(f"store {self._name}: a file changed while it was read; plan again")

    def put(self, key: str, blocks: Iterable[bytes], traits: Traits, *, size: int) -> Written:
        """Write the file beside its place, sync it, and rename it over its place."""
        parts = _parts_of(key)
        if parts is None:
            raise StoreFault(
                f"store {self._name}: a key can't be the path of a file (empty or dotted parts, a slash at its end, or "
                "too long); move such objects to a store that keeps any key"
            )
        if traits != Traits():
            raise StoreFault(
                f"store {self._name}: a folder keeps no content types, metadata or tags, and an object has some; move "
                "it to a store that does"
            )
        with self._open_root() as root, root.made(parts[:-1], self._synced) as folder:
            with folder.made((PARTS_FOLDER,), self._synced) as beside:
                sent = self._write(beside, parts[-1], blocks, size)
                beside.rename(parts[-1], folder)
            folder.drop_if_empty(PARTS_FOLDER)
        return Written(version_id=NULL_VERSION, bytes=size, bytes_sent=sent)

    def put_marker(self, key: str) -> str:
        """There are no delete markers without versions."""
        del key
        raise StoreFault(f"store {self._name}: a folder keeps no versions and no delete markers")

    def remove(self, key: str, version_id: str) -> Removal:
        """Remove the file, and folders that are empty by that: their names can tell of people, too."""
        parts = _parts_of(key)
        if parts is None or version_id != NULL_VERSION:
            return Removal.WAS_GONE
        return self._remove(parts)

    def abort(self, upload: Upload) -> Removal:
        """Remove what a killed writer of ours left."""
        parts = _parts_of(upload.key)
        if parts is None or upload.id != PARTS_FOLDER:
            return Removal.WAS_GONE
        return self._remove((*parts[:-1], PARTS_FOLDER, parts[-1]))

    def _open_root(self) -> Folder:
        return Folder.root(self._root, store=self._name)

    def _gone(self) -> WorldChanged:
        return WorldChanged(f"store {self._name}: a file is not there; plan again")

    def _look(self, key: str) -> os.stat_result | None:
        parts = _parts_of(key)
        with self._open_root() as root:
            if parts is None:
                return None
            with root.below(parts[:-1]) as folder:
                info = None if folder is None else folder.look(parts[-1])
        return info if info is not None and stat.S_ISREG(info.st_mode) else None

    def _write(self, beside: Folder, name: str, blocks: Iterable[bytes], size: int) -> int:
        """Bring the file beside to hold exactly the blocks; return how many bytes were written."""
        with os.fdopen(beside.create_file(name, mode=FILE_MODE), "r+b", buffering=0) as file, faults(self._name):
            sent = total = 0
            for block in blocks:
                total += len(block)
                if total > size:
                    break
                if not sent and _read(file.fileno(), len(block), total - len(block)) == block:
                    continue
                sent += len(block)
                _write(file.fileno(), block, total - len(block))
            if total != size:
                raise NotEqual(f"store {self._name}: other than the announced {size} bytes came; plan again")
            os.ftruncate(file.fileno(), size)
            os.fsync(file.fileno())
        return sent

    def _remove(self, parts: tuple[str, ...]) -> Removal:
        with self._open_root() as root:
            with root.below(parts[:-1]) as folder:
                info = None if folder is None else folder.look(parts[-1])
                if folder is None or info is None or not stat.S_ISREG(info.st_mode):
                    return Removal.WAS_GONE
                folder.remove_file(parts[-1])
                if folder.look(parts[-1]) is not None:
                    raise StoreFault(f"store {self._name}: a file is there again after it was removed; stop its writer")
            for depth in range(len(parts) - 1, 0, -1):
                with root.below(parts[: depth - 1]) as above:
                    if above is None or not above.drop_if_empty(parts[depth - 1]):
                        break
        return Removal.REMOVED

    def _walk(self, prefix: str) -> Iterator[_Found]:
        with self._open_root() as root:
            yield from _below(root, "", prefix, depth=0)


def _below(folder: Folder, path: str, prefix: str, *, depth: int) -> Iterator[_Found]:
    """Everything in a folder and below that can begin with `prefix`, in the order in which the disk gives it."""
    for entry in folder.entries():
        key = f"{path}{entry.name}"
        if not _is_utf8(key) or len(key.encode()) > KEY_BYTES_MAX:
            yield _Found(key="", gap=GapKind.NAME)
        elif entry.is_dir(follow_symlinks=False):
            within = f"{key}/"
            if not (within.startswith(prefix) or prefix.startswith(within)):
                continue
            if depth >= FOLDERS_DEEP_MAX:
                yield _Found(key="", gap=GapKind.DEPTH)
                continue
            with folder.below((entry.name,)) as inner:
                if inner is not None and entry.name == PARTS_FOLDER:
                    yield from _left_over(inner, path)
                elif inner is not None:
                    yield from _below(inner, within, prefix, depth=depth + 1)
        else:
            yield _file(folder, entry.name, key)


def _left_over(beside: Folder, path: str) -> Iterator[_Found]:
    for entry in beside.entries():
        key = f"{path}{entry.name}"
        found = _file(beside, entry.name, key) if _is_utf8(key) else _Found(key="", gap=GapKind.NAME)
        yield _Found(key=found.key, info=found.info, gap=found.gap, upload=True)


def _file(folder: Folder, name: str, key: str) -> _Found:
    info = folder.look(name)
    if info is None or stat.S_ISREG(info.st_mode):
        return _Found(key=key, info=info)
    return _Found(key=key, gap=GapKind.SYMLINK if stat.S_ISLNK(info.st_mode) else GapKind.SPECIAL_FILE)


def _parts_of(key: str) -> tuple[str, ...] | None:
    """The folders and the name that a key spells, None where no file can have that path."""
    parts = tuple(key.split("/"))
    if "\0" in key or not _is_utf8(key) or len(key.encode()) > KEY_BYTES_MAX or len(parts) > FOLDERS_DEEP_MAX + 1:
        return None
    return None if any(part in {"", ".", "..", PARTS_FOLDER} for part in parts) else parts


def _is_utf8(text: str) -> bool:
    """Whether a name can be written as UTF-8; one that the system couldn't read as such holds surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _listed(key: str, info: os.stat_result) -> ObjectVersion:
    return ObjectVersion(
        key=key,
        version_id=NULL_VERSION,
        is_latest=True,
        is_delete_marker=False,
        size=info.st_size,
        modified_at=_modified(info),
        etag=_state(info),
    )


def _modified(info: os.stat_result) -> datetime:
    return datetime.fromtimestamp(info.st_mtime, UTC)


def _state(info: os.stat_result) -> str:
    """What changes when a file is replaced or written to."""
    return f"{info.st_dev:x}-{info.st_ino:x}-{info.st_size:x}-{info.st_mtime_ns:x}"


def _read(handle: int, size: int, offset: int) -> bytes:
    return os.pread(handle, size, offset)


def _write(handle: int, block: bytes, offset: int) -> None:
    view = memoryview(block)
    while view:
        count = os.pwrite(handle, view, offset)
        view, offset = view[count:], offset + count
