"""What `bench.evidence` makes beforehand, and what its contenders do: ours, and the bare operations they consist of.

Each contender reads what it needs before the clock starts, and returns the work that is timed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bench import stories
from bench.apart import Prepared
from domicile.evidence.bundle import make_bundle
from domicile.evidence.codec import encode
from domicile.evidence.keys import Signer
from domicile.evidence.ledger import Ledger
from domicile.evidence.predicates import Counts, ReceiptsPredicate, Received
from domicile.evidence.receipts.document import write_document
from domicile.evidence.receipts.keeping import Receipts
from domicile.evidence.receipts.leaf import Person, Rows
from domicile.evidence.statement import Sealed, parse_envelope, pre_authentication, seal, unseal
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import HASH_BYTES, hash_leaf, root_from_inclusion
from domicile.evidence.tlog.note import parse_note
from domicile.evidence.tlog.tile import tiles_of
from domicile.host import Host
from domicile.proof import Verdict
from domicile_audit.checklist import audit
from domicile_audit.papers.paper import check

BATCH: Final = 256
STEP: Final = 7
"""Of so many entries one proof is made."""
SINGLE_SHARE: Final = 100
"""One of so many entries is appended under a checkpoint of its own: each waits for the disk several times."""
SIGNER: Final = Signer(name="bench.example/log", seed=hashlib.sha256(b"bench").digest())
PRIVATE: Final = Ed25519PrivateKey.from_private_bytes(SIGNER.seed)
KIND: Final = "app.public.person"
DATASETS: Final = (KIND, "app.public.message", "app.public.event")
COPIES: Final = tuple(f"app/copy-{number}" for number in range(60))
ALL: Final = Counts(moved=10**9, deleted=10**9, blanked=0, kept=0)
RECEIPTS_MAX: Final = 1_000
HEAD: Final = b"h" * 100
"""As long as what is signed of a checkpoint."""
Signature: TypeAlias = tuple[bytes, bytes, bytes]
"""One that is to be verified: public key, signature, message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Where what was made beforehand lies, and how much of it there is."""

    folder: Path
    entries: int
    statements: int

    @property
    def singles(self) -> int:
        """Entries that get a checkpoint each."""
        return max(1, self.entries // SINGLE_SHARE)

    def made(self) -> list[bytes]:
        """The entries of the log."""
        return read_parts(self.folder / "entries")

    def fresh(self) -> Path:
        """An empty folder, which goes with all of them."""
        return Path(tempfile.mkdtemp(dir=self.folder))


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """Write byte strings one after the other, each behind its length."""
    with path.open("wb") as out:
        out.writelines(len(part).to_bytes(4, "big") + part for part in parts)


def read_parts(path: Path) -> list[bytes]:
    """Read them again."""
    data, at, parts = path.read_bytes(), 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return parts


# -- what is made beforehand -----------------------------------------------------------------------------------------


def make(task: Task) -> dict[str, int]:
    """Make a log, statements, two bundles and receipts; return their weights, for those who plan a disk."""
    sealed = [seal(predicate, SIGNER) for predicate in stories.findings(task.statements)]
    entries = [sealed[number % task.statements].envelope for number in range(task.entries)]
    write_parts(task.folder / "entries", entries)
    write_parts(task.folder / "statements", (one.envelope for one in sealed))
    write_signatures(task.folder / "statements.signatures", map(_signature, sealed))
    log = Log.create(task.folder / "log", SIGNER)
    for start in range(0, task.entries, BATCH):
        log.append(entries[start : start + BATCH])
    proofs = (log.inclusion_proof(index) for index in range(0, log.size, STEP))
    write_parts(task.folder / "paths", (b"".join(proof.path) for proof in proofs))
    with_findings = Ledger.open(task.folder / "quiet", SIGNER)
    with_findings.record_all(stories.quiet(task.statements))
    move = Ledger.open(task.folder / "move", SIGNER)
    stories.record_move(move, max(1, task.statements // stories.OF_A_DATASET))
    bundles = {name: _write_bundle(task, name, ledger) for name, ledger in (("quiet", with_findings), ("move", move))}
    documents = _make_receipts(task)
    whole = sum(len(data) for data in log.files().values())
    return {
        "entries": task.entries, "statements": task.statements, "tiles": len(tiles_of(log.size)),
        "bytes of an entry": len(entries[0]),
        "bytes of the log beside its entries, for each": (whole - sum(map(len, entries))) // len(entries),
        "bytes of a proof": len(log.receipt(0)),
        "bytes of the bundle for each statement": bundles["quiet"] // task.statements,
        "statements of the move": move.size,
        "slices of the move": stories.SLICES * max(1, task.statements // stories.OF_A_DATASET),
        "bytes of the move's bundle for each statement": bundles["move"] // move.size,
        "receipts": len(documents), "bytes of a receipt": max(map(len, documents)),
    }  # fmt: skip


def _write_bundle(task: Task, name: str, ledger: Ledger) -> int:
    bundle = make_bundle(ledger, plan_file=stories.PLAN_FILE, signer=SIGNER)
    (task.folder / f"{name}.zip").write_bytes(bundle)
    write_signatures(
        task.folder / f"{name}.signatures", (_signature(ledger.sealed(index)) for index in range(ledger.size))
    )
    return len(bundle)


def _make_receipts(task: Task) -> list[bytes]:
    """Everybody's receipts in a log of their own, and what whoever checks them has to verify and hash at least."""
    ledger = _of_receipts(task)
    rows = dict.fromkeys(DATASETS, Rows(moved=2, deleted=1, blanked=0))
    people = (Person(kind=KIND, key=str(number), home=stories.HOME, rows=rows) for number in range(task.statements))
    with closing(Receipts(task.folder / "receipts", bytes(32))) as receipts:
        stated = receipts.make(((0, person) for person in people), _stated, Host())
    counts = {dataset: {stories.HOME: ALL} for dataset in DATASETS}
    certificate = stories.certificate(Verdict.ERASED_VERIFIED, counts, copies=COPIES)
    ledger.record_all([stories.plan_of(()), *stated, certificate])
    documents: list[bytes] = []
    _giving(task, documents)()
    write_parts(task.folder / "documents", documents)
    signed = [_signature(ledger.sealed(index)) for index in (1, ledger.size - 1)]
    note = parse_note(ledger.log.checkpoint_bytes)
    head = (SIGNER.verifier.public, note.signatures[0].signature, note.text.encode())
    write_signatures(task.folder / "documents.signatures", [head, *signed])
    leaf = (task.statements - 1).bit_length()
    hashed = leaf + sum(len(ledger.log.inclusion_proof(index).path) for index in (1, ledger.size - 1))
    write_parts(task.folder / "documents.hashes", [hashed.to_bytes(4, "big"), *(ledger.log.entry(i) for i in (1, 2))])
    return documents


def _of_receipts(task: Task) -> Ledger:
    return Ledger.open(task.folder / "receipts-log", SIGNER)


def _stated(cohort: int, part: int, homes: Mapping[str, int], root: bytes) -> ReceiptsPredicate:
    return ReceiptsPredicate(
        plan=stories.PLAN, clearance=stories.PLAN, cohort=cohort, part=part, home_since=stories.WHEN,
        counted_at=stories.WHEN, root=root.hex(),
        homes={home: Received(country="CA", operator="Home", subjects=count) for home, count in homes.items()},
    )  # fmt: skip


def _signature(sealed: Sealed) -> Signature:
    """What is verified of a statement."""
    envelope = parse_envelope(sealed.envelope)
    key = next(one.verifier for one in (SIGNER, stories.APPROVER) if one.verifier.keyid == envelope.keyid)
    return key.public, envelope.signature, pre_authentication(envelope.payload_type, envelope.payload)


def write_signatures(path: Path, signatures: Iterable[Signature]) -> None:
    """Write triples of public key, signature and message."""
    write_parts(path, (part for triple in signatures for part in triple))


def read_signatures(path: Path) -> list[tuple[Ed25519PublicKey, bytes, bytes]]:
    """Read them again, the keys ready to verify with."""
    parts = read_parts(path)
    keys = {raw: Ed25519PublicKey.from_public_bytes(raw) for raw in set(parts[::3])}
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return [(keys[raw], signature, message) for raw, signature, message in triples]


# -- ours ------------------------------------------------------------------------------------------------------------


def append_batches(task: Task) -> Prepared:
    """A new log, 256 entries to a checkpoint."""
    return partial(_append, task.fresh(), task.made(), BATCH)


def append_singles(task: Task) -> Prepared:
    """A new log, a checkpoint for each entry."""
    return partial(_append, task.fresh(), task.made()[: task.singles], 1)


def _append(folder: Path, entries: list[bytes], batch: int) -> int:
    log = Log.create(folder / "log", SIGNER)
    for start in range(0, len(entries), batch):
        log.append(entries[start : start + batch])
    return log.size


def open_log(task: Task) -> Prepared:
    """Read and check all of a log."""
    return lambda: Log.open(task.folder / "log", SIGNER.verifier).size


def prove(task: Task) -> Prepared:
    """Inclusion proofs, from an open log."""
    log = Log.open(task.folder / "log", SIGNER.verifier)
    return lambda: len([log.inclusion_proof(index) for index in range(0, log.size, STEP)])


def check_proofs(task: Task) -> Prepared:
    """The same, checked against the root."""
    log = Log.open(task.folder / "log", SIGNER.verifier)
    places = [(log.entry(index), index, log.inclusion_proof(index).path) for index in range(0, log.size, STEP)]
    size, root = log.size, log.root

    def run() -> int:
        return sum(
            root == root_from_inclusion(hash_leaf(entry), index=index, size=size, path=path)
            for entry, index, path in places
        )

    return run


def state(task: Task) -> Prepared:
    """Spell and sign statements."""
    said = stories.findings(task.statements)
    return lambda: len([seal(one, SIGNER) for one in said])


def check_statements(task: Task) -> Prepared:
    """Read statements and verify their signatures."""
    sealed = [Sealed(envelope=one, detached=None) for one in read_parts(task.folder / "statements")]
    return lambda: len([unseal(one, SIGNER.verifier) for one in sealed])


def audit_of(name: str, task: Task) -> Prepared:
    """All of the checker's checks of one bundle."""
    bundle, count = (task.folder / f"{name}.zip").read_bytes(), len(read_signatures(task.folder / f"{name}.signatures"))

    def run() -> int:
        report = audit(bundle)
        if not report.accepted:
            raise RuntimeError(f"the bench's own bundle {name} was refused: {report.reason}")
        return count

    return run


def give_receipts(task: Task) -> Prepared:
    """Find people's leaves by their keys, and write their receipts."""
    return _giving(task, [])


def _giving(task: Task, documents: list[bytes]) -> Prepared:
    ledger, receipts = _of_receipts(task), Receipts(task.folder / "receipts", bytes(32))
    last = ledger.size - 1
    places = {encode(ledger.statement(index).predicate): (index, ledger.sealed(index)) for index in range(1, last)}
    certificate = (last, ledger.sealed(last))

    def run() -> int:
        for number in range(min(task.statements, RECEIPTS_MAX)):
            leaf = receipts.find(str(number), [KIND])
            documents.append(
                write_document(ledger.log, leaf, stated=places[encode(leaf.stated)], certificate=certificate)
            )
        receipts.close()
        return len(documents)

    return run


def check_receipts(task: Task) -> Prepared:
    """All of the checker's checks of these receipts."""
    documents = read_parts(task.folder / "documents")

    def run() -> int:
        refused = next((one.reason for one in map(check, documents) if not one.accepted), None)
        if refused:
            raise RuntimeError(f"a receipt of the bench's own was refused: {refused}")
        return len(documents)

    return run


# -- bare ------------------------------------------------------------------------------------------------------------


def hash_tree(task: Task) -> Prepared:
    """The leaves and all nodes above them, level by level (RFC 6962 section 2.1)."""
    entries = task.made()

    def run() -> int:
        level = [hashlib.sha256(b"\x00" + entry).digest() for entry in entries]
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            above = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs]
            level = above + level[len(above) * 2 :]
        return len(entries)

    return run


def sign_and_sync(task: Task) -> Prepared:
    """For each entry one signature over as much as a checkpoint has, and one file written to and synced."""
    entries, path = task.made()[: task.singles], task.fresh() / "bare"

    def run() -> int:
        with path.open("wb") as out:
            for entry in entries:
                out.write(entry + PRIVATE.sign(HEAD))
                out.flush()
                os.fsync(out.fileno())
        return len(entries)

    return run


def climb(task: Task) -> Prepared:
    """As many hashes of nodes as each proof has, and the leaf's."""
    joined = zip(task.made()[::STEP], read_parts(task.folder / "paths"), strict=True)
    paths = [(entry, [path[at : at + HASH_BYTES] for at in range(0, len(path), HASH_BYTES)]) for entry, path in joined]

    def run() -> int:
        for entry, path in paths:
            node = hashlib.sha256(b"\x00" + entry).digest()
            for sibling in path:
                node = hashlib.sha256(b"\x01" + node + sibling).digest()
        return len(paths)

    return run


def sign(task: Task) -> Prepared:
    """Sign as long messages."""
    messages = [message for _, _, message in read_signatures(task.folder / "statements.signatures")]
    return lambda: len([PRIVATE.sign(message) for message in messages])


def verify_of(name: str, task: Task) -> Prepared:
    """Verify the signatures of all statements."""
    signatures = read_signatures(task.folder / f"{name}.signatures")

    def run() -> int:
        for key, signature, message in signatures:
            key.verify(signature, message)
        return len(signatures)

    return run


def verify_receipts(task: Task) -> Prepared:
    """For each receipt three signatures (checkpoint, statement, certificate), and its hashes."""
    signatures = read_signatures(task.folder / "documents.signatures")
    count, *entries = read_parts(task.folder / "documents.hashes")
    documents, nodes = len(read_parts(task.folder / "documents")), int.from_bytes(count, "big")

    def run() -> int:
        for _ in range(documents):
            for key, signature, message in signatures:
                key.verify(signature, message)
            for entry in entries:
                node = hashlib.sha256(b"\x00" + entry).digest()
            for _ in range(nodes + 2):  # and the commitment, and its leaf
                node = hashlib.sha256(b"\x01" + node + node).digest()
        return documents

    return run
