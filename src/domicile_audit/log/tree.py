"""Checks 5 to 7: the checkpoint, the tiles, and the root over all entries."""

import hashlib
import re

from domicile_audit.case import Case, Refused, require
from domicile_audit.log.cosignature import read_cosignatures
from domicile_audit.log.keys import read_base64

SIZE_MAX = 4_194_304
NOTE_BYTES_MAX = 131_072
# The three lines that are signed, the log's signature, and those of witnesses. signed-note "Format", tlog-checkpoint.
_NOTE = re.compile(
    rb"((.*)\n(0|[1-9][0-9]{0,9})\n([A-Za-z0-9+/=]+)\n)\n"
    rb"\xe2\x80\x94 ([^ \n+]+) ([A-Za-z0-9+/=]+)\n((?s:.*))"
)


def check_checkpoint(case: Case) -> None:
    """Check 5 (C2SP signed-note "Format" and "Signatures"; tlog-checkpoint "Note text"; tlog-policy)."""
    data, log = case.files["log/checkpoint"], case.engine
    require(len(data) <= NOTE_BYTES_MAX, f"the checkpoint is longer than {NOTE_BYTES_MAX} bytes")
    note = _NOTE.fullmatch(data) if data == data.decode(errors="replace").encode() else None
    if note is None:  # or not UTF-8
        raise Refused("the checkpoint is not a note of three lines and signatures")
    text, origin, size, root, name, signature, others = note.groups()
    blob = read_base64(signature.decode(), "the checkpoint's signature")
    require(name == log.name.encode() and blob[:4] == log.key_id, "the checkpoint is not signed by the log's key")
    require(log.signed(text, blob[4:]), "the signature of the checkpoint is wrong")
    require(origin == name, "the checkpoint is one of another log")
    case.size, case.root = int(size), read_base64(root.decode(), "the checkpoint's root")
    require(0 < case.size <= SIZE_MAX, "the checkpoint has no proper size")
    require(len(case.root) == 32, "the checkpoint's root is not a SHA-256")
    quorum = None if case.policy is None else case.policy.quorum
    case.cosignatures, case.cosigned = read_cosignatures(text, others, log, quorum)


def check_tiles(case: Case) -> None:
    """Check 6 (C2SP tlog-tiles "Merkle Tree", "Partial Tiles", "Log entries"): exactly the files of this size."""
    tiles = {name: data for name, data in case.files.items() if name.startswith("log/tile/")}
    for name, width in _tiles("entries", case.size):
        require(name in tiles, f"{name} is missing")
        case.entries += _split_entries(tiles.pop(name), width, name)
    case.levels = levels_of(case.entries)
    for level, hashes in enumerate(case.levels):
        for number, (name, width) in enumerate(_tiles(str(level), len(hashes))):
            tile = b"".join(hashes[number * 256 : number * 256 + width])
            require(tiles.pop(name, None) == tile, f"{name} is missing, or does not hold the hashes of the entries")
    require(not tiles, f"{min(tiles, default='')} is not a tile of a log of {case.size} entries")


def check_root(case: Case) -> None:
    """Check 7 (RFC 6962 section 2.1): the entries, in this order and no others, have the signed root."""
    require(merkle_root(case.levels[0]) == case.root, "the log's entries were left out, added, moved or altered")


def levels_of(entries: list[bytes]) -> list[list[bytes]]:
    """The hashes of the entries, then those of the full tiles below; a partial tile is not hashed into them."""
    levels, hashes = [], [hashlib.sha256(b"\x00" + entry).digest() for entry in entries]  # RFC 6962, 2.1
    while hashes:
        levels.append(hashes)
        hashes = [merkle_root(hashes[i * 256 : i * 256 + 256]) for i in range(len(hashes) // 256)]
    return levels


def merkle_root(hashes: list[bytes]) -> bytes:
    """MTH of leaf hashes, level by level; a last one without a partner moves up unchanged, as in RFC 6962."""
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=False)
        above = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs]
        hashes = above + hashes[len(above) * 2 :]
    return hashes[0]


def root_of_first(size: int, levels: list[list[bytes]]) -> str:
    """The root of the first so many entries, in hex, from the tiles at the edge of that tree only."""
    edge: list[bytes] = []  # the root of what is not a full tile of the level
    for hashes in levels:
        rest = hashes[size // 256 * 256 : size] + edge
        edge = [merkle_root(rest)] if rest else []
        size //= 256
    return edge[0].hex()


def _tiles(level: str, count: int) -> list[tuple[str, int]]:
    """Path and width of each tile of a level."""
    full, rest = divmod(count, 256)
    tiles = [(f"log/tile/{level}/{_index(number)}", 256) for number in range(full)]
    return [*tiles, (f"log/tile/{level}/{_index(full)}.p/{rest}", rest)] if rest else tiles


def _index(number: int) -> str:
    """tlog-tiles "Parameters": 1067 is x001/067; no log of SIZE_MAX has a million tiles, for three such parts."""
    return f"x{number // 1000:03d}/{number % 1000:03d}" if number >= 1000 else f"{number:03d}"


def _split_entries(data: bytes, width: int, name: str) -> list[bytes]:
    """tlog-tiles "Log entries": each entry stands behind its length, a big-endian uint16."""
    entries, place = list[bytes](), 0
    while place < len(data) and len(entries) <= width:
        start = place + 2
        place = start + int.from_bytes(data[place:start], "big")
        require(place <= len(data), f"{name} is cut off")
        entries.append(data[start:place])
    require(len(entries) == width, f"{name} does not hold {width} entries")
    return entries
