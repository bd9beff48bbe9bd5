"""Databases in a file: SQLite cell by cell, and the custom-format dumps of PostgreSQL through `pg_restore`.

The pages of a SQLite file cut long values (overflow pages), so cells are read through the library; what only the
pages hold (freed ones, the WAL beside it) is what the search of the raw bytes sees. Nothing of a file is run: no
triggers, views, virtual tables, generated columns or indexes of expressions are touched.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from domicile.errors import HostFault
from domicile.stores.postgres.programs import find_client
from domicile.sweep.containers.kinds import Kind, sniff
from domicile.sweep.containers.opening import Opening, Reader
from domicile.sweep.containers.programs import described, printed
from domicile.sweep.containers.streams import FAULTS, OUT_BYTES, Damaged

SQLITE_MEMORY_BYTES_MAX = 64 * 1024 * 1024
SQLITE_CELL_BYTES_MAX = 64 * 1024 * 1024
SQLITE_STEPS_FREE = 10_000_000
SQLITE_STEPS_PER_BYTE_MAX = 100  # a row takes some ten steps and a step for each column; and each a byte and more
SQLITE_STEPS_BETWEEN = 10_000
PACKED_CELL_BYTES_MIN = 64
_JOURNAL_AT = slice(18, 20)  # 2 says "there is a WAL beside it"
_ROLLBACK = b"\x01\x01"
# The version of an archive's format, and the first PostgreSQL that reads it (`pg_backup_archiver.h`).
_READERS = ((16, 17), (15, 16), (0, 13))


def open_sqlite(opening: Opening, file: BinaryIO, depth: int) -> None:
    """Search every cell of every table, as text."""
    _measure(file)
    with _connected(file) as conn:
        for table in _tables(conn):
            opening.member()
            packed: list[bytes] = []
            for _ in opening.searched(Kind.SQLITE, _rows(conn, table, packed)):
                while packed:
                    opening.inside(Reader(iter([packed.pop()])), depth + 1)


def _measure(file: BinaryIO) -> None:
    """Raise Damaged for a file of other than whole pages, or of fewer than it says (sqlite.org/fileformat2, 1.3)."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    header = file.read(100)
    page, pages = (int.from_bytes(header[start:end], "big") for start, end in ((16, 18), (28, 32)))
    page = 65536 if page == 1 else page
    sure = header[24:28] == header[92:96]  # else the number of pages is an old one
    if not page or size % page or (sure and size < page * pages):
        raise Damaged("cut off")


@contextmanager
def _connected(file: BinaryIO) -> Iterator[sqlite3.Connection]:
    """Open a private copy: in memory when it is small."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with tempfile.TemporaryDirectory(prefix="domicile-") as folder:
        try:
            conn = _in_memory(file) if size <= SQLITE_MEMORY_BYTES_MAX else _on_disk(file, Path(folder) / "copy")
        except FAULTS as fault:
            raise Damaged(f"can't be opened ({type(fault).__name__})") from None
        with closing(conn):
            _restrict(conn, SQLITE_STEPS_FREE + SQLITE_STEPS_PER_BYTE_MAX * size)
            yield conn


def _in_memory(file: BinaryIO) -> sqlite3.Connection:
    data = bytearray(file.read())
    data[_JOURNAL_AT] = _ROLLBACK
    conn = sqlite3.connect(":memory:")
    conn.deserialize(bytes(data))
    return conn


def _on_disk(file: BinaryIO, path: Path) -> sqlite3.Connection:
    with path.open("wb") as copy:
        shutil.copyfileobj(file, copy, OUT_BYTES)
        copy.seek(_JOURNAL_AT.start)
        copy.write(_ROLLBACK)
    return sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)


def _restrict(conn: sqlite3.Connection, steps_max: int) -> None:
    conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, SQLITE_CELL_BYTES_MAX)
    conn.text_factory = bytes
    steps = iter(range(steps_max // SQLITE_STEPS_BETWEEN))
    conn.set_progress_handler(lambda: int(next(steps, None) is None), SQLITE_STEPS_BETWEEN)
    for setting in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON"):
        conn.execute(f"PRAGMA {setting}").close()


def _tables(conn: sqlite3.Connection) -> list[str]:
    """Name every table that has pages of its own; those of virtual tables are among them."""
    try:
        rows = conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0").fetchall()
        return ["sqlite_schema", *(bytes(name).decode() for (name,) in rows)]
    except FAULTS as fault:
        raise Damaged(f"damaged ({type(fault).__name__})") from None


def _rows(conn: sqlite3.Connection, table: str, packed: list[bytes]) -> Iterator[bytes]:
    """Read a table as blocks of cells, one a line; cells that are packed themselves are put into `packed`."""
    cells: list[bytes] = []
    size = 0
    try:
        columns = [bytes(row[1]).decode() for row in conn.execute(f"PRAGMA table_info({_quoted(table)})")]
        if not columns:
            return
        query = f"SELECT {', '.join(map(_quoted, columns))} FROM {_quoted(table)} NOT INDEXED"  # noqa: S608 - quoted
        for row in conn.execute(query):
            for value in row:
                cell = value if isinstance(value, bytes) else b"" if value is None else str(value).encode()
                cells.append(cell)
                size += len(cell)
                if len(cell) >= PACKED_CELL_BYTES_MIN and sniff(cell):
                    packed.append(cell)
            if size >= OUT_BYTES:
                yield b"\n".join(cells)
                cells, size = [], 0
    except FAULTS as fault:
        yield b"\n".join(cells)
        raise Damaged(f"holds a damaged table ({type(fault).__name__})") from None
    yield b"\n".join(cells)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def open_dump(opening: Opening, file: BinaryIO, depth: int) -> None:
    """Search the SQL that `pg_restore` makes of a dump."""
    file.seek(5)
    version = file.read(2)
    major = next(major for minor, major in _READERS if version[1:2] >= bytes([minor]))
    try:
        program = find_client("pg_restore", at_least_major=major)
    except HostFault:
        raise Damaged(f"needs pg_restore {major} or newer; install postgresql-client-{major}") from None
    silence = opening.limits.silence_seconds_max
    command = [str(program), "--file=-"]
    with (
        described(opening, file) as archive,
        closing(printed(command, archive, silence, name="pg_restore")) as output,
    ):
        opening.content(Kind.DUMP, output, depth + 1)
