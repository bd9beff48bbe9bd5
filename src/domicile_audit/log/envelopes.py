"""Checks 8 and 9: every entry is signed by a key that may sign it, and says something in a known shape."""

import hashlib
from typing import Any

from domicile_audit.case import LOG, Case, Part, Statement, require
from domicile_audit.log.keys import open_envelope
from domicile_audit.log.shape import COUNT, HEX, misfit, read_json
from domicile_audit.says import ABOUT, SHAPES

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREFIX = "urn:domicile:"
DETACHED_OVER_BYTES = 32_768
DETACHED_BYTES_MAX = 640 * 1024 * 1024  # over all statements, so that a long one can't be named by very many
DETACHED = {"detached": {"sha256": HEX, "bytes": COUNT}}


def check_envelopes(case: Case) -> None:
    """Check 8 (DSSE v1.0.2): each entry is one envelope, signed by the log's key or by an approver's."""
    keys = {key.keyid: key for chain in case.chains for key in chain}
    for index, entry in enumerate(case.entries):
        case.envelopes.append(open_envelope(entry, PAYLOAD_TYPE, keys, f"entry {index}"))


def check_statements(case: Case) -> None:
    """Check 9 (in-toto Statement v1): known type, exact shape, right subject.

    Approvals are signed by approvers, all else by the log's key; only what is said of keys may be signed by both.
    """
    unread = {name for name in case.files if name.startswith("detached/")}
    for index, (payload, keyid) in enumerate(case.envelopes):
        holder = case.holders[keyid]
        kind, predicate = _read(case, payload, f"statement {index}", unread)
        statement = Statement(index, hashlib.sha256(case.entries[index]).hexdigest(), kind, keyid, holder, predicate)
        right = kind == "key/v1" or (holder == LOG) == (kind != "approval/v1")
        require(right, f"{statement} is signed by the wrong kind of key")
        case.statements.append(statement)
        case.by_sha256.setdefault(statement.sha256, statement)
    require(not unread, f"{min(unread, default='')} is named by no statement")


def _read(case: Case, payload: bytes, where: str, unread: set[str]) -> tuple[str, Part]:
    """Type and predicate of a statement, which is written just as it would be by the rule."""
    body = read_json(payload, where)
    require(isinstance(body, dict) and isinstance(body.get("predicateType"), str), f"{where} has no predicate type")
    kind = body["predicateType"].removeprefix(PREFIX)
    require(kind in SHAPES, f"{where} is of a type that this checker does not know")
    where = f"{where} ({kind})"
    inner = body.get("predicate")
    predicate = _detached(case, inner["detached"], where, unread) if misfit(inner, DETACHED) is None else inner
    wrong = misfit(predicate, SHAPES[kind])
    require(wrong is None, f"{where} has not the shape of its type, at {wrong}")
    about = ABOUT.get(kind, "plan")
    subject = {"name": "plan.json" if about == "plan" else about, "digest": {"sha256": predicate[about]}}
    frame = {"_type": STATEMENT_TYPE, "subject": [subject], "predicateType": PREFIX + kind, "predicate": inner}
    require(body == frame, f"{where} is about another subject, or is not an in-toto Statement v1")
    return kind, predicate


def _detached(case: Case, reference: Part, where: str, unread: set[str]) -> Any:  # noqa: ANN401  (JSON)
    """A predicate too long for an entry lies beside the log under its SHA-256 (docs/evidence.md, "Detached")."""
    name = f"detached/{reference['sha256']}.json"
    require(name in case.files, f"{where} names {name}, which is missing")
    data = case.files[name]
    same = hashlib.sha256(data).hexdigest() == reference["sha256"] and len(data) == reference["bytes"]
    require(same, f"{name} is not the predicate that {where} names")
    require(len(data) > DETACHED_OVER_BYTES, f"{where}: a predicate this short belongs into the statement")
    case.detached_bytes += len(data)
    require(case.detached_bytes <= DETACHED_BYTES_MAX, f"{where}: too many statements name detached predicates")
    unread.discard(name)
    return read_json(data, name)
