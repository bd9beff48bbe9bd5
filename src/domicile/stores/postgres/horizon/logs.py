"""The files of a server's logging collector: which they are, which are old, and having the server begin others.

They are known by `log_directory` and `log_filename` alone: whatever lies beside them under another name is nobody's
here to remove. `pg_rotate_logfile()` has the collector begin new files, and from then on it writes to none of the
older ones; where the name is the same as before, it goes on in the same file. Removing is not here: the server has no
function for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, LiteralString

import psycopg

from domicile.stores.postgres.files import LocalFiles, reach

ROTATIONS_MAX: Final = 2
POLLS_MAX: Final = 30
POLL_S: Final = 0.1
ENDINGS: Final = ("", ".log", ".csv", ".json")
"""A stderr file is open beside those of csvlog and jsonlog also where nothing but these is asked for."""
_ESCAPES: Mapping[str, str] = {
    "A": "[A-Z][a-z]{5,8}", "a": "[A-Z][a-z]{2}", "B": "[A-Z][a-z]{2,8}", "b": "[A-Z][a-z]{2}", "h": "[A-Z][a-z]{2}",
    "C": r"\d\d", "d": r"\d\d", "e": r"[ \d]\d", "F": r"\d{4}-\d\d-\d\d", "G": r"\d{4}", "g": r"\d\d", "H": r"\d\d",
    "I": r"\d\d", "j": r"\d{3}", "k": r"[ \d]\d", "l": r"[ \d]\d", "M": r"\d\d", "m": r"\d\d", "p": "[AP]M",
    "R": r"\d\d:\d\d", "S": r"\d\d", "T": r"\d\d:\d\d:\d\d", "U": r"\d\d", "u": "[1-7]", "V": r"\d\d", "W": r"\d\d",
    "w": "[0-6]", "Y": r"\d{4}", "y": r"\d\d", "Z": "[A-Za-z0-9+-]{1,10}", "z": r"[+-]\d{4}", "%": "%",
}  # fmt: skip
"""What pg_strftime (src/timezone/strftime.c) writes for each escape; one that isn't here is not guessed."""
_SETTINGS_SQL: LiteralString = """
SELECT current_setting('data_directory'), current_setting('log_directory'), current_setting('log_filename'),
       current_setting('log_destination')
"""
_CURRENT_SQL: LiteralString = """
SELECT pg_current_logfile(format) FROM unnest(%s::text[]) AS format
"""
_LIST_SQL: LiteralString = """
SELECT name, size, modification FROM pg_ls_logdir() ORDER BY name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """A file of the collector: name, bytes, and when it was last written, to the second (UTC)."""

    name: str
    bytes: int
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """When the collector began other files, how many older ones lay there then, and the file that it goes on in."""

    at: datetime
    older: int
    goes_on_in: str = ""


def names_of(pattern: str) -> re.Pattern[str] | None:
    """Say which names `log_filename` gives, those of csvlog and jsonlog too; None where that can't be known."""
    if "/" in pattern or not pattern:
        return None
    parts = []
    for plain, escape in re.findall(r"([^%]+)|%(.?)", pattern, re.DOTALL):
        if not plain and escape not in _ESCAPES:
            return None
        parts.append(re.escape(plain) if plain else _ESCAPES[escape])
    whole = "".join(parts)
    stem = whole.removesuffix(r"\.log")
    return re.compile(rf"{whole}|{stem}\.(csv|json)")


def local_folder(conn: psycopg.Connection, *, sql_only: bool) -> tuple[Path, bool] | None:
    """The collector's folder on this machine, and whether it lies in the data directory; None: it can't be reached."""
    if not isinstance(reach(conn, sql_only=sql_only).files, LocalFiles):
        return None
    data, folder, *_ = _settings(conn)
    path = Path(data) / folder
    return path, path.resolve().is_relative_to(Path(data).resolve())


def log_files(conn: psycopg.Connection) -> tuple[LogFile, ...] | None:
    """List the collector's files, the current ones left out; None where its names can't be known."""
    names = names_of(_settings(conn)[2])
    if names is None:
        return None
    current = {f"{name}{ending}" for name in map(_stem, _current(conn)) for ending in ENDINGS}
    return tuple(
        LogFile(name=name, bytes=size, written_at=written)
        for name, size, written in conn.execute(_LIST_SQL)
        if names.fullmatch(name) and name not in current
    )


def old_files(conn: psycopg.Connection, rotated: Rotated) -> tuple[LogFile, ...]:
    """The collector's files that it wrote to before the rotation, and not since."""
    return tuple(item for item in log_files(conn) or () if item.written_at <= rotated.at)


def rotate(conn: psycopg.Connection) -> Rotated | None:
    """Have the collector begin other files, and see that it did; where the name stays the same, that is said.

    None where the server doesn't tell which file it writes, so that none could be spared.
    """
    before = _current(conn)
    if not before:
        return None
    pattern = _settings(conn)[2]
    for _ in range(ROTATIONS_MAX if "%" in pattern else 1):  # a name that tells seconds is the same within one
        conn.execute("SELECT pg_rotate_logfile()")
        for _ in range(POLLS_MAX if "%" in pattern else 1):
            conn.execute("SELECT pg_sleep(%s)", (POLL_S,))
            if (now := set(_current(conn))) and not now & set(before):
                return _rotated(conn)
    kept = sorted(set(_current(conn)) & set(before))
    return _rotated(conn, goes_on_in=", ".join(kept))


def _rotated(conn: psycopg.Connection, *, goes_on_in: str = "") -> Rotated:
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    if row is None:
        raise RuntimeError("a server tells the time")
    rotated = Rotated(at=row[0], older=0, goes_on_in=goes_on_in)
    return Rotated(at=row[0], older=len(old_files(conn, rotated)), goes_on_in=goes_on_in)


def _settings(conn: psycopg.Connection) -> tuple[str, str, str, str]:
    row = conn.execute(_SETTINGS_SQL).fetchone()
    if row is None:
        raise RuntimeError("a SELECT of settings gives a row")
    return str(row[0]), str(row[1]), str(row[2]), str(row[3])


def _stem(name: str) -> str:
    return name.removesuffix(".log").removesuffix(".csv").removesuffix(".json")


def _current(conn: psycopg.Connection) -> tuple[str, ...]:
    """The names of the files that are being written."""
    known = ["stderr", "csvlog", *(["jsonlog"] if conn.info.server_version >= 150_000 else [])]
    paths = [path for (path,) in conn.execute(_CURRENT_SQL, (known,)) if path]
    return tuple(Path(path).name for path in paths)
