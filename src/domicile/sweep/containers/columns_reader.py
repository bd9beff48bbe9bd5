"""Prints every value of a Parquet, ORC or Arrow file, for `columns`: a program of its own, as it may be killed.

pyarrow is C++ that allocates what a file says it needs; here it can neither take more memory than is given nor, where a
damaged file makes it fall over, take the search along. Imports nothing of ours.

    python -I columns_reader.py KIND MEMORY_BYTES CELL_BYTES < FILE

prints frames: a letter, four bytes of length (big-endian), as many bytes. `v`: values as text, one a line; `c`: one
binary value whole, as it may be packed; `g`: empty, something couldn't be read; `e`: empty, the end. Exit 3: not enough
memory.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc, orc, parquet

ROWS = 16_384
TEXT_BYTES = 1024 * 1024
CPU_SECONDS_MAX = 4 * 3600
PACKED_BYTES_MIN = 64
NO_MEMORY = 3


def main(kind: str, memory_bytes: int, cell_bytes: int) -> int:
    """Print all frames; return the exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_MAX, CPU_SECONDS_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pa.set_memory_pool(pa.system_memory_pool())
    frames = Frames(sys.stdout.buffer, cell_bytes)
    try:
        _READERS[kind](pa.PythonFile(sys.stdin.buffer, mode="r"), frames)
        frames.end()
    except (MemoryError, pa.ArrowMemoryError):
        return NO_MEMORY
    return 0


class Frames:
    """What is printed."""

    def __init__(self, out: BinaryIO, cell_bytes: int) -> None:
        self._out = out
        self._cell_bytes = cell_bytes

    def text(self, data: bytes) -> None:
        """Print values; also none, so that who listens knows that we are at work."""
        for at in range(0, len(data) or 1, TEXT_BYTES):
            self._frame(b"v", data[at : at + TEXT_BYTES])

    def cell(self, data: bytes) -> None:
        """Print a binary value that may be packed."""
        if len(data) > self._cell_bytes:
            self.gap()
        else:
            self._frame(b"c", data)

    def gap(self) -> None:
        """Say that something couldn't be read."""
        self._frame(b"g", b"")

    def end(self) -> None:
        """Say that this is all."""
        self._frame(b"e", b"")

    def _frame(self, letter: bytes, data: bytes) -> None:
        self._out.write(letter + len(data).to_bytes(4, "big") + data)
        self._out.flush()


def read_parquet(file: pa.NativeFile, frames: Frames) -> None:
    """Read column chunk by column chunk, in batches of rows; then what the footer says."""
    opened = parquet.ParquetFile(file, pre_buffer=False, buffer_size=1024 * 1024, page_checksum_verification=True)
    frames.text(_lines(_said_by(opened.metadata)))
    leaves = sorted({opened.schema.column(at).path for at in range(len(opened.schema))})
    for group in range(opened.num_row_groups):
        for leaf in leaves:
            with read_or_gap(frames):
                for batch in opened.iter_batches(ROWS, row_groups=[group], columns=[leaf], use_threads=False):
                    show_batch(batch, frames)


def read_orc(file: pa.NativeFile, frames: Frames) -> None:
    """Read stripe by stripe, column by column; then what the footer says."""
    opened = orc.ORCFile(file)
    frames.text(_lines(_said_by_schema(opened.schema, opened.metadata)))
    for stripe in range(opened.nstripes):
        for name in sorted(set(opened.schema.names)):
            with read_or_gap(frames):
                show_batch(opened.read_stripe(stripe, columns=[name]), frames)


def read_arrow(file: pa.NativeFile, frames: Frames) -> None:
    """Read batch by batch."""
    opened = ipc.open_file(file)
    frames.text(_lines(_said_by_schema(opened.schema, opened.metadata)))
    for number in range(opened.num_record_batches):
        with read_or_gap(frames):
            batch = opened.get_batch(number)
            batch.validate(full=True)
            show_batch(batch, frames)
            for buffer in (buffer for column in batch.columns for buffer in column.buffers() if buffer):
                frames.text(buffer.to_pybytes())  # what lies behind a null, too


_READERS = {"parquet": read_parquet, "orc": read_orc, "arrow": read_arrow}


@contextlib.contextmanager
def read_or_gap(frames: Frames) -> Iterator[None]:
    """Go on with the next column where one can't be read: damaged, encrypted, or of a kind that nobody here knows."""
    try:
        yield
    except (MemoryError, pa.ArrowMemoryError):
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError):
        frames.gap()


def show_batch(batch: pa.RecordBatch, frames: Frames) -> None:
    """Print all values of a batch."""
    for column in batch.columns:
        show(column, frames)


def show(array: pa.Array, frames: Frames) -> None:
    """Print all values of an array, those of nested types by their parts; each value once."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        show(array.storage, frames)
    elif pa.types.is_dictionary(kind):
        show(array.dictionary, frames)
    elif pa.types.is_struct(kind) or pa.types.is_union(kind):
        for at in range(kind.num_fields):
            show(array.field(at), frames)
    elif pa.types.is_map(kind):
        show(array.keys, frames)
        show(array.items, frames)
    elif pa.types.is_run_end_encoded(kind):
        show(array.values, frames)
    elif pa.types.is_nested(kind):  # lists of all kinds
        show(array.values, frames)  # also what lies behind a null
    elif pa.types.is_null(kind):
        return
    elif kind in {pa.uint8(), pa.int8()}:  # bytes, as some writers have them
        frames.text(_raw(array))
    else:
        _show_plain(array, frames)


def _show_plain(array: pa.Array, frames: Frames) -> None:
    kind = array.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_binary = any(
        told(kind)
        for told in (
            pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary,
        )
    )  # fmt: skip
    if not (is_text or is_binary):
        frames.text(_as_text(array))
        return
    values = _distinct(array.cast(pa.large_binary()))
    frames.text(_lines_of(values))
    if is_binary:
        for value in values.filter(pc.greater_equal(pc.binary_length(values), PACKED_BYTES_MIN)):
            frames.cell(value.as_py())


def _as_text(array: pa.Array) -> bytes:
    """Numbers and moments, as they are written."""
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp(array.type.unit))  # no list of time zones is needed then
    try:
        return _lines_of(_distinct(array.cast(pa.string())).cast(pa.large_binary()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _lines(str(value).encode(errors="surrogateescape") for value in array.to_pylist() if value is not None)


def _distinct(array: pa.Array) -> pa.Array:
    return array.unique().drop_null()


def _lines_of(values: pa.Array) -> bytes:
    """Join binary values, one a line."""
    line = pa.scalar(b"\n", pa.large_binary())
    joined = pc.binary_join(pa.LargeListArray.from_arrays([0, len(values)], values), line)[0].as_buffer()
    return joined.to_pybytes() if joined else b""


def _lines(values: Iterator[bytes]) -> bytes:
    return b"\n".join(values)


def _raw(array: pa.Array) -> bytes:
    buffer = array.buffers()[1]
    return buffer.to_pybytes()[array.offset : array.offset + len(array)] if buffer else b""


def _said_by(metadata: parquet.FileMetaData) -> Iterator[bytes]:
    """Keys and values, names, and the least and greatest values of all column chunks."""
    for key, value in (metadata.metadata or {}).items():
        yield from (key, value)
    yield str(metadata.created_by).encode(errors="surrogateescape")
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for at in range(row_group.num_columns):
            chunk = row_group.column(at)
            yield chunk.path_in_schema.encode(errors="surrogateescape")
            with contextlib.suppress(pa.ArrowException, ValueError):
                statistics = chunk.statistics
                for value in (statistics.min, statistics.max) if statistics and statistics.has_min_max else ():
                    yield value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")


def _said_by_schema(schema: pa.Schema, metadata: pa.KeyValueMetadata | None) -> Iterator[bytes]:
    for key, value in (*(schema.metadata or {}).items(), *(metadata or {}).items()):
        yield from (key, value)
    for field in schema:
        yield field.name.encode(errors="surrogateescape")
        for key, value in (field.metadata or {}).items():
            yield from (key, value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
