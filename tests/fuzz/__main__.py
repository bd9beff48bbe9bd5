"""Fuzz every reader for a while: `python -m tests.fuzz --seconds 600 [--seed N] [--only NAME]` (`make fuzz`).

Each input follows from the seed, the number of the round and the name of the reader: what is printed repeats it. Ends
with 1 at the first thing that comes out and is no refusal, and leaves the input in a file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from tests.fuzz.targets import TARGETS, try_once


def main() -> int:
    """Go round the readers until the time is over."""
    options = _options()
    names = [options.only] if options.only else list(TARGETS)
    end = time.monotonic() + options.seconds
    tried = Counter[str]()
    number = 0
    while time.monotonic() < end:
        for name in names:
            seed = f"{options.seed} {number}"
            try:
                try_once(name, seed)
            except Exception:  # noqa: BLE001  (all that comes out is what is looked for)
                return _tell(name, seed)
            tried[name] += 1
        number += 1
    text = f"{tried.total():,} inputs for {len(names)} readers, seed {options.seed}: nothing but refusals came out\n"
    sys.stdout.write(text)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Give every reader hostile input.")
    parser.add_argument("--seconds", type=float, default=60, help="how long (60)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats a run (the time)")
    parser.add_argument("--only", choices=list(TARGETS), help="one reader")
    return parser.parse_args()


def _tell(name: str, seed: str) -> int:
    traceback.print_exc()
    data = TARGETS[name].make(Random(f"{seed} {name}"))  # noqa: S311  (a seeded test)
    path = Path(tempfile.mkdtemp()) / "input"
    path.write_bytes(data)
    sys.stderr.write(f"{name}: seed {seed!r}, the input is {path}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
