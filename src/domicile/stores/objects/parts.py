"""What a write checks first, and how a large object is cut.

Parts are equal and the same on every run, so that parts already there are known again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from domicile.errors import NotEqual, StoreFault
from domicile.stores.objects import KEY_BYTES_MAX

PART_BYTES: Final = 8 * 1024 * 1024
"""The size of a part, and of the largest object that goes as a whole."""
PARTS_MAX: Final = 10_000
"""S3's limit."""
PART_BYTES_MAX: Final = 64 * 1024 * 1024
"""What one part may take of our memory; it bounds an object at 625 GiB."""


def refuse_key(key: str, *, store: str) -> None:
    """Raise StoreFault for a key that no store of keys can hold: empty, too long, or not to be written as UTF-8."""
    try:
        fits = 0 < len(key.encode()) <= KEY_BYTES_MAX
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise StoreFault(f"store {store}: a key is empty, longer than {KEY_BYTES_MAX} bytes or no UTF-8; rename it")


def part_bytes(size: int, *, store: str) -> int:
    """The size of the parts of an object of `size` bytes: 8 MiB, or more where these would be too many.

    Raises StoreFault above the limit.
    """
    least = -(-size // PARTS_MAX)
    if least > PART_BYTES_MAX:
        raise StoreFault(
            f"store {store}: an object of {size} bytes is larger than {PARTS_MAX} parts of {PART_BYTES_MAX} bytes; "
            "move it by hand"
        )
    return max(PART_BYTES, -(-least // PART_BYTES) * PART_BYTES)


def cut(blocks: Iterable[bytes], *, part: int, size: int) -> Iterator[bytes]:
    """Give the blocks as parts of `part` bytes, the last one shorter; raise NotEqual unless they are `size` bytes.

    A stream that is too long is noticed before the part that would hold its end.
    """
    held: list[bytes] = []
    room, total = part, 0
    for block in blocks:
        total += len(block)
        if total > size:
            raise NotEqual(f"more than the announced {size} bytes came; the object was changed, plan again")
        rest = block
        while len(rest) >= room:
            held.append(rest[:room])
            rest, room = rest[room:], part
            yield _joined(held)
        if rest:
            held.append(rest)
            room -= len(rest)
    if total != size:
        raise NotEqual(f"{total} bytes came where {size} were announced; the object was changed, plan again")
    if held:
        yield _joined(held)


def whole(blocks: Iterable[bytes], *, size: int) -> bytes:
    """A small object's bytes; raise NotEqual unless they are `size`."""
    return b"".join(cut(blocks, part=PART_BYTES, size=size))


def sizes(size: int, part: int) -> list[int]:
    """How long each part is."""
    return [min(part, size - start) for start in range(0, size, part)]


def checksum(part: bytes) -> bytes:
    """S3's own checksum of a part. It tells parts apart; what guards the copy is the keyed digest read back."""
    return hashlib.md5(part, usedforsecurity=False).digest()


def _joined(held: list[bytes]) -> bytes:
    """Take the pieces out as one."""
    taken = b"".join(held)
    held.clear()
    return taken
