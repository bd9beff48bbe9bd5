"""A contender in a process of its own, so that processor time and memory are its alone.

It is forked from a process that has imported what all of them need and done nothing else. What it needs beforehand is
read before the clock starts. Memory is the kernel's high-water mark of the process, interpreter and libraries included.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TypeVar

from bench.pairing import Sample

SECONDS_MAX: Final = 3_600
Task = TypeVar("Task")
Prepared = Callable[[], int]
"""The work that is timed; returns how many rows, or whatever is counted, it did."""


def apart(prepare: Callable[[Task], Prepared], task: Task, *, imports: str) -> Sample:
    """Prepare and run a task in a fresh process that has this module; raise RuntimeError when it fails."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([imports])
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(prepare, task, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS_MAX):
            raise RuntimeError(f"{prepare} took longer than {SECONDS_MAX} s")
        seconds, cpu_s, memory, rows = ours.recv()
    except EOFError:
        raise RuntimeError(f"{prepare} ended without an answer; its error stands above") from None
    finally:
        process.terminate()
        process.join()
    return Sample(seconds=seconds, client_cpu_s=cpu_s, peak_rss_bytes=memory, rows=rows)


def _work(prepare: Callable[[Task], Prepared], task: Task, answers: Connection) -> None:
    run = prepare(task)
    cpu, start = time.process_time(), time.monotonic()
    rows = run()
    seconds, used = time.monotonic() - start, time.process_time() - cpu
    answers.send((seconds, used, peak_rss_bytes("self"), rows))


def peak_rss_bytes(process: int | str) -> int:
    """The high-water mark of a process's memory, 0 when it is gone. (getrusage's counts the parent's, too.)"""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)
