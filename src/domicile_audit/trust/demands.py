"""What a trust policy asks of the story, beside whose keys count: lines of ours, each of them optional.

    fresh DAYS               the certificate is at most so old, at the time of the audit (`--at`)
    require KIND [N]         at least N (1) statements of that type, such as `require sweep/v1`
    tolerate none            every copy has to be called erased-verified
    tolerate VERDICT [KIND]  or may have this verdict (a copy of that kind: `tolerate blocked-until archive`)
    sampled PERCENT          a spot check (`--spot`) of this log found nothing wrong, and leaves at most so much open
    seed TEXT                the seed that was agreed on: a spot check drawn by another one does not count

A policy without these lines asks for nothing of the kind, and then the answer says what is not shown.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from domicile_audit.spot.draw import SEED_CHARS_MAX

WORDS: Final = ("fresh", "require", "tolerate", "sampled", "seed")
VERDICTS: Final = ("key-destroyed", "erased-unverified", "blocked-until", "held", "unknown", "present")
ANY_COPY: Final = ""
DAYS_MAX, STATEMENTS_MAX, PERCENT_MAX = 36_500, 1_000_000, 100


@dataclass(frozen=True, slots=True)
class Demands:
    """What is asked for; `tolerated` holds verdicts and kinds of copies, and is None where nothing is said of them."""

    fresh_days: int | None = None
    required: Mapping[str, int] = field(default_factory=dict)
    tolerated: frozenset[tuple[str, str]] | None = None
    sampled_percent: int | None = None
    seed: str | None = None


def read_demands(lines: Iterable[tuple[int, Sequence[str]]]) -> Demands:
    """Read the lines that begin with one of WORDS, each with its number; ValueError names the line."""
    fresh: list[int] = []
    sampled: list[int] = []
    seeds: list[str] = []
    required: dict[str, int] = {}
    tolerated: list[tuple[str, str]] = []
    for number, words in lines:
        match words:
            case ["fresh", days]:
                fresh.append(_count(days, DAYS_MAX, number))
            case ["sampled", percent]:
                sampled.append(_count(percent, PERCENT_MAX, number))
            case ["seed", seed] if seed.isprintable() and len(seed) <= SEED_CHARS_MAX:
                seeds.append(seed)
            case ["require", kind, *least] if re.fullmatch(r"[a-z]+/v[0-9]+", kind) and len(least) < 2:
                required[kind] = max(required.get(kind, 0), *(_count(one, STATEMENTS_MAX, number) for one in least), 1)
            case ["tolerate", "none"]:
                tolerated.append(("none", ANY_COPY))
            case ["tolerate", verdict] | ["tolerate", verdict, _] if verdict in VERDICTS:
                tolerated.append((verdict, words[2] if len(words) == 3 else ANY_COPY))
            case _:
                raise ValueError(f"line {number}: not a line this version reads")
    if max(len(fresh), len(sampled), len(seeds)) > 1:
        raise ValueError("`fresh`, `sampled` and `seed` stand there at most once each")
    if ("none", ANY_COPY) in tolerated and len(tolerated) > 1:
        raise ValueError("`tolerate none` and another `tolerate` can't both hold")
    return Demands(
        fresh_days=next(iter(fresh), None),
        required=required,
        tolerated=frozenset(tolerated) if tolerated else None,
        sampled_percent=next(iter(sampled), None),
        seed=next(iter(seeds), None),
    )


def _count(text: str, most: int, number: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 7 and 1 <= int(text) <= most):
        raise ValueError(f"line {number}: a whole number from 1 to {most} has to stand there")
    return int(text)
