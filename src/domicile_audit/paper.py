"""A person's receipt, checked. As `checklist.py` is for a bundle, this is the list, and all of its checks.

A receipt is accepted if and only if all of these hold; the first that fails is the reason.

 1  the file is a proof with extra data, both in their one spelling      C2SP tlog-proof; docs/receipts.md
 2  the log's key is well spelled, and trusted                           C2SP signed-note; tlog-policy
 3  the checkpoint is this log's, signed by its key                      C2SP signed-note; tlog-checkpoint
 4  the statement of receipts is signed, and in the log at its place     DSSE v1.0.2; RFC 6962 section 2.1.1
 5  the certificate is signed, and the last word of this log             DSSE v1.0.2; P10
 6  both are of one plan                                                 docs/receipts.md
 7  this person's leaf, opened with the nonce, is among the receipts     docs/receipts.md; RFC 6962 section 2.1.1
 8  what the leaf says fits the statement and the certificate            docs/receipts.md

No check reads a clock, a network or another file. `receipt.py` is the program, and words the answer.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from domicile_audit.case import Refused, require
from domicile_audit.certificate import MAY_HOLD_RESIDUE
from domicile_audit.cosignature import read_cosignatures
from domicile_audit.keys import Key, open_envelope, read_base64, read_vkey
from domicile_audit.policy import Policy
from domicile_audit.shape import COUNT, HEX, TEXT, maybe, misfit, read_json, text
from domicile_audit.statements import DETACHED, DETACHED_OVER_BYTES, PAYLOAD_TYPE, PREFIX, SHAPES, STATEMENT_TYPE

RECEIPT_BYTES_MAX: Final = 64 * 1024 * 1024
PATH_MAX: Final = 63
FORMAT: Final = "urn:domicile:receipt/v1"
PURPOSE: Final = b"domicile receipt v1\x00"
FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
INDEX: Final = re.compile(r"0|[1-9][0-9]{0,12}")
LONG: Final = text("[A-Za-z0-9+/=]*", chars_max=RECEIPT_BYTES_MAX)
SEALED: Final = {"envelope": LONG, "detached": maybe(LONG)}
PERSON: Final = {
    "home": TEXT, "key": TEXT, "kind": TEXT, "rows": {"*": {"blanked": COUNT, "deleted": COUNT, "moved": COUNT}},
}  # fmt: skip
EXTRA: Final = {
    "format": text(FORMAT),
    "log": TEXT,
    "person": PERSON,
    "nonce": HEX,
    "leaf": {"index": COUNT, "path": [HEX]},
    "receipts": SEALED,
    "certificate": {**SEALED, "index": COUNT, "path": [HEX]},
}


@dataclasses.dataclass(slots=True)
class Paper:
    """The receipt under check, filled from the top of the list to the bottom."""

    data: bytes
    policy: Policy | None
    index: int = 0  # 1
    path: tuple[bytes, ...] = ()  # 1
    note: bytes = b""  # 1
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # 1
    log: Key | None = None  # 2
    size: int = 0  # 3
    root: bytes = b""  # 3
    receipts: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # 4
    certificate: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # 5

    @property
    def key(self) -> Key:
        """The log's key."""
        if self.log is None:
            raise Refused("the receipt names no log")
        return self.log

    @property
    def person(self) -> Mapping[str, Any]:
        """What the leaf says."""
        return dict(self.extra["person"])


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came of it: `paper` is to be read only where it is accepted."""

    accepted: bool
    check: int
    reason: str
    paper: Paper


# -- the checks --------------------------------------------------------------------------------------------------------


def check_file(paper: Paper) -> None:
    """Check 1 (C2SP tlog-proof "Format"): first line, extra data, index, path, an empty line, the checkpoint."""
    require(len(paper.data) <= RECEIPT_BYTES_MAX, f"the file is longer than {RECEIPT_BYTES_MAX} bytes")
    head, gap, paper.note = paper.data.partition(b"\n\n")
    lines = head.decode("ascii", errors="replace").split("\n")
    require(bool(gap) and len(lines) >= 3 and lines[0] == FIRST_LINE, "the file is no tlog-proof")
    require(lines[1].startswith("extra ") and lines[2].startswith("index "), "the file is a proof, and no receipt")
    extra, index = read_base64(lines[1][6:], "the extra data"), lines[2][6:]
    paper.path = tuple(read_base64(line, "the path of the proof") for line in lines[3:])
    fits = bool(INDEX.fullmatch(index)) and len(paper.path) <= PATH_MAX and all(len(node) == 32 for node in paper.path)
    require(fits, "the file has no proper index and path")
    paper.index, paper.extra = int(index), read_json(extra, "the receipt")
    _check_extra(paper.extra)


def check_key(paper: Paper) -> None:
    """Check 2 (C2SP signed-note "Verifier keys", tlog-policy): the log's key; with a policy one that it trusts."""
    paper.log = read_vkey(paper.extra["log"], "the log's key")
    trusted = paper.policy is None or paper.log.vkey in paper.policy.logs
    require(trusted, f"the receipt is of a log that the policy does not trust: {paper.log.keyid}")


def check_checkpoint(paper: Paper) -> None:
    """Check 3 (C2SP signed-note, tlog-checkpoint, tlog-policy): origin, size, root, signed by log and quorum."""
    try:
        text, _, tail = paper.note.decode().rpartition("\n\n")
        origin, size, root = text.split("\n")
        first, _, others = tail.partition("\n")
        dash, name, blob = first.split(" ")
        signature, paper.root = read_base64(blob), read_base64(root)
    except ValueError as error:
        raise Refused("the checkpoint is not a note of three lines and signatures") from error
    fits = dash == "\u2014" and tail.endswith("\n") and bool(INDEX.fullmatch(size)) and len(paper.root) == 32
    require(fits, "the checkpoint is not a note of three lines and signatures")
    own = origin == name == paper.key.name and signature[:4] == paper.key.key_id
    require(own, "the checkpoint is one of another log")
    require(paper.key.signed(f"{text}\n".encode(), signature[4:]), "the signature of the checkpoint is wrong")
    quorum = None if paper.policy is None else paper.policy.quorum
    read_cosignatures(f"{text}\n".encode(), others.encode(), paper.key, quorum)
    paper.size = int(size)


def check_receipts(paper: Paper) -> None:
    """Check 4: the statement of receipts is the log's own, of its kind, and stands at its index."""
    entry, paper.receipts = _statement(paper, paper.extra["receipts"], "receipts/v1")
    _require_in(paper.root, entry, paper.index, paper.size, paper.path, "the statement of receipts is not in the log")


def check_certificate(paper: Paper) -> None:
    """Check 5 (P10): the certificate is the log's own, and the last entry under this checkpoint."""
    given = paper.extra["certificate"]
    entry, paper.certificate = _statement(paper, given, "certificate/v1")
    path = [bytes.fromhex(node) for node in given["path"]]
    _require_in(paper.root, entry, given["index"], paper.size, path, "the certificate is not in the log")
    require(given["index"] == paper.size - 1, "the certificate is not the last word of this log; it may no longer hold")


def check_plan(paper: Paper) -> None:
    """Check 6: one plan. That the receipts were stated first follows from check 5."""
    same = paper.receipts["plan"] == paper.certificate["plan"]
    require(same, "receipts and certificate are of two different plans")


def check_leaf(paper: Paper) -> None:
    """Check 7: SHA-256 of purpose, nonce and opening is a leaf of the tree whose root was stated."""
    opening = json.dumps(paper.extra["person"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    commitment = hashlib.sha256(PURPOSE + bytes.fromhex(paper.extra["nonce"]) + opening).digest()
    leaf, root = paper.extra["leaf"], bytes.fromhex(paper.receipts["root"])
    size = sum(place["subjects"] for place in paper.receipts["homes"].values())
    path = [bytes.fromhex(node) for node in leaf["path"]]
    _require_in(
        root, commitment, leaf["index"], size, path,
        "what the receipt says of this person is not what was committed to: it was changed, or is somebody else's",
    )  # fmt: skip


def check_sense(paper: Paper) -> None:
    """Check 8: the person's home is one of the statement's, and no more is said of them than of all together."""
    person, counts = paper.person, paper.certificate["counts"]
    require(person["home"] in paper.receipts["homes"], "the person went to a place that the statement does not name")
    for dataset, rows in person["rows"].items():
        require(rows["deleted"] + rows["blanked"] <= rows["moved"], f"{dataset}: more rows are erased than went home")
        of_all = counts.get(dataset, {}).get(person["home"], {"deleted": 0, "blanked": 0})
        if is_object_store(dataset):
            within = rows["moved"] <= of_all.get("moved", rows["moved"])
            require(within, f"{dataset}: the receipt tells of more objects at home than the certificate of all people")
        judged = {copy["verdict"] for copy in copies_of(paper, dataset)}
        within = all(rows[key] <= of_all[key] for key in ("deleted", "blanked")) or "present" in judged
        within = within or (is_object_store(dataset) and bool(judged & set(MAY_HOLD_RESIDUE)))
        require(within, f"{dataset}: the receipt tells of more erased rows than the certificate of all people")


def is_object_store(dataset: str) -> bool:
    """Whether it is a store of objects, whose rows are versions: a dataset of a database has a dot in its name."""
    return "." not in dataset


def copies_of(paper: Paper, dataset: str) -> list[Mapping[str, Any]]:
    """The copies that speak of a dataset: of objects those of their store, else all."""
    copies = paper.certificate["copies"]
    mine = [copy for copy in copies if copy["id"].startswith(f"{dataset}/")]
    return mine if is_object_store(dataset) else list(copies)


CHECKS: Final[Sequence[Callable[[Paper], None]]] = (
    check_file, check_key, check_checkpoint, check_receipts, check_certificate, check_plan, check_leaf, check_sense,
)  # fmt: skip


def check(data: bytes, policy: Policy | None = None) -> Answer:
    """Check a receipt from its bytes; nothing but an answer comes out."""
    paper = Paper(data, policy)
    for number, made in enumerate(CHECKS, start=1):
        try:
            made(paper)
        except Refused as refusal:
            return Answer(accepted=False, check=number, reason=str(refusal), paper=paper)
    return Answer(accepted=True, check=len(CHECKS), reason="", paper=paper)


def _check_extra(extra: Any) -> None:  # noqa: ANN401  (JSON)
    """The shape, but for a person's key, which may be any text."""
    person = extra.get("person") if isinstance(extra, dict) else None
    key = person.get("key") if isinstance(person, dict) else None
    require(isinstance(key, str), "the receipt's extra data has not the shape of a receipt, at .person")
    wrong = misfit({**extra, "person": {**extra["person"], "key": ""}}, EXTRA)
    require(wrong is None, f"the receipt's extra data has not the shape of a receipt, at {wrong}")


def _statement(paper: Paper, sealed: Mapping[str, Any], kind: str) -> tuple[bytes, Mapping[str, Any]]:
    """The entry's bytes, and the predicate of this kind that the log's key signed."""
    entry = read_base64(sealed["envelope"], f"the envelope of the {kind}")
    outside = sealed["detached"] and read_base64(sealed["detached"], f"the predicate of the {kind}")
    payload, _ = open_envelope(entry, PAYLOAD_TYPE, {paper.key.keyid: paper.key}, f"the {kind}")
    body = read_json(payload, f"the {kind}")
    inner = body.get("predicate") if isinstance(body, dict) else None
    predicate: Any = inner
    if outside is not None:
        reference = {"detached": {"bytes": len(outside), "sha256": hashlib.sha256(outside).hexdigest()}}
        whole = inner == reference and misfit(inner, DETACHED) is None and len(outside) > DETACHED_OVER_BYTES
        require(whole, f"the {kind} has another predicate than the one beside it")
        predicate = read_json(outside, f"the {kind}")
    wrong = misfit(predicate, SHAPES[kind])
    require(wrong is None, f"the {kind} has not the shape of its type, at {wrong}")
    frame = {
        "_type": STATEMENT_TYPE, "predicate": inner, "predicateType": PREFIX + kind,
        "subject": [{"digest": {"sha256": predicate["plan"]}, "name": "plan.json"}],
    }  # fmt: skip
    require(body == frame, f"what stands in place of the {kind} is another statement")
    return entry, predicate


def _require_in(  # noqa: PLR0913, PLR0917 - a proof has these parts
    root: bytes, entry: bytes, index: int, size: int, path: Sequence[bytes], reason: str
) -> None:
    """RFC 9162 section 2.1.3.2: the path leads from this entry at this index to the root."""
    require(index < size and len(path) <= PATH_MAX, reason)
    node, place, last = hashlib.sha256(b"\x00" + entry).digest(), index, size - 1
    for sibling in path:
        require(last > 0, reason)
        if place % 2 or place == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        place, last = place // 2, last // 2
    require(last == 0 and node == root, reason)
