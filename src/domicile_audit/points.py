"""Public keys of small order, with which anybody signs: refused (docs/formats.md, "Keys and signatures")."""

from __future__ import annotations

from typing import Final

_PRIME: Final = 2**255 - 19  # RFC 8032 section 5.1
_EIGHTH: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826  # y of a point of order 8
SMALL_ORDER: Final = frozenset({0, 1, _EIGHTH, _PRIME - _EIGHTH, _PRIME - 1, _PRIME, _PRIME + 1})
"""The y of each point of order 1, 2, 4 or 8, and 0 and 1 once more in their other spelling."""


def has_small_order(public: bytes) -> bool:
    """Say whether a public key (32 bytes) is one of those; the sign of x, its top bit, does not matter."""
    return int.from_bytes(public, "little") % 2**255 in SMALL_ORDER
