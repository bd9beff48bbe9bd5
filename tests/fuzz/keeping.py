"""Gives inputs to a reader in a process of its own, within bounds for each, and keeps the one that it trips over.

What is given stands in memory that the parent shares. So it is kept however the process ends: by what comes out of the
reader, by the processor time or the memory of one input, by a fault of the interpreter or of a library below it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import hashlib
import mmap
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.targets import give

MIB: Final = 1024 * 1024
MEMORY_BYTES: Final = 64 * MIB
MEMORY_FOR_EACH_BYTE: Final = 64
"""Of address space beyond what the process had before: so much for any input, and so much more for each byte of it."""
CPU_S: Final = 10.0
"""Of processor time, for one input. Most take a thousandth of it; the longest that were seen a twentieth."""
FOLDER: Final = Path(".cache/fuzz")
INPUT_BYTES_MAX: Final = 16 * MIB
FAULT: Final = 70
"""How a process ends whose reader let something out."""
PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_HEAD_BYTES: Final = 24

Give = Callable[[bytes], None]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came out of a reader that is no refusal, and the input."""

    name: str
    why: str
    data: bytes
    told: str

    def write(self, folder: Path) -> Path:
        """Write the input to a file of that folder, named by its content."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{slug(self.name)}-{hashlib.sha256(self.data).hexdigest()[:12]}"
        path.write_bytes(self.data)
        return path

    def say(self, path: Path) -> str:
        """What it is and how to see it again, as lines for a terminal."""
        again = f'python -m tests.fuzz --only "{self.name}" --again {path}'
        return f"{self.told.strip()}\n{self.name}: {self.why}\n  the input is {path}\n  again: {again}\n"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How a process ended: how many inputs it gave, what it found, and all that it printed."""

    given: int
    finding: Finding | None
    told: str


class FuzzerFault(RuntimeError):
    """The fuzzer itself failed, outside of a reader."""


def keep(name: str, work: Callable[[Give], object], *, log: Path, cpu_s: float = CPU_S) -> Kept:
    """Do the work in a child that is given a way to give its inputs to the reader of this name.

    `work` returns, or ends the process with 0, when it is done. `FuzzerFault` where it fails by itself.
    """
    shared = _Shared()
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be_the_child(name, work, shared, log, cpu_s)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    told = log.read_text(errors="replace")
    if code == 0:
        return Kept(given=shared.given, finding=None, told=told)
    if not shared.inside:
        raise FuzzerFault(f"{name}: the fuzzer itself ended with {code}\n{told[-4_000:]}")
    finding = Finding(name=name, why=_why(code, told, cpu_s), data=shared.data, told=told[-4_000:])
    return Kept(given=shared.given, finding=finding, told=told)


def slug(name: str) -> str:
    """The name as part of a file's name."""
    return "-".join(name.replace("'", "").split())


class _Shared:
    """The input that is being read, how many there were, and whether the reader is at work; seen by both processes."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, _HEAD_BYTES + INPUT_BYTES_MAX)

    @property
    def given(self) -> int:
        return self._number(0)

    @property
    def inside(self) -> bool:
        return bool(self._number(1))

    @property
    def data(self) -> bytes:
        return self._map[_HEAD_BYTES : _HEAD_BYTES + self._number(2)]

    def enter(self, data: bytes) -> None:
        """An input is about to be read."""
        if len(data) > INPUT_BYTES_MAX:
            raise FuzzerFault(f"an input of {len(data)} bytes")
        self._map[_HEAD_BYTES : _HEAD_BYTES + len(data)] = data
        self._map[:_HEAD_BYTES] = b"".join(number.to_bytes(8, "big") for number in (self.given + 1, 1, len(data)))

    def leave(self) -> None:
        """It was read, or refused."""
        self._map[8:16] = bytes(8)

    def _number(self, place: int) -> int:
        return int.from_bytes(self._map[8 * place : 8 * place + 8], "big")


def _be_the_child(name: str, work: Callable[[Give], object], shared: _Shared, log: Path, cpu_s: float) -> None:
    """Do the work, print to the log, and never return."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it does not outlive the parent
        with log.open("wb", buffering=0) as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", errors="replace", closefd=False) for number in (1, 2))
        # The kernel ends the process at the signal, after the place where it was is printed.
        faulthandler.enable(sys.stderr, all_threads=False)
        faulthandler.register(signal.SIGPROF, sys.stderr, all_threads=False, chain=True)
        work(lambda data: _give(name, data, shared, cpu_s))
        code = 0
    except BaseException:  # noqa: BLE001  (what is told here is read by the parent)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _give(name: str, data: bytes, shared: _Shared, cpu_s: float) -> None:
    """Read one input; whatever comes out ends the process there and then."""
    shared.enter(data)
    try:
        with _bounds(len(data), cpu_s):
            give(name, data)
    except BaseException:  # noqa: BLE001  (all that comes out is what is looked for)
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(FAULT)
    shared.leave()


@contextmanager
def _bounds(size: int, cpu_s: float) -> Iterator[None]:
    """Memory that grows with the input and no more, and so much processor time."""
    whole = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_bytes().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES + MEMORY_FOR_EACH_BYTE * size, whole[1]))
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, whole)


def _why(code: int, told: str, cpu_s: float) -> str:
    if code == -signal.SIGPROF:
        return f"took more than {cpu_s:g} s of processor time"
    if code != FAULT:
        return f"the process ended with {code}"
    return next((line for line in reversed(told.strip().splitlines()) if line and line[0] != " "), "nothing was said")
