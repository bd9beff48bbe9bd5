"""A restore that is really done: a dump of the home, restored beside it on the same server, and read back.

The dump is made for the proof, or is the newest one in the home's own folder of backups. Beside it, so that no private
data leaves home for the proof. The scratch database is dropped afterwards, also after a crash, when the proof is next
asked for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from domicile.errors import HostFault, NoClearance, StoreFault
from domicile.model import Scope, Slice
from domicile.proof import Measure
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.reading import snapshot
from domicile.stores.postgres.schema import EMPTY_PATH, environment_of
from domicile.stores.postgres.session import application_path, connect, faults, run

SCRATCH_SUFFIX = "_domicile_restore"
METHOD = "pg_dump, restored into a scratch database on the home's server, all slices read there"
METHOD_OF_BACKUP = (
    "the newest dump of the home's own backups, restored into a scratch database on the home's server, all slices read "
    "there"
)
METHOD_OF_MOMENT = (
    "a dump of the moment that was compared, kept in the home's own folder of backups, restored into a scratch "
    "database on the home's server, all slices read there"
)
METHOD_OF_REPOSITORY = (
    "the newest backup in the home's own pgBackRest repository, restored with the WAL after it up to the place that "
    "was compared, by a scratch server on its own folder, all slices read there"
)
READY = "make the restored backup ready to be read"
PART = ".domicile-backup.part"
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
    backup: Path | None = None,
    prepare: Callable[[psycopg.Connection[Any]], None] | None = None,
) -> Iterator[Measure]:
    """Dump (the exported snapshot `moment`, or now), restore, `prepare`, read every slice from what was restored.

    With `backup` that dump is restored instead; NoClearance when it can't be.
    """
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
        _pipe(_Dump(dsn=dsn, moment=moment, backup=backup), target, major, store)
        connection = connect(target, store=store)
        try:
            if prepare is not None:
                with faults(store, READY):
                    prepare(connection)
            yield from read(connection, scope, slices, key=key, store=store)
        finally:
            connection.close()
    finally:
        if not admin.closed:
            with faults(store, "drop the scratch database"):
                _drop(admin, scratch)
            admin.close()


def read(
    connection: psycopg.Connection[Any], scope: Scope, slices: tuple[Slice, ...], *, key: bytes, store: str
) -> Iterator[Measure]:
    """Read every slice from what was restored."""
    with faults(store, "read the restored backup"), application_path(connection):
        connection.execute("ANALYZE")
    with snapshot(connection, scope, key, store) as view:
        for piece in slices:
            yield view.read(piece, _discard, at_home=True)


def back_up(dsn: str, path: Path, *, moment: str, store: str) -> None:
    """Write a dump of the exported snapshot `moment`; `path` is there whole, on the disk, or as it was before."""
    part = path.with_name(PART)
    with connect(dsn, store=store) as admin:
        major = admin.info.server_version // 10_000
    with tempfile.TemporaryFile() as words:
        dump = _start("pg_dump", major, dsn, ["--format=custom", f"--snapshot={moment}"], words)
        assert dump.stdout is not None
        try:
            with part.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                shutil.copyfileobj(dump.stdout, file, BLOCK_BYTES)
                file.flush()
                os.fsync(file.fileno())
            if dump.wait() != 0:
                raise StoreFault(f"store {store}: pg_dump could not write its backup {path}; run again")
            part.replace(path)
            _sync_folder(path.parent)
        except OSError as fault:
            raise HostFault(f"store {store}: its backup {path} can't be written: {fault.strerror}") from None
        finally:
            dump.kill()
            dump.stdout.close()
            dump.wait()
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(_: bytes) -> None:
    return None


def _drop(admin: psycopg.Connection[Any], name: str) -> None:
    run(admin, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dump:
    """What is restored: a dump that is made now, or a backup."""

    dsn: str
    moment: str | None
    backup: Path | None

    @property
    def program(self) -> str:
        return "pg_restore" if self.backup else "pg_dump"

    @property
    def arguments(self) -> list[str]:
        plain = ["--no-owner", "--no-acl"]
        if self.backup:
            return [*plain, "--file=-", str(self.backup)]
        return ["--format=plain", *plain, *([f"--snapshot={self.moment}"] if self.moment else [])]


def _pipe(what: _Dump, target: str, major: int, store: str) -> None:
    """pg_dump | psql (or pg_restore | psql), less the session lines that only newer servers know.

    psql tells codes only: a message may quote the value that a type, a constraint or a function didn't like (P8).
    """
    with tempfile.TemporaryFile() as words:
        dump = _start(what.program, major, what.dsn, what.arguments, words)
        load = _start(
            "psql", major, target,
            ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=sqlstate", "--single-transaction",
             "--output=/dev/null"], words,
            stdin=subprocess.PIPE,
        )  # fmt: skip
        broken = not _relay(dump, load)
        failed = [name for name, child in ((what.program, dump), ("psql", load)) if child.wait() != 0]
        words.seek(0)
        text = words.read(400).decode(errors="replace").split("DETAIL")[0].splitlines()
    if not failed and not broken:
        return
    where = " and ".join(failed) or "the pipe"
    if what.backup:  # pg_restore's own words may quote what is damaged
        raise NoClearance(
            f"store {store}: its newest backup {what.backup} can't be restored (in {where}); it is damaged, or of "
            "other versions. Take a new one, then run `domicile apply` again"
        )
    raise StoreFault(
        f"store {store}: the restore for the proof failed in {where}: "
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
