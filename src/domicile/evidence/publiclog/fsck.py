"""Checks a log's files, all of them, and goes on after the first that is wrong (C2SP tlog-tiles, tlog-policy).

 1  the checkpoint is a note signed by a log of the policy                tlog-checkpoint
 2  a quorum of the policy cosigned it                                    tlog-policy, tlog-cosignature
 3  every bundle of entries below its size is there and whole             tlog-tiles, "Log entries"
 4  every tile of hashes is there and holds those of the entries          tlog-tiles, "Merkle Tree"
 5  the entries have the signed root                                      RFC 6962 section 2.1
 6  every predicate that an entry leaves outside is there and whole       docs/formats.md, "Detached predicates"

What statements say, and whose they are, is the monitor's business; an entry that is none leaves nothing outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from domicile.errors import EvidenceFault
from domicile.evidence.publiclog.place import (
    Place,
    detached_path,
    read_checkpoint,
    read_detached,
    read_entries,
    read_hashes,
)
from domicile.evidence.statement import Detached, detached_of
from domicile.evidence.tlog.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from domicile.evidence.tlog.cosignature import Cosigner, cosigned
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from domicile.evidence.tlog.note import Note, parse_note
from domicile.evidence.tlog.policy import Policy
from domicile.evidence.tlog.tile import TILE_HEIGHT, Tile, tiles_of

ENTRIES_MAX = 4_194_304


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong, and where."""

    where: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was looked at, and what is wrong with it."""

    place: str
    head: Checkpoint | None
    cosigned_by: tuple[str, ...]
    files: int
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A checkpoint that one of a policy's logs signed, and who cosigned it when, by the policy's names."""

    head: Checkpoint
    vkey: str
    times: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """A checkpoint of a log whose name the policy has, not yet believed, and who cosigned it when."""

    data: bytes
    note: Note
    head: Checkpoint
    times: dict[str, int]


def read_unsigned(data: bytes, policy: Policy, *, where: str) -> Unsigned:
    """Read a checkpoint whose log's signature is judged elsewhere; `EvidenceFault` for a log of another name."""
    note = parse_note(data)
    head = parse_checkpoint(note.text)
    if head.origin not in {verifier.name for verifier in policy.logs}:
        raise EvidenceFault(f"{where}: is of a log that the policy does not name; get the policy of this log")
    found = cosigned(note, [one.cosigner for one in policy.witnesses.values()])
    return Unsigned(data=data, note=note, head=head, times=_by_name(policy, found))


def open_signed(data: bytes, policy: Policy, *, where: str) -> Signed:
    """Read a checkpoint by a policy, but for its quorum; `EvidenceFault` unless one of its logs signed it."""
    note = parse_note(data)
    for verifier in policy.logs:
        if any((s.name, s.key_id) == (verifier.name, verifier.key_id) for s in note.signatures):
            head = open_checkpoint(data, verifier)
            found = cosigned(note, [one.cosigner for one in policy.witnesses.values()])
            return Signed(head=head, vkey=verifier.vkey, times=_by_name(policy, found))
    raise EvidenceFault(f"{where}: its checkpoint is signed by no log of the policy; get the policy of this log")


def check_log(place: Place, policy: Policy) -> Checked:
    """Check the log there by this policy; Unreachable or HostFault when it can't be read."""
    try:
        signed = open_signed(read_checkpoint(place), policy, where=place.name)  # 1
    except EvidenceFault as fault:
        wrong = Fault(where="checkpoint", what=str(fault))
        return Checked(place=place.name, head=None, cosigned_by=(), files=1, faults=(wrong,))
    faults = []
    if not policy.is_met_by(signed.times):  # 2
        faults.append(Fault(where="checkpoint", what=lacking(policy, signed)))
    if signed.head.size > ENTRIES_MAX:
        raise EvidenceFault(f"log {place.name}: more than {ENTRIES_MAX} entries; this program checks no larger one")
    tiles = tiles_of(signed.head.size)
    tree, outside, wrong_files = _check_files(place, tiles)
    faults += wrong_files
    if not wrong_files and tree.root() != signed.head.root:  # 5
        faults.append(Fault(where="checkpoint", what="the entries and tiles agree, and are not those of its root"))
    faults += _check_outside(place, outside)  # 6
    files = 1 + len(tiles) + len({one.sha256 for one in outside})
    return Checked(
        place=place.name, head=signed.head, cosigned_by=tuple(signed.times), files=files, faults=tuple(faults)
    )


def lacking(policy: Policy, signed: Signed) -> str:
    """Why a checkpoint is not one that the policy accepts."""
    by = ", ".join(map(_shown, signed.times)) or "nobody"
    return f"cosigned by {by}, which is not the quorum {_shown(policy.quorum)} of the policy"


def _shown(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _check_files(place: Place, tiles: tuple[Tile, ...]) -> tuple[Tree, list[Detached], list[Fault]]:
    """Rebuild the tree from the entries, and hold every tile against it; also what the entries leave outside."""
    tree, faults = Tree(), []
    outside: dict[Detached, None] = {}
    broken = False
    for tile in tiles:
        try:
            if tile.level is None:  # 3: these come first
                for entry in read_entries(place, tile):
                    tree.append(hash_leaf(entry))
                    if (found := _outside(entry)) is not None:
                        outside[found] = None
                continue
            hashes = read_hashes(place, tile)  # 4
        except EvidenceFault as fault:
            broken = broken or tile.level is None
            faults.append(Fault(where=tile.path, what=str(fault)))
            continue
        level = tree.level(TILE_HEIGHT * (tile.level or 0))
        if not broken and hashes != b"".join(level[tile.start : tile.start + tile.width]):
            faults.append(Fault(where=tile.path, what="does not hold the hashes of the entries"))
    return tree, list(outside), faults


def _outside(entry: bytes) -> Detached | None:
    try:
        return detached_of(entry)
    except EvidenceFault:
        return None


def _check_outside(place: Place, outside: Iterable[Detached]) -> list[Fault]:
    """Read each predicate that lies beside the log; a wrong digest is told, and so is one of another length."""
    faults = []
    for one in outside:
        try:
            data = read_detached(place, one.sha256)
        except EvidenceFault as fault:
            faults.append(Fault(where=detached_path(one.sha256), what=str(fault)))
            continue
        if data is None:
            what = "is missing; it lies in `detached`, beside the log or in it"
            faults.append(Fault(where=detached_path(one.sha256), what=what))
        elif len(data) != one.bytes or hashlib.sha256(data).hexdigest() != one.sha256:
            faults.append(
                Fault(where=detached_path(one.sha256), what="is not what the log names, by SHA-256 and length")
            )
    return faults


def _by_name(policy: Policy, found: dict[Cosigner, int]) -> dict[str, int]:
    return {name: found[one.cosigner] for name, one in policy.witnesses.items() if one.cosigner in found}
