"""Many short byte strings kept as one: `bounds[n]` to `bounds[n + 1]` is where the string of number n stands."""

from __future__ import annotations

import numpy as np

from domicile.native.compiled import compiled
from domicile.native.patterns import Bytes, Places, Words

_PRIME = np.uint64(0x100000001B3)
_BASIS = np.uint64(0xCBF29CE484222325)
_HALF = np.uint64(32)


@compiled()
def hash_texts(texts: Bytes, bounds: Places, hashes: Words) -> None:
    """Hash each string (FNV-1a): equal ones alike."""
    for number in range(len(hashes)):
        found = _BASIS
        for at in range(bounds[number], bounds[number + 1]):
            found = (found ^ np.uint64(texts[at])) * _PRIME
        hashes[number] = found ^ (found >> _HALF)


@compiled()
def mark_repeated(
    order: Places, hashes: Words, texts: Bytes, bounds: Places, ranks: Bytes, repeated: Bytes
) -> None:  # fmt: skip
    """Mark each string that equals an earlier one in `order` (by hash, then number), which takes the least rank."""
    begin = 0
    for entry in range(len(order)):
        number = order[entry]
        if hashes[number] != hashes[order[begin]]:
            begin = entry
        for earlier in range(begin, entry):
            other = order[earlier]
            length = bounds[number + 1] - bounds[number]
            if repeated[other] or bounds[other + 1] - bounds[other] != length:
                continue
            same = True
            for step in range(length):
                if texts[bounds[number] + step] != texts[bounds[other] + step]:
                    same = False
                    break
            if same:
                repeated[number] = 1
                ranks[other] = min(ranks[other], ranks[number])
                break
