"""Files of columns: Parquet, ORC and Arrow, read by pyarrow in a program of its own (`columns_reader`).

Formats: Apache Parquet (README, "File format": magic, footer length and magic at the end), ORC specification v1 (the
file's tail), Arrow columnar format ("IPC file format"). What the ends say is checked here, before anything is started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Final

from domicile.sweep.containers.kinds import Kind, sniff
from domicile.sweep.containers.opening import Opening, Reader
from domicile.sweep.containers.programs import Failed, described, printed
from domicile.sweep.containers.streams import Damaged

MEMORY_BYTES_MAX: Final = 4 * 1024 * 1024 * 1024
CELL_BYTES_MAX: Final = 64 * 1024 * 1024
NO_MEMORY: Final = 3
PROGRAM: Final = Path(__file__).with_name("columns_reader.py")
MISSING: Final = "needs pyarrow to be opened; install domicile[parquet]"
_NAMES: Final = {Kind.PARQUET: "parquet", Kind.ORC: "orc", Kind.ARROW: "arrow"}
_HEAD_BYTES: Final = 5
_CELL: Final = ord("c")
_TEXT: Final = ord("v")
_GAP: Final = ord("g")
_END: Final = ord("e")


def open_parquet(opening: Opening, file: BinaryIO, depth: int) -> None:
    """Search every value of a Parquet file, and what its footer says."""
    _refuse_without(file, Kind.PARQUET)
    _open(opening, Kind.PARQUET, file, depth)


def open_orc(opening: Opening, file: BinaryIO, depth: int) -> None:
    """Search every value of an ORC file."""
    _refuse_without(file, Kind.ORC)
    _open(opening, Kind.ORC, file, depth)


def open_arrow(opening: Opening, file: BinaryIO, depth: int) -> None:
    """Search every value of an Arrow file (Feather)."""
    _refuse_without(file, Kind.ARROW)
    _open(opening, Kind.ARROW, file, depth)


def _refuse_without(file: BinaryIO, kind: Kind) -> None:
    """Raise Damaged for a file without the end that its kind has, and where nobody reads it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 256, 0))
    end = file.read(256)
    if kind is Kind.PARQUET and end.endswith(b"PARE"):
        raise Damaged("is encrypted")
    whole = {
        Kind.PARQUET: end.endswith(b"PAR1") and int.from_bytes(end[-8:-4], "little") <= size - 12,
        Kind.ORC: b"ORC" in end[-end[-1] - 1 : -1] if end else False,
        Kind.ARROW: end.endswith(b"ARROW1") and int.from_bytes(end[-10:-6], "little") <= size - 18,
    }[kind]
    if not whole:
        raise Damaged("cut off, or damaged at its end")
    if find_spec("pyarrow") is None:
        raise Damaged(MISSING)


def _open(opening: Opening, kind: Kind, file: BinaryIO, depth: int) -> None:
    cells: list[bytes] = []
    command = [sys.executable, "-I", str(PROGRAM), _NAMES[kind], str(MEMORY_BYTES_MAX), str(CELL_BYTES_MAX)]
    silence = opening.limits.silence_seconds_max
    with (
        described(opening, file) as archive,
        closing(printed(command, archive, silence, name="pyarrow")) as output,
        closing(opening.searched(kind, _texts(opening, kind, output, cells))) as found,
    ):
        for _ in found:
            while cells:
                opening.inside(Reader(iter([cells.pop()])), depth + 1)


def _texts(opening: Opening, kind: Kind, output: Iterator[bytes], cells: list[bytes]) -> Generator[bytes, None, None]:
    """Give the values that the program prints; cells that are packed are put into `cells`."""
    ended = False
    try:
        for letter, data in _frames(output):
            ended = letter == _END
            if letter == _GAP:
                opening.gap(kind, "holds something that can't be read: damaged, encrypted, or of an unknown kind")
            elif letter == _CELL and sniff(data):
                cells.append(data)
                yield b"\n"  # so that it is looked into now
            elif letter == _TEXT and data:
                opening.member()
                yield data + b"\n"
    except Failed as fault:
        if fault.code == NO_MEMORY:
            raise Damaged(f"needs more than {MEMORY_BYTES_MAX} bytes of memory to be read") from None
        raise
    if not ended:
        raise Damaged("damaged")


def _frames(output: Iterator[bytes]) -> Generator[tuple[int, bytes], None, None]:
    """Part what the program prints into its frames."""
    reader = Reader(output)
    while head := reader.exactly(_HEAD_BYTES):
        size = int.from_bytes(head[1:], "big")
        if len(head) < _HEAD_BYTES or size > CELL_BYTES_MAX:
            raise Damaged("damaged")
        data = reader.exactly(size)
        if len(data) < size:
            raise Damaged("damaged")
        yield head[0], data
