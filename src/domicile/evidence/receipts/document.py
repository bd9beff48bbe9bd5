"""The file that a person is given: a `.tlog-proof` of the statement their leaf is in, with the rest as its extra data.

C2SP tlog-proof leaves the extra data to the application and unauthenticated; what stands in ours is bound otherwise:
the leaf by its path to the root in the statement, the statement and the certificate by their paths to the checkpoint's
root, and all of it by the log's signature. The form is in docs/receipts.md; `domicile_audit.receipt` reads it in code
of its own.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Final

from domicile.evidence.codec import Json, dump_json
from domicile.evidence.receipts.keeping import Leaf
from domicile.evidence.receipts.leaf import opening
from domicile.evidence.statement import Sealed
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.proof import format_proof

FORMAT: Final = "urn:domicile:receipt/v1"


def write_document(log: Log, leaf: Leaf, *, stated: tuple[int, Sealed], certificate: tuple[int, Sealed]) -> bytes:
    """The bytes of a receipt; of both statements the place in the log, and their bytes."""
    index, sealed = certificate
    extra: Json = {
        "format": FORMAT,
        "log": log.verifier.vkey,
        "person": opening(leaf.person),
        "nonce": leaf.nonce.hex(),
        "leaf": {"index": leaf.place, "path": [node.hex() for node in leaf.path]},
        "receipts": _bytes_of(stated[1]),
        "certificate": {
            **_bytes_of(sealed), "index": index, "path": [node.hex() for node in log.inclusion_proof(index).path],
        },
    }  # fmt: skip
    return format_proof(replace(log.inclusion_proof(stated[0]), extra=dump_json(extra)))


def _bytes_of(sealed: Sealed) -> dict[str, Json]:
    return {
        "envelope": base64.b64encode(sealed.envelope).decode(),
        "detached": None if sealed.detached is None else base64.b64encode(sealed.detached).decode(),
    }
