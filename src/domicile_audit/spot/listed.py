"""The objects of a slice as the audit key lists them: held against the log's digest, and those that were drawn.

After the audit key's first line follow the objects, a line each: the keyed digest of its key, `leaves` or `stays`, and
the digests of its versions. The log has one digest for all of them together, which binds each: whoever leaves one out
or alters one gets another (docs/formats-spot-check.md, "Digests of objects").
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

import blake3

from domicile_audit.spot.opening import Opening
from domicile_audit.spot.sample import NUMBER, Kept

SLICE_PURPOSE: Final = b"domicile objects of a slice v1\x00"
OBJECT_PURPOSE: Final = b"domicile object v1\x00"
LINE_BYTES_MAX: Final = 16 * 1024 * 1024
LEAVES, STAYS = b"leaves", b"stays"
HEX_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class Thing:
    """One version of an object that was drawn: its place among the object's versions, and its digest (hex)."""

    id: str
    place: int
    digest: str
    leaves: bool


def read_listed(
    file: BinaryIO, opening: Opening, logged: Mapping[str, Kept], drawn: Iterable[str]
) -> dict[str, dict[bytes, list[Thing]]]:
    """Read the lines behind the audit key; of each slice the drawn versions, by the digest of their object's key.

    ValueError unless the lines of each slice give the log's digest and numbers.
    """
    numbers: dict[str, dict[int, str]] = {}
    for id_ in drawn:
        slice_id, _, number = id_.rpartition(NUMBER)
        numbers.setdefault(slice_id, {})[int(number)] = id_
    missing = sorted(logged.keys() - opening.listed.keys())
    if missing:
        raise ValueError(f"the audit key does not list the objects of slice {missing[0]}")
    found = {}
    for slice_id, count in sorted(opening.listed.items()):
        if slice_id not in logged:
            raise ValueError(f"the audit key lists objects of {slice_id}, which the log does not know")
        found[slice_id] = _read_slice(file, opening.key, count, logged[slice_id], numbers.get(slice_id, {}))
    if file.read(1):
        raise ValueError("the audit key has more lines than it says")
    return found


def _read_slice(
    file: BinaryIO, key: bytes, count: int, logged: Kept, numbers: Mapping[int, str]
) -> dict[bytes, list[Thing]]:
    """The lines of one slice, all of them read and hashed."""
    hashed, versions, leaving = blake3.blake3(SLICE_PURPOSE, key=key), 0, 0
    found: dict[bytes, list[Thing]] = {}
    for _ in range(count):
        name, fate, digests = _line(file)
        joined = b"\x00".join(digests)
        hashed.update(name + b"+" + blake3.blake3(OBJECT_PURPOSE + joined, key=key).digest())
        for place, digest in enumerate(digests):
            id_ = numbers.get(versions + place)
            if id_ is not None:
                found.setdefault(name, []).append(Thing(id_, place, digest.decode(), fate == LEAVES))
        versions += len(digests)
        leaving += len(digests) if fate == LEAVES else 0
    if (versions, hashed.hexdigest()) != (logged.rows, logged.digest):
        raise ValueError(f"the objects that the audit key lists for {logged.id} are not those of the log")
    if leaving != logged.leaving:
        raise ValueError(f"the audit key lets another number of versions of {logged.id} leave than the log")
    return found


def _line(file: BinaryIO) -> tuple[bytes, bytes, Sequence[bytes]]:
    """A line: the key's digest, its fate, and the digests of its versions, in lower-case hex."""
    line = file.readline(LINE_BYTES_MAX)
    name, fate, *digests = line.removesuffix(b"\n").split(b" ") if line.count(b" ") > 1 else (b"", b"")
    fits = line.endswith(b"\n") and fate in (LEAVES, STAYS) and all(map(_is_hex, (name, *digests)))
    if not fits:
        raise ValueError("the audit key's list of objects is cut, or is none; `domicile audit-key` writes one")
    return bytes.fromhex(name.decode()), fate, digests


def _is_hex(text: bytes) -> bool:
    return len(text) == HEX_CHARS and not text.strip(b"0123456789abcdef")
