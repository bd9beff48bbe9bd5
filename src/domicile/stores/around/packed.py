"""Files that may be packed as a whole, opened by what they begin with, never by their names."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import lz4.frame
import zstandard

Opened: TypeAlias = gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile | lz4.frame.LZ4FrameFile | BinaryIO
BROKEN: Final = (OSError, EOFError, ValueError, RuntimeError, lzma.LZMAError, zstandard.ZstdError)
"""What opening or reading a packed file may raise."""
_OPENERS: Final[Mapping[bytes, Callable[[Path], Opened]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x04\x22\x4d\x18": lz4.frame.open,
    b"\x28\xb5\x2f\xfd": lambda path: zstandard.open(path, "rb"),
}


def read_unpacked(path: Path, length: int) -> bytes:
    """Read up to `length` bytes from the start of what a file holds, unpacked if it is packed; raise any of BROKEN."""
    with path.open("rb") as plain:
        magic = plain.read(8)
        opener = next((found for start, found in _OPENERS.items() if magic.startswith(start)), None)
        if opener is None:
            plain.seek(0)
            return plain.read(length)
    with opener(path) as packed:
        return bytes(packed.read(length))
