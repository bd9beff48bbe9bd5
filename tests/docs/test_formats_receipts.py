"""docs/formats-receipts.md shows real bytes of the golden receipts, and the shapes that the checker has."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domicile.evidence.tlog.proof import parse_proof
from domicile_audit.log.shape import COUNT, HEX, TEXT
from domicile_audit.papers import paper
from domicile_audit.papers.placed import PATH_MAX, PLACED, RECEIPT_BYTES_MAX
from tests.vectors import leaves, make, successions

TEXT_OF_PAGE = (Path(__file__).parents[2] / "docs" / "formats-receipts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) ?(.*)\n((?:.*\n)*?)```$", TEXT_OF_PAGE, re.MULTILINE)
EXAMPLES = [(kind, *place.split(" ", 2), body) for kind, place, body in BLOCKS if kind != "shape"]
PAPERS = Path(make.__file__).parent / "papers"


def predicate(envelope: str) -> str:
    """The predicate of an envelope in base64, as it is spelt there."""
    payload = base64.b64decode(json.loads(base64.b64decode(envelope))["payload"]).decode()
    body = json.loads(payload)
    spelt = json.dumps(body["predicate"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert spelt in payload
    return spelt


def commitment(extra: bytes, part: str) -> str:
    """By hand, from the bytes as they stand in the extra data."""
    found = re.search(rb'"nonce":"([0-9a-f]{64})","person":(\{.*\}),"receipts":', extra)
    assert found is not None
    preimage = b"domicile receipt v1" + b"\0" + bytes.fromhex(found[1].decode()) + found[2]
    digest = hashlib.sha256(preimage).digest()
    return {"preimage": preimage, "digest": digest, "leaf": hashlib.sha256(b"\0" + digest).digest()}[part].hex()


def real(name: str, place: str, part: str) -> str:
    """What stands in the golden receipt, or policy."""
    if place == "policy":
        text = (PAPERS / "policies" / f"{name}.txt").read_text(encoding="utf-8")
        return next(line for line in text.splitlines(keepends=True) if line.startswith(f"{part} "))
    data = (PAPERS / "good" / f"{name}.tlog-proof").read_bytes()
    extra = parse_proof(data).extra or b""
    told = json.loads(extra)
    if place == "file":
        start, _, end = part.partition(":")
        return data[data.index(b"index ") :].decode() if not end else data[int(start) : int(end)].decode()
    if place == "extra":
        return re.sub(r'"envelope":"[^"]*"', '"envelope":"…"', extra.decode())
    if place == "commitment":
        return commitment(extra, part)
    return predicate((told["receipts"] if place == "receipts" else told["keys"][int(place[4:])])["envelope"])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: " ".join(example[1:4]))
def test_p9_each_example_is_what_stands_in_the_golden_receipt(example: tuple[str, str, str, str, str]) -> None:
    kind, name, place, part, body = example
    joined = "".join(line.strip() for line in body.splitlines())
    cut = body.removesuffix("\n") if place == "file" and ":" in part else body  # ends within a line
    assert real(name, place, part) == {"json": joined, "hex": joined.replace(" ", ""), "text": cut}[kind]


def test_there_are_examples_of_everything() -> None:
    shown = {(place, part) for _, _, place, part, _ in EXAMPLES}
    places = {"file", "extra", "commitment", "receipts", "key-0", "policy"}
    assert (places, 3) == ({place for place, _ in shown}, sum(place == "commitment" for place, _ in shown))


def spelled(shape: Any, path: str = "") -> str:
    """A shape of the checker, in the notation of the page."""
    if isinstance(shape, list):
        return f"[{spelled(shape[0])}]"
    if isinstance(shape, dict):
        return f"{{{', '.join(f'{key}: {spelled(inner, key)}' for key, inner in shape.items())}}}"
    return leaf(shape, path)


def leaf(fits: Callable[[object], bool], path: str) -> str:
    """What a leaf of a shape takes: known ones by themselves, others by what they let pass."""
    known = {TEXT: "TEXT", HEX: "HEX", COUNT: "COUNT"}
    if path == "format":
        [name] = [name for name in (paper.FORMAT, paper.FORMAT_OF_KEYS) if fits(name)]
        return f'"{name}"'
    if fits not in known:
        assert fits("QQ==")
        assert not fits("€")
        return "BASE64 or null" if fits(None) else "BASE64"
    return known[fits]


def test_p9_the_shapes_are_those_of_the_checker() -> None:
    shown = {place: re.sub(r"\s+", " ", body).strip() for kind, place, body in BLOCKS if kind == "shape"}
    whole = {
        name: body.replace("PERSON", shown["PERSON"]).replace("PLACED", shown["PLACED"]) for name, body in shown.items()
    }
    ordered = {key: paper.PERSON[key] for key in ("kind", "key", "home")}
    rows = {key: paper.PERSON["rows"]["*"][key] for key in ("moved", "deleted", "blanked")}  # type: ignore[index]
    person = {**ordered, "rows": {"*": rows}}
    assert person == paper.PERSON
    assert spelled(PLACED) == whole["PLACED"]
    assert spelled(person).replace("key: TEXT", "key: STRING") == whole["PERSON"]  # which may be any text
    for name, shape in (("receipt/v1", paper.EXTRA), ("receipt/v2", paper.EXTRA_OF_KEYS)):
        told = spelled({**shape, "person": person})
        assert told.replace("key: TEXT", "key: STRING") == whole[name]
    assert {"receipt/v1", "receipt/v2", "PLACED", "PERSON"} == shown.keys()


def test_every_check_of_a_receipt_has_its_rule_and_bad_receipts() -> None:
    numbers = [int(number) for number in re.findall(r"^### Check (\d+): ", TEXT_OF_PAGE, re.MULTILINE)]
    assert list(range(1, len(paper.CHECKS) + 1)) == numbers
    refused = {bad.check for bad in (*successions.BAD.values(), *leaves.BAD.values())}
    assert set(numbers) == refused
    assert f"{RECEIPT_BYTES_MAX:,} bytes" in TEXT_OF_PAGE
    assert f"at most {PATH_MAX} lines" in TEXT_OF_PAGE
    assert "domicile receipt v1" == paper.PURPOSE.decode().removesuffix("\0")
