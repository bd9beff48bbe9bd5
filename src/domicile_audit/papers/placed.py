"""Statements that lie in a receipt: what they say, that a key signed them, and that they stand at their place in a log.

SEALED   `envelope`, and `detached` if its predicate lies outside of it      DSSE v1.0.2; docs/evidence.md, "Detached"
PLACED   the same with `index` and `path` in the log                         RFC 9162 section 2.1.3
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from domicile_audit.case import Part, require
from domicile_audit.log.envelopes import DETACHED, DETACHED_OVER_BYTES, PAYLOAD_TYPE, PREFIX, STATEMENT_TYPE
from domicile_audit.log.keys import ENVELOPE, Key, open_envelope, read_base64
from domicile_audit.log.shape import COUNT, HEX, maybe, misfit, read_json, text
from domicile_audit.says import SHAPES

RECEIPT_BYTES_MAX: Final = 64 * 1024 * 1024
PATH_MAX: Final = 63
LONG: Final = text("[A-Za-z0-9+/=]*", chars_max=RECEIPT_BYTES_MAX)
SEALED: Final = {"envelope": LONG, "detached": maybe(LONG)}
PLACED: Final = {**SEALED, "index": COUNT, "path": [HEX]}


@dataclass(frozen=True, slots=True)
class Sealed:
    """A statement of a receipt, not yet believed: the entry's bytes, who is said to have signed it, what it says."""

    what: str
    entry: bytes
    keyid: str
    predicate: Part

    def require_signed(self, key: Key) -> None:
        """Refuse unless this key signed it (DSSE v1.0.2, protocol.md)."""
        open_envelope(self.entry, PAYLOAD_TYPE, {key.keyid: key}, self.what)


def read_sealed(sealed: Mapping[str, Any], kind: str) -> Sealed:
    """Read a statement of this kind, about the plan that it names; who signed it is not looked at."""
    what = f"the {kind}"
    entry = read_base64(sealed["envelope"], f"the envelope of {what}")
    outside = None if sealed["detached"] is None else read_base64(sealed["detached"], f"the predicate of {what}")
    keyid, payload = _opened(entry, what)
    body = read_json(payload, what)
    inner = body.get("predicate") if isinstance(body, dict) else None
    predicate: Any = inner
    if outside is not None:
        reference = {"detached": {"bytes": len(outside), "sha256": hashlib.sha256(outside).hexdigest()}}
        whole = inner == reference and misfit(inner, DETACHED) is None and len(outside) > DETACHED_OVER_BYTES
        require(whole, f"{what} has another predicate than the one beside it")
        predicate = read_json(outside, what)
    wrong = misfit(predicate, SHAPES[kind])
    require(wrong is None, f"{what} has not the shape of its type, at {wrong}")
    frame = {
        "_type": STATEMENT_TYPE, "predicate": inner, "predicateType": PREFIX + kind,
        "subject": [{"digest": {"sha256": predicate["plan"]}, "name": "plan.json"}],
    }  # fmt: skip
    require(body == frame, f"what stands in place of {what} is another statement")
    return Sealed(what, entry, keyid, predicate)


def _opened(entry: bytes, what: str) -> tuple[str, bytes]:
    """The keyid and payload of an envelope with one signature, as they stand there."""
    envelope = read_json(entry, what)
    require(misfit(envelope, ENVELOPE) is None, f"{what} is not a DSSE envelope")
    require(len(envelope["signatures"]) == 1, f"{what} does not have exactly one signature")
    return envelope["signatures"][0]["keyid"], read_base64(envelope["payload"], f"the payload of {what}")


def require_in(  # noqa: PLR0913, PLR0917 - a proof has these parts
    root: bytes, entry: bytes, index: int, size: int, path: Sequence[bytes], reason: str
) -> list[bytes]:
    """RFC 9162 section 2.1.3.2: the path leads from this entry at this index to the root.

    Returns the hashes of the path that stand on the left, from the leaf up: they make up all that is before the entry.
    """
    require(index < size and len(path) <= PATH_MAX, reason)
    node, place, last, left = hashlib.sha256(b"\x00" + entry).digest(), index, size - 1, []
    for sibling in path:
        require(last > 0, reason)
        if place % 2 or place == last:
            node = _node(sibling, node)
            left.append(sibling)
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            node = _node(node, sibling)
        place, last = place // 2, last // 2
    require(last == 0 and node == root, reason)
    return left


def root_of(left: Iterable[bytes]) -> bytes:
    """The root of all entries before one, from what `require_in` returned (RFC 6962 section 2.1); empty for none."""
    node = b""
    for peak in left:
        node = _node(peak, node) if node else peak
    return node


def require_grown(old_root: bytes, old: int, root: bytes, size: int, path: Sequence[bytes]) -> None:
    """RFC 9162 section 2.1.4.2: the first `old` entries of the log of this size and root have the old root."""
    reason = f"the log of {size} entries does not begin with the {old} of the earlier head"
    require(0 < old <= size and len(path) <= PATH_MAX, reason)
    if old == size:
        require(not path and old_root == root, reason)
        return
    nodes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    require(nodes, reason)
    place, last = old - 1, size - 1
    while place % 2:
        place, last = place // 2, last // 2
    before = after = nodes[0]
    for sibling in nodes[1:]:
        require(last > 0, reason)
        if place % 2 or place == last:
            before, after = _node(sibling, before), _node(sibling, after)
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            after = _node(after, sibling)
        place, last = place // 2, last // 2
    require(last == 0 and before == old_root and after == root, reason)


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
