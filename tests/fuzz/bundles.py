"""Bundles that are bent: by somebody without a key, by a cheat who signs files again, by one who signs a story."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from random import Random

from domicile.errors import DomicileError
from domicile.evidence.bundle import README, pack, zip_files
from domicile.evidence.codec import Json, dump_json, load_json
from domicile.evidence.keys import Signer
from domicile.evidence.predicates import Predicate
from domicile.evidence.statement import PAYLOAD_TYPE, Sealed, parse_envelope, seal, sign_envelope
from domicile.evidence.tlog.checkpoint import Checkpoint, sign_checkpoint
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from domicile.evidence.tlog.tile import TILE_HEIGHT, encode_entries, tiles_of
from tests.fuzz.mutating import bend_bytes, bend_json
from tests.vectors import live, objects, receipts, rotations
from tests.vectors import scenario as s

Keys = Mapping[str, Signer]
TWO: Keys = {"log": s.ENGINE, "approver-1": s.OPERATOR, "approver-2": s.MONITOR}


@cache
def runs() -> tuple[tuple[s.Script, Keys], ...]:
    """Runs that are accepted as they are, and the keys of their bundles."""
    told = (
        s.good(), s.key_destroyed(), live.live(), live.not_frozen(), objects.objects(), objects.lock_is_over(),
        receipts.at_once(), receipts.in_cohorts(),
    )  # fmt: skip
    changed = (
        (rotations.rotated(), rotations.ROTATED), (rotations.stolen(), rotations.STOLEN),
        (rotations.lost(), rotations.LOST),
    )  # fmt: skip
    return (*((script, TWO) for script in told), *changed)


@cache
def good_bundles() -> tuple[bytes, ...]:
    return tuple(_bundle(list(script.lines), keys) for script, keys in runs())


@cache
def good_plays() -> tuple[dict[str, Sealed], ...]:
    return tuple(script.play() for script, _ in runs())


def bent_zip(chance: Random) -> bytes:
    """Somebody without a key changes the bytes of a bundle, or those of a file in it."""
    whole = chance.choice(good_bundles())
    if chance.random() < 0.5:
        return bend_bytes(whole, chance)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    name = chance.choice(sorted(files))
    return zip_files({**files, name: bend_bytes(files[name], chance)})


def resigned(chance: Random) -> bytes:
    """A cheat with the log's key bends one file, and signs the manifest again."""
    place = chance.randrange(len(runs()))
    with zipfile.ZipFile(io.BytesIO(good_bundles()[place])) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist() if info.filename != "manifest.json"}
    name = chance.choice(sorted(files))
    match chance.randrange(6):
        case 0:
            del files[name]
        case 1:
            files[
                chance.choice((name + "x", "detached/" + "0" * 64 + ".json", "log/tile/0/001", "keys/approver-3.vkey"))
            ] = files[name]
        case 2:
            other = chance.choice(sorted(files))
            files[name], files[other] = files[other], files[name]
        case _:
            files[name] = bend_bytes(files[name], chance)
    return pack(files, runs()[place][1]["log"])


def retold(chance: Random) -> bytes:
    """A cheat with all keys tells the story otherwise, and signs all of it: only the rules can refuse this."""
    script, keys = chance.choice(runs())
    lines = list(script.lines)
    for _ in range(chance.choice((1, 1, 2))):
        place = chance.randrange(len(lines))
        match chance.randrange(8):
            case 0:
                del lines[place]
            case 1:
                lines.insert(
                    chance.randrange(len(lines) + 1), dataclasses.replace(lines[place], name=f"again {chance.random()}")
                )
            case 2:
                lines.insert(chance.randrange(len(lines)), lines.pop(place))
            case 3:
                lines[place] = dataclasses.replace(
                    lines[place], signer=chance.choice((s.ENGINE, s.OPERATOR, s.MONITOR, s.STRANGER))
                )
            case _:
                lines[place] = dataclasses.replace(lines[place], make=_bent(lines[place], chance.randrange(1 << 30)))
    return _bundle(lines, keys)


def _bent(line: s.Line, seed: int) -> s.Maker:
    def make(play: s.Play) -> Sealed:
        made = line.make(play)
        sealed = seal(made, line.signer) if isinstance(made, Predicate) else made
        chance = Random(seed)  # noqa: S311  (a seeded test)
        return Sealed(envelope=bent_envelope(sealed, line.signer, chance), detached=sealed.detached)

    return make


def bent_envelope(sealed: Sealed, signer: Signer, chance: Random) -> bytes:
    """A signed statement with its payload bent, most of the time in its predicate."""
    old = parse_envelope(sealed.envelope).payload
    try:
        body = load_json(old)
    except DomicileError:  # it was bent before
        return sign_envelope(bend_bytes(old, chance), payload_type=PAYLOAD_TYPE, signer=signer)
    if chance.random() < 0.8 and isinstance(body, dict) and "predicate" in body:
        body["predicate"] = bend_json(body["predicate"], chance)
        _about_what_it_names(body)
        payload = dump(body)
    else:
        payload = dump(bend_json(body, chance)) if chance.random() < 0.7 else bend_bytes(dump(body), chance)
    return sign_envelope(payload, payload_type=PAYLOAD_TYPE, signer=signer)


def _about_what_it_names(body: dict[str, Json]) -> None:
    """Mend the subject, so that the rule about it doesn't hide all others."""
    predicate, subject = body["predicate"], body.get("subject")
    if isinstance(predicate, dict) and isinstance(subject, list) and subject and isinstance(subject[0], dict):
        word = {"equality": "equality", "clearance": "clearance"}.get(str(subject[0].get("name")), "plan")
        subject[0]["digest"] = {"sha256": predicate.get(word)}


def dump(value: Json) -> bytes:
    """JSON in its one spelling, or, where it has none, in another."""
    try:
        return dump_json(value)
    except UnicodeError:  # half a sign: written as JSON allows it
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _bundle(lines: list[s.Line], keys: Keys) -> bytes:
    """What `scenario.files_of` makes, without a folder, and without a part when nothing is left to make it of."""
    played: dict[str, Sealed] = {}
    for line in lines:
        try:
            made = line.make(played)
        except (KeyError, DomicileError):  # it reads a statement that is gone, comes later, or is bent
            continue
        played[line.name] = made if isinstance(made, Sealed) else seal(made, line.signer)
    entries = [one.envelope for one in played.values() if len(one.envelope) < 65_536]
    files = log_files(entries, keys["log"])
    files |= {
        f"detached/{hashlib.sha256(one.detached).hexdigest()}.json": one.detached
        for one in played.values()
        if one.detached
    }
    files |= {"README.txt": README.encode(), "plan.json": s.PLAN_FILE}
    files |= {"certificate.dsse.json": entries[-1]} if entries else {}
    files |= {f"keys/{name}.vkey": f"{key.verifier.vkey}\n".encode() for name, key in keys.items()}
    return pack(files, keys["log"])


def log_files(entries: list[bytes], signer: Signer) -> dict[str, bytes]:
    """The files of a log of these entries, by their paths in a bundle."""
    tree = Tree()
    for entry in entries:
        tree.append(hash_leaf(entry))
    head = Checkpoint(origin=signer.name, size=tree.size, root=tree.root())
    files = {"log/checkpoint": sign_checkpoint(head, signer)}
    for tile in tiles_of(tree.size):
        part = slice(tile.start, tile.start + tile.width)
        hashes = b"".join(tree.level(TILE_HEIGHT * (tile.level or 0))[part])
        files[f"log/{tile.path}"] = encode_entries(entries[part]) if tile.level is None else hashes
    return files


WAYS: tuple[Callable[[Random], bytes], ...] = (bent_zip, resigned, retold)
