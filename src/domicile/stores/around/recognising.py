"""What a thing in a folder of dumps is, and of which database or server: by what it holds, never by its name.

`pg_dump` writes a custom archive (`PGDMP`), a directory or a tar with `toc.dat`, or SQL; `pg_basebackup` a directory or
tars. A custom archive, directory or tar names its database in its header, which the real pg_restore reads; a base
backup bears its cluster's number. SQL names nothing: whose it is can't be known. A dump bears no cluster's number, but
those (OIDs) of its tables: they tell a database of the same name elsewhere from the one that is asked about.
"""

from __future__ import annotations

import json
import lzma
import re
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from domicile.errors import HostFault
from domicile.stores.around.packed import BROKEN, read_unpacked
from domicile.stores.postgres.copies import CopyKind
from domicile.stores.postgres.programs import find_client

HEAD_BYTES: Final = 16 * 1024
MANIFEST_BYTES_MAX: Final = 1024 * 1024 * 1024
HEADER_BYTES_MAX: Final = 16 * 1024
LISTING_BYTES_MAX: Final = 64 * 1024 * 1024
LISTING_SECONDS_MAX: Final = 120
PACKED_TARS: Final = ("base.tar", "base.tar.gz")
_PLAIN = (b"-- PostgreSQL database dump", b"-- PostgreSQL database cluster dump")
_TAR_MAGIC_AT = 257
_DATABASE = re.compile(rb"^;\s+dbname: (.*)$", re.MULTILINE)
_TABLE = re.compile(rb"^\d+; \d+ (\d+) (?:TABLE DATA|TABLE) (.+) \S+$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The database or the cluster that a dump or base backup is of; all None: it doesn't say.

    `tables` are the numbers that the tables of a dump have in their own database, by `schema name`.
    """

    database: str | None = None
    system: int | None = None
    tables: Mapping[str, int] = field(default_factory=dict, repr=False)

    def is_of(self, tables: Mapping[str, int]) -> bool | None:
        """Whether a dump is of the database whose tables have these numbers; None where that can't be told.

        Another cluster's database of the same name gives its tables numbers of its own; so does a new database that was
        filled from a dump. Most of the tables that both have must have the same number; one that was made anew may not.
        """
        both = [tables[name] == number for name, number in self.tables.items() if name in tables]
        same = sum(both)
        if both and not same:
            return False
        return True if 2 * same > len(both) or not self.tables else None


def kind_of(path: Path) -> CopyKind | None:
    """Say what a file or directory is; None when nobody here knows. OSErrors pass."""
    if path.is_symlink():
        return None
    return _kind_of_folder(path) if path.is_dir() else _kind_of_file(path)


def _kind_of_folder(path: Path) -> CopyKind | None:
    if (path / "toc.dat").is_file():
        return CopyKind.DUMP
    telling = ("backup_manifest", "backup_label", "PG_VERSION", *PACKED_TARS, "base.tar.lz4", "base.tar.zst")
    return CopyKind.BASE_BACKUP if any((path / name).is_file() for name in telling) else None


def _kind_of_file(path: Path) -> CopyKind | None:
    head = _head(path)
    if head.startswith(b"PGDMP"):
        return CopyKind.DUMP
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        first = head[:100].rstrip(b"\0").removeprefix(b"./")
        if first == b"toc.dat":
            return CopyKind.DUMP
        return CopyKind.BASE_BACKUP if first in {b"backup_label", b"backup_manifest", b"PG_VERSION"} else None
    return CopyKind.DUMP if any(mark in head for mark in _PLAIN) else None


def _head(path: Path) -> bytes:
    """The first bytes, unpacked where they are packed; none where that can't be."""
    try:
        return read_unpacked(path, HEAD_BYTES)
    except FileNotFoundError:
        raise
    except BROKEN:
        return b""


def origin_of(path: Path, *, major: int) -> Origin:
    """Say of which database or cluster a dump or base backup is, as far as it says itself. OSErrors pass."""
    if _kind_of_folder(path) is CopyKind.BASE_BACKUP if path.is_dir() else False:
        return Origin(system=_system_of_folder(path))
    if not path.is_dir() and _kind_of_file(path) is CopyKind.BASE_BACKUP:
        return Origin(system=_system_of_tar(path))
    listing = _listing(path, major)
    found = _DATABASE.search(listing[:HEADER_BYTES_MAX])
    return Origin(
        database=found[1].decode(errors="replace") if found else None,
        tables={name.decode(errors="replace"): int(number) for number, name in _TABLE.findall(listing)},
    )


def _listing(path: Path, major: int) -> bytes:
    """Ask pg_restore for the contents of an archive; SQL, packed archives and damaged ones have none."""
    try:
        program = find_client("pg_restore", at_least_major=major)
        listing = subprocess.run(
            [str(program), "--list", str(path)], capture_output=True, check=False, timeout=LISTING_SECONDS_MAX
        )
    except subprocess.TimeoutExpired:
        return b""
    except OSError as fault:
        raise HostFault(f"pg_restore can't be run: {fault.strerror}") from None
    return listing.stdout[:LISTING_BYTES_MAX] if listing.returncode == 0 else b""


def _system_of_folder(path: Path) -> int | None:
    control = path / "global" / "pg_control"
    if control.is_file():
        return int.from_bytes(control.read_bytes()[:8], "little")
    manifest = path / "backup_manifest"
    if manifest.is_file() and manifest.stat().st_size <= MANIFEST_BYTES_MAX:
        try:
            said = json.loads(manifest.read_bytes()).get("System-Identifier")  # since PostgreSQL 17
        except (ValueError, AttributeError, RecursionError):
            said = None
        if isinstance(said, int):
            return said
    return next((_system_of_tar(path / name) for name in PACKED_TARS if (path / name).is_file()), None)


def _system_of_tar(path: Path) -> int | None:
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if member.name.removeprefix("./") == "global/pg_control":
                    control = archive.extractfile(member)
                    return int.from_bytes(control.read(8), "little") if control else None
    except (tarfile.TarError, EOFError, lzma.LZMAError):
        return None
    return None
