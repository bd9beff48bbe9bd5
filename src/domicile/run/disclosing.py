"""The audit key: what an auditor needs to make digests of rows again in the stores (docs/evidence.md, "Spot check").

It discloses the key of the digests and how each slice was read; no key of a row and no value. Behind it the objects
that moved are listed, by keyed digests of their keys and versions: the log has one digest for all of them, and to look
at one it takes those of all others (ADR 0045). With it, whoever can guess a whole slice, a row key that a finding names
by digest, or an object's key, can see that they guessed right: so it is for the auditor, not for the public (P8). Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from domicile.model import DatasetScope, Form, Manifest, Outside, Scope, Slice, SliceId

FORMAT: Final = "urn:domicile:audit-key/v1"
READ: Final = (Form.WHOLE, Form.PRIVATE, Form.SHARED)
WARNING: Final = (
    "for the auditor, not for the public: with it and the evidence anybody can test guesses of a slice's rows, of the "
    "row keys that findings name by digest, and of the keys of objects that moved; have it destroyed after the audit"
)


def audit_key(
    plan_sha256: str, digest_key: bytes, scope: Scope, manifest: Manifest, objects: Mapping[SliceId, int]
) -> bytes:  # fmt: skip
    """Write the first line of a frozen run's audit key; `object_lines` of each slice follow, in the order of ids."""
    slices = [piece for piece in manifest.slices if piece.form in READ]
    named = {piece.dataset for piece in slices}
    value = {
        "format": FORMAT,
        "plan": plan_sha256,
        "key": digest_key.hex(),
        "datasets": {str(one.id): _dataset(one) for one in scope.datasets if one.id in named},
        "slices": {str(piece.id): _slice(piece) for piece in slices},
        **({"objects": {str(name): count for name, count in objects.items()}} if objects else {}),
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def object_lines(objects: Iterable[tuple[bytes, bool, Sequence[str]]]) -> Iterator[bytes]:
    """A line for each object of a slice: its key's digest, whether it leaves with this slice, its versions' digests."""
    for key, leaves, digests in objects:
        yield " ".join((key.hex(), "leaves" if leaves else "stays", *digests)).encode() + b"\n"


def _dataset(dataset: DatasetScope) -> Mapping[str, Any]:
    return {
        "schema": dataset.table.schema,
        "table": dataset.table.name,
        "only": not dataset.partitioned,
        "binary": dataset.binary,
        "columns": [column.name for column in dataset.columns],
        "key": list(dataset.key),
        "private": {
            blank.column: blank.literal if blank.outside is Outside.LITERAL else None for blank in dataset.blanks
        },
    }


def _slice(piece: Slice) -> Mapping[str, Any]:
    return {
        "dataset": str(piece.dataset), "part": piece.part, "form": piece.form.value, "after": piece.after,
        "upto": piece.upto,
    }  # fmt: skip
