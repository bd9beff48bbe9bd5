"""Files and streams that are themselves packed: they are opened, and what is inside is searched as it comes out.

| kind                                        | how it is opened                                                     |
|---------------------------------------------|----------------------------------------------------------------------|
| gzip, bzip2, xz, lzma, zlib, zstd, lz4      | all members, as a stream (`streams`)                                 |
| tar (ustar, pax, GNU)                       | member by member, as a stream (`archives`)                           |
| zip                                         | member by member (`archives`)                                        |
| SQLite                                      | every cell of every table as text; cells that are packed (`databases`)|
| PDF                                         | every stream that FlateDecode packed (`documents`)                   |
| custom-format dump of PostgreSQL            | `pg_restore` makes SQL of it (`databases`)                           |
| Parquet, ORC, Arrow (Feather)               | every value of every column, by pyarrow, if it is there (`columns`)  |
| WAL                                         | as in the server's own folder                                        |

What comes out of one may be another, up to a depth. Relation pages in it are carved as everywhere. Hits count at the
outer file's path. What can't be opened (encrypted, damaged, too deep, too large, unknown) is a gap with its reason,
never passed over; no gap says a member's name. Any bytes at all give only hits and gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from domicile.stores.postgres.pages import Geometry
from domicile.sweep.containers.opened import open_kind
from domicile.sweep.containers.opening import Limits, Opening, Reader, Source
from domicile.sweep.containers.streams import OUT_BYTES
from domicile.sweep.search import Flow, Spot, Tally, View

__all__ = ["Limits", "Source", "search_packed", "search_source", "search_stream"]

DEFAULT_LIMITS = Limits()
DEFAULT_GEOMETRY = Geometry()


def search_packed(
    source: Source, spot: Spot, tally: Tally, *, geometry: Geometry = DEFAULT_GEOMETRY, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Search what is packed in a file whose own bytes are searched elsewhere.

    The faults of the source's own `read` pass.
    """
    opening = Opening(tally, spot, geometry, limits, open_kind, packed=source.size)
    opening.inside(Reader(_blocks(source)), 0, source)


def search_source(
    source: Source, spot: Spot, tally: Tally, *, geometry: Geometry = DEFAULT_GEOMETRY, limits: Limits = DEFAULT_LIMITS
) -> None:
    """Search a file of any store: its name, its bytes, and what is packed in it."""
    spot = tally.named(spot)
    tally.stream(_blocks(source), spot, view=View.RAW)
    search_packed(source, spot, tally, geometry=geometry, limits=limits)


def search_stream(
    blocks: Iterable[bytes],
    spot: Spot,
    tally: Tally,
    *,
    geometry: Geometry = DEFAULT_GEOMETRY,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Search a stream that is read once: its name, its bytes, and what is packed in it."""
    spot = tally.named(spot)
    opening = Opening(tally, spot, geometry, limits, open_kind)
    reader = Reader(_counted(blocks, opening))
    opening.inside(reader, 0)
    reader.drain()


def _blocks(source: Source) -> Iterator[bytes]:
    offset = 0
    while block := source.read(offset, OUT_BYTES):
        yield block
        offset += len(block)


def _counted(blocks: Iterable[bytes], opening: Opening) -> Iterator[bytes]:
    flow = Flow(opening.tally, opening.spot, view=View.RAW)
    for block in filter(None, blocks):  # an empty one would look like the end
        opening.packed += len(block)
        opening.tally.add(opening.spot.copy, read=len(block))
        flow.feed(block)
        yield block
