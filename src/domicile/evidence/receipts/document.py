"""The file that a person is given: a `.tlog-proof` of the statement their leaf is in, with the rest as its extra data.

C2SP tlog-proof leaves the extra data to the application and unauthenticated; what stands in ours is bound otherwise:
the leaf by its path to the root in the statement, the statement and the certificate by their paths to the checkpoint's
root, and all of it by the log's signature. Where the log's key changed hands, the statements that say so lie in it, so
that it can be checked by whoever knows an earlier key (ADR 0044). The form is in docs/formats-receipts.md;
`domicile_audit.papers.receipt` reads it in code of its own.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from domicile.evidence.codec import Json, dump_json
from domicile.evidence.receipts.keeping import Leaf
from domicile.evidence.receipts.leaf import opening
from domicile.evidence.statement import Sealed
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.proof import format_proof

FORMAT: Final = "urn:domicile:receipt/v1"
FORMAT_OF_KEYS: Final = "urn:domicile:receipt/v2"

Placed = tuple[int, Sealed]
"""A statement's place in the log, and its bytes."""


def write_document(
    log: Log, leaf: Leaf, *, stated: Placed, certificate: Placed, changes: Sequence[Placed] = ()
) -> bytes:
    """The bytes of a receipt; `changes` are the log's changes of keys, if its own was ever among them."""
    extra: dict[str, Json] = {
        "format": FORMAT,
        "log": log.verifier.vkey,
        "person": opening(leaf.person),
        "nonce": leaf.nonce.hex(),
        "leaf": {"index": leaf.place, "path": [node.hex() for node in leaf.path]},
        "receipts": _bytes_of(stated[1]),
        "certificate": _proven(log, certificate),
    }
    if changes:
        extra |= {"format": FORMAT_OF_KEYS, "keys": [_proven(log, change) for change in changes]}
    return format_proof(replace(log.inclusion_proof(stated[0]), extra=dump_json(extra)))


def _proven(log: Log, placed: Placed) -> dict[str, Json]:
    index, sealed = placed
    return {**_bytes_of(sealed), "index": index, "path": [node.hex() for node in log.inclusion_proof(index).path]}


def _bytes_of(sealed: Sealed) -> dict[str, Json]:
    return {
        "envelope": base64.b64encode(sealed.envelope).decode(),
        "detached": None if sealed.detached is None else base64.b64encode(sealed.detached).decode(),
    }
