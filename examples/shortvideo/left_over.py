"""Ends what an earlier start left running: whoever is killed cannot stop what it started.

Two stores on the same files would ruin them. A process counts as left over when it works in the folder that was
made for it and its command names the program; so neither a number that was given to somebody else nor a shell that
looks around there is ended. Linux only (/proc).
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

WAIT_SECONDS_MAX: Final = 10
POLL_SECONDS: Final = 0.02


def end_left_over(folder: Path, program: str) -> int:
    """Kill every `program` that works in `folder` and wait until it is gone; return how many there were."""
    found = _working_in(folder, program)
    for number in found:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while _working_in(folder, program):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{program} in {folder} outlived SIGKILL")
        time.sleep(POLL_SECONDS)
    return len(found)


def _working_in(folder: Path, program: str) -> list[int]:
    wanted, found = folder.resolve(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # ended meanwhile, or somebody else's
                if (entry / "cwd").readlink() == wanted and program.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found
