"""Checks 8 and 9: every entry is signed by a key that may sign it, and says something in a known shape."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from domicile_audit import dsse, rotation
from domicile_audit.case import Case, Statement, require
from domicile_audit.shape import COUNT, DAY, FLAG, HEX, TEXT, TIME, Map, Maybe, Text, misfit, read_json

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREFIX: Final = "urn:domicile:"
DETACHED_OVER_BYTES: Final = 32_768
DETACHED: Final = {"detached": {"sha256": HEX, "bytes": COUNT}}

VERDICTS: Final = (  # best first; the roll-up is the worst
    "erased-verified",
    "key-destroyed",
    "erased-unverified",
    "blocked-until",
    "held",
    "unknown",
    "present",
)
VERDICT: Final = Text(pattern="|".join(VERDICTS))

SLICE: Final = {
    "id": TEXT,
    "dataset": TEXT,
    "home": TEXT,
    "rows": COUNT,
    "erase": {"delete": COUNT, "blank": COUNT},
}

SHAPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "plan/v1": {
        "plan": HEX,
        "programme": TEXT,
        "engine": TEXT,
        "config_sha256": HEX,
        "made_at": TIME,
        "deadline": Maybe(DAY),
        "homes": Map(TEXT),
        "locations": Map({"country": TEXT, "operator": TEXT}),
        "approvals": {"threshold": COUNT, "of": [{"name": TEXT, "vkey": TEXT}]},
        "slices": [SLICE],
        "copies": [{"id": TEXT, "store": TEXT, "location": TEXT, "kind": TEXT, "dataset": Maybe(TEXT), "method": TEXT}],
        "not_proven": [TEXT],
    },
    "transfer/v1": {
        "plan": HEX,
        "home": TEXT,
        "dataset": TEXT,
        "slices": [{"id": TEXT, "rows": COUNT, "bytes": COUNT, "digest": HEX}],
    },
    "cohort/v1": {
        "plan": HEX,
        "number": COUNT,
        "way": Text(pattern="home|source"),
        "subjects": Map(COUNT),
        "position": TEXT,
        "fenced_at": TIME,
        "wait_ms": COUNT,
        "awaited_ms": COUNT,
        "rows": COUNT,
    },
    "freeze/v1": {"plan": HEX, "position": TEXT, "frozen_at": TIME, "slices": [SLICE]},
    "cutover/v1": {"plan": HEX, "position": TEXT, "fenced_at": TIME, "subjects": Map(COUNT), "fence": TEXT},
    "equality/v1": {
        "plan": HEX,
        "position": TEXT,
        "fenced": FLAG,
        "slices": [{"id": TEXT, "rows": COUNT, "source": HEX, "home": HEX}],
        "differences": COUNT,
        "strays": COUNT,
    },
    "approval/v1": {
        "plan": HEX,
        "approver": TEXT,
        "role": TEXT,
        "scope": Text(pattern="erase"),
        "equality": HEX,
        "approved_at": TIME,
    },
    "key/v1": {
        "plan": HEX,
        "what": Text(pattern="rotated|revoked"),
        "approver": Maybe(TEXT),
        "key": TEXT,
        "new": Maybe(TEXT),
        "since": TIME,
        "stands": COUNT,
        "root": HEX,
        "why": TEXT,
    },
    "clearance/v1": {
        "plan": HEX,
        "equality": HEX,
        "approvals": [HEX],
        "restore": {
            "done_at": TIME,
            "method": TEXT,
            "homes": Map({"slices": [{"id": TEXT, "rows": COUNT, "digest": HEX}]}),
        },
        "slices": [TEXT],
    },
    "erasure/v1": {
        "plan": HEX,
        "phase": Text(pattern="intent|outcome"),
        "clearance": HEX,
        "dataset": TEXT,
        "home": TEXT,
        "slices": [{"id": TEXT, "deleted": COUNT, "blanked": COUNT, "digest": HEX}],
        "collateral": COUNT,
        "emptied": [TEXT],
    },
    "sweep/v1": {
        "plan": HEX,
        "swept_at": TIME,
        "tokens": {"searched": COUNT, "not_searchable": COUNT, "canaries": COUNT},
        "copies": [{"id": TEXT, "method": TEXT, "bytes": COUNT, "hits": COUNT, "residue": COUNT}],
        "rows": {"datasets": COUNT, "hits": COUNT},
    },
    "certificate/v1": {
        "plan": HEX,
        "verdict": VERDICT,
        "copies": [{"id": TEXT, "verdict": VERDICT, "why": TEXT, "until": Maybe(TIME)}],
        "counts": Map(Map({"moved": COUNT, "deleted": COUNT, "blanked": COUNT, "kept": COUNT})),
        "not_proven": [TEXT],
        "issued_at": TIME,
    },
    "finding/v1": {"plan": HEX, "kind": TEXT, "where": TEXT, "count": COUNT, "text": TEXT},
}


def check_envelopes(case: Case) -> None:
    """Check 8 (DSSE v1.0.2): each entry is one envelope, signed by the log's key or by an approver's."""
    keys = rotation.signers(case)
    case.envelopes = [
        dsse.open_envelope(entry, PAYLOAD_TYPE, keys, f"entry {index}") for index, entry in enumerate(case.entries)
    ]


def check_statements(case: Case) -> None:
    """Check 9 (in-toto Statement v1): known type, exact shape, right subject; approvals by approvers, only they."""
    unread = {name for name in case.files if name.startswith("detached/")}
    for index, (payload, keyid) in enumerate(case.envelopes):
        statement = _read(case, index, payload, keyid, unread)
        approves = statement.kind == "approval/v1"
        by_approver = rotation.holder(case, keyid) != rotation.LOG
        require(
            approves == by_approver or statement.kind == "key/v1",
            f"statement {index} ({statement.kind}) is signed by the wrong kind of key",
        )
        case.statements.append(statement)
        case.places.setdefault(statement.sha256, index)
    require(not unread, f"{min(unread, default='')} is named by no statement")


def _read(case: Case, index: int, payload: bytes, keyid: str, unread: set[str]) -> Statement:
    where = f"statement {index}"
    body = read_json(payload, where)
    require(isinstance(body, dict) and isinstance(body.get("predicateType"), str), f"{where} has no predicate type")
    kind = body["predicateType"].removeprefix(PREFIX)
    require(kind in SHAPES, f"{where} is of a type that this checker does not know")
    where = f"statement {index} ({kind})"
    predicate = body.get("predicate")
    if misfit(predicate, DETACHED) is None:
        predicate = _detached(case, predicate["detached"], where, unread)
    wrong = misfit(predicate, SHAPES[kind])
    require(wrong is None, f"{where} has not the shape of its type, at {wrong}")
    frame = {
        "_type": STATEMENT_TYPE,
        "subject": [_subject(kind, predicate)],
        "predicateType": PREFIX + kind,
        "predicate": body["predicate"],
    }
    require(body == frame, f"{where} is about another subject, or is not an in-toto Statement v1")
    return Statement(index, hashlib.sha256(case.entries[index]).hexdigest(), kind, keyid, predicate)


def _detached(case: Case, reference: Mapping[str, Any], where: str, unread: set[str]) -> Any:  # noqa: ANN401  (JSON)
    """A predicate too long for an entry lies beside the log under its SHA-256 (docs/evidence.md, "Detached")."""
    name = f"detached/{reference['sha256']}.json"
    require(name in case.files, f"{where} names {name}, which is missing")
    data = case.files[name]
    same = hashlib.sha256(data).hexdigest() == reference["sha256"] and len(data) == reference["bytes"]
    require(same, f"{name} is not the predicate that {where} names")
    require(len(data) > DETACHED_OVER_BYTES, f"{where}: a predicate this short belongs into the statement")
    unread.discard(name)
    return read_json(data, name)


def _subject(kind: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """What a statement of this type has to be about."""
    if kind in ("approval/v1", "clearance/v1"):
        return {"name": "equality", "digest": {"sha256": predicate["equality"]}}
    if kind == "erasure/v1":
        return {"name": "clearance", "digest": {"sha256": predicate["clearance"]}}
    return {"name": "plan.json", "digest": {"sha256": predicate["plan"]}}
