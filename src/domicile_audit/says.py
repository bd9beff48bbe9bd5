"""All that a log can say: each type of statement, and the shape of what it says (docs/formats.md, "Statements")."""

from typing import Any

from domicile_audit.log.shape import COUNT, DAY, FLAG, HEX, TEXT, TIME, maybe, text

# Best first; the roll-up is the worst.
VERDICTS = ("erased-verified", "key-destroyed", "erased-unverified", "blocked-until", "held", "unknown", "present")
VERDICT = text("|".join(VERDICTS))

# Kinds of findings that checks know, by what their `where` is.
BACK, AGAIN = "came back", "erased again"  # a dataset of rows
OBJECTS_BACK = "objects came back"  # a store of objects
ANNOUNCED, DESTROYED, RETURNED = "key to be destroyed", "key destroyed", "key came back"  # a copy

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
# `datasets`; `kept` are rows that went home and stay at the source too; `stands` is how many entries the signer's log
# had, and `root` their root.
#
# Told, and held against nothing: `programme`, `engine`, `config_sha256`, `deadline`, `position`, WAITED, `role`,
# `approved_at`, `since`, `why`, `bytes` and `digest` of MOVED, `method`, `not_searchable`, `canaries`; and the dataset
# of an erasure without slices.
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
