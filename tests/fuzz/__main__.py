"""Fuzz every reader for a while, in two ways: `python -m tests.fuzz --seconds 600 [--seed N]` (`make fuzz`).

By seed: each input follows from the seed, the number of the round and the name of the reader.
By coverage: what takes a new way through the code is kept and changed again (`guided.py`); where atheris is not there,
that is said, and the first way is all.

Each reader has a process of its own, with bounds for each input. Ends with 1 where something comes out that is no
refusal; the input is left in a file, and `--only NAME --again FILE` gives it again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from tests.fuzz.keeping import CPU_S, FOLDER, Give, Kept, keep, slug
from tests.fuzz.targets import TARGETS, seconds_of

ABSENT = 3
"""What `guided` ends with where there is no atheris."""


def main() -> int:
    """Both ways, one after the other; or one input again."""
    options = _options()
    if options.again:
        return _again(options)
    names = options.only or list(TARGETS)
    seeded = _by_seed(names, options)
    guided = _by_coverage(options)
    return max(seeded, 0 if guided == ABSENT else guided)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Give every reader hostile input.")
    parser.add_argument("--seconds", type=float, default=60, help="how long in each of the two ways (60)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats what goes by seed (the time)")
    parser.add_argument("--only", choices=list(TARGETS), action="append", help="one reader; may be said again")
    parser.add_argument("--again", type=Path, metavar="FILE", help="give the one reader this input, and nothing else")
    parser.add_argument("--cpu", type=float, default=CPU_S, help=f"seconds of processor time for one input ({CPU_S:g})")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"inputs that are kept, and findings ({FOLDER})")
    options = parser.parse_args()
    if options.again and len(options.only or ()) != 1:
        parser.error("--again wants --only NAME, once: the reader that is given the file")
    return options


def _by_seed(names: list[str], options: argparse.Namespace) -> int:
    total = found = 0
    for name in names:
        kept = _kept(name, options, partial(_rounds, name, options, seconds_of(name, names, options.seconds)))
        total += kept.given
        if kept.finding is not None:
            found += 1
            sys.stdout.write(kept.finding.say(kept.finding.write(options.folder / "findings")))
    what = "nothing but refusals came out" if not found else f"{found} of them let something else out"
    sys.stdout.write(f"by seed: {total:,} inputs for {len(names)} readers, seed {options.seed}: {what}\n")
    return 1 if found else 0


def _rounds(name: str, options: argparse.Namespace, seconds: float, give: Give) -> None:
    """Give a reader one input after the other, until its part of the time is over."""
    end = time.monotonic() + seconds
    number = 0
    while not number or time.monotonic() < end:
        give(TARGETS[name].make(Random(f"{options.seed} {number} {name}")))  # noqa: S311  (a seeded test)
        number += 1


def _by_coverage(options: argparse.Namespace) -> int:
    words = ["--seconds", str(options.seconds), "--seed", str(options.seed), "--cpu", str(options.cpu)]
    words += ["--folder", str(options.folder)]
    words += [word for name in options.only or () for word in ("--only", name)]
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", "tests.fuzz.guided", *words], check=False).returncode


def _again(options: argparse.Namespace) -> int:
    data = options.again.read_bytes()
    name = options.only[0]
    kept = _kept(name, options, lambda give: give(data))
    if kept.finding is None:
        sys.stdout.write(f"{name}: read, or refused: {options.again}\n")
        return 0
    sys.stdout.write(kept.finding.say(options.again))
    return 1


def _kept(name: str, options: argparse.Namespace, work: Callable[[Give], object]) -> Kept:
    return keep(name, work, log=options.folder / f"{slug(name)}.log", cpu_s=options.cpu)


if __name__ == "__main__":
    sys.exit(main())
