"""Where a log lies: a folder, or a URL under which its files are served (C2SP tlog-tiles, "APIs")."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from domicile.errors import EvidenceFault, HostFault, Unreachable
from domicile.evidence.codec import JSON_BYTES_MAX
from domicile.evidence.tlog.merkle import HASH_BYTES
from domicile.evidence.tlog.note import NOTE_BYTES_MAX
from domicile.evidence.tlog.tile import ENTRY_BYTES_MAX, TILE_WIDTH, Tile, decode_entries
from domicile.host import read_file
from domicile.web import SCHEMES, ask, require_url

_BUNDLE_BYTES_MAX: Final = TILE_WIDTH * (ENTRY_BYTES_MAX + 2)
FILE_SECONDS_MAX: Final = 60.0


class Place(Protocol):
    """Reads one file of a log."""

    name: str

    def read(self, path: str, *, bytes_max: int) -> bytes | None:
        """The file's bytes, or None where there is none; Unreachable or HostFault when that can't be told."""
        ...


class Folder:
    """A log's folder; predicates that entries leave outside lie in `detached` in it, or beside it."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder

    def read(self, path: str, *, bytes_max: int) -> bytes | None:
        """Read the file."""
        places = [self._folder / path]
        if path.startswith("detached/"):
            places.append(self._folder.parent / path)
        for place in places:
            try:
                data = read_file(place, bytes_max + 1)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as fault:
                raise HostFault(f"log: {place} can't be read ({fault.strerror}); check the disk and rights") from None
            if len(data) > bytes_max:
                raise EvidenceFault(f"log: {place} is longer than {bytes_max} bytes; no file of a log is")
            return data
        return None


class Web:
    """A URL prefix under which a log is served."""

    def __init__(self, url: str) -> None:
        self.name = require_url(url, what="log")

    def read(self, path: str, *, bytes_max: int) -> bytes | None:
        """Fetch the file."""
        answer = ask(f"{self.name}/{path}", bytes_max=bytes_max, seconds_max=FILE_SECONDS_MAX)
        if answer.status in (404, 410):
            return None
        if answer.status != 200:
            raise Unreachable(f"{self.name}/{path}: answered {answer.status}; check the address, and that it is served")
        return answer.body


def is_url(text: str) -> bool:
    """Whether somebody named a URL and not a folder."""
    return text.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def place_of(text: str) -> Place:
    """The place that somebody named: a URL or a folder."""
    return Web(text) if is_url(text) else Folder(Path(text))


def read_checkpoint(place: Place) -> bytes:
    """The checkpoint's bytes; `EvidenceFault` where there is none."""
    found = place.read("checkpoint", bytes_max=NOTE_BYTES_MAX)
    if found is None:
        raise EvidenceFault(f"log {place.name}: has no checkpoint; nothing is published here, or this is no log")
    return found


def read_detached(place: Place, sha256: str) -> bytes | None:
    """The predicate that an entry left outside, or None."""
    return place.read(detached_path(sha256), bytes_max=JSON_BYTES_MAX)


def detached_path(sha256: str) -> str:
    """Where a predicate of this digest lies."""
    return f"detached/{sha256}.json"


def read_entries(place: Place, tile: Tile) -> tuple[bytes, ...]:
    """The entries of a bundle, from the full one where the partial one is gone; `EvidenceFault` if it is not whole."""
    data = place.read(tile.path, bytes_max=_BUNDLE_BYTES_MAX)
    if data is not None:
        return decode_entries(data, width=tile.width)
    full = _full(place, tile, bytes_max=_BUNDLE_BYTES_MAX)
    return decode_entries(full, width=TILE_WIDTH)[: tile.width]


def read_hashes(place: Place, tile: Tile) -> bytes:
    """The hashes of a tile, from the full one where the partial one is gone; `EvidenceFault` if they are not whole."""
    length = tile.width * HASH_BYTES
    data = place.read(tile.path, bytes_max=TILE_WIDTH * HASH_BYTES)
    if data is None:
        data = _full(place, tile, bytes_max=TILE_WIDTH * HASH_BYTES)[:length]
    if len(data) != length:
        raise EvidenceFault(f"{tile.path} does not hold {tile.width} hashes")
    return data


def _full(place: Place, tile: Tile, *, bytes_max: int) -> bytes:
    """The full tile of a partial one (tlog-tiles, "Partial Tiles")."""
    path = Tile(level=tile.level, index=tile.index, width=TILE_WIDTH).path
    data = place.read(path, bytes_max=bytes_max) if tile.width < TILE_WIDTH else None
    if data is None:
        raise EvidenceFault(f"{tile.path} is missing")
    return data
