"""A restore that is really done: pg_dump of the home, restored beside it on the same server, and read back.

Beside it, so that no private data leaves home for the proof. The scratch database is dropped afterwards, also after a
crash, when the proof is next asked for.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from domicile.errors import HostFault, StoreFault
from domicile.model import Scope, Slice
from domicile.proof import Measure
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.reading import snapshot
from domicile.stores.postgres.schema import EMPTY_PATH, environment_of
from domicile.stores.postgres.session import application_path, connect, faults, run

SCRATCH_SUFFIX = "_domicile_restore"
METHOD = "pg_dump, restored into a scratch database on the home's server, all slices read there"
BLOCK_BYTES = 1024 * 1024
HEADER_LINES_MAX = 200
HEADER_LEFT_OUT = (b"SET transaction_timeout", EMPTY_PATH.encode())


def prove(  # noqa: PLR0913 - what, how it is read, and of which moment
    dsn: str,
    scope: Scope,
    slices: tuple[Slice, ...],
    *,
    key: bytes,
    store: str,
    moment: str | None = None,
    prepare: Callable[[psycopg.Connection[Any]], None] | None = None,
) -> Iterator[Measure]:
    """Dump (the exported snapshot `moment`, or now), restore, `prepare`, read every slice from what was restored."""
    admin = connect(dsn, store=store)
    scratch = admin.info.dbname[: 63 - len(SCRATCH_SUFFIX)] + SCRATCH_SUFFIX
    major = admin.info.server_version // 10_000
    try:
        with faults(store, "make the scratch database for the restore (the role needs CREATEDB)"):
            _drop(admin, scratch)
            run(admin, sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE 'C'{}").format(
                sql.Identifier(scratch), sql.Literal(admin.info.parameter_status("server_encoding") or "UTF8"),
                    sql.SQL(" LOCALE_PROVIDER libc" if major >= 15 else ""),
            ))  # fmt: skip
        target = make_conninfo(dsn, dbname=scratch)
        _pipe(dsn, target, major, store, moment)
        connection = connect(target, store=store)
        try:
            if prepare is not None:
                with faults(store, "make the restored backup ready to be read"):
                    prepare(connection)
            with faults(store, "read the restored backup"), application_path(connection):
                connection.execute("ANALYZE")
            with snapshot(connection, scope, key, store) as view:
                for piece in slices:
                    yield view.read(piece, _discard, at_home=True)
        finally:
            connection.close()
    finally:
        if not admin.closed:
            with faults(store, "drop the scratch database"):
                _drop(admin, scratch)
            admin.close()


def _discard(_: bytes) -> None:
    return None


def _drop(admin: psycopg.Connection[Any], name: str) -> None:
    run(admin, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _pipe(dsn: str, target: str, major: int, store: str, moment: str | None) -> None:
    """pg_dump | psql, less the session lines that only newer servers know.

    psql tells codes only: a message may quote the value that a type, a constraint or a function didn't like (P8).
    """
    with tempfile.TemporaryFile() as words:
        dump = _start("pg_dump", major, dsn,
            ["--format=plain", "--no-owner", "--no-acl", *([f"--snapshot={moment}"] if moment else [])], words,
        )  # fmt: skip
        load = _start(
            "psql", major, target,
            ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=sqlstate", "--single-transaction",
             "--output=/dev/null"], words,
            stdin=subprocess.PIPE,
        )  # fmt: skip
        broken = not _relay(dump, load)
        failed = [name for name, child in (("pg_dump", dump), ("psql", load)) if child.wait() != 0]
        words.seek(0)
        text = words.read(400).decode(errors="replace").split("DETAIL")[0].splitlines()
    if failed or broken:
        raise StoreFault(
            f"store {store}: the restore for the proof failed in {' and '.join(failed) or 'the pipe'}: "
            f"{text[0] if text else 'no message'}; without a proven restore there is no clearance"
        )


def _relay(dump: subprocess.Popen[bytes], load: subprocess.Popen[bytes]) -> bool:
    source, target = dump.stdout, load.stdin
    if source is None or target is None:
        raise RuntimeError("pipes were asked for")
    try:
        for _ in range(HEADER_LINES_MAX):
            line = source.readline()
            if not line.startswith(HEADER_LEFT_OUT):
                target.write(line)
        while block := source.read(BLOCK_BYTES):
            target.write(block)
        target.close()
    except BrokenPipeError:
        dump.kill()
        return False
    finally:
        source.close()
    return True


def _start(  # noqa: PLR0913, PLR0917 - a program, its server, and its ends
    program: str, major: int, dsn: str, arguments: list[str], words: IO[bytes], stdin: int | None = None
) -> subprocess.Popen[bytes]:
    path: Path = find_client(program, at_least_major=major)
    variables = {**os.environ, **environment_of(dsn), "PGCLIENTENCODING": "UTF8"}  # noqa: TID251
    try:
        return subprocess.Popen(
            [str(path), *arguments], env=variables, stdin=stdin,
            stdout=subprocess.PIPE if stdin is None else subprocess.DEVNULL, stderr=words,
        )  # fmt: skip
    except OSError as fault:
        raise HostFault(f"{path} can't be run: {fault.strerror}") from None
