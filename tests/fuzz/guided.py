"""Fuzz readers by coverage, with atheris (libFuzzer): `python -m tests.fuzz.guided --seconds 600` (`make fuzz`).

The code of domicile and domicile_audit is changed as it is imported, so that it counts which of its edges an input
takes. An input that takes a new one is kept, and changed again: by ways of ours that keep its form, and by libFuzzer's
that know none. Each reader has a process of its own. Ends with 1 where something comes out that is no refusal, with 3
where atheris is not there.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shutil
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

ABSENT: Final = 3
WHERE: Final = "it has wheels for CPython 3.11 to 3.14 on Linux x86_64, and `make venv` installs it there"
try:
    import atheris
except ImportError as missing:
    sys.stderr.write(f"atheris is not here ({missing}), so nothing is fuzzed by coverage; {WHERE}\n")
    sys.exit(ABSENT)

with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["domicile", "domicile_audit"]):
    from tests.fuzz.keeping import CPU_S, FOLDER, Give, Kept, keep, slug
    from tests.fuzz.targets import TARGETS, Target, seconds_of, warm

SEEDS_MAX: Final = 1_000
LENGTH_BYTES_MIN: Final = 4_096
_COUNTS = re.compile(r"^#(\d+)\s.*cov: (\d+) ft: (\d+) corp: (\d+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What libFuzzer says of a run: inputs, edges of the code, features (an edge, and how often), inputs kept."""

    inputs: int
    edges: int
    features: int
    kept: int

    def __str__(self) -> str:
        return f"{self.inputs:,} inputs, {self.edges:,} edges, {self.features:,} features, {self.kept:,} kept"


def main() -> int:
    """Go through the readers, and say what each run reached."""
    options = _options()
    names = options.only or list(TARGETS)
    found = total = 0
    warm()
    for name in names:
        kept = run(name, options, seconds=max(1, round(seconds_of(name, names, options.seconds))))
        reached = reached_by(kept)
        total += reached.inputs
        sys.stdout.write(f"{name}: {reached}\n")
        if kept.finding is not None:
            found += 1
            path = kept.finding.write(options.folder / "findings")
            sys.stdout.write(kept.finding.say(path))
        sys.stdout.flush()
    what = "nothing but refusals came out" if not found else f"{found} of them let something else out"
    sys.stdout.write(f"by coverage: {total:,} inputs for {len(names)} readers, seed {options.seed}: {what}\n")
    return 1 if found else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description="Fuzz every reader by coverage.")
    parser.add_argument("--seconds", type=float, default=60, help="how long, over all readers (60)")
    parser.add_argument("--runs", type=int, default=-1, help="how many inputs for each reader (until the time is over)")
    parser.add_argument("--seed", type=int, default=1, help="repeats a run that began with the same inputs (1)")
    parser.add_argument("--only", choices=list(TARGETS), action="append", help="one reader; may be said again")
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help=f"begin with so many golden ones ({SEEDS_MAX})")
    parser.add_argument("--cpu", type=float, default=CPU_S, help=f"seconds of processor time for one input ({CPU_S:g})")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"inputs that are kept, and findings ({FOLDER})")
    return parser.parse_args()


def run(name: str, options: argparse.Namespace, *, seconds: int) -> Kept:
    """Fuzz one reader in a process of its own."""
    target = TARGETS[name]
    seeds = sorted(target.seeds(), key=zlib.crc32)[: options.seeds]
    places = [options.folder / kind / slug(name) for kind in ("kept", "seeds")]
    shutil.rmtree(places[1], ignore_errors=True)  # there may have been more of them
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (places[1] / f"{number:04d}").write_bytes(seed)
    words = [
        "fuzz", f"-seed={options.seed % 2**31 + 1}", f"-runs={options.runs}", f"-max_total_time={seconds}",
        f"-max_len={max(LENGTH_BYTES_MIN, 2 * max(map(len, seeds), default=0))}", "-len_control=0", "-timeout=86400",
        "-rss_limit_mb=2048", f"-artifact_prefix={options.folder}/", *map(str, places),
    ]  # fmt: skip
    log = options.folder / f"{slug(name)}.log"
    return keep(name, lambda give: _fuzz(target, words, give), log=log, cpu_s=options.cpu)


def _fuzz(target: Target, words: list[str], give: Give) -> None:
    """Never returns: libFuzzer ends the process."""

    def bend(data: bytes, size_max: int, seed: int) -> bytes:
        chance = Random(seed)  # noqa: S311  (libFuzzer's seed)
        if chance.random() < 0.05:
            bent = target.make(chance)
        else:
            bent = target.bend(data, chance, lambda part: bytes(atheris.Mutate(part, len(part) + chance.randrange(64))))
        return bent if len(bent) <= size_max else bytes(atheris.Mutate(data, size_max))

    atheris.Setup(words, give, custom_mutator=bend)
    atheris.Fuzz()


def reached_by(kept: Kept) -> Reached:
    """The last counts that libFuzzer printed; inputs are those that we gave."""
    lines = _COUNTS.findall(kept.told)
    _, edges, features, corpus = map(int, lines[-1]) if lines else (0, 0, 0, 0)
    return Reached(inputs=kept.given, edges=edges, features=features, kept=corpus)


if __name__ == "__main__":
    sys.exit(main())
