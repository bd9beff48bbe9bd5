"""`python -m bench.evidence`: log, statements, bundles and receipts against the bare hash and signature operations.

What stands behind every figure is done by the bare contender, too, and nothing else: the same SHA-256 over the same
bytes, or as many Ed25519 operations of `cryptography` over messages of the same length, and as many syncs where we
sync. So a ratio of 1 means that our code around them costs nothing. Every contender runs in a process of its own, with
what it needs read beforehand. No target: signatures are few; the figures are there to see one day that they got worse.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from bench import evidence_tasks as tasks
from bench.apart import Prepared, apart
from bench.evidence_tasks import Task
from bench.machine import facts
from bench.pairing import interleave, speed
from bench.results import Figure, Part, Results, tell, write

RESULTS: Final = Path(__file__).resolve().parent / "results"
OURS, BARE = "ours", "bare operations"

COMPARED: Final[Mapping[str, tuple[Callable[[Task], Prepared], Callable[[Task], Prepared]]]] = {
    "Append, 256 entries to a checkpoint, on the disk": (tasks.append_batches, tasks.hash_tree),
    "Append, one entry to a checkpoint, on the disk": (tasks.append_singles, tasks.sign_and_sync),
    "Open a log and check all of it": (tasks.open_log, tasks.hash_tree),
    "Make an inclusion proof": (tasks.prove, tasks.climb),
    "Check an inclusion proof": (tasks.check_proofs, tasks.climb),
    "State and sign": (tasks.state, tasks.sign),
    "Check a statement": (tasks.check_statements, partial(tasks.verify_of, "statements")),
    "Check a bundle of these statements: domicile-audit": (
        partial(tasks.audit_of, "quiet"), partial(tasks.verify_of, "quiet")),
    "Check the bundle of a move with its slices, equality and erasures": (
        partial(tasks.audit_of, "move"), partial(tasks.verify_of, "move")),
    "Give a receipt, against what checking it takes": (tasks.give_receipts, tasks.verify_receipts),
    "Check a receipt": (tasks.check_receipts, tasks.verify_receipts),
}  # fmt: skip


def compare(task: Task, *, rounds: int) -> tuple[Part, ...]:
    """All comparisons."""
    parts = []
    for title, (ours, bare) in COMPARED.items():
        print(title, flush=True)
        works = {OURS: ours, BARE: bare}
        contenders = {name: partial(apart, work, task, imports=tasks.__name__) for name, work in works.items()}
        done = interleave(contenders, rounds=rounds, before=lambda: None, tell=tell)
        figure = Figure(name="ours / bare", ratio=speed(done, OURS, against=BARE))
        parts.append(Part(title=title, rounds=done, figures=(figure,)))
    return tuple(parts)


def main() -> None:
    """Make logs, bundles and receipts, measure, write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence", description=main.__doc__)
    parser.add_argument("--entries", type=int, default=50_000, help="of the log that is hashed")
    parser.add_argument("--statements", type=int, default=5_000, help="that are signed and checked")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each comparison")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="domicile-bench-") as folder:
        task = Task(folder=Path(folder), entries=given.entries, statements=given.statements)
        sizes = tasks.make(task)
        results = Results(
            machine=facts(), sizes=sizes, once_s={}, parts=compare(task, rounds=given.rounds), memory={}
        )  # fmt: skip
    for path in write(results, given.results, "evidence"):
        print(path)
    for part in results.parts:
        for figure in part.figures:
            print(f"{part.title}: {figure.name} {figure.ratio}")


if __name__ == "__main__":
    main()
