"""docs/formats.md shows real bytes of the golden bundles, and the shapes that the code has: neither can rot."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import types
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domicile.errors import BadFile
from domicile.evidence import predicates as p
from domicile.evidence.bundle import Manifest
from domicile.evidence.keys import parse_vkey
from domicile.evidence.statement import DETACHED_OVER_BYTES
from domicile_audit.checklist import CHECKS
from domicile_audit.log.keys import SMALL_ORDER, read_vkey
from domicile_audit.says import VERDICTS
from tests.vectors import make

TEXT = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) ?(.*)\n((?:.*\n)*?)```$", TEXT, re.MULTILINE)
NAME = b"x\n"
EXAMPLES = [(kind, *place.split(" ", 2), body) for kind, place, body in BLOCKS if kind != "shape" and place]


@cache
def bundle(name: str) -> bytes:
    return (Path(make.__file__).parent / "good" / f"{name}.zip").read_bytes()


@cache
def files(name: str) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle(name))) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


@cache
def entries(name: str) -> list[bytes]:
    """Read by hand, of logs that are shorter than a tile."""
    data = next(data for path, data in files(name).items() if path.startswith("log/tile/entries/"))
    found = []
    while data:
        end = 2 + int.from_bytes(data[:2], "big")
        found.append(data[2:end])
        data = data[end:]
    return found


def real(name: str, place: str, part: str) -> str:
    """What stands in the golden bundle: of an entry, of a file, or of the zip."""
    if place.isdigit():
        envelope = entries(name)[int(place)].decode()
        payload = base64.b64decode(json.loads(envelope)["payload"]).decode()
        body = json.loads(payload)
        spelled = json.dumps(body["predicate"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return {"envelope": envelope, "payload": payload, "predicate": spelled}[part]
    if place == "zip":
        start, end = (int(number) if number else None for number in part.split(":"))
        return bundle(name)[start:end].hex()
    data = files(name)[place]
    if part == "payload":
        return base64.b64decode(json.loads(data)["payload"]).decode()
    return data[:32].hex() if part == "start" else data.decode()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: " ".join(example[1:4]))
def test_p9_each_example_is_what_stands_in_the_golden_bundle(example: tuple[str, str, str, str, str]) -> None:
    kind, name, place, part, body = example
    joined = "".join(line.strip() for line in body.splitlines())
    shown = {"json": joined, "hex": joined.replace(" ", ""), "text": body}[kind]
    assert real(name, place, part) == shown


def test_there_are_examples_of_everything() -> None:
    shown = {
        json.loads(real(name, place, "payload"))["predicateType"] for _, name, place, *_ in EXAMPLES if place.isdigit()
    }
    assert {f"urn:domicile:{kind}" for kind in p.KINDS} == shown
    assert {"zip", "keys/log.vkey", "log/checkpoint", "manifest.json"} <= {place for _, _, place, *_ in EXAMPLES}


def spelled(form: Any) -> str:
    """A type of the code, in the notation of the page."""
    if get_origin(form) is Annotated:
        return "HEX"
    if get_origin(form) is types.UnionType:
        return f"{spelled(get_args(form)[0])} or null"
    if get_origin(form) is tuple:
        return f"[{spelled(get_args(form)[0])}]"
    if get_origin(form) is Mapping:
        return f"{{*: {spelled(get_args(form)[1])}}}"
    if is_dataclass(form):
        hints = get_type_hints(form, include_extras=True)
        return f"{{{', '.join(f'{field.name}: {spelled(hints[field.name])}' for field in fields(form))}}}"
    if issubclass(form, StrEnum):
        return "VERDICT" if form.__name__ == "Verdict" else " or ".join(f'"{word.value}"' for word in form)
    return {str: "TEXT", int: "COUNT", bool: "FLAG", datetime: "TIME", date: "DAY"}[form]


def test_p9_the_shapes_are_those_of_the_code() -> None:
    shown = {place: re.sub(r"\s+", " ", body).strip() for kind, place, body in BLOCKS if kind == "shape"}
    wanted = {kind: spelled(form) for kind, form in p.KINDS.items()} | {"manifest": spelled(Manifest)}
    assert wanted == {place: body for place, body in shown.items() if place in wanted}
    assert {"envelope", "statement", "detached"} == shown.keys() - wanted.keys()


def test_every_check_and_verdict_has_its_rule() -> None:
    assert [str(number) for number in range(1, len(CHECKS) + 1)] == re.findall(r"^### Check (\d+):", TEXT, re.MULTILINE)
    assert [title for title, _, _ in CHECKS] == re.findall(r"^### Check \d+: (.+)$", TEXT, re.MULTILINE)
    part = TEXT[TEXT.index("### Check 19") : TEXT.index("### Check 20")]
    assert list(VERDICTS) == re.findall(r"^ *\| `([a-z-]+)` \|", part, re.MULTILINE)
    assert f"{DETACHED_OVER_BYTES:,} bytes" in TEXT


def test_with_each_key_that_the_page_forbids_a_signature_is_made_without_a_secret() -> None:
    """R is the point of order 1 and S is 0: the equation of RFC 8032 then asks only for the hash times the key."""
    [listed] = [body.split() for kind, place, body in BLOCKS if kind == "hex" and not place]
    assert SMALL_ORDER == {int.from_bytes(bytes.fromhex(key), "little") for key in listed}
    signature = bytes([1, *bytes(63)])
    for key in listed:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        assert any(_accepts(public, signature, bytes([number])) for number in range(256)), key
        raw = bytes.fromhex("01" + key)
        line = f"x+{hashlib.sha256(NAME + raw).hexdigest()[:8]}+{base64.b64encode(raw).decode()}"
        with pytest.raises(ValueError, match="small order"):
            read_vkey(line)
        with pytest.raises(BadFile, match="small order"):
            parse_vkey(line)


def _accepts(public: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True
