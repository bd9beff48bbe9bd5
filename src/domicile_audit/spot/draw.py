"""Which slices a spot check looks at, and what a sample says of the rest (docs/formats-spot-check.md, "The draw").

Whoever knows the log's root and the seed computes the same tickets: nobody can prefer a slice afterwards. Lower tickets
are drawn first, so a longer draw of the same seed holds the shorter one.
"""

import hashlib
import heapq
import math
from collections.abc import Iterable, Sequence
from typing import Final

TAG: Final = b"urn:domicile:draw/v1\x00"
SEED_CHARS_MAX: Final = 1_024
DOUBT: Final = (1, 20)  # one in twenty: what is said holds at 95 %


def ticket(root: bytes, seed: str, slice_id: str) -> bytes:
    """SHA-256 over the tag, the root of the signed checkpoint, the SHA-256 of the seed, and the slice's id."""
    return hashlib.sha256(TAG + root + hashlib.sha256(seed.encode()).digest() + slice_id.encode()).digest()


def draw(root: bytes, seed: str, slice_ids: Iterable[str], count: int) -> Sequence[str]:
    """The ids with the lowest tickets, at most `count`; ValueError where the seed is none."""
    if not seed.strip() or not seed.isprintable() or len(seed) > SEED_CHARS_MAX:
        raise ValueError(f"the seed has to be a printable text of at most {SEED_CHARS_MAX} characters")
    return heapq.nsmallest(count, slice_ids, key=lambda one: ticket(root, seed, one))


def at_most(population: int, drawn: int, wrong: int) -> int:
    """How many of the population are wrong at most, at 95 %, where `wrong` of `drawn` were (drawn without return).

    The exact hypergeometric bound: the largest number of wrong ones with which so few would be found more often than
    once in twenty. Where none was found and few of many were drawn, that is about 3/drawn of the population.
    """
    low, high = wrong, population - (drawn - wrong)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _is_likely(population, drawn, wrong, middle) else (low, middle - 1)
    return low


def _is_likely(population: int, drawn: int, wrong: int, bad: int) -> bool:
    """Whether at most `wrong` of `drawn` are found more often than one in twenty, if `bad` of the population are."""
    found = range(min(wrong, bad, drawn) + 1)
    few = sum(math.comb(bad, one) * math.comb(population - bad, drawn - one) for one in found)
    return few * DOUBT[1] > math.comb(population, drawn) * DOUBT[0]
