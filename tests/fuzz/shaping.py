"""Bends what was bent before and keeps its form: JSON, base64, signatures, trees and digests are made to fit again.

Fuzzing by coverage begins with an input that it kept, and changes it a little. Of zips, envelopes and notes most
changes would be refused at the door, by a check sum or a signature. So the change is made inside, and the shell anew.
`Mutate` changes bytes without knowing what they are: libFuzzer's way, or in tests one of ours.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Any

from domicile.errors import DomicileError
from domicile.evidence.bundle import pack, zip_files
from domicile.evidence.codec import Json, load_json
from domicile.evidence.keys import Signer
from domicile.evidence.statement import Envelope, parse_envelope, sign_envelope
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from domicile.evidence.tlog.note import sign_note
from tests.fuzz import bundles
from tests.fuzz.corpus import entries_of
from tests.fuzz.mutating import bend_bytes, bend_json
from tests.vectors import rotations, witnessed
from tests.vectors import scenario as s

Mutate = Callable[[bytes], bytes]
Bend = Callable[[bytes, Random, Mutate], bytes]
ENTRIES = "log/tile/entries/"


def bend_any(data: bytes, chance: Random, mutate: Mutate) -> bytes:
    """Bytes of no form: by our ways, by libFuzzer's, or by both."""
    if chance.random() < 0.5:
        data = bend_bytes(data, chance)
        return mutate(data) if chance.random() < 0.2 else data
    return mutate(data)


def bend_document(data: bytes, chance: Random, mutate: Mutate) -> bytes:
    """JSON: one place altered, or the signs of one text; written in its one spelling again."""
    try:
        value = load_json(data)
    except DomicileError:
        return bend_any(data, chance, mutate)
    match chance.randrange(10):
        case 0:
            return bend_any(data, chance, mutate)
        case 1 | 2 | 3:
            return bundles.dump(_respelt(value, chance, mutate))
        case _:
            return bundles.dump(bend_json(value, chance))


def bend_envelope(data: bytes, chance: Random, mutate: Mutate) -> bytes:
    """An envelope: most of the time its payload is bent and signed again by whose it was, else what is around it."""
    try:
        envelope = parse_envelope(data)
    except DomicileError:
        return bend_document(data, chance, mutate)
    if chance.random() < 0.2:
        return bend_document(data, chance, mutate)
    return _signed(envelope, bend_document(envelope.payload, chance, mutate))


def bend_note(data: bytes, chance: Random, mutate: Mutate) -> bytes:
    """A note: its text is bent and signed again by the log, or all of it is bent."""
    text, gap, tail = data.rpartition(b"\n\n")
    if not gap or chance.random() < 0.4:
        return bend_lines(data, chance, mutate)
    bent = bend_lines(text + b"\n", chance, mutate)
    try:
        signed = sign_note(bent.decode(), [s.ENGINE])
    except (DomicileError, UnicodeError):
        return bent + b"\n" + tail
    return signed + tail.partition(b"\n")[2] if chance.random() < 0.5 else signed


def bend_headed(data: bytes, chance: Random, mutate: Mutate) -> bytes:
    """Lines of proof, an empty line, a checkpoint: one of the two is bent."""
    head, gap, note = data.partition(b"\n\n")
    if not gap or chance.random() < 0.1:
        return bend_any(data, chance, mutate)
    if chance.random() < 0.6:
        return bend_lines(head, chance, mutate) + gap + note
    return head + gap + bend_note(note, chance, mutate)


def bend_lines(data: bytes, chance: Random, mutate: Mutate) -> bytes:
    """Lines: a word of one is bent, a line goes, comes twice, or changes places; or it is bent as bytes."""
    lines = data.split(b"\n")
    place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(8):
        case 0:
            del lines[place]
        case 1:
            lines.insert(other, lines[place])
        case 2:
            lines[place], lines[other] = lines[other], lines[place]
        case 3 | 4 | 5:
            words = lines[place].split(b" ")
            word = chance.randrange(len(words))
            words[word] = bend_any(words[word], chance, mutate)
            lines[place] = b" ".join(words)
        case _:
            return bend_any(data, chance, mutate)
    return b"\n".join(lines)


def bend_receipt(data: bytes, chance: Random, mutate: Mutate) -> bytes:
    """A person's receipt, by somebody without a key: its extra data is bent inside its base64, or its lines are."""
    lines = data.split(b"\n")
    try:
        extra = base64.b64decode(lines[1].removeprefix(b"extra "), validate=True)
    except (ValueError, IndexError):
        return bend_lines(data, chance, mutate)
    if chance.random() < 0.3:
        return bend_lines(data, chance, mutate)
    lines[1] = b"extra " + base64.b64encode(bend_document(extra, chance, mutate))
    return b"\n".join(lines)


def bend_zip(data: bytes, chance: Random, mutate: Mutate) -> bytes:
    """A bundle, by somebody without a key: one file is bent, and the zip made again."""
    files = unzipped(data)
    if not files or chance.random() < 0.3:
        return bend_any(data, chance, mutate)
    name = chance.choice(sorted(files))
    return _zipped({**files, name: _way_of(name)(files[name], chance, mutate)}) or bend_any(data, chance, mutate)


def bend_bundle(data: bytes, chance: Random, mutate: Mutate) -> bytes:
    """A bundle, by a cheat with all keys: a file is bent or a story told otherwise, and all of it signed again."""
    files = unzipped(data)
    files.pop("manifest.json", None)
    if not files or chance.random() < 0.1:
        return bend_zip(data, chance, mutate)
    signer = _owner(files.get("keys/log.vkey", b""))
    if chance.random() < 0.7:
        files = retold(files, signer, chance, mutate)
    else:
        name = chance.choice(sorted(files))
        files[name] = _way_of(name)(files[name], chance, mutate)
    return _zipped(files, signer) or bend_any(data, chance, mutate)


def bend_folder(data: bytes, chance: Random, mutate: Mutate) -> bytes:
    """A log's folder as JSON of path and hex: a file is bent, or the log is made again from bent entries."""
    try:
        told = load_json(data)
        files = {f"log/{name}": bytes.fromhex(str(text)) for name, text in told.items()}  # type: ignore[union-attr]
    except (DomicileError, ValueError, AttributeError):
        return bend_document(data, chance, mutate)
    if chance.random() < 0.5:
        files = retold(files, s.ENGINE, chance, mutate)
    elif files:
        name = chance.choice(sorted(files))
        files[name] = _way_of(name)(files[name], chance, mutate)
    return bundles.dump({name.removeprefix("log/"): text.hex() for name, text in files.items() if "\0" not in name})


# -- stories -----------------------------------------------------------------------------------------------------------


def retold(files: Mapping[str, bytes], signer: Signer, chance: Random, mutate: Mutate) -> dict[str, bytes]:
    """One statement bent, gone, twice or elsewhere; those that name it name it as it is now; a tree made again."""
    entries = [one for name in sorted(files) if name.startswith(ENTRIES) for one in entries_of(name, files[name])]
    kept = {name: data for name, data in files.items() if not name.startswith("log/")}
    told = list(entries)
    renamed: dict[bytes, bytes] = {}
    outside = [name for name in kept if name.startswith("detached/")]
    if outside and chance.random() < 0.3:
        renamed |= _bend_detached(kept, chance.choice(outside), chance, mutate)
    elif entries:
        _bend_entry(entries, renamed, chance, mutate)
    entries = _named_again(entries, renamed, told)
    if "certificate.dsse.json" in kept and entries:
        kept["certificate.dsse.json"] = entries[-1]
    try:
        return {**kept, **bundles.log_files(entries, signer)}
    except DomicileError:  # an entry too long for a log
        return {**kept, **{name: data for name, data in files.items() if name.startswith("log/")}}


def _bend_entry(entries: list[bytes], renamed: dict[bytes, bytes], chance: Random, mutate: Mutate) -> None:
    place = chance.randrange(len(entries))
    match chance.randrange(10):
        case 0:
            del entries[place]
        case 1:
            entries.insert(chance.randrange(len(entries) + 1), entries[place])
        case 2:
            entries.insert(chance.randrange(len(entries)), entries.pop(place))
        case _:
            bent = bend_envelope(entries[place], chance, mutate)
            renamed[_name(entries[place])] = _name(bent)
            entries[place] = bent


def _bend_detached(files: dict[str, bytes], name: str, chance: Random, mutate: Mutate) -> dict[bytes, bytes]:
    """Bend a predicate beside the log, and move it to its new name; what to write in statements instead of the old."""
    old = files.pop(name)
    new = bend_document(old, chance, mutate)
    files[f"detached/{_name(new).decode()}.json"] = new
    was, now = (b'"bytes":%d,"sha256":"%b"' % (len(data), _name(data)) for data in (old, new))
    return {was: now}


def _named_again(entries: list[bytes], renamed: dict[bytes, bytes], told: list[bytes]) -> list[bytes]:
    """The entries, with every old name in a payload replaced; whatever changes by it has a new name itself.

    Who saw the log as it was `told` saw the present one: where the root of its first entries is right, so is the new.
    """
    fresh: list[bytes] = []
    for entry in entries:
        try:
            envelope = parse_envelope(entry)
        except DomicileError:
            fresh.append(entry)
            continue
        payload = envelope.payload
        for old, new in renamed.items():
            payload = payload.replace(old, new)
        payload = _seen_again(payload, told, fresh)
        fresh.append(entry if payload == envelope.payload else _signed(envelope, payload))
        if fresh[-1] != entry:
            renamed[_name(entry)] = _name(fresh[-1])
    return fresh


_SEEN = re.compile(rb'"root":"([0-9a-f]{64})",.*"stands":([0-9]{1,6})\b')


def _seen_again(payload: bytes, told: list[bytes], fresh: list[bytes]) -> bytes:
    found = _SEEN.search(payload)
    if found is None or not 1 <= (stands := int(found[2])) <= min(len(told), len(fresh)):
        return payload
    was, now = (Tree(map(hash_leaf, some[:stands])).root().hex().encode() for some in (told, fresh))
    return payload.replace(was, now) if found[1] == was else payload


def _name(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


# -- shells ------------------------------------------------------------------------------------------------------------


@cache
def signers() -> dict[str, Signer]:
    """Every key that golden bundles are signed with, by its id."""
    held = [key for _, keys in bundles.runs() for key in keys.values()]
    held += [s.STRANGER, rotations.COUNSEL, *witnessed.WITNESSES.values()]
    return {key.verifier.keyid: key for key in held}


def _owner(vkey: bytes) -> Signer:
    name_and_id = vkey.decode(errors="replace").rpartition("+")[0]
    return signers().get(name_and_id, s.ENGINE)


def _signed(envelope: Envelope, payload: bytes) -> bytes:
    signer = signers().get(envelope.keyid, s.ENGINE)
    try:
        return sign_envelope(payload, payload_type=envelope.payload_type, signer=signer)
    except UnicodeError:  # half a sign in its type
        return sign_envelope(payload, payload_type="", signer=signer)


def unzipped(data: bytes) -> dict[str, bytes]:
    """The files of a zip; none where a library for zips says no."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            small = [info for info in archive.infolist() if info.compress_type == zipfile.ZIP_STORED]
            return {info.filename: archive.read(info) for info in small[:200]}
    except Exception:  # noqa: BLE001  (a library that reads what is bent says no in many ways)
        return {}


def _zipped(files: Mapping[str, bytes], signer: Signer | None = None) -> bytes | None:
    """A zip by the rule, signed where somebody signs it; None where a file has a name that can't stand in one."""
    try:
        return zip_files(files) if signer is None else pack(files, signer)
    except (DomicileError, UnicodeError, ValueError):
        return None


def _way_of(path: str) -> Bend:
    if path.endswith(".dsse.json") or path == "manifest.json":
        return bend_envelope
    if path.endswith(".json"):
        return bend_document
    if path.endswith("checkpoint"):
        return bend_note
    return bend_lines if path.endswith((".vkey", ".txt")) else bend_any


def _respelt(value: Json, chance: Random, mutate: Mutate) -> Json:
    """The same JSON with the signs of one text, or one number, changed by bytes."""
    holder: dict[str, Json] = {"top": value}
    leaves = [(parent, key) for parent, key in _leaves(holder) if isinstance(parent[key], str)]
    if not leaves:
        return bend_json(value, chance)
    parent, key = chance.choice(leaves)
    parent[key] = mutate(parent[key].encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    return holder["top"]


def _leaves(value: Any) -> Any:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        if isinstance(inner, dict | list):
            yield from _leaves(inner)
        else:
            yield value, key
