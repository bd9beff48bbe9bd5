"""What a spot check reads and writes: bytes of rows as PostgreSQL gives them, an audit key, a report.

Digests are made here by hand, as docs/formats-spot-check.md says; that the engine's and the checker's are the same is
for the tests to see, and that PostgreSQL gives these bytes.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from domicile.evidence.tlog.merkle import Tree, hash_leaf
from tests.vectors import scenario as s

KEY: Final = bytes(range(32))
SEED: Final = "drand quicknet 14213370"
SCHEMA: Final = "CREATE TABLE note (id bigint PRIMARY KEY, person_id bigint, body text)"
ROWS: Final = ((3, 7, "a\\b\tline\nä"), (5, 7, None))
SLICE: Final = "app.public.note/ca/whole/0"
OBJECTS: Final = "media/ca/objects"
OBJECT, CONTENT, TYPE, METADATA = "clips/7.txt", b"hello\n", "text/plain", ("owner", "7")


def hashed(*parts: bytes) -> blake3:
    """BLAKE3 in keyed mode."""
    return blake3(b"".join(parts), key=KEY)


# ---------------------------------------------------------------------------------------------------------------- rows
def rows_text() -> bytes:
    """COPY in text: tabs between, a newline behind, `\\N` for null, a backslash before what would be read otherwise."""
    return b"3\t7\ta\\\\b\\tline\\n\xc3\xa4\n5\t7\t\\N\n"


def rows_binary() -> bytes:
    """COPY in binary: its head, then of each row the number of values, and each behind its length (-1: null); -1."""
    made = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for id_, person, body in ROWS:
        made += struct.pack(">hiqiq", 3, 8, id_, 8, person)
        text = None if body is None else body.encode()
        made += struct.pack(">i", -1) if text is None else struct.pack(">i", len(text)) + text
    return made + struct.pack(">h", -1)


# ------------------------------------------------------------------------------------------------------------- objects
def spelt(text: str | None) -> bytes:
    """A text that goes along with an object."""
    return b"-;" if text is None else b"%d;%b" % (len(text.encode()), text.encode())


def told() -> bytes:
    """What goes along with the object: seven headers, metadata, tags."""
    return spelt(TYPE) + b"-;" * 6 + b"1;" + spelt(METADATA[0]) + spelt(METADATA[1]) + b"0;"


def objects() -> dict[str, str]:
    """The digests on the way to that of a slice with one object, which was written and then deleted."""
    content = hashed(b"domicile object content v1\0", CONTENT).hexdigest()
    traits = hashed(b"domicile object traits v1\0", told()).hexdigest()
    marker = hashed(b"domicile object delete marker v1\0").hexdigest()
    nothing = hashed(b"domicile object traits v1\0", b"-;" * 7 + b"0;0;").hexdigest()
    first = hashed(b"domicile object version v1\0", f"object\0{len(CONTENT)}\0{content}\0{traits}".encode()).hexdigest()
    second = hashed(b"domicile object version v1\0", f"marker\x000\0{marker}\0{nothing}".encode()).hexdigest()
    whole = hashed(b"domicile object v1\0", f"{first}\0{second}".encode())
    key = hashed(b"domicile object key v1\0", OBJECT.encode())
    every = hashed(b"domicile objects of a slice v1\0", key.digest(), b"+", whole.digest())
    return {
        "content": content, "traits": traits, "version": first, "marker": marker, "version-of-the-marker": second,
        "object": whole.hexdigest(), "key": key.hexdigest(), "slice": every.hexdigest(),
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- files
def audit_key() -> bytes:
    """An audit key of one slice of rows and one of objects."""
    table = {
        "schema": "public", "table": "note", "only": True, "binary": False, "columns": ["id", "person_id", "body"],
        "key": ["id"], "private": {"body": None},
    }  # fmt: skip
    stretch = {"dataset": "app.public.note", "part": "ca", "form": "whole", "after": 0, "upto": 2}
    made = objects()
    whole = {
        "format": "urn:domicile:audit-key/v1", "plan": s.PLAN, "key": KEY.hex(), "datasets": {"app.public.note": table},
        "slices": {SLICE: stretch}, "objects": {OBJECTS: 1},
    }  # fmt: skip
    line = f"{made['key']} leaves {made['version']} {made['version-of-the-marker']}\n"
    return _dumped(whole) + b"\n" + line.encode()


def tickets(root: bytes, ids: list[str]) -> list[tuple[str, str]]:
    """Tickets and ids, in the order in which they are drawn."""
    seed = hashlib.sha256(SEED.encode()).digest()
    made = [(hashlib.sha256(b"urn:domicile:draw/v1\0" + root + seed + one.encode()).hexdigest(), one) for one in ids]
    return sorted(made)


def report() -> bytes:
    """The report of a spot check that drew two slices of the good bundle, and found both as the log says."""
    root = _root()
    drawn = tickets(root, list(s.SLICES))[:2]
    rows = {piece.id: piece.rows for piece in s.plan().slices}
    looked = [
        {"id": id_, "rows": rows[id_], "home": "same", "source": "gone", "why": f"{rows[id_]} rows found at home"}
        for _, id_ in drawn
    ]
    return _dumped({
        "format": "urn:domicile:spot-check/v1", "root": root.hex(), "seed": SEED, "slices": looked, "objects": [],
        "bounds": ["homes: 2 of 3 slices drawn, 0 wrong"], "not_shown": ["that nobody chose the seed"], "exit_code": 0,
    }) + b"\n"  # fmt: skip


def _root() -> bytes:
    """The root of the good bundle."""
    return Tree(hash_leaf(sealed.envelope) for sealed in s.good().play().values()).root()


def _dumped(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def files(folder: Path) -> dict[Path, bytes]:
    """All that is made here."""
    made = {"rows.text": rows_text(), "rows.binary": rows_binary(), "audit.key": audit_key(), "report.json": report()}
    return {folder / name: data for name, data in made.items()}
