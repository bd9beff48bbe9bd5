"""Checks 1 to 4: the zip, the keys, the signed manifest, and that nothing else is in there.

The zip is read from its front with no zip library, then written again by the rule; both must be the same bytes.
So nothing can hide between, before or after the files, and two readers can't see two different bundles.
"""

import hashlib
import re
import struct
import zlib
from itertools import zip_longest

from domicile_audit.case import LOG, Case, require
from domicile_audit.log.keys import Key, open_envelope, read_vkey
from domicile_audit.log.shape import COUNT, HEX, TEXT, misfit, read_json, text

BUNDLE_BYTES_MAX = 640 * 1024 * 1024
FILE_BYTES_MAX = 512 * 1024 * 1024
FILES_MAX = 60_001
MANIFEST_TYPE = "application/vnd.domicile.manifest+json"
MANIFEST = {"format": text("urn:domicile:bundle/v1"), "files": [{"path": TEXT, "bytes": COUNT, "sha256": HEX}]}
README_SHA256 = "65e1a6f7973a14e490d18e1a30bb597f481210329e80a384f3cc1e7f413413c7"

_LOCAL = struct.Struct("<4s5H3I2H")  # APPNOTE 4.3.7
_CENTRAL = struct.Struct("<4s6H3I5H2I")  # APPNOTE 4.3.12
_END = struct.Struct("<4s4H2IH")  # APPNOTE 4.3.16
_DATE = 0x21  # 1980-01-01
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_KNOWN = re.compile(
    r"README\.txt|manifest\.json|plan\.json|certificate\.dsse\.json|log/checkpoint|keys/log\.vkey"
    r"|keys/approver-[1-9][0-9]{0,3}(-after-[1-9][0-9]?)?\.vkey|keys/log-before-[1-9][0-9]?\.vkey|detached/[0-9a-f]{64}\.json"
    r"|log/tile/(entries|[0-9]{1,2})/(x[0-9]{3}/)*[0-9]{3}(\.p/[1-9][0-9]{0,2})?"
)


def check_zip(case: Case) -> None:
    """Check 1 (APPNOTE.TXT 4.3.6): stored files, sorted by path, and not one byte more or less.

    Of each local header (4.3.7) only lengths and path are read; all else is what the rule writes, or it is refused.
    """
    data, end = case.data, 0
    require(len(data) <= BUNDLE_BYTES_MAX, f"the zip is longer than {BUNDLE_BYTES_MAX} bytes")
    while data[end : end + 4] == b"PK\x03\x04":
        path = end + _LOCAL.size
        require(path <= len(data), "the zip is cut off in a header")
        *_, size, path_size, _ = _LOCAL.unpack_from(data, end)
        start = path + path_size
        end = start + size
        name = data[path:start].decode("latin-1")
        require(_PATH.fullmatch(name), f"the zip holds a path that is not allowed: {name[:80]!r}")
        require(size <= FILE_BYTES_MAX and end <= len(data), f"{name} is cut off or too long, or compressed")
        more = name not in case.files and len(case.files) < FILES_MAX
        require(more, f"the zip holds {name} twice, or more than {FILES_MAX} files")
        case.files[name] = data[start:end]
    require(case.files, "not a zip")
    ruled = "stored as they are, sorted, of 1980-01-01, mode 0644, with check sums; no comment, no bytes after its end"
    require(data == write_zip(case.files), f"the zip is not written by the rule: {ruled}")


def check_keys(case: Case) -> None:
    """Check 2 (C2SP signed-note, "Verifier keys"): all keys are well spelled, all differ, and are trusted."""
    case.engine = _read_key(case, "keys/log.vkey")
    case.chains = [[*_read_numbered(case, "keys/log-before-{}.vkey"), case.engine]]
    for number, key in enumerate(_read_numbered(case, "keys/approver-{}.vkey"), start=1):
        case.chains.append([key, *_read_numbered(case, f"keys/approver-{number}-after-{{}}.vkey")])
    case.holders = {key.keyid: number for number, chain in enumerate(case.chains) for key in chain}
    keys = [key for chain in case.chains for key in chain]
    whole = len(keys) == sum(name.startswith("keys/") for name in case.files)
    require(whole, "keys/ holds what is no key of a chain, or a key whose number has a gap before it")
    differ = len(keys) == len({key.public for key in keys}) == len(case.holders)
    require(differ, "one key has two roles: an approver must not be the engine, or two people, and no key comes twice")
    trusted = case.policy is None or any(key.vkey in case.policy.logs for key in case.chains[LOG])
    require(trusted, f"the log key {case.engine.keyid} is not in the trust policy")


def check_manifest(case: Case) -> None:
    """Check 3 (DSSE v1.0.2): the log's key signed the SHA-256 of every file."""
    require("manifest.json" in case.files, "the bundle has no manifest.json")
    keys = {case.engine.keyid: case.engine}
    payload, _ = open_envelope(case.files["manifest.json"], MANIFEST_TYPE, keys, "manifest.json")
    manifest = read_json(payload, "manifest.json")
    wrong = misfit(manifest, MANIFEST)
    require(wrong is None, f"manifest.json has not the shape of a manifest, at {wrong}")
    files = [
        {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(case.files.items())
        if name != "manifest.json"
    ]
    for signed, file in zip_longest(manifest["files"], files):
        require(signed == file, f"manifest.json lists {signed}, where the zip holds {file}")


def check_names(case: Case) -> None:
    """Check 4 (docs/evidence.md, "Bundle"): only files that a check reads, and the README that says nothing."""
    for name in case.files:
        require(_KNOWN.fullmatch(name), f"{name} does not belong in a bundle")
    for name in ("README.txt", "plan.json", "log/checkpoint"):
        require(name in case.files, f"the bundle has no {name}")
    same = hashlib.sha256(case.files["README.txt"]).hexdigest() == README_SHA256
    require(same, "README.txt is not the fixed text of this format; it could claim anything")


def write_zip(files: dict[str, bytes]) -> bytes:
    """Zip by the rule: version 2.0, stored, 1980-01-01, mode 0644, sorted, no extra fields, no comments."""
    body, directory, offset = list[bytes](), list[bytes](), 0
    for name, data in sorted(files.items()):
        path, size = name.encode(), len(data)
        both = (20, 0, 0, 0, _DATE, zlib.crc32(data), size, size, len(path), 0)
        body += [_LOCAL.pack(b"PK\x03\x04", *both), path, data]
        directory.append(_CENTRAL.pack(b"PK\x01\x02", 0x0314, *both, 0, 0, 0, 0o100644 << 16, offset) + path)
        offset += _LOCAL.size + len(path) + size
    end = _END.pack(b"PK\x05\x06", 0, 0, len(files), len(files), sum(map(len, directory)), offset, 0)
    return b"".join([*body, *directory, end])


def _read_key(case: Case, name: str) -> Key:
    """A file of keys/ is one line and nothing else."""
    require(name in case.files, f"the bundle has no {name}")
    key = read_vkey(case.files[name].decode(errors="replace").removesuffix("\n"), name)
    require(f"{key.vkey}\n".encode() == case.files[name], f"{name} is not a key: not a line of UTF-8")
    return key


def _read_numbered(case: Case, name: str) -> list[Key]:
    """The keys of these file names, numbered from 1 as far as there are such files."""
    keys: list[Key] = []
    while name.format(len(keys) + 1) in case.files:
        keys.append(_read_key(case, name.format(len(keys) + 1)))
    return keys
