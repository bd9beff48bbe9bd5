"""Checks 5 to 7: the checkpoint, the tiles, and the root over all entries."""

from __future__ import annotations

import hashlib
import re

from domicile_audit.case import Case, Refused, require
from domicile_audit.keys import read_base64

SIZE_MAX = 4_194_304
NOTE_BYTES_MAX = 262_144
SIGNATURES_MAX = 64
_SIZE = re.compile(r"0|[1-9][0-9]{0,9}")


def check_checkpoint(case: Case) -> None:
    """Check 5 (C2SP signed-note "Format" and "Signatures"; tlog-checkpoint "Note text"; tlog-policy)."""
    origin, size, root = _open_note(case).split("\n")[:-1]
    require(origin == case.engine.name, "the checkpoint is one of another log")
    require(bool(_SIZE.fullmatch(size)) and 0 < int(size) <= SIZE_MAX, "the checkpoint has no proper size")
    try:
        case.size, case.root = int(size), read_base64(root)
    except ValueError as error:
        raise Refused("the checkpoint's root is not base64") from error
    require(len(case.root) == 32, "the checkpoint's root is not a SHA-256")


def check_tiles(case: Case) -> None:
    """Check 6 (C2SP tlog-tiles "Merkle Tree", "Partial Tiles", "Log entries"): exactly the files of this size."""
    wanted: set[str] = set()
    for name, width in _tiles("entries", case.size):
        wanted.add(name)
        require(name in case.files, f"{name} is missing")
        case.entries += _split_entries(case.files[name], width, name)
    hashes = [hashlib.sha256(b"\x00" + entry).digest() for entry in case.entries]  # RFC 6962 section 2.1
    level = 0
    while hashes:
        for number, (name, width) in enumerate(_tiles(str(level), len(hashes))):
            wanted.add(name)
            require(name in case.files, f"{name} is missing")
            tile = b"".join(hashes[number * 256 : number * 256 + width])
            require(case.files[name] == tile, f"{name} does not hold the hashes of the entries")
        full = len(hashes) // 256  # a partial tile is not hashed into the level above
        hashes = [merkle_root(hashes[i * 256 : i * 256 + 256]) for i in range(full)]
        level += 1
    extra = {name for name in case.files if name.startswith("log/tile/")} - wanted
    require(not extra, f"{min(extra, default='')} is not a tile of a log of {case.size} entries")


def check_root(case: Case) -> None:
    """Check 7 (RFC 6962 section 2.1): the entries, in this order and no others, have the signed root."""
    hashes = [hashlib.sha256(b"\x00" + entry).digest() for entry in case.entries]
    same = merkle_root(hashes) == case.root
    require(same, "the entries are not those of the checkpoint: one was left out, added, moved or altered")


def merkle_root(hashes: list[bytes]) -> bytes:
    """MTH of leaf hashes, level by level; a last one without a partner moves up unchanged, as in RFC 6962."""
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=False)
        above = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs]
        hashes = above + hashes[len(above) * 2 :]
    return hashes[0]


def _open_note(case: Case) -> str:
    """The three lines that the log's key signed, once and first; behind it may stand cosignatures, of the quorum."""
    data = case.files["log/checkpoint"]
    try:
        text, _, tail = data[: NOTE_BYTES_MAX + 1].decode().rpartition("\n\n")
    except UnicodeError as error:
        raise Refused("the checkpoint is not UTF-8") from error
    text += "\n"
    shaped = text.count("\n") == 3 and tail.endswith("\n") and tail.count("\n") <= SIGNATURES_MAX
    require(shaped and len(data) <= NOTE_BYTES_MAX, "the checkpoint is not a note of three lines and signatures")
    (name, blob), *others = [_read_signature(line) for line in tail[:-1].split("\n")]
    known = (case.engine.name, case.engine.key_id)
    require((name, blob[:4]) == known, "the checkpoint is not signed by the log's key")
    require(case.engine.signed(text.encode(), blob[4:]), "the signature of the checkpoint is wrong")
    more = any((other, blob[:4]) == known for other, blob in others)
    require(not more, "the checkpoint has more than one signature of the log's key")
    case.cosignatures = len(others)
    if case.policy is not None:
        quorum = case.policy.quorum
        try:
            case.cosigned = quorum.cosigned(text, others)
        except ValueError as error:
            raise Refused(f"the checkpoint: {error}") from error
        by = ", ".join(case.cosigned) or "no witness"
        require(quorum.is_met(case.cosigned), f"the checkpoint is cosigned by {by}, the policy wants {quorum.name}")
    return text


def _read_signature(line: str) -> tuple[str, bytes]:
    """Name, and key id with signature (signed-note "Format")."""
    words = line.split(" ")
    shaped = len(words) == 3 and words[0] == "\u2014" and words[1] != "" and "+" not in words[1]
    require(shaped, "the checkpoint is not a note: a line behind it is no signature")
    try:
        return words[1], read_base64(words[2])
    except ValueError as error:
        raise Refused("a signature of the checkpoint is not base64") from error


def _tiles(level: str, count: int) -> list[tuple[str, int]]:
    """Path and width of each tile of a level."""
    tiles = [(f"log/tile/{level}/{_index(i)}", 256) for i in range(count // 256)]
    if count % 256:
        tiles.append((f"log/tile/{level}/{_index(count // 256)}.p/{count % 256}", count % 256))
    return tiles


def _index(index: int) -> str:
    path = f"{index % 1000:03d}"
    while index := index // 1000:
        path = f"x{index % 1000:03d}/{path}"
    return path


def _split_entries(data: bytes, width: int, name: str) -> list[bytes]:
    """tlog-tiles "Log entries": each entry stands behind its length, a big-endian uint16."""
    entries: list[bytes] = []
    place = 0
    while place < len(data) and len(entries) <= width:
        start = place + 2
        place = start + int.from_bytes(data[place:start], "big")
        require(place <= len(data), f"{name} is cut off")
        entries.append(data[start:place])
    require(len(entries) == width, f"{name} does not hold {width} entries")
    return entries
