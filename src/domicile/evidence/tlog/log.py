"""The log itself: a folder of static files that only grows (C2SP tlog-tiles), safe against a kill anywhere.

Order of an append: the new tiles under names the old checkpoint does not need, synced; then the checkpoint,
replaced in one rename, synced: the only moment that counts. Files beyond the checkpoint are leftovers of an
append that was cut off; they are not read, and the next append writes them anew. Opening reads every entry
and every tile below the checkpoint and refuses a folder in which one byte is not as the root says. Opened to be added
to, it is synced first: the process that was killed before may have got no further than the rename.

A log that others cosign (`cosigned`) has two heads. An append ends at the *pending* one, a checkpoint with our
signature alone in `NAME.pending` beside the folder, before any witness is asked; `publish` puts it, with their
cosignatures, in `checkpoint`. Killed between the two it is opened at the pending head again, so that what a witness
may have cosigned is never signed otherwise (tlog-checkpoint, "Signatures").
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final

from domicile.errors import EvidenceFault, HostFault
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.tlog.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from domicile.evidence.tlog.note import NOTE_BYTES_MAX, Note, NoteSignature, format_note, format_signatures, parse_note
from domicile.evidence.tlog.proof import Proof, format_proof
from domicile.evidence.tlog.tile import (
    ENTRY_BYTES_MAX,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    decode_entries,
    encode_entries,
    tiles_of,
)
from domicile.host import read_file, sync_folder

ENTRIES_MAX: Final = 4_194_304
_BUNDLE_BYTES_MAX: Final = TILE_WIDTH * (ENTRY_BYTES_MAX + 2)


class Log:
    """An open log; `create` or `open` make one."""

    def __init__(self, directory: Path, key: Signer | Verifier, *, cosigned: bool = False) -> None:
        self._directory = directory
        self._pending = directory.with_name(f"{directory.name}.pending")
        self._cosigned = cosigned
        self._signer = key if isinstance(key, Signer) else None
        self.verifier = key.verifier if isinstance(key, Signer) else key
        self._tree = Tree()
        self._places: dict[str, int] = {}
        self._tail: list[bytes] = []  # the entries of the last, partial bundle
        self._head = b""
        self._checkpoint = b""
        self._published = 0
        self._synced: set[Path] = set()  # folders below whose own name is on the disk for sure

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether the folder holds a log, if only one that was never published."""
        return (directory / "checkpoint").exists() or directory.with_name(f"{directory.name}.pending").exists()

    @classmethod
    def create(cls, directory: Path, signer: Signer, *, cosigned: bool = False) -> Log:
        """Begin an empty log whose origin is the signer's name; `EvidenceFault` if the folder holds a log."""
        if cls.exists(directory):
            raise EvidenceFault(f"log {directory}: there is one already; open it or choose another folder")
        log = cls(directory, signer, cosigned=cosigned)
        with _faults(directory):
            _make_folder(directory)
            with log._locked():
                log._commit(Tree())
        return log

    @classmethod
    def open(cls, directory: Path, key: Signer | Verifier, *, size_min: int = 0, cosigned: bool = False) -> Log:
        """Open a log and check all of it; a `Verifier` opens it for reading only, as far as it is published.

        `size_min` is what the caller's journal remembers: a shorter log, however well signed, was rolled back
        (the same for `checkpoint` files put back from an old copy).
        """
        log = cls(directory, key, cosigned=cosigned)
        log._load()
        if log._signer is not None:
            with _faults(directory):
                for folder in (directory, directory.parent):
                    sync_folder(folder)
        if log.size < size_min:
            raise EvidenceFault(
                f"log {directory}: has {log.size} entries, the journal knows {size_min}; restore the folder"
            )
        return log

    @property
    def origin(self) -> str:
        """The name of the log."""
        return self.verifier.name

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """The root hash of all entries."""
        return self._tree.root()

    @property
    def checkpoint_bytes(self) -> bytes:
        """The published checkpoint, byte for byte; empty while nothing is published."""
        return self._checkpoint

    @property
    def head_bytes(self) -> bytes:
        """The checkpoint of all entries with our signature alone: what witnesses are asked to cosign."""
        return self._head

    @property
    def published_size(self) -> int:
        """How many entries are under the published checkpoint."""
        return self._published

    @property
    def is_published(self) -> bool:
        """Whether all entries are under the published checkpoint."""
        return bool(self._checkpoint) and self._published == self.size

    def append(self, entries: Sequence[bytes]) -> list[int]:
        """Add entries and sign the new head; on return they are on the disk. All of them or none.

        They are published as well, unless the log is one that others cosign.
        """
        if self._signer is None:
            raise EvidenceFault(f"log {self._directory}: opened for reading only; open it with its key")
        if not entries:
            return []
        if any(len(entry) > ENTRY_BYTES_MAX for entry in entries):
            raise EvidenceFault(f"log: an entry is longer than {ENTRY_BYTES_MAX} bytes; detach its predicate")
        if self.size + len(entries) > ENTRIES_MAX:
            raise EvidenceFault(f"log {self._directory}: more than {ENTRIES_MAX} entries; begin a new log")
        old = self.size
        with _faults(self._directory), self._locked():
            self._require_unchanged()
            try:
                self._grow(entries, old)
            except BaseException:
                self._tree.drop_after(old)
                raise
        self._remember(entries, old)
        return list(range(old, self.size))

    def publish(self, cosignatures: Sequence[NoteSignature] = ()) -> None:
        """Put the present head, with these cosignatures behind our signature, where others read it."""
        data = self._head + (format_signatures(cosignatures) if cosignatures else b"")
        if open_checkpoint(data, self.verifier).size != self.size:
            raise RuntimeError("a head that is not the head of all entries")
        with _faults(self._directory), self._locked():
            self._require_unchanged()
            _place_file(self._directory, "checkpoint", data)
            sync_folder(self._directory)
            since, self._checkpoint, self._published = self._published, data, self.size
            self._clear_partials(tiles_of(self.size, since=since))

    def hand_over(self, entries: Sequence[bytes], signer: Signer) -> list[int]:
        """Add entries and sign the new head, and all later ones, with another key of the same name.

        A log that was opened with the public half of its last key, since nobody has the secret any more, is one to
        add to again.
        """
        if signer.name != self.origin:
            raise EvidenceFault(f"log {self.origin}: the new key is named {signer.name}; a log keeps its name")
        before = (self._signer, self.verifier)
        self._signer, self.verifier = signer, signer.verifier
        try:
            return self.append(entries)
        except BaseException:
            self._signer, self.verifier = before
            raise

    def root_at(self, size: int) -> bytes:
        """The root of the first `size` entries."""
        return self._tree.root(size)

    def entry(self, index: int) -> bytes:
        """One entry, byte for byte."""
        if not 0 <= index < self.size:
            raise EvidenceFault(f"log {self._directory}: has no entry {index}; its size is {self.size}")
        number, place = divmod(index, TILE_WIDTH)
        if number == self.size // TILE_WIDTH:
            return self._tail[place]
        found = self._read_entries(Tile(level=None, index=number, width=TILE_WIDTH))[place]
        if hash_leaf(found) != self._tree.level(0)[index]:
            raise EvidenceFault(f"log {self._directory}: entry {index} was altered; restore the folder from a copy")
        return found

    def entries(self) -> Iterator[bytes]:
        """All entries in order."""
        return (self.entry(index) for index in range(self.size))

    def find(self, sha256: str) -> int | None:
        """The place of the first entry with this SHA-256 (hex), or None."""
        return self._places.get(sha256)

    def inclusion_proof(self, index: int) -> Proof:
        """The proof that an entry is under the published checkpoint."""
        if self._published <= index < self.size:
            raise EvidenceFault(
                f"log {self._directory}: entry {index} is not published yet; `domicile log publish` asks the witnesses"
            )
        return Proof(index=index, path=self._tree.inclusion(index, self._published), checkpoint=self._checkpoint)

    def receipt(self, index: int) -> bytes:
        """The same as the bytes of a `.tlog-proof` file."""
        return format_proof(self.inclusion_proof(index))

    def consistency_proof(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """The proof that the log of `old` entries is the beginning of that of `new`."""
        return self._tree.consistency(old, new)

    def files(self) -> dict[str, bytes]:
        """The checkpoint and exactly the tiles of this size, by path: what a reader needs."""
        if not self.is_published:
            raise EvidenceFault(
                f"log {self._directory}: {self.size - self._published} entries are not published yet; "
                "`domicile log publish` asks the witnesses"
            )
        found = {"checkpoint": self._checkpoint}
        for tile in tiles_of(self.size):
            found[tile.path] = self._read_entries_raw(tile) if tile.level is None else self._tile_bytes(tile)
        return found

    def _grow(self, entries: Sequence[bytes], old: int) -> None:
        """Write the tiles of the longer tree, then its checkpoint."""
        for entry in entries:
            self._tree.append(hash_leaf(entry))
        waiting = self._tail + list(entries)
        start = old - len(self._tail)
        tiles = tiles_of(self._tree.size, since=old)
        folders: set[Path] = set()
        for tile in tiles:
            here = waiting[tile.start - start : tile.start - start + tile.width] if tile.level is None else []
            content = encode_entries(here) if tile.level is None else self._tile_bytes(tile)
            _place_file(self._directory, tile.path, content)
            folders.add((self._directory / tile.path).parent)
        self._sync(folders)
        self._commit(self._tree)
        if not self._cosigned:
            self._clear_partials(tiles)

    def _sync(self, folders: set[Path]) -> None:
        """Have the names in these folders on the disk, and their own, which an append that was cut off may have made.

        Theirs once for each open log: to look whether they exist would not tell.
        """
        chains = [[folder, *folder.parents] for folder in folders]
        fresh = {one for chain in chains for one in chain if self._directory in one.parents} - self._synced
        for folder in sorted(folders | {one.parent for one in fresh}, reverse=True):
            sync_folder(folder)
        self._synced |= fresh

    def _commit(self, tree: Tree) -> None:
        if self._signer is None:
            raise RuntimeError("a log without a signer can't commit")
        head = Checkpoint(origin=self.origin, size=tree.size, root=tree.root())
        data = sign_checkpoint(head, self._signer)
        place = self._pending if self._cosigned else self._directory / "checkpoint"
        _place_file(place.parent, place.name, data)
        sync_folder(place.parent)
        self._head = data
        if not self._cosigned:
            self._checkpoint, self._published = data, tree.size

    def _clear_partials(self, tiles: Sequence[Tile]) -> None:
        """Partial tiles may go once the full one is there (tlog-tiles, "Partial Tiles")."""
        for tile in tiles:
            if tile.width == TILE_WIDTH:
                shutil.rmtree(self._directory / f"{tile.path}.p", ignore_errors=True)

    def _remember(self, entries: Sequence[bytes], old: int) -> None:
        for index, entry in enumerate(entries, start=old):
            self._places.setdefault(hashlib.sha256(entry).hexdigest(), index)
        waiting = self._tail + list(entries)
        self._tail = waiting[len(waiting) - self.size % TILE_WIDTH :]

    def _load(self) -> None:
        head = self._load_heads()
        if head.size > ENTRIES_MAX:
            raise EvidenceFault(f"log {self._directory}: more than {ENTRIES_MAX} entries; not a log of this engine")
        levels = groupby(tiles_of(head.size), key=lambda tile: tile.level)
        for level, tiles in levels:
            for tile in tiles:
                if level is None:
                    self._take(tile)
                elif _read_file(self._directory / tile.path, TILE_WIDTH * 32) != self._tile_bytes(tile):
                    raise EvidenceFault(f"log {self._directory}: {tile.path} was altered; restore it from a copy")
        published = parse_checkpoint(parse_note(self._checkpoint).text) if self._checkpoint else None
        for signed in (head, published):
            if signed is not None and self._tree.root(signed.size) != signed.root:
                raise EvidenceFault(f"log {self._directory}: its entries are not those of its checkpoint; restore it")

    def _load_heads(self) -> Checkpoint:
        """Read both heads, and return that of all entries: the pending one, if it is ahead of the published one."""
        pending = self._read_pending()
        path = self._directory / "checkpoint"
        if pending is None or path.exists():
            self._checkpoint = _read_file(path, NOTE_BYTES_MAX)
            published = self._read_published(pending)
            self._published = published.size
            if pending is None or pending.size <= published.size:
                self._head = _without_cosignatures(self._checkpoint, self.verifier)
                return published
        return pending

    def _read_published(self, pending: Checkpoint | None) -> Checkpoint:
        """The published head; behind a pending one it may bear an earlier key, as its root is compared in any case."""
        head = parse_checkpoint(parse_note(self._checkpoint).text)
        if pending is None or head.size >= pending.size or head.origin != self.origin:
            return open_checkpoint(self._checkpoint, self.verifier)
        return head

    def _read_pending(self) -> Checkpoint | None:
        """The pending head, which nobody but the log's own signer has to know."""
        if self._signer is None or not self._pending.exists():
            return None
        self._head = _read_file(self._pending, NOTE_BYTES_MAX)
        return open_checkpoint(self._head, self.verifier)

    def _take(self, tile: Tile) -> None:
        entries = self._read_entries(tile)
        old = self.size
        for entry in entries:
            self._tree.append(hash_leaf(entry))
        self._tail = []
        self._remember(entries, old)

    def _read_entries(self, tile: Tile) -> tuple[bytes, ...]:
        return decode_entries(self._read_entries_raw(tile), width=tile.width)

    def _read_entries_raw(self, tile: Tile) -> bytes:
        return _read_file(self._directory / tile.path, _BUNDLE_BYTES_MAX)

    def _tile_bytes(self, tile: Tile) -> bytes:
        level = self._tree.level(TILE_HEIGHT * (tile.level or 0))
        return b"".join(level[tile.start : tile.start + tile.width])

    def _require_unchanged(self) -> None:
        published, pending = self._directory / "checkpoint", self._pending
        known = [(published, self._checkpoint)] if self._checkpoint else []
        known += [(pending, self._head)] if self._cosigned and self._head and pending.exists() else []
        for path, data in known:
            if _read_file(path, NOTE_BYTES_MAX) != data and not self._is_older(path):
                raise EvidenceFault(f"log {self._directory}: grew or changed since it was opened; open it again")

    def _is_older(self, path: Path) -> bool:
        """Whether a pending head is one of before the published one, left by an earlier append."""
        if path != self._pending:
            return False
        return open_checkpoint(_read_file(path, NOTE_BYTES_MAX), self.verifier).size <= self._published

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes out; the lock is the kernel's and ends with the process."""
        handle = os.open(self._directory, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _without_cosignatures(data: bytes, verifier: Verifier) -> bytes:
    """A checkpoint with the log's own signature alone."""
    note = parse_note(data)
    own = tuple(s for s in note.signatures if (s.name, s.key_id) == (verifier.name, verifier.key_id))
    return format_note(Note(text=note.text, signatures=own))


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it; on return all their names are on the disk."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing or [folder]:
        sync_folder(one.parent)


def _place_file(root: Path, name: str, data: bytes) -> None:
    """Put a file in place in one rename; its name is on the disk when its folder is synced."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".tmp")
    with fresh.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)


def _read_file(path: Path, bytes_max: int) -> bytes:
    try:
        data = read_file(path, bytes_max + 1)
    except FileNotFoundError as error:
        raise EvidenceFault(f"log: {path} is missing; restore the folder from a copy") from error
    except OSError as error:
        raise HostFault(f"log: {path} can't be read ({error.strerror}); check the disk and its rights") from error
    if len(data) > bytes_max:
        raise EvidenceFault(f"log: {path} is longer than {bytes_max} bytes; restore the folder from a copy")
    return data


@contextmanager
def _faults(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostFault(f"log {directory}: can't be written ({error.strerror}); check space and rights") from error
