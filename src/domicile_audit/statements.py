"""Checks 8 and 9: every entry is signed by a key that may sign it, and says something in a known shape."""

import hashlib
from typing import Any

from domicile_audit.case import LOG, Case, Part, Statement, require
from domicile_audit.keys import open_envelope
from domicile_audit.shape import COUNT, DAY, FLAG, HEX, TEXT, TIME, maybe, misfit, read_json, text

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREFIX = "urn:domicile:"
DETACHED_OVER_BYTES = 32_768
DETACHED_BYTES_MAX = 640 * 1024 * 1024  # over all statements, so that a long one can't be named by very many
DETACHED = {"detached": {"sha256": HEX, "bytes": COUNT}}

# Best first; the roll-up is the worst.
VERDICTS = ("erased-verified", "key-destroyed", "erased-unverified", "blocked-until", "held", "unknown", "present")
VERDICT = text("|".join(VERDICTS))

# What statements are made of.
WHICH, PLACE = {"dataset": TEXT, "home": TEXT}, {"country": TEXT, "operator": TEXT}
COPY = {"id": TEXT, "store": TEXT, "location": TEXT, "kind": TEXT, "dataset": maybe(TEXT), "method": TEXT}
SLICE = {"id": TEXT, **WHICH, "rows": COUNT, "erase": {"delete": COUNT, "blank": COUNT}}
MOVED = {"id": TEXT, "rows": COUNT, "bytes": COUNT, "digest": HEX}
COMPARED = {"id": TEXT, "rows": COUNT, "source": HEX, "home": HEX}
GONE = {"id": TEXT, "deleted": COUNT, "blanked": COUNT, "digest": HEX}
RECEIVED = {"home_since": TIME, "counted_at": TIME, "homes": {"*": {**PLACE, "subjects": COUNT}}}
SWEPT = {"id": TEXT, "method": TEXT, "bytes": COUNT, "hits": COUNT, "residue": COUNT}
JUDGED = {"id": TEXT, "verdict": VERDICT, "why": TEXT, "until": maybe(TIME)}
PROGRAMME = {"programme": TEXT, "engine": TEXT, "config_sha256": HEX, "made_at": TIME, "deadline": maybe(DAY)}
APPROVALS = {"threshold": COUNT, "of": [{"name": TEXT, "vkey": TEXT}]}
RULES = {"homes": {"*": TEXT}, "locations": {"*": PLACE}, "approvals": APPROVALS}
FENCED = {"position": TEXT, "fenced_at": TIME, "subjects": {"*": COUNT}}
WAITED = {"wait_ms": COUNT, "awaited_ms": COUNT, "rows": COUNT}
RESTORE = {"done_at": TIME, "method": TEXT, "homes": {"*": {"slices": [{"id": TEXT, "rows": COUNT, "digest": HEX}]}}}
TOKENS = {"searched": COUNT, "not_searchable": COUNT, "canaries": COUNT}
SUMS = {"*": {"*": {"moved": COUNT, "deleted": COUNT, "blanked": COUNT, "kept": COUNT}}}
TURN = {"key": TEXT, "new": maybe(TEXT)}
STANDS = {"stands": COUNT, "root": HEX}  # the first so many entries of this log, and the root over them
WAY, PHASE, SCOPE, CHANGE = text("home|source"), text("intent|outcome"), text("erase"), text("rotated|revoked")

# The table of all that can be said; beside this, each statement names its plan. Words that tell more than themselves:
# `differences` are keys whose rows differ, `strays` rows at a home that nothing sends there; `collateral` are rows that
# an erasure touched and no slice names; `hits` are places where something searched for was found, `residue` those of
# them that are private data of who moved; `rows.hits` are rows of theirs that a query still finds, in so many
# `datasets`; `kept` are rows that went home and stay at the source too; `wait_ms` is how long people could not write,
# `awaited_ms` how long of it for writers; `stands` is how many entries the signer's log had, and `root` their root.
SAYS: dict[str, dict[str, Any]] = {
    "plan/v1": {**PROGRAMME, **RULES, "slices": [SLICE], "copies": [COPY], "not_proven": [TEXT]},
    "transfer/v1": {**WHICH, "slices": [MOVED]},
    "cohort/v1": {"number": COUNT, "way": WAY, **FENCED, **WAITED},
    "freeze/v1": {"position": TEXT, "frozen_at": TIME, "slices": [SLICE]},
    "cutover/v1": {**FENCED, "fence": TEXT},
    "equality/v1": {"position": TEXT, "fenced": FLAG, "slices": [COMPARED], "differences": COUNT, "strays": COUNT},
    "approval/v1": {"approver": TEXT, "role": TEXT, "scope": SCOPE, "equality": HEX, "approved_at": TIME, **STANDS},
    "key/v1": {"what": CHANGE, "approver": maybe(TEXT), **TURN, "since": TIME, **STANDS, "why": TEXT},
    "clearance/v1": {"equality": HEX, "approvals": [HEX], "restore": RESTORE, "slices": [TEXT]},
    "erasure/v1": {"phase": PHASE, "clearance": HEX, **WHICH, "slices": [GONE], "collateral": COUNT, "emptied": [TEXT]},
    "receipts/v1": {"clearance": HEX, "cohort": COUNT, "part": COUNT, "root": HEX, **RECEIVED},
    "sweep/v1": {"swept_at": TIME, "tokens": TOKENS, "copies": [SWEPT], "rows": {"datasets": COUNT, "hits": COUNT}},
    "certificate/v1": {"verdict": VERDICT, "copies": [JUDGED], "counts": SUMS, "not_proven": [TEXT], "issued_at": TIME},
    "finding/v1": {"kind": TEXT, "where": TEXT, "count": COUNT, "text": TEXT},
}
SHAPES = {kind: {"plan": HEX, **says} for kind, says in SAYS.items()}
ABOUT = {"approval/v1": "equality", "clearance/v1": "equality", "erasure/v1": "clearance"}  # else about the plan


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
        kind, predicate = _read(case, payload, f"statement {index}", unread)
        statement = Statement(index, hashlib.sha256(case.entries[index]).hexdigest(), kind, keyid, predicate)
        right = kind == "key/v1" or (case.holders[keyid] == LOG) == (kind != "approval/v1")
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
