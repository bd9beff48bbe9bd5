"""The log over HTTP, as any web server could: its checkpoint, the tiles of its size, and nothing else (tlog-tiles).

A tile beyond the published checkpoint is not served, so that what caches keep for a year never changes. Predicates that
entries leave outside are served as `detached/SHA256.json`, which is ours. There are no listings.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from domicile.errors import EvidenceFault
from domicile.evidence.publiclog.place import Folder
from domicile.evidence.tlog.checkpoint import parse_checkpoint
from domicile.evidence.tlog.note import NOTE_BYTES_MAX, parse_note
from domicile.evidence.tlog.tile import TILE_HEIGHT, TILE_WIDTH, Tile
from domicile.host import sync_folder

CONNECTIONS_MAX: Final = 1_024
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
FRESH: Final = "no-cache"
FOREVER: Final = "public, max-age=31536000, immutable"
_TILE = re.compile(
    r"tile/(?P<level>entries|[0-9]|[1-5][0-9]|6[0-3])/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)
_DETACHED = re.compile(r"detached/[0-9a-f]{64}\.json")


class _Files:
    """One folder's files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._place = Folder(folder)
        self._handed = b""

    def checkpoint(self) -> bytes | None:
        """The checkpoint, on the disk for good: after a power cut nobody must know one that the log forgot."""
        found = self._place.read("checkpoint", bytes_max=NOTE_BYTES_MAX)
        if found is not None and found != self._handed:
            sync_folder(self._folder)
            self._handed = found
        return found

    def size(self) -> int:
        """How many entries are published."""
        found = self.checkpoint()
        return 0 if found is None else parse_checkpoint(parse_note(found).text).size

    def read(self, path: str) -> bytes | None:
        """A file that is part of what is published."""
        tile = tile_of(path)
        if tile is not None and not is_within(tile, self.size()):
            return None
        if tile is None and not _DETACHED.fullmatch(path):
            return None
        return self._place.read(path, bytes_max=FILE_BYTES_MAX)


def tile_of(path: str) -> Tile | None:
    """The tile of this path, or None unless it is the one spelling of one."""
    found = _TILE.fullmatch(path)
    if found is None:
        return None
    index = int(found["index"].replace("x", "").replace("/", ""))
    level = None if found["level"] == "entries" else int(found["level"])
    tile = Tile(level=level, index=index, width=int(found["width"] or TILE_WIDTH))
    return tile if tile.path == path else None


def is_within(tile: Tile, size: int) -> bool:
    """Whether a log of this size has the tile, or had it when it was shorter."""
    return tile.start + tile.width <= size >> (TILE_HEIGHT * (tile.level or 0))


def application(folder: Path) -> ASGIApp:
    """Make the HTTP interface."""
    files = _Files(folder)

    def checkpoint(_: Request) -> Response:
        found = files.checkpoint()
        if found is None:
            return _nothing()
        kind = "text/plain; charset=utf-8"
        return Response(found, headers={"content-type": kind, "cache-control": FRESH})

    def file(request: Request) -> Response:
        path = request.path_params["path"]
        try:
            found = files.read(path)
        except EvidenceFault:
            return Response("the log can't be read; see `domicile log fsck`\n", 500)
        if found is None:
            return _nothing()
        headers = {"content-type": "application/octet-stream", "cache-control": FOREVER}
        if path.startswith("tile/entries/"):
            headers["vary"] = "accept-encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                found = gzip.compress(found, mtime=0)
                headers["content-encoding"] = "gzip"
        return Response(found, headers=headers)

    return Starlette(
        routes=[
            Route("/checkpoint", checkpoint, methods=["GET"]),
            Route("/{path:path}", file, methods=["GET"]),
        ]
    )


def serve(folder: Path, *, host: str, port: int) -> None:
    """Answer until the process is stopped."""
    uvicorn.run(
        application(folder), host=host, port=port, access_log=False, log_level="warning", server_header=False,
        limit_concurrency=CONNECTIONS_MAX, timeout_graceful_shutdown=1, timeout_keep_alive=30,
    )  # fmt: skip


def _nothing() -> Response:
    return Response("not found\n", 404, headers={"content-type": "text/plain; charset=utf-8", "cache-control": FRESH})
