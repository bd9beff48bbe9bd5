"""`python -m bench.evidence`: log, statements and bundle against the bare hash and signature operations.

What stands behind every figure is done by the bare contender, too, and nothing else: the same SHA-256 over the same
bytes, or as many Ed25519 operations of `cryptography` over messages of the same length. So a ratio of 1 means that our
code around them costs nothing. No target: signatures are few; the figures are there to see one day that they got worse.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.machine import facts
from bench.pairing import Sample, interleave, speed
from bench.results import Figure, Part, Results, tell, write
from domicile.evidence.bundle import make_bundle
from domicile.evidence.keys import Signer
from domicile.evidence.ledger import Ledger
from domicile.evidence.predicates import (
    ApprovalRule,
    ApproverKey,
    CertificatePredicate,
    FindingPredicate,
    JudgedCopy,
    Place,
    PlannedCopy,
    PlanPredicate,
    Predicate,
)
from domicile.evidence.statement import Sealed, parse_envelope, pre_authentication, seal, unseal
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import hash_leaf, root_from_inclusion
from domicile.evidence.tlog.tile import tiles_of
from domicile.proof import Verdict
from domicile_audit.checklist import audit

RESULTS = Path(__file__).resolve().parent / "results"
OURS, BARE = "ours", "bare operations"
BATCH = 256
PLAN_FILE = b"{}\n"
PLAN = hashlib.sha256(PLAN_FILE).hexdigest()
SIGNER = Signer(name="bench.example/log", seed=hashlib.sha256(b"bench").digest())
APPROVER = Signer(name="bench.example/approver", seed=hashlib.sha256(b"approver").digest())
PRIVATE = Ed25519PrivateKey.from_private_bytes(SIGNER.seed)
WHEN = datetime(2026, 11, 22, 10, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many entries a log gets, and how many statements are signed and checked."""

    entries: int
    statements: int


def findings(count: int) -> list[Predicate]:
    """Statements of the length that most have."""
    return [
        FindingPredicate(plan=PLAN, kind="bench", where=f"app.public.table_{number}", count=number, text="t" * 200)
        for number in range(count)
    ]


def story(count: int) -> list[Predicate]:
    """A log that the checker accepts: a plan of one copy, findings, and a certificate that calls it present."""
    plan = PlanPredicate(
        plan=PLAN, programme="bench", engine="0", config_sha256=PLAN, made_at=WHEN, deadline=None, homes={"CA": "ca"},
        locations={"ca": Place(country="CA", operator="Home"), "sg": Place(country="SG", operator="Origin")},
        approvals=ApprovalRule(threshold=1, of=(ApproverKey(name="approver", vkey=APPROVER.verifier.vkey),)),
        slices=(), not_proven=(),
        copies=(
            PlannedCopy(id="app/live", store="app", location="sg", kind="live rows", dataset=None, method="delete"),
        ),
    )  # fmt: skip
    certificate = CertificatePredicate(
        plan=PLAN, verdict=Verdict.PRESENT, counts={}, not_proven=(), issued_at=WHEN,
        copies=(JudgedCopy(id="app/live", verdict=Verdict.PRESENT, why="bench", until=None),),
    )  # fmt: skip
    return [plan, *findings(count - 2), certificate]


class Bench:
    """One run of everything; what is made beforehand is not timed."""

    def __init__(self, sizes: Sizes, folder: Path, *, rounds: int) -> None:
        self.sizes, self.folder, self.rounds = sizes, folder, rounds
        self.sealed = [seal(predicate, SIGNER) for predicate in findings(sizes.statements)]
        self.entries = [self.sealed[number % sizes.statements].envelope for number in range(sizes.entries)]
        self.messages = [_message(one) for one in self.sealed]
        self.signatures = [PRIVATE.sign(message) for message in self.messages]
        self.log = Log.create(folder / "log", SIGNER)
        for start in range(0, sizes.entries, BATCH):
            self.log.append(self.entries[start : start + BATCH])
        self.proofs = [self.log.inclusion_proof(index).path for index in range(0, sizes.entries, 7)]
        ledger = Ledger.open(folder / "ledger", SIGNER)
        ledger.record_all(story(sizes.statements))
        self.bundle = make_bundle(ledger, plan_file=PLAN_FILE, signer=SIGNER)
        self._fresh = 0

    def parts(self) -> tuple[Part, ...]:
        """All comparisons."""
        return (
            self._part("Append, 256 entries to a checkpoint, on the disk", self._append, self._hash_tree),
            self._part("Open a log and check all of it", self._open, self._hash_tree),
            self._part("Make an inclusion proof", self._prove, self._climb),
            self._part("Check an inclusion proof", self._check_proofs, self._climb),
            self._part("State and sign", self._seal, self._sign),
            self._part("Check a statement", self._unseal, self._verify),
            self._part("Check a bundle of these statements: domicile-audit", self._audit, self._verify),
        )

    def _part(self, title: str, ours: Callable[[], int], bare: Callable[[], int]) -> Part:
        print(title, flush=True)
        contenders = {OURS: lambda: sample(ours), BARE: lambda: sample(bare)}
        rounds = interleave(contenders, rounds=self.rounds, before=lambda: None, tell=tell)
        return Part(
            title=title, rounds=rounds, figures=(Figure(name="ours / bare", ratio=speed(rounds, OURS, against=BARE)),)
        )

    def _append(self) -> int:
        self._fresh += 1
        log = Log.create(self.folder / f"fresh{self._fresh}", SIGNER)
        for start in range(0, self.sizes.entries, BATCH):
            log.append(self.entries[start : start + BATCH])
        return self.sizes.entries

    def _open(self) -> int:
        return Log.open(self.folder / "log", SIGNER.verifier).size

    def _hash_tree(self) -> int:
        """The leaves and all nodes above them, level by level (RFC 6962 section 2.1)."""
        level = [hashlib.sha256(b"\x00" + entry).digest() for entry in self.entries]
        while len(level) > 1:
            above = [
                hashlib.sha256(b"\x01" + left + right).digest()
                for left, right in zip(level[::2], level[1::2], strict=False)
            ]
            level = above + level[len(above) * 2 :]
        return self.sizes.entries

    def _prove(self) -> int:
        return sum(1 for index in range(0, self.sizes.entries, 7) if self.log.inclusion_proof(index).path)

    def _check_proofs(self) -> int:
        size, root = self.log.size, self.log.root
        return sum(
            root == root_from_inclusion(hash_leaf(self.entries[index]), index=index, size=size, path=path)
            for index, path in zip(range(0, size, 7), self.proofs, strict=True)
        )

    def _climb(self) -> int:
        """As many hashes of nodes as each proof has, and the leaf's."""
        for index, path in zip(range(0, self.sizes.entries, 7), self.proofs, strict=True):
            node = hashlib.sha256(b"\x00" + self.entries[index]).digest()
            for sibling in path:
                node = hashlib.sha256(b"\x01" + node + sibling).digest()
        return len(self.proofs)

    def _seal(self) -> int:
        return len([seal(predicate, SIGNER) for predicate in findings(self.sizes.statements)])

    def _sign(self) -> int:
        return len([PRIVATE.sign(message) for message in self.messages])

    def _unseal(self) -> int:
        verifier = SIGNER.verifier
        return len([unseal(one, verifier) for one in self.sealed])

    def _verify(self) -> int:
        public = PRIVATE.public_key()
        for message, signature in zip(self.messages, self.signatures, strict=True):
            public.verify(signature, message)
        return len(self.messages)

    def _audit(self) -> int:
        report = audit(self.bundle)
        if not report.accepted:
            raise RuntimeError(f"the bench's own bundle was refused: {report.reason}")
        return self.sizes.statements

    def weights(self) -> Mapping[str, int]:
        """Bytes, for those who plan a disk: of an entry, of what the log adds to it, of a proof, of the bundle."""
        whole = sum(len(data) for data in self.log.files().values())
        return {
            "entries": self.sizes.entries, "statements": self.sizes.statements, "tiles": len(tiles_of(self.log.size)),
            "bytes of an entry": len(self.entries[0]),
            "bytes of the log beside its entries, for each": (whole - sum(map(len, self.entries))) // len(self.entries),
            "bytes of a proof": len(self.log.receipt(0)),
            "bytes of the bundle for each statement": len(self.bundle) // self.sizes.statements,
        }  # fmt: skip


def _message(sealed: Sealed) -> bytes:
    envelope = parse_envelope(sealed.envelope)
    return pre_authentication(envelope.payload_type, envelope.payload)


def sample(work: Callable[[], int]) -> Sample:
    """Run it here: wall time, processor time, and the memory of this process at its highest so far."""
    cpu, start = time.process_time(), time.monotonic()
    rows = work()
    return Sample(
        seconds=time.monotonic() - start, client_cpu_s=time.process_time() - cpu, rows=rows,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )  # fmt: skip


def main() -> None:
    """Make a log and a bundle, measure, write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence", description=main.__doc__)
    parser.add_argument("--entries", type=int, default=50_000, help="of the log that is hashed")
    parser.add_argument("--statements", type=int, default=5_000, help="that are signed and checked")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each comparison")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="domicile-bench-") as folder:
        sizes = Sizes(entries=given.entries, statements=given.statements)
        bench = Bench(sizes, Path(folder), rounds=given.rounds)
        results = Results(machine=facts(), sizes=bench.weights(), once_s={}, parts=bench.parts(), memory={})
    for path in write(results, given.results, "evidence"):
        print(path)
    for part in results.parts:
        for figure in part.figures:
            print(f"{part.title}: {figure.name} {figure.ratio}")


if __name__ == "__main__":
    main()
