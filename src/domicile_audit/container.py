"""Checks 1 to 4: the zip, the keys, the signed manifest, and that nothing else is in there.

The zip is read from its front with no zip library, then written again by the rule; both must be the same bytes.
So nothing can hide between, before or after the files, and two readers can't see two different bundles.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib

from domicile_audit import dsse, rotation
from domicile_audit.case import Case, Refused, require
from domicile_audit.keys import Key, read_vkey
from domicile_audit.shape import COUNT, HEX, TEXT, misfit, read_json

BUNDLE_BYTES_MAX = 640 * 1024 * 1024
FILE_BYTES_MAX = 512 * 1024 * 1024
FILES_MAX = 60_001
MANIFEST_TYPE = "application/vnd.domicile.manifest+json"
MANIFEST = {"format": TEXT, "files": [{"path": TEXT, "bytes": COUNT, "sha256": HEX}]}
FORMAT = "urn:domicile:bundle/v1"
README_SHA256 = "65e1a6f7973a14e490d18e1a30bb597f481210329e80a384f3cc1e7f413413c7"

_LOCAL = struct.Struct("<4s5H3I2H")  # APPNOTE 4.3.7
_CENTRAL = struct.Struct("<4s6H3I5H2I")  # APPNOTE 4.3.12
_END = struct.Struct("<4s4H2IH")  # APPNOTE 4.3.16
_DATE = 0x21  # 1980-01-01
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_NAMES = (
    re.compile(r"README\.txt|manifest\.json|plan\.json|certificate\.dsse\.json|log/checkpoint|keys/log\.vkey"),
    re.compile(r"keys/approver-[1-9][0-9]{0,3}(-after-[1-9][0-9]?)?\.vkey|keys/log-before-[1-9][0-9]?\.vkey"),
    re.compile(r"detached/[0-9a-f]{64}\.json"),
    re.compile(r"log/tile/(entries|[0-9]{1,2})/(x[0-9]{3}/)*[0-9]{3}(\.p/[1-9][0-9]{0,2})?"),
)


def check_zip(case: Case) -> None:
    """Check 1 (APPNOTE.TXT 4.3.6): stored files, sorted by path, and not one byte more or less."""
    require(len(case.data) <= BUNDLE_BYTES_MAX, f"the zip is longer than {BUNDLE_BYTES_MAX} bytes")
    place = 0
    while case.data[place : place + 4] == b"PK\x03\x04":
        name, start, end = _read_local(case.data, place)
        require(name not in case.files, f"the zip holds {name} twice")
        require(len(case.files) < FILES_MAX, f"the zip holds more than {FILES_MAX} files")
        case.files[name] = case.data[start:end]
        place = end
    require(place > 0, "not a zip")
    _require_same(case.data, write_zip(case.files))


def check_keys(case: Case) -> None:
    """Check 2 (C2SP signed-note, "Verifier keys"): all keys are well spelled, all differ, and are trusted."""
    case.log_key = _read_key(case, "keys/log.vkey")
    names = [name for name in case.files if name.startswith("keys/")]
    later = [name for name in names if "-after-" in name or "-before-" in name]
    for number in range(1, len(names) - len(later)):
        key = _read_key(case, f"keys/approver-{number}.vkey")
        require(key.keyid not in case.approver_keys, f"keys/approver-{number}.vkey stands there twice")
        case.approver_keys[key.keyid] = key
    rotation.read_chains(case, _read_key)
    read = sum(len(chain) for chain in case.chains)
    require(read == len(names), "keys/ holds a key whose number has a gap before it")
    if case.policy is not None:
        known = any(key.vkey in case.policy.logs for key in case.chains[rotation.LOG])
        require(known, f"the log key {case.engine.keyid} is not in the trust policy")


def check_manifest(case: Case) -> None:
    """Check 3 (DSSE v1.0.2): the log's key signed the SHA-256 of every file."""
    require("manifest.json" in case.files, "the bundle has no manifest.json")
    payload, _ = dsse.open_envelope(
        case.files["manifest.json"], MANIFEST_TYPE, {case.engine.keyid: case.engine}, "manifest.json"
    )
    manifest = read_json(payload, "manifest.json")
    require(misfit(manifest, MANIFEST) is None, "manifest.json has not the shape of a manifest")
    require(manifest["format"] == FORMAT, f"manifest.json is not of the format {FORMAT}")
    listed = {file["path"]: file for file in manifest["files"]}
    for name, data in sorted(case.files.items()):
        if name == "manifest.json":
            continue
        require(name in listed, f"{name} is in the zip but not in the manifest")
        require(
            listed[name] == {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
            f"{name} is not the file that the manifest lists",
        )
    for name in listed:
        require(name in case.files, f"{name} is in the manifest but not in the zip")
    require([f["path"] for f in manifest["files"]] == sorted(listed), "manifest.json is not sorted, or lists twice")


def check_names(case: Case) -> None:
    """Check 4 (docs/evidence.md, "Bundle"): only files that a check reads, and the README that says nothing."""
    for name in case.files:
        require(any(pattern.fullmatch(name) for pattern in _NAMES), f"{name} does not belong in a bundle")
    for name in ("README.txt", "plan.json", "log/checkpoint"):
        require(name in case.files, f"the bundle has no {name}")
    same = hashlib.sha256(case.files["README.txt"]).hexdigest() == README_SHA256
    require(same, "README.txt is not the fixed text of this format; it could claim anything")


def write_zip(files: dict[str, bytes]) -> bytes:
    """Zip by the rule: version 2.0, stored, 1980-01-01, mode 0644, sorted, no extra fields, no comments."""
    body, central = [], []
    offset = 0
    for name, data in sorted(files.items()):
        path, crc, size = name.encode(), zlib.crc32(data), len(data)
        body += [_LOCAL.pack(b"PK\x03\x04", 20, 0, 0, 0, _DATE, crc, size, size, len(path), 0), path, data]
        sizes = (crc, size, size, len(path), 0, 0, 0, 0, 0o100644 << 16, offset)
        central += [_CENTRAL.pack(b"PK\x01\x02", 0x0314, 20, 0, 0, 0, _DATE, *sizes), path]
        offset += _LOCAL.size + len(path) + size
    tail = b"".join(central)
    end = _END.pack(b"PK\x05\x06", 0, 0, len(files), len(files), len(tail), offset, 0)
    return b"".join([*body, tail, end])


def _read_local(data: bytes, place: int) -> tuple[str, int, int]:
    """Name, start and end of the file whose local header is here (APPNOTE 4.3.7)."""
    require(place + _LOCAL.size <= len(data), "the zip is cut off in a header")
    _, _, flags, method, _, _, crc, packed, size, name_size, extra = _LOCAL.unpack_from(data, place)
    start = place + _LOCAL.size + name_size + extra
    raw = data[place + _LOCAL.size : place + _LOCAL.size + name_size]
    require(bool(_PATH.fullmatch(raw.decode("latin-1"))), f"the zip holds a path that is not allowed: {raw[:80]!r}")
    name = raw.decode("ascii")
    require(method == 0 and packed == size, f"{name} is compressed; files are stored as they are")
    require(flags == 0 and extra == 0, f"{name} has zip flags or extra fields")
    require(size <= FILE_BYTES_MAX and start + size <= len(data), f"{name} is cut off or too long")
    require(zlib.crc32(data[start : start + size]) == crc, f"{name} has a wrong zip check sum")
    return name, start, start + size


def _require_same(data: bytes, canonical: bytes) -> None:
    if data == canonical:
        return
    if data.startswith(canonical):
        raise Refused("the zip has bytes after its end")
    if data.startswith(canonical[:-2]):
        raise Refused("the zip has a comment")
    raise Refused("the zip is not written by the rule: order, dates, modes or its directory differ")


def _read_key(case: Case, name: str) -> Key:
    require(name in case.files, f"the bundle has no {name}")
    try:
        line = case.files[name].decode()
        require(line.endswith("\n"), f"{name} does not end in a newline")
        return read_vkey(line[:-1])
    except ValueError as error:
        reason = "not UTF-8" if isinstance(error, UnicodeError) else str(error)
        raise Refused(f"{name} is not a key: {reason}") from error
