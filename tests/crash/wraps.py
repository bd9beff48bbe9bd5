"""What is wrapped in the engine's process, so that its effects are seen: driver, raw COPY, programs, files, journal."""

from __future__ import annotations

import errno
import os
import pathlib
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from domicile.private import PrivateFile
from domicile.record import Record
from domicile.record.journal import Journal
from domicile.stores.postgres import copying
from tests.crash.effects import Fault, Side, Tracer, replaced

FULL: Final = b"DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$"
WRITING: Final = frozenset("wax+")


@contextmanager
def watched(tracer: Tracer, folder: Path) -> Iterator[None]:
    """Have the tracer see all effects of this process; of files those below `folder`."""
    with ExitStack() as stack:
        for owner, name, make in (*_driver(tracer), *_raw_copies(tracer), *_files(tracer, folder), *_others(tracer)):
            stack.enter_context(replaced(owner, name, make))
        yield


Wraps = Iterator[tuple[Any, str, Callable[[Any], Any]]]


# -- the driver ------------------------------------------------------------------------------------------------------


def _text(query: Any) -> str:
    if isinstance(query, bytes):
        return query.decode(errors="replace")
    return query if isinstance(query, str) else str(query.as_string(None))


def _fault(raw: pq.abc.PGconn | None, command: str = "") -> Fault:
    """What the driver raises: that something broke; or the server's own word that it has no room."""

    def fault(full: bool) -> BaseException:
        if not full:
            return psycopg.OperationalError("something between engine and server broke")
        if raw is None or raw.transaction_status == pq.TransactionStatus.ACTIVE:
            return psycopg.errors.DiskFull("no room")
        result = raw.exec_(FULL if not command.startswith("ROLLBACK") else b"ROLLBACK")
        if command.startswith("COMMIT"):
            raw.exec_(b"ROLLBACK")  # a commit that fails has rolled back
        if result.status == pq.ExecStatus.FATAL_ERROR:
            return psycopg.errors.error_from_result(result)
        return psycopg.errors.DiskFull("no room")

    return fault


def _driver(tracer: Tracer) -> Wraps:
    def side(raw: pq.abc.PGconn) -> Side | None:
        return tracer.sides.get(int(raw.port or 0))

    def executing(plain: Any) -> Any:
        def execute(cursor: Any, query: Any, *arguments: Any, **options: Any) -> Any:
            raw, text = cursor.connection.pgconn, _text(query)
            spot = tracer.before(side(raw), text, _fault(raw, text))
            found = plain(cursor, query, *arguments, **options)
            tracer.after(spot, _fault(raw))
            return found

        return execute

    def commanding(plain: Any) -> Any:
        def command(connection: Any, query: Any, *arguments: Any, **options: Any) -> Any:
            raw, text = connection.pgconn, _text(query)
            spot = tracer.before(side(raw), text, _fault(raw, text))
            found = yield from plain(connection, query, *arguments, **options)
            tracer.after(spot, _fault(raw))
            return found

        return command

    def copying_rows(plain: Any) -> Any:
        @contextmanager
        def copy(cursor: Any, query: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
            raw, text = cursor.connection.pgconn, _text(query)
            spot = tracer.before(side(raw), text, _fault(raw))
            with plain(cursor, query, *arguments, **options) as stream:
                tracer.after(spot, _fault(raw))
                yield stream
                spot = tracer.before(side(raw), f"end of {text}", _fault(None))
            tracer.after(spot, _fault(raw))

        return copy

    def connecting(plain: Any) -> Any:
        def connect(dsn: str, *arguments: Any, **options: Any) -> Any:
            port = int(str(conninfo_to_dict(dsn).get("port") or 0))
            spot = tracer.before(tracer.sides.get(port), "a session", _fault(None))
            connection = plain(dsn, *arguments, **options)
            tracer.after(spot, _fault(None))
            return connection

        return connect

    yield psycopg.Cursor, "execute", executing
    yield psycopg.ServerCursor, "execute", executing
    yield psycopg.Connection, "_exec_command", commanding
    yield psycopg.Cursor, "copy", copying_rows
    yield psycopg, "connect", connecting


def _raw_copies(tracer: Tracer) -> Wraps:
    def side(raw: pq.abc.PGconn) -> Side | None:
        return tracer.sides.get(int(raw.port or 0))

    def reading(plain: Any) -> Any:
        def copy_out(connection: Any, query: Any, **options: Any) -> Any:
            raw, text = connection.pgconn, f"COPY ({_text(query)}) TO STDOUT"
            spot = tracer.before(side(raw), text, _fault(raw))
            found = plain(connection, query, **options)
            tracer.after(spot, _fault(raw))
            return found

        return copy_out

    def beginning(plain: Any) -> Any:
        def begin(self: Any, connection: Any, target: Any, *arguments: Any, **options: Any) -> None:
            raw, text = connection.pgconn, f"COPY {_text(target)} FROM STDIN"
            spot = tracer.before(side(raw), text, _fault(raw))
            plain(self, connection, target, *arguments, **options)
            tracer.after(spot, _fault(None))

        return begin

    def writing(words: str) -> Callable[[Any], Any]:
        def make(plain: Any) -> Any:
            def write(self: Any, *arguments: Any) -> Any:
                spot = tracer.before(side(self._raw), words, _refused(self))
                found = plain(self, *arguments)
                tracer.after(spot, _refused(self))
                return found

            return write

        return make

    yield copying, "_copy_out", reading
    yield copying.CopyIn, "__init__", beginning
    yield copying.CopyIn, "__call__", writing("a block of a COPY")
    yield copying.CopyIn, "end", writing("the end of a COPY")


def _refused(copy: Any) -> Fault:
    """A server without room ends the COPY; a driver that breaks leaves that to the engine."""

    def fault(full: bool) -> BaseException:
        if not full:
            return psycopg.OperationalError("something between engine and server broke")
        copy._raw.put_copy_end(b"no room")
        copy._press()
        copying._drain(copy._raw)
        return psycopg.errors.DiskFull("no room")

    return fault


# -- files, journal, programs ----------------------------------------------------------------------------------------


def _disk(full: bool) -> BaseException:
    code = errno.ENOSPC if full else errno.EIO
    return OSError(code, os.strerror(code))


def _files(tracer: Tracer, folder: Path) -> Wraps:
    root = str(folder.resolve())

    def name(path: Any, beside: int | None) -> str | None:
        text = Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else Path(path)
        whole = os.path.realpath(text if beside is None else Path(f"/proc/self/fd/{beside}").readlink() / text)
        return whole.removeprefix(root).lstrip("/") or "." if whole.startswith(root) else None

    def around(verb: str, *, wanted: Callable[..., bool] = lambda *_, **__: True, shown: int = 0) -> Any:
        def make(plain: Any) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                beside = options.get("dir_fd", options.get("dst_dir_fd"))
                found = name(arguments[shown], beside) if wanted(*arguments, **options) else None
                spot = tracer.before(Side.FILE if found else None, f"{verb} {found}", _disk)
                result = plain(*arguments, **options)
                tracer.after(spot, _disk)
                return result

            return call

        return make

    def writes(_: Any, mode: str = "r", *__: Any, **___: Any) -> bool:
        return bool(WRITING & set(mode))

    def creates(_: Any, flags: int, *__: Any, **___: Any) -> bool:
        return bool(flags & os.O_CREAT)

    def is_new(path: Any, *_: Any, dir_fd: int | None = None, **__: Any) -> bool:
        return not (Path(path) if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}") / path).exists()

    def is_there(*arguments: Any, **options: Any) -> bool:
        return not is_new(*arguments, **options)

    yield pathlib.Path, "open", around("write", wanted=writes)
    yield os, "open", around("make", wanted=creates)
    yield os, "fsync", around("sync")
    yield os, "replace", around("put", shown=1)
    yield os, "rename", around("put", shown=1)
    yield os, "mkdir", around("folder", wanted=is_new)
    yield os, "unlink", around("remove", wanted=is_there)
    yield os, "rmdir", around("remove", wanted=is_there)


@dataclass(frozen=True, slots=True)
class _Lines:
    """A private database: each write of the journal, and the end of each transaction of a book, is an effect."""

    plain: sqlite3.Connection
    tracer: Tracer
    name: str = ""

    def execute(self, query: str, values: Any = ()) -> sqlite3.Cursor:
        writes = query == "COMMIT" if self.name else query.startswith("INSERT")
        words = self.name or f"line {values[0] if values else ''}"
        spot = self.tracer.before(Side.JOURNAL if writes else None, words, _journal)
        found = self.plain.execute(query, values)
        self.tracer.after(spot, _journal)
        return found

    def executemany(self, query: str, values: Any) -> sqlite3.Cursor:
        return self.plain.executemany(query, values)

    def close(self) -> None:
        self.plain.close()


def _journal(full: bool) -> BaseException:
    return sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")


def _others(tracer: Tracer) -> Wraps:
    def opening(plain: Any) -> Any:
        def begin(journal: Any, path: Path) -> None:
            plain(journal, path)
            journal._database = _Lines(journal._database, tracer)

        return begin

    def keeping(plain: Any) -> Any:
        def database(book: Any) -> Any:
            found = plain(book)
            return _Lines(found, tracer, f"commit {book.path.name}")

        return database

    def timing(plain: Any) -> Any:
        @contextmanager
        def timed(record: Any, stage: str, **options: Any) -> Iterator[Any]:
            with tracer.staged(stage), plain(record, stage, **options) as words:
                yield words

        return timed

    def running(plain: Any) -> Any:
        def start(process: Any, arguments: Any, *others: Any, **options: Any) -> None:
            words = [Path(str(arguments[0])).name, *(str(word).partition("=")[0] for word in arguments[1:])]
            asked = None if "--version" in words else Side.PROGRAM
            spot = tracer.before(asked, " ".join(words), _disk)
            plain(process, arguments, *others, **options)
            tracer.after(spot, _disk)

        return start

    yield Journal, "__init__", opening
    yield PrivateFile, "_database", keeping
    yield Record, "timed", timing
    yield subprocess.Popen, "__init__", running
