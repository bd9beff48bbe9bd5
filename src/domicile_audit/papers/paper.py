"""A person's receipt, checked. As `checklist.py` is for a bundle, this is the list, and all of its checks.

A receipt is accepted if and only if all of these hold; the first that fails is the reason.

 1  the file is a proof with extra data, both in their one spelling      C2SP tlog-proof; docs/formats-receipts.md
 2  the log's key is well spelled                                       C2SP signed-note
 3  the checkpoint is this log's, signed by its key                      C2SP signed-note; tlog-checkpoint
 4  that key is trusted, or took over from a trusted one in this log     tlog-policy; docs/keys.md (`succession.py`)
 5  the statement of receipts is signed, and in the log at its place     DSSE v1.0.2; RFC 6962 section 2.1.1
 6  the certificate is signed, and the last word of this log             DSSE v1.0.2; P10
 7  all of it is of one plan                                             docs/formats-receipts.md
 8  this person's leaf, opened with the nonce, is among the receipts     docs/formats-receipts.md; RFC 6962, 2.1.1
 9  what the leaf says fits the statement and the certificate            docs/formats-receipts.md

No check reads a clock, a network or another file. `receipt.py` is the program, and words the answer.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from domicile_audit.case import Refused, require
from domicile_audit.log.keys import Key, read_base64, read_vkey
from domicile_audit.log.shape import COUNT, HEX, TEXT, misfit, read_json, text
from domicile_audit.papers import succession
from domicile_audit.papers.heads import read_head, read_proof
from domicile_audit.papers.placed import PLACED, RECEIPT_BYTES_MAX, SEALED, Sealed, read_sealed, require_in
from domicile_audit.papers.succession import Handover, Succession
from domicile_audit.story.verdicts import SAY_WHAT_IS_LEFT
from domicile_audit.trust.policy import Policy

FORMAT: Final = "urn:domicile:receipt/v1"
FORMAT_OF_KEYS: Final = "urn:domicile:receipt/v2"
PURPOSE: Final = b"domicile receipt v1\x00"
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
    "certificate": PLACED,
}
EXTRA_OF_KEYS: Final = {**EXTRA, "format": text(FORMAT_OF_KEYS), "keys": [PLACED]}


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
    cosigned: Mapping[str, int] = dataclasses.field(default_factory=dict)  # 3: when, by the policy's names of witnesses
    changes: Sequence[succession.Vote] = ()  # 4
    heirs: Succession | None = None  # 4
    receipts: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # 5
    certificate: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # 6

    @property
    def key(self) -> Key:
        """The log's key, which signed the checkpoint."""
        if self.log is None:
            raise Refused("the receipt names no log")
        return self.log

    def key_at(self, index: int) -> Key:
        """The log's key in force at a place."""
        return self.key if self.heirs is None else self.heirs.key_at(index)

    @property
    def keys(self) -> Sequence[Key]:
        """The log's keys, as far as the receipt tells, the present one last."""
        return [self.key] if self.heirs is None else self.heirs.keys

    @property
    def handovers(self) -> Sequence[Handover]:
        """How the log came from one key to the next."""
        return () if self.heirs is None else self.heirs.handovers

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
    proof = read_proof(paper.data, RECEIPT_BYTES_MAX)
    if proof.extra is None:
        raise Refused("the file is a proof, and no receipt")
    paper.index, paper.path, paper.note = proof.index, proof.path, proof.note
    paper.extra = read_json(read_base64(proof.extra, "the extra data"), "the receipt")
    _check_extra(paper.extra)


def check_key(paper: Paper) -> None:
    """Check 2 (C2SP signed-note "Verifier keys"): the key that is to have signed the checkpoint."""
    paper.log = read_vkey(paper.extra["log"], "the log's key")


def check_checkpoint(paper: Paper) -> None:
    """Check 3 (C2SP signed-note, tlog-checkpoint, tlog-policy): origin, size, root, signed by log and quorum."""
    head = read_head(paper.note)
    paper.cosigned = head.require_signed(paper.key, None if paper.policy is None else paper.policy.quorum)
    paper.size, paper.root = head.size, head.root


def check_trust(paper: Paper) -> None:
    """Check 4 (tlog-policy, docs/keys.md): without a policy nobody is trusted, and the answer says so.

    With one, its `log` line names that key or one that it took over from; or its `before` line this very head.
    """
    if "keys" in paper.extra:
        paper.changes = succession.read_votes(paper.extra["keys"], paper.size, paper.root)
        paper.heirs = succession.follow(paper.changes, paper.policy)
        require(paper.keys[-1] == paper.key, f"the log's changes of keys do not lead to {paper.key.keyid}")
    if paper.policy is None:
        return
    named = any(key.vkey in paper.policy.logs for key in paper.keys)
    listed = (paper.key.vkey, paper.size, paper.root) in paper.policy.before
    why = "; of a key before, a policy names the heads that count" if _is_before(paper) else ""
    require(named or listed, f"the receipt is of a log that the policy does not trust: {paper.key.keyid}{why}")


def _is_before(paper: Paper) -> bool:
    return paper.policy is not None and any(vkey == paper.key.vkey for vkey, _, _ in paper.policy.before)


def check_receipts(paper: Paper) -> None:
    """Check 5: the statement of receipts is the log's own, of its kind, and stands at its index."""
    stated = _stated(paper, paper.extra["receipts"], "receipts/v1", paper.index)
    paper.receipts = stated.predicate
    require_in(
        paper.root, stated.entry, paper.index, paper.size, paper.path, "the statement of receipts is not in the log"
    )


def check_certificate(paper: Paper) -> None:
    """Check 6 (P10): the certificate is the log's own, and the last entry under this checkpoint."""
    given = paper.extra["certificate"]
    stated = _stated(paper, given, "certificate/v1", given["index"])
    paper.certificate = stated.predicate
    path = [bytes.fromhex(node) for node in given["path"]]
    require_in(paper.root, stated.entry, given["index"], paper.size, path, "the certificate is not in the log")
    require(given["index"] == paper.size - 1, "the certificate is not the last word of this log; it may no longer hold")


def check_plan(paper: Paper) -> None:
    """Check 7: one plan. That the receipts were stated first follows from check 6."""
    plans = {paper.receipts["plan"], paper.certificate["plan"], *(one.said.predicate["plan"] for one in paper.changes)}
    require(len(plans) == 1, "receipts, certificate and changes of keys are of two different plans")


def check_leaf(paper: Paper) -> None:
    """Check 8: SHA-256 of purpose, nonce and opening is a leaf of the tree whose root was stated."""
    opening = json.dumps(paper.extra["person"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    commitment = hashlib.sha256(PURPOSE + bytes.fromhex(paper.extra["nonce"]) + opening).digest()
    leaf, root = paper.extra["leaf"], bytes.fromhex(paper.receipts["root"])
    size = sum(place["subjects"] for place in paper.receipts["homes"].values())
    path = [bytes.fromhex(node) for node in leaf["path"]]
    require_in(
        root, commitment, leaf["index"], size, path,
        "what the receipt says of this person is not what was committed to: it was changed, or is somebody else's",
    )  # fmt: skip


def check_sense(paper: Paper) -> None:
    """Check 9: the person's home is one of the statement's, and no more is said of them than of all together."""
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
        within = within or (is_object_store(dataset) and bool(judged & set(SAY_WHAT_IS_LEFT)))
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
    check_file, check_key, check_checkpoint, check_trust, check_receipts, check_certificate, check_plan, check_leaf,
    check_sense,
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
    shape = EXTRA_OF_KEYS if "keys" in extra else EXTRA
    wrong = misfit({**extra, "person": {**extra["person"], "key": ""}}, shape)
    require(wrong is None, f"the receipt's extra data has not the shape of a receipt, at {wrong}")


def _stated(paper: Paper, sealed: Mapping[str, Any], kind: str, index: int) -> Sealed:
    """A statement of this kind that the log's key of that place signed."""
    stated = read_sealed(sealed, kind)
    stated.require_signed(paper.key_at(index))
    return stated
