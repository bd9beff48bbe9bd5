"""Keys in files: a folder for each key in it a PEM file for each generation, unencrypted (PKCS#8 or PKCS#1).

    /run/keys/backups-us/2019.pem
    /run/keys/backups-us/2023.pem

The folder and those that the file calls copies of it are looked through as a whole: a copy of a generation is found
under any name, where it stands as PEM or DER in a file of its own. Destroying it overwrites the file where it lies,
writes that through, and takes the name away. Whether the medium below forgets what was overwritten, no program can see:
it is a doubt, unless the operator says so, and stays one on a file system that doesn't write in place (ADR 0032).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding as paddings
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from domicile.errors import NotPermitted
from domicile.host import sync_folder
from domicile.stores.keyservices import ROUNDS_MAX, KeyCopy, Padding, generation_of

KEY_BYTES_MAX: Final = 64 * 1024
FILES_MAX: Final = 100_000
IN_PLACE: Final = frozenset({"tmpfs", "ramfs", "ext2", "ext3", "ext4", "xfs", "vfat"})
"""File systems that write over a block where it lies. btrfs, zfs, overlay, f2fs and those over a network don't, or
nobody can say."""
MOUNTS: Final = Path("/proc/self/mountinfo")
_TELLING = re.compile(r"[A-Za-z0-9._+=-]{1,120}")
_PEM = re.compile(rb"-----BEGIN ((?:RSA |ENCRYPTED )?PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
_PADDINGS: Final = {
    Padding.PKCS1: paddings.PKCS1v15(),
    Padding.OAEP_SHA1: paddings.OAEP(mgf=paddings.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None),  # noqa: S303 - what files are written with
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A file with private keys in it; `sealed`: one of them stands under a passphrase, so nobody here knows whose."""

    path: Path
    status: os.stat_result
    keys: tuple[RSAPrivateKey, ...]
    strange: bool
    sealed: bool


class FileKeys:
    """A folder of keys, and the folders that hold copies of it."""

    def __init__(self, name: str, path: Path, *, copies: Sequence[Path], forgets: bool) -> None:
        self._name = name
        self._path = path
        self._places = (path, *copies)
        self._forgets = forgets
        self._known: dict[str, Path] = {}

    @property
    def name(self) -> str:
        """The service's name."""
        return self._name

    @property
    def words(self) -> tuple[str, ...]:
        """What the operator says."""
        places = "in one folder only" if len(self._places) == 1 else f"in these {len(self._places)} folders only"
        return (f"its keys lie {places}", *(("what is overwritten there is gone",) if self._forgets else ()))

    def generations(self, key: str) -> tuple[str, ...]:
        """Name the generations in the key's folder."""
        folder = self._path / key
        if not folder.is_dir():
            self._refuse_missing(self._path)
            return ()
        names: set[str] = set()
        for path, status in self._walk(folder):
            if _is_overwritten(path, status):
                continue
            found = self._look(path, status)
            if found is None or found.strange or found.sealed or len(found.keys) != 1:
                raise NotPermitted(
                    f"key service {self._name}: {_told(path)} isn't one RSA key in PEM; move it elsewhere"
                )
            names.add(generation_of(found.keys[0].public_key()))
        return tuple(sorted(names))

    def copies(self, generations: Collection[str]) -> tuple[KeyCopy, ...]:
        """List every copy in all folders."""
        return tuple(copy for copy, _ in self._copies(generations))

    def _copies(self, generations: Collection[str]) -> Iterator[tuple[KeyCopy, _Found]]:
        wanted = set(generations)
        sealed: list[Path] = []
        copies: list[tuple[KeyCopy, _Found]] = []
        for found in self._private():
            sealed += [found.path] if found.sealed else []
            copies += [
                (self._copy(key, found), found) for key in found.keys if generation_of(key.public_key()) in wanted
            ]
        if sealed:
            raise NotPermitted(
                f"key service {self._name}: {_told(sealed[0])} is a key under a passphrase, so nobody can say whether "
                "it is a copy; move it elsewhere"
            )
        yield from copies

    def _copy(self, key: RSAPrivateKey, found: _Found) -> KeyCopy:
        return KeyCopy(
            generation=generation_of(key.public_key()), place=_told(found.path), bits=key.key_size,
            held_since=datetime.fromtimestamp(found.status.st_mtime, UTC), doubts=tuple(self._doubts(found)),
        )  # fmt: skip

    def _doubts(self, found: _Found) -> Iterator[str]:
        mode = stat.S_IMODE(found.status.st_mode)
        if stat.S_ISLNK(found.path.lstat().st_mode):
            yield "is a symbolic link, so the key lies elsewhere"
        if mode & 0o077:
            yield f"may be read by others (mode {mode:04o}), so anybody may have copied it"
        if found.status.st_nlink > 1:
            yield "has another hard link"
        if len(found.keys) > 1 or found.strange:
            yield "holds other keys as well, which would go with it"
        system = _file_system(found.path)
        if system not in IN_PLACE:
            yield f"lies on {system}, which doesn't write over a block where it lies"
        elif not self._forgets:
            yield "lies on a medium of which nobody says that it forgets what is overwritten (`forgets: true`)"

    def unwrap(self, generation: str, wrapped: bytes, padding: Padding) -> bytes | None:
        """Open a content key with the first copy that there is."""
        key = self._key(generation)
        try:
            return key.decrypt(wrapped, _PADDINGS[padding]) if key else None
        except ValueError:
            return None

    def _key(self, generation: str) -> RSAPrivateKey | None:
        """Read a generation's secret: where it lay the last time, or wherever it lies."""
        known = self._known.get(generation)
        found = self._look(known, known.stat()) if known and known.is_file() else None
        for one in (found,) if found else self._private():
            for key in one.keys:
                if generation_of(key.public_key()) == generation:
                    self._known[generation] = one.path
                    return key
        return None

    def destroy(self, generations: Collection[str]) -> tuple[KeyCopy, ...]:
        """Overwrite and remove every copy; files that hold other keys as well are left, and returned."""
        self._remove_overwritten()
        for _ in range(ROUNDS_MAX):
            copies = list(self._copies(generations))
            if not any(_is_alone(found) for _, found in copies):
                return tuple(copy for copy, _ in copies)
            for _, found in copies:
                if _is_alone(found):
                    self._erase(found.path)
        return self.copies(generations)

    def _erase(self, path: Path) -> None:
        try:
            if not path.is_symlink():
                _overwrite(path)
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as fault:
            raise NotPermitted(
                f"key service {self._name}: {_told(path)} can't be overwritten and removed ({fault.strerror}); do "
                "it by hand, or run as a user who may"
            ) from None

    def _remove_overwritten(self) -> None:
        """Take away the names of files that were overwritten when a run was broken off."""
        for place in self._places:
            for path, status in self._walk(place):
                if _is_overwritten(path, status):
                    self._erase(path)

    def _private(self) -> Iterator[_Found]:
        """Look through all folders."""
        for place in self._places:
            self._refuse_missing(place)
            for path, status in self._walk(place):
                found = self._look(path, status)
                if found is not None:
                    yield found

    def _walk(self, folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
        """List regular files, symbolic links to such included, with the status of what they lead to.

        Behind a link to a folder, or one that leads nowhere now, a copy may lie that nobody here sees: it is refused.
        """
        count = 0
        try:
            for top, folders, names in os.walk(folder, onerror=_raise):
                folders.sort()
                for name in folders:
                    if (path := Path(top) / name).is_symlink():
                        raise self._unfollowed(path, "leads to another folder")
                for name in sorted(names):
                    path = Path(top) / name
                    count += 1
                    if count > FILES_MAX:
                        raise NotPermitted(f"key service {self._name}: {folder} holds more than {FILES_MAX} files")
                    try:
                        status = path.stat()
                    except FileNotFoundError:
                        if path.is_symlink():
                            raise self._unfollowed(path, "leads nowhere now") from None
                        continue
                    if stat.S_ISREG(status.st_mode):
                        yield path, status
        except OSError as fault:
            raise self._unlisted(folder, fault) from None

    def _look(self, path: Path, status: os.stat_result) -> _Found | None:
        """Read a file's private keys; None when there is none in it."""
        if status.st_size > KEY_BYTES_MAX:
            return None
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise NotPermitted(f"key service {self._name}: {_told(path)} can't be read ({fault.strerror})") from None
        blocks = [(match[1], match[0]) for match in _PEM.finditer(data)]
        sealed = any(kind.startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block for kind, block in blocks)
        loaded = [_load(block, pem=True) for kind, block in blocks if not kind.startswith(b"ENCRYPTED")]
        if not blocks:
            loaded = [key] if (key := _load(data, pem=False)) is not None else []
        keys = tuple(key for key in loaded if isinstance(key, RSAPrivateKey))
        if not keys and not sealed and not blocks:
            return None
        return _Found(path=path, status=status, keys=keys, strange=len(keys) < len(loaded), sealed=sealed)

    def _refuse_missing(self, folder: Path) -> None:
        try:
            with os.scandir(folder):
                return
        except OSError as fault:
            raise self._unlisted(folder, fault) from None

    def _unfollowed(self, path: Path, where: str) -> NotPermitted:
        return NotPermitted(
            f"key service {self._name}: {_told(path)} is a symbolic link that {where}, so nobody can say whether a "
            "copy lies behind it; remove the link, and name the folder that it is for in `copies`"
        )

    def _unlisted(self, folder: Path, fault: OSError) -> NotPermitted:
        return NotPermitted(
            f"key service {self._name}: {folder} can't be looked through ({fault.strerror}); check the path, and that "
            "it is mounted on this machine"
        )


def _told(path: Path) -> str:
    """A path, as evidence may hold it (P8)."""
    return str(path) if _TELLING.fullmatch(path.name) else f"a file in {path.parent}"


def _raise(fault: OSError) -> None:
    raise fault


def _load(data: bytes, *, pem: bool) -> object | None:
    try:
        return load_pem_private_key(data, None) if pem else load_der_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _is_alone(found: _Found) -> bool:
    return len(found.keys) == 1 and not found.strange


def _is_overwritten(path: Path, status: os.stat_result) -> bool:
    if not 0 < status.st_size <= KEY_BYTES_MAX or path.is_symlink():
        return False
    try:
        return not any(path.read_bytes())
    except OSError:
        return False


def _overwrite(path: Path) -> None:
    """Write zeros over a file where it lies: its size stays, so that no block is given back with old bytes in it."""
    with path.open("r+b", buffering=0) as file:
        file.write(bytes(os.fstat(file.fileno()).st_size))
        os.fsync(file.fileno())


def _file_system(path: Path) -> str:
    """The kind of file system that a path lies on (`proc(5)`, mountinfo); a journal that keeps data is named, too."""
    place = str(path.resolve())
    best, kind = "", "an unknown file system"
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return kind
    for line in lines:
        before, _, after = line.partition(" - ")
        mounted = before.split(" ")[4].encode().decode("unicode_escape")
        inside = place == mounted or place.startswith(mounted.rstrip("/") + "/")
        if inside and len(mounted) >= len(best):
            system, _, options = after.split(" ", 2)
            best, kind = mounted, f"{system} with data=journal" if "data=journal" in options.split(",") else system
    return kind
