"""P5: a disk that is really full, at the source, at home and under the engine's own folder; with room again, it ends
the same."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pytest

from domicile.errors import DomicileError, HostFault, Waiting
from domicile.run import Stage
from domicile.stores.postgres.server import EmbeddedServer, ServerSettings
from tests.attack.programme import make
from tests.crash.conftest import CrashWorld
from tests.crash.world import RULES, SCHEMA, expected_end
from tests.servers import PASSWORD, SCRATCH, create_database, own_server

pytestmark = pytest.mark.crash
DISK_MIB: Final = 256
LEFT_KIB: Final = 64
FILL_TRIES_MAX: Final = 50
SMALL: Final = {"max_wal_size": "32MB", "min_wal_size": "32MB", "autovacuum": "off", "shared_buffers": "16MB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A small file system with a server on it."""

    folder: Path
    server: EmbeddedServer

    def fill(self) -> None:
        """Leave no more than a few blocks, whoever asks."""
        with (self.folder / "ballast").open("wb") as ballast:
            for more in range(FILL_TRIES_MAX):  # the server writes meanwhile, and may take what was free a moment ago
                free = os.statvfs(self.folder)
                with suppress(OSError):
                    size = free.f_bavail * free.f_frsize - LEFT_KIB * 1024 * (1 + more // 10)
                    os.posix_fallocate(ballast.fileno(), 0, size)
                    return
                ballast.truncate(0)
        raise RuntimeError("the disk can't be filled")

    def empty(self) -> None:
        """Give the room back and restart the server, as an operator would after it gave up; returns when it serves."""
        (self.folder / "ballast").unlink()
        self.server.kill()
        self.server.restart()


@contextmanager
def small_disk(name: str) -> Iterator[Disk]:
    """Mount a file system in memory, and start a server on it; needs root, as the other servers' packages do."""
    folder = Path(tempfile.mkdtemp(prefix=f"domicile-test-{name}-", dir=SCRATCH))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0711", "tmpfs", folder], check=True)
        stack.callback(_unmount, folder)
        settings = ServerSettings(binaries=None, parameters=SMALL)
        server = EmbeddedServer.start(folder, name=name, password=PASSWORD, settings=settings)
        stack.callback(server.kill)
        yield Disk(folder=folder, server=server)


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", folder], check=True)


@contextmanager
def world_on(source: EmbeddedServer, home: EmbeddedServer, folder: Path) -> Iterator[CrashWorld]:
    """The crash world on these servers."""
    dsn = create_database(source, "source_full")
    homes = {name: create_database(home, f"home_{name.lower()}_full") for name in ("CA", "US")}
    with psycopg.connect(dsn) as connection:
        connection.execute(SCHEMA.encode())
    yield CrashWorld(
        source_server=source, home_server=home, source=dsn, homes=homes,
        programme=make(folder, RULES, source=dsn, homes=homes), end=expected_end(dsn),
    )  # fmt: skip


def finish(world: CrashWorld) -> None:
    """What is left to do."""
    with pytest.raises(Waiting):
        world.programme.apply()
    world.programme.approve()
    world.programme.apply(yes=True)
    world.assert_done()


def test_p5_home_is_full(tmp_path: Path) -> None:
    with (
        small_disk("full-home") as disk,
        own_server("beside-full") as source,
        world_on(source, disk.server, tmp_path / "programme") as world,
    ):
        world.programme.plan()
        disk.fill()
        with pytest.raises(DomicileError, match="run again"):
            world.programme.apply()
        disk.empty()
        world.assert_nothing_lost()
        finish(world)


@pytest.mark.parametrize("until", [None, Stage.CLEAR])
def test_p5_the_source_is_full(tmp_path: Path, until: Stage | None) -> None:
    """Before the freeze writes its manifest; and between clearance and erasure."""
    with (
        small_disk("full-source") as disk,
        own_server("beside-full") as home,
        world_on(disk.server, home, tmp_path / "programme") as world,
    ):
        world.programme.plan()
        if until is not None:
            with pytest.raises(Waiting):
                world.programme.apply()
            world.programme.approve()
            world.programme.apply(until=until)
        disk.fill()
        with pytest.raises(DomicileError):
            world.programme.apply(yes=True)
        disk.empty()
        world.assert_nothing_lost()
        if until is None:
            finish(world)
            return
        world.programme.apply(yes=True)
        world.assert_done()


@pytest.mark.parametrize("kib", [0, 24, 48, 96])
def test_p5_the_engines_own_folder_is_full(crash_world: CrashWorld, kib: int) -> None:
    """No file of the engine may grow beyond a size: journal, log and statements stop in different places."""
    crash_world.programme.plan()
    program = (
        f"import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f" resource.setrlimit(resource.RLIMIT_FSIZE, ({kib * 1024}, {resource.RLIM_INFINITY}));"
        " import sys; sys.argv[1:] = ['apply', '--yes']; from domicile.cli import main; main()"
    )
    process = crash_world.programme.start(entry=("-c", program))
    words, _ = process.communicate(timeout=120)
    assert process.returncode in (HostFault.exit_code, Waiting.exit_code), words
    assert "Traceback" not in words
    crash_world.assert_nothing_lost()
    finish(crash_world)
